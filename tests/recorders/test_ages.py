"""How long the oldest has been waiting, in a bounded memory."""

from __future__ import annotations

from recorders.ages import FINEST_S, MAX_STRETCHES, Ages


def test_the_oldest_is_the_first_that_is_not_forgotten() -> None:
    """Each position is as old as its mark."""
    ages = Ages()
    for position, now in ((10, 1.0), (20, 2.0), (30, 3.0)):
        ages.mark(position, now)
    assert ages.oldest_s(5.0) == 4.0
    ages.forget(10)
    assert ages.oldest_s(5.0) == 3.0
    ages.forget(29)
    assert ages.oldest_s(5.0) == 2.0
    ages.forget(30)
    assert ages.oldest_s(5.0) == 0.0


def test_marks_close_together_are_one_and_as_old_as_the_first() -> None:
    """An age is never told too low."""
    ages = Ages()
    ages.mark(10, 1.0)
    ages.mark(20, 1.0 + FINEST_S / 2)
    ages.forget(10)
    assert ages.oldest_s(2.0) == 1.0
    ages.forget(20)
    assert ages.oldest_s(2.0) == 0.0


def test_a_store_that_is_away_for_days_costs_no_memory() -> None:
    """The grain gets coarser; an age is told at most a few grains too high, and never too low."""
    ages = Ages()
    marks = 200_000
    for position in range(1, marks):
        ages.mark(position, position * 1.0)
    assert len(ages._stretches) <= MAX_STRETCHES
    assert ages.oldest_s(marks) == marks - 1.0
    ages.forget(marks // 2)
    assert marks / 2 - 1 <= ages.oldest_s(marks) <= marks / 2 + 2_000
    ages.forget(marks)
    assert ages.oldest_s(marks) == 0.0
