"""Runs recorded in MLflow and for TensorBoard; stores that can't be used are refused, ones that fail cost no training."""

import importlib.util
import io
import json
import socket
import sqlite3
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from bonaface.config import TrackingConfig
from bonaface.config_io import settings_by_name
from bonaface.errors import ConfigError, MissingExtraError
from bonaface.tracking import callbacks
from bonaface.tracking.callbacks import check_tracking, send_figures
from bonaface.tracking.mlflow import MlflowEntry, check_store
from bonaface.training.train import train

mlflow = pytest.importorskip("mlflow")


def store(path: Path, version: str | None) -> str:
    """A database with the schema version of some MLflow, or of none."""
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE metrics (key TEXT)")
        if version is not None:
            database.execute("CREATE TABLE alembic_version (version_num TEXT)")
            database.execute("INSERT INTO alembic_version VALUES (?)", (version,))
    return f"sqlite:///{path}"


@pytest.mark.parametrize(
    ("version", "what"),
    [
        ("ffffffffffff", "was made by a newer MLflow than the installed"),
        ("451aebb31d03", "was made by an older MLflow than the installed .* mlflow db upgrade sqlite:///"),
        (None, "is no MLflow store"),
    ],
    ids=["newer", "older", "another database"],
)
def test_stores_of_other_versions(tmp_path, version, what):
    with pytest.raises(ConfigError, match=what):
        check_store(store(tmp_path / "mlflow.db", version))


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"<html>" * 500)
    with pytest.raises(ConfigError, match=r"mlflow\.db: is no MLflow store"):
        check_store(f"sqlite:///{tmp_path / 'mlflow.db'}")


def test_a_locked_store(tmp_path, monkeypatch):
    monkeypatch.setattr("bonaface.tracking.mlflow._PATIENCE", 0.1)
    uri = store(tmp_path / "mlflow.db", "ffffffffffff")
    with sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(
            ConfigError, match=r"mlflow\.db: is locked by another program; end it, or set tracking\.mlflow"
        ):
            check_store(uri)
        other.execute("ROLLBACK")


def test_a_server_that_does_not_answer():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(ConfigError, match=f"http://127.0.0.1:{port} can't be used as an MLflow store"):
        check_store(f"http://127.0.0.1:{port}")


def test_a_package_that_is_missing(monkeypatch):
    monkeypatch.setattr("bonaface.extras._is_installed", lambda module: False)
    with pytest.raises(
        MissingExtraError, match=r"^tracking.mlflow: needs MLflow.*'bonaface\[experiments\]', or set it to null"
    ):
        check_tracking(TrackingConfig(mlflow="sqlite:///x.db"))
    with pytest.raises(MissingExtraError, match=r"^tracking.tensorboard: needs TensorBoard.*\[experiments\]"):
        check_tracking(TrackingConfig(tensorboard=True))


def test_nothing_is_written_where_the_store_is_refused(config, tmp_path):
    uri = store(tmp_path / "mlflow.db", "ffffffffffff")
    with pytest.raises(ConfigError, match="newer"):
        train(config(**{"tracking.mlflow": uri}), Console(file=io.StringIO()))
    assert not (tmp_path / "runs").exists()


def test_a_run_is_recorded_whole_and_gone_on_with(trained, config, tmp_path):
    """Parameters, curves, files, environment and commit; a resumed run adds to its own entry."""
    uri = f"sqlite:///{tmp_path / 'store' / 'mlflow.db'}"
    settings = {"tracking.mlflow": uri, "tracking.experiment": "tiny"}
    run = trained("a", **settings)
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("tiny")
    [entry] = client.search_runs([experiment.experiment_id])
    assert entry.info.run_name == "a"
    assert entry.info.status == "FINISHED"
    assert entry.data.params["batch.n_labels"] == "4"
    assert entry.data.params["optimizer.lr"] == "0.001"
    assert entry.data.tags["bonaface.folder"] == str(run)
    assert "mlflow.source.git.commit" in entry.data.tags
    history = pd.read_csv(run / "metrics.csv")
    curve = client.get_metric_history(entry.info.run_id, "val_challenge_eer")
    assert [(point.step, point.value) for point in curve] == list(
        zip(history["step"], history["val_challenge_eer"], strict=True)
    )
    assert [point.step for point in client.get_metric_history(entry.info.run_id, "train_loss")] == [2, 4, 6]
    names = {file.path for file in client.list_artifacts(entry.info.run_id)}
    assert {"config.yaml", "metrics.json", "metrics.csv", "calibration.json", "environment.txt"} <= names
    assert "best.ckpt" not in names  # the run's folder lies beside a local store

    trained("a", resume=True, **settings)
    made = config("a", **settings)
    send_figures(made.tracking, settings_by_name(made), run, {"test_challenge_eer": 0.25}, Console(file=io.StringIO()))
    [entry] = client.search_runs([experiment.experiment_id])
    assert len(client.get_metric_history(entry.info.run_id, "val_challenge_eer")) == 4
    assert entry.data.metrics["test_challenge_eer"] == 0.25


def test_a_store_that_fails_meanwhile_costs_no_training(config, tmp_path, monkeypatch):
    def fails(*arguments, **named):
        raise OSError("the server\nis gone")

    monkeypatch.setattr(callbacks, "check_store", lambda uri: None)
    for name in ("begin", "figures", "end"):
        monkeypatch.setattr(MlflowEntry, name, fails)
    said = io.StringIO()
    run = train(config("a", **{"tracking.mlflow": f"sqlite:///{tmp_path / 'x.db'}"}), Console(file=said, width=200))
    assert (run / "metrics.json").exists()
    assert said.getvalue().count("does not record this run (the server is gone)") == 1


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="TensorBoard is not installed")
def test_curves_for_tensorboard(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = trained("a", **{"tracking.tensorboard": "true"})
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    history = pd.read_csv(run / "metrics.csv")
    points = events.Scalars("val_challenge_eer")
    assert [point.step for point in points] == history["step"].tolist()
    assert [point.value for point in points] == pytest.approx(history["val_challenge_eer"].tolist(), abs=1e-6)


def test_what_a_training_costs_goes_on_with_it(trained, config):
    run = trained("a", steps=4)
    first = json.loads((run / "metrics.json").read_text())["cost"]
    assert first["seconds"] > 0
    assert first["memory_of"] == "process"
    train(config("a", steps=4), Console(file=io.StringIO()), resume=True)
    again = json.loads((run / "metrics.json").read_text())["cost"]
    assert again["seconds"] >= first["seconds"]
