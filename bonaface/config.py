"""Settings of a training run: one tree of frozen dataclasses.

``config_io`` reads them from YAML and the command line. ``training.train`` takes the tree apart: what it calls gets plain values
or the branch that is its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from bonaface.errors import ConfigError

__all__ = [
    "SHIPPED_DETECTOR",
    "BatchConfig",
    "BranchConfig",
    "FacesConfig",
    "ForgeryConfig",
    "LossConfig",
    "ModelConfig",
    "OptimizerConfig",
    "TrackingConfig",
    "TrainConfig",
    "TransformConfig",
]

SHIPPED_DETECTOR = "shipped"
"""Value of ``faces.detector`` that stands for the detector inside the shipped model."""
MOST_PAIRS = 1_000_000
"""Pairs that are drawn at once at most, which memory has room for."""


@dataclass(frozen=True)
class TransformConfig:
    """One torchvision v2 transform.

    Args:
        name: class name in torchvision.transforms.v2, e.g. ColorJitter.
        options: its constructor's keyword arguments.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ForgeryConfig:
    """Deepfakes forged while training, for batch.sampler paired_fakes.

    Args:
        methods: self_blend, swap_alpha, swap_poisson, swap_multiband, reenact, rerender, autoencode; one named twice is twice as
            likely; none forges nothing.
        share: fraction of a person's deepfakes that is forged although the data has some.
        camera: fraction of the people whose photos are cropped anew before forging.
        val_per_person: deepfakes forged of each validation person, if the data has none of them.
    """

    methods: tuple[str, ...] = ()
    share: float = 0.5
    camera: float = 0.5
    val_per_person: int = 4


@dataclass(frozen=True)
class FacesConfig:
    """Training data and augmentation.

    Args:
        train: folder of faces (the challenge's layout or one folder a person), or CSV/parquet in OML's format; a list of several
            fills each batch from all of them equally.
        fake_classes: class of a person's deepfakes: shared by everybody's, or dropped.
        issues: CSV of bonaface clean: rows to drop or relabel; one a folder if train is a list.
        originals: CSV of deepfake,original, which share batches; one a folder if train is a list.
        val_fraction: fraction of the people held out for validation.
        val_pairs: validation pairs, of all four kinds together.
        crop_size: side of the face crop in pixels; an image of this size is not resampled.
        detector: YuNet ONNX file, or shipped; null takes the centre, for faces that are cropped already.
        cache: folder of decoded images, shared by all runs on the same files; may be deleted whenever none is running.
        flip: probability of a horizontal flip.
        degrade: probability of random JPEG, blur, rescaling, noise and brightness.
        transforms: further torchvision v2 transforms.
        workers: processes that load batches; 0 loads them in the training process.
        forgery: deepfakes forged while training.
    """

    train: str | tuple[str, ...] = ""
    fake_classes: Literal["own", "shared", "dropped"] = "own"
    issues: str | tuple[str | None, ...] | None = None
    originals: str | tuple[str | None, ...] | None = None
    val_fraction: float = 0.1
    val_pairs: int = 2000
    crop_size: int = 160
    detector: str | None = SHIPPED_DETECTOR
    cache: str = ".bonaface-cache"
    flip: float = 0.4
    degrade: float = 0.0
    transforms: tuple[TransformConfig, ...] = ()
    workers: int = 1
    forgery: ForgeryConfig = field(default_factory=ForgeryConfig)

    @property
    def sources(self) -> tuple[tuple[str, str | None], ...]:
        """Each source of images and its list of issues.

        Raises:
            ConfigError: if there are not as many lists as sources.
        """
        return tuple(zip(self._folders, self._one_each("issues"), strict=True))

    @property
    def originals_of_sources(self) -> tuple[str | None, ...]:
        """The list of originals of each source.

        Raises:
            ConfigError: if there are not as many lists as sources.
        """
        return self._one_each("originals")

    @property
    def _folders(self) -> tuple[str, ...]:
        return (self.train,) if isinstance(self.train, str) else self.train

    def _one_each(self, name: Literal["issues", "originals"]) -> tuple[str | None, ...]:
        value, count = getattr(self, name), len(self._folders)
        lists = (None,) * count if value is None or value == (None,) else (value,) if isinstance(value, str) else value
        if len(lists) != count:
            raise ConfigError(f"faces.{name}: expected one for each of {count} in faces.train, got {len(lists)}")
        return tuple(csv or None for csv in lists)


