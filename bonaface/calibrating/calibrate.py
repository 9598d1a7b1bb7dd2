"""The public ``calibrate``: a model with calibration and thresholds from one's own photos."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from bonaface.calibrating.fit import EmbeddedPairs, rates_for
from bonaface.calibrating.labelled_pairs import LabelledPairs
from bonaface.calibrating.report import Authenticity, CalibratedModel, Point
from bonaface.data.splits import refuse_count
from bonaface.errors import ConfigError
from bonaface.evaluation.inputs import PairSource
from bonaface.exporting.calibration_faces import calibration_faces
from bonaface.exporting.conversion import check_request, convert, recalibrate
from bonaface.exporting.model_card import card_of
from bonaface.extras import require
from bonaface.inference.backends.exported import ExportedNetwork
from bonaface.inference.backends.onnx import OnnxNetwork
from bonaface.inference.embedder import Embedder, load_embedder
from bonaface.io import check_new_file
from bonaface.metrics import FMRS
from bonaface.verification.calibration import Calibration
from bonaface.verification.scoring import passing, similarity
from bonaface.verification.thresholds import Validation, rates_of, select_threshold

__all__ = ["CalibratedModel", "calibrate"]

PathLike = str | os.PathLike[str]

_HEAD = "\n\n## Calibrated\n\n"
"""Of the last section of the model card."""


def calibrate(
    model: PathLike | None,
    pairs: PathLike,
    out: PathLike,
    labels: PathLike | None = None,
    *,
    fmr: float | Sequence[float] = (),
    draw: int = 2000,
    seed: int = 0,
    device: str = "auto",
    detector: PathLike | None = None,
    console: Console | None = None,
) -> CalibratedModel:
    """Write a model whose thresholds and probabilities come from your own labelled photos.

    The file is what ``bonaface export`` writes: preprocessing, face detector, calibration, thresholds with their intervals and the
    model card are in it, and ``bonaface.load`` and every command take it. Embeddings stay what they are: a gallery of an exported
    model fits the new file.

    Deepfakes among the pairs calibrate authenticity too, where it is known which images they are (``method_0`` and ``method_1``;
    a folder of people says so itself). Without any, the model's calibration of authenticity is kept and its threshold set to where
    1 % of your genuine photos are called deepfakes.

    Args:
        model: a run's folder, an exported ``.onnx`` or an ONNX face network; None is the model that comes with the package.
        pairs: as ``evaluate`` takes them: a folder of ``<pair_id>/0.jpg`` and ``1.jpg``, LFW's folder, a CSV of two paths and a
            label, or a folder of people as training reads it. Their people should be none that the model was trained on or that you
            report figures of.
        out: the ``.onnx`` to write; no file of this name may be there.
        labels: as ``evaluate`` takes them: a CSV of ``pair_id``, ``label`` and, as far as known, ``kind``, ``person_0``,
            ``person_1``, ``method_0`` and ``method_1``; or LFW's pairs.txt. A CSV of pairs and a folder of people need none.
        fmr: false match rates that the pairs must resolve, in (0, 1). Thresholds are stored from the lowest rate that they resolve,
            one in as many as there are pairs of two people, to 10 %; rates between are interpolated.
        draw: how many pairs are drawn from a folder of people; thresholds rest on all pairs of two people among their photos.
        seed: of the draw and the bootstrap.
        device: ``auto``, ``cpu`` or ``cuda``.
        detector: YuNet file that aligns faces for an ONNX face network; it goes into the file.
        console: shows what computes, and progress.

    Returns:
        The file and what was measured; where a path is expected it is the file's.

    Raises:
        ConfigError: if a rate is out of range or the pairs do not resolve it, or the model was exported for OpenVINO.
        DataError: if pairs or labels are not what they should be, or the file is there already or can't be written.
        ModelError: if the model can't be used.
        MissingExtraError: if a package is missing: a run and an ONNX face network need PyTorch, an exported file does not.

    Source: ISO/IEC 19795-1 (FMR), ISO/IEC 30107-3 (BPCER), J. Platt, "Probabilistic outputs for support vector machines", 1999.

    Example:
        >>> import tempfile
        >>> import bonaface
        >>> from bonaface.assets import unpack_demo
        >>> folder = unpack_demo(Path(tempfile.mkdtemp()))
        >>> made = calibrate(None, folder / "train", folder / "mine.onnx", fmr=0.05, draw=20)
        >>> bonaface.load(made).threshold(0.05).threshold == made.points[1].threshold.threshold
        True
    """
    rates = rates_of(fmr)
    out, console = Path(out), console or Console(quiet=True)
    _check(rates, draw, seed, out)
    labelled = LabelledPairs.read(PairSource(Path(pairs), None if labels is None else Path(labels), None, draw, seed))
    labelled.check()
    rates_for(labelled.impostor_pairs, rates, labelled.name)
    loaded = None if model is None else os.fspath(model)
    embedder = load_embedder(loaded, None if detector is None else Path(detector), device)
    _check_model(embedder, out)
    console.print(f"device: {embedder.network.runtime}", highlight=False, markup=False, soft_wrap=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        embedded, unreadable = embedded_pairs(embedder, labelled, progress)
    stored = rates_for(embedded.impostor_pairs, rates, labelled.name)
    with console.status("fitting the calibration and thresholds"):
        calibration = embedded.calibrated(embedder.calibration)
        validation = embedded.validation(calibration, stored, seed)
    made = CalibratedModel(
        out,
        calibration,
        validation,
        embedded.pairs.counts,
        _points(embedded, calibration, validation, rates),
        _authenticity(embedded, embedder.calibration, calibration),
        unreadable,
        labelled.kinds_said,
    )
    before = card_of(embedder, loaded).partition(_HEAD)[0]  # what it says of an earlier calibration holds no more
    card = f"{before.rstrip()}{_HEAD}{' '.join(made.sentences)}\n"
    with console.status("writing the model"):
        _write(replace(embedder, calibration=calibration, validation=validation), out, card)
    return made


def _check(rates: Sequence[float], draw: int, seed: int, out: Path) -> None:
    """Refuse what can be seen to be wrong before anything is read."""
    wrong = [rate for rate in rates if not 0 < rate < 1]
    if wrong:
        raise ConfigError(f"fmr: expected a rate above 0 and below 1, got {wrong[0]:g}")
    refuse_count("draw", draw)
    if seed < 0:
        raise ConfigError(f"seed: expected 0 or more, got {seed}")
    if out.suffix != ".onnx":
        raise ConfigError(f"{out}: expected a name that ends in .onnx")
    check_new_file(out)


def _check_model(embedder: Embedder, out: Path) -> None:
    network = embedder.network
    if isinstance(network, OnnxNetwork):
        return
    if isinstance(network, ExportedNetwork):
        raise ConfigError(
            f"{network.name}: was exported for OpenVINO; expected the run or .onnx that it comes from: calibrate that, and export "
            "the file for OpenVINO"
        )
    require("train", "torch", "onnx2torch", what=f"{network.name}: a model that is no exported file")
    check_request(network, "onnx", out)


def embedded_pairs(
    embedder: Embedder, pairs: LabelledPairs, progress: Progress
) -> tuple[EmbeddedPairs, tuple[str, ...]]:
    """Embed the images of pairs; pairs with one that can't be read are left out."""
    found = embedder.embed(pairs.files, progress)
    place = found.place.reshape(2, len(pairs))  # (2, n)
    readable = np.asarray((place >= 0).all(axis=0))
    kept = pairs.take(readable)
    kept.check()
    embedded = EmbeddedPairs(kept, found.distinct, place[:, readable])
    embedded.refuse_contradictions()
    embedded.refuse_swapped()
    embedded.refuse_unsaid_deepfakes(embedder.calibration)
    return embedded, tuple(sorted(set(found.faults.values())))


