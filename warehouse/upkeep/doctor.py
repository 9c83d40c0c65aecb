"""Doctor: whether everything that the warehouse knows of is there and is what it was.

A home comes in; findings go out, each a sentence with what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from glob import escape
from itertools import islice
from pathlib import Path
from typing import Literal

from evoembedding.schemas.dataset import DatasetVersion
from evoembedding.schemas.episode import Record
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.files import file_digest
from evoembedding.schemas.model_folder import check_vouched
from evoembedding.schemas.places import resolve
from evoembedding.warehouse.catalog import Warehouse
from evoembedding.warehouse.datasets.versions import list_versions, members_digest, present_versions
from evoembedding.warehouse.ledger import ledger_is_there, open_ledger
from evoembedding.warehouse.root import Root
from evoembedding.warehouse.row_digests import changed
from evoembedding.warehouse.shards.shard_sets import MANIFEST, check_shards
from evoembedding.warehouse.tables import TABLES
from evoembedding.warehouse.upkeep.content_ids import CERTIFIED, changed_rows
from evoembedding.warehouse.upkeep.orphans import orphans, remove

SHOWN = 5  # ids in a sentence
_FILES = """SELECT DISTINCT t.table_name, s.path || t.path || f.path AS path, f.file_size_bytes, f.record_count
    FROM (SELECT table_id, path, file_size_bytes, record_count FROM __ducklake_metadata_lake.ducklake_data_file
          UNION ALL
          SELECT table_id, path, file_size_bytes, NULL FROM __ducklake_metadata_lake.ducklake_delete_file) f
    JOIN __ducklake_metadata_lake.ducklake_table t USING (table_id)
    JOIN __ducklake_metadata_lake.ducklake_schema s USING (schema_id) ORDER BY ALL"""
# References that must lead somewhere, and what of an episode its question says as well.
_REFERENCES = {
    "sources' documents that are not there": """SELECT DISTINCT id FROM (
            SELECT document_id AS id FROM lake.document_sources
            UNION ALL SELECT successor FROM lake.document_sources WHERE successor <> '')
        ANTI JOIN lake.documents ON id = document_id ORDER BY id""",
    "episodes that differ from their context": """SELECT episode_id FROM lake.episodes e
        LEFT JOIN lake.contexts c USING (context_id)
        WHERE c.context_id IS NULL OR (e.split, e.segments) <> (c.split, len(c.segments))""",
    "episodes that differ from their question": """SELECT episode_id FROM lake.episodes e
        LEFT JOIN lake.questions q USING (question_id)
        WHERE q.question_id IS NULL OR (e.question, e.answer, e.context_id, e.question_type, e.family, e.generator)
              <> (q.text, q.answer, q.context_id, q.question_type, q.family, q.generator)""",
    "members of datasets without their episode": """SELECT DISTINCT episode_id FROM lake.dataset_members
        ANTI JOIN lake.episodes USING (episode_id)""",
    "expectations without their dataset version": """SELECT DISTINCT dataset_id FROM (
            SELECT dataset_id FROM lake.expectations
            UNION ALL SELECT parent_id FROM lake.expectations WHERE parent_id <> '')
        ANTI JOIN lake.dataset_versions USING (dataset_id) ORDER BY ALL""",
    "accepted drafts without what was found": """SELECT DISTINCT dataset_id FROM lake.acceptances
        ANTI JOIN lake.expectations USING (dataset_id, sequence) ORDER BY ALL""",
    "shard sets without their dataset version": """SELECT shard_set_id FROM lake.shard_sets
        ANTI JOIN lake.dataset_versions USING (dataset_id)""",
    "training runs without their shard set": """SELECT training_run_id FROM lake.training_runs
        ANTI JOIN lake.shard_sets USING (shard_set_id)""",
    "models without their training run": """SELECT model_id FROM lake.models
        ANTI JOIN lake.training_runs USING (training_run_id)""",
    "names without their model": """SELECT name || '@' || number FROM lake.registered_models
        ANTI JOIN lake.models USING (model_id) ORDER BY ALL""",
    "aliases without their version": """SELECT DISTINCT name || '@' || alias FROM lake.model_aliases
        ANTI JOIN lake.registered_models USING (name, number) WHERE number > 0 ORDER BY ALL""",
    "promotions without their gate": """SELECT DISTINCT name || '@' || number FROM lake.model_aliases
        ANTI JOIN lake.gate_rules USING (gate_id) WHERE gate_id <> '' ORDER BY ALL""",
    "gates without their models": """SELECT DISTINCT gate_id FROM (
            SELECT gate_id, model_id FROM lake.gate_rules
            UNION ALL SELECT gate_id, baseline_id FROM lake.gate_rules WHERE baseline_id <> '')
        ANTI JOIN lake.models USING (model_id) ORDER BY ALL""",
    "names of a dataset and of a model": """SELECT DISTINCT name FROM lake.registered_models
        SEMI JOIN lake.dataset_versions USING (name) ORDER BY ALL""",
}


class Finding(Record):
    """Something that is damaged; or an orphan, which harms nothing and was removed or not."""

    kind: Literal["damaged", "orphan", "removed"]
    what: str
    name: str
    says: str


def examine(
    home: Path, weights: str, deep: bool = False, remove_orphans: bool = False, older_than: float = 24.0
) -> Iterator[Finding]:
    """Look at everything, step by step. `weights` names the weights file of a model folder; with `deep` digests and
    content ids are computed again from every row; orphans younger than `older_than` hours are left alone.

    Raises:
        EvoError: orphans were to be removed while another process writes.
    """
    try:
        warehouse = Warehouse.open(home)
    except EvoError as error:
        yield _damaged("catalog", "warehouse", str(error))
        return
    with warehouse:
        steps: list[Callable[[], Iterator[Finding]]] = [
            lambda: _files(warehouse),
            lambda: _references(warehouse),
            lambda: _versions(warehouse),
            lambda: _rows(warehouse) if deep else iter(()),
            lambda: _content(warehouse) if deep else iter(()),
            lambda: _shards(warehouse),
            lambda: _models(warehouse, weights),
            lambda: _published(warehouse, deep),
            lambda: _tokenizers(home),
            lambda: _ledger(home, deep),
            lambda: _orphans(warehouse, home, remove_orphans, older_than),
        ]
        # Not the last one: another writer, who keeps orphans from being removed, is no damage.
        for step in steps[:-1]:
            yield from _survived(step)
        yield from steps[-1]()


def _survived(step: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """A step's findings; damage that stops it is one as well."""
    try:
        yield from step()
    except EvoError as error:
        yield _damaged("warehouse", "warehouse", str(error))


