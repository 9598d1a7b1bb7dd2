"""Many people at once: good photos in, the others with their reasons, again without effect, and found by photos."""

import contextlib
import csv
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from pattern_service import random_image

from bonaface.errors import (
    BonafaceError,
    ConfigError,
    DataError,
    GalleryError,
    GalleryFullError,
    LooseThresholdWarning,
    ModelError,
)
from bonaface.gallery.collection_name import ModelMark
from bonaface.gallery.enrol import EnrolledPhoto, enrol
from bonaface.gallery.enrolment import embed_read
from bonaface.gallery.gallery import Gallery
from bonaface.gallery.search import search
from bonaface.inference.verifier import Verifier

pytest_plugins = ("pattern_service",)


@pytest.fixture
def verifier(embedder):
    return Verifier(embedder)


@pytest.fixture
def uri(tmp_path):
    return str(tmp_path / "people.sqlite")


@pytest.fixture
def make_staff(tmp_path):
    """``make_staff(ann=[image, ...], bob=[...])``: a folder for each person."""

    def make(**people):
        for person, images in people.items():
            (tmp_path / "staff" / person).mkdir(parents=True, exist_ok=True)
            for n, data in enumerate(images):
                (tmp_path / "staff" / person / f"{n}.png").write_bytes(data)
        return tmp_path / "staff"

    return make


@pytest.fixture
def staff(make_staff):
    """Ann with a deepfake, Bob with a photo of someone else and a file that is no image, Cyd well."""
    return make_staff(
        ann=[random_image(1), random_image(1, 1), random_image(1, 2, fake=True)],
        bob=[random_image(2), random_image(2, 1), random_image(3), b"<html>"],
        cyd=[random_image(4)],
    )


def said(done):
    return {(each.person, each.path): (each.status, each.reason) for each in done}


def count(uri, verifier):
    gallery = Gallery(uri, ModelMark.of(verifier.embedder))
    found = {person.id: person.photos for person in gallery.people()}
    gallery.close()
    return found


def test_good_photos_are_enrolled_and_the_others_named(staff, uri, verifier, tmp_path):
    done = enrol(staff, uri, model=verifier, report=tmp_path / "report.csv")
    what = said(done)
    assert what["ann", "ann/0.png"] == ("enrolled", "")
    assert what["ann", "ann/2.png"] == ("refused", "looks forged: genuine photos of a person's face are expected")
    assert what["bob", "bob/2.png"] == ("refused", "is unlike 2 of the 2 other photos")
    assert what["bob", "bob/3.png"][1].startswith("is a web page")
    assert count(uri, verifier) == {"ann": 2, "bob": 2, "cyd": 1}
    with (tmp_path / "report.csv").open(newline="") as file:
        rows = [EnrolledPhoto(**row) for row in csv.DictReader(file)]
    assert rows == done


def test_strict_leaves_out_the_whole_person(staff, uri, verifier):
    what = said(enrol(staff, uri, model=verifier, strict=True))
    assert what["ann", "ann/0.png"] == (
        "refused",
        "another photo of the person was refused, and --strict takes all or none",
    )
    assert count(uri, verifier) == {"cyd": 1}


def test_run_again_it_embeds_only_what_is_not_enrolled(staff, uri, verifier, patterns, make_staff):
    enrol(staff, uri, model=verifier)
    patterns.batches.clear()
    make_staff(dan=[random_image(5)])
    what = said(enrol(staff, uri, model=verifier))
    assert what["ann", "ann/0.png"] == ("already enrolled", "")
    assert what["dan", "dan/0.png"] == ("enrolled", "")
    assert sum(patterns.batches) == 3, "the forged one, the stranger, and the new one"
    assert count(uri, verifier) == {"ann": 2, "bob": 2, "cyd": 1, "dan": 1}


def test_stopped_half_way_it_goes_on(make_staff, uri, verifier, monkeypatch):
    staff = make_staff(**{f"p{n:02d}": [random_image(n), random_image(n, 1)] for n in range(12)})
    monkeypatch.setattr("bonaface.gallery.enrol._CHUNK", 6)
    write = Gallery.enrol
    calls = []

    def killed(self, person, *photos):
        calls.append(person)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return write(self, person, *photos)

    with monkeypatch.context() as patch:
        patch.setattr(Gallery, "enrol", killed)
        with pytest.raises(KeyboardInterrupt):
            enrol(staff, uri, model=verifier)
    assert len(count(uri, verifier)) == 4
    done = enrol(staff, uri, model=verifier)
    assert [each.status for each in done] == ["already enrolled"] * 8 + ["enrolled"] * 16
    assert len(count(uri, verifier)) == 12


