"""Reading a YAML file with dynaconf's loader, and nothing but that file.

dynaconf left to itself would also read `*_FOR_DYNACONF` and `DYNACONF_*` from the environment, load `.env`,
`*.local.yaml` and included files, run a `dynaconf_hooks.py` that lies beside the file, and evaluate values that begin
with `@format`, `@jinja` or `@read_file`. `quiet_dynaconf` makes one that does none of this.

Names stay as written and values as YAML types them; what they mean is decided in `gateway.sources`. An error says in
which line it is and never quotes the file, because the file may hold secrets.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Final

from dynaconf import Dynaconf  # type: ignore[import-untyped]
from dynaconf.loaders import yaml_loader  # type: ignore[import-untyped]
from dynaconf.loaders.base import BaseLoader  # type: ignore[import-untyped]

from gateway.settings_error import SettingsError

YAML_EXTENSIONS: Final = (".yaml", ".yml")

_yaml = yaml_loader.yaml  # the parser that dynaconf brings along


def load_yaml(config: Path) -> dict[Any, Any]:
    """The document as dynaconf's YAML loader reads it, names as written."""
    if config.suffix not in YAML_EXTENSIONS:
        raise SettingsError(f"the configuration file {config} must be named *.yaml or *.yml; rename it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            document = _yaml_loader().get_source_data([str(config)]).get(str(config), {})
    except UserWarning:
        raise SettingsError(
            f"the configuration file {config} can't be read; correct the path or its rights"
        ) from None
    except UnicodeDecodeError:
        raise SettingsError(f"the configuration file {config} is not UTF-8 text; correct it") from None
    except (_yaml.YAMLError, _yaml.error.MarkedYAMLFutureWarning) as error:
        raise SettingsError(
            f"the configuration file {config} is not valid YAML{_line(error)}; correct it"
        ) from None
    if not isinstance(document, dict):
        raise SettingsError(f"the configuration file {config} must hold a mapping of options; correct it")
    return document


def _yaml_loader() -> BaseLoader:
    return BaseLoader(
        obj=quiet_dynaconf(),
        env="_envless",
        identifier="yaml",
        extensions=YAML_EXTENSIONS,
        file_reader=_yaml.safe_load,
        string_reader=_yaml.safe_load,
    )


def _line(error: Exception) -> str:
    """Where the error stands. Its own text is left out, because it quotes the file."""
    mark = getattr(error, "problem_mark", None)
    return f" in line {mark.line + 1}" if mark else ""


def quiet_dynaconf() -> Dynaconf:
    """A dynaconf that reads what it is told to and nothing else."""
    return Dynaconf(
        dynaconf_skip_loaders=True,
        dynaconf_skip_validators=True,
        auto_cast=False,
        dynaboxify=False,
        dotted_lookup=False,
        encoding="utf-8",
        environments=False,
        load_dotenv=False,
        merge_enabled=False,
        nested_separator=False,
        sysenv_fallback=False,
    )
