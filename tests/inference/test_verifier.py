"""The API: images of every kind give one verdict, and what cannot be judged is said."""

import io
import math
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageSequence

import bonaface
from bonaface.assets import shipped_detector, unpack_demo
from bonaface.errors import ConfigError, DataError, ModelError
from bonaface.evaluation.models import load_models
from bonaface.images.alignment import Aligner
from bonaface.images.decoding import decode

pytest_plugins = ("labelled_pairs",)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return unpack_demo(tmp_path_factory.mktemp("demo")) / "train" / "images"


@pytest.fixture(scope="module")
def verifier():
    return bonaface.load()


@pytest.fixture(scope="module")
def ann(people):
    return people / "0000" / "0.jpg"


@pytest.fixture(scope="module")
def bob(people):
    return people / "0001" / "0.jpg"


def test_every_kind_of_image_gives_one_verdict(verifier, ann, bob):
    with Image.open(ann) as opened:
        pixels = np.asarray(opened.convert("RGB"))
        image = opened.copy()
    kinds = [ann, str(ann), ann.read_bytes(), image, pixels]
    verdicts = [verifier.verify(kind, bob) for kind in kinds]
    assert {each.decision for each in verdicts} == {"different people"}
    np.testing.assert_allclose([each.similarity for each in verdicts], verdicts[0].similarity, atol=0.05)
    assert verdicts[0].threshold == verifier.threshold(1e-3).threshold
    assert verdicts[0].fmr == 1e-3
    assert all(0 <= p <= 1 for p in (*verdicts[0].genuine, verdicts[0].probability))


def test_embeddings_are_unit_and_judged(verifier, ann, bob):
    photos = verifier.embed([ann, bob, ann])
    np.testing.assert_allclose(np.linalg.norm(photos.identity, axis=1), 1, atol=1e-4)
    assert photos.identity.dtype == np.float32
    assert photos.genuine.shape == photos.called_fake.shape == (3,)
    assert photos.called_fake.dtype == bool
    np.testing.assert_allclose(photos.identity[0], photos.identity[2], atol=1e-5)


def test_no_images_give_no_embeddings(verifier):
    assert verifier.embed([]).identity.shape == (0, 512)


def test_similarity_is_the_verdicts(verifier, ann, bob):
    photos = verifier.embed([ann, bob])
    made = bonaface.similarity(photos.row(0), photos.row(1))
    assert made[0] == pytest.approx(verifier.verify(ann, bob).similarity, abs=1e-3)
    assert bonaface.similarity(photos.row(0), photos).shape == (2,)


def test_embeddings_of_two_models_are_not_compared(verifier, ann):
    photos = verifier.embed([ann])
    other = bonaface.Embeddings(photos.identity, photos.authenticity, photos.calibration, "another")
    with pytest.raises(ModelError, match="two models"):
        bonaface.similarity(photos, other)
    with pytest.raises(ModelError, match="another model"):
        verifier.compare(photos, other)


def test_numbers_of_photos_must_agree(verifier, ann):
    photos = verifier.embed([ann])
    two, three = (photos.take(np.zeros(n, np.int64)) for n in (2, 3))
    with pytest.raises(DataError, match="got 2 and 3"):
        bonaface.similarity(two, three)


def test_many_pairs_are_the_single_ones(verifier, ann, bob, tmp_path):
    missing = tmp_path / "gone.jpg"
    blank = np.zeros((200, 200, 3), np.uint8)
    verdicts = verifier.verify_many([(ann, bob), (ann, missing), (blank, bob), (bob, ann)])
    assert verdicts[0].similarity == pytest.approx(verifier.verify(ann, bob).similarity, abs=1e-3)
    assert verdicts[3].similarity == pytest.approx(verdicts[0].similarity, abs=1e-6)
    assert [each.decision for each in verdicts[1:3]] == ["cannot tell", "cannot tell"]
    assert "gone.jpg: can't be read" in verdicts[1].reason
    assert "no face found" in verdicts[2].reason
    assert math.isnan(verdicts[1].similarity)


def test_no_pairs_give_no_verdicts(verifier):
    assert verifier.verify_many([]) == []