def _points(
    embedded: EmbeddedPairs, calibration: Calibration, validation: Validation, asked: Sequence[float]
) -> tuple[Point, ...]:
    scores, kind = similarity(*embedded.sides, calibration), embedded.pairs.kind
    scores = passing(scores, *embedded.sides, calibration)
    genuine, own = scores[kind == "same"], scores[kind == "own_fake"]
    lowest = min(each.fmr for each in validation.thresholds)
    points = []
    for rate in sorted({*asked, *(rate for rate in FMRS if rate >= lowest)}, reverse=True):
        at = select_threshold(validation, rate)
        accepted = float((own >= at.threshold).mean()) if len(own) else None
        points.append(Point(at, float((genuine < at.threshold).mean()), accepted))
    return tuple(points)


def _authenticity(embedded: EmbeddedPairs, before: Calibration | None, after: Calibration) -> Authenticity | None:
    log_odds = embedded.photos.authenticity
    if log_odds is None or before is None:
        return None
    rows, _, is_fake = embedded.distinct()
    called = [each.called_fake(log_odds[rows]) for each in (before, after)]
    shares = [float(each[~is_fake].mean()) for each in called]
    missed = [float(1 - each[is_fake].mean()) for each in called] if is_fake.any() else None
    fakes = int(np.count_nonzero(is_fake))
    of_fakes = None if missed is None else (missed[0], missed[1])
    return Authenticity(len(rows) - fakes, fakes, (shares[0], shares[1]), of_fakes, embedded.unfit_deepfakes(before))


def _write(embedder: Embedder, out: Path, card: str) -> None:
    if isinstance(embedder.network, OnnxNetwork):
        recalibrate(embedder, out, card)
    else:
        convert(embedder, "onnx", out, *calibration_faces(embedder, None), card)
