"""Photos in the wrong person's folder: the folder's similarity graph falls apart, and they look like someone else.

Each photo is a question of three answers: it shows the person whose name it bears, another person of the set, or someone who
isn't in it. The similarities to the cores of the folders (the photos that hold together) weigh the answers by Bayes' rule,
with what photos of one person and of two look like learned from the set itself, so that no threshold has to be chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, logsumexp

from bonaface.cleaning.graph import linked_components, sums, unit
from bonaface.cleaning.nearest_neighbours import nearest
from bonaface.cleaning.similarity_model import SimilarityModel, first_fit, refit

__all__ = ["Judgement", "judge_labels"]

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]
Ints = NDArray[np.int64]

_ROUNDS = 3
_CANDIDATES = 5
_SIZE_WEIGHT = 3.0
"""Log-odds that each further photo of a component adds to its being the folder's person."""
_MOST_EVIDENCE = 4.0
_DAMPING = 0.4
_DOUBT = 3.0
"""Photos are looked up elsewhere up to so much (in log-odds) beyond what the best match elsewhere could outweigh."""
_MOST_OPEN = 3
"""A contested folder with more photos in question than this shows nobody that others could be compared with."""
_ASSUMED = (0.05, 0.8)
"""Label-noise rate, and the share of those whose person is in the set, before anything was looked at."""
_NOISE_RATES = (0.002, 0.3)
_KNOWN_SHARES = (0.05, 0.95)


@dataclass(frozen=True)
class Judgement:
    """Verdict on the labels of photos.

    Args:
        wrong: probability that the photo doesn't show the person whose name it bears, shape ``(n,)``.
        own: cosine with the core of its own folder without itself; NaN where there's nothing to compare with.
        owner: number of the person that it resembles most, of the others; -1 where that wasn't looked up.
        other: cosine with that person's core; NaN where it wasn't looked up.
        moved: probability that it shows that person.
        cores: unit mean of each person's core, shape ``(people, d)``; zero where a person has none.
        core_sizes: number of photos in each core.
        contested: whether the person's folder falls into components of which none is clearly the person's.
        model: what was learned of similarities.
    """

    wrong: Floats
    own: Floats
    owner: Ints
    other: Floats
    moved: Floats
    cores: Vectors
    core_sizes: Ints
    contested: NDArray[np.bool_]
    model: SimilarityModel


@dataclass
class _Own:
    """Photos and their own person's core, without the photo itself."""

    total: Vectors  # (people, d), sum of each core
    size: Ints  # (people,)
    others: Ints  # (m,), photos compared with
    mean: Floats  # (m,), mean cosine with each of them
    cosine: Floats  # (m,), with their unit mean; NaN where there are none
    ratio: Floats  # (m,), log ratio; inf where there are none


@dataclass
class _Elsewhere:
    """Photos and the other people that they resemble most; -inf, NaN and -1 where that wasn't looked up."""

    evidence: Floats  # (m,), log of the mean ratio over all other people
    ratio: Floats  # (m,), log ratio of the best
    owner: Ints  # (m,)
    cosine: Floats  # (m,)
    trust: Floats  # (m,), probability that the best is the person whose name it bears


def judge_labels(
    embeddings: Vectors,
    person: Ints,
    is_fake: NDArray[np.bool_] | None = None,
    seed: int = 0,
    advance: Callable[[int], None] | None = None,
) -> Judgement:
    """Judge for each real photo whether it shows the person whose name it bears.

    In each folder, photos that are as alike as one person's photos are linked; the largest component is the person. Where
    none is clearly the largest (two photos that differ), what looks like someone else's core speaks against a component,
    and what the person's deepfakes look like speaks for it; if nothing decides, both stay half suspect. Then, three times
    over: cosines of each photo with its own core without itself, and with the nearest other cores, are weighed against each
    other; what is more likely wrong leaves the core; the distributions and the label-noise rate are estimated anew.

    Args:
        embeddings: unit vectors, shape ``(n, d)``; a row of NaN is a photo that isn't judged.
        person: numbers from 0, shape ``(n,)``.
        is_fake: deepfakes are not judged; they only help with contested folders.
        seed: of the pairs that the distributions are estimated from.
        advance: called with the number of photos that have been looked up elsewhere since.

    Source: the label-noise rate and the responsibilities are estimated by the EM algorithm (Dempster, Laird & Rubin 1977).

    Example:
        >>> ann, bob = np.float32([1, 0, 0]), np.float32([0, 1, 0])
        >>> photos = np.stack([ann, ann, ann, bob, bob, bob, ann])
        >>> judged = judge_labels(photos, np.array([0, 0, 0, 1, 1, 1, 1]))
        >>> (judged.wrong > 0.5).tolist(), int(judged.owner[6])
        ([False, False, False, False, False, False, True], 0)
    """
    return _Judge(embeddings, person, is_fake, seed).judged(advance or (lambda _: None))


