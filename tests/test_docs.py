"""The pages say what the code is: their generated parts are those of today, and their links lead somewhere."""

from __future__ import annotations

import ast
import re

import pytest

import evoembedding
from docs.make import api, commands, configuration, tree
from docs.make.pages import DOCS, PAGES, current, replaced
from evoembedding.flows.commands.app import app
from evoembedding.schemas.configs import Recipe
from evoembedding.schemas.identity import Config

ROOT = DOCS.parent
ROOMS = sorted(path.name for path in (ROOT / "evoembedding").iterdir() if path.is_symlink())
LONG_FILE, LONG_FUNCTION = 250, 50  # lines
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.M)
WRITTEN = sorted(path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *DOCS.glob("*.md")))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_of_the_code_of_today(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == current(page), "run: make docs"


def test_what_stands_around_a_part_stays() -> None:
    page = "before\n<!-- x: made by docs/make -->\nold\n<!-- end of x -->\nafter"
    assert replaced(page, "x", "new") == page.replace("old", "\nnew\n")
    with pytest.raises(ValueError, match="no part between '<!-- y: made by docs/make -->'"):
        replaced(page, "y", "new")


def test_every_file_of_the_rooms_is_in_the_tree_with_a_sentence() -> None:
    lines = tree.tree().splitlines()
    rooms = [path.name for path in (ROOT / "evoembedding").iterdir() if path.is_symlink()]
    for path in (p for room in rooms for p in (ROOT / room).rglob("*.py") if p.name != "__init__.py"):
        assert tree.sentence(path), path
        assert any(line.split()[:1] == [path.name] for line in lines), path


def test_every_command_is_listed_and_has_a_section_with_an_example() -> None:
    listed = [name for name, _ in commands.commands()]
    apps = [("evo", app), *((f"evo {group.name}", group.typer_instance) for group in app.registered_groups)]
    for group, typed in apps:
        for registered in typed.registered_commands:
            assert registered.callback is not None
            name = f"{group} {registered.name or registered.callback.__name__}"
            assert name in listed
            assert (registered.epilog or "").startswith("Example: "), name
            assert name in (registered.epilog or "")
    sections = set(re.findall(r"^#+ `(.*)`$", commands.reference(), flags=re.M))
    assert set(listed) <= sections


@pytest.mark.parametrize("kind", configuration.configs(Recipe))
def test_every_setting_is_described(kind: type[Config]) -> None:
    assert not [name for name, field in kind.model_fields.items() if not field.description]


@pytest.mark.parametrize("name", evoembedding.__all__)
def test_the_front_door_opens_on_what_is_described(name: str) -> None:
    assert getattr(evoembedding, name).__doc__
    assert f"\n## {name}\n" in f"\n{api.reference()}"


@pytest.mark.parametrize("page", WRITTEN)
def test_links_lead_somewhere(page: str) -> None:
    """Files and headings of this checkout; what lies elsewhere is not asked."""
    for link in LINK.findall((ROOT / page).read_text(encoding="utf-8")):
        if "://" in link:
            continue
        place, _, heading = link.partition("#")
        target = (ROOT / page).parent / place if place else ROOT / page
        assert target.exists(), f"{page}: {link}"
        if heading:
            assert heading in {_anchor(one) for one in HEADING.findall(target.read_text(encoding="utf-8"))}, link


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_way_of_a_segment_names_files_that_are_there() -> None:
    """A name alone lies in the folder of the one before it."""
    way = (DOCS / "architecture.md").read_text(encoding="utf-8").split("## One segment")[1].split("\n## ")[0]
    named = [re.findall(r"`([\w/]+(?:\.py|/))`", row.rsplit("|", 2)[1]) for row in way.splitlines() if row[:1] == "|"]
    assert sum(map(len, named)) > 30
    for row in named:
        folder = ROOT
        for name in row:
            path = ROOT / name if "/" in name else folder / name
            assert path.exists(), name
            folder = path.parent


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_what_is_long_has_a_reason() -> None:
    table = (DOCS / "architecture.md").read_text(encoding="utf-8").split("## Long files")[1].split("\n## ")[0]
    named = {name for row in table.splitlines() for name in re.findall(r"`([\w/.]+)`", row)}
    found = set()
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            own = {str(path.relative_to(ROOT)), path.name} & named
            if len(text.splitlines()) > LONG_FILE:
                assert own, path
                found |= own
            for node in ast.walk(ast.parse(text)):
                if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                if (node.end_lineno or 0) - node.lineno >= LONG_FUNCTION:
                    assert own and node.name in named, f"{path}: {node.name}"
                    found |= own | {node.name}
    assert found == named, "no longer long"
