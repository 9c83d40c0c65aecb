"""The report in headless Chromium: it opens from a file, is whole, fits wide and narrow windows, asks for nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from html import unescape
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from evoembedding.flows.report.page import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr"),
)
NAMES = ["small@1", "model-scored", "model-bare"]
# A window of any width: Chromium's own is at least 500 wide. The page in it tells what it measured.
WINDOW = """<!doctype html><body style="margin:0"><pre id="found"></pre>
<script>addEventListener("message", event => { document.getElementById("found").textContent = event.data; });</script>
<iframe src="copy.html" style="border:0" width="{width}" height="2000"></iframe>"""
MEASURE = """<script>
addEventListener("load", () => {
  const visible = element => element.checkVisibility();
  const right = element => element.getBoundingClientRect().right;
  const boxes = [...document.querySelectorAll(".diagram .box")].filter(visible);
  const over = boxes.flatMap(box => [...box.querySelectorAll("text")]
    .filter(text => right(text) > right(box.querySelector("rect"))).map(text => text.textContent));
  parent.postMessage(JSON.stringify({
    title: document.title,
    window: innerWidth,
    page: document.documentElement.scrollWidth,
    sections: [...document.querySelectorAll("section")]
      .filter(section => visible(section) && section.getBoundingClientRect().height > 60).map(section => section.id),
    charts: [...document.querySelectorAll("svg.chart")].filter(visible).length,
    diagrams: [...document.querySelectorAll(".diagram")].filter(visible).map(one => one.classList[1]),
    boxes: boxes.length,
    over,
    background: getComputedStyle(document.body).backgroundColor,
    ink: getComputedStyle(document.body).color,
    loaded: performance.getEntriesByType("resource").map(entry => entry.name),
    scripts: document.scripts.length,
  }), "*");
});
</script>"""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
]


def browse(page: Path, folder: Path, *flags: str) -> tuple[str, list[str]]:
    """The page's elements after it was loaded, and what it wrote to the console."""
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder}", "--dump-dom", *flags, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def measure(page: Path, folder: Path, width: int, *flags: str) -> dict[str, Any]:
    """What `MEASURE` finds in a copy of the page whose policy lets it run, in a window of that width."""
    html = page.read_text(encoding="utf-8")
    assert html.count("default-src 'none'; ") == 1
    opened = html.replace("default-src 'none'; ", "default-src 'none'; script-src 'unsafe-inline'; img-src *; ")
    copy = folder / "copy.html"
    copy.write_text(opened.replace("</body>", MEASURE + "</body>"), encoding="utf-8")
    window = folder / "window.html"
    window.write_text(WINDOW.replace("{width}", str(width)))
    dom, _ = browse(window, folder / "profile", "--window-size=1400,2000", *flags)
    found = re.search(r'<pre id="found">(.+?)</pre>', dom, re.DOTALL)
    assert found, dom[-2000:]
    read: dict[str, Any] = json.loads(unescape(found[1]))
    return read


@pytest.fixture(scope="module")
def pages(world) -> dict[str, Path]:  # type: ignore[no-untyped-def]
    return {name: write_report(world.warehouse, world.home, name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [1200, 420])
def test_it_is_whole_and_fits(pages: dict[str, Path], tmp_path: Path, name: str, width: int) -> None:
    found = measure(pages[name], tmp_path, width)
    assert found["window"] == width
    assert found["page"] <= width
    assert found["diagrams"] == ["wide" if width == 1200 else "narrow"]
    assert found["over"] == []
    middle = ["models"] if name == "small@1" else ["scores", "training"]
    assert sorted(found["sections"]) == sorted(["lineage", *middle, "funnel", "shape", "samples", "sources", "repeat"])
    # Lengths; and three curves, of which the others are folded.
    assert found["charts"] == {"small@1": 5, "model-scored": 8, "model-bare": 5}[name]
    assert found["boxes"] == (5 if name == "small@1" else 8)
    assert found["title"] == f"{name} · EvoEmbedding report"
    assert found["loaded"] == []
    assert found["scripts"] == 1  # that of the test


@pytest.mark.parametrize("name", NAMES)
def test_it_opens_from_a_file_without_a_word(pages: dict[str, Path], tmp_path: Path, name: str) -> None:
    dom, said = browse(pages[name], tmp_path / "profile")
    assert said == []
    assert "How to repeat this" in dom
    assert "<script" not in dom


def test_dark_where_the_reader_wants_it(pages: dict[str, Path], tmp_path: Path) -> None:
    def brightness(colour: str) -> int:
        return sum(map(int, re.findall(r"\d+", colour)[:3]))

    light = measure(pages["small@1"], tmp_path, 1200)
    dark = measure(pages["small@1"], tmp_path, 1200, "--blink-settings=preferredColorScheme=0")
    assert brightness(light["background"]) > 600 > 200 > brightness(light["ink"])
    assert brightness(dark["background"]) < 200 < 600 < brightness(dark["ink"])


def test_what_these_tests_look_for_would_be_found(tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        address = f"http://127.0.0.1:{server.server_port}/picture.png"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = tmp_path / "bad.html"
        page.write_text(
            f"""<!doctype html><meta http-equiv="Content-Security-Policy" content="default-src 'none'; ">
            <script>1</script><hr width="3000"><img src="{address}"><svg class="diagram wide"><g class="box">
            <rect width="10" height="10"/><text>Far too long</text></g></svg></body>"""
        )
        _, said = browse(page, tmp_path / "profile")
        found = measure(page, tmp_path, 1200)
        server.shutdown()
    assert any("Content Security Policy" in line for line in said)
    assert found["page"] > 1200
    assert found["over"] == ["Far too long"]
    assert found["loaded"] == [address]
