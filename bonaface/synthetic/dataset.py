"""A data set of people who do not exist, in the challenge's layout: real photos, deepfakes, and test pairs.

The demo pack that the package carries was made by :func:`make_people`; see docs/demo-pack.md.
"""

from __future__ import annotations

import itertools
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bonaface.data.splits import SHARES
from bonaface.errors import ConfigError
from bonaface.forgery.methods import NEEDS_DONOR, forge
from bonaface.images.alignment import Aligner
from bonaface.io import atomic_write
from bonaface.outputs import refuse_other_folder
from bonaface.synthetic.generator import FaceGenerator, find_networks
from bonaface.synthetic.identities import Photo, Recogniser, SyntheticPeople, yaw

__all__ = ["FORGERIES", "SyntheticImage", "draw_test_pairs", "finish", "head_crop", "make_people", "pack_folder"]

FORGERIES = ("swap_alpha", "swap_poisson", "swap_multiband", "self_blend", "rerender")
_RENDERINGS = ".renderings"
_DONORS_LOOKED_AT = 200
_DONORS_KEPT = 4
_LABEL_COLUMNS = ["pair_id", "label", "kind", "person_0", "person_1", "method_0", "method_1"]


@dataclass(frozen=True)
class SyntheticImage:
    """An encoded image of the data set; ``method`` is empty for a real photo."""

    person: str
    number: int
    method: str
    jpeg: bytes


def make_people(
    out: Path,
    *,
    people: int,
    photos: int,
    fakes: int,
    seed: int,
    detector: Path,
    recogniser: Path,
    networks: Path | None = None,
    test_share: float = 0.2,
    pairs: int = 400,
    size: int = 128,
    console: Console | None = None,
) -> None:
    """Write ``out/train`` (meta.json, images/person/n.jpg) and ``out/test`` (images/pair/0.jpg and 1.jpg, labels.csv).

    Train and test have no person in common. About 0.35 s a rendering on two cores; renderings are kept in
    ``out/.renderings``, from which an interrupted run resumes. The same settings give the same files.

    Args:
        out: folder to write into.
        people: how many, train and test together, at least 6.
        photos: real photos of each person, at least 2.
        fakes: deepfakes of each person.
        seed: of all that is random.
        detector: YuNet as ONNX.
        recogniser: SFace as ONNX; judges who is who.
        networks: random-face's wheel or a folder with its networks; None downloads the wheel.
        test_share: share of the people that the test pairs are of.
        pairs: how many test pairs.
        size: side of the images in px.
        console: where progress is shown; None shows none.

    Raises:
        ConfigError: if a number is out of range.
        DataError: if the folder holds something else than an earlier run.
        ModelError: if a network is missing or can't be read.
    """
    test_people = round(people * test_share)
    if people < 6 or photos < 2 or fakes < 0 or not 2 <= test_people <= people - 2:
        raise ConfigError(
            "synthetic people: expected 6 or more, at least two of them to test on, 2 photos or more of each, and 0 fakes or more; "
            f"got {people} people ({test_people} to test on), {photos} photos and {fakes} fakes"
        )
    wanted, there = round(pairs * _shares(fakes > 0)["same"]), test_people * photos * (photos - 1) // 2
    if wanted > there:  # before hours of work
        raise ConfigError(
            f"pairs: {pairs} need {wanted} of kind same, {test_people} test people of {photos} photos each have {there}"
        )
    refuse_other_folder(out, (_RENDERINGS,))
    cache = out / _RENDERINGS
    source = SyntheticPeople(
        FaceGenerator(find_networks(networks, cache)), Aligner(detector), Recogniser(recogniser), cache, seed
    )
    albums = _find_people(source, people, photos, console)
    sides = {"train": albums[test_people:], "test": albums[:test_people]}
    for number, (side, chosen) in enumerate(sides.items()):
        images = _make_images(chosen, number, fakes, seed, size)
        if side == "train":
            _write_train(out / side, images)
        else:
            _write_test(out / side, list(images), pairs, np.random.default_rng([seed, 4]))


