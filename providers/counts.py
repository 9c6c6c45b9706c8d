"""Token counts as providers give them: the known ones by path, every further one under a stable name.

A further count in a nested object is named after the object and itself, without the words "tokens" and "details":
`prompt_tokens_details.audio_tokens` is `prompt_audio`. Counts at the top keep their names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final, TypeAlias

Path: TypeAlias = tuple[str, ...]
Counts: TypeAlias = dict[Path, int]

_MAX_COUNTS: Final = 64
_MAX_KEY_CHARS: Final = 64
_MAX_DEPTH: Final = 4
_MAX_COUNT: Final = 2**63 - 1

_PREFIXES: Final = {"cache_creation": "cache_", "server_tool_use": ""}
_NAMES: Final[Mapping[Path, str]] = {
    ("completion_tokens_details", "reasoning_tokens"): "output_reasoning",
    ("output_tokens_details", "thinking_tokens"): "output_reasoning",
}


def add_counts(counts: Counts, usage: object) -> None:
    """Put every count of a decoded `usage` object into `counts`; a count that is there already is replaced."""
    for path, number in _leaves(usage, ()):
        if path in counts or len(counts) < _MAX_COUNTS:
            counts[path] = number


def counts_of(usage: object) -> Counts:
    """The counts of a decoded `usage` object; empty when it is of another shape."""
    counts: Counts = {}
    add_counts(counts, usage)
    return counts


def further_counts(counts: Counts, told: Collection[Path]) -> dict[str, int]:
    """The counts whose path is not in `told`, under stable names."""
    return {_name(path): number for path, number in counts.items() if path not in told}


def _leaves(usage: object, path: Path) -> Iterator[tuple[Path, int]]:
    if not isinstance(usage, dict) or len(path) == _MAX_DEPTH:
        return
    for key, value in usage.items():
        if len(key) > _MAX_KEY_CHARS:
            continue
        number = _count(value)
        if number is not None:
            yield (*path, key), number
        else:
            yield from _leaves(value, (*path, key))


def _count(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= _MAX_COUNT else None


def _name(path: Path) -> str:
    if len(path) == 1:
        return path[0]
    if path in _NAMES:
        return _NAMES[path]
    prefix = _PREFIXES.get(path[0], _short(path[0]) + "_")
    return prefix + "_".join(_short(part) for part in path[1:])


def _short(part: str) -> str:
    return part.removesuffix("_details").removesuffix("_tokens")
