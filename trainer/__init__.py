"""EvoEmbedding: the model, its losses, the DeepSpeed loop, and the embedder that users load.

    shard set ──training.rows──▶ rows ──model.batches──▶ batches ──model.evo_model──▶ losses ──training.engine──▶ step
                                                              │                                              │
    text ──tokenizer──▶ token ids ──model.packing──▶ rows of pieces ──backbones──▶ hidden states        checkpoints
                                                                                                             │
    session, embedder ◀── model_folder (safetensors, config, tokenizer, lineage.json, card) ◀────────────────┘

In come a shard set and a `TrainConfig`, or a model folder and segments; out go a model folder and its metrics, or
embeddings [segments, E] and scores [queries, segments].
"""
