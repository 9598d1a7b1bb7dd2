"""The layouts in which face photos arrive, each read into rows: path, person, is_fake, split."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from bonaface.data.text_tables import read_text_table
from bonaface.data.videos import NAME_ONE, told_videos, videos_below
from bonaface.errors import DataError
from bonaface.extras import require
from bonaface.io import check_names
from bonaface.reading import open_regular, read_regular, walk_folder

if TYPE_CHECKING:
    import pandas as pd  # for tables: folders are read without it

__all__ = [
    "EXPECTED",
    "images_below",
    "images_by_folder",
    "is_image",
    "is_pair",
    "listed_images",
    "looks_like_pairs",
    "read_challenge",
    "read_plain",
    "read_table_file",
    "unpadded",
]

EXPECTED = (
    "expected meta.json beside images/<person>/<image>, or <person>/<image> folders of real photos, "
    "or a .csv or .parquet table with the columns label and path"
)

Rows = list[tuple[str, str, bool, str]]
"""path relative to the root, person, is_fake, split."""

# Formats that decoding refuses are here too: their files get into the table, and cleaning says why they can't be used.
_IMAGES = frozenset(
    ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff", "heic", "heif", "avif", "jp2", "svg"],
)
_SPLITS = {"": "", "train": "train", "val": "val", "validation": "val", "test": "val"}
_YES_NO = {"0": False, "1": True, "false": False, "true": True, "0.0": False, "1.0": True}
_BOXES = ("x_1", "x_2", "y_1", "y_2")


def images_by_folder(root: Path) -> dict[str, list[str]]:
    """List each folder in ``root`` and the images that lie directly in it, both sorted by name.

    Hidden files and folders, and files that are plainly no images, are passed over; a folder without images stays.

    Raises:
        DataError: if a folder can't be listed, or a name is not UTF-8 text.
    """
    try:
        with os.scandir(root) as entries:
            folders = sorted(entry.name for entry in entries if entry.is_dir() and entry.name[0] not in "._")
        check_names(root, folders)
        return {folder: _images_in(root / folder) for folder in folders}
    except OSError as error:
        raise _unlisted(error) from error


def _images_in(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if is_image(entry.name) and entry.is_file())
    check_names(folder, names)
    return names


def images_below(folder: Path) -> list[Path]:
    """All images in a folder and in the folders below, sorted; hidden ones are passed over, and links are followed.

    A link that leads nowhere is among them: reading it says so.

    Raises:
        DataError: if a name is not UTF-8 text, or a folder can't be listed.
    """
    found: list[Path] = []
    try:
        for place, folders, files in walk_folder(folder):
            folders[:] = [name for name in folders if name[0] != "."]
            found += [Path(place, name) for name in files if is_image(name)]
    except OSError as error:
        raise _unlisted(error) from error
    found.sort()
    check_names(folder, map(str, found))
    return found


def _unlisted(error: OSError) -> DataError:
    return DataError(f"{error.filename}: can't be listed ({(error.strerror or '').lower()}); {EXPECTED}")


def listed_images(photos: Sequence[Path]) -> list[Path]:
    """Files as they are listed, and of folders all images with those below.

    Raises:
        DataError: if there are none.
    """
    found = [file for each in photos for file in (images_below(each) if each.is_dir() else [each])]
    if not found:
        named, videos = photos[0] if photos else "photos", videos_below(photos)
        told = f" ({told_videos(videos, NAME_ONE)})" if videos else ""
        raise DataError(f"{named}: holds no images{told}; expected photos in it or in the folders below")
    return found


def is_image(name: str) -> bool:
    """Tell whether a file's name is an image's, and not hidden.

    Example:
        >>> is_image("1.JPG"), is_image("._1.jpg"), is_image("readme.txt")
        (True, False, False)
    """
    return name[0] != "." and name.rpartition(".")[2].lower() in _IMAGES


def looks_like_pairs(tree: dict[str, list[str]]) -> bool:
    """Tell whether most folders that hold images hold just a 0 and a 1, as the challenge's test set does."""
    filled = [names for names in tree.values() if names]
    pairs = sum(is_pair(names) for names in filled)
    return 2 * pairs > len(filled)


