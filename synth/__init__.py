"""Synthesis: documents and simulated worlds become questions with evidence, and checks decide which are kept.

    files, datasets ──documents──▶ Document ──cloze────────▶ Draft ──checks──▶ Verdicts, Episodes
                       seeds ──simulator───────────────────▶ Draft ──┘            │
    Document, personas ──contexts─▶ questions ─▶ evidence ─▶ verification ────────┤
                            └──────── teachers, prompts ──────┘               curation ──▶ what a version leaves out

Text in, text out; no storage. In come documents, seeds, configs and teachers' answers; out go records that name the
fingerprint of what made them (`fingerprints`).
"""
