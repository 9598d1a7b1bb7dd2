"""The console of a command's progress; apart, since rich costs a tenth of a verdict's time."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console

from bonaface.data.videos import told_videos

__all__ = ["ProgressConsole", "counted", "say_videos"]


def counted(count: int, noun: str) -> str:
    """A number of things, in the singular where it is one.

    Example:
        >>> counted(1, "pair"), counted(2000, "pair"), counted(0, "image")
        ('1 pair', '2,000 pairs', '0 images')
    """
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


class ProgressConsole(Console):
    """Standard error. Where that is no terminal but a log file, an event is one line, however long it is."""

    def __init__(self) -> None:
        super().__init__(stderr=True, log_path=False)

    def log(self, *objects: Any, **how: Any) -> None:
        """One event with its time."""
        if self.is_terminal:
            super().log(*objects, **how)
        else:
            self.print(time.strftime("%H:%M:%S"), *objects, highlight=False, markup=False, soft_wrap=True)


def say_videos(console: Console, count: int, instead: str) -> None:
    """Prints how many videos a folder holds, if any, and what to do with them."""
    if count:
        console.print(told_videos(count, instead), highlight=False, markup=False, soft_wrap=True)
