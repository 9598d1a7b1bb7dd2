"""People who do not exist: directions from planted data, the search by a stand-in network, the layout, the pack."""

from __future__ import annotations

import json
import tarfile
import zipfile
from collections import Counter
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from bonaface.assets import unpack_demo
from bonaface.errors import ConfigError, DataError, ModelError
from bonaface.images.alignment import AlignedFace
from bonaface.synthetic.dataset import SyntheticImage, draw_test_pairs, finish, head_crop, make_people, pack_folder
from bonaface.synthetic.generator import find_networks
from bonaface.synthetic.identities import Photo, Recogniser, SyntheticPeople, yaw, yaw_direction

NETWORK_FILES = ["MappingNetwork.xml", "MappingNetwork.bin", "SynthesisNetwork.xml", "SynthesisNetwork.bin"]
POINTS = np.array([[70, 85], [122, 85], [96, 110], [76, 135], [116, 135]], np.float32)


def images(people: int = 6, photos: int = 4, fakes: int = 2) -> list[SyntheticImage]:
    return [
        SyntheticImage(f"{person:04d}", number, "" if number < photos else "self_blend", f"{person}/{number}".encode())
        for person in range(people)
        for number in range(photos + fakes)
    ]


def test_yaw_direction_finds_the_planted_one() -> None:
    random = np.random.default_rng(0)
    planted = random.normal(size=64)
    styles = random.normal(size=(400, 64)).astype(np.float32)
    yaws = (styles @ planted + random.normal(0, 0.1, 400)).astype(np.float32)
    move = yaw_direction(styles, yaws, ridge=1e-3)
    assert move @ planted == pytest.approx(1, abs=0.02)
    assert move @ planted / np.linalg.norm(move) / np.linalg.norm(planted) > 0.999


def test_yaw_is_the_same_under_rotation_and_scale() -> None:
    turned = POINTS + np.array([[0, 0], [0, 0], [13, 0], [0, 0], [0, 0]], np.float32)
    assert yaw(POINTS) == pytest.approx(0)
    assert yaw(turned) == pytest.approx(0.25)
    rotation = 3 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    assert yaw((turned @ rotation.T).astype(np.float32)) == pytest.approx(0.25, abs=1e-5)


def test_test_pairs_have_the_kinds_that_they_name_and_none_twice() -> None:
    album = images()
    table = draw_test_pairs(album, 60, np.random.default_rng(0))
    assert Counter(table["kind"]) == {"same": 24, "impostor": 15, "own_fake": 15, "other_fake": 6}
    assert table["pair_id"].is_monotonic_increasing
    assert not table.apply(lambda row: frozenset((row["position_0"], row["position_1"])), axis=1).duplicated().any()
    for row in table.to_dict("records"):
        a, b = album[int(row["position_0"])], album[int(row["position_1"])]
        fakes, alike = bool(a.method) + bool(b.method), a.person == b.person
        expected = {(0, True): "same", (0, False): "impostor", (1, True): "own_fake", (1, False): "other_fake"}
        assert row["kind"] == expected[fakes, alike]
        assert row["label"] == int(row["kind"] == "same")
        assert (row["person_0"], row["person_1"], row["method_0"], row["method_1"]) == (
            a.person,
            b.person,
            a.method,
            b.method,
        )
    fake_sides = table.loc[table["kind"] == "own_fake", "method_0"].ne("")
    assert fake_sides.any()
    assert not fake_sides.all()


def test_more_pairs_than_there_are() -> None:
    with pytest.raises(ConfigError, match="of kind same"):
        draw_test_pairs(images(2, 2, 1), 400, np.random.default_rng(0))


@pytest.mark.parametrize("change", [{"people": 3}, {"photos": 1}, {"fakes": -1}, {"test_share": 0.0}])
def test_numbers_out_of_range(change: dict[str, float], tmp_path: Path) -> None:
    settings = {"people": 10, "photos": 3, "fakes": 1, "seed": 0} | change
    with pytest.raises(ConfigError, match="synthetic people: expected"):
        make_people(tmp_path, detector=tmp_path, recogniser=tmp_path, **settings)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


