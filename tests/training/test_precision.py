"""What training computes in: the choice by measurement, its note, and that measuring leaves the network alone."""

import copy
import io
import json

import pytest
import torch
from rich.console import Console

from bonaface.errors import ConfigError
from bonaface.models.face_model import build_model
from bonaface.training.precision import Precision, choose_precision, fastest, lightning_precision


@pytest.fixture
def branches(config):
    return build_model(config().model).trained


def test_measuring_leaves_weights_statistics_and_random_numbers_alone(branches):
    before = copy.deepcopy({name: branch.state_dict() for name, branch in branches.items()})
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    speeds = fastest(branches)
    assert torch.equal(torch.rand(2), expected)
    for name, branch in branches.items():
        torch.testing.assert_close(branch.state_dict(), before[name], rtol=0, atol=0)
        assert all(weight.grad is None for weight in branch.parameters())
    values = list(speeds.values())
    assert values == sorted(values, reverse=True)
    assert {how.channels_last for how in speeds} == {True, False}


def test_a_choice_is_noted_told_and_read_back(branches, tmp_path):
    told = io.StringIO()
    note = tmp_path / "precision.json"
    best = choose_precision(branches, "auto", "cpu", note, Console(file=told, width=300))
    assert json.loads(note.read_text()) == {"precision": best.precision, "channels_last": best.channels_last}
    assert f"precision: {best} " in told.getvalue()
    other = Precision("32-true", not best.channels_last)
    note.write_text(json.dumps({"precision": "32-true", "channels_last": other.channels_last}))
    assert choose_precision(branches, "auto", "cpu", note, Console(file=told)) == other


@pytest.mark.parametrize("text", ["{", '{"precision": "32-true", "speed": 3}', "3", "[" * 100_000])
def test_a_broken_note_is_refused(branches, tmp_path, text):
    note = tmp_path / "precision.json"
    note.write_text(text)
    with pytest.raises(ConfigError, match="delete it to measure again"):
        choose_precision(branches, "auto", "cpu", note, Console(file=io.StringIO()))


def test_what_is_set_is_not_measured(branches, tmp_path):
    note = tmp_path / "precision.json"
    assert choose_precision(branches, "16", "cuda", note, Console()) == Precision("16-mixed")
    assert choose_precision(branches, "32", "cpu", note, Console()) == Precision("32-true")
    assert not note.exists()


def test_several_processes_follow_the_rule(branches):
    assert choose_precision(branches, "auto", "cpu", None, Console()).precision == lightning_precision("auto", "cpu")


def test_precisions():
    assert [lightning_precision(name, "cpu") for name in ("32", "bf16", "16")] == ["32-true", "bf16-mixed", "16-mixed"]
    assert lightning_precision("auto", "cpu") in {"32-true", "bf16-mixed"}


def test_a_training_measures_and_goes_on_as_it_began(trained):
    run = trained("measured", precision="auto", steps=2)
    note = json.loads((run / "precision.json").read_text())
    assert note["precision"] in {"32-true", "bf16-mixed"}
