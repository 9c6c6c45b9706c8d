"""One turn for each client and mode; the tests of this folder look at it from different sides."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e.clients import CLIENTS
from tests.e2e.install import installed
from tests.e2e.play import MODES, Played, play


@pytest.fixture(scope="session")
def binaries() -> Path:
    """The installed clients; whatever keeps npm from installing them fails every test, by its name."""
    return installed()


@pytest.fixture(
    scope="session",
    params=[
        pytest.param((client, mode), id=f"{client.command}-{mode}") for client in CLIENTS for mode in MODES
    ],
)
def turn(request: pytest.FixtureRequest, binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Played:
    client, mode = request.param
    return asyncio.run(play(client, mode, binaries, tmp_path_factory.mktemp(f"{client.command}-{mode}")))
