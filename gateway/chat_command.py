"""`ai-gateway chat`: a chat in the terminal, through the chat service, with no gateway to be started first.

It makes the gateway of the settings in this process, turns its chat service on, whatever the settings say, and acts
for whoever holds the gateway token. With a terminal as input it is a conversation; with `--once` or other input it
is one question, and the answer stands alone on standard output. Exit status 1 says that the turn failed.

This module is light, because every command loads it. What talks is `gateway.chat_terminal`.
"""

from __future__ import annotations

import argparse
import getpass
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.kinds import MODEL, Misfit
from gateway.settings import GatewayOptions, Settings, SettingsError, TerminalVariables, terminal_variables
from providers.secret import Secret
from recorders.log import LEVELS, configure_logging

if TYPE_CHECKING:
    _SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

MAX_TOKEN_BYTES: Final = 8 * 1024

_TERMINALS: Final = ("/dev/stderr", "/dev/stdout")


def add_command(subparsers: _SubParsers, *, flags: argparse.ArgumentParser) -> None:
    """Add `chat`, which takes the flags of `flags` too."""
    parser = subparsers.add_parser(
        "chat",
        help="talk with a model in the terminal",
        description="Talk with a model in the terminal, as the owner of the gateway token in GATEWAY_TOKEN.",
        parents=[flags],
        allow_abbrev=False,
    )
    parser.add_argument(
        "--model",
        type=_model,
        metavar="PROVIDER/MODEL",
        help="of a new chat; default: the setting chat_model",
    )
    parser.add_argument("--system", metavar="TEXT", default="", help="what a new chat's model is told first")
    parser.add_argument("--chat", metavar="ID", help="go on with this chat")
    parser.add_argument("--list", action="store_true", help="your chats, newest first")
    parser.add_argument("--once", metavar="QUESTION", help="ask this, print the answer and end")
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="file that holds the gateway token, not the variable"
    )
    parser.set_defaults(command=run)


def run(
    args: argparse.Namespace,
    settings: Settings,
    argv: Sequence[str],
    *,
    variables: TerminalVariables | None = None,
) -> int:
    """The exit status. Raises `SettingsError`, `StoreError`, `OSError`."""
    variables = variables or terminal_variables()
    _check(args, settings.gateway)
    question = None if args.list else _question(args)
    token = _token(args, variables)
    configure_logging(settings.log_human, settings.log_json, level=_level(settings), color=variables.color)
    options = msgspec.structs.replace(
        settings.gateway, chat_enabled=True, chat_model=args.model or settings.gateway.chat_model
    )

    from gateway import chat_terminal  # noqa: PLC0415 - it loads the vendors' SDKs, which takes a second

    wish = chat_terminal.Wish(
        chat_id=args.chat, system=args.system, question=question, only_list=args.list, color=variables.color
    )
    return chat_terminal.run(msgspec.structs.replace(settings, gateway=options), token, wish)


def _check(args: argparse.Namespace, options: GatewayOptions) -> None:
    """What can't go together, and what is missing. Raises `SettingsError`."""
    if args.list and (args.chat or args.once is not None):
        raise SettingsError("--list goes alone: leave out --chat and --once")
    if args.chat and (args.model or args.system):
        raise SettingsError("--model and --system are for a new chat: leave them out, or leave out --chat")
    if args.chat or args.list:
        return
    names = [provider.name for provider in options.providers]
    model = args.model or options.chat_model
    if not model:
        one = names[0] if len(names) == 1 else "PROVIDER"
        known = f" (providers: {', '.join(names)})" if len(names) > 1 else ""
        raise SettingsError(
            f"no model is chosen: pass --model {one}/MODEL, or set chat_model{known}"
            if names
            else "no provider is configured, so there is no model to talk with: pass --ai-gateway-openai-key-file or "
            "--ai-gateway-anthropic-key-file, or set AI_GATEWAY_PROVIDER_0_TYPE and AI_GATEWAY_PROVIDER_0_KEY"
        )
    if (provider := model.partition("/")[0]) not in names:
        known = ", ".join(names) or "none"
        raise SettingsError(f"there is no provider {provider!r} for the model {model}; configured: {known}")


def _question(args: argparse.Namespace) -> str | None:
    """What is to be asked once; None for a conversation. Raises `SettingsError`."""
    if args.once is None and sys.stdin.isatty():
        return None
    try:
        question = args.once if args.once is not None else sys.stdin.read()
    except UnicodeDecodeError as error:
        raise SettingsError("the question on standard input isn't text in UTF-8") from error
    if not question.strip():
        raise SettingsError("the question is empty: give it with --once or on standard input")
    return str(question)


def _token(args: argparse.Namespace, variables: TerminalVariables) -> Secret:
    """From the file, else the environment, else the person. Raises `SettingsError`, and `OSError` naming the file."""
    if args.token_file is not None:
        with args.token_file.open("rb") as file:
            text = file.read(MAX_TOKEN_BYTES).decode("utf-8", "replace").strip()
        if not text:
            raise SettingsError(f"{args.token_file} holds no gateway token")
        return Secret(text)
    if variables.token:
        return variables.token
    if sys.stdin.isatty():
        try:
            text = getpass.getpass("Gateway token: ").strip()
        except EOFError:
            text = ""
        if text:
            return Secret(text)
    raise SettingsError(
        "no gateway token: set GATEWAY_TOKEN, or name a file with --token-file (`ai-gateway keys create` makes one)"
    )


def _level(settings: Settings) -> int:
    """On the terminal where a person reads, only what they should know."""
    on_terminal = settings.log_human in _TERMINALS or settings.log_json in _TERMINALS
    level = LEVELS[settings.log_level]
    return max(level, logging.WARNING) if on_terminal else level


def _model(text: str) -> str:
    try:
        model = str(MODEL.read(text))
    except Misfit as error:
        raise argparse.ArgumentTypeError(f"it {error}") from None
    if not model:
        raise argparse.ArgumentTypeError("it is empty")
    return model
