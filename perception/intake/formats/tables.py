"""What every format is read into: a frame with its labels, codes written in one way, text gathered batch by batch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from perception.errors import InputError, Problem

AGAIN = "Export it again from the field software."
MANY = 5
"""How many cells, lines or names of one kind a message lists."""
LONGEST_CELL = 1_000_000
"""Bytes; the longest answer known from practice, a traced geoshape, has a tenth of it."""
MOST_CATEGORIES = np.iinfo(np.int16).max

_WHOLE_NUMBER = re.compile(r"(-?[0-9]+)\.0*")
_NUMBER = re.compile(r"-?\d+([.٫]\d+)?")
_ASCII_DIGITS = str.maketrans("٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹٫", "01234567890123456789.")


@dataclass(frozen=True)
class SourceTable:
    """A file as read: its rows, labels of codes and columns, and what was found out while reading.

    `value_labels` is column -> code (as `code_key` writes it) -> label, `column_labels` column -> question wording.
    Text columns are `category` where values repeat and `str` where they do not; blank cells are null.
    """

    frame: pd.DataFrame
    value_labels: dict[str, dict[str, str]] = field(default_factory=dict)
    column_labels: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def code_key(value: Any) -> str:
    """A code as text, so that 1, 1.0, "1" and "1.0" (SPSS, Stata and CSV) are the same code; text is stripped.

    A number in Arabic or Urdu digits is the same code as in ASCII digits; dates and times are ISO 8601.
    """
    if isinstance(value, str):
        text = value.strip()
        if not text.isascii() and _NUMBER.fullmatch(text):
            text = text.translate(_ASCII_DIGITS)
        whole = _WHOLE_NUMBER.fullmatch(text)
        return whole[1] if whole else text
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    try:
        number = float(value)
    except TypeError:  # a duration
        return str(value)
    return str(int(number)) if number.is_integer() else repr(number)


def code_keys(values: pd.Series) -> pd.Series:
    """`code_key` of every value; blanks (missing or empty text) are null.

    A categorical gives a categorical of text and costs no more than its categories; anything else gives `str`.
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        keys = [code_key(category) for category in values.cat.categories]
        distinct = {key: code for code, key in enumerate(dict.fromkeys(key for key in keys if key))}
        own = values.cat.codes.to_numpy()
        codes = np.array([*(distinct.get(key, -1) for key in keys), -1], dtype=own.dtype)[own]  # a blank, -1, is last
        categories = pd.Index(list(distinct), dtype="str")
        return pd.Series(pd.Categorical.from_codes(codes, categories), index=values.index, name=values.name)
    if values.dtype == "str":  # as `code_key`, for a million different texts at once
        text = values.str.strip().str.replace(f"^{_WHOLE_NUMBER.pattern}$", r"\1", regex=True)
        foreign = text.notna() & ~text.str.isascii().astype(bool)
        if foreign.any():
            text[foreign] = text[foreign].map(code_key)
        return text.mask(text == "")
    written = {value: code_key(value) for value in values.dropna().unique()}
    return values.map({value: key for value, key in written.items() if key}, na_action="ignore").astype("str")


