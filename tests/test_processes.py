"""Work that processes share: whose they are, how little is done here, and what comes back from them."""

from __future__ import annotations

import os
import pickle
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from perception import processes as shared
from perception.errors import InputError, Problem
from perception.kept import Frames, kept_together
from perception.processes import ThisProcess, lent, new_processes, processes


def process_of(name: str) -> Frames:
    return (pd.DataFrame({"name": [name], "process": [os.getpid()]}),)


def refuse() -> Frames:
    raise InputError([Problem("one", "is wrong", "Mend it."), Problem("two", "is too", "Mend it too.")])


def test_little_work_is_done_here_and_much_by_the_processes_that_a_run_has_lent() -> None:
    with new_processes() as pool, lent(pool):
        with processes(shared.FEW) as executor:
            assert isinstance(executor, ThisProcess)
            assert executor.submit(os.getpid).result() == os.getpid()
        if shared.cores() > 1:
            with processes(shared.FEW + 1) as executor:
                assert executor is pool
                assert executor.submit(os.getpid).result() != os.getpid()
            assert pool.submit(int).result() == 0, "whose pool it is ends it"


@pytest.mark.skipif(shared.cores() == 1, reason="one core shares nothing")
def test_lent_processes_of_which_one_was_ended_are_not_used() -> None:
    with new_processes() as pool, lent(pool):
        with pytest.raises(BrokenProcessPool):
            pool.submit(os._exit, 1).result()
        with processes(shared.FEW + 1) as executor:
            assert executor is not pool
            assert executor.submit(int).result() == 0


def test_results_of_several_folders_are_made_by_other_processes_and_problems_come_back_whole(tmp_path: Path) -> None:
    makers = {tmp_path / folder: {key: partial(process_of, f"{folder}{key}") for key in "12"} for folder in "ab"}
    with new_processes() as pool:
        found = [[pd.read_parquet(file) for (file,) in files] for files in kept_together(makers, pool)]
        names = [[frame["name"].item() for frame in frames] for frames in found]
        assert names == [["a1", "a2"], ["b1", "b2"]]
        assert os.getpid() not in {frame["process"].item() for frames in found for frame in frames}
        makers[tmp_path / "b"] = {"2": makers[tmp_path / "b"]["2"], "3": partial(refuse)}
        with pytest.raises(InputError, match="2 problems") as raised:
            kept_together(makers, pool)
    assert [problem.where for problem in raised.value.problems] == ["one", "two"]
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["1", "2"], "a failure takes nothing away"


def test_an_input_error_keeps_its_problems_when_it_is_handed_over() -> None:
    error = InputError([Problem("kp/wave.yml", "has no id", "Give it one.")])
    again = pickle.loads(pickle.dumps(error))
    assert (again.problems, str(again)) == (error.problems, str(error))
