"""The benchmark reads CPU time and memory as Linux tells them; elsewhere its own tests have nothing to run on."""

from __future__ import annotations

import sys

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]
