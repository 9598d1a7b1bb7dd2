"""The run's curves as one page."""

import math
import re
import xml.etree.ElementTree as ET

import pytest

from bonaface.config import OptimizerConfig
from bonaface.training.curves import learning_rates, write_curves
from bonaface.training.optim import Length, learning_rate

HISTORY = [
    {"step": 0, "train_loss": math.nan, "val_challenge_eer": 0.4, "val_spf_eer": 0.5, "val_worst_eer": 0.1},
    {"step": 10, "train_loss": 2.0, "val_challenge_eer": 0.2, "val_spf_eer": 0.3, "val_worst_eer": 0.2},
    {"step": 20, "train_loss": 1.0, "val_challenge_eer": 0.3, "val_spf_eer": 0.1, "val_worst_eer": 0.3},
]
RATES = ([0, 10, 19], [0.0, 1e-3, 0.0])


def written(tmp_path, history, title="mine"):
    write_curves(tmp_path / "curves.html", title, history, RATES)
    return (tmp_path / "curves.html").read_text(encoding="utf-8")


def charts(page):
    found = [ET.fromstring(each) for each in re.findall(r'<svg viewBox="0 0 440.*?</svg>', page)]  # noqa: S314 - our own
    return {each.attrib["aria-label"]: each for each in found}


def test_each_figure_has_its_chart_and_each_validation_its_row(tmp_path):
    page = written(tmp_path, HISTORY)
    found = charts(page)
    assert list(found) == ["Training loss", "Error rates on the validation pairs", "Learning rate"]
    lines = {name: len(list(each.iter("polyline"))) for name, each in found.items()}
    assert lines == {"Training loss": 1, "Error rates on the validation pairs": 2, "Learning rate": 1}
    assert "<td>20</td><td>1.0000</td><td>0.3000</td><td>0.1000</td>" in page
    assert "<td>0</td><td>-</td><td>0.4000</td><td>0.5000</td>" in page
    assert "own deepfake" in page
    assert "another person" not in page


def test_the_best_step_is_a_trained_one_and_marked(tmp_path):
    """The untrained model has the lowest error rate here, and is never best.ckpt."""
    page = written(tmp_path, HISTORY)
    assert "20 steps; the best weights are those of step 10." in page
    (mark,) = (line for line in charts(page)["Training loss"].iter("line") if line.attrib["class"] == "threshold")
    left, right, width = 64, 20, 440
    assert float(mark.attrib["x1"]) == pytest.approx(left + 10 / 20 * (width - left - right), abs=0.1)


def test_several_sources_have_a_chart_of_their_own(tmp_path):
    sources = {"val_challenge_eer/ours": 0.1, "val_challenge_eer/<theirs>": 0.3}
    page = written(tmp_path, [row | sources for row in HISTORY], "a <b>")
    assert len(list(charts(page)["Error rate of each source"].iter("polyline"))) == 2
    assert "&lt;theirs&gt;" in page
    assert "<b>" not in page


@pytest.mark.parametrize("history", [HISTORY[:1], [HISTORY[0] | {"step": 0.0, "val_worst_eer": math.nan}]])
def test_an_untrained_run_has_a_page(tmp_path, history):
    assert list(charts(written(tmp_path, history)))


def test_the_page_has_no_script_and_fetches_nothing(tmp_path):
    page = written(tmp_path, HISTORY)
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_rates_are_those_of_the_optimiser_at_each_step():
    """Against a count of the optimiser's moves, one by one; it also moves at the end of each round."""
    settings = OptimizerConfig(lr=2e-3, warmup=0.3, schedule="cosine", accumulate=3)
    length = Length(steps=14, val_every=5)
    moves, seen = 0, []
    for step in range(14):
        seen.append(moves)
        at_end = (step + 1) % 5 == 0 or step == 13
        moves += at_end or (step % 5 + 1) % 3 == 0
    steps, rates = learning_rates(length, settings, reached=14)
    assert steps == list(range(14))
    assert moves == length.optimizer_steps(3)
    assert rates == pytest.approx([2e-3 * learning_rate(move, moves, settings) for move in seen])


def test_many_steps_are_thinned():
    steps, rates = learning_rates(Length(100_000, 1000), OptimizerConfig(), reached=60_000)
    assert len(steps) == len(rates) == 200
    assert steps[-1] == 59_999
