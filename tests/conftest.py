"""Small image trees in every layout, made of seeded noise and gradients."""

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from bonaface.assets import unpack_demo

Images = dict[str, list[int]]
"""person -> for each of their images 1 where it is a deepfake."""

WriteImage = Callable[..., Path]


def random_image(rng: np.random.Generator, size: int = 32) -> NDArray[np.uint8]:
    """A gradient between two random colours under noise, (size, size, 3)."""
    start, end = rng.uniform(0, 255, (2, 3))
    ramp = np.linspace(0, 1, size)[:, None, None]
    smooth = start + (end - start) * (ramp + ramp.transpose(1, 0, 2)) / 2
    return np.clip(smooth + rng.normal(0, 12, (size, size, 3)), 0, 255).astype(np.uint8)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def device(tmp_path: Path) -> Callable[[str], Path]:
    """``device("null")``: a node of the test's own, as a mistake that a test is for would replace the machine's."""

    def make(name: str) -> Path:
        own, machines = tmp_path / "dev" / name, Path("/dev", name)
        if not machines.is_char_device():
            pytest.skip(f"this system has no {machines}")
        own.parent.mkdir(exist_ok=True)
        try:
            os.mknod(own, stat.S_IFCHR | 0o666, machines.stat().st_rdev)
            own.open("wb").close()
        except OSError as error:
            pytest.skip(
                f"a device of the test's own takes root and a file system that allows devices ({error.strerror})"
            )
        return own

    return make


@pytest.fixture
def write_image(rng: np.random.Generator) -> WriteImage:
    """``write_image(path, size=32)`` writes a new random image; the suffix chooses the format."""

    def write(path: Path, size: int = 32) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random_image(rng, size)).save(path)
        return path

    return write


@pytest.fixture
def one_frame(tmp_path: Path) -> Callable[[str], Path]:
    """``one_frame("ann")`` writes what one camera sees, with a small face of a demo person who is someone else each time."""
    people = unpack_demo(tmp_path / "demo") / "train" / "images"
    faces = sorted(people.glob("*/0.jpg"))
    coarse = np.random.default_rng(3).integers(0, 256, (9, 16, 3), np.uint8)
    scene = Image.fromarray(coarse).resize((1280, 720), Image.Resampling.BICUBIC)
    names: list[str] = []

    def write(name: str) -> Path:
        names.append(name)
        file = tmp_path / "frames" / name / "0.jpg"
        file.parent.mkdir(parents=True)
        with Image.open(faces[len(names)]) as face:
            scene.paste(face.resize((110, 110)), (520, 180))
        scene.save(file, quality=95)
        return file

    return write


@pytest.fixture
def challenge_train(tmp_path: Path, write_image: WriteImage) -> Callable[..., Path]:
    """``challenge_train(images)`` writes meta.json beside images/<person>/<n>.jpg."""

    def write(images: Images | None = None, name: str = "train", size: int = 32) -> Path:
        images = images or {"00000000": [0, 0, 1], "00000001": [0, 1, 0], "00000002": [0, 0, 0, 1]}
        root = tmp_path / name
        meta = {f"{person}/{n}.jpg": fake for person, fakes in images.items() for n, fake in enumerate(fakes)}
        for key in meta:
            write_image(root / "images" / key, size)
        (root / "meta.json").write_text(json.dumps(meta))
        return root

    return write


@pytest.fixture
def challenge_test(tmp_path: Path, write_image: WriteImage) -> Callable[..., Path]:
    """``challenge_test(count)`` writes [images/]<pair_id>/0.jpg and 1.jpg and a labels.csv beside them."""

    def write(count: int = 4, name: str = "test", under: str = "images", size: int = 32) -> Path:
        root = tmp_path / name
        kinds = ["same", "impostor", "own_fake", "other_fake"]
        rows = []
        for n in range(count):
            kind = kinds[n % 4]
            for side in "01":
                write_image(root / under / f"{n:08d}" / f"{side}.jpg", size)
            other = "b" if kind in ("impostor", "other_fake") else "a"
            method = "swap" if kind.endswith("fake") else "real"
            rows.append((f"{n:08d}", int(kind == "same"), kind, "a", other, "real", method))
        columns = ["pair_id", "label", "kind", "person_0", "person_1", "method_0", "method_1"]
        pd.DataFrame(rows, columns=columns).to_csv(root / "labels.csv", index=False)
        return root

    return write


@pytest.fixture
def plain_tree(tmp_path: Path, write_image: WriteImage) -> Callable[..., Path]:
    """``plain_tree({"Ann": 3, "Bob": 2})`` writes <person>/<person>_000n.jpg, all of them real."""

    def write(people: dict[str, int] | None = None, name: str = "people", size: int = 32) -> Path:
        root = tmp_path / name
        for person, count in (people or {"Ann": 3, "Bob": 2, "Cyd": 4}).items():
            for n in range(1, count + 1):
                write_image(root / person / f"{person}_{n:04d}.jpg", size)
        return root

    return write


@pytest.fixture
def oml_table(tmp_path: Path, write_image: WriteImage) -> Callable[..., Path]:
    """``oml_table()`` writes df.csv (or .parquet) in OML's retrieval format and the images that it names."""

    def write(name: str = "df.csv", with_fakes: bool = True, size: int = 32) -> Path:
        rows = []
        for person in range(4):
            split = "train" if person < 2 else "validation"
            for n in range(4):
                path = Path("photos") / f"{person}_{n}.png"
                write_image(tmp_path / path, size)
                held_out = None if split == "train" else True
                rows.append((person, path.as_posix(), split, held_out, held_out, int(n == 3)))
        frame = pd.DataFrame(rows, columns=["label", "path", "split", "is_query", "is_gallery", "is_fake"])
        if not with_fakes:
            frame = frame.drop(columns="is_fake")
        table = tmp_path / name
        if table.suffix == ".parquet":
            frame.to_parquet(table)
        else:
            frame.to_csv(table, index=False)
        return table

    return write


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """One Ray for all tests of a session: it takes seconds to start."""
    pytest.importorskip("ray")
    from bonaface.inference.ray_cluster import connected

    with connected(None):
        yield


QUIET = {"evaluation", "metrics", "verification"}
"""Packages of pure arithmetic on arrays: no warning of numpy may reach a user from there."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if QUIET & set(item.path.parts[-3:-1]):
            item.add_marker(pytest.mark.filterwarnings("error::RuntimeWarning"))
