"""The command line's share of the configuration: a flag for every option, and what was typed.

The flags come from the options that the structs declare. A flag takes its text as it is: what it means, and whether it
is right, `gateway.settings.load` decides as it does for a variable. A secret has a second flag that names a file to
read it from, because others on the machine can see a command line.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Protocol

from gateway.instances import LEGACY_SETTINGS
from gateway.kinds import Kind
from gateway.options import Option
from gateway.settings import CATALOGUE, GATEWAY_OPTIONS, PROCESS_OPTIONS
from gateway.sources import flag_of, flag_spellings

_METAVARS: Final = {
    "duration": "DURATION",
    "number": "N",
    "size": "SIZE",
    "switch": "true|false",
    "url": "URL",
    "database url": "URL",
    "header name": "NAME",
    "key": "KEY",
    "model": "PROVIDER/MODEL",
}


class _Arguments(Protocol):
    def add_argument(self, *names: str, **kwargs: Any) -> argparse.Action: ...


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add `--config` and the flags of every option."""
    process = parser.add_argument_group("process")
    process.add_argument("--config", type=Path, metavar="FILE", help="read settings from this YAML file")
    _add_options(process, PROCESS_OPTIONS, section=False)
    _add_options(parser.add_argument_group("AI gateway"), GATEWAY_OPTIONS, section=True)
    legacy = parser.add_argument_group(
        "one provider of a type", "Older settings; the YAML file can hold several."
    )
    for setting in LEGACY_SETTINGS:
        _add(legacy, flag_of(setting.name, section=True), setting.kind, setting.help)


def flags_of(namespace: argparse.Namespace) -> dict[str, str]:
    """The flags that were typed, and their text, as `load` wants them."""
    values = {flag: getattr(namespace, _destination(flag), None) for flag in flag_spellings(CATALOGUE)}
    return {flag: text for flag, text in values.items() if text is not None}


def _destination(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")


def _add_options(group: _Arguments, options: Iterable[Option], *, section: bool) -> None:
    for option in options:
        line = f"{option.help.line} (default: {option.default_text or 'empty'})"
        _add(group, flag_of(option.name, section=section), option.kind, None if option.help.hidden else line)


def _add(group: _Arguments, flag: str, kind: Kind, line: str | None) -> None:
    """Add one flag, and its `-file` twin for a secret. No line of help: the flag works and is not shown."""
    shown = argparse.SUPPRESS if line is None else line.replace("%", "%%")
    optional: dict[str, Any] = {"nargs": "?", "const": "true"} if kind.name == "switch" else {}
    group.add_argument(flag, metavar=_METAVARS.get(kind.name, "TEXT"), help=shown, **optional)
    if kind.secret:
        group.add_argument(f"{flag}-file", metavar="FILE", help=f"file that holds the value of {flag}")
