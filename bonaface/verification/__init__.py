"""Judgement of pairs: similarity, calibration, thresholds, decision."""
