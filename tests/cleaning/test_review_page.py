import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bonaface.cleaning.review_page import cases_of, write_review_page
from bonaface.data.issues import apply_issues, read_issues, write_issues
from bonaface.data.table import FaceTable, read_faces

Maker = Callable[..., Path]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: the page is not reviewed by keyboard")


@pytest.fixture
def table(plain_tree: Maker) -> FaceTable:
    return read_faces(plain_tree({"Ann": 4, "Bob": 9, "Cyd": 2, "<script>": 2}))


@pytest.fixture
def csv(table: FaceTable, tmp_path: Path) -> Path:
    copy = "the same image as Bob/Bob_0001.jpg: 2 of 64 bits differ, and the faces are 0.98 alike"
    rows = [
        ("<script>/<script>_0001.jpg", "mislabelled", "</script><b>", "drop", 0.7),
        ("Ann/Ann_0001.jpg", "several_faces", "2 faces of similar size", "look", 0.5),
        ("Ann/Ann_0002.jpg", "mislabelled", "0.1 like", "move to person Bob", 0.99),
        ("Ann/Ann_0003.jpg", "unreadable", "is empty", "drop", 1.0),
        ("Bob/Bob_0002.jpg", "near_duplicate", copy, "drop", 0.95),
        ("Cyd/Cyd_0001.jpg", "merge", "alike", "merge with person Ann", 0.8),
        ("Cyd/Cyd_0002.jpg", "merge", "alike", "merge with person Ann", 0.8),
    ]
    out = tmp_path / "issues.csv"
    write_issues(pd.DataFrame(rows, columns=["path", "issue", "evidence", "suggestion", "confidence"]), out)
    return out


def shown(page_file: Path) -> Any:
    found = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', page_file.read_text("utf-8"), re.DOTALL
    )
    assert found is not None
    return json.loads(found[1])


def test_cases_most_doubtful_first(table: FaceTable, csv: Path) -> None:
    cases = cases_of(table, read_issues(csv, table))
    assert [case.images for case in cases] == [
        ["<script>/<script>_0001.jpg"],
        ["Cyd/Cyd_0001.jpg", "Cyd/Cyd_0002.jpg"],
        ["Bob/Bob_0002.jpg"],
        ["Ann/Ann_0002.jpg"],
        ["Ann/Ann_0001.jpg"],
    ]
    stranger, merge, copy, moved, several = cases
    assert stranger.mates == ["<script>/<script>_0002.jpg"]
    assert (stranger.owners, stranger.owner) == ([], "")
    assert (merge.owners, merge.owner, merge.rows) == (["Ann/Ann_0004.jpg"], "Ann", [5, 6])
    assert copy.owners == ["Bob/Bob_0001.jpg"]
    assert len(copy.mates) == 5
    assert moved.owner == "Bob"
    assert len(moved.owners) == 4
    assert not set(moved.owners) & {"Bob/Bob_0002.jpg"}
    assert several.mates == ["Ann/Ann_0004.jpg"]


def test_the_page_holds_all_rows_and_loads_nothing(table: FaceTable, csv: Path, tmp_path: Path) -> None:
    page_file = tmp_path / "review.html"
    edited = pd.read_csv(csv, dtype=str, keep_default_na=False)
    edited.loc[2, "decision"], edited["note"] = "reject", "häßlich"
    edited.to_csv(csv, index=False)
    write_review_page(table, read_issues(csv, table), csv.name, page_file)
    page, data = page_file.read_text("utf-8"), shown(page_file)
    assert not re.search(r"https?://|src=\"(?!data:)|url\(|@import", page)
    assert "</script><b>" not in page
    assert data["columns"] == edited.columns.tolist()
    assert data["rows"] == edited.to_numpy().tolist()
    assert sorted(row for case in data["cases"] for row in case["rows"]) == [0, 1, 2, 4, 5, 6]
    wanted = {path for case in data["cases"] for key in ("images", "mates", "owners") for path in case[key]}
    assert set(data["thumbs"]) == wanted
    assert all(uri.startswith("data:image/jpeg;base64,") for uri in data["thumbs"].values())


def test_a_list_of_nothing(table: FaceTable, tmp_path: Path) -> None:
    (tmp_path / "issues.csv").write_text("path,suggestion\n")
    listed = read_issues(tmp_path / "issues.csv", table)
    write_review_page(table, listed, "issues.csv", tmp_path / "review.html")
    assert shown(tmp_path / "review.html")["cases"] == []
    assert (tmp_path / "review.html").stat().st_mode & 0o777 == 0o600


