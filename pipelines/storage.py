"""The I/O manager: one Parquet file per table and wave, written aside and moved into place."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_origin

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from perception.project import Project
from perception.schemas import TABLES, joined

PREVIEW_ROWS = 10
ROW_GROUP = 1 << 17
"""Rows; DuckDB gives each core a group at a time, so that one group for a whole wave would keep all but one idle.

Statistics would only cost time: tables are read whole."""


class ParquetTables(dg.ConfigurableIOManager):
    """Stores frames as Parquet under `internal/tables/<wave or across>/<table>.parquet`.

    An asset across waves that reads a table of each wave gets them as one frame, of each wave's last complete run. An
    input annotated `Path` gets the file instead of a frame, across waves one annotated `dict[str, Path]` that of each.
    """

    root: str

    @property
    def _project(self) -> Project:
        return Project(Path(self.root))

    def handle_output(self, context: dg.OutputContext, obj: pd.DataFrame) -> None:
        """Write the frame under a temporary name and move it into place: readers see the old file or the new one."""
        name = context.asset_key.path[-1]
        path = self._project.table(name, context.partition_key if context.has_asset_partitions else None)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{context.run_id}")
        try:
            obj.to_parquet(aside, index=False, write_statistics=False, row_group_size=ROW_GROUP)
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)
        metadata: dict[str, Any] = {
            "dagster/row_count": len(obj),
            "path": dg.MetadataValue.path(str(path)),
            "bytes": path.stat().st_size,
        }
        if TABLES[name].public:
            metadata["preview"] = dg.MetadataValue.md(_markdown(obj.head(PREVIEW_ROWS)))
        context.add_output_metadata(metadata)
        # A run in this process holds on to every output until it ends; what is stored need not stay in memory too.
        for column in list(obj.columns):
            del obj[column]
        pa.default_memory_pool().release_unused()

    def load_input(self, context: dg.InputContext) -> pd.DataFrame | Path | dict[str, Path]:
        """The table of the run's wave, or those of all waves when the reader is not partitioned."""
        name = context.asset_key.path[-1]
        if context.has_asset_partitions and not context.has_partition_key:
            every = {wave: self._project.complete_table(name, wave) for wave in sorted(context.asset_partition_keys)}
            files = {wave: file for wave, file in every.items() if file.exists()}
            _refuse_earlier_software(name, files)
            return files if get_origin(context.dagster_type.typing_type) is dict else joined(files.values(), name)
        path = self._project.table(name, context.partition_key if context.has_asset_partitions else None)
        if not path.exists():
            raise dg.Failure(f"{name} has not been materialised yet. Materialise it first.", allow_retries=False)
        return path if context.dagster_type.typing_type is Path else pd.read_parquet(path)


def _refuse_earlier_software(name: str, files: Mapping[str, Path]) -> None:
    """A Failure that names waves made before the table changed its columns."""
    old = [wave for wave, file in files.items() if not set(TABLES[name].names) <= set(pq.read_schema(file).names)]
    if old:
        again = " ".join(f"--wave {wave}" for wave in old)
        raise dg.Failure(
            f"{name} of {', '.join(old)} was made by an earlier version of the software. Run `perception run {again}`.",
            allow_retries=False,
        )


def _markdown(frame: pd.DataFrame) -> str:
    lines = [list(frame.columns), ["---"] * len(frame.columns), *frame.astype("str").to_numpy().tolist()]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
