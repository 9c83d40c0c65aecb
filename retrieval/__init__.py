"""Retrieval: what scores and ranks segments for a query. Sessions of the embedder and the evaluation use one code.

    segments + query ──bm25──▶ scores [queries, segments] ──ranking──▶ indices, best first
    segments + query ──a model's embeddings──▶ cosines ─┘

Knows numpy and BM25, and no model: embeddings come in as scores.
"""
