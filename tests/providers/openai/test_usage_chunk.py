"""Asking for usage changes nothing else, and hiding it hides nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.base import apply_edits
from providers.openai.chat import CHAT_COMPLETIONS
from providers.openai.usage_chunk import UsageChunkFilter, is_usage_chunk

bounded = settings(max_examples=300, derandomize=True, deadline=None, database=None)

# -- the edit ----------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["stream_options", "include_usage", "stream", "messages", 'a"{', "é\u2028", "\\"])
OTHERS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(['{"stream_options":', "\\", "}", "include_usage"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
OPTIONS = st.none() | st.dictionaries(
    st.sampled_from(["include_usage", "include_obfuscation", "nested"]),
    st.none() | st.booleans() | st.fixed_dictionaries({"include_usage": st.booleans()}),
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A streamed request with members in any order, any spacing, and now and then a member twice."""
    others = st.tuples(st.sampled_from(["messages", 'a"{', "é"]), OTHERS)
    pairs: list[tuple[str, object]] = [("stream", True), *draw(st.lists(others, max_size=4))]
    pairs += [("stream_options", options) for options in draw(st.lists(OPTIONS, max_size=2))]
    dump = json.JSONEncoder(ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 2]))).encode
    writers: list[Callable[[str], str]] = [json.dumps, escaped]
    names = draw(st.lists(st.sampled_from(writers), min_size=len(pairs), max_size=len(pairs)))
    space = draw(st.sampled_from(["", " ", "\r\n\t"]))
    members = [
        space + write(name) + space + ":" + space + dump(value)
        for write, (name, value) in zip(names, draw(st.permutations(pairs)), strict=True)
    ]
    return (space + "{" + ",".join(members) + space + "}" + space).encode()


def escaped(name: str) -> str:
    """A JSON string that spells each letter as an escape."""
    return '"' + "".join(f"\\u{ord(letter):04x}" for letter in name) + '"'


@given(bodies())
@bounded
def test_an_edited_body_is_the_same_document_and_asks(body: bytes) -> None:
    """Whatever stands in the body, and wherever: all is as before, and `include_usage` is true."""
    document = json.loads(body)
    options = document.get("stream_options")
    edit = CHAT_COMPLETIONS.read_request(body).usage_edit
    wish = (options or {}).get("include_usage")
    if wish is True or isinstance(wish, dict):
        assert edit is None
        return
    assert edit is not None
    edited = apply_edits(body, [edit])
    assert json.loads(edited) == {**document, "stream_options": {**(options or {}), "include_usage": True}}
    assert len(edited) - len(body) <= len(',"stream_options":{"include_usage":true}')
    assert CHAT_COMPLETIONS.read_request(edited).usage_edit is None


@pytest.mark.parametrize(
    ("body", "edited"),
    [
        (b'{"stream":true}', b'{"stream_options":{"include_usage":true},"stream":true}'),
        (b' { "stream": true}', b' {"stream_options":{"include_usage":true}, "stream": true}'),
        (
            b'{"stream":true,"stream_options":null}',
            b'{"stream":true,"stream_options":{"include_usage":true}}',
        ),
        (
            b'{"stream":true,"stream_options":{ }}',
            b'{"stream":true,"stream_options":{"include_usage":true }}',
        ),
        (
            b'{"stream_options":{"include_usage":false},"stream":true}',
            b'{"stream_options":{"include_usage":true},"stream":true}',
        ),
        (
            b'{"stream\\u005foptions" : {"x":1.0} ,"stream":true}',
            b'{"stream\\u005foptions" : {"include_usage":true,"x":1.0} ,"stream":true}',
        ),
    ],
)
def test_the_edit_is_as_small_as_can_be(body: bytes, edited: bytes) -> None:
    """A new member, a changed value, nothing written anew."""
    edit = CHAT_COMPLETIONS.read_request(body).usage_edit
    assert edit is not None
    assert apply_edits(body, [edit]) == edited


@pytest.mark.parametrize("twin", ["{}", '{"include_usage":false}'])
def test_the_same_text_elsewhere_is_not_mistaken_for_the_options(twin: str) -> None:
    """A message may hold the very same object."""
    for body in (
        f'{{"stream":true,"stream_options":{twin},"x":{{"stream_options":{twin}}}}}',
        f'{{"x":{{"stream_options":{twin}}},"stream":true,"stream_options":{twin}}}',
        f'{{"x":{{"stream_options":{twin}}},"y":NaN,"stream":true,"stream_options": {twin[:-1]} }}}}',
    ):
        edit = CHAT_COMPLETIONS.read_request(body.encode()).usage_edit
        assert edit is not None
        edited = json.loads(apply_edits(body.encode(), [edit]))
        assert edited["stream_options"] == {"include_usage": True}
        assert edited["x"] == json.loads(body)["x"]


def test_a_body_that_only_python_can_read_is_edited_in_its_own_bytes() -> None:
    """A repaired document is for reading; the edit refers to the body as it came."""
    body = b'{"x":"\\ud800","y":NaN,"stream":true,"stream_options":{"include_usage":false}}'
    edit = CHAT_COMPLETIONS.read_request(body).usage_edit
    assert edit is not None
    assert apply_edits(body, [edit]) == body.replace(b"false", b"true")


