"""Draws what `picture.py` gathered; run by the Python that has matplotlib: `drawing.py GATHERED.json PICTURE.png`."""

from __future__ import annotations

import json
import math
import re
import sys
from importlib import import_module
from typing import Any

# It is in an environment of its own, which the type checker doesn't see.
import_module("matplotlib").use("Agg")
plt: Any = import_module("matplotlib.pyplot")

HEIGHT_PER_CELL = 0.26
WIDTH_PER_CELL = 0.75
LABEL = (
    "Drawn by matplotlib from the queries of deploy/grafana/dashboard.json, as Prometheus answered them: "
    "not a picture of Grafana. A gateway with two workers, its demo provider, and providers in trouble."
)
UNITS = {"s": "s", "bytes": "B", "reqps": "/s", "percentunit": "%"}


def legend(line: dict[str, Any]) -> str:
    """The panel's legend with the series' labels in place."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: line["metric"].get(found[1], ""), line["legend"]).strip()


def number(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{value * 100:.1f} %"
    return f"{value:.3g} {UNITS.get(unit, '')}".strip()


def draw_lines(axes: Any, panel: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    times = sorted({at for line in lines for at, _ in line["values"]}) or [0.0]
    ago = [at - times[-1] for at in times]
    names = [legend(line) for line in lines]
    found = [{at: float(value) for at, value in line["values"]} for line in lines]
    if panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal":
        stacked = [[values.get(at, 0.0) for at in times] for values in found]
        axes.stackplot(ago, *stacked, labels=names, alpha=0.8)
    else:
        for values, name in zip(found, names, strict=True):
            axes.plot(ago, [values.get(at, math.nan) for at in times], label=name, linewidth=1.2)
    axes.set_ylim(bottom=0, top=axes.get_ylim()[1] * 1.3)
    axes.grid(alpha=0.25)
    axes.tick_params(labelsize=6)
    unit = UNITS.get(panel["fieldConfig"]["defaults"]["unit"], "")
    axes.set_ylabel(unit, fontsize=6)
    if names:
        axes.legend(fontsize=5, loc="upper left", framealpha=0.6, ncols=1 + len(names) // 3)


def draw_words(axes: Any, panel: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    axes.set_axis_off()
    unit = panel["fieldConfig"]["defaults"]["unit"]
    if panel["type"] == "stat":
        words = [number(float(line["values"][-1][1]), unit) for line in lines]
        axes.text(0.5, 0.5, "\n".join(words), ha="center", va="center", fontsize=15)
        return
    rows = ["   ".join(line["metric"].values()) + f"   {line['values'][-1][1]}" for line in lines]
    axes.text(0.02, 0.95, "\n".join(rows), ha="left", va="top", fontsize=7, family="monospace")


def main(gathered: str, picture: str) -> None:
    with open(gathered, encoding="utf-8") as file:
        drawn = json.load(file)
    bottom = max(one["panel"]["gridPos"]["y"] + one["panel"]["gridPos"]["h"] for one in drawn)
    figure = plt.figure(figsize=(24 * WIDTH_PER_CELL, (bottom + 2) * HEIGHT_PER_CELL))
    cell_w, cell_h = 1 / 24, 1 / (bottom + 2)
    figure.text(0.01, 1 - 0.9 * cell_h, "AI gateway", fontsize=14, weight="bold", va="center")
    figure.text(0.12, 1 - 0.9 * cell_h, LABEL, fontsize=8, va="center", style="italic")
    for one in drawn:
        panel, place = one["panel"], one["panel"]["gridPos"]
        top = 1 - (place["y"] + 2) * cell_h
        if panel["type"] == "row":
            figure.text(0.01, top - 0.5 * cell_h, panel["title"], fontsize=10, weight="bold", va="center")
            continue
        box = (
            place["x"] * cell_w + 0.028,
            top - (place["h"] - 0.9) * cell_h,
            place["w"] * cell_w - 0.036,
            (place["h"] - 2.1) * cell_h,
        )
        axes = figure.add_axes(box)
        axes.set_title(panel["title"], fontsize=8, loc="left")
        (draw_lines if panel["type"] == "timeseries" else draw_words)(axes, panel, one["lines"])
    figure.savefig(picture, dpi=75)


if __name__ == "__main__":
    main(*sys.argv[1:])
