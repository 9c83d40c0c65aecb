"""Benchmarks, baselines, metrics and reports. Knows an `Encoder`, never a model class.

    file or episodes ──benchmarks──▶ Conversations (segments, queries, gold) ──┐
    model (an `Encoder`), baselines ──scores [queries, segments]───────────────┴─score──▶ a row a query
                                                                                            │ metrics
                                              report ◀── means and intervals by question type ◀┘

In come conversations and whatever scores them; out go rows of scores and their tables. Nothing is stored here.
"""
