"""What the program says, in log lines and answers, and what a document quotes of it.

Numbers and what is filled in (`%s`, `{...}`) are `...` on both sides, since they are different each time.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import Final

from tests.documents.markdown import ROOT

FLOORS: Final = ("gateway", "middleware", "providers", "recorders")
FILLED_IN: Final = "..."

_FORMAT: Final = re.compile(r"%(?:\.\d+)?[sdfg]|\d+")
ENOUGH: Final = 10
"""Letters that a message must have of its own: `%s: %s` would be found in anything."""
MOST: Final = 0.6
"""Of what is quoted, where a message fills in something that the document writes out."""


def is_said(quoted: str) -> bool:
    """Whether a message has these words, or is most of them."""
    words = _alike(quoted)
    beginning = words.removesuffix(FILLED_IN).strip()
    return any(
        beginning in message or (_own(message) > MOST * len(words) and re.search(_pattern(message), words))
        for message in _messages()
    )


def _own(message: str) -> int:
    return len(message.replace(FILLED_IN, ""))


@cache
def _messages() -> frozenset[str]:
    found: set[str] = set()
    for floor in FLOORS:
        for path in (ROOT / floor).rglob("*.py"):
            found |= set(_strings(ast.parse(path.read_text("utf-8"))))
    return frozenset(message for message in found if _own(message) >= ENOUGH)


def _strings(tree: ast.AST) -> Iterator[str]:
    """Every text of a module, the pieces that Python joins as one; no docstrings, which nobody is shown."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield _alike(node.value)
        elif isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else FILLED_IN for part in node.values]
            yield _alike("".join(str(part) for part in parts))


def _alike(text: str) -> str:
    return _FORMAT.sub(FILLED_IN, text)


@cache
def _pattern(message: str) -> re.Pattern[str]:
    return re.compile(".+".join(re.escape(piece) for piece in message.split(FILLED_IN)))
