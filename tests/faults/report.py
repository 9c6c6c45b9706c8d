"""What a scenario did, what it counted, and what it found wrong: printed as it happens, judged at the end."""

from __future__ import annotations


class Report:
    """`violations` is empty when all was as it should be."""

    def __init__(self, name: str) -> None:
        self.violations: list[str] = []
        print(f"{name}", flush=True)

    def did(self, text: str) -> None:
        print(f"  {text}", flush=True)

    def counted(self, **figures: int | float) -> None:
        """Figures by name; underlines in a name are blanks."""
        print(
            "  " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures.items()),
            flush=True,
        )

    def require(self, holds: bool, text: str) -> None:
        """What must be so. What isn't is told at once, and the scenario goes on."""
        if not holds:
            self.violations.append(text)
            print(f"  WRONG: {text}", flush=True)
