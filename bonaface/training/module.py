"""The training step, readable on one screen, and validation."""

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

from bonaface.batches.samplers import StepSampler
from bonaface.config import LossConfig, OptimizerConfig
from bonaface.errors import ModelError
from bonaface.losses import AuthenticityLoss, LossValue, build_loss, has_prototypes
from bonaface.models.depthwise import FastDepthwise
from bonaface.models.face_model import FaceModel, joined_embeddings
from bonaface.models.state_dicts import current_names
from bonaface.training.datamodule import TrainingFaces
from bonaface.training.distributed import ALONE, Distributed
from bonaface.training.optim import Length, build_optimizer, learning_rate
from bonaface.verification.embeddings import Embeddings

__all__ = ["MONITOR", "FaceTraining", "val_embeddings"]

MONITOR = "val/worst_eer"
"""What the best weights are chosen by: lower is better."""


class FaceTraining(L.LightningModule):
    """The training step and the validation of a FaceModel.

    Args:
        model: what is trained.
        faces: what it is trained and validated on.
        sampler: of ``faces``, for this process.
        length: of the training.
        loss: identity loss, and the weights of both losses.
        optimizer: optimiser and schedule.
        fast_depthwise: use faster gradients of depthwise convolutions on a CPU; not for compiled networks.
        distributed: this process among those that train together.
    """

    def __init__(
        self,
        model: FaceModel,
        faces: TrainingFaces,
        sampler: StepSampler,
        length: Length,
        loss: LossConfig,
        optimizer: OptimizerConfig,
        fast_depthwise: bool = True,
        distributed: Distributed = ALONE,
    ) -> None:
        super().__init__()
        self.model, self.faces, self.sampler, self.length = model, faces, sampler, length
        self.settings, self.fast_depthwise, self.distributed = optimizer, fast_depthwise, distributed
        self.weights = {"identity": loss.identity_weight, "authenticity": loss.authenticity_weight}
        self.normalise = loss.normalise and not has_prototypes(loss.name)
        self.identity_loss = self._identity_loss(loss) if "identity" in model.trained else None
        self.authenticity_loss = AuthenticityLoss(loss.smoothing)
        self.history: list[dict[str, float]] = []
        self._embedded: list[tuple[Tensor, Tensor | None]] = []
        self._identified: dict[int, Tensor] = {}  # of a frozen branch they stay the same
        self._since_validation: list[Tensor] = []
        self._started = time.monotonic()
        self._images = 0

    def _identity_loss(self, loss: LossConfig) -> nn.Module:
        with torch.random.fork_rng():  # its prototypes are those of the seed, whatever was drawn before
            torch.manual_seed(self.faces.seed)
            return build_loss(loss, self.faces.n_classes, self.model.identity.dim)

    def training_step(self, batch: Any, index: int) -> Tensor:
        """Loss of one batch: of the identity vectors by class, of the log-odds by cross-entropy, each if it is trained."""
        trained, losses = self.model.trained, {}
        with self._kernels():
            outputs = {name: branch(batch.images[name]).float() for name, branch in trained.items()}
        if self.identity_loss is not None:
            vectors = outputs["identity"]  # (n, dim)
            vectors = F.normalize(vectors) if self.normalise else vectors
            losses["identity"] = self.identity_loss(self._gathered(vectors), self._gathered(batch.labels))
        if "authenticity" in trained:
            log_odds = outputs["authenticity"].squeeze(1)  # (n,)
            losses["authenticity"] = self.authenticity_loss(self._gathered(log_odds), self._gathered(batch.is_fake))
        total: Tensor = torch.stack([self.weights[name] * loss.value for name, loss in losses.items()]).sum()
        self._note(total, losses, len(batch.labels))
        return total

    def _kernels(self) -> AbstractContextManager[Any]:
        return FastDepthwise() if self.device.type == "cpu" and self.fast_depthwise else nullcontext()

    def _gathered(self, own: Tensor) -> Tensor:
        """Rows of a step that all processes hold, theirs ``(n, ...)`` as ``(world_size * n, ...)``; gradients flow back.

        Each process then has the whole loss, and its gradient comes out as often as there are processes, which
        the averaging of gradients over processes undoes.
        """
        if self.distributed.world_size == 1:
            return own
        gathered: Any = self.all_gather(own, sync_grads=own.requires_grad)  # (world_size, n, ...)
        whole: Tensor = gathered.flatten(0, 1)  # (world_size * n, ...)
        return whole

    def _note(self, total: Tensor, losses: dict[str, LossValue], images: int) -> None:
        active = torch.stack([loss.active for loss in losses.values()]).mean()
        self.last_figures = torch.stack([total.detach(), active])  # (2,)
        self._since_validation.append(self.last_figures)
        self._images = images * self.distributed.world_size

    def on_train_batch_start(self, batch: Any, index: int) -> None:
        """Seeds dropout, which draws from torch's global generator, by the step: a resumed run draws what it would have drawn."""
        step = self.length.round(self.current_epoch)[index]
        seed = self.distributed.seed(self.faces.seed)
        torch.manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1)[0]))

    def validation_step(self, images: dict[str, Tensor], index: int) -> None:
        """Embeds one part of the validation photos, in full precision."""
        with torch.autocast(self.device.type, enabled=False), torch.compiler.set_stance("force_eager"):
            if index not in self._identified or not self.model.identity.frozen:
                self._identified[index] = self.model.identify(images)
            self._embedded.append((self._identified[index], self.model.authenticate(images)))

    def on_train_start(self) -> None:
        """Validates the untrained model, so that the history says what training brought."""
        if not self.history:
            self.eval()
            with torch.inference_mode():
                for index, images in enumerate(self.val_dataloader()):
                    self.validation_step({name: x.to(self.device) for name, x in images.items()}, index)
            self.train()
            self._record(0)

    def on_validation_epoch_end(self) -> None:
        """Adds EER over the validation pairs, overall and by kind, to the history."""
        self._record(self.length.round(self.current_epoch).stop)
        self.log(MONITOR, self.history[-1]["val_worst_eer"])

    def _record(self, step: int) -> None:
        errors = self._errors(step).items()
        figures = {f"val_{name}": value for name, value in errors if not name.endswith("_rocch")}
        steps = len(self._since_validation)
        loss, active = torch.stack(self._since_validation).mean(0).tolist() if steps else (math.nan, math.nan)
        speed = steps * self._images / (time.monotonic() - self._started)
        self.history.append({"step": step, "train_loss": loss, "active": active, "images_per_second": speed} | figures)
        self._since_validation, self._started = [], time.monotonic()

    def _errors(self, step: int) -> dict[str, float]:
        """Figures over the photos of all processes: computed by the main process and broadcast.

        Raises:
            ModelError: if the network gives what is no number.
        """
        identity = torch.cat([vectors for vectors, _ in self._embedded])  # (n, dim)
        odds = [log_odds for _, log_odds in self._embedded if log_odds is not None]
        self._embedded = []
        pairs = self.faces.pairs
        photos = len(pairs.rows)  # beyond them the shares were filled up
        whole = self._gathered(identity)[:photos], self._gathered(torch.cat(odds))[:photos] if odds else None
        if not all(torch.isfinite(each).all() for each in whole if each is not None):
            raise ModelError(
                f"training diverged: by step {step} the network gives embeddings that aren't finite; expected a lower "
                f"optimizer.lr (it is {self.settings.lr:g})"
            )
        figures = pairs.figures(joined_embeddings([whole])) if self.distributed.is_main else {}
        shared: dict[str, float] = self.trainer.strategy.broadcast(figures)
        return shared

    def train_dataloader(self) -> Any:
        """The batches up to the next validation; they depend on the step alone, so a resumed run continues with the same ones."""
        views = {name: branch.view for name, branch in self.model.trained.items()}
        return self.faces.train_loader(views, self.sampler, self.length.round(self.current_epoch), self.distributed)

    def val_dataloader(self) -> Any:
        """The photos of the validation pairs."""
        return self.faces.val_loader(self.model.views, self.distributed)

    def configure_optimizers(self) -> Any:
        """AdamW or SGD over networks and prototypes, with the schedule stepped at every optimiser step."""
        optimizer = build_optimizer(self.parameters(), self.settings)
        total = self.length.optimizer_steps(self.settings.accumulate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate(step, total, self.settings))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Saves the history with the weights, so that metrics.csv of a resumed run is whole."""
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores the history; weights of 0.1 get the names of now."""
        self.history = [dict(row) for row in checkpoint.get("history", [])]
        for row in self.history:
            row.setdefault("val_worst_eer", row.get("val_challenge_eer", math.nan))
        for key in ("state_dict", "current_model_state"):
            if key in checkpoint:
                checkpoint[key] = current_names(checkpoint[key])


def val_embeddings(model: FaceModel, faces: TrainingFaces) -> Embeddings:
    """Embeddings of the validation photos, in the order of ``faces.pairs.photos``."""
    device = next(model.parameters()).device
    with torch.inference_mode():
        parts = [
            model.embed({name: x.to(device) for name, x in images.items()}) for images in faces.val_loader(model.views)
        ]
    return joined_embeddings(parts)
