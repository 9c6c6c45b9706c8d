"""Tools for the tests that need one, or a skip that says why there is none."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.deploy.tools import Unavailable, tool

Run: TypeAlias = Callable[..., str]
"""Run a tool with arguments; what it printed. A failure fails the test with its words."""


@pytest.fixture
def path_of() -> Callable[[str], Path]:
    """Where a tool is."""

    def find(name: str) -> Path:
        try:
            return tool(name)
        except Unavailable as why:
            pytest.skip(str(why))

    return find


@pytest.fixture
def run(path_of: Callable[[str], Path]) -> Run:
    """Runs a tool by its name."""

    def run_tool(name: str, *arguments: str | Path, cwd: Path | None = None, status: int = 0) -> str:
        done = subprocess.run(
            [path_of(name), *arguments], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == status, f"{name} {arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    return run_tool
