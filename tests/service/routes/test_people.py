"""Enrolment, lists, deletion and export over HTTP."""

import io
import json
import time
import zipfile

import numpy as np
import pytest
from pattern_service import files, pixels, random_image
from tiny_gallery import MilvusServer

from bonaface.gallery import enrolment
from bonaface.gallery.collection_name import ModelMark
from bonaface.gallery.gallery import Gallery

pytest_plugins = ("pattern_service",)


def test_photos_are_enrolled_listed_and_enrolled_again_without_effect(client):
    first = client.post("/v1/people/ann/photos", files=files(photos=[random_image(1), random_image(1, 1)]))
    assert first.status_code == 201
    again = client.post("/v1/people/ann/photos", files=files(photos=[random_image(1, 1), random_image(1, 2)])).json()
    assert again["total"] == 3
    assert again["photos"][0] == first.json()["photos"][1]
    said = client.get("/v1/people/ann").json()
    assert {each["photo"] for each in said["photos"]} == {*first.json()["photos"], *again["photos"]}
    assert all(each["kept"] for each in said["photos"])
    assert client.get("/v1/ready").json() == {"status": "ready"}


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (random_image(2), "is unlike 2 of the 2 other photos"),
        (random_image(1, 5, fake=True), "looks forged: genuine photos of a person's face are expected"),
        (
            b"<svg></svg>",
            "photo 3: is an SVG drawing; expected a JPEG, PNG, WebP, TIFF, AVIF, JPEG 2000, HEIC, BMP or GIF image",
        ),
    ],
)
def test_one_bad_photo_is_named_and_none_is_enrolled(client, bad, why):
    answer = client.post("/v1/people/ann/photos", files=files(photos=[random_image(1), random_image(1, 1), bad]))
    assert answer.status_code == 422
    said = answer.json()
    assert said["type"] in ("urn:bonaface:photos", "urn:bonaface:image")
    assert said["photos"] == [{"photo": 3, "reason": why}]
    assert client.get("/v1/people/ann").status_code == 404


def test_photos_must_be_like_those_that_are_there(client):
    client.post("/v1/people/ann/photos", files=files(photos=[random_image(1)]))
    answer = client.post("/v1/people/ann/photos", files=files(photos=[random_image(2)]))
    assert answer.json()["photos"] == [{"photo": 1, "reason": "is unlike 1 of the 1 other photos"}]


def test_a_photo_sent_twice_does_not_vouch_for_itself(client):
    client.post("/v1/people/ann/photos", files=files(photos=[random_image(1)]))
    answer = client.post("/v1/people/ann/photos", files=files(photos=[random_image(2)] * 2))
    assert answer.status_code == 422
    assert {each["reason"] for each in answer.json()["photos"]} == {"is unlike 1 of the 1 other photos"}


def test_a_poor_photo_is_good_enough_to_verify_but_not_to_enrol(client, monkeypatch):
    monkeypatch.setattr(enrolment, "_why_not", lambda photo: "the face is blurred; expected a sharp photo")
    assert client.post("/v1/verify", files=files(first=random_image(1), second=random_image(1, 1))).status_code == 200
    answer = client.post("/v1/people/ann/photos", files=files(photos=[random_image(1)]))
    assert answer.json()["photos"] == [{"photo": 1, "reason": "the face is blurred; expected a sharp photo"}]


def test_a_person_has_only_so_many_photos(make_client, gallery):
    client = make_client(gallery, photos=2)
    assert (
        client.post("/v1/people/ann/photos", files=files(photos=[random_image(1), random_image(1, 1)])).status_code
        == 201
    )
    answer = client.post("/v1/people/ann/photos", files=files(photos=[random_image(1, 2)]))
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:bonaface:full-person")
    assert client.post("/v1/people/ann/photos", files=files(photos=[random_image(1, 1)])).status_code == 201


def test_photos_that_are_enrolled_may_be_sent_again_where_there_are_more_than_are_allowed(make_client, gallery):
    photos = [random_image(1), random_image(1, 1)]
    make_client(gallery).post("/v1/people/ann/photos", files=files(photos=photos))
    answer = make_client(gallery, photos=1).post("/v1/people/ann/photos", files=files(photos=photos))
    assert (answer.status_code, answer.json()["total"]) == (201, 2)


def test_the_list_goes_on_where_it_ended(client):
    for person in range(5):
        client.post(f"/v1/people/p{person}/photos", files=files(photos=[random_image(person)]))
    seen, after = [], ""
    while after is not None:
        part = client.get("/v1/people", params={"limit": 2, "after": after}).json()
        seen += [each["person"] for each in part["people"]]
        after = part["next"]
    assert seen == [f"p{person}" for person in range(5)]


def test_who_is_deleted_is_gone(client, tmp_path):
    client.post("/v1/people/ann/photos", files=files(photos=[random_image(1), random_image(1, 1)]))
    client.post("/v1/people/bob/photos", files=files(photos=[random_image(2)]))
    photo = client.get("/v1/people/ann").json()["photos"][0]["photo"]
    assert client.delete(f"/v1/people/ann/photos/{photo}").json()["photos"] == 1
    assert client.delete(f"/v1/people/ann/photos/{photo}").status_code == 404
    assert client.delete("/v1/people/ann").json() == {"photos": 1, "erased": True}
    assert client.delete("/v1/people/ann").status_code == 404
    assert client.post("/v1/search", files=files(image=random_image(1))).json()["candidates"][0]["person"] == "bob"
    left = [path.read_bytes() for path in (tmp_path / "photos").glob("*/*") if path.is_file()]
    assert left == [random_image(2)]


