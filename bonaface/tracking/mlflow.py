"""An MLflow store: found out to be usable before anything is trained, and a run's entry in it.

A store that fails while a run trains costs no training: what it refused is sent again with the next figures.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bonaface.errors import ConfigError, DataError
from bonaface.extras import require
from bonaface.io import atomic_write, parse_json
from bonaface.reading import read_regular_text
from bonaface.tracking.provenance import installed_packages, machine, source_commit

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["MlflowEntry", "check_store", "database_of", "is_local"]

_SQLITE = "sqlite:///"
_PATIENCE = 3.0  # seconds that a locked database is waited for
_ENTRY = "mlflow.json"
_LONGEST = 500  # characters of a parameter that every MLflow takes


def is_local(uri: str) -> bool:
    """True for a store on this machine's disk."""
    return uri.startswith((_SQLITE, "file:")) or "://" not in uri


def database_of(uri: str) -> Path | None:
    """The file of an SQLite store; None of any other.

    Example:
        >>> database_of("sqlite:///runs/mlflow.db").as_posix(), database_of("https://mlflow.example")
        ('runs/mlflow.db', None)
    """
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def check_store(uri: str) -> None:
    """Refuses a store that can't be used; a new SQLite store is made.

    Args:
        uri: as MLflow takes it: ``sqlite:///FILE``, ``https://...``.

    Raises:
        MissingExtraError: if MLflow is not installed.
        ConfigError: if the store is locked, read-only, of another version of MLflow or no store;
            if the server does not answer.
    """
    client = _quiet_client()
    file = database_of(uri)
    if file is not None:
        if file.exists():
            _check_database(file)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"tracking.mlflow: {file.parent}: can't be made ({error.strerror})") from error
    with _impatient():
        try:
            client(uri).search_experiments(max_results=1)
        except Exception as error:
            raise ConfigError(
                f"tracking.mlflow: {uri} can't be used as an MLflow store ({_brief(error)}); expected a server that answers, "
                "a file as in sqlite:///runs/mlflow.db, or null to go without"
            ) from error


def _quiet_client() -> type[MlflowClient]:
    """MLflow's client, which then says nothing of its own; one that is made looks at its store at once."""
    require("experiments", "mlflow", what="tracking.mlflow", instead="set it to null")
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient


