"""The composition: its files are there, its secrets can be made, its settings are the gateway's."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any, Final

import yaml

from gateway.settings import Settings, load
from tests.deploy.conftest import Run
from tests.deploy.files import DEPLOY

COMPOSE: Final = DEPLOY / "compose.yaml"


def composition() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return found


def make_secrets(folder: Path, **environ: str) -> str:
    command = ["sh", str(DEPLOY / "compose-secrets"), str(folder)]
    done = subprocess.run(
        command, env={"PATH": os.environ["PATH"], **environ}, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_the_script_makes_every_secret_that_the_composition_reads(tmp_path: Path) -> None:
    """A missing file would stop everything, with a message about a mount."""
    make_secrets(tmp_path / "secrets", OPENAI_API_KEY="sk-fake")
    named = {Path(secret["file"]).name for secret in composition()["secrets"].values()}
    assert {path.name for path in (tmp_path / "secrets").iterdir()} == named


def test_secrets_are_beyond_the_reach_of_other_users_of_the_host(tmp_path: Path) -> None:
    """The folder is closed; the files are open, for a container's user is another one."""
    make_secrets(tmp_path / "secrets")
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "secrets").iterdir()} == {0o644}


def test_secrets_that_are_there_stay(tmp_path: Path) -> None:
    """A second run must not lock everybody out of the database."""
    make_secrets(tmp_path / "secrets")
    before = {path: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    make_secrets(tmp_path / "secrets", OPENAI_API_KEY="sk-fake-other")
    assert {path: path.read_text() for path in (tmp_path / "secrets").iterdir()} == before


def test_the_gateway_takes_the_settings_and_the_secrets_of_the_composition(tmp_path: Path) -> None:
    """Read as in the container, but for the folder of the secrets."""
    secrets = tmp_path / "secrets"
    make_secrets(secrets, OPENAI_API_KEY="sk-fake", ANTHROPIC_API_KEY="sk-ant-fake")
    config = tmp_path / "settings.yaml"
    source = DEPLOY / composition()["configs"]["gateway-settings"]["file"]
    config.write_text(source.read_text().replace("/run/secrets", str(secrets)))
    environment = composition()["services"]["gateway"]["environment"]
    environ = {name: value.replace("/run/secrets", str(secrets)) for name, value in environment.items()}

    settings = load({}, config=config, environ=environ)

    assert settings.gateway.database_url.reveal_secret_value().startswith("postgresql://gateway:")
    assert all(provider.keys[0].reveal_secret_value() for provider in settings.gateway.providers)
    port = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"][0]
    assert port["static_configs"][0]["targets"] == [f"gateway:{settings.metrics_address.rpartition(':')[2]}"]


def test_the_files_that_it_mounts_are_there() -> None:
    """Docker would make a folder in the place of a file that is missing."""
    services = composition()["services"].values()
    volumes = [volume.split(":")[0] for service in services for volume in service.get("volumes", [])]
    mounted = [path for path in volumes if path.startswith(".")]
    assert mounted
    assert [path for path in mounted if not (DEPLOY / path).exists()] == []


def test_nothing_is_published_beyond_the_host() -> None:
    """There is no TLS here: what is reachable from outside stands behind a proxy."""
    ports = [port for service in composition()["services"].values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_the_gateway_has_time_to_end_its_streams() -> None:
    """Docker kills after 10 seconds where nothing else is said."""
    options = yaml.safe_load((DEPLOY / "compose-settings.yaml").read_text())["ai_gateway"]
    assert "shutdown_grace" not in options
    stop_s = float(composition()["services"]["gateway"]["stop_grace_period"].removesuffix("s"))
    assert stop_s > Settings().gateway.shutdown_grace_s


def test_every_service_is_asked_for_its_health() -> None:
    """The gateway's question is in its image."""
    services = composition()["services"]
    assert [name for name in services if "healthcheck" not in services[name]] == ["gateway"]


def test_the_loader_of_compose_takes_it(run: Run, tmp_path: Path) -> None:
    """The library that Docker Compose reads its files with: schema, variables, references."""
    shutil.copytree(DEPLOY, tmp_path / "deploy", ignore=shutil.ignore_patterns("secrets"))
    make_secrets(tmp_path / "deploy" / "secrets")
    assert "services:" in run("compose-go", "compose.yaml", cwd=tmp_path / "deploy")
