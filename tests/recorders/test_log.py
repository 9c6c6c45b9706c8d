from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recorders.log import HumanFormatter, JsonFormatter, configure_logging, structured_log
from recorders.records import Record
from tests.recorders import samples


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers = handlers
    root.setLevel(level)


def record_of(message: str, *args: object, **extra: Any) -> logging.LogRecord:
    record = logging.makeLogRecord({"msg": message, "args": args, "name": "x.y", "levelname": "INFO"})
    record.created = 1767355200.5
    vars(record).update(extra)
    return record


@pytest.mark.parametrize("record", samples.whole(), ids=lambda record: type(record).__name__)
def test_a_record_of_each_kind_is_one_json_line_with_its_own_field_names(
    record: Record, tmp_path: Path
) -> None:
    """Message and field names are the contract with whoever reads the log."""
    configure_logging("", str(tmp_path / "log.json"))

    structured_log(record)

    (line,) = (tmp_path / "log.json").read_text().splitlines()
    fields = json.loads(line)
    assert fields["message"] == "interception log"
    assert fields["record_type"] == type(record).__struct_config__.tag
    assert set(record.__struct_fields__) < set(fields)
    assert fields["interception_id"] == "i1"


def test_times_of_records_are_rfc_3339_in_utc(tmp_path: Path) -> None:
    """A log shipper parses them without being told how."""
    configure_logging("", str(tmp_path / "log.json"))

    structured_log(samples.start())

    fields = json.loads((tmp_path / "log.json").read_text())
    assert fields["started_at"] == "2026-01-02T12:00:00.123456Z"
    assert fields["metadata"] == {"username": "anna"}
    assert fields["client_session_id"] is None


def test_a_json_line_has_time_level_logger_message_and_extras() -> None:
    """What came as `extra` stands beside the standard four and can't replace them."""
    line = JsonFormatter().format(record_of("hello %s", "you", count=3, level="fake", path=Path("/x")))

    assert json.loads(line) == {
        "time": "2026-01-02T12:00:00.500Z",
        "level": "INFO",
        "logger": "x.y",
        "message": "hello you",
        "count": 3,
        "path": "/x",
    }


def test_an_exception_stays_within_its_json_line() -> None:
    """One line an event, the traceback inside."""
    try:
        raise KeyError("nope")
    except KeyError:
        record = record_of("failed")
        record.exc_info = sys.exc_info()

    line = JsonFormatter().format(record)

    assert "\n" not in line
    assert "KeyError: 'nope'" in json.loads(line)["exception"]
    assert "KeyError: 'nope'" in HumanFormatter().format(record)


@pytest.mark.parametrize("value", ["a\ud800", {("odd", "key"): 10**40}, float("nan")])
def test_no_value_makes_a_line_fail(value: object) -> None:
    """Logging what came from outside can't raise."""
    json.loads(JsonFormatter().format(record_of("x", value=value)))
    HumanFormatter().format(record_of("x", value=value)).encode()


def test_a_human_line_reads_well() -> None:
    """Bare words stay bare, everything else is quoted."""
    line = HumanFormatter().format(
        record_of("hello", client="Claude Code", status=200, none=None, model="m-1")
    )

    assert line == (
        '2026-01-02T12:00:00.500Z INFO    x.y hello client="Claude Code" status=200 none=null model=m-1'
    )


def test_a_colored_line_is_the_same_line_painted() -> None:
    """Level, keys, time and logger stand out or back; without its colors it is the plain line."""
    record = record_of("hello", client="Claude Code", status=200)
    colored, plain = HumanFormatter(color=True).format(record), HumanFormatter().format(record)

    assert "\x1b[32mINFO   \x1b[0m" in colored
    assert "\x1b[2mstatus=\x1b[0m200" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == plain


@pytest.mark.parametrize(
    ("levelname", "style"), [("DEBUG", "2"), ("WARNING", "33"), ("ERROR", "31"), ("CRITICAL", "1;31")]
)
def test_each_level_has_a_color_of_its_own(levelname: str, style: str) -> None:
    """Trouble is seen before it is read; a level of somebody else has none."""
    record = record_of("hello")
    record.levelname = levelname
    assert f"\x1b[{style}m{levelname}" in HumanFormatter(color=True).format(record)
    record.levelname = "NOTICE"
    assert " NOTICE  " in HumanFormatter(color=True).format(record)


@pytest.mark.parametrize("control", ["\n", "\r", "\x1b[31m", "\x00", "\x9b"])
def test_a_client_cannot_color_a_colored_line(control: str) -> None:
    """The colors are the formatter's alone."""
    line = HumanFormatter(color=True).format(record_of(f"a{control}b", value=f"c{control}d"))

    assert control[0] not in re.sub(r"\x1b\[(2|32|0)m", "", line)


@pytest.mark.parametrize(
    "extra",
    [
        {"status": 200, "user": "ada", "model": "m 1", "client_left": False, "error": None},
        {"seconds": 0.25, "names": ["a", "b"], "odd": 'a="b" c', "empty": "", "line": "a\nb"},
    ],
)
def test_both_shapes_have_the_same_facts(extra: dict[str, Any]) -> None:
    """Whoever reads one misses nothing of the other."""
    record = record_of("hello %s", "you", **extra)
    fields = json.loads(JsonFormatter().format(record))
    line = HumanFormatter().format(record)

    time, level, logger, rest = re.split(r" +", line, maxsplit=3)
    assert (time, level, logger) == (fields["time"], fields["level"], fields["logger"])
    assert rest.startswith(f"{fields['message']} ")
    shown = rest.removeprefix(fields["message"])
    for name, value in extra.items():
        assert fields[name] == value
        bare, quoted = f" {name}={value}", f" {name}={json.dumps(value, separators=(',', ':'))}"
        assert bare in shown or quoted in shown


