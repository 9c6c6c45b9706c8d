"""`ai-gateway chat` for one question, what it refuses, and what of a chat can be seen later."""

from __future__ import annotations

import asyncio
import getpass
import io
import logging
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.__main__ import main
from gateway.loop_thread import LoopThread
from gateway.settings import terminal_variables
from tests.answers.turn import ToolUse
from tests.gateway.chats import MODEL, chatty, environment, interrupted_by, said, turns
from tests.gateway.rig import TOKEN
from tests.servers import serving
from tests.upstream import Answer, Received, Reply, Upstream

FOOT = "anthropic/scripted-model · organisation's key · through the gateway · 100 in / 10 out\n"


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


class Keyboard(io.StringIO):
    """Standard input that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Command:
    """Runs command lines in a folder and an environment of their own, with a provider that answers as it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.upstream = chatty()
        self.variables: dict[str, str | None] = {}

    def __call__(
        self, *words: str, answers: tuple[Answer, ...] = (), stdin: io.StringIO | None = None
    ) -> Outcome:
        self.upstream = chatty(*answers)
        with _provider(self.upstream) as url, self._monkeypatch.context() as patch:
            given: Mapping[str, str | None] = {**environment(url), **self.variables}
            for name, value in given.items():
                patch.delenv(name, raising=False)
                if value is not None:
                    patch.setenv(name, value)
            patch.setattr(sys, "stdin", stdin or Keyboard())
            status = main(["chat", *words])
        return Outcome(status, *self._capsys.readouterr())


@contextmanager
def _provider(upstream: Upstream) -> Iterator[str]:
    """In a thread of its own, since the command has the main one."""
    urls: list[str] = []

    @asynccontextmanager
    async def served() -> AsyncIterator[None]:
        async with serving(upstream) as url:
            urls.append(url)
            yield

    with LoopThread(served()):
        yield urls[0]


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    # The provider is in this process too, and asyncio warns of each thing that it says to a call that was given up.
    monkeypatch.setattr(logging.getLogger("asyncio"), "disabled", True)
    yield Command(monkeypatch, capsys)
    root.handlers = handlers
    root.setLevel(level)


def chat_id_of(outcome: Outcome) -> str:
    match = re.search(r"Go on with it: ai-gateway chat --chat (\S+)\n", outcome.err)
    assert match is not None, outcome.err
    return match[1]


def test_one_question_gets_its_answer_alone_on_standard_output(command: Command) -> None:
    """Who answered, and how to go on, stand on standard error."""
    outcome = command("--once", "How are you?", answers=(said("Well, thank you"),))

    assert (outcome.status, outcome.out) == (0, "Well, thank you\n")
    assert outcome.err == f"{FOOT}Go on with it: ai-gateway chat --chat {chat_id_of(outcome)}\n"


def test_a_question_can_come_through_a_pipe(command: Command) -> None:
    """With its line breaks; whoever reads the answer gets no thoughts and no escapes with it."""
    answer = said("a\x1b[31mb", thought="hm")

    outcome = command(stdin=io.StringIO("one\ntwo\n"), answers=(answer,))

    assert (outcome.status, outcome.out) == (0, "a\ufffd[31mb\n")
    assert turns(command.upstream)[0].json["messages"][0]["content"][0]["text"] == "one\ntwo\n"


def test_a_chat_goes_on_and_is_listed_for_its_owner(command: Command) -> None:
    """The model is told what was said before, and the system text that the chat began with."""
    first = command("--system", "Be brief.", "--once", "One?", answers=(said("1"),))
    chat_id = chat_id_of(first)

    second = command("--chat", chat_id, "--once", "Two?", answers=(said("2"),))
    (request,) = turns(command.upstream)
    listed = command("--list")

    assert second.out == "2\n"
    assert [one["content"][0]["text"] for one in request.json["messages"]] == ["One?", "1", "Two?"]
    assert request.json["system"][0]["text"] == "Be brief."
    assert listed.status == 0
    assert re.fullmatch(rf"{chat_id}  \d{{4}}-\d\d-\d\d \d\d:\d\d  {MODEL}  .+\n", listed.out)


def test_tools_are_told_beside_the_answer(command: Command) -> None:
    """And the tokens of all calls of the turn are told together."""
    wait = ToolUse("wait_agent", '{"agent_id": "nobody"}')

    outcome = command("--once", "Wait", answers=(said("", tool=wait), said("Nobody is there")))

    assert outcome.out == "Nobody is there\n"
    assert 'calls wait_agent {"agent_id": "nobody"}\nwait_agent failed there is no such agent' in outcome.err
    assert "200 in / 20 out" in outcome.err


@pytest.mark.parametrize("switch", ["AI_GATEWAY_CHAT_ROUTING_ENABLED", "AI_GATEWAY_ENABLED"])
def test_without_the_gateway_the_provider_is_called_directly(command: Command, switch: str) -> None:
    """The central key goes with it, and the line on who answered says so."""
    command.variables[switch] = "false"

    outcome = command("--once", "Hi", answers=(said("Hello"),))

    assert (outcome.status, outcome.out) == (0, "Hello\n")
    assert "organisation's key · straight to the provider" in outcome.err
    assert turns(command.upstream)[0].header("x-api-key") == "sk-ant-fake-central-anthropic-key"


def test_providers_of_a_server_on_the_same_database_stay_as_they_are(command: Command) -> None:
    """The terminal may know fewer of them, or others."""
    assert command("--once", "Hi", answers=(said("Hello"),)).status == 0
    with closing(sqlite3.connect("data/ai-gateway.db")) as database, database:
        database.execute("UPDATE ai_providers SET id = 'another', name = 'another'")
    assert command("--once", "Hi", answers=(said("Hello"),)).status == 0
    with closing(sqlite3.connect("data/ai-gateway.db")) as database:
        rows = database.execute("SELECT name, enabled FROM ai_providers ORDER BY name").fetchall()
    assert rows == [("another", 1), ("anthropic", 1)]