def test_stopped_by_an_error_it_says_what_was_done(make_staff, uri, verifier, monkeypatch, tmp_path):
    staff = make_staff(**{f"p{n}": [random_image(n), random_image(n, 1)] for n in range(5)})
    write = Gallery.enrol

    def full(self, person, *photos):
        if person == "p3":
            raise GalleryFullError("no room")
        return write(self, person, *photos)

    monkeypatch.setattr(Gallery, "enrol", full)
    said_so = "no room; 6 photos were enrolled before that, and the same call goes on from there"
    with pytest.raises(GalleryFullError, match=f"^{said_so}$"):
        enrol(staff, uri, model=verifier, report=tmp_path / "r.csv")
    with (tmp_path / "r.csv").open() as file:
        assert [(row["person"], row["status"]) for row in csv.DictReader(file)] == [
            (f"p{n}", "enrolled") for n in (0, 0, 1, 1, 2, 2)
        ]


def test_the_report_is_not_the_gallery_and_has_a_folder(staff, uri, verifier, tmp_path):
    enrol(staff, uri, model=verifier)
    with pytest.raises(DataError, match=r"another kind of file|is read by"):
        enrol(staff, uri, model=verifier, report=uri)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="not a directory"):
        enrol(staff, str(tmp_path / "new.sqlite"), model=verifier, report=tmp_path / "file" / "r.csv")
    assert not (tmp_path / "new.sqlite").exists()


def test_a_report_that_can_not_be_written_says_what_was_enrolled(staff, uri, verifier, monkeypatch):
    def full(*_):
        raise DataError("the disk is full")

    monkeypatch.setattr("bonaface.gallery.enrol._write", full)
    with pytest.raises(DataError, match="the disk is full; 5 photos were enrolled before that"):
        enrol(staff, uri, model=verifier, report="r.csv")
    assert sum(count(uri, verifier).values()) == 5


def test_one_file_twice_is_one_photo(make_staff, uri, verifier, tmp_path):
    make_staff(ann=[random_image(1), random_image(1)], bob=[random_image(2, fake=True)] * 2)
    table = tmp_path / "staff" / "people.csv"
    table.write_text("person,path\nann,ann/0.png\nann,./ann/0.png\nann,ann/1.png\nbob,bob/0.png\nbob,bob/1.png\n")
    done = [(each.status, each.reason) for each in enrol(table, uri, model=verifier)]
    assert done[0] == ("enrolled", "")
    assert set(done[1:3]) == {("already enrolled", "is the same file as ann/0.png")}
    assert {status for status, _ in done[3:]} == {"refused"}
    assert count(uri, verifier) == {"ann": 1}


def test_a_person_has_at_most_fifty_photos(make_staff, uri, verifier, monkeypatch):
    monkeypatch.setattr("bonaface.gallery.enrol.MOST_PHOTOS", 3)
    done = enrol(make_staff(ann=[random_image(1, n) for n in range(5)]), uri, model=verifier)
    assert [each.status for each in done] == ["enrolled"] * 3 + ["refused"] * 2
    assert done[-1].reason == "ann would have more than 3 photos"
    again = enrol(make_staff(), uri, model=verifier)
    assert [each.status for each in again] == ["already enrolled"] * 3 + ["refused"] * 2


def test_who_is_deleted_meanwhile_vouches_for_nobody(make_staff, uri, verifier, monkeypatch):
    """Photos that were enrolled when the folder was read are looked at again where they are not any more."""
    enrol(make_staff(ann=[random_image(1), random_image(1, 1), random_image(1, 2)]), uri, model=verifier)
    staff = make_staff(ann=[random_image(1), random_image(1, 1), random_image(1, 2), random_image(7)])

    def embedded_late(*photos):
        monkeypatch.undo()
        with contextlib.closing(Gallery(uri, ModelMark.of(verifier.embedder))) as gallery:
            gallery.remove("ann")
        return embed_read(*photos)

    monkeypatch.setattr("bonaface.gallery.enrol.embed_read", embedded_late)
    done = enrol(staff, uri, model=verifier)
    assert [each.status for each in done] == ["enrolled"] * 3 + ["refused"]
    assert count(uri, verifier) == {"ann": 3}


