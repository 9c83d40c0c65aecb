"""Every benchmark starts: what it imports from the rooms is there, and it says what it measures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py"))
# In one process: what they import takes longer than what they say.
SCRIPT = """
import os, runpy, sys
places = list(sys.path)
for path in sys.argv[1:]:
    sys.argv, sys.path[:] = [path, "--help"], [os.path.dirname(path), *places]  # as for a script
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as ended:
        assert not ended.code, path
"""


@pytest.mark.slow
def test_each_says_what_it_measures() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, BENCHMARKS)], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    for path in BENCHMARKS:
        assert f"benchmarks/{path.name}" in done.stdout
