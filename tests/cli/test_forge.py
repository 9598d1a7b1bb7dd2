"""``bonaface forge`` after ``bonaface clean``: what the list of issues leaves out is not forged."""

import json

import pandas as pd
import pytest

from bonaface.cli import main


def test_photos_that_the_list_leaves_out_are_not_forged(plain_tree, tmp_path, capsys):
    tree = plain_tree()
    photos = sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*.jpg"))
    listed = tmp_path / "issues.csv"
    pd.DataFrame({"path": photos[:1], "suggestion": "drop"}).to_csv(listed, index=False)
    words = ["forge", str(tree), "--methods", "reenact", "--per-person", "1", "--workers", "1"]
    assert main([*words, str(tmp_path / "all")]) == 0
    assert main([*words, str(tmp_path / "cleaned"), "--issues", str(listed)]) == 0
    assert f"issues.csv: 1 of {len(photos)} photos left out" in capsys.readouterr().err
    fakes = {name: json.loads((tmp_path / name / "meta.json").read_text()) for name in ("all", "cleaned")}
    assert len(fakes["all"]) - len(fakes["cleaned"]) == 1


def test_a_list_of_another_folder_is_refused(plain_tree, tmp_path, capsys):
    listed = tmp_path / "issues.csv"
    pd.DataFrame({"path": ["nobody/1.jpg"], "suggestion": "drop"}).to_csv(listed, index=False)
    assert main(["forge", str(plain_tree()), str(tmp_path / "out"), "--issues", str(listed)]) == 2
    assert '"nobody/1.jpg" is not in' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_option_of_the_first_version_is_refused_with_its_new_name(tmp_path, capsys):
    assert main(["forge", str(tmp_path), str(tmp_path / "out"), "--faults", "a.csv"]) == 2
    assert capsys.readouterr().err == "bonaface forge: --faults is called --issues now\n"


def test_of_photos_that_others_may_not_read_the_deepfakes_are_as_private(plain_tree, tmp_path):
    tree = plain_tree()
    for photo in tree.rglob("*.jpg"):
        photo.chmod(0o600)
    assert main(["forge", str(tree), str(tmp_path / "out"), "--methods", "reenact", "--workers", "1"]) == 0
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "out" / "images").rglob("*.jpg")}
    assert modes == {0o600}


def test_no_workers(plain_tree, tmp_path, capsys):
    assert main(["forge", str(plain_tree()), str(tmp_path / "out"), "--workers", "0"]) == 2
    assert "--workers: expected at least 1, got 0" in capsys.readouterr().err


def test_a_size_of_nothing_is_refused(plain_tree, tmp_path, capsys):
    assert main(["forge", str(plain_tree()), str(tmp_path / "out"), "--size", "0"]) == 2
    assert "size: expected a whole number of at least 1, got 0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("count", [-1, 3, 999_999_999_999])
def test_too_few_test_pairs_and_too_many_are_refused_before_anything_is_forged(plain_tree, tmp_path, capsys, count):
    words = ["forge", str(plain_tree()), str(tmp_path / "forged"), "--per-person", "1"]
    assert main([*words, "--test-pairs", str(count)]) == 2
    assert f"test-pairs: expected 4 to 1,000,000 pairs, got {count}" in capsys.readouterr().err
    assert not (tmp_path / "forged").exists()
