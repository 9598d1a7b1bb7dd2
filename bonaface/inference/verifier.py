"""From images to a verdict: the one path of the command line, the service and Python."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bonaface.data.videos import is_video
from bonaface.errors import DataError, LooseThresholdWarning, ModelError
from bonaface.images.copies import any_copies
from bonaface.images.decoding import IMAGE_TYPES, ImageSource, decode
from bonaface.images.photo import Photo, read_photo
from bonaface.images.quality import Face, FaceQuality
from bonaface.images.video import read_video
from bonaface.inference.embedder import Embedder, load_embedder
from bonaface.inference.looks import Looks, embed_looks, looks_at, of_one_person
from bonaface.verification import scoring
from bonaface.verification.decision import Verdict, judge
from bonaface.verification.embeddings import Embeddings, refuse_unfit
from bonaface.verification.thresholds import DEFAULT_FMR, Threshold, select_threshold

if TYPE_CHECKING:
    from rich.progress import Progress  # costs a tenth of a verdict's time

__all__ = ["PhotoCheck", "Verifier", "load", "similarity"]

_CHUNK = 64
_COPIES = "These are two copies of one photo: nothing is proved."
_COPIED_FRAMES = "These are copies of the same frames: nothing is proved."
_READERS = 2


def load(
    model: str | os.PathLike[str] | None = None, device: str = "auto", detector: str | os.PathLike[str] | None = None
) -> Verifier:
    """Loads a model for verification.

    Args:
        model: None for the model that comes with the package; the folder of a run, an exported ``.onnx`` or ``.xml`` file, or an
            ONNX face network, which is compared by cosine and gives no verdicts, since what its scores mean is not known.
        device: ``auto``, ``cpu``, ``cuda``, ``tensorrt``, ``coreml`` or ``openvino``. The last three compute exported models and
            ONNX networks; ``auto`` is a CUDA device where there is one, else the processor.
        detector: YuNet ONNX file that aligns faces for an ONNX face network; the shipped one where it is left out. The
            others bring their own.

    Raises:
        ModelError: if the model is missing, damaged, or none of these.
        ConfigError: if the device is not there.

    Example:
        >>> import bonaface
        >>> verifier = bonaface.load()
        >>> verifier.name
        'bonaface'
    """
    name = None if model is None else os.fspath(model)
    return Verifier(load_embedder(name, None if detector is None else Path(detector), device))


@dataclass(frozen=True)
class PhotoCheck:
    """Judgement of one photo.

    Args:
        name: of the photo.
        faces: found in it, the one that is embedded first.
        quality: of that face; None where there is none.
        problem: the reason why the photo cannot be judged, one sentence; None where it can.
        genuine: P(genuine), at even prior odds; None where the photo cannot be judged or the model does not judge authenticity.
        called_fake: classified as a deepfake at the model's threshold, which one in a hundred genuine validation photos falls
            below.
        measured_on: what ``genuine`` was measured on, in a few words; None where it is None.
        frames: of a video, how many could be judged, and how many were sampled; of a photo 1 and 1.
    """

    name: str
    faces: tuple[Face, ...]
    quality: FaceQuality | None
    problem: str | None
    genuine: float | None
    called_fake: bool
    measured_on: str | None = None
    frames: tuple[int, int] = (1, 1)


class Verifier:
    """A model that says whether two photos are genuine photos of one person. Made by :func:`load`.

    It can be used by several threads.

    Args:
        embedder: the model.

    Example:
        >>> import tempfile, bonaface
        >>> from bonaface.assets import unpack_demo
        >>> people = unpack_demo(Path(tempfile.mkdtemp())) / "train" / "images"
        >>> verifier = bonaface.load()
        >>> verifier.verify(people / "0000" / "0.jpg", people / "0001" / "0.jpg").decision
        'different people'
    """

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Verifier holds a network and can't be pickled: call bonaface.load() in each process")

    @property
    def name(self) -> str:
        """The model's name."""
        return self.embedder.name

    @property
    def fingerprint(self) -> str:
        """A digest that changes whenever embeddings would."""
        return self.embedder.fingerprint

    @property
    def measured_on(self) -> str | None:
        """What P(genuine) was measured on, in a few words; None where the model does not judge authenticity."""
        calibration = self.embedder.calibration
        return None if calibration is None or calibration.genuine is None else calibration.measured_on

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """The model's thresholds by false match rate; empty where it stores none."""
        return () if self.embedder.validation is None else self.embedder.validation.thresholds

    def threshold(self, fmr: float | None = None) -> Threshold:
        """The threshold for a false match rate.

        Args:
            fmr: None is 0.1 %; of a model whose pairs don't resolve that, with a warning, the lowest rate that they do.

        Raises:
            ConfigError: if the model stores none for it.
        """
        found = select_threshold(self.embedder.validation, fmr)
        if fmr is None and found.fmr > DEFAULT_FMR:
            pairs = f"{found.impostor_pairs:,} pairs of two people"
            said = f"decides at a false match rate of {found.fmr:.3g}, the lowest that its {pairs} resolve"
            warnings.warn(f"{self.name}: {said}; the usual one is {DEFAULT_FMR:g}", LooseThresholdWarning, stacklevel=2)
        return found

    def verify(self, a: ImageSource, b: ImageSource, fmr: float | None = None) -> Verdict:
        """Says whether two photos are genuine photos of one person.

        Where a photo cannot be judged (no face, two faces, one that is too small, cut off, covered, blurred, badly lit or turned
        away) the decision is "cannot tell", with the reason, and NaN for the numbers. So it is, but for the numbers, of two copies
        of one photo. A photo that lies on its side or upside down is rotated, which the reason says.

        Args:
            a: a path, the bytes of an image file, a PIL image, or RGB pixels ``(h, w, 3)``, uint8; or the path of a video, of
                which 16 frames are sampled and judged together.
            b: another.
            fmr: false match rate: the share of pairs of two people that may pass for one; it decides the threshold, as
                :meth:`threshold` has it.

        Raises:
            DataError: if a photo cannot be read.
            ConfigError: if the model has no threshold for ``fmr``.
            ModelError: if the model is not calibrated.
        """
        fmr = self.threshold(fmr).fmr
        first, second = (self.read(source) for source in (a, b))
        return self.compare_photos(first, second, fmr)

    def verify_many(
        self,
        pairs: Iterable[tuple[ImageSource, ImageSource]],
        fmr: float | None = None,
        progress: Progress | None = None,
    ) -> list[Verdict]:
        """Verdicts on pairs, in their order; each distinct path is read and embedded once.

        A pair with a photo that cannot be judged has the decision "cannot tell", the reason, and NaN for its numbers.

        Args:
            pairs: of images, as :meth:`verify` takes them.
            fmr: false match rate.
            progress: shows how many photos have been read.

        Raises:
            ConfigError: if the model has no threshold for ``fmr``.
            ModelError: if the model is not calibrated.
        """
        threshold = self.threshold(fmr)
        fmr = threshold.fmr
        keys, sources = _keyed_pairs(pairs, self._read_or_problem)
        row, problems, embeddings, photos = self._embed_judgeable(sources, progress)
        good = [place for place, (a, b) in enumerate(keys) if a in row and b in row]
        verdicts: list[Verdict] = []
        if good:
            first, second = (np.array([row[keys[place][side]] for place in good]) for side in (0, 1))
            verdicts = self.compare(embeddings.take(first), embeddings.take(second), fmr)
        judged = {
            place: qualified(verdict, *(photos[key] for key in keys[place]))
            for place, verdict in zip(good, verdicts, strict=True)
        }
        return [
            judged[place] if place in judged else _cannot_tell([problems.get(a), problems.get(b)], threshold)
            for place, (a, b) in enumerate(keys)
        ]

    def embed(self, images: Iterable[ImageSource]) -> Embeddings:
        """Embeddings of images, in their order.

        No photo is refused for what it shows: where no face is found, the centre of the image is embedded. :meth:`read`
        says which photos cannot be judged.

        Args:
            images: paths, bytes, PIL images or RGB pixels ``(h, w, 3)``, uint8; ``n`` of them.

        Returns:
            ``identity`` ``(n, d)`` unit float32, ``genuine`` ``(n,)`` P(genuine) or None, ``called_fake`` ``(n,)`` bool.

        Raises:
            DataError: if an image cannot be decoded.

        Example:
            >>> import bonaface
            >>> photos = bonaface.load().embed([np.zeros((160, 160, 3), np.uint8)])
            >>> photos.identity.shape, photos.called_fake.shape
            ((1, 512), (1,))
        """
        if isinstance(images, str | os.PathLike | bytes):
            raise TypeError(f"images: expected several, got one {type(images).__name__}; pass a list of it")
        parts = [embed_looks(self.embedder, looks) for looks in self._all_looks(images)]
        return Embeddings.joined(parts) if parts else self.embedder.embed_images([])

    def _all_looks(self, images: Iterable[ImageSource]) -> Iterator[list[Looks]]:
        """What the networks see of each image, some at a time, by threads; what passes is read as it comes."""
        generated = not _holds_all(images)
        coming: list[Callable[[], Looks]] = []
        with ThreadPoolExecutor(_READERS) as pool:
            for each in images:
                if generated and _passes(each):
                    coming.append(partial(_same, self._looks(_kept(each))))
                else:
                    coming.append(pool.submit(self._looks, each).result)
                if len(coming) == _CHUNK:
                    yield [looks() for looks in coming]
                    coming = []
            if coming:
                yield [looks() for looks in coming]

    def read(self, image: ImageSource, name: str = "") -> Photo:
        """Reads one photo: its faces, their quality, and whether it can be judged.

        Args:
            image: a path, bytes, a PIL image or RGB pixels ``(h, w, 3)``, uint8.
            name: used in messages; a path's own, or "image", where it is empty.

        Raises:
            DataError: if it cannot be decoded.
        """
        if is_video(image):
            video = read_video(Path(image), self.embedder.preprocess, name)  # type: ignore[arg-type]  # is_video: a path
            return of_one_person(video, self.embedder)
        return read_photo(image, self.embedder.preprocess, name)

    def compare_photos(self, a: Photo, b: Photo, fmr: float | None = None) -> Verdict:
        """The verdict on two photos that :meth:`read` returned: "cannot tell" where one can't be judged.

        Args:
            a: one photo or video.
            b: the other.
            fmr: false match rate.

        Raises:
            ConfigError, ModelError: as :meth:`compare`.
        """
        if a.problem or b.problem:
            return _cannot_tell([a.problem, b.problem], self.threshold(fmr))
        embeddings = self.embed_photos([a, b])
        return qualified(self.compare(embeddings.row(0), embeddings.row(1), fmr)[0], a, b)

    def check(self, image: ImageSource, name: str = "") -> PhotoCheck:
        """Judges one photo: its faces, their quality, and whether it is genuine.

        Args:
            image: a path, bytes, a PIL image or RGB pixels ``(h, w, 3)``, uint8.
            name: used in messages; a path's own, or "image", where it is empty.

        Raises:
            DataError: if it cannot be decoded.

        Example:
            >>> import bonaface
            >>> bonaface.load().check(np.zeros((160, 160, 3), np.uint8)).problem
            'image: no face found; expected one, seen from the front'
        """
        photo = self.read(image, name)
        genuine, called_fake = None, False
        if photo.problem is None:
            embeddings = self.embed_photos([photo])
            genuine = None if embeddings.genuine is None else float(embeddings.genuine[0])
            called_fake = bool(embeddings.called_fake[0])
        whence = None if genuine is None else self.measured_on
        frames = len(photo.inputs), photo.frames
        return PhotoCheck(photo.name, photo.faces, photo.quality, photo.problem, genuine, called_fake, whence, frames)

    def embed_photos(self, photos: Sequence[Photo]) -> Embeddings:
        """Embeddings of photos that :meth:`read` returned, in their order; of a video the mean over its frames.

        Raises:
            DataError: if a video has no frame that can be judged.
            ModelError: if a photo was read for a model that looks at something else.
        """
        for photo in photos:
            if not all(set(look) == set(self.embedder.preprocess.kinds) for look in photo.inputs):
                raise ModelError(f"{photo.name}: was read for another model than {self.name}; read it by this one")
            if not photo.inputs:
                raise DataError(photo.problem or f"{photo.name}: shows nothing that can be judged")
        return embed_looks(self.embedder, [looks_at(photo, self.fingerprint) for photo in photos])

    def _looks(self, source: ImageSource) -> Looks:
        if is_video(source):
            photo = self.read(source)
            if not photo.inputs:
                raise DataError(str(photo.problem))
            return looks_at(photo, self.fingerprint)
        return (self.embedder.preprocess(decode(source)),)

    def compare(self, a: Embeddings, b: Embeddings, fmr: float | None = None) -> list[Verdict]:
        """Verdicts on embeddings, row by row.

        Args:
            a: one photo of each of ``n`` pairs.
            b: the other.
            fmr: false match rate.

        Raises:
            ConfigError: if the model has no threshold for ``fmr``.
            ModelError: if the model is not calibrated, or the embeddings are another model's or have no authenticity though this
                one judges it.
            DataError: if their numbers differ, or one is longer than a unit vector, or not of finite numbers.
        """
        if len(a) != len(b):
            raise DataError(f"embeddings: expected as many of each, got {len(a)} and {len(b)}")
        for each in (a, b):
            if each.model and each.model != self.fingerprint:
                raise ModelError(f"embeddings of another model than {self.name}: embed the photos again")
        refuse_unfit(a, b, self.embedder.calibration)
        return judge(a, b, self.embedder.calibration, self.embedder.validation, self.threshold(fmr).fmr)

    def _embed_judgeable(
        self, sources: Mapping[object, ImageSource | _Read], progress: Progress | None
    ) -> tuple[dict[object, int], dict[object, str], Embeddings, dict[object, Photo]]:
        """Rows of the photos that can be judged, the problems of the others, the embeddings, and the photos without pixels."""
        task = None if progress is None else progress.add_task("verifying", total=len(sources))
        row: dict[object, int] = {}
        problems: dict[object, str] = {}
        photos: dict[object, Photo] = {}
        parts = [self.embedder.embed_images([])]
        keys = list(sources)
        with ThreadPoolExecutor(_READERS) as pool:
            for start in range(0, len(keys), _CHUNK):
                chunk = keys[start : start + _CHUNK]
                read = pool.map(self._read_or_problem, [sources[key] for key in chunk])
                good: list[Photo] = []
                for key, photo in zip(chunk, read, strict=True):
                    problem = photo if isinstance(photo, str) else photo.problem
                    if isinstance(photo, str) or problem is not None:
                        problems[key] = str(problem)
                        continue
                    row[key] = len(row)
                    photos[key] = replace(photo, inputs=tuple({} for _ in photo.inputs))
                    good.append(photo)
                if good:
                    parts.append(self.embed_photos(good))
                if progress is not None and task is not None:
                    progress.advance(task, len(chunk))
        return row, problems, Embeddings.joined(parts), photos

    def _read_or_problem(self, source: ImageSource | _Read) -> Photo | str:
        if isinstance(source, _Read):
            return source.photo
        try:
            return self.read(source)
        except DataError as error:
            return str(error)


