"""What the parser of the `ai-gateway` command knows: its commands, and the flags of each."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from functools import cache

from gateway import __main__ as program
from gateway.flags import flags_of
from gateway.settings import load


@cache
def _parser() -> argparse.ArgumentParser:
    return program._parser()


def check(words: Sequence[str]) -> None:
    """What follows `ai-gateway` can be typed like that. `AssertionError` says what can't."""
    parser_of(words)
    try:
        arguments, rest = _parser().parse_known_args(list(words))
    except SystemExit:
        raise AssertionError(f"does not parse: {words}") from None
    assert not rest, f"not known: {rest}"
    load({flag: text for flag, text in flags_of(arguments).items() if not flag.endswith("-file")}, environ={})


def check_mention(words: Sequence[str]) -> None:
    """As `check`, for a sentence: there a command may stand by its name alone, or as a synopsis.

    In a synopsis brackets mark what may be left out, and `...` says that there is more.
    """
    words = [word for word in words if word != "..."]
    text = " ".join(words)
    optional = re.findall(r"\[([^]]*)\]", text)
    if optional:
        words = re.sub(r"\[[^]]*\]", "", text).split()
    parser = parser_of(words)
    for flag in re.findall(r"--[\w-]+", " ".join(optional)):
        assert flag in flags_in(parser), f"{flag} is no flag of {parser.prog}"
    if parser.prog.split()[1:] != words:
        check(words)


def parser_of(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of the command that `words` begin with, or of a group of commands."""
    parser = _parser()
    for word in words:
        below = _subcommands(parser)
        if not below:
            break
        assert word in below, f"{word} is no command of {parser.prog}"
        parser = below[word]
    return parser


def _subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def flags_in(parser: argparse.ArgumentParser) -> set[str]:
    return {flag for action in parser._actions for flag in action.option_strings}


@cache
def all_flags() -> set[str]:
    """Of every command."""
    return {flag for parser in _all(_parser()) for flag in flags_in(parser)}


def _all(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for below in _subcommands(parser).values():
        yield from _all(below)


def groups() -> set[str]:
    """Commands that have commands of their own."""
    return {name for name, parser in _subcommands(_parser()).items() if _subcommands(parser)}
