import tracemalloc
from itertools import combinations

import numpy as np
import pytest

from bonaface.errors import DataError
from bonaface.metrics import KINDS, all_pairs_histogram, challenge_eer, iapar


def people(rng, n=150, d=16, persons=12):
    label, is_fake = rng.integers(0, persons, n), rng.random(n) < 0.35
    vectors = rng.normal(0, 1, (persons, d))[label] + rng.normal(0, 0.8, (n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), label, is_fake


def one_by_one(vectors, label, is_fake):
    found = {kind: [] for kind in KINDS}
    for i, j in combinations(range(len(vectors)), 2):
        if is_fake[i] and is_fake[j]:
            continue
        pair = ("own_fake", "other_fake") if is_fake[i] or is_fake[j] else ("same", "impostor")
        found[pair[int(label[i] != label[j])]].append(float(vectors[i].astype(np.float64) @ vectors[j]))
    return {kind: np.array(values) for kind, values in found.items()}


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_counts_are_those_of_each_pair(block):
    vectors, label, is_fake = people(np.random.default_rng(0))
    expected = one_by_one(vectors, label, is_fake)
    bins = 256
    found = all_pairs_histogram(vectors, label, is_fake, block=block, bins=bins)
    for kind, values in expected.items():
        assert found.counts[kind].sum() == len(values)
        above = np.cumsum(found.counts[kind][::-1])[::-1]
        # Cosines within rounding of an edge may fall to either side.
        assert (above <= [(values >= edge - 1e-6).sum() for edge in found.lower_edges]).all()
        assert (above >= [(values >= edge + 1e-6).sum() for edge in found.lower_edges]).all()


def test_rates_at_the_edges():
    vectors, label, is_fake = people(np.random.default_rng(1), n=400)
    exact = one_by_one(vectors, label, is_fake)
    found = all_pairs_histogram(vectors, label, is_fake, bins=1 << 16)
    negative = np.concatenate([exact[kind] for kind in KINDS[1:]])
    assert found.eer() == pytest.approx(challenge_eer(exact["same"], negative), abs=1e-3)
    assert found.eer(["impostor"]) == pytest.approx(challenge_eer(exact["same"], exact["impostor"]), abs=1e-3)
    point = found.fnmr_at_fmr(0.01)
    assert point.fmr == pytest.approx((exact["impostor"] >= point.threshold).mean(), abs=1e-4)
    assert point.fnmr == pytest.approx((exact["same"] < point.threshold).mean(), abs=1e-3)
    assert 0.009 < point.fmr <= 0.01
    shown = found.accepted("own_fake", point.threshold)
    assert shown == pytest.approx(iapar(exact["own_fake"], point.threshold), abs=1e-3)


def test_order_and_names_change_nothing():
    vectors, label, is_fake = people(np.random.default_rng(2))
    shuffled = np.random.default_rng(3).permutation(len(label))
    names = np.array([f"person {i}" for i in label])
    first = all_pairs_histogram(vectors, label, is_fake, bins=64)
    second = all_pairs_histogram(vectors[shuffled], names[shuffled], is_fake[shuffled], bins=64, block=33)
    for kind in KINDS:
        assert np.abs(np.cumsum(first.counts[kind] - second.counts[kind])).max() <= 1


def test_extremes_stay_inside():
    vectors = np.float32([[1, 0], [1, 0], [-1, 0]])
    found = all_pairs_histogram(vectors, [0, 0, 1], bins=4)
    assert found.counts["same"].tolist() == [0, 0, 0, 1]
    assert found.counts["impostor"].tolist() == [2, 0, 0, 0]
    assert not found.counts["own_fake"].any()


def test_memory_is_that_of_blocks():
    vectors, label, is_fake = people(np.random.default_rng(4), n=3000)
    tracemalloc.start()
    all_pairs_histogram(vectors, label, is_fake, block=256)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3000 * 3000 * 4 / 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embeddings": np.ones((3, 2), np.float32)}, "embeddings: expected length 1, got 1.414 at position 0"),
        (
            {"embeddings": np.float32([[1, 0], [np.nan, 0], [0, 1]])},
            "embeddings: expected length 1, got nan at position 1",
        ),
        ({"embeddings": np.ones(3, np.float32)}, "embeddings: expected two or more vectors"),
        ({"labels": [1, 2]}, r"labels: expected one an embedding, shape \(3,\), got shape \(2,\)"),
        ({"is_fake": [True]}, r"is_fake: expected one an embedding, shape \(3,\), got shape \(1,\)"),
    ],
)
def test_bad_input(change, message):
    given = {"embeddings": np.float32([[1, 0], [0, 1], [1, 0]]), "labels": [0, 1, 0]} | change
    with pytest.raises(DataError, match=message):
        all_pairs_histogram(**given)


def test_kinds_without_pairs():
    found = all_pairs_histogram(np.float32([[1, 0], [0, 1], [1, 0]]), [0, 1, 0])
    assert found.eer(["impostor"]) == 0
    with pytest.raises(DataError, match="expected pairs of same and of own_fake, got 1 and 0"):
        found.eer(["own_fake"])
    with pytest.raises(DataError, match="against: expected some of impostor"):
        found.eer(["fake"])
    with pytest.raises(DataError, match="kind: expected one that has pairs, got 'own_fake'"):
        found.accepted("own_fake", 0.5)
    with pytest.raises(ValueError, match="cannot resolve"):
        found.fnmr_at_fmr(0.1)
    with pytest.raises(ValueError, match="bins"):
        all_pairs_histogram(np.float32([[1, 0], [0, 1]]), [0, 1], bins=0)
