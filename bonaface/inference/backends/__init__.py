"""Backends that compute: torch, ONNX Runtime, OpenVINO."""
