"""Exact figures from more scores than fit in memory: 1e8 and up, streamed from disk.

A float32 has 2^32 values, and its bits, with a flip, are an integer of the same order (M. Herf, "Radix Tricks",
2001). One pass counts the upper 16 bits of each score: 65,536 bins a class, in order. That is enough to know in which
bin a figure is decided; a second pass fetches the scores of that bin alone. So an equal error rate takes two passes
and a few MB, and is the same number to the last bit as the one from all scores in memory.

float16 is widened, which is exact. float64 is refused: its 64 bits would take more passes, and rounding it in silence
could merge scores. Convert it knowingly (``scores.astype(np.float32)``).
"""

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from bonaface.metrics.eer import eer_of_points
from bonaface.metrics.float_order import (
    BINS,
    Source,
    Steps,
    count_bins,
    pieces_as_keys,
    steps_of_cells,
    steps_of_tagged,
)
from bonaface.metrics.operating_points import FMRS, OperatingPoint, allowed_matches

__all__ = ["StreamingScores"]


class StreamingScores:
    """Equal error rate, FNMR at FMR and AUC of scores that stay where they are.

    Args:
        same: similarities of mated pairs, float32 or float16, one-dimensional.
        different: similarities of non-mated pairs, likewise.
        window: how many scores to hold at once where a figure needs a range of them; an eighth of all by default. It
            changes memory and the number of passes, never a result.

    Raises:
        DataError: if a class is empty, a score is NaN or infinite, or their type is another.

    Example:
        >>> same, different = np.float32([0.9, 0.8, 0.4]), np.float32([0.7, 0.3, 0.2, 0.1])
        >>> stream = StreamingScores(lambda: iter([same[:1], same[1:]]), different)
        >>> round(stream.eer(), 4), round(stream.auc(), 4)
        (0.3333, 0.9167)
    """

    def __init__(self, same: Source, different: Source, window: int | None = None) -> None:
        self._sources = {"same": same, "different": different}
        self._bins = {name: count_bins(name, source) for name, source in self._sources.items()}
        self.n_same = int(self._bins["same"].sum())
        self.n_different = int(self._bins["different"].sum())
        self._total = self._bins["same"] + self._bins["different"]
        self._window = window or max(1 << 17, (self.n_same + self.n_different) // 8)

    def eer(self) -> float:
        """Give the challenge's equal error rate, equal to ``challenge_eer`` of all scores.

        Two passes, but for scores in which a stretch of mated pairs alone, each with a score of its own, spans more
        than ``window``.
        """
        same_above, different_above = self._above("same"), self._above("different")
        # Exact integers: (FNR - FPR) n m at each bin's lower edge, falling from bin to bin.
        gap = self._gap(same_above + self._bins["same"], different_above + self._bins["different"])
        crossing = int(np.flatnonzero((gap <= 0) & (self._total > 0))[-1])
        low, high = self._grown(crossing)
        (steps,) = self._fetch([(low, high)])
        accepted_same = same_above[high - 1] + np.cumsum(steps.same)
        accepted_different = different_above[high - 1] + np.cumsum(steps.different)
        at = int(np.argmax(self._gap(accepted_same, accepted_different) <= 0))
        run = steps.same[at], steps.different[at]
        if not run[0]:  # no mated pair in it, so the rate is the same all along
            return float(1 - accepted_same[at] / self.n_same)
        start = int(accepted_same[at] - run[0]), int(accepted_different[at] - run[1])
        before = self._corner_above(steps.part(slice(0, at)), high, run, start)
        after = self._corner_below(steps.part(slice(at, None)), low, run, start)
        fnr, fpr = (np.array(rate) for rate in zip(self._rates(*before), self._rates(*after), strict=True))
        return eer_of_points(fnr, fpr)

    def fnmr_at_fmr(self, fmr: float) -> OperatingPoint:
        """Give the same as ``bonaface.metrics.fnmr_at_fmr`` of all scores, in two passes.

        Raises:
            ValueError: if ``fmr`` is not in (0, 1], or the number of non-mated pairs cannot resolve it.
        """
        return self._points([fmr])[0]

    def operating_points(self, fmrs: Sequence[float] = FMRS) -> dict[float, OperatingPoint]:
        """Give the same as ``bonaface.metrics.operating_points`` of all scores, in two passes for all rates together.

        Raises:
            ValueError: if a rate is not in (0, 1].
        """
        resolved = [fmr for fmr in fmrs if 1 / self.n_different <= fmr or not 0 < fmr <= 1]
        return dict(zip(resolved, self._points(resolved), strict=True))

    def auc(self) -> float:
        """Give the area under the ROC curve, equal to ``auc`` of all scores.

        The bins in which both classes occur are fetched, as many at a time as ``window`` allows: a pass each time.
        """
        mixed = (self._bins["same"] > 0) & (self._bins["different"] > 0)
        below = self.n_different - self._above("different") - self._bins["different"]
        doubled_wins = 2 * int(self._bins["same"] @ below)
        for low, high in self._windows(mixed):
            (steps,) = self._fetch([(low, high)], mixed)
            # Wins inside the window, less those between its bins, which the line above has counted.
            lower = np.cumsum(steps.different[::-1])[::-1] - steps.different
            doubled_wins += int(steps.same @ (2 * lower + steps.different))
            part = slice(low, high)
            inside = np.where(mixed, self._bins["different"], 0)[part]
            doubled_wins -= 2 * int(np.where(mixed, self._bins["same"], 0)[part] @ (np.cumsum(inside) - inside))
        return doubled_wins / (2 * self.n_same * self.n_different)

    def _above(self, name: str) -> NDArray[np.int64]:
        """Count the scores in higher bins than each, shape ``(BINS,)``."""
        counts = self._bins[name]
        return np.cumsum(counts[::-1])[::-1] - counts

    def _gap(self, accepted_same: NDArray[np.int64], accepted_different: NDArray[np.int64]) -> NDArray[np.int64]:
        return (self.n_same - accepted_same) * self.n_different - accepted_different * self.n_same

    def _rates(self, accepted_same: int, accepted_different: int) -> tuple[float, float]:
        return 1 - accepted_same / self.n_same, accepted_different / self.n_different

    def _grown(self, middle: int) -> tuple[int, int]:
        """Widen a bin to a range ``[low, high)`` of bins that holds at most a quarter of the window."""
        held = np.concatenate([[0], np.cumsum(self._total)])
        reach = np.arange(BINS)
        sizes = held[np.minimum(BINS, middle + 1 + reach)] - held[np.maximum(0, middle - reach)]
        widest = max(0, int(np.searchsorted(sizes, self._window // 4, side="right")) - 1)
        return max(0, middle - widest), min(BINS, middle + 1 + widest)

    def _windows(self, wanted: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
        """Split the wanted bins, from high to low, into ranges of at most ``window`` scores (or one bin)."""
        positions = np.flatnonzero(wanted)[::-1]
        begin = 0
        while begin < len(positions):
            held = np.cumsum(self._total[positions[begin:]])
            end = begin + max(1, int(np.searchsorted(held, self._window, side="right")))
            yield int(positions[end - 1]), int(positions[begin]) + 1
            begin = end

    def _corner_above(self, steps: Steps, high: int, run: tuple[int, int], start: tuple[int, int]) -> tuple[int, int]:
        """Find the last point of the thinned ROC before a run of equal steps: ``(accepted same, accepted different)``."""
        if start == (0, 0):
            return start
        same, different = start
        wanted = (self._total > 0) & (np.arange(BINS) >= high)
        parts = (self._fetch([window])[0] for window in list(self._windows(wanted))[::-1])
        for part in chain([steps], parts):
            other = np.flatnonzero((part.same != run[0]) | (part.different != run[1]))
            if len(other):
                rest = slice(other[-1] + 1, None)
                return same - int(part.same[rest].sum()), different - int(part.different[rest].sum())
            same, different = same - int(part.same.sum()), different - int(part.different.sum())
        return int(run[0]), int(run[1])  # the first point is always kept

    def _corner_below(self, steps: Steps, low: int, run: tuple[int, int], start: tuple[int, int]) -> tuple[int, int]:
        """Find the first point of the thinned ROC at the end of a run of equal steps."""
        if start == (0, 0):
            return int(run[0]), int(run[1])  # the first point is always kept
        same, different = start
        wanted = (self._total > 0) & (np.arange(BINS) < low)
        for part in chain([steps], (self._fetch([window])[0] for window in self._windows(wanted))):
            other = np.flatnonzero((part.same != run[0]) | (part.different != run[1]))
            if len(other):
                return same + int(part.same[: other[0]].sum()), different + int(part.different[: other[0]].sum())
            same, different = same + int(part.same.sum()), different + int(part.different.sum())
        return same, different

    def _points(self, fmrs: Sequence[float]) -> list[OperatingPoint]:
        allowed = [allowed_matches(self.n_different, fmr) for fmr in fmrs]
        if not allowed:
            return []
        different_above, same_above = self._above("different"), self._above("same")
        bins = [self._bin_of(k, different_above) for k in allowed]
        fetched = dict(zip(sorted(set(bins)), self._fetch([(b, b + 1) for b in sorted(set(bins))]), strict=True))
        points = []
        for k, b in zip(allowed, bins, strict=True):
            steps, everything = fetched[b], k == self.n_different
            at = -1 if everything else int(np.searchsorted(np.cumsum(steps.different), k - different_above[b], "right"))
            taken = slice(None) if everything else slice(0, at)
            threshold = steps.scores[at] if everything else np.nextafter(steps.scores[at], np.float32(np.inf))
            missed = self.n_same - int(same_above[b] + steps.same[taken].sum())
            matched = int(different_above[b] + steps.different[taken].sum())
            points.append(OperatingPoint(float(threshold), missed / self.n_same, matched / self.n_different))
        return points

    def _bin_of(self, allowed: int, different_above: NDArray[np.int64]) -> int:
        """Find the bin of the highest non-mated score that has to be refused, or of the lowest score if none has to."""
        if allowed == self.n_different:
            return int(np.argmax(self._total > 0))
        return int(np.flatnonzero((different_above <= allowed) & (self._bins["different"] > 0))[0])

    def _fetch(self, windows: Sequence[tuple[int, int]], wanted: NDArray[np.bool_] | None = None) -> list[Steps]:
        """Read all scores once and give those of each range ``[low, high)`` of bins, of the wanted bins only."""
        table = np.zeros(BINS, dtype=bool)
        for low, high in windows:
            table[low:high] = True if wanted is None else wanted[low:high]
        heavy = [low for low, high in windows if high == low + 1 and self._total[low] > BINS]
        table[heavy] = False
        cells = {(name, b): np.zeros(BINS, dtype=np.int64) for name in self._sources for b in heavy}
        found: dict[str, list[NDArray[np.uint32]]] = {name: [] for name in self._sources}
        for name, source in self._sources.items():
            for keys in pieces_as_keys(name, source):
                upper = keys >> np.uint32(16)
                found[name].append(keys[table[upper]])
                for b in heavy:
                    lower = (keys[upper == b] & np.uint32(BINS - 1)).astype(np.intp)
                    cells[name, b] += np.bincount(lower, minlength=BINS)
        # The class goes into the lowest bit, so one sort orders and separates.
        tagged = np.concatenate([_tagged(found["same"], 1), _tagged(found["different"], 0)])
        tagged.sort()
        return [
            steps_of_cells(low, cells["same", low], cells["different", low])
            if low in heavy
            else steps_of_tagged(tagged, low, high)
            for low, high in windows
        ]


def _tagged(found: list[NDArray[np.uint32]], tag: int) -> NDArray[np.uint64]:
    keys = np.concatenate([*found, np.empty(0, np.uint32)]).astype(np.uint64)
    return (keys << np.uint64(1)) | np.uint64(tag)
