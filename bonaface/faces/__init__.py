"""What comes in: folders and files to a checked table to batches."""
