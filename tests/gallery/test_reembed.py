"""A gallery for another model."""

import numpy as np
import pytest
from pattern_service import PatternNetwork, pixels, random_image

from bonaface.errors import DataError, ModelError
from bonaface.gallery.collection_name import ModelMark
from bonaface.gallery.gallery import Gallery
from bonaface.gallery.people import NewPhoto
from bonaface.gallery.reembed import reembed
from bonaface.images.preprocessing import Preprocessor
from bonaface.inference.embedder import Embedder

OLD = ModelMark("old", "0" * 32, 4, False)


@pytest.fixture
def embedder():
    network = PatternNetwork()
    return Embedder(network, Preprocessor.of(network.views, 40, None))


@pytest.fixture
def uri(tmp_path):
    gallery = Gallery(str(tmp_path / "g.db"), OLD, tmp_path / "photos")
    for person in range(3):
        vector = pixels(person).reshape(-1)[:4].astype("float32")
        vector /= np.linalg.norm(vector)
        gallery.enrol(
            f"p{person}", [NewPhoto(random_image(person, n), vector, None, {"n": n}) for n in range(2)], now=lambda: 5.0
        )
    gallery.close()
    return str(tmp_path / "g.db")


def test_kept_images_are_embedded_by_the_new_model(uri, embedder, tmp_path):
    mark = ModelMark("patterns", embedder.fingerprint, 48, True)
    with pytest.raises(ModelError, match="--re-embed"):
        Gallery(uri, mark)
    assert reembed(uri, mark, tmp_path / "photos", embedder) == 6
    assert reembed(uri, mark, tmp_path / "photos", embedder) == 0
    gallery = Gallery(uri, mark, tmp_path / "photos")
    found = gallery.search(embedder.embed_images([pixels(1, 5)]).identity[0], 1)
    assert found[0].person == "p1"
    assert [
        (each.enrolled, each.details["n"]) for each in sorted(gallery.photos_of("p2"), key=lambda e: e.details["n"])
    ] == [
        (5.0, 0),
        (5.0, 1),
    ]
    gallery.close()


def test_where_a_image_is_missing_nothing_changes(uri, embedder, tmp_path):
    next((tmp_path / "photos").glob("*/*")).unlink()
    mark = ModelMark("patterns", embedder.fingerprint, 48, True)
    with pytest.raises(DataError, match="1 of 6 images were not kept"):
        reembed(uri, mark, tmp_path / "photos", embedder)
    Gallery(uri, OLD).close()
