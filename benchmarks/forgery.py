"""Measures the forgeries: how fast each method is, how good, and what it looks like.

    python benchmarks/forgery.py
        forgeries a second and core of each method, and images a second of a training batch with forgeries
    python benchmarks/forgery.py --forged OUT --faces IN --detector yunet.onnx --sface sface.onnx [--count 150]
        how often ready-made SFace takes a deepfake in OUT for the person, at its own threshold of 0.363
    python benchmarks/forgery.py --forged OUT --faces IN --sheet SHEET.jpg
        a contact sheet: of each method eight photos, and below them the deepfakes made of them

OUT is what ``bonaface forge IN OUT`` made.
"""

import argparse
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bonaface.batches.augmentation import Augmentation
from bonaface.batches.dataset import Batch, LabelledImages
from bonaface.batches.image_cache import FaceStore
from bonaface.data.table import read_faces
from bonaface.forgery.batches import Forging, ForgingBatches, PairedForgeriesSampler, forged_classes
from bonaface.forgery.methods import METHODS, forge
from bonaface.images.alignment import ARCFACE_TEMPLATE, Aligner
from bonaface.images.crops import InputSpec
from bonaface.images.decoding import decode
from bonaface.synthetic.identities import Recogniser

SFACE_THRESHOLD = 0.363  # of the cosine, by OpenCV's documentation of FaceRecognizerSF
TILE, COLUMNS = 96, 8

Kind = Literal["face_crop", "aligned"]


def smooth(seed: int, side: int) -> NDArray[np.uint8]:
    """An image as smooth as photos are."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(40, 215, (7, 7, 3)).astype(np.float32)
    wide = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(wide + random.normal(0, 6, wide.shape), 0, 255), np.uint8)


def per_second(work: Callable[[], object], seconds: float) -> float:
    """Calls in a second of processor time."""
    work()
    count, begun = 0, time.process_time()
    while time.process_time() - begun < seconds:
        work()
        count += 1
    return count / (time.process_time() - begun)


def speed(seconds: float) -> None:
    """Prints forgeries a second of each method at two sizes, on one core."""
    print(f"{platform.machine()}, OpenCV {cv2.__version__}, one core, processor time")
    for side in (112, 160):
        for method in METHODS:
            print(f"{side} px  {method:15} {per_second(forger(method, side), seconds):7.0f} forgeries/s", flush=True)
    kinds: list[tuple[Kind, int]] = [("aligned", 112), ("face_crop", 160)]
    for kind, side in kinds:
        rate = per_second(batches(kind, side).__next__, seconds) * 48
        print(f"a batch of 24 photos and 24 forgeries, {kind} {side} px: {rate:.0f} images/s", flush=True)


def forger(method: str, side: int) -> Callable[[], object]:
    """Forges another of eight images at each call; those of 112 px are aligned."""
    points = ARCFACE_TEMPLATE if side == 112 else None
    faces = [smooth(k, side) for k in range(8)]
    random = np.random.default_rng(0)

    def once() -> object:
        face, donor = random.choice(8, 2, replace=False)
        return forge(faces[face], faces[donor], method, random, points, points)

    return once


def batches(kind: Kind, side: int) -> Iterator[Batch]:
    """Endless batches with forgeries by all methods."""
    who = np.repeat(np.arange(12), 4)
    real = np.zeros(len(who), bool)
    store = FaceStore({kind: np.stack([smooth(k, side) for k in range(len(who))])})
    images = LabelledImages(store, who, real, np.arange(len(who)))
    forging = Forging(2, 2, tuple(METHODS), 1.0, forged_classes(who, who, real, shared=False))
    sampler, views = PairedForgeriesSampler(who, real, 12, 2, 2, 0.5, 0), {"identity": InputSpec(kind, side)}
    made = ForgingBatches(images, sampler, Augmentation(), views, range(10**9), 0, forging)
    return (made[step] for step in range(10**9))


def acceptance(forged: Path, detector: Path, sface: Path, count: int) -> pd.DataFrame:
    """Of each method, the share of deepfakes that SFace takes for another photo of the person, beside real pairs."""
    aligner, recogniser, random = Aligner(detector), Recogniser(sface), np.random.default_rng(0)
    table = read_faces(forged).frame
    photos: dict[str, list[str]] = {
        str(person): rows["path"].tolist() for person, rows in table[~table["is_fake"]].groupby("person")
    }
    people = [person for person, paths in photos.items() if len(paths) > 1]
    known: dict[str, NDArray[np.float32]] = {}

    def vector(path: str) -> NDArray[np.float32]:
        if path not in known:
            known[path] = recogniser.embed(aligner.align(decode(forged / path)).image)
        return known[path]

    pairs: dict[str, list[tuple[str, str]]] = {"two photos of one person": [], "photos of two people": []}
    for _ in range(count):
        one, other = random.choice(people, 2, replace=False)
        first, second = random.choice(photos[one], 2, replace=False).tolist()
        pairs["two photos of one person"].append((first, second))
        pairs["photos of two people"].append((str(random.choice(photos[one])), str(random.choice(photos[other]))))
    for method, rows in pd.read_csv(forged / "forgeries.csv").groupby("method"):
        for path in rows["path"].sample(min(count, len(rows)), random_state=0):
            pairs.setdefault(str(method), []).append((path, random.choice(photos[path.split("/")[1]])))
    figures = []
    for name, drawn in pairs.items():
        cosines = np.array([float(vector(a) @ vector(b)) for a, b in drawn])
        figures.append((name, len(drawn), (cosines > SFACE_THRESHOLD).mean(), cosines.mean()))
        print(
            f"{name:26} {figures[-1][1]:4} pairs  accepted {figures[-1][2]:.2f}  mean cosine {figures[-1][3]:.2f}",
            flush=True,
        )
    return pd.DataFrame(figures, columns=["pair", "pairs", "accepted", "cosine"])


def sheet(forged: Path, faces: Path, out: Path) -> None:
    """Writes the contact sheet."""
    rows = []
    listed = pd.read_csv(forged / "forgeries.csv")
    for method in METHODS:
        of_method = listed[listed["method"] == method]
        if len(of_method) < COLUMNS:
            continue
        chosen = of_method.iloc[np.linspace(0, len(of_method) - 1, COLUMNS).astype(int)]
        for root, column in ((faces, "source"), (forged, "path")):
            tiles = [
                cv2.resize(decode(root / path), (TILE, TILE), interpolation=cv2.INTER_AREA) for path in chosen[column]
            ]
            rows.append(np.hstack(tiles))
        rows.append(np.full((6, TILE * COLUMNS, 3), 255, np.uint8))
    cv2.imwrite(str(out), np.vstack(rows[:-1])[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 77])


def main() -> None:
    """Does what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("forged", "faces", "detector", "sface", "sheet"):
        parser.add_argument(f"--{name}", type=Path, metavar="PATH")
    parser.add_argument("--count", type=int, default=150, help="pairs of each kind (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="that each figure is measured (default: %(default)s)"
    )
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.sface:
        acceptance(options.forged, options.detector, options.sface, options.count)
    elif options.sheet:
        sheet(options.forged, options.faces, options.sheet)
    else:
        speed(options.seconds)


if __name__ == "__main__":
    main()