def _check_database(file: Path) -> None:
    """MLflow itself would wait and retry for minutes."""
    try:
        with closing(sqlite3.connect(file, timeout=_PATIENCE, isolation_level=None)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            versions = database.execute("SELECT version_num FROM alembic_version").fetchall() if tables else []
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise ConfigError(f"tracking.mlflow: {file}: {_of_sqlite(str(error))}") from error
    if versions:
        _check_version(file, versions[0][0])


def _of_sqlite(said: str) -> str:
    if "locked" in said:
        return "is locked by another program; end it, or set tracking.mlflow to another store"
    if "readonly" in said or "unable to open" in said:
        return "can't be written to; set tracking.mlflow to a store that can"
    return f"is no MLflow store ({said}); set tracking.mlflow to another file"


def _check_version(file: Path, version: str) -> None:
    """The store's schema is the installed MLflow's own, an older one, or one that it does not know yet."""
    import mlflow
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    scripts = ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
    if version in scripts.get_heads():
        return
    try:
        scripts.get_revision(version)
    except CommandError as error:
        raise ConfigError(
            f"tracking.mlflow: {file}: was made by a newer MLflow than the installed {mlflow.__version__} (schema {version}); "
            "install that one, or name another store in tracking.mlflow"
        ) from error
    raise ConfigError(
        f"tracking.mlflow: {file}: was made by an older MLflow than the installed {mlflow.__version__}; bring it up to date by "
        f"mlflow db upgrade {_SQLITE}{file}, or set tracking.mlflow to another store"
    )


@contextmanager
def _impatient() -> Iterator[None]:
    """MLflow's client asks a server that is not there for minutes; a question before the start may fail at once."""
    wanted = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _brief(error: Exception) -> str:
    """The end of a chain of causes, on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."


class MlflowEntry:
    """A run's entry in a store; a resumed run resumes its entry.

    Args:
        uri: of the store.
        experiment: of the store, made if it is new.
        settings: every setting of the run by its dotted name: the entry's parameters.
        run: the run's folder; ``mlflow.json`` in it names the entry.
    """

    def __init__(self, uri: str, experiment: str, settings: Mapping[str, Any], run: Path) -> None:
        self.uri = uri
        self.experiment = experiment
        self.settings = settings
        self.run = run
        self.client = _quiet_client()(self.uri)

    def begin(self) -> None:
        """Makes the entry, or marks the old one as running again."""
        self.client.update_run(self._entry(), status="RUNNING")

    def _entry(self) -> str:
        """The entry, made with its parameters, the commit and the environment where the store has none yet."""
        kept = self._read().get("entry")
        if kept is not None:
            return str(kept)
        entry = str(
            self.client.create_run(self._experiment_id(), run_name=self.run.name, tags=self._tags()).info.run_id
        )
        for name, value in self.settings.items():
            self.client.log_param(entry, name, str(value)[:_LONGEST])
        self.client.log_text(entry, "\n".join(installed_packages()) + "\n", "environment.txt")
        self._keep(entry, -1)
        return entry

    def _experiment_id(self) -> str:
        found = self.client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        place = None
        database = database_of(self.uri)
        if database is not None:  # MLflow's default is a folder of wherever the program was started
            place = (database.resolve().parent / "mlartifacts" / self.experiment).as_uri()
        try:
            return str(self.client.create_experiment(self.experiment, artifact_location=place))
        except Exception:
            found = self.client.get_experiment_by_name(self.experiment)  # another run has just made it
            if found is None:
                raise
            return str(found.experiment_id)

    def _tags(self) -> dict[str, Any]:
        commit = source_commit()
        return (
            {"bonaface.folder": str(self.run.resolve())}
            | machine()
            | ({"mlflow.source.git.commit": commit} if commit else {})
        )

    def figures(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Sends the rows of a history, each with its ``step``, that have not been sent."""
        from mlflow.entities import Metric

        entry = self._entry()
        sent, now = int(self._read().get("sent", -1)), int(1000 * time.time())
        for row in rows:
            step = int(row["step"])
            if step <= sent:
                continue
            metrics = [
                Metric(name, value, now, step) for name, value in row.items() if name != "step" and math.isfinite(value)
            ]
            self.client.log_batch(entry, metrics=metrics)
            self._keep(entry, step)

    def last(self, values: Mapping[str, float]) -> None:
        """Sends figures that belong to the run as a whole."""
        for name, value in values.items():
            self.client.log_metric(self._entry(), name, value)

    def end(self, status: str) -> None:
        """Ends the entry as ``FINISHED``, ``FAILED`` or ``KILLED``, with the files of the run.

        Weights are sent to a server alone: beside a local store lies the run's folder.
        """
        entry = self._entry()
        for file in sorted(self.run.iterdir()):
            weights = file.suffix == ".ckpt"
            wanted = file.name == "best.ckpt" and not is_local(self.uri) if weights else file.is_file()
            if wanted and file.name != _ENTRY and status == "FINISHED":
                self.client.log_artifact(entry, str(file))
        self.client.set_terminated(entry, status)

    def _read(self) -> dict[str, Any]:
        file = self.run / _ENTRY
        try:
            kept = parse_json(read_regular_text(file)) if file.exists() else {}
        except ValueError as error:
            raise DataError(f"{file}: is damaged; delete it to begin a new entry") from error
        return kept if isinstance(kept, dict) and kept.get("store") == self.uri else {}

    def _keep(self, entry: str, sent: int) -> None:
        with atomic_write(self.run / _ENTRY) as temporary:
            temporary.write_text(json.dumps({"store": self.uri, "entry": entry, "sent": sent}) + "\n", encoding="utf-8")