def test_two_copies_of_one_photo_prove_nothing(verifier, ann):
    smaller = Image.open(ann).resize((140, 140))
    for verdict in (verifier.verify(ann, smaller), *verifier.verify_many([(ann, ann)])):
        assert verdict.decision == "cannot tell"
        assert verdict.reason == "These are two copies of one photo: nothing is proved."


def test_a_turned_photo_is_judged_and_said_to_be_turned(verifier, ann, tmp_path):
    other = ann.with_name("1.jpg")
    turned = Image.open(ann).transpose(Image.Transpose.ROTATE_90)
    straight, righted = verifier.verify(ann, other), verifier.verify(turned, other)
    assert righted.decision == straight.decision
    assert righted.reason == f"{straight.reason} (image was rotated by 90 degrees)"


def test_a_second_face_behind_is_said(verifier, ann, people):
    other = ann.with_name("1.jpg")
    crowd = Image.new("RGB", (640, 320), "grey")
    crowd.paste(Image.open(ann).resize((320, 320)), (0, 0))
    crowd.paste(Image.open(people / "0001" / "0.jpg").resize((64, 64)), (540, 40))
    straight, found = verifier.verify(ann, other), verifier.verify(crowd, other)
    assert found.decision == straight.decision
    assert found.reason == f"{straight.reason} (image: the most prominent of 2 faces was judged)"


def test_a_photo_without_a_face_tells_nothing(verifier, ann):
    verdict = verifier.verify(np.zeros((200, 200, 3), np.uint8), ann)
    assert verdict.decision == "cannot tell"
    assert verdict.reason == "image: no face found; expected one, seen from the front"
    assert np.isnan(verdict.similarity)


@pytest.mark.parametrize("array", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3))])
def test_an_array_that_is_no_image_is_refused(verifier, array):
    with pytest.raises(DataError, match=r"expected RGB uint8 of shape \(h, w, 3\)"):
        verifier.embed([array])


def test_what_is_no_image_at_all_is_a_type_error(verifier):
    with pytest.raises(TypeError, match="expected a path, bytes, a PIL image or an RGB array, got int"):
        verifier.embed([3])


def test_an_unknown_rate_is_refused_before_photos_are_read(verifier):
    with pytest.raises(ConfigError, match=r"fmr 0\.5: expected a rate from"):
        verifier.verify("gone.jpg", "gone.jpg", fmr=0.5)


def test_the_detector_runs_once_a_photo(verifier, ann, monkeypatch):
    looked = []
    find = Aligner.faces
    monkeypatch.setattr(Aligner, "faces", lambda self, image: looked.append(1) or find(self, image))
    buffer = io.BytesIO()
    with Image.open(ann) as opened:
        opened.resize((640, 640)).save(buffer, "JPEG")
    verifier.embed_photos([verifier.read(buffer.getvalue())])
    assert len(looked) == 1


def test_photos_without_a_face_are_listed_by_one_look(verifier, ann, tmp_path, monkeypatch):
    looked = []
    find = Aligner.faces
    monkeypatch.setattr(Aligner, "faces", lambda self, image: looked.append(1) or find(self, image))
    Image.fromarray(np.full((160, 160, 3), 128, np.uint8)).save(tmp_path / "grey.png")
    (tmp_path / "none.png").write_text("no image")
    embedded = verifier.embedder.embed([ann, tmp_path / "grey.png", tmp_path / "none.png"])
    assert embedded.faceless == {1}
    assert len(looked) == 2


def test_importing_the_package_imports_nothing_heavy():
    code = "import bonaface, sys; print(sorted(m for m in ('numpy', 'cv2', 'torch', 'pandas', 'rich') if m in sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_every_public_name_is_there_and_documented():
    for name in bonaface.__all__:
        value = getattr(bonaface, name)
        assert name.startswith("__") or (value.__doc__ or "").strip(), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = bonaface.nothing


@pytest.mark.parametrize("one", ["a.jpg", b"\xff\xd8\xff"])
def test_one_image_is_no_list_of_images(verifier, one):
    with pytest.raises(TypeError, match="images: expected several, got one"):
        verifier.embed(one)


