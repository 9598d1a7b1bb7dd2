"""The one check of devices."""

from __future__ import annotations

import onnxruntime
import pytest

from bonaface.errors import ConfigError
from bonaface.models.device import DEVICES, available_device, available_providers, runs_openvino

ALL = [
    "TensorrtExecutionProvider",
    "CUDAExecutionProvider",
    "CoreMLExecutionProvider",
    "OpenVINOExecutionProvider",
    "CPUExecutionProvider",
]


@pytest.fixture
def installed(monkeypatch):
    def install(*providers):
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(providers))

    return install


def test_what_is_installed_decides(installed):
    installed(*ALL)
    assert available_providers("auto") == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert available_providers("cpu") == ["CPUExecutionProvider"]
    assert available_providers("tensorrt") == [ALL[0], ALL[1], ALL[4]]
    assert [available_providers(each)[0] for each in DEVICES[2:]] == [ALL[1], ALL[0], ALL[2], ALL[3]]
    assert not runs_openvino("openvino")  # ONNX Runtime's own provider is there
    installed("CPUExecutionProvider")
    assert available_providers("auto") == ["CPUExecutionProvider"]
    assert not runs_openvino("auto")


@pytest.mark.parametrize(
    ("device", "install"),
    [
        ("cuda", "pip install onnxruntime-gpu"),
        ("tensorrt", "pip install onnxruntime-gpu tensorrt"),
        ("openvino", "pip install openvino"),
    ],
)
def test_what_is_missing_is_named_with_its_pip_line(installed, device, install):
    installed("CPUExecutionProvider")
    with pytest.raises(ConfigError, match=f"device: {device} was asked for.*: {install}$"):
        available_providers(device)


def test_unknown_devices_are_refused():
    for check in (available_device, available_providers):
        with pytest.raises(ConfigError, match="'gpu': expected auto, cpu, cuda, tensorrt, coreml or openvino"):
            check("gpu")
    with pytest.raises(ConfigError, match="tensorrt computes exported models alone; expected auto, cpu or cuda"):
        available_device("tensorrt")
