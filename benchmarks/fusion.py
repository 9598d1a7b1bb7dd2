"""Ways to fuse identity and authenticity, fitted on all sources of photos but the one that they are judged on.

python benchmarks/fusion.py SOURCE [SOURCE ...] [--model MODEL] [--pairs 2000]

A SOURCE is a folder of faces with deepfakes, of which pairs are drawn, or a CSV of pairs with their kinds. Printed are, source by
source, the equal error rates of each rule, the regret (its EER minus that of identity alone), and what passes at false match rates
of 1 % and 0.1 %, by the threshold of the other sources' impostors.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from bonaface.evaluation.inputs import PairSource, read_judged
from bonaface.inference.embedder import Embedder, load_embedder
from bonaface.metrics import eers_by_kind
from bonaface.verification.calibration import Calibration, Logistic, OwnFakeRatio
from bonaface.verification.embeddings import Embeddings, cosine
from bonaface.verification.fitting import calibrate, fit_own_fake
from bonaface.verification.scoring import fused

Floats = NDArray[np.float64]
Rule = Callable[["Source"], Floats]

TRUSTS = (1.0, 0.8, 0.65, 0.5)
FMRS, BPCER = (0.01, 0.001), 0.01


@dataclass(frozen=True)
class Source:
    """Labelled pairs of one source, embedded.

    Args:
        name: of the source.
        a: first photos of the pairs.
        b: second photos.
        kind: same, impostor, own_fake or other_fake, shape ``(n,)``.
        fake_a: whether the first photo is a deepfake, shape ``(n,)``.
        fake_b: whether the second one is.
    """

    name: str
    a: Embeddings
    b: Embeddings
    kind: NDArray[np.str_]
    fake_a: NDArray[np.bool_]
    fake_b: NDArray[np.bool_]

    @property
    def odds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Raw log-odds that the photos are genuine."""
        if self.a.authenticity is None or self.b.authenticity is None:
            raise SystemExit("the model does not judge authenticity: there is nothing to fuse")
        return self.a.authenticity, self.b.authenticity


def read_source(where: Path, embedder: Embedder, pairs: int) -> Source:
    """Draws or reads pairs and embeds their photos."""
    table, labels = read_judged(PairSource(where, draw=pairs))
    embedded = embedder.embed([table.root / path for path in (*table.path_0, *table.path_1)])
    place = embedded.place.reshape(2, len(table))
    good = np.flatnonzero((place >= 0).all(axis=0))
    a, b = (embedded.distinct.take(side[good]) for side in place)
    fake_a, fake_b = (labels[f"method_{side}"].to_numpy(dtype=str)[good] != "real" for side in "01")
    return Source(where.name, a, b, labels["kind"].to_numpy(dtype=str)[good], fake_a, fake_b)


def fitted(sources: Sequence[Source]) -> Calibration:
    """One calibration of several sources, each weighing the same."""
    joined = [Embeddings.joined([getattr(each, side) for each in sources]) for side in "ab"]
    kind, fake_a, fake_b = (
        np.concatenate([getattr(each, name) for each in sources]) for name in ("kind", "fake_a", "fake_b")
    )
    number = np.repeat(np.arange(len(sources)), [len(each.kind) for each in sources])
    return calibrate(joined[0], joined[1], kind, fake_a, fake_b, number)


def rules(sources: Sequence[Source]) -> dict[str, Rule]:
    """The rules by name, fitted on some sources."""
    known = fitted(sources)
    genuine = known.genuine or Logistic(1.0, 0.0)
    half = Logistic(genuine.slope / 2, genuine.bias / 2)
    product = replace(known, own_fake=None)

    def of(calibration: Calibration) -> Rule:
        return lambda source: fused(calibration, cosine(source.a, source.b), *source.odds)

    def veto(source: Source) -> Floats:
        lowest = genuine.log_odds(np.minimum(*source.odds))
        same = known.same.log_odds(cosine(source.a, source.b))
        return np.where(lowest < doubted, np.minimum(same, 0.0) - 20.0 + 0.01 * lowest, same)

    sides = [(odds, fake) for each in sources for odds, fake in zip(each.odds, (each.fake_a, each.fake_b), strict=True)]
    photos = np.concatenate([odds[~fake] for odds, fake in sides])
    doubted = float(np.quantile(genuine.log_odds(photos), BPCER))
    made: dict[str, Rule] = {
        "identity alone": lambda source: cosine(source.a, source.b),
        "product of probabilities": of(product),
        "the same, slope halved": of(replace(product, genuine=half)),
        f"veto at BPCER {BPCER:.0%}": veto,
        "monotone model": _monotone(sources),
    }
    return made | {
        f"two rivals, trust {trust:g}": of(replace(known, own_fake=_ratio(sources, known, trust))) for trust in TRUSTS
    }


