"""`?` parameters as PostgreSQL numbers them: `$1`, `$2`, ...

A question mark inside a string, a quoted name or a comment is left alone. Operators that are written with one (`?`,
`?|` of jsonb) can't be told from parameters and aren't used; they have functions of the same meaning.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import count
from typing import Final

_TOKEN: Final = re.compile(
    r"""
      '(?:[^']|'')*'              # a string
    | "(?:[^"]|"")*"              # a quoted name
    | --[^\n]*                    # a comment to the end of the line
    | /\*.*?\*/                   # a comment between marks
    | \$(\w*)\$.*?\$\1\$          # a string between dollars
    | (?P<parameter>\?)
    """,
    re.VERBOSE | re.DOTALL,
)


@lru_cache(maxsize=256)
def numbered(sql: str) -> str:
    """The same statement for PostgreSQL."""
    numbers = count(1)

    def replaced(match: re.Match[str]) -> str:
        return f"${next(numbers)}" if match["parameter"] else match[0]

    return _TOKEN.sub(replaced, sql)