def is_pair(names: list[str]) -> bool:
    """Tell whether the images of a folder are a 0 and a 1 and no more, in any format."""
    return [name.partition(".")[0] for name in names] == ["0", "1"]


def read_plain(root: Path) -> Rows:
    """Read ``<person>/<image>`` folders: all photos are real, none has a split yet."""
    if root.name == "images" and (root.parent / "meta.json").exists():
        raise DataError(f"{root}: {root.parent / 'meta.json'} says which of these are deepfakes; give {root.parent}")
    tree = images_by_folder(root)
    rows = [(f"{person}/{name}", person, False, "") for person, names in tree.items() for name in names]
    if rows and not looks_like_pairs(tree):
        return rows
    below = images_by_folder(root / "images") if "images" in tree else {}
    if looks_like_pairs(tree) or looks_like_pairs(below):
        raise DataError(
            f"{root}: holds test pairs (folders of a 0.jpg and a 1.jpg), which submit and evaluate read with --pairs; "
            f"{EXPECTED}"
        )
    if any(below.values()):
        raise DataError(
            f"{root}: has images/ but no meta.json that says which are deepfakes; add it, "
            f"or give {root / 'images'} if all photos are real"
        )
    if next(root.iterdir(), None) is None:
        raise DataError(f"{root}: is empty; {EXPECTED}")
    raise DataError(f"{root}: holds no folder with images directly in it; {EXPECTED}")


def read_challenge(root: Path) -> Rows:
    """Read the challenge's train set: ``meta.json`` beside ``images/<person>/<image>``."""
    meta = root / "meta.json"
    images = root / "images"
    if not images.is_dir():
        raise DataError(f"{images}: no such folder; expected images/<person>/<image> beside meta.json")
    tree = images_by_folder(images)
    present = {(person, name) for person, names in tree.items() for name in names}
    by_number = _by_number(present)
    found: dict[tuple[str, str], bool] = {}
    for key, value in _meta_items(meta):
        image = _locate(key, present, by_number, meta)
        if type(value) is not int or value not in (0, 1):
            raise DataError(f'{meta}: "{key}": expected 0 or 1, got {json.dumps(value)[:40]}')
        if image in found:
            raise DataError(f'{meta}: "{key}": names {"/".join(image)} a second time; expected each image once')
        found[image] = bool(value)
    unnamed = sorted(present - found.keys())
    if unnamed:
        more = f" and {len(unnamed) - 1} more" if len(unnamed) > 1 else ""
        raise DataError(f"{meta}: doesn't name {'/'.join(unnamed[0])}{more}; expected 0 or 1 for every image")
    return [(f"images/{person}/{name}", person, found[person, name], "") for person, name in sorted(found)]


def _meta_items(meta: Path) -> list[tuple[str, object]]:
    """Read the pairs of key and value as they stand in the file, keys that occur twice included."""
    try:
        text = read_regular(meta).decode("utf-8-sig")
        items = json.loads(text, object_pairs_hook=list)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f'{meta}: isn\'t JSON ({error}); expected {{"person/image": 0 or 1, ...}}') from error
    if not text.lstrip().startswith("{"):
        raise DataError(f'{meta}: holds no JSON object; expected {{"person/image": 0 or 1, ...}}')
    if not items:
        raise DataError(f'{meta}: names no images; expected {{"person/image": 0 or 1, ...}}')
    return list(items)


def unpadded(name: str) -> str:
    """Return ``name`` without the zeros that pad it, where it is a number."""
    return str(int(name)) if name.isascii() and name.isdecimal() and len(name) <= 32 else name


def _numbers(person: str, name: str) -> tuple[str, str]:
    stem, dot, suffix = name.rpartition(".")
    return unpadded(person), unpadded(stem) + dot + suffix.lower()


