"""A model as one file."""
