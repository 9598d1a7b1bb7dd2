"""A run is resumed, and a further one begun, only where nobody is validated on who was trained on."""

import io
import json
import shutil

import pytest
from PIL import Image
from rich.console import Console

from bonaface.errors import ConfigError, DataError
from bonaface.training.people_note import PeopleNote
from bonaface.training.run import RunFolder
from bonaface.training.train import train


@pytest.fixture
def faces(people, tmp_path):
    return shutil.copytree(people, tmp_path / "faces")


def note_of(run):
    note = PeopleNote.read(RunFolder(run).people)
    assert note is not None
    return note


def without_person(faces, person="00000005"):
    shutil.rmtree(faces / "images" / person)
    rewrite(faces, lambda meta: {key: fake for key, fake in meta.items() if not key.startswith(person)})


def rewrite(faces, change):
    meta = json.loads((faces / "meta.json").read_text())
    (faces / "meta.json").write_text(json.dumps(change(meta)))


def without_photo(faces):
    (faces / "images" / "00000005" / "1.png").unlink()
    rewrite(faces, lambda meta: {key: fake for key, fake in meta.items() if key != "00000005/1.png"})


def another_kind(faces):
    rewrite(faces, lambda meta: meta | {"00000005/1.png": 1})


def another_photo(faces):
    with (faces / "images" / "00000005" / "1.png").open("ab") as file:
        file.write(b"more")


def other_content(faces):
    file = faces / "images" / "00000005" / "1.png"
    size = file.stat().st_size
    with Image.open(file) as image:
        Image.new("RGB", image.size, (90, 60, 30)).save(file, "PNG")
    file.write_bytes(file.read_bytes().ljust(size, b"\0"))


def renamed(faces):
    (faces / "images" / "00000005").rename(faces / "images" / "99999999")
    rewrite(faces, lambda meta: {key.replace("00000005/", "99999999/"): fake for key, fake in meta.items()})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_person, r"1 person gone: 00000005, \d people trained on would be validated on: "),
        (without_photo, r"\(photos are others \(98 then, 97 now\)\)"),
        (another_kind, r"\(photos are others \(98 then, 98 now\)\)"),
        (another_photo, r"\(photos are others \(98 then, 98 now\)\)"),
        (other_content, r"\(photos are others \(98 then, 98 now\)\)"),
        (renamed, r"1 person gone: 00000005, 1 person new: 99999999"),
    ],
)
@pytest.mark.parametrize("steps", [6, 0])
def test_a_run_is_not_resumed_on_other_data(trained, faces, change, said, steps):
    settings = {"faces.train": faces, "steps": steps}
    run = trained(**settings)
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    change(faces)
    with pytest.raises(DataError, match=rf"faces: has changed since .*run was begun.*{said}.*restore the data"):
        trained(resume=True, **settings)
    assert before == {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}


def test_a_run_is_not_resumed_with_other_lists(trained, faces, tmp_path):
    issues, originals = tmp_path / "issues.csv", tmp_path / "originals.csv"
    issues.write_text("path,issue,evidence,suggestion,confidence\nimages/00000001/0.png,label,,drop,1\n")
    originals.write_text("deepfake,original\n00000001/4.png,00000001/1.png\n")
    settings = {"faces.train": faces, "faces.issues": issues, "faces.originals": originals}
    trained(**settings)
    trained(resume=True, **settings)
    kept = originals.read_text()
    originals.write_text(kept.replace("1.png", "2.png"))
    with pytest.raises(DataError, match=r"\(the list of originals is another\)"):
        trained(resume=True, **settings)
    originals.write_text(kept)
    issues.write_text(issues.read_text().replace("00000001/0", "00000001/2"))
    with pytest.raises(DataError, match=r"photos are others \(97 then, 97 now\)"):
        trained(resume=True, **settings)


def test_a_run_of_an_earlier_version_says_that_its_people_are_unknown(trained, config):
    run = trained()
    (run / "people.json").unlink()
    said = io.StringIO()
    train(config(), Console(file=said, width=300), resume=True)
    assert "kept no note of its people" in said.getvalue()
    assert not (run / "people.json").exists()  # nobody knows whom it was trained on


def test_a_damaged_note_is_refused(trained):
    run = trained()
    for damaged in ("", "[]", '{"sources": [{}], "before": []}'):
        (run / "people.json").write_text(damaged)
        with pytest.raises(DataError, match=r"people\.json: isn't the note that train left"):
            trained(resume=True)


def test_nobody_is_validated_on_whom_initial_weights_were_trained_on(trained, people, faces):
    first = trained("first")
    kept = trained("kept", init_from=first)
    assert note_of(kept).sources == note_of(kept).before == note_of(first).sources
    for settings in ({"seed": 1}, {"faces.val_fraction": 0.5}, {"seed": 1, "steps": 0}):
        with pytest.raises(
            ConfigError, match=r"first was trained on \d of the \d people of .*people\d* that this run would"
        ):
            trained("other", init_from=first, **settings)
    with pytest.raises(ConfigError, match=r"first was trained on \d of the \d people of .*/faces that this run would"):
        trained("other", init_from=first, seed=1, **{"faces.train": faces})  # the same photos elsewhere
    between = trained("between", init_from=first, **{"faces.train": faces})
    with pytest.raises(ConfigError, match="between was trained on"):  # by its own initial weights
        trained("other", init_from=between, seed=1)
    untrained = trained("untrained", steps=0)
    trained("from untrained", init_from=untrained, seed=1)
