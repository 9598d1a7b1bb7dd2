"""Photos a second and the time to a first verdict, beside what people use instead.

    python -m venv .venv-peers
    .venv-peers/bin/pip install dlib-bin opencv-python-headless onnxruntime "setuptools<81"
    .venv-peers/bin/pip install --no-deps face_recognition face_recognition_models pillow click
    python benchmarks/peers.py --peers-python .venv-peers/bin/python [--sface SFACE.onnx --yunet YUNET.onnx]

Each side is a fresh process on the cores that this one has: from its first line to a verdict on two photos, and then many photos
one after the other, read from their files, found, aligned and embedded. face_recognition brings its weights by pip; OpenCV's
FaceRecognizerSF and ONNX Runtime alone need the files of OpenCV Zoo that the options name. deepface, insightface and
facenet-pytorch download theirs from elsewhere when they run first, and are measured nowhere but where that is possible.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from embedding_side import peak_mb

SIDES = ("bonaface", "face_recognition", "opencv", "onnxruntime")
Embed = Callable[[str], Any]


def bonaface_side(job: dict[str, Any]) -> tuple[Embed, Callable[[str, str], object]]:
    """The shipped model, or the one of ``--model``."""
    import bonaface

    verifier = bonaface.load(job["model"])
    return lambda path: verifier.embed([path]), verifier.verify


def face_recognition_side(job: dict[str, Any]) -> tuple[Embed, Callable[[str, str], object]]:
    """Dlib's HOG detector and ResNet, as face_recognition's README uses them."""
    import face_recognition as peer

    def embed(path: str) -> Any:
        found = peer.face_encodings(peer.load_image_file(path))
        return found[0] if found else None

    def verify(a: str, b: str) -> object:
        one, two = embed(a), embed(b)
        return one is not None and two is not None and peer.compare_faces([one], two)[0]

    return embed, verify


def opencv_side(job: dict[str, Any]) -> tuple[Embed, Callable[[str, str], object]]:
    """YuNet and SFace, as OpenCV's tutorial uses them."""
    import cv2

    detector = cv2.FaceDetectorYN.create(job["yunet"], "", (320, 320))
    network = cv2.FaceRecognizerSF.create(job["sface"], "")

    def embed(path: str) -> Any:
        image: Any = cv2.imread(path)
        detector.setInputSize((image.shape[1], image.shape[0]))
        faces = detector.detect(image)[1]
        return None if faces is None else network.feature(network.alignCrop(image, faces[0])).copy()

    def verify(a: str, b: str) -> object:
        one, two = embed(a), embed(b)
        return one is not None and two is not None and network.match(one, two, cv2.FaceRecognizerSF_FR_COSINE) > 0.363

    return embed, verify


def onnxruntime_side(job: dict[str, Any]) -> tuple[Embed, Callable[[str, str], object]]:
    """SFace on whole images: no face is looked for, so this is the least that such a network can cost."""
    import cv2
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(job["sface"], providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def embed(path: str) -> Any:
        read: Any = cv2.imread(path)
        image = cv2.resize(read, (112, 112))[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32)
        return session.run(None, {name: image})[0][0]

    def verify(a: str, b: str) -> object:
        one, two = embed(a), embed(b)
        return float(one @ two / np.linalg.norm(one) / np.linalg.norm(two)) > 0.363

    return embed, verify


def one_side(name: str, job: dict[str, Any]) -> dict[str, float]:
    """Seconds to a first verdict, photos a second and memory."""
    started = time.perf_counter()
    sides = {
        "bonaface": bonaface_side,
        "face_recognition": face_recognition_side,
        "opencv": opencv_side,
        "onnxruntime": onnxruntime_side,
    }
    embed, verify = sides[name](job)
    verify(job["paths"][0], job["paths"][1])
    first, begun, begun_core = time.perf_counter() - started, time.perf_counter(), time.process_time()
    found = [embed(path) is not None for path in job["paths"]]
    seconds, core = time.perf_counter() - begun, time.process_time() - begun_core
    count = len(found)
    return {
        "first_verdict_seconds": first,
        "images_per_second": count / seconds,
        "core_ms_per_image": 1e3 * core / count,
        "faces_found_percent": 100 * sum(found) / count,
        "peak_mb": peak_mb(),
    }


def measure(options: argparse.Namespace, folder: Path) -> tuple[list[dict[str, float | str]], list[str]]:
    """A row for each side, medians over turns, and what was not measured, with the reason."""
    from images import make_images

    from bonaface.assets import unpack_demo

    paths = [
        str(path) for path in make_images(unpack_demo(folder / "demo"), folder, 4 if options.quick else options.photos)
    ]
    files = {"sface": str(options.sface or ""), "yunet": str(options.yunet or "")}
    job = {"model": options.model, "paths": paths, **files}
    found: dict[str, list[dict[str, float]]] = {}
    missing: list[str] = []
    for _ in range(1 if options.quick else options.turns):
        for name in SIDES:
            if any(each.startswith(f"{name}:") for each in missing):
                continue
            python = sys.executable if name == "bonaface" else str(options.peers_python)
            words = [python, __file__, "--side", name, json.dumps(job)]
            try:
                done = subprocess.run(words, capture_output=True, text=True, check=False)
                why = (done.stderr.strip().splitlines() or [""])[-1] if done.returncode else ""
            except OSError as error:
                why = str(error)
            if why:
                missing.append(f"{name}: not measured, {why}")
                continue
            found.setdefault(name, []).append(json.loads(done.stdout.splitlines()[-1]))
    rows: list[dict[str, float | str]] = []
    for name, own in found.items():
        medians = {key: float(f"{statistics.median(each[key] for each in own):.4g}") for key in own[0]}
        rows.append({"side": name, **medians})
    return rows, missing


def main() -> None:
    """Reads the command line, measures, prints and records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers-python", type=Path, default=Path(".venv-peers/bin/python"), metavar="PYTHON")
    parser.add_argument("--sface", type=Path, metavar="ONNX", help="recogniser for OpenCV and for ONNX Runtime alone")
    parser.add_argument("--yunet", type=Path, metavar="ONNX", help="detector for OpenCV")
    parser.add_argument("--model", help="instead of the shipped model")
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="four photos, one turn, nothing recorded")
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(one_side(options.side[0], json.loads(options.side[1]))))
        return
    from results import record, say

    with tempfile.TemporaryDirectory() as folder:
        rows, missing = measure(options, Path(folder))
    for row in rows:
        say(row)
    for why in missing:
        print(why)
    if not options.quick:
        record("peers", rows)


if __name__ == "__main__":
    main()
