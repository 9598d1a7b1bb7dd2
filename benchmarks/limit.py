"""Distance of the networks from what the processor can do, and the rest of embedding's time by stage.

    python benchmarks/limit.py [--work DIR] [--quick]

The peak is the fastest of several libraries' matrix products of one precision, in multiply-adds a second. A network's
multiply-adds, as torch counts them, times its images a second are held against it: the network alone, on decoded images, as
a run (PyTorch) and as every exported format. Both are measured in turns. The profile is processor time by stage while a folder
of JPEGs is embedded; threads are added up.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnx
import onnxruntime
import openvino
import torch
from images import make_images
from models import FEW, NETWORKS, Made, Maker
from results import Row, record, say
from torch.utils.flop_counter import FlopCounterMode

from bonaface.assets import unpack_demo
from bonaface.images.decoding import decode_bytes
from bonaface.inference.backends.base import Images, Network, usable_cores
from bonaface.inference.embedder import Embedder, load_embedder
from bonaface.training.run import load_run
from bonaface.verification.embeddings import Embeddings

_BATCH = 64
_COMPUTES = {
    "run": ("PyTorch", "fp32"),
    "run in bf16": ("PyTorch", "bf16"),
    "onnx": ("ONNX Runtime", "fp32"),
    "onnx-int8": ("ONNX Runtime", "int8"),
    "openvino": ("OpenVINO", "fp32"),
    "openvino-bf16": ("OpenVINO", "bf16"),
    "openvino-int8": ("OpenVINO", "int8"),
}


def products(side: int) -> dict[str, dict[str, Callable[[], Any]]]:
    """By precision and library, a product of two matrices ``(side, side)``, of which the second is a weight where there are any."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, side, side), np.float32)
    ta, tb = torch.from_numpy(a), torch.from_numpy(b)
    ha, hb = ta.bfloat16(), tb.bfloat16()
    ia, ib = (torch.from_numpy(rng.integers(-128, 128, (side, side), np.int8)) for _ in range(2))
    real, whole = _graph("MatMul", a, b), _graph("MatMulInteger", ia.numpy().view(np.uint8), ib.numpy())
    return {
        "fp32": {
            "PyTorch": lambda: ta @ tb,
            "numpy": lambda: a @ b,
            "ONNX Runtime": _by_onnxruntime(real, a),
            "OpenVINO": _by_openvino(real, a, "f32"),
        },
        "bf16": {"PyTorch": lambda: ha @ hb, "OpenVINO": _by_openvino(real, a, "bf16")},
        "int8": {
            "PyTorch": lambda: torch._int_mm(ia, ib),
            "ONNX Runtime": _by_onnxruntime(whole, ia.numpy().view(np.uint8)),
        },
    }


