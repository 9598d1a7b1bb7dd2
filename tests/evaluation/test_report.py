"""The report shows the worst pairs first."""

import numpy as np

from bonaface.evaluation.report import worst_rows


def test_the_worst_come_first() -> None:
    scores = np.array([0.5, 0.1, 0.9, 0.1])
    assert worst_rows(scores, np.ones(4, bool), True, 3).tolist() == [1, 3, 0]
    assert worst_rows(scores, np.array([True, True, False, True]), False, 9).tolist() == [0, 1, 3]
