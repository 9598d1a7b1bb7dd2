"""Training: Lightning's loop around one step that can be read on one screen."""

from __future__ import annotations

import logging
import math
import time
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from rich.console import Console
from torch import Tensor
from torch.utils.data import DataLoader

from bonaface.config import LossConfig, OptimizerConfig, TrainConfig
from bonaface.embedding.checkpoints import WholeCheckpoints
from bonaface.embedding.interrupt import Interrupt
from bonaface.embedding.losses import LOSSES, LossValue, authenticity
from bonaface.embedding.model import FaceModel
from bonaface.embedding.preparation import TrainingFaces
from bonaface.embedding.progress import TrainingProgress
from bonaface.errors import ConfigError
from bonaface.scoring import Embeddings

__all__ = ["FaceTraining", "fit", "identity_loss", "precision_of"]

_MONITOR = "val/challenge_eer"
_VAL_BATCH = 64


class FaceTraining(L.LightningModule):
    """The training step and the validation of a FaceModel.

    Args:
        model: what is trained.
        faces: what it is trained on.
        config: all settings of the run.
    """

    def __init__(self, model: FaceModel, faces: TrainingFaces, config: TrainConfig) -> None:
        super().__init__()
        self.model = model
        self.faces = faces
        self.config = config
        self.sampler = faces.sampler(config.batch, config.seed)
        self.total_steps = config.steps or config.epochs * len(self.sampler)
        self.steps_per_round = min(config.val_every or len(self.sampler), self.total_steps)
        self.identity_loss = identity_loss(config.loss)
        self.authenticity_loss = authenticity(config.loss.smoothing)
        self.history: list[dict[str, float]] = []
        self._embedded: list[tuple[Tensor, Tensor | None]] = []
        self._identified: dict[int, Tensor] = {}  # of a frozen branch they stay the same
        self._since_validation: list[Tensor] = []
        self._started = time.monotonic()
        self._images = 0

    def training_step(self, batch: Any, index: int) -> Tensor:
        """Loss of one batch: triplets on the identity vectors, cross-entropy on the log-odds, each where it is trained."""
        loss, trained, terms = self.config.loss, self.model.trained, {}
        if "identity" in trained:
            vectors = trained["identity"](batch.pictures["identity"]).float()  # (n, dim)
            vectors = F.normalize(vectors) if loss.normalise else vectors
            terms["identity"] = self.identity_loss(vectors, batch.labels)
        if "authenticity" in trained:
            log_odds = trained["authenticity"](batch.pictures["authenticity"]).float().squeeze(1)  # (n,)
            terms["authenticity"] = self.authenticity_loss(log_odds, batch.is_fake)
        weights = {"identity": loss.identity_weight, "authenticity": loss.authenticity_weight}
        value: Tensor = torch.stack([weights[name] * term.value for name, term in terms.items()]).sum()
        self._note(value, terms, len(batch.labels))
        return value

    def _note(self, value: Tensor, terms: dict[str, LossValue], images: int) -> None:
        active = torch.stack([term.active for term in terms.values()]).mean()
        self.last_figures = torch.stack([value.detach(), active])  # (2,)
        self._since_validation.append(self.last_figures)
        self._images = images

    def on_train_batch_start(self, batch: Any, index: int) -> None:
        """Dropout draws from torch's global generator: seeded by the step, a run that goes on draws what it would have drawn."""
        step = self.current_epoch * self.steps_per_round + index
        torch.manual_seed(int(np.random.SeedSequence([self.config.seed, step]).generate_state(1)[0]))

    def validation_step(self, pictures: dict[str, Tensor], index: int) -> None:
        """Embeds one part of the validation pictures, in full precision."""
        with torch.autocast(self.device.type, enabled=False), torch.compiler.set_stance("force_eager"):
            if index not in self._identified or not self.model.identity.frozen:
                self._identified[index] = self.model.identify(pictures)
            self._embedded.append((self._identified[index], self.model.authenticate(pictures)))

    def on_train_start(self) -> None:
        """Judges the untrained model, so that the history says what training brought."""
        if not self.history:
            self.eval()
            with torch.inference_mode():
                for index, pictures in enumerate(self.val_dataloader()):
                    self.validation_step({name: x.to(self.device) for name, x in pictures.items()}, index)
            self.train()
            self._record(0)

    def on_validation_epoch_end(self) -> None:
        """EER over the validation pairs, overall and by kind, into the history and to whoever monitors it."""
        self._record(min((self.current_epoch + 1) * self.steps_per_round, self.total_steps))
        self.log(_MONITOR, self.history[-1]["val_challenge_eer"])

    def _record(self, step: int) -> None:
        scores, _ = self.faces.judged(gathered(self._embedded))
        self._embedded = []
        errors = self.faces.errors(scores).items()
        figures = {f"val_{name}": value for name, value in errors if not name.endswith("_rocch")}
        steps = len(self._since_validation)
        loss, active = torch.stack(self._since_validation).mean(0).tolist() if steps else (math.nan, math.nan)
        speed = steps * self._images / (time.monotonic() - self._started)
        self.history.append({"step": step, "train_loss": loss, "active": active, "images_per_second": speed} | figures)
        self._since_validation, self._started = [], time.monotonic()

    def train_dataloader(self) -> Any:
        """The batches up to the next validation; they depend on the step alone, so a run goes on where it was."""
        first = self.current_epoch * self.steps_per_round
        count = min(self.steps_per_round, self.total_steps - first)
        batches = self.faces.training_batches(self.config, self.model, self.sampler, first, count)
        workers = self.config.faces.workers
        return DataLoader(batches, batch_size=None, num_workers=workers, prefetch_factor=2 if workers else None)

    def val_dataloader(self) -> Any:
        """The pictures of the validation pairs."""
        return DataLoader(self.faces.val_batches(self.model, _VAL_BATCH), batch_size=None, num_workers=0)

    def configure_optimizers(self) -> Any:
        """AdamW or SGD, with the schedule stepped at every optimiser step."""
        settings = self.config.optimizer
        optimizer = _optimizer(self.model, settings)
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


