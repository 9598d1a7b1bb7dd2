"""Trials on Ray: on this machine, or on a cluster; each in a process of its own, so that one that dies takes no other along."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bonaface.errors import ConfigError, DataError
from bonaface.experiments.records import Record, write_record
from bonaface.experiments.spec import Resources, TestPairs, Trial
from bonaface.inference.ray_cluster import brief

__all__ = ["measure_all", "run_trials"]

Ended = Callable[[Trial, Record], None]


def run_trials(
    trials: Sequence[Trial],
    test: TestPairs | None,
    resources: Resources,
    workers: int | None,
    started: Callable[[Trial], None],
    ended: Ended,
) -> None:
    """Runs trials on the Ray that this process is connected to.

    Args:
        trials: what to run, in this order.
        test: pairs that every trained model is judged on.
        resources: of each trial.
        workers: trials at once; None leaves it to Ray, which goes by the resources.
        started: called when a trial is handed to Ray.
        ended: called with its record.

    Raises:
        ConfigError: if no machine has the resources.
    """
    import ray

    cpus = _cpus(resources, workers)
    _refuse_too_much(cpus, resources.gpus)
    # A process serves one trial, so that the most memory it held is that trial's. One that dies is tried again once, from its
    # checkpoint: the machine may have been taken away.
    remote = ray.remote(max_calls=1, max_retries=1, num_cpus=cpus, num_gpus=resources.gpus)(_in_folder)
    waiting: deque[Trial] = deque(trials)
    running: dict[Any, Trial] = {}
    while waiting or running:
        while waiting and len(running) < (workers or len(trials)):
            trial = waiting.popleft()
            running[remote.remote(Path.cwd().as_posix(), trial, test, max(1, int(cpus)))] = trial
            started(trial)
        (ready, *_), _ = ray.wait(list(running))
        trial = running.pop(ready)
        ended(trial, _record(ready, trial))


def measure_all(trials: Sequence[Trial], resources: Resources, workers: int | None) -> None:
    """Time the networks of trials that have ended well, one at a time, with the cores that they were trained with.

    Args:
        trials: to be timed.
        resources: of each trial.
        workers: trials that ran at once, where the cores were shared out.

    Raises:
        DataError: if one can't be timed.
    """
    import ray

    cpus = _cpus(resources, workers)
    remote = ray.remote(max_calls=1, num_cpus=cpus, num_gpus=resources.gpus)(_measured_in_folder)
    for trial in trials:
        try:
            ray.get(remote.remote(Path.cwd().as_posix(), trial, max(1, int(cpus))))
        except ray.exceptions.RayError as error:
            raise DataError(
                f"{trial.name}: its network can't be timed ({_told(error)}); run the same command again"
            ) from error


def _cpus(resources: Resources, workers: int | None) -> float:
    return resources.cpus or (max(1, (os.cpu_count() or 1) // workers) if workers else 1)


def _measured_in_folder(folder: str, trial: Trial, threads: int) -> Record:
    from bonaface.experiments.runner import measure_inference

    _enter(folder)
    return measure_inference(trial, threads)


def _in_folder(folder: str, trial: Trial, test: TestPairs | None, threads: int) -> Record:
    """Runs one trial in a worker: the paths of the file of experiments start from where the command was given."""
    from bonaface.experiments.runner import run_trial

    _enter(folder)
    return run_trial(trial, test, threads)


def _enter(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        raise DataError(
            f"{folder}: is not on {socket.gethostname()}: the machines of a cluster need a disk that they share"
        ) from error


def _record(reference: Any, trial: Trial) -> Record:
    """A trial's record; where its process died it could not write one itself."""
    import ray

    try:
        record: Record = ray.get(reference)
    except ray.exceptions.RayError as error:
        record = {"status": "failed", "error": _told(error)}
        write_record(trial, record)
    return record


def _told(error: Exception) -> str:
    """What went wrong in a worker, in one line of Ray's many."""
    cause = getattr(error, "cause", None) or error
    return f"{type(cause).__name__}: {brief(cause)}"


def _refuse_too_much(cpus: float, gpus: float) -> None:
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
        most = {name: max((node.get(name, 0) for node in nodes), default=0) for name in ("CPU", "GPU")}
        raise ConfigError(
            f"resources: no machine has {cpus:g} processor cores and {gpus:g} graphics cards: "
            f"the largest has {most['CPU']:g} and {most['GPU']:g}"
        )
