"""One circuit, as the table of its states; time is set, not awaited."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from providers.circuit import USUAL, Circuit, CircuitRules, State


@dataclass
class Rig:
    """A circuit with the time in the test's hands, and the states that it told."""

    now_s: float = 100.0
    told: list[State] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.circuit = Circuit(CircuitRules(), clock=lambda: self.now_s, on_change=self.told.append)

    def state(self) -> str:
        return self.circuit.state

    def enter(self) -> int:
        ticket = self.circuit.enter()
        assert ticket is not None
        return ticket

    def fail(self, times: int = 1) -> None:
        for _ in range(times):
            self.circuit.failed(self.enter())

    def succeed(self, times: int = 1) -> None:
        for _ in range(times):
            self.circuit.succeeded(self.enter())

    def open(self) -> None:
        self.fail(5)
        assert self.state() == "open"


@pytest.fixture
def rig() -> Rig:
    return Rig()


# -- closed -----------------------------------------------------------------------------------------------------------


def test_as_many_failures_in_a_row_as_the_threshold_open_it(rig: Rig) -> None:
    """Not one fewer."""
    rig.fail(4)
    assert rig.state() == "closed"
    rig.fail()
    assert rig.state() == "open"
    assert rig.circuit.enter() is None


def test_a_success_ends_a_run_of_failures(rig: Rig) -> None:
    """They have to be consecutive."""
    rig.fail(4)
    rig.succeed()
    rig.fail(4)
    assert rig.state() == "closed"


def test_what_says_nothing_ends_no_run(rig: Rig) -> None:
    """Nor does it prolong one."""
    rig.fail(4)
    rig.circuit.undecided(rig.enter())
    assert rig.state() == "closed"
    rig.fail()
    assert rig.state() == "open"


@pytest.mark.parametrize(("later_s", "state"), [(9.5, "open"), (10.0, "closed")])
def test_the_interval_clears_the_count(rig: Rig, later_s: float, state: State) -> None:
    """Failures count together for that long from the first of them."""
    rig.fail(4)
    rig.now_s += later_s
    rig.fail()
    assert rig.state() == state


def test_requests_that_began_while_it_was_closed_all_count(rig: Rig) -> None:
    """A provider that goes down fails many at once; the state is changed and told once."""
    tickets = [rig.enter() for _ in range(8)]
    for ticket in tickets:
        rig.circuit.failed(ticket)
    assert rig.told == ["open"]


# -- open -------------------------------------------------------------------------------------------------------------


def test_it_stays_open_for_the_timeout_and_says_for_how_long(rig: Rig) -> None:
    """In whole seconds, rounded up, so that nobody comes too early."""
    rig.open()
    assert rig.circuit.retry_after_s == 30
    rig.now_s += 29.5
    assert rig.circuit.enter() is None
    assert rig.circuit.retry_after_s == 1


@pytest.mark.parametrize("late", ["succeeded", "failed", "undecided"])
def test_what_began_before_changes_nothing_while_it_is_open(rig: Rig, late: str) -> None:
    """Neither closes it nor keeps it open for longer."""
    ticket = rig.enter()
    rig.open()
    rig.now_s += 20
    getattr(rig.circuit, late)(ticket)
    assert rig.circuit.retry_after_s == 10
    assert rig.told == ["open"]


# -- half-open --------------------------------------------------------------------------------------------------------


def half_open(rig: Rig, tries: int) -> list[int]:
    rig.open()
    rig.now_s += 30
    return [rig.enter() for _ in range(tries)]


def test_after_the_timeout_it_lets_a_few_through(rig: Rig) -> None:
    """As many as `max_requests`; the next is refused and told to come again soon."""
    half_open(rig, 3)
    assert rig.circuit.enter() is None
    assert (rig.state(), rig.circuit.retry_after_s) == ("half-open", 1)


def test_it_closes_when_all_of_them_went_well(rig: Rig) -> None:
    """And counts from nothing again."""
    tickets = half_open(rig, 3)
    for ticket in tickets[:2]:
        rig.circuit.succeeded(ticket)
    assert rig.state() == "half-open"
    rig.circuit.succeeded(tickets[2])
    assert rig.told == ["open", "half-open", "closed"]
    rig.fail(4)
    assert rig.state() == "closed"


def test_it_opens_again_when_one_of_them_fails(rig: Rig) -> None:
    """For a whole timeout, counted from then; the others of the same time no longer matter."""
    tickets = half_open(rig, 3)
    rig.circuit.failed(tickets[0])
    assert (rig.state(), rig.circuit.retry_after_s) == ("open", 30)
    rig.now_s += 1
    rig.circuit.failed(tickets[1])
    rig.circuit.succeeded(tickets[2])
    assert (rig.state(), rig.circuit.retry_after_s) == ("open", 29)


def test_a_try_that_says_nothing_makes_room_for_another(rig: Rig) -> None:
    """A client that leaves must not leave the circuit half-open for ever."""
    tickets = half_open(rig, 3)
    rig.circuit.undecided(tickets[0])
    assert rig.circuit.enter() is not None
    assert rig.circuit.enter() is None


@pytest.mark.parametrize("late", ["succeeded", "failed", "undecided"])
def test_only_its_own_tries_count_while_it_is_half_open(rig: Rig, late: str) -> None:
    """Neither what began while it was closed, nor a try of an earlier time."""
    usual = rig.enter()
    earlier = half_open(rig, 2)
    rig.circuit.failed(earlier[0])
    rig.now_s += 30
    mine = [rig.enter() for _ in range(3)]
    for ticket in (usual, earlier[1]):
        getattr(rig.circuit, late)(ticket)
    assert rig.state() == "half-open"
    assert rig.circuit.enter() is None
    for ticket in mine:
        rig.circuit.succeeded(ticket)
    assert rig.state() == "closed"
    assert usual == USUAL


@pytest.mark.parametrize("name", ["failure_threshold", "interval_s", "timeout_s", "max_requests"])
def test_rules_that_make_no_sense_are_refused(name: str) -> None:
    """By name and value."""
    wrong: dict[str, Any] = {name: 0}
    with pytest.raises(ValueError, match=f"{name} must be positive: 0"):
        CircuitRules(**wrong)