class _Judge:
    """The judging of one set; its rows are the real photos that have an embedding, sorted by person."""

    def __init__(self, embeddings: Vectors, person: Ints, is_fake: NDArray[np.bool_] | None, seed: int) -> None:
        fake = np.zeros(len(person), np.bool_) if is_fake is None else is_fake
        known = np.isfinite(embeddings[:, 0]) if len(embeddings) else np.zeros(0, np.bool_)
        rows = np.flatnonzero(known & ~fake)
        self.count, self.people = len(person), int(person.max()) + 1 if len(person) else 0
        self.rows = rows[np.argsort(person[rows], kind="stable")]
        self.vectors = embeddings[self.rows]  # (m, d)
        self.person = person[self.rows]  # (m,)
        self.starts = np.searchsorted(self.person, np.arange(self.people + 1))  # (people + 1,)
        self.fakes = unit(sums(embeddings[known & fake], person[known & fake], self.people))  # (people, d)
        self.model = first_fit(self.vectors, self.person, np.random.default_rng(seed))
        self.parts = linked_components(self.vectors, self.starts, self.model.linked)
        self.weight = np.where(self.parts.contested[self.person], 0.5, 1.0)  # (m,), of being the folder's person
        self.noise_rate, self.known_share = _ASSUMED

    def judged(self, advance: Callable[[int], None]) -> Judgement:
        """Go round, and put the rows back into their order."""
        open_ = self.parts.contested[self.person]
        core = self.parts.candidate & ~open_
        for _ in range(_ROUNDS):
            own = self._own(core)
            elsewhere = self._elsewhere(own, advance)
            wrong = self._weighed(own, elsewhere)
            core = (wrong < 0.5) & ~open_
            self._learn(own, wrong, elsewhere)
        return self._result(own, wrong, elsewhere)

    def _own(self, core: NDArray[np.bool_]) -> _Own:
        """Compare each photo with its person's core without itself."""
        total = sums(self.vectors[core], self.person[core], self.people)  # (people, d)
        size = np.bincount(self.person[core], minlength=self.people)
        others = size[self.person] - core
        dot = np.einsum("md,md->m", self.vectors, total[self.person]) - core  # with the sum of the others
        square = np.einsum("pd,pd->p", total, total)[self.person]
        length = np.sqrt(np.maximum(square - core * (2 * dot + 1), 1e-12))
        cosine = np.where(others > 0, np.clip(dot / length, -1, 1), np.nan)
        ratio = np.where(others > 0, self.model.log_ratio(np.nan_to_num(cosine), others), np.inf)
        return _Own(total, size, others, dot / np.maximum(others, 1), cosine, ratio)

    def _elsewhere(self, own: _Own, advance: Callable[[int], None]) -> _Elsewhere:
        """Look up, of the photos that don't clearly show their own person, who else they resemble."""
        clear = self.model.highest - np.log(max(self.people, 1)) + _DOUBT
        asked = np.flatnonzero(self.parts.contested[self.person] | (own.ratio < clear))
        references, owners, sizes, trust, own_place = self._references(own)
        found = _Elsewhere(*(np.full(len(self.rows), value) for value in (-np.inf, -np.inf, -1, np.nan, 1.0)))
        cosine, place = nearest(self.vectors[asked], references, _CANDIDATES, own_place[asked], advance)  # (a, 5)
        usable = (place >= 0) & (owners[place] != self.person[asked, None]) if len(owners) else place >= 0
        if not usable.any():
            return found
        ratio = np.where(usable, self.model.log_ratio(cosine, sizes[place]), -np.inf)  # (a, 5)
        some = np.flatnonzero(usable.any(axis=1))
        best = np.argmax(ratio[some], axis=1)
        rows, chosen = asked[some], place[some, best]
        found.evidence[rows] = logsumexp(ratio[some], axis=1) - np.log(self.people)
        found.ratio[rows], found.cosine[rows] = ratio[some, best], cosine[some, best]
        found.owner[rows], found.trust[rows] = owners[chosen], trust[chosen]
        return found

    def _references(self, own: _Own) -> tuple[Vectors, Ints, Ints, Floats, Ints]:
        """Cores of decided folders, and the components that may be the person in the others.

        Returns:
            Unit means, their people, numbers of photos and probabilities of being the person; and for each photo the
            reference that it is part of, or -1.
        """
        decided = np.flatnonzero(own.size > 0)
        part = self.parts.candidate & self.parts.contested[self.person]
        few = np.bincount(self.person[part], minlength=self.people) <= _MOST_OPEN
        members = np.flatnonzero(part & few[self.person])
        label, first, place, size = np.unique(
            self.parts.label[members], return_index=True, return_inverse=True, return_counts=True
        )
        components = sums(self.vectors[members], place, len(label))
        place_of = np.full(self.people, -1)
        place_of[decided] = np.arange(len(decided))
        own_place = place_of[self.person]
        own_place[members] = len(decided) + place
        return (
            unit(np.concatenate([own.total[decided], components])),
            np.concatenate([decided, self.person[members[first]]]),
            np.concatenate([own.size[decided], size]),
            np.concatenate([np.ones(len(decided)), self.weight[members[first]]]),
            own_place,
        )

    def _weighed(self, own: _Own, elsewhere: _Elsewhere) -> Floats:
        """Probability that each photo doesn't show its person."""
        odds = self._odds_of_others(elsewhere)
        pull = self._pull(elsewhere)
        wrong: Floats = expit(odds - own.ratio)
        for person in np.flatnonzero(self.parts.contested).tolist():
            folder = slice(self.starts[person], self.starts[person + 1])
            wrong[folder] = self._contested(person, folder, odds[folder], pull[folder], own.cosine[folder])
        return wrong

    def _odds_of_others(self, elsewhere: _Elsewhere) -> Floats:
        """Log-odds of another person over the own one, before the own core was looked at."""
        known = np.log(self.known_share) + elsewhere.evidence
        prior = np.log(self.noise_rate) - np.log1p(-self.noise_rate)
        odds: Floats = prior + np.logaddexp(known, np.log1p(-self.known_share))
        return odds

    def _pull(self, elsewhere: _Elsewhere) -> Floats:
        """Weigh what a photo resembles elsewhere against its showing its own person, in log-odds.

        If that is itself in question, one of the two is in the wrong folder: the less likely the other is in the right one,
        the more likely this one is. The factor below one half keeps two folders from talking each other into certainty.
        """
        most = np.clip(elsewhere.evidence, 0, _MOST_EVIDENCE)
        trusted = np.clip(elsewhere.trust, 1e-6, 1 - 1e-6)
        pull: Floats = np.where(elsewhere.trust == 1, most, np.clip(_DAMPING * logit(trusted), -most, most))
        return pull

    def _contested(self, person: int, folder: slice, odds: Floats, pull: Floats, cosine: Floats) -> Floats:
        """Judge a folder under each component that may be the person; fills ``cosine`` under the likeliest."""
        vectors, label = self.vectors[folder], self.parts.label[folder]
        choices = np.unique(label[self.parts.candidate[folder]])
        inside = (label == choices[:, None]).astype(np.float32)  # (c, f)
        size, total = inside.sum(axis=1), inside @ vectors  # (c,), (c, d)
        score = _SIZE_WEIGHT * size - inside @ pull / size
        if self.fakes[person].any():
            alike = self.model.log_ratio(unit(total) @ self.fakes[person], 1)
            score += np.clip(alike, -_MOST_EVIDENCE, _MOST_EVIDENCE)
        weight = np.exp(score - score.max())
        weight /= weight.sum()
        self.weight[folder] = weight @ inside
        rest = total[:, None] - inside[:, :, None] * vectors  # (c, f, d)
        others = (size[:, None] - inside).astype(np.int64)
        compared = np.where(others > 0, np.einsum("cfd,fd->cf", unit(rest), vectors), np.nan)
        ratio = np.where(others > 0, self.model.log_ratio(np.nan_to_num(compared), others), np.inf)
        cosine[:] = compared[np.argmax(weight)]
        wrong: Floats = weight @ expit(odds - ratio)
        return wrong

    def _learn(self, own: _Own, wrong: Floats, elsewhere: _Elsewhere) -> None:
        """Estimate the distributions and the shares anew."""
        usable = (own.others > 0) & ~self.parts.contested[self.person]
        self.model = refit(self.model, own.mean[usable], own.cosine[usable], own.others[usable], 1 - wrong[usable])
        known = np.log(self.known_share) + elsewhere.evidence
        share = expit(known - np.log1p(-self.known_share))
        self.noise_rate = float(np.clip(wrong.sum() / max(len(wrong), 1), *_NOISE_RATES))
        self.known_share = float(np.clip((wrong * share).sum() / max(wrong.sum(), 1e-9), *_KNOWN_SHARES))

    def _result(self, own: _Own, wrong: Floats, elsewhere: _Elsewhere) -> Judgement:
        known = np.log(self.known_share) + elsewhere.evidence
        others = np.logaddexp(known, np.log1p(-self.known_share))
        moved = (
            wrong
            * elsewhere.trust
            * np.exp(np.log(self.known_share) + elsewhere.ratio - np.log(max(self.people, 1)) - others)
        )
        spread = {
            "wrong": (wrong, 0.0),
            "own": (own.cosine, np.nan),
            "owner": (elsewhere.owner, -1),
            "other": (elsewhere.cosine, np.nan),
            "moved": (moved, 0.0),
        }
        by_row = {}
        for name, (values, missing) in spread.items():
            by_row[name] = np.full(self.count, missing)
            by_row[name][self.rows] = values
        return Judgement(
            **by_row, cores=unit(own.total), core_sizes=own.size, contested=self.parts.contested, model=self.model
        )
