"""Files to a table, pairs and batches."""
