"""Looks at a photo or a video as one embedding: a photo gives one look, a video one for each frame that can be judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from bonaface.images.photo import Photo
from bonaface.inference.embedder import Embedder
from bonaface.verification.embeddings import Embeddings

__all__ = ["EmbeddedVideo", "Looks", "embed_looks", "looks_at", "of_one_person"]

Looks = Sequence[Mapping[str, NDArray[np.uint8]]] | Embeddings
"""What the networks see at each look, by kind; or what they said of it, one row each."""

_OF_ONE_PERSON = 0.75
"""Share of a video's frames that have to show one person."""


@dataclass(frozen=True)
class EmbeddedVideo(Photo):
    """A video whose frames have been embedded, to see whether they show one person.

    Args:
        embeddings: of ``inputs``, in their order.
    """

    embeddings: Embeddings | None = None


def looks_at(photo: Photo, model: str) -> Looks:
    """What is to be embedded of a photo, or the embeddings of a video if they are by this model, which its fingerprint names."""
    if isinstance(photo, EmbeddedVideo) and photo.embeddings is not None and photo.embeddings.model == model:
        return photo.embeddings
    return photo.inputs


def of_one_person(video: Photo, embedder: Embedder) -> Photo:
    """A video without the frames that are unlike the others; a problem where many are: two people would pass as either."""
    calibration = embedder.calibration
    if calibration is None or len(video.inputs) < 2:
        return video
    made = embedder.embed_inputs(video.inputs)
    alike = calibration.same.log_odds(made.identity @ made.identity.T) >= 0  # (frames, frames)
    kept = np.flatnonzero(alike[alike.sum(axis=1).argmax()])
    frames = len(video.inputs)
    if len(kept) >= _OF_ONE_PERSON * frames:
        known = {each.name: getattr(video, each.name) for each in fields(video)}
        return EmbeddedVideo(**known | {"inputs": tuple(video.inputs[row] for row in kept)}, embeddings=made.take(kept))
    told = f"{frames - len(kept)} of {frames} frames are unlike the others"
    return replace(video, inputs=(), problem=f"{video.name}: shows more than one person ({told}); expected one")


def embed_looks(embedder: Embedder, groups: Sequence[Looks]) -> Embeddings:
    """One embedding a group of looks: the mean of their unit vectors, on the unit sphere, and of their log-odds.

    Args:
        embedder: embeds the looks that are not embedded yet, all at once.
        groups: of at least one look each, shape ``(n,)``.
    """
    fresh = [look for group in groups if not isinstance(group, Embeddings) for look in group]
    made = embedder.embed_inputs(fresh) if fresh else None
    if made is not None and len(fresh) == len(groups) and all(len(group) == 1 for group in groups):
        return made
    parts: list[Embeddings] = []
    at = 0
    for group in groups:
        if isinstance(group, Embeddings):
            parts.append(group)
        elif made is not None:
            parts.append(made.take(np.arange(at, at + len(group))))
            at += len(group)
    every, counts = Embeddings.joined(parts), np.array([len(group) for group in groups])
    starts = np.cumsum(counts) - counts
    identity = np.add.reduceat(every.identity, starts, axis=0)  # (groups, d)
    identity /= np.linalg.norm(identity, axis=1, keepdims=True)
    odds = every.authenticity
    means = None if odds is None else (np.add.reduceat(odds, starts) / counts).astype(np.float32)
    return replace(every, identity=identity, authenticity=means)
