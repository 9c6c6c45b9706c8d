from __future__ import annotations

from tests.bench.drain import measure


async def test_the_benchmark_stores_what_it_says_and_finds_each_thread(database_url: str) -> None:
    """Its own checks run; the figure is for quiet machines."""
    rates = await measure(database_url, 7 * 50, 64)

    assert rates.by_the_clock > 0
    assert rates.by_cpu_time > 0
