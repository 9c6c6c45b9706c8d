"""Every call has its result, right behind it."""

from __future__ import annotations

from gateway.chat.content import Said, ToolCall, ToolResult
from gateway.chat.models.interrupted import INTERRUPTED, with_results
from tests.gateway.chat.models.apis import assistant, user


def call(call_id: str) -> ToolCall:
    return ToolCall(call_id=call_id, name="f", arguments="{}")


def result(call_id: str, content: str = "done") -> ToolResult:
    return ToolResult(call_id=call_id, name="f", content=content)


def tool(*results: ToolResult) -> Said:
    return Said("tool", results)


def missing(call_id: str) -> ToolResult:
    return ToolResult(call_id=call_id, name="f", content=INTERRUPTED, is_error=True)


def test_a_complete_conversation_stays_as_it_is() -> None:
    """Nothing is added where nothing is missing."""
    messages = [user("Hi"), assistant(call("a")), tool(result("a")), assistant(), user("Thanks")]

    assert with_results(messages) == messages


def test_a_call_without_a_result_gets_one_that_says_why() -> None:
    """Wherever the turn was interrupted, at the end or before the next message."""
    assert with_results([assistant(call("a")), user("Well?"), assistant(call("b"))]) == [
        assistant(call("a")),
        tool(missing("a")),
        user("Well?"),
        assistant(call("b")),
        tool(missing("b")),
    ]


def test_a_result_among_several_that_is_missing_is_added_in_its_place() -> None:
    """Those that came are kept, in the order of the calls."""
    assert with_results(
        [assistant(call("a"), call("b"), call("c")), tool(result("c")), tool(result("a"))]
    ) == [
        assistant(call("a"), call("b"), call("c")),
        tool(result("a"), missing("b"), result("c")),
    ]


def test_a_result_that_came_behind_a_message_moves_before_it() -> None:
    """Providers want it right behind the call."""
    assert with_results([assistant(call("a")), user("Well?"), tool(result("a"))]) == [
        assistant(call("a")),
        tool(result("a")),
        user("Well?"),
    ]


def test_a_result_that_nothing_asked_for_is_left_out() -> None:
    """Providers refuse that too."""
    assert with_results(
        [user("Hi"), tool(result("x")), assistant(call("a")), tool(result("y"), result("a"))]
    ) == [
        user("Hi"),
        assistant(call("a")),
        tool(result("a")),
    ]


def test_a_later_answer_that_numbers_its_calls_anew_keeps_its_own_result() -> None:
    """An ID is good for one answer only."""
    assert with_results([assistant(call("0")), assistant(call("0")), tool(result("0", "second"))]) == [
        assistant(call("0")),
        tool(missing("0")),
        assistant(call("0")),
        tool(result("0", "second")),
    ]