def _by_number(present: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    index: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for person, name in present:
        index[_numbers(person, name)].append((person, name))
    return index


def _locate(
    key: str,
    present: set[tuple[str, str]],
    by_number: dict[tuple[str, str], list[tuple[str, str]]],
    meta: Path,
) -> tuple[str, str]:
    """Find the image that a key of meta.json means: by its exact name, or else by its numbers, padded or not."""
    person, _, name = key.partition("/")
    if (person, name) in present:
        return person, name
    if _leaves(key):
        raise DataError(f'{meta}: "{key}": leaves the folder images/; expected "person/image"')
    if not person or not name or "/" in name:
        raise DataError(f'{meta}: "{key}": expected "person/image"')
    candidates = by_number.get(_numbers(person, name), [])
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        both = " and ".join("/".join(candidate) for candidate in sorted(candidates)[:2])
        raise DataError(f'{meta}: "{key}": may be {both}; expected the exact name of one image')
    raise DataError(f'{meta}: "{key}": no such image in images/; expected an image that is there')


def _leaves(path: str) -> bool:
    return path.startswith(("/", "\\")) or ".." in path.replace("\\", "/").split("/")


def read_table_file(file: Path) -> Rows:
    """Read OML's retrieval format (.csv or .parquet): label and path, optionally split and is_fake.

    A relative path starts at the table's folder and stays in it; an absolute one is taken as it is. The splits
    ``validation``, ``val`` and ``test`` are all ``val``. is_query and is_gallery aren't used: pairs are drawn instead.
    """
    frame = _table_columns(file)
    rows: Rows = []
    seen: set[str] = set()
    for number, (label, path, split, is_fake) in enumerate(zip(*frame.values(), strict=True), start=1):
        where = f"{file}: row {number}"
        if not label:
            raise DataError(f"{where}: label is missing; expected the person's name or number")
        if split.lower() not in _SPLITS:
            raise DataError(f"{where}: split: expected train, validation or test, got {split!r}")
        if is_fake.lower() not in _YES_NO:
            raise DataError(f"{where}: is_fake: expected 0 or 1, got {is_fake!r}")
        posix = _table_path(path, file.parent, where)
        if posix in seen:
            raise DataError(f"{where}: {posix}: stands in the table twice; expected each image once")
        seen.add(posix)
        rows.append((posix, label, _YES_NO[is_fake.lower()], _SPLITS[split.lower()]))
    if not rows:
        raise DataError(f"{file}: has no rows; expected one for each image")
    return rows


def _table_path(path: str, folder: Path, where: str) -> str:
    posix = PurePosixPath(path)
    if not path or ".." in posix.parts:
        raise DataError(f"{where}: path: expected a path below the table's folder or an absolute one, got {path!r}")
    if not os.path.isfile(folder / posix):  # noqa: PTH113 - twice as fast as Path, and there are many rows
        raise DataError(f"{where}: {path}: no such file; expected an image")
    return posix.as_posix()


def _table_columns(file: Path) -> dict[str, list[str]]:
    """Read the columns that are used, as text."""
    if file.suffix.lower() == ".parquet":
        frame = _parquet(file)
    else:
        frame = read_text_table(file, "a table of images", "expected label and path, optionally split and is_fake")
    for column in ("label", "path"):
        if column not in frame:
            raise DataError(f"{file}: has no column {column}; expected label and path, optionally split and is_fake")
    if any((frame[column].map(_text) != "").any() for column in _BOXES if column in frame):
        raise DataError(f"{file}: gives boxes ({', '.join(_BOXES)}), which aren't read; expected cropped images")
    defaults = {"split": "", "is_fake": "0"}
    return {
        column: [_text(value) for value in frame[column]] if column in frame else [defaults[column]] * len(frame)
        for column in ("label", "path", "split", "is_fake")
    }


def _parquet(file: Path) -> pd.DataFrame:
    require("parquet", "pyarrow", what=str(file))
    import pandas as pd

    try:
        with open_regular(file) as opened:
            return pd.read_parquet(opened)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{file}: isn't a parquet table ({reason})") from error


def _text(value: object) -> str:
    """Turn a cell into text; empty where it is missing; whole numbers without the ``.0`` that missing neighbours give them."""
    # Told by its name, since pandas' NA has no truth value and pandas may not be installed.
    if value is None or type(value).__name__ == "NAType" or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
