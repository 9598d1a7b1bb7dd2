"""No command writes over what it reads, over another kind of file, or into a folder of something else."""

import hashlib
import re
from pathlib import Path

import pytest
from PIL import Image

NOTE = b"bought: milk, and 12 eggs\n"
STREAMS = [
    "embed people --out -",
    "evaluate --scores scores.csv --labels scores.csv --out -",
    "forge people -",
    "get demo -",
    "enrol people --gallery -",
    "serve --gallery none --audit -",
    "serve --gallery none --auth - --new-key me",
]
OUTPUTS = [
    ("evaluate --scores ev/scores.csv --labels labels.csv --out ev", "holds scores.csv"),
    ("evaluate --scores done/scores.csv --labels labels.csv --out done", "is read by this command"),
    ("evaluate --scores scores.csv --labels done/table.md --out done", "is read by this command"),
    ("evaluate --scores scores.csv --labels labels.csv --out people", "holds ann"),
    ("embed people --out note", "holds something else|is a file"),
    ("embed people --out note.npz", "another kind of file"),
    ("submit --pairs people --out note", "another kind of file"),
    ("check people --out note", "another kind of file"),
    ("verify --pairs verdicts.csv --out verdicts.csv", "is read by this command"),
    ("enrol report.csv --gallery g.sqlite --report report.csv", "is read by this command"),
    ("clean people --files-only --out i.csv --review note", "another kind of file"),
    ("clean table.csv --files-only --out i.csv --review table.csv", "is read by this command"),
    ("export --format onnx --out note.onnx", "is there already"),
    ("get demo taken", "labels.csv: is there with another content"),
    ("enrol people --gallery g.sqlite --keep-photos people", "holds ann, and the gallery is new"),
]


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for person in ("ann", "bob"):
        (tmp_path / "people" / person).mkdir(parents=True)
        Image.new("RGB", (64, 64)).save(tmp_path / "people" / person / "1.png")
    for folder in ("ev", "done"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "scores.csv").write_text("pair_id,similarity\na,1\nb,0\n")
    for name in ("metrics.json", "table.md", "report.html"):
        (tmp_path / "done" / name).write_text("{}")
    (tmp_path / "scores.csv").write_text("pair_id,similarity\na,1\nb,0\n")
    (tmp_path / "labels.csv").write_text("pair_id,label\na,1\nb,0\n")
    (tmp_path / "table.csv").write_text("label,path\nann,people/ann/1.png\n")
    head = (
        "pair_id,first,second,decision,score,similarity,probability,threshold,fmr,genuine_first,genuine_second,reason"
    )
    (tmp_path / "verdicts.csv").write_text(f"{head}\na,people/ann/1.png,people/bob/1.png{9 * ','}\n")
    (tmp_path / "report.csv").write_text("person,path,status,reason\nann,people/ann/1.png,,\n")
    (tmp_path / "taken" / "test").mkdir(parents=True)
    (tmp_path / "taken" / "test" / "labels.csv").write_bytes(NOTE)
    for name in ("note", "note.npz", "note.onnx"):
        (tmp_path / name).write_bytes(NOTE)
    return tmp_path


def content(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and ".bonaface-cache" not in path.parts)
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(("words", "said"), OUTPUTS)
def test_nothing_foreign_is_replaced(say, place, words, said):
    before = content(place)
    answer = say(*words.split())
    assert answer.code == 2, answer
    assert re.search(said, answer.err), answer
    assert content(place) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("serve --auth dev/null --new-key me", "is no regular file"),
        ("enrol people --gallery dev/null", "is a pipe or a device"),
    ],
)
def test_no_device_is_replaced(say, place, device, words, said):
    null = device("null")
    answer = say(*words.split())
    assert answer.code == 2, answer
    assert re.search(said, answer.err), answer
    assert null.is_char_device()


@pytest.mark.parametrize("words", STREAMS)
def test_standard_output_takes_no_folder_and_no_database(say, place, words):
    answer = say(*words.split())
    assert answer.code == 2, answer
    assert "-: is standard output" in answer.err
    assert not (place / "-").exists()


def test_a_refused_audit_leaves_no_new_gallery(say, place):
    answer = say("serve", "--gallery", "g.sqlite", "--audit", "note", "--port", "0")
    assert answer.code == 2, answer
    assert not (place / "g.sqlite").exists()


@pytest.mark.parametrize(
    "words",
    [
        "enrol gone --gallery g.sqlite",
        "enrol people --gallery g.sqlite --report note",
        "search people --gallery gone.sqlite",
        "search people --gallery note --k 0",
    ],
)
def test_what_costs_nothing_is_checked_before_the_model_is_loaded(say, place, words, monkeypatch):
    def load(*_: object) -> None:
        raise AssertionError("loads the model")

    monkeypatch.setattr("bonaface.inference.verifier.load", load)
    assert say(*words.split()).code == 2


@pytest.mark.parametrize("words", [("--out", ""), ("--out=",)])
def test_an_empty_path_is_refused(say, place, words):
    before = content(place)
    answer = say("evaluate", "--scores", "scores.csv", "--labels", "labels.csv", *words)
    assert (answer.code, answer.err) == (
        2,
        f"bonaface evaluate: {words[0]}: is followed by an empty argument; expected a value, or nothing at all\n",
    )
    assert content(place) == before


def test_the_demo_is_unpacked_over_itself(say, place):
    assert [say("get", "demo", "demo").code for _ in range(2)] == [0, 0]


@pytest.mark.parametrize("kept", [("metrics.json",), ("metrics.json", "scores.csv"), ()])
def test_a_folder_in_which_an_evaluation_was_cut_off_is_used_again(say, place, kept):
    words = ("evaluate", "--scores", "scores.csv", "--labels", "labels.csv", "--replicates", "5", "--out", "new")
    assert say(*words).code == 0
    for file in (place / "new").iterdir():
        if file.name not in kept:
            file.unlink()
    (place / "new" / ".table.0123abcd.md").write_text("cut")
    assert say(*words).code == 0
    assert (place / "new" / "report.html").is_file()
