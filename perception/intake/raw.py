"""A wave's files, each reshaped and joined as declared, in one frame of raw responses: nothing left out or recoded."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from perception.errors import InputError, Problem
from perception.intake.readers import SourceTable, code_key, code_keys, read_table
from perception.intake.wave_file import DataFile, Reshape, Wave, checksum_problems

SOURCE_ROW = "source_row"


def raw_responses(wave: Wave, folder: Path) -> pd.DataFrame:
    """Read and join the files of a wave folder.

    Returns one row per row of the first file (per unit, where that is reshaped): `source_row` (from 1) and all columns.
    `attrs` carries `value_labels` (column -> code -> label), `column_labels` (column -> question wording),
    `column_files` (column -> file name) and `notes` on what was found out while reading. Text columns are `str` or
    `category`. InputError lists every file, column and key that is not as declared.
    """
    problems = checksum_problems(wave, folder)
    tables: dict[str, SourceTable] = {}
    for file in wave.files:
        if (folder / file.path).is_file():
            where = f"{wave.id}/{file.path}"
            try:
                tables[file.path] = _prepared(read_table(folder / file.path, where, file), file, wave, where)
            except InputError as error:
                problems += error.problems
    if problems:
        raise InputError(problems)

    first = wave.files[0].path
    frame = tables[first].frame.copy(deep=False)
    value_labels, column_labels = dict(tables[first].value_labels), dict(tables[first].column_labels)
    column_files = {str(column): first for column in frame}
    for file in wave.files[1:]:
        table = tables[file.path]
        further, found = _partners(wave, frame, file, table.frame)
        problems += found
        new = [str(column) for column in further if column not in column_files]
        frame = pd.concat([frame, further[new]], axis="columns")
        value_labels |= {column: table.value_labels[column] for column in new if column in table.value_labels}
        column_labels |= {column: table.column_labels[column] for column in new if column in table.column_labels}
        column_files |= dict.fromkeys(new, file.path)
    if problems:
        raise InputError(problems)

    for column in frame.columns:
        if _is_not_plain(frame[column]):
            frame[column] = code_keys(frame[column])
    frame.insert(0, SOURCE_ROW, range(1, len(frame) + 1))
    frame.attrs = {
        "value_labels": value_labels,
        "column_labels": column_labels,
        "column_files": column_files,
        "notes": [f"{path}: {note}" for path, table in tables.items() for note in table.notes],
    }
    return frame


def _is_not_plain(values: pd.Series) -> bool:
    """Whether a column (of a Parquet file) holds objects, or categories that are not text."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.cat.categories.dtype != "str"
    return values.dtype == object


def _prepared(table: SourceTable, file: DataFile, wave: Wave, where: str) -> SourceTable:
    """The table reshaped, with the columns that are taken from it."""
    if file.reshape is not None:
        long = table.frame
        table = reshaped(table, file.reshape, where)
        if problems := _unused_codes(long, file.reshape, wave, where):
            raise InputError(problems)
    if file.columns:
        wanted = dict.fromkeys([*(file.join.further if file.join else []), *file.columns])
        _require(wanted, table.frame, where, "`files`")
        table = replace(table, frame=table.frame[list(wanted)])
    if SOURCE_ROW in table.frame:
        remedy = "Take the other `columns` of the file, or rename this one in a copy of it."
        what = "has the name that the software gives to row numbers"
        raise InputError([Problem(f"{where}, column {SOURCE_ROW}", what, remedy)])
    return table


def _unused_codes(long: pd.DataFrame, reshape: Reshape, wave: Wave, where: str) -> list[Problem]:
    """Codes of `over` none of whose columns wave.yml names: a category that nobody has declared."""
    named = wave.model_dump_json()
    dropped = {code_key(code) for code in reshape.drop}
    return [
        Problem(
            f"{where}, column {reshape.over}",
            f"code {code!r} stands in {count} rows, but nothing is made from {', '.join(columns)}",
            "Declare variables with these sources, or list the code under `reshape.drop` of wave.yml.",
        )
        for code, count in code_keys(long[reshape.over]).astype("str").value_counts().items()
        for columns in [[f"{column}_{code}" for column in reshape.values]]
        if code not in dropped and not any(json.dumps(column, ensure_ascii=False) in named for column in columns)
    ]


def _require(columns: Iterable[str], frame: pd.DataFrame, where: str, declaration: str) -> None:
    absent = [column for column in dict.fromkeys(columns) if column not in frame]
    if absent:
        raise InputError(
            Problem(f"{where}, column {column}", "is not in the file", f"Correct {declaration} of wave.yml.")
            for column in absent
        )


