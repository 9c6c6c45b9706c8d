"""How long the oldest of what waits has been waiting, in a bounded memory however much waits.

Times are remembered for stretches of positions and not for each. When there are too many stretches, neighbours
become one, with the older time: an age is never told too low.
"""

from __future__ import annotations

from collections import deque
from typing import Final

MAX_STRETCHES: Final = 512
FINEST_S: Final = 0.1


class Ages:
    """Positions only grow; `now` is a monotonic clock's."""

    def __init__(self) -> None:
        self._stretches: deque[tuple[int, float]] = deque()
        """Each the position that it reaches to, and when it began."""
        self._grain_s = FINEST_S

    def mark(self, position: int, now: float) -> None:
        """Everything up to `position` that is not marked yet came now."""
        if self._stretches and now - self._stretches[-1][1] < self._grain_s:
            self._stretches[-1] = (position, self._stretches[-1][1])
            return
        self._stretches.append((position, now))
        if len(self._stretches) > MAX_STRETCHES:
            self._coarsen()

    def mark_again(self, position: int, now: float) -> None:
        """Everything up to `position`, which was forgotten, waits again: not shorter than what waits behind it."""
        self._stretches.appendleft((position, self._stretches[0][1] if self._stretches else now))

    def forget(self, position: int) -> None:
        """What is up to `position` waits no longer."""
        while self._stretches and self._stretches[0][0] <= position:
            self._stretches.popleft()
        if not self._stretches:
            self._grain_s = FINEST_S

    def oldest_s(self, now: float) -> float:
        return now - self._stretches[0][1] if self._stretches else 0.0

    def _coarsen(self) -> None:
        self._grain_s *= 2
        marks = list(self._stretches)
        ends = marks[1::2] + marks[len(marks) // 2 * 2 :]
        self._stretches = deque((end, since) for (_, since), (end, _) in zip(marks[::2], ends, strict=True))
