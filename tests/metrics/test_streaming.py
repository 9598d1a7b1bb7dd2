import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bonaface.errors import DataError
from bonaface.metrics import StreamingScores, auc, challenge_eer, fnmr_at_fmr, operating_points
from bonaface.metrics.float_order import pieces_as_keys, scores_of

tied = st.lists(st.integers(-4, 4).map(lambda i: i / 8), min_size=1, max_size=30)
spread = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=30)
close = st.lists(st.integers(0, 40).map(lambda i: 0.5 + i * 2**-23), min_size=1, max_size=30)
scores = tied | spread | close


def agrees(same, different, window=None):
    same, different = np.asarray(same, np.float32), np.asarray(different, np.float32)
    stream = StreamingScores(same, different, window)
    assert stream.eer() == challenge_eer(same, different)
    assert stream.auc() == pytest.approx(auc(same, different), abs=1e-12)
    for fmr in (0.1, 0.25, 0.9, 1.0):
        if len(different) * fmr >= 1:
            assert stream.fnmr_at_fmr(fmr) == fnmr_at_fmr(same, different, fmr)
    fmrs = (1.0, 0.5, 0.1, 1e-3, 0.5)
    assert stream.operating_points(fmrs) == operating_points(same, different, fmrs)


@settings(max_examples=80, deadline=None)
@given(scores, scores, st.sampled_from([1, 3, 8, None]))
def test_same_as_in_memory(same, different, window):
    agrees(same, different, window)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=60, unique=True), st.integers(0, 59))
def test_separated_and_inverted_runs_over_many_bins(values, at):
    """Long runs of one class make the thinned ROC drop points far from the crossing."""
    values, at = sorted(values), min(at, len(values) - 1)
    low, high = values[: at + 1], values[at:]
    for window in (1, 4, None):
        agrees(high, low, window)
        agrees(low, high, window)


@pytest.mark.parametrize(("n", "m"), [(300_000, 200_000), (1000, 400_000), (400_000, 50)])
def test_many_scores_and_windows(n, m):
    rng = np.random.default_rng(n)
    same = rng.normal(0.4, 0.2, n).clip(-1, 1).astype(np.float32)
    different = rng.normal(0, 0.15, m).clip(-1, 1).astype(np.float32)
    for window in (None, 20_000):
        agrees(same, different, window)
    agrees(same.round(2), different.round(2))


def test_equal_steps_from_the_first_point_on():
    """scikit-learn keeps the first and the last point even where all steps are equal."""
    for count in (1, 2, 3, 4):
        ladder = np.arange(count) / 8
        agrees(ladder, ladder, 1)
        agrees(np.repeat(ladder, 2), ladder, 1)


def test_heavy_bins():
    """A bin with more scores than it has values is counted, not fetched."""
    rng = np.random.default_rng(0)
    same, different = (0.5 + rng.integers(low, low + 9000, 150_000) * 2.0**-24 for low in (2000, 0))
    agrees(same, different, 1000)
    agrees(np.full(90_000, 0.25), np.full(80_000, 0.25))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=50))
def test_keys_keep_the_order_and_come_back(values):
    values = np.float32(values)
    keys = np.concatenate([k.copy() for k in pieces_as_keys("same", values)])
    assert ((keys[:, None] < keys) == (values[:, None] < values)).all()
    np.testing.assert_array_equal(scores_of(keys), values)


def test_sources(tmp_path):
    rng = np.random.default_rng(1)
    same, different = rng.normal(1, 1, 5000).astype(np.float32), rng.normal(0, 1, 300_000).astype(np.float32)
    np.save(tmp_path / "same.npy", same)
    different.tofile(tmp_path / "different.bin")
    mapped = np.memmap(tmp_path / "different.bin", np.float32, mode="r")
    stream = StreamingScores(tmp_path / "same.npy", lambda: (mapped[i : i + 70_001] for i in range(0, 300_000, 70_001)))
    assert (stream.n_same, stream.n_different) == (5000, 300_000)
    assert stream.eer() == challenge_eer(same, different)
    assert StreamingScores(same, mapped).auc() == pytest.approx(auc(same, different), abs=1e-12)
    half = StreamingScores(same.astype(np.float16), different.astype(np.float16))
    assert half.eer() == challenge_eer(same.astype(np.float16), different.astype(np.float16))
    assert StreamingScores(same, different[::2]).eer() == challenge_eer(same, different[::2])


def test_scores_are_left_as_they_are():
    same, different = np.float32([0.2, -0.0, 0.5]), np.float32([0.1, -0.3])
    before = same.tobytes(), different.tobytes()
    StreamingScores(same, different).operating_points()
    assert (same.tobytes(), different.tobytes()) == before


@pytest.mark.parametrize(
    ("same", "different", "message"),
    [
        (np.zeros(3), np.zeros(3, np.float32), "same: expected float32 or float16 scores, got float64"),
        (np.zeros(3, np.float32), np.zeros(0, np.float32), "different: expected at least one score"),
        (
            np.float32([1, np.nan, -np.nan]),
            np.float32([0]),
            "same: expected finite scores, got 2 that are NaN or infinite",
        ),
        (np.float32([1]), np.float32([-np.inf, np.inf, 0]), "different: expected finite scores, got 2"),
        (
            np.zeros((2, 2), np.float32),
            np.float32([0]),
            r"same: expected one score a pair, shape \(n,\), got shape \(2, 2\)",
        ),
    ],
)
def test_bad_scores(same, different, message):
    with pytest.raises(DataError, match=message):
        StreamingScores(same, different)


def test_largest_finite_scores_are_fine():
    largest = np.finfo(np.float32).max
    agrees([largest, 0.0], [-largest, 1e-45])


def test_unresolvable_rate():
    stream = StreamingScores(np.zeros(5, np.float32), np.zeros(99, np.float32))
    with pytest.raises(ValueError, match=r"99 non-mated pairs cannot resolve a false match rate of 0\.01"):
        stream.fnmr_at_fmr(0.01)
    assert list(stream.operating_points()) == [0.1]
