"""A wave's files joined into one frame of raw responses: every row and column, nothing left out or recoded."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from perception.errors import InputError, Problem
from perception.intake.readers import SourceTable, code_keys, read_table
from perception.intake.wave_file import DataFile, Wave, checksum_problems


def raw_responses(wave: Wave, folder: Path) -> pd.DataFrame:
    """Read and join the files of a wave folder.

    Returns one row per row of the first file: `source_row` (from 1) and all columns. `attrs` carries `value_labels`
    (column -> code -> label) and `column_files` (column -> file name). InputError lists every file, column and key
    that is not as declared.
    """
    problems = checksum_problems(wave, folder)
    tables: dict[str, SourceTable] = {}
    for file in wave.files:
        if (folder / file.path).is_file():
            try:
                tables[file.path] = _chosen_columns(
                    wave, file, read_table(folder / file.path, f"{wave.id}/{file.path}")
                )
            except InputError as error:
                problems += error.problems
    if problems:
        raise InputError(problems)

    first = wave.files[0].path
    frame = tables[first].frame.copy()
    labels = dict(tables[first].value_labels)
    column_files = dict.fromkeys(frame.columns, first)
    for file in wave.files[1:]:
        table = tables[file.path]
        frame, clashes = _joined(wave, frame, file, table.frame)
        problems += clashes
        labels |= {column: codes for column, codes in table.value_labels.items() if column not in column_files}
        column_files |= {column: file.path for column in table.frame.columns if column not in column_files}
    if problems:
        raise InputError(problems)

    for column in frame.columns[frame.dtypes == "object"]:
        frame[column] = code_keys(frame[column])
    frame.insert(0, "source_row", range(1, len(frame) + 1))
    frame.attrs = {"value_labels": labels, "column_files": column_files}
    return frame


def _chosen_columns(wave: Wave, file: DataFile, table: SourceTable) -> SourceTable:
    if not file.columns:
        return table
    wanted = list(dict.fromkeys([*(file.join.on if file.join else []), *file.columns]))
    absent = [column for column in wanted if column not in table.frame.columns]
    if absent:
        raise InputError(
            Problem(f"{wave.id}/{file.path}, column {column}", "is not in the file", "Correct `files` of wave.yml.")
            for column in absent
        )
    return SourceTable(table.frame[wanted], {c: codes for c, codes in table.value_labels.items() if c in wanted})


def _joined(
    wave: Wave, frame: pd.DataFrame, file: DataFile, further: pd.DataFrame
) -> tuple[pd.DataFrame, list[Problem]]:
    """Left-join a further file on its key; every row must find exactly one partner and shared columns must agree."""
    assert file.join is not None
    keys, where = file.join.on, f"{wave.id}/{file.path}"
    absent = [key for key in keys if key not in frame.columns or key not in further.columns]
    if absent:
        return frame, [
            Problem(f"{where}, join column {key}", "is not in both files", "Correct `join.on` of wave.yml.")
            for key in absent
        ]
    for key in keys:
        if frame[key].dtype != further[key].dtype:  # text in one file, numbers in the other
            frame, further = (rows.assign(**{key: code_keys(rows[key])}) for rows in (frame, further))
    problems = []
    repeated = further[further.duplicated(keys, keep=False)]
    if len(repeated):
        problems.append(
            Problem(
                f"{where}, join column {', '.join(keys)}",
                f"{len(repeated)} rows share a key, for example {repeated[keys].iloc[0].tolist()}",
                "A joined file must hold each key once; reshape it or join on more columns.",
            )
        )
        return frame, problems
    merged = frame.merge(further, on=keys, how="left", suffixes=("", "\0further"), indicator="\0found")
    lost = merged["\0found"] == "left_only"
    if lost.any():
        problems.append(
            Problem(
                f"{where}, join column {', '.join(keys)}",
                f"{int(lost.sum())} rows of {wave.files[0].path} find no row, for example "
                f"{merged.loc[lost, keys].iloc[0].tolist()}",
                "Bring the file that has them, or correct `join.on`.",
            )
        )
    for column in [c for c in further.columns if c in frame.columns and c not in keys]:
        ours, theirs = code_keys(merged[column]), code_keys(merged[column + "\0further"])
        differs = (ours != theirs) & ~(ours.isna() & theirs.isna())
        if differs.any():
            problems.append(
                Problem(
                    f"{where}, column {column}",
                    f"differs from the same column of an earlier file in {int(differs.sum())} rows",
                    "List under `columns` only what is to be taken from this file.",
                )
            )
    return merged.drop(columns=[c for c in merged.columns if "\0" in str(c)]), problems
