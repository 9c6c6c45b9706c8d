"""Pages are taken apart as they are meant, and what is wrong in one is found."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from middleware.errors import BadRequest
from tests.documents import command_line, names, routes, sayings, shell
from tests.documents.markdown import Block, Page

TEXT = """# A page's `code`, and [a link](other.md)

Inline `ai-gateway users
list` and more:

    export A=1
    ai-gateway serve

```yaml
port: 1
```

- In a list:

      find . -delete

| option | default |
|---|---|
| `port`, `host` | none |
"""


@pytest.fixture
def page(tmp_path: Path) -> Page:
    path = tmp_path / "page.md"
    path.write_text(TEXT)
    return Page(path)


def test_a_page_has_blocks_inline_code_anchors_links_and_options(page: Page) -> None:
    """Fenced and indented blocks, code that goes on in the next line, a heading with code and a link in it."""
    assert page.blocks == [
        Block("yaml", "port: 1"),
        Block("", "export A=1\nai-gateway serve"),
        Block("", "find . -delete"),
    ]
    assert page.inline == ["code", "ai-gateway users list", "port", "host"]
    assert page.links == ["other.md"]
    assert page.anchors == {"a-pages-code-and-a-link"}
    assert page.options == ["port", "host"]


def test_a_block_is_cut_into_its_commands() -> None:
    """At operators and line ends, without assignments, redirections and comments; a long line goes on."""
    block = "export A=1  # why\n(umask 077; b 'c d' > e)\nf \\\n  -g | h < i && A=2 j"
    assert list(shell.commands(block)) == [["umask", "077"], ["b", "c d"], ["f", "-g"], ["h"], ["j"]]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (".venv/bin/ai-gateway serve", ["serve"]),
        ("docker compose exec gateway ai-gateway users list", ["users", "list"]),
        ("kubectl exec deploy/x -- ai-gateway health", ["health"]),
        ("docker build -t ai-gateway .", None),
        ("journalctl --unit ai-gateway --since -1h", None),
    ],
)
def test_the_gateways_command_is_found_where_it_is_called(line: str, found: list[str] | None) -> None:
    """By its path, in a container, and not where something else has its name."""
    assert shell.of_the_gateway(line.split()) == found


@pytest.mark.parametrize(
    "line",
    [
        "keys creat",
        "keys revoke",
        "keys list --users alice",
        "serve --workers x",
        "serve --ai-gateway-retention 9",
    ],
)
def test_a_wrong_command_is_found(line: str) -> None:
    """The word, an argument that is missing, the flag, the value."""
    with pytest.raises((AssertionError, ValueError)):
        command_line.check(line.split())


def test_a_synopsis_may_leave_out_what_it_brackets_and_no_more() -> None:
    """And may name a command alone."""
    command_line.check_mention(["keys", "create", "--user", "NAME", "[--lifetime", "90d]"])
    command_line.check_mention(["keys", "create"])
    with pytest.raises(AssertionError, match="--life is no flag"):
        command_line.check_mention(["keys", "create", "--user", "NAME", "[--life", "90d]"])


@pytest.mark.parametrize(
    "call",
    [
        routes.Call("GET", "/session"),
        routes.Call("PATCH", "/users"),
        routes.Call("GET", "/sessions?modle=x"),
        routes.Call("POST", "/users", '{"role": "member"}'),
        routes.Call("POST", "/openai/v1/files"),
    ],
)
def test_a_wrong_call_is_found(call: routes.Call) -> None:
    """Path, method, query, body, a provider's route."""
    with pytest.raises((AssertionError, BadRequest, msgspec.ValidationError)):
        routes.check(call)


def test_wrong_names_and_messages_are_found() -> None:
    """A variable, a metric, a message with another word in it."""
    assert names.is_variable("AI_GATEWAY_RETENTION")
    assert not names.is_variable("AI_GATEWAY_RETENTIONS")
    assert "ai_gateway_records_total" in names.metrics()
    assert "ai_gateway_recordings_total" not in names.metrics()
    assert sayings.is_said("storing records failed, again in 1.5 s: ...")
    assert not sayings.is_said("saving records failed, again in 1.5 s: ...")
