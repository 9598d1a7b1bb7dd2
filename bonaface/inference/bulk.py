"""Embeddings of any number of images, by Ray Data: one model a worker, shard by shard, into a Parquet data set.

The data set is a folder that pandas, pyarrow, DuckDB and Spark read as one table:

    _list.parquet         what is to be embedded, in shards; written first, and kept
    _model.json           by which model
    part-00000017.parquet shard 17: path, embedding, authenticity (where the model judges it), fault (why there is no embedding)

A part appears whole or not at all, so a run that was stopped resumes with the shards that have none. What a worker holds is a
model and a shard, however many images there are.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.progress import Progress

from bonaface.errors import BonafaceError, ConfigError, DataError
from bonaface.images.decoding import decode_bytes
from bonaface.inference.embedder import Embedder, load_embedder
from bonaface.inference.ray_cluster import brief
from bonaface.inference.shards import ImageList, write_list
from bonaface.io import parse_json
from bonaface.storage import Place

__all__ = ["BulkJob", "ShardEmbedder", "Summary", "begin", "embed_shards", "finished_shards"]

_LIST, _MODEL = "_list.parquet", "_model.json"
_CHUNK = 64
_READERS = 8  # threads of a worker that wait for storage


@dataclass(frozen=True)
class BulkJob:
    """Job: images, model, and output folder.

    Args:
        out: address of the data set.
        model: as ``--model`` takes it.
        detector: YuNet file for an ONNX network.
        device: one of :data:`bonaface.models.device.DEVICES`; ``auto`` is a graphics card where Ray has one.
    """

    out: str
    model: str | None
    detector: Path | None = None
    device: str = "cpu"

    def images(self) -> ImageList:
        """The list of images."""
        return ImageList(Place(self.out) / _LIST)

    def part(self, shard: int) -> Place:
        """File of a shard's embeddings."""
        return Place(self.out) / _part(shard)

    def embedder(self) -> Embedder:
        """The model, loaded."""
        return load_embedder(self.model, self.detector, self.device)


def _part(shard: int) -> str:
    return f"part-{shard:08d}.parquet"


@dataclass
class Summary:
    """Result of a job.

    Args:
        images: that were looked at.
        faults: how many of them can't be used.
        seconds: that it took.
        core_seconds: that processor cores worked on it, in all workers.
    """

    images: int = 0
    faults: int = 0
    seconds: float = 0.0
    core_seconds: float = 0.0


def begin(job: BulkJob, source: str, shard: int = 2048) -> ImageList:
    """Lists the images, or takes up the list that is there.

    Args:
        job: what is to be done.
        source: folder or table of images.
        shard: images in a shard.

    Raises:
        DataError: if the data set was begun from another source, from other images of it, or by another model.
        ModelError: if the model can't be loaded.
    """
    out = Place(job.out)
    if out.exists() and not out.is_folder():
        raise DataError(
            f"{job.out}: is a file; expected a new folder for the data set, or one that bonaface embed made"
        )
    fingerprint = job.embedder().fingerprint
    listed, kept = out / _LIST, out / _MODEL
    is_new = not kept.exists()
    if is_new:
        if out.names() - {_LIST}:
            raise DataError(f"{job.out}: holds something else; expected a new folder for the data set")
        write_list(source, listed, shard)
        about = {"fingerprint": fingerprint, "model": job.model}
        kept.write((json.dumps(about, indent=2) + "\n").encode())
    images = job.images()
    if not is_new and not images.is_of(source):
        raise DataError(
            f"{job.out}: holds embeddings of {images.source} as it was when they were begun, and {source} is another source "
            "or holds other images now; choose another --out"
        )
    try:
        begun = parse_json(kept.read())["fingerprint"]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{job.out}: its {_MODEL} is damaged; choose another --out") from error
    if begun != fingerprint:
        raise DataError(f"{job.out}: holds embeddings by another model, which can't be compared: choose another --out")
    return images


def finished_shards(job: BulkJob, images: ImageList) -> dict[int, int]:
    """Count the images that can't be used in each shard that is done; a part that can't be read is made again.

    Returns:
        Images without an embedding, by shard.
    """
    names = Place(job.out).names()
    found: dict[int, int] = {}
    for shard in range(images.shards):
        if _part(shard) not in names:
            continue
        try:
            with job.part(shard).opened() as file:
                faults = pq.read_table(file, columns=["fault"])["fault"]
        except (pa.ArrowException, OSError):
            continue
        found[shard] = len(faults) - faults.null_count
    return found


