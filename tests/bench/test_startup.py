"""The command is measured until it answers, and its imports are counted by package."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import startup

TOLD = """\
import time: self [us] | cumulative | imported package
import time:       100 |        100 |   encodings.aliases
import time:       250 |        350 | encodings
2026-01-01T00:00:00Z INFO ai_gateway a line of the log
import time:      2000 |       2500 | psycopg
import time:       500 |        500 |   psycopg.types.numeric
""".splitlines()


def test_the_own_times_of_a_packages_modules_are_added() -> None:
    """Not what they import, which would count twice; lines of the log are left out."""
    assert startup.import_times(TOLD) == {"encodings": 350, "psycopg": 2_500}


def test_the_dearest_package_comes_first() -> None:
    """With its share of all imports; only as many as were asked for."""
    lines = startup.dearest({"a": 1_000, "b": 3_000, "c": 500}, top=2)

    assert [line.split() for line in lines] == [["b", "3.0", "ms", "66.7%"], ["a", "1.0", "ms", "22.2%"]]


def test_a_command_that_fails_is_no_figure(tmp_path: Path) -> None:
    """An unknown option ends with 2."""
    with pytest.raises(startup.StartFailedError, match="exit 2"):
        startup.ended(["config", "show", "--nonsense"], startup.environment_in(tmp_path))


def test_each_start_has_a_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Two commands, two ways to serve, and the imports."""
    startup.run(tmp_path, runs=1)

    out = capsys.readouterr().out
    for name in ("ai-gateway --help", "ai-gateway config show", "serve, new SQLite", "serve, the same again"):
        (line,) = [line for line in out.splitlines() if line.startswith(name)]
        assert line.count(" ms") == 2
    assert "\ngateway " in out.partition("imports of serve")[2]
