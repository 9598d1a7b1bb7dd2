"""What the samplers promise, on any labels."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bonaface.batches.samplers import BalanceSampler, PairedFakesSampler
from bonaface.errors import ConfigError, DataError

sizes = st.lists(st.integers(2, 7), min_size=2, max_size=15)


def labels_of(class_sizes: list[int], seed: int) -> np.ndarray:
    """Shuffled labels, with some rows left out (-1)."""
    labels = np.repeat(np.arange(len(class_sizes)) * 3, class_sizes)
    return np.random.default_rng(seed).permutation(np.concatenate([labels, [-1, -1]]))


@settings(max_examples=80, deadline=None)
@given(sizes, st.integers(2, 5), st.integers(2, 6), st.integers(1, 3), st.integers(0, 2**40), st.integers(0, 4))
def test_an_epoch_holds_each_label_once(class_sizes, n_labels, n_instances, world_size, seed, epoch):
    assume(len(class_sizes) >= n_labels * world_size)
    labels = labels_of(class_sizes, 0)
    ranks = [BalanceSampler(labels, n_labels, n_instances, seed, rank, world_size) for rank in range(world_size)]
    steps = len(ranks[0])
    assert steps == len(class_sizes) // (n_labels * world_size)

    drawn = Counter()
    for step in range(epoch * steps, (epoch + 1) * steps):
        for sampler in ranks:
            rows = sampler.batch(step)
            assert rows.dtype == np.int64
            by_label = {label: rows[labels[rows] == label] for label in np.unique(labels[rows])}
            assert -1 not in by_label
            assert len(by_label) == n_labels
            for label, members in by_label.items():
                assert len(members) == n_instances
                assert len(set(members)) == min(n_instances, (labels == label).sum())
            drawn.update(by_label.keys())
    assert max(drawn.values()) == 1  # over all ranks and steps of the epoch
    assert len(drawn) == steps * n_labels * world_size


def test_labels_left_out_of_one_epoch_come_in_another():
    labels = np.repeat(np.arange(7), 3)
    sampler = BalanceSampler(labels, n_labels=3, n_instances=2, seed=0)
    assert {int(labels[row]) for step in range(20) for row in sampler.batch(step)} == set(range(7))


def test_repetition_is_even():
    sampler = BalanceSampler([0, 0, 0, 1, 1], n_labels=2, n_instances=7, seed=0)
    counts = Counter(sampler.batch(0).tolist())
    assert sorted(counts[row] for row in (0, 1, 2)) == [2, 2, 3]
    assert sorted(counts[row] for row in (3, 4)) == [3, 4]


def test_every_row_is_drawn_about_equally_often():
    labels = np.repeat(np.arange(6), 5)
    sampler = BalanceSampler(labels, n_labels=3, n_instances=2, seed=1)
    counts = np.bincount(np.concatenate([sampler.batch(step) for step in range(1000)]), minlength=30)
    assert counts.sum() == 6000
    assert np.abs(counts - 200).max() < 60  # about five standard deviations


@settings(max_examples=40, deadline=None)
@given(sizes, st.integers(0, 2**32), st.integers(0, 50))
def test_batches_are_a_function_of_seed_and_step(class_sizes, seed, step):
    labels = labels_of(class_sizes, 1)
    gone_through, resumed = BalanceSampler(labels, 2, 2, seed), BalanceSampler(labels, 2, 2, seed)
    whole = [gone_through.batch(each).tolist() for each in range(step + 1)]
    assert resumed.batch(step).tolist() == whole[step]
    assert gone_through.batch(0).tolist() == whole[0]  # a second time too


def test_seeds_epochs_and_ranks_differ():
    labels = np.repeat(np.arange(40), 6)
    streams = {
        (seed, rank): [tuple(BalanceSampler(labels, 5, 3, seed, rank, 2).batch(step)) for step in range(40)]
        for seed in range(3)
        for rank in range(2)
    }
    batches = [batch for stream in streams.values() for batch in stream]
    assert len(set(batches)) == len(batches) == 3 * 2 * 40


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 2),
    st.integers(0, 1000),
)
def test_people_come_beside_their_own_fakes(counts, n_people, n_real, n_fake, world_size, seed):
    persons = np.array([f"p{i:02d}" for i, (real, fake) in enumerate(counts) for _ in range(real + fake)])
    is_fake = np.array([kind for real, fake in counts for kind in [False] * real + [True] * fake], dtype=bool)
    have_both = {f"p{i:02d}": pair for i, pair in enumerate(counts) if min(pair) > 0}
    assume(len(have_both) >= n_people * world_size)
    ranks = [
        PairedFakesSampler(persons, is_fake, n_people, n_real, n_fake, seed, r, world_size) for r in range(world_size)
    ]
    drawn = Counter()
    for step in range(len(ranks[0])):
        for sampler in ranks:
            rows = sampler.batch(step).reshape(n_people, n_real + n_fake)
            assert (sampler.batch(step) == rows.ravel()).all()
            for line in rows:
                (person,) = set(persons[line])
                real, fake = line[:n_real], line[n_real:]
                assert not is_fake[real].any()
                assert is_fake[fake].all()
                assert len(set(real)) == min(n_real, have_both[person][0])
                assert len(set(fake)) == min(n_fake, have_both[person][1])
                drawn[person] += 1
    assert set(drawn.values()) == {1}
    assert len(drawn) == len(ranks[0]) * n_people * world_size


def test_paired_batches_are_a_function_of_seed_and_step():
    persons, is_fake = np.repeat(np.arange(9), 6), np.tile([0, 0, 0, 1, 1, 1], 9)
    one, two, other = (PairedFakesSampler(persons, is_fake, 2, 2, 2, seed) for seed in (1, 1, 2))
    assert [one.batch(step).tolist() for step in (9, 3)] == [two.batch(step).tolist() for step in (9, 3)]
    assert any(one.batch(step).tolist() != other.batch(step).tolist() for step in range(8))


def test_too_few_people_are_refused_with_numbers():
    with pytest.raises(ConfigError, match=r"n_labels: .*needs 25 labels.*has 3; set n_labels to at most 3"):
        BalanceSampler([0, 0, 1, 1, 2, 2, -1, -1], 25, 4, seed=0)
    with pytest.raises(ConfigError, match=r"in each of 2 processes.*has 3; set n_labels to at most 1"):
        BalanceSampler([0, 0, 1, 1, 2, 2], 2, 4, seed=0, world_size=2)
    with pytest.raises(ConfigError, match=r"needs 2 people with photos and fakes.*has 1"):
        PairedFakesSampler(["a", "a", "b"], [False, True, False], 2, 1, 1, seed=0)
    with pytest.raises(
        ConfigError, match=r"^batch\.n_labels: .* has 0; add people .*, or set faces.forgery.methods or batch"
    ):
        PairedFakesSampler(["a", "b"], [False, False], 2, 1, 1, seed=0)
    with pytest.raises(ConfigError, match="has 0"):
        BalanceSampler([], 2, 2, seed=0)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"n_labels": 1}, "n_labels"),
        ({"n_instances": 1}, "n_instances"),
        ({"seed": -1}, "seed"),
        ({"rank": 1}, "rank"),
        ({"world_size": 0}, "world_size"),
    ],
)
def test_numbers_out_of_range_are_refused(change, name):
    with pytest.raises(ConfigError, match=f"^{name}: expected"):
        BalanceSampler(**{"labels": [0, 0, 1, 1], "n_labels": 2, "n_instances": 2, "seed": 0, **change})


def test_bad_rows_are_refused():
    with pytest.raises(DataError, match=r"label 8 and 1 more: expected at least 2 images, got 1"):
        BalanceSampler([0, 0, 8, 9, 5, 5], 2, 2, seed=0)
    with pytest.raises(DataError, match="of one length, got 2 and 1"):
        PairedFakesSampler(["a", "b"], [True], 1, 1, 1, seed=0)
    with pytest.raises(ConfigError, match="n_fake: expected"):
        PairedFakesSampler(["a", "a"], [True, False], 1, 1, 0, seed=0)
