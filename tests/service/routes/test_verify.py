"""Verdicts over HTTP: of two images, of many, of an enrolled person, of everyone."""

from dataclasses import replace

import numpy as np
import pytest
from pattern_service import files, pixels, random_image

from bonaface.gallery.people import NewPhoto
from bonaface.images.quality import Face
from bonaface.inference.verifier import Verifier
from bonaface.verification.decision import judge
from bonaface.verification.embeddings import Embeddings

pytest_plugins = ("pattern_service",)


@pytest.mark.parametrize(
    ("second", "decision"),
    [
        (random_image(1, 1), "same person"),
        (random_image(2), "different people"),
        (random_image(1, 1, fake=True), "not genuine"),
    ],
)
def test_a_verdict_is_the_one_that_the_model_gives(client, second, decision):
    said = client.post("/v1/verify", files=files(first=random_image(1), second=second)).json()
    assert said["decision"] == decision
    assert said["model"] == "patterns"
    assert said["fmr"] == 0.001
    assert said["threshold"] == -0.3
    assert (said["similarity"] >= said["threshold"]) == (decision == "same person")
    assert (said["second"]["genuine"] < 0.5) == (decision == "not genuine")


def test_probability_and_reason_come_from_the_verdict(client, embedder):
    images = embedder.embed_images([pixels(1), pixels(1, 1)])
    rows = [images.take(np.array([n])) for n in range(2)]
    (verdict,) = judge(*rows, embedder.calibration, embedder.validation, 1e-2)
    said = client.post(
        "/v1/verify", files=files(first=random_image(1), second=random_image(1, 1)), data={"fmr": "0.01"}
    ).json()
    assert said["reason"] == verdict.reason
    assert said["probability"] == pytest.approx(verdict.probability, abs=1e-5)
    assert said["similarity"] == pytest.approx(verdict.similarity, abs=1e-5)
    assert said["threshold"] == -0.5
    assert said["score"] == pytest.approx(verdict.score, abs=1e-3)
    assert said["threshold_score"] == verdict.threshold_score


def test_what_cannot_be_judged_has_no_score_but_a_threshold(client):
    both = files(first=[random_image(1)], second=[b"<html>"])
    (said,) = client.post("/v1/verify/batch", files=both).json()["verdicts"]
    assert said["decision"] == "cannot tell"
    assert said["score"] is None
    assert 0 < said["threshold_score"] < 100


