"""Curation: which episodes a dataset version leaves out."""
