"""Changes are made once, checked where they are made, and accounted for before they are made."""

import json
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pattern_service import files, random_image

from bonaface.errors import (
    GalleryDamagedError,
    GalleryFullError,
    GalleryOutdatedError,
    GalleryReplacedError,
    GalleryUnavailableError,
)
from bonaface.gallery import enrolment
from bonaface.gallery.people import NewPhoto
from bonaface.service.audit import AuditLog

pytest_plugins = ("pattern_service",)


@pytest.fixture
def audit(tmp_path):
    """``audit()``: the lines of the log so far."""
    return lambda: [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]


@pytest.fixture
def client(make_client, gallery, tmp_path):
    return make_client(gallery, audit=tmp_path / "audit.jsonl")


def enrol(client, person, *images):
    return client.post(f"/v1/people/{person}/photos", files=files(photos=list(images)))


def test_of_four_people_enrolled_at_once_under_one_id_one_is(client, gallery):
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: enrol(client, "ann", random_image(n)), range(4)))
    assert sorted(each.status_code for each in answers) == [201, 422, 422, 422]
    assert len(gallery.photos_of("ann")) == 1


def test_photos_enrolled_at_once_keep_to_the_limit(make_client, gallery):
    client = make_client(gallery, photos=3)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda n: enrol(client, "ann", random_image(1, n)), range(6)))
    assert sorted(each.status_code for each in answers) == [201, 201, 201, 409, 409, 409]
    assert len(gallery.photos_of("ann")) == 3


def enrol_batch(client, person, *images):
    return client.post("/v1/people/batch", files=files(photos=list(images)), data={"person": [person] * len(images)})


def test_batches_enrolled_at_once_keep_to_the_limit(make_client, gallery):
    client = make_client(gallery, photos=3)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda n: enrol_batch(client, "ann", random_image(1, n)), range(6)))
    assert [each.status_code for each in answers] == [200] * 6
    assert sorted(each.json()["photos"][0]["status"] for each in answers) == ["enrolled"] * 3 + ["refused"] * 3
    assert len(gallery.photos_of("ann")) == 3


def test_of_a_batch_each_photo_has_its_line_though_others_enrol_meanwhile(client, gallery, monkeypatch):
    admitted = gallery.enrol

    def others_first(person, photos, admit):
        monkeypatch.undo()
        enrol(client, person, random_image(2))  # between the judgement of the batch and its writing
        return admitted(person, photos, admit)

    monkeypatch.setattr(gallery, "enrol", others_first)
    answer = enrol_batch(client, "ann", b"no image", random_image(1))
    said = answer.json()["photos"]
    assert [line["status"] for line in said] == ["refused", "refused"]
    assert len(gallery.photos_of("ann")) == 1


@pytest.mark.parametrize("change", ["enrol", "delete"])
def test_without_a_line_nothing_is_changed(client, gallery, monkeypatch, change):
    enrol(client, "ann", random_image(1))
    monkeypatch.setattr("os.fsync", _no_room)
    answer = enrol(client, "bob", random_image(2)) if change == "enrol" else client.delete("/v1/people/ann")
    ready = client.get("/v1/ready")
    monkeypatch.undo()
    assert (answer.status_code, answer.json()["type"]) == (507, "urn:bonaface:audit")
    assert answer.json()["detail"].endswith("(no space left on device); nothing was changed")
    assert ready.status_code == 507
    assert client.get("/v1/ready").status_code == 200
    assert [person.id for person in gallery.people()] == ["ann"]


def _no_room(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (GalleryUnavailableError, 503),
        (GalleryOutdatedError, 503),
        (GalleryReplacedError, 503),
        (GalleryFullError, 507),
        (GalleryDamagedError, 500),
    ],
)
def test_a_change_that_fails_has_a_line_that_says_so_and_no_path_is_told(
    client, gallery, audit, monkeypatch, error, status
):
    def fail(*_):
        raise error("/srv/secret/g.db: is away")

    with monkeypatch.context() as patch:
        patch.setattr(gallery.database, "write", fail)
        answer = enrol(client, "ann", random_image(1))
    assert answer.status_code == status
    assert "secret" not in answer.text
    assert [line["event"] for line in audit()] == ["enrol", "enrol failed"]


def test_of_a_gallery_whose_file_was_replaced_nothing_is_said_to_be_done(client, tmp_path):
    assert enrol(client, "ann", random_image(1)).status_code == 201
    shutil.copy(tmp_path / "g.sqlite", tmp_path / "backup.sqlite")
    (tmp_path / "backup.sqlite").replace(tmp_path / "g.sqlite")
    for answer in (
        enrol(client, "bob", random_image(2)),
        client.delete("/v1/people/ann"),
        client.get("/v1/people/ann"),
        client.get("/v1/ready"),
    ):
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:bonaface:replaced")


