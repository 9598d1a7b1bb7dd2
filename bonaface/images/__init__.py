"""Images: bytes to what networks see."""
