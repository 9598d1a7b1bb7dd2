"""The page in a browser, from dropping two photos to deleting a person."""

import os
import shutil
from pathlib import Path

import pytest
from pattern_service import random_image

from bonaface.inference.verifier import Verifier
from bonaface.service.app import create_app
from bonaface.service.auth import new_key
from bonaface.service.routes.histogram import HistogramResponse
from bonaface.service.settings import ServiceSettings

pytest_plugins = ("pattern_service",)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SHOTS = os.environ.get("BONAFACE_SCREENSHOTS")
HISTOGRAM = HistogramResponse(pairs="pairs of a test", edges=[-1.5, -1.0, -0.5, 0.0], same=[0, 2, 9], others=[8, 3, 0])

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        yield opened
        opened.close()


@pytest.fixture
def photos(tmp_path) -> dict[str, Path]:
    written = {
        "ann": random_image(1),
        "ann2": random_image(1, 1),
        "ann3": random_image(1, 2),
        "bob": random_image(2),
        "fake": random_image(1, 1, fake=True),
        "page": b"<html>no</html>",
    }
    for name, data in written.items():
        (tmp_path / f"{name}.png").write_bytes(data)
    return {name: tmp_path / f"{name}.png" for name in written}


@pytest.fixture
def url(embedder, gallery, serve):
    return serve(
        create_app(Verifier(embedder), gallery, ServiceSettings(requests_a_minute=10**6), lambda: HISTOGRAM)
    ).url


@pytest.fixture
def open_page(browser, request):
    """``open_page(url, **context)``: a page whose errors fail the test, and an image of it in BONAFACE_SCREENSHOTS at the end."""
    opened, wrong = [], []

    def go(url, **context):
        page = browser.new_context(**context).new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "console",
            lambda said: wrong.append(said.text) if said.type == "error" and "status of" not in said.text else None,
        )
        page.on(
            "requestfinished",
            lambda asked: wrong.append(asked.url) if not asked.url.startswith((url, "blob:", "data:")) else None,
        )
        page.goto(url)
        opened.append(page)
        return page

    yield go
    for number, page in enumerate(opened):
        if SHOTS:
            page.screenshot(path=f"{SHOTS}/{request.node.name}-{number}.png", full_page=True)
        page.context.close()
    assert not wrong


def _choose(page, slot, path):
    page.set_input_files(f"#file-{slot}", path)


def _enrol(page, person, photo):
    page.click("nav a[href='#enrol']")
    page.fill("#person", person)
    page.set_input_files("#photos", [photo])
    page.click("#enrol-form button.main")
    page.wait_for_selector("#people button")


@pytest.mark.parametrize(
    ("second", "said"), [("ann2", "Same person"), ("bob", "Different people"), ("fake", "Not genuine")]
)
def test_two_photos_are_compared(open_page, url, photos, second, said):
    page = open_page(url)
    assert page.is_disabled("#compare-run")
    _choose(page, "first", photos["ann"])
    _choose(page, "second", photos[second])
    page.click("#compare-run")
    page.wait_for_selector(".verdict")
    assert page.text_content(".verdict .decision") == said
    assert page.get_attribute(".verdict svg", "aria-label").startswith("similarity")
    assert "probability" in page.text_content(".verdict")


def test_a_verdict_does_not_stay_beside_another_photo(open_page, url, photos):
    page = open_page(url)
    _choose(page, "first", photos["ann"])
    _choose(page, "second", photos["ann2"])
    page.click("#compare-run")
    page.wait_for_selector(".verdict")
    _choose(page, "second", photos["bob"])
    assert page.locator(".verdict").count() == 0
    assert page.is_enabled("#compare-run")