def embed_shards(
    job: BulkJob, shards: Sequence[int], workers: int | None, progress: Progress | None = None, total: int = 0
) -> Summary:
    """Embeds shards on the Ray that this process is connected to.

    Args:
        job: what is to be done.
        shards: which.
        workers: models at once, several of which may share a graphics card; one a card, or one a processor core, where it is
            None.
        progress: shows how far it is.
        total: images in these shards, for the progress.

    Raises:
        ConfigError: if a device is asked for that no machine has.
        DataError: if a worker can't go on: a disk is full, the model can't be loaded there, or its vectors are not finite.
    """
    import ray
    import ray.data

    there = ray.cluster_resources()  # type: ignore[no-untyped-call]
    kind = "GPU" if job.device in ("cuda", "tensorrt") or (job.device == "auto" and there.get("GPU")) else "CPU"
    most = int(there.get(kind, 0))
    if not most:
        raise ConfigError(f"device: {job.device} was asked for, and no machine of this Ray has one")
    workers = min(workers or most, len(shards))
    share: dict[str, Any] = {"num_gpus": min(1, most / workers)} if kind == "GPU" else {"num_cpus": 1}
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    numbers = ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
    outcomes = numbers.map_batches(
        ShardEmbedder,
        fn_constructor_args=(job,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
        **share,
    )
    task = progress.add_task("embedding", total=total) if progress else None
    summary, started = Summary(), time.monotonic()
    try:
        for outcome in outcomes.iter_rows():
            if outcome["refusal"]:
                raise DataError(outcome["refusal"])
            summary.images += outcome["images"]
            summary.faults += outcome["faults"]
            summary.core_seconds += outcome["core_seconds"]
            if progress is not None and task is not None:
                progress.advance(task, outcome["images"])
    except ray.exceptions.RayTaskError:  # an error of the program, which its traceback is needed for
        raise
    except ray.exceptions.RayError as error:
        raise DataError(
            f"{job.out}: a worker ended before its work ({brief(error)}); run the same command again"
        ) from error
    summary.seconds = time.monotonic() - started
    return summary


class ShardEmbedder:
    """A worker: loads the model once and embeds one shard after another.

    Args:
        job: what is to be done.
    """

    def __init__(self, job: BulkJob) -> None:
        self.job = job

    @cached_property
    def images(self) -> ImageList:
        """The list of images, opened where it is first needed: what goes wrong there is a shard's refusal."""
        return self.job.images()

    @cached_property
    def embedder(self) -> Embedder:
        """The model, loaded where it is first needed, for the same reason."""
        return self.job.embedder()

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Embeds the shards named in a batch of Ray Data's, writes their parts, and says what was done, a row a shard."""
        done = [self._outcome(int(shard)) for shard in batch["shard"]]
        return {name: np.array([each[name] for each in done]) for name in done[0]}

    def _outcome(self, shard: int) -> dict[str, float | str]:
        """Embeds one shard; what is refused is a sentence of the outcome: of an exception Ray makes a text of 80 lines."""
        try:
            _ = self.embedder  # is loaded before the clock starts
            started = time.process_time()
            images, faults = self.embed(shard)
        except BonafaceError as error:
            refusal = str(error)
        except (OSError, pa.ArrowException) as error:
            refusal = f"{self.job.part(shard).address}: can't be made ({brief(error)}); run the same command again"
        else:
            seconds = time.process_time() - started
            return {"images": images, "faults": faults, "core_seconds": seconds, "refusal": ""}
        return {"images": 0, "faults": 0, "core_seconds": 0.0, "refusal": refusal}

    def embed(self, shard: int) -> tuple[int, int]:
        """Embeds one shard and writes its part; returns its images, and how many of them can't be used."""
        paths = self.images.paths(shard)
        rows = pa.concat_tables([self._rows(read) for read in self._chunks(paths)])
        with self.job.part(shard).writing(private=True) as temporary:
            pq.write_table(rows.add_column(0, "path", pa.array(paths, pa.string())), temporary)
        return len(paths), len(paths) - rows["fault"].null_count

    def _rows(self, read: Sequence[NDArray[np.uint8] | str]) -> pa.Table:
        """Embeddings of decoded images; null, and why, for those that could not be."""
        made = self.embedder.embed_images([image for image in read if not isinstance(image, str)])
        good = [not isinstance(image, str) for image in read]
        vectors = iter(made.identity)
        columns = {"embedding": pa.array([next(vectors) if ok else None for ok in good], pa.list_(pa.float32()))}
        if made.authenticity is not None:
            odds = iter(made.authenticity.tolist())
            columns["authenticity"] = pa.array([next(odds) if ok else None for ok in good], pa.float32())
        columns["fault"] = pa.array([image if isinstance(image, str) else None for image in read], pa.string())
        return pa.table(columns)

    def _chunks(self, paths: Sequence[str]) -> Iterator[list[NDArray[np.uint8] | str]]:
        """Decoded images, or why there is none, one chunk ahead of the network."""
        with ThreadPoolExecutor(_READERS) as pool:
            ahead: list[Future[NDArray[np.uint8] | str]] = []
            for start in range(0, len(paths) + _CHUNK, _CHUNK):
                waiting, ahead = ahead, [pool.submit(self._read, path) for path in paths[start : start + _CHUNK]]
                if waiting:
                    yield [future.result() for future in waiting]

    def _read(self, path: str) -> NDArray[np.uint8] | str:
        try:
            return decode_bytes(self.images.place(path).read(), path)
        except (ConfigError, DataError) as error:
            return str(error)
