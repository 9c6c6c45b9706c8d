"""OpenAI's usage objects, of both APIs, as our counts.

OpenAI counts cached tokens within the input; we tell them apart, so that input, cache reads and cache writes add up
to what OpenAI calls the input. `total_tokens` stays among the further counts.
"""

from __future__ import annotations

from typing import Final

from providers.base import Usage
from providers.counts import Counts, Path, further_counts


class _Names:
    """Where one API keeps its counts."""

    def __init__(self, inputs: str, outputs: str) -> None:
        self.input: Path = (f"{inputs}_tokens",)
        self.output: Path = (f"{outputs}_tokens",)
        self.cache_read: Path = (f"{inputs}_tokens_details", "cached_tokens")
        self.cache_write: Path = (f"{inputs}_tokens_details", "cache_write_tokens")


_CHAT: Final = _Names("prompt", "completion")
_RESPONSES: Final = _Names("input", "output")


def usage_of(msg_id: str, counts: Counts) -> Usage:
    """The usage that `counts` mean; the names say which API they are of."""
    names = _RESPONSES if _RESPONSES.input in counts else _CHAT
    read, written = counts.get(names.cache_read, 0), counts.get(names.cache_write, 0)
    told = (names.input, names.output, names.cache_read, names.cache_write)
    return Usage(
        msg_id=msg_id,
        input_tokens=max(0, counts.get(names.input, 0) - read - written),
        output_tokens=counts.get(names.output, 0),
        cache_read_input_tokens=read,
        cache_write_input_tokens=written,
        extra=further_counts(counts, told),
    )
