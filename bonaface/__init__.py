"""Face verification that a deepfake does not pass."""

__version__ = "0.1.0"
