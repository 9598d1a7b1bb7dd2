"""People who are in two sources: nobody is validated on in one and trained on in the other."""

import io
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from bonaface.data.table import FaceTable
from bonaface.errors import ConfigError, DataError
from bonaface.training.shared_people import keep_apart
from bonaface.training.train import train


def source(root: str, rows: list[tuple[str, str]]) -> FaceTable:
    """A table of rows (person, split), each a photo."""
    frame = pd.DataFrame(
        [(f"{person}/{n}.jpg", person, False, split) for n, (person, split) in enumerate(rows)],
        columns=["path", "person", "is_fake", "split"],
    )
    return FaceTable(Path(root), frame)


def kept(tables: list[FaceTable], digests: list[list[bytes]]) -> tuple[list[list[str]], pd.DataFrame, str]:
    said = io.StringIO()
    left, listed = keep_apart(tables, digests, Console(file=said, width=500, log_time=False, log_path=False))
    return [table.frame["path"].tolist() for table in left], listed, said.getvalue()


def test_who_shares_a_file_with_a_validated_person_is_not_trained_on() -> None:
    first = source("/a", [("ann", "val"), ("ann", "val"), ("bob", "train"), ("cat", "train")])
    second = source("/b", [("1", "train"), ("1", "train"), ("2", "val"), ("3", "train")])
    paths, listed, said = kept([first, second], [[b"a", b"b", b"c", b"d"], [b"x", b"b", b"y", b"z"]])
    assert paths == [["ann/0.jpg", "ann/1.jpg", "bob/2.jpg", "cat/3.jpg"], ["2/2.jpg", "3/3.jpg"]]
    assert listed["path"].tolist() == ["/b/1/0.jpg", "/b/1/1.jpg"]
    assert listed["evidence"].tolist() == ["its person shares a file with /a/ann/1.jpg, which is validated on"] * 2
    assert "1 person of /b left out of training" in said


def test_a_file_that_both_train_on_or_validate_on_takes_nobody_out() -> None:
    both = [source(root, [("ann", "val"), ("bob", "train")]) for root in ("/a", "/b")]
    paths, listed, said = kept(both, [[b"a", b"b"], [b"a", b"b"]])
    assert paths == [["ann/0.jpg", "bob/1.jpg"]] * 2
    assert listed.empty
    assert said == ""


def test_names_in_common_are_said_where_they_concern_validation() -> None:
    first = source("/a", [("ann", "val"), ("bob", "train")])
    second = source("/b", [("ann", "train"), ("bob", "train"), ("cat", "val")])
    *_, said = kept([first, second], [[b"a", b"b"], [b"c", b"d", b"e"]])
    assert said.rstrip() + "\n" == (
        "of the people whom /a validates on 1 has the name of somebody whom /b trains on (ann): where they are the same, "
        "validation flatters\n"
    )


def test_a_source_without_anybody_left_is_refused() -> None:
    tables = [source("/a", [("ann", "val"), ("bob", "train")]), source("/b", [("x", "train"), ("y", "val")])]
    with pytest.raises(DataError, match="/b: everybody there shares a file with people of another source"):
        keep_apart(tables, [[b"a", b"b"], [b"a", b"c"]], Console(quiet=True))


def test_training_on_a_copy_of_a_source(people, config, tmp_path) -> None:
    """All people are there twice: those that one source validates on are trained on in neither."""
    copy = shutil.copytree(people, tmp_path / "copy")
    for photo in copy.glob(
        "images/*/0.png"
    ):  # other photos: people are split otherwise only where their numbers differ
        photo.unlink()
    meta = {key: fake for key, fake in json.loads((copy / "meta.json").read_text()).items() if "/0.png" not in key}
    for person in ("00000000", "00000001"):
        shutil.rmtree(copy / "images" / person)
    meta = {key: fake for key, fake in meta.items() if key[:8] not in ("00000000", "00000001")}
    (copy / "meta.json").write_text(json.dumps(meta))
    run = train(config(**{"faces.train": json.dumps([str(people), str(copy)]), "steps": 0}), Console(quiet=True))
    note = json.loads((run / "people.json").read_text())["sources"]
    validated = {person for each in note for person in each["val"]}
    assert validated.isdisjoint(person for each in note for person in each["train"])
    assert len({*note[0]["val"]} ^ {*note[1]["val"]}) > 0
    left_out = pd.read_csv(run / "issues.csv")
    assert set(left_out["issue"]) == {"leak"}


def test_one_source_named_twice_is_refused(people, config) -> None:
    with pytest.raises(ConfigError, match=r"faces\.train: names .* more than once; expected each source once"):
        train(config(**{"faces.train": json.dumps([str(people), f"{people}/."])}), Console(quiet=True))


def test_a_copy_of_trained_people_is_known_beside_another_source(people, config, tmp_path) -> None:
    """People who are left out because of the other source don't make it other photos."""
    run = train(config("first"), Console(quiet=True))
    copy, other = (shutil.copytree(people, tmp_path / name) for name in ("copy", "other"))
    meta = json.loads((other / "meta.json").read_text())
    for person in sorted({key[:8] for key in meta})[9:]:
        shutil.rmtree(other / "images" / person)
    (other / "meta.json").write_text(json.dumps({key: fake for key, fake in meta.items() if key[:8] < "00000009"}))
    both = json.dumps([str(copy), str(other)])
    with pytest.raises(
        ConfigError, match=r"init_from: .*first was trained on \d of the 4 people of .*copy that this run"
    ):
        train(config("second", **{"faces.train": both, "seed": 5, "init_from": str(run)}), Console(quiet=True))
