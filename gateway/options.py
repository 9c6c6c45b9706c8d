"""What an option is: the field of a struct, with a kind and a line of help beside its type and default.

The structs are the only place where options are declared:

    retention_s: Annotated[float, DURATION, Help("age at which records are purged")] = 60 * DAY_S

and from them come the flags, the names that are read from YAML and environment, the check of `config/settings.yaml`
and what `config show` prints. A trailing `_s` or `_bytes` of a field is for the reader of the program; the option of
a duration goes without it, because its value carries a unit.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.kinds import DURATION, Kind


@dataclass(frozen=True, slots=True)
class Help:
    """The line of help of an option, and how else it may be called."""

    line: str
    aliases: tuple[str, ...] = ()
    """Further names in YAML."""
    hidden: bool = False
    """Left out of `--help` and of generated documents; read like any other option."""


@dataclass(frozen=True, slots=True)
class Option:
    """An option as the sources know it. `name` is written with underscores, as in YAML."""

    name: str
    field: str
    kind: Kind
    help: Help
    default: Any

    @property
    def default_text(self) -> str:
        return str(self.kind.show(self.default))


def options_of(struct: type[msgspec.Struct]) -> tuple[Option, ...]:
    """The options that `struct` declares, in its order; fields without a kind are none."""
    hints = typing.get_type_hints(struct, include_extras=True)
    found: list[Option] = []
    for field in msgspec.structs.fields(struct):
        notes = getattr(hints[field.name], "__metadata__", ())
        kind = next((note for note in notes if isinstance(note, Kind)), None)
        line = next((note for note in notes if isinstance(note, Help)), None)
        if kind is not None and line is not None:
            name = field.name.removesuffix("_s") if kind.name == DURATION.name else field.name
            found.append(Option(name, field.name, kind, line, _default(field)))
    return tuple(found)


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