def test_strict_sees_who_is_enrolled_in_the_last_moment(make_staff, uri, verifier, tmp_path, monkeypatch):
    """Another command enrols the same person under another id after this one has looked for anybody alike."""
    enrol(make_staff(zoe=[random_image(9)]), uri, model=verifier)
    staff = make_staff(ann=[random_image(1)])
    (tmp_path / "theirs" / "bob").mkdir(parents=True)
    (tmp_path / "theirs" / "bob" / "0.png").write_bytes(random_image(1, 1))
    write = Gallery.enrol

    def written_late(self, person, *photos):
        monkeypatch.undo()
        enrol(tmp_path / "theirs", uri, model=verifier)
        return write(self, person, *photos)

    (staff / "zoe" / "0.png").unlink()
    (staff / "zoe").rmdir()
    monkeypatch.setattr(Gallery, "enrol", written_late)
    with pytest.raises(DataError, match="looks like bob"):
        enrol(staff, uri, model=verifier, strict=True)
    assert set(count(uri, verifier)) == {"bob", "zoe"}


@pytest.mark.parametrize(
    ("whose", "status", "reason", "there"),
    [(2, "refused", "is unlike 2 of the 3 other photos", 2), (1, "enrolled", "", 4), (None, "already enrolled", "", 2)],
)
def test_what_another_command_enrols_meanwhile_counts(
    make_staff, uri, verifier, tmp_path, monkeypatch, whose, status, reason, there
):
    """While Ann's photos are embedded, another command enrols photos under the same id: a stranger's, hers, the very same."""
    staff = make_staff(ann=[random_image(1), random_image(1, 1)])
    (tmp_path / "theirs" / "ann").mkdir(parents=True)
    for n in range(2):
        theirs = random_image(1, n) if whose is None else random_image(whose, n + 2)
        (tmp_path / "theirs" / "ann" / f"{n}.png").write_bytes(theirs)

    def embedded_late(*photos):
        monkeypatch.undo()
        enrol(tmp_path / "theirs", uri, model=verifier)
        return embed_read(*photos)

    monkeypatch.setattr("bonaface.gallery.enrol.embed_read", embedded_late)
    with contextlib.suppress(DataError):  # said where all were refused; the report says which
        enrol(staff, uri, model=verifier, report=tmp_path / "report.csv")
    rows = list(csv.DictReader((tmp_path / "report.csv").open()))
    assert [(row["status"], row["reason"]) for row in rows] == [(status, reason)] * 2
    assert count(uri, verifier) == {"ann": there}


@pytest.mark.parametrize(
    "text", ["\ufeffperson,path\nann,ann/0.png\nbob,bob/0.png\n", "person;path\nann;ann/0.png\nbob;bob/0.png\n"]
)
def test_a_table_may_have_a_bom_or_semicolons(staff, uri, verifier, text):
    (staff / "people.csv").write_text(text, encoding="utf-8")
    done = enrol(staff / "people.csv", uri, model=verifier)
    assert [(each.person, each.status) for each in done] == [("ann", "enrolled"), ("bob", "enrolled")]


def test_one_file_in_two_folders_belongs_to_neither(make_staff, uri, verifier):
    staff = make_staff(ann=[random_image(1), random_image(1, 1)], bob=[random_image(2), random_image(1, 1)])
    what = said(enrol(staff, uri, model=verifier))
    assert what["ann", "ann/1.png"] == ("refused", "is the same file as bob/1.png; expected each under one person")
    assert what["bob", "bob/1.png"] == ("refused", "is the same file as ann/1.png; expected each under one person")
    assert count(uri, verifier) == {"ann": 1, "bob": 1}


def test_two_folders_of_one_person_are_said_and_refused_if_strict(make_staff, uri, verifier):
    staff = make_staff(
        ann=[random_image(1), random_image(1, 1)], ann_2=[random_image(1, 2), random_image(1, 3)], bob=[random_image(2)]
    )
    why = "looks like ann, who is enrolled too: is this one person?"
    what = said(enrol(staff, uri, model=verifier))
    assert what["ann_2", "ann_2/0.png"] == ("enrolled", why)
    assert what["bob", "bob/0.png"] == ("enrolled", "")
    strict = enrol(staff, uri + "2", model=verifier, strict=True)
    assert said(strict)["ann_2", "ann_2/0.png"] == ("refused", why)
    assert count(uri + "2", verifier) == {"ann": 2, "bob": 1}


