"""Reads the settings again while the gateway serves: when asked by a signal, or when the file has changed.

Stands beside the server, in each process that serves. What it reads it hands to `Gateway.reload`, which takes over the
providers or refuses; then the running ones stay, and the log says why in one sentence. One reload runs at a time, off
the event loop where it reads files; those asked for meanwhile become one more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import msgspec

from gateway.options import Option
from gateway.settings import GATEWAY_OPTIONS, PROCESS_OPTIONS, GatewayOptions, Settings
from gateway.settings_error import SettingsError
from recorders.tasks import end

log = logging.getLogger("ai_gateway.reload")

LOOK_EVERY_S: Final = 1.0
HANGUP: Final = "SIGHUP"
CHANGE: Final = "the configuration file changed"

TAKEN_OVER: Final = frozenset({"providers", "extra_routes", "bedrock_beta_flags"})
"""The options below `ai_gateway` that providers are made of."""

Stamp: TypeAlias = tuple[int, int, int] | None


def needing_restart(running: Settings, new: Settings) -> list[str]:
    """The names of the options that differ and can't be taken over by a process that serves."""
    process = [one.name for one in PROCESS_OPTIONS if _differ(running, new, one)]
    gateway = [one.name for one in GATEWAY_OPTIONS if _differ(running.gateway, new.gateway, one)]
    return process + [name for name in gateway if name not in TAKEN_OVER]


def _differ(running: msgspec.Struct, new: msgspec.Struct, option: Option) -> bool:
    return bool(getattr(running, option.field) != getattr(new, option.field))


def with_reloaded(running: Settings, new: GatewayOptions) -> Settings:
    """The running settings, with what a reload takes over from `new`."""
    taken = {name: getattr(new, name) for name in TAKEN_OVER}
    return msgspec.structs.replace(running, gateway=msgspec.structs.replace(running.gateway, **taken))


class Reloadable(Protocol):
    async def reload(self, settings: Settings) -> Sequence[str]:
        """Take over what can be; the names of changed options that need a restart. Raises `SettingsError`."""
        ...


@dataclass(slots=True)
class Reloads:
    """What became of the reloads so far. Times are seconds since 1970; None: there was none."""

    succeeded: int = 0
    refused: int = 0
    last_success_s: float | None = None
    last_refusal_s: float | None = None


class Reloader:
    """`load` reads the settings; it may block. `watched` is the file to look at every `LOOK_EVERY_S`, if any.

    `pause` waits so many seconds; `unix_s` is the time of day. What the file is like is noted right here, so that a
    change between now and the first look is seen.
    """

    def __init__(
        self,
        app: Reloadable,
        load: Callable[[], Settings],
        *,
        watched: Path | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        unix_s: Callable[[], float] = time.time,
    ) -> None:
        self.reloads = Reloads()
        self._app, self._load = app, load
        self._pause, self._unix_s = pause, unix_s
        self._watched = watched
        self._seen = _stamp(watched) if watched else None
        self._reason = ""
        self._asked = asyncio.Event()

    def ask(self, reason: str) -> None:
        """Reload soon."""
        self._reason = reason
        self._asked.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Reload whenever asked to, while the block lasts."""
        tasks = [asyncio.create_task(self._serve(), name="reload")]
        if self._watched is not None:
            tasks.append(asyncio.create_task(self._watch(self._watched), name="watch configuration"))
        try:
            yield
        finally:
            for task in tasks:
                await end(task)

    async def _serve(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self._reload(self._reason)

    async def _watch(self, path: Path) -> None:
        while True:
            await self._pause(LOOK_EVERY_S)
            stamp = await asyncio.to_thread(_stamp, path)
            if stamp != self._seen:
                self._seen = stamp
                self.ask(CHANGE)

    async def _reload(self, reason: str) -> None:
        try:
            settings = await asyncio.to_thread(self._load)
            left = await self._app.reload(settings)
        except Exception as error:
            self._refused(reason, error)
            return
        self.reloads.succeeded += 1
        self.reloads.last_success_s = self._unix_s()
        names = ", ".join(provider.name for provider in settings.gateway.providers) or "none"
        log.info("%s: providers reloaded, now: %s", reason, names)
        if left:
            log.warning("%s: changed, but only a restart applies it: %s", reason, ", ".join(left))

    def _refused(self, reason: str, error: Exception) -> None:
        self.reloads.refused += 1
        self.reloads.last_refusal_s = self._unix_s()
        # What is not made for operators' eyes may quote a secret: then the kind of error has to do.
        sentence = error if isinstance(error, SettingsError) else f"unexpected {type(error).__name__}"
        log.error("%s: new configuration refused, the running one stays: %s", reason, sentence)


def _stamp(path: Path) -> Stamp:
    """What differs when a file was written or replaced, also behind a link; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


# -- the signal ---------------------------------------------------------------------------------------------------


def hold_hangups() -> None:
    """Keep SIGHUP waiting, in this process and in those it starts: before somebody listens it would end them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def release_hangups() -> None:
    """Let SIGHUP come, also one that has been waiting."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def took_hangup() -> bool:
    """Whether a held SIGHUP was waiting; it is taken."""
    if signal.SIGHUP not in signal.sigpending():
        return False
    signal.sigwait({signal.SIGHUP})
    return True


def listen_for_hangups(reloader: Reloader) -> None:
    """From now on SIGHUP asks for a reload. For the main thread, within the event loop."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloader.ask, HANGUP)
    release_hangups()
