"""Label noise and duplicates, found with a model."""
