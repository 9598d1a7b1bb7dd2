"""Test pairs of a file of experiments, and a digest by which a record says which they were."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pandas as pd

from bonaface.data.doubled_pairs import content_digest
from bonaface.data.pairs import PairTable, read_pairs
from bonaface.evaluation.inputs import PairSource, read_judged
from bonaface.experiments.spec import TestPairs

__all__ = ["JudgedPairs", "digest_of", "read_test"]


@dataclass(frozen=True)
class JudgedPairs:
    """Pairs that trained models are judged on.

    Args:
        pairs: ``n`` of them.
        labels: in the same order, as ``read_labels`` returns them; None where there are none.
    """

    pairs: PairTable
    labels: pd.DataFrame | None

    @property
    def digest(self) -> str:
        """Digest of the images' contents and of what each pair is, whatever path they are read by."""
        frame = self.pairs.frame
        images = {path: content_digest(str(self.pairs.root / path)) for path in {*frame["path_0"], *frame["path_1"]}}
        told = pd.DataFrame({"pair_id": frame["pair_id"]})
        for side in ("path_0", "path_1"):
            told[side] = [found.hex() if (found := images[path]) else "unreadable" for path in frame[side]]
        for name in ("label", "kind"):
            told[name] = "" if self.labels is None or name not in self.labels else self.labels[name].astype(str)
        return hashlib.sha256(told.to_csv(index=False).encode("utf-8", "surrogateescape")).hexdigest()


def read_test(test: TestPairs) -> JudgedPairs:
    """Read pairs, and their labels where there are any.

    Raises:
        DataError: if they are not what they should be.
    """
    if test.labels is None:
        return JudgedPairs(read_pairs(test.pairs), None)
    return JudgedPairs(*read_judged(PairSource(test.pairs, test.labels)))


def digest_of(test: TestPairs | None) -> str | None:
    """Digest of the test pairs of a file of experiments; None where it has none.

    Raises:
        DataError: if they are not what they should be.
    """
    return None if test is None else read_test(test).digest
