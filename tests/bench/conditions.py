"""Under what conditions figures are taken: machine, versions, what the gateway has switched on, sizes of bodies."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

from tests.bench.rows import Row
from tests.bench.targets import nginx_binary

SWITCHED_ON = "keys in the database, governance, header stripping, readers, journal, SQLite, access log"
_PACKAGES = ("hypercorn", "aiohttp", "httpx", "uvloop", "uvicorn", "msgspec", "starlette")


def cpu() -> str:
    """The name of the processor."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def versions() -> Mapping[str, str]:
    """Of Python, of the packages that matter, and of nginx where there is one."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
        **_nginx_version(),
    }


def _nginx_version() -> Mapping[str, str]:
    binary = nginx_binary()
    if binary is None:
        return {}
    said = subprocess.run([binary, "-v"], capture_output=True, text=True, check=False).stderr
    return {"nginx": said.strip().rpartition("/")[2]}


def machine() -> str:
    """All of it in one line."""
    software = ", ".join(f"{name} {number}" for name, number in versions().items())
    return f"{cpu()}, {os.cpu_count()} cores, Linux {platform.release()}, {software}"


def bodies(rows: Iterable[Row]) -> str:
    """How large the bodies of the rows are."""
    return "\n".join(
        f"  {row.name:9} {row.method} {len(row.request):,} B, answer {row.answer_bytes:,} B"
        + (f" in a stream of {len(row.answer)} events" if row.streamed else "")
        + (f", one every {row.gap_s:g} s" if row.gap_s else "")
        for row in rows
    )
