"""Records to tables: means and spreads, the best in bold, what failed and what is missing said."""

import dataclasses
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from bonaface.config_io import save_config
from bonaface.errors import DataError
from bonaface.experiments.curves import rates_chart
from bonaface.experiments.judged_pairs import digest_of
from bonaface.experiments.page import write_tables
from bonaface.experiments.records import write_record
from bonaface.experiments.results import Spread, collect
from bonaface.experiments.tables import markdown
from bonaface.training.people_note import PeopleNote, SourcePeople


def record(test: float, val: float, seconds: float = 600.0) -> dict:
    return {
        "status": "done",
        "val": {"challenge_eer": val, "sv_eer": val, "spf_eer": val},
        "test": {"challenge_eer": test, "sv_eer": test / 2, "spf_eer": test * 2},
        "best_step": 4,
        "cost": {"seconds": seconds, "peak_memory_bytes": 2**30, "memory_of": "process"},
        "images_per_second": 40.0,
        "inference_ms": 1.5,
        "commit": "abc",
        "machine": {"torch": "2.0"},
    }


def leave(made, trial, what: dict) -> None:
    """As if the trial had been run."""
    trial.folder.mkdir(parents=True, exist_ok=True)
    trial.record.write_text(
        json.dumps({"row": trial.row.name, "seed": trial.config.seed, "judged_on": digest_of(made.test)} | what)
    )
    save_config(trial.config, trial.folder / "config.yaml")
    steps = {"step": [0, 2, 4], "train_loss": [np.nan, 0.4, 0.2], "val_challenge_eer": [0.5, 0.3, 0.2]}
    pd.DataFrame(steps).to_csv(trial.folder / "metrics.csv", index=False)


@pytest.fixture
def ended(plan):
    """Three rows with two seeds: one ended, one with a failed and a missing run, one that is only reported."""
    made = plan(
        [
            {"name": "good", "reported": {"test": 0.05}, "settings": {"loss.margin": 0.5}},
            {"name": "bad | <b>", "note": "a note", "settings": {"loss.margin": 0.1}},
            {"name": "baseline", "run": "reported", "reported": {"test": 0.382}},
            {"name": "poor", "settings": {"loss.margin": 0.3}},
        ],
        seeds=[0, 1],
    )
    trials = made.trials()
    leave(made, trials[0], record(0.10, 0.2))
    leave(made, trials[1], record(0.20, 0.4))
    leave(
        made,
        trials[2],
        {"status": "failed", "error": "DataError: <script>", "commit": None, "machine": {"torch": "2.1"}},
    )
    leave(made, trials[4], record(0.30, 0.1))
    leave(made, trials[5], record(0.30, 0.1))
    return made


def test_the_spread_is_that_of_statistics():
    values = [0.1, 0.4, 0.25]
    assert Spread.of(values) == Spread(pytest.approx(np.mean(values)), pytest.approx(np.std(values, ddof=1)), 3)
    assert Spread.of([0.1]) == Spread(0.1, None, 1)
    assert Spread.of([]) is None


def test_measured_stands_beside_reported_and_the_best_is_bold(ended):
    text = markdown("tiny", collect(ended))
    head, _, good, bad, baseline, poor = [line for line in text.splitlines() if line.startswith("|")]
    columns = [cell.strip() for cell in head.strip("|").split("|")]
    line = dict(zip(columns, [cell.strip() for cell in good.strip("|").split("|")], strict=True))
    assert line["EER on test"] == "**0.1500 ± 0.0707**"
    assert line["reported"] == "0.05"
    assert line["EER on val"] == "0.3000 ± 0.1414"
    assert line["time"] == "10 min"
    assert line["peak memory"] == "1.00 GiB"
    assert "**0.1000 ± 0.0000**" in poor
    assert "bad \\| <b>" in bad
    assert "a note; failed: DataError: <script>; 1 of 2 seeds not run yet" in bad
    assert "reported, not run" in baseline
    assert "0.382" in baseline
    assert f"    bonaface experiments run {ended.file} --only good\n" in text
    assert "--only 'bad | <b>'\n" in text
    assert "--only baseline" not in text


def test_a_single_row_is_not_called_the_best(plan):
    made = plan([{"name": "a"}])
    leave(made, made.trials()[0], record(0.1, 0.2))
    assert "**" not in markdown("tiny", collect(made))


