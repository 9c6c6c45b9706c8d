"""What is done with counts: rows found, compared with what is kept, kept anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.bench import callgrind, instructions
from tests.bench.callgrind import CountingFailedError
from tests.bench.counted import BATCHES, REQUESTS
from tests.bench.instructions import Counts


def test_a_count_is_the_median_of_the_batches_of_its_row() -> None:
    """The segment before a row's first batch is its start and counts for nothing."""
    small, turn = REQUESTS["small"], REQUESTS["turn"]
    batches = [100 * small, 101 * small, 102 * small, 900 * small, 1 * small]
    segments = [7_000, *batches, 9_000, *[500 * turn] * BATCHES]

    assert instructions.by_row(["small", "turn"], segments) == {"small": 101, "turn": 500}


def test_missing_counts_are_refused() -> None:
    """A row that ended early doesn't take the counts of the next."""
    with pytest.raises(CountingFailedError, match="3 counts for 1 rows"):
        instructions.by_row(["small"], [1, 2, 3])


def test_more_than_five_in_a_hundred_is_too_dear() -> None:
    """The limit itself is allowed, and so is a row of which nothing is kept."""
    kept = {"small": 1_000, "turn": 1_000}

    assert instructions.too_dear({"small": 1_050, "turn": 1_051, "models": 9}, kept) == ["turn"]


def test_what_seems_too_dear_is_counted_again_and_the_smaller_count_holds() -> None:
    """Only the rows in question, and only once."""
    asked: list[list[str]] = []

    def count(rows: Sequence[str]) -> Counts:
        asked.append(list(rows))
        return {row: 1_200 if len(asked) == 1 and row == "turn" else 1_010 for row in rows}

    kept = {"small": 1_000, "turn": 1_000}

    assert instructions.checked(["small", "turn"], kept, count) == {"small": 1_010, "turn": 1_010}
    assert asked == [["small", "turn"], ["turn"]]


def test_counts_are_kept_beside_those_of_other_builds_and_rows(tmp_path: Path) -> None:
    """Writing one row leaves the rest as it was."""
    path = tmp_path / "kept.json"

    instructions.write(path, "one", {"small": 1, "turn": 2})
    instructions.write(path, "other", {"small": 3})
    instructions.write(path, "one", {"turn": 4})

    assert instructions.read(path) == {"one": {"small": 1, "turn": 4}, "other": {"small": 3}}


def test_both_counts_are_printed() -> None:
    """With the change; where nothing is kept, that."""
    printed = list(instructions.lines({"small": 1_100, "turn": 5}, {"small": 1_000}))

    assert printed[1].split() == ["small", "1,100", "1,000", "+10.0%"]
    assert printed[2].split() == ["turn", "5", "none"]


def test_what_is_kept_names_rows_that_are_counted() -> None:
    """A row that was renamed would be compared with nothing."""
    for counts in instructions.read(instructions.KEPT).values():
        assert set(counts) == set(REQUESTS)


@pytest.mark.parametrize(("counted", "status"), [(1_000, 0), (1_100, 1)])
def test_the_check_fails_when_a_row_got_dearer(
    counted: int,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The row is named; without `--check` the same is only said."""
    monkeypatch.setattr(instructions, "KEPT", tmp_path / "kept.json")
    instructions.write(tmp_path / "kept.json", instructions.build(), {"small": 1_000})
    monkeypatch.setattr(instructions, "count", lambda rows: dict.fromkeys(rows, counted))
    monkeypatch.setattr(callgrind, "version", lambda: "valgrind-0")

    assert instructions.run(["small"], check=True, keep=False) == status
    assert ("over what is kept: small" in capsys.readouterr().out) == bool(status)
    assert instructions.run(["small"], check=False, keep=False) == 0


def test_without_valgrind_nothing_is_counted_and_the_check_passes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says so, and names the package."""
    monkeypatch.setattr(callgrind, "installed", lambda: False)

    assert instructions.main(["--check"]) == 0
    assert "apt-get install valgrind" in capsys.readouterr().out
