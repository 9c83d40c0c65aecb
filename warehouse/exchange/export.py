"""Export: a dataset version as a folder that `datasets.load_dataset` opens, in the published form of EvoTrain.

A row is an episode with its whole context. `messages` and `meta` are the published form; the further columns hold what
that form cannot, so that importing the folder gives the same rows with the same ids.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import polars.selectors as selectors
import pyarrow as pa
from pydantic import ValidationError

from evoembedding.schemas.dataset import DatasetVersion
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.exchange import FORM, MANIFEST, ExportManifest, Format
from evoembedding.schemas.files import whole_folder, write_whole
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import MEMBERS
from evoembedding.warehouse.exchange.dataset_card import dataset_card
from evoembedding.warehouse.exchange.joined_rows import parts
from evoembedding.warehouse.exchange.row_files import write_rows

ROWS_A_FILE = 20_000
ROWS_A_READ = 500  # about 10 MB of text where contexts have 1.3 K tokens
IMPORT = "import-"  # how fingerprints of imports begin
SPACES = "".join(c for c in map(chr, range(sys.maxunicode + 1)) if c.isspace())

# Rows by context: what repeats lies together, and readers keep one context in mind. That an import let an episode pass
# is no check of it, so that verdict stays behind.
_ROWS = f"""
WITH annotated AS (
    SELECT question_id, list({{'indices': indices, 'votes': votes, 'voters': voters, 'generator': generator,
        'fingerprint': fingerprint, 'calls': coalesce(calls, [])}} ORDER BY fingerprint) AS evidence
    FROM evidence GROUP BY question_id
), judged AS (
    SELECT question_id, list({{'check_name': check_name, 'passed': passed, 'reason': reason, 'score': score,
        'episode_id': episode_id, 'fingerprint': fingerprint, 'calls': coalesce(calls, [])}}
        ORDER BY fingerprint, check_name) AS verdicts
    FROM verdicts WHERE NOT starts_with(fingerprint, '{IMPORT}') GROUP BY question_id
)
SELECT e.* EXCLUDE (segments), c.segments, c.kind, c.document_ids, coalesce(a.evidence, []) AS annotations, q.reasoning,
    list_filter(coalesce(j.verdicts, []), lambda v: v.episode_id IN ('', e.episode_id)) AS verdicts,
    {{'generator': c.generator, 'fingerprint': c.fingerprint, 'seed': c.seed,
      'source_ids': coalesce(c.source_ids, []), 'calls': coalesce(c.calls, [])}} AS "of_context",
    {{'fingerprint': q.fingerprint, 'calls': coalesce(q.calls, [])}} AS of_question
FROM episodes e JOIN contexts c USING (context_id) JOIN questions q USING (question_id)
LEFT JOIN annotated a USING (question_id) LEFT JOIN judged j USING (question_id)
ORDER BY e.context_id, e.episode_id
"""  # noqa: S608
# Where nobody replied, the assistant's message is empty: messages alternate, and pairs of them are segments.
_FORM = """
SELECT list_concat(
        flatten(list_transform(segments, lambda s:
            [{'role': 'user', 'content': s."user"}, {'role': 'assistant', 'content': s.assistant}])),
        [{'role': 'user', 'content': question}, {'role': 'assistant', 'content': answer}]) AS messages,
    {'turns': list_append(list_transform(segments, lambda s:
            rtrim('User: ' || s."user" || chr(10) || 'Assistant: ' || s.assistant, $spaces)), question),
     'evidence_turns': evidence} AS meta,
    episode_id, context_id, question_id, question_type, family, generator, kind, split, document_ids, reasoning,
    fingerprint, of_context AS context, of_question AS question, annotations AS evidence, verdicts
