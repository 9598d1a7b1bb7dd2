import time
from collections import Counter
from collections.abc import Iterable
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bonaface.data.splits import SHARES, draw_pairs, split_by_person
from bonaface.data.table import FaceTable, read_faces
from bonaface.errors import ConfigError, DataError

SHARED = Path(__file__).parents[3] / "shared" / "lfw-deepfakes" / "train"
People = list[tuple[int, int]]

people = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=8)
"""For each person how many real photos and how many deepfakes."""


def table_of(counts: People, split: str = "val") -> FaceTable:
    rows = [
        (f"{person}/{kind}{n}.jpg", f"{person:03d}", kind == "f", split)
        for person, (reals, fakes) in enumerate(counts)
        for kind, count in (("r", reals), ("f", fakes))
        for n in range(count)
    ]
    return FaceTable(Path("photos"), pd.DataFrame(rows, columns=["path", "person", "is_fake", "split"]))


def kind_of(table: FaceTable, pairs: Iterable[tuple[int, int]]) -> list[str | None]:
    """The kind of each pair by its definition."""
    person, is_fake = table.frame["person"].tolist(), table.frame["is_fake"].tolist()
    kinds: list[str | None] = []
    for a, b in pairs:
        own = person[a] == person[b]
        if is_fake[a] and is_fake[b]:
            kinds.append(None)
        elif is_fake[a] or is_fake[b]:
            kinds.append("own_fake" if own else "other_fake")
        else:
            kinds.append("same" if own else "impostor")
    return kinds


# Splits


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2)), min_size=3, max_size=30),
    st.floats(0.01, 0.99),
    st.integers(0, 2**32),
)
def test_a_split_keeps_people_apart(counts: People, fraction: float, seed: int) -> None:
    table = table_of(counts, split="")
    split = split_by_person(table, fraction, seed)
    parts = split.frame.groupby("split")["person"].agg(set).to_dict()
    assert set(parts) == {"train", "val"}
    assert not parts["train"] & parts["val"]
    assert len(parts["val"]) == min(max(2, round(fraction * len(counts))), len(counts) - 1)
    pd.testing.assert_frame_equal(split.frame.drop(columns="split"), table.frame.drop(columns="split"))
    pd.testing.assert_frame_equal(split.frame, split_by_person(table, fraction, seed).frame)


def test_another_seed_splits_otherwise() -> None:
    table = table_of([(2, 1)] * 20, split="")
    drawn = {tuple(split_by_person(table, 0.5, seed).frame["split"]) for seed in range(5)}
    assert len(drawn) == 5


def test_people_without_real_photos_stay_in_train() -> None:
    table = table_of([(0, 3), (0, 3), (2, 0), (2, 1)], split="")
    for seed in range(10):
        split = split_by_person(table, 0.5, seed).frame
        assert set(split.loc[split["split"] == "val", "person"]) == {"002", "003"}


def test_a_table_with_splits_keeps_them() -> None:
    table = table_of([(2, 1)] * 5, split="")
    frame = table.frame.assign(split=np.where(table.frame["person"] < "003", "val", "train"))
    pd.testing.assert_frame_equal(split_by_person(FaceTable(table.root, frame), 0.5, 0).frame, frame)


def test_a_table_of_train_alone_gets_a_val() -> None:
    assert set(split_by_person(table_of([(2, 1)] * 5, split="train"), 0.4, 0).frame["split"]) == {"train", "val"}


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({0: "train", 1: "val", 2: "val", 3: "val"}, None),
        ({0: "val", 1: "val", 2: "val", 3: "val"}, "all rows have the split val; expected rows to train on"),
        ({0: "train", 1: "", 2: "val", 3: "val"}, "2 of 8 rows have no split; expected train or val in each"),
        ({0: "train", 1: "train", 2: "train", 3: "val"}, "1 people have real photos in val; expected at least 2"),
    ],
)
def test_splits_that_a_table_came_with(splits: dict[int, str], message: str | None) -> None:
    table = table_of([(1, 1)] * 4)
    given_splits = FaceTable(table.root, table.frame.assign(split=[splits[int(p)] for p in table.frame["person"]]))
    if message is None:
        assert split_by_person(given_splits, 0.5, 0) is given_splits
    else:
        with pytest.raises(DataError, match=f"photos: {message}"):
            split_by_person(given_splits, 0.5, 0)


