"""EvoEmbedding: the model, its losses, the DeepSpeed loop, and the embedder that users load."""
