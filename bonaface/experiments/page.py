"""The tables of a file of experiments as one HTML page, with how the runs learned. It has no script and fetches nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bonaface.charts.page import page_template
from bonaface.experiments.curves import MEASURED, REPORTED, learning_chart, rates_chart, series_of
from bonaface.experiments.results import TableResult, collect
from bonaface.experiments.spec import Plan
from bonaface.experiments.tables import FOOTNOTES, cells, heads, markdown, rows_csv, runs_csv
from bonaface.io import atomic_write
from bonaface.outputs import refuse_foreign_file

__all__ = ["write_tables"]


def write_tables(plan: Plan, folder: Path) -> list[Path]:
    """Writes ``table.md``, ``report.html``, ``table.csv`` (a line a row) and ``runs.csv`` (a line a run).

    Raises:
        ConfigError: if a row's run has other settings than the file.
        DataError: if they can't be written, or other files have their names.
    """
    tables = collect(plan)
    written = {
        "table.md": markdown(plan.name, tables),
        "report.html": _page(plan.name, tables),
        "table.csv": rows_csv(tables).to_csv(index=False),
        "runs.csv": runs_csv(tables).to_csv(index=False),
    }
    marks = {"table.md": f"# {plan.name}", "report.html": ": experiments</title>"}
    for name in written:
        refuse_foreign_file(folder / name, marks.get(name, "table,row,").encode())
    for name, text in written.items():
        with atomic_write(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [folder / name for name in written]


def _page(title: str, tables: Sequence[TableResult]) -> str:
    own = [result for table in tables for result in table.rows if not result.row.same]
    records = [record for result in own for record in result.records]
    return page_template(Path(__file__).with_name("page.html.j2")).render(
        title=title,
        runs=len(records),
        ended=sum(record is not None and record["status"] == "done" for record in records),
        failed=sum(record is not None and record["status"] == "failed" for record in records),
        missing=sum(record is None for record in records),
        outdated=sum(result.outdated for result in own),
        marks=[(MEASURED, "measured: every seed, the mean larger"), (REPORTED, "reported")],
        tables=[_table_view(table) for table in tables],
        footnotes=FOOTNOTES,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        whence=_whence(records),
    )


def _table_view(table: TableResult) -> dict[str, Any]:
    learned = series_of(table.rows)
    title = table.table.title
    rates = rates_chart(table.rows, f"{title}: error rates")
    charts = [
        {"title": name, "svg": Markup(learning_chart(table.rows, column, label, f"{title}: {name}"))}  # noqa: S704
        for column, name, label in (
            ("val_challenge_eer", "Validation", "EER on val"),
            ("train_loss", "Loss", "training loss"),
        )
    ]
    return {
        "title": title,
        "note": table.table.note,
        "heads": heads(table),
        "lines": cells(table),
        "rates": None if rates is None else Markup(rates),  # noqa: S704
        "charts": charts if learned else [],
        "legend": [(series, result.row.name) for series, result in learned],
        "commands": [result.command for result in table.rows if result.command],
    }


def _whence(records: Sequence[Any]) -> dict[str, list[str]]:
    """Commits and machines that the figures come from, each once."""
    ended = [record for record in records if record is not None and "machine" in record]
    named = [{"commit": record["commit"] or "outside git"} | record["machine"] for record in ended]
    names = dict.fromkeys(name for each in named for name in each)
    return {name: list(dict.fromkeys(each[name] for each in named if name in each)) for name in names}