def test_the_files_are_whole(ended, tmp_path):
    files = write_tables(ended, tmp_path / "out")
    assert [file.name for file in files] == ["table.md", "report.html", "table.csv", "runs.csv"]
    rows = pd.read_csv(tmp_path / "out" / "table.csv").set_index("row")
    assert rows.loc["good", "test"] == pytest.approx(0.15)
    assert rows.loc["good", "test_reported"] == 0.05
    assert rows.loc["baseline", "test_reported"] == 0.382
    assert np.isnan(rows.loc["bad | <b>", "test"])
    runs = pd.read_csv(tmp_path / "out" / "runs.csv")
    assert runs["status"].tolist() == ["done", "done", "failed", "not run", "done", "done"]
    page = (tmp_path / "out" / "report.html").read_text()
    check_page(page)
    assert "4 of 6 runs ended, 1 failed, 1 not run yet" in " ".join(page.split())


def check_page(page: str) -> None:
    """Nothing is fetched, no script runs, every element is closed, and names are escaped."""
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "default-src 'none'" in page
    assert page.count("<svg viewBox") == page.count("</svg>")
    assert 'class="line c0"' in page
    open_elements: list[str] = []
    void = {"meta", "link", "br", "img", "line", "rect", "circle", "polyline", "polygon"}

    class Checker(HTMLParser):
        def handle_starttag(self, tag, attrs):
            open_elements.extend([] if tag in void else [tag])

        def handle_startendtag(self, tag, attrs):
            pass

        def handle_endtag(self, tag):
            assert open_elements.pop() == tag

    Checker().feed(page)
    assert open_elements == []


def test_error_rates_have_a_line_of_dots_for_each_row(ended):
    (table,) = collect(ended)
    svg = rates_chart(table.rows, "rates")
    assert svg is not None
    assert svg.count("<polyline") == 3 + 2  # a guide for each row that has a rate, and a line over the seeds of two
    assert svg.count('class="dot c0"') == 2 * 3  # two seeds and their mean
    assert svg.count('class="dot c1"') == 2
    assert ">baseline</text>" in svg


def test_a_run_that_two_rows_show_is_counted_once(plan, tmp_path):
    made = plan([{"name": "a"}, {"name": "b", "same": "a"}])
    leave(made, made.trials()[0], record(0.1, 0.2))
    write_tables(made, tmp_path / "out")
    assert "1 of 1 runs ended" in " ".join((tmp_path / "out" / "report.html").read_text().split())


def test_error_rates_need_a_rate(plan):
    (table,) = collect(plan([{"name": "a"}, {"name": "b"}]))
    assert rates_chart(table.rows, "rates") is None


def test_settings_that_the_words_leave_out_are_told_where_rows_differ(plan, tmp_path):
    issues = {"faces.issues": str(tmp_path / "issues.csv")}
    (table,) = collect(
        plan([{"name": "all"}, {"name": "cleaned", "settings": issues}, {"name": "b", "settings": {"steps": 2}}])
    )
    first, cleaned, _ = (result.training for result in table.rows)
    assert first.endswith("; faces.issues null")
    assert cleaned.endswith(f"; faces.issues {tmp_path / 'issues.csv'}")
    assert "faces.train" not in cleaned


@pytest.mark.parametrize("name", ["table.md", "report.html", "table.csv", "runs.csv"])
def test_own_tables_are_written_anew_and_files_of_others_are_not(ended, tmp_path, name):
    write_tables(ended, tmp_path)
    assert len(write_tables(ended, tmp_path)) == 4
    (tmp_path / name).write_text("bought: milk\n")
    with pytest.raises(DataError, match=f"{name}: is there and is another kind of file"):
        write_tables(ended, tmp_path)
    assert (tmp_path / name).read_text() == "bought: milk\n"


def test_runs_judged_on_other_pairs_have_no_place_in_the_tables(ended, tmp_path):
    trials = ended.trials()
    leave(ended, trials[0], record(0.01, 0.01) | {"judged_on": "others"})
    earlier = {"row": "poor", "seed": 0} | record(0.02, 0.02)
    trials[4].record.write_text(json.dumps(earlier))
    text = markdown("tiny", collect(ended))
    assert "0.01" not in text
    assert "0.02" not in text
    assert text.count("1 of 2 seeds judged on other pairs: run it again") == 2
    write_tables(ended, tmp_path / "out")
    page = " ".join((tmp_path / "out" / "report.html").read_text().split())
    assert "2 of 6 runs ended, 1 failed, 1 not run yet, 2 judged on other pairs" in page
    statuses = pd.read_csv(tmp_path / "out" / "runs.csv")["status"].tolist()
    assert statuses == ["judged on other pairs", "done", "failed", "not run", "judged on other pairs", "done"]