@pytest.mark.parametrize(("shared", "message"), [(1, "person 000 is in"), (2, "person 000 and 1 more are in")])
def test_a_person_in_both_splits_is_refused(shared: int, message: str) -> None:
    table = table_of([(2, 0)] * 6)
    splits = ["train", "val"] * shared + ["val"] * (12 - 2 * shared)
    with pytest.raises(DataError, match=f"{message} train and val; expected each person in one of them"):
        split_by_person(FaceTable(table.root, table.frame.assign(split=splits)), 0.5, 0)


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 2, float("nan")])
def test_a_fraction_is_a_fraction(fraction: float) -> None:
    with pytest.raises(ConfigError, match="val_fraction: expected a share of the people between 0 and 1"):
        split_by_person(table_of([(2, 1)] * 5, ""), fraction, 0)


def test_too_few_people() -> None:
    with pytest.raises(DataError, match="holds 2 people; expected at least 3, 2 of them to set apart"):
        split_by_person(table_of([(2, 1)] * 2, ""), 0.5, 0)
    with pytest.raises(DataError, match="1 people have real photos; expected at least 2 for validation"):
        split_by_person(table_of([(2, 1), (0, 1), (0, 2)], ""), 0.5, 0)


# Pairs


@settings(deadline=None, max_examples=60)
@given(people, st.integers(4, 120), st.integers(0, 2**32))
def test_pairs_are_what_they_say(counts: People, count: int, seed: int) -> None:
    table = table_of(counts)
    reals = [real for real, _ in counts]
    assume(max(reals) >= 2 and sum(real > 0 for real in reals) >= 2)
    pairs = draw_pairs(table, count, seed)
    assert pairs.columns.tolist() == ["a", "b", "label", "kind", "person_0", "person_1"]
    assert kind_of(table, zip(pairs["a"], pairs["b"], strict=True)) == pairs["kind"].tolist()
    assert (pairs["a"] != pairs["b"]).all()
    assert ((pairs["kind"] == "same") == (pairs["label"] == 1)).all()
    assert pairs["person_0"].tolist() == table.frame["person"].iloc[pairs["a"]].tolist()
    assert pairs["person_1"].tolist() == table.frame["person"].iloc[pairs["b"]].tolist()
    pd.testing.assert_frame_equal(pairs, draw_pairs(table, count, seed))

    pool = Counter(kind_of(table, combinations(range(len(table)), 2)))
    shares = {kind: share for kind, share in SHARES.items() if pool[kind]}
    assert set(pairs["kind"]) <= set(shares)
    for kind, share in shares.items():
        drawn = Counter(frozenset(ab) for ab in pairs.loc[pairs["kind"] == kind, ["a", "b"]].to_numpy().tolist())
        wanted = share / sum(shares.values()) * count
        assert drawn.total() == pool[kind] < wanted + 1 or abs(drawn.total() - wanted) < 1
        assert max(drawn.values(), default=1) == 1


def test_all_pairs_of_a_kind_are_reached() -> None:
    table = table_of([(3, 2), (2, 0), (1, 1), (0, 2), (4, 1)])
    pool = Counter(kind_of(table, combinations(range(len(table)), 2)))
    pairs = draw_pairs(table, 1000, 0)
    for kind in SHARES:
        drawn = {frozenset(ab) for ab in pairs.loc[pairs["kind"] == kind, ["a", "b"]].to_numpy().tolist()}
        assert len(drawn) == pool[kind]


