"""Which cells stay in the table."""

from __future__ import annotations

import pytest

from tests.bench.comparison import keep_right
from tests.bench.measure import Cell, LoadFailedError
from tests.bench.rows import ROWS
from tests.bench.targets import Direct


class Peer(Direct):
    """A target that isn't held to the bytes."""

    name = "peer"
    exact = False


def fail_on(name: str) -> list[Cell]:
    cells = [Cell(ROWS["turn"], Direct(0)), Cell(ROWS["turn"], Peer(0))]

    def do(cell: Cell) -> None:
        if cell.target.name == name:
            raise LoadFailedError(f"{name}: a command\na wrong answer")

    return keep_right(cells, "round", do)


def test_wrong_answer_of_a_peer_drops_its_cell_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """And the reason is printed."""
    assert [cell.target.name for cell in fail_on("peer")] == ["direct"]
    assert "left out: turn on peer: a wrong answer" in capsys.readouterr().out


def test_wrong_answer_of_any_other_ends_the_run() -> None:
    """No row is printed whose answers weren't all right."""
    with pytest.raises(LoadFailedError):
        fail_on("direct")
