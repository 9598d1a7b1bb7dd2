"""Videos by their names: one is judged where it is named itself, and folders are read for images alone."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from bonaface.reading import walk_folder

__all__ = ["IN_PYTHON", "NAME_ONE", "is_video", "told_videos", "videos_among", "videos_below"]

IN_PYTHON = "in Python, bonaface.load().embed takes them"
"""What to do with videos in a folder that is to be embedded."""
NAME_ONE = "name a video itself to have it judged"
"""What to do with videos in a folder where a file may be one."""
_SUFFIXES = frozenset([".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg"])


def is_video(source: object) -> bool:
    """True for a path whose suffix is that of a video file.

    Example:
        >>> is_video("a.MP4"), is_video("a.jpg"), is_video(b"")
        (True, False, False)
    """
    return isinstance(source, str | os.PathLike) and Path(os.fspath(source)).suffix.lower() in _SUFFIXES


def videos_among(names: Iterable[str]) -> int:
    """How many names are those of videos that are not hidden.

    Example:
        >>> videos_among(["a.mp4", "._a.mp4", "a.jpg"])
        1
    """
    return sum(name[0] != "." and is_video(name) for name in names)


def told_videos(count: int, instead: str) -> str:
    """A sentence on videos in a folder.

    Args:
        count: of them.
        instead: what to do with them.

    Example:
        >>> told_videos(1, "name it itself"), told_videos(2000, "name one itself")
        ('1 video passed over; name it itself', '2,000 videos passed over; name one itself')
    """
    return f"{count:,} video{'' if count == 1 else 's'} passed over; {instead}"


def videos_below(folders: Iterable[Path], hidden: str = ".") -> int:
    """How many videos lie in folders and in the folders below them; of files among the folders nothing is counted.

    Args:
        folders: paths.
        hidden: first letters of the names of folders that are not looked into.

    Raises:
        OSError: if a folder can't be listed.
    """
    count = 0
    for each in folders:
        for _, below, files in walk_folder(each) if each.is_dir() else ():
            below[:] = [name for name in below if name[0] not in hidden]
            count += videos_among(files)
    return count
