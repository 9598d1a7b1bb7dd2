"""The public ``evaluate``: error rates against other people and against deepfakes, to look at and to write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console, ConsoleRenderable, Group
from rich.progress import Progress
from rich.text import Text

from bonaface.data.pairs import PairTable
from bonaface.data.splits import refuse_count
from bonaface.errors import ConfigError
from bonaface.evaluation.figures import bootstrap_of, compare, impostor_pairs, judge, write_metrics
from bonaface.evaluation.inputs import (
    SAME_PAIRS,
    Labels,
    PairSource,
    Scores,
    copied_pairs,
    read_all_scores,
    read_judged,
    refuse_judged,
)
from bonaface.evaluation.models import load_models, score_models
from bonaface.evaluation.report import ReportInput, versions, write_report
from bonaface.evaluation.robustness import add_robustness, subject_of
from bonaface.evaluation.scores import PairScores, told_apart, write_scores
from bonaface.evaluation.threshold_table import Bootstrap, refuse_unresolved, too_few
from bonaface.evaluation.wording import comparison_verdict, headline, markdown, table_of
from bonaface.inference.embedder import Embedder
from bonaface.io import atomic_write
from bonaface.metrics import FMRS
from bonaface.outputs import refuse_other_folder
from bonaface.verification.thresholds import rates_of

__all__ = ["MARK", "WRITTEN", "Evaluation", "PairSource", "evaluate"]

Model = Path | str | None

WRITTEN = ("metrics.json", "scores.csv", "table.md", "report.html")
"""Files of an evaluation's folder, in the order in which they are written."""
MARK = b'"threshold_source"'
"""Words of its metrics.json."""
_FMR = 1e-2
_MOST_REPLICATES = 100_000
_FEWEST_DEGRADED = 8


