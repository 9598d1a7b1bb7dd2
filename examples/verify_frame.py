"""Is the person at the webcam the one of a photo? Takes a webcam's number, an image or a video in its place.

python examples/verify_frame.py ann.jpg 0
python examples/verify_frame.py ann.jpg now.jpg
"""

from __future__ import annotations

import sys

import cv2
import numpy as np
from numpy.typing import NDArray

import bonaface


def frame_of(camera: int) -> NDArray[np.uint8]:
    """One frame of a webcam, RGB."""
    capture = cv2.VideoCapture(camera)
    seen, frame = capture.read()
    capture.release()
    if not seen:
        raise SystemExit(f"webcam {camera}: gives no image")
    return frame[:, :, ::-1].copy()


def main(enrolled: str, now: str) -> int:
    """Prints the verdict; returns 0 for the same person."""
    verdict = bonaface.load().verify(enrolled, frame_of(int(now)) if now.isdigit() else now)
    print(f"{verdict.decision}: {verdict.reason}")
    return 0 if verdict.decision == "same person" else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
