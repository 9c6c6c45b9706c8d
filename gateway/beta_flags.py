"""The kind of option that lists beta flags, each with the models that know it; a flag without models is for all.

In YAML a mapping of lists: `effort-2025-11-24: [opus-4-5]`; in text `flag,effort-2025-11-24=opus-4-5`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from gateway.kinds import Kind, Misfit

_WORD: Final = re.compile(r"[A-Za-z0-9._:-]{1,100}", re.ASCII)


def _read(raw: object) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for flag, models in _pairs(raw):
        if not all(_WORD.fullmatch(word) for word in (flag, *models)):
            raise Misfit("may only hold flags and parts of model names, of letters, digits, dots and dashes")
        found[flag] = (*found.get(flag, ()), *models)
    return found


def _pairs(raw: object) -> Iterator[tuple[str, tuple[str, ...]]]:
    if isinstance(raw, str):
        for piece in raw.split(","):
            flag, equals, model = piece.strip().partition("=")
            if flag or equals:
                yield flag, (model,) if equals else ()
    elif isinstance(raw, Mapping) and all(isinstance(models, list) for models in raw.values()):
        for flag, models in raw.items():
            yield str(flag), tuple(str(model) for model in models)
    else:
        raise Misfit(
            "must be a mapping of flags to lists of models, or text such as flag,other-flag=opus-4-5"
        )


def _show(flags: Mapping[str, tuple[str, ...]]) -> str:
    pairs = [(flag, model) for flag, models in flags.items() for model in models or ("",)]
    return ",".join(f"{flag}={model}" if model else flag for flag, model in pairs)


BETA_FLAGS: Final = Kind("beta flags", _read, _show)
