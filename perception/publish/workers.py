"""Work on the site that processes share: the pages of waves and the images of all pages."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from perception.publish.site_work import Made, Work
from perception.publish.wave_pages import wave_work, write_wave_pages

_P = ParamSpec("_P")
_Result = TypeVar("_Result")
_FEW = 40
"""Pages of so few indicators are written sooner than other processes have started."""
_work: Work


@contextmanager
def workers(work: Work) -> Iterator[Executor]:
    """What runs `write_wave`, and functions that need nothing of this process, on all cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores == 1 or len(work.tables["published_indicators"]) <= _FEW:
        _take_up(work)
        yield ThisProcess()
        return
    context = multiprocessing.get_context("spawn")  # threads of Arrow and BLAS do not survive a fork
    with tempfile.TemporaryDirectory() as folder:
        sources = Path(folder) / "work.pickle"  # as an argument it would have to wait until a process has started
        sources.write_bytes(pickle.dumps(work))
        pool = ProcessPoolExecutor(cores, context, _take_up_from, (sources,))
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


class ThisProcess(Executor):
    """Does the work at once and by itself."""

    def submit(self, fn: Callable[_P, _Result], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_Result]:
        future: Future[_Result] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def _take_up(work: Work) -> None:
    global _work
    _work = work


def _take_up_from(sources: Path) -> None:
    _take_up(pickle.loads(sources.read_bytes()))


def write_wave(wave: str) -> Made:
    """Write the pages of a wave, in a process of `workers`; what was made."""
    outer, _work.made = _work.made, Made()
    write_wave_pages(_work, wave_work(_work, wave))
    made, _work.made = _work.made, outer
    return made
