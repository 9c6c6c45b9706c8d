"""The URL of the database: what can be one, and that its password is never shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.database_url import problem_of, without_password


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:ss#rest@h/db",
        "postgresql://u:12/rest@h/db",
        "postgresql://u:12?rest@h/db",
        "postgresql://u:rest",
        "postgresql://u:12#rest",
    ],
)
def test_a_password_that_slips_into_another_part_of_the_url_is_refused(url: str) -> None:
    """Unescaped delimiters would put a piece of the password where it is shown."""
    problem = problem_of(url)
    assert problem is not None
    assert "percent-encoded" in problem
    assert "rest" not in problem


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///data/ai-gateway.db", "sqlite:///data/ai-gateway.db"),
        ("postgresql://u@h/db", "postgresql://u@h/db"),
        ("postgresql://u:rest@h:5432/db?sslmode=require", "postgresql://u:***@h:5432/db?sslmode=require"),
        ("postgresql://h/db?user=u&password=rest&sslpassword=rest", "postgresql://h/db?user=u&password=***&sslpassword=***"),
    ],
)  # fmt: skip
def test_a_database_url_is_shown_without_its_password(url: str, shown: str) -> None:
    """What helps the operator stays readable; passwords go, in the authority and in the query."""
    assert problem_of(url) is None
    assert without_password(url) == shown


@given(password=st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=12))
def test_no_password_is_shown_however_it_is_written(password: str) -> None:
    """Unescaped, with any delimiter in it, a password is refused or masked."""
    url = f"postgresql://u:9canary{password}canary@h/db"
    assert problem_of(url) is not None or without_password(url) == "postgresql://u:***@h/db"


@pytest.mark.parametrize(
    "url", ["", "x", "mysql://h/db", "sqlite", "sqlite:x.db", "sqlite://x.db", "host=h", "postgresql://[h"]
)
def test_what_is_no_database_url_is_refused(url: str) -> None:
    """Another scheme, none at all, or a URL that cannot be taken apart."""
    assert problem_of(url) == "must be a URL that begins with sqlite:/// or postgresql://"


@pytest.mark.parametrize("url", ["sqlite:///x.db?mode=ro", "sqlite:///a#b.db"])
def test_the_url_of_a_file_is_a_path_alone(url: str) -> None:
    """What follows the path would silently be no part of the file's name."""
    problem = problem_of(url)
    assert problem is not None
    assert problem.startswith("must not have a query or a fragment")
