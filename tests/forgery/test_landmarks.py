"""Landmarks from files: every number of points and format, what is refused, and forgeries that follow the outline."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from bonaface.cli import main
from bonaface.data.table import FaceTable, read_faces
from bonaface.errors import DataError
from bonaface.forgery.blending import MEAN_POINTS, face_mask
from bonaface.forgery.landmarks import Landmarks, face_points, read_landmarks
from bonaface.forgery.methods import METHODS, forge

Points = NDArray[np.float32]
SIDE = 64
FIVE = MEAN_POINTS * SIDE


def ring(middle: tuple[float, float], across: float, down: float, count: int, start: float = 0.0) -> Points:
    angles = start + np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.column_stack([middle[0] + across * np.cos(angles), middle[1] + down * np.sin(angles)]).astype(np.float32)


def dlib_points(five: Points = FIVE) -> Points:
    """68 points in dlib's order around five: the jaw from the image's left ear over the chin, brows, nose, eyes, mouth."""
    x, y = five.mean(axis=0)
    eyes = float(five[1, 0] - five[0, 0])
    points = np.tile(np.float32([x, y]), (68, 1))
    jaw = np.linspace(np.pi, 0, 17)
    points[:17] = np.column_stack([x + 1.0 * eyes * np.cos(jaw), y + 1.3 * eyes * np.sin(jaw)])
    points[17:27] = np.column_stack([np.linspace(x - 0.9 * eyes, x + 0.9 * eyes, 10), np.full(10, y - 0.8 * eyes)])
    points[36:42], points[42:48] = (ring(tuple(eye), 0.15 * eyes, 0.06 * eyes, 6) for eye in five[:2])
    points[30], points[48], points[54] = five[2], five[3], five[4]
    return points


def mesh_points(count: int, five: Points = FIVE) -> Points:
    """MediaPipe's points around five; those that nothing is read from lie far off."""
    points = np.full((count, 2), 1e4, np.float32)
    right = [33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246]
    left = [263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466]
    points[right], points[left] = (ring(tuple(eye), 3, 1, 16) for eye in five[:2])
    points[[1, 4]] = five[2] + np.float32([[0, 1], [0, -1]])
    points[[61, 291]] = five[3:]
    oval = [10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377]
    oval += [152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109]
    points[oval] = ring((SIDE / 2, SIDE / 2), 20, 28, 36, -np.pi / 2)
    return points


