"""The names that the code knows: settings, variables, metrics, and every word of the sources."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from gateway.metrics.instruments import Instruments
from gateway.settings import CATALOGUE, load
from gateway.settings_error import SettingsError
from tests.documents.markdown import ROOT

SOURCES: Final = ("gateway", "middleware", "providers", "recorders")
VARIABLE: Final = re.compile(r"\b(?:(?:CODER_)?AI_GATEWAY|CODER_AIBRIDGE)_[A-Z0-9_]*[A-Z0-9]\b")
METRIC: Final = re.compile(r"\bai_gateway_[a-z0-9_]*[a-z0-9]\b")


@cache
def settings() -> frozenset[str]:
    """Every name in YAML: of the process, below `ai_gateway`, of an instance, with `_file` where there is one."""
    return frozenset(
        {*CATALOGUE.process, *CATALOGUE.section, *CATALOGUE.instance, *CATALOGUE.yaml_aliases, "ai_gateway"}
    )


def is_variable(name: str) -> bool:
    """Whether the gateway reads it, whatever its value would have to be."""
    try:
        load(environ={name: "example"})
    except SettingsError as error:
        return "is not a setting" not in str(error)
    return True


def variables_of_compose() -> frozenset[str]:
    """Those that `deploy/compose.yaml` itself takes: for docker, not for the gateway."""
    return frozenset(re.findall(r"\$\{(AI_GATEWAY_\w+)", (ROOT / "deploy" / "compose.yaml").read_text()))


@cache
def metrics() -> frozenset[str]:
    """As Prometheus sees them."""
    names: set[str] = set()
    for family in Instruments(initiator=True).registry.collect():
        names |= {family.name, *(sample.name for sample in family.samples)}
        if family.type == "counter":
            names.add(f"{family.name}_total")
        if family.type == "histogram":
            names |= {f"{family.name}_{part}" for part in ("bucket", "sum", "count")}
    return frozenset(names)


@cache
def words_of_the_sources() -> frozenset[str]:
    """Every word in the sources and in the schema: fields, parameters, columns, labels, error codes."""
    files = [
        path for floor in SOURCES for path in (ROOT / floor).rglob("*") if path.suffix in (".py", ".sql")
    ]
    return frozenset(word for path in files for word in re.findall(r"\w+", path.read_text("utf-8")))


@cache
def flags_for_developers() -> frozenset[str]:
    """Those of the bench and of the faults, which `make` runs."""
    files = [path for name in ("bench", "faults") for path in (ROOT / "tests" / name).rglob("*.py")]
    return frozenset(flag for path in files for flag in re.findall(r'"(--[a-z-]+)"', path.read_text("utf-8")))