def test_an_answer_about_another_photo_is_not_shown(open_page, url, photos):
    """It comes after the photo was changed, and may come after the answer about the new one."""
    page = open_page(url)
    late = []
    page.route("**/v1/verify", lambda route: late.append(route))
    _choose(page, "first", photos["ann"])
    _choose(page, "second", photos["ann2"])
    with page.expect_request("**/v1/verify"):
        page.click("#compare-run")
    _choose(page, "second", photos["bob"])
    assert page.is_disabled("#compare-run")
    with page.expect_response("**/v1/verify"):
        late.pop().continue_()
    page.wait_for_function("() => !document.getElementById('compare-run').disabled")
    assert page.locator(".verdict, [data-slot=second] canvas").count() == 0
    page.unroute("**/v1/verify")
    page.click("#compare-run")
    page.wait_for_selector(".verdict")
    assert page.text_content(".verdict .decision") == "Different people"


def test_people_found_do_not_stay_beside_another_photo(open_page, url, photos):
    page = open_page(url)
    page.click("nav a[href='#search']")
    _choose(page, "query", photos["ann"])
    page.click("#search-run")
    page.wait_for_selector("#found .verdict, #found table")
    _choose(page, "query", photos["bob"])
    assert page.inner_text("#found") == ""


def test_an_export_that_fails_is_said(open_page, url, photos):
    page = open_page(url)
    _enrol(page, "ann", photos["ann"])
    page.route("**/export", lambda route: route.fulfill(status=503, json={"detail": "The disk is away."}))
    page.click("text=Export")
    page.wait_for_selector("#enrolled .warn")
    assert page.inner_text("#enrolled .warn") == "The disk is away."


def test_an_export_hides_no_other_answer(open_page, url, photos):
    page = open_page(url)
    _enrol(page, "ann", photos["ann"])
    late = []
    page.route("**/v1/people/ann", lambda route: late.append(route))
    page.on("dialog", lambda dialog: dialog.accept())
    with page.expect_request("**/v1/people/ann"):
        page.click("text=Delete")
    with page.expect_download():
        page.click("text=Export")
    late.pop().fulfill(status=503, json={"detail": "The disk is away."})
    page.wait_for_selector("#enrolled .warn")
    assert page.inner_text("#enrolled .warn") == "The disk is away."


def test_what_becomes_of_each_of_two_deletions_is_said(open_page, url, photos):
    page = open_page(url)
    for person, photo in (("ann", "ann"), ("bob", "bob")):
        _enrol(page, person, photos[photo])
        page.wait_for_selector(f"[aria-label='Delete {person}']")
    late = []
    page.route("**/v1/people/bob", lambda route: late.append(route))
    page.route("**/v1/people/ann", lambda route: route.fulfill(status=503, json={"detail": "The disk is away."}))
    page.on("dialog", lambda dialog: dialog.accept())
    with page.expect_request("**/v1/people/bob"):
        page.click("[aria-label='Delete bob']")
    page.click("[aria-label='Delete ann']")
    page.wait_for_selector("#enrolled .warn")
    late.pop().continue_()
    page.wait_for_selector("#enrolled .verdict")
    assert page.inner_text("#enrolled .warn") == "The disk is away."
    assert "bob is deleted" in page.inner_text("#enrolled .verdict")
    assert page.locator("#people tr").count() == 1


def test_people_are_listed_once_however_often_they_are_asked_for(open_page, url, photos):
    page = open_page(url)
    _enrol(page, "ann", photos["ann"])
    for _ in range(4):
        page.evaluate("location.hash = '#compare'")
        page.evaluate("location.hash = '#enrol'")
    page.wait_for_load_state("networkidle")
    assert page.locator("#people tr").count() == 1


def test_what_a_chat_puts_behind_a_key_is_no_part_of_it(open_page, url):
    page = open_page(url)
    page.evaluate("async () => (await import('/web/service.js')).useKey('abc-_DEF9\u200b\u2026\u00a0 ')")
    assert page.evaluate("sessionStorage.getItem('bonaface-key')") == "abc-_DEF9"


