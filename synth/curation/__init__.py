"""Curation: which episodes a dataset version leaves out, looked at over all of them together.

    contexts ──shingles──▶ sketches ──deduplicate──▶ near_duplicate, of the smaller id
             ──shingles──▶ hashes ────decontaminate─▶ contaminated, by a benchmark's text
    sources  ──────────────────────────hold_out─────▶ held_out, by the name of a document's source

There is one measure of nearness, the Jaccard similarity of word shingles. Another is a class with `add` and `twins`, as
`deduplicate.NearDuplicates`, chosen in `flows/curate.py` and named with its VERSION among the components there.
"""