FROM rows ORDER BY context_id, episode_id
"""
_CALLS = f"""(
    WITH chosen AS (SELECT context_id, question_id FROM lake.episodes SEMI JOIN {MEMBERS} USING (episode_id))
    SELECT unnest(calls) AS call_id FROM lake.contexts SEMI JOIN chosen USING (context_id)
    UNION SELECT unnest(calls) FROM lake.questions SEMI JOIN chosen USING (question_id)
    UNION SELECT unnest(calls) FROM lake.evidence SEMI JOIN chosen USING (question_id)
    UNION SELECT unnest(calls) FROM lake.verdicts SEMI JOIN chosen USING (question_id))"""  # noqa: S608
_FINGERPRINTS = f"""(
    WITH chosen AS (SELECT * FROM lake.episodes SEMI JOIN {MEMBERS} USING (episode_id))
    SELECT fingerprint FROM chosen
    UNION SELECT fingerprint FROM lake.contexts SEMI JOIN chosen USING (context_id)
    UNION SELECT fingerprint FROM lake.questions SEMI JOIN chosen USING (question_id)
    UNION SELECT fingerprint FROM lake.evidence SEMI JOIN chosen USING (question_id)
    UNION SELECT fingerprint FROM lake.verdicts SEMI JOIN chosen USING (question_id)
    UNION SELECT curation FROM lake.dataset_versions WHERE dataset_id = $dataset)"""  # noqa: S608
# Texts of documents and answers of teachers are not ours to hand on; nor is it told where a teacher is reached.
LEFT_OUT: dict[str, tuple[str, ...]] = {
    "documents": ("text",),
    "teacher_calls": ("content", "endpoint"),
    "fingerprints": (),
}
_NAMED = {
    "documents": f"""SELECT * EXCLUDE (text) FROM lake.documents SEMI JOIN (
        SELECT unnest(document_ids) AS document_id FROM lake.contexts SEMI JOIN (
            SELECT context_id FROM lake.episodes SEMI JOIN {MEMBERS} USING (episode_id)) USING (context_id))
        USING (document_id) ORDER BY document_id""",  # noqa: S608
    "teacher_calls": f"""SELECT * EXCLUDE (content, endpoint) FROM lake.teacher_calls SEMI JOIN {_CALLS} USING (call_id)
        ORDER BY call_id""",  # noqa: S608
    "fingerprints": f"""SELECT * FROM lake.fingerprints SEMI JOIN {_FINGERPRINTS} USING (fingerprint)
        ORDER BY fingerprint, scope""",  # noqa: S608
}


def export_version(
    warehouse: Warehouse,
    version: DatasetVersion,
    folder: Path,
    form: Format = "parquet",
    rows_a_file: int = ROWS_A_FILE,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ExportManifest:
    """Write a version to a folder, which appears when it is complete. The same rows give the same files.

    Raises:
        EvoError: the folder holds something, the warehouse lacks rows of the version, or the disk refuses.
    """
    if rows_a_file < 1:
        raise EvoError(f"rows per file is {rows_a_file}; nothing was exported; give 1 or more")
    folder = folder.absolute()
    _check_target(folder, force)
    try:
        with whole_folder(folder) as work:
            return _write(warehouse, _public(version), work, form, rows_a_file, progress)
    except OSError as error:
        raise EvoError(
            f"folder '{folder}' cannot be written ({error.strerror or error}); nothing was exported; "
            "free space there or name another"
        ) from error


def read_manifest(folder: Path) -> ExportManifest | None:
    """The manifest of an exported folder; None where there is none.

    Raises:
        EvoError: it cannot be read, or a newer version of this code wrote it.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = ExportManifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise EvoError(
            f"'{path}' cannot be read as the manifest of an export; nothing was imported; export the version again, or "
            f"delete {MANIFEST} to import the rows under ids of their own"
        ) from error
    if manifest.form > FORM:
        raise EvoError(
            f"'{path}' is of form {manifest.form}, and this code knows {FORM}; nothing was imported; use a newer one"
        )
    return manifest


