"""What computes: torch, ONNX Runtime, OpenVINO."""