@dataclass(frozen=True)
class BranchConfig:
    """One network: an image to an identity vector, or to the log-odds that the image is genuine.

    Args:
        backbone: OML name, timm:NAME or onnx:FILE.
        weights: pretrained, none, imagenet-lite0 (1, 2), imagenet-mobilenet_v2 or a file.
        view: aligned: the face warped onto the ArcFace template.
        size: side of the input in pixels; the backbone's own by default.
        crop: native-resolution crop of the face crop: random in training, then the centre.
        sees: residual: image minus blur; both: a network each.
        dim: dimension of a linear head; the backbone's features by default.
        frozen: do not train these weights.
        trains: norms: those of norm layers and the head; the rest stays pretrained.
        unit_features: normalise the backbone's features to unit length before the head.
        frozen_layers: first layers not to train: 1 is the stem, then stages or blocks.
        frozen_statistics: batch norms keep their initial statistics in training.
    """

    backbone: str = "resnet18_imagenet1k_v1"
    weights: str = "pretrained"
    view: Literal["aligned", "face_crop"] = "face_crop"
    size: int | None = None
    crop: bool = False
    sees: Literal["image", "residual", "both"] = "image"
    dim: int | None = None
    frozen: bool = False
    trains: Literal["all", "norms", "head"] = "all"
    unit_features: bool = False
    frozen_layers: int = 0
    frozen_statistics: bool = False


@dataclass(frozen=True)
class ModelConfig:
    """Networks and test-time augmentation.

    Args:
        identity: network whose vectors are compared by cosine.
        authenticity: network that tells genuine photos from deepfakes; null compares by cosine alone.
        flip_tta: average over the image and its horizontal flip at test time.
        five_crop: average authenticity over five crops at test time; needs model.authenticity.crop.
    """

    identity: BranchConfig = field(default_factory=BranchConfig)
    authenticity: BranchConfig | None = None
    flip_tta: bool = False
    five_crop: bool = False


@dataclass(frozen=True)
class BatchConfig:
    """Batches.

    Args:
        sampler: balanced: n_labels classes x n_instances images; paired_fakes: n_instances photos and
            as many deepfakes of each of n_labels people.
        n_labels: classes (balanced) or people (paired_fakes) in a batch.
        n_instances: images of each, repeated if there are fewer.
    """

    sampler: Literal["balanced", "paired_fakes"] = "balanced"
    n_labels: int = 25
    n_instances: int = 4


@dataclass(frozen=True)
class LossConfig:
    """Losses of the networks that are trained.

    Args:
        name: identity loss: a triplet loss over the batch, or a margin-softmax loss over class prototypes.
        margin: a distance of triplets, radians of arcface, else a cosine; null: soft, or the paper's.
        scale: of the cosines in margin-softmax losses.
        memory: images in the cross-batch memory of a triplet loss; 0 for none.
        reduction: of triplet losses: mean, sum, or mean over active triplets.
        normalise: normalise identity vectors before a triplet loss.
        identity_weight: weight of the identity loss.
        authenticity_weight: weight of the authenticity loss (binary cross-entropy).
        smoothing: label smoothing of the authenticity loss, at most 0.5.
    """

    name: Literal["soft_triplet", "triplet", "cosine_triplet", "arcface", "subcenter_arcface", "cosface", "adaface"] = (
        "triplet"
    )
    margin: float | None = 0.5
    scale: float = 64.0
    memory: int = 0
    reduction: Literal["mean", "sum", "mean_active"] = "mean"
    normalise: bool = True
    identity_weight: float = 1.0
    authenticity_weight: float = 1.0
    smoothing: float = 0.02


@dataclass(frozen=True)
class OptimizerConfig:
    """Optimiser and schedule.

    Args:
        name: adamw, or sgd with momentum 0.9.
        lr: peak learning rate.
        weight_decay: for weights of two or more dimensions.
        schedule: constant, or cosine to zero.
        warmup: fraction of the steps with linear warm-up.
        accumulate: batches whose gradients are accumulated before a step.
        clip: largest norm of the gradient; 0 does not clip.
        ema: decay of the weights' moving average, which is then judged and saved; 0: none.
    """

    name: Literal["adamw", "sgd"] = "adamw"
    lr: float = 3e-4
    weight_decay: float = 1e-2
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup: float = 0.05
    accumulate: int = 1
    clip: float = 0.0
    ema: float = 0.0


