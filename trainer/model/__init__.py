"""The model: segments in rows, a memory queue, embeddings and losses."""
