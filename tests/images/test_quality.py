"""Photos: faces found and measured, and what is wrong with a photo said."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from bonaface.assets import unpack_demo
from bonaface.errors import DataError
from bonaface.images.decoding import decode
from bonaface.images.face_check import SIDE, brightened
from bonaface.images.photo import read_photo
from bonaface.images.preprocessing import Preprocessor
from bonaface.images.quality import ENROLMENT, VERIFICATION, Face, FaceQuality, assess, unfit

YUNET = Path(__file__).resolve().parents[3] / "shared" / "weights" / "yunet_2023mar_int8bq.onnx"
needs_yunet = pytest.mark.skipif(not YUNET.is_file(), reason="no YuNet weights in ../shared/weights")


@pytest.fixture(scope="module")
def face(tmp_path_factory):
    root = unpack_demo(tmp_path_factory.mktemp("demo"))
    return decode(root / "train" / "images" / "0000" / "0.jpg")


def png(image):
    return cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()


def read(image, detector=YUNET):
    return read_photo(png(image), Preprocessor(("face_crop",), 160, 112, detector), "photo.png")


@needs_yunet
def test_a_face_from_the_front(face):
    photo = read(face)
    assert photo.problem is None
    height, width = face.shape[:2]
    x, y, w, h = photo.faces[0].box
    assert 0 < x + w / 2 < width
    assert 0 < y + h / 2 < height
    assert 0.15 * width < photo.quality.eyes < 0.45 * width
    assert abs(photo.quality.turn) < 0.6
    assert abs(photo.quality.tilt) < 20


@needs_yunet
def test_measures_follow_the_image(face):
    before = read(face).quality
    blurred = read(cv2.GaussianBlur(face, (0, 0), 3)).quality
    assert blurred.sharpness < 0.5 * before.sharpness
    dark = read((face * 0.4).astype(np.uint8)).quality
    assert dark.brightness == pytest.approx(0.4 * before.brightness, rel=0.1)
    large = cv2.copyMakeBorder(cv2.resize(face, None, fx=2, fy=2), 60, 60, 60, 60, cv2.BORDER_REPLICATE)
    height, width = large.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -15, 1)  # clockwise
    turned = cv2.warpAffine(large, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
    assert read(turned).quality.tilt - read(large).quality.tilt == pytest.approx(15, abs=4)
    mirrored = read(large[:, ::-1].copy()).quality
    assert mirrored.turn == pytest.approx(-read(large).quality.turn, abs=0.25)


@needs_yunet
def test_what_is_wrong_is_said(face):
    assert (
        read(np.full((200, 200, 3), 90, np.uint8)).problem
        == "photo.png: no face found; expected one, seen from the front"
    )
    assert read(np.hstack([face, face])).problem.startswith("photo.png: 2 faces found; use a photo of one person")
    canvas = np.full((400, 400, 3), 128, np.uint8)
    canvas[180:220, 180:220] = cv2.resize(face, (40, 40), interpolation=cv2.INTER_AREA)
    small = read(canvas)
    assert small.problem is None or small.problem.startswith(("photo.png: the face is too small", "photo.png: no face"))
    assert read(face[:, 70:].copy()).problem is not None


@needs_yunet
@pytest.mark.parametrize("light", [0.15, 0.1])
def test_a_sharp_photo_in_the_dark_is_not_called_blurred(face, light):
    assert read((face * light).astype(np.uint8)).problem == (
        "photo.png: the face is too dark or too bright; expected even light"
    )
    assert read(cv2.GaussianBlur(face, (0, 0), 4)).problem.startswith("photo.png: the face is blurred")


@needs_yunet
def test_a_bystander_is_no_second_person(face):
    canvas = np.full((480, 480, 3), 128, np.uint8)
    canvas[:320, :320] = cv2.resize(face, (320, 320))
    canvas[400:480, 400:480] = cv2.resize(face, (80, 80), interpolation=cv2.INTER_AREA)
    photo = read(canvas)
    assert photo.problem is None
    assert photo.faces[0].box[2] > 100


def test_without_a_detector_nothing_is_looked_for(face):
    photo = read(face, None)
    assert (photo.faces, photo.quality, photo.problem) == ((), None, None)


def test_no_image():
    with pytest.raises(DataError, match=r"photo\.png: is a web page"):
        read_photo(b"<html>404", Preprocessor(("face_crop",), 160), "photo.png")


GOOD = FaceQuality(60.0, 20.0, 128.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("limits", [VERIFICATION, ENROLMENT])
@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, None),
        ({"eyes": 11.0}, "too small"),
        ({"sharpness": 1.0}, "blurred"),
        ({"brightness": 8.0}, "dark"),
        ({"brightness": 8.0, "sharpness": 1.3, "mouth_covered": 0.9}, "dark"),
        ({"brightness": 15.0, "sharpness": 2.4}, "dark"),
        ({"brightness": 31.0, "sharpness": 0.5}, "blurred"),
        ({"brightness": 100.0, "sharpness": 2.9}, "blurred"),
        ({"brightness": 250.0, "mouth_covered": 0.9}, "bright"),
        ({"clipped": 0.9}, "black or white"),
        ({"turn": -1.5}, "turned away"),
        ({"mouth_covered": 0.99}, "lower face is covered"),
        ({"eyes_covered": 0.99}, "eyes are covered"),
        ({"beside": 0.6}, "another face"),
    ],
)
def test_what_is_beyond_a_limit_is_named(limits, change, why):
    said = unfit(replace(GOOD, **change), limits)
    assert said is None if why is None else why in said


def test_enrolment_is_nowhere_laxer_than_verification():
    for name in ("eyes", "sharpness", "dark"):
        assert getattr(ENROLMENT, name) >= getattr(VERIFICATION, name)
    for name in ("bright", "clipped", "turn", "covered", "beside"):
        assert getattr(ENROLMENT, name) <= getattr(VERIFICATION, name)


def test_a_second_face_may_be_larger_beside_who_is_verified_than_beside_who_is_enrolled():
    image = np.full((160, 320, 3), 128, np.uint8)
    face, other = (
        Face((x, 40.0, side, side), tuple((x + 9.0, 50.0) for _ in range(5)), 0.9) for x, side in ((40, 80), (200, 36))
    )
    quality = assess(image, face, others=[other])
    assert 0.125 < quality.beside < 0.25
    assert assess(image, face).beside == 0
    good = replace(GOOD, beside=quality.beside)
    assert unfit(good, VERIFICATION) is None
    assert unfit(good, ENROLMENT).startswith("another face is 25%")
    assert unfit(replace(GOOD, beside=0.1), ENROLMENT) is None


@needs_yunet
@pytest.mark.parametrize("light", [0.3, 0.5, 1.0])
def test_sunglasses_are_seen_in_any_light(face, light):
    points = np.array(read(face).faces[0].points).round().astype(int)
    dark = face.copy()
    for x, y in points[:2]:
        cv2.circle(dark, (int(x), int(y)), int(0.4 * (points[1, 0] - points[0, 0])), (15, 15, 15), -1)
    assert read((face * light).astype(np.uint8)).quality.eyes_covered < VERIFICATION.covered
    assert read((dark * light).astype(np.uint8)).quality.eyes_covered > VERIFICATION.covered


@pytest.mark.parametrize("light", [0.02, 0.1, 0.4, 0.8])
def test_brightened_darkens_nothing_and_keeps_the_order(light):
    square = (np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)) * light).astype(np.uint8)
    brighter = brightened(square)
    assert (brighter >= square).all()
    assert (np.diff(brighter.ravel()[np.argsort(square.ravel(), kind="stable")].astype(int)) >= 0).all()
    assert np.median(brighter) >= 127


def test_a_light_face_is_left_as_it_is():
    square = np.random.default_rng(0).integers(100, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    assert (brightened(square) == square).all()


def test_of_a_large_photo_the_size_is_that_of_the_smaller_one_that_boxes_are_in(face, monkeypatch):
    whole = read(face)
    monkeypatch.setattr("bonaface.images.decoding._KEPT_PIXELS", face.shape[0] * face.shape[1] // 2)
    half = read(face)
    assert whole.quality.size == (face.shape[1], face.shape[0])
    assert half.quality.size == (face.shape[1] // 2, face.shape[0] // 2)
    assert half.quality.eyes == pytest.approx(whole.quality.eyes / 2, rel=0.1)
