"""Training batches: images drawn, decoded once, augmented and stacked."""