def qualified(verdict: Verdict, *photos: Photo) -> Verdict:
    """A verdict with what is known of the photos: two copies of one prove nothing; other faces and rotation are said.

    Args:
        verdict: on their embeddings.
        photos: two photos or videos, or the one that was compared with enrolled ones.
    """
    if len(photos) == 2 and any_copies(*(each.thumbprints for each in photos)):
        videos = any(each.frames > 1 for each in photos)
        verdict = replace(verdict, decision="cannot tell", reason=_COPIED_FRAMES if videos else _COPIES)
    used = [f"{each.name}: {len(each.inputs)} of {each.frames} frames used" for each in photos if each.frames > 1]
    used += [
        f"{each.name}: the most prominent of {len(each.faces)} faces was judged"
        for each in photos
        if len(each.faces) > 1
    ]
    used += [f"{each.name} was rotated by {each.rotated} degrees" for each in photos if each.rotated]
    return replace(verdict, reason=" ".join([verdict.reason, *(f"({each})" for each in used)]))


def similarity(a: Embeddings, b: Embeddings) -> NDArray[np.float64]:
    """Similarities of the photos of ``a`` to those of ``b``, row by row, shape ``(n,)``; higher is more alike.

    Of a model that judges authenticity it is the log-odds that they are two genuine photos of one person, else the cosine.

    Args:
        a: embeddings of ``n`` photos, as :meth:`Verifier.embed` returns them.
        b: embeddings of ``n`` photos by the same model; or one of the two has a single photo.

    Raises:
        ModelError: if they are of two models, or have no authenticity though their model judges it.
        DataError: if their numbers differ, or one is longer than a unit vector, or not of finite numbers.

    Example:
        >>> import bonaface
        >>> photos = bonaface.load().embed([np.zeros((160, 160, 3), np.uint8)])
        >>> bonaface.similarity(photos, photos).shape
        (1,)
    """
    if a.model != b.model:
        raise ModelError("embeddings of two models cannot be compared: embed the photos by one")
    if len(a) != len(b) and 1 not in (len(a), len(b)):
        raise DataError(f"embeddings: expected as many of each, got {len(a)} and {len(b)}")
    calibration = a.calibration or b.calibration
    refuse_unfit(a, b, calibration)
    count = max(len(a), len(b)) if len(a) and len(b) else 0
    first, second = (each.take(np.arange(count) % max(1, len(each))) for each in (a, b))
    return scoring.similarity(first, second, calibration)


