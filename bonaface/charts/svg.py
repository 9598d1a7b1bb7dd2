"""Line charts as inline SVG that takes its colours from the page: text is currentColor, lines are of classes c0, c1, ...

Data comes in the units of the axes, already transformed where the axis is logarithmic or in normal deviates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["SERIES", "Axis", "Chart"]

SERIES = 6
"""How many colours and dashes there are; further series start again from the first."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 20.0, 12.0, 46.0


@dataclass(frozen=True)
class Axis:
    """One axis.

    Args:
        label: what it shows, with the unit.
        low: value at its start, in the axis's own units.
        high: value at its end.
        ticks: place in the axis's units, and the text there.
    """

    label: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]


class Chart:
    """A chart that is drawn step by step; ``svg`` gives the whole.

    Args:
        title: what it shows, read out by screen readers.
        x: horizontal axis.
        y: vertical axis.
        width: of the drawing in its own units; a page scales it.
        height: likewise.

    Example:
        >>> axis = Axis("rate", 0.0, 1.0, [(0.0, "0"), (1.0, "1")])
        >>> chart = Chart("a line", axis, axis)
        >>> chart.line([0, 1], [0, 1], 0)
        >>> "<polyline" in chart.svg()
        True
    """

    def __init__(self, title: str, x: Axis, y: Axis, width: float = 440.0, height: float = 330.0) -> None:
        self.title = title
        self.x = x
        self.y = y
        self.width = width
        self.height = height
        self._marks: list[str] = []

    def line(self, x: ArrayLike, y: ArrayLike, series: int) -> None:
        """A line through points in the axes' units; what lies outside is drawn on the edge."""
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(self._across(x), self._up(y), strict=True))
        self._marks.append(f'<polyline class="line c{series % SERIES}" points="{points}"/>')

    def dots(self, x: ArrayLike, y: ArrayLike, series: int, radius: ArrayLike = 3.5) -> None:
        """Dots at points in the axes' units."""
        across, up = self._across(x), self._up(y)
        radii = np.broadcast_to(np.asarray(radius, dtype=np.float64), across.shape)
        self._marks += [
            f'<circle class="dot c{series % SERIES}" cx="{a:.1f}" cy="{b:.1f}" r="{r:.1f}"/>'
            for a, b, r in zip(across, up, radii, strict=True)
        ]

    def guide(self, x: ArrayLike, y: ArrayLike) -> None:
        """A faint line that is no data: a diagonal, say."""
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(self._across(x), self._up(y), strict=True))
        self._marks.append(f'<polyline class="guide" points="{points}"/>')

    def steps(self, edges: ArrayLike, heights: ArrayLike, series: int, base: float, scale: float) -> None:
        """A histogram's outline, filled, that stands on ``base``: heights times ``scale`` in the y axis's units."""
        sides = np.repeat(np.asarray(edges, dtype=np.float64), 2)
        tops = np.concatenate([[0.0], np.repeat(np.asarray(heights, dtype=np.float64), 2), [0.0]])
        points = " ".join(
            f"{a:.1f},{b:.1f}" for a, b in zip(self._across(sides), self._up(base + scale * tops), strict=True)
        )
        self._marks.append(f'<polygon class="area c{series % SERIES}" points="{points}"/>')

    def upright(self, x: float, text: str, row: int) -> None:
        """A line from top to bottom with a text beside its upper end; rows keep neighbours' texts apart."""
        across = float(self._across([x])[0])
        top = 11.0 + 12 * row
        right = across > self.width - 70
        self._marks.append(
            f'<line class="threshold" x1="{across:.1f}" x2="{across:.1f}" y1="{_TOP}" y2="{self.height - _BOTTOM}"/>'
            f'<text class="note" x="{across + (-4 if right else 4):.1f}" y="{_TOP + top - 1:.1f}" '
            f'text-anchor="{"end" if right else "start"}">{escape(text)}</text>'
        )

    def text(self, x: float, y: float, text: str) -> None:
        """A text that starts at a place given in the axes' units."""
        self._marks.append(
            f'<text class="note" x="{float(self._across([x])[0]):.1f}" y="{float(self._up([y])[0]):.1f}" '
            f'text-anchor="start">{escape(text)}</text>'
        )

    def svg(self) -> str:
        """The chart as an ``<svg>`` element; every text in it is escaped."""
        frame = (
            f'<rect class="frame" x="{_LEFT}" y="{_TOP}" width="{self.width - _LEFT - _RIGHT:.1f}" '
            f'height="{self.height - _TOP - _BOTTOM:.1f}"/>'
        )
        return (
            f'<svg viewBox="0 0 {self.width:g} {self.height:g}" role="img" aria-label="{escape(self.title)}">'
            f"{self._grid()}{frame}{''.join(self._marks)}</svg>"
        )

    def _across(self, x: ArrayLike) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        share = (np.asarray(x, dtype=np.float64) - self.x.low) / (self.x.high - self.x.low)
        return _LEFT + np.clip(share, 0, 1) * (self.width - _LEFT - _RIGHT)

    def _up(self, y: ArrayLike) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        share = (np.asarray(y, dtype=np.float64) - self.y.low) / (self.y.high - self.y.low)
        return self.height - _BOTTOM - np.clip(share, 0, 1) * (self.height - _TOP - _BOTTOM)

    def _grid(self) -> str:
        bottom, parts = self.height - _BOTTOM, []
        for place, text in self.x.ticks:
            across = float(self._across([place])[0])
            parts.append(
                f'<line class="grid" x1="{across:.1f}" x2="{across:.1f}" y1="{_TOP}" y2="{bottom}"/>'
                f'<text x="{across:.1f}" y="{bottom + 18:.1f}" text-anchor="middle">{escape(text)}</text>'
            )
        for place, text in self.y.ticks:
            up = float(self._up([place])[0])
            parts.append(
                f'<line class="grid" x1="{_LEFT}" x2="{self.width - _RIGHT}" y1="{up:.1f}" y2="{up:.1f}"/>'
                f'<text x="{_LEFT - 6}" y="{up + 4:.1f}" text-anchor="end">{escape(text)}</text>'
            )
        middle = (_LEFT + self.width - _RIGHT) / 2
        parts.append(
            f'<text x="{middle:.1f}" y="{self.height - 8:.1f}" text-anchor="middle">{escape(self.x.label)}</text>'
        )
        centre = (_TOP + bottom) / 2
        parts.append(
            f'<text x="13" y="{centre:.1f}" text-anchor="middle" transform="rotate(-90 13 {centre:.1f})">'
            f"{escape(self.y.label)}</text>"
        )
        return "".join(parts)
