"""Speed of embedding a folder of JPEGs, beside OML's own ``inference()``: same images, same weights, same batch.

    python benchmarks/embedding.py [--oml-python .venv-oml/bin/python] [--quick]
    python benchmarks/embedding.py --only growth --sizes 1000 10000 100000 --oml-up-to 10000

ResNet-18 and ResNet-34 at 112 and 224 px, as a run and as every exported format. Each side is a process of its own that has its
model loaded; they take turns, and medians are printed. OML is given its own dataset and transform, with and without workers of
its loader; ratios are to the faster of the two. Whether vectors and error rates are the same is measured on people of the demo
pack that the weights have not seen. ``growth`` is time and memory by the number of images. Without OML's environment only our
figures are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from images import make_images
from models import FEW, NETWORKS, Made, Maker
from processes import oml_python
from results import Row, record, say

from bonaface.assets import unpack_demo
from bonaface.exporting.parity import compare
from bonaface.inference.backends.base import usable_cores
from bonaface.verification.embeddings import Embeddings

_HERE = Path(__file__).parent
_GROWTH_OF = ("resnet18", 112, "onnx")
"""The network whose time and memory by number of images are measured, and the form of it."""


class Side:
    """A process that embeds.

    Args:
        python: that runs it.
        which: bonaface or oml.
        job: what embedding_side.py takes.
        log: for what it says on standard error.
    """

    def __init__(self, python: Path, which: str, job: Mapping[str, Any], log: Path) -> None:
        self.log = log
        self.stream = log.open("w", encoding="utf-8")
        words = [str(python), str(_HERE / "embedding_side.py"), which, json.dumps(job)]
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stream,
            text=True,
            env=os.environ | {"NO_ALBUMENTATIONS_UPDATE": "1"},
        )

    def embed(self, paths: Path, save: Path | None = None) -> dict[str, float]:
        """Seconds and peak_mb of embedding the paths listed in a file; vectors go to ``save``."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        asked = {"paths": str(paths), "save": None if save is None else str(save)}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("{"):
                answer: dict[str, float] = json.loads(line)
                return answer
        raise RuntimeError(f"{self.process.args!r} stopped: {self.log.read_text(encoding='utf-8')[-2000:]}")

    def close(self) -> None:
        """Ends the process."""
        self.process.communicate()
        self.stream.close()


@dataclass(frozen=True)
class Bench:
    """Settings that all measurements share.

    Args:
        work: folder for models and images, which a further call finds again.
        oml_python: of OML's environment; None where it is missing.
        maker: of models.
        images: that are embedded.
        repeats: timed turns.
    """

    work: Path
    oml_python: Path | None
    maker: Maker
    images: int
    repeats: int

    @contextmanager
    def sides(self, made: Made) -> Iterator[dict[str, Side]]:
        """Every form of a model, and OML without and with workers."""
        with ExitStack() as closing:
            sides = {}
            for form, file in made.forms.items():
                sides[form] = self.side(closing, form, "bonaface", {"model": str(file)})
            if self.oml_python is not None:
                for workers in sorted({0, usable_cores()}):
                    name = f"oml, {workers} workers"
                    sides[name] = self.side(closing, name, "oml", oml_job(made, workers))
            yield sides

    def side(self, closing: ExitStack, name: str, which: str, job: Mapping[str, Any]) -> Side:
        """One side, which ends with ``closing``."""
        python = Path(sys.executable) if which == "bonaface" else self.oml_python
        assert python is not None
        side = Side(python, which, job, self.work / f"{name}.log")
        closing.callback(side.close)
        return side

    def listed(self, name: str, paths: Sequence[Path]) -> Path:
        """A file of paths, one a line."""
        file = self.work / f"{name}.txt"
        file.write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")
        return file


def oml_job(made: Made, workers: int, filtering: str = "own") -> dict[str, Any]:
    """Model as OML's side is given it."""
    return {
        "arch": made.arch,
        "weights": str(made.weights),
        "size": made.size,
        "workers": workers,
        "filtering": filtering,
    }


def speed(bench: Bench, arch: str, size: int) -> list[Row]:
    """One row a side: images a second, ratio to OML, memory, cosine to OML's vectors and to the run's, error rates."""
    made = bench.maker.make(arch, size)
    paths = make_images(bench.maker.demo, bench.work / "images", bench.images)
    listed, warm = bench.listed("images", paths), bench.listed("warm", paths[:64])
    with bench.sides(made) as sides:
        answers: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
        for side in sides.values():
            side.embed(warm)
        for _ in range(bench.repeats):
            for name, side in sides.items():
                answers[name].append(side.embed(listed))
        said = {name: judged_vectors(bench, side, name) for name, side in sides.items() if name in made.forms}
    if bench.oml_python is not None:
        filtering = "area" if size < bench.maker.side else "cubic"
        with ExitStack() as closing:
            same = bench.side(closing, "oml as bonaface resizes", "oml", oml_job(made, 0, filtering))
            said["oml"] = judged_vectors(bench, same, "oml")
    rates = {name: len(paths) / statistics.median(each["seconds"] for each in taken) for name, taken in answers.items()}
    peers = [rate for name, rate in rates.items() if name not in made.forms]
    rows = []
    for name, rate in rates.items():
        row: Row = {"network": arch, "size": size, "side": name, "images_per_second": round(rate, 1)}
        row |= {"times_as_fast_as_oml": round(rate / max(peers), 2)} if peers else {}
        row |= {"peak_mb": round(answers[name][-1]["peak_mb"])}
        row |= agreement(bench, said, name) if name in made.forms else {}
        rows.append(row)
        say(row)
    for form, why in made.refused.items():
        print(f"{arch} at {size} px, {form}: not written: {why}", flush=True)
    return rows


def judged_vectors(bench: Bench, side: Side, name: str) -> np.ndarray:
    """Answer of a side for the photos that no weights were trained on, ``(n, dim)``."""
    photos, file = bench.maker.unseen(), bench.work / f"{name}.npy"
    side.embed(bench.listed("unseen", [photos.path(row) for row in range(len(photos))]), file)
    vectors: np.ndarray = np.load(file)
    return vectors


def agreement(bench: Bench, said: Mapping[str, np.ndarray], name: str) -> Row:
    """Cosine of a form's vectors to OML's, and its equal error rate over all pairs of unseen photos beside the run's."""
    photos = bench.maker.unseen().frame
    person, is_fake = photos["person"].to_numpy(dtype=object), photos["is_fake"].to_numpy(dtype=bool)
    row: Row = {}
    if "oml" in said:
        cosine = np.einsum("nd,nd->n", said["oml"], said[name], dtype=np.float64)
        row |= {
            "lowest_cosine": round(float(cosine.min()), 6),
            "largest_difference": float(f"{np.abs(said['oml'] - said[name]).max():.2g}"),
        }
    parity = compare(Embeddings(said["run"]), Embeddings(said[name]), None, person, is_fake)
    if parity.eer is not None:
        row |= {"eer": round(parity.eer[1], 4), "eer_change": round(parity.eer[1] - parity.eer[0], 4)}
    return row


def growth(bench: Bench, sizes: Sequence[int], oml_up_to: int) -> list[Row]:
    """Seconds and memory by number of images, each in a fresh process; OML is not given more than so many."""
    arch, size, form = _GROWTH_OF
    made = bench.maker.make(arch, size, (form,))
    jobs: dict[str, tuple[str, dict[str, Any]]] = {form: ("bonaface", {"model": str(made.forms[form])})}
    if bench.oml_python is not None:
        jobs["oml"] = ("oml", oml_job(made, usable_cores()))
    rows = []
    for count in sizes:
        paths = make_images(bench.maker.demo, bench.work / "images", count)
        listed, warm = bench.listed("images", paths), bench.listed("warm", paths[:64])
        for name, (which, job) in jobs.items():
            if which == "oml" and count > oml_up_to:
                continue
            with ExitStack() as closing:
                side = bench.side(closing, name, which, job)
                side.embed(warm)
                answer = side.embed(listed)
            row: Row = {
                "network": arch,
                "size": size,
                "side": name,
                "images": count,
                "seconds": round(answer["seconds"], 2),
                "images_per_second": round(count / answer["seconds"], 1),
                "peak_mb": round(answer["peak_mb"]),
            }
            rows.append(row)
            say(row)
    return rows


def main() -> None:
    """Reads the command line, measures, prints and records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oml-python", type=Path, default=Path(".venv-oml/bin/python"), help="of OML's environment")
    parser.add_argument("--only", choices=["speed", "growth"], help="one of the two")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000], help="numbers of images for growth")
    parser.add_argument(
        "--oml-up-to", type=int, default=10**9, metavar="N", help="most images of growth that OML is given"
    )
    parser.add_argument("--images", type=int, default=512, help="that are embedded at each turn")
    parser.add_argument("--repeats", type=int, default=3, help="timed turns of each side")
    parser.add_argument("--work", type=Path, help="folder for models and images, kept and used again")
    parser.add_argument("--quick", action="store_true", help="tiny, to see that it works; nothing is recorded")
    options = parser.parse_args()
    oml = oml_python(options.oml_python)
    keep = (lambda name, rows: None) if options.quick else record
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary)).absolute()
        demo = unpack_demo(work / "demo")
        if options.quick:
            bench = Bench(work, oml, Maker(demo, work / "quick", 2, FEW), 64, 1)
            networks, options.sizes = NETWORKS[:1], [64, 128]
        else:
            bench = Bench(work, oml, Maker(demo, work), options.images, options.repeats)
            networks = NETWORKS
        rows: list[Row] = []
        for arch, size in networks if options.only != "growth" else []:
            rows += speed(bench, arch, size)
            keep("embedding", rows)  # after each, for the whole takes long
        if options.only != "speed":
            keep("embedding_growth", growth(bench, options.sizes, options.oml_up_to))


if __name__ == "__main__":
    main()
