import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bonaface.cleaning.graph import unit
from bonaface.cleaning.nearest_neighbours import nearest


def points(n: int, d: int, seed: int) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32))


@settings(deadline=None, max_examples=40)
@given(n=st.integers(0, 1100), m=st.integers(0, 30), count=st.integers(1, 6), seed=st.integers(0, 99))
def test_the_same_as_sorting_all_cosines(n: int, m: int, count: int, seed: int) -> None:
    queries, references = points(n, 8, seed), points(m, 8, seed + 100)
    own = np.random.default_rng(seed).integers(-1, m, n) if m else np.full(n, -1)
    cosines, found = nearest(queries, references, count, own)
    assert cosines.shape == found.shape == (n, count)
    for row in range(0, n, 97):
        expected = {place: float(queries[row] @ references[place]) for place in range(m) if place != own[row]}
        best = sorted(expected, key=expected.__getitem__, reverse=True)[:count]
        assert [place for place in found[row] if place >= 0] == best
        np.testing.assert_allclose(cosines[row, : len(best)], [expected[place] for place in best], atol=1e-5)
        assert (cosines[row, len(best) :] == -2).all()
        assert (found[row, len(best) :] == -1).all()


def test_the_inverted_file_finds_what_is_alike() -> None:
    pytest.importorskip("faiss")
    people = points(3000, 64, 0)
    photos = unit(people + 0.1 * np.random.default_rng(1).standard_normal(people.shape).astype(np.float32))
    cosines, found = nearest(photos, people, 2, exact=False)
    exact, _ = nearest(photos, people, 2, exact=True)
    assert (found[:, 0] == np.arange(3000)).mean() > 0.98
    assert (cosines[:, 0] <= exact[:, 0] + 1e-6).all()
    without, elsewhere = nearest(photos, people, 2, excluded=np.arange(3000), exact=False)
    assert (elsewhere != np.arange(3000)[:, None]).all()
    assert (np.diff(without, axis=1) <= 0).all()


def test_says_how_far_it_is() -> None:
    done: list[int] = []
    nearest(points(2500, 4, 0), points(5, 4, 1), 1, advance=done.append)
    assert sum(done) == 2500
    assert len(done) > 1
