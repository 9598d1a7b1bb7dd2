"""Runs to record: a tiny training, as in the tests of training."""

from training.conftest import cache, config, people, trained, words

__all__ = ["cache", "config", "people", "trained", "words"]
