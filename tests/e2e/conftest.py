"""One turn for each client, credential and server; the tests of this folder look at it from different sides."""

from __future__ import annotations

import asyncio
from itertools import product
from pathlib import Path

import pytest

from tests.e2e.claude_code import CLAUDE_CODE_WITH_KEY, CLAUDE_CODE_WITH_TOKEN
from tests.e2e.codex import CODEX
from tests.e2e.install import installed
from tests.e2e.opencode import OPENCODE
from tests.e2e.play import HOSTS, MODES, Played, play

CLIENTS = (CLAUDE_CODE_WITH_KEY, CLAUDE_CODE_WITH_TOKEN, CODEX, OPENCODE)


@pytest.fixture(scope="session")
def binaries() -> Path:
    """The installed clients; what keeps npm from installing them fails every test with that reason."""
    return installed()


@pytest.fixture(
    scope="session",
    params=[
        pytest.param((client, mode, host), id=f"{client.id}-{mode}-{host}")
        for client, mode, host in product(CLIENTS, MODES, HOSTS)
    ],
)
def turn(request: pytest.FixtureRequest, binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Played:
    client, mode, host = request.param
    folder = tmp_path_factory.mktemp(client.id)
    return asyncio.run(play(client, mode, host, binaries=binaries, folder=folder))
