"""How a process that serves is told to end: by a signal, or by the end of its supervisor.

It ends in steps. At once the gateway says at `/readyz` that it isn't ready; for `delay_s` it goes on serving, so that
a load balancer has the time to notice; then it refuses new requests and `now` is set, for the server to let those that
are running end. A signal that comes while this goes on ends the process at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import Protocol

log = logging.getLogger("ai_gateway.server")


class Leaving(Protocol):
    def leave(self) -> None:
        """Say that requests should go elsewhere."""
        ...

    def refuse_new_requests(self) -> None: ...


class Ending:
    """For the main thread, within the event loop.

    `delay_s` is nothing until somebody sets it: before the process listens, nobody sends it requests.
    """

    def __init__(self, app: Leaving) -> None:
        self.delay_s = 0.0
        self.now = asyncio.Event()
        self._app = app
        self._loop = asyncio.get_running_loop()
        self._begun = False

    def by_signals(self) -> None:
        """SIGTERM and SIGINT end it from now on."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._on_signal, number)

    def with_supervisor(self) -> None:
        """It ends when standard input does, because then the process at its other end is gone."""
        self._loop.add_reader(sys.stdin.fileno(), self._on_readable)

    def _on_signal(self, number: int) -> None:
        if self._begun:
            os._exit(128 + number)
        self._begin(signal.Signals(number).name, "; once more ends at once")

    def _on_readable(self) -> None:
        pipe = sys.stdin.fileno()
        if not os.read(pipe, 1024):
            self._loop.remove_reader(pipe)
            log.warning("the supervisor is gone")
            if not self._begun:
                self._begin("nobody would end it later", "")

    def _begin(self, why: str, advice: str) -> None:
        self._begun = True
        self._app.leave()
        if self.delay_s > 0:
            log.info("%s: not ready; no new requests in %g s%s", why, self.delay_s, advice)
            self._loop.call_later(self.delay_s, self._end, why, advice)
        else:
            self._end(why, advice)

    def _end(self, why: str, advice: str) -> None:
        log.info("%s: no new requests, running ones may end%s", why, advice)
        self._app.refuse_new_requests()
        self.now.set()
