"""A value that never shows itself.

Printing, formatting, pickling and JSON give a masked hint; the value comes out by one method with a long name, so
that a reader can count the places that call it.
"""

from __future__ import annotations

import hmac
from typing import Any, NoReturn


def mask(value: str) -> str:
    """A hint that tells two credentials apart and helps nobody else.

    4+4 characters from length 20 on, 2+2 from 10, 1+1 from 5, else `...`.
    """
    for length, shown in ((20, 4), (10, 2), (5, 1)):
        if len(value) >= length:
            return f"{value[:shown]}...{value[-shown:]}"
    return "..."


class Secret:
    """A credential in memory: compared in constant time, shown only as `mask` shows it."""

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    @property
    def hint(self) -> str:
        return mask(self.__value)

    def reveal_secret_value(self) -> str:
        return self.__value

    def __repr__(self) -> str:
        return f"<secret {self.hint}>"

    def __str__(self) -> str:
        return self.hint

    def __format__(self, spec: str) -> str:
        return format(self.hint, spec)

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__value.encode(), other.__value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self.__value))

    def __reduce__(self) -> tuple[Any, ...]:
        return (str, (self.hint,))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __setattr__(self, name: str, value: object) -> None:
        if name != "_Secret__value" or hasattr(self, "_Secret__value"):
            self._refuse_change()
        object.__setattr__(self, name, value)

    @staticmethod
    def _refuse_change() -> NoReturn:
        raise AttributeError("a Secret does not change")