def _find_people(source: SyntheticPeople, people: int, photos: int, console: Console | None) -> list[list[Photo]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=console is None) as progress:
        task = progress.add_task("Learning to turn heads", total=source.probes)
        for done in source.probe():
            progress.update(task, completed=done)
        task = progress.add_task("Finding people", total=people)
        albums = []
        for album in itertools.islice(source.people(photos), people):
            albums.append(album)
            progress.update(task, completed=len(albums))
    return albums


def _make_images(
    albums: Sequence[list[Photo]], side: int, fakes: int, seed: int, size: int
) -> Iterator[SyntheticImage]:
    """Make every person's real photos and deepfakes, encoded, person by person: few of them need to be in memory at a time."""
    for index, album in enumerate(albums):
        random = np.random.default_rng([seed, 2, side, index])
        person = f"{index:04d}"
        numbers = itertools.count()
        for photo in album:
            yield SyntheticImage(person, next(numbers), "", finish(head_crop(photo, random, size)[0], random))
        methods = [FORGERIES[k] for k in random.permutation(len(FORGERIES))]
        for method in itertools.islice(itertools.cycle(methods), fakes):
            photo = album[int(random.integers(len(album)))]
            face, points = head_crop(photo, random, size)
            donor, donor_points = None, None
            if method in NEEDS_DONOR:
                donor, donor_points = head_crop(_donor(photo, albums, index, random), random, size)
            forged = forge(face, donor, method, random, points, donor_points)
            yield SyntheticImage(person, next(numbers), method, finish(forged, random))


def _donor(photo: Photo, albums: Sequence[list[Photo]], own: int, random: np.random.Generator) -> Photo:
    """Draw another person's photo of about the same pose and skin colour."""
    others = [index for index in range(len(albums)) if index != own]
    picks = random.choice(others, size=_DONORS_LOOKED_AT)
    candidates = [albums[pick][int(random.integers(len(albums[pick])))] for pick in picks]
    # A yaw of 0.1 weighs as much as a skin colour 10 LAB units away.
    unlike = [
        abs(yaw(photo.points) - yaw(other.points)) * 100 + float(np.linalg.norm(photo.tone - other.tone))
        for other in candidates
    ]
    nearest = np.argsort(unlike, kind="stable")[:_DONORS_KEPT]
    chosen: Photo = candidates[int(random.choice(nearest))]
    return chosen


