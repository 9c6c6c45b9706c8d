"""What a reader could not read, in words: for the log, and for a flag on the record.

A provider that sends nonsense sends a lot of it, so only the first few different flaws are kept.
"""

from __future__ import annotations

from typing import Final

_MAX_FLAWS: Final = 16


class Flaws(list[str]):
    """A short list of different sentences; none quotes what the provider sent."""

    def note(self, flaw: str) -> None:
        if len(self) < _MAX_FLAWS and flaw not in self:
            self.append(flaw)
