"""Parquet: columns with their types as stored, dictionaries as categories."""

from __future__ import annotations

import pyarrow as pa
from pyarrow import parquet

from perception.errors import InputError, Problem
from perception.intake.formats.archives import Source
from perception.intake.formats.tables import AGAIN, SourceTable, notes_on_names, repeated_names


def read_parquet(source: Source, where: str) -> SourceTable:
    """Read a Parquet file; InputError names columns that stand twice or hold lists or records."""
    try:
        table = parquet.read_table(source.file())
    except (pa.ArrowException, OSError) as error:
        what = "cannot be read: it is no whole Parquet file"
        raise InputError([Problem(where, what, AGAIN)]) from error
    problems = repeated_names(where, table.column_names)
    problems += [
        Problem(
            f"{where}, column {field.name}", f"holds {field.type}, not single values", "Make a column of each value."
        )
        for field in table.schema
        if pa.types.is_nested(field.type)
    ]
    if problems:
        raise InputError(problems)
    frame = table.to_pandas()
    frame = frame.reset_index(drop=all(name is None for name in frame.index.names))
    frame.attrs = {}
    return SourceTable(frame, notes=[*source.notes, *notes_on_names(table.column_names)])