class StandInNetwork:
    """Draws flat colours in place of faces: enough to watch the search decide."""

    def draw(self, generator: np.random.Generator, count: int, truncation: float | None) -> NDArray[np.float32]:
        return generator.uniform(0, 1, (count, 512)).astype(np.float32)

    def render(
        self, coarse: NDArray[np.float32], middle: NDArray[np.float32], fine: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        return np.tile((coarse[:3] * 255).clip(0, 255).astype(np.uint8), (192, 192, 1))


class StandInJudge:
    """Finds a face in every image; its identity is the image's colour."""

    def align(self, image: NDArray[np.uint8]) -> AlignedFace:
        return AlignedFace(image[:112, :112], True, POINTS, np.zeros(4, np.float32), 0.99)

    def embed(self, face: NDArray[np.uint8]) -> NDArray[np.float32]:
        colour = face[0, 0].astype(np.float32) - 127.5
        return colour / np.linalg.norm(colour)


def search(cache: Path) -> SyntheticPeople:
    return SyntheticPeople(StandInNetwork(), StandInJudge(), StandInJudge(), cache, seed=1)  # type: ignore[arg-type]


def test_pairs_that_there_will_not_be_are_refused_before_people_are_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pairs: 20 need 8 of kind same, 2 test people of 3 photos each have 6"):
        make_people(tmp_path, people=10, photos=3, fakes=2, pairs=20, seed=0, detector=tmp_path, recogniser=tmp_path)
    assert not any(tmp_path.iterdir())


def test_people_are_unlike_and_photos_like_their_person_and_a_rerun_repeats_them(tmp_path: Path) -> None:
    albums = list(islice(search(tmp_path).people(3), 4))
    bases = np.stack([album[0].embedding for album in albums])
    assert np.triu(bases @ bases.T, 1).max() < 0.40
    for album in albums:
        assert len(album) == 3
        assert all(photo.embedding @ album[0].embedding >= 0.45 for photo in album)
    again = list(islice(search(tmp_path).people(3), 4))
    assert [[photo.path for photo in album] for album in again] == [[photo.path for photo in album] for album in albums]
    fresh = list(islice(search(tmp_path / "other").people(3), 4))
    np.testing.assert_array_equal(fresh[3][2].read(), albums[3][2].read())


def test_a_broken_rendering_is_named(tmp_path: Path) -> None:
    (tmp_path / "draw-00000.png").write_bytes(b"half an image")
    with pytest.raises(DataError, match=r"draw-00000\.png"):
        next(search(tmp_path).people(2))


def test_frame_moves_the_points_with_the_image(tmp_path: Path) -> None:
    image = np.zeros((192, 192, 3), np.uint8)
    for x, y in POINTS.astype(int):
        cv2.circle(image, (int(x), int(y)), 3, (255, 255, 255), -1)
    cv2.imwrite(str(tmp_path / "p.png"), image)
    photo = Photo(tmp_path / "p.png", POINTS, np.ones(2, np.float32), np.zeros(3, np.float32))
    for seed in range(5):
        framed, points = head_crop(photo, np.random.default_rng(seed), 128)
        assert framed.shape == (128, 128, 3)
        for x, y in points.round().astype(int):
            assert framed[y, x].min() > 200


def test_finish_is_a_jpeg_of_the_same_size() -> None:
    decoded = cv2.imdecode(
        np.frombuffer(finish(np.full((64, 64, 3), 99, np.uint8), np.random.default_rng(0)), np.uint8), 1
    )
    assert decoded.shape == (64, 64, 3)
    assert 60 < decoded.mean() < 140


def test_networks_from_a_wheel_a_folder_and_nothing(tmp_path: Path) -> None:
    wheel = tmp_path / "random_face-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in NETWORK_FILES:
            archive.writestr(f"random_face/data/{name}", name)
        archive.writestr("random_face/data/../../../evil.txt", "x")
    cache = tmp_path / "cache"
    folder = find_networks(wheel, cache)
    assert sorted(path.name for path in folder.iterdir()) == sorted(NETWORK_FILES)
    assert find_networks(tmp_path, cache) == folder
    assert find_networks(folder, tmp_path / "unused") == folder
    assert find_networks(None, cache) == folder
    with pytest.raises(ModelError, match="expected random-face's wheel"):
        find_networks(tmp_path / "cache", cache)


def test_a_file_that_is_no_wheel(tmp_path: Path) -> None:
    (tmp_path / "random_face-1.whl").write_bytes(b"<html>")
    with pytest.raises(ModelError, match="not random-face's wheel"):
        find_networks(tmp_path / "random_face-1.whl", tmp_path)


def test_recogniser_that_is_missing_or_broken(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        Recogniser(tmp_path / "none.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="can't read"):
        Recogniser(tmp_path / "broken.onnx")


def test_pack_has_the_same_bytes_each_time_and_equal_images_once(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(40_000)
    for name in ("train/images/0000/0.jpg", "test/images/000000/0.jpg", "test/images/000001/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(noise)
    for name in ("first", "second"):
        pack_folder(tmp_path, tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    assert (tmp_path / "first").stat().st_size < 45_000


def test_the_demo_pack_unpacks_into_the_challenges_layout(tmp_path: Path) -> None:
    out = unpack_demo(tmp_path / "demo")
    meta = json.loads((out / "train" / "meta.json").read_text())
    files = {path.relative_to(out / "train" / "images").as_posix() for path in (out / "train").rglob("*.jpg")}
    assert files == set(meta)
    assert set(meta.values()) == {0, 1}
    labels = pd.read_csv(out / "test" / "labels.csv", dtype={"pair_id": str}, keep_default_na=False)
    assert set(labels["kind"]) == {"same", "impostor", "own_fake", "other_fake"}
    assert labels["pair_id"].tolist() == sorted(path.name for path in (out / "test" / "images").iterdir())
    for name in sorted(files)[::100]:
        assert cv2.imread(str(out / "train" / "images" / name)).shape == (128, 128, 3)


def test_the_demo_pack_unpacks_where_python_has_no_filters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extract_all = tarfile.TarFile.extractall
    monkeypatch.delattr(tarfile, "data_filter", raising=False)  # as in Python 3.11.0 to 3.11.3
    monkeypatch.setattr(tarfile.TarFile, "extractall", lambda archive, path: extract_all(archive, path))
    assert (unpack_demo(tmp_path / "demo") / "test" / "images").is_dir()


def test_the_demo_pack_needs_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="got a file"):
        unpack_demo(tmp_path / "file")
