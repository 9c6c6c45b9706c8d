"""Sends batches of spans to a collector: one POST each, in the thread that calls.

OpenTelemetry's own exporter takes what it isn't given from the environment: headers, certificates, proxies. Whoever
runs the gateway beside another program with such variables would send that one's keys to this collector. This one
takes what it is given and nothing else, goes through no proxy and follows no redirect.
"""

from __future__ import annotations

import gzip
import http.client
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

log = logging.getLogger("ai_gateway.traces")

PATH: Final = "/v1/traces"
TIMEOUT_S: Final = 5.0
RETRIED: Final = frozenset({429, 502, 503, 504})
"""The answers after which the protocol lets a client try again (OTLP, "Retryable Response Codes")."""
PAUSES_S: Final = (1.0, 4.0)
MAX_ANSWER_BYTES: Final = 64 * 1024
QUIET_S: Final = 60.0


class OtlpExporter(SpanExporter):
    """`endpoint` is the collector's base URL, or the whole one. `pauses_s` are waited between the tries of a batch."""

    def __init__(
        self,
        endpoint: str,
        *,
        headers: Mapping[str, str],
        timeout_s: float = TIMEOUT_S,
        pauses_s: Sequence[float] = PAUSES_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("endpoint must be a URL that begins with http:// or https://")
        self._host, self._port, self._scheme = parts.hostname, parts.port, parts.scheme
        base = parts.path.rstrip("/")
        self._path = base if base.endswith(PATH) else base + PATH
        self._headers = {
            **headers,
            "content-type": "application/x-protobuf",
            "content-encoding": "gzip",
        }
        self._timeout_s, self._pauses_s, self._clock = timeout_s, tuple(pauses_s), clock
        self._hurried = threading.Event()
        self._complained_at: float | None = None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Never raises: a batch that isn't taken is lost, and the log says so once a minute."""
        try:
            trouble = self._deliver(gzip.compress(encode_spans(spans).SerializeToString(), 5))
        except Exception as error:
            trouble = type(error).__name__  # its words could quote a span
        if not trouble:
            return SpanExportResult.SUCCESS
        self._complain(trouble, len(spans))
        return SpanExportResult.FAILURE

    def hurry(self) -> None:
        """The process ends: from now on each batch is tried once, and no pause is waited for."""
        self._hurried.set()

    def shutdown(self) -> None:
        self.hurry()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept here."""
        return True

    def _deliver(self, body: bytes) -> str:
        """What went wrong in the end; nothing when the collector took it."""
        for pause_s in (*self._pauses_s, None):
            trouble, again = self._post(body)
            if not trouble or not again or pause_s is None or self._hurried.wait(pause_s):
                break
        return trouble

    def _post(self, body: bytes) -> tuple[str, bool]:
        """What went wrong, and whether another try may help."""
        kind = http.client.HTTPSConnection if self._scheme == "https" else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._timeout_s)
        try:
            connection.request("POST", self._path, body, self._headers)
            with connection.getresponse() as answer:
                answer.read(MAX_ANSWER_BYTES)
                status = answer.status
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__, True
        finally:
            connection.close()
        return ("", False) if 200 <= status < 300 else (f"status {status}", status in RETRIED)

    def _complain(self, trouble: str, spans: int) -> None:
        now = self._clock()
        if self._complained_at is None or now - self._complained_at >= QUIET_S:
            self._complained_at = now
            log.warning("the collector did not take %d spans, which are lost (%s)", spans, trouble)
