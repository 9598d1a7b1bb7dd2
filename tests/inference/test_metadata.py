"""What an exported model says of itself: read back whole, and refused where it is damaged."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import CALIBRATION, VALIDATION

from bonaface.errors import ModelError
from bonaface.images.crops import InputSpec
from bonaface.inference.metadata import KEYS, MARK, Description

VIEWS = {"identity": InputSpec("aligned", 112), "authenticity": InputSpec("face_crop", 112, True, True)}
WHOLE = Description("net", VIEWS, 160, 112, 512, CALIBRATION, VALIDATION, "# Card\n\n»ß«", b"\x00YuNet\xff")


@pytest.mark.parametrize(
    "description",
    [WHOLE, Description("plain", {"identity": InputSpec("aligned", 112)}, 160, 112, 128)],
    ids=["whole", "plain"],
)
def test_it_is_read_back_as_it_was(description):
    metadata = description.as_metadata()
    assert set(metadata) == set(KEYS)
    assert Description.from_metadata(metadata, "x.onnx") == description


def test_sides():
    assert (WHOLE.side("identity"), WHOLE.side("authenticity")) == (112, 160)
    centre = Description("c", {"identity": InputSpec("face_crop", 96, True)}, 160, 112, 8)
    assert centre.side("identity") == 96


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("views",), {}),
        (("views",), {"identity": {"kind": "frame", "size": 112}, "age": {"kind": "frame", "size": 112}}),
        (("views", "identity", "size"), "112"),
        (("views", "identity", "size"), -1),
        (("views", "identity", "shape"), 3),
        (("views", "identity", "kind"), "portrait"),
        (("frame_size",), None),
        (("frame_size",), 10**9),
        (("dim",), 0.5),
        (("calibration",), None),
        (("calibration", "genuine"), None),
        (("calibration", "same"), {"slope": 1.0}),
        (("calibration", "same", "slope"), float("nan")),
        (("validation", "thresholds"), [{"fmr": 0.1}]),
        (("validation", "thresholds"), 3),
    ],
)
def test_damaged_settings_are_refused(path, value):
    metadata = WHOLE.as_metadata()
    settings = json.loads(metadata[MARK])
    inner = settings
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(ModelError, match=r"x\.onnx: its metadata is damaged"):
        Description.from_metadata(metadata | {MARK: json.dumps(settings)}, "x.onnx")


@pytest.mark.parametrize("text", ["[" * 100_000, json.dumps({"format": "9" * 100_000})])
def test_absurd_settings_get_a_short_sentence(text):
    with pytest.raises(ModelError, match=r"x\.onnx: .*export the model again") as caught:
        Description.from_metadata(WHOLE.as_metadata() | {MARK: text}, "x.onnx")
    assert len(str(caught.value)) < 400


@given(st.text(max_size=40))
@settings(deadline=None)
def test_any_other_text_is_refused(text):
    with pytest.raises(ModelError, match=r"x\.onnx: "):
        Description.from_metadata(WHOLE.as_metadata() | {MARK: text}, "x.onnx")


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_key(key):
    metadata = WHOLE.as_metadata()
    del metadata[key]
    if key == "bonaface_version":  # of no use to the model itself
        assert Description.from_metadata(metadata, "x.onnx") == WHOLE
    else:
        with pytest.raises(ModelError, match="damaged"):
            Description.from_metadata(metadata, "x.onnx")


def test_a_damaged_detector():
    with pytest.raises(ModelError, match="damaged"):
        Description.from_metadata(WHOLE.as_metadata() | {"detector": "???"}, "x.onnx")


def test_a_later_format_says_who_wrote_it():
    later = {MARK: json.dumps({"format": 9}), "bonaface_version": "7.0"}
    with pytest.raises(ModelError, match=r"of format 9, written by bonaface 7\.0; bonaface .* reads format 1"):
        Description.from_metadata(later, "x.onnx")