def test_someone_with_many_photos_weighs_no_more() -> None:
    table = table_of([(200, 50)] + [(4, 3)] * 49)
    pairs = draw_pairs(table, 400, 0)
    for kind, side in product(SHARES, ("person_0", "person_1")):
        of_kind = pairs.loc[pairs["kind"] == kind, side]
        assert (of_kind == "000").mean() <= 0.08, (kind, side)
    same = pairs.loc[pairs["kind"] == "same", "person_0"].value_counts()
    assert same.max() - same.min() <= 1


def test_shares_of_the_challenge() -> None:
    pairs = draw_pairs(table_of([(6, 5)] * 60), 2000, 1)
    assert pairs["kind"].value_counts().to_dict() == {"same": 800, "impostor": 500, "own_fake": 500, "other_fake": 200}
    assert pairs["kind"].iloc[:100].nunique() == 4


def test_without_fakes_there_are_two_kinds() -> None:
    pairs = draw_pairs(table_of([(6, 0)] * 60), 1300, 1)
    assert pairs["kind"].value_counts().to_dict() == {"same": 800, "impostor": 500}


def test_fakes_of_one_person_alone_make_no_other_fake_of_their_own() -> None:
    pairs = draw_pairs(table_of([(3, 3), (2, 0)]), 40, 0)
    other = pairs[pairs["kind"] == "other_fake"]
    assert len(other) == 4
    assert set(other["person_0"]) | set(other["person_1"]) == {"000", "001"}


def test_pairs_come_from_val_or_from_where_one_says() -> None:
    table = table_of([(4, 2)] * 10)
    in_val = (table.frame["person"] < "004").to_numpy()
    split = FaceTable(table.root, table.frame.assign(split=np.where(in_val, "val", "train")))
    assert set(draw_pairs(split, 200, 0)["person_0"]) == {"000", "001", "002", "003"}
    pairs = draw_pairs(split, 200, 0, where=~in_val)
    assert set(pairs["person_1"]) == {f"00{n}" for n in range(4, 10)}
    assert not in_val[pairs["a"]].any()


def test_pairs_stand_in_either_order() -> None:
    table = table_of([(4, 2)] * 10)
    pairs = draw_pairs(table, 400, 0)
    fake_first = table.frame["is_fake"].to_numpy()[pairs["a"]][pairs["kind"] == "own_fake"].mean()
    assert 0.3 < fake_first < 0.7


def test_another_seed_draws_otherwise() -> None:
    table = table_of([(4, 2)] * 10)
    assert not draw_pairs(table, 50, 0).equals(draw_pairs(table, 50, 1))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([(1, 2), (1, 0)], "no pair of kind same among 4 photos of 2 people; expected a person with two real photos"),
        ([(3, 2), (0, 1)], "no pair of kind impostor among 6 photos of 2 people; expected two people with real photos"),
        ([(0, 0)], "no pair of kind same among 0 photos of 0 people"),
    ],
)
def test_too_little_to_draw_from(counts: People, message: str) -> None:
    with pytest.raises(DataError, match=f"photos: {message}"):
        draw_pairs(table_of(counts), 10, 0)


@pytest.mark.parametrize("count", [3, 1_000_001, 999_999_999_999])
def test_too_few_pairs_and_too_many(count: int) -> None:
    with pytest.raises(ConfigError, match=f"val pairs: expected 4 to 1,000,000 pairs, got {count}"):
        draw_pairs(table_of([(3, 1)] * 3), count, 0)


def test_many_people_cost_little() -> None:
    table = table_of([(3, 2)] * 5000)
    start = time.perf_counter()
    draw_pairs(table, 2000, 0)
    assert time.perf_counter() - start < 5


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/lfw-deepfakes, real photos, isn't there")
def test_real_people() -> None:
    split = split_by_person(read_faces(SHARED), 0.1, 0)
    pairs = draw_pairs(split, 2000, 0)
    assert split.frame.loc[split.frame["split"] == "val", "person"].nunique() == 118
    assert not pairs[["a", "b"]].apply(frozenset, axis=1).duplicated().any()
