"""A model made to fit the photos of those who use it."""