@dataclass(frozen=True)
class Evaluation:
    """Error rates of one or more models on the same pairs. Printing it by rich shows the table; ``str`` gives the sentences.

    Args:
        models: the figures of each model by name, plain values: ``challenge_eer``, ``sv_eer``, ``spf_eer``, ``other_fake_eer``,
            ``sasv_eer`` (fractions) and their ``intervals``, ``operating_points``, ``calibration`` and more; see ``judge``.
        comparison: each further model against the first, as ``compare`` returns it.
        scores: the similarities of each model, in the order of ``pairs``.
        pairs: the judged pairs.
        labels: of the pairs.
        settings: name and value of each setting, as the report shows them.
    """

    models: list[dict[str, Any]]
    comparison: list[dict[str, Any]]
    scores: list[PairScores] = field(repr=False)
    pairs: PairTable = field(repr=False)
    labels: pd.DataFrame = field(repr=False)
    settings: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def sentences(self) -> list[str]:
        """Headline of each model, and how further models differ from the first."""
        said = [sentence for figures in self.models for sentence in headline(figures, named=len(self.models) > 1)]
        return said + comparison_verdict(self.comparison, self.models)

    @property
    def unreadable(self) -> list[str]:
        """Reasons why images could not be read, each once."""
        return sorted({why for each in self.scores for why in each.unreadable.values()})

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    def __rich__(self) -> ConsoleRenderable:
        return Group(*(Text(sentence, style="bold") for sentence in self.sentences), Text(), table_of(self.models))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as metrics.json has them."""
        one = len(self.models) == 1
        figures = self.models[0] if one else {"models": self.models, "comparison": self.comparison}
        return figures | {"settings": self.settings, "versions": versions()}

    def write(self, out: Path | str, worst: int = 24) -> Path:
        """Write metrics.json, scores.csv, table.md and report.html.

        Args:
            out: the folder, made where it is missing.
            worst: how many of the worst pairs of each kind the report shows.

        Returns:
            The report.

        Raises:
            DataError: if a file can't be written, or the folder holds something else than an earlier evaluation.
        """
        out = Path(out)
        refuse_other_folder(out, WRITTEN, MARK)
        has_images = bool((self.pairs.frame["path_0"] != "").any())
        write_metrics(self.as_dict(), out / "metrics.json")
        write_scores(self.scores, self.pairs.frame["pair_id"].tolist(), out / "scores.csv")
        with atomic_write(out / "table.md") as temporary:
            temporary.write_text(markdown(self.models), encoding="utf-8", errors="backslashreplace")
        shown = worst if has_images else 0
        write_report(
            ReportInput(self.models, self.scores, self.comparison, self.pairs, self.labels, self.settings, shown),
            out / "report.html",
        )
        return out / "report.html"


def evaluate(
    model: Model | Sequence[Model] = None,
    pairs: Path | str | None = None,
    labels: Labels | None = None,
    *,
    scores: Scores | None = None,
    validation: PairSource | None = None,
    fmr: float | Sequence[float] = (),
    robustness: int = 0,
    draw: int = 2000,
    replicates: int = 1000,
    seed: int = 0,
    device: str = "auto",
    detector: Path | str | None = None,
    console: Console | None = None,
) -> Evaluation:
    """Measure how often a model takes other people and deepfakes for the person.

    Args:
        model: a run's folder, an exported model or an ONNX face network, or several; None is the model that comes with the package.
        pairs: a folder of ``<pair_id>/0.jpg`` and ``1.jpg``, LFW's folder, a CSV of two paths and a label, or a folder of faces as
            training reads it.
        labels: what each pair is: a CSV of ``pair_id``, ``label`` (1 for two genuine photos of one person, else 0) and, as far as
            known, ``kind``, ``person_0``, ``person_1``, ``method_0``, ``method_1``; or LFW's pairs.txt. Beside ``scores`` alone
            also a DataFrame with these columns, or an array. A CSV of pairs and a folder of faces need none.
        scores: similarities from anywhere, in place of a model: CSVs of ``pair_id,similarity``, or by name arrays of shape
            ``(n,)`` in the order of the labels, or Series with their index or pair ids. Higher is more alike.
        validation: other pairs, which thresholds and calibration are taken from; a trained model brings its own.
        fmr: further false match rates to judge at, in (0, 1), the first of which the headline is about. 1e-1 to 1e-5 are always
            judged at, as far as the pairs resolve them.
        robustness: also judge that many pairs degraded and, by a model that has gradients, attacked; 0 for none.
        draw: how many pairs are drawn from a folder of faces.
        replicates: draws of the bootstrap, of people where the labels name them and else of pairs.
        seed: of the bootstrap and the draw.
        device: ``auto``, ``cpu`` or ``cuda``.
        detector: YuNet file that aligns faces for an ONNX face network.
        console: shows progress.

    Returns:
        Every figure with its 95 % interval, to look at (``models``, ``print``) or to write.

    Raises:
        ConfigError: if settings contradict each other or are out of range, or pairs of two people are too few for a rate of
            ``fmr``.
        DataError: if pairs, labels or scores are not what they should be.
        ModelError: if a model can't be used.

    Source: ISO/IEC 19795-1 (FMR, FNMR), ISO/IEC 30107-3 (IAPAR, APCER, BPCER), SASV 2022 (SV-, SPF- and SASV-EER).

    Example:
        >>> labels = pd.DataFrame({"label": [1, 1, 0, 0], "kind": ["same", "same", "impostor", "own_fake"]})
        >>> found = evaluate(scores={"mine": [0.9, 0.8, 0.1, 0.85]}, labels=labels)
        >>> found.models[0]["sv_eer"], found.models[0]["spf_eer"]
        (0.0, 0.5)
    """
    judged = PairSource(pairs, labels, scores, draw, seed)
    rates = rates_of(fmr)
    models = list(model) if isinstance(model, Sequence) and not isinstance(model, str) else [model]
    _check_numbers(rates, robustness, draw, replicates, seed)
    if detector is not None and scores is not None:
        raise ConfigError("detector: finds faces for a model; scores go without")
    _check_sources(judged, models, robustness, validation)
    table, frame = read_judged(judged)
    bootstrap = bootstrap_of(frame, replicates, seed)
    points = _Points(tuple(sorted({*FMRS, *rates}, reverse=True)), rates[0] if rates else _FMR)
    if scores is not None:
        found = read_all_scores(judged, table, validation, points.fmrs)
        for scored in found:
            refuse_unresolved(rates, scored.validation, impostor_pairs(frame))
        figures = [judge(each, frame, bootstrap, points.fmrs, points.headline) for each in found]
    else:
        known, whence = None, ""
        if validation is not None:
            known, whence = read_judged(validation), f"other pairs: {validation.name}"
            refuse_judged(known[0], table)
        where = None if detector is None else Path(detector)
        embedders = load_models(models, where, device)
        _refuse_unresolved(rates, embedders, frame, None if known is None else known[1])
        if console is not None:
            for runtime in dict.fromkeys(each.network.runtime for each in embedders):
                console.print(f"device: {runtime}", highlight=False, markup=False, soft_wrap=True)
        with Progress(console=console, transient=True, disable=console is None or not console.is_terminal) as progress:
            found = score_models(embedders, models, table, known, whence, points.fmrs, seed, progress)
            figures = _judged_images(found, table, frame, bootstrap, points)
            for each, embedder in zip(figures, embedders, strict=True):
                if robustness:
                    add_robustness(each, subject_of(embedder), table, frame, robustness, seed, progress)
    names = told_apart(["command", *(each.name for each in found)])[1:]
    settings = {name: each.source for name, each in zip(names, found, strict=True) if each.source}
    return Evaluation(figures, compare(found, frame, bootstrap), found, table, frame, settings)


@dataclass(frozen=True)
class _Points:
    fmrs: tuple[float, ...]
    headline: float


def _judged_images(
    scores: Sequence[PairScores], pairs: PairTable, labels: pd.DataFrame, bootstrap: Bootstrap, points: _Points
) -> list[dict[str, Any]]:
    """The figures of pairs whose images are at hand: copies are counted too."""
    copies = copied_pairs(pairs, labels)
    return [judge(each, labels, bootstrap, points.fmrs, points.headline) | {"copied_pairs": copies} for each in scores]


def _check_numbers(rates: Sequence[float], robustness: int, draw: int, replicates: int, seed: int) -> None:
    wrong = [rate for rate in rates if not 0 < rate < 1]
    if wrong:
        raise ConfigError(f"fmr: expected a rate above 0 and below 1, got {wrong[0]:g}")
    if not 1 <= replicates <= _MOST_REPLICATES:
        raise ConfigError(f"replicates: expected 1 to {_MOST_REPLICATES:,}, got {replicates}")
    refuse_count("draw", draw)
    if robustness and robustness < _FEWEST_DEGRADED:
        raise ConfigError(f"robustness: expected at least {_FEWEST_DEGRADED} pairs, got {robustness}")
    if seed < 0:
        raise ConfigError(f"seed: expected 0 or more, got {seed}")


def _refuse_unresolved(
    rates: Sequence[float], embedders: Sequence[Embedder], labels: pd.DataFrame, validation: pd.DataFrame | None
) -> None:
    """Refuse rates that were asked for and that there are too few pairs for, before any image is judged."""
    if validation is None:
        for embedder in embedders:
            refuse_unresolved(rates, embedder.validation, impostor_pairs(labels))
        return
    pairs = impostor_pairs(validation)
    for rate in rates:
        if why := too_few(rate, pairs, "validation"):
            raise ConfigError(f"fmr {rate:g}: {why}")


def _check_sources(judged: PairSource, models: Sequence[Model], robustness: int, validation: PairSource | None) -> None:
    """Refuse sources that do not go together, before anything is read."""
    if judged.scores is None and judged.pairs is None:
        raise ConfigError("pairs: a model needs the images of the pairs; only scores go without")
    if judged.scores is not None and models != [None]:
        raise ConfigError("scores: are judged in place of a model; give one of the two")
    if judged.scores is not None and robustness:
        raise ConfigError("robustness: degrades images anew, so it needs a model in place of scores")
    if validation is None:
        return
    if (validation.scores is None) != (judged.scores is None):
        raise ConfigError("validation: expected images beside a model and scores beside scores")
    if validation.scores is not None and validation.labels is None:
        raise ConfigError("validation labels: expected the labels of the validation scores")
    if _count(validation.scores) != _count(judged.scores):
        raise ConfigError(
            f"validation scores: expected as many as the {_count(judged.scores)} scores, got {_count(validation.scores)}"
        )
    equal_pairs = None not in (judged.pairs, validation.pairs) and _same_path(judged.pairs, validation.pairs)
    if judged.files & validation.files or equal_pairs:
        raise ConfigError(f"validation pairs: {SAME_PAIRS}")


def _count(scores: Scores | None) -> int:
    if scores is None:
        return 0
    return 1 if isinstance(scores, Path | str) else len(scores)


def _same_path(first: Path | str | None, second: Path | str | None) -> bool:
    return Path(first or "").resolve() == Path(second or "").resolve()