def _files(warehouse: Warehouse) -> Iterator[Finding]:
    """Every file of every snapshot that is kept: there, of its size, and readable to the last row."""
    place = warehouse.backend.data_path
    there = _sizes(warehouse, f"{escape(place)}**/*.parquet")
    for table, name, size, rows in warehouse.query(_FILES).iter_rows():
        path = f"{place}{name}"
        if path not in there:
            says = f"data file of table '{table}' is missing: {path}; its rows are lost; restore it from a copy"
        elif there[path] != size:
            says = f"data file of table '{table}' has {there[path]} bytes, not {size}: {path}; restore it from a copy"
        else:
            says = _unreadable(warehouse, path, table, rows)
        if says:
            yield _damaged("data file", name.rpartition("/")[2], says)


def _sizes(warehouse: Warehouse, pattern: str) -> dict[str, int]:
    if warehouse.query("SELECT 1 FROM glob(?) LIMIT 1", (pattern,)).is_empty():
        return {}
    return dict(warehouse.query("SELECT filename, size FROM read_blob(?)", (pattern,)).iter_rows())


def _unreadable(warehouse: Warehouse, path: str, table: str, rows: int | None) -> str:
    try:
        # The hash has DuckDB decode every value; a mere count reads what the file's footer says of it.
        found = warehouse.query("SELECT count(*), bit_xor(hash(t)) FROM read_parquet(?) t", (escape(path),)).row(0)[0]
    except EvoError as error:
        why = str(error).partition("cannot be used: ")[2].partition("; nothing was stored")[0]
        return f"data file of table '{table}' cannot be read: {why}; its rows are lost; restore it from a copy"
    if rows is not None and found != rows:
        return f"data file of table '{table}' holds {found} rows, not {rows}: {path}; restore it from a copy"
    return ""


