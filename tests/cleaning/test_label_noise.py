from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bonaface.cleaning.graph import linked_components, sums, unit
from bonaface.cleaning.label_noise import judge_labels
from bonaface.cleaning.similarity_model import SimilarityModel, first_fit

Photos = tuple[NDArray[np.float32], NDArray[np.int64]]
LIKENESS = SimilarityModel(0.6, 0.08, 0.08, 0.01, 0.0, 0.09)


def photos_of(sizes: list[int], rng: np.random.Generator, alike: float = 1.3) -> Photos:
    """Photos whose cosines are about alike^2 / (1 + alike^2) = 0.63 within a person, and 0 +- 0.09 between people."""
    person = np.repeat(np.arange(len(sizes)), sizes)
    centres = rng.standard_normal((len(sizes), 128))
    vectors = alike * centres[person] + rng.standard_normal((len(person), 128))
    return unit(vectors.astype(np.float32)), person


@pytest.fixture
def people(rng: np.random.Generator) -> Photos:
    return photos_of([int(size) for size in rng.integers(2, 12, 120)], rng)


def test_clean_folders_are_left_alone(people: Photos) -> None:
    judged = judge_labels(*people)
    assert judged.wrong.max() < 0.05
    assert not judged.contested.any()


def test_moved_photos_are_found_and_sent_home(people: Photos, rng: np.random.Generator) -> None:
    vectors, person = people
    labels = person.copy()
    large = np.flatnonzero(np.bincount(person)[person] > 3)
    moved = rng.choice(large, 40, replace=False)
    labels[moved] = (person[moved] + rng.integers(1, 120, 40)) % 120
    judged = judge_labels(vectors, labels)
    assert set(np.flatnonzero(judged.wrong > 0.5)) == set(moved)
    sure = moved[judged.moved[moved] > 0.9]
    assert len(sure) > 30
    assert (judged.owner[sure] == person[sure]).all()


def test_strangers_are_found_though_nobody_looks_like_them(people: Photos, rng: np.random.Generator) -> None:
    vectors, person = people
    strangers, _ = photos_of([1] * 20, rng)
    homes = rng.choice(np.flatnonzero(np.bincount(person) > 3), 20)
    judged = judge_labels(np.concatenate([vectors, strangers]), np.concatenate([person, homes]))
    assert (judged.wrong[-20:] > 0.5).mean() >= 0.9
    assert (judged.wrong[:-20] > 0.5).mean() <= 0.01
    assert judged.moved[-20:].max() < 0.5


def test_two_of_one_person_moved_together_do_not_vouch_for_each_other(people: Photos) -> None:
    vectors, person = people
    giver, taker = np.flatnonzero(np.bincount(person) >= 5)[:2]
    moved = np.flatnonzero(person == giver)[:2]
    labels = person.copy()
    labels[moved] = taker
    judged = judge_labels(vectors, labels)
    assert set(np.flatnonzero(judged.wrong > 0.5)) == set(moved)
    assert (judged.owner[moved] == giver).all()


def test_of_two_photos_the_one_that_looks_like_someone_else_is_wrong(people: Photos) -> None:
    vectors, person = people
    pair = int(np.flatnonzero(np.bincount(person) == 2)[0])
    giver = int(np.flatnonzero(np.bincount(person) >= 6)[0])
    keeps, leaves = np.flatnonzero(person == pair)
    comes = int(np.flatnonzero(person == giver)[0])
    used = np.arange(len(person)) != leaves
    labels = np.where(np.arange(len(person)) == comes, pair, person)
    judged = judge_labels(vectors[used], labels[used])
    place = np.cumsum(used) - 1
    assert judged.contested[pair]
    assert judged.wrong[place[comes]] > 0.9
    assert judged.wrong[place[keeps]] < 0.1
    assert judged.owner[place[comes]] == giver


@pytest.mark.parametrize("with_fakes", [False, True])
def test_of_two_strangers_in_a_folder_deepfakes_say_whose_it_is(people: Photos, with_fakes: bool) -> None:
    vectors, person = people
    rng = np.random.default_rng(3)
    pair, _ = photos_of([1, 1], rng)
    fake = unit(pair[:1] + 0.05 * rng.standard_normal((3, 128)).astype(np.float32))
    labels = np.concatenate([person, np.full(5, 120)])
    is_fake = np.arange(len(labels)) >= len(labels) - 3
    everything = np.concatenate([vectors, pair, fake])
    if not with_fakes:
        everything[is_fake] = np.nan
    wrong = judge_labels(everything, labels, is_fake).wrong
    first, second = wrong[-5:-3]
    assert (wrong[-3:] == 0).all()
    if with_fakes:
        assert second > 5 * first
    else:
        assert first == pytest.approx(second, abs=0.05)


def test_an_exchange_between_folders_of_two_leaves_all_four_half_suspect(people: Photos) -> None:
    vectors, person = people
    a, b = np.flatnonzero(np.bincount(person) == 2)[:2]
    labels = person.copy()
    labels[np.flatnonzero(person == a)[0]], labels[np.flatnonzero(person == b)[0]] = b, a
    wrong = judge_labels(vectors, labels).wrong
    four = np.isin(person, [a, b])
    assert (wrong[four] > 0.3).all()
    assert (wrong[four] < 0.7).all()
    assert wrong[~four].max() < 0.05


def test_two_folders_of_one_person_are_not_called_mislabelled(people: Photos) -> None:
    vectors, person = people
    one = int(np.flatnonzero(np.bincount(person) >= 6)[0])
    labels = person.copy()
    labels[np.flatnonzero(person == one)[:3]] = 120
    assert judge_labels(vectors, labels).wrong.max() < 0.1


