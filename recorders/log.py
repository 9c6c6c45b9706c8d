"""The structured log: an observer that turns records into log lines, and the two shapes in which lines are written.

One line a record, message `interception log`, the record's fields beside it under their own names. It is written
when the record is emitted, independent of any store. Prompts, tool inputs and reasoning appear in these lines and
in no others, so this observer is installed only where the operator asked for it.

Lines go through the standard library's logging; `configure_logging` is for our own command. A host application
configures its own and may use `JsonFormatter` and `HumanFormatter`. Both write the same facts of a line.
"""

from __future__ import annotations

import logging
import logging.handlers
import re
import sys
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, ClassVar, Final

import msgspec

from recorders.codec import plain
from recorders.records import Record

MESSAGE: Final = "interception log"
OURS: Final = "ai_gateway"
"""What the names of this project's loggers begin with."""

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
"""The levels by the names that they have in settings."""

_log = logging.getLogger("ai_gateway.interceptions")

_STANDARD_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code != 0x09}
_BARE: Final = re.compile(r"[!#-<>-\[\]-~]+").fullmatch
"""Most values: ASCII without a blank, a quotation mark, `=` or a backslash."""
_MISREAD: Final = frozenset(' "=\\')
_WORDS: Final = {None: "null", True: "true", False: "false"}


def structured_log(record: Record) -> None:
    """An `Observer`: logs the record's fields, and its type as `record_type`."""
    _log.info(MESSAGE, extra=msgspec.to_builtins(record, enc_hook=str))


class JsonFormatter(logging.Formatter):
    """A line of JSON: `time` (RFC 3339, UTC), `level`, `logger`, `message`, `exception`, and what came as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        line |= {key: value for key, value in _extras(record).items() if key not in line}
        try:
            return msgspec.json.encode(line, enc_hook=str).decode()
        except (UnicodeEncodeError, OverflowError, TypeError):
            return msgspec.json.encode(plain(line)).decode()


class HumanFormatter(logging.Formatter):
    """`time LEVEL logger message key=value`, readable in a terminal; with `color`, what matters stands out.

    Control characters are shown, not obeyed: what a client sent can neither start a line nor color one.
    """

    def __init__(self, *, color: bool = False) -> None:
        super().__init__()
        self._paint = _paint if color else _plain
        self._named: dict[str, str] = {}
        """What stands before a value, by its name: the same few, line after line."""

    def format(self, record: logging.LogRecord) -> str:
        paint, named = self._paint, self._named
        extras = "".join(
            [(named.get(key) or self._name(key)) + _readable(value) for key, value in _extras(record).items()]
        )
        level = paint(f"{record.levelname:<7}", _LEVEL_STYLES.get(record.levelname, ""))
        message = record.getMessage().translate(_CONTROLS)
        line = f"{paint(_time(record), _DIM)} {level} {paint(record.name, _DIM)} {message}{extras}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line

    def _name(self, key: str) -> str:
        self._named[key] = name = f" {self._paint(f'{key}=', _DIM)}"
        return name


_DIM: Final = "2"
_LEVEL_STYLES: Final = {"DEBUG": _DIM, "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
"""SGR parameters of ECMA-48, which terminals understand."""


def _paint(text: str, style: str) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if style else text


def _plain(text: str, style: str) -> str:
    return text


def configure_logging(
    log_human: str, log_json: str, *, level: int = logging.INFO, color: bool = False
) -> None:
    """Write log lines from `level` on to two places, each a path, `/dev/stderr`, `/dev/stdout`, or nothing when empty.

    Below INFO only this project's own lines are written: other libraries show there what they send and receive, and
    with it prompts and credentials. `color` is for a human log that goes to a terminal, and ignored where it doesn't.

    Replaces what was configured before. Raises `OSError`, naming the path, when a file can't be opened.
    """
    handlers = [_handler(log_human, color=color)] if log_human else []
    if log_json:
        handlers.append(_handler(log_json, JsonFormatter()))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)


def _handler(
    target: str, formatter: logging.Formatter | None = None, *, color: bool = False
) -> logging.Handler:
    """Writes there, as `formatter` has it or, without one, for humans."""
    handler: logging.StreamHandler[Any]
    if target == "/dev/stderr":
        handler = logging.StreamHandler(sys.stderr)
    elif target == "/dev/stdout":
        handler = logging.StreamHandler(sys.stdout)
    else:
        handler = _RotatedFile(target)
    on_terminal = handler.stream is not None and handler.stream.isatty()
    handler.setFormatter(formatter or HumanFormatter(color=color and on_terminal))
    handler.addFilter(_is_for_the_log)
    return handler


class _RotatedFile(logging.handlers.WatchedFileHandler):
    """A file that is opened again when log rotation has moved it away, which is looked for once a second."""

    LOOK_EVERY_S: ClassVar = 1.0

    def __init__(self, target: str) -> None:
        super().__init__(target, encoding="utf-8", errors="backslashreplace")
        self._look_at = 0.0

    def reopenIfNeeded(self) -> None:  # noqa: N802 - the standard library's name
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + self.LOOK_EVERY_S
            super().reopenIfNeeded()


def _is_for_the_log(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.INFO or record.name.partition(".")[0] == OURS


def _time(record: logging.LogRecord) -> str:
    milliseconds = int(record.created * 1000)
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[: -len("+00:00")]


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD_FIELDS}


def _readable(value: Any) -> str:
    """Bare when nothing in it could be misread, else as JSON, which quotes and escapes."""
    if isinstance(value, str):
        if _BARE(value) or (value.isprintable() and value and not set(value) & _MISREAD):
            return value
    elif value is None or isinstance(value, bool):
        return _WORDS[value]
    elif isinstance(value, int):
        return str(value)
    return msgspec.json.encode(plain(value)).decode().translate(_CONTROLS)
