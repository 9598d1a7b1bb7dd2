"""``bonaface evaluate`` from end to end, its report in a browser too."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_curve

from bonaface.cli import main
from bonaface.data.pairs import read_labels, read_pairs

pytest_plugins = ("labelled_pairs",)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SHARED = Path(__file__).parents[2].parent / "shared"
FAST = ["--replicates", "40"]


def evaluate(out: Path, *words: object) -> tuple[int, dict]:
    code = main(["evaluate", *map(str, words), "--out", str(out), *FAST])
    file = out / "metrics.json"
    return code, json.loads(file.read_text()) if file.is_file() else {}


def sklearn_eer(label: np.ndarray, score: np.ndarray) -> float:
    fpr, tpr, _ = roc_curve(label, score)
    return float((1 - tpr)[np.nanargmin(np.abs(1 - tpr - fpr))])


def test_a_model(network, people_pairs, tmp_path, capsys) -> None:
    root, out = people_pairs(), tmp_path / "out"
    code, figures = evaluate(out, "--model", network, "--pairs", root, "--labels", root / "labels.csv")
    assert code == 0
    scores = pd.read_csv(out / "scores.csv", dtype={"pair_id": str})
    labels = read_labels(root / "labels.csv", read_pairs(root))
    assert scores["pair_id"].tolist() == sorted(scores["pair_id"])
    assert figures["challenge_eer"] == sklearn_eer(labels["label"], scores["similarity"])
    fakes = labels["kind"].isin(["same", "own_fake"])
    assert figures["spf_eer"] == sklearn_eer(labels["label"][fakes], scores["similarity"][fakes])
    assert {"sv_eer", "sasv_eer", "intervals", "operating_points", "calibration"} <= set(figures)
    assert figures["threshold_source"] == ""
    html = (out / "report.html").read_text()
    assert "Thresholds come from the judged pairs themselves" in html
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert html.count("data:image/jpeg") == 2 * 48
    assert (out / "table.md").read_text().count("\n| coarse |") == 1
    assert "own deepfake (SPF, spoofing)" in capsys.readouterr().out


def test_an_image_that_cannot_be_read(network, people_pairs, tmp_path, capsys) -> None:
    root, out = people_pairs(), tmp_path / "out"
    (root / "images" / "00000003" / "1.jpg").write_text("no image")
    code, figures = evaluate(out, "--model", network, "--pairs", root, "--labels", root / "labels.csv")
    assert code == 1
    assert (figures["unreadable_images"], figures["spoiled_pairs"]) == (1, 1)
    assert "00000003/1.jpg" in capsys.readouterr().err
    html = (out / "report.html").read_text()
    assert (
        "1 image can't be read. Rule: the pair with it gets the lowest similarity and passes at no threshold." in html
    )


def test_scores_of_several_models(people_pairs, tmp_path, rng) -> None:
    root, out = people_pairs(), tmp_path / "out"
    labels = pd.read_csv(root / "labels.csv", dtype={"pair_id": str})
    files = []
    for name, gain in (("weak", 0.3), ("strong", 4.0)):
        files.append(tmp_path / f"{name}.csv")
        labels.assign(similarity=rng.random(48) + gain * labels["label"])[["pair_id", "similarity"]].to_csv(
            files[-1], index=False
        )
    code, figures = evaluate(out, "--scores", *files, "--labels", root / "labels.csv")
    assert code == 0
    assert [each["model"] for each in figures["models"]] == ["weak", "strong"]
    difference = figures["comparison"][0]["differences"]["challenge_eer"]
    assert difference["estimate"] == figures["models"][1]["challenge_eer"] - figures["models"][0]["challenge_eer"]
    assert difference["p_value"] < 0.1
    html = (out / "report.html").read_text()
    assert "strong is better than weak" in html
    assert "data:image/jpeg" not in html
    assert pd.read_csv(out / "scores.csv").columns.tolist() == ["pair_id", "weak", "strong"]


def test_models_named_as_columns_and_settings_are(people_pairs, tmp_path, rng) -> None:
    root, out = people_pairs(), tmp_path / "out"
    labels = pd.read_csv(root / "labels.csv", dtype={"pair_id": str})
    files = [tmp_path / "pair_id.csv", tmp_path / "command.csv"]
    for file in files:
        labels.assign(similarity=rng.random(48))[["pair_id", "similarity"]].to_csv(file, index=False)
    code, figures = evaluate(out, "--scores", *files, "--labels", root / "labels.csv")
    assert code == 0
    written = pd.read_csv(out / "scores.csv", dtype={"pair_id": str})
    assert written.columns.tolist() == ["pair_id", "pair_id (2)", "command"]
    assert written["pair_id"].tolist() == labels["pair_id"].tolist()
    for file, column in zip(files, written.columns[1:], strict=True):
        np.testing.assert_allclose(written[column], pd.read_csv(file)["similarity"], rtol=1e-8)
    assert str(files[1]) in figures["settings"].values()


def test_thresholds_of_validation_scores(people_pairs, tmp_path, rng) -> None:
    root, other, out = people_pairs(), people_pairs(60, "val", 5), tmp_path / "out"
    files = {}
    for name, folder in (("judged", root), ("val", other)):
        table = pd.read_csv(folder / "labels.csv", dtype=str)
        files[name] = tmp_path / f"{name}.csv"
        scores = rng.random(len(table)) + (table["label"] == "1")
        table.assign(similarity=scores)[["pair_id", "similarity"]].to_csv(files[name], index=False)
        files[f"{name} scores"] = scores[table["kind"] == "impostor"].to_numpy()
    words = ["--scores", files["judged"], "--labels", root / "labels.csv"]
    code, figures = evaluate(
        out, *words, "--val-scores", files["val"], "--val-labels", other / "labels.csv", "--pairs", root
    )
    assert code == 0
    row = figures["operating_points"][0]
    assert row["source"] == "validation"
    assert row["threshold"]["estimate"] == pytest.approx(np.sort(files["val scores"])[-2], abs=1e-6)
    assert figures["calibration"]["source"] == "validation"
    assert f"other pairs: {other / 'labels.csv'}" in (out / "report.html").read_text()


def test_validation_pairs_of_a_model(network, people_pairs, tmp_path) -> None:
    root, other, out = people_pairs(), people_pairs(60, "val", 5), tmp_path / "out"
    words = ["--model", network, "--pairs", root, "--labels", root / "labels.csv"]
    code, figures = evaluate(out, *words, "--val-pairs", other, "--val-labels", other / "labels.csv")
    assert code == 0
    assert figures["operating_points"][0]["source"] == "validation"
    assert "chosen on these same pairs" not in (out / "report.html").read_text()


def test_the_robustness_card_is_in_the_report(network, people_pairs, tmp_path) -> None:
    root, out = people_pairs(), tmp_path / "out"
    words = ["--model", network, "--pairs", root, "--labels", root / "labels.csv", "--robustness", 24]
    code, figures = evaluate(out, *words)
    assert code == 0
    html = (out / "report.html").read_text()
    for row in figures["robustness"]["rows"]:
        assert f'<th scope="row">{row["condition"]}</th>' in html
    assert "FGSM, 8/255" in html


def test_lfw_protocol(network, tmp_path, write_image) -> None:
    for person in "abcdef":
        for n in (1, 2):
            write_image(tmp_path / "lfw" / person / f"{person}_{n:04d}.jpg", 64)
    lines = ["3\t1"] + [line for a, b in ("ab", "cd", "ef") for line in (f"{a}\t1\t2", f"{a}\t1\t{b}\t2")]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    code, figures = evaluate(
        tmp_path / "out", "--model", network, "--pairs", tmp_path / "lfw", "--labels", tmp_path / "pairs.txt"
    )
    assert code == 0
    assert len(figures["lfw"]["folds"]) == 3
    assert "Accuracy over 3 folds" in (tmp_path / "out" / "report.html").read_text()


def test_a_list_of_pairs_needs_no_labels_beside_it(network, people_pairs, tmp_path) -> None:
    root = people_pairs()
    table = pd.read_csv(root / "labels.csv", dtype=str)
    for side in "01":
        table[f"path_{side}"] = "images/" + table["pair_id"] + f"/{side}.jpg"
    table.to_csv(root / "list.csv", index=False)
    _, listed = evaluate(tmp_path / "a", "--model", network, "--pairs", root / "list.csv")
    _, folder = evaluate(tmp_path / "b", "--model", network, "--pairs", root, "--labels", root / "labels.csv")
    assert listed["challenge_eer"] == folder["challenge_eer"]
    assert listed["by_method"] == folder["by_method"]


def test_validation_pairs_are_none_of_the_judged_ones(network, people_pairs, tmp_path, capsys) -> None:
    """Neither under another folder's name, nor under another pair's, nor as one pair among others."""
    root, copy, out = people_pairs(), tmp_path / "copy", tmp_path / "out"
    (copy / "images").mkdir(parents=True)
    labels = pd.read_csv(root / "labels.csv", dtype=str)
    for place, pair in enumerate(labels["pair_id"]):
        shutil.copytree(root / "images" / pair, copy / "images" / f"v{pair}")
        if place:  # the first pair alone is a copy
            with (copy / "images" / f"v{pair}" / "0.jpg").open("ab") as file:
                file.write(b"other")
    labels.assign(pair_id="v" + labels["pair_id"]).to_csv(copy / "labels.csv", index=False)
    judged = ["--model", network, "--pairs", root, "--labels", root / "labels.csv"]
    assert evaluate(out, *judged, "--val-pairs", copy, "--val-labels", copy / "labels.csv")[0] == 2
    first = labels["pair_id"][0]
    assert f"validation pairs: v{first} has the same two images as the judged {first}" in capsys.readouterr().err
    assert not out.exists()


def test_validation_scores_are_not_the_judged_ones_in_another_file(people_pairs, tmp_path, capsys) -> None:
    root = people_pairs()
    labels = pd.read_csv(root / "labels.csv", dtype=str)
    scores = pd.DataFrame({"pair_id": labels["pair_id"], "similarity": np.arange(len(labels)) / 7})
    scores.to_csv(tmp_path / "s.csv", index=False)
    scores.iloc[::-1].to_csv(tmp_path / "v.csv", index=False)
    labels.iloc[::-1].to_csv(tmp_path / "labels.csv", index=False)
    judged = ["--scores", tmp_path / "s.csv", "--labels", root / "labels.csv"]
    other = ["--val-scores", tmp_path / "v.csv", "--val-labels", tmp_path / "labels.csv"]
    assert evaluate(tmp_path / "out", *judged, *other)[0] == 2
    assert "validation scores: are the judged ones" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scores", "s.csv"], "labels: expected"),
        (["--model", "m", "--labels", "labels.csv"], "pairs: a model needs"),
        (["--scores", "s.csv", "--labels", "labels.csv", "--robustness"], "needs a model"),
        (["--scores", "s.csv", "--labels", "labels.csv", "--val-scores", "v.csv"], "validation labels: expected"),
        (["--scores", "s.csv", "--labels", "labels.csv", "--val-labels", "v.csv"], "are missing"),
        (
            ["--scores", "s.csv", "--labels", "labels.csv", "--val-labels", "labels.csv", "--val-scores", "v.csv"],
            "judged ones",
        ),
        (["--scores", "s.csv", "--labels", "labels.csv"], "line 3: pair 1: similarity: expected a finite number"),
        (["--scores", "s.csv", "--labels", "labels.csv", "--seed", "-1"], "seed: expected 0 or more"),
        (["--scores", "s.csv", "--labels", "labels.csv", "--draw", "-1"], "draw: expected 4 to"),
        (["--scores", "s.csv", "--labels", "labels.csv", "--replicates", "1000000000"], "replicates: expected 1 to"),
        (["--scores", "s.csv", "--labels", "labels.csv", "--worst", "-1"], "--worst: expected 0 to"),
        (["--scores", "s.csv", "--labels", "labels.csv", "--fmr", "2"], "fmr: expected a rate above 0 and below 1"),
        (["--scores", "s.csv", "--labels", "one.csv"], "one.csv: every label is 1"),
    ],
)
def test_what_does_not_go_together_is_said(tmp_path, monkeypatch, capsys, words, said) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.csv").write_text("pair_id,similarity\n0,1\n1,nan\n")
    Path("labels.csv").write_text("pair_id,label\n0,1\n1,0\n")
    Path("one.csv").write_text("pair_id,label\n0,1\n1,1\n")
    assert main(["evaluate", *words, "--out", "out"]) == 2
    assert said in capsys.readouterr().err
    assert not Path("out").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: the report's look is not tested")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_in_a_browser(network, people_pairs, tmp_path, scheme) -> None:
    browsers = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    root, out = people_pairs(), tmp_path / "out"
    evaluate(out, "--model", network, network, "--pairs", root, "--labels", root / "labels.csv")
    said, asked = [], []
    with browsers.sync_playwright() as playwright:
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme=scheme)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((out / "report.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 390  # tables scroll, the page does not
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        charts = page.locator("figure svg[role=img]")
        assert charts.count() == 3 + 2 * 4
        assert all(charts.nth(n).bounding_box()["height"] > 150 for n in range(charts.count()))
        widths = page.evaluate("[...document.images].map(each => each.naturalWidth)")
        assert widths == [96] * (2 * 2 * 48)
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        browser.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [(out / "report.html").as_uri()]
    assert (sum(map(int, background[4:-1].split(","))) < 384) == (scheme == "dark")


@pytest.mark.skipif(not (SHARED / "score.py").is_file(), reason="the outside scorer is not here")
def test_the_outside_scorer_agrees(tmp_path, rng) -> None:
    labels = SHARED / "lfw-deepfakes" / "test_public" / "labels.csv"
    table = pd.read_csv(labels, dtype=str)
    scores = np.round(rng.normal(size=len(table)) + 2 * (table["label"] == "1"), 2)
    table.assign(similarity=scores)[["pair_id", "similarity"]].to_csv(tmp_path / "s.csv", index=False)
    _, figures = evaluate(tmp_path / "out", "--scores", tmp_path / "s.csv", "--labels", labels)
    run = [sys.executable, str(SHARED / "score.py"), str(tmp_path / "s.csv"), str(labels)]
    said = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    outside = {line.rsplit(maxsplit=1)[0].strip(): line.split()[-1] for line in said.splitlines()[1:]}
    assert said.startswith(f"EER {figures['challenge_eer']:.4f} ")
    for name, key in (("impostor", "sv_eer"), ("own_fake", "spf_eer"), ("other_fake", "other_fake_eer")):
        assert outside[f"vs {name}"] == f"{figures[key]:.4f}"
    for method, rate in figures["by_method"].items():
        assert outside[f"vs own_fake/{method}"] == f"{rate:.4f}"


def test_a_folder_of_faces_is_judged_by_pairs_drawn_from_it(network, challenge_train, tmp_path) -> None:
    root = challenge_train()
    (root / "forgeries.csv").write_text(
        "path,method\nimages/00000000/2.jpg,swap_alpha\nimages/00000001/1.jpg,reenact\nimages/00000002/3.jpg,reenact\n"
    )
    drawn = {}
    for seed in ("0", "0", "1"):
        out = tmp_path / f"{seed}-{len(drawn)}"
        code, figures = evaluate(out, "--model", network, "--pairs", root, "--draw", 40, "--seed", seed)
        assert code == 0
        scores = pd.read_csv(out / "scores.csv")
        assert 20 < len(scores) < 40  # so few faces make fewer pairs, each of which is judged once
        assert {"sv_eer", "spf_eer"} <= set(figures)
        drawn[out.name] = scores["similarity"].tolist()
    first, again, other = drawn.values()
    assert first == again
    assert first != other


def test_a_folder_of_faces_too_small_for_pairs_is_said(network, challenge_train, tmp_path, capsys) -> None:
    root = challenge_train({"00000000": [0, 1], "00000001": [0, 1]})
    assert evaluate(tmp_path / "out", "--model", network, "--pairs", root)[0] == 2
    assert "expected a person with two real photos" in capsys.readouterr().err


def test_a_plain_folder_of_photos_is_judged_against_other_people(network, plain_tree, tmp_path) -> None:
    code, figures = evaluate(tmp_path / "out", "--model", network, "--pairs", plain_tree(), "--draw", 20)
    assert code == 0
    assert "sv_eer" in figures
    assert "spf_eer" not in figures
