"""Training: one step that can be read on one screen, and its validation."""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from bonaface.config import LossConfig, OptimizerConfig, TrainConfig
from bonaface.errors import ConfigError
from bonaface.losses.cross_batch_memory import CrossBatchMemory
from bonaface.losses.margin_softmax import HEADS
from bonaface.losses.triplet import LOSSES, LossValue, authenticity
from bonaface.models.depthwise import FastDepthwise
from bonaface.models.face_model import FaceModel
from bonaface.training.datamodule import TrainingFaces
from bonaface.training.distributed import ALONE, Ranks
from bonaface.verification.embeddings import Embeddings

__all__ = ["MONITOR", "FaceTraining", "gathered", "identity_loss", "val_embeddings"]

MONITOR = "val/challenge_eer"
"""What chooses the best weights: lower is better."""

_VAL_BATCH = 64


class FaceTraining(L.LightningModule):
    """The training step and the validation of a FaceModel.

    Args:
        model: what is trained.
        faces: what it is trained on.
        config: all settings of the run.
        ranks: which of the processes that train together this one is.
    """

    def __init__(self, model: FaceModel, faces: TrainingFaces, config: TrainConfig, ranks: Ranks = ALONE) -> None:
        super().__init__()
        self.model = model
        self.faces = faces
        self.config = config
        self.ranks = ranks
        self.sampler = faces.sampler(config.batch, config.seed, ranks)
        self.total_steps = config.steps or config.epochs * len(self.sampler)
        self.steps_per_round = min(config.val_every or len(self.sampler), self.total_steps)
        self.identity_loss = self._identity_loss()
        self.authenticity_loss = authenticity(config.loss.smoothing)
        self.history: list[dict[str, float]] = []
        self._embedded: list[tuple[Tensor, Tensor | None]] = []
        self._identified: dict[int, Tensor] = {}  # of a frozen branch they stay the same
        self._since_validation: list[Tensor] = []
        self._started = time.monotonic()
        self._images = 0

    def _identity_loss(self) -> nn.Module | None:
        if "identity" not in self.model.trained:
            return None
        classes = self.faces.n_classes(self.config.faces.fake_classes == "shared")
        with torch.random.fork_rng():  # its centres are those of the seed, whatever was drawn before
            torch.manual_seed(self.config.seed)
            return identity_loss(self.config.loss, classes, self.model.identity.dim)

    def training_step(self, batch: Any, index: int) -> Tensor:
        """Loss of one batch: by class on the identity vectors, cross-entropy on the log-odds, each where it is trained."""
        loss, trained, terms = self.config.loss, self.model.trained, {}
        with self._kernels():
            made = {name: branch(batch.images[name]).float() for name, branch in trained.items()}
        if self.identity_loss is not None:
            vectors = made["identity"]  # (n, dim)
            vectors = F.normalize(vectors) if loss.normalise and loss.name not in HEADS else vectors
            terms["identity"] = self.identity_loss(self._joint(vectors), self._joint(batch.labels))
        if "authenticity" in trained:
            log_odds = made["authenticity"].squeeze(1)  # (n,)
            terms["authenticity"] = self.authenticity_loss(self._joint(log_odds), self._joint(batch.is_fake))
        weights = {"identity": loss.identity_weight, "authenticity": loss.authenticity_weight}
        value: Tensor = torch.stack([weights[name] * term.value for name, term in terms.items()]).sum()
        self._note(value, terms, len(batch.labels))
        return value

    def _kernels(self) -> AbstractContextManager[Any]:
        """Faster gradients where torch's own are slow and nothing was compiled."""
        return FastDepthwise() if self.device.type == "cpu" and not self.config.compile else nullcontext()

    def _joint(self, own: Tensor) -> Tensor:
        """What all processes hold of a step, theirs ``(n, ...)`` as ``(ranks * n, ...)``; gradients flow back to whose it is.

        Each process then has the whole loss, and its gradient comes out as often as there are processes, which
        the averaging of gradients over processes undoes.
        """
        if self.ranks.world_size == 1:
            return own
        joint: Any = self.all_gather(own, sync_grads=own.requires_grad)  # (ranks, n, ...)
        whole: Tensor = joint.flatten(0, 1)  # (ranks * n, ...)
        return whole

    def _note(self, value: Tensor, terms: dict[str, LossValue], images: int) -> None:
        active = torch.stack([term.active for term in terms.values()]).mean()
        self.last_figures = torch.stack([value.detach(), active])  # (2,)
        self._since_validation.append(self.last_figures)
        self._images = images * self.ranks.world_size

    def on_train_batch_start(self, batch: Any, index: int) -> None:
        """Dropout draws from torch's global generator: seeded by the step, a run that goes on draws what it would have drawn."""
        step = self.current_epoch * self.steps_per_round + index
        seed = self.ranks.seed(self.config.seed)
        torch.manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1)[0]))

    def validation_step(self, images: dict[str, Tensor], index: int) -> None:
        """Embeds one part of the validation images, in full precision."""
        with torch.autocast(self.device.type, enabled=False), torch.compiler.set_stance("force_eager"):
            if index not in self._identified or not self.model.identity.frozen:
                self._identified[index] = self.model.identify(images)
            self._embedded.append((self._identified[index], self.model.authenticate(images)))

    def on_train_start(self) -> None:
        """Judges the untrained model, so that the history says what training brought."""
        if not self.history:
            self.eval()
            with torch.inference_mode():
                for index, images in enumerate(self.val_dataloader()):
                    self.validation_step({name: x.to(self.device) for name, x in images.items()}, index)
            self.train()
            self._record(0)

    def on_validation_epoch_end(self) -> None:
        """EER over the validation pairs, overall and by kind, into the history and to whoever monitors it."""
        self._record(min((self.current_epoch + 1) * self.steps_per_round, self.total_steps))
        self.log(MONITOR, self.history[-1]["val_challenge_eer"])

    def _record(self, step: int) -> None:
        errors = self._errors().items()
        figures = {f"val_{name}": value for name, value in errors if not name.endswith("_rocch")}
        steps = len(self._since_validation)
        loss, active = torch.stack(self._since_validation).mean(0).tolist() if steps else (math.nan, math.nan)
        speed = steps * self._images / (time.monotonic() - self._started)
        self.history.append({"step": step, "train_loss": loss, "active": active, "images_per_second": speed} | figures)
        self._since_validation, self._started = [], time.monotonic()

    def _errors(self) -> dict[str, float]:
        """Error rates of what was embedded, over the photos of all processes: found once, and told to all of them."""
        identity = torch.cat([vectors for vectors, _ in self._embedded])  # (n, dim)
        odds = [log_odds for _, log_odds in self._embedded if log_odds is not None]
        self._embedded = []
        photos = len(self.faces.val_rows)  # beyond them the shares were filled up
        whole = self._joint(identity)[:photos], self._joint(torch.cat(odds))[:photos] if odds else None
        errors = self.faces.errors(self.faces.judged(gathered([whole]))[0]) if self.ranks.leads else {}
        told: dict[str, float] = self.trainer.strategy.broadcast(errors)
        return told

    def train_dataloader(self) -> Any:
        """The batches up to the next validation; they depend on the step alone, so a run goes on where it was."""
        first = self.current_epoch * self.steps_per_round
        count = min(self.steps_per_round, self.total_steps - first)
        batches = self.faces.training_batches(self.config, self.model, self.sampler, first, count, self.ranks)
        workers = self.config.faces.workers
        return DataLoader(batches, batch_size=None, num_workers=workers, prefetch_factor=2 if workers else None)

    def val_dataloader(self) -> Any:
        """The images of the validation pairs."""
        return DataLoader(self.faces.val_batches(self.model, _VAL_BATCH, self.ranks), batch_size=None, num_workers=0)

    def configure_optimizers(self) -> Any:
        """AdamW or SGD, with the schedule stepped at every optimiser step."""
        settings = self.config.optimizer
        optimizer = _optimizer(self, settings)
        rounds, rest = divmod(self.total_steps, self.steps_per_round)
        # At the end of a round the optimiser moves, however many batches have been added up.
        total = rounds * math.ceil(self.steps_per_round / settings.accumulate) + math.ceil(rest / settings.accumulate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, total, settings))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The history goes with the weights, so that metrics.csv of a resumed run is whole."""
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """See on_save_checkpoint."""
        self.history = list(checkpoint.get("history", []))


def gathered(parts: list[tuple[Tensor, Tensor | None]]) -> Embeddings:
    """One Embeddings of many parts, on the host."""
    identity = torch.cat([vectors for vectors, _ in parts]).float().cpu().numpy()
    odds = [log_odds for _, log_odds in parts if log_odds is not None]
    return Embeddings(identity, torch.cat(odds).float().cpu().numpy() if odds else None)


def val_embeddings(model: FaceModel, faces: TrainingFaces) -> Embeddings:
    """What a model says of the validation photos, in the order of ``faces.val_rows``."""
    device = next(model.parameters()).device
    batches = faces.val_batches(model, _VAL_BATCH)
    with torch.inference_mode():
        parts = [model.embed({name: x.to(device) for name, x in batches[item].items()}) for item in range(len(batches))]
    return gathered(parts)


def identity_loss(settings: LossConfig, n_classes: int, dim: int) -> nn.Module:
    """The loss on identity vectors by its name.

    Args:
        settings: its name, margin, scale and reduction.
        n_classes: classes that training tells apart.
        dim: length of the vectors.

    Raises:
        ConfigError: if the margin, the scale or the reduction does not suit it.
    """
    if settings.name in HEADS:
        if settings.reduction != "mean":
            raise ConfigError(
                f"loss.reduction: {settings.name} compares no triplets: expected mean, got {settings.reduction}"
            )
        if settings.memory:
            raise ConfigError(f"loss.memory: {settings.name} compares with centres of classes: expected 0")
        return HEADS[settings.name](n_classes, dim, settings.margin, settings.scale)
    loss = _triplet_loss(settings)
    return CrossBatchMemory(loss, settings.memory, dim) if settings.memory else loss


def _triplet_loss(settings: LossConfig) -> Any:
    if settings.name == "soft_triplet":
        return LOSSES["soft_triplet"](reduction=settings.reduction)
    if settings.name == "triplet" and settings.margin is None:
        raise ConfigError("loss.margin: triplet needs a margin such as 0.5; soft_triplet is the loss without one")
    return LOSSES[settings.name](margin=settings.margin, reduction=settings.reduction)


def _optimizer(training: nn.Module, settings: OptimizerConfig) -> torch.optim.Optimizer:
    """Moves the networks' weights and those that a loss learns beside them."""
    trained = [weight for weight in training.parameters() if weight.requires_grad]
    if not trained:
        raise ConfigError("model: every branch is frozen, so there is nothing to train")
    groups = [
        {"params": [weight for weight in trained if weight.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [weight for weight in trained if weight.ndim < 2], "weight_decay": 0.0},
    ]
    if settings.name == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=0.9)
    return torch.optim.AdamW(groups, lr=settings.lr)


def _rate(step: int, total: int, settings: OptimizerConfig) -> float:
    """Share of the peak learning rate at an optimiser step: linear warm-up, then constant or a half cosine."""
    warmup = round(settings.warmup * total)
    if step < warmup:
        return (step + 1) / warmup
    if settings.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))
