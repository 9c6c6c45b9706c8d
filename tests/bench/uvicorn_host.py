"""The gateway under uvicorn, as a host that isn't ours would run it: `python -m tests.bench.uvicorn_host --port N`."""

from __future__ import annotations

import argparse

import uvicorn

from gateway.app import create_app
from gateway.chunks.uvicorn import write_chunks_together
from gateway.settings import load
from recorders.log import configure_logging


def main() -> None:
    """Serve with the settings of the environment until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    write_chunks_together()
    settings = load()
    configure_logging(settings.log_human, settings.log_json)
    uvicorn.run(create_app(settings), host="127.0.0.1", port=port, access_log=False, log_config=None)


if __name__ == "__main__":
    main()
