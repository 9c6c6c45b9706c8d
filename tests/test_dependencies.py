"""The three places that name a dependency say the same: `pyproject.toml`, the locks, and the README."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def names(requirements: list[Any]) -> set[str]:
    """The normalised names of requirements; a group that is included by another is left out."""
    found = (re.match(r"[A-Za-z0-9._-]+", entry) for entry in requirements if isinstance(entry, str))
    return {re.sub(r"[-_.]+", "-", match[0]).lower() for match in found if match}


def pins(lock: str) -> dict[str, list[str]]:
    """Each package that a lock pins, with the lines that belong to it."""
    packages: dict[str, list[str]] = {}
    for line in (ROOT / lock).read_text(encoding="utf-8").splitlines():
        if re.match(r"[a-z0-9]", line):
            packages[line.split("==")[0]] = lines = []
        elif packages:
            lines.append(line)
    return packages


RUNTIME = names(PYPROJECT["project"]["dependencies"])
BUILD = names(PYPROJECT["dependency-groups"]["build"])
DEV = names(PYPROJECT["dependency-groups"]["dev"])


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [("requirements.lock", RUNTIME | BUILD), ("requirements-dev.lock", RUNTIME | BUILD | DEV)],
)
def test_lock_pins_every_declared_dependency_with_a_hash(lock: str, wanted: set[str]) -> None:
    """A dependency that was declared and not locked would be missed by `pip install --require-hashes`."""
    packages = pins(lock)
    assert wanted <= packages.keys()
    assert all(any("--hash=sha256:" in line for line in lines) for lines in packages.values())


def test_locks_agree_on_every_version() -> None:
    """What is tested is what runs: the development lock pins the runtime's packages alike."""
    runtime = set(
        re.findall(r"^[a-z0-9][^ ;]*==[^ ;]+", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    )
    dev = set(
        re.findall(r"^[a-z0-9][^ ;]*==[^ ;]+", (ROOT / "requirements-dev.lock").read_text(), re.MULTILINE)
    )
    assert runtime
    assert runtime <= dev


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_lock_names_no_index_and_no_machine(lock: str) -> None:
    """A lock that names where it was made can't be installed elsewhere."""
    assert not re.search(r"://|--index|--find-links|@ file", (ROOT / lock).read_text(encoding="utf-8"))


def test_readme_gives_a_reason_for_every_dependency() -> None:
    """Each package stands in the README: in the table when the gateway runs with it, below it otherwise."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split("## Dependencies", 1)[1].split("\n## ", 1)[0]
    first_column = re.findall(r"^\| ([a-z0-9, -]+) \| \S", section, re.MULTILINE)
    in_table = {name for cell in first_column for name in cell.split(", ")} - {"package"}
    assert in_table == RUNTIME
    words = set(re.findall(r"[a-z0-9-]+", section.lower()))
    assert words >= BUILD | DEV
