"""What the documents show is what the code does."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from gateway.stack import LAYERS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
EXAMPLES = ROOT / "tests" / "middleware" / "examples"
FOLDERS = ("gateway", "middleware", "providers", "recorders", "tests", "config", "deploy")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])


def names(cell: str) -> frozenset[str]:
    return frozenset(re.findall(r"`(\w+)`", cell))


def layer_table() -> list[list[str]]:
    rows = README.partition("<!-- layers")[2].splitlines()
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if row.startswith("| `")][
        : len(LAYERS)
    ]


def test_the_table_of_layers_is_the_stack() -> None:
    """Same layers, same order, same needs and gifts as the classes declare."""
    shown = [(names(row[0]), names(row[1]), names(row[2])) for row in layer_table()]
    assert shown == [(frozenset({layer.name}), layer.requires, layer.provides) for layer in LAYERS]


def test_the_page_of_the_layers_quotes_the_examples_that_run() -> None:
    """Each block of code is an example's file, without its first line."""
    page = (ROOT / "middleware" / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)\n```", page, re.DOTALL)
    files = [path for path in EXAMPLES.glob("*.py") if path.stem != "__init__"]
    assert sorted(blocks) == sorted(code_of(path) for path in files)


def code_of(path: Path) -> str:
    source = path.read_text()
    docstring_end = ast.parse(source).body[0].end_lineno
    return "\n".join(source.splitlines()[docstring_end:]).strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_points_at_what_is_there(page: Path) -> None:
    """Every relative link leads to a file."""
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_make_target_that_is_shown_exists() -> None:
    """A newcomer types what stands there."""
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = set(re.findall(r"`make ([a-z0-9-]+)", README + (ROOT / "CONTRIBUTING.md").read_text()))
    assert shown <= targets


def test_every_python_block_of_the_readme_compiles() -> None:
    """Whoever pastes it gets no syntax error."""
    for block in re.findall(r"```python\n(.*?)\n```", README, re.DOTALL):
        compile(block, "README.md", "exec")