def test_the_histograms_come_once_they_are_known(open_page, url, photos):
    page = open_page(url)
    page.wait_for_function("async () => (await (await fetch('/v1/model')).json()).histogram !== null")
    page.reload()
    page.wait_for_function("() => document.getElementById('about').textContent.startsWith('Model patterns')")
    _choose(page, "first", photos["ann"])
    _choose(page, "second", photos["ann2"])
    page.click("#compare-run")
    page.wait_for_selector(".verdict svg rect")
    assert page.locator(".verdict svg rect").count() == 6


def test_what_is_no_image_is_said_in_words(open_page, url, photos):
    page = open_page(url)
    _choose(page, "first", photos["ann"])
    _choose(page, "second", photos["page"])
    page.click("#compare-run")
    page.wait_for_selector(".warn")
    assert "second image: is a web page" in page.text_content(".warn")


def test_a_person_is_enrolled_found_and_deleted(open_page, url, photos):
    page = open_page(url)
    page.click("nav a[href='#enrol']")
    page.fill("#person", "ann")
    page.set_input_files("#photos", [photos["ann"], photos["ann2"]])
    page.click("#enrol-form button.main")
    page.wait_for_selector("#enrolled .verdict")
    assert page.text_content("#enrolled") == "ann is enrolled with 2 photos."
    page.click("nav a[href='#search']")
    _choose(page, "query", photos["ann2"])
    page.click("#search-run")
    page.wait_for_selector("#found tbody tr")
    assert "the file of an enrolled photo" in page.text_content("#found tbody td:nth-child(2)")
    _choose(page, "query", photos["ann3"])
    page.click("#search-run")
    page.wait_for_selector("#found tbody td:text-is('same person')")
    assert page.locator("#found tbody td").all_text_contents()[:2] == ["ann", "same person"]
    page.click("nav a[href='#enrol']")
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("[aria-label='Delete ann']")
    page.wait_for_selector("#enrolled .verdict")
    assert "nothing is left of them" in page.text_content("#enrolled")
    assert "Nobody yet." in page.text_content("#people")


def test_photos_that_are_refused_are_named_and_marked_among_those_that_were_chosen(open_page, url, photos):
    page = open_page(url)
    page.click("nav a[href='#enrol']")
    page.fill("#person", "ann")
    page.set_input_files("#photos", [photos[name] for name in ("ann", "fake", "ann2", "page", "ann3")])
    page.click("#enrol-form button.main")
    page.wait_for_selector("#enrolled .warn li")
    assert page.locator("#enrolled .warn li").all_text_contents()[0].startswith("fake.png: looks forged")
    assert page.locator("#enrolled .warn li").all_text_contents()[1].startswith("page.png: is a web page")
    assert page.locator("#chosen img").count() == 5
    marked = page.locator("#chosen li:has(:text-is('refused')) img")
    assert [image.get_attribute("title") for image in marked.all()] == ["fake.png", "page.png"]
    for name in ("fake", "page"):
        page.click(f"[aria-label='Remove {name}.png']")
    page.click("#enrol-form button.main")
    page.wait_for_selector("#enrolled .verdict")
    assert page.text_content("#enrolled") == "ann is enrolled with 3 photos."
    assert page.locator("#chosen img").count() == 0


def test_a_photo_that_is_too_large_is_named(open_page, embedder, gallery, serve, photos):
    settings = ServiceSettings(image_bytes=photos["page"].stat().st_size)
    page = open_page(serve(create_app(Verifier(embedder), gallery, settings, lambda: HISTOGRAM)).url)
    page.click("nav a[href='#enrol']")
    page.fill("#person", "ann")
    page.set_input_files("#photos", [photos["page"], photos["ann"]])
    page.click("#enrol-form button.main")
    page.wait_for_selector("#enrolled .warn")
    assert page.text_content("#enrolled").startswith("ann.png: is larger than")
    assert page.locator("#chosen img").count() == 2


