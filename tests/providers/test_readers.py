"""All readers over all samples: whatever way the bytes come, the facts are the same, and nothing raises."""

from __future__ import annotations

import json
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.base import Api, Fact, Thought, ToolCall, Usage
from tests.providers.samples import SAMPLES, STREAMS, Sample

every_sample = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
every_stream = pytest.mark.parametrize("sample", STREAMS, ids=lambda sample: sample.name)
APIS = tuple({sample.api.name: sample.api for sample in SAMPLES}.values())
bounded = settings(max_examples=60, derandomize=True, deadline=None, database=None)


def pieces_of(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@every_sample
def test_a_whole_sample_tells_its_facts_and_leaves_no_flaw(sample: Sample) -> None:
    """Each sample, fed at once, says exactly what is in it."""
    reader = sample.api.reader(streamed=sample.streamed)
    facts = [*reader.feed(sample.body), *reader.close()]
    assert facts == list(sample.facts)
    assert reader.msg_id == sample.msg_id
    assert reader.flaws == []


@every_sample
def test_closing_twice_tells_nothing_twice(sample: Sample) -> None:
    """A second close finds nothing left to tell."""
    reader = sample.api.reader(streamed=sample.streamed)
    reader.feed(sample.body)
    reader.close()
    assert list(reader.close()) == []


@every_sample
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_small_pieces_change_nothing(sample: Sample, size: int) -> None:
    """Byte by byte, or in pieces that never fit the events."""
    assert sample.read(*pieces_of(sample.body, size)) == list(sample.facts)


@every_sample
def test_a_split_at_each_point_changes_nothing(sample: Sample) -> None:
    """Wherever the network cuts a chunk in two, the facts stay."""
    body = sample.body
    for at in range(len(body) + 1):
        assert sample.read(body[:at], body[at:]) == list(sample.facts), at


@every_stream
@pytest.mark.parametrize("line_end", [b"\r", b"\r\n"], ids=["CR", "CRLF"])
def test_other_line_ends_change_nothing(sample: Sample, line_end: bytes) -> None:
    """CR and CRLF streams, whole, byte by byte, and split at each point (so within each CRLF)."""
    body = sample.body.replace(b"\n", line_end)
    facts = list(sample.facts)
    assert sample.read(body) == facts
    assert sample.read(*pieces_of(body, 1)) == facts
    for at in range(len(body) + 1):
        assert sample.read(body[:at], body[at:]) == facts, at


@every_stream
def test_mixed_line_ends_change_nothing(sample: Sample) -> None:
    """Each line may end its own way."""
    chance = random.Random(sample.name)
    lines = sample.body.split(b"\n")
    body = b"".join(line + chance.choice([b"\n", b"\r\n", b"\r\n"]) for line in lines[:-1]) + lines[-1]
    assert sample.read(body) == list(sample.facts)
    assert sample.read(*pieces_of(body, 1)) == list(sample.facts)


@every_stream
def test_a_byte_order_mark_comments_and_other_fields_change_nothing(sample: Sample) -> None:
    """A BOM at the start, comments before and within events, `id` and `retry`, and needless blank lines."""
    noisy = re.sub(rb"(?m)^data: ", b": keep-alive\nid: 7\nretry: 10\ndata:", sample.body)
    noisy = b"\xef\xbb\xbf: hello\n\n\n\n" + noisy.replace(b"\n\n", b"\n: end\n\n\n: ping\n\n")
    assert sample.read(noisy) == list(sample.facts)
    assert sample.read(*pieces_of(noisy, 1)) == list(sample.facts)


@every_stream
def test_events_without_a_name_are_read_by_their_type(sample: Sample) -> None:
    """Providers that leave the `event:` lines out are read as well."""
    lines = sample.body.split(b"\n")
    nameless = b"\n".join(line for line in lines if not line.startswith(b"event:"))
    assert sample.read(nameless) == list(sample.facts)


@every_stream
def test_white_space_in_the_json_changes_nothing(sample: Sample) -> None:
    """A provider that pretty-prints defeats the fast tests, not the reading."""
    spaced = sample.body.replace(b'{"', b'{ "').replace(b'":"', b'" : "').replace(b'":{', b'" : {')
    told = [kind(fact) for fact in sample.read(spaced)]
    assert told == [kind(fact) for fact in sample.facts]


def kind(fact: Fact) -> tuple[str, object]:
    """A fact without the text that the spacing changes."""
    return type(fact).__name__, fact if isinstance(fact, Usage) else None


@every_stream
def test_data_over_several_lines_is_joined(sample: Sample) -> None:
    """A JSON document may come in several data lines, broken where white space may stand."""
    broken = sample.body.replace(b'data: {"', b'data: {\ndata: "')
    assert sample.read(broken) == list(sample.facts)


def is_known(fact: Fact, sample: Sample) -> bool:
    """Whether a cut stream may say `fact`: what the whole one says, as far as it came."""
    if isinstance(fact, Usage):
        return any(isinstance(whole, Usage) for whole in sample.facts) or sample.file == "cut.sse"
    if isinstance(fact, Thought):
        return any(
            isinstance(whole, Thought) and whole.content.startswith(fact.content) for whole in sample.facts
        )
    if isinstance(fact, ToolCall) and fact.metadata.get("truncated"):
        return any(
            isinstance(whole, ToolCall)
            and (fact.tool_call_id, fact.tool) == (whole.tool_call_id, whole.tool)
            and (whole.input.startswith(fact.input) or fact.input == "{}")
            for whole in sample.facts
        )
    return fact in sample.facts


@every_stream
def test_a_cut_after_any_event_keeps_what_was_known(sample: Sample) -> None:
    """Cut after each event: facts so far, in the order of the whole, the same however the bytes came."""
    events = sample.body.split(b"\n\n")
    for count in range(len(events)):
        cut = b"".join(event + b"\n\n" for event in events[:count])
        facts = sample.read(cut)
        assert facts == sample.read(*pieces_of(cut, 1))
        assert all(is_known(fact, sample) for fact in facts)


@every_stream
def test_a_cut_at_any_byte_invents_nothing(sample: Sample) -> None:
    """Cut within an event: nothing is said that the whole stream does not say."""
    for at in range(len(sample.body)):
        assert all(is_known(fact, sample) for fact in sample.read(sample.body[:at])), at


@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "document"])
@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
@given(pieces=st.lists(st.binary(max_size=200), max_size=8))
@bounded
def test_random_bytes_never_raise(api: Api, streamed: bool, pieces: list[bytes]) -> None:
    """A reader survives whatever it is fed."""
    reader = api.reader(streamed=streamed)
    for piece in pieces:
        reader.feed(piece)
    reader.close()


