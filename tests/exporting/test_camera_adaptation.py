"""Cameras that a model does not know: their genuine photos move its judgement, and nothing else."""

import dataclasses

import numpy as np
import pytest

from bonaface.errors import ConfigError, DataError
from bonaface.exporting.camera_adaptation import adapt
from bonaface.verification.calibration import Logistic

pytest_plugins = ("tiny_models",)


def suspicious(embedder, by):
    """The same model, less trusting by some log-odds."""
    genuine = embedder.calibration.genuine
    moved = dataclasses.replace(embedder.calibration, genuine=Logistic(genuine.slope, genuine.bias - by))
    return dataclasses.replace(embedder, calibration=moved)


@pytest.fixture
def folder(plain_tree):
    return plain_tree({"Ann": 30, "Bob": 30})


def test_photos_taken_for_deepfakes_are_believed(tiny_embedder, folder):
    model = suspicious(tiny_embedder, 50.0)
    found = adapt(model, folder)
    assert (found.photos, found.before, found.after) == (60, 1.0, 0.0)
    before, after = model.calibration, found.embedder.calibration
    assert after.same == before.same
    assert after.genuine.bias - before.genuine.bias == pytest.approx(found.shift)
    assert found.embedder.fingerprint == model.fingerprint  # embeddings are what they were
    said = model.embed(sorted(folder.rglob("*.jpg"))).distinct.authenticity
    believed = 1 / (1 + np.exp(-after.genuine.log_odds(said)))
    assert 0.94 <= (believed >= 0.95 - 1e-9).mean() <= 0.97
    again = adapt(found.embedder, folder)
    assert again.shift == pytest.approx(0.0, abs=1e-9)


def test_a_camera_that_is_known_changes_nothing(tiny_embedder, folder):
    trusting = suspicious(tiny_embedder, -50.0)
    found = adapt(trusting, folder)
    assert found.shift == 0.0
    assert found.embedder.calibration == trusting.calibration
    assert found.told().startswith("60 genuine photos: 0.0% were taken for deepfakes, 0.0% are now")


def test_deepfakes_are_no_measure(tiny_embedder, challenge_train):
    mixed = challenge_train({f"{n:08d}": [0, 0, 0, 0, 0, 1, 1] for n in range(10)})
    assert adapt(tiny_embedder, mixed).photos == 50


def test_what_cannot_be_adapted(tiny_embedder, folder, plain_tree):
    plain = dataclasses.replace(tiny_embedder, calibration=dataclasses.replace(tiny_embedder.calibration, genuine=None))
    with pytest.raises(ConfigError, match="does not judge whether photos are genuine"):
        adapt(plain, folder)
    few = plain_tree({"Ann": 49}, "few")
    with pytest.raises(DataError, match="49 distinct genuine photos can be read; expected at least 50"):
        adapt(tiny_embedder, few)
