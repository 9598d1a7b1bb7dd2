"""``bonaface forge`` after ``bonaface clean``: what the list of faults leaves out is not forged."""

import json

import pandas as pd

from bonaface.cli import main


def test_photos_that_the_list_leaves_out_are_not_forged(plain_tree, tmp_path, capsys):
    tree = plain_tree()
    photos = sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*.jpg"))
    listed = tmp_path / "faults.csv"
    pd.DataFrame({"path": photos[:1], "suggestion": "drop"}).to_csv(listed, index=False)
    words = ["forge", str(tree), "--methods", "reenact", "--per-person", "1", "--workers", "1"]
    assert main([*words, str(tmp_path / "all")]) == 0
    assert main([*words, str(tmp_path / "cleaned"), "--faults", str(listed)]) == 0
    assert f"faults.csv: 1 of {len(photos)} photos left out" in capsys.readouterr().err
    fakes = {name: json.loads((tmp_path / name / "meta.json").read_text()) for name in ("all", "cleaned")}
    assert len(fakes["all"]) - len(fakes["cleaned"]) == 1


def test_a_list_of_another_folder_is_refused(plain_tree, tmp_path, capsys):
    listed = tmp_path / "faults.csv"
    pd.DataFrame({"path": ["nobody/1.jpg"], "suggestion": "drop"}).to_csv(listed, index=False)
    assert main(["forge", str(plain_tree()), str(tmp_path / "out"), "--faults", str(listed)]) == 2
    assert '"nobody/1.jpg" is not in' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
