"""Evaluation of models on labelled pairs."""

from bonaface.evaluation.plots import plot_det, plot_scores

__all__ = ["plot_det", "plot_scores"]
