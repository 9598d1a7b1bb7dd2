"""What learns: backbones, losses, training."""
