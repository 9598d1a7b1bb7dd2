"""Images to embeddings, whatever computes."""
