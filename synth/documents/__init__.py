"""Read documents from txt, md, rst, jsonl and Parquet files, folders of them, or a Hugging Face dataset id.

Nothing is skipped silently: what cannot be read becomes a `Failure` with its file, line and reason, and files of other
kinds are named by the source.
"""

from __future__ import annotations

from evoembedding.synth.documents.files import SUFFIXES
from evoembedding.synth.documents.rows import document, failure
from evoembedding.synth.documents.source import Read, Source, open_source, read_documents, unread_kinds

__all__ = ["SUFFIXES", "Read", "Source", "document", "failure", "open_source", "read_documents", "unread_kinds"]
