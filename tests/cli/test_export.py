"""``bonaface export`` as a user runs it, on a run and on what is none."""

import onnx
import pytest

from bonaface.cli.export import main
from bonaface.errors import BonafaceError, ConfigError, ModelError
from bonaface.inference.embedder import load_embedder

pytest_plugins = ("tiny_models",)


def test_a_run_becomes_a_file(run_folder, tiny_people, tmp_path, capfd):
    out = tmp_path / "made" / "shared.onnx"
    words = ["--model", str(run_folder), "--format", "onnx", "--out", str(out), "--calibrate", str(tiny_people)]
    assert main(words) == 0
    assert "cosine to the original" in capfd.readouterr().err
    embedder = load_embedder(str(out))
    assert embedder.calibration is not None
    card = {each.key: each.value for each in onnx.load(out).metadata_props}["model_card"]
    assert card.startswith("# shared\n")
    assert "| against other people |" in card
    assert "test_resnet" in card


def test_a_card_that_somebody_wrote(trained_copy, tiny_people, tmp_path):
    (trained_copy / "card.md").write_text("# Mine\n\nFor research.\n")
    out = tmp_path / "a.onnx"
    main(["--model", str(trained_copy), "--format", "onnx", "--out", str(out), "--calibrate", str(tiny_people)])
    card = {each.key: each.value for each in onnx.load(out).metadata_props}["model_card"]
    assert card.startswith("# Mine\n\nFor research.\n\n## Export\n")


@pytest.fixture
def trained_copy(run_folder, tmp_path):
    import shutil

    return shutil.copytree(run_folder, tmp_path / "copy")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"--model": "gone"}, ModelError),
        ({"--out": "a.bin"}, ConfigError),
        ({"--out": "a.xml", "--calibrate": "nowhere"}, ConfigError),  # said before any photo is looked for
        ({"--calibrate": "nowhere"}, BonafaceError),
    ],
)
def test_refusals_write_nothing(run_folder, tiny_people, tmp_path, change, error):
    words = {"--model": run_folder, "--format": "onnx", "--out": "a.onnx", "--calibrate": tiny_people} | change
    words["--out"] = tmp_path / words["--out"]
    with pytest.raises(error):
        main([str(word) for pair in words.items() for word in pair])
    assert not list(tmp_path.glob("a.*"))
