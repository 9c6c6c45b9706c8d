"""Pages of Markdown in their parts: blocks of code, pieces of inline code, links, headings, tables.

Enough Markdown for pages of our own: fences of three backticks, blocks indented by four or more blanks behind an empty
line, links in brackets.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = [
    ROOT / "README.md",
    *sorted((ROOT / "deploy").rglob("*.md")),
    ROOT / "middleware" / "README.md",
]

_FENCED: Final = re.compile(r"^```(\w*)\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
_INDENTED: Final = re.compile(r"(?<=\n\n)(?: {4,}\S.*\n(?:\n(?= {4}))?)+")
_INLINE: Final = re.compile(r"`([^`]+)`")
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """Code between fences, or indented: then without a language."""

    language: str
    text: str


@dataclass(frozen=True)
class Page:
    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    @cached_property
    def blocks(self) -> list[Block]:
        fenced = [Block(*found.groups()) for found in _FENCED.finditer(self.text)]
        unfenced = _FENCED.sub("", self.text) + "\n"
        indented = [
            Block("", textwrap.dedent(found[0]).strip("\n")) for found in _INDENTED.finditer(unfenced)
        ]
        return fenced + indented

    def block(self, beginning: str) -> str:
        """The one block that begins like this."""
        (found,) = [block.text for block in self.blocks if block.text.startswith(beginning)]
        return found

    @cached_property
    def prose(self) -> str:
        """All that is no block."""
        return _INDENTED.sub("", _FENCED.sub("", self.text) + "\n")

    @cached_property
    def inline(self) -> list[str]:
        return [" ".join(piece.split()) for piece in _INLINE.findall(self.prose)]

    @cached_property
    def links(self) -> list[str]:
        return [link for link in _LINK.findall(self.prose) if "://" not in link]

    @cached_property
    def anchors(self) -> set[str]:
        """What links can lead to within the page, as GitHub makes it of the headings."""
        return {_anchor(heading) for heading in _HEADING.findall(_FENCED.sub("", self.text))}

    @cached_property
    def options(self) -> list[str]:
        """What stands in the first column of tables whose heading is `option`."""
        found: list[str] = []
        for table in re.findall(r"^\| option \|.*\n\|[-|]+\n((?:\|.*\n)+)", self.text, re.MULTILINE):
            for row in table.splitlines():
                found += _INLINE.findall(row.split("|")[1])
        return found


def _anchor(heading: str) -> str:
    text = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


ALL: Final = [Page(path) for path in PAGES]
