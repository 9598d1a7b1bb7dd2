"""Real images of faces (of people who do not exist) through the model that is shipped: each kind of bad input, in words."""

import io
import os
import re

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from pattern_service import HERE, files
from PIL import Image

from bonaface.assets import unpack_demo
from bonaface.errors import ModelError
from bonaface.inference.embedder import load_embedder
from bonaface.inference.verifier import Verifier
from bonaface.service.app import create_app
from bonaface.service.settings import ServiceSettings


@pytest.fixture(scope="module")
def client():
    try:
        embedder = load_embedder(os.environ.get("BONAFACE_TEST_MODEL"))
    except ModelError:
        pytest.skip("no model is shipped with this installation; name one by BONAFACE_TEST_MODEL")
    with TestClient(
        create_app(Verifier(embedder), None, ServiceSettings(requests_a_minute=10**6)), base_url=HERE
    ) as client:
        yield client


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Two photos of one person, and one of another."""
    test = unpack_demo(tmp_path_factory.mktemp("demo")) / "test"
    labels = pd.read_csv(test / "labels.csv", dtype=str)
    same = labels[labels["kind"] == "same"]["pair_id"].iloc[0]
    folder = next(path for path in (test / "images" / same, test / same) if path.is_dir())
    return [Image.open(folder / f"{side}.jpg").convert("RGB") for side in "01"]


def encoded(image):
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()


def side_by_side(a, b):
    return Image.fromarray(np.hstack([np.asarray(a), np.asarray(b.resize(a.size))]))


def drawn():
    """A face as a child draws one."""
    image = np.full((160, 160, 3), 250, np.uint8)
    y, x = np.mgrid[:160, :160]
    image[abs(np.hypot(x - 80, y - 80) - 60) < 2] = 0
    for eye in (60, 100):
        image[np.hypot(x - eye, y - 65) < 5] = 0
    image[(abs(np.hypot(x - 80, y - 85) - 30) < 2) & (y > 95)] = 0
    return Image.fromarray(image)


def test_two_photos_have_faces_boxes_and_quality(client, pairs):
    said = client.post("/v1/verify", files=files(first=encoded(pairs[0]), second=encoded(pairs[1]))).json()
    for side in ("first", "second"):
        (face,) = said[side]["faces"]
        assert 0 < face["score"] <= 1
        assert len(face["points"]) == 5
        assert said[side]["quality"]["eyes"] > 20
        assert 0 <= said[side]["genuine"] <= 1
    assert 0 <= said["probability"] <= 1


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (lambda a, b: Image.fromarray(np.full((160, 160, 3), 120, np.uint8)), "no face"),
        (lambda a, b: drawn(), "no face"),
        (side_by_side, "faces"),
        (lambda a, b: a.resize((20, 20)), "too small|no face"),
        (lambda a, b: a.crop((0, 0, a.width * 11 // 20, a.height)), "cut off|no face"),
    ],
    ids=["nothing", "cartoon", "two faces", "20 px", "half a face"],
)
def test_what_cannot_be_judged_is_said(client, pairs, bad, why):
    said = client.post("/v1/verify", files=files(first=encoded(pairs[0]), second=encoded(bad(*pairs)))).json()
    assert said["decision"] == "cannot tell"
    assert re.search(why, said["reason"]), said["reason"]
    assert said["second"]["problem"] in said["reason"]
    assert said["similarity"] is None
