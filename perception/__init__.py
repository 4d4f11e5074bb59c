"""The science of the survey pipeline: pure functions over frames, from a wave folder to published tables and pages.

Nothing in this package imports dagster; what exists as an asset is in `assets`, how it runs is in `pipelines`.
A researcher starts with `perception.open()`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from perception.reader import Reader

__all__ = ["open"]


def open(project: Path | str | None = None, internal: bool = False) -> Reader:
    """A read-only handle on the published tables of a project, or with `internal` on those of the data team.

    `project` is the project's folder; without one it is $PERCEPTION_PROJECT or found from the current folder upwards.
    InputError when nothing has been published yet. See `perception.reader.Reader` for what can be asked.
    """
    from perception.reader import open_reader  # not at the top: any import of this package would wait for DuckDB

    return open_reader(project, internal)
