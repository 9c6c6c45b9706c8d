"""Chunks that arrived together: how they leave the gateway by the server that it runs under.

What a provider sent in many small chunks often arrives together. To send each by itself costs a server more than all
that the gateway does with it. ASGI has no message for several chunks, so there is an extension: a server that has
`CHUNKS` among the extensions of the scope takes a body message whose `CHUNKS` are the pieces of its `body`
(`middleware.exchange`). `hypercorn` and `uvicorn` teach it to these servers, each of which has to be asked to; for any
other, `apart` makes a message of each chunk.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from middleware.exchange import CHUNKS

if TYPE_CHECKING:
    from starlette.types import Scope


def tell(scope: Scope) -> None:
    """Say on the scope that chunks are taken. Whoever doesn't know them all the same has `body`, which is whole."""
    scope["extensions"] = {**(scope.get("extensions") or {}), CHUNKS: {}}


def framed(chunks: Iterable[bytes]) -> bytes:
    """Each piece in an HTTP chunk of its own (RFC 9112, section 7.1); an empty one would end the body."""
    return b"".join([b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks if chunk])
