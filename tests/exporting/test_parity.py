"""Parity: figures as they are defined, and each limit refused alone."""

import dataclasses

import numpy as np
import pytest

from bonaface.exporting.parity import Parity, compare, refusal
from bonaface.metrics import challenge_eer
from bonaface.verification.calibration import Calibration, Logistic
from bonaface.verification.embeddings import Embeddings
from bonaface.verification.scoring import similarity

CALIBRATION = Calibration(Logistic(8.0, -3.0), Logistic(2.0, 0.5))
FINE = Parity(100, 1.0, 1.0, 0.0, 0.0, (0.01, 0.01), 600)


def embeddings(rng, person, noise=0.8):
    centres = np.random.default_rng(0).standard_normal((person.max() + 1, 16))
    vectors = centres[person] + noise * rng.standard_normal((len(person), 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Embeddings(vectors.astype(np.float32), rng.standard_normal(len(person)).astype(np.float32))


def test_figures_are_those_of_a_loop(rng):
    person, is_fake = np.repeat(np.arange(16), 10), np.tile([False] * 9 + [True], 16)
    before = embeddings(rng, person)
    after = Embeddings(before.identity, before.authenticity + np.float32(0.25))
    measured = compare(before, after, CALIBRATION, person.astype(object), is_fake)
    assert measured.lowest_cosine == pytest.approx(1.0, abs=1e-6)
    assert measured.log_odds == pytest.approx(0.5, abs=1e-5)
    genuine = [1 / (1 + np.exp(-(2 * each.authenticity + 0.5))) for each in (before, after)]
    assert measured.genuine == pytest.approx(np.abs(genuine[0] - genuine[1]).mean(), abs=1e-6)
    scores, label = [], []
    for a in range(160):
        for b in range(a):
            if not (is_fake[a] and is_fake[b]):
                pair = (after.take(np.array([row])) for row in (a, b))
                scores.append(similarity(*pair, CALIBRATION)[0])
                label.append(person[a] == person[b] and not is_fake[a] and not is_fake[b])
    scores, label = np.array(scores), np.array(label)
    assert measured.pairs == label.sum() == 16 * 36
    assert measured.eer[1] == pytest.approx(challenge_eer(scores[label], scores[~label]))


def test_few_pairs_have_no_equal_error_rate(rng):
    person = np.repeat(np.arange(4), 3)
    before = embeddings(rng, person)
    measured = compare(before, before, CALIBRATION, person.astype(object), np.zeros(12, bool))
    assert measured.eer is None
    assert "EER" not in measured.told()
    assert refusal(measured, exact=True) is None


@pytest.mark.parametrize(
    ("exact", "change", "why"),
    [
        (True, {"lowest_cosine": 0.9998}, "lowest cosine 0.99980, expected at least 0.9999"),
        (True, {"lowest_cosine": float("nan")}, "lowest cosine"),
        (True, {"log_odds": 0.05}, "change of log-odds"),
        (False, {"mean_cosine": 0.98}, "mean cosine 0.98000, expected at least 0.99"),
        (False, {"genuine": 0.03}, "mean change of P"),
        (True, {"eer": (0.01, 0.013)}, "rise of the EER 0.00300, expected at most 0.002"),
        (False, {"eer": (0.01, float("nan"))}, "rise of the EER"),
    ],
)
def test_each_limit(exact, change, why):
    assert refusal(FINE, exact) is None
    assert refusal(dataclasses.replace(FINE, eer=(0.01, 0.005)), exact) is None
    assert refusal(dataclasses.replace(FINE, **change), exact).startswith(why)
