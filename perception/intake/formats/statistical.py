"""SPSS (.sav, .zsav) and Stata (.dta): codes with their labels, declared missing values stay codes, dates are text."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from perception.errors import InputError, Problem
from perception.intake.formats.archives import Source
from perception.intake.formats.tables import AGAIN, SourceTable, code_key, code_keys, notes_on_names

MOST_CELLS_A_BYTE = 200
"""Room is made for all rows of which a header speaks; the best packed files of practice hold some 20 cells a byte."""

_STATA_END = b"</stata_dta>"
_STATA_MISSING = frozenset("abcdefghijklmnopqrstuvwxyz")


def read_sav(source: Source, where: str, encoding: str | None) -> SourceTable:
    """Read an SPSS file. Values declared missing, singly or as a range, stay codes; only system-missing is blank."""
    import pyreadstat

    return _read(pyreadstat.read_sav, source, where, encoding)


def read_dta(source: Source, where: str, encoding: str | None) -> SourceTable:
    """Read a Stata file. Its missing value `.` is blank; `.a` to `.z` stay codes, written so, with their labels."""
    import pyreadstat

    with source.open() as stream:
        if stream.read(11) == b"<stata_dta>" and not _ends_well(source):
            raise InputError([Problem(where, "cannot be read: its end is missing", AGAIN)])
    return _read(pyreadstat.read_dta, source, where, encoding)


def _ends_well(source: Source) -> bool:
    end = b""
    for chunk in source.chunks():
        end = (end + chunk)[-64:]
    return end.rstrip().endswith(_STATA_END)


def _read(reader: Callable[..., Any], source: Source, where: str, encoding: str | None) -> SourceTable:
    file = source.file()
    size = os.path.getsize(file) if isinstance(file, str) else file.getbuffer().nbytes
    _, header = reader(file, metadataonly=True, encoding=encoding)
    if (header.number_rows or 0) * header.number_columns > MOST_CELLS_A_BYTE * size:
        what = f"cannot be read: its header speaks of {header.number_rows:,} rows, which {size:,} bytes cannot hold"
        raise InputError([Problem(where, what, AGAIN)])
    frame, meta = reader(source.file(), user_missing=True, encoding=encoding)
    numeric = {name for name, kind in meta.readstat_variable_types.items() if kind != "string"}
    columns = {name: _column(frame[name], name in numeric) for name in frame.columns}
    labels = {
        name: {_coded(code, name in numeric): str(label).strip() for code, label in codes.items()}
        for name, codes in meta.variable_value_labels.items()
    }
    wordings = {name: label.strip() for name, label in meta.column_names_to_labels.items() if label and label.strip()}
    notes = [*source.notes, *notes_on_names(list(columns))]
    return SourceTable(pd.DataFrame(columns).copy(), labels, wordings, notes)  # the copy is in one piece


def _coded(code: Any, numeric: bool) -> str:
    """A code as text; letters of a numeric column are Stata's missing values `.a` to `.z`."""
    return f".{code}" if numeric and isinstance(code, str) and code in _STATA_MISSING else code_key(code)


def _column(values: pd.Series, numeric: bool) -> pd.Series:
    if values.dtype.kind == "M":
        return _iso(values)
    if not numeric:
        texts = values.astype("str")
        return texts.mask(texts == "")
    if values.dtype != object:
        return values
    distinct = values.dropna().unique()
    if any(isinstance(value, str) or hasattr(value, "isoformat") for value in distinct):
        return code_keys(values.map({value: _coded(value, True) for value in distinct}).astype("category"))
    return pd.to_numeric(values)  # whole numbers beside blanks


def _iso(times: pd.Series) -> pd.Series:
    """Times as ISO 8601 text, to the second where none has parts of one."""
    parts = times.dropna().dt.microsecond.ne(0).any()
    texts = np.datetime_as_string(times.to_numpy(), unit="ms" if parts else "s")
    return pd.Series(texts, index=times.index, dtype="str").mask(times.isna())
