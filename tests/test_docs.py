"""README.md and docs/: every Python example runs, every command line parses, every link leads somewhere."""

from __future__ import annotations

import contextlib
import re
import runpy
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from pages import COMMAND_LINES, DOCS, PAGES, PYTHON, ROOT, Block, blocks, fence

from bonaface.assets import unpack_demo
from bonaface.cli import COMMANDS, main

SHOWS_PYTHON = {
    "README.md",
    *(f"docs/{page}.md" for page in ("index", "error-rates", "guides/judge", "guides/onnx", "guides/threshold")),
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """The files that the pages speak of, all of people who do not exist: demo/, photos/, ann.jpg, mine.onnx."""
    folder = tmp_path_factory.mktemp("desk")
    unpack_demo(folder / "demo")
    pairs = folder / "demo" / "test" / "images"
    for name, photo in {"ann": "000000/0", "ann-too": "000000/1", "bob": "000001/1"}.items():
        shutil.copy(pairs / f"{photo}.jpg", folder / f"{name}.jpg")
    (folder / "photos").mkdir()
    for number in range(4):
        shutil.copy(pairs / f"{number:06d}" / "1.jpg", folder / "photos" / f"{number}.jpg")
    shutil.copy(ROOT / "bonaface" / "assets" / "bonaface.onnx", folder / "mine.onnx")
    labels = (folder / "demo" / "test" / "labels.csv").read_text(encoding="utf-8")
    (folder / "PAIRS").mkdir()
    (folder / "PAIRS" / "labels.csv").write_text(labels, encoding="utf-8")
    scores = [f"{row.partition(',')[0]},{place % 11 / 11}" for place, row in enumerate(labels.splitlines()[1:])]
    (folder / "ours.csv").write_text("\n".join(["pair_id,similarity", *scores]) + "\n", encoding="utf-8")
    return folder


def run(block: Block) -> dict[str, object]:
    names: dict[str, object] = {"__name__": "__example__"}
    exec(compile(block.code, block.where, "exec"), names)  # noqa: S102 - our own pages
    return names


@pytest.mark.parametrize("block", [pytest.param(block, id=block.where) for block in PYTHON])
def test_python_examples_run(block, desk, monkeypatch):
    monkeypatch.chdir(desk)
    run(block)


def test_examples_are_found_where_the_pages_show_some():
    """A pattern that finds nothing would pass every test above."""
    assert {block.where.partition(":")[0] for block in PYTHON} >= SHOWS_PYTHON
    assert set(COMMANDS) == {shlex.split(line, comments=True)[1] for _, line in COMMAND_LINES}


@pytest.fixture(scope="module")
def references():
    """What the site generates from the code: Markdown of the commands and of the settings."""
    hooks = runpy.run_path(str(DOCS / "_site" / "hooks.py"))
    return hooks["commands"](), hooks["settings"]()


@pytest.mark.parametrize(("where", "line"), [pytest.param(*line, id=line[0]) for line in COMMAND_LINES])
def test_command_lines_name_commands_and_options_that_exist(where, line, references, capsys):
    words = shlex.split(line, comments=True)[1:]
    options = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert words[0] in COMMANDS
    if words[0] == "train":
        known = {f"--{name}" for name in re.findall(r"^\| `([\w.]+)`", references[1], re.MULTILINE)}
        assert options <= known | {"--config", "--resume"}
        return
    below = words[1:2] if words[0] in ("get", "experiments") else []
    with contextlib.suppress(SystemExit):  # argparse leaves so after its help
        main([words[0], *below, "--help"])
    assert options <= set(re.findall(r"--[\w-]+", capsys.readouterr().out))


def test_the_verdicts_shown_are_those_printed(desk, monkeypatch, capfd):
    """Five minutes shows three calls and what they print; decisions and reasons are the model's."""
    monkeypatch.chdir(desk)
    shown = [block.code.splitlines()[0] for block in blocks(DOCS / "index.md") if block.language == "text"]
    photos = {pair: [f"demo/test/images/{pair}/{side}.jpg" for side in (0, 1)] for pair in ("000000", "000002")}
    for words in (["verify", *photos["000000"]], ["verify", *photos["000002"]], ["check", photos["000002"][0]]):
        main(words)
        assert capfd.readouterr().out.splitlines()[0].partition(";")[0] == shown.pop(0).partition(";")[0]


def test_the_page_without_bonaface_gives_the_same_similarity(desk, monkeypatch):
    import cv2
    import numpy as np

    import bonaface

    monkeypatch.chdir(desk)
    (block,) = (block for block in PYTHON if block.where.startswith("docs/guides/onnx.md"))
    assert "bonaface." not in block.code.replace("bonaface.onnx", "")
    page = run(block)
    verifier = bonaface.load("mine.onnx")
    for pair, side in (("000001", 128), ("000002", 160), ("000003", 900)):
        files = []
        for place in (0, 1):
            image = cv2.imread(f"demo/test/images/{pair}/{place}.jpg")
            files.append(f"{pair}-{place}.png")
            cv2.imwrite(files[-1], cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC))
        photos = [page["embed"](file) for file in files]
        assert np.isclose(page["similarity"](*photos), verifier.verify(*files).similarity, rtol=0, atol=1e-3), pair
    files = sorted(map(str, Path("demo/train/images/0000").iterdir()))  # photos and deepfakes
    called = [page["genuine"](page["embed"](file)) < page["fit"]["forged_below"] for file in files]
    assert called == verifier.embed(files).called_fake.tolist()
    assert len(set(called)) == 2


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as MkDocs and GitHub make them."""
    text = fence.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", re.sub(r"\[(.*?)\]\(.*?\)", r"\1", title)).strip().lower() for title in titles)
    return {re.sub(r"\s+", "-", title) for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    text = fence.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target
        assert page.name == "README.md" or DOCS in file.resolve().parents, f"{target}: the site has docs/ alone"


def test_files_of_the_repository_that_pages_name_are_there():
    named = {
        (page.name, name)
        for page in PAGES
        for name in re.findall(
            r"\b(?:configs|experiments|benchmarks|docker)/[\w.]+\.\w+", page.read_text(encoding="utf-8")
        )
    }
    assert len(named) > 20
    assert not [each for each in named if not (ROOT / each[1]).exists()]


def test_every_page_is_in_the_navigation():
    import yaml

    settings = re.sub(r"^(icon|  icon|      toggle).*$", "", (ROOT / "mkdocs.yml").read_text(), flags=re.MULTILINE)
    listed = re.findall(r"[\w/-]+\.md", yaml.dump(yaml.safe_load(settings)["nav"]))
    assert sorted(listed) == sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


def test_drawings_are_those_of_the_script(tmp_path):
    drawings = runpy.run_path(str(DOCS / "_site" / "drawings.py"))
    drawings["draw"](tmp_path)
    for file in tmp_path.iterdir():
        assert file.read_text() == (drawings["IMAGES"] / file.name).read_text(), file.name


def test_generated_references_name_every_command_and_setting(references):
    commands, settings = references
    assert all(f"## bonaface {name}\n" in commands for name in COMMANDS)
    assert "`--fmr RATE`" in commands
    assert "| `batch.n_labels` | `int` | `25` |" in settings


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_shell_completion_completes(tmp_path):
    (block,) = (block for block in blocks(DOCS / "reference" / "cli.md") if block.language == "bash")
    asked = 'COMP_WORDS=(bonaface ver); COMP_CWORD=1; _bonaface bonaface ver; echo "${COMPREPLY[@]}"'
    said = subprocess.run(["bash", "-c", f"{block.code}\n{asked}"], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["verify"]
    assert set(re.findall(r"[a-z]+", re.search(r'"(get [^"]*)"', block.code)[1])) == set(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_merge_was_left_half_done(page):
    assert not re.findall(r"^(?:<{7,}|>{7,}) .*$", page.read_text(encoding="utf-8"), re.MULTILINE)


def test_links_that_lead_nowhere_are_found(tmp_path):
    """The build calls it on the whole site, and fails where it finds one."""
    (tmp_path / "guide").mkdir()
    (tmp_path / "index.html").write_text(
        '<h1 id="top">x</h1><a href="guide/"></a><a href="guide/#there"></a><a href="#top"></a><a href="https://x.org/y">'
        '<a href="gone/"></a><a href="guide/#gone"></a><img src="gone.svg"><a href="#gone"></a>',
        encoding="utf-8",
    )
    (tmp_path / "guide" / "index.html").write_text('<h2 id="there">x</h2><a href="../#top"></a>', encoding="utf-8")
    broken = runpy.run_path(str(DOCS / "_site" / "hooks.py"))["broken_links"](tmp_path)
    assert broken == [f"index.html: {link}" for link in ("gone/", "guide/#gone", "gone.svg", "#gone")]
