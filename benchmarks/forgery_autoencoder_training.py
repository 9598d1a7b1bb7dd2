"""Trains the auto-encoders that draw faces again (bonaface/forgery/autoencoder.py), and measures them.

python benchmarks/forgery_autoencoder_training.py train --out bonaface/assets/autoencoders.safetensors
    on the photos of the demo pack's train people, about a minute a variant on one core
python benchmarks/forgery_autoencoder_training.py measure
    error, and images a second and core, of the weights in the package on the photos of the pack's test people
python benchmarks/forgery_autoencoder_training.py sheet --out SHEET.png
    eight of these photos, and below them what each variant makes of them
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from torch.nn.utils import parameters_to_vector

from bonaface.assets import unpack_demo
from bonaface.data.table import read_faces
from bonaface.forgery.autoencoder import AUTOENCODERS, build_autoencoder, rerender_by_autoencoder
from bonaface.images.decoding import decode
from bonaface.io import atomic_write

CROP, BATCH = 64, 12
RATE = 3e-3
SCALES = (0.75, 1.35)  # from faces with some room around to aligned ones
SIDE = 112

Image = NDArray[np.uint8]


def photos() -> tuple[list[Image], list[Image]]:
    """Photos of the pack's train people, and of its test people; no deepfakes."""
    with tempfile.TemporaryDirectory() as folder:
        root = unpack_demo(Path(folder))
        table = read_faces(root / "train")
        train = [decode(table.path(int(row))) for row in np.flatnonzero(~table.frame["is_fake"])]
        labels = pd.read_csv(root / "test" / "labels.csv", dtype={"pair_id": str})
        paths = [
            root / "test" / "images" / pair / f"{side}.jpg"
            for side in (0, 1)
            for pair in labels.loc[labels[f"method_{side}"] == "real", "pair_id"]
        ]
        return train, [decode(path) for path in sorted(paths)]


def draw(images: list[Image], random: np.random.Generator) -> Tensor:
    """A batch of crops of random size, place, side and light: ``(n, 3, 64, 64)`` in 0..1."""
    crops = []
    for index in random.integers(len(images), size=BATCH):
        image = images[index]
        side = round(CROP / random.uniform(*SCALES))
        top, left = (int(random.integers(length - side + 1)) for length in image.shape[:2])
        crop = image[top : top + side, left : left + side]
        crop = cv2.resize(crop, (CROP, CROP), interpolation=cv2.INTER_AREA if side > CROP else cv2.INTER_CUBIC)
        crop = crop[:, :: random.choice([-1, 1])].astype(np.float32) * random.uniform(0.7, 1.2)
        crops.append(np.clip(crop, 0, 255).transpose(2, 0, 1) / 255)
    return torch.from_numpy(np.ascontiguousarray(np.stack(crops)))


def loss(drawn: Tensor, wanted: Tensor) -> Tensor:
    """L1 of the pixels and of the steps to the next pixel, down and across."""
    edges = sum(functional.l1_loss(drawn.diff(dim=dim), wanted.diff(dim=dim)) for dim in (2, 3))
    return functional.l1_loss(drawn, wanted) + edges


def train(out: Path, variants: list[str], steps: int, seed: int) -> None:
    """Writes the variants' weights as float16; those of other variants in the file stay."""
    images, _ = photos()
    weights = load_file(out) if out.exists() else {}
    for variant in variants:
        random, began = np.random.default_rng(seed), time.monotonic()
        torch.manual_seed(seed)
        network = build_autoencoder(variant).to(memory_format=torch.channels_last)
        optimiser = torch.optim.AdamW(network.parameters(), lr=RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
        for _ in range(steps):
            batch = draw(images, random).to(memory_format=torch.channels_last)
            error = loss(network(batch), batch)
            optimiser.zero_grad()
            error.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        contiguous = network.to(memory_format=torch.contiguous_format)
        weights[variant] = parameters_to_vector(contiguous.parameters()).detach().half()
        spent = time.monotonic() - began
        print(f"{variant:18} {len(weights[variant])} weights, last loss {error.item():.4f}, {spent:.0f} s", flush=True)
        with atomic_write(out) as temporary:
            save_file(weights, temporary)


def measure(seconds: float) -> None:
    """Prints error and speed of each variant at 112 px."""
    _, images = photos()
    resized = [
        np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8) for image in images[::4]
    ]
    print(f"{len(resized)} photos of {SIDE} px, {torch.get_num_threads()} thread; error in grey levels of 255")
    for variant in AUTOENCODERS:
        error = np.mean([np.abs(rerender_by_autoencoder(one, variant).astype(int) - one).mean() for one in resized])
        count, begun = 0, time.process_time()
        while time.process_time() - begun < seconds:
            rerender_by_autoencoder(resized[count % len(resized)], variant)
            count += 1
        spent = (time.process_time() - begun) / count
        print(
            f"{variant:18} mean absolute error {error:5.2f}  {1000 * spent:.2f} ms  {1 / spent:5.0f} images/s",
            flush=True,
        )


def sheet(out: Path) -> None:
    """Writes the contact sheet."""
    _, images = photos()
    chosen = [images[k] for k in np.linspace(0, len(images) - 1, 8).astype(int)]
    rows = [np.hstack(chosen)]
    rows += [np.hstack([rerender_by_autoencoder(one, variant) for one in chosen]) for variant in AUTOENCODERS]
    cv2.imwrite(str(out), np.vstack(rows)[:, :, ::-1])


def main() -> None:
    """Does what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("train", "measure", "sheet"))
    parser.add_argument("--out", type=Path, metavar="PATH")
    parser.add_argument("--variants", nargs="+", choices=AUTOENCODERS, default=list(AUTOENCODERS), metavar="NAME")
    parser.add_argument("--steps", type=int, default=1500, help="of each variant (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=2.0, help="that a speed is measured (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if options.task == "train":
        train(options.out, options.variants, options.steps, options.seed)
    elif options.task == "measure":
        measure(options.seconds)
    else:
        sheet(options.out)


if __name__ == "__main__":
    main()
