"""``bonaface experiments`` as a user gives it, on a Ray of this machine."""

import json
import os
import socket

import pytest

from bonaface.cli.experiments import main
from bonaface.errors import ConfigError, DataError
from bonaface.experiments.parsing import read_plan
from bonaface.experiments.ray_runner import measure_all, run_trials
from bonaface.experiments.records import read_record


@pytest.mark.usefixtures("ray_here")
def test_rows_run_fail_are_kept_and_become_tables(write_plan, tmp_path, capfd):
    rows = [
        {"name": "good", "reported": {"val": 0.5}},
        {"name": "too many", "settings": {"batch.n_labels": 99}},
    ]
    file = write_plan(rows)
    assert main(["run", str(file), "--workers", "2"]) == 1
    said = capfd.readouterr().err
    assert f"{file}: 2 runs, 0 of which ended well" in said
    assert "too many, seed 0: failed: n_labels: a step needs 99 labels" in said
    assert "good, seed 0: val EER " in said
    good = tmp_path / "runs" / "tiny" / "good-seed0"
    first = (good / "best.ckpt").stat().st_mtime_ns

    write_plan([rows[0], rows[1] | {"settings": {"batch.n_labels": 3}}])
    assert main(["run", str(file)]) == 0
    said = capfd.readouterr().err
    assert f"{file}: 2 runs, 1 of which ended well" in said
    assert "too many, seed 0: val EER " in said
    assert (good / "best.ckpt").stat().st_mtime_ns == first
    assert main(["run", str(file)]) == 0
    assert "2 of which ended well" in capfd.readouterr().err

    assert main(["report", str(file)]) == 0
    table = (tmp_path / "runs" / "tiny" / "table.md").read_text()
    eer = json.loads((good / "metrics.json").read_text())["val"]["challenge_eer"]
    assert f"{eer:.4f}" in table
    assert "| good |" in table
    assert main(["report", str(file), "--out", str(tmp_path / "elsewhere")]) == 0
    assert (tmp_path / "elsewhere" / "report.html").exists()


@pytest.mark.usefixtures("ray_here")
def test_a_trial_whose_process_dies_takes_no_other_along(plan, monkeypatch):
    made = plan([{"name": "a"}])
    trial = made.trials()[0]
    monkeypatch.setattr("bonaface.experiments.ray_runner._in_folder", lambda *arguments: os._exit(9))
    ended = []
    run_trials([trial], None, made.resources, 1, lambda trial: None, lambda trial, record: ended.append(record))
    assert [record["status"] for record in ended] == ["failed"]
    record = read_record(trial)
    assert record is not None
    assert "Worker" in record["error"]


@pytest.mark.usefixtures("ray_here")
def test_a_network_that_is_gone_when_it_is_to_be_timed(plan):
    made = plan([{"name": "a"}])
    with pytest.raises(DataError, match="a, seed 0: its network can't be timed") as refused:
        measure_all(made.trials(), made.resources, 1)
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("ray_here")
def test_more_than_a_machine_has(write_plan):
    file = write_plan([{"name": "a"}], resources={"gpus": 64})
    with pytest.raises(ConfigError, match=r"resources: no machine has .* 64 graphics cards: the largest has"):
        main(["run", str(file)])


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("127.0.0.1:{port}", "nothing answers there"),
        ("ray://127.0.0.1:{port}", "nothing answers there"),
        ("somewhere", "is no address"),
        ("127.0.0.1:port", "is no address"),
    ],
)
def test_a_cluster_that_does_not_answer(monkeypatch, address, what):
    import ray

    from bonaface.inference.ray_cluster import connected

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    given = address.format(port=free_port())
    with pytest.raises(ConfigError, match=f"--ray-address: {given}: {what}.*expected the HOST:PORT"), connected(given):
        pass


def test_nothing_is_trained_where_something_is_wrong(write_plan, tmp_path):
    with pytest.raises(ConfigError, match="--workers: expected at least 1, got 0"):
        main(["run", str(write_plan([{"name": "a"}])), "--workers", "0"])
    (tmp_path / "mlflow.db").write_text("no database at all, but long enough to be looked at by SQLite as one" * 20)
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with pytest.raises(ConfigError, match="is no MLflow store"):
        main(["run", str(write_plan([{"name": "a"}], settings={"tracking.mlflow": store}))])
    assert not (tmp_path / "runs").exists()


def test_a_changed_row_is_refused_before_any_other_runs(write_plan):
    from bonaface.experiments.runner import run_trial

    file = write_plan([{"name": "a"}])
    run_trial(read_plan(file).trials()[0], None)
    write_plan([{"name": "b"}, {"name": "a", "settings": {"steps": 3}}])
    for command in ("run", "report"):
        with pytest.raises(ConfigError, match=r'row "a": .* was made with other settings \(steps\)'):
            main([command, str(file)])


def test_mlflow_pages_need_a_store(tmp_path, monkeypatch, capfd, write_plan):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"runs/mlflow\.db: no run has been recorded there"):
        main(["ui"])
    with pytest.raises(ConfigError, match="its rows are not recorded in MLflow"):
        main(["ui", str(write_plan([{"name": "a"}]))])
    assert main(["ui", "--store", "https://mlflow.example"]) == 0
    assert "https://mlflow.example: open it in a browser" in capfd.readouterr().err