def test_who_serves_is_not_warned_on_a_persons_terminal(command: Command) -> None:
    """What an operator should know is in the server's log."""
    command.variables["AI_GATEWAY_CHAT_MODEL"] = None

    assert "WARNING" not in command("--list").err


def test_a_turn_that_fails_is_status_1(command: Command) -> None:
    """With one line on why, and no answer."""
    outcome = command("--once", "Hi")

    assert (outcome.status, outcome.out) == (1, "")
    assert re.search(r"^ai-gateway: .*the script is at its end", outcome.err, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--chat", "nope", "--once", "Hi"), "There is no such chat."),
        (("--once", "x" * 200_001), "The message has more than 200000 characters."),
        (("--token-file", "nowhere", "--once", "Hi"), "No such file or directory: 'nowhere'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_status_1(
    command: Command, words: tuple[str, ...], said: str
) -> None:
    """Nothing on standard output, and no model is called."""
    outcome = command(*words)

    assert (outcome.status, outcome.out) == (1, "")
    assert "ai-gateway: " in outcome.err
    assert said in outcome.err
    assert turns(command.upstream) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--model", "nowhere/m", "--once", "Hi"), "no provider 'nowhere' for the model nowhere/m; configured: a"),
        (("--model", MODEL, "--chat", "x"), "--model and --system are for a new chat"),
        (("--list", "--once", "Hi"), "--list goes alone"),
        (("--once", " "), "the question is empty"),
        (("--ai-gateway-chat-model", "", "--once", "Hi"), "pass --model anthropic/MODEL, or set chat_model"),
    ],
)  # fmt: skip
def test_a_command_line_that_makes_no_sense_is_status_2(
    command: Command, words: tuple[str, ...], said: str
) -> None:
    """Before a database is made."""
    outcome = command(*words)

    assert (outcome.status, outcome.out) == (2, "")
    assert said in outcome.err
    assert not Path("data").exists()


def test_a_model_is_written_with_its_provider(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """The parser says so."""
    with pytest.raises(SystemExit) as caught:
        command("--model", "claude")

    assert caught.value.code == 2
    assert "must be of the form provider/model" in capsys.readouterr().err


def test_a_token_that_is_not_accepted_is_one_sentence(command: Command) -> None:
    """Which doesn't repeat it."""
    command.variables["GATEWAY_TOKEN"] = "fakegateid-wrong"

    outcome = command("--once", "Hi")

    assert outcome == (
        1,
        "",
        "ai-gateway: the gateway token is not accepted: it is wrong, has ended, or is of another database\n",
    )


def test_the_token_may_stand_in_a_file_and_beats_the_variable(command: Command) -> None:
    """An empty file is no token."""
    command.variables["GATEWAY_TOKEN"] = "fakegateid-wrong"
    Path("token").write_text(f"{TOKEN}\n")
    Path("empty").write_text("\n")

    assert command("--token-file", "token", "--list").status == 0
    assert command("--token-file", "empty", "--list").err == "ai-gateway: empty holds no gateway token\n"


@pytest.mark.parametrize(
    ("variables", "color"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_the_environment_says_whether_colors_are_welcome(variables: dict[str, str], color: bool) -> None:
    """As https://no-color.org has it: an empty variable is none."""
    assert terminal_variables(variables).color is color


def test_a_person_without_a_token_is_asked_for_it(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an echo; where there is no person it is an error."""
    command.variables["GATEWAY_TOKEN"] = None
    monkeypatch.setattr(getpass, "getpass", lambda prompt: TOKEN)

    asked = command("--list")
    piped = command(stdin=io.StringIO("Hi"))

    assert asked == (0, "", "You have no chats yet.\n")
    assert piped == (
        2,
        "",
        "ai-gateway: no gateway token: set GATEWAY_TOKEN, or name a file with --token-file (`ai-gateway keys create` "
        "makes one)\n",
    )


def test_a_chat_is_its_owners_alone(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """Users and keys may be the database's; another one neither sees the chat nor can go on with it."""
    tokens = {}
    for name in ("ada", "ben"):
        assert main(["users", "create", name]) == 0
        assert main(["keys", "create", "--user", name]) == 0
        tokens[name] = capsys.readouterr().out.strip()
    command.variables |= {"AI_GATEWAY_AUTH": None, "GATEWAY_TOKEN": tokens["ada"]}
    chat_id = chat_id_of(command("--once", "Hi", answers=(said("Hello"),)))

    command.variables["GATEWAY_TOKEN"] = tokens["ben"]

    assert command("--list") == (0, "", "You have no chats yet.\n")
    assert command("--chat", chat_id, "--once", "Hi") == (1, "", "ai-gateway: There is no such chat.\n")


def test_ctrl_c_ends_the_one_question_with_the_status_of_a_signal(command: Command) -> None:
    """The turn is interrupted in order."""

    def answer(request: Received) -> Reply:
        os.kill(os.getpid(), signal.SIGINT)
        return interrupted_by(asyncio.Event(), "One two three")

    outcome = command("--once", "Count", answers=(answer,))

    assert outcome.status == 130
    assert "interrupted" in outcome.err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_commands_do_not_load_the_vendors_sdks() -> None:
    """They take a second."""
    script = "import sys, gateway.__main__; sys.exit(bool({'openai', 'anthropic'} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