def test_a_person_without_photos_is_in_the_report(make_staff, uri, verifier):
    staff = make_staff(ann=[random_image(1)], bob=[])
    (staff / "eve").symlink_to("nowhere")
    (staff / "all").symlink_to(".")
    (staff / "lost+found").mkdir()
    (staff / "ann" / "gone.jpg").symlink_to("nowhere")
    made = said(enrol(staff, uri, model=verifier))
    assert made["all", ""] == made["bob", ""] == made["eve", ""] == ("refused", "the folder holds no images")
    assert ("lost+found", "") not in made
    assert made["ann", "ann/gone.jpg"][0] == "refused"
    assert "can't be read" in made["ann", "ann/gone.jpg"][1]


def test_where_all_photos_are_bad_there_is_a_report_and_no_gallery(make_staff, uri, verifier, tmp_path):
    staff = make_staff(ann=[random_image(1, fake=True)], bob=[b"<svg></svg>"])
    with pytest.raises(DataError, match=r"none of 2 photos was enrolled; the first, ann/0\.png: looks forged"):
        enrol(staff, uri, model=verifier, report=tmp_path / "report.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.csv", "staff"]


def test_a_gallery_that_another_command_fills_meanwhile_stays(make_staff, uri, verifier, tmp_path, monkeypatch):
    staff = make_staff(ann=[random_image(1, fake=True)])
    (tmp_path / "theirs" / "bob").mkdir(parents=True)
    (tmp_path / "theirs" / "bob" / "0.png").write_bytes(random_image(2))
    monkeypatch.setattr(
        "bonaface.gallery.enrol._write",
        lambda *_: (monkeypatch.undo(), enrol(tmp_path / "theirs", uri, model=verifier)),
    )
    with pytest.raises(DataError, match="none of 1 photos"):
        enrol(staff, uri, model=verifier, report=tmp_path / "r.csv", keep_photos=tmp_path / "kept")
    assert count(uri, verifier) == {"bob": 1}
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    ("people", "why"),
    [
        ({}, "no such file or folder"),
        ({"ann": []}, "holds no images"),
        ({"Ann Lee": [random_image(1)]}, r"1 of 1 people can't be called so, the first of them 'Ann Lee'"),
        ({"ann": [random_image(1)], "Ann": [random_image(1, 1)]}, "Ann and ann differ in their case alone"),
    ],
)
def test_a_source_of_nobody_is_refused_before_anything_is_written(make_staff, tmp_path, uri, people, why):
    make_staff(**people)
    with pytest.raises(DataError, match=why):
        enrol(tmp_path / "staff", uri, model="gone")
    assert not (tmp_path / "people.sqlite").exists()


def test_photos_of_nobody_are_refused(staff, uri):
    (staff / "loose.jpg").write_bytes(random_image(1))
    with pytest.raises(DataError, match=r"images of nobody, the first of them loose\.jpg"):
        enrol(staff, uri)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("path\nann/0.png\n", "no column person"),
        ("person,path\n", "has no rows"),
        ("person,path\nann,\n", "line 2: expected a person and a path"),
    ],
)
def test_a_table_that_is_none_is_refused(staff, uri, text, why):
    (staff / "people.csv").write_text(text)
    with pytest.raises(DataError, match=why):
        enrol(staff / "people.csv", uri)


def test_a_gallery_that_can_not_be_used_is_refused_before_any_photo_is_read(staff, uri, tmp_path, verifier, patterns):
    with sqlite3.connect(uri) as other:
        other.execute("CREATE TABLE holidays (day TEXT)")
    other.close()
    Gallery(uri + "2", ModelMark("other", "0" * 32, 48, True)).close()
    for wrong, kind in (
        (uri, GalleryError),
        (str(tmp_path), GalleryError),
        (uri + "2", ModelError),
        ("x://y", ConfigError),
    ):
        with pytest.raises(kind):
            enrol(staff, wrong, model=verifier)
    assert patterns.batches == []


