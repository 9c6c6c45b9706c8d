"""What a scrape of the gateway says, by name and labels.

seen = await scraped(rig)
seen.value("prompts_total", model="m")     # the one series with these labels, and maybe more; 0 where there is none
"""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.gateway.rig import Rig, client_of

PREFIX = "ai_gateway_"


@dataclass(frozen=True, slots=True)
class Scrape:
    text: str
    samples: tuple[Sample, ...]

    @classmethod
    def of(cls, text: str) -> Scrape:
        families = text_string_to_metric_families(text)
        return cls(text, tuple(sample for family in families for sample in family.samples))

    def series(self, name: str, **labels: str) -> list[Sample]:
        """All series of that name with these labels."""
        return [
            sample
            for sample in self.samples
            if sample.name == PREFIX + name and labels.items() <= sample.labels.items()
        ]

    def value(self, name: str, **labels: str) -> float:
        """The sum of these series."""
        return sum(sample.value for sample in self.series(name, **labels))


async def scraped(rig: Rig) -> Scrape:
    """The answer of the route, which `metrics_route` has to have turned on."""
    async with client_of(rig.app) as client:
        answer = await client.get("/metrics")
    assert answer.status_code == 200
    return Scrape.of(answer.text)
