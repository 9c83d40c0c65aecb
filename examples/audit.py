"""What an auditor asks of a warehouse, in SQL, from plain DuckDB: no code of this project is needed.

    python examples/audit.py .evo notes@1

More questions are in docs/sql.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb
import duckdb_extensions

QUESTIONS = {
    "Which licences lie under it?": """
        SELECT CASE WHEN license = '' THEN 'none stated' ELSE license END AS license, count(*) AS documents
        FROM version_documents WHERE label = $label GROUP BY ALL ORDER BY ALL""",
    "Which documents carry most of it?": """
        SELECT title, episodes FROM version_documents WHERE label = $label ORDER BY episodes DESC, title LIMIT 5""",
    "What made its episodes?": """
        SELECT e.generator, count(*) AS episodes FROM version_episodes v JOIN episodes e USING (episode_id)
        WHERE v.label = $label GROUP BY ALL ORDER BY ALL""",
}


def lake(home: Path) -> duckdb.DuckDBPyConnection:
    """A connection to the lake of a state folder that cannot change it."""
    con = duckdb.connect()
    for extension in ("ducklake", "sqlite_scanner"):  # their packages are there: no network is needed
        duckdb_extensions.import_extension(extension, con=con)
        con.load_extension(extension)
    place = str(home / "warehouse").replace("'", "''")
    con.execute(
        f"ATTACH 'ducklake:sqlite:{place}/catalog.sqlite' AS lake "
        f"(READ_ONLY, DATA_PATH '{place}/data/', OVERRIDE_DATA_PATH true)"
    )
    con.execute("USE lake")
    return con


def main(home: str, label: str) -> None:
    """Each question with its answer."""
    con = lake(Path(home))
    for question, sql in QUESTIONS.items():
        print(question)
        for row in con.execute(sql, {"label": label}).fetchall():
            print("   ", *row, sep="  ")


if __name__ == "__main__":
    main(*sys.argv[1:])
