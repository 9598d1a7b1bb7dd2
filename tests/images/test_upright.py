"""Photos that lie on their side, faces that are covered, small faces in large photos, and copies of one photo."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from bonaface.assets import FACE_CHECK, shipped_detector, unpack_demo
from bonaface.images.alignment import Aligner
from bonaface.images.copies import are_copies, thumbprint
from bonaface.images.decoding import decode
from bonaface.images.photo import read_photo
from bonaface.images.preprocessing import Preprocessor
from bonaface.images.upright import find_upright


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    root = unpack_demo(tmp_path_factory.mktemp("demo"))
    return [decode(root / "train" / "images" / f"{n:04d}" / "0.jpg") for n in range(8)]


@pytest.fixture(scope="module")
def preprocess():
    return Preprocessor(("face_crop",), 160, 112, shipped_detector())


def test_the_network_is_small():
    assert Path(FACE_CHECK).stat().st_size < 200_000


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_turned_photo_is_righted(people, degrees):
    aligner = Aligner(shipped_detector())
    found = [find_upright(np.ascontiguousarray(np.rot90(image, degrees // 90)), aligner) for image in people]
    righted = [each.rotated == degrees for each in found]
    assert sum(righted) >= len(people) - (0 if degrees == 0 else 1)
    for image, each, right in zip(people, found, righted, strict=True):
        if right:
            np.testing.assert_array_equal(each.image, image)


def test_an_upright_face_is_looked_for_once(people, monkeypatch):
    aligner, calls = Aligner(shipped_detector()), []
    search = Aligner._search
    monkeypatch.setattr(Aligner, "_search", lambda self, image: calls.append(1) or search(self, image))
    find_upright(people[0], aligner)
    assert len(calls) == 1


def test_the_rotation_is_told(people, preprocess):
    photo = read_photo(np.ascontiguousarray(np.rot90(people[0])), preprocess)
    assert (photo.rotated, photo.problem) == (90, None)


def covered(image, top, bottom):
    """Between two heights, in distances from the eyes to the mouth below the eyes."""
    points = Aligner(shipped_detector()).align(image).points
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    length = float(np.linalg.norm(mouth - eyes))
    low, high = (round(float(eyes[1]) + each * length) for each in (top, bottom))
    changed = image.copy()
    changed[max(low, 0) : high, round(float(eyes[0]) - length) : round(float(eyes[0]) + length)] = (90, 120, 150)
    return changed


@pytest.mark.parametrize(
    ("top", "bottom", "said"), [(0.45, 1.9, "the lower face is covered"), (-0.35, 0.3, "the eyes are covered")]
)
def test_a_covered_face_is_not_judged(people, preprocess, top, bottom, said):
    photos = [read_photo(covered(image, top, bottom), preprocess) for image in people]
    refused = [photo for photo in photos if photo.problem is not None]
    assert len(refused) >= len(people) - 1
    assert sum(said in photo.problem for photo in refused) >= len(people) - 2


def test_uncovered_faces_are_judged(people, preprocess):
    assert [read_photo(image, preprocess).problem for image in people] == [None] * len(people)


def test_a_small_face_in_a_large_photo_is_found(people):
    aligner = Aligner(shipped_detector())
    canvas = np.full((3000, 4000, 3), 128, np.uint8)
    canvas[1400:1560, 1900:2060] = cv2.resize(people[0], (160, 160))
    faces = aligner.faces(canvas)
    assert len(faces)
    assert 1880 < faces[0, 0] < 2060
    assert 1380 < faces[0, 1] < 1560


def recoded(image, quality=50):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


@pytest.mark.parametrize(
    "copy",
    [lambda image: image, recoded, lambda image: recoded(cv2.resize(image, (240, 240))), lambda image: image // 2],
)
def test_copies_of_a_photo_are_known(people, copy):
    for image in people:
        assert are_copies(thumbprint(image), thumbprint(copy(image)))


def test_two_photos_are_no_copies(people, tmp_path):
    root = unpack_demo(tmp_path)
    for person in range(8):
        folder = root / "train" / "images" / f"{person:04d}"
        first, *others = [thumbprint(decode(path)) for path in sorted(folder.iterdir())[:2]]
        assert not any(are_copies(first, other) for other in others)
    assert not are_copies(None, thumbprint(people[0]))
