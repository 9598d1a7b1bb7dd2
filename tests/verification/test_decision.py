"""Verdicts: which evidence leads to which answer, and that the answer never contradicts the similarity."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bonaface.errors import ConfigError, ModelError
from bonaface.verification.calibration import Calibration, Logistic, OwnFakeRatio
from bonaface.verification.decision import Verdict, judge
from bonaface.verification.embeddings import Embeddings
from bonaface.verification.scoring import similarity
from bonaface.verification.thresholds import Threshold, Validation

CALIBRATION = Calibration(Logistic(30.0, -9.0), Logistic(1.0, 0.0))
VALIDATION = Validation((Threshold(1e-2, -1.2, -1.3, -1.1, 900), Threshold(1e-3, -0.3, -0.4, -0.2, 900)), None, 900)


def photos(angle, *odds):
    radians = np.radians(angle)
    vector = np.float32([[np.cos(radians), np.sin(radians)]])
    return Embeddings(vector, np.float32(odds) if odds else None)


def verdict(angle, first, second, fmr=1e-3):
    (made,) = judge(photos(0, first), photos(angle, second), CALIBRATION, VALIDATION, fmr)
    return made


@pytest.mark.parametrize(
    ("angle", "first", "second", "decision", "named"),
    [
        (20, 5, 5, "same person", "alike enough"),
        (20, 5, -5, "not genuine", "The second photo looks forged"),
        (20, -5, 5, "not genuine", "The first photo looks forged"),
        (20, -5, -5, "not genuine", "The first and the second photo look forged"),
        (90, 5, 5, "different people", "not alike"),
        (90, 5, -5, "different people", "the second photo looks forged"),
        (73, 5, 5, "cannot tell", "neither alike enough nor clearly different"),
        (20, 0.2, 0.2, "cannot tell", "whether both photos are genuine is not sure"),
    ],
)
def test_decisions(angle, first, second, decision, named):
    made = verdict(angle, first, second)
    assert made.decision == decision
    assert named in made.reason
    assert (made.threshold, made.fmr) == (-0.3, 1e-3)


def test_a_photo_is_called_forged_only_below_the_models_threshold():
    careful = replace(CALIBRATION, forged_below=-2.0)
    for odds, decision in ((-1.9, "cannot tell"), (-2.1, "not genuine")):
        (made,) = judge(photos(0, 5), photos(20, odds), careful, VALIDATION)
        assert made.decision == decision
        assert made.genuine[1] == pytest.approx(1 / (1 + np.exp(-odds)))


def test_a_deepfake_passes_at_no_threshold():
    """However low it is: of a few pairs that do not overlap, or for a high false match rate."""
    lax = replace(VALIDATION, thresholds=(Threshold(0.1, -50.0, -60.0, -40.0, 10),))
    (made,) = judge(photos(0, 5), photos(20, -5), CALIBRATION, lax, 0.1)
    assert made.similarity > made.threshold
    assert (made.decision, made.reason) == ("not genuine", "The second photo looks forged, though the faces are alike.")


@given(
    angle=st.floats(0, 180),
    first=st.floats(-20, 20),
    second=st.floats(-20, 20),
    fmr=st.sampled_from([1e-2, 1e-3]),
)
@settings(deadline=None)
def test_the_similarity_decides_but_no_photo_that_is_called_fake_passes(angle, first, second, fmr):
    made = verdict(angle, first, second, fmr)
    expected = similarity(photos(0, first), photos(angle, second), CALIBRATION)[0]
    assert made.similarity == pytest.approx(expected)
    forged = bool((CALIBRATION.genuine.log_odds(np.float32([first, second])) < 0).any())
    assert (made.decision == "same person") == (made.similarity >= made.threshold and not forged)
    assert 0 <= made.probability <= made.same <= 1
    if made.decision == "not genuine":
        assert min(made.genuine) <= 0.5  # log-odds just below 0 round to it
    swapped = verdict(-angle, second, first, fmr)
    assert swapped.decision == made.decision


def test_many_pairs_are_judged_as_each_alone():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((2, 9, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    a, b = (Embeddings(each, rng.standard_normal(9).astype(np.float32)) for each in vectors)
    for row, made in enumerate(judge(a, b, CALIBRATION, VALIDATION)):
        rows = np.array([row])
        assert [made] == judge(a.take(rows), b.take(rows), CALIBRATION, VALIDATION)


def test_a_plain_model_has_no_fakes_to_tell():
    plain = Validation((Threshold(1e-3, 0.5, 0.4, 0.6, 900),), None, 900)
    calibration = Calibration(Logistic(30.0, -9.0))
    decisions = [judge(photos(0), photos(angle), calibration, plain)[0] for angle in (20, 65, 90)]
    assert [each.decision for each in decisions] == ["same person", "cannot tell", "different people"]
    assert decisions[0].genuine is None


def test_what_cannot_be_judged():
    pair = photos(0, 1.0), photos(0, 1.0)
    with pytest.raises(ConfigError, match=r"fmr 0\.5: expected a rate from"):
        judge(*pair, CALIBRATION, VALIDATION, 0.5)
    with pytest.raises(ConfigError, match="stores no thresholds"):
        judge(*pair, CALIBRATION, None)
    with pytest.raises(ModelError, match=r"no calibration.*bonaface calibrate"):
        judge(*pair, None, VALIDATION)
    with pytest.raises(ModelError, match="not finite"):
        judge(photos(0, float("nan")), pair[1], CALIBRATION, VALIDATION)


@pytest.mark.parametrize(
    ("angle", "first", "second", "decision"),
    [
        (20, 5, 5, "same person"),
        (20, 5, -5, "not genuine"),
        (90, 5, 5, "different people"),
        (20, -0.5, 5, "cannot tell"),
    ],
)
def test_decisions_between_two_rivals(angle, first, second, decision):
    calibration = replace(CALIBRATION, forged_below=-1.0, own_fake=OwnFakeRatio(4.0, 0.8, -1.0))
    validation = Validation((Threshold(1e-3, 4.0, 3.9, 4.1, 900),), None, 900)
    (made,) = judge(photos(0, first), photos(angle, second), calibration, validation)
    assert made.decision == decision
    assert made.probability == pytest.approx(1 / (1 + np.exp(-made.similarity)))


def test_a_verdict_is_not_true_or_false() -> None:
    verdict = Verdict("cannot tell", 0.0, 0.5, 1.0, 0.01, "", 0.5, None)
    with pytest.raises(TypeError, match="a Verdict is neither true nor false; expected its decision compared"):
        bool(verdict)


def test_a_model_that_does_not_judge_authenticity_says_nothing_of_genuine_photos() -> None:
    calibration = Calibration(Logistic(30.0, -9.0), None)
    (made,) = judge(
        photos(0), photos(20), calibration, replace(VALIDATION, thresholds=(Threshold(1e-3, 0.5, None, None, 900),))
    )
    assert (made.decision, made.genuine) == ("same person", None)
    assert made.probability == made.same
    assert made.reason == "The faces are alike enough; the model doesn't judge whether photos are genuine."
