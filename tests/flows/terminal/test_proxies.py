"""Proxies of the environment have no business on the way to our own servers on loopback."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests import warm
from tests.soak import count

NOBODY = "127.0.0.1:9"
PROXIES = {
    "http": {"HTTP_PROXY": f"http://{NOBODY}", "HTTPS_PROXY": f"http://{NOBODY}"},
    "socks": {"ALL_PROXY": f"socks5://{NOBODY}", "NO_PROXY": "intranet.example"},
    "lower case": {"http_proxy": f"http://{NOBODY}", "all_proxy": f"socks5h://{NOBODY}"},
    "unknown": {"ALL_PROXY": f"ftp://{NOBODY}"},
}


def ingest(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    (folder / "a.txt").write_text("Harbour log\n\nThe ferry leaves at nine.\n")
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.run(
        warm.command("ingest", str(folder / "a.txt")),
        env={**kept, "EVO_HOME": str(folder / "home"), **environ},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.slow
@pytest.mark.parametrize("which", ["socks", "unknown"])
def test_a_server_of_ones_own_on_loopback_is_reached_past_them(prefect_url: str, tmp_path: Path, which: str) -> None:
    done = ingest(tmp_path, PREFECT_API_URL=prefect_url, **PROXIES[which])
    assert (done.returncode, "1 new" in done.stdout) == (0, True), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("which", count(("socks",), tuple(PROXIES)))
def test_a_temporary_server_is_reached_past_them(tmp_path: Path, which: str) -> None:
    done = ingest(tmp_path, PREFECT_API_URL="", **PROXIES[which])
    assert (done.returncode, "1 new" in done.stdout) == (0, True), done.stderr
