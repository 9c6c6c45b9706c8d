"""The Dockerfile: what can be said of it without an engine that builds it."""

from __future__ import annotations

import fnmatch
import re
import shlex
import tomllib
from typing import Any, Final

import pytest

from gateway.__main__ import main
from gateway.settings import load
from tests.deploy.conftest import Run
from tests.deploy.files import DEPLOY, ROOT

DOCKERFILE: Final = DEPLOY / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """The instructions with their arguments, continued lines joined, comments left out."""
    text = "\n".join(line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#"))
    lines = text.replace("\\\n", " ").splitlines()
    return [(words[0], words[1].strip()) for line in lines if len(words := line.split(maxsplit=1)) == 2]


def last_stage() -> list[tuple[str, str]]:
    found = instructions()
    begin = max(place for place, (name, _) in enumerate(found) if name == "FROM")
    return found[begin:]


def copied() -> list[str]:
    """What the build takes from the checkout."""
    words = [shlex.split(rest) for name, rest in instructions() if name == "COPY" and "--from" not in rest]
    return [source.removeprefix("./") for line in words for source in line[:-1]]


def test_the_image_holds_every_package_of_the_project() -> None:
    """A new floor would be missing in the image alone."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(packages) <= set(copied())
    assert {"requirements.lock", "pyproject.toml", project["project"]["readme"]} <= set(copied())


def test_the_build_sees_what_it_copies_and_nothing_else() -> None:
    """No history, data or secret can get into a layer by accident."""
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*"
    allowed = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    assert allowed == set(copied())
    assert not any(
        fnmatch.fnmatch(secret, allow) for secret in (".git", "data", "deploy") for allow in allowed
    )


def test_packages_are_installed_by_hash() -> None:
    """A package that was replaced at its registry is refused."""
    installs = [part for name, rest in instructions() if name == "RUN" for part in rest.split("&&")]
    from_registry = [part for part in installs if " install " in part and "--no-deps" not in part]
    assert [part for part in from_registry if "pip" in part and "--require-hashes" not in part] == []


def test_it_runs_as_a_numbered_user_who_is_not_root() -> None:
    """Kubernetes' runAsNonRoot refuses a name."""
    user = [rest for name, rest in last_stage() if name == "USER"][-1]
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)


def test_its_variables_are_options_of_the_gateway() -> None:
    """A misspelt one would be passed over in silence: nothing would listen for the outside."""
    env = shlex.split(" ".join(rest for name, rest in last_stage() if name == "ENV"))
    variables = dict(one.split("=", 1) for one in env)
    own = {name: value for name, value in variables.items() if name.startswith("AI_GATEWAY_")}
    settings = load({}, environ=own)
    assert {settings.origin(name.removeprefix("AI_GATEWAY_").lower()) for name in own} == set(own)
    assert settings.host == "0.0.0.0"


@pytest.mark.parametrize("instruction", ["HEALTHCHECK", "CMD"])
def test_the_commands_that_it_names_exist(instruction: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`ai-gateway serve`, and `ai-gateway health` for the health check."""
    rest = next(rest for name, rest in last_stage() if name == instruction)
    command = re.findall(r'"([\w-]+)"', rest)[-1]
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert "usage: ai-gateway" in capsys.readouterr().out


def test_hadolint_has_nothing_to_say(run: Run) -> None:
    """The linter of the field, with all of its rules."""
    assert run("hadolint", "--failure-threshold", "style", DOCKERFILE) == ""