def _references(warehouse: Warehouse) -> Iterator[Finding]:
    for what, query in _REFERENCES.items():
        # A home that cannot be written may be of older code, whose tables are not made.
        found = [next(iter(row.values())) for row in warehouse.query_known(query)]
        if found:
            names = ", ".join(found[:SHOWN])
            yield _damaged(
                "rows", what, f"{len(found)} {what}, such as {names}; lineage is broken; restore from a copy"
            )


def _versions(warehouse: Warehouse) -> Iterator[Finding]:
    there = present_versions(warehouse)
    for version in list_versions(warehouse):
        # The members of a retired version are gone on purpose.
        if version.dataset_id in there:
            digest, count = members_digest(warehouse, version.dataset_id)
            if (digest, count) != (version.digest, version.episodes):
                yield _damaged("dataset", version.label, _other_members(version, digest, count))


def _other_members(version: DatasetVersion, digest: str, count: int) -> str:
    return (
        f"dataset {version.label} holds {count} episodes with digest {digest[:12]}, published were {version.episodes} "
        f"with {version.digest[:12]}; it is not what models were trained on; restore the warehouse from a copy"
    )


def _rows(warehouse: Warehouse) -> Iterator[Finding]:
    """Rows of every table that are not what was stored."""
    for table in TABLES:
        for row in warehouse.query_known(changed(table, SHOWN)):  # one, or none of a table that is not there
            count, names = row["rows"], ", ".join(row["keys"])
            if count:
                says = f"{count} rows of '{table}' do not give their digest: {names}; restore them from a copy"
                yield _damaged("rows", table, says)


def _content(warehouse: Warehouse) -> Iterator[Finding]:
    for table in CERTIFIED:
        # One more than is shown says that there are more; the rest need not be computed.
        found = list(islice(changed_rows(warehouse, table), SHOWN + 1))
        if found:
            count = f"more than {SHOWN}" if len(found) > SHOWN else str(len(found))
            names = ", ".join(found[:SHOWN])
            says = f"{count} rows of '{table}' are not what their ids certify: {names}; restore them from a copy"
            yield _damaged("rows", table, says)


def _published(warehouse: Warehouse, deep: bool) -> Iterator[Finding]:
    """What other machines read of shard sets and models; with `deep` every byte of it."""
    root = Root.of(warehouse.home)
    if not root.remote:
        return
    there = list(present_versions(warehouse))
    rows = warehouse.query(
        """SELECT 'shard set' AS what, shard_set_id AS id, place FROM lake.shard_sets
           WHERE list_contains($there::VARCHAR[], dataset_id)
           UNION ALL SELECT 'model', model_id, place FROM lake.models ORDER BY ALL""",
        {"there": there},
    )
    for what, identity, place in rows.iter_rows():
        if says := root.damage(place, deep):
            yield _damaged(
                what, identity, f"{what} {identity}: '{root.url}/{place}' {says}; restore it, or make it again"
            )


