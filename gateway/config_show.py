"""The effective settings as text: each value, and where it came from; secrets masked.

The text is laid out like the YAML file and shows the structs as loaded, so that what it says is what runs. A hidden
option is shown only when somebody set it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from gateway.instances import INSTANCE_KINDS
from gateway.kinds import Kind
from gateway.options import Option
from gateway.settings import DEFAULT, GATEWAY_OPTIONS, PROCESS_OPTIONS, Settings
from gateway.sources import SECTION, instance_target
from providers.options import ProviderOptions

_PLAIN: Final = re.compile(r"[A-Za-z0-9/_][A-Za-z0-9/_.:@?&=+*,-]*(?<!:)", re.ASCII)

_INSTANCE_KINDS: Final[dict[str, Kind]] = {field: kind for _, field, kind in INSTANCE_KINDS}


def render(settings: Settings) -> str:
    """The settings as lines of `name: value  # origin`, ended by a newline."""
    lines = [
        *_options(settings, PROCESS_OPTIONS, settings, ""),
        f"{SECTION}:",
        *_options(settings.gateway, GATEWAY_OPTIONS, settings, "  "),
        *_providers(settings),
    ]
    return "\n".join(lines) + "\n"


def _options(
    struct: msgspec.Struct, options: tuple[Option, ...], settings: Settings, indent: str
) -> Iterator[str]:
    for option in options:
        origin = settings.origin(option.name)
        if not option.help.hidden or origin != DEFAULT:
            yield f"{indent}{_line(option.name, option.kind, getattr(struct, option.field), origin)}"


def _providers(settings: Settings) -> Iterator[str]:
    providers = settings.gateway.providers
    yield "  providers:" if providers else "  providers: []"
    for index, provider in enumerate(providers):
        bullet = "- "
        for field, kind in _INSTANCE_KINDS.items():
            origin = settings.origin(instance_target(index, field))
            value = getattr(provider, field)
            if origin != DEFAULT or value != _default(field):
                yield f"    {bullet}{_line(field, kind, value, origin)}"
                bullet = "  "


def _default(field: str) -> object:
    defaults = {one.name: one.default for one in msgspec.structs.fields(ProviderOptions)}
    return defaults[field]


def _line(name: str, kind: Kind, value: Any, origin: str) -> str:
    return f"{name}: {_scalar(str(kind.show(value)))}  # {origin}"


def _scalar(text: str) -> str:
    """The text as a YAML scalar, quoted where it would otherwise be read as something else."""
    return text if _PLAIN.fullmatch(text) else msgspec.json.encode(text).decode()
