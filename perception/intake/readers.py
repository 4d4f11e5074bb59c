"""Readers: a data file of the field software into a frame plus its value labels, nothing interpreted yet."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from perception.errors import InputError, Problem

WHOLE_NUMBER = re.compile(r"^(-?\d+)\.0*$")


@dataclass(frozen=True)
class SourceTable:
    """A file as read: its rows, and per column the label of each code (codes as `code_key` writes them)."""

    frame: pd.DataFrame
    value_labels: dict[str, dict[str, str]]


def code_key(value: Any) -> str:
    """A code as text, so that 1, 1.0, "1" and "1.0" (SPSS, Stata and CSV) are the same code; text is stripped."""
    if isinstance(value, str):
        return WHOLE_NUMBER.sub(r"\1", value.strip())
    try:
        number = float(value)
    except TypeError:  # a date or time
        return str(value)
    return str(int(number)) if number.is_integer() else repr(number)


def code_keys(values: pd.Series) -> pd.Series:
    """`code_key` of every value; blanks (missing or empty text) are null."""
    keys = {value: code_key(value) for value in values.dropna().unique()}
    return values.map({value: key for value, key in keys.items() if key}, na_action="ignore").astype("str")


def _read_statistical(reader: Callable[..., Any], path: Path) -> SourceTable:
    # user_missing keeps declared-missing codes such as 98 apart from blanks: they are answers with a reason.
    frame, meta = reader(str(path), user_missing=True)
    labels = {
        column: {code_key(code): str(label).strip() for code, label in codes.items()}
        for column, codes in meta.variable_value_labels.items()
    }
    return SourceTable(frame, labels)


def _read_sav(path: Path) -> SourceTable:
    import pyreadstat

    return _read_statistical(pyreadstat.read_sav, path)


def _read_dta(path: Path) -> SourceTable:
    import pyreadstat

    return _read_statistical(pyreadstat.read_dta, path)


def _read_csv(path: Path) -> SourceTable:
    with warnings.catch_warnings():
        # Left to itself pandas makes the first column an index when rows are longer than the header: all names shift.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            frame = pd.read_csv(
                path, dtype="str", keep_default_na=False, na_values=[""], encoding="utf-8-sig", index_col=False
            )
        except pd.errors.ParserWarning:
            raise ValueError("its rows have more values than the header has names") from None
    return SourceTable(frame, {})


def _read_parquet(path: Path) -> SourceTable:
    return SourceTable(pd.read_parquet(path), {})


_READERS = {".sav": _read_sav, ".zsav": _read_sav, ".dta": _read_dta, ".csv": _read_csv, ".parquet": _read_parquet}


def read_table(path: Path, where: str) -> SourceTable:
    """Read a .sav, .zsav, .dta, .csv or .parquet file; InputError (placed by `where`) when it cannot be read."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            [
                Problem(
                    where,
                    f"files of type {path.suffix or 'no suffix'} are not read",
                    f"Use one of {', '.join(_READERS)}.",
                )
            ]
        )
    try:
        table = reader(path)
    except Exception as error:  # Whatever a reader raises on a broken file is one finding: the file cannot be read.
        what = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            [Problem(where, f"cannot be read: {what}", "Export it again from the field software.")]
        ) from error
    if table.frame.empty:
        raise InputError([Problem(where, "holds no rows", "Export it again from the field software.")])
    return table