def test_an_enrolled_photo_that_is_sent_again_is_not_judged_again(client, monkeypatch):
    """Beside the person's other photos, or by another model, it may be judged otherwise by now."""
    assert enrol(client, "ann", random_image(1)).status_code == 201
    monkeypatch.setattr(enrolment, "refusals", lambda new, *_: dict.fromkeys(range(len(new)), "is unlike"))
    again = enrol(client, "ann", random_image(1))
    assert (again.status_code, again.json()["total"]) == (201, 1)
    both = client.post("/v1/people/ann/photos", files=files(photos=[random_image(1), random_image(1, 1)]))
    assert (both.status_code, both.json()["photos"]) == (422, [{"photo": 2, "reason": "is unlike"}])


def batch_of_three(client):
    sent = files(photos=[random_image(1), random_image(2), random_image(3), random_image(2, 1)])
    return client.post("/v1/people/batch", files=sent, data={"person": ["ann", "bob", "cid", "bob"]})


@pytest.mark.parametrize("broken", ["database", "audit"])
def test_a_batch_that_fails_after_a_person_says_who_is_enrolled(client, gallery, audit, monkeypatch, broken):
    admitted = gallery.enrol

    def fails_at_bob(person, photos, admit):
        if person == "bob" and broken == "audit":
            monkeypatch.setattr("os.fsync", _no_room)
        elif person == "bob":
            monkeypatch.setattr(gallery.database, "write", _full)
        return admitted(person, photos, admit)

    with monkeypatch.context() as patch:
        patch.setattr(gallery, "enrol", fails_at_bob)
        answer = batch_of_three(client)
    monkeypatch.undo()
    said = answer.json()["photos"]
    why = "the disk is full" if broken == "database" else "the audit log can't be written"
    assert answer.status_code == 207
    assert [each["status"] for each in said] == ["enrolled", "failed", "failed", "failed"]
    assert [each["photo"] is None for each in said] == [False, True, True, True]
    assert said[1]["reason"] == said[3]["reason"] == f"{why}; send it again later"
    assert said[2]["reason"].startswith("was not reached, as the enrolment of bob failed")
    assert [person.id for person in gallery.people()] == ["ann"]
    assert [line["event"] for line in audit()] == (
        ["enrol", "enrol", "enrol failed"] if broken == "database" else ["enrol"]
    )
    again = batch_of_three(client)
    assert again.status_code == 200
    assert [each["status"] for each in again.json()["photos"]] == ["already enrolled", *3 * ["enrolled"]]


def test_a_batch_that_fails_before_anyone_is_enrolled_is_an_error(client, gallery, monkeypatch):
    enrol(client, "ann", random_image(1))
    with monkeypatch.context() as patch:
        patch.setattr(gallery.database, "write", _full)
        answer = batch_of_three(client)
    assert (answer.status_code, answer.json()["type"]) == (507, "urn:bonaface:disk")
    assert [person.id for person in gallery.people()] == ["ann"]


def test_where_an_image_can_not_be_kept_nobody_is_enrolled(client, gallery, monkeypatch):
    """Of photos that were enrolled before without it: what can't be kept is noticed before anything is enrolled beside them."""
    enrol(client, "ann", random_image(1))
    monkeypatch.setattr(gallery, "keep", _full)
    assert batch_of_three(client).status_code == 507
    assert gallery.count() == 1


def _full(*_):
    raise GalleryFullError("the disk is full")


def test_an_answer_that_comes_too_late_does_not_cost_the_line(make_client, gallery, audit, tmp_path, monkeypatch):
    client = make_client(gallery, audit=tmp_path / "audit.jsonl", seconds=2)
    gallery.enrol("ann", [NewPhoto(random_image(1), np.ones(48, np.float32) / 48**0.5, 1.0)])
    delete, answered = gallery.database.delete, threading.Event()
    monkeypatch.setattr(gallery.database, "delete", lambda ids: (answered.wait(20), delete(ids))[1])
    answer = client.delete("/v1/people/ann")
    answered.set()
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:bonaface:late")
    assert "may still be done" in answer.json()["detail"]
    _until(lambda: not gallery.people())
    assert [line["event"] for line in audit()] == ["delete"]


def test_an_eraser_that_fails_makes_the_service_unready(client, gallery, monkeypatch):
    enrol(client, "ann", random_image(1))
    monkeypatch.setattr(gallery.database, "compact", lambda: 1 / 0)
    monkeypatch.setattr("bonaface.service.routes.people._ERASING_SECONDS", 0.5)
    assert client.delete("/v1/people/ann").json() == {"photos": 1, "erased": False}
    _until(lambda: client.get("/v1/ready").status_code == 503)


def _until(happened):
    until = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_what_was_refused_has_no_line(client, audit):
    enrol(client, "ann", random_image(1, 5, fake=True))
    client.delete("/v1/people/ann")
    assert audit() == []


def test_the_default_gallery_imports_no_vector_database():
    code = """
import sys
sys.modules.update(dict.fromkeys(("pymilvus", "milvus_lite", "grpc", "pandas", "torch")))
import bonaface.service.app, bonaface.gallery.sqlite, bonaface.service.routes.histogram
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_log_of_a_service_that_ended_takes_no_more_lines(tmp_path):
    log = AuditLog(tmp_path / "audit.jsonl")
    log.close()
    with pytest.raises(Exception, match="is ending"):
        log.write({"event": "late"})
