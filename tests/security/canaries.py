"""Secrets that can be recognised wherever they turn up, in whatever form.

Each canary is unique and says in its text where it was planted. All share one beginning, so one search finds any of
them, also lower-cased, percent-encoded, in hexadecimal or inside Base64 at any of the three alignments.
"""

from __future__ import annotations

import base64
import random
import re
import string
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

MARK: Final = "Zq7CANARYx"
SERIAL_LENGTH: Final = 20

_ALPHABET: Final = string.ascii_letters + string.digits
_WHOLE: Final = re.compile(rb"zq7canaryx([a-z]+)9[a-z0-9]{%d}" % SERIAL_LENGTH)


def _cores(text: bytes) -> tuple[bytes, ...]:
    """The part of `text` in Base64 that stays the same whatever stands before and behind it, by alignment."""
    cores = []
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + text)
        first = (before * 8 + 5) // 6
        last = (before + len(text)) * 8 // 6
        cores.append(encoded[first:last])
    return tuple(cores)


_HIDDEN: Final = (*_cores(MARK.encode()), *_cores(MARK.lower().encode()))
_HEX: Final = MARK.encode().hex().encode()


class Canaries:
    """Makes canaries; the kind (`central`, `cookie`, ...) is part of the text."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.kinds: set[str] = set()

    def make(self, kind: str) -> str:
        self.kinds.add(kind)
        return f"{MARK}{kind}9{''.join(self._rng.choices(_ALPHABET, k=SERIAL_LENGTH))}"


def found(data: bytes, allowed: Iterable[str] = ()) -> set[str]:
    """The canaries in `data`, lower-cased; those of `allowed` don't count. Hidden forms are named as such."""
    plain = data.lower()
    hits = {match[0] for match in _WHOLE.finditer(plain)}
    if plain.count(MARK.lower().encode()) > len(_WHOLE.findall(plain)):
        hits.add(b"a part of a canary")
    if b"%" in data:
        hits |= {match[0] for match in _WHOLE.finditer(unquote_to_bytes(data).lower())}
    if any(core in data for core in _HIDDEN):
        hits.add(b"a canary in base64")
    if _HEX in plain:
        hits.add(b"a canary in hexadecimal")
    return {hit.decode() for hit in hits} - {canary.lower() for canary in allowed}


def kind_of(finding: str) -> str:
    """Where the canary was planted; a hidden one doesn't tell."""
    match = _WHOLE.fullmatch(finding.encode())
    return match[1].decode() if match else finding
