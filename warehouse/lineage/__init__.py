"""Lineage: down from a model to its documents, up from a document to the models that saw it, and withdrawal."""
