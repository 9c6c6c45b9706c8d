"""`ai-gateway health`: asks a running gateway whether it is ready, for containers whose image has no other client.

It asks the gateway that these settings describe, on this machine, or the URL that it is given. With several workers
the one that takes the connection answers. Nothing goes to standard output; why not is one sentence on standard error.
"""

from __future__ import annotations

import argparse
import http.client
import ipaddress
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.health import READY
from gateway.kinds import HTTP_URL, Misfit
from gateway.settings import Settings
from gateway.settings_error import SettingsError

if TYPE_CHECKING:
    _SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

PATIENCE_S: Final = 5.0
MAX_ANSWER_BYTES: Final = 64 * 1024


def add_command(subparsers: _SubParsers, *, flags: argparse.ArgumentParser) -> None:
    """Add `health`, which takes the flags of `flags` too."""
    parser = subparsers.add_parser(
        "health", help="ask whether a running gateway is ready", parents=[flags], allow_abbrev=False
    )
    parser.add_argument(
        "--url", metavar="URL", help=f"what to ask; default: {READY} where these settings listen"
    )
    parser.set_defaults(command=run)


def run(args: argparse.Namespace, settings: Settings, argv: Sequence[str]) -> int:
    """The exit status: 0 when the answer is 200, else 1. Raises `SettingsError`."""
    url = _url(args.url) if args.url else _own_url(settings)
    trouble = _trouble(url)
    if trouble is None:
        return 0
    sys.stderr.write(f"ai-gateway: {url}: {trouble}\n")
    return 1


def _url(given: str) -> str:
    try:
        url: str = HTTP_URL.read(given)
    except Misfit as misfit:
        raise SettingsError(f"--url {misfit}") from misfit
    return url


def _own_url(settings: Settings) -> str:
    if settings.port == 0:
        raise SettingsError("port is 0, so nobody knows where it listens: give the URL with --url")
    return f"http://{_reachable(settings.host)}:{settings.port}{READY}"


def _reachable(host: str) -> str:
    """`host` as it stands in a URL; where every address is listened on, the loopback's."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 6:
        return "[::1]" if address.is_unspecified else f"[{host}]"
    return "127.0.0.1" if address.is_unspecified else host


def _trouble(url: str) -> str | None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is next door: no proxy
    try:
        with opener.open(url, timeout=PATIENCE_S) as answer:
            return None if answer.status == 200 else f"answered {answer.status}"
    except urllib.error.HTTPError as error:
        with error:
            return _reasons(error.read(MAX_ANSWER_BYTES)) or f"answered {error.code}"
    except urllib.error.URLError as error:
        return f"can't be asked: {error.reason}"
    except (OSError, http.client.HTTPException) as error:
        return f"can't be asked: {error}"


class _NotReady(msgspec.Struct):
    reasons: list[str]


def _reasons(body: bytes) -> str:
    try:
        return "; ".join(msgspec.json.decode(body, type=_NotReady).reasons)
    except msgspec.DecodeError:
        return ""