def test_a_rate_that_the_model_does_not_know_is_refused(client):
    answer = client.post("/v1/verify", files=files(first=random_image(1), second=random_image(1)), data={"fmr": "0.05"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "fmr 0.05: expected a rate from 0.001 to 0.01, which the model has thresholds for"


def test_a_batch_is_the_single_calls_and_a_bad_image_spoils_only_its_own_pair(client, patterns):
    pairs = [(random_image(1), random_image(1, 1)), (random_image(1), b"<html>"), (random_image(1), random_image(2))]
    alone = [client.post("/v1/verify", files=files(first=a, second=b)) for a, b in pairs]
    many = client.post(
        "/v1/verify/batch", files=files(first=[a for a, _ in pairs], second=[b for _, b in pairs])
    ).json()["verdicts"]
    assert [each["decision"] for each in many] == ["same person", "cannot tell", "different people"]
    assert many[0]["similarity"] == pytest.approx(alone[0].json()["similarity"], abs=1e-6)
    assert many[2]["probability"] == pytest.approx(alone[2].json()["probability"], abs=1e-6)
    assert "second image 2: is a web page" in many[1]["reason"]
    assert alone[1].status_code == 422
    assert max(patterns.batches) == 5


def test_halves_of_pairs_are_refused(client):
    answer = client.post(
        "/v1/verify/batch", files=files(first=[random_image(1), random_image(1)], second=random_image(1))
    )
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:bonaface:request")


def test_an_enrolled_person_is_told_from_others(client):
    client.post("/v1/people/ann/photos", files=files(photos=[random_image(1, n) for n in range(3)]))
    said = client.post("/v1/people/ann/verify", files=files(image=random_image(1, 7))).json()
    assert (said["decision"], said["person"], said["photos"]) == ("same person", "ann", 3)
    assert (
        client.post("/v1/people/ann/verify", files=files(image=random_image(2))).json()["decision"]
        == "different people"
    )
    assert client.post("/v1/people/bob/verify", files=files(image=random_image(2))).status_code == 404


def test_photos_of_a_person_may_differ(client, gallery, embedder):
    """Their mean is shorter than a unit vector."""
    (query,) = embedder.embed_images([pixels(1, 7)]).identity
    for n in range(2):
        other = np.roll(query, n + 1) - query * (np.roll(query, n + 1) @ query)
        vector = (0.8 * query + 0.6 * other / np.linalg.norm(other)).astype(np.float32)
        gallery.enrol("ann", [NewPhoto(random_image(1, n), vector, 9.0)])
    answer = client.post("/v1/people/ann/verify", files=files(image=random_image(1, 7)))
    assert (answer.status_code, answer.json()["photos"]) == (200, 2)


def test_the_file_of_an_enrolled_photo_proves_nothing(client):
    client.post("/v1/people/ann/photos", files=files(photos=[random_image(1, n) for n in range(2)]))
    client.post("/v1/people/bob/photos", files=files(photos=[random_image(2)]))
    sent = files(image=random_image(1))
    found = client.post("/v1/search", files=sent).json()["candidates"]
    many = client.post("/v1/search/batch", files=files(images=[random_image(1)])).json()["results"][0]["candidates"]
    assert found == many
    assert [each["decision"] for each in found] == ["cannot tell", "different people"]
    alone = client.post("/v1/people/ann/verify", files=sent).json()
    assert found[0]["reason"] == alone["reason"] == "This is the file of an enrolled photo: nothing is proved."
    assert alone["decision"] == "cannot tell"


def test_no_file_of_an_enrolled_photo_proves_anything_where_another_has_the_same_pixels(client):
    both = [random_image(1), random_image(1, form="BMP")]
    client.post("/v1/people/ann/photos", files=files(photos=both))
    for sent in both:
        (found,) = client.post("/v1/search", files=files(image=sent)).json()["candidates"]
        alone = client.post("/v1/people/ann/verify", files=files(image=sent)).json()
        assert found["decision"] == alone["decision"] == "cannot tell"


def test_against_a_person_means_the_mean_cosine(client, embedder):
    client.post("/v1/people/ann/photos", files=files(photos=[random_image(1, n) for n in range(3)]))
    said = client.post("/v1/people/ann/verify", files=files(image=random_image(1, 7))).json()
    photos, query = embedder.embed_images([pixels(1, n) for n in range(3)]), embedder.embed_images([pixels(1, 7)])
    mean = Embeddings(photos.identity.mean(axis=0, keepdims=True), photos.authenticity.mean(keepdims=True))
    (verdict,) = judge(query, mean, embedder.calibration, embedder.validation)
    assert said["similarity"] == pytest.approx(verdict.similarity, abs=1e-4)


def test_search_names_people_best_first_each_with_the_pairs_own_verdict(client):
    for person in range(1, 7):
        client.post(f"/v1/people/p{person}/photos", files=files(photos=[random_image(person, n) for n in range(2)]))
    said = client.post("/v1/search", files=files(image=random_image(3, 9)), data={"k": 4}).json()
    assert len(said["candidates"]) == 4
    assert said["candidates"][0]["person"] == "p3"
    assert [each["decision"] for each in said["candidates"]] == ["same person", *["different people"] * 3]
    assert said["false_matches"] == pytest.approx(0.001 * 12)
    pair = client.post("/v1/verify", files=files(first=random_image(3, 9), second=random_image(3))).json()
    other = client.post("/v1/verify", files=files(first=random_image(3, 9), second=random_image(3, 1))).json()
    best = max(pair["similarity"], other["similarity"])
    assert said["candidates"][0]["similarity"] == pytest.approx(best, abs=1e-2)


def test_without_a_gallery_there_are_verdicts_and_no_people(make_client):
    client = make_client(None)
    assert client.post("/v1/verify", files=files(first=random_image(1), second=random_image(1, 1))).status_code == 200
    assert client.get("/v1/people").json()["type"] == "urn:bonaface:no-gallery"
    assert client.get("/v1/ready").json() == {"status": "ready"}


def test_the_service_says_what_it_is(client):
    said = client.get("/v1/model").json()
    assert said["thresholds"] == [{"fmr": 0.01, "threshold": -0.5}, {"fmr": 0.001, "threshold": -0.3}]
    assert said["judges_authenticity"]
    assert client.get("/v1/health").json()["status"] == "ok"
    client.post("/v1/verify", files=files(first=random_image(1), second=random_image(1, 1)))
    figures = client.get("/metrics").text
    assert 'bonaface_decisions_total{decision="same person"} 1.0' in figures
    assert 'bonaface_requests_total{method="POST",route="/v1/verify",status="200"} 1.0' in figures


def test_one_photo_is_checked_as_the_command_does(client, embedder):
    for data in (random_image(1), random_image(1, 1, fake=True)):
        said = client.post("/v1/check", files=files(image=data)).json()
        own = Verifier(embedder).check(data, "image")
        assert (said["name"], said["problem"], said["called_fake"]) == (own.name, own.problem, own.called_fake)
        assert said["genuine"] == pytest.approx(own.genuine, abs=1e-6)
        assert said["measured_on"] == own.measured_on == "validation photos of the training"
    assert client.post("/v1/check", files=files(image=b"<html>")).status_code == 422


def test_several_photos_are_searched_in_one_call(client):
    client.post("/v1/people/ann/photos", files=files(photos=[random_image(1)]))
    client.post("/v1/people/bob/photos", files=files(photos=[random_image(2)]))
    asked = [random_image(2, 1), b"<html>", random_image(1, 1)]
    said = client.post("/v1/search/batch", files=files(images=asked), data={"k": "1"}).json()
    assert [[each["person"] for each in found["candidates"]] for found in said["results"]] == [["bob"], [], ["ann"]]
    assert "image 2: is a web page" in said["results"][1]["problem"]
    one = client.post("/v1/search", files=files(image=asked[0]), data={"k": "1"}).json()
    assert one["candidates"] == said["results"][0]["candidates"]
    assert one["false_matches"] == said["false_matches"]


def test_every_verdict_says_which_of_several_faces_was_judged(client, monkeypatch):
    """Also where the photo is compared with enrolled ones."""
    client.post("/v1/people/ann/photos", files=files(photos=[random_image(1)]))
    read, face = Verifier.read, Face((0.0, 0.0, 9.0, 9.0), ((1.0, 1.0),) * 5, 0.9)
    monkeypatch.setattr(Verifier, "read", lambda *given: replace(read(*given), faces=(face, face)))
    said = "(image: the most prominent of 2 faces was judged)"
    for image in (random_image(1, 1), random_image(1)):  # a new photo, and the enrolled file
        verdict = client.post("/v1/people/ann/verify", files=files(image=image)).json()
        found = client.post("/v1/search", files=files(image=image)).json()["candidates"][0]
        (several,) = client.post("/v1/search/batch", files=files(images=[image])).json()["results"]
        assert [each["reason"].endswith(said) for each in (verdict, found)] == [True, True]
        assert several["candidates"][0]["reason"].endswith(said.replace("image", "image 1"))