def test_an_export_has_all_that_is_stored(client, embedder):
    photos = [random_image(1), random_image(1, 1)]
    ids = client.post("/v1/people/ann/photos", files=files(photos=photos)).json()["photos"]
    with zipfile.ZipFile(io.BytesIO(client.get("/v1/people/ann/export").content)) as archive:
        said = json.loads(archive.read("data.json"))
        assert {archive.read(f"photos/{key}") for key in ids} == set(photos)
    assert said["model"]["fingerprint"] == embedder.fingerprint
    by_id = {each["photo"]: each for each in said["photos"]}
    np.testing.assert_allclose(by_id[ids[0]]["embedding"], embedder.embed_images([pixels(1)]).identity[0], atol=1e-6)


def test_names_are_names(client):
    for name in ("..", "a%2Fb", "-a", "a b", "x" * 65):
        assert client.get(f"/v1/people/{name}").status_code in (404, 422), name
    assert client.get("/v1/people", params={"after": 'a" or id > "'}).status_code == 422


def test_a_database_that_goes_away_is_503_and_comes_back(make_client, embedder, tmp_path):
    server = MilvusServer(tmp_path)
    mark = ModelMark(embedder.name, embedder.fingerprint, embedder.network.dim, True)
    client = make_client(Gallery(server.uri, mark))
    try:
        assert client.post("/v1/people/ann/photos", files=files(photos=[random_image(1)])).status_code == 201
        server.kill()
        for answer in (client.get("/v1/people/ann"), client.get("/v1/ready"), client.delete("/v1/people/ann")):
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:bonaface:database")
            assert int(answer.headers["retry-after"]) >= 1
        assert client.get("/v1/health").status_code == 200
        assert (
            client.post("/v1/verify", files=files(first=random_image(1), second=random_image(1, 1))).status_code == 200
        )
        server.start()
        for _ in range(40):
            if client.get("/v1/ready").status_code == 200:
                break
            time.sleep(0.25)
        assert len(client.get("/v1/people/ann").json()["photos"]) == 1
    finally:
        server.kill()


def test_photos_of_several_people_are_enrolled_in_one_call(client):
    photos = [random_image(1), random_image(2), random_image(1, 1, fake=True), b"<svg></svg>", random_image(1, 2)]
    whose = ["ann", "bob", "ann", "bob", "ann"]
    answer = client.post("/v1/people/batch", files=files(photos=photos), data={"person": whose})
    assert answer.status_code == 200
    said = answer.json()["photos"]
    assert [(each["person"], each["status"]) for each in said] == list(
        zip(whose, ["enrolled", "enrolled", "refused", "refused", "enrolled"], strict=True)
    )
    assert said[2]["reason"].startswith("looks forged")
    assert said[3]["reason"].startswith("photo 4: is an SVG drawing")
    assert [each["photo"] is None for each in said] == [False, False, True, True, False]
    again = client.post("/v1/people/batch", files=files(photos=photos[:2]), data={"person": whose[:2]}).json()["photos"]
    assert {each["status"] for each in again} == {"already enrolled"}
    assert {each["person"]: each["photos"] for each in client.get("/v1/people").json()["people"]} == {
        "ann": 2,
        "bob": 1,
    }


def test_strict_takes_all_photos_of_a_person_or_none(client):
    photos = [random_image(1), random_image(2), random_image(1, 1, fake=True)]
    words = {"person": ["ann", "bob", "ann"], "strict": "true"}
    said = client.post("/v1/people/batch", files=files(photos=photos), data=words).json()["photos"]
    assert [each["status"] for each in said] == ["refused", "enrolled", "refused"]
    assert client.get("/v1/people/ann").status_code == 404


def test_a_batch_takes_as_many_photos_of_a_person_as_there_is_room_for(make_client, gallery):
    client = make_client(gallery, photos=3)
    client.post("/v1/people/ann/photos", files=files(photos=random_image(1)))
    photos = [random_image(1), random_image(1, 9, fake=True), *(random_image(1, n) for n in (1, 2, 1, 3))]

    def send(photos, **words):
        answer = client.post(
            "/v1/people/batch", files=files(photos=photos), data={"person": ["ann"] * len(photos), **words}
        )
        return answer.json()["photos"]

    assert {each["status"] for each in send(photos[2:], strict="true")} == {"refused"}
    said = send(photos)
    assert [each["status"] for each in said] == ["already enrolled", "refused", *["enrolled"] * 3, "refused"]
    assert said[1]["reason"].startswith("looks forged")
    assert said[-1]["reason"] == "ann would have more than 3 photos"
    assert len(client.get("/v1/people/ann").json()["photos"]) == 3


def test_a_batch_that_makes_no_sense_is_refused_whole(client):
    for whose, why in ((["ann"], "1 persons and 2 photos"), (["ann", "a b"], "person 'a b'")):
        answer = client.post(
            "/v1/people/batch", files=files(photos=[random_image(1), random_image(1, 1)]), data={"person": whose}
        )
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:bonaface:request")
        assert why in answer.json()["detail"]
    assert client.get("/v1/people").json()["people"] == []


def test_many_photos_in_batches_stay_below_the_rate(make_client, gallery):
    """Ten thousand at 32 a request are 313 requests, and 600 a minute are allowed."""
    client = make_client(gallery, requests_a_minute=1)
    for start in range(0, 96, 32):
        photos = [random_image(n) for n in range(start, start + 32)]
        words = {"person": [f"p{n}" for n in range(start, start + 32)]}
        assert client.post("/v1/people/batch", files=files(photos=photos), data=words).status_code == 200
    assert gallery.count() == 96