def _shards(warehouse: Warehouse) -> Iterator[Finding]:
    """Shard sets of versions that are not retired."""
    there, remote = present_versions(warehouse), Root.of(warehouse.home).remote
    labels = {v.dataset_id: v.label for v in list_versions(warehouse) if v.dataset_id in there}
    rows = warehouse.query("SELECT shard_set_id, dataset_id, place, manifest_digest FROM lake.shard_sets ORDER BY ALL")
    for identity, dataset_id, place, digest in rows.iter_rows():
        if dataset_id not in labels:
            continue
        label = labels[dataset_id]
        try:
            folder = resolve(place, warehouse.home)
            if remote and not folder.exists():
                continue  # looked at where it is published
            check_shards(folder, label)
        except EvoError as error:
            yield _damaged("shard set", identity, str(error))
            continue
        if file_digest(folder / MANIFEST) != digest:
            says = (
                f"shard set {identity}: its manifest is not the one in the catalog; rerun 'evo shard {label} --force'"
            )
            yield _damaged("shard set", identity, says)


def _models(warehouse: Warehouse, weights: str) -> Iterator[Finding]:
    rows = warehouse.query("SELECT model_id, place, digest FROM lake.models ORDER BY rowid")
    remote = Root.of(warehouse.home).remote
    for identity, place, digest in rows.iter_rows():
        try:
            file = resolve(place, warehouse.home) / weights
            if remote and not file.parent.exists():
                continue  # looked at where it is published
            found = file_digest(file)
        except EvoError as error:
            yield _damaged("model", identity, f"model {identity}: {error}")
            continue
        except OSError as error:
            says = f"model {identity}: '{file}' cannot be read ({error.strerror}); restore the folder or train it again"
            yield _damaged("model", identity, says)
            continue
        if found != digest:
            says = f"model {identity}: '{file}' has digest {found[:12]}, the catalog says {digest[:12]}; restore it"
            yield _damaged("model", identity, says)
        elif why := _unvouched(file.parent):
            yield _damaged("model", identity, f"model {identity}: {why}; restore '{file.parent}'")


def _tokenizers(home: Path) -> Iterator[Finding]:
    for folder in sorted((home / "tokenizers").glob("*")):
        # A partial one is a command's at work, or an orphan.
        if folder.suffix != ".partial" and (why := _unvouched(folder)):
            says = f"tokenizer folder '{folder}': {why}; remove it, and 'evo shard' makes it again"
            yield _damaged("tokenizer", folder.name, says)


def _unvouched(folder: Path) -> str:
    """Which file of a folder is not what its `lineage.json` says; '' if none."""
    try:
        check_vouched(folder)
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def _ledger(home: Path, deep: bool) -> Iterator[Finding]:
    try:
        # Opening it would make one.
        if not ledger_is_there(home):
            return
        ledger = open_ledger(home)
    except EvoError as error:
        yield _damaged("ledger", "ledger", str(error))
        return
    with closing(ledger):
        damage = list(islice(ledger.damage(deep), SHOWN + 1))
    if damage:
        more = f", and more than {SHOWN - 1} others" if len(damage) > SHOWN else ""
        says = (
            f"the ledger of teacher calls '{ledger.name}' is damaged ({'; '.join(damage[:SHOWN])}{more}); "
            "answers would be wrong, or paid for twice; restore it"
        )
        yield _damaged("ledger", "ledger", says)


def _orphans(warehouse: Warehouse, home: Path, removing: bool, older_than: float) -> Iterator[Finding]:
    try:
        found = orphans(warehouse, home, older_than)
    except EvoError as error:
        yield _damaged("warehouse", "warehouse", str(error))
        return
    removed = {orphan.path for orphan in remove(warehouse, home, older_than)} if removing and found else set()
    for orphan in found:
        says = f"{orphan.what}: {orphan.path}"
        if orphan.path in removed:
            yield Finding(kind="removed", what="orphan", name=Path(orphan.path).name, says=f"{says}; it was removed")
        else:
            used = orphan.young or removing
            left = "it may be of a command that runs" if used else "it harms nothing; --remove-orphans removes it"
            yield Finding(kind="orphan", what="orphan", name=Path(orphan.path).name, says=f"{says}; {left}")


def _damaged(what: str, name: str, says: str) -> Finding:
    return Finding(kind="damaged", what=what, name=name, says=says)
