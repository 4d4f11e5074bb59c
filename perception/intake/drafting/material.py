"""What a draft is made from: files read and joined on their likeliest key, labels of files and form, and the counts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from perception.intake.readers import code_key, code_keys, read_table
from perception.intake.wave_file import RowRule
from perception.intake.xlsform import FormQuestion, form_columns, form_labels, read_xlsform

_PARENTS = (
    ("_index", "_parent_index"),
    ("_uuid", "_submission__uuid"),
    ("_id", "_submission__id"),
    ("KEY", "PARENT_KEY"),
)
"""How field software calls the key of an interview there and in the tables of its repeats."""
_MOST_SHARED = 8


@dataclass(frozen=True)
class DraftFile:
    """A file as it will be declared: columns taken (all when empty), key, and what of it is a guess."""

    name: str
    columns: tuple[str, ...] = ()
    on: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Material:
    """The files joined: every column as codes in file order, with what files and form say of them.

    `asked` is the form's question that a column holds, and of one answer of a select-multiple question its code.
    """

    files: tuple[DraftFile, ...]
    codes: Mapping[str, pd.Series]
    value_labels: Mapping[str, Mapping[str, str]]
    column_labels: Mapping[str, str]
    asked: Mapping[str, tuple[FormQuestion, str | None]]

    @property
    def columns(self) -> list[str]:
        """All columns, in file order."""
        return list(self.codes)

    def counts(self, column: str) -> dict[str, int]:
        """How often each code stands in a column, in the order of the codes."""
        counted = {str(code): int(count) for code, count in self.codes[column].value_counts().items() if count > 0}
        return {code: counted[code] for code in sorted(counted, key=code_order)}

    def filled(self, columns: Sequence[str]) -> pd.Series:
        """Whether any of the columns has a value (bool)."""
        return pd.concat([self.codes[column].notna() for column in columns], axis=1).any(axis=1)

    def rows(self, columns: Iterable[str]) -> pd.DataFrame:
        """Some columns as a frame."""
        return pd.DataFrame({column: self.codes[column] for column in columns})

    def numeric(self, column: str) -> bool:
        """Whether a column holds numbers only, and any."""
        counts = self.counts(column)
        return bool(counts) and all(is_number(code) for code in counts)

    def counting(self, rules: Iterable[RowRule]) -> Material:
        """The same with the rows that count under some rules only."""
        rows = pd.Series(True, index=next(iter(self.codes.values())).index)
        for rule in rules:
            listed = self.codes[rule.column].isin([code_key(code) for code in rule.keep or rule.drop])
            rows &= listed if rule.keep else ~listed
        return replace(self, codes={column: values[rows] for column, values in self.codes.items()})

    def question(self, column: str) -> FormQuestion | None:
        """The form's question that a column holds."""
        return self.asked[column][0] if column in self.asked else None


def is_number(code: str) -> bool:
    """Whether a code is a finite number."""
    try:
        return math.isfinite(float(code))
    except ValueError:
        return False


def code_order(code: str) -> tuple[bool, float, str]:
    """Numbers by value, then texts."""
    return (False, float(code), "") if is_number(code) else (True, 0.0, code)


def last_name(column: str) -> str:
    """A column's own name, without the groups it stands in."""
    return re.split(r"[/.]|(?<=\w)-(?=[A-Za-z])", column)[-1]


def fold_name(column: str) -> str:
    """A column's own name as it is compared: lower case, letters and digits only."""
    return re.sub(r"[\W_]+", "", last_name(column).casefold())


def read_material(wave_id: str, files: Sequence[Path], form: Path | None) -> Material:
    """Read the files (the first is the main one) and the form; InputError when one cannot be read."""
    tables = [read_table(path, f"{wave_id}/{path.name}") for path in files]
    main = tables[0].frame
    described = [DraftFile(files[0].name)]
    for path, table in zip(files[1:], tables[1:], strict=True):
        main, file = _joined(main, table.frame, path.name)
        described.append(file)
    codes = {str(column): code_keys(main[column]) for column in main.columns}
    value_labels = _merged([table.value_labels for table in tables], codes)
    column_labels = _merged([table.column_labels for table in tables], codes)
    if form is None:
        return Material(tuple(described), codes, value_labels, column_labels, {})
    questionnaire = read_xlsform(form, f"{wave_id}/{form.name}")
    form_values, form_wordings = form_labels(questionnaire, codes)
    asked = form_columns(questionnaire, codes)
    return Material(tuple(described), codes, value_labels | form_values, column_labels | form_wordings, asked)


def _merged(labels: Sequence[Mapping[str, Any]], columns: Iterable[str]) -> dict[str, Any]:
    """The labels of the first file that has any, for each column."""
    return {
        column: next(one[column] for one in labels if column in one)
        for column in columns
        if any(column in one for one in labels)
    }


def _joined(main: pd.DataFrame, further: pd.DataFrame, name: str) -> tuple[pd.DataFrame, DraftFile]:
    """The further file on its likeliest key: one that stands once in each of its rows and finds most rows of `main`."""
    keys: list[tuple[tuple[str, ...], tuple[str, ...]]]
    keys = [((on,), (key,)) for on, key in _PARENTS if on in main.columns and key in further.columns]
    shared = [column for column in further.columns if column in main.columns and further[column].nunique() > 1]
    keys += [((column,), (column,)) for column in shared]
    best = max((_found(main, further, *key), -place) for place, key in enumerate(keys)) if keys else None
    if best is None or best[0] < 0.99:
        pairs = list(combinations(shared[:_MOST_SHARED], 2))
        keys += [(pair, pair) for pair in pairs]
        best = max(((_found(main, further, *key), -place) for place, key in enumerate(keys)), default=None)
    if best is None:
        return main, DraftFile(name, on=("KEY",), reasons=("no column is in both files: name the key of this file",))
    share, place = best
    on, key = keys[-place]
    as_called = () if on == key else key
    if share < 0:
        return main, DraftFile(name, on=on, key=as_called, reasons=("it has several rows a key: `reshape` it",))
    new = [column for column in further.columns if column not in main.columns and column not in key]
    clashing = len(new) + len(key) < len(further.columns)
    file = DraftFile(name, tuple(new) if clashing else (), on, as_called, (f"this key finds {share:.0%} of the rows",))
    right = further[[*key, *new]].rename(columns=dict(zip(key, on, strict=True)))
    left = main
    for column in on:
        if left[column].dtype != right[column].dtype:
            left, right = (frame.assign(**{column: code_keys(frame[column]).astype("str")}) for frame in (left, right))
    return left.merge(right, on=list(on), how="left"), file


def _found(main: pd.DataFrame, further: pd.DataFrame, on: Sequence[str], key: Sequence[str]) -> float:
    """Share of the rows of `main` that find their key in `further`; -1 where a key stands there twice."""
    right = further[list(key)].dropna()
    if right.duplicated().any():
        return -1.0
    ours, theirs = (
        pd.MultiIndex.from_frame(
            pd.DataFrame({place: code_keys(rows[column]).astype("str") for place, column in enumerate(names)})
        )
        for rows, names in ((main, on), (right, key))
    )
    return float(ours.isin(theirs).mean())
