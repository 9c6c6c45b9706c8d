"""The structured log: an observer that turns records into log lines, and the two shapes in which lines are written.

One line a record, message `interception log`, the record's fields beside it under their own names. It is written
when the record is emitted, independent of any store. Prompts, tool inputs and reasoning appear in these lines and
in no others, so this observer is installed only where the operator asked for it.

Lines go through the standard library's logging; `configure_logging` is for our own command. A host application
configures its own and may use `JsonFormatter` and `HumanFormatter`.
"""

from __future__ import annotations

import logging
import logging.handlers
import sys
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from recorders.codec import plain
from recorders.records import Record

MESSAGE: Final = "interception log"

_log = logging.getLogger("ai_gateway.interceptions")

_STANDARD_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code != 0x09}


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
    """`time LEVEL logger message key=value`, readable in a terminal.

    Control characters are shown, not obeyed: what a client sent can neither start a line nor color one.
    """

    def format(self, record: logging.LogRecord) -> str:
        extras = "".join(f" {key}={_readable(value)}" for key, value in _extras(record).items())
        message = record.getMessage().translate(_CONTROLS)
        line = f"{_time(record)} {record.levelname:<7} {record.name} {message}{extras}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def configure_logging(log_human: str, log_json: str, *, level: int = logging.INFO) -> None:
    """Write log lines to two places, each a path, `/dev/stderr`, `/dev/stdout`, or nothing when empty.

    Replaces what was configured before. Raises `OSError`, naming the path, when a file can't be opened.
    """
    handlers = [
        _handler(target, formatter)
        for target, formatter in ((log_human, HumanFormatter()), (log_json, JsonFormatter()))
        if target
    ]
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)


def _handler(target: str, formatter: logging.Formatter) -> logging.Handler:
    handler: logging.Handler
    if target == "/dev/stderr":
        handler = logging.StreamHandler(sys.stderr)
    elif target == "/dev/stdout":
        handler = logging.StreamHandler(sys.stdout)
    else:
        # Opened again when log rotation has moved it away.
        handler = logging.handlers.WatchedFileHandler(target, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(formatter)
    return handler


def _time(record: logging.LogRecord) -> str:
    time = datetime.fromtimestamp(record.created, UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD_FIELDS}


def _readable(value: Any) -> str:
    """Bare when nothing in it could be misread, else as JSON, which quotes and escapes."""
    if isinstance(value, str) and value.isprintable() and value and not set(value) & set(' "=\\'):
        return value
    return msgspec.json.encode(plain(value)).decode().translate(_CONTROLS)
