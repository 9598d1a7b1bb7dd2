"""Commands of README.md and docs/ run, on small data of people who do not exist, or their block says what it needs."""

from __future__ import annotations

import csv
import re
import shlex
import shutil
import tomllib
from itertools import groupby

import pytest
from pages import ALL, ROOT, Block
from tiny_networks import _network

from bonaface.assets import SHIPPED_MODEL, shipped_detector, unpack_demo
from bonaface.cli import main

SHELL = {"sh", "console", "bash"}
MEASURED = re.compile(r"docs/(lab/|performance\.md|results\.md)")
"""Pages of measurements: each of their commands takes the data that the page names, or hours."""
ELSEWHERE = {
    "docs/guides/deploy.md": "tests/service/test_docs.py",  # curl
    "docs/guides/gallery.md": "tests/service/test_docs.py",
    "docs/guides/first-evening.md": ".ci/run",  # make demo
    "docs/reference/cli.md": "tests/test_docs.py",  # completion
}
"""Pages whose other commands run there."""
NEEDS = re.compile(r"<!-- needs: (network|gpu|docker|data|a terminal)\b[^\n]* -->\n")
FEWER = {"--test-pairs": "24", "--per-person": "1"}
"""In place of a page's own numbers, to be quick."""
PAIRS = 16


def lines(block: Block) -> list[str]:
    code = block.code.replace("\\\n", " ").splitlines()
    if block.language == "console":
        return [line.removeprefix("$ ") for line in code if line.startswith("$ ")]
    return [line for line in code if line.strip()]


SHOWN = [block for block in ALL if block.language in SHELL and not MEASURED.match(block.where)]
RUN = [block for block in SHOWN if not block.needs and any(line.startswith("bonaface ") for line in lines(block))]
RUN = [block for block in RUN if block.where.partition(":")[0] not in ELSEWHERE]
PAGES = {page: list(blocks) for page, blocks in groupby(RUN, key=lambda block: block.where.partition(":")[0])}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


def fewer_pairs(folder):
    """Keeps the first pairs of a test set; all four kinds are among them."""
    rows = (folder / "labels.csv").read_text(encoding="utf-8").splitlines()[: PAIRS + 1]
    (folder / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for pair in (folder / "images").iterdir():
        if int(pair.name) >= PAIRS:
            shutil.rmtree(pair)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """The files that the pages speak of."""
    folder = tmp_path_factory.mktemp("commands")
    demo = unpack_demo(folder / "unpacked")
    fewer_pairs(demo / "test")
    shutil.move(demo / "test", folder / "PAIRS")
    for name, photo in {"ann": "000000/0", "ann-too": "000000/1"}.items():
        shutil.copy(folder / "PAIRS" / "images" / f"{photo}.jpg", folder / f"{name}.jpg")
    people = sorted((demo / "train" / "images").iterdir())
    for person in people[:17]:
        (folder / "PHOTOS" / person.name).mkdir(parents=True)
        for number in range(3):  # the later ones of a person may be deepfakes
            shutil.copy(person / f"{number}.jpg", folder / "PHOTOS" / person.name)
    for person in people[:6]:
        for name in ("FACES", "FACES_DIR"):
            shutil.copytree(person, folder / name / person.name)
    (folder / "yunet.onnx").write_bytes(shipped_detector())
    shutil.copy(SHIPPED_MODEL, folder / "mine.onnx")
    _network(folder / "recogniser.onnx")
    with (folder / "PAIRS" / "labels.csv").open(encoding="utf-8") as file:
        pair_ids = [row["pair_id"] for row in csv.DictReader(file)]
    for number, name in enumerate(("ours", "theirs")):
        rows = [f"{pair_id},{(place * 7 + number) % 11 / 11}" for place, pair_id in enumerate(pair_ids)]
        (folder / f"{name}.csv").write_text("\n".join(["pair_id,similarity", *rows]) + "\n", encoding="utf-8")
    shutil.rmtree(folder / "unpacked")
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_commands_run(page, desk, monkeypatch, capfd):
    """A page's blocks one after another, as its readers run them: the later ones need what the first made."""
    monkeypatch.chdir(desk)
    for line in [line for block in PAGES[page] for line in lines(block)]:
        words = shlex.split(line, comments=True)
        if words[:1] != ["bonaface"]:
            assert words[:2] == ["pip", "install"], f"{line}: runs nowhere; say what it needs"
            continue
        for option, number in FEWER.items():
            if option in words:
                words[words.index(option) + 1] = number
        code = main(words[1:])
        assert code in (None, 0), f"{line}: {capfd.readouterr().err}"
        if words[1:3] == ["get", "demo"]:
            fewer_pairs(desk / words[3] / "test")


def test_what_does_not_run_says_what_it_needs():
    ran = {block.where for block in RUN}
    assert len(ran) > 8
    for block in SHOWN:
        page = block.where.partition(":")[0]
        others = [line for line in lines(block) if not line.startswith("pip install")]
        if block.needs:
            assert NEEDS.fullmatch(block.needs), f"{block.where}: {block.needs}"
        elif block.where not in ran and others:
            assert page in ELSEWHERE, f"{block.where}: runs nowhere; say what it needs"


@pytest.mark.parametrize("line", sorted({line for block in ALL for line in lines(block) if "pip install" in line}))
def test_extras_to_install_exist(line):
    named = re.search(r"bonaface\[([\w,]+)\]", line)
    assert named is None or set(named[1].split(",")) <= EXTRAS.keys()
    assert named is not None or line.split()[-1] == "bonaface"
