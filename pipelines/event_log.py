"""Dagster's event log in SQLite, whose databases stay open while a run writes its thousand events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection
from typing import TYPE_CHECKING, Any

import sqlalchemy
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData

if TYPE_CHECKING:
    from dagster._core.storage.sqlite_storage import SqliteStorageConfig


class OpenEventLog(SqliteEventLogStorage):
    """Dagster's event log where Dagster itself keeps it, in the same files, with two databases kept open.

    Dagster opens and closes a database for every event and every question, and SQLite tidies up each time one is
    closed: almost half the time of a run of a small wave.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None):
        self._engines: dict[str, sqlalchemy.Engine] = {}
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: SqliteStorageConfig
    ) -> SqliteEventLogStorage:
        """The log in the folder `base_dir`."""
        return cls(config_value["base_dir"], inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[sqlalchemy.Connection]:
        with self._db_lock, self._engine(shard).connect() as connection, connection.begin():
            yield connection

    def _engine(self, shard: str) -> sqlalchemy.Engine:
        """The open database of the index or of a run, of which only the last one asked for stays open."""
        if shard not in self._engines:
            for other in self._engines.keys() - {INDEX_SHARD_NAME}:
                self._engines.pop(other).dispose()
            address, waiting = self.conn_string_for_shard(shard), {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
            engine = sqlalchemy.create_engine(address, connect_args=waiting)
            sqlalchemy.event.listen(engine, "connect", _wait_less_for_the_disk)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            self._engines[shard] = engine
        return self._engines[shard]

    def wipe(self) -> None:
        """Delete the events of all runs, whose files are closed first."""
        self._close()
        super().wipe()

    def dispose(self) -> None:
        """Close the databases."""
        self._close()
        super().dispose()

    def _close(self) -> None:
        with self._db_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()


def _wait_less_for_the_disk(connection: Connection, _: object) -> None:
    """Have SQLite wait for the disk now and then, not at each of three writes an event.

    A loss of power may cost the last events, never the database, since Dagster's databases have a write-ahead log.
    """
    connection.execute("PRAGMA synchronous = NORMAL")


def settings(home: Path) -> dict[str, Any]:
    """What dagster.yaml says of the log of the instance in the folder `home`."""
    config = {"base_dir": str(home / "history" / "runs")}
    return {"event_log_storage": {"module": __name__, "class": OpenEventLog.__name__, "config": config}}
