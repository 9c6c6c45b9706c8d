"""A payload that carries a number, so that every request and every answer of a run is another one.

The number is written with a fixed width: all renderings have the same length, and rendering or checking one is a copy
or a comparison of bytes, cheap enough to be done for every answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

DIGITS = 10
PLACEHOLDER = b"#" * DIGITS


@dataclass(frozen=True, slots=True)
class Template:
    """`text` with `PLACEHOLDER` wherever the number stands; one without any is the same for every number."""

    text: bytes
    _parts: list[bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_parts", self.text.split(PLACEHOLDER))

    def __len__(self) -> int:
        return len(self.text)

    def render(self, number: int) -> bytes:
        """The payload of `number`, which must have at most `DIGITS` digits."""
        if len(self._parts) == 1:
            return self.text
        return b"%0*d".__mod__((DIGITS, number)).join(self._parts)

    def number_of(self, payload: bytes) -> int | None:
        """The number whose rendering `payload` is, byte for byte; None when it is no rendering."""
        if len(payload) != len(self.text):
            return None
        if len(self._parts) == 1:
            return 0 if payload == self.text else None
        start = len(self._parts[0])
        digits = payload[start : start + DIGITS]
        if not digits.isdigit() or self.render(int(digits)) != payload:
            return None
        return int(digits)
