"""``bonaface verify`` as a user runs it."""

import csv
import json
import subprocess
import sys

import pytest

from bonaface.cli.verify import _told, main
from bonaface.errors import ConfigError, DataError
from bonaface.verification.decision import Verdict

pytest_plugins = ("tiny_models",)


@pytest.fixture
def pair(tiny_people):
    return str(tiny_people / "p0" / "0.png"), str(tiny_people / "p0" / "1.png")


def test_a_verdict_in_words(pair, tiny_exported, capfd):
    assert main([*pair, "--model", str(tiny_exported)]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].split(":")[0] in {"same person", "different people", "not genuine", "cannot tell"}
    assert "threshold -0.500 (false match rate 0.001)" in lines[2]
    assert lines[4].startswith(f"genuine: {pair[0]} ")


@pytest.mark.parametrize(
    ("score", "least", "said"),
    [
        (92.04, 81.74, "score 92.0 of 100; accepted from 81.7 (false match rate 0.001)"),
        (99.97, 99.96, "score 99.97 of 100; accepted from 99.96 (false match rate 0.001)"),
        (100.0, 99.99999999, "similarity 3.000, threshold 0.500 (false match rate 0.001)"),
    ],
)
def test_a_score_is_told_apart_from_what_is_accepted_or_left_out(score, least, said):
    verdict = Verdict("same person", 3.0, 0.9, 0.5, 1e-3, "Alike.", 0.9, None, score, least)
    assert _told([], verdict)[1] == said


def test_a_verdict_as_json(pair, tiny_exported, capfd):
    assert main([*pair, "--model", str(tiny_exported), "--fmr", "0.1", "--json"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert (said["threshold"], said["fmr"], said["model"]) == (-2.0, 0.1, "tiny")
    assert [photo["file"] for photo in said["photos"]] == list(pair)
    assert (said["decision"] == "same person") == (said["similarity"] >= said["threshold"])


def test_a_photo_is_itself(pair, tiny_exported, capfd):
    main([pair[0], pair[0], "--model", str(tiny_exported), "--json"])
    said = json.loads(capfd.readouterr().out)
    assert said["same"] == pytest.approx(1 / (1 + 2.718281828**-10), abs=1e-4)
    assert said["photos"][0]["genuine"] == said["photos"][1]["genuine"]


def test_what_cannot_be_judged(pair, tiny_exported, tmp_path):
    (tmp_path / "page.jpg").write_bytes(b"<html>404")
    with pytest.raises(DataError, match=r"page\.jpg: is a web page"):
        main([pair[0], str(tmp_path / "page.jpg"), "--model", str(tiny_exported)])
    with pytest.raises(DataError, match=r"gone\.jpg: can't be read \(no such file or directory\)"):
        main([str(tmp_path / "gone.jpg"), pair[1], "--model", str(tiny_exported)])
    with pytest.raises(ConfigError, match=r"fmr 0\.5: expected a rate from"):
        main([*pair, "--model", str(tiny_exported), "--fmr", "0.5"])


def test_no_framework_is_loaded(pair, tiny_exported):
    """Start-up is what a user waits for: an exported model needs no torch, scikit-learn, scipy or pandas."""
    words = [*pair, "--model", str(tiny_exported)]
    code = (
        f"import sys\nfrom bonaface.cli.verify import main\nmain({words!r})\n"
        "heavy = {'torch', 'sklearn', 'scipy', 'pandas', 'lightning', 'timm', 'onnx'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {sorted(heavy)}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_check_says_by_the_exit_code_whether_it_is_the_same_person(pair, tiny_exported):
    words = ["--model", str(tiny_exported), "--check"]
    code = main([*pair, *words])
    assert code in (0, 3)
    assert (main([pair[0], pair[0], *words]) == 0) or code == 3


def test_many_pairs_become_a_table(pair, tiny_exported, tmp_path, capsys):
    listed = tmp_path / "pairs.csv"
    listed.write_text(f"first;second\n{pair[0]};{pair[1]}\n{pair[0]};gone.png\n", encoding="utf-8-sig")
    out = tmp_path / "verdicts.csv"
    assert main(["--pairs", str(listed), "--out", str(out), "--model", str(tiny_exported)]) == 1
    assert "2 pairs" in capsys.readouterr().err
    rows = list(csv.DictReader(out.open()))
    main([*pair, "--model", str(tiny_exported), "--json"])
    alone = json.loads(capsys.readouterr().out)
    assert rows[0]["decision"] == alone["decision"]
    assert float(rows[0]["similarity"]) == pytest.approx(alone["similarity"], abs=1e-4)
    assert rows[1]["decision"] == "cannot tell"
    assert "gone.png: can't be read" in rows[1]["reason"]
    assert rows[1]["similarity"] == ""


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "it is empty"),
        ("x,y\n1,2\n", "has the columns x, y"),
        ("path_0,path_1\n", "has no rows"),
        ("path_0,path_1\na.png\n", "line 2: expected two paths"),
        ("pair_id,path_0,path_1\n1,a,b\n1,a,b\n", "line 3: pair 1 occurs twice"),
    ],
)
def test_bad_lists_of_pairs_are_refused(tmp_path, content, what):
    listed = tmp_path / "pairs.csv"
    listed.write_text(content)
    with pytest.raises(DataError, match=what):
        main(["--pairs", str(listed)])


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["a.jpg"],
        ["a.jpg", "--pairs", "x"],
        ["--pairs", "x", "--json"],
        ["a.jpg", "b.jpg", "--out", "c.csv"],
    ],
)
def test_two_photos_or_many_pairs(words):
    with pytest.raises(ConfigError):
        main(words)
