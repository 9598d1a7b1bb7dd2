"""What calibrating a model gave, to look at."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import ConsoleRenderable, Group
from rich.table import Table
from rich.text import Text

from bonaface.evaluation.wording import percent
from bonaface.verification.calibration import Calibration
from bonaface.verification.thresholds import Threshold, Validation

__all__ = ["Authenticity", "CalibratedModel", "Point"]

_NOTABLE = 0.05
"""Share of wrong labels from which it is said: clean photos give less."""


_MANY = 0.1
_DOUBTED = " Before, the model called many of the genuine photos deepfakes: make sure that they are genuine."


@dataclass(frozen=True)
class Point:
    """What a threshold does to the pairs that it comes from.

    Args:
        threshold: with its false match rate and its interval.
        refused: share of the genuine pairs below it (FNMR).
        accepted: share of the own deepfakes at or above it (IAPAR); None where there are none.
    """

    threshold: Threshold
    refused: float
    accepted: float | None


@dataclass(frozen=True)
class Authenticity:
    """Photos that are called deepfakes, before and after.

    Args:
        genuine: how many distinct genuine photos there are.
        deepfakes: how many distinct deepfakes.
        bpcer: share of the genuine photos that are called deepfakes, before and after.
        missed: share of the deepfakes that are called genuine (APCER), likewise; None where there are none.
        kept: why what the model knows of deepfakes is kept, though there are some; empty where it isn't.
    """

    genuine: int
    deepfakes: int
    bpcer: tuple[float, float]
    missed: tuple[float, float] | None
    kept: str = ""

    def told(self) -> str:
        """In a few sentences."""
        before, after = map(percent, self.bpcer)
        said = f"Of {self.genuine:,} genuine photos {after} are called deepfakes ({before} before)"
        if self.missed is None:
            said += ". No image is known to be a deepfake, so only the threshold of authenticity was moved."
        else:
            before, after = map(percent, self.missed)
            many = f"{self.deepfakes:,} deepfake{'' if self.deepfakes == 1 else 's'}"
            said += f"; of {many} {after} are called genuine ({before} before)."
        said += f" What the model knows of deepfakes is kept: {self.kept}." if self.kept else ""
        return said + (_DOUBTED if self.bpcer[0] > _MANY else "")


@dataclass(frozen=True)
class CalibratedModel:
    """A file that ``calibrate`` wrote, a path that ``bonaface.load`` takes. Printing it by rich shows the table.

    Args:
        file: the ``.onnx``.
        calibration: what its scores mean.
        validation: its thresholds, from the lowest false match rate that the pairs resolve to 10 %.
        pairs: how many there were of each kind: same, impostor, own_fake, other_fake.
        points: what the thresholds of whole powers of ten, and those asked for, do to the pairs.
        authenticity: photos that are called deepfakes; None where the model does not judge it.
        unreadable: why images could not be read, each reason once; their pairs were left out.
        kinds_said: whether kinds or methods came with the labels; else label 0 was taken for two people.
    """

    file: Path
    calibration: Calibration
    validation: Validation
    pairs: Mapping[str, int]
    points: tuple[Point, ...] = field(repr=False)
    authenticity: Authenticity | None = None
    unreadable: tuple[str, ...] = field(default=(), repr=False)
    kinds_said: bool = field(default=True, repr=False)

    def __fspath__(self) -> str:
        return os.fspath(self.file)

    @property
    def sentences(self) -> list[str]:
        """What it was calibrated with, what authenticity says of the photos, and whether many seem to be mislabelled."""
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.pairs.items() if count)
        taken = "" if self.kinds_said else " Nothing says of what kind they are: label 0 was taken for two people."
        said = [f"Calibrated on {sum(self.pairs.values()):,} pairs: {kinds}.{taken}"]
        said += [] if self.authenticity is None else [self.authenticity.told()]
        return said + self._wrong_labels()

    def _wrong_labels(self) -> list[str]:
        share = self.calibration.mislabelled
        if share < _NOTABLE:
            return []
        said = f"About {100 * share:.0f} % of the pairs of one person look as if they showed two, which the calibration allows for"
        return [f"{said}: bonaface clean finds photos in the wrong person's folder."]

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    def __rich__(self) -> ConsoleRenderable:
        known = any(point.threshold.low is not None for point in self.points)
        brackets = "in brackets 95 % intervals" if known else "too few people for intervals"
        table = Table(
            title=f"thresholds from {self.validation.impostor_pairs:,} pairs of two people; {brackets}",
            title_justify="left",
            caption="The shares are of the very pairs that the thresholds come from: report those of other people, as bonaface "
            "evaluate gives them.",
            caption_justify="left",
        )
        fakes = self.points[0].accepted is not None
        for name in ("FMR", "threshold", "genuine refused", *(["own deepfakes pass"] if fakes else [])):
            table.add_column(name, justify="right", no_wrap=True)
        for point in self.points:
            at = point.threshold
            shares = [point.refused, *([] if point.accepted is None else [point.accepted])]
            ends = "" if at.low is None or at.high is None else f" [{at.low:.3f}, {at.high:.3f}]"
            table.add_row(f"{100 * at.fmr:.3g} %", f"{at.threshold:.3f}{ends}", *map(percent, shares))
        return Group(*map(Text, self.sentences), Text(), table)