def _monotone(sources: Sequence[Source]) -> Rule:
    """Boosted trees whose score never falls as the cosine or either log-odds rise."""
    label = np.concatenate([each.kind == "same" for each in sources])
    # Each source weighs the same, and in it pairs to accept as much as pairs to refuse.
    weight = np.concatenate([_balanced(each.kind == "same") for each in sources])
    trees = HistGradientBoostingClassifier(
        max_iter=100,
        max_leaf_nodes=8,
        min_samples_leaf=50,
        monotonic_cst=[1, 1, 1],
        early_stopping=False,
        random_state=0,
    ).fit(np.concatenate([_features(each) for each in sources]), label, weight)
    return lambda source: np.asarray(trees.decision_function(_features(source)), dtype=np.float64)


def _features(source: Source) -> Floats:
    """The cosine, the lower log-odds and the higher ones of each pair, shape ``(n, 3)``: either order of the photos alike."""
    return np.column_stack([cosine(source.a, source.b), np.minimum(*source.odds), np.maximum(*source.odds)])


def _balanced(label: NDArray[np.bool_]) -> Floats:
    """Weights, shape ``(n,)``, by which both labels weigh 1."""
    return np.asarray(np.where(label, 1 / max(1, label.sum()), 1 / max(1, (~label).sum())) * len(label) / 2)


def _ratio(sources: Sequence[Source], known: Calibration, trust: float) -> OwnFakeRatio:
    sides: dict[str, list[Floats]] = {"same": [], "own_fake": []}
    weights: dict[str, list[Floats]] = {"same": [], "own_fake": []}
    for each in sources:
        evidence = np.column_stack([cosine(each.a, each.b), known.neither_fake(*each.odds)])
        for kind, parts in sides.items():
            rows = evidence[each.kind == kind]
            parts.append(rows)
            weights[kind].append(np.full(len(rows), 1 / max(1, len(rows))))
    same, own = (np.concatenate(sides[kind]) for kind in sides)
    return fit_own_fake(same, own, (np.concatenate(weights["same"]), np.concatenate(weights["own_fake"])), trust)


def judged(rule: Rule, source: Source, others: Sequence[Source]) -> dict[str, float]:
    """Figures of a rule on a source that it was not fitted on."""
    scores, kind = rule(source), source.kind
    errors = eers_by_kind(scores, (kind == "same").astype(int), kind)
    impostors = np.concatenate([rule(each)[each.kind == "impostor"] for each in others])
    figures = {
        "all": errors["challenge_eer"],
        "impostor": errors["sv_eer"],
        "own fake": errors["spf_eer"],
        "other fake": errors["other_fake_eer"],
    }
    for fmr in FMRS:
        threshold = float(np.quantile(impostors, 1 - fmr, method="higher"))
        figures[f"own accepted, {fmr:.1%}"] = float((scores[kind == "own_fake"] >= threshold).mean())
        figures[f"refused, {fmr:.1%}"] = float((scores[kind == "same"] < threshold).mean())
    return figures


def main() -> None:
    """Prints one table a figure, a row a rule and a column a source."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sources", type=Path, nargs="+", metavar="SOURCE")
    parser.add_argument("--model", help="run or exported model (default: the one that comes with bonaface)")
    parser.add_argument(
        "--pairs", type=int, default=2000, help="drawn from each folder of faces (default: %(default)s)"
    )
    options = parser.parse_args()
    if len(options.sources) < 2:
        parser.error("leaving a source out takes at least two of them")
    embedder = load_embedder(options.model)
    sources = [read_source(where, embedder, options.pairs) for where in options.sources]
    found: dict[str, dict[str, dict[str, float]]] = {}
    for source in sources:
        others = [each for each in sources if each is not source]
        for name, rule in rules(others).items():
            found.setdefault(name, {})[source.name] = judged(rule, source, others)
    alone = found["identity alone"]
    for each in found.values():
        for source_name, figures in each.items():
            for of in ("all", "impostor"):
                figures[f"regret {of}"] = figures[of] - alone[source_name][of]
    for figure in next(iter(alone.values())):
        print(
            f"\n{figure:28}"
            + "".join(f"{source.name[:14]:>15}" for source in sources)
            + "           mean          worst"
        )
        for name, by_source in found.items():
            values = [by_source[source.name][figure] for source in sources]
            print(f"{name:28}" + "".join(f"{value:15.3f}" for value in (*values, float(np.mean(values)), max(values))))


if __name__ == "__main__":
    main()