# -- the filter --------------------------------------------------------------------------------------------------------

CHUNK = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"hi"}}],"usage":null}\n\n'
USAGE = b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":1}}\n\n'
DONE = b"data: [DONE]\n\n"
OTHER_EVENTS = st.sampled_from(
    [
        CHUNK,
        DONE,
        b": ping\n\n",
        b"\n",
        b"event: x\ndata: y\n\n",
        b'data: {"choices":[],"usage":null,"prompt_filter_results":[]}\n\n',
        b'data: {"choices":[{"delta":{}}],"usage":{"prompt_tokens":1}}\n\n',
        b'data: {"choices":[{"delta":{"content":"\\"choices\\":[],\\"usage\\":{}"}}]}\n\n',
        b'data: {"usage":{"prompt_tokens":1}}\n\n',
        b'data: {"choices":[],"usage":{broken\n\n',
        b"data: \xff\n\n",
    ]
)


def sift(*pieces: bytes, max_held_bytes: int = 64 * 1024) -> bytes:
    stream = UsageChunkFilter(max_held_bytes)
    return b"".join([*(stream.feed(piece) for piece in pieces), stream.close()])


@given(
    before=st.lists(OTHER_EVENTS, max_size=5).map(b"".join),
    after=st.lists(OTHER_EVENTS | st.just(USAGE), max_size=5).map(b"".join),
    line_end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    cuts=st.lists(st.integers(0, 900), max_size=6),
)
@bounded
def test_exactly_the_one_event_is_taken_out(
    before: bytes, after: bytes, line_end: bytes, cuts: list[int]
) -> None:
    """Every other byte passes as it came, however the stream is cut into chunks, with any line ends."""
    before, usage, after = (part.replace(b"\n", line_end) for part in (before, USAGE, after))
    stream = before + usage + after
    places = [0, *sorted(cuts), len(stream)]
    chunks = [stream[start:end] for start, end in pairwise(places)]
    assert sift(stream) == before + after
    assert sift(*chunks) == before + after
    assert sift(*(stream[at : at + 1] for at in range(len(stream)))) == before + after


@given(st.lists(st.binary(max_size=40) | OTHER_EVENTS, max_size=12), st.integers(1, 64))
@bounded
def test_a_stream_without_the_chunk_passes_as_it_came(pieces: list[bytes], max_held_bytes: int) -> None:
    """Also garbage, and whatever the limit is."""
    assert sift(*pieces, max_held_bytes=max_held_bytes) == b"".join(pieces)


@pytest.mark.parametrize(
    "event",
    [
        b'data: { "choices" : [ ] , "usage" : { "prompt_tokens" : 1 } }\n\n',
        b'event: message\nid: 1\ndata: {"choices":[],"usage":{}}\n\n',
        b': comment\ndata:{"choices":[],\ndata:"usage":{"prompt_tokens":1}}\n\n',
        b'\xef\xbb\xbfdata: {"choices":[],"usage":{}}\n\n',
        b'data: {"choices":[],"usage":{"usage":null,"x":1}}\n\n',
    ],
)
def test_the_chunk_is_known_in_any_dress(event: bytes) -> None:
    """Spaces, names, comments and several data lines make no difference."""
    assert is_usage_chunk(event)
    assert sift(event + DONE) == DONE


def test_whole_events_leave_at_once() -> None:
    """Nothing waits that need not."""
    stream = UsageChunkFilter()
    assert stream.feed(CHUNK) == CHUNK
    assert stream.feed(CHUNK + CHUNK[:30]) == CHUNK
    assert stream.feed(CHUNK[30:]) == CHUNK
    assert stream.feed(b"\n") == b"\n"
    assert stream.feed(USAGE) == b""
    assert stream.feed(DONE[:3]) == DONE[:3]


def test_an_event_that_is_too_long_leaves_and_the_filter_goes_on() -> None:
    """What is held is bounded; the chunk after it is still taken out."""
    stream = UsageChunkFilter(max_held_bytes=100)
    long = b"data: " + b"x" * 200
    assert stream.feed(long[:90]) == b""
    assert stream.feed(long[90:]) == long
    assert stream.feed(b"yyy\n") == b"yyy\n"
    assert stream.feed(b"\n" + USAGE[:50]) == b"\n"
    assert stream.feed(USAGE[50:] + DONE) == DONE


def test_the_chunk_may_be_the_last_of_the_stream_without_a_blank_line() -> None:
    """A stream that ends carelessly shows it no more than another; half a chunk passes."""
    assert sift(CHUNK + USAGE.rstrip()) == CHUNK
    assert sift(CHUNK + USAGE[:30]) == CHUNK + USAGE[:30]


def test_the_line_feed_of_a_split_crlf_goes_with_the_chunk() -> None:
    """No stray empty line is left behind."""
    usage = USAGE.replace(b"\n", b"\r\n")
    assert sift(usage[:-1], usage[-1:] + DONE) == DONE
    assert re.search(rb"\r\n\Z", sift(CHUNK.replace(b"\n", b"\r\n"), usage)) is not None
