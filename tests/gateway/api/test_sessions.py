"""The list of sessions and the view of one: filters, pages, and what members don't see."""

from __future__ import annotations

from itertools import product
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from gateway.history import session
from tests.gateway.api.house import House, at
from tests.recorders import samples


def ids(page: Any) -> list[str]:
    return [one["id"] for one in page["sessions"]]


async def pages(house: House, query: str, name: str = "audrey") -> list[list[str]]:
    """The sessions of each page, to the end."""
    found = []
    page = await house.get(f"/sessions?{query}", name)
    found.append(ids(page))
    while page["next"]:
        page = await house.get(f"/sessions?{query}&{urlencode(page['next'])}", name)
        found.append(ids(page))
    return found


# -- what a session is ----------------------------------------------------------------------------------------------


async def test_a_session_sums_up_its_interceptions(house: House) -> None:
    """Two threads with two models, one user."""
    await house.record(
        [
            house.started("i1", 0, client_session_id="s", model="big"),
            samples.prompt("i1", prompt="Why does it fail? " * 40),
            samples.tokens("i1"),
            samples.tool("i1"),
            samples.end("i1", ended_at=at(1)),
            house.started("i2", 2, client_session_id="s", model="small", correlating_tool_call_id="call_1"),
            samples.tokens("i2", input_tokens=1),
            samples.tokens("i2", id="i2-more", output_tokens=2),
            house.started("i3", 3, client_session_id="s", model="big", provider_name="anthropic-eu"),
            samples.end("i3", ended_at=at(5)),
        ]
    )

    [found] = (await house.get("/sessions"))["sessions"]

    assert found == {
        "id": "s",
        "initiator": {"id": house.people["mia"].id, "username": "mia"},
        "started_at": "2026-01-02T12:00:00.123456Z",
        "last_started_at": "2026-01-02T12:03:00.123456Z",
        "ended_at": "2026-01-02T12:05:00.123456Z",
        "interceptions": 3,
        "threads": 2,
        "providers": [
            {"type": "anthropic", "name": "anthropic-corp"},
            {"type": "anthropic", "name": "anthropic-eu"},
        ],
        "models": ["big", "small"],
        "clients": ["Claude Code"],
        "token_usage": {
            "input_tokens": 21,
            "output_tokens": 42,
            "cache_read_input_tokens": 90,
            "cache_write_input_tokens": 120,
        },
        "first_prompt": ("Why does it fail? " * 40)[:200],
    }


async def test_counts_that_no_integer_holds_are_summed_all_the_same(house: House) -> None:
    """One provider's nonsense must not hide everybody's sessions."""
    await house.record([house.started("i1"), samples.tokens("i1"), samples.tokens("i1", id="b")])
    await house.record(
        [samples.tokens("i1", id=f"huge-{n}", input_tokens=2**63 - 1, output_tokens=2**90) for n in range(3)]
    )

    [found] = (await house.get("/sessions"))["sessions"]

    assert found["token_usage"]["input_tokens"] >= 2**63


async def test_an_interception_whose_start_is_not_known_yet_is_not_shown(house: House) -> None:
    """Its end may come first, through another worker."""
    await house.record([samples.end("i1"), samples.tokens("i1")])

    assert (await house.get("/sessions"))["sessions"] == []
    assert (await house.get("/interceptions"))["interceptions"] == []
    assert (await house.get("/models"))["models"] == []


async def test_users_who_share_a_session_id_have_a_session_each(house: House) -> None:
    """Clients choose session IDs; one user's must not hide in another's, and pages must tell them apart."""
    for minute, name in enumerate(("mia", "max", "adam")):
        await house.record([house.started(f"of-{name}", minute, by=name, client_session_id="test")])

    found: list[str] = []
    query = "/sessions?limit=1"
    page = await house.get(query)
    while page["next"]:
        found.append(page["sessions"][0]["initiator"]["username"])
        page = await house.get(f"{query}&{urlencode(page['next'])}")
    found.append(page["sessions"][0]["initiator"]["username"])

    assert found == ["adam", "max", "mia"]
    message = await house.refused("/sessions?after_session_id=test")
    assert message == "after_initiator: missing, for several users have a session of this ID"
    assert ids(await house.get("/sessions?after_session_id=test", "max")) == []


