"""Every command, option, route, link and metric that a document names is there.

`tests/test_documents_run.py` runs what can be run. How a page is taken apart: `tests/documents/`.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.fernet import Fernet

from gateway.settings import CATALOGUE, load
from recorders.stores.urls import database_for
from tests.documents import command_line, names, routes, sayings, shell
from tests.documents.markdown import ALL, ROOT, Page

OTHER_PROGRAMS_FLAGS = {"--build-arg", "--peers"}
"""Docker's, and one that the bench makes of a name; a sentence names them without their program."""

QUOTING = ("operators-guide", "providers", "dumps", "retention", "claude-code")
"""Pages that say how something shows."""
NO_MESSAGE = re.compile(
    r"[={/$<\[]|--|^(ai-gateway|users|keys|sqlite3|systemctl|ulimit|claude|GET|POST)\b|^[a-z_-]+: \S+$|Bearer$"
)
"""Commands, routes, settings with a value, headers."""
OTHERS_SAY = {"database or disk is full", "Too many open files"}
"""SQLite, the operating system."""

every_page = pytest.mark.parametrize("page", ALL, ids=lambda page: page.name)


def shell_commands(page: Page) -> list[list[str]]:
    return [
        words
        for block in page.blocks
        if shell.is_shell(block.language)
        for words in shell.commands(block.text)
    ]


@every_page
def test_every_command_of_a_block_parses(page: Page) -> None:
    """With the parser of the program, and with settings that take each value."""
    for words in shell_commands(page):
        if (given := shell.of_the_gateway(words)) is not None:
            command_line.check(given)


@every_page
def test_every_command_in_a_sentence_exists(page: Page) -> None:
    """Whole, as a synopsis, or without the program's name: `keys revoke ID`."""
    for piece in page.inline:
        words = next(iter(shell.commands(piece)), [""])
        if words[0].endswith("ai-gateway"):
            command_line.check_mention(words[1:])
        elif words[0] in command_line.groups() and len(words) > 1:
            command_line.parser_of(words)


@every_page
def test_every_flag_in_a_sentence_exists(page: Page) -> None:
    """Of some command, or of a program for developers; `*` and `x` stand for many."""
    known = command_line.all_flags() | names.flags_for_developers() | OTHER_PROGRAMS_FLAGS
    for flag in re.findall(r"(?<=`)--[\w*-]+", page.prose):
        pattern = re.escape(flag).replace(r"\*", ".+")
        if flag not in ("--x", "--ai-gateway-x"):
            assert any(re.fullmatch(pattern, one) for one in known), flag


@every_page
def test_every_variable_is_read(page: Page) -> None:
    """By the gateway, or by the composition."""
    shown = {name for name in names.VARIABLE.findall(page.text) if not name.endswith("_X")}
    unread = {name for name in shown if not names.is_variable(name)}
    assert unread <= names.variables_of_compose()


@every_page
def test_every_name_with_underscores_is_the_codes(page: Page) -> None:
    """A setting that was renamed or misspelled is in no source; nor is a field, a column or a label."""
    shown = {piece for piece in page.inline if re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)+", piece)}
    metrics = {name.removeprefix("ai_gateway_") for name in names.metrics()} | names.metrics()
    assert shown <= names.settings() | metrics | names.words_of_the_sources()


@every_page
def test_every_option_of_a_table_is_a_setting(page: Page) -> None:
    """Tables of options have the heading `option`."""
    assert set(page.options) <= names.settings()


@every_page
def test_every_metric_exists(page: Page) -> None:
    """Under its whole name, as Prometheus shows it."""
    known = names.metrics() | names.settings()
    assert set(names.METRIC.findall(page.text)) <= known | names.words_of_the_sources()


@every_page
def test_every_yaml_block_of_settings_loads(page: Page, tmp_path: Path) -> None:
    """Files of secrets are there in this test; other YAML, such as Prometheus's, only has to be YAML."""
    for block in page.blocks:
        document = _yaml(block.language, block.text)
        if document and set(document) <= {*CATALOGUE.process, "ai_gateway"}:
            config = tmp_path / "settings.yaml"
            config.write_text(yaml.safe_dump(_with_files(document, tmp_path)))
            load(config=config, environ={})


