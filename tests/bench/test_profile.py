"""The profile names what a request calls."""

from __future__ import annotations

from pathlib import Path

from tests.bench.profile import Profile, lines
from tests.bench.rows import ROWS


async def test_the_lines_name_functions_of_the_gateway_with_their_calls(tmp_path: Path) -> None:
    """`_relay` runs once a request; the dearest with all that it calls comes first."""
    profile = Profile(ROWS["small"], requests=3)
    await profile.measure(tmp_path)

    printed = lines(profile, sort="cumulative", top=60)

    relay = next(line for line in printed if line.endswith(" _relay"))
    own_us, all_us, calls, place, _ = relay.split()
    assert float(own_us) <= float(all_us)
    assert float(calls) == 1.0
    assert place.startswith("middleware/upstream.py:")
    totals = [float(line.split()[1]) for line in printed[1:]]
    assert totals == sorted(totals, reverse=True)


async def test_the_time_is_taken_without_the_profiler(tmp_path: Path) -> None:
    """The CPU time stands beside the profile and is no part of it."""
    profile = Profile(ROWS["small"], requests=3)
    await profile.measure(tmp_path)

    assert profile.cpu_ms > 0
