"""`python -m tests.faults`: what happens on the worst day, tried with real processes, and counted.

    python -m tests.faults [--short] [NAME ...]

Each scenario prints what it did and what it counted; the run ends with an error when anything was not as promised.
`--short` tries each a few times, for CI. Nothing is left running, and nothing is written outside a temporary folder.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Final, Protocol

from tests.faults.client_leaves import client_leaves
from tests.faults.disk_full import disk_full
from tests.faults.kill9 import kill9
from tests.faults.other_programs import other_programs
from tests.faults.reload import reload
from tests.faults.replicas import replicas
from tests.faults.report import Report
from tests.faults.sigterm import sigterm
from tests.faults.store import store
from tests.faults.upstream_breaks import upstream_breaks


class Scenario(Protocol):
    def __call__(self, report: Report, folder: Path, /, *, short: bool) -> Awaitable[None]: ...


SCENARIOS: Final[dict[str, Scenario]] = {
    "kill9": kill9,
    "other-programs": other_programs,
    "store": store,
    "replicas": replicas,
    "reload": reload,
    "disk-full": disk_full,
    "sigterm": sigterm,
    "client-leaves": client_leaves,
    "upstream": upstream_breaks,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a few times each: for CI")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SCENARIOS))
    options = parser.parse_args()
    # What the provider and the database clients in this process make of cut connections is no news here.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    logging.getLogger("tests.servers").setLevel(logging.CRITICAL)
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    if unknown := [name for name in options.names if name not in SCENARIOS]:
        parser.error(f"{unknown[0]!r} is none of {', '.join(SCENARIOS)}")
    wrong = {name: _run(name, short=options.short) for name in options.names or SCENARIOS}
    if any(wrong.values()):
        sys.exit(
            f"faults: {sum(map(len, wrong.values()))} violations in {[n for n, v in wrong.items() if v]}"
        )
    print(f"{len(wrong)} scenarios, nothing lost, nothing doubled, nothing else than promised")


def _run(name: str, *, short: bool) -> list[str]:
    report = Report(name)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ai-gateway-faults-") as folder:
        asyncio.run(_awaited(SCENARIOS[name](report, Path(folder), short=short)))
    report.did(f"took {time.monotonic() - began:.0f} s")
    return report.violations


async def _awaited(scenario: Awaitable[None]) -> None:
    await scenario


if __name__ == "__main__":
    main()
