"""Figures by matplotlib, for notebooks and papers; each function draws into axes and returns them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bonaface.errors import ConfigError
from bonaface.extras import require
from bonaface.metrics import KINDS, det_points
from bonaface.metrics.scores import checked_scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bonaface.evaluation.evaluate import Evaluation

__all__ = ["plot_det", "plot_scores"]

Groups = dict[str, NDArray[Any]]
"""Similarities by kind of pair."""

_STYLES = {
    "same": ("same person", "C2"),
    "impostor": ("another person", "C0"),
    "own_fake": ("own deepfake", "C1"),
    "other_fake": ("another's deepfake", "C4"),
    "different": ("different", "C0"),
}
_RATES = np.array([0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999])


def plot_det(found: Evaluation | Mapping[str, ArrayLike], *, ax: Axes | None = None) -> Axes:
    """Draw the detection error trade-off: false non-match rate over false match rate, both in normal deviates.

    Each kind of negatives is a line; nearer to the origin is better. The lines of further models are dashed.

    Args:
        found: what ``bonaface.evaluate`` returned; or similarities by kind of pair (``same``, and some of ``impostor``,
            ``own_fake``, ``other_fake`` and ``different``), each of shape ``(n,)``, higher is more alike.
        ax: where to draw; new axes by default.

    Returns:
        The axes, labelled and with a legend.

    Raises:
        ConfigError: if kinds are unknown, or ``same`` or all the others are missing.
        DataError: if scores are missing or not finite.
        MissingExtraError: if matplotlib is not installed.

    Source: A. Martin et al., "The DET curve in assessment of detection task performance", Eurospeech 1997.

    Example:
        >>> axes = plot_det({"same": [0.9, 0.8, 0.4], "own_fake": [0.7, 0.3, 0.2, 0.1]})
        >>> axes.get_xlabel(), [line.get_label() for line in axes.get_lines()]
        ('false match rate', ['own deepfake'])
    """
    from scipy.special import ndtri

    models = _by_model(found)
    axes = _axes(ax)
    ends: list[float] = []
    for (model, groups), dash in zip(models.items(), cycle(("-", "--", ":", "-.")), strict=False):
        for kind in [kind for kind in groups if kind != "same"]:
            name, colour = _STYLES[kind]
            fmr, fnmr = det_points(groups["same"], groups[kind])
            label = f"{model}: {name}" if len(models) > 1 else name
            axes.plot(fmr, fnmr, color=colour, linestyle=dash, label=label)
            ends += [*fmr, *fnmr]
    low, high = (min(ends), max(ends)) if ends else (ndtri(0.01), ndtri(0.5))
    places = ndtri(_RATES)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(places, labels=[f"{100 * rate:g} %" for rate in _RATES])
    margin = 0.1
    axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin), aspect="equal")
    axes.set(xlabel="false match rate", ylabel="false non-match rate")
    axes.grid(alpha=0.3)
    axes.legend()
    return axes


def plot_scores(
    found: Evaluation | Mapping[str, ArrayLike],
    *,
    threshold: float | None = None,
    model: str | None = None,
    bins: int = 60,
    ax: Axes | None = None,
) -> Axes:
    """Draw a histogram of the similarities of each kind of pair, as densities.

    Args:
        found: what ``bonaface.evaluate`` returned; or similarities by kind of pair, as ``plot_det`` takes them.
        threshold: a similarity to mark: from there on a pair counts as the same person.
        model: which of several models, by its name.
        bins: columns over the range of all similarities.
        ax: where to draw; new axes by default.

    Returns:
        The axes, labelled and with a legend.

    Raises:
        ConfigError: if kinds are unknown, ``same`` or all the others are missing, or the model is not one of those judged.
        DataError: if scores are missing or not finite.
        MissingExtraError: if matplotlib is not installed.

    Example:
        >>> axes = plot_scores({"same": [0.9, 0.8, 0.4], "impostor": [0.3, 0.2, 0.1]}, threshold=0.35)
        >>> axes.get_legend_handles_labels()[1]
        ['same person', 'another person', 'threshold']
    """
    models = _by_model(found)
    if model not in models and (model is not None or len(models) > 1):
        raise ConfigError(f"model: expected one of {', '.join(models)}, got {model}")
    groups = next(iter(models.values())) if model is None else models[model]
    axes = _axes(ax)
    edges = np.histogram_bin_edges(np.concatenate([*groups.values()]), bins).tolist()
    for kind, similarity in groups.items():
        name, colour = _STYLES[kind]
        axes.hist(similarity, edges, density=True, alpha=0.5, color=colour, label=name)
    if threshold is not None:
        axes.axvline(threshold, color="black", linestyle="--", label="threshold")
    axes.set(xlabel="similarity", ylabel="density")
    axes.legend()
    return axes


def _axes(ax: Axes | None) -> Axes:
    require("plot", "matplotlib", what="figures")
    from matplotlib import pyplot

    return pyplot.subplots()[1] if ax is None else ax


def _by_model(found: Evaluation | Mapping[str, ArrayLike]) -> dict[str, Groups]:
    """The similarities of each model by kind, in the order of ``KINDS``."""
    if isinstance(found, Mapping):
        return {"": _checked(found)}
    from bonaface.evaluation.figures import groups_of

    groups = groups_of(found.labels)
    return {
        scores.name: _checked({kind: scores.similarity[mask] for kind, mask in groups.items()})
        for scores in found.scores
    }


def _checked(groups: Mapping[str, ArrayLike]) -> Groups:
    unknown = [kind for kind in groups if kind not in _STYLES]
    if unknown:
        raise ConfigError(f"{unknown[0]}: no kind of pair; expected {', '.join(_STYLES)}")
    if "same" not in groups or len(groups) == 1:
        raise ConfigError("similarities: expected those of same and of at least one other kind of pair")
    order = [kind for kind in (*KINDS, "different") if kind in groups]
    return {kind: checked_scores(groups[kind], kind) for kind in order}