def test_runs_trained_on_other_photos_are_told_apart(plan, tmp_path):
    rows = [
        {"name": "one"},
        {"name": "two"},
        {"name": "three"},
        {"name": "fewer", "settings": {"faces.fake_classes": "shared"}},
    ]
    made = plan(rows, seeds=[0, 1])
    for number, trial in enumerate(made.trials()):
        leave(made, trial, record(0.1, 0.2))
        train, val = ["a", "b"], ["c"]  # as each seed splits them
        source = SourcePeople("faces", *((train, val) if trial.config.seed else (val, train)), 9, "before", "", "some")
        changed = {
            3: {"contents": "others"},
            4: {"digest": "after"},
            5: {"digest": "after"},
            6: {"digest": "shared"},
            7: {"digest": "shared"},
        }
        (trial.folder / "people.json").write_text(
            json.dumps(dataclasses.asdict(PeopleNote([dataclasses.replace(source, **changed.get(number, {}))])))
        )
    notes = [row.split(" | ")[-1] for row in markdown("tiny", collect(made)).splitlines() if row.startswith("| ")][1:]
    others = "seeds trained on other photos than one, seed 0: move one of them away and run it again, to compare them |"
    assert [note.strip("| ") for note in (notes[0], notes[3])] == ["", ""]
    assert (notes[1], notes[2]) == (f"1 of 2 {others}", f"2 of 2 {others}")
    for trial in made.trials():
        (trial.folder / "people.json").unlink()  # as an earlier version left it
    assert "other photos" not in markdown("tiny", collect(made))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"test": {"challenge_eer": -3}}, "test: expected an error rate from 0 to 1, got -3"),
        ({"test": {"challenge_eer": 0.1, "spf_eer": 1.5}}, "test_spf: expected an error rate from 0 to 1, got 1.5"),
        ({"test": {"sv_eer": 0.1}}, "test: expected an error rate from 0 to 1, got None"),
        ({"val": {"challenge_eer": "0.1"}}, "val: expected an error rate from 0 to 1, got '0.1'"),
        ({"val": {}}, "val: expected an error rate from 0 to 1, got None"),
        ({"val": "low"}, "expected a figure for val"),
        ({"cost": {}}, "expected a figure for seconds"),
        ({"images_per_second": True}, "images_per_second: expected a number from 0, got True"),
        ({"inference_ms": -1}, "inference_ms: expected a number from 0, got -1"),
        ({"inference_ms": float("nan")}, "inference_ms: expected a number from 0, got nan"),
        ({"images_per_second": float("inf")}, "images_per_second: expected a number from 0, got inf"),
        ({"machine": "mine"}, "expected machine and commit"),
        ({"status": "failed"}, "expected an error"),
    ],
)
def test_a_damaged_record_is_refused(plan, wrong, said):
    made = plan([{"name": "a"}])
    leave(made, made.trials()[0], record(0.1, 0.2) | wrong)
    with pytest.raises(DataError, match=f"a-seed0.json: damaged record: {re.escape(said)}; delete it and run"):
        collect(made)


def test_a_record_of_another_row_or_seed_is_refused(plan):
    made = plan([{"name": "a"}, {"name": "bb"}], seeds=[0, 1])
    a0, a1, bb0, _ = made.trials()
    leave(made, a0, record(0.1, 0.2))
    collect(made)
    for other, named in ((a1, 'row "a", seed 1'), (bb0, 'row "bb", seed 0')):
        shutil.copy(a0.record, other.record)
        with pytest.raises(DataError, match=f'json: is the record of row "a", seed 0; expected {named}; delete it'):
            collect(made)
        other.record.unlink()


def test_rows_of_the_same_runs_share_their_record(plan):
    made = plan([{"name": "a"}, {"name": "b", "same": "a"}])
    (trial,) = made.trials("b")
    write_record(trial, {"judged_on": digest_of(made.test)} | record(0.1, 0.2))
    (table,) = collect(made)
    assert [result.values("test") for result in table.rows] == [[0.1], [0.1]]
