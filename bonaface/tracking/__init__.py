"""Records of a run beside its folder: MLflow, TensorBoard, and where its figures come from."""
