"""A conversation with `ai-gateway chat` on a real terminal: what a person sees as it happens, and their keys."""

from __future__ import annotations

import asyncio
import re
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.chat.routing import ModelName
from gateway.chat.store import ChatStore
from recorders.stores.urls import database_for
from tests.gateway.chats import MODEL, chatty, environment, interrupted_by, said, turns
from tests.gateway.terminal import CTRL_C, CTRL_D, terminal
from tests.servers import serving


async def test_words_are_shown_as_they_come_and_then_who_answered(tmp_path: Path) -> None:
    """The first words stand on the terminal while the provider holds back the last one."""
    gate = asyncio.Event()
    upstream = chatty(interrupted_by(gate, "Hello, dear person"))
    async with (
        serving(upstream) as url,
        terminal("chat", folder=tmp_path, environment=environment(url)) as person,
    ):
        await person.sees("you> ")
        person.types("Hi\r")
        await person.sees("Hello, dear ")
        assert "person" not in person.text
        gate.set()
        await person.sees("person\r\n")
        await person.sees(
            r"anthropic/scripted-model · organisation's key · through the gateway · 100 in / 10 out"
        )
        await person.sees("you> ")
        person.types(CTRL_D)
        await person.sees(r"Go on with it: ai-gateway chat --chat [0-9a-f-]+")
        assert await person.ended() == 0


async def test_ctrl_c_ends_an_answer_and_keeps_what_was_said_of_it(tmp_path: Path) -> None:
    """The provider sees the caller leave, the prompt comes back, and the model is told of its own first words."""
    upstream = chatty(interrupted_by(asyncio.Event(), "One two three"), said("Four"))
    async with (
        serving(upstream) as url,
        terminal("chat", folder=tmp_path, environment=environment(url)) as person,
    ):
        await person.sees("you> ")
        person.types("Count\r")
        await person.sees("One two ")
        person.types(CTRL_C)
        await person.sees("interrupted")
        await person.sees("you> ")
        async with asyncio.timeout(10):
            await turns(upstream)[0].disconnected.wait()
        person.types("Go on\r")
        await person.sees("Four")
        await person.sees("you> ")
        person.leaves()
        assert await person.ended() == 0
    told = [(one["role"], one["content"][0]["text"]) for one in turns(upstream)[1].json["messages"]]
    assert told == [("user", "Count"), ("assistant", "One two "), ("user", "Go on")]


async def test_a_closed_terminal_ends_the_command_in_order_and_the_chat_can_go_on(tmp_path: Path) -> None:
    """It isn't left as if a turn ran; who goes on with it sees what was said."""
    upstream = chatty(interrupted_by(asyncio.Event(), "One two three"), said("Four"))
    async with serving(upstream) as url:
        async with terminal("chat", folder=tmp_path, environment=environment(url)) as person:
            await person.sees("you> ")
            person.types("Count\r")
            await person.sees("One two ")
            person.signal(signal.SIGHUP)
            chat_id = (await person.sees(r"--chat ([0-9a-f-]+)"))[1]
            assert await person.ended() == 128 + signal.SIGHUP
        async with terminal(
            "chat", "--chat", chat_id, folder=tmp_path, environment=environment(url)
        ) as person:
            await person.sees("you> Count\r\n")
            await person.sees("One two\r\n")
            await person.sees("you> ")
            person.types("Go on\r")
            await person.sees("Four")
            await person.sees("you> ")
            person.types("/quit\r")
            assert await person.ended() == 0


async def test_a_failed_turn_is_told_and_the_person_may_try_again(tmp_path: Path) -> None:
    """One line on why, and the prompt; the exit status is that of leaving."""
    upstream = chatty()
    async with (
        serving(upstream) as url,
        terminal("chat", folder=tmp_path, environment=environment(url)) as person,
    ):
        await person.sees("you> ")
        person.types("Hi\r")
        await person.sees("ai-gateway: .*the script is at its end")
        await person.sees("you> ")
        person.types("/help\r")
        await person.sees("Ctrl-D leaves")
        person.types("/title\r")
        await person.sees("There is no /title")
        person.types("/quit\r")
        assert await person.ended() == 0
    assert len(turns(upstream)) == 1


async def test_thoughts_are_dimmed_and_what_a_model_sends_to_the_terminal_is_not_obeyed(
    tmp_path: Path,
) -> None:
    """Its escapes show as what they are: no characters to be read."""
    upstream = chatty(said("safe \x1b]0;owned\x07 text", thought="let me see"))
    async with (
        serving(upstream) as url,
        terminal("chat", folder=tmp_path, environment=environment(url)) as person,
    ):
        await person.sees("you> ")
        person.types("Hi\r")
        await person.sees(re.escape("\x1b[2mlet \x1b[0m"))
        await person.sees("safe \ufffd]0;owned\ufffd text")
        await person.sees("you> ")
        person.types(CTRL_D)
        assert await person.ended() == 0
        assert "\x1b]0" not in person.text


async def test_a_chat_that_another_process_runs_takes_the_message_and_ctrl_c_takes_it_back(
    tmp_path: Path,
) -> None:
    """The message waits in line for that turn; the prompt comes back."""
    upstream = chatty()
    chat_id = await _chat_that_runs_elsewhere(tmp_path / "data")
    async with (
        serving(upstream) as url,
        terminal("chat", "--chat", chat_id, folder=tmp_path, environment=environment(url)) as person,
    ):
        await person.sees("you> ")
        person.types("Hi\r")
        await person.sees("It waits until the turn that runs has ended")
        person.types(CTRL_C)
        await person.sees("the message that waited there is taken back")
        await person.sees("you> ")
        person.types(CTRL_D)
        assert await person.ended() == 0
    assert upstream.requests == []


async def _chat_that_runs_elsewhere(folder: Path) -> str:
    database = database_for(f"sqlite:///{folder}/ai-gateway.db")
    await database.open()
    store = ChatStore(database, keys_elsewhere=True)
    chat = await store.create_chat(
        owner_id="admin", owner_name="admin", model=ModelName.parse(MODEL), api_key_id="static"
    )
    assert await store.claim(chat.id, "another", datetime.now(UTC) + timedelta(hours=1))
    await database.close()
    return chat.id