def head_crop(photo: Photo, random: np.random.Generator, size: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Crop of a photo as a camera might have taken it, with the whole head, ``(size, size, 3)``, and its five points."""
    image = photo.read()
    side = image.shape[0] * random.uniform(0.80, 0.92)
    centre = image.shape[0] * (np.array([0.5, 0.53]) + random.uniform(-0.025, 0.025, 2))
    matrix = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), random.uniform(-5, 5), size / side)
    matrix = np.asarray(matrix + np.column_stack([np.zeros((2, 2)), size / 2 - centre]))
    cropped = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    points = photo.points @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(cropped, dtype=np.uint8), points.astype(np.float32)


def finish(image: NDArray[np.uint8], random: np.random.Generator) -> bytes:
    """Light, colour, noise and JPEG, drawn alike for real photos and deepfakes: the file's bytes."""
    gain = random.uniform(0.85, 1.15) * random.uniform(0.95, 1.05, 3)
    gamma = random.uniform(0.85, 1.18)
    values = (np.arange(256)[:, None] / 255) ** gamma * gain * 255  # (256, 3)
    lit = cv2.LUT(image, np.clip(values, 0, 255).round().astype(np.uint8)[:, None]).astype(np.float32)
    noise = np.asarray(random.normal(0, random.uniform(0, 2.5), lit.shape))
    encoded = np.clip(lit + noise, 0, 255).round().astype(np.uint8)[:, :, ::-1]
    quality = int(random.integers(78, 93))
    return cv2.imencode(".jpg", encoded, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _write_train(out: Path, images: Iterable[SyntheticImage]) -> None:
    meta = {}
    for image in images:
        name = f"{image.person}/{image.number}.jpg"
        _write(out / "images" / name, image.jpeg)
        meta[name] = int(bool(image.method))
    _write(out / "meta.json", (json.dumps(meta, indent=0) + "\n").encode())


def _write_test(out: Path, images: Sequence[SyntheticImage], count: int, random: np.random.Generator) -> None:
    table = draw_test_pairs(images, count, random)
    for side in (0, 1):
        for pair, position in zip(table["pair_id"], table[f"position_{side}"], strict=True):
            _write(out / "images" / pair / f"{side}.jpg", images[position].jpeg)
    methods = {name: table[name].replace("", "real") for name in ("method_0", "method_1")}
    _write(out / "labels.csv", table[_LABEL_COLUMNS].assign(**methods).to_csv(index=False).encode())


def draw_test_pairs(images: Sequence[SyntheticImage], count: int, random: np.random.Generator) -> pd.DataFrame:
    """Draw pairs of the four kinds, none twice, in random order and with random sides.

    Returns:
        Columns pair_id, label, kind, person_0, person_1, method_0, method_1, and position_0, position_1 in ``images``.

    Raises:
        ConfigError: if there are not that many pairs.
    """
    rows = []
    positions = {kind: _pairs_of_kind(images, test) for kind, test in _KIND_TESTS.items()}
    for kind, share in _shares(any(image.method for image in images)).items():
        wanted = round(count * share)
        if len(positions[kind]) < wanted:
            raise ConfigError(f"pairs: {count} need {wanted} of kind {kind}, these people have {len(positions[kind])}")
        for choice in random.choice(len(positions[kind]), wanted, replace=False):
            first, second = random.permutation(positions[kind][int(choice)])
            a, b = images[first], images[second]
            rows.append((int(kind == "same"), kind, a.person, b.person, a.method, b.method, first, second))
    order = random.permutation(len(rows))
    columns = [*_LABEL_COLUMNS[1:], "position_0", "position_1"]
    table = pd.DataFrame([rows[k] for k in order], columns=columns)
    table.insert(0, "pair_id", [f"{number:06d}" for number in range(len(table))])
    return table


def _shares(has_fakes: bool) -> Mapping[str, float]:
    return SHARES if has_fakes else {"same": 0.5, "impostor": 0.5}


# A pair (a, b) of images is of a kind if the test says so; b is the deepfake where there is one.
_KIND_TESTS: dict[str, Callable[[SyntheticImage, SyntheticImage], bool]] = {
    "same": lambda a, b: not b.method and a.person == b.person and a.number < b.number,
    "impostor": lambda a, b: not b.method and a.person < b.person,
    "own_fake": lambda a, b: bool(b.method) and a.person == b.person,
    "other_fake": lambda a, b: bool(b.method) and a.person != b.person,
}


def _pairs_of_kind(
    images: Sequence[SyntheticImage], test: Callable[[SyntheticImage, SyntheticImage], bool]
) -> list[tuple[int, int]]:
    real = [position for position, image in enumerate(images) if not image.method]
    every = range(len(images))
    return [(a, b) for a in real for b in every if test(images[a], images[b])]


def pack_folder(folder: Path, file: Path) -> None:
    """Pack ``folder``'s train and test as one .tar.xz, the same bytes each time; equal images cost their space once."""
    with atomic_write(file) as temporary, tarfile.open(temporary, "w:xz", preset=9) as archive:
        for path in sorted(p for side in ("train", "test") for p in (folder / side).rglob("*") if p.is_file()):
            member = tarfile.TarInfo(path.relative_to(folder).as_posix())
            member.size = path.stat().st_size
            with path.open("rb") as stream:
                archive.addfile(member, stream)


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
