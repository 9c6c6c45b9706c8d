"""The pool of central keys: who is chosen, who rests and for how long, and who stays with which key."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from providers.key_pool import KeyPool
from providers.secret import Secret

KEYS = tuple(Secret(f"fake-central-key-number-{number}") for number in range(3))


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def pool_and_clock(keys: int = 3, **options: int) -> tuple[KeyPool, Clock]:
    clock = Clock()
    return KeyPool(KEYS[:keys], clock=clock, **options), clock


def test_the_first_key_is_the_primary() -> None:
    """Asked ever so often, as long as it works."""
    pool, _ = pool_and_clock()
    assert [pool.choose() for _ in range(3)] == [0, 0, 0]


def test_a_resting_key_is_passed_over_until_its_rest_ends() -> None:
    """Then the primary is the primary again."""
    pool, clock = pool_and_clock()
    pool.rest(0, 429, 10.0)
    assert pool.choose() == 1
    clock.now_s += 9.9
    assert pool.choose() == 1
    clock.now_s += 0.1
    assert pool.choose() == 0


def test_what_was_tried_is_not_chosen() -> None:
    """Also when it rests no longer."""
    pool, _ = pool_and_clock()
    assert [pool.choose(tried=tried) for tried in ((), (0,), (0, 1), (0, 1, 2))] == [0, 1, 2, None]


@pytest.mark.parametrize(
    ("status", "told_s", "rest_s"),
    [
        (429, None, 60.0),
        (429, 2.5, 2.5),
        (429, 0.0, 0.0),
        (429, 600.0, 600.0),
        (429, 1e12, 86_400.0),
        (401, None, 60.0),
        (401, 5.0, 60.0),
        (401, 600.0, 60.0),
    ],
)
def test_a_key_rests_as_long_as_its_answer_says(status: int, told_s: float | None, rest_s: float) -> None:
    """429 as long as was told, a day at most, else a minute; 401 a minute."""
    pool, clock = pool_and_clock(1)
    assert pool.rest(0, status, told_s) == pytest.approx(rest_s)
    assert pool.free_in_s() == pytest.approx(rest_s)
    clock.now_s += rest_s
    assert pool.choose() == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((429, 30.0), (429, 5.0)),
        ((429, 120.0), (401, None)),
        ((401, None), (429, 1.0)),
        ((429, None), (429, 0.0)),
    ],
)
def test_a_rest_never_gets_shorter(first: tuple[int, float | None], second: tuple[int, float | None]) -> None:
    """A late answer of a request that ran beside it changes nothing."""
    pool, _ = pool_and_clock(1)
    rest_s = pool.rest(0, *first)
    assert pool.rest(0, *second) == rest_s


def test_a_rest_gets_longer() -> None:
    """From the time of the later answer."""
    pool, clock = pool_and_clock(1)
    pool.rest(0, 429, 10.0)
    clock.now_s += 5
    assert pool.rest(0, 429, 10.0) == 10.0


def test_the_first_key_that_is_free_again_counts() -> None:
    """Whatever the order of the keys is."""
    pool, _ = pool_and_clock()
    for key, told_s in enumerate((30.0, 10.0, 20.0)):
        pool.rest(key, 429, told_s)
    assert (pool.choose(), pool.free_in_s(), pool.limited_for_s()) == (None, 10.0, 10.0)


@pytest.mark.parametrize(
    ("answers", "limited_for_s"),
    [
        ([(401, None), (401, None)], None),
        ([(401, None), (429, 90.0)], 90.0),
        ([(429, 5.0), (401, None)], 5.0),
        ([(429, 0.0), (401, None)], None),
    ],
)
def test_a_rate_limit_is_told_apart_from_a_refusal(
    answers: list[tuple[int, float | None]], limited_for_s: float | None
) -> None:
    """It decides what the client is told: come back then, or nothing of use."""
    pool, _ = pool_and_clock(2)
    for key, answer in enumerate(answers):
        pool.rest(key, *answer)
    assert pool.limited_for_s() == limited_for_s


def test_a_key_is_usable_rate_limited_or_refused() -> None:
    """A refusal weighs more than a rate limit; when the rest is over, the key is as it was."""
    pool, clock = pool_and_clock()
    pool.rest(1, 429, 10.0)
    pool.rest(2, 401, None)
    pool.rest(2, 429, 90.0)
    assert pool.states == ("usable", "rate_limited", "refused")
    clock.now_s += 60.0
    assert pool.states == ("usable", "usable", "rate_limited")
    clock.now_s += 30.0
    assert pool.states == ("usable", "usable", "usable")


def test_a_key_that_rests_is_counted_once() -> None:
    """However many answers were under way; and again when it rests for another reason, or another time."""
    pool, clock = pool_and_clock()
    for status, told_s in ((429, 10.0), (429, 20.0), (401, None), (401, None), (429, 30.0)):
        pool.rest(0, status, told_s)
    pool.rest(1, 429, 0.0)
    assert (pool.transitions.rate_limited, pool.transitions.refused) == (1, 1)
    clock.now_s += 60.0
    pool.with_keys(KEYS[:2]).rest(0, 429, 10.0)
    assert (pool.transitions.rate_limited, pool.transitions.refused) == (2, 1)


def test_one_key_alone_can_be_asked_about() -> None:
    """For a conversation that stays with it, the others don't exist."""
    pool, _ = pool_and_clock()
    pool.rest(1, 429, 40.0)
    assert (pool.choose(1), pool.choose(2)) == (None, 2)
    assert (pool.free_in_s(1), pool.limited_for_s(1), pool.limited_for_s(2)) == (40.0, 40.0, None)