# -- filters --------------------------------------------------------------------------------------------------------


async def company(house: House) -> None:
    """Four sessions of two people."""
    await house.record(
        [
            house.started("a1", 0, client_session_id="a", model="small"),
            house.started("a2", 1, client_session_id="a", model="big"),
            house.started("a3", 50, client_session_id="a", model="big", client="Zed"),
            house.started(
                "b1", 10, client_session_id="b", model="big", provider="openai", provider_name="azure"
            ),
            house.started("c1", 20, by="max", client_session_id="c", model="small", client="Codex"),
            house.started("d1", 30, by="max", client_session_id="d'|\"x", model="big|small", client="Codex"),
        ]
    )


FILTERED = {
    "": ["d'|\"x", "c", "b", "a"],
    "initiator=mia": ["b", "a"],
    "initiator=MAX": ["d'|\"x", "c"],
    "initiator=me": [],
    "initiator=nobody": [],
    "model=big": ["b", "a"],
    "model=small": ["c", "a"],
    "model=big|small": ["d'|\"x"],
    "provider=openai": ["b"],
    "provider_name=anthropic-corp": ["d'|\"x", "c", "a"],
    "client=Zed": ["a"],
    "client=Zed&model=small": [],
    "client=Codex&model=small": ["c"],
    "initiator=mia&model=big&provider=openai": ["b"],
    "session_id=a": ["a"],
    "session_id=a&model=big": ["a"],
    "session_id=a&model=huge": [],
    "session_id=d'|%22x": ["d'|\"x"],
    "started_after=2026-01-02T12:20:00.123456Z": ["a", "d'|\"x", "c"],
    "started_before=2026-01-02T12:20:00.123456Z": ["b", "a"],
    "started_after=2026-01-02T12:05:00Z&started_before=2026-01-02T14:15:00%2B02:00": ["b"],
    "model=big&started_after=2026-01-02T12:05:00Z": ["a", "b"],
    "q=model:big+initiator:mia": ["b", "a"],
    'q=client:"Claude Code" model:small': ["a"],
    "q=model:small&client=Codex": ["c"],
    "limit=1": ["d'|\"x"],
    "limit=2&offset=1": ["c", "b"],
    "offset=4": [],
    "model=big&offset=1": ["a"],
}


async def test_filters(house: House) -> None:
    """A session is found when one of its interceptions fits all of them, and stands where the first such does."""
    await company(house)

    found = {query: ids(await house.get(f"/sessions?{quote(query, safe='=&%+')}")) for query in FILTERED}

    assert found == FILTERED


INJECTIONS = (
    "'",
    "' OR '1'='1",
    "a'; DROP TABLE users; --",
    "a' UNION SELECT * FROM users --",
    "%",
    "_",
    "?",
    "$1",
    "\\",
)


async def test_sql_in_a_filter_is_only_text(house: House) -> None:
    """It finds nothing, breaks nothing and shows nothing."""
    await company(house)
    names = ("initiator", "provider", "provider_name", "model", "client", "session_id")

    for name, text in product(names, INJECTIONS):
        assert ids(await house.get(f"/sessions?{urlencode({name: text})}")) == []
        assert ids(await house.get(f"/sessions?{urlencode({name: text})}", "mia")) == []
    for text in INJECTIONS:
        await house.refused(f"/sessions/{quote(text, safe='')}", status=404)
        await house.refused(f"/sessions?{urlencode({'after_session_id': text})}")
        await house.refused(f"/sessions/a?{urlencode({'after_thread_id': text})}")
        await house.refused(f"/interceptions?{urlencode({'after_id': text})}")

    assert len(await house.accounts.list_users()) == 4
    assert len(ids(await house.get("/sessions"))) == 4