def numbers(values: pd.Series) -> pd.Series:
    """The values as float64, NaN where they are no number; a categorical costs no more than its categories."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        known = pd.to_numeric(values.cat.categories.to_series(), errors="coerce").to_numpy(dtype=np.float64)
        return pd.Series(np.append(known, np.nan)[values.cat.codes.to_numpy()], index=values.index, name=values.name)
    if pd.api.types.is_numeric_dtype(values):
        return values.astype("float64")
    text = values.astype("str")
    try:  # many times faster, but refuses what pandas makes null
        known = pc.cast(pa.array(text), pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return pd.to_numeric(text, errors="coerce").astype("float64")
    return pd.Series(known, index=values.index, name=values.name)


class TextColumn:
    """One column's text, gathered batch by batch: as codes of its values while these are few, afterwards as text."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._rows = 0
        self._values: dict[str, int] = {}
        self._codes: list[np.ndarray[Any, np.dtype[np.integer[Any]]]] = []
        self._texts: list[Any] = []

    def add(self, batch: Any) -> None:
        """Append a pyarrow string array without nulls (empty text is a blank). InputError names a cell too long."""
        if self._texts:
            self._check_lengths(batch)
            self._texts.append(batch)
        else:
            encoded = batch.dictionary_encode()
            self._check_lengths(encoded.dictionary, encoded.indices)
            values = self._values
            code_of = [values.setdefault(text, len(values)) if text else -1 for text in encoded.dictionary.to_pylist()]
            kind = np.int8 if len(values) <= np.iinfo(np.int8).max else np.int32
            self._codes.append(np.array(code_of, dtype=kind)[encoded.indices.to_numpy()])
            if len(values) > MOST_CATEGORIES:
                self._texts = [self._as_text()]
                self._codes = []
        self._rows += len(batch)

    def _check_lengths(self, texts: Any, indices: Any = None) -> None:
        lengths = pc.binary_length(texts)
        longest = pc.max(lengths).as_py() or 0
        if longest > LONGEST_CELL:
            at = pc.index(lengths, longest).as_py()
            row = self._rows + (at if indices is None else pc.index(indices, at).as_py()) + 1
            what = f"holds a cell of {longest / 1e6:.1f} MB in row {row} below the header"
            raise InputError([Problem(self._place, what, f"No answer is as long. {AGAIN}")])

    def _as_text(self) -> Any:
        codes = np.concatenate(self._codes) if self._codes else np.empty(0, np.int8)
        indices = pa.array(codes, mask=codes < 0)
        return pa.array(list(self._values), pa.large_string()).take(indices)

    def series(self) -> pd.Series:
        """The column: `category` when its values stand in two rows on average and are few, else `str`."""
        filled = sum(int((codes >= 0).sum()) for codes in self._codes)
        if self._texts or len(self._values) * 2 > filled or not filled:
            texts = self._texts or [self._as_text()]
            whole = pa.chunked_array([text.cast(pa.large_string()) for text in texts], pa.large_string())
            blank = pc.equal(whole, "")
            return pd.Series(pd.array(pc.if_else(blank, None, whole), dtype="str"))
        categories = pd.Index(list(self._values), dtype="str")
        return pd.Series(pd.Categorical.from_codes(np.concatenate(self._codes), categories))


def cleaned_names(header: Iterable[str]) -> list[str]:
    """Column names of a header, without spaces and byte-order marks around them."""
    return [name.strip().strip("\ufeff").strip() for name in header]


def repeated_names(where: str, names: list[str]) -> list[Problem]:
    """A problem for each name that stands twice in a header."""
    again = "Export with group names in the header, or rename all columns of that name but one."
    return [
        Problem(
            f"{where}, column {name}",
            f"stands {count} times in the header (columns "
            + ", ".join(str(place) for place, other in enumerate(names, start=1) if other == name)
            + ")",
            again,
        )
        for name, count in Counter(names).items()
        if name and count > 1
    ]


def text_table(where: str, names: list[str], columns: dict[int, TextColumn], notes: list[str]) -> SourceTable:
    """The table of gathered columns, without those that have neither name nor value and without rows all blank.

    `columns` are keyed by place in the header and are used up, to need no memory twice. InputError names columns that
    have values but no name.
    """
    problems, made = [], {}
    for place, name in enumerate(names):
        series = columns.pop(place).series()
        if name:
            made[name] = series
        elif series.notna().any():
            what = f"has no name in the header, but values in {int(series.notna().sum())} rows"
            problems.append(Problem(f"{where}, column {place + 1}", what, "Name it in the header, or delete it."))
    if problems:
        raise InputError(problems)
    frame = pd.DataFrame(made, copy=False)
    blank = np.ones(len(frame), dtype=bool)
    for name in made:
        if not blank.any():
            break
        blank &= frame[name].isna().to_numpy()
    if blank.any():
        notes = [*notes, f"{int(blank.sum())} rows without any value were left out"]
        frame = frame[~blank].reset_index(drop=True)
    return SourceTable(frame, notes=[*notes, *notes_on_names(list(made))])


def notes_on_names(names: list[str]) -> list[str]:
    """A note for column names that differ only in capitals: they stay apart here, but other software joins them."""
    spelt: dict[str, list[str]] = {}
    for name in names:
        spelt.setdefault(name.casefold(), []).append(name)
    return [f"column names {' and '.join(same)} differ only in capitals" for same in spelt.values() if len(same) > 1]
