"""What a process that does nothing but serve can have cheaper: settings of the interpreter, not of ours.

Only `serve` and `demo` call it. A host application decides for itself, because all of this is for the whole process.
"""

from __future__ import annotations

import gc
import logging
import sys
from typing import Final

YOUNG: Final = 10_000
"""Objects that are made before the garbage collector looks for circles. A request makes hardly any; the default of 700
looks several times in each."""

OLD: Final = 50
"""Looks at the young before one at those that outlived some, and of these before one at all."""


def tune() -> None:
    """Call it when everything that lasts has been loaded: the collector leaves that alone from then on.

    A look at all of it took tens of milliseconds, during which no request went on. Log lines name neither process nor
    thread, so what finds them out for each line is switched off.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, OLD, OLD)
    logging.logProcesses = False
    logging.logMultiprocessing = False
    logging.logThreads = False
    logging._srcfile = None  # as the manual of `logging` says: no line names its caller
    if sys.version_info >= (3, 12):
        logging.logAsyncioTasks = False
