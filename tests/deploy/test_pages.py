"""What the pages on deployments show beside commands (`tests.test_documents`): paths, values and numbers."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path
from typing import Final

import yaml

from gateway.settings import Settings
from recorders.stores.postgres import PostgresDatabase
from tests.deploy.conftest import Run
from tests.deploy.files import CHART, DEPLOY, ROOT

PAGE: Final = DEPLOY / "docs" / "deploy.md"
SCALING: Final = DEPLOY / "docs" / "scaling.md"


def shown_lines() -> list[str]:
    """The commands of the page, continued lines joined, comments off."""
    text = PAGE.read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    return [re.sub(r"\s{2,}#.*", "", line) for line in lines]


def test_the_files_of_the_project_that_commands_name_are_there() -> None:
    """Who copies a line gets no 'no such file'."""
    named = [word for line in shown_lines() for word in shlex.split(line) if word.startswith("deploy/")]
    made_by_a_command = {"deploy/secrets/"}
    assert len(named) > 5
    assert [path for path in named if path not in made_by_a_command and not (ROOT / path).exists()] == []


def test_the_targets_of_make_are_there() -> None:
    """On this page and the one on scaling."""
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = PAGE.read_text() + SCALING.read_text()
    shown = set(re.findall(r"(?:`|^ {4})make ([a-z0-9-]+)", pages, re.MULTILINE))
    assert shown
    assert shown <= targets


def test_the_chart_takes_the_values_that_are_shown(run: Run, tmp_path: Path) -> None:
    """All but the digest, whose dots stand for a real one."""
    block = next(
        block for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL) if "image:" in block
    )
    values = tmp_path / "values.yaml"
    values.write_text(block.replace("sha256:...", "sha256:" + "0" * 64))
    rendered = run("helm", "template", "gw", CHART, "--kube-version", "1.30.0", "--values", values)
    kinds = {one["kind"] for one in yaml.safe_load_all(rendered) if one}
    assert {"StatefulSet", "Ingress", "ServiceMonitor", "PrometheusRule", "NetworkPolicy"} <= kinds


def test_the_numbers_are_those_of_the_settings() -> None:
    """Defaults that pages quote change with the defaults."""
    options = Settings().gateway
    page, scaling = PAGE.read_text(), SCALING.read_text()
    assert f"`shutdown_grace`** ({options.shutdown_grace_s:g}s)" in page
    assert f"`auth_cache_ttl` ({options.auth_cache_ttl_s:g}s)" in scaling
    assert f"(`first_byte_timeout`, `idle_timeout`: {options.idle_timeout_s / 60:g}m)" in page
    connections = inspect.signature(PostgresDatabase).parameters["max_connections"].default
    assert f"up to {connections} a worker" in scaling
