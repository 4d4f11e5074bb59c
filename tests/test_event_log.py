"""Dagster's event log with its databases kept open: the same files as Dagster's own, opened once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster._core.storage.event_log import SqliteEventLogStorage
from sqlalchemy import event
from sqlalchemy.engine import Engine

from perception.project import Project
from pipelines import runner
from pipelines.event_log import OpenEventLog


@contextmanager
def opened() -> Iterator[Counter[str]]:
    """How often each database was opened, by the name of its file."""
    times: Counter[str] = Counter()

    def note(connection: object, _: object) -> None:
        (row,) = connection.execute("PRAGMA database_list").fetchall()
        times[Path(row[2]).name] += 1

    event.listen(Engine, "connect", note)
    try:
        yield times
    finally:
        event.remove(Engine, "connect", note)


@dg.asset
def counted() -> int:
    return 1


def test_databases_of_events_are_opened_once_and_dagster_reads_what_is_written(tmp_path: Path) -> None:
    with runner.open_instance(Project(tmp_path)) as instance:
        assert isinstance(instance.event_log_storage, OpenEventLog)
        with opened() as times:
            runs = [dg.materialize([counted], instance=instance).run_id for _ in range(2)]
        times.pop("runs.db")  # which is no event log
        assert set(times) == {"index.db", *(f"{run}.db" for run in runs)}
        assert max(times.values()) == 2  # of which one looks at a new database while the other is there
        written = {run: [entry.message for entry in instance.all_logs(run)] for run in runs}
    own = SqliteEventLogStorage(str(tmp_path / "data/processed/internal/dagster/history/runs"))
    assert set(own.get_all_run_ids()) == set(runs)
    for run in runs:
        assert len(written[run]) > 5
        assert [entry.message for entry in own.get_logs_for_run(run)] == written[run]


def test_what_was_written_while_it_was_open_is_there_and_gone_after_a_wipe(tmp_path: Path) -> None:
    with runner.open_instance(Project(tmp_path)) as instance:
        run = dg.materialize([counted], instance=instance).run_id
        with dg.DagsterInstance.get() as reader:
            assert reader.get_latest_materialization_event(counted.key).run_id == run
        instance.wipe()
        assert instance.get_latest_materialization_event(counted.key) is None
        again = dg.materialize([counted], instance=instance).run_id
        assert instance.get_latest_materialization_event(counted.key).run_id == again