def _check_target(folder: Path, force: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise EvoError(f"'{folder}' is a file; nothing was exported; name a folder")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / MANIFEST).is_file():
        raise EvoError(
            f"folder '{folder}' holds files that no export made; nothing was exported, since they would be lost; "
            "name another folder"
        )
    if not force:
        raise EvoError(f"folder '{folder}' holds an export; nothing was exported; replace it with --force")


def _write(
    warehouse: Warehouse,
    version: DatasetVersion,
    work: Path,
    form: Format,
    rows_a_file: int,
    progress: Callable[[int, int], None] | None,
) -> ExportManifest:
    split = _split(warehouse, version)
    count = -(-version.episodes // rows_a_file)
    names = (f"data/{split}-{number:05d}-of-{count:05d}.{form}" for number in range(count))
    episodes, schemas = [], dict[str, pa.Schema]()
    for file, schema in write_rows(
        _episodes(warehouse, version, work / "parts", progress), work, names, form, rows_a_file
    ):
        episodes.append(file)
        schemas["default"] = schema
    named = {}
    for table, sql in _NAMED.items():
        rows = _named(warehouse, table, sql, version)
        for file, schema in write_rows(rows, work, [f"lineage/{table}.{form}"], form, sys.maxsize):
            named[table], schemas[table] = file, schema
    manifest = ExportManifest(form=FORM, format=form, version=version, episodes=tuple(episodes), named=named)
    write_whole(work / "README.md", dataset_card(warehouse, manifest, split, schemas))
    write_whole(work / MANIFEST, json.dumps(manifest.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n")
    return manifest


def _episodes(
    warehouse: Warehouse, version: DatasetVersion, work: Path, progress: Callable[[int, int], None] | None
) -> Iterator[pa.Table]:
    """The version's rows in the published form, by context and episode."""
    done = 0
    work.mkdir()
    for tables in parts(warehouse, version.dataset_id, work):
        with duckdb.connect(
            config={"threads": 1, "memory_limit": "1GB"}
        ) as con:  # anew, since it holds what it has seen
            for name, table in tables.items():
                con.register(name, table)
            rows = con.execute(_ROWS).to_arrow_table()
            for batch in rows.to_batches(ROWS_A_READ):
                con.register("rows", batch)
                yield con.execute(_FORM, {"spaces": SPACES}).to_arrow_table()
        done += rows.num_rows
        if progress:
            progress(done, version.episodes)
    work.rmdir()
    if done != version.episodes:
        raise EvoError(
            f"dataset {version.label} has {version.episodes} episodes, and the warehouse holds {done} of them with "
            "their contexts and questions; nothing was exported; restore the warehouse from a copy"
        )


def _named(warehouse: Warehouse, table: str, sql: str, version: DatasetVersion) -> Iterator[pa.Table]:
    """The rows of another table that the version's rows name, less what is not handed on."""
    for frame in warehouse.stream(sql, {"dataset": version.dataset_id}):
        frame = frame.with_columns(selectors.datetime().dt.to_string("iso:strict"))
        yield frame.to_arrow(compat_level=pl.CompatLevel.oldest())


def _split(warehouse: Warehouse, version: DatasetVersion) -> str:
    rows = warehouse.query(
        f"SELECT DISTINCT split FROM lake.episodes SEMI JOIN {MEMBERS} USING (episode_id)",  # noqa: S608
        {"dataset": version.dataset_id},
    )
    return str(rows["split"][0]) if len(rows) == 1 else "train"


def _public(version: DatasetVersion) -> DatasetVersion:
    """The version with a recipe that does not tell where its teachers are reached."""

    def cleaned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: [] if key == "endpoints" else cleaned(inner) for key, inner in value.items()}
        return [cleaned(inner) for inner in value] if isinstance(value, list) else value

    try:
        recipe = json.dumps(cleaned(json.loads(version.recipe)), ensure_ascii=False)
    except ValueError:
        return version
    return version.replace(recipe=recipe)
