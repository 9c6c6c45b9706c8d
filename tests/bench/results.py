"""Writes a finished run into a folder: every figure of every round as JSON, the tables as Markdown, a plot."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench import conditions, install, plot, report
from tests.bench.idle import Idle
from tests.bench.measure import Cell
from tests.bench.process import LOAD_CORES, TARGET_CORE
from tests.bench.rows import ALL_ROWS, Row


def write(run: report.Run, folder: Path) -> str:
    """Write all three; a sentence that says where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(as_json(run), indent=1) + "\n", encoding="utf-8")
    (folder / "table.md").write_text(report.markdown(run), encoding="utf-8")
    missing = plot.draw(run.cells, folder / "plot.png", conditions.cpu()) if run.cells else None
    return f"results.json, table.md{'' if missing else ', plot.png'} are in {folder}" + (
        f"; no plot: {missing}" if missing else ""
    )


def as_json(run: report.Run) -> dict[str, Any]:
    """Everything that was found, and under what conditions."""
    return {
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": conditions.cpu(),
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "target_cores": sorted(TARGET_CORE),
            "load_cores": sorted(LOAD_CORES),
        },
        "versions": {
            **conditions.versions(),
            "litellm": install.LITELLM_VERSION,
            "portkey": install.PORTKEY_VERSION,
        },
        "switched_on": conditions.SWITCHED_ON,
        "rounds": run.rounds,
        "connections": run.connections,
        "workers": list(run.workers),
        "rows": {name: _row(ALL_ROWS[name]) for name in run.rows},
        "cells": [_cell(cell) for cell in run.cells],
        "idle": [_idle(row) for row in run.idles],
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "method": row.method,
        "request_bytes": len(row.request),
        "answer_bytes": row.answer_bytes,
        "events": len(row.answer) if row.streamed else None,
        "gap_s": row.gap_s,
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "row": cell.row.name,
        "target": cell.target.name,
        "requests_a_round": cell.requests,
        "requests_per_s": cell.requests_per_s,
        "core_busy": cell.busy,
        "saturated_cpu_ms": cell.saturated_cpu_ms,
        "half_load_cpu_ms": cell.cpu_ms,
        "half_load_waited": cell.waited,
        "half_load_first_byte_us": _microseconds(cell.first_byte_s),
        "half_load_last_byte_us": _microseconds(cell.last_byte_s),
        "rss_mb": cell.rss_mb or None,
    }


def _idle(row: Idle) -> dict[str, Any]:
    return {
        "row": row.row,
        "target": row.target,
        "streams": row.streams,
        "before_mb": row.before_mb,
        "open_mb": row.open_mb,
        "kb_per_stream": row.kb_per_stream,
        "small_alone_us": _microseconds(row.alone_s),
        "small_beside_us": _microseconds(row.beside_s),
    }


def _microseconds(seconds: Sequence[float]) -> list[int]:
    return [round(value * 1e6) for value in seconds]
