"""The kind of option that holds the headers for a collector of traces: `name=value`, by commas or on their own lines.

They are kept as one secret, because what an operator puts there is mostly a key; `headers_of` takes them apart where
they are sent.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.header_names import is_token
from gateway.kinds import Kind, Misfit
from providers.secret import Secret

_VALUE: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?", re.ASCII)


def _read(raw: object) -> Secret:
    if not isinstance(raw, str):
        raise Misfit("must be text such as name=value,other-name=value")
    pairs = [_pair(piece) for piece in re.split(r"[,\n]", raw) if piece.strip()]
    return Secret(",".join(f"{name}={value}" for name, value in pairs))


def _pair(piece: str) -> tuple[str, str]:
    name, equals, value = (part.strip() for part in piece.partition("="))
    if not equals or not is_token(name) or not _VALUE.fullmatch(value):
        raise Misfit("must hold headers as name=value, separated by commas, in printable ASCII")
    return name.lower(), value


def _show(headers: Secret) -> str:
    """The names alone: a part of a value could be half of a short key."""
    return ",".join(f"{name}=..." for name in headers_of(headers))


def headers_of(headers: Secret) -> dict[str, str]:
    """What is to be sent, in the clear."""
    pieces = [piece.partition("=") for piece in headers.reveal_secret_value().split(",") if piece]
    return {name: value for name, _, value in pieces}


EXPORT_HEADERS: Final = Kind("headers", _read, _show, secret=True)