def _graph(operator: str, a: np.ndarray, b: np.ndarray) -> bytes:
    """An ONNX model of a product."""
    helper, whole = onnx.helper, operator == "MatMulInteger"
    given, made = (onnx.TensorProto.UINT8, onnx.TensorProto.INT32) if whole else (onnx.TensorProto.FLOAT,) * 2
    graph = helper.make_graph(
        [helper.make_node(operator, ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", given, a.shape)],
        [helper.make_tensor_value_info("c", made, a.shape)],
        [onnx.numpy_helper.from_array(b, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return bytes(model.SerializeToString())


def _by_onnxruntime(graph: bytes, a: np.ndarray) -> Callable[[], Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"a": a})


def _by_openvino(graph: bytes, a: np.ndarray, precision: str) -> Callable[[], Any]:
    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": usable_cores()}
    request = core.compile_model(core.read_model(graph), "CPU", settings).create_infer_request()
    return lambda: request.infer({"a": a}, share_inputs=True)


def seconds_of(call: Callable[[], Any]) -> float:
    """Of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def fastest_of_ten(call: Callable[[], Any]) -> float:
    """Seconds of the fastest of ten calls."""
    return min(seconds_of(call) for _ in range(10))


def networks(made: Made) -> dict[str, Callable[[], Any]]:
    """By form, a batch of images through the network."""
    rng = np.random.default_rng(0)
    images = {"identity": rng.integers(0, 256, (_BATCH, made.size, made.size, 3), np.uint8)}
    loaded = {form: load_embedder(str(file), device="cpu").network for form, file in made.forms.items()}
    calls: dict[str, Callable[[], Any]] = {form: partial(network, images) for form, network in loaded.items()}

    def in_bf16() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loaded["run"](images)

    return calls | {"run in bf16": in_bf16}


def multiply_adds(made: Made) -> float:
    """Of one image, in billions."""
    model = load_run(made.forms["run"]).model
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model.embed({"identity": torch.zeros(1, 3, made.size, made.size, dtype=torch.uint8)})
    return float(counter.get_total_flops()) / 2 / 1e9


def limits(made: Made, side: int, repeats: int) -> list[Row]:
    """One row a form: images a second, multiply-adds a second, and their share of the peak."""
    peaks = {(form, library): call for form, each in products(side).items() for library, call in each.items()}
    calls = networks(made)
    taken: dict[Any, list[float]] = defaultdict(list)
    for turn in range(repeats + 1):
        for name, call in [*peaks.items(), *calls.items()]:
            time.sleep(0.05)  # threads of the call before may wait in a loop for a while
            seconds = fastest_of_ten(call) if name in peaks else seconds_of(call)
            if turn:
                taken[name].append(seconds)
    rates = {name: side**3 / 1e9 / min(taken[name]) for name in peaks}  # billions a second
    cost = multiply_adds(made)
    rows: list[Row] = []
    for form in calls:
        library, precision = _COMPUTES[form]
        best = max((rate, by) for (kind, by), rate in rates.items() if kind == precision)
        speed = _BATCH / statistics.median(taken[form])
        rows.append(
            {
                "network": made.arch,
                "size": made.size,
                "runtime": library,
                "precision": precision,
                "images_per_second": round(speed, 1),
                "gmac_per_image": round(cost, 3),
                "gmac_per_second": round(speed * cost),
                "peak_gmac_per_second": round(best[0]),
                "peak_by": best[1],
                "percent_of_peak": round(100 * speed * cost / best[0], 1),
            }
        )
    return rows


class Clock:
    """Adds up processor time by stage, over threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    def around(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, whose thread's time is counted as the stage's."""

        def timed(*given: Any) -> Any:
            started = time.thread_time()
            try:
                return call(*given)
            finally:
                with self._lock:
                    self.seconds[stage] += time.thread_time() - started

        return timed


class Watched:
    """A network whose calls are timed.

    Args:
        network: that computes.
        clock: that adds up.
    """

    def __init__(self, network: Network, clock: Clock) -> None:
        self.name, self.views, self.dim = network.name, network.views, network.dim
        self.fingerprint = network.fingerprint
        self.runtime = network.runtime
        self._call = clock.around("calling", network)

    def __call__(self, images: Images) -> Embeddings:
        """See Network."""
        made: Embeddings = self._call(images)
        return made


def stages(embedder: Embedder, paths: Sequence[Path]) -> dict[str, float]:
    """Seconds of processor time by stage of embedding images."""
    clock = Clock()
    preprocess: Any = clock.around("resize and align", embedder.preprocess)
    watched = Embedder(Watched(embedder.network, clock), preprocess)
    reading = mock.patch.object(watched, "_read", clock.around("reading", watched._read))
    decoding = mock.patch("bonaface.inference.embedder.decode_bytes", clock.around("decode", decode_bytes))
    with reading, decoding:
        process, own = time.process_time(), time.thread_time()
        watched.embed(paths)
        process, own = time.process_time() - process, time.thread_time() - own
    spent = clock.seconds
    rest = own - spent["calling"]
    # What neither the threads that read nor this one spent outside of the network is the network's, in threads of its own.
    return {
        "decode": spent["decode"],
        "resize and align": spent["resize and align"],
        "network": process - spent["reading"] - rest,
        "read and rest": spent["reading"] - spent["decode"] - spent["resize and align"] + rest,
    }


def profile(name: Row, embedder: Embedder, paths: Sequence[Path]) -> list[Row]:
    """One row a stage."""
    embedder.embed(paths[:_BATCH])
    spent = stages(embedder, paths)
    whole = sum(spent.values())
    return [
        {
            **name,
            "stage": stage,
            "ms_per_image": round(1e3 * seconds / len(paths), 3),
            "percent": round(100 * seconds / whole, 1),
        }
        for stage, seconds in spent.items()
    ]


def main() -> None:
    """Reads the command line, measures, prints and records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="timed turns")
    parser.add_argument("--side", type=int, default=2048, help="of the matrices")
    parser.add_argument("--work", type=Path, help="folder for models and images, kept and used again")
    parser.add_argument("--quick", action="store_true", help="tiny, to see that it works; nothing is recorded")
    options = parser.parse_args()
    torch.set_num_threads(usable_cores())
    if options.quick:
        options.repeats, options.side = 1, 1024
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary)).absolute()
        demo = unpack_demo(work / "demo")
        maker = Maker(demo, work / "quick", 2, FEW) if options.quick else Maker(demo, work)
        paths = make_images(demo, work / "images", 64 if options.quick else 512)
        rows: dict[str, list[Row]] = {"limit": [], "profile": []}
        for arch, size in NETWORKS[:1] if options.quick else NETWORKS:
            made = maker.make(arch, size)
            rows["limit"] += limits(made, options.side, options.repeats)
            for form in [form for form in ("onnx", "openvino-int8") if form in made.forms]:
                name: Row = {"network": arch, "size": size, "model": form}
                rows["profile"] += profile(name, load_embedder(str(made.forms[form]), device="cpu"), paths)
        rows["profile"] += profile({"network": "bonaface", "size": 160, "model": "onnx"}, load_embedder(None), paths)
    for row in [row for measured in rows.values() for row in measured]:
        say(row)
    if not options.quick:
        for table, measured in rows.items():
            record(table, measured)


if __name__ == "__main__":
    main()
