"""Evaluation of models on labelled pairs."""
