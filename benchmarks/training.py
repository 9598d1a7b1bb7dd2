"""A training step, data included, beside OML's own training loop; and what fast depthwise gradients and kept memory bring.

    python benchmarks/training.py                                    # 112 px, resnet18 and resnet34, 25x4 and 25x7
    python benchmarks/training.py --size 112 224 --oml-python .venv-oml/bin/python
    python benchmarks/training.py --only depthwise
    python benchmarks/training.py --quick                            # does it run? nothing is recorded

Both train on the same 250 px JPEGs (the demo pack's, enlarged), named by the same table in OML's format, from the same weights,
with the same margin and batch, and with one worker that makes batches. Ours is what ``bonaface train`` does (Lightning, decoded
store, precision ``auto``), and once more with ``precision: 32``. OML's is the loop of its documentation: ImageLabeledDataset with
its training transform for torchvision, BalanceSampler, an extractor, TripletLossWithMiner(AllTripletsMiner()), Adam; it runs in
the interpreter that ``--oml-python`` names, and where there is none only our figures are given. Each turn is a process of its
own, and the sides take turns; a step lasts from the end of the last one to its own end, and medians are given. Memory is the
largest resident set of the training process, without its worker.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from processes import oml_python
from results import Row, record, rounded, say
from training_sides import Job, Timed

LITE = "tf_efficientnet_lite0"


def in_own_process(python: str, side: str, job: Job) -> Timed:
    """One turn of one side, so that its memory and its state are its own."""
    command = [python, str(Path(__file__).with_name("training_sides.py")), side, json.dumps(asdict(job))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{side} failed in {python}:\n{done.stderr[-4000:]}")
    return Timed(**json.loads(done.stdout.splitlines()[-1]))


def taking_turns(contenders: dict[str, tuple[str, str, Job]], turns: int) -> dict[str, Timed]:
    """All steps of each contender over all turns, its largest memory, what it noted, and what its first turn did once."""
    runs: dict[str, list[Timed]] = {name: [] for name in contenders}
    for _ in range(turns):
        for name, contender in contenders.items():
            runs[name].append(in_own_process(*contender))
    return {
        name: Timed(
            [s for run in own for s in run.seconds], max(run.megabytes for run in own), own[0].note, own[0].once
        )
        for name, own in runs.items()
    }


def write_faces(folder: Path, side: int = 250) -> None:
    """The demo pack's training images as JPEGs of ``side`` px, and their table in OML's format; a person's fakes are a class."""
    import cv2
    import pandas as pd

    from bonaface.assets import unpack_demo
    from bonaface.images.decoding import decode

    people = unpack_demo(folder / "pack") / "train"
    meta = json.loads((people / "meta.json").read_text(encoding="utf-8"))
    rows = []
    for name, is_fake in meta.items():
        person = int(Path(name).parent.name)
        image = cv2.resize(decode(people / "images" / name), (side, side), interpolation=cv2.INTER_CUBIC)
        file = folder / "faces" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        held_out = None if person % 10 else True
        split = "validation" if held_out else "train"
        rows.append((2 * person + int(is_fake), f"faces/{name}", split, held_out, held_out))
    table = pd.DataFrame(rows, columns=["label", "path", "split", "is_query", "is_gallery"])
    table.to_csv(folder / "faces.csv", index=False)


def write_weights(folder: Path, backbone: str) -> None:
    """Random weights, under the names that both sides know."""
    import timm
    import torch

    torch.manual_seed(0)
    net = timm.create_model(backbone, pretrained=False, num_classes=0)
    torch.save(
        {"state_dict": {f"model.{name}": value for name, value in net.state_dict().items()}}, folder / f"{backbone}.pth"
    )


def compare_with_oml(job: Job, peer: Path | None, turns: int) -> Row:
    """A row of the table: one network, size and batch."""
    contenders = {"oml": (str(peer), "oml", job)} if peer else {}
    contenders |= {how: (sys.executable, "bonaface", replace(job, how=how)) for how in ("auto", "32")}
    timed = taking_turns(contenders, turns)
    ms = {name: 1e3 * statistics.median(each.seconds) for name, each in timed.items()}
    ours = timed["auto"]
    row: Row = {
        "network": job.backbone,
        "px": job.size,
        "batch": f"{job.n_labels} x {job.n_instances}",
        "bonaface, ms": ms["auto"],
        "computed in": ours.note,
        "bonaface in fp32, ms": ms["32"],
        "bonaface, MB": ours.megabytes,
        "read and decoded once, s": ours.once,
    }
    if peer:
        row |= {
            "OML, ms": ms["oml"],
            "OML, MB": timed["oml"].megabytes,
            "times as fast": ms["oml"] / ms["auto"],
            "times as fast in fp32": ms["oml"] / ms["32"],
        }
    say(rounded(row))
    return rounded(row)


def compare_depthwise(job: Job, turns: int) -> list[Row]:
    """One row for each way to train a network of depthwise convolutions."""
    ways = ("torch", "fast gradients", "fast gradients, kept memory")
    timed = taking_turns({how: (sys.executable, "depthwise", replace(job, how=how)) for how in ways}, turns)
    plain, rows = statistics.median(timed["torch"].seconds), []
    for how, each in timed.items():
        median = statistics.median(each.seconds)
        speed = job.n_labels * job.n_instances / median
        row: Row = {"trained with": how, "ms a step": 1e3 * median, "images/s": speed}
        row |= {"times as fast": plain / median, "MB": each.megabytes} | ({"note": each.note} if each.note else {})
        rows.append(rounded(row))
        say(rows[-1])
    return rows


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--oml-python", type=Path, default=Path(".venv-oml/bin/python"), help="OML's own interpreter")
    parser.add_argument("--size", type=int, nargs="+", default=[112], help="sides of the networks' input in pixels")
    parser.add_argument("--backbone", nargs="+", default=["resnet18", "resnet34"])
    parser.add_argument("--n-instances", type=int, nargs="+", default=[4, 7], help="images of each of 25 classes")
    parser.add_argument("--steps", type=int, default=6, help="timed steps of each turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--only", choices=["training", "depthwise"])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, nothing recorded")
    return parser.parse_args()


def measure_training(options: argparse.Namespace, steps: int, turns: int) -> None:
    """Every network, size and batch that was asked for."""
    sizes, backbones, instances = options.size, options.backbone, options.n_instances
    if options.quick:
        sizes, backbones, instances = [48], backbones[:1], [2]
    peer, rows = oml_python(options.oml_python), []
    with tempfile.TemporaryDirectory() as folder:
        write_faces(Path(folder))
        for size, backbone, each in itertools.product(sizes, backbones, instances):
            write_weights(Path(folder), backbone)
            job = Job(backbone, size, 4 if options.quick else 25, each, steps, folder=folder)
            rows.append(compare_with_oml(job, peer, turns))
            if not options.quick:
                record("training", rows)  # after each, for the whole takes long


def main() -> None:
    """Measures, prints and records."""
    options = read_options()
    steps, turns = (2, 1) if options.quick else (options.steps, options.turns)
    if options.only != "depthwise":
        measure_training(options, steps, turns)
    if options.only != "training":
        rows = compare_depthwise(Job(LITE, 64, 2, 4, steps) if options.quick else Job(LITE, 112, 24, 4, steps), turns)
        if not options.quick:
            record("depthwise", rows)


if __name__ == "__main__":
    main()
