"""The dataset card of an export: what is in it beside the paper's figures, whence it came, how to make it again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from evoembedding.schemas.dataset import DatasetVersion
from evoembedding.schemas.exchange import ExportManifest
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.funnel import funnel
from evoembedding.warehouse.datasets.statistics import PAPER, Statistics, of_version, statistics
from evoembedding.warehouse.datasets.versions import left_out

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
# Licences by the identifiers of the Hugging Face hub, of those that sources are likely to name.
LICENCES = {"apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "odc-by", "pddl", "unlicense"}
TYPES_SHOWN = 60
NOTES = {
    "documents": "the source documents by id, title, address and licence; their texts are not handed on",
    "teacher_calls": "the teacher calls that made rows: model, stage, tokens, cost; their answers are not handed on",
    "fingerprints": "what the fingerprints of the stages stand for",
}


def dataset_card(warehouse: Warehouse, manifest: ExportManifest, split: str, schemas: Mapping[str, pa.Schema]) -> str:
    """`README.md`: YAML for the Hugging Face hub and `datasets`, then Markdown. `schemas` are by configuration."""
    version, found = manifest.version, statistics(warehouse, of_version(manifest.version))
    body = [
        f"# {version.label}",
        "",
        f"{version.episodes} episodes over {found.contexts} contexts, each a question that is put after a long context "
        "that evolves, with its answer and the segments that hold it. Made for training evolvable embeddings "
        "(EvoEmbedding, arXiv 2606.21649) and exported by EvoEmbedding's `evo dataset export`.",
        *_form(manifest, split),
        *_statistics(found),
        *_funnel(warehouse, version),
        *_sources(warehouse, version, found),
        *_again(version),
    ]
    return f"---\n{_front_matter(manifest, split, found, schemas)}\n---\n\n" + "\n".join(body) + "\n"


def _front_matter(manifest: ExportManifest, split: str, found: Statistics, schemas: Mapping[str, pa.Schema]) -> str:
    from datasets import DatasetInfo, Features
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCardData

    episodes = manifest.version.episodes
    data = {"default": (split, f"data/{split}-*.{manifest.format}")}
    data |= {table: ("train", file.name) for table, file in manifest.named.items()}
    card = DatasetCardData(
        pretty_name=manifest.version.label,
        license=_licence(found.licences),
        size_categories=[next((name for size, name in SIZES if episodes < size), "1M<n<10M")],
        task_categories=["question-answering", "text-retrieval"],
        tags=["evoembedding", "long-context", "memory", "synthetic"],
        configs=[
            {"config_name": name, "data_files": [{"split": of, "path": path}]} for name, (of, path) in data.items()
        ],
    )
    # Features are told, since a column of lists that are empty at first would be taken for one of nothing.
    infos = {name: DatasetInfo(features=Features.from_arrow_schema(schema)) for name, schema in schemas.items()}
    DatasetInfosDict(infos).to_dataset_card_data(card)
    return str(card.to_yaml())


def _licence(licences: Mapping[str, int]) -> str:
    named = {name.strip().lower().replace(" ", "-") for name in licences}
    if not named or named == {"unknown"}:
        return "unknown"
    return named.pop() if len(named) == 1 and named <= LICENCES else "other"


def _form(manifest: ExportManifest, split: str) -> list[str]:
    named = [f"- `{table}`: {file.rows} rows, {NOTES[table]}." for table, file in manifest.named.items()]
    return [
        "",
        "## Form",
        "",
        "A row is an episode. `messages` and `meta` are the published form of EvoTrain-180K: `messages` alternate "
        "between user and assistant, two for each segment (an empty assistant message where nobody replied), then the "
        "question and its answer; `meta.turns` are the segments as `User: ...\\nAssistant: ...`, then the bare "
        "question; `meta.evidence_turns` are zero-based indices into them. The other columns are ids, question types, "
        "generators, annotations and verdicts, so that `evo dataset import` gives the same rows with the same ids.",
        "",
        "```python",
        "from datasets import load_dataset",
        f'load_dataset("path/of/this/folder", split="{split}")',
        "```",
        *(["", "Further configurations:", "", *named] if named else []),
    ]


def _statistics(found: Statistics) -> list[str]:
    figures = [[name, f"{value:g}", f"{PAPER[name]:g}"] for name, value in found.figures.items()]
    types = list(found.types.items())
    left = [["others", sum(count for _, count in types[TYPES_SHOWN:])]] if len(types) > TYPES_SHOWN else []
    return [
        "",
        "## Statistics (tokens are estimated)",
        "",
        *_table(["", "here", "EvoTrain-180K"], figures),
        "",
        *_table(["kind of context", "contexts"], found.kinds.items()),
        "",
        *_table(["family", "episodes"], found.families.items()),
        "",
        *_table(["question type", "episodes"], [*types[:TYPES_SHOWN], *left]),
    ]


def _funnel(warehouse: Warehouse, version: DatasetVersion) -> list[str]:
    asked = warehouse.query(
        """SELECT DISTINCT fingerprint FROM lake.questions SEMI JOIN (
               SELECT question_id FROM lake.episodes SEMI JOIN (
                   SELECT episode_id FROM lake.dataset_members WHERE dataset_id = ?) USING (episode_id))
           USING (question_id) ORDER BY fingerprint""",
        (version.dataset_id,),
    )["fingerprint"].to_list()
    rows = funnel(warehouse, asked)
    out = left_out(warehouse, version)
    counts = ", ".join(f"{_cell(check)} {count}" for check, count in out.items()) or "nothing"
    curated = (
        f"Left out: {counts} (fingerprint `{version.curation}`)." if version.curation else "That was not done here."
    )
    return [
        "",
        "## Funnel",
        "",
        "All questions of the stages that asked those in here:",
        "",
        *_table(rows.columns, rows.iter_rows()),
        "",
        f"Near-duplicates and texts of benchmarks are looked for over all episodes of a version together. {curated}",
    ]


def _sources(warehouse: Warehouse, version: DatasetVersion, found: Statistics) -> list[str]:
    licences = [*_table(["licence", "documents"], found.licences.items())] if found.licences else ["No documents."]
    imports = warehouse.query("SELECT * FROM lake.imports WHERE dataset_id = ? ORDER BY rowid", (version.dataset_id,))
    return [
        "",
        "## Generators and sources",
        "",
        *_table(["generator", "episodes"], found.generators.items()),
        "",
        "Licences of the source documents, as they were given when these were ingested:",
        "",
        *licences,
        *(
            line
            for row in imports.iter_rows(named=True)
            for line in (
                "",
                f"Imported from {_cell(Path(row['source']).name if not row['revision'] else row['source'])}, licence "
                f"{_cell(row['licence'])}, digest `{row['digest'][:16]}`.",
            )
        ),
    ]


def _again(version: DatasetVersion) -> list[str]:
    facts = {
        "digest of the sorted episode ids": version.digest,
        "dataset id": version.dataset_id,
        "parent": version.parent or "none",
        "curation": version.curation or "none",
        "git commit": version.git_commit or "unknown",
        "snapshot": version.snapshot,
        "published": version.created_at.isoformat(),
    }
    try:
        recipe = json.dumps(json.loads(version.recipe), indent=1, ensure_ascii=False)
    except ValueError:
        recipe = version.recipe
    return [
        "",
        "## Lineage",
        "",
        *_table(["", ""], facts.items()),
        "",
        "## How to repeat it",
        "",
        "At that commit, with the same documents ingested and the recipe below saved as `recipe.json`:",
        "",
        "```",
        "evo ingest DOCUMENTS",
        "evo synthesize recipe.json",
        f"evo dataset publish {version.name} --recipe recipe.json",
        "```",
        "",
        "The same episodes give the same digest. Where teachers were reached is not told; give your own with "
        "`--teacher`. Or take the rows as they are: `evo dataset import FOLDER NAME`.",
        "",
        "```json",
        recipe.replace("```", "` ` `"),
        "```",
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(_cell(str(cell)) for cell in row) + " |" for row in rows),
    ]


def _cell(text: str) -> str:
    """Text of others in one cell: no line breaks, no columns or markup of its own."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return plain.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")