# -- pages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query", ["limit=3", "limit=3&model=big", "limit=3&initiator=mia", "limit=3&client=Zed"]
)
async def test_no_session_is_skipped_or_doubled_while_records_are_added(house: House, query: str) -> None:
    """Between any two pages old sessions go on, new ones begin, and some begin at the very same time."""
    for number in range(10):
        for call in range(3):
            await house.record(
                [
                    house.started(
                        f"i-{number:02}-{call}",
                        number // 2 + call * 7,
                        client_session_id=f"s{number:02}",
                        model="big" if call else "small",
                        client=("Zed", "Mux")[call % 2],
                    )
                ]
            )
    expected = [session_id for page in await pages(house, query) for session_id in page]

    found: list[str] = []
    page = await house.get(f"/sessions?{query}")
    turn = 0
    while True:
        found += ids(page)
        if not page["next"]:
            break
        turn += 1
        fresh = {"client": "Zed", "model": "big"}
        await house.record(
            [
                *(
                    house.started(f"on-{turn}-{n}", 100 + turn, client_session_id=f"s{n:02}", **fresh)
                    for n in range(10)
                ),
                *(
                    house.started(f"new-{turn}-{n}", 100 + turn, client_session_id=f"n{turn}{n}", **fresh)
                    for n in range(3)
                ),
            ]
        )
        page = await house.get(f"/sessions?{query}&{urlencode(page['next'])}")

    assert found == expected
    assert len(set(found)) == 10


async def test_a_cursor_holds_when_its_session_became_part_of_another(house: House) -> None:
    """The call that it answers was stored later: what was a session is now in the middle of a thread."""
    await house.record([house.started("late", 5, correlating_tool_call_id="call_9"), house.started("old", 0)])
    first = await house.get("/sessions?limit=1")
    assert ids(first) == ["late"]

    await house.record(
        [house.started("caller", 4), samples.tool("caller", tool_call_id="call_9", created_at=at(4))]
    )

    assert ids(await house.get("/sessions")) == ["caller", "old"]
    assert ids(await house.get(f"/sessions?limit=5&{urlencode(first['next'])}")) == ["caller", "old"]


