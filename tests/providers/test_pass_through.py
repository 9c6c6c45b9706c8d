"""The filter that hides nothing."""

from __future__ import annotations

from providers.pass_through import PassThrough


def test_every_byte_passes_at_once() -> None:
    """Nothing is held back for the end."""
    stream = PassThrough()
    assert stream.feed(b"data: a") == b"data: a"
    assert stream.close() == b""
