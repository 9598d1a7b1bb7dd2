"""Scores and labels to every figure of a report."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.errors import DataError
from bonaface.evaluation.scores import PairScores
from bonaface.evaluation.threshold_table import (
    Bootstrap,
    Bounds,
    add_iapar_by_method,
    bounds,
    operating_rows,
    with_rule_of_three,
)
from bonaface.io import atomic_write
from bonaface.metrics import (
    FMRS,
    KINDS,
    a_dcf,
    auc,
    cllr,
    eer_by_method,
    eer_differences,
    eer_intervals,
    eers_by_kind,
    fake_score_eer,
    fake_score_errors,
    fold_accuracy,
    min_cllr,
    min_dcf,
    reliability,
)
from bonaface.metrics.eer import eer_from_counts, methods_of, negatives_by_name
from bonaface.metrics.resampling import Statistic, counter, replicate
from bonaface.verification.calibration import Logistic
from bonaface.verification.threshold_fitting import fit_llr

__all__ = ["bootstrap_of", "calibration_figures", "compare", "groups_of", "impostor_pairs", "judge", "write_metrics"]


def bootstrap_of(labels: pd.DataFrame, replicates: int = 1000, seed: int = 0) -> Bootstrap:
    """Choose what is drawn anew: people where the labels name two or more and one for every image, else pairs.

    Args:
        labels: as ``read_labels`` returns them.
        replicates: how many draws.
        seed: of the draws.
    """
    if {"person_0", "person_1"} <= set(labels) and not (labels[["person_0", "person_1"]] == "").any(axis=None):
        first, second = (labels[name].to_numpy(dtype=str) for name in ("person_0", "person_1"))
        if len({*first.tolist(), *second.tolist()}) > 1:
            return Bootstrap(first, second, "people", replicates, seed=seed)
    number = np.arange(len(labels))
    return Bootstrap(number, number, "pairs", replicates, seed=seed)


def groups_of(labels: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """The pairs of each kind that occurs, in the order of ``KINDS``; ``same`` and ``different`` where kinds are not known.

    Example:
        >>> groups_of(pd.DataFrame({"label": [1, 0]}))["different"].tolist()
        [False, True]
    """
    mated = labels["label"].to_numpy() == 1
    if "kind" not in labels:
        return {"same": mated, "different": ~mated}
    kind = labels["kind"].to_numpy(dtype=str)
    return {name: kind == name for name in KINDS if (kind == name).any()}


def impostor_pairs(labels: pd.DataFrame) -> int:
    """How many pairs of two people there are; without kinds every non-mated pair counts.

    Example:
        >>> impostor_pairs(pd.DataFrame({"label": [1, 0, 0], "kind": ["same", "impostor", "own_fake"]}))
        1
    """
    groups = groups_of(labels)
    return int(groups.get("impostor", groups.get("different", np.zeros(1, bool))).sum())


def judge(
    scores: PairScores,
    labels: pd.DataFrame,
    bootstrap: Bootstrap,
    fmrs: Sequence[float] = FMRS,
    headline: float = 1e-2,
) -> dict[str, Any]:
    """Compute every figure of one model.

    Args:
        scores: of the judged pairs.
        labels: as ``read_labels`` returns them, in the same order.
        bootstrap: how intervals are found.
        fmrs: false match rates of the operating points.
        headline: the one of them that the first sentence is about.

    Returns:
        Plain values for JSON: the names of ``eers_by_kind`` and their ``intervals``; ``auc``, ``min_dcf``, ``a_dcf``;
        ``operating_points`` (see ``operating_rows``); ``calibration``; ``by_method`` and ``by_method_intervals``, worst
        first; ``fake_score`` where the model judges single photos; ``lfw`` where pairs have folds; counts.

    Raises:
        DataError: if scores are not finite, or one class is missing.
    """
    similarity, groups = scores.similarity, groups_of(labels)
    kind = labels["kind"].to_numpy(dtype=str) if "kind" in labels else None
    figures: dict[str, Any] = {"model": scores.name, "source": scores.source}
    figures |= eers_by_kind(similarity, labels["label"], kind)
    figures["intervals"] = _eer_bounds(figures, similarity, labels, kind, bootstrap)
    figures |= _whole_curves(similarity, groups)
    points = operating_rows(scores.passing, groups, scores.validation, bootstrap, fmrs)
    figures["headline_fmr"] = headline
    figures["threshold_source"] = scores.validation_source if scores.validation else ""
    if kind is not None and {"method_0", "method_1"} <= set(labels):
        methods = labels["method_0"].to_numpy(dtype=str), labels["method_1"].to_numpy(dtype=str)
        figures["by_method"] = eer_by_method(similarity, labels["label"], kind, *methods)
        figures["by_method_intervals"] = _method_bounds(similarity, kind, methods, bootstrap)
        if "own_fake" in groups:
            add_iapar_by_method(points, scores.passing, kind, *methods)
        figures |= _fake_score(scores, methods)
    figures["operating_points"] = points
    llr = scores.validation.llr if scores.validation else None
    figures["calibration"] = calibration_figures(similarity, groups["same"], llr)
    if "fold" in labels and labels["fold"].nunique() > 1:  # LFW's development lists are one fold: no other to choose by
        figures["lfw"] = asdict(fold_accuracy(similarity, labels["label"], labels["fold"]))
    return figures | _counts(scores, groups, bootstrap)


def calibration_figures(
    similarity: NDArray[np.float64], mated: NDArray[np.bool_], llr: Logistic | None
) -> dict[str, Any]:
    """Cllr, its minimum, and the reliability diagram of same against all other pairs.

    Args:
        similarity: shape ``(n,)``.
        mated: whether each pair is mated, shape ``(n,)``; both occur.
        llr: similarity to log-likelihood ratio, from other pairs; without it one is fitted on the judged pairs, and
            ``source`` says so.

    Returns:
        ``source`` (``validation`` or ``judged``), ``slope``, ``bias``, ``cllr``, ``min_cllr`` (bits), ``reliability``.
    """
    used = fit_llr(similarity, mated) if llr is None else llr
    ratio = used.log_odds(similarity)
    return {
        "source": "judged" if llr is None else "validation",
        "slope": used.slope,
        "bias": used.bias,
        "cllr": cllr(ratio[mated], ratio[~mated]),
        "min_cllr": min_cllr(similarity[mated], similarity[~mated]),
        "reliability": reliability(ratio, mated),
    }


def _eer_bounds(
    figures: dict[str, Any], similarity: NDArray[np.float64], labels: pd.DataFrame, kind: Any, bootstrap: Bootstrap
) -> dict[str, Bounds]:
    people = bootstrap.person_0, bootstrap.person_1
    settings: Any = {"rng": bootstrap.rng(), "replicates": bootstrap.replicates, "level": bootstrap.level}
    ends: dict[str, tuple[float | None, float | None]] = {name: (None, None) for name in figures if "eer" in name}
    with contextlib.suppress(DataError):  # too few people: figures stand without intervals, and the report says so
        found = eer_intervals(similarity, labels["label"], kind, *people, **settings)
        ends |= {name: (each.low, each.high) for name, each in found.items()}
    mated = labels["label"].to_numpy() == 1
    negatives = {name: int(mask.sum()) for name, mask in negatives_by_name(mated, kind).items()}
    return {
        name: with_rule_of_three(
            {"estimate": figures[name], "low": low, "high": high},
            min(int(mated.sum()), negatives[name.removesuffix("_rocch")]),
        )
        for name, (low, high) in ends.items()
    }


def _whole_curves(similarity: NDArray[np.float64], groups: dict[str, NDArray[np.bool_]]) -> dict[str, Any]:
    """Figures that need no threshold."""
    same = similarity[groups["same"]]
    negatives = {name: similarity[mask] for name, mask in groups.items() if name != "same"}
    everyone = np.concatenate(list(negatives.values()))
    made: dict[str, Any] = {"auc": {"all": auc(same, everyone)}}
    made["auc"] |= {name: auc(same, scores) for name, scores in negatives.items()}
    made["min_dcf"] = {"all": min_dcf(same, everyone)} | {name: min_dcf(same, each) for name, each in negatives.items()}
    fakes = [negatives[name] for name in ("own_fake", "other_fake") if name in negatives]
    if fakes and "impostor" in negatives:
        made["a_dcf"] = a_dcf(same, negatives["impostor"], np.concatenate(fakes))
    return made


def _method_bounds(
    similarity: NDArray[np.float64], kind: NDArray[np.str_], methods: tuple[Any, Any], bootstrap: Bootstrap
) -> dict[str, Bounds]:
    mated, fakes, names = kind == "same", kind == "own_fake", methods_of(kind, *methods)
    statistics: dict[str, Statistic] = {}
    for name in np.unique(names[fakes]):
        count, _ = counter(similarity, mated, mated | (fakes & (names == name)))

        def statistic(weights: NDArray[np.int64], count: Any = count) -> float:
            same, different = count(weights)
            held = (same + different) > 0
            return eer_from_counts(same[held], different[held]) if same.any() and different.any() else np.nan

        statistics[str(name)] = statistic
    people = bootstrap.person_0, bootstrap.person_1
    estimates, drawn = replicate(
        statistics, *people, len(similarity), bootstrap.replicates, bootstrap.level, bootstrap.rng()
    )
    counts = {name: int((fakes & (names == name)).sum()) for name in statistics}
    return {
        name: with_rule_of_three(
            bounds(estimates[name], drawn[name], bootstrap.level), min(int(mated.sum()), counts[name])
        )
        for name in statistics
    }


def _fake_score(scores: PairScores, methods: tuple[Any, Any]) -> dict[str, Any]:
    """APCER, BPCER and their equal point, of all images of the pairs; an image counts as often as it occurs.

    Both are given at the threshold below which the model classifies an image as a deepfake, and at even odds (``_at_0``).
    Where the pairs hold no deepfake there is the BPCER alone.
    """
    if scores.authenticity is None:
        return {}
    real = np.stack(methods, axis=1) == "real"  # (n, 2)
    readable = np.isfinite(scores.authenticity)
    genuine, fakes = scores.authenticity[real & readable], scores.authenticity[~real & readable]
    if not len(genuine):
        return {}
    threshold = scores.forged_below
    found: dict[str, Any] = {"genuine": len(genuine), "fakes": len(fakes), "threshold": threshold}
    found |= {"bpcer": float((genuine < threshold).mean()), "bpcer_at_0": float((genuine < 0).mean())}
    if len(fakes):
        found["apcer"], _ = fake_score_errors(genuine, fakes, threshold)
        found["apcer_at_0"], _ = fake_score_errors(genuine, fakes, 0.0)
        found |= {"d_eer": fake_score_eer(genuine, fakes), "auc": auc(genuine, fakes)}
    return {"fake_score": found}


def _counts(scores: PairScores, groups: dict[str, NDArray[np.bool_]], bootstrap: Bootstrap) -> dict[str, Any]:
    people = {*np.asarray(bootstrap.person_0).tolist(), *np.asarray(bootstrap.person_1).tolist()}
    return {
        "pairs": len(scores.similarity),
        "pairs_by_kind": {name: int(mask.sum()) for name, mask in groups.items()},
        "people": len(people) if bootstrap.unit == "people" else None,
        "bootstrap": {
            "unit": bootstrap.unit,
            "replicates": bootstrap.replicates,
            "level": bootstrap.level,
            "seed": bootstrap.seed,
        },
        "unreadable_images": len(scores.unreadable),
        "spoiled_pairs": 0 if scores.spoiled is None else int(scores.spoiled.sum()),
        "faceless_images": None if scores.faceless is None else len(scores.faceless),
    }


def compare(scores: Sequence[PairScores], labels: pd.DataFrame, bootstrap: Bootstrap) -> list[dict[str, Any]]:
    """Compare each further model with the first, on the same draws of people.

    Returns:
        For each: ``model``, ``against``, and by the names of ``eers_by_kind`` the difference (model minus the first), its
        interval and p value in ``differences``; empty where there are too few people to say.
    """
    kind = labels["kind"].to_numpy(dtype=str) if "kind" in labels else None
    people = bootstrap.person_0, bootstrap.person_1
    rows = []
    for other in scores[1:]:
        try:
            found = eer_differences(
                other.similarity,
                scores[0].similarity,
                labels["label"],
                kind,
                *people,
                rng=bootstrap.rng(),
                replicates=bootstrap.replicates,
                level=bootstrap.level,
            )
        except DataError:
            found = {}
        differences = {name: asdict(each) for name, each in found.items()}
        rows.append({"model": other.name, "against": scores[0].name, "differences": differences})
    return rows


def write_metrics(figures: dict[str, Any], file: Path) -> None:
    """Write every figure as JSON.

    Raises:
        DataError: if it can't be written.
    """
    with atomic_write(file) as temporary:
        temporary.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n", encoding="utf-8")
