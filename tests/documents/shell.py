"""The commands of a shell block, each as its words: what a reader would paste, without running it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import PurePath
from typing import Final

_SHELL: Final = frozenset({"", "sh", "bash", "shell", "console"})
_OPERATORS: Final = frozenset("();<>|&\n")
_COMMENT: Final = re.compile(r"(?:^|(?<=\s))#.*$", re.MULTILINE)
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=")
_INTO_A_CONTAINER: Final = frozenset({"--", "gateway"})
"""What stands before a command that another one runs: `kubectl exec ... --`, `docker compose exec gateway`."""


def commands(block: str) -> Iterator[list[str]]:
    """Every simple command, without assignments, redirections and comments. A block that is no shell gives nothing."""
    text = _COMMENT.sub("", block.replace("\\\n", " "))
    lexer = shlex.shlex(text, posix=True, punctuation_chars="();<>|&\n")
    lexer.commenters = ""
    lexer.whitespace = " \t"
    lexer.whitespace_split = True
    words: list[str] = []
    redirected = False
    try:
        tokens = list(lexer)
    except ValueError:  # a quote is open: this is another language
        return
    for token in [*tokens, "\n"]:
        if not set(token) <= _OPERATORS:
            if not redirected:
                words.append(token)
            redirected = False
        elif set(token) <= {"<", ">"}:
            redirected = True
        else:
            yield from _command(words)
            words, redirected = [], False


def _command(words: list[str]) -> Iterator[list[str]]:
    while words and (_ASSIGNMENT.match(words[0]) or words[0] == "export"):
        words = words[1:]
    if words:
        yield words


def is_shell(language: str) -> bool:
    return language in _SHELL


def of_the_gateway(words: list[str]) -> list[str] | None:
    """What follows `ai-gateway`, where that is what the command runs."""
    for place, word in enumerate(words):
        called = place == 0 or words[place - 1] in _INTO_A_CONTAINER
        if called and PurePath(word).name == "ai-gateway":
            return words[place + 1 :]
    return None