def reshaped(table: SourceTable, reshape: Reshape, where: str) -> SourceTable:
    """One row a unit instead of several, in the order in which units first appear.

    Columns are `rows`, `keep`, and for each code of `over` the `values` with the code as suffix (`q_1`), null where a
    unit has no row of that code; labels go with them. InputError lists blank keys, codes that a unit has twice, columns
    to keep that vary within a unit, and names that would stand twice.
    """
    frame = table.frame
    _require([*reshape.rows, reshape.over, *reshape.values, *reshape.keep], frame, where, "`reshape`")
    codes = code_keys(frame[reshape.over]).astype("str")
    left_out = codes.isin([code_key(code) for code in reshape.drop]).to_numpy()
    frame, codes = frame[~left_out].reset_index(drop=True), codes[~left_out].reset_index(drop=True)
    keys = _keys(frame, reshape.rows)
    problems = [
        Problem(
            f"{where}, column {column}",
            f"is blank in {int(values.isna().sum())} rows, which then belong to no unit or no code",
            "Correct the file, or reshape over other columns.",
        )
        for column, values in [*keys.items(), (reshape.over, codes)]
        if values.isna().any()
    ]
    if problems or frame.empty:
        empty = [Problem(where, "holds no rows besides those that `reshape` drops", "Correct `reshape.drop`.")]
        raise InputError(problems or empty)
    unit = keys.groupby(reshape.rows, sort=False, observed=True).ngroup()
    twice = pd.DataFrame({"unit": unit, "code": codes}).duplicated()
    if twice.any():
        example = f"{keys[twice].iloc[0].tolist()} has {codes[twice].iloc[0]} several times"
        problems.append(
            Problem(
                f"{where}, reshape",
                f"{int(twice.sum())} rows repeat a code of {reshape.over} within a unit, for example {example}",
                "Add the columns that make a unit to `rows`, or correct the file.",
            )
        )
    first = ~unit.duplicated()
    for column in reshape.keep:
        values = code_keys(frame[column]).astype("str").fillna("")
        varies = values.to_numpy() != values[first].to_numpy()[unit]
        if varies.any():
            example = keys[varies].iloc[0].tolist()
            what = f"varies within {unit[varies].nunique()} units, for example {example}"
            remedy = "Take it out of `reshape.keep`, or list it under `values`."
            problems.append(Problem(f"{where}, column {column}", what, remedy))

    parts = [frame.loc[first, list(dict.fromkeys([*reshape.rows, *reshape.keep]))].reset_index(drop=True)]
    origin = {str(column): (str(column), "") for column in parts[0]}
    labels_over = table.value_labels.get(reshape.over, {})
    for code in sorted(codes.unique(), key=_in_order):
        names = {column: f"{column}_{code}" for column in reshape.values}
        problems += [
            Problem(
                f"{where}, column {name}",
                f"would stand twice: {column} of code {code} gets the name of {origin[name][0]}",
                "Rename one of them in a copy of the file, or leave it out of `reshape`.",
            )
            for column, name in names.items()
            if name in origin
        ]
        here = (codes == code).to_numpy() & ~twice.to_numpy()
        rows = np.full(int(first.sum()), -1)
        rows[unit[here]] = np.arange(int(here.sum()))
        part = frame.loc[here, reshape.values].reset_index(drop=True).reindex(rows)
        parts.append(part.rename(columns=names).reset_index(drop=True))
        origin |= {name: (column, labels_over.get(code, code)) for column, name in names.items()}
    if problems:
        raise InputError(problems)
    return SourceTable(
        pd.concat(parts, axis="columns").copy(),  # in one piece
        {name: table.value_labels[of] for name, (of, _) in origin.items() if of in table.value_labels},
        {
            name: f"{table.column_labels[of]} [{code}]" if code else table.column_labels[of]
            for name, (of, code) in origin.items()
            if of in table.column_labels
        },
        table.notes,
    )


def _in_order(code: str) -> tuple[bool, float, str]:
    """Sorts numbers by size, before texts."""
    return (False, float(code), code) if code.lstrip("-").replace(".", "", 1).isdecimal() else (True, 0.0, code)


def _keys(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Key columns as codes, so that a key in text and one in numbers are the same."""
    return pd.DataFrame({column: code_keys(frame[column]).astype("str") for column in columns})


def _partners(
    wave: Wave, frame: pd.DataFrame, file: DataFile, further: pd.DataFrame
) -> tuple[pd.DataFrame, list[Problem]]:
    """The row of a further file for each row of `frame`; each must find exactly one, and shared columns must agree."""
    assert file.join is not None
    on, key, where = file.join.on, file.join.further, f"{wave.id}/{file.path}"
    nothing = further.iloc[[]].reindex(frame.index)
    place = f"{where}, join column {', '.join(key)}"
    absent = [
        Problem(f"{where}, join column {ours if ours == theirs else f'{theirs} for {ours}'}", what, remedy)
        for ours, theirs in zip(on, key, strict=True)
        if ours not in frame or theirs not in further
        for what, remedy in [("is not in both files", "Correct `join` of wave.yml.")]
    ]
    if absent:
        return nothing, absent
    own, others = _keys(frame, on), _keys(further, key)
    complete = others.notna().all(axis="columns").to_numpy()
    further, others = further[complete], others[complete]
    repeated = others[others.duplicated(keep=False)]
    if len(repeated):
        what = f"{len(repeated)} rows share a key, for example {repeated.iloc[0].tolist()}"
        remedy = "A joined file must hold each key once; reshape it or join on more columns."
        return nothing, [Problem(place, what, remedy)]
    rows = pd.MultiIndex.from_frame(others).get_indexer(pd.MultiIndex.from_frame(own))
    rows[own.isna().any(axis="columns").to_numpy()] = -1
    problems = []
    if (lost := rows < 0).any():
        example = own[lost].iloc[0].tolist()
        what = f"{int(lost.sum())} rows of {wave.files[0].path} find no row, for example {example}"
        problems.append(Problem(place, what, "Bring the file that has them, or correct `join` of wave.yml."))
    partners = further.reset_index(drop=True).reindex(rows).set_axis(frame.index, axis="index")
    for column in [c for c in further if c in frame and (c not in key or on[key.index(c)] != c)]:
        ours, theirs = code_keys(frame[column]).astype("str"), code_keys(partners[column]).astype("str")
        differs = (ours != theirs) & ~(ours.isna() & theirs.isna()) & ~lost
        if differs.any():
            what = f"differs from the same column of an earlier file in {int(differs.sum())} rows"
            remedy = "List under `columns` only what is to be taken from this file."
            problems.append(Problem(f"{where}, column {column}", what, remedy))
    return partners, problems
