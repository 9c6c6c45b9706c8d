from __future__ import annotations

import pytest

from recorders.stores.numbered import numbered


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1", "SELECT 1"),
        ("a = ? AND b = ?", "a = $1 AND b = $2"),
        ("VALUES (?,?)", "VALUES ($1,$2)"),
        ("a = '?' AND b = ?", "a = '?' AND b = $1"),
        ("a = 'it''s ?' AND b = ?", "a = 'it''s ?' AND b = $1"),
        ('SELECT "what?" WHERE b = ?', 'SELECT "what?" WHERE b = $1'),
        ("-- why?\na = ?", "-- why?\na = $1"),
        ("/* why?\n? */ a = ?", "/* why?\n? */ a = $1"),
        ("a = $$?$$ AND b = $x$ ? $$ ? $x$ AND c = ?", "a = $$?$$ AND b = $x$ ? $$ ? $x$ AND c = $1"),
        ("a LIKE '%s' AND b % ? = 0", "a LIKE '%s' AND b % $1 = 0"),
        ("a = 'open ? and b = ?", "a = 'open $1 and b = $2"),
    ],
)
def test_parameters_are_numbered_and_other_question_marks_left_alone(sql: str, expected: str) -> None:
    """Strings, names and comments hold what they like; what was never closed is the server's to refuse."""
    assert numbered(sql) == expected
