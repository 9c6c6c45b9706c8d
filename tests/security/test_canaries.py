"""Thousands of generated requests with a secret in every slot: none of them is found where it doesn't belong.

All modes, all provider types, recorded and passed-through routes, a provider that echoes what it was sent and breaks
in every way; everything runs as in production but for the transport. What the provider says in its *body* is the one
thing that reaches the client unread: answers pass byte for byte, a provider that quotes a credential there included.
"""

from __future__ import annotations

import pytest

from tests.security.observation import INSTANCES, KEYLESS, SHOTS, Observation, observe
from tests.security.traffic import REMOVED_HEADERS


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Observation:
    return observe(tmp_path_factory.mktemp("canaries"))


def test_the_traffic_reaches_every_corner(seen: Observation) -> None:
    """All outcomes, all credentials, all slots: else the silence of the other tests would mean little."""
    assert sum(seen.statuses.values()) == 3 * SHOTS
    assert {200, 400, 401, 403, 404, 500, 502, 504} <= set(seen.statuses)
    assert seen.statuses[200] > SHOTS / 2
    assert {name for name, count in seen.sent.items() if count > 10} == {
        "own",
        "none",
        *(set(INSTANCES) - KEYLESS),
    }
    slots = {"".join(c for c in name.lower() if c.isalpha()) for name in REMOVED_HEADERS}
    assert seen.kinds >= slots | {"central", "own", "token", "wrong", "body", "parameter"}
    assert seen.log_lines > 3 * SHOTS
    assert seen.dumps > SHOTS
    assert seen.journalled > 100 * SHOTS


def test_each_request_carries_the_one_credential_that_belongs_to_it(seen: Observation) -> None:
    """The central key of its own instance, or the user's own, never both, and no header that is ours to remove."""
    assert not seen.mistakes


def test_nothing_else_goes_upstream(seen: Observation) -> None:
    """No gateway token, no other user's or instance's key; of parameters and body only the client's own."""
    assert seen.of("upstream head", "upstream target", "upstream body") == []


def test_no_answer_shows_a_secret(seen: Observation) -> None:
    """Neither in a header, which a provider's echo would put there, nor in any error of ours."""
    assert seen.of("answer head", "answer body") == []


def test_no_log_line_shows_a_secret(seen: Observation) -> None:
    """At every level, of every logger, in every format, tracebacks and the parts of a line included."""
    assert [leak for leak in seen.leaks if leak[0].startswith("log of")] == []


def test_no_exception_that_reaches_the_server_shows_a_secret(seen: Observation) -> None:
    """Servers log what an application raises, with everything in its chain."""
    assert seen.of("exception") == []


def test_journal_and_database_hold_no_secret(seen: Observation) -> None:
    """Their raw bytes, with what SQLite keeps beside its file."""
    assert seen.of("journal", "database") == []


def test_dumps_hold_no_secret_but_in_bodies(seen: Observation) -> None:
    """Names and heads are clean; bodies are dumped on purpose, and hold nothing that was not in the body."""
    assert seen.of("dump name", "dump head", "dump body") == []


def test_no_object_shows_a_secret(seen: Observation) -> None:
    """Printed, formatted, pickled or encoded."""
    assert seen.of("object") == []


def test_every_interception_has_its_start_and_its_end(seen: Observation) -> None:
    """None that went upstream is missing, whatever became of it, and none is left open."""
    assert seen.recorded >= seen.forwarded > SHOTS / 2
    assert seen.torn == 0