class Patience(EarlyStopping):
    """Early stopping that also holds for a run that is gone on with after it had stopped."""

    def on_train_start(self, trainer: L.Trainer, training: L.LightningModule) -> None:
        """Stops at once where patience had ended before."""
        trainer.should_stop = self.wait_count >= self.patience


def gathered(parts: list[tuple[Tensor, Tensor | None]]) -> Embeddings:
    """One Embeddings of many parts, on the host."""
    identity = torch.cat([vectors for vectors, _ in parts]).float().cpu().numpy()
    odds = [log_odds for _, log_odds in parts if log_odds is not None]
    return Embeddings(identity, torch.cat(odds).float().cpu().numpy() if odds else None)


def identity_loss(settings: LossConfig) -> Any:
    """The loss on identity vectors by its name.

    Raises:
        ConfigError: if the margin does not suit it.
    """
    if settings.name == "soft_triplet":
        return LOSSES["soft_triplet"](reduction=settings.reduction)
    if settings.name == "triplet" and settings.margin is None:
        raise ConfigError("loss.margin: triplet needs a margin such as 0.5; soft_triplet is the loss without one")
    return LOSSES[settings.name](margin=settings.margin, reduction=settings.reduction)


def _optimizer(model: FaceModel, settings: OptimizerConfig) -> torch.optim.Optimizer:
    trained = [weight for weight in model.parameters() if weight.requires_grad]
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


def precision_of(setting: str, device: str) -> str:
    """Lightning's name of a precision; ``auto`` takes bf16 where the device computes it natively."""
    named = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
    if setting in named:
        return named[setting]
    native = torch.cuda.is_bf16_supported(including_emulation=False) if device == "cuda" else _cpu_has_bf16()
    return "bf16-mixed" if native else "32-true"


def _cpu_has_bf16() -> bool:
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe()) if probe else False


def _quiet() -> None:
    """Lightning's notes on cards, workers and logging are not the user's business."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\..*")


def fit(
    model: FaceModel, faces: TrainingFaces, config: TrainConfig, run: Path, resume: bool, console: Console
) -> FaceTraining:
    """Trains until the last step or until patience ends; the run folder then has best.ckpt, last.ckpt and metrics.csv.

    Args:
        model: trained in place.
        faces: prepared pictures.
        config: settings.
        run: the run's folder.
        resume: go on from last.ckpt where there is one.
        console: where progress is shown.
    """
    _quiet()
    device = config.device if config.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: cuda was asked for, and this machine has no CUDA device that torch can use")
    if config.compile:
        for branch in model.trained.values():
            branch.backbone.net.compile()
    training = FaceTraining(model.to(memory_format=torch.channels_last), faces, config)
    best = ModelCheckpoint(run, "best", monitor=_MONITOR, save_weights_only=True, enable_version_counter=False)
    last = ModelCheckpoint(run, "last", monitor=None, enable_version_counter=False)
    interrupt = Interrupt()
    callbacks: list[Callback] = [TrainingProgress(console, run / "metrics.csv"), best, last, interrupt]
    if config.patience:
        callbacks.insert(1, Patience(_MONITOR, patience=config.patience, mode="min"))
    trainer = L.Trainer(
        accelerator=device,
        devices=1,
        precision=precision_of(config.precision, device),  # type: ignore[arg-type]
        max_epochs=math.ceil(training.total_steps / training.steps_per_round),
        accumulate_grad_batches=config.optimizer.accumulate,
        gradient_clip_val=config.optimizer.clip or None,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        deterministic="warn",
        callbacks=callbacks,
        plugins=[WholeCheckpoints()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    checkpoint = run / "last.ckpt"
    try:
        with interrupt.listening():
            trainer.fit(training, ckpt_path=checkpoint if resume and checkpoint.exists() else None, weights_only=True)
    except SystemExit as stop:  # what Lightning makes of Ctrl-C
        raise KeyboardInterrupt from stop
    return training
