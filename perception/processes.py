"""Processes that share long work: those that a run has lent, or new ones; this one alone for little work."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_Result = TypeVar("_Result")
FEW = 40
"""Indicators; what has to be made of so few is made sooner than other processes have started."""
SPAWN = multiprocessing.get_context("spawn")
"""How processes start: threads of Arrow and BLAS do not survive a fork."""
_lent: Executor | None = None


class ThisProcess(Executor):
    """Does the work at once and by itself."""

    def submit(self, fn: Callable[_P, _Result], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_Result]:
        future: Future[_Result] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def new_processes(begin: Callable[[], None] | None = None) -> ProcessPoolExecutor:
    """Processes on all cores, each of which starts, with `begin`, when it is first needed."""
    return ProcessPoolExecutor(cores(), SPAWN, begin)


@contextmanager
def lent(executor: Executor) -> Iterator[None]:
    """Have `processes` hand out these, which end when their owner says so."""
    global _lent
    outer, _lent = _lent, executor
    try:
        yield
    finally:
        _lent = outer


@contextmanager
def processes(indicators: int) -> Iterator[Executor]:
    """What runs functions that need nothing of this process, for work on so many indicators."""
    if cores() == 1 or indicators <= FEW:
        yield ThisProcess()
    elif _lent is not None and _works(_lent):
        yield _lent
    else:
        pool = new_processes()
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def _works(executor: Executor) -> bool:
    """Whether none of its processes was ended from outside."""
    try:
        executor.submit(int)
    except BrokenProcessPool:
        return False
    return True
