"""Exact figures from many scores: bonaface.metrics.StreamingScores beside sklearn.metrics.roc_curve.

    python benchmarks/metrics.py                      # 1e6 and 1e7 scores
    python benchmarks/metrics.py --sizes 1e8 --only ours
    python benchmarks/metrics.py --pairs 20000        # all against all

Each contender runs in a process of its own and is judged by wall time, from opening the files to the figure, and by
the most memory that it held above that of a process that has merely imported the same modules. Scores lie on disk as
float32 (.npy), a tenth of them mated pairs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

WORK = ("sklearn", "eer", "eer+points", "auc")


def write_scores(folder: Path, count: int) -> None:
    """Write cosines of both classes, overlapping as those of a fair verifier do."""
    rng = np.random.default_rng(0)
    for name, share, middle, spread in (("same", 0.1, 0.45, 0.17), ("different", 0.9, 0.02, 0.12)):
        scores = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float32, (int(count * share),))
        for begin in range(0, len(scores), 1 << 22):
            part = scores[begin : begin + (1 << 22)]
            rng.standard_normal(out=(drawn := np.empty(len(part), np.float32)), dtype=np.float32)
            part[:] = np.clip(drawn * np.float32(spread) + np.float32(middle), -1, 1)
        scores.flush()


def measured(work: str, folder: Path) -> dict[str, float]:
    """Do one contender's work in this process."""
    import resource

    from sklearn.metrics import roc_auc_score, roc_curve  # noqa: F401  both are imported by every contender

    from bonaface.metrics import StreamingScores

    np.sort(np.zeros(10, np.float32))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, figure = time.perf_counter(), float("nan")
    if work == "sklearn":
        same, different = (np.load(folder / f"{name}.npy") for name in ("same", "different"))
        label = np.zeros(len(same) + len(different), dtype=np.uint8)
        label[: len(same)] = 1
        fpr, tpr, _ = roc_curve(label, np.concatenate([same, different]))
        fnr = 1 - tpr
        figure = float(fnr[np.nanargmin(np.abs(fnr - fpr))])
    else:
        stream = StreamingScores(folder / "same.npy", folder / "different.npy")
        figure = stream.auc() if work == "auc" else stream.eer()
        if work == "eer+points":
            stream.operating_points()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"figure": figure, "seconds": seconds, "mib": peak / 1024}


def compare(count: int, only_ours: bool, repeats: int) -> None:
    """Print one size's table; the best of several runs of each."""
    with tempfile.TemporaryDirectory() as folder:
        write_scores(Path(folder), count)
        results = {}
        for work in WORK[1:] if only_ours else WORK:
            runs = [in_own_process(work, folder) for _ in range(repeats)]
            results[work] = min(runs, key=lambda run: run["seconds"])
    print(f"\n{count:.0e} scores")
    for work, run in results.items():
        line = f"  {work:12s} {run['seconds']:8.2f} s {run['mib']:9.0f} MiB   {run['figure']:.10f}"
        if "sklearn" in results and work != "sklearn":
            peer = results["sklearn"]
            line += f"   {peer['seconds'] / run['seconds']:6.1f} x faster, {run['mib'] / peer['mib']:.3f} of the memory"
        print(line)
    if "sklearn" in results:
        assert results["sklearn"]["figure"] == results["eer"]["figure"], "the two differ"


def in_own_process(work: str, folder: str) -> dict[str, float]:
    """Run this file once more for one contender, so that its memory is its own."""
    command = [sys.executable, __file__, "--work", work, "--folder", folder]
    measured: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return measured


def write_embeddings(folder: Path, count: int, dimensions: int) -> None:
    """Write unit vectors of ten images a person, three in ten of them deepfakes."""
    rng = np.random.default_rng(0)
    people = rng.integers(0, count // 10, count)
    centres = rng.standard_normal((count // 10, dimensions), dtype=np.float32)
    embeddings = centres[people] + rng.standard_normal((count, dimensions), dtype=np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    for name, values in (("embeddings", embeddings), ("people", people), ("is_fake", rng.random(count) < 0.3)):
        np.save(folder / f"{name}.npy", values)


def measured_pairs(folder: Path) -> dict[str, float]:
    """Compare all with all in this process."""
    import resource

    from bonaface.metrics import all_pairs_histogram

    embeddings, people, is_fake = (np.load(folder / f"{name}.npy") for name in ("embeddings", "people", "is_fake"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    histogram = all_pairs_histogram(embeddings, people, is_fake)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    pairs = sum(int(counts.sum()) for counts in histogram.counts.values())
    return {"figure": histogram.eer(), "seconds": seconds, "mib": peak / 1024, "pairs": pairs}


def all_against_all(count: int, dimensions: int = 128) -> None:
    """Print what a comparison of all images with all takes."""
    with tempfile.TemporaryDirectory() as folder:
        write_embeddings(Path(folder), count, dimensions)
        run = in_own_process("pairs", folder)
    print(f"\nall against all, {count} x {dimensions}: {run['pairs']:.3e} pairs in {run['seconds']:.1f} s")
    print(f"  {run['mib']:.0f} MiB beside the embeddings (N x N in float32: {4 * count**2 / 2**20:.0f} MiB)")
    print(f"  EER {run['figure']:.5f}")


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=float, nargs="*", default=[1e6, 1e7])
    parser.add_argument("--only", choices=["ours"])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="ten thousand scores, to see that it works")
    parser.add_argument("--pairs", type=int, help="all against all of so many images instead")
    parser.add_argument("--work", choices=[*WORK, "pairs"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        run = measured_pairs(options.folder) if options.work == "pairs" else measured(options.work, options.folder)
        print(json.dumps(run))
    elif options.pairs:
        all_against_all(options.pairs)
    else:
        for size in [1e4] if options.quick else options.sizes:
            compare(int(size), options.only == "ours", options.repeats)


if __name__ == "__main__":
    main()
