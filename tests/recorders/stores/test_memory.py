from __future__ import annotations

from recorders.stores.memory import MemoryStore
from tests.recorders import samples


async def test_each_kind_of_record_has_its_list() -> None:
    """A test asks for what it is about."""
    store = MemoryStore()
    await store.open()
    await store.write(samples.whole())
    await store.close()

    assert store.records == samples.whole()
    assert store.starts == [samples.start()]
    assert store.prompts == [samples.prompt()]
    assert store.thoughts == [samples.thought()]
    assert store.tool_usages == [samples.tool()]
    assert store.token_usages == [samples.tokens()]
    assert store.ends == [samples.end()]


async def test_what_is_written_twice_is_kept_once() -> None:
    """A drain may offer a batch again."""
    store = MemoryStore()
    await store.write(samples.whole())
    await store.write(samples.whole())

    assert store.records == samples.whole()


async def test_the_records_of_one_interception_come_together() -> None:
    """Whatever happened in between."""
    store = MemoryStore()
    await store.write([samples.start("a"), samples.start("b"), samples.end("a")])

    assert store.of("a") == [samples.start("a"), samples.end("a")]
    assert store.of("c") == []


def test_it_is_a_sink_whose_records_are_there_at_once() -> None:
    """A test of a layer needs no journal and no drain."""
    store = MemoryStore()

    store.emit(samples.start())

    assert store.starts == [samples.start()]
