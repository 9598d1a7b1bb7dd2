"""Error rates of a verifier: pure functions of scores, a leaf that every other package may use."""

from bonaface.metrics.bootstrap import (
    Difference,
    eer_differences,
    eer_intervals,
    fnmr_intervals,
    share_interval,
)
from bonaface.metrics.curves import det_points, roc_points
from bonaface.metrics.detection_cost import a_dcf, cllr, min_cllr, min_dcf, reliability
from bonaface.metrics.eer import challenge_eer, eer_by_method, eer_rocch, eers_by_kind
from bonaface.metrics.fold_accuracy import FoldAccuracy, fold_accuracy
from bonaface.metrics.operating_points import (
    FMRS,
    OperatingPoint,
    auc,
    fake_score_eer,
    fake_score_errors,
    fnmr_at_fmr,
    fnmr_at_threshold,
    iapar,
    iapar_by_method,
    operating_points,
)
from bonaface.metrics.pair_histogram import PairHistogram, all_pairs_histogram
from bonaface.metrics.resampling import Interval, person_weights
from bonaface.metrics.scores import KINDS
from bonaface.metrics.streaming import StreamingScores

__all__ = [
    "FMRS",
    "KINDS",
    "Difference",
    "FoldAccuracy",
    "Interval",
    "OperatingPoint",
    "PairHistogram",
    "StreamingScores",
    "a_dcf",
    "all_pairs_histogram",
    "auc",
    "challenge_eer",
    "cllr",
    "det_points",
    "eer_by_method",
    "eer_differences",
    "eer_intervals",
    "eer_rocch",
    "eers_by_kind",
    "fake_score_eer",
    "fake_score_errors",
    "fnmr_at_fmr",
    "fnmr_at_threshold",
    "fnmr_intervals",
    "fold_accuracy",
    "iapar",
    "iapar_by_method",
    "min_cllr",
    "min_dcf",
    "operating_points",
    "person_weights",
    "reliability",
    "roc_points",
    "share_interval",
]