def test_order_and_names_do_not_matter(people: Photos, rng: np.random.Generator) -> None:
    vectors, person = people
    labels = person.copy()
    labels[rng.choice(len(person), 20, replace=False)] = 0
    order = rng.permutation(len(person))
    straight = judge_labels(vectors, labels).wrong
    shuffled = judge_labels(vectors[order], labels[order]).wrong
    np.testing.assert_allclose(straight[order], shuffled, atol=0.05)


@settings(deadline=None, max_examples=30)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=0, max_size=6),
    missing=st.integers(0, 3),
    seed=st.integers(0, 99),
    dim=st.sampled_from([2, 8]),
)
def test_tiny_sets_are_judged_without_complaint(sizes: list[int], missing: int, seed: int, dim: int) -> None:
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(len(sizes)), sizes)
    vectors = unit(rng.standard_normal((len(person), dim)).astype(np.float32))
    vectors[rng.permutation(len(person))[:missing]] = np.nan
    is_fake = rng.random(len(person)) < 0.3
    judged = judge_labels(vectors, person, is_fake)
    assert judged.wrong.shape == (len(person),)
    assert ((judged.wrong >= 0) & (judged.wrong <= 1)).all()
    assert (judged.moved <= judged.wrong + 1e-9).all()
    unjudged = np.isnan(vectors[:, 0]) | is_fake
    assert (judged.wrong[unjudged] == 0).all()
    assert np.isnan(judged.own[unjudged]).all()


def test_a_folder_too_large_for_its_graph(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    monkeypatch.setattr("bonaface.cleaning.graph._LARGE_FOLDER", 30)
    vectors, person = photos_of([60, 40, 5, 5], rng)
    labels = person.copy()
    labels[:3] = 1
    assert set(np.flatnonzero(judge_labels(vectors, labels).wrong > 0.5)) == {0, 1, 2}


@given(cosines=st.lists(st.floats(-1, 1), min_size=2, max_size=20), size=st.integers(1, 50))
def test_the_ratio_never_falls(cosines: list[float], size: int) -> None:
    ratio = LIKENESS.log_ratio(np.sort(np.array(cosines)), size)
    assert (np.diff(ratio) >= -1e-9).all()


def test_the_expected_cosine_is_that_of_real_means(rng: np.random.Generator) -> None:
    vectors, _ = photos_of([4000], rng, alike=1.5)
    pairs = float((vectors[::2] * vectors[1::2]).sum(1).mean())
    model = SimilarityModel(pairs, 0.1, 0.0, 0.01, 0.0, 0.1)
    for size in (1, 3, 9):
        group = vectors[: 4000 // (size + 1) * (size + 1)].reshape(-1, size + 1, 128)
        cosine = (group[:, 0] * unit(group[:, 1:].sum(axis=1))).sum(1).mean()
        assert float(model.expected(size)) == pytest.approx(float(cosine), abs=0.01)


def test_the_first_fit_is_near_the_truth(people: Photos) -> None:
    vectors, person = people
    model = first_fit(vectors, person, np.random.default_rng(0))
    assert model.mean == pytest.approx(1.69 / 2.69, abs=0.03)
    assert model.other_mean == pytest.approx(0, abs=0.02)
    assert model.other_spread == pytest.approx(1 / np.sqrt(128), abs=0.02)
    assert model.other_mean < model.linked < model.mean


def components_by_hand(vectors: NDArray[np.float32], linked: float) -> list[set[int]]:
    parts = [{row} for row in range(len(vectors))]
    for a in range(len(vectors)):
        for b in range(a):
            if vectors[a] @ vectors[b] > linked:
                one, other = (next(part for part in parts if row in part) for row in (a, b))
                if one is not other:
                    parts.remove(other)
                    one |= other
    return parts


@settings(deadline=None, max_examples=40)
@given(sizes=st.lists(st.integers(0, 7), min_size=1, max_size=5), seed=st.integers(0, 99), linked=st.floats(0.1, 0.9))
def test_components(sizes: list[int], seed: int, linked: float) -> None:
    rng = np.random.default_rng(seed)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    vectors = unit(rng.standard_normal((starts[-1], 3)).astype(np.float32))
    found = linked_components(vectors, starts, linked)
    for person, (start, end) in enumerate(pairwise(starts)):
        parts = components_by_hand(vectors[start:end], linked)
        label = found.label[start:end]
        assert {frozenset(part) for part in parts} == {frozenset(np.flatnonzero(label == one)) for one in set(label)}
        largest = max(map(len, parts), default=0)
        possible = [part for part in parts if len(part) >= largest - 1]
        assert set(np.flatnonzero(found.candidate[start:end])) == set().union(*possible)
        assert found.contested[person] == (len(possible) > 1)


def test_sums_of_groups_in_any_order(rng: np.random.Generator) -> None:
    vectors = rng.standard_normal((50, 4)).astype(np.float32)
    group = rng.integers(0, 7, 50)
    group[group == 3] = 4
    expected = np.stack([vectors[group == one].sum(axis=0) for one in range(7)])
    np.testing.assert_allclose(sums(vectors, group, 7), expected, atol=1e-5)
    assert (unit(np.zeros((1, 4), np.float32)) == 0).all()


def test_progress_counts_what_is_looked_up(people: Photos) -> None:
    done: list[int] = []
    count: Callable[[int], None] = done.append
    vectors, person = people
    labels = person.copy()
    labels[:5] = 100
    judge_labels(vectors, labels, advance=count)
    assert sum(done) >= 5