@contextmanager
def opened(page_file: Path, scheme: str = "light", width: int = 1100) -> Iterator[Any]:
    """The page in a browser that must have nothing to complain of and load nothing."""
    browsers = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    said: list[str] = []
    asked: list[str] = []
    with browsers.sync_playwright() as playwright:
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(page_file.as_uri())
        yield page
        browser.close()
    assert said == []
    assert {url for url in asked if not url.startswith(("data:", "blob:"))} == {page_file.as_uri()}


def save(page: Any, to: Path) -> Path:
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename == "issues.csv"
    download.value.save_as(to)
    return to


@needs_browser
def test_judged_by_keyboard_and_read_back(table: FaceTable, csv: Path, tmp_path: Path) -> None:
    before = pd.read_csv(csv, dtype=str, keep_default_na=False).assign(note='häßlich, "so"\nund so')
    before.to_csv(csv, index=False)
    write_review_page(table, read_issues(csv, table), csv.name, tmp_path / "review.html")
    with opened(tmp_path / "review.html") as page:
        untouched = read_issues(save(page, tmp_path / "untouched.csv"), table)
        for key in "arkuja":  # accept, reject, back, undo that, next, accept
            page.keyboard.press(key)
        assert page.inner_text("#count") == "2 of 5 decided"
        classes = [" ".join(sorted((each or "").split())) for each in page.evaluate(CLASSES)]
        assert classes == ["accept", "", "accept", "current", ""]
        page.keyboard.press("r")
        page.keyboard.press("Control+a")  # the browser's own, no decision
        page.reload()
        assert page.inner_text("#count") == "3 of 5 decided"
        judged = read_issues(save(page, tmp_path / "judged.csv"), table)
    pd.testing.assert_frame_equal(untouched, before)
    decisions = dict(zip(judged["path"], judged["decision"], strict=True))
    assert {path: decision for path, decision in decisions.items() if decision} == {
        "<script>/<script>_0001.jpg": "accept",
        "Bob/Bob_0002.jpg": "accept",
        "Ann/Ann_0002.jpg": "reject",
    }
    pd.testing.assert_frame_equal(judged.assign(decision=""), before)
    kept = apply_issues(table, judged).frame.set_index("path")["person"]
    assert kept["Ann/Ann_0002.jpg"] == "Ann"
    assert kept["Cyd/Cyd_0001.jpg"] == "Ann"
    assert not {"<script>/<script>_0001.jpg", "Bob/Bob_0002.jpg"} & set(kept.index)


@needs_browser
def test_the_last_decision_is_taken_back(table: FaceTable, csv: Path, tmp_path: Path) -> None:
    write_review_page(table, read_issues(csv, table), csv.name, tmp_path / "review.html")
    with opened(tmp_path / "review.html") as page:
        for key in "rau":
            page.keyboard.press(key)
        assert page.inner_text("#count") == "1 of 5 decided"
        assert page.evaluate(CLASSES)[:3] == ["reject", "current", ""]
        for key in "kauu":  # the first again, otherwise; then back to what it was, and before that
            page.keyboard.press(key)
        assert page.evaluate(CLASSES)[0] == "current"


CLASSES = "[...document.querySelectorAll('article')].map(each => each.className)"


@needs_browser
def test_two_folders_of_one_person_are_decided_at_once_by_mouse(table: FaceTable, csv: Path, tmp_path: Path) -> None:
    write_review_page(table, read_issues(csv, table), csv.name, tmp_path / "review.html")
    with opened(tmp_path / "review.html") as page:
        page.locator("article", has_text="merge with person Ann").get_by_role("button", name="Reject").click()
        judged = read_issues(save(page, tmp_path / "judged.csv"), table)
    assert judged.loc[judged["decision"] == "reject", "path"].tolist() == ["Cyd/Cyd_0001.jpg", "Cyd/Cyd_0002.jpg"]


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_look_on_a_phone(table: FaceTable, csv: Path, tmp_path: Path, scheme: str) -> None:
    write_review_page(table, read_issues(csv, table), csv.name, tmp_path / "review.html")
    with opened(tmp_path / "review.html", scheme, width=390) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        page.keyboard.press("End")
        page.wait_for_function("[...document.images].every(each => each.complete && each.naturalWidth)")
        assert set(page.evaluate("[...document.images].map(each => each.naturalWidth)")) == {96}
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.screenshot(path=tmp_path / "review.png", full_page=True)
    assert (sum(map(int, background[4:-1].split(","))) < 384) == (scheme == "dark")
