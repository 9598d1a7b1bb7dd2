"""``bonaface experiments``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from bonaface.cli.console import ProgressConsole, counted
from bonaface.cli.options import refuse_no_workers, refuse_port
from bonaface.cli.parser import Parser
from bonaface.errors import ConfigError
from bonaface.io import integer

if TYPE_CHECKING:
    from bonaface.experiments.spec import Plan, Trial

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="bonaface experiments",
        usage="bonaface experiments run FILE [--only PATTERN] [--workers N] [--ray-address A]\n"
        "       bonaface experiments report FILE [--out DIR]\n"
        "       bonaface experiments ui [FILE] [--store URI] [--port N]",
        description="Run a file of experiments, on one machine or many, and make tables of it: measured beside reported.",
        epilog="bonaface experiments run --help and so on say more.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="run | report | ui", prog=parser.prog)
    run = commands.add_parser(
        "run",
        help="train and judge every row that has not ended well",
        description="Train and judge every row of a file. Rows that have ended well are not run again; stopped ones resume "
        "from their checkpoints; one that fails is marked with its error, and the others continue.",
        epilog="Exit code 1: some rows failed; they are named.",
    )
    run.add_argument("file", type=Path, metavar="FILE", help="YAML file of experiments")
    run.add_argument("--only", default="*", metavar="PATTERN", help="only rows whose name fits, as in 'vits16*'")
    run.add_argument(
        "--workers", type=integer, metavar="N", help="trials at once (default: 1; on a cluster what it holds)"
    )
    run.add_argument(
        "--ray-address",
        metavar="A",
        help="Ray cluster to run on: HOST:PORT, ray://HOST:PORT or auto (default: this machine)",
    )
    report = commands.add_parser(
        "report", help="write the tables", description="Write table.md, report.html, table.csv and runs.csv."
    )
    report.add_argument("file", type=Path, metavar="FILE", help="YAML file of experiments")
    report.add_argument("--out", type=Path, metavar="DIR", help="where to (default: the folder of the runs)")
    ui = commands.add_parser(
        "ui", help="open MLflow", description="Serve MLflow's pages on the store that the runs are recorded in."
    )
    ui.add_argument(
        "file", type=Path, nargs="?", metavar="FILE", help="YAML file of experiments, whose store is opened"
    )
    ui.add_argument("--store", metavar="URI", help="another store (default: sqlite:///runs/mlflow.db)")
    ui.add_argument("--port", type=integer, default=5000, metavar="N", help="default: %(default)s")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Runs a file of experiments, writes its tables, or serves MLflow; returns 1 where rows failed."""
    options = _parser().parse_args(arguments)
    return {"run": _run, "report": _report, "ui": _ui}[options.command](options)


def _run(options: argparse.Namespace) -> int:
    from bonaface.experiments.judged_pairs import digest_of
    from bonaface.experiments.parsing import read_plan
    from bonaface.experiments.records import is_done, is_untimed, refuse_changed

    refuse_no_workers(options.workers)
    console = ProgressConsole()
    plan = read_plan(options.file)
    trials = plan.trials(options.only)
    for trial in trials:
        refuse_changed(trial)
    judged_on = digest_of(plan.test)
    left = [trial for trial in trials if not is_done(trial, judged_on)]
    _say(console, f"{options.file}: {counted(len(trials), 'run')}, {len(trials) - len(left)} of which ended well")
    if not left and not any(map(is_untimed, trials)):
        return 0
    failed = _run_all(plan, trials, left, options, console)
    _say(console, f"{len(left) - failed} ended well" + (f", {failed} failed" if failed else ""))
    _say(console, f"bonaface experiments report {options.file}: writes the tables")
    return 1 if failed else 0


def _run_all(plan: Plan, trials: list[Trial], left: list[Trial], options: argparse.Namespace, console: Console) -> int:
    """Run what is left, then time each network alone; return how many runs failed."""
    from bonaface.experiments.ray_runner import measure_all, run_trials
    from bonaface.experiments.records import is_untimed
    from bonaface.experiments.runner import refuse_missing
    from bonaface.inference.ray_cluster import connected
    from bonaface.tracking.callbacks import check_tracking

    refuse_missing(left)
    for tracking in dict.fromkeys(trial.config.tracking for trial in left):
        check_tracking(tracking)
    failed = 0

    def started(trial: Trial) -> None:
        console.log(f"{trial.name}: started; its log is {trial.log}")

    def ended(trial: Trial, record: dict[str, Any]) -> None:
        nonlocal failed
        failed += record["status"] == "failed"
        console.log(f"{trial.name}: {_told(record)}")

    workers = options.workers or (1 if options.ray_address is None else None)
    with connected(options.ray_address):
        run_trials(left, plan.test, plan.resources, workers, started, ended)
        untimed = [trial for trial in trials if is_untimed(trial)]
        _say(console, f"timing {counted(len(untimed), 'network')}, one at a time")
        measure_all(untimed, plan.resources, workers)
    return failed


def _told(record: dict[str, Any]) -> str:
    if record["status"] == "failed":
        return f"failed: {record['error']}"
    rates = [f"{name} EER {record[name]['challenge_eer']:.4f}" for name in ("val", "test") if record[name] is not None]
    return f"{', '.join(rates)}; {record['cost']['seconds']:.0f} s"


def _report(options: argparse.Namespace) -> int:
    from bonaface.experiments.page import write_tables
    from bonaface.experiments.parsing import read_plan

    plan = read_plan(options.file)
    for file in write_tables(plan, options.out or plan.folder):
        _say(Console(stderr=True), str(file))
    return 0


def _ui(options: argparse.Namespace) -> int:
    from bonaface.tracking.mlflow import check_store, database_of, is_local

    refuse_port(options.port)
    store = options.store or _store_of(options.file)
    database = database_of(store)
    if database is not None and not database.exists():
        raise ConfigError(
            f"{database}: no run has been recorded there; name the store by --store, or run experiments first"
        )
    if is_local(store):
        check_store(store)
        _say(Console(stderr=True), f"http://127.0.0.1:{options.port}: MLflow on {store}; Ctrl-C ends it")
        words = ["--backend-store-uri", store, "--host", "127.0.0.1", "--port", str(options.port)]
        # In place of this process, so that signals reach MLflow itself.
        os.execv(sys.executable, [sys.executable, "-m", "mlflow", "ui", *words])  # noqa: S606
    _say(Console(stderr=True), f"{store}: open it in a browser")
    return 0


def _store_of(file: Path | None) -> str:
    """The first store that a file of experiments records in."""
    if file is None:
        return "sqlite:///runs/mlflow.db"
    from bonaface.experiments.parsing import read_plan

    stores = [config.tracking.mlflow for config in read_plan(file).configs.values()]
    named = next((store for store in stores if store), None)
    if named is None:
        raise ConfigError(f"{file}: its rows are not recorded in MLflow: tracking.mlflow is null")
    return named


def _say(console: Console, sentence: str) -> None:
    console.print(sentence, highlight=False, markup=False, soft_wrap=True)
