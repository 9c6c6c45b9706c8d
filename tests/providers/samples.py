"""The recorded answers and requests under `tests/samples`, and what they say.

The bytes are as the providers send them, with made-up content that is there to confuse: quoted words of the format
within text, U+2028, escaped quotes, blank lines, numbers in odd forms.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from providers.anthropic.messages import MESSAGES
from providers.base import AccountBound, Api, Fact, ProviderFailure, Thought, ToolCall, Usage
from providers.openai.bonds import bond_of
from providers.openai.chat import CHAT_COMPLETIONS
from providers.openai.responses import RESPONSES

_ROOT: Final = Path(__file__).parent.parent / "samples"


def load(path: str) -> bytes:
    return (_ROOT / path).read_bytes()


@dataclass(frozen=True)
class Sample:
    """One answer, the facts that it holds, and the response ID."""

    api: Api
    file: str
    msg_id: str
    facts: tuple[Fact, ...]

    @property
    def name(self) -> str:
        return f"{self.api.name}/{self.file}"

    @property
    def body(self) -> bytes:
        return load(self.name)

    @property
    def streamed(self) -> bool:
        return self.file.endswith(".sse")

    def read(self, *pieces: bytes) -> list[Fact]:
        """What a new reader says of `pieces`, which are whatever became of the body."""
        reader = self.api.reader(streamed=self.streamed)
        facts = [fact for piece in pieces for fact in reader.feed(piece)]
        return [*facts, *reader.close()]


def _call(msg_id: str, call_id: str, tool: str, written: str, **more: str) -> ToolCall:
    return ToolCall(msg_id=msg_id, tool_call_id=call_id, tool=tool, input=written, metadata=more)


def _thinking(content: str) -> Thought:
    return Thought(content=content, source="thinking")


_CACHE: Final = {"cache_ephemeral_5m_input": 1000, "cache_ephemeral_1h_input": 24}


def _cached(msg_id: str, output_tokens: int) -> Usage:
    return Usage(
        msg_id=msg_id,
        input_tokens=412,
        output_tokens=output_tokens,
        cache_read_input_tokens=20480,
        cache_write_input_tokens=1024,
        extra=_CACHE,
    )


_MESSAGES: Final = (
    Sample(MESSAGES, "text.sse", "msg_01Text", (_cached("msg_01Text", 31),)),
    Sample(
        MESSAGES,
        "tool_calls.sse",
        "msg_01Tools",
        (
            _call("msg_01Tools", "toolu_01A", "Read", '{"file_path": "src/main.py", "limit": 1.50}'),
            _call("msg_01Tools", "toolu_01B", "Bash", '{"command": "grep -n \\"todo\\" caf\\u00e9.txt"}'),
            _call("msg_01Tools", "toolu_01C", "TodoRead", "{}"),
            _cached("msg_01Tools", 118),
        ),
    ),
    Sample(
        MESSAGES,
        "thinking.sse",
        "msg_01Think",
        (
            _thinking("The user wants a primes list.\nUse a sieve."),
            Usage(msg_id="msg_01Think", input_tokens=30, output_tokens=64, extra={"output_reasoning": 40}),
        ),
    ),
    Sample(
        MESSAGES,
        "server_tools.sse",
        "msg_01Server",
        (
            _call(
                "msg_01Server", "srvtoolu_01S", "web_search", '{"query": "weather"}', type="server_tool_use"
            ),
            _call(
                "msg_01Server",
                "mcptoolu_01M",
                "get_forecast",
                '{"city":"Paris"}',
                type="mcp_tool_use",
                server_name="forecasts",
            ),
            Usage(
                msg_id="msg_01Server",
                input_tokens=10682,
                output_tokens=510,
                extra={"web_search_requests": 1, "web_fetch_requests": 0},
            ),
        ),
    ),
    Sample(
        MESSAGES,
        "error.sse",
        "msg_01Err",
        (ProviderFailure(type="overloaded_error", message="Overloaded"), _cached("msg_01Err", 4)),
    ),
    Sample(
        MESSAGES,
        "cut.sse",
        "msg_01Cut",
        (
            _call("msg_01Cut", "toolu_01X", "Bash", '{"command": "ls" ', truncated="true"),
            _cached("msg_01Cut", 4),
        ),
    ),
    Sample(
        MESSAGES,
        "answer.json",
        "msg_01Answer",
        (
            _thinking("Look first."),
            _call("msg_01Answer", "toolu_01D", "Read", '{"file_path":"src/main.py","limit":1.50e1}'),
            _call("msg_01Answer", "mcptoolu_01E", "echo", "{}", type="mcp_tool_use", server_name="tools"),
            _cached("msg_01Answer", 77),
        ),
    ),
    Sample(
        MESSAGES,
        "error.json",
        "",
        (
            ProviderFailure(
                type="rate_limit_error", message="Number of requests has exceeded your rate limit"
            ),
        ),
    ),
)


def _chat_usage(msg_id: str) -> Usage:
    return Usage(
        msg_id=msg_id,
        input_tokens=220,
        output_tokens=120,
        cache_read_input_tokens=1280,
        extra={
            "total_tokens": 1620,
            "prompt_audio": 3,
            "output_reasoning": 64,
            "completion_audio": 0,
            "completion_accepted_prediction": 5,
            "completion_rejected_prediction": 2,
        },
    )


_CHAT: Final = (
    Sample(CHAT_COMPLETIONS, "text.sse", "chatcmpl-T", (_chat_usage("chatcmpl-T"),)),
    Sample(
        CHAT_COMPLETIONS,
        "tool_calls.sse",
        "chatcmpl-C",
        (
            _call("chatcmpl-C", "call_A", "get_weather", '{"city": "São \\"Paulo\\""}'),
            _call("chatcmpl-C", "call_B", "get_time", '{"zone": "Europe/Paris"}'),
            Usage(msg_id="chatcmpl-C", input_tokens=82, output_tokens=34, extra={"total_tokens": 116}),
        ),
    ),
    Sample(
        CHAT_COMPLETIONS,
        "function_call.sse",
        "chatcmpl-L",
        (_call("chatcmpl-L", "", "lookup", '{"q":1}'),),
    ),
    Sample(
        CHAT_COMPLETIONS,
        "azure.sse",
        "chatcmpl-Z",
        (Usage(msg_id="chatcmpl-Z", input_tokens=9, output_tokens=2, extra={"total_tokens": 11}),),
    ),
    Sample(
        CHAT_COMPLETIONS,
        "error.sse",
        "chatcmpl-E",
        (
            ProviderFailure(
                type="server_error", message="The server had an error while processing your request"
            ),
        ),
    ),
    Sample(
        CHAT_COMPLETIONS,
        "cut.sse",
        "chatcmpl-X",
        (_call("chatcmpl-X", "call_X", "read", '{"path": "a', truncated="true"),),
    ),
    Sample(
        CHAT_COMPLETIONS,
        "answer.json",
        "chatcmpl-A",
        (
            _call("chatcmpl-A", "call_1", "shell", '{"cmd": "ls"}'),
            _call("chatcmpl-A", "call_2", "patch", "*** Begin Patch"),
            _chat_usage("chatcmpl-A"),
        ),
    ),
    Sample(
        CHAT_COMPLETIONS,
        "error.json",
        "",
        (ProviderFailure(type="insufficient_quota", message="You exceeded your current quota"),),
    ),
)


def _response_usage(msg_id: str) -> Usage:
    return Usage(
        msg_id=msg_id,
        input_tokens=1000,
        output_tokens=300,
        cache_read_input_tokens=8000,
        extra={"output_reasoning": 128, "total_tokens": 9300},
    )


def _reasoning() -> tuple[Fact, ...]:
    texts = ("**Reading the test**\n\nIt compares bytes.", "**Planning**")
    thoughts = (Thought(content=content, source="reasoning_summary") for content in texts)
    return *thoughts, AccountBound(bond=bond_of("gAAAAABo"))


_COMMENTARY: Final = Thought(content="I'll run the tests first.", source="commentary")
_SHELL: Final = '{"command": ["pytest", "-q"], "timeout": 1.0}'
_SEARCH: Final = '{"type": "search", "query": "weather"}'
_PATCH: Final = "*** Begin Patch\n*** End Patch\n"

_RESPONSES: Final = (
    Sample(RESPONSES, "text.sse", "resp_T", (_response_usage("resp_T"),)),
    Sample(
        RESPONSES,
        "tool_calls.sse",
        "resp_C",
        (
            *_reasoning(),
            _COMMENTARY,
            _call("resp_C", "call_F", "shell", _SHELL),
            _call("resp_C", "call_P", "apply_patch", _PATCH, type="custom_tool_call"),
            _response_usage("resp_C"),
        ),
    ),
    Sample(
        RESPONSES,
        "failed.sse",
        "resp_F",
        (ProviderFailure(type="server_error", message="The model failed to generate a response."),),
    ),
    Sample(RESPONSES, "incomplete.sse", "resp_I", (_response_usage("resp_I"),)),
    Sample(
        RESPONSES,
        "error.sse",
        "resp_E",
        (ProviderFailure(type="rate_limit_exceeded", message="Rate limit reached"),),
    ),
    Sample(RESPONSES, "cut.sse", "resp_X", (_call("resp_X", "call_F", "shell", _SHELL),)),
    Sample(
        RESPONSES,
        "answer.json",
        "resp_A",
        (
            *_reasoning(),
            _call("resp_A", "ws_1", "web_search", _SEARCH, type="web_search_call"),
            ToolCall(
                msg_id="resp_A",
                tool_call_id="mcp_1",
                tool="ask",
                input='{"q":1}',
                invocation_error="connection refused",
                metadata={"server_label": "wiki", "type": "mcp_call"},
            ),
            _call("resp_A", "call_F", "shell", _SHELL),
            _COMMENTARY,
            _response_usage("resp_A"),
        ),
    ),
    Sample(
        RESPONSES,
        "error.json",
        "",
        (ProviderFailure(type="invalid_request_error", message="Incorrect API key provided: sk-fake"),),
    ),
)

SAMPLES: Final = (*_MESSAGES, *_CHAT, *_RESPONSES)
STREAMS: Final = tuple(sample for sample in SAMPLES if sample.streamed)
