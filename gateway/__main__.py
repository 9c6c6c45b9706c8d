"""The `ai-gateway` command.

    ai-gateway serve              the gateway, as configured
    ai-gateway demo               the gateway with a user, a key and a provider in the box
    ai-gateway users ...          who may call
    ai-gateway keys ...           what they call with
    ai-gateway provider-keys ...  their own keys for AI providers
    ai-gateway sessions           what was recorded, newest first
    ai-gateway session ID         one session: prompts, tools, tokens
    ai-gateway chat               talk with a model in the terminal
    ai-gateway purge              delete old records
    ai-gateway health             ask whether a running gateway is ready
    ai-gateway config show        the effective settings, and where each came from

Exit status: 0; 1 when something asked for can't be done; 2 when the command line or the settings are wrong. Errors
are one sentence on standard error.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from gateway import (
    account_commands,
    chat_command,
    config_show,
    demo,
    health_command,
    provider_key_commands,
    purge_command,
    server,
    session_commands,
)
from gateway.app import create_app
from gateway.flags import add_flags, flags_of
from gateway.reload import Reloader, hold_hangups
from gateway.settings import Settings, SettingsError, environment_with, load, terminal_variables
from gateway.stack import StackError
from recorders.log import LEVELS, configure_logging
from recorders.stores.base import StoreError

if TYPE_CHECKING:
    import socket

    _SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

Command: TypeAlias = Callable[[argparse.Namespace, Settings, Sequence[str]], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    args, rest = _parser().parse_known_args(arguments)
    try:
        settings = load(flags_of(args) | _unknown(rest), config=args.config)
        if "account_command" in args:
            return account_commands.run(args, settings)
        if "provider_key_command" in args:
            return provider_key_commands.run(args, settings)
        if "session_command" in args:
            return session_commands.run(args, settings)
        command: Command = args.command
        return command(args, settings, arguments)
    except (SettingsError, StackError) as error:
        return _fail(error, 2)
    except (StoreError, server.ListenError, OSError) as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return 130


def _unknown(rest: Sequence[str]) -> dict[str, str]:
    """What the parser didn't know, for `load` to refuse with the nearest name that there is."""
    flags = [word.partition("=")[0] for word in rest if word.startswith("--")]
    if rest and not flags:
        raise SystemExit(_fail(ValueError(f"{rest[0]!r} is one word too many: see --help"), 2))
    return dict.fromkeys(flags, "")


def _fail(error: Exception, status: int) -> int:
    print(f"ai-gateway: {error}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_flags(flags)
    parser = argparse.ArgumentParser(
        prog="ai-gateway", description="A governance gateway for AI coding agents.", allow_abbrev=False
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = _add(commands, "serve", _serve, flags, "run the gateway")
    serve.add_argument("--listen-fd", type=int, help=argparse.SUPPRESS)
    _add(commands, "demo", _demo, flags, "run the gateway with a user, a key and a provider in the box")
    purge_command.add_command(commands, flags=flags)
    health_command.add_command(commands, flags=flags)
    config = commands.add_parser("config", help="what is configured")
    config_commands = config.add_subparsers(required=True, metavar="COMMAND")
    _add(config_commands, "show", _config_show, flags, "the effective settings, and where each came from")
    account_commands.add_commands(commands, flags=flags)
    provider_key_commands.add_commands(commands, flags=flags)
    session_commands.add_commands(commands, flags=flags)
    chat_command.add_command(commands, flags=flags)
    return parser


def _add(
    commands: _SubParsers, name: str, command: Command, flags: argparse.ArgumentParser, line: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=line, parents=[flags], allow_abbrev=False)
    parser.set_defaults(command=command)
    return parser


def _serve(args: argparse.Namespace, settings: Settings, argv: Sequence[str]) -> int:
    if settings.reload_on_change and args.config is None:
        raise SettingsError(
            "reload_on_change is set, but there is no file to look at: give one with --config"
        )
    hold_hangups()
    _configure_logging(settings)
    if settings.workers > 1 and args.listen_fd is None:
        # What can't work is refused once, here, and not by each worker for ever.
        server.run(partial(server.try_out, create_app(settings)))
        with server.listen(settings.host, settings.port) as listener:
            return _supervise(settings, argv, listener)
    app = create_app(settings)
    reloader = Reloader(
        app,
        partial(load, flags_of(args), config=args.config),
        watched=args.config if settings.reload_on_change else None,
    )
    with server.listener_of(args.listen_fd, settings) as listener:
        supervised = args.listen_fd is not None
        server.run(partial(server.serve, app, settings, listener, supervised=supervised, reloader=reloader))
    return 0


def _supervise(settings: Settings, argv: Sequence[str], listener: socket.socket) -> int:
    command = server.worker_command(argv)
    if not settings.metrics_address and not settings.gateway.metrics_route:
        return server.supervise(command, settings.workers, listener)
    from gateway.metrics.workers import shared_metrics  # noqa: PLC0415 - for those who count

    with shared_metrics(settings.metrics_address) as shared:
        return server.supervise(
            command,
            settings.workers,
            listener,
            environment=environment_with(shared.variables),
            on_end=shared.forget,
        )


def _demo(args: argparse.Namespace, settings: Settings, argv: Sequence[str]) -> int:
    _configure_logging(settings)
    server.run(partial(demo.run, settings))
    return 0


def _configure_logging(settings: Settings) -> None:
    level, color = LEVELS[settings.log_level], terminal_variables().color
    configure_logging(settings.log_human, settings.log_json, level=level, color=color)


def _config_show(args: argparse.Namespace, settings: Settings, argv: Sequence[str]) -> int:
    print(config_show.render(settings), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