@pytest.mark.parametrize("pair", ["ab", ("a", "b", "c")])
def test_what_is_no_pair_is_named(verifier, pair):
    with pytest.raises(TypeError, match="pairs: pair 0: expected two images each, got"):
        verifier.verify_many([pair])


def test_a_photo_that_cannot_be_judged_gets_no_firm_answer(verifier, ann):
    nobody = verifier.read(np.zeros((99, 99, 3), np.uint8))
    verdict = verifier.compare_photos(nobody, verifier.read(ann))
    assert (verdict.decision, verdict.reason) == ("cannot tell", nobody.problem)


def test_a_photo_that_was_read_for_another_model_is_refused(verifier, ann):
    photo = verifier.read(ann)
    foreign = replace(photo, inputs=({"other": np.zeros((8, 8, 3), np.uint8)},))
    with pytest.raises(ModelError, match="was read for another model than bonaface"):
        verifier.compare_photos(photo, foreign)


def test_embeddings_that_do_not_fit_are_refused(verifier, ann, bob):
    photos = verifier.embed([ann, bob])
    with pytest.raises(DataError, match="expected as many of each, got 2 and 1"):
        verifier.compare(photos, photos.row(0))


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"authenticity": None}, ModelError, "of two models cannot be compared"),
        ({"authenticity": np.float32([1, np.nan])}, DataError, "row 1 has the authenticity nan"),
        ({"identity": np.full((2, 512), np.nan, np.float32)}, DataError, "row 0 has the length nan"),
        ({"identity": np.full((2, 512), 10, np.int8)}, DataError, "row 0 has the length 226; expected unit vectors"),
        ({"authenticity": np.zeros(3, np.float32)}, DataError, r"are of the shapes \(2, 512\) and \(3,\)"),
        ({"authenticity": np.zeros((2, 1), np.float32)}, DataError, r"expected \(n, d\) and \(n,\)"),
        ({"identity": np.eye(2, dtype=np.float32)}, ModelError, "of two models cannot be compared"),
    ],
)
def test_embeddings_that_lack_something_are_refused(verifier, ann, bob, change, error, said):
    photos = verifier.embed([ann, bob])
    less = replace(photos, **change)
    for a, b in ((less, photos), (photos, less)):
        for compare in (verifier.compare, bonaface.similarity):
            with pytest.raises(error, match=said):
                compare(a, b)


def test_vectors_without_the_authenticity_that_the_model_judges_are_refused(verifier, ann, bob):
    """A cosine laid against a threshold of log-odds would take anybody for the person."""
    photos = verifier.embed([ann, bob])
    for alone in (bonaface.Embeddings(photos.identity), replace(photos, authenticity=None)):
        with pytest.raises(ModelError, match="have no authenticity, which the model judges"):
            verifier.compare(alone, alone)
    with pytest.raises(ModelError, match="have no authenticity, which the model judges"):
        bonaface.similarity(alone, alone)


def test_a_person_may_be_the_mean_of_several_photos(verifier, people):
    """As the service has it: the cosine to a mean of unit vectors is the mean of the cosines."""
    photos = verifier.embed([people / "0000" / f"{n}.jpg" for n in range(3)])
    both = photos.take(np.array([0, 1]))
    mean = replace(photos.row(0), identity=both.identity.mean(axis=0, keepdims=True))
    assert np.linalg.norm(mean.identity) < 0.98
    (verdict,) = verifier.compare(mean, photos.row(2), 0.01)
    assert verdict.decision == "same person"


def test_rows_of_two_models_are_not_joined(verifier, ann):
    photos = verifier.embed([ann])
    assert len(bonaface.Embeddings.joined([photos, photos])) == 2
    for other in (replace(photos, model="x"), replace(photos, authenticity=None)):
        with pytest.raises(ModelError, match="of two models cannot be compared"):
            bonaface.Embeddings.joined([photos, other])


class Frames:
    """Photos in one buffer that is filled anew for each, as cameras and data loaders give them."""

    def __init__(self, images, kind):
        self.images, self.kind = images, kind

    def __iter__(self):
        frame = np.empty_like(self.images[0])
        canvas = Image.fromarray(frame)
        for image in self.images:
            frame[:] = image
            canvas.paste(Image.fromarray(image))
            yield frame if self.kind == "array" else canvas