def _yaml(language: str, text: str) -> dict[str, Any]:
    if language not in ("yaml", ""):
        return {}
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        assert not language, "a block of YAML can't be read"
        return {}
    return document if isinstance(document, dict) else {}


def _with_files(value: Any, folder: Path) -> Any:
    """The settings with each file of a secret replaced by one that is there."""
    if isinstance(value, list):
        return [_with_files(one, folder) for one in value]
    if not isinstance(value, Mapping):
        return value
    found = {}
    for name, given in value.items():
        if name.endswith("_file"):
            secret = folder / name
            secret.write_text(_secret(name))
            found[name] = str(secret)
        else:
            found[name] = _with_files(given, folder)
    return found


def _secret(name: str) -> str:
    match name.removesuffix("_file"):
        case "database_url":
            return "postgresql://user:fake@127.0.0.1/name"
        case "otlp_headers":
            return "authorization=fake"
        case "user_key_encryption_keys":
            return Fernet.generate_key().decode()
    return "fake-key"


@every_page
def test_every_json_toml_and_python_block_can_be_read(page: Page) -> None:
    """Whoever pastes it gets no syntax error."""
    for block in page.blocks:
        if block.language == "json" or block.text.startswith("{"):
            json.loads(block.text)
        elif block.language == "toml" or block.text.startswith(("model_provider", "[model_providers")):
            tomllib.loads(block.text)
        elif block.language == "python":
            compile(block.text, page.name, "exec")


@every_page
def test_every_link_leads_somewhere(page: Page) -> None:
    """To a file, and to a heading in it."""
    pages = {one.path.resolve(): one for one in ALL}
    for link in page.links:
        file, _, anchor = link.partition("#")
        target = (page.path.parent / file).resolve() if file else page.path.resolve()
        assert target.exists(), link
        assert not anchor or anchor in pages[target].anchors, link


@every_page
def test_every_file_module_and_target_that_is_named_exists(page: Page) -> None:
    """Files from the checkout's root or the page's folder, `python -m ...`, `make ...`."""
    files = [
        piece for piece in page.inline if re.fullmatch(r"[\w-]+(/[\w.-]+)+\.(py|yaml|json|conf|md)", piece)
    ]
    assert [file for file in files if not any((at / file).exists() for at in (ROOT, page.path.parent))] == []
    modules = [match[1] for piece in page.inline if (match := re.match(r"python -m ([\w.]+)", piece))]
    assert [module for module in modules if find_spec(module) is None] == []
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    made = [piece.split()[1] for piece in page.inline if re.fullmatch(r"make [a-z0-9-]+", piece)]
    assert set(made) <= set(targets)


@every_page
def test_every_route_that_is_shown_exists(page: Page) -> None:
    """In tables and sentences, and in lines for curl with the query and the body that stand there."""
    calls = routes.shown_in(page.inline)
    calls += [
        call for words in shell_commands(page) if words[0] == "curl" and (call := routes.of_curl(words))
    ]
    for call in calls:
        routes.check(call)


@pytest.mark.parametrize(
    "page", [page for page in ALL if page.path.stem in QUOTING], ids=lambda page: page.name
)
def test_every_message_that_is_quoted_is_said(page: Page) -> None:
    """Whoever searches a log for the words of a document finds them."""
    quoted = {piece for piece in page.inline if " " in piece and not NO_MESSAGE.search(piece)}
    assert {piece for piece in quoted if not sayings.is_said(piece)} <= OTHERS_SAY


async def test_every_query_runs_on_either_database(database_url: str) -> None:
    """As the guide says."""
    database = database_for(database_url)
    await database.open()
    try:
        for page in ALL:
            for block in page.blocks:
                if block.language == "sql":
                    await database.fetch(block.text.rstrip(";"))
    finally:
        await database.close()
