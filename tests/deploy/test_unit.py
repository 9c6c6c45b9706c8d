"""The systemd unit, by systemd's own tools."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Final

from gateway.settings import Settings
from tests.deploy.conftest import Run
from tests.deploy.files import DEPLOY

UNIT: Final = DEPLOY / "systemd" / "ai-gateway.service"
EXPOSURE: Final = 1.2
"""Of 10. What is left: it speaks to the network, and writes one folder of the host's."""


def service() -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNIT)
    return parser["Service"]


def test_the_service_has_time_to_end_its_streams() -> None:
    """What is left after TimeoutStopSec is killed, records in memory with it."""
    assert float(service()["TimeoutStopSec"].removesuffix("s")) > Settings().gateway.shutdown_grace_s


def test_the_signal_goes_to_the_supervisor_alone() -> None:
    """It passes it on; a second one would end a worker at once."""
    assert service()["KillMode"] == "mixed"
    assert service()["ExecReload"] == "/bin/kill -HUP $MAINPID"


def test_the_defaults_of_the_gateway_are_below_the_folder_that_it_may_write() -> None:
    """Nothing else of the file system can be written."""
    assert service()["WorkingDirectory"] == f"%S/{service()['StateDirectory']}"
    options = Settings().gateway
    assert not Path(options.journal_dir).is_absolute()
    assert options.database_url.reveal_secret_value().startswith("sqlite:///data/")


def test_systemd_takes_the_unit(run: Run, tmp_path: Path) -> None:
    """With a program that there is in the place of the gateway's."""
    copy = tmp_path / UNIT.name
    copy.write_text(re.sub(r"/opt/\S+/ai-gateway", "/bin/true", UNIT.read_text()))
    assert run("systemd-analyze", "verify", copy) == ""


def test_the_unit_is_as_closed_as_it_was(run: Run) -> None:
    """systemd's own measure; each point that is lost is a decision."""
    limit = str(round(EXPOSURE * 10))
    said = run("systemd-analyze", "security", "--offline=yes", f"--threshold={limit}", UNIT)
    assert "Overall exposure level" in said
