"""The tables of a file of experiments: Markdown for people, CSV for programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from bonaface.experiments.records import FIGURES
from bonaface.experiments.results import RowResult, Spread, TableResult

__all__ = ["FOOTNOTES", "Cell", "cells", "heads", "markdown", "rows_csv", "runs_csv"]

FOOTNOTES = (
    "EER: equal error rate of same person against all negatives; ±: standard deviation over seeds; best of a table in bold.",
    "Time: training and validation. Memory: the most that torch held on the card, or the process where there is none.",
    "Inference: a decoded image to its embedding, 32 at once; measured when all runs had ended, one at a time.",
)


@dataclass(frozen=True)
class Cell:
    """A cell's text, and whether it is the best of its column."""

    text: str
    best: bool = False


_DIGITS = 4


def _rate(value: float) -> str:
    return f"{value:.{_DIGITS}f}"


def _seconds(value: float) -> str:
    if value < 90:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"


_RATES = {"test": "EER on test", "val": "EER on val"}
_COSTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "seconds": ("time", _seconds),
    "peak_memory_bytes": ("peak memory", lambda value: f"{value / 2**30:.2f} GiB"),
    "images_per_second": ("images/s", lambda value: f"{value:.0f}"),
    "inference_ms": ("inference", lambda value: f"{value:.2f} ms"),
}
_KINDS = {"test_sv": "test, another person", "test_spf": "test, own deepfake"}


def heads(table: TableResult) -> list[str]:
    """The names of the columns; reported figures have one only where the table has any."""
    names = ["row", "training details"]
    for key, title in _RATES.items():
        names += [title, *(["reported"] if _has_reported(table, key) else [])]
    return [*names, *_KINDS.values(), *(title for title, _ in _COSTS.values()), "notes"]


def _has_reported(table: TableResult, key: str) -> bool:
    return any(key in result.row.reported for result in table.rows)


def cells(table: TableResult) -> list[list[Cell]]:
    """The cells of every row, in the order of ``heads``."""
    best = {key: _best(table.rows, key) for key in (*_RATES, *_KINDS)}
    made = []
    for result in table.rows:
        line = [Cell(result.row.name), Cell(result.training)]
        for key in _RATES:
            line.append(_measured(result, key, best[key]))
            if _has_reported(table, key):
                reported = result.row.reported.get(key)
                line.append(Cell("" if reported is None else f"{reported:.5g}"))
        line += [_measured(result, key, best[key]) for key in _KINDS]
        for key, (_, said) in _COSTS.items():
            spread = result.spread(key)
            line.append(Cell("" if spread is None else said(spread.mean)))
        made.append([*line, Cell(_notes(result))])
    return made


def _best(rows: Sequence[RowResult], key: str) -> float | None:
    """The lowest mean of a column, as it is shown, where there are two to compare."""
    means = [round(spread.mean, _DIGITS) for result in rows if (spread := result.spread(key)) is not None]
    return min(means) if len(means) > 1 else None


def _measured(result: RowResult, key: str, best: float | None) -> Cell:
    spread = result.spread(key)
    return Cell("") if spread is None else Cell(_with_deviation(spread), round(spread.mean, _DIGITS) == best)


def _with_deviation(spread: Spread) -> str:
    return _rate(spread.mean) + ("" if spread.deviation is None else f" ± {_rate(spread.deviation)}")


def _notes(result: RowResult) -> str:
    told = [f"the run of {result.row.same}"] if result.row.same else []
    told += [result.row.note] if result.row.note else []
    told += [f"failed: {error}" for error in result.failures]
    if result.missing:
        runs = len(result.records)
        told.append("not run yet" if result.missing == runs else f"{result.missing} of {runs} seeds not run yet")
    if result.outdated:
        told.append(f"{result.outdated} of {len(result.records)} seeds judged on other pairs: run it again")
    if result.others:
        seeds = f"{len(result.others)} of {len(result.records)} seeds trained on other photos than {result.others[0]}"
        told.append(f"{seeds}: move one of them away and run it again, to compare them")
    return "; ".join(told)


def markdown(title: str, tables: Sequence[TableResult]) -> str:
    """All tables, and the command of each row.

    Args:
        title: the heading.
        tables: as ``collect`` gives them.
    """
    lines = [f"# {title}", ""]
    for table in tables:
        lines += [f"## {table.table.title}", ""]
        lines += [table.table.note, ""] if table.table.note else []
        lines += [_line(heads(table)), "|" + "---|" * len(heads(table))]
        lines += [_line([_bold(cell) for cell in line]) for line in cells(table)]
        commands = [result.command for result in table.rows if result.command]
        lines += ["", *(f"    {command}" for command in commands), ""] if commands else [""]
    return "\n".join([*lines, *FOOTNOTES]) + "\n"


def _bold(cell: Cell) -> str:
    return f"**{cell.text}**" if cell.best else cell.text


def _line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def rows_csv(tables: Sequence[TableResult]) -> pd.DataFrame:
    """One line a row: every figure's mean and deviation over seeds beside what was reported."""
    lines = []
    for table in tables:
        for result in table.rows:
            line = {"table": table.table.title, "row": result.row.name, "training": result.training}
            figures: dict[str, float | int | None] = {"seeds": len(result.row.seeds) if result.trials else 0}
            for name in FIGURES:
                spread = result.spread(name)
                figures[name] = None if spread is None else spread.mean
                figures[f"{name}_deviation"] = None if spread is None else spread.deviation
            figures |= {f"{key}_reported": result.row.reported.get(key) for key in _RATES}
            lines.append(line | figures | {"notes": _notes(result), "command": result.command})
    return pd.DataFrame(lines)


def runs_csv(tables: Sequence[TableResult]) -> pd.DataFrame:
    """One line a run: its seed, how it ended, its figures and its folder."""
    lines = []
    for table in tables:
        for result in table.rows:
            for trial, record in zip(result.trials, result.records, strict=True):
                status = "not run" if record is None else record["status"]
                line = {"table": table.table.title, "row": result.row.name, "seed": trial.config.seed, "status": status}
                if record is not None and status == "done":
                    line |= {name: figure(record) for name, figure in FIGURES.items()}
                lines.append(line | {"folder": trial.folder.as_posix()})
    return pd.DataFrame(lines)
