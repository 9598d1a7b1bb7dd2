"""Deepfakes that were changed on purpose, so little that nobody sees it, to pass for the person.

The attacker knows the network and the photo that the fake is held against, and moves each pixel by at most ``epsilon``
towards a higher similarity. Each branch's input is attacked as the network gets it, after alignment or cropping: a bound on
what a file could do.

Sources: I. Goodfellow, J. Shlens and C. Szegedy, "Explaining and harnessing adversarial examples", ICLR 2015 (FGSM);
A. Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018 (PGD).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bonaface.images.preprocessing import test_images
from bonaface.inference.backends.torch import TorchNetwork
from bonaface.models.face_model import FaceModel
from bonaface.verification.calibration import Calibration, Logistic
from bonaface.verification.embeddings import Embeddings

__all__ = ["attack", "attacked_embeddings"]

Images = dict[str, Tensor]

_BATCH = 32


def attacked_embeddings(
    network: TorchNetwork,
    fakes: Sequence[Mapping[str, NDArray[np.uint8]]],
    target: NDArray[np.float32],
    calibration: Calibration | None,
    epsilon: int,
    steps: int,
) -> Embeddings:
    """Embed fakes that were changed so that they are taken for the genuine images, row by row.

    Args:
        network: whose gradients are followed.
        fakes: preprocessed.
        target: unit identity vectors of the other photos of their pairs, shape ``(n, dim)``.
        calibration: as ``similarity`` needs it.
        epsilon: the most that a value may change, of 255.
        steps: as in :func:`attack`.
    """
    aims = torch.from_numpy(target).to(network.device)
    parts = []
    for start in range(0, len(fakes), _BATCH):
        stacked = test_images(network.views, fakes[start : start + _BATCH])
        inputs = {name: torch.from_numpy(x).permute(0, 3, 1, 2).to(network.device) for name, x in stacked.items()}
        moved = attack(network.model, inputs, aims[start : start + _BATCH], calibration, epsilon, steps)
        parts.append(network({name: x.permute(0, 2, 3, 1).cpu().numpy() for name, x in moved.items()}))
    return Embeddings.joined(parts)


def attack(
    model: FaceModel, fakes: Images, target: Tensor, calibration: Calibration | None, epsilon: float, steps: int
) -> Images:
    """Move fakes towards the photos that they are held against.

    Args:
        model: in evaluation mode.
        fakes: by branch, shape ``(n, 3, h, w)``, 0..255.
        target: unit identity vectors of the other photos of their pairs, shape ``(n, dim)``.
        calibration: as ``similarity`` needs it.
        epsilon: the most that a value may change, of 255.
        steps: 1 is FGSM; more are PGD from the image itself, in steps of ``2.5 epsilon / steps``.

    Returns:
        Changed images of the same shapes, whole numbers in 0..255, uint8.
    """
    size = epsilon if steps == 1 else 2.5 * epsilon / steps
    start = {name: images.float() for name, images in fakes.items()}
    moved = dict(start)
    with _differentiable(model):
        for _ in range(steps):
            inputs = {name: images.detach().requires_grad_(True) for name, images in moved.items()}
            with torch.enable_grad():
                total = _similarity(model, inputs, target, calibration).sum()
                gradients = torch.autograd.grad(total, list(inputs.values()))
            for (name, images), gradient in zip(inputs.items(), gradients, strict=True):
                step = images.detach() + size * gradient.sign()
                kept = torch.minimum(torch.maximum(step, start[name] - epsilon), start[name] + epsilon)
                moved[name] = kept.clamp(0, 255)
    return {name: images.round().to(torch.uint8) for name, images in moved.items()}


def _similarity(model: FaceModel, fakes: Images, target: Tensor, calibration: Calibration | None) -> Tensor:
    """Part of ``scoring.similarity`` that the fakes can change, in torch, shape ``(n,)``."""
    identity, authenticity = model.embed(fakes)
    cosine = (identity * target).sum(1)  # (n,)
    if authenticity is None:
        return cosine
    if calibration is None or calibration.genuine is None:
        raise ValueError("embeddings with authenticity need a calibration of it")
    # The other photo is genuine and stays as it is: taken for genuine, P(neither is a deepfake) is P(this one is genuine).
    odds = _log_odds(calibration.genuine, authenticity)
    if (ratio := calibration.own_fake) is not None:
        own = ratio.cosine * cosine + ratio.authenticity * odds.clamp(ratio.low, ratio.high) + ratio.bias
        return -torch.logaddexp(-_log_odds(calibration.same, cosine), -own)
    genuine = torch.sigmoid(odds)
    log_same = F.logsigmoid(_log_odds(calibration.same, cosine) + calibration.prior)
    return log_same + torch.log((1 - calibration.doubt) * genuine + calibration.doubt)


def _log_odds(logistic: Logistic, score: Tensor) -> Tensor:
    return logistic.slope * score + logistic.bias


@contextmanager
def _differentiable(model: FaceModel) -> Iterator[None]:
    """Gradients reach the images through frozen branches too; no weight gathers any."""
    branches = [branch for branch in (model.identity, model.authenticity) if branch is not None]
    frozen = [branch.frozen for branch in branches]
    try:
        for branch in branches:
            branch.frozen = False
        yield
    finally:
        for branch, was in zip(branches, frozen, strict=True):
            branch.frozen = was
