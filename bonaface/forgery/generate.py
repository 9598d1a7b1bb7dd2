"""A tree of real faces becomes the challenge's train layout with deepfakes.

images/<person>/<n>.jpg   photos and deepfakes, numbered in random order, through one camera (forgery_camera)
meta.json                 "<person>/<n>.jpg": 1 if deepfake else 0; written last, when all images are there
forgeries.csv             path, method, source, donor, seed of each deepfake

What is made depends on the seed and the images' paths alone, not on order or workers. A run that was stopped can be resumed:
images that are there are kept, and each appears whole or not at all.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import pandas as pd
from rich.progress import Progress

from bonaface.data.table import FaceTable
from bonaface.errors import DataError
from bonaface.forgery.camera import Camera, Crop
from bonaface.forgery.donors import Sight, see
from bonaface.forgery.landmarks import Landmarks
from bonaface.forgery.methods import NEEDS_DONOR, forge
from bonaface.forgery.note import begin, is_begun, state_of
from bonaface.forgery.recipe import Order, Recipe, check_folders, check_recipe, commonest_side, plan
from bonaface.images.alignment import Aligner
from bonaface.images.decoding import decode, name_of, read_file
from bonaface.io import atomic_write

__all__ = ["Forged", "Recipe", "forge_tree"]

_R = TypeVar("_R")


@dataclass(frozen=True)
class Forged:
    """Summary of a run.

    Attributes:
        people: how many.
        photos: real photos in the folder.
        methods: deepfakes in the folder, by method.
        kept: images that an earlier run had made.
        left_out: images that can't be read: the sentence that says why, by path.
        lonely: people with a single photo, of whom no pair of two real photos can be drawn.
    """

    people: int
    photos: int
    methods: dict[str, int]
    kept: int
    left_out: dict[str, str]
    lonely: int


def forge_tree(
    table: FaceTable,
    out: Path,
    recipe: Recipe,
    workers: int = 1,
    progress: Progress | None = None,
    landmarks: Mapping[str, Landmarks] | None = None,
) -> Forged:
    """Writes photos and deepfakes of a table's people into ``out``; deepfakes that the table has are not used.

    Args:
        table: photos of at least one person, of two for the swaps.
        out: empty, new, or left by a run with the same recipe and photos, of the same contents, that was stopped.
        recipe: what to make.
        workers: processes; 1 works in this one.
        progress: shows how far it is.
        landmarks: of some or all photos, by path; in the others the recipe's detector looks for the face.

    Raises:
        ConfigError: if the recipe makes no sense.
        DataError: if the images or landmarks do not serve it, or ``out`` holds something else.
    """
    check_recipe(recipe)
    table = table.take(~table.frame["is_fake"].to_numpy(dtype=bool))
    check_folders(table, out, recipe.methods)
    size = recipe.size or commonest_side(table)
    workshop = Workshop(table.root, out, Camera(size, recipe.quality))
    given = landmarks or {}
    state = state_of(recipe, table, size, given)
    is_begun(out, state)
    with _workers(workers) as each:
        sights, left_out, faces = _survey(table, recipe, given, each, progress)
        seen = [row for row in range(len(table)) if table.frame["path"].iat[row] not in left_out]
        readable = table.take(np.array(seen, dtype=np.int64))
        check_folders(readable, out, recipe.methods)
        begin(out, state | {"faces": faces})
        orders = plan(readable, sights, recipe)
        by_person = _grouped(orders)
        filled: Iterator[tuple[int, int]] = each(workshop.fill, by_person)
        counts = list(_shown(filled, len(orders), "making photos and forgeries", progress, sum))
    _finish(out, orders)
    photos = Counter(readable.frame["person"])
    return Forged(
        people=len(photos),
        photos=len(readable),
        methods=dict(Counter(order.method for order in orders if order.method)),
        kept=sum(kept for _, kept in counts),
        left_out=left_out,
        lonely=sum(count == 1 for count in photos.values()),
    )


@dataclass(frozen=True)
class Workshop:
    """Makes images; it can be sent to other processes.

    Args:
        root: where source paths start.
        out: where images are written.
        camera: that takes them all.
    """

    root: Path
    out: Path
    camera: Camera

    def fill(self, orders: Sequence[Order]) -> tuple[int, int]:
        """Makes what is not there yet; returns how many images it made and how many it found."""
        missing = [order for order in orders if not (self.out / order.path).exists()]
        for order in missing:
            closed = not (self.root / order.source).stat().st_mode & 0o077  # nor may others read what is made of it
            with atomic_write(self.out / order.path, private=closed) as temporary:
                temporary.write_bytes(self.make(order))
        return len(missing), len(orders) - len(missing)

    def make(self, order: Order) -> bytes:
        """The JPEG file of one image."""
        random = np.random.default_rng(order.seed)
        quality = self.camera.draw_quality(random)
        face = self._crop(order.source, order.sight, random)
        if not order.method:
            return self.camera.encode(face.image, quality)
        before, donor = face, None
        if order.method in NEEDS_DONOR and order.donor_sight is not None:
            before = donor = self._crop(order.donor, order.donor_sight, random)
        forged = forge(
            face.image,
            None if donor is None else donor.image,
            order.method,
            random,
            face.points,
            None if donor is None else donor.points,
        )
        return self.camera.encode(self.camera.evened(forged, before.image, quality, random), quality)

    def _crop(self, path: str, sight: Sight, random: np.random.Generator) -> Crop:
        return self.camera.crop(decode(self.root / path), sight.points, random)


@dataclass(frozen=True)
class Look:
    """What there is to know of a photo before anything is made.

    Attributes:
        content: digest of its file; empty where that can't be read.
        seen: what it shows, or why it can't be read.
    """

    content: str
    seen: Sight | str


def look(root: Path, aligner: Aligner | None, path: str, landmarks: Landmarks | None) -> Look:
    """Look at a photo.

    Raises:
        DataError: if the landmarks lie outside of the photo.
    """
    content = ""
    try:
        data = read_file(root / path)
        content = hashlib.blake2b(data, digest_size=16).hexdigest()
        image = decode(data, name_of(root / path))
    except DataError as error:
        return Look(content, str(error))
    return Look(content, see(image, aligner, landmarks))


def _survey(
    table: FaceTable,
    recipe: Recipe,
    landmarks: Mapping[str, Landmarks],
    each: Callable[..., Iterator[Look]],
    progress: Progress | None,
) -> tuple[list[Sight], dict[str, str], str]:
    """Look at all photos: what each readable one shows, in order, why the others can't be read, and a digest of it all."""
    paths, people = table.frame["path"].tolist(), table.frame["person"].tolist()
    aligner = None if recipe.detector is None else Aligner(recipe.detector)
    looks: Iterator[Look] = each(
        functools.partial(look, table.root, aligner), paths, [landmarks.get(path) for path in paths]
    )
    found = list(_shown(looks, len(paths), "looking at photos", progress, lambda _: 1))
    digest = hashlib.blake2b(digest_size=16)
    sights, left_out = [], {}
    for path, person, each_look in zip(paths, people, found, strict=True):
        readable = not isinstance(each_look.seen, str)
        digest.update(f"{path}|{person}|{each_look.content}|{readable}\n".encode("utf-8", "surrogateescape"))
        if isinstance(each_look.seen, str):
            left_out[path] = each_look.seen
        else:
            sights.append(each_look.seen)
    return sights, left_out, digest.hexdigest()