def test_what_a_key_made_is_remembered() -> None:
    """The latest word counts; what nobody told is bound to nothing."""
    pool, _ = pool_and_clock()
    pool.bind("resp_1", 1)
    pool.bind("resp_1", 2)
    assert (pool.bound("resp_1"), pool.bound("resp_2")) == (2, None)


def test_what_was_not_used_for_longest_is_forgotten() -> None:
    """The memory is bounded; to ask is to use."""
    pool, _ = pool_and_clock(max_bonds=2)
    pool.bind("a", 0)
    pool.bind("b", 1)
    assert pool.bound("a") == 0
    pool.bind("c", 2)
    assert (pool.bound("a"), pool.bound("b"), pool.bound("c")) == (0, None, 2)


def test_a_pool_of_other_keys_knows_what_is_known_of_those_that_stay() -> None:
    """Wherever they stand in it: their rests, and what they made; a key that is gone has made nothing."""
    pool, _ = pool_and_clock()
    pool.rest(1, 429, 10.0)
    pool.bind("a", 1)
    pool.bind("b", 0)
    other = pool.with_keys((KEYS[1], KEYS[2]))
    assert other.choose() == 1
    assert other.limited_for_s(0) == 10.0
    assert (other.bound("a"), other.bound("b")) == (0, None)


def test_the_old_and_the_new_pool_learn_from_each_other() -> None:
    """A request that began before the change still tells what becomes of its key, and the other way round."""
    pool, _ = pool_and_clock(2)
    other = pool.with_keys((KEYS[1], KEYS[2]))
    pool.rest(1, 401, None)
    pool.bind("a", 1)
    other.bind("b", 1)
    assert (other.choose(), other.bound("a")) == (1, 0)
    assert (pool.bound("b"), other.bound("b")) == (None, 1)
    assert other.with_keys(pool.keys).choose(only=1) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KeyPool((), clock=Clock()), "a pool needs a key"),
        (lambda: KeyPool(KEYS, clock=Clock(), max_bonds=0), "max_bonds must be positive: 0"),
    ],
)
def test_a_bad_option_is_refused(make: Callable[[], KeyPool], message: str) -> None:
    """It names the option and the value."""
    with pytest.raises(ValueError, match=message):
        make()