def random_image(seed: int, side: int = SIDE) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).uniform(40, 215, (6, 6, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + np.random.default_rng(seed).normal(0, 5, smooth.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def table(tmp_path: Path) -> FaceTable:
    for person in range(2):
        folder = tmp_path / "faces" / f"person {person}"
        folder.mkdir(parents=True)
        for n in range(3):
            Image.fromarray(random_image(10 * person + n)).save(folder / f"{n}.png")
    return read_faces(tmp_path / "faces")


def in_columns(points: dict[str, Points], x: str = "x{}", y: str = "y{}") -> pd.DataFrame:
    rows = []
    for path, face in points.items():
        row: dict[str, object] = {"path": path, "score": 0.9}
        for number, (across, down) in enumerate(face):
            row |= {x.format(number): across, y.format(number): down, f"z{number}": 0.0}
        rows.append(row)
    return pd.DataFrame(rows)


def write_csv(points: dict[str, Points], file: Path) -> Path:
    in_columns(points).to_csv(file, index=False)
    return file


@pytest.mark.parametrize("points", [FIVE, dlib_points(), mesh_points(468), mesh_points(478)], ids=len)
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_same_five_points_from_any_number(points: Points, mirrored: bool) -> None:
    given = points.copy()
    if mirrored:  # numbered as if the person's other side came first
        given[:, 0] = SIDE - given[:, 0]
    expected = FIVE.copy()
    if mirrored:
        expected[:, 0] = SIDE - expected[:, 0]
        expected = expected[[1, 0, 2, 4, 3]]
    np.testing.assert_allclose(face_points(given)[:5], expected, atol=1e-3)


def test_outlines() -> None:
    assert len(face_points(FIVE)) == 5
    jaw_and_brows = face_points(dlib_points())[5:]
    assert jaw_and_brows[:, 1].min() == pytest.approx(dlib_points()[17:27, 1].min())  # the brows
    assert jaw_and_brows[:, 1].max() == pytest.approx(dlib_points()[8, 1])  # the chin
    oval = face_points(mesh_points(478))[5:]
    assert oval.min(axis=0) == pytest.approx([12, 4], abs=0.2)
    assert oval.max(axis=0) == pytest.approx([52, 60], abs=0.2)


@given(
    turn=st.floats(-3.1, 3.1), scale=st.floats(0.3, 50), across=st.floats(-500, 500), noise=st.integers(0, 2**32 - 1)
)
@settings(deadline=None)
def test_faces_may_be_turned_and_anywhere(turn: float, scale: float, across: float, noise: int) -> None:
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    five = FIVE + np.random.default_rng(noise).normal(0, 1, (5, 2))
    given = five @ matrix.T + across
    np.testing.assert_allclose(face_points(given), given, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("count", [0, 1, 4, 6, 67, 106, 479])
def test_other_numbers_of_points(count: int) -> None:
    with pytest.raises(DataError, match=f"expected 5, 68, 468 or 478 points, got {count}"):
        face_points(np.zeros((count, 2)))


@pytest.mark.parametrize(
    "points",
    [
        [[80, 50], [65, 50], [30, 50], [45, 50], [56, 72]],  # dlib's five: the eyes' corners and the nose
        [[5, 5]] * 5,
    ],
)
def test_points_that_are_no_face(points: list[list[float]]) -> None:
    with pytest.raises(DataError, match="don't lie as a face's do"):
        face_points(np.array(points))


def test_formats_say_the_same(table: FaceTable, tmp_path: Path) -> None:
    paths = table.frame["path"].tolist()
    points = {path: dlib_points(FIVE + n) for n, path in enumerate(paths[:4])}
    frame = in_columns(points)
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    openface = in_columns(points, " x_{}", " y_{}").sample(frac=1, axis=1, random_state=0)
    openface.rename(columns={"path": " path"}).to_csv(tmp_path / "openface.CSV", index=False)
    lists = {path: [[float(x), float(y), 0.1] for x, y in given] for path, given in points.items()}
    (tmp_path / "a.json").write_text(json.dumps(lists))
    fractions = {path: (given / SIDE).tolist() for path, given in points.items()}
    (tmp_path / "fractions.json").write_text(json.dumps(fractions))
    made = {name: read_landmarks(tmp_path / name, table) for name in ("a.csv", "a.parquet", "openface.CSV", "a.json")}
    made["fractions.json"] = read_landmarks(tmp_path / "fractions.json", table)
    for name, landmarks in made.items():
        assert list(landmarks) == paths[:4]
        assert landmarks[paths[0]].fractions == name.startswith("fractions")
        for path, face in points.items():
            found = landmarks[path].in_pixels(SIDE, SIDE)
            np.testing.assert_allclose(found, face_points(face), atol=1e-3, err_msg=name)


def test_paths_may_lead_from_the_current_folder(
    table: FaceTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table.frame["path"][0]
    monkeypatch.chdir(tmp_path)
    near = FaceTable(Path("faces"), table.frame)
    for name in (path, f"./{path}", f"faces/{path}", str(tmp_path / "faces" / path), path.replace("/", "\\")):
        assert list(read_landmarks(write_csv({name: FIVE}, tmp_path / "a.csv"), near)) == [path]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "path,x0,y0\nperson 0/0.png,1,2\n", "expected 5, 68, 468 or 478 points, got 1"),
        ("a.csv", "path,x0,y1\nperson 0/0.png,1,2\n", "expected the columns path, x0, y0, x1, y1"),
        ("a.csv", "file,x0,y0\nperson 0/0.png,1,2\n", "got file, x0, y0"),
        (
            "a.csv",
            "path,x0,y0\nperson 9/0.png,1,2\n",
            '"person 9/0.png" is not in .*expected paths such as person 0/0.png',
        ),
        ("a.csv", "path,x0,y0\nperson 0/0.png,1,\n", '"person 0/0.png": point 0 of 1 has no finite number'),
        ("a.csv", "path,x0,y0\nperson 0/0.png,1,left\n", "point 0 of 1 has no finite number; leave out"),
        ("a.csv", "path,x0,y0\n", "holds no landmarks"),
        ("a.csv", "", "can't be read"),
        ("a.parquet", "PAR1 not", "can't be read"),
        ("a.json", "{", "can't be read"),
        ("a.json", "[1]", "got a list"),
        ("a.json", '{"person 0/0.png": [[1, 2], [3]]}', r'"person 0/0.png": expected a list of \[x, y\]'),
        ("a.json", '{"person 0/0.png": [[1, NaN], [3, 4]]}', "point 0 of 2 has no finite number"),
        ("a.json", '{"person 0/0.png": null}', "expected a list of"),
        ("a.txt", "1 2", "expected landmarks as columns path"),
    ],
)
def test_files_that_are_refused(table: FaceTable, tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=said) as refused:
        read_landmarks(tmp_path / name, table)
    assert str(refused.value).startswith(str(tmp_path / name))
    assert "\n" not in str(refused.value)


def test_a_missing_file_and_a_image_named_twice(table: FaceTable, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: can't be read \(no such file or directory\)"):
        read_landmarks(tmp_path / "none.csv", table)
    path = table.frame["path"][0]
    with pytest.raises(DataError, match=r"names .* a second time; expected one face"):
        read_landmarks(write_csv({path: FIVE, f"./{path}": FIVE}, tmp_path / "a.csv"), table)


def test_a_face_outside_of_its_image() -> None:
    Landmarks(FIVE + np.float32([SIDE * 0.35, 0])).in_pixels(SIDE, SIDE)  # cut off by the border
    with pytest.raises(
        DataError, match=r"a.csv: the face lies outside of the image, around \(1032, 36\) of 64 x 64 px"
    ):
        Landmarks(FIVE + np.float32([1000, 0]), said="a.csv").in_pixels(SIDE, SIDE)


@given(seed=st.integers(0, 2**32 - 1), turn=st.floats(-0.6, 0.6))
@settings(max_examples=40, deadline=None)
def test_a_mask_keeps_to_the_outline(seed: int, turn: float) -> None:
    side = 128
    outline = ring((60, 66), 26, 40, 30) @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]).T
    outline += np.float32([60, 66]) - outline.mean(axis=0)
    points = np.concatenate([MEAN_POINTS * side, outline]).astype(np.float32)
    mask = face_mask((side, side), points, np.random.default_rng(seed))
    truth = np.zeros((side, side), np.uint8)
    cv2.fillPoly(truth, [outline.round().astype(np.int32)], 1)
    inside = mask > 0.5
    shared, either = (inside & (truth > 0)).sum(), (inside | (truth > 0)).sum()
    assert shared / either > 0.5  # the smallest is 0.82 x 0.92 of it across, waves not counted
    assert mask.min() >= 0
    assert mask.max() <= 1 + 1e-6
    assert mask[[0, -1]].max() == mask[:, [0, -1]].max() == 0


@pytest.mark.parametrize("method", [name for name in METHODS if name != "autoencode"])  # masked as rerender, and slow
def test_every_method_takes_an_outline(method: str) -> None:
    face, donor = random_image(1), random_image(2)
    points = face_points(mesh_points(468))
    made = [forge(face, donor, method, np.random.default_rng(3), points, other) for other in (points, points[:5], None)]
    assert all(each.shape == face.shape for each in made)


def test_blends_stay_inside_the_outline() -> None:
    """A small outline at one side: without it the mask would lie over the five points."""
    face = random_image(4, 128)
    points = np.concatenate([MEAN_POINTS * 128, ring((96, 64), 12, 16, 24)]).astype(np.float32)
    change = np.abs(forge(face, None, "rerender", np.random.default_rng(0), points).astype(int) - face).sum(axis=2)
    assert change[50:78, 90:102].mean() > 3
    assert change[:, :60].max() == 0


def forged(table: FaceTable, out: Path, *more: object) -> int:
    words = ["forge", table.root, out, "--per-person", 2, "--methods", "rerender,swap_alpha", "--workers", 1, *more]
    return main([str(word) for word in words])


def test_the_command(table: FaceTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = table.frame["path"].tolist()
    given = write_csv({path: mesh_points(478).clip(0, SIDE) / SIDE for path in paths[:4]}, tmp_path / "given.csv")
    assert forged(table, tmp_path / "plain") == 0
    assert forged(table, tmp_path / "with", "--landmarks", given) == 0
    said = capsys.readouterr().err
    assert "has the landmarks of 4 of 6 photos; in the others the detector looks for a face" in said
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / out / "images" / "person 0").iterdir()}
        for out in ("plain", "with")
    )
    fakes = pd.read_csv(tmp_path / "with" / "forgeries.csv")
    mine = set(fakes.loc[fakes["path"].str.contains("person 0"), "path"].str.split("/").str[-1])
    assert {name for name in first if first[name] != second[name]} == mine  # photos are framed as ever
    assert forged(table, tmp_path / "with", "--landmarks", given) == 0
    assert forged(table, tmp_path / "with") == 2
    assert "was started with other landmarks" in capsys.readouterr().err


def test_the_command_refuses_a_face_outside_of_its_image(
    table: FaceTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = write_csv({table.frame["path"][1]: FIVE + 500}, tmp_path / "given.csv")
    assert forged(table, tmp_path / "out", "--landmarks", given) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith(f'bonaface forge: {given}: "person 0/1.png": the face lies outside of the image')
    assert not (tmp_path / "out" / "meta.json").exists()