@every_sample
def test_damaged_samples_never_raise(sample: Sample) -> None:
    """Bytes flipped, dropped and doubled within real answers, which get further than random bytes."""
    chance = random.Random(sample.name)
    for _ in range(150):
        damaged = bytearray(sample.body)
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(damaged))
            damaged[at : at + chance.randint(0, 3)] = chance.choice(
                [
                    b"",
                    b"\xff",
                    b"\r",
                    b"\n",
                    b'"',
                    b"}",
                    b"[",
                    b"null",
                    b"-1e999",
                    b"\\ud800",
                    b"\x00",
                    b"9" * 40,
                ]
            )
        sample.read(*pieces_of(bytes(damaged), chance.choice([1, 50, 100_000])))


KEYS = [
    *(
        "type",
        "index",
        "delta",
        "content_block",
        "message",
        "usage",
        "error",
        "id",
        "input",
        "content",
        "choices",
    ),
    *(
        "tool_calls",
        "function",
        "arguments",
        "item",
        "response",
        "output",
        "name",
        "finish_reason",
        "summary",
    ),
]
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
TYPES = st.sampled_from(
    [
        *(
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
        ),
        *("error", "response.created", "response.output_item.done", "response.completed", "response.failed"),
        *("function_call", "reasoning", "message", "tool_use", "thinking"),
    ]
)


@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "document"])
@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
@given(documents=st.lists(st.tuples(TYPES, st.dictionaries(st.sampled_from(KEYS), JSON_VALUES)), max_size=6))
@bounded
def test_odd_shapes_never_raise(
    api: Api, streamed: bool, documents: list[tuple[str, dict[str, object]]]
) -> None:
    """Valid JSON with the members of the format, but values of any type in them."""
    reader = api.reader(streamed=streamed)
    for type_, document in documents:
        text = json.dumps({**document, "type": type_})
        reader.feed(f"data: {text}\n\n".encode() if streamed else text.encode())
    reader.close()


@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
def test_deep_nesting_is_a_flaw_and_not_an_error(api: Api) -> None:
    """An event nested beyond the recursion limit is named, and reading goes on."""
    reader = api.reader(streamed=True)
    deep = b'{"type":"response.completed","usage":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    reader.feed(b"data: " + deep + b"\n\n")
    assert reader.flaws == ["an event was not read: nested too deeply"]
    document = api.reader(streamed=False)
    document.feed(deep)
    assert list(document.close()) == []
    assert document.flaws == ["the answer was not read: nested too deeply"]


@every_stream
def test_a_line_of_16_mb_passes_and_what_follows_is_read(sample: Sample) -> None:
    """A huge event of no interest costs memory for a moment, no facts."""
    line = b": " + b"x" * (16 * 1024 * 1024) + b"\n\n"
    assert sample.read(*pieces_of(line, 1024 * 1024), sample.body) == list(sample.facts)


@every_stream
def test_an_event_beyond_the_limit_is_skipped_and_what_follows_is_read(sample: Sample) -> None:
    """After an event that is too long, the reader finds its place again, however the bytes come."""
    line = b'data: {"type":"' + b"x" * (17 * 1024 * 1024) + b'"}\n\n'
    for pieces in ([line + sample.body], [*pieces_of(line, 4 * 1024 * 1024), *pieces_of(sample.body, 1)]):
        reader = sample.api.reader(streamed=True)
        facts = [fact for piece in pieces for fact in reader.feed(piece)]
        assert [*facts, *reader.close()] == list(sample.facts)
        assert reader.flaws == ["an event longer than 16842752 bytes was skipped"]


@every_stream
def test_invalid_utf8_within_text_changes_nothing(sample: Sample) -> None:
    """A broken character in an event costs at most that character."""
    garbage = b'data: {"type":"ping","note":"\xff\xfe \xed\xa0\x80 \\ud800"}\n\n'
    broken = sample.body.replace(b"\n\n", b"\n\n" + garbage)
    assert sample.read(broken) == list(sample.facts)
