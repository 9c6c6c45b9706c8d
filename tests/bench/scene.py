"""What a measurement runs on: the upstream and the targets before it, each a process, in a folder that goes away."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from tests.bench.gateway import Gateway, Variant
from tests.bench.peers import PEERS
from tests.bench.process import LOAD_CORES, Process
from tests.bench.targets import Direct, Nginx, Relay, Target

T = TypeVar("T", bound=Target)


class Scene:
    """Starts targets. The gateways' databases are there until the scene is left."""

    def __init__(self, folder: Path, *, hurry: float = 1.0) -> None:
        self.folder = folder
        self.targets: list[Target] = []
        self._stack = ExitStack()
        self._upstream_port = self._upstream("--hurry", str(hurry))

    def _upstream(self, *options: str) -> int:
        """The port of a new upstream."""
        command = [sys.executable, "-m", "tests.bench.upstream", *options]
        upstream = Process(command, cores=LOAD_CORES, log=self.folder / "upstream.log")
        self._stack.callback(upstream.stop)
        return int(upstream.line())

    def direct(self) -> Direct:
        """The upstream itself."""
        return self.add(Direct(self._upstream_port))

    def nginx(self) -> Nginx:
        """A relay, and nothing more."""
        return self.add(Nginx(self._upstream_port, self.folder / "nginx"))

    def relay(self) -> Relay:
        """The same in Python."""
        return self.add(Relay(self._upstream_port, self.folder / "relay"))

    def gateway(self, variant: Variant) -> Gateway:
        """What all this is about."""
        folder = self.folder / variant.name.replace(" ", "-")
        return self.add(Gateway(variant, self._upstream_port, folder))

    def peer(self, name: str) -> Target:
        """One of `PEERS`, before an upstream that takes bodies which were written anew.

        Raises `NotInstalledError`, `NotReadyError`.
        """
        return self.add(PEERS[name](self._upstream("--lenient"), self.folder / name))

    def add(self, target: T) -> T:
        """Whatever else was started; it is stopped with the rest."""
        self._stack.callback(target.stop)
        self.targets.append(target)
        return target

    def stop(self) -> None:
        """End all processes, the last one first."""
        self._stack.close()


@contextmanager
def scene(*, hurry: float = 1.0) -> Iterator[Scene]:
    """A scene in a temporary folder; the upstream's pauses are shortened `hurry` times."""
    with tempfile.TemporaryDirectory(prefix="ai-gateway-bench-") as folder:
        made = Scene(Path(folder), hurry=hurry)
        try:
            yield made
        finally:
            made.stop()
