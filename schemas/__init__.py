"""Records and configs that every room shares. Imports nothing of ours.

    Document ─▶ Context (Segments) ─▶ Question ─▶ Evidence ─▶ Verdict ─▶ Episode     episode
                                                                            │
    Evaluation ◀─ ModelRecord ◀─ TrainingRun ◀─ ShardSet ◀─ DatasetVersion ◀┘        dataset
    Recipe ─▶ SimulatorConfig, ClozeConfig, TeachingConfig, CurationConfig, TrainConfig     configs

In come values from outside, which are checked here once, at construction; out go frozen records, their ids (`ids`,
`identity`), the columns of tables (`arrow`), and what all rooms do alike with files, places, text and errors.
"""
