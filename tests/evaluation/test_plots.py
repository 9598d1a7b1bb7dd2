"""Figures by matplotlib show the scores that they are given."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from scipy.stats import norm

from bonaface.errors import ConfigError, DataError, MissingExtraError
from bonaface.evaluation import plot_det, plot_scores
from bonaface.evaluation.evaluate import evaluate

mpl.use("agg")

BY_KIND = {
    "other_fake": np.linspace(0.0, 0.4, 30),
    "own_fake": np.linspace(0.3, 0.9, 40),
    "same": np.linspace(0.4, 1.0, 50),
    "impostor": np.linspace(-0.2, 0.5, 60),
}


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def two_models():
    kinds = np.repeat(list(BY_KIND), [len(each) for each in BY_KIND.values()])
    labels = pd.DataFrame({"label": (kinds == "same").astype(int), "kind": kinds})
    scores = np.concatenate(list(BY_KIND.values()))
    noise = np.random.default_rng(0).normal(0, 0.2, len(scores))
    return evaluate(scores={"ours": scores, "theirs": scores + noise}, labels=labels, replicates=2)


def names(axes):
    return axes.get_legend_handles_labels()[1]


def test_det_has_a_line_a_kind_through_its_error_rates():
    axes = plot_det(BY_KIND)
    assert names(axes) == ["another person", "own deepfake", "another's deepfake"]
    line = next(line for line in axes.get_lines() if line.get_label() == "own deepfake")
    same, fakes = BY_KIND["same"], BY_KIND["own_fake"]
    thresholds = np.unique([*same, *fakes])
    rates = {(np.mean(fakes >= at), np.mean(same < at)) for at in thresholds}
    drawn = norm.cdf(line.get_xydata())
    assert len(drawn) > 10
    for fmr, fnmr in drawn:
        assert min(abs(fmr - x) + abs(fnmr - y) for x, y in rates) < 1e-9
    assert axes.get_xlim() == axes.get_ylim()
    assert "1 %" in [text.get_text() for text in axes.get_xticklabels()]


def test_a_verifier_without_errors_has_a_figure_all_the_same():
    axes = plot_det({"same": [0.9, 0.8], "impostor": [0.1, 0.2]})
    assert not len(axes.get_lines()[0].get_xydata())
    axes.figure.canvas.draw()


def test_models_are_told_apart_by_their_dashes(two_models):
    axes = plot_det(two_models)
    assert names(axes)[0] == "ours: another person"
    assert names(axes)[-1] == "theirs: another's deepfake"
    dashes = {line.get_label().partition(":")[0]: line.get_linestyle() for line in axes.get_lines()}
    assert dashes == {"ours": "-", "theirs": "--"}


def test_a_histogram_holds_every_pair_once():
    axes = plot_scores(BY_KIND, threshold=0.45, bins=20)
    assert names(axes) == ["same person", "another person", "own deepfake", "another's deepfake", "threshold"]
    for bars, kind in zip(axes.containers, ("same", "impostor", "own_fake", "other_fake"), strict=True):
        counts, edges = np.histogram(BY_KIND[kind], np.linspace(-0.2, 1.0, 21))
        expected = counts / len(BY_KIND[kind]) / np.diff(edges)
        np.testing.assert_allclose([bar.get_height() for bar in bars], expected)
    (mark,) = axes.get_lines()
    assert mark.get_xdata()[0] == 0.45


def test_one_of_several_models_is_chosen_by_name(two_models):
    first, second = (plot_scores(two_models, model=name) for name in ("ours", "theirs"))
    heights = [[bar.get_height() for bar in axes.containers[0]] for axes in (first, second)]
    assert heights[0] != heights[1]
    for model in (None, "nobody's"):
        with pytest.raises(ConfigError, match=f"model: expected one of ours, theirs, got {model}"):
            plot_scores(two_models, model=model)


@pytest.mark.parametrize("plot", [plot_det, plot_scores])
def test_both_draw_where_they_are_told(plot):
    _, axes = pyplot.subplots(1, 2)
    assert plot(BY_KIND, ax=axes[1]) is axes[1]
    assert not axes[0].has_data()
    assert plot(BY_KIND) is not axes[1]


@pytest.mark.parametrize("plot", [plot_det, plot_scores])
@pytest.mark.parametrize(
    ("scores", "error", "said"),
    [
        ({"same": [1.0]}, ConfigError, "expected those of same and of at least one other"),
        ({"impostor": [1.0], "own_fake": [1.0]}, ConfigError, "expected those of same"),
        ({"same": [1.0], "stranger": [0.0]}, ConfigError, "stranger: no kind of pair; expected same, impostor"),
        ({"same": [1.0, np.nan], "impostor": [0.0]}, DataError, "same: expected finite scores"),
        ({"same": [1.0], "impostor": []}, DataError, "impostor: expected at least one score"),
    ],
)
def test_bad_scores_are_refused_in_one_sentence(plot, scores, error, said):
    with pytest.raises(error, match=said):
        plot(scores)
    assert not pyplot.get_fignums()


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("bonaface.extras._is_installed", lambda module: module != "matplotlib")
    with pytest.raises(MissingExtraError, match=r"figures: needs matplotlib.*pip install 'bonaface\[plot\]'"):
        plot_det(BY_KIND)
