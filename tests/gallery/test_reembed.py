"""A gallery for another model."""

import contextlib
import io
import shlex
import shutil

import numpy as np
import pytest
from pattern_service import PatternNetwork, pixels, random_image
from PIL import Image
from tiny_gallery import MilvusServer

from bonaface.assets import SHIPPED_MODEL, unpack_demo
from bonaface.cli.console import ProgressConsole
from bonaface.cli.serve import _gallery, _parser
from bonaface.errors import DataError, GalleryOutdatedError, GalleryUnavailableError, ModelError
from bonaface.gallery.collection_name import ModelMark
from bonaface.gallery.enrolment import embed_read, new_photo
from bonaface.gallery.gallery import Gallery
from bonaface.gallery.people import NewPhoto, as_row
from bonaface.gallery.reembed import reembed
from bonaface.images.preprocessing import Preprocessor
from bonaface.inference.embedder import Embedder
from bonaface.inference.verifier import Verifier, load

OLD = ModelMark("old", "0" * 32, 4, False)


@pytest.fixture
def verifier():
    network = PatternNetwork()
    return Verifier(Embedder(network, Preprocessor.of(network.views, 40, None)))


@pytest.fixture
def uri(tmp_path):
    gallery = Gallery(str(tmp_path / "g.db"), OLD, tmp_path / "photos")
    for person in range(3):
        vector = pixels(person).reshape(-1)[:4].astype("float32")
        vector /= np.linalg.norm(vector)
        gallery.enrol(
            f"p{person}",
            [NewPhoto(random_image(person, n), vector, None, {"genuine": 0.9}) for n in range(2)],
            now=lambda: 5.0,
        )
    gallery.close()
    return str(tmp_path / "g.db")


def test_kept_images_are_embedded_by_the_new_model(uri, verifier, tmp_path):
    mark = ModelMark("patterns", verifier.fingerprint, 48, True)
    with pytest.raises(ModelError, match="--re-embed"):
        Gallery(uri, mark)
    assert reembed(uri, mark, tmp_path / "photos", verifier) == 6
    assert reembed(uri, mark, tmp_path / "photos", verifier) == 0
    gallery = Gallery(uri, mark, tmp_path / "photos")
    found = gallery.search(verifier.embed([pixels(1, 5)]).identity[0], 1)
    assert found[0].person == "p1"
    seen = {"quality": None, "genuine": None}  # by a model without a detector and a calibration
    assert [(each.enrolled, each.details) for each in gallery.photos_of("p2")] == [(5.0, seen)] * 2
    gallery.close()


@pytest.mark.parametrize(("file", "keeps"), [(None, False), (None, True), ("my model.onnx", False)])
def test_the_command_that_helps_with_another_model_runs_word_by_word(file, keeps, tmp_path):
    uri, photos = str(tmp_path / "all people.sqlite"), tmp_path / "all photos"
    old = Gallery(uri, OLD, photos)
    old.enrol("ann", [_new(1, 0)])
    old.close()
    if file is not None:
        file = str(shutil.copy(SHIPPED_MODEL, tmp_path / file))
    with pytest.raises(ModelError) as refused:
        Gallery(uri, ModelMark.of(load(file).embedder), photos if keeps else None)
    command = shlex.split(str(refused.value).partition("again: ")[2])
    assert command[:2] == ["bonaface", "serve"]
    options = _parser().parse_args(command[2:])
    with contextlib.closing(_gallery(options, load(options.model), ProgressConsole())) as gallery:
        assert gallery.count() == 1


@pytest.mark.parametrize("quarters", [0, 1])
def test_a_photo_is_kept_as_the_new_model_would_enrol_it(quarters, tmp_path):
    """Also one that lies on its side without its file saying so."""
    shipped = load()
    face = Image.open(unpack_demo(tmp_path / "demo") / "train" / "images" / "0000" / "0.jpg")
    written = io.BytesIO()
    face.rotate(90 * quarters, expand=True).save(written, "PNG")
    data, mark, uri = written.getvalue(), ModelMark.of(shipped.embedder), str(tmp_path / "g.sqlite")
    old = Gallery(uri, OLD, tmp_path / "photos")
    old.enrol("ann", [NewPhoto(data, np.eye(4, dtype="float32")[0], None, {"genuine": 0.0001})])
    old.close()
    reembed(uri, mark, tmp_path / "photos", shipped)
    with contextlib.closing(Gallery(uri, mark, tmp_path / "photos")) as gallery:
        (found,) = gallery.photos_of("ann")
    (seen,) = embed_read(shipped, [shipped.read(data)])
    fresh = new_photo(data, seen)
    assert seen.photo.rotated == 90 * quarters
    assert found.details == fresh.details
    np.testing.assert_allclose(found.identity, fresh.identity, atol=1e-5)
    assert found.authenticity == pytest.approx(fresh.authenticity, abs=1e-4)


