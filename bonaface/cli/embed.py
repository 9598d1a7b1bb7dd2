"""``bonaface embed``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bonaface.cli.console import ProgressConsole, say_videos
from bonaface.cli.options import DETECTOR, add_device, refuse_no_workers, say_device
from bonaface.cli.parser import Parser
from bonaface.data.videos import IN_PYTHON, videos_below
from bonaface.errors import ConfigError
from bonaface.extras import require
from bonaface.io import integer
from bonaface.outputs import refuse_stdout

__all__ = ["main"]

_COLUMNS = (TextColumn("embedding"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn())


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="bonaface embed",
        description="Embed images: path, embedding, authenticity (the log-odds that the photo is genuine, where the model judges "
        "it), fault (why there is no embedding). A folder becomes one .npz file; any number of images, on many processors or "
        "machines, a Parquet data set, which the same command resumes.",
        epilog="Exit code 1: some images can't be used; their fault says why.",
    )
    parser.add_argument(
        "source",
        metavar="DIR_OR_TABLE",
        help="folder of images, with all folders below, or a CSV or parquet table with a column path; local, or a URL such as "
        "s3://bucket/photos",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="OUT",
        help="FILE.npz, which NumPy reads; or the folder of a Parquet data set, local or a URL, which readers take for one table",
    )
    parser.add_argument(
        "--model", metavar="X", help="folder of a run, or an ONNX face network (default: the model of the package)"
    )
    parser.add_argument("--detector", type=Path, metavar="ONNX", help=DETECTOR)
    add_device(parser)
    parser.add_argument(
        "--workers",
        type=integer,
        metavar="N",
        help="models at once (default: one a processor core, or one a graphics card)",
    )
    parser.add_argument(
        "--ray-address", metavar="A", help="Ray cluster: HOST:PORT, ray://HOST:PORT or auto (default: this machine)"
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    """Embeds images; returns 1 where some could not be used."""
    options = _parser().parse_args(arguments)
    refuse_no_workers(options.workers)
    refuse_stdout(options.out)
    return _into_file(options) if options.out.endswith(".npz") else _into_parquet(options)


def _into_file(options: argparse.Namespace) -> int:
    if options.workers is not None or options.ray_address is not None:
        raise ConfigError(
            f"--out {options.out}: one process writes it, without --workers and --ray-address; for many name a folder"
        )
    from bonaface.inference.embedder import load_embedder
    from bonaface.inference.embedding_file import embed_folder

    console = ProgressConsole()
    embedder = load_embedder(options.model, options.detector, options.device)
    say_device(embedder.network.runtime)
    with Progress(*_COLUMNS, console=console, transient=True, disable=not console.is_terminal) as progress:
        images, faults = embed_folder(embedder, Path(options.source), Path(options.out), progress)
    said = f"{options.out}: {images - faults:,} images embedded" + (f"; {faults:,} can't be used" if faults else "")
    console.print(said, highlight=False, markup=False, soft_wrap=True)
    say_videos(console, videos_below([Path(options.source)], "._"), IN_PYTHON)
    return 1 if faults else 0


def _into_parquet(options: argparse.Namespace) -> int:
    modules = ("ray", "pyarrow", "fsspec")
    require("experiments", *modules, what=f"--out {options.out}", instead="name a file instead: --out FILE.npz")
    from bonaface.inference.bulk import BulkJob, begin, embed_shards, finished_shards
    from bonaface.inference.ray_cluster import connected

    console = ProgressConsole()
    job = BulkJob(options.out, options.model, options.detector, options.device)
    images = begin(job, options.source)
    before = finished_shards(job, images)
    left = [shard for shard in range(images.shards) if shard not in before]
    faults = sum(before.values())
    unusable = f"; {faults:,} of their images can't be used" if faults else ""
    console.log(f"{len(images):,} images; shards: {images.shards:,}, done before: {len(before):,}{unusable}")
    say_videos(console, images.videos, IN_PYTHON)
    if not left:
        return 1 if faults else 0
    with (
        connected(options.ray_address),
        Progress(*_COLUMNS, console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        done = embed_shards(job, left, options.workers, progress, images.count(left))
    speeds = f"{done.images / done.seconds:.1f} a second, {done.images / done.core_seconds:.1f} a second and core"
    said = f"{options.out}: {done.images - done.faults:,} images embedded in {done.seconds:.0f} s: {speeds}"
    if done.faults:
        said += f"; {done.faults:,} can't be used"
    console.print(said, highlight=False, markup=False, soft_wrap=True)
    return 1 if faults + done.faults else 0
