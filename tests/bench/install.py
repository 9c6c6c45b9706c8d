"""Puts the peers of the benchmark into a cache folder, at versions that are known to work; the project has none of it.

A second run finds them there. What can't be installed is a `NotInstalledError` with one sentence.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

LITELLM_VERSION = "1.106.0"
PORTKEY_VERSION = "1.15.2"
# Newer ones than the package was made with give it headers of a stream that it can't add to, and it answers 500.
PORTKEY_OVERRIDES = {"@hono/node-server": "1.13.8"}
TIMEOUT_S = 900


class NotInstalledError(Exception):
    """A peer isn't there; the message says why."""


def cache() -> Path:
    """Where the peers are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ai-gateway-bench"


def litellm() -> Path:
    """The command `litellm`, in an environment of its own."""
    folder = cache() / f"litellm-{LITELLM_VERSION}"

    def install() -> None:
        # The pip that runs here installs into the other environment: not every Python can put one there.
        _run(sys.executable, "-m", "venv", "--without-pip", str(folder))
        python = folder / "bin" / "python"
        pip = (sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check")
        _run(*pip, "install", "--quiet", f"litellm[proxy]=={LITELLM_VERSION}")

    return _once(folder, install) / "bin" / "litellm"


def portkey() -> Path:
    """The script that Node.js runs as Portkey's gateway."""
    folder = cache() / f"portkey-{PORTKEY_VERSION}"
    npm = shutil.which("npm")
    if npm is None:
        raise NotInstalledError("npm is needed, which comes with Node.js")

    def install() -> None:
        folder.mkdir(parents=True)
        package = {"dependencies": {"@portkey-ai/gateway": PORTKEY_VERSION}, "overrides": PORTKEY_OVERRIDES}
        (folder / "package.json").write_text(json.dumps(package))
        _run(npm, "install", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund")

    return _once(folder, install) / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"


def _once(folder: Path, install: Callable[[], None]) -> Path:
    """The folder, filled by `install` unless it was before."""
    stamp = folder / "installed"
    if not stamp.exists():
        shutil.rmtree(folder, ignore_errors=True)
        install()
        stamp.touch()
    return folder


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalledError(str(error)) from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise NotInstalledError(f"{Path(command[0]).name}: {lines[-1][:300]}")