def test_an_image_that_was_replaced_is_refused(uri, verifier, tmp_path):
    next((tmp_path / "photos").glob("*/*")).write_bytes(random_image(9))
    mark = ModelMark("patterns", verifier.fingerprint, 48, True)
    with pytest.raises(DataError, match="is not what was enrolled"):
        reembed(uri, mark, tmp_path / "photos", verifier)
    assert Gallery(uri, OLD, tmp_path / "photos").count() == 6


def test_where_a_image_is_missing_nothing_changes(uri, verifier, tmp_path):
    next((tmp_path / "photos").glob("*/*")).unlink()
    mark = ModelMark("patterns", verifier.fingerprint, 48, True)
    with pytest.raises(DataError, match="1 of 6 images were not kept"):
        reembed(uri, mark, tmp_path / "photos", verifier)
    Gallery(uri, OLD).close()


@pytest.fixture
def busy(tmp_path):
    """An SQLite gallery of three people, open in a process with the old model, and something to do while it is embedded anew."""
    gallery = Gallery(str(tmp_path / "g.sqlite"), OLD, tmp_path / "photos")
    for person in range(3):
        gallery.enrol(f"p{person}", [_new(person, n) for n in range(2)])
    yield gallery
    gallery.close()


def _new(person, n):
    return NewPhoto(random_image(person, n), np.eye(4, dtype="float32")[0], None)


def _meanwhile(monkeypatch, verifier, *acts):
    """Let each act happen while a batch is embedded, one after the other."""
    left, embed = list(acts), verifier.embed_photos

    def late(photos):
        if left:
            left.pop(0)()
        return embed(photos)

    monkeypatch.setattr(verifier, "embed_photos", late)


def test_what_others_enrol_and_delete_meanwhile_counts(busy, verifier, tmp_path, monkeypatch):
    monkeypatch.setattr("bonaface.gallery.reembed._BATCH", 2)
    _meanwhile(
        monkeypatch,
        verifier,
        lambda: (busy.remove("p0"), busy.remove("p2"), busy.enrol("new", [_new(5, 0)])),
        lambda: busy.enrol("p1", [_new(1, 7)]),
        lambda: busy.enrol("p0", [_new(0, 0)], now=lambda: 9.0),
    )
    mark = ModelMark("patterns", verifier.fingerprint, 48, True)
    assert reembed(busy.database.uri, mark, tmp_path / "photos", verifier) == 5
    gallery = Gallery(busy.database.uri, mark, tmp_path / "photos")
    assert {person.id: person.photos for person in gallery.people()} == {"new": 1, "p0": 1, "p1": 3}
    assert [each.enrolled for each in gallery.photos_of("p0")] == [9.0]
    gallery.close()
    for act in (busy.count, lambda: busy.remove("p1"), lambda: busy.enrol("late", [_new(6, 0)])):
        with pytest.raises(GalleryOutdatedError, match="another model meanwhile; start again with it"):
            act()


def test_a_photo_without_an_image_that_comes_meanwhile_changes_nothing(busy, verifier, tmp_path, monkeypatch):
    row = as_row("new", "0c" * 16, _new(5, 0), 1.0)
    _meanwhile(monkeypatch, verifier, lambda: busy.database.write([row]))
    mark = ModelMark("patterns", verifier.fingerprint, 48, True)
    with pytest.raises(DataError, match=r"1 of 1 images were not kept, the first of them of new"):
        reembed(busy.database.uri, mark, tmp_path / "photos", verifier)
    assert busy.count() == 7


def test_of_two_that_embed_anew_at_once_one_gives_way_and_nothing_is_lost(busy, verifier, tmp_path, monkeypatch):
    mark = ModelMark("patterns", verifier.fingerprint, 48, True)
    _meanwhile(monkeypatch, verifier, lambda: busy.database.create(mark))
    with pytest.raises(GalleryUnavailableError, match="let one do it at a time"):
        reembed(busy.database.uri, mark, tmp_path / "photos", verifier)
    assert busy.count() == 6


def test_on_a_server_the_old_model_neither_answers_nor_writes_afterwards(verifier, tmp_path):
    server = MilvusServer(tmp_path)
    old = Gallery(server.uri, OLD, tmp_path / "photos")
    old.enrol("ann", [_new(1, 0)])
    mark = ModelMark("patterns", verifier.fingerprint, 48, True)
    try:
        assert reembed(server.uri, mark, tmp_path / "photos", verifier) == 1
        for act in (
            old.count,
            lambda: old.search(np.eye(4, dtype="float32")[0], 1),
            lambda: old.enrol("bob", [_new(2, 0)]),
            lambda: old.database.write([as_row("bob", "0" * 32, _new(2, 0), 5.0)]),
            lambda: old.database.delete(["ann:0"]),
        ):
            with pytest.raises(GalleryOutdatedError):
                act()
    finally:
        old.close()
        server.kill()