def test_people_are_found_by_photos(staff, uri, verifier, tmp_path):
    enrol(staff, uri, model=verifier)
    asked = tmp_path / "asked"
    asked.mkdir()
    for name, data in (("a", random_image(1, 7)), ("b", random_image(9)), ("c", b"<html>")):
        (asked / f"{name}.png").write_bytes(data)
    hits = search(asked, uri, k=2, out=tmp_path / "hits.csv", model=verifier)
    assert [(hit.path.rpartition("/")[2], hit.rank) for hit in hits] == [
        ("a.png", 1),
        ("a.png", 2),
        ("b.png", 1),
        ("b.png", 2),
        ("c.png", 0),
    ]
    assert (hits[0].person, hits[0].decision) == ("ann", "same person")
    assert {hit.decision for hit in hits[1:4]} <= {"different people", "not genuine"}
    assert "is a web page" in hits[4].reason
    assert hits[4].similarity is None
    with (tmp_path / "hits.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["person"] for row in rows] == [hit.person for hit in hits]
    np.testing.assert_allclose(float(rows[0]["similarity"]), hits[0].similarity, rtol=1e-4)
    assert rows[4]["similarity"] == ""


def test_a_model_of_few_pairs_searches_at_the_lowest_rate_that_they_resolve(staff, uri, embedder):
    loose = replace(embedder.validation, thresholds=embedder.validation.thresholds[:1])
    verifier = Verifier(replace(embedder, validation=loose))
    enrol(staff, uri, model=verifier)
    with pytest.warns(LooseThresholdWarning, match=r"decides at a false match rate of 0\.01"):
        (hit,) = search(staff / "cyd" / "0.png", uri, k=1, model=verifier)
    assert (hit.person, hit.fmr, hit.threshold) == ("cyd", 0.01, -0.5)
    with pytest.raises(ConfigError, match=r"fmr 0\.001"):
        search(staff / "cyd" / "0.png", uri, fmr=1e-3, model=verifier)


def test_the_file_of_an_enrolled_photo_proves_nothing(staff, uri, verifier, tmp_path):
    enrol(staff, uri, model=verifier)
    (tmp_path / "copy.png").write_bytes((staff / "ann" / "0.png").read_bytes())
    ann, other = search(tmp_path / "copy.png", uri, k=2, out=tmp_path / "hits.csv", model=verifier)
    assert (ann.person, ann.decision, ann.reason) == (
        "ann",
        "cannot tell",
        "This is the file of an enrolled photo: nothing is proved.",
    )
    assert other.decision == "different people"
    with (tmp_path / "hits.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["decision"] == "cannot tell"


@pytest.mark.parametrize("name", ["people.sqlite", "people.db"])
def test_no_file_of_an_enrolled_photo_proves_anything_where_another_has_the_same_pixels(
    make_staff, name, verifier, tmp_path
):
    staff = make_staff(ann=[random_image(1), random_image(1, form="BMP")], bob=[random_image(2)])
    enrol(staff, str(tmp_path / name), model=verifier)
    hits = search(staff / "ann", str(tmp_path / name), k=2, model=verifier)
    assert [(hit.person, hit.decision) for hit in hits] == [("ann", "cannot tell"), ("bob", "different people")] * 2


def test_what_can_not_be_searched_is_said(staff, uri, verifier, tmp_path):
    (tmp_path / "empty").mkdir()
    for words, how, why in (
        ([staff, uri], {}, "no such gallery"),
        ([staff, uri], {"k": 0}, "--k 0: expected a whole number from 1 to 50"),
        ([staff, uri], {"k": 2.5}, "--k 2.5: expected a whole number from 1 to 50"),
        ([staff, uri], {"k": "3"}, "--k 3: expected a whole number from 1 to 50"),
        ([staff, str(staff / "ann" / "0.png")], {}, "can't be read as a gallery"),
    ):
        with pytest.raises(BonafaceError, match=why):
            search(*words, model=verifier, **how)
    assert not (tmp_path / "people.sqlite").exists()
    Gallery(uri, ModelMark.of(verifier.embedder)).close()
    with pytest.raises(DataError, match="holds no images"):
        search(tmp_path / "empty", uri, model=verifier)
    with pytest.raises(DataError, match="nobody is enrolled"):
        search(staff, uri, model=verifier)
