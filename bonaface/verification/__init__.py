"""What judges: scores, calibration, reports."""
