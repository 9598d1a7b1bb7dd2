"""Deepfakes of genuine photos."""