@pytest.mark.parametrize("control", ["\n", "\r", "\x1b[31m", "\x00", "\x9b"])
def test_control_characters_are_shown_and_not_obeyed(control: str) -> None:
    """A client can neither forge a line nor color the operator's terminal."""
    line = HumanFormatter().format(record_of(f"a{control}b", value=f"c{control}d"))

    assert control[0] not in line


def test_both_places_get_every_line_and_nothing_goes_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Human and JSON log are independent of each other."""
    configure_logging("/dev/stderr", str(tmp_path / "log.json"))

    logging.getLogger("x").info("hello")
    logging.getLogger("x").debug("not shown")

    captured = capsys.readouterr()
    assert captured.err.endswith("x hello\n")
    assert captured.out == ""
    assert json.loads((tmp_path / "log.json").read_text())["message"] == "hello"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "color", "painted"),
    [(Terminal(), True, True), (Terminal(), False, False), (io.StringIO(), True, False)],
    ids=["a terminal", "a terminal without colors", "a pipe"],
)
def test_only_a_terminal_that_wants_colors_gets_them(
    stream: io.StringIO, color: bool, painted: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Escape sequences in a file are a nuisance; the JSON log never has any."""
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging("/dev/stderr", str(tmp_path / "log.json"), color=color)

    logging.getLogger("x").info("hello")

    assert ("\x1b[" in stream.getvalue()) is painted
    assert "\x1b" not in (tmp_path / "log.json").read_text()


def test_a_file_for_humans_has_no_colors(tmp_path: Path) -> None:
    """Also where the command has a terminal."""
    configure_logging(str(tmp_path / "log"), "", color=True)

    logging.getLogger("x").warning("hello")

    assert "\x1b" not in (tmp_path / "log").read_text()


def test_below_info_only_our_own_lines_are_written(tmp_path: Path) -> None:
    """The SDKs of the vendors, for one, show whole requests there."""
    configure_logging(str(tmp_path / "human"), str(tmp_path / "json"), level=logging.DEBUG)

    for name in ("ai_gateway.access", "ai_gateway", "openai._base_client", "ai_gatewayx"):
        logging.getLogger(name).debug("from %s", name)
    logging.getLogger("asyncio").info("from asyncio")

    for place in ("human", "json"):
        text = (tmp_path / place).read_text()
        assert re.findall(r"from ([\w.]+)", text) == ["ai_gateway.access", "ai_gateway", "asyncio"]


def test_a_higher_level_leaves_out_what_is_below(tmp_path: Path) -> None:
    """For ours as for others."""
    configure_logging(str(tmp_path / "log"), "", level=logging.ERROR)

    logging.getLogger("ai_gateway").warning("hello")
    logging.getLogger("ai_gateway").error("trouble")

    assert (tmp_path / "log").read_text().endswith("ai_gateway trouble\n")
    assert "hello" not in (tmp_path / "log").read_text()


def test_standard_output_can_carry_the_json_log(capsys: pytest.CaptureFixture[str]) -> None:
    """As containers like it."""
    configure_logging("", "/dev/stdout")

    logging.getLogger("x").info("hello")

    assert json.loads(capsys.readouterr().out)["message"] == "hello"


def test_configuring_again_replaces_what_was(tmp_path: Path) -> None:
    """No line is written twice."""
    configure_logging(str(tmp_path / "a"), "")
    configure_logging(str(tmp_path / "b"), "")

    logging.getLogger("x").info("hello")

    assert (tmp_path / "a").read_text() == ""
    assert (tmp_path / "b").read_text().count("hello") == 1


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    """And what was configured before still works."""
    configure_logging(str(tmp_path / "a"), "")

    with pytest.raises(OSError, match="missing"):
        configure_logging(str(tmp_path / "missing" / "log"), "")

    logging.getLogger("x").info("hello")
    assert "hello" in (tmp_path / "a").read_text()


def test_metadata_of_a_host_that_is_no_json_is_logged_as_text(tmp_path: Path) -> None:
    """One odd value doesn't cost the line."""
    configure_logging("", str(tmp_path / "log.json"))

    structured_log(samples.start(metadata={"path": Path("/x"), "kind": object}))

    fields = json.loads((tmp_path / "log.json").read_text())
    assert fields["metadata"] == {"path": "/x", "kind": "<class 'object'>"}


def test_a_file_that_log_rotation_moved_away_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked for once in a while; until then lines go where the file went."""
    now = [100.0]
    monkeypatch.setattr("recorders.log.time.monotonic", lambda: now[0])
    target = tmp_path / "gateway.log"
    configure_logging(str(target), "")
    log = logging.getLogger("ai_gateway.test")
    log.info("one")
    target.rename(tmp_path / "gateway.log.1")
    log.info("two")
    now[0] += 1.5
    log.info("three")
    assert [line.split()[-1] for line in (tmp_path / "gateway.log.1").read_text().splitlines()] == [
        "one",
        "two",
    ]
    assert target.read_text().split()[-1] == "three"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"),
        (True, "true"),
        (12, "12"),
        (1.5, "1.5"),
        ("bare-word/1.2:3", "bare-word/1.2:3"),
        ("größe", "größe"),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "x"', '"say \\"x\\""'),
        ("", '""'),
        ("line\\nbreak", '"line\\\\nbreak"'),
        ({"a": 1}, '{"a":1}'),
    ],
)
def test_a_value_is_bare_where_nothing_in_it_can_be_misread(value: object, shown: str) -> None:
    """Else it is JSON, which says where it ends."""
    record = logging.makeLogRecord({"msg": "request", "name": "ai_gateway.test", "key": value})
    assert HumanFormatter().format(record).endswith(f" request key={shown}")
