"""A video as a photo of several looks: frames sampled evenly, one face tracked through them."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.errors import DataError
from bonaface.images.copies import thumbprint
from bonaface.images.decoding import name_of, refuse_url
from bonaface.images.photo import Photo
from bonaface.images.preprocessing import Preprocessor
from bonaface.images.quality import assess, faces_of, problem_of
from bonaface.images.quiet import quiet_opencv
from bonaface.reading import open_regular

# FFmpeg prints nothing: OpenCV reads this once, as the first video is opened.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

__all__ = ["FRAMES", "read_video", "sample_frames"]

FRAMES = 16
"""Frames that are sampled of a video where no number is given."""

_MAX_PIXELS = 40_000_000
"""Frames of 8K have 33 million."""
_MOST, _MOST_A_SECOND = 10_000_000, 999
"""Frames that a file can have; where it says more a second, its count is one of milliseconds."""
_MOST_READ_THROUGH = 20_000
"""Frames of a video that has to be read from its start: 11 minutes of 30 a second."""
_MOST_OBLONG = 4
"""Of a pixel's sides the one to the other; those of PAL in 16:9 have 64:45."""

_START = 12
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")  # ISO/IEC 14496-12, and QuickTime's own
_CONTAINERS = (b"\x1a\x45\xdf\xa3", b"\0\0\1\xba", b"\0\0\1\xb3")  # Matroska and WebM, MPEG program and video streams


def read_video(path: Path, preprocess: Preprocessor, name: str = "", count: int = FRAMES) -> Photo:
    """Reads a video: the most prominent face of the first frame that shows one, followed through the others.

    Args:
        path: of the video.
        preprocess: of the model.
        name: used in messages; the path where it is empty.
        count: of frames to sample.

    Returns:
        A photo with the inputs of each frame that can be judged, and the faces and the quality of the sharpest of them.

    Raises:
        DataError: if it cannot be decoded.
    """
    name = name or str(path)
    if preprocess.detector is None:
        sampled = list(_sampled(path, count))
        whole = tuple(preprocess(frame) for frame in sampled if frame is not None)
        return Photo(name, (), None, None, whole, len(sampled))
    looks: list[Photo] = []
    problem, last, frames = None, None, 0
    for frame in _sampled(path, count):
        frames += 1
        if frame is None:
            continue
        rows = _followed(preprocess.aligner.faces(frame), last)
        faces = faces_of(rows)
        # Only before a face is followed can it be unclear which one is meant.
        quality = assess(frame, faces[0]) if faces else None
        why = problem_of(name, frame.shape, faces if last is None else faces[:1], quality)
        if why is not None:
            problem = problem or why
            continue
        last, own = rows[0], (thumbprint(frame, faces[0].box),)
        looks.append(Photo(name, faces, quality, None, (preprocess(frame, rows),), thumbprints=own))
    if not looks:
        return Photo(name, (), None, f"{problem} (in none of {frames} frames)", (), frames)
    best = max(looks, key=lambda look: 0.0 if look.quality is None else look.quality.sharpness)
    inputs = tuple(look.inputs[0] for look in looks)
    prints = tuple(each for look in looks for each in look.thumbprints)
    return Photo(name, best.faces, best.quality, None, inputs, frames, thumbprints=prints)


