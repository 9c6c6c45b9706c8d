from __future__ import annotations

import itertools

import pytest

from recorders.records import Record
from recorders.stores.tables import (
    INTERCEPTIONS,
    MAX_KEY_CHARACTERS,
    TABLES,
    TOKEN_USAGES,
    TOOL_USAGES,
    USER_PROMPTS,
    key,
    rows_of,
)
from tests.recorders import samples


def test_each_kind_of_record_fills_columns_of_its_table_and_no_others() -> None:
    """A start and an end share a row; all columns of every table are filled by somebody."""
    rows = rows_of(samples.whole())

    assert set(rows) == set(TABLES)
    for table in TABLES:
        (row,) = rows[table]
        assert set(row) == set(table.columns)


def test_the_order_of_start_and_end_makes_no_difference() -> None:
    """And the hint of the end is the one that counts."""
    halves: list[Record] = [samples.start(), samples.end(credential_hint="sk-b...0002"), samples.start()]

    for records in itertools.permutations(halves):
        (row,) = rows_of(records)[INTERCEPTIONS]
        assert row["credential_hint"] == "sk-b...0002"
        assert row["model"] == "claude"
        assert row["outcome"] == "completed"


def test_of_several_versions_of_a_record_the_first_stays() -> None:
    """As in the database."""
    rows = rows_of(
        [
            samples.start(),
            samples.end(),
            samples.tokens(),
            samples.start(model="other"),
            samples.end(outcome="refused", credential_hint="other"),
            samples.tokens(input_tokens=99),
        ]
    )

    assert rows[INTERCEPTIONS][0]["model"] == "claude"
    assert rows[INTERCEPTIONS][0]["outcome"] == "completed"
    assert rows[INTERCEPTIONS][0]["credential_hint"] == "sk-a...0001"
    assert rows[TOKEN_USAGES][0]["input_tokens"] == 10


def test_rows_come_in_the_order_of_their_ids() -> None:
    """Writers that hold rows and wait for others meet them in the same order."""
    rows = rows_of([samples.start("b"), samples.start("c"), samples.start("a")])

    assert [row["id"] for row in rows[INTERCEPTIONS]] == ["a", "b", "c"]


def test_what_no_database_takes_is_replaced() -> None:
    """NUL, lone surrogates, huge counts."""
    rows = rows_of(
        [
            samples.prompt(prompt="a\x00b\ud800"),
            samples.tokens(output_tokens=-(10**30)),
            samples.tool(input="\x00"),
        ]
    )

    assert rows[USER_PROMPTS][0]["prompt"] == "a\ufffdb\ufffd"
    assert rows[TOKEN_USAGES][0]["output_tokens"] == -(2**63 - 1)
    assert rows[TOOL_USAGES][0]["input"] == "\ufffd"


@pytest.mark.parametrize("text", ["", "call_1", "x" * MAX_KEY_CHARACTERS, "\U0001f600" * MAX_KEY_CHARACTERS])
def test_a_key_of_ordinary_length_is_itself(text: str) -> None:
    """Every ID that anybody uses today."""
    assert key(text) == text


def test_a_longer_key_is_bounded_begins_alike_and_stays_itself() -> None:
    """Equal ones stay equal, different ones different."""
    one, two = "x" * 5000, "x" * 4999 + "y"

    assert len(key(one)) == MAX_KEY_CHARACTERS
    assert key(one) == key(one)
    assert key(one) != key(two)
    assert key(one)[:100] == one[:100]
