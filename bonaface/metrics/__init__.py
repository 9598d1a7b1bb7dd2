"""How good a verifier is: pure functions of scores, a leaf that every other package may use."""

from bonaface.metrics.eer import challenge_eer, eer_by_method, eer_rocch, eers_by_kind
from bonaface.metrics.scores import KINDS

__all__ = ["KINDS", "challenge_eer", "eer_by_method", "eer_rocch", "eers_by_kind"]