def _followed(rows: NDArray[np.float32], last: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Faces with the one nearest to the last frame's first, by the distance of the boxes' centres; shape ``(n, 15)``."""
    if last is None or len(rows) < 2:
        return rows
    centres = rows[:, :2] + rows[:, 2:4] / 2
    nearest = int(np.argmin(np.linalg.norm(centres - (last[:2] + last[2:4] / 2), axis=1)))
    order = [nearest, *(row for row in range(len(rows)) if row != nearest)]
    return rows[order]


def sample_frames(path: Path, count: int = FRAMES) -> list[NDArray[np.uint8]]:
    """Frames from the middle of each of ``count`` equal parts of a video, upright RGB, shape ``(h, w, 3)``, uint8.

    Args:
        path: a file that OpenCV's FFmpeg reads; its sound is not looked at.
        count: of frames, at least 1; a shorter video gives each of its frames once.

    Returns:
        The frames that could be decoded, in their order, at least one.

    Raises:
        DataError: if the file is missing, is no video, or none of the sampled frames can be decoded.
    """
    return [frame for frame in _sampled(path, count) if frame is not None]


def _sampled(path: Path, count: int) -> Iterator[NDArray[np.uint8] | None]:
    """The same one by one, since of large frames only one is to be held; None for one that can't be decoded."""
    if count < 1:
        raise ValueError(f"count: expected at least 1, got {count}")
    _refuse_no_container(path)
    with quiet_opencv():
        yield from _frames(path, count)


@contextlib.contextmanager
def _opened(path: Path, *settings: int) -> Iterator[Any]:
    """OpenCV's reader of a video; ``settings`` are its properties and their values."""
    # Of a relative path FFmpeg takes what stands before a colon for a protocol: http:, concat: and others.
    video = cv2.VideoCapture(os.path.abspath(path), cv2.CAP_FFMPEG, settings)  # noqa: PTH100 - links stay
    try:
        yield video
    finally:
        video.release()


def _refuse_no_container(path: Path) -> None:
    """Refuses what does not start as a video: FFmpeg follows playlists, by content, to other files and addresses."""
    try:
        if not path.is_file():
            refuse_url(path, name_of(path))
            raise DataError(f"{path}: no such file; expected a video")
        with open_regular(path) as stream:
            start = stream.read(_START)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise DataError(f"{path}: can't be read ({reason}); expected a video") from error
    is_avi = start.startswith(b"RIFF") and start[8:12] == b"AVI "
    if not (start[4:8] in _BOXES or start.startswith(_CONTAINERS) or is_avi):
        raise DataError(f"{path}: is no video; expected MP4, MOV, AVI, MKV, WebM or MPEG")


def _frames(path: Path, count: int) -> Iterator[NDArray[np.uint8] | None]:
    with _opened(path) as video:
        _refuse_unfit(video, path)
        said = _said_total(video)
        # Of so few the file may have more: of MPEG the number is an estimate.
        sought = _sought(video, _spread(said, count) if said >= count else [])
        for lost, frame in enumerate(sought):
            if frame is not None:
                yield from (*[None] * lost, frame)
                yield from sought
                return
    yield from _read_through(path, count, said)


def _refuse_unfit(video: Any, path: Path) -> None:
    if not video.isOpened():
        raise DataError(f"{path}: is no video that OpenCV reads; expected MP4, MOV, AVI, MKV, WebM or MPEG")
    width, height = _square(
        video, *(int(video.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    )
    if width * height > _MAX_PIXELS:
        raise DataError(
            f"{path}: has frames of {width} x {height} pixels; expected at most {_MAX_PIXELS / 1e6:g} megapixels"
        )


def _square(video: Any, width: int, height: int) -> tuple[int, int]:
    """Width and height of upright frames in square pixels: the side that is stored too small grows, as of DVDs."""
    across, down = (max(0.0, video.get(key)) for key in (cv2.CAP_PROP_SAR_NUM, cv2.CAP_PROP_SAR_DEN))
    if video.get(cv2.CAP_PROP_ORIENTATION_META) % 180 == 90 and video.get(cv2.CAP_PROP_ORIENTATION_AUTO):
        across, down = down, across
    if not 0 < max(across, down) <= _MOST_OBLONG * min(across, down):
        return width, height  # damaged, or not said
    return round(width * max(1.0, across / down)), round(height * max(1.0, down / across))


def _said_total(video: Any) -> int:
    """Frames that the file says it has; 0 where it says nothing, or what can't be so."""
    total = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    return total if 0 < total <= _MOST and video.get(cv2.CAP_PROP_FPS) <= _MOST_A_SECOND else 0


def _spread(total: int, count: int) -> list[int]:
    positions: list[int] = np.unique(((np.arange(count) + 0.5) * total / count).astype(int)).tolist()
    return positions


def _sought(video: Any, positions: Iterable[int]) -> Iterator[NDArray[np.uint8] | None]:
    for position in positions:
        video.set(cv2.CAP_PROP_POS_FRAMES, float(position))
        yield _read(video)


def _read_through(path: Path, count: int, said: int) -> Iterator[NDArray[np.uint8] | None]:
    """The same of a video that does not say how many frames it has, or where, as browsers record WebM: read from its start."""
    with _opened(path, cv2.CAP_PROP_FORMAT, -1) as video:  # frames as they are stored, to be counted
        total = sum(1 for _ in itertools.takewhile(lambda _: video.grab(), range(_MOST_READ_THROUGH + 1)))
    if total > _MOST_READ_THROUGH:
        raise DataError(
            f"{path}: does not say where its frames are, and has more than {_MOST_READ_THROUGH:,}; expected fewer, or a file that "
            "does, as ffmpeg -i IN -c copy OUT writes it"
        )
    found, at = False, 0
    with _opened(path) as video:
        for position in _spread(max(total, said), count):
            while at < position and video.grab():
                at += 1
            frame = _read(video) if at == position else None
            at += frame is not None
            found |= frame is not None
            yield frame
    if not found:
        raise DataError(f"{path}: none of its frames can be decoded; expected a whole video file")


def _read(video: Any) -> NDArray[np.uint8] | None:
    decoded, frame = video.read()
    if not decoded:
        return None
    size = _square(video, frame.shape[1], frame.shape[0])
    upright = frame if size == frame.shape[1::-1] else cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.cvtColor(upright, cv2.COLOR_BGR2RGB), np.uint8)
