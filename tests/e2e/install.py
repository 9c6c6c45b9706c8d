"""Installs the clients and SDKs that `package.json` pins, with plain `npm`, below `build/` of the checkout, once.

Two of the clients put their binary in place by an install script; `package.json` allows these by name, for the
versions of npm that ask for it. A second run finds the stamp and starts at once.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PACKAGE = Path(__file__).with_name("package.json")
FOLDER = CHECKOUT / "build" / "e2e" / "node"
BINARIES = FOLDER / "node_modules" / ".bin"
NPM_TIMEOUT_S = 600


def installed() -> Path:
    """The folder with the clients' commands. `RuntimeError` says what is missing or what npm answered."""
    wanted = PACKAGE.read_text()
    stamp = FOLDER / "installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return BINARIES
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError("the end-to-end runs need npm, which comes with Node.js, on the search path")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    (FOLDER / "package.json").write_text(wanted)
    command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--foreground-scripts"]
    done = subprocess.run(
        command, cwd=FOLDER, capture_output=True, text=True, timeout=NPM_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"npm could not install the clients: {done.stderr.strip()[-2000:]}")
    stamp.write_text(wanted)
    return BINARIES