@dataclass(frozen=True)
class TrackingConfig:
    """Tracking beside the run's folder.

    Args:
        mlflow: MLflow store: sqlite:///runs/mlflow.db or a server's https://...; null for none.
        experiment: MLflow experiment.
        tensorboard: write curves for TensorBoard into tensorboard/ of the run's folder.
    """

    mlflow: str | None = None
    experiment: str = "bonaface"
    tensorboard: bool = False


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run.

    Args:
        name: the run's folder is out/name.
        out: folder of runs.
        seed: of split, pairs, batches, augmentation and weights.
        init_from: run whose best weights this one starts from, with its seed and faces, so that it validates on the same people;
            two runs if model.authenticity sees both.
        faces: training data and augmentation.
        model: networks and test-time augmentation.
        batch: composition of batches.
        loss: losses of the trained networks.
        optimizer: optimiser and schedule.
        tracking: MLflow and TensorBoard.
        epochs: passes over all classes, if steps is not given.
        steps: training steps; 0 evaluates and saves the initial weights.
        val_every: steps between validations; one epoch by default.
        patience: early stopping after this many validations without a lower EER; 0 for never.
        precision: auto: the fastest on this CPU by a short measurement, bf16 on a GPU that has it.
        device: auto, cpu or cuda.
        compile: torch.compile the networks: half a minute first, about a third faster on a CPU.

    Raises:
        ConfigError: naming the setting, if a value is out of its range.

    Example:
        >>> TrainConfig(faces=FacesConfig(train="faces/"), batch=BatchConfig(n_labels=20), steps=100).batch.n_instances
        4
    """

    name: str = "run"
    out: str = "runs"
    seed: int = 0
    init_from: str | tuple[str, ...] | None = None
    faces: FacesConfig = field(default_factory=FacesConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    epochs: int = 10
    steps: int | None = None
    val_every: int | None = None
    patience: int = 0
    precision: Literal["auto", "32", "bf16", "16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        """Refuses values that no later stage could make sense of."""
        for name, value in _values(self):
            if isinstance(value, float) and not math.isfinite(value):
                raise ConfigError(f"{name}: expected a finite number, got {value}")
            least, most = _RANGES.get(name, (None, None))
            if value is None or least is None:
                continue
            if most is None and value < least:
                raise ConfigError(f"{name}: expected at least {least}, got {value}")
            if most is not None and not least <= value <= most:
                raise ConfigError(f"{name}: expected a number from {least:g} to {most:g}, got {value:g}")
        if self.faces.forgery.methods and (
            self.batch.sampler != "paired_fakes" or self.faces.fake_classes == "dropped"
        ):
            raise ConfigError("faces.forgery: needs batch.sampler paired_fakes, and faces.fake_classes own or shared")
        self._check_trained_parts()
        if Path(self.name).name != self.name or self.name in {"", ".", ".."}:
            raise ConfigError(f'name: expected the name of one folder, got "{self.name}"')

    def _check_trained_parts(self) -> None:
        for name, branch in (("identity", self.model.identity), ("authenticity", self.model.authenticity)):
            if branch is None or branch.trains == "all":
                continue
            if branch.frozen:
                raise ConfigError(f"model.{name}.trains: {branch.trains}, but model.{name}.frozen trains nothing")
            if branch.trains == "head" and name == "identity" and branch.dim is None:
                raise ConfigError("model.identity.trains: head, but it has none: set model.identity.dim")


def _values(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting of a tree by its dotted name."""
    for each in fields(config):
        value = getattr(config, each.name)
        if is_dataclass(value):
            yield from _values(value, f"{prefix}{each.name}.")
        else:
            yield f"{prefix}{each.name}", value


_RANGES: dict[str, tuple[float, float | None]] = {
    "seed": (0, None),
    "epochs": (1, None),
    "steps": (0, None),
    "val_every": (1, None),
    "patience": (0, None),
    "faces.val_fraction": (0, 1),
    "faces.val_pairs": (4, MOST_PAIRS),
    "faces.crop_size": (16, None),
    "faces.flip": (0, 1),
    "faces.degrade": (0, 1),
    "faces.workers": (0, None),
    "faces.forgery.share": (0, 1),
    "faces.forgery.camera": (0, 1),
    "faces.forgery.val_per_person": (1, None),
    **{f"model.{branch}.{side}": (1, None) for branch in ("identity", "authenticity") for side in ("dim", "size")},
    **{f"model.{branch}.frozen_layers": (0, None) for branch in ("identity", "authenticity")},
    "batch.n_labels": (2, None),
    "batch.n_instances": (1, None),
    "loss.memory": (0, None),
    "loss.identity_weight": (0, None),
    "loss.authenticity_weight": (0, None),
    "loss.smoothing": (0, 0.5),
    "optimizer.lr": (0, None),
    "optimizer.weight_decay": (0, None),
    "optimizer.warmup": (0, 1),
    "optimizer.accumulate": (1, None),
    "optimizer.clip": (0, None),
    "optimizer.ema": (0, 0.9999),
}
"""Least and, if there is one, largest value of a setting."""
