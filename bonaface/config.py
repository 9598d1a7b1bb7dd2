"""Every setting, in one tree of frozen dataclasses: read from YAML and the command line by jsonargparse.

Lower layers never see this tree: a stage's entry takes its branch apart and passes plain values on.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from bonaface.errors import ConfigError

__all__ = [
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
    "load_config",
    "parse_config",
    "save_config",
]


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
    """Deepfakes made while training, so that the data needs none; for the sampler beside_fakes.

    Args:
        methods: ways to forge, each as likely as the others (one named twice twice as likely): self_blend, swap_alpha,
            swap_poisson, swap_multiband, reenact, rerender, autoencode; none by default.
        share: share of the deepfakes in a batch that is forged, in [0, 1], of people whose own the data has; of others all are.
        camera: share of the people in a batch whose images are framed anew before anything is forged, in [0, 1].
        val_per_person: deepfakes forged of each validation person, where the data has none of any of them.
    """

    methods: tuple[str, ...] = ()
    share: float = 0.5
    camera: float = 0.5
    val_per_person: int = 4


@dataclass(frozen=True)
class FacesConfig:
    """The images, and what is done to them before a network sees them.

    Args:
        train: folder of faces (the challenge's layout or one folder a person), or a CSV/parquet file in OML's format; or a list
            of several, of which each batch then holds equally many people.
        fake_classes: own: the deepfakes of each person are a class of their own; shared: one class for all; dropped: not used.
        faults: CSV that bonaface clean wrote: its rows are left out or relabelled, as their suggestions say; where train is a
            list, one for each, null or "" for none.
        val_fraction: share of the people, in (0, 1), whose photos are kept for validation.
        val_pairs: number of validation pairs drawn, of the four kinds together.
        frame_size: side in pixels of the square an image is kept at; an image of this size is not resampled.
        detector: YuNet ONNX file that finds the five points for aligned crops; without it the centre of the image is cropped.
        cache: folder for decoded images, reused by every run on the same files.
        flip: probability of a horizontal flip in training.
        degrade: probability that a training image goes through random JPEG, blur, rescaling, noise and brightness.
        transforms: further torchvision v2 transforms, applied to each training image in turn.
        workers: processes that make training batches; 0 makes them in the training process.
        forgery: deepfakes made while training.
    """

    train: str | tuple[str, ...] = ""
    fake_classes: Literal["own", "shared", "dropped"] = "own"
    faults: str | tuple[str | None, ...] | None = None
    val_fraction: float = 0.1
    val_pairs: int = 2000
    frame_size: int = 160
    detector: str | None = None
    cache: str = ".bonaface-cache"
    flip: float = 0.4
    degrade: float = 0.0
    transforms: tuple[TransformConfig, ...] = ()
    workers: int = 1
    forgery: ForgeryConfig = field(default_factory=ForgeryConfig)

    @property
    def sources(self) -> tuple[tuple[str, str | None], ...]:
        """Each source of images and the list of its faults.

        Raises:
            ConfigError: if there are not as many lists as sources.
        """
        named = (self.train,) if isinstance(self.train, str) else self.train
        lists = (self.faults,) if self.faults is None or isinstance(self.faults, str) else self.faults
        if lists == (None,):
            lists *= len(named)
        if len(lists) != len(named):
            raise ConfigError(f"faces.faults: expected one for each of {len(named)} in faces.train, got {len(lists)}")
        return tuple((where, csv or None) for where, csv in zip(named, lists, strict=True))


@dataclass(frozen=True)
class BranchConfig:
    """One network: from an image to an identity vector, or to the log-odds that the image is genuine.

    Args:
        backbone: an OML name (resnet34_imagenet1k_v1), a timm name (timm:convnext_tiny) or an ONNX file (onnx:FILE).
        weights: pretrained (downloaded and cached), none (random), or the path of a checkpoint.
        view: aligned: the face warped onto the ArcFace template; frame: the image as it is.
        size: side in pixels of the network's input; the backbone's own where it is left out.
        crop: frame view only: cut size x size pixels out of the frame, not resized, at random in training and at the centre after.
        sees: image; residual: what an image has beside its blurred self; or both: a network for each, whose features are put
            side by side.
        dim: dimension of an embedding head put on the backbone; without it the backbone's output is the vector.
        frozen: keep the weights as they are.
    """

    backbone: str = "resnet18_imagenet1k_v1"
    weights: str = "pretrained"
    view: Literal["aligned", "frame"] = "frame"
    size: int | None = None
    crop: bool = False
    sees: Literal["image", "residual", "both"] = "image"
    dim: int | None = None
    frozen: bool = False


@dataclass(frozen=True)
class ModelConfig:
    """What turns a photo into an Embedding.

    Args:
        identity: the network whose vectors are compared by cosine.
        authenticity: a second network that tells genuine photos from deepfakes; without it similarity is the cosine alone.
        mirror: embed each image as it is and mirrored, and average; twice the work at test time.
        corners: authenticity looks at the four corners of its frame beside the centre at test time, and averages; needs its crop.
    """

    identity: BranchConfig = field(default_factory=BranchConfig)
    authenticity: BranchConfig | None = None
    mirror: bool = False
    corners: bool = False


@dataclass(frozen=True)
class BatchConfig:
    """How a training batch is drawn.

    Args:
        sampler: balance: n_labels classes x n_instances photos; beside_fakes: n_labels people, each with n_instances real photos
            and n_instances of their own deepfakes.
        n_labels: classes (balance) or people (beside_fakes) in a batch.
        n_instances: photos of each; with repetition where there are fewer.
    """

    sampler: Literal["balance", "beside_fakes"] = "balance"
    n_labels: int = 25
    n_instances: int = 4


@dataclass(frozen=True)
class LossConfig:
    """What training minimises.

    Args:
        name: soft_triplet, triplet or cosine_triplet, which compare the identity vectors of a batch with each other, or arcface,
            subcenter_arcface, cosface or adaface, which compare them with a learned centre of each class.
        margin: margin of the triplet losses, in the units of their distance, null makes cosine_triplet soft; of arcface and
            subcenter_arcface in radians, of cosface and adaface of the cosine, null is that of their papers (0.5, 0.35, 0.4).
        scale: factor of the cosines to the classes' centres.
        memory: images of earlier batches that a triplet loss compares a batch with too; 0 remembers none.
        reduction: over all triplets of the batch: mean, sum, or mean over the active ones.
        normalise: put identity vectors on the unit sphere before a triplet loss; the others look at their directions anyway.
        identity_weight: factor of the identity loss, where the identity network is not frozen.
        authenticity_weight: factor of the authenticity loss (binary cross-entropy), where the model has that network.
        smoothing: label smoothing of the authenticity loss, in [0, 0.5).
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
    """How the weights move.

    Args:
        name: adamw or sgd (momentum 0.9).
        lr: peak learning rate.
        weight_decay: decay of weights with two or more dimensions.
        schedule: constant, or cosine to zero over all steps.
        warmup: share of all steps over which the rate rises linearly from zero.
        accumulate: batches whose gradients are added before a step.
        clip: largest norm of the gradient; 0 does not clip.
        average: what a step leaves of the running average of the weights, which is what is judged and kept; 0 keeps the weights
            themselves.
    """

    name: Literal["adamw", "sgd"] = "adamw"
    lr: float = 3e-4
    weight_decay: float = 1e-2
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup: float = 0.05
    accumulate: int = 1
    clip: float = 0.0
    average: float = 0.0


@dataclass(frozen=True)
class TrackingConfig:
    """Where a run is recorded beside its own folder.

    Args:
        mlflow: an MLflow store: sqlite:///runs/mlflow.db, or a server's https://...; none where it is left out.
        experiment: MLflow's experiment that the run belongs to.
        tensorboard: write the curves for TensorBoard into the folder tensorboard of the run's folder.
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
        seed: the one seed that the split, the pairs, the batches, the augmentation and the weights come from.
        start: folder of a run of the same networks, whose best weights this one begins with. Leave seed and faces.train as they
            were there: the split comes from them, and people trained on there must not be validated on here. Where
            model.authenticity sees both, a list of two: a run that saw the image and one that saw the residual.
        faces: the images.
        model: the networks.
        batch: the batches.
        loss: the losses.
        optimizer: the optimiser.
        tracking: where the run is recorded.
        epochs: passes over all classes (each class once an epoch); used where steps is left out.
        steps: training steps in all; with 0 the networks are judged and kept as they begin.
        val_every: steps between validations; one epoch where it is left out.
        patience: validations without a better EER after which training stops; 0 never stops early.
        precision: auto takes what a short measurement finds the fastest on a CPU, and bf16 on a GPU that has it; or 32, bf16, 16.
        device: auto, cpu or cuda.
        compile: compile the trained networks by torch.compile: half a minute at the start, then about a third faster on a CPU.
    """

    name: str = "run"
    out: str = "runs"
    seed: int = 0
    start: str | tuple[str, ...] | None = None
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
        for name, value, low, high in (
            ("faces.val_fraction", self.faces.val_fraction, 0.0, 1.0),
            ("faces.flip", self.faces.flip, 0.0, 1.0),
            ("faces.degrade", self.faces.degrade, 0.0, 1.0),
            ("faces.forgery.share", self.faces.forgery.share, 0.0, 1.0),
            ("faces.forgery.camera", self.faces.forgery.camera, 0.0, 1.0),
            ("loss.smoothing", self.loss.smoothing, 0.0, 0.5),
            ("optimizer.warmup", self.optimizer.warmup, 0.0, 1.0),
            ("optimizer.lr", self.optimizer.lr, 0.0, math.inf),
            ("optimizer.weight_decay", self.optimizer.weight_decay, 0.0, math.inf),
            ("optimizer.clip", self.optimizer.clip, 0.0, math.inf),
            ("optimizer.average", self.optimizer.average, 0.0, 0.9999),
        ):
            if not low <= value <= high:
                raise ConfigError(f"{name}: expected a number from {low:g} to {high:g}, got {value:g}")
        for name, count, least in (
            ("faces.val_pairs", self.faces.val_pairs, 4),
            ("faces.frame_size", self.faces.frame_size, 16),
            ("faces.workers", self.faces.workers, 0),
            ("seed", self.seed, 0),
            ("patience", self.patience, 0),
            *(
                (f"model.{branch}.{setting}", given, 1)
                for branch in ("identity", "authenticity")
                for setting in ("dim", "size")
                if (given := getattr(getattr(self.model, branch), setting, None)) is not None
            ),
            ("faces.forgery.val_per_person", self.faces.forgery.val_per_person, 1),
            ("loss.memory", self.loss.memory, 0),
            ("batch.n_labels", self.batch.n_labels, 2),
            ("batch.n_instances", self.batch.n_instances, 1),
            ("epochs", self.epochs, 1),
            ("steps", 0 if self.steps is None else self.steps, 0),
            ("val_every", 1 if self.val_every is None else self.val_every, 1),
            ("optimizer.accumulate", self.optimizer.accumulate, 1),
        ):
            if count < least:
                raise ConfigError(f"{name}: expected at least {least}, got {count}")
        if self.faces.forgery.methods and (
            self.batch.sampler != "beside_fakes" or self.faces.fake_classes == "dropped"
        ):
            raise ConfigError(
                "faces.forgery: forges for batch.sampler beside_fakes and faces.fake_classes own or shared only"
            )
        if Path(self.name).name != self.name or self.name in {"", ".", ".."}:
            raise ConfigError(f'name: expected the name of one folder, got "{self.name}"')


def parser(prog: str = "bonaface train") -> Any:
    """The parser of TrainConfig: ``--config FILE`` and one option a setting.

    Importing jsonargparse costs 0.2 s, so it is done here and not with the module.
    """
    import jsonargparse

    made = jsonargparse.ArgumentParser(
        prog=prog,
        exit_on_error=False,
        allow_abbrev=False,
        description="Train a face verifier that deepfakes do not pass.",
    )
    made.add_argument("--config", action="config", help="YAML file of settings; options after it win")
    made.add_class_arguments(TrainConfig, as_group=False)
    return made


def parse_config(arguments: Sequence[str], prog: str = "bonaface train") -> TrainConfig:
    """Settings from command-line words such as ``["--config", "x.yaml", "--batch.n_labels", "20"]``.

    Raises:
        ConfigError: for an unknown setting or a value of the wrong type.
    """
    import jsonargparse

    made = parser(prog)
    try:
        parsed = made.parse_args(list(arguments))
        _refuse_values_for_branches(parsed)
        values = made.instantiate_classes(parsed).as_dict()
    except (jsonargparse.ArgumentError, OSError) as error:
        raise ConfigError(_one_sentence(str(error))) from error
    values.pop("config", None)
    return TrainConfig(**values)


def _refuse_values_for_branches(parsed: Any) -> None:
    """``batch: 3`` passes the parser, which then fails to make a BatchConfig of it."""
    for name in ("faces", "faces.forgery", "model", "model.identity", "batch", "loss", "optimizer", "tracking"):
        value = parsed.get(name)
        if not hasattr(value, "as_dict"):
            raise ConfigError(f"{name}: expected settings by name, got {value!r}")


def _one_sentence(message: str) -> str:
    return " ".join(line.strip() for line in message.splitlines() if line.strip())


def load_config(file: Path) -> TrainConfig:
    """Settings from a YAML file.

    Raises:
        ConfigError: if the file is missing or a setting is wrong.
    """
    return parse_config(["--config", str(file)])


def save_config(config: TrainConfig, file: Path) -> None:
    """Writes every setting, defaults included, as YAML."""
    file.write_text(yaml.dump(_plain(config), Dumper=_Dumper, sort_keys=False), encoding="utf-8")


class _Dumper(yaml.SafeDumper):
    """Puts quotes around texts such as 1e5, which YAML 1.2 and the parser take for numbers, and PyYAML does not."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    try:
        float(value)
    except ValueError:
        return dumper.represent_str(value)
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="'")


_Dumper.add_representer(str, _text)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