@dataclass(frozen=True)
class _Read:
    """An image that was read already, or why it can't be."""

    photo: Photo | str


def _same(looks: Looks) -> Looks:
    return looks


def _holds_all(images: Iterable[Any]) -> bool:
    """True of a list, tuple, array or pandas Series: what it holds is there at once, and stays as it is."""
    return isinstance(images, Sequence | Set | Mapping | np.ndarray) or hasattr(images, "iloc")


def _passes(source: ImageSource) -> bool:
    """True of an image in memory whose maker, if it makes images as it goes, may close it or fill it anew."""
    return not isinstance(source, str | os.PathLike | bytes)


def _keyed_pairs(
    pairs: Iterable[tuple[ImageSource, ImageSource]], read: Callable[[ImageSource], Photo | str]
) -> tuple[list[tuple[object, object]], dict[object, ImageSource | _Read]]:
    """Keys of the images of each pair, and each distinct image by its key; those that pass are read as they come."""
    generated = not _holds_all(pairs)
    keys: list[tuple[object, object]] = []
    sources: dict[object, ImageSource | _Read] = {}
    for place, pair in enumerate(pairs):
        where = f"pairs: pair {place}"
        if isinstance(pair, str | bytes) or len(pair) != 2:
            raise TypeError(f"{where}: expected two images each, got {str(pair)[:80]!r}")
        for source in pair:
            if not isinstance(source, IMAGE_TYPES):
                raise TypeError(
                    f"{where}: expected a path, bytes, a PIL image or an RGB array, got {type(source).__name__}"
                )
        a, b = (_key(source, generated) for source in pair)
        for key, source in zip((a, b), pair, strict=True):
            if key not in sources:
                sources[key] = _Read(read(_kept(source))) if generated and _passes(source) else source
        keys.append((a, b))
    return keys, sources


def _key(source: ImageSource, generated: bool) -> object:
    """What tells an image from others: a path's text, the content of what passes, and of anything else that it is one object."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if not generated or not _passes(source):
        return id(source)
    try:
        data = source.tobytes() if isinstance(source, np.ndarray | Image.Image) else bytes(source)
    except Exception:  # of an image that can't be read, as reading it says
        return object()
    return type(source), *(getattr(source, each, None) for each in ("shape", "size", "mode")), blake2b(data).digest()


def _kept(source: ImageSource) -> ImageSource:
    """An array that stays as it is; others are decoded into one."""
    return source.copy() if isinstance(source, np.ndarray) else source


def _cannot_tell(problems: Sequence[str | None], threshold: Threshold) -> Verdict:
    reason = "; ".join(dict.fromkeys(problem for problem in problems if problem))
    nan = float("nan")
    return Verdict("cannot tell", nan, nan, threshold.threshold, threshold.fmr, reason, nan, None)