def test_photos_can_be_dropped_and_pasted(open_page, url, photos):
    page = open_page(url)
    script = """([kind, target, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], "a.png", {type: "image/png"}));
        const event = kind === "drop" ? new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true})
            : new ClipboardEvent("paste", {clipboardData: data, bubbles: true});
        document.querySelector(target).dispatchEvent(event);
    }"""
    page.evaluate(script, ["drop", "[data-slot=first]", list(photos["ann"].read_bytes())])
    page.evaluate(script, ["paste", "body", list(photos["ann2"].read_bytes())])
    page.click("#compare-run:enabled")
    page.wait_for_selector(".verdict")
    assert page.text_content(".verdict .decision") == "Same person"


def test_it_works_by_keyboard_alone(open_page, url, photos):
    page = open_page(url)
    _choose(page, "first", photos["ann"])
    _choose(page, "second", photos["ann2"])
    seen = []
    for _ in range(20):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate("document.activeElement.id || document.activeElement.textContent.trim().slice(0, 20)")
        )
        if seen[-1] == "compare-run":
            break
    assert {"file-first", "file-second", "compare-run"} <= set(seen)
    page.keyboard.press("Enter")
    page.wait_for_selector(".verdict")


def test_photos_to_enrol_can_be_dropped(open_page, url, photos):
    page = open_page(url)
    page.click("nav a[href='#enrol']")
    page.fill("#person", "ann")
    for name in ("ann", "ann2"):
        page.evaluate(
            """([name, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], name, {type: "image/png"}));
            const dropped = {dataTransfer: data, bubbles: true, cancelable: true};
            document.getElementById("drop").dispatchEvent(new DragEvent("drop", dropped));
        }""",
            [f"{name}.png", list(photos[name].read_bytes())],
        )
    assert page.locator("#chosen img").count() == 2
    page.click("#enrol-form button.main")
    page.wait_for_selector("#enrolled .verdict")
    assert page.text_content("#enrolled") == "ann is enrolled with 2 photos."


def test_the_api_is_described_on_a_page(open_page, url):
    page = open_page(url)
    page.click("text=The API's description")
    page.wait_for_selector("#operations details")
    said = page.locator("#operations summary").all_text_contents()
    assert any(line.startswith("POST /v1/check") for line in said)
    assert page.url == url + "/docs"


def test_on_a_phone_the_tasks_are_in_one_line_and_slots_are_equal(open_page, url, photos):
    page = open_page(url, viewport={"width": 390, "height": 800})
    tops = page.evaluate("[...document.querySelectorAll('nav a')].map(e => e.getBoundingClientRect().top)")
    assert len(set(tops)) == 1
    page.set_viewport_size({"width": 1280, "height": 800})
    _choose(page, "first", photos["ann"])
    heights = page.evaluate("[...document.querySelectorAll('#compare .slot')].map(e => e.offsetHeight)")
    assert heights[0] == heights[1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_cut_off(open_page, url, photos, scheme):
    page = open_page(url, viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True)
    _choose(page, "first", photos["ann"])
    _choose(page, "second", photos["bob"])
    page.click("#compare-run")
    page.wait_for_selector(".verdict")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    small = page.evaluate(
        "[...document.querySelectorAll('button, .button, nav a')].filter(e => e.offsetParent && e.offsetHeight < 40).length"
    )
    assert small == 0, "targets for a finger"
    _enrol(page, "a-name-of-middling-length", photos["ann"])
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_key_is_asked_for_and_used(open_page, embedder, serve, tmp_path, photos):
    key = new_key(tmp_path / "keys", "desk")
    page = open_page(serve(create_app(Verifier(embedder), None, ServiceSettings(keys=tmp_path / "keys"))).url)
    page.wait_for_selector("#key:visible")
    page.fill("#key-text", key)
    page.click("#key button")
    page.wait_for_function("() => document.getElementById('about').textContent.startsWith('Model patterns')")
    assert page.is_hidden("#key")
