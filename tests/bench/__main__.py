"""`python -m tests.bench [table | soak | beside] ...`: runs one measurement and ends with an error when it failed."""

from __future__ import annotations

import sys

from tests.bench import beside, comparison, soak
from tests.bench.gateway import RecordsMissingError
from tests.bench.measure import GoalMissedError, LoadFailedError
from tests.bench.process import NotReadyError

MEASUREMENTS = {"table": comparison.main, "soak": soak.main, "beside": beside.main}


def main() -> None:
    """Run, and end with an error when an answer or a record was wrong, or a figure not what it must be."""
    named = sys.argv[1:2] and sys.argv[1] in MEASUREMENTS
    name, arguments = (sys.argv[1], sys.argv[2:]) if named else ("table", sys.argv[1:])
    try:
        MEASUREMENTS[name](arguments)
    except (LoadFailedError, NotReadyError, RecordsMissingError, GoalMissedError) as failure:
        sys.exit(f"bench: {failure}")


if __name__ == "__main__":
    main()
