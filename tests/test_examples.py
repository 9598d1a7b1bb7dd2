"""Every script of examples/ runs, on people who do not exist."""

import csv
import runpy
import shutil
from pathlib import Path

import pytest
from pattern_service import random_image
from PIL import Image

from bonaface.assets import unpack_demo
from bonaface.inference.verifier import Verifier
from bonaface.service.app import create_app

pytest_plugins = ("pattern_service", "tiny_models")

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return unpack_demo(tmp_path_factory.mktemp("demo"))


@pytest.fixture
def main_of(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return lambda name: runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]


def test_every_example_is_here():
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == {"verify_frame", "folder_against_folder", "service_client", "oml_table", "judge_recogniser"}


def test_verify_frame(main_of, demo, capsys):
    pairs = demo / "test" / "images"
    main = main_of("verify_frame")
    assert main(str(pairs / "000000" / "0.jpg"), str(pairs / "000000" / "1.jpg")) == 0
    assert main(str(pairs / "000001" / "0.jpg"), str(pairs / "000001" / "1.jpg")) == 1
    assert capsys.readouterr().out.splitlines()[1].startswith("different people")


def test_folder_against_folder(main_of, demo, tmp_path, capsys):
    for side in (0, 1):
        (tmp_path / f"side{side}").mkdir()
        for pair in ("000000", "000001"):
            shutil.copy(demo / "test" / "images" / pair / f"{side}.jpg", tmp_path / f"side{side}" / f"{pair}.jpg")
        Image.new("RGB", (160, 160), "white").save(tmp_path / f"side{side}" / "nobody.PNG")
    main_of("folder_against_folder")("side0", "side1")
    said = capsys.readouterr()
    matches = [line.split("\t")[:2] for line in said.out.splitlines()]
    assert matches == [[str(Path("side0/000000.jpg")), str(Path("side1/000000.jpg"))]]
    assert "9 pairs, of which 5 can't be told" in said.err


def test_service_client(main_of, embedder, gallery, settings, serve, tmp_path, capsys):
    for name, data in {"a": random_image(1), "b": random_image(2)}.items():
        (tmp_path / f"{name}.jpg").write_bytes(data)
    url = serve(create_app(Verifier(embedder), gallery, settings)).url
    main_of("service_client")(url, "a.jpg", "b.jpg")
    assert capsys.readouterr().out.startswith("different people: ")
    (tmp_path / "b.jpg").write_bytes(b"no image")
    with pytest.raises(SystemExit, match="expected"):
        main_of("service_client")(url, "a.jpg", "b.jpg")


def test_oml_table(main_of, demo, tmp_path, capsys):
    with (tmp_path / "df.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["label", "path", "split"])
        for person in ("0000", "0001"):
            for number in (0, 1):
                image = Image.open(demo / "train" / "images" / person / f"{number}.jpg")
                image.save(tmp_path / f"{person}-{number}.jpg")
                writer.writerow([person, f"{person}-{number}.jpg", "train"])
    main_of("oml_table")("df.csv")
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("of 4")
    within, between = (float(part) for part in (second.split()[5].rstrip(","), second.split()[-1]))
    assert within > between


def test_judge_recogniser(main_of, demo, tmp_path, tiny_exported, capsys):
    rows = (demo / "test" / "labels.csv").read_text().splitlines()
    kept = [rows[0], *rows[1:25]]
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "labels.csv").write_text("\n".join(kept) + "\n")
    for row in kept[1:]:
        shutil.copytree(demo / "test" / "images" / row[:6], tmp_path / "pairs" / "images" / row[:6])
    main_of("judge_recogniser")(str(tiny_exported), "pairs")
    kinds = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert kinds == sorted({row.split(",")[2] for row in kept[1:]} - {"same"})