async def test_interceptions_are_paged_while_records_are_added(house: House) -> None:
    """Newest first; those of the same time by ID; what is added comes before the first page."""
    await house.record([house.started(f"i{n:02}", n // 4) for n in range(10)])

    found: list[str] = []
    query = "/interceptions?limit=3&model=claude"
    page = await house.get(query)
    while True:
        found += [one["id"] for one in page["interceptions"]]
        if not page["next"]:
            break
        await house.record([house.started(f"new{len(found)}", 60)])
        page = await house.get(f"{query}&{urlencode(page['next'])}")

    assert found == [f"i{n:02}" for n in reversed(range(10))]


async def test_an_interception_has_all_that_is_known_of_it(house: House) -> None:
    """The row, and the sum of its tokens; of one that runs, no end."""
    await house.record([*(samples.tokens("i1", id=f"t{n}") for n in range(2)), house.started("i1")])
    await house.record([samples.end("i1", error_type="overloaded", error_message="later", status=529)])
    await house.record([house.started("i2", 1)])

    running, ended = (await house.get("/interceptions"))["interceptions"]

    assert (running["id"], running["ended_at"], running["outcome"], running["status"]) == (
        "i2",
        None,
        None,
        None,
    )
    assert (ended["status"], ended["error_type"], ended["error_message"]) == (529, "overloaded", "later")
    assert ended["token_usage"]["output_tokens"] == 40
    assert ended["metadata"] == {"username": "mia"}
    assert ended["credential_hint"] == "sk-a...0001"


async def test_what_there_is_to_filter_by(house: House) -> None:
    """Each once; a member's list is of their own."""
    await company(house)

    assert await house.get("/models") == {"models": ["big", "big|small", "small"], "complete": True}
    assert await house.get("/models", "max") == {"models": ["big|small", "small"], "complete": True}
    assert (await house.get("/clients"))["clients"] == ["Claude Code", "Codex", "Zed"]
    assert (await house.get("/clients", "adam"))["clients"] == ["Claude Code", "Codex", "Zed"]
    assert (await house.get("/clients", "max"))["clients"] == ["Codex"]
    assert (await house.get("/providers", "mia"))["providers"] == [
        {"type": "anthropic", "name": "anthropic-corp"},
        {"type": "openai", "name": "azure"},
    ]


async def test_more_strata_than_are_looked_through(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Model names are the clients' words. The lists say that they are cut; filters still find everything."""
    await house.record([house.started(f"i{n}", n, model=f"m{n}") for n in range(9)])
    monkeypatch.setattr("gateway.history.strata.MAX_STRATA", 4)
    monkeypatch.setattr("gateway.history.walk.MAX_STRATA", 4)
    monkeypatch.setattr("gateway.history.interceptions.MAX_STRATA", 4)

    assert (await house.get("/models"))["complete"] is False
    assert ids(await house.get("/sessions?model=m8")) == ["i8"]
    assert len(ids(await house.get("/sessions?client=Claude+Code"))) == 9

    monkeypatch.setattr("gateway.history.walk.MAX_STRATA", 1000)
    monkeypatch.setattr("gateway.history.strata.MAX_STRATA", 1000)
    monkeypatch.setattr("gateway.history.walk.MAX_ARMS", 3)
    assert len(ids(await house.get("/sessions?client=Claude+Code"))) == 9


# -- one session ----------------------------------------------------------------------------------------------------


async def test_a_session_shows_its_threads_and_what_happened_in_them(house: House) -> None:
    """Oldest first: a thread of two calls, and one that has only begun."""
    await house.record(
        [
            house.started("i1", 0, client_session_id="s"),
            samples.prompt("i1"),
            samples.thought("i1"),
            samples.tool("i1", invocation_error="denied"),
            samples.tokens("i1"),
            samples.end("i1"),
            house.started("i2", 1, client_session_id="s", correlating_tool_call_id="call_1"),
            samples.tokens("i2"),
            house.started("i3", 2, client_session_id="s"),
        ]
    )

    found = await house.get("/sessions/s")

    assert (found["id"], found["next"]) == ("s", None)
    first, second = found["threads"]
    assert (first["id"], first["interceptions"], first["truncated"]) == ("i1", 2, False)
    assert first["token_usage"]["output_tokens"] == 40
    assert (second["id"], second["interceptions"]) == ("i3", 1)
    action, answer = first["agentic_actions"]
    assert action["prompts"] == ["What is a monad?"]
    assert action["thinking"] == [{"content": "Let me think.", "source": "thinking"}]
    assert action["tool_calls"] == [
        {
            "id": "call_1",
            "tool": "Bash",
            "input": '{"command": "ls"}',
            "server_url": None,
            "injected": False,
            "invocation_error": "denied",
        }
    ]
    assert (action["outcome"], action["status"]) == ("completed", 200)
    assert (answer["interception_id"], answer["outcome"], answer["prompts"]) == ("i2", None, [])


async def test_threads_come_in_pages(house: House) -> None:
    """Oldest first, and none twice."""
    await house.record([house.started(f"i{n}", n, client_session_id="s") for n in range(5)])

    first = await house.get("/sessions/s?limit=2")
    second = await house.get(f"/sessions/s?limit=2&{urlencode(first['next'])}")
    third = await house.get(f"/sessions/s?limit=2&{urlencode(second['next'])}")

    found = [[thread["id"] for thread in page["threads"]] for page in (first, second, third)]
    assert found == [["i0", "i1"], ["i2", "i3"], ["i4"]]
    assert third["next"] is None
    assert (await house.refused("/sessions/s?after_thread_id=x")) == (
        "after_thread_id: there is no such thread in the session"
    )


async def test_an_answer_has_a_bound_however_long_the_threads(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer threads come on a page; of one that is longer than a page its beginning, and it says so."""
    monkeypatch.setattr(session, "MAX_ACTIONS", 3)
    threads = {"a": 2, "b": 2, "c": 5, "d": 1}
    minute = 0
    for name, calls in threads.items():
        for call in range(calls):
            minute += 1
            root = {"thread_root_id": f"{name}0", "thread_parent_id": f"{name}{call - 1}"} if call else {}
            await house.record([house.started(f"{name}{call}", minute, client_session_id="s", **root)])

    found = []
    page = await house.get("/sessions/s")
    while True:
        found += [
            (thread["id"], len(thread["agentic_actions"]), thread["interceptions"], thread["truncated"])
            for thread in page["threads"]
        ]
        if not page["next"]:
            break
        page = await house.get(f"/sessions/s?{urlencode(page['next'])}")

    assert found == [("a0", 2, 2, False), ("b0", 2, 2, False), ("c0", 3, 5, True), ("d0", 1, 1, False)]


@pytest.mark.parametrize("session_id", ["a/b", "../users", "ä ö", "%2F", "x;y", "?", "s#1"])
async def test_a_session_with_an_odd_id_is_found_by_it(house: House, session_id: str) -> None:
    """Clients choose them."""
    await house.record([house.started("i1", client_session_id=session_id)])

    assert (await house.get(f"/sessions/{quote(session_id, safe='')}"))["id"] == session_id
    assert ids(await house.get(f"/sessions?{urlencode({'session_id': session_id})}")) == [session_id]


# -- members --------------------------------------------------------------------------------------------------------


async def test_members_see_their_own_and_auditors_everything(house: House) -> None:
    """In both lists, whatever they filter by."""
    await company(house)

    assert ids(await house.get("/sessions", "mia")) == ["b", "a"]
    assert ids(await house.get("/sessions", "adam")) == ["d'|\"x", "c", "b", "a"]
    for whose in ("max", "nobody", house.people["max"].id):
        assert ids(await house.get(f"/sessions?initiator={whose}", "mia")) == []
        assert (await house.get(f"/interceptions?initiator={whose}", "mia"))["interceptions"] == []
    for own in ("me", "MIA", house.people["mia"].id):
        assert ids(await house.get(f"/sessions?initiator={own}", "mia")) == ["b", "a"]
    assert ids(await house.get("/sessions?session_id=c", "mia")) == []
    assert ids(await house.get("/sessions?client=Codex", "mia")) == []


async def test_a_session_that_two_users_share_shows_a_member_only_their_part(house: House) -> None:
    """Who guesses an ID and uses it gains nothing."""
    await house.record(
        [
            house.started("hers", 0, client_session_id="s"),
            samples.prompt("hers", prompt="secret plan"),
            house.started("his", 1, by="max", client_session_id="s"),
        ]
    )

    threads = (await house.get("/sessions/s", "max"))["threads"]
    assert [thread["id"] for thread in threads] == ["his"]
    [listed] = (await house.get("/sessions", "max"))["sessions"]
    assert (listed["interceptions"], listed["first_prompt"]) == (1, None)
    assert len((await house.get("/sessions/s"))["threads"]) == 2
    assert [t["id"] for t in (await house.get("/sessions/s?initiator=max"))["threads"]] == ["his"]


async def test_another_users_session_looks_like_one_that_does_not_exist(house: House) -> None:
    """The same status, headers and words, whichever way it is asked for; and the same queries are made."""
    await company(house)
    asked: list[str] = []
    database = house.app.database
    assert database is not None
    fetch = type(database).fetch

    async def watched(self: Any, sql: str, *parameters: Any) -> Any:
        if "aibridge_" in sql:
            asked.append(sql)
        return await fetch(self, sql, *parameters)

    targets = (
        "/sessions/{}",
        "/sessions/{}?initiator=max",
        "/sessions/{}?initiator=nobody",
        "/sessions?after_session_id={}",
        "/sessions?session_id={}",
        "/sessions?after_session_id={}&after_initiator=" + house.people["max"].id,
        "/interceptions?session_id={}",
        "/interceptions?after_id={}1",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(database), "fetch", watched)
        for target in targets:
            seen = []
            for session_id in ("c", "nosuch"):
                asked.clear()
                answer = await house.ask(target.format(session_id), token=house.people["mia"].token)
                kept = [pair for pair in answer.headers if pair[0] != b"x-ai-gateway-request-id"]
                seen.append((answer.status, kept, answer.body, list(asked)))
            assert seen[0] == seen[1], target


async def test_prefixes_and_mounts_are_those_of_the_data_plane(small_house: House) -> None:
    """Canonical, legacy, none, and whatever a host chose."""
    token = small_house.people["audrey"].token
    for prefix in ("/api/v2/ai-gateway", "/api/v2/aibridge", ""):
        assert (await small_house.ask("/sessions", token=token, prefix=prefix)).status == 200
        mounted = await small_house.ask("/sessions", token=token, prefix=f"/host{prefix}", root_path="/host")
        assert mounted.status == 200
    assert (await small_house.ask("/sessions", token=token, prefix="/other")).status == 404
    assert (await small_house.ask("/sessions/", token=token)).status == 404
    assert (await small_house.ask("/users/mia", token=small_house.people["adam"].token)).status == 405
    for target in ("/users/a/b/c", "/models/x", "/openapi.json/x", "//sessions", "/sessionsx"):
        answer = await small_house.ask(target, token=token)
        assert answer.status == 404
        assert b"route not supported: GET" in answer.body