@pytest.mark.parametrize("kind", ["array", "image"])
@pytest.mark.parametrize("how", [iter, lambda frames: frames], ids=["generator", "iterable"])
def test_one_buffer_may_be_filled_anew(verifier, ann, bob, kind, how):
    images = [decode(each) for each in (ann, bob)]
    embedded = verifier.embed(how(Frames(images, kind)))
    np.testing.assert_array_equal(embedded.identity, verifier.embed(images).identity)
    reference = images[0].copy()
    several = verifier.verify_many((reference, each) for each in Frames(images, kind))
    assert [each.decision for each in several] == ["cannot tell", "different people"]


def test_frames_and_photos_that_are_closed_behind_them_may_come_one_by_one(verifier, ann, bob, tmp_path):
    first, second = (Image.fromarray(decode(each)) for each in (ann, bob))
    first.save(tmp_path / "two.tif", save_all=True, append_images=[second])
    expected = verifier.embed([decode(ann), decode(bob)]).identity
    with Image.open(tmp_path / "two.tif") as pages:
        np.testing.assert_array_equal(verifier.embed(ImageSequence.Iterator(pages)).identity, expected)
        pages.seek(0)
        pairs = ((page, bob) for page in ImageSequence.Iterator(pages))
        assert [each.decision for each in verifier.verify_many(pairs)] == ["different people", "cannot tell"]

    def opened():
        for each in (ann, bob):
            with Image.open(each) as image:
                yield image

    np.testing.assert_allclose(verifier.embed(opened()).identity, verifier.embed([ann, bob]).identity, atol=1e-6)
    with pytest.raises(DataError, match="is closed; expected an open image"):
        verifier.embed(list(opened()))


@pytest.mark.parametrize("source", [None, float("nan"), 7])
def test_a_hole_among_pairs_is_named_before_anything_is_read(verifier, source):
    with pytest.raises(TypeError, match="pairs: pair 1: expected a path, bytes, a PIL image or an RGB array, got "):
        verifier.verify_many([("a.jpg", "b.jpg"), ("a.jpg", source)])


def test_devices_and_detectors_that_are_not_there_are_refused():
    with pytest.raises(ConfigError, match="'tpu': expected auto, cpu, cuda, tensorrt, coreml or openvino"):
        bonaface.load(device="tpu")
    with pytest.raises(ModelError, match=r"nowhere\.onnx: no such file; expected a YuNet"):
        bonaface.load(detector="nowhere.onnx")


@pytest.mark.parametrize("content", [b"", b"junk" * 1000])
def test_a_detector_that_is_none_is_refused_whatever_the_model_brings(tmp_path, content):
    file = tmp_path / "yunet.onnx"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"yunet\.onnx: not a YuNet face detector as ONNX"):
        bonaface.load(detector=file)


def test_a_detector_that_would_not_be_used_is_refused(tmp_path, network):
    file = tmp_path / "yunet.onnx"
    file.write_bytes(shipped_detector())
    with pytest.raises(ConfigError) as caught:
        bonaface.load(detector=file)
    assert str(caught.value) == (
        f"detector {file}: would not be used, as the model brings its own (bonaface); "
        "expected it with an ONNX face network alone"
    )
    assert bonaface.load(network, detector=file).embedder.preprocess.detector == file
    first, second = load_models([None, network], file)  # it is for the second
    assert isinstance(first.preprocess.detector, bytes)
    assert second.preprocess.detector == file
    with pytest.raises(ConfigError, match="detector: finds faces for a model; scores go without"):
        bonaface.evaluate(scores=[0.9, 0.1], labels=pd.DataFrame({"label": [1, 0]}), detector=file)


def test_a_verifier_says_that_it_is_not_pickled(verifier):
    with pytest.raises(TypeError, match=r"call bonaface.load\(\) in each process"):
        pickle.dumps(verifier)


@pytest.mark.parametrize("fmr", ["0.001", [0.001]])
def test_a_rate_that_is_no_number_is_a_type_error(verifier, fmr):
    with pytest.raises(TypeError, match="fmr: expected a number such as"):
        verifier.threshold(fmr)
