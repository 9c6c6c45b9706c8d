"""The YAML file: what its reader refuses, and that dynaconf reads nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.settings_error import SettingsError
from gateway.yaml_file import load_yaml


def refusal(path: Path) -> str:
    """The sentence with which `load_yaml` refuses."""
    with pytest.raises(SettingsError) as refused:
        load_yaml(path)
    return str(refused.value)


def test_names_and_values_arrive_as_written(tmp_path: Path) -> None:
    """No upper case, no dotted lookup, no merging, no evaluation; only the types of YAML."""
    path = tmp_path / "settings.yml"
    path.write_text("Host: '@int 3'\na.b: 1\ndynaconf_merge: true\nlist: ['@jinja {{ 1 }}', x]\n", "utf-8")
    assert load_yaml(path) == {
        "Host": "@int 3",
        "a.b": 1,
        "dynaconf_merge": True,
        "list": ["@jinja {{ 1 }}", "x"],
    }


def test_dynaconf_reads_nothing_on_its_own(tmp_path: Path) -> None:
    """Its own variables, `.env`, local files, includes and hooks beside the file have no effect."""
    (tmp_path / "settings.yaml").write_text("host: 10.0.0.1\n", "utf-8")
    (tmp_path / "settings.local.yaml").write_text("host: 10.0.0.2\n", "utf-8")
    (tmp_path / "dynaconf_hooks.py").write_text("raise SystemExit('a hook ran')\n", "utf-8")
    (tmp_path / ".env").write_text("AI_GATEWAY_HOST=10.0.0.3\nDYNACONF_HOST=10.0.0.3\n", "utf-8")
    (tmp_path / "other.yaml").write_text("host: 10.0.0.4\n", "utf-8")
    hostile = {
        "AUTO_CAST_FOR_DYNACONF": "true",
        "DYNACONF_HOST": "10.0.0.5",
        "DYNACONF_PORT": "1",
        "ENV_FOR_DYNACONF": "production",
        "ENVVAR_PREFIX_FOR_DYNACONF": "false",
        "INCLUDES_FOR_DYNACONF": str(tmp_path / "other.yaml"),
        "LOADERS_FOR_DYNACONF": '["nowhere.loader"]',
        "LOAD_DOTENV_FOR_DYNACONF": "true",
        "MERGE_ENABLED_FOR_DYNACONF": "true",
        "NESTED_SEPARATOR_FOR_DYNACONF": "_",
        "SECRETS_FOR_DYNACONF": str(tmp_path / "other.yaml"),
        "SETTINGS_FILE_FOR_DYNACONF": str(tmp_path / "other.yaml"),
        "YAML_LOADER_FOR_DYNACONF": "unsafe_load",
        "HOST": "10.0.0.6",
        "AI_GATEWAY_STATIC_USER": "@format {env[HOST]}",
    }
    program = (
        "from pathlib import Path; from gateway.settings import load; s = load(config=Path('settings.yaml')); "
        "print(s.host, s.port, s.gateway.static_user, sorted(s.origins))"
    )
    environ = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(Path(__file__).parents[2]), **hostile}
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == "10.0.0.1 4001 @format {env[HOST]} ['host', 'static_user']\n"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Absent, a folder, badly named, or not text."""
    absent, folder = tmp_path / "absent.yaml", tmp_path / "folder.yaml"
    folder.mkdir()
    for path in (absent, folder):
        assert refusal(path) == f"the configuration file {path} can't be read; correct the path or its rights"
    assert refusal(tmp_path / "settings.conf") == (
        f"the configuration file {tmp_path / 'settings.conf'} must be named *.yaml or *.yml; rename it"
    )
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"host: \xff\xfe")
    assert refusal(binary) == f"the configuration file {binary} is not UTF-8 text; correct it"