def _grouped(orders: Sequence[Order]) -> list[list[Order]]:
    """By person: one person is one task."""
    return [list(group) for _, group in itertools.groupby(orders, key=lambda order: order.person)]


def _shown(
    results: Iterable[_R], total: int, title: str, progress: Progress | None, size: Callable[[_R], int]
) -> Iterator[_R]:
    task = progress.add_task(title, total=total) if progress else None
    for result in results:
        if progress is not None and task is not None:
            progress.advance(task, size(result))
        yield result


@contextmanager
def _workers(count: int) -> Iterator[Callable[..., Iterator[_R]]]:
    """A ``map`` over processes, or over this one; when the block is left, work that has not begun is dropped."""
    if count <= 1:
        yield map
        return
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=_quiet_worker)
    try:
        yield functools.partial(pool.map, chunksize=4)
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process was killed, as happens where memory runs out; what is made is kept: "
            "repeat the command with fewer --workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _quiet_worker() -> None:
    """Ctrl-C is the parent's to answer, each worker keeps to one core, and none outlives a parent that was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _finish(out: Path, orders: Sequence[Order]) -> None:
    rows = [
        (order.path, order.method, order.source, order.donor, order.seed)
        for order in sorted(orders, key=lambda order: order.path)
        if order.method
    ]
    with atomic_write(out / "forgeries.csv") as temporary:
        pd.DataFrame(rows, columns=["path", "method", "source", "donor", "seed"]).to_csv(temporary, index=False)
    meta = {order.path.removeprefix("images/"): int(bool(order.method)) for order in orders}
    with atomic_write(out / "meta.json") as temporary:
        temporary.write_text(json.dumps(meta, indent=0) + "\n", encoding="utf-8")
