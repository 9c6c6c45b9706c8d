"""The gateway as a target: processes of its own, with everything on that a deployment has on.

Keys in the database, governance, header stripping, readers, the SQLite store behind its journal, the access log. What
the clients were answered must be in the database when the process has ended, and nothing else.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench.process import NotReadyError, Process, target_cores
from tests.bench.rows import ALL_ROWS, Row
from tests.bench.targets import CLIENT_HEADERS, free_port, listens


@dataclass(frozen=True, slots=True)
class Variant:
    """Which server runs the gateway, in how many processes, and what speaks to the upstream."""

    server: str
    transport: str
    workers: int = 1

    @property
    def name(self) -> str:
        workers = f" x{self.workers}" if self.workers > 1 else ""
        return f"gateway {self.server}+{self.transport}{workers}"


class RecordsMissingError(Exception):
    """The database doesn't say what happened."""


class Gateway:
    """A gateway of its own: settings in the environment, database and log in a folder."""

    rows = None
    exact = True

    def __init__(self, variant: Variant, upstream_port: int, folder: Path) -> None:
        folder.mkdir()
        self.name = variant.name
        self.port = free_port()
        self._database = folder / "gateway.db"
        self._environment = _environment(variant, upstream_port, self._database)
        self._command("users", "create", "bench")
        token = self._command("keys", "create", "--user", "bench")
        self._headers = {**CLIENT_HEADERS, "authorization": f"Bearer {token}"}
        command = [sys.executable, "-m", *_server(variant), "--port", str(self.port)]
        cores = target_cores(variant.workers)
        self.process = Process(command, cores=cores, log=folder / "log", env=self._environment)
        self.process.wait_until(lambda: listens(self.port))

    def _command(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "gateway", *arguments]
        environment = {**os.environ, **self._environment}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode != 0:
            raise NotReadyError(f"{' '.join(command)}: {done.stderr.strip()[-1_000:]}")
        return done.stdout.strip()

    def path(self, row: Row) -> str:
        return row.gateway_path

    def headers(self, row: Row) -> Mapping[str, str]:
        return self._headers

    def stop(self) -> None:
        self.process.stop()

    def check_records(self, sent: Mapping[str, int]) -> str:
        """Compare the database of the stopped gateway with what was sent; one line that says what is there."""
        recorded = sum(count for name, count in sent.items() if ALL_ROWS[name].recorded)
        tool_calls = sum(count for name, count in sent.items() if ALL_ROWS[name].calls_tool)
        wanted = {
            "interceptions ended as completed": (
                "aibridge_interceptions WHERE outcome = 'completed' AND started_at IS NOT NULL",
                recorded,
            ),
            "interceptions": ("aibridge_interceptions", recorded),
            "token usages": ("aibridge_token_usages", recorded),
            "tool usages": ("aibridge_tool_usages", tool_calls),
        }
        with sqlite3.connect(self._database) as connection:
            found = {
                name: connection.execute(f"SELECT count(*) FROM {what}").fetchone()[0]
                for name, (what, _) in wanted.items()
            }
        connection.close()
        wrong = [
            f"{found[name]} {name} for {count}" for name, (_, count) in wanted.items() if found[name] != count
        ]
        if wrong:
            raise RecordsMissingError(f"{self.name}: {', '.join(wrong)}")
        return f"{self.name}: {recorded:,} requests, as many records, {tool_calls:,} tool calls"


def _environment(variant: Variant, upstream_port: int, database: Path) -> dict[str, str]:
    prefix = "CODER_AI_GATEWAY_"
    upstream = f"http://127.0.0.1:{upstream_port}"
    values = {
        "DATABASE_URL": f"sqlite:///{database}",
        "JOURNAL_DIR": str(database.parent / "journal"),
        "UPSTREAM_TRANSPORT": variant.transport,
        "PROVIDER_0_TYPE": "openai",
        "PROVIDER_0_KEY": "sk-bench-not-a-key-0",
        "PROVIDER_0_BASE_URL": f"{upstream}/v1/",
        "PROVIDER_1_TYPE": "anthropic",
        "PROVIDER_1_KEY": "sk-bench-not-a-key-1",
        "PROVIDER_1_BASE_URL": f"{upstream}/",
    }
    return {prefix + name: value for name, value in values.items()}


def _server(variant: Variant) -> list[str]:
    """The module that runs the gateway under this server."""
    if variant.server == "hypercorn":
        return ["gateway", "serve", "--workers", str(variant.workers)]
    return ["tests.bench.uvicorn_host"]
