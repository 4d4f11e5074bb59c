"""A data file of the field software into a frame with its labels, whatever its format; nothing is interpreted yet.

The formats themselves are in `perception.intake.formats`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from perception.errors import InputError, Problem
from perception.intake.formats.archives import Source, open_source
from perception.intake.formats.tables import AGAIN, SourceTable, code_key, code_keys, numbers

__all__ = ["SUFFIXES", "ReadingOptions", "SourceTable", "code_key", "code_keys", "numbers", "read_table"]

_OPTIONS = {
    **dict.fromkeys((".sav", ".zsav", ".dta"), ("encoding",)),
    **dict.fromkeys((".csv", ".tsv", ".txt"), ("encoding", "delimiter")),
    **dict.fromkeys((".xlsx", ".xls", ".xlsb", ".ods"), ("sheet",)),
    ".parquet": (),
}
"""What may be declared of each format."""
SUFFIXES = tuple(_OPTIONS)
"""Formats that are read, also inside a .gz or a .zip."""


class ReadingOptions(Protocol):
    """How a file is to be read, as `DataFile` of wave.yml declares it; None is found out or the first."""

    @property
    def sheet(self) -> str | None: ...
    @property
    def member(self) -> str | None: ...
    @property
    def encoding(self) -> str | None: ...
    @property
    def delimiter(self) -> str | None: ...


def read_table(path: Path, where: str, file: ReadingOptions | None = None) -> SourceTable:
    """Read one table: SPSS, Stata, delimited text, a sheet, Parquet, each also packed as .gz or in a .zip.

    InputError (placed by `where`) says why it cannot be read, is not safe or not clear, and what to do.
    """
    try:
        if path.stat().st_size == 0:
            raise InputError([Problem(where, "cannot be read: the file is empty", AGAIN)])
        source = open_source(path, where, file.member if file else None, SUFFIXES)
        table = _read(source, where, file)
    except InputError:
        raise
    except Exception as error:  # Whatever a reader raises on a broken file is one finding: the file cannot be read.
        what = " ".join(str(error).split()) or type(error).__name__
        raise InputError([Problem(where, f"cannot be read: {what}", AGAIN)]) from error
    if table.frame.empty:
        raise InputError([Problem(where, "holds no rows", AGAIN)])
    return table


def _read(source: Source, where: str, file: ReadingOptions | None) -> SourceTable:
    suffix = source.suffix
    if suffix not in _OPTIONS:
        remedy = f"Use one of {', '.join(SUFFIXES)}, also as .gz or in a .zip."
        raise InputError([Problem(where, f"files of type {suffix or 'no suffix'} are not read", remedy)])
    declared = {
        name: value for name in ("sheet", "encoding", "delimiter") if (value := getattr(file, name, None)) is not None
    }
    if useless := [name for name in declared if name not in _OPTIONS[suffix]]:
        raise InputError(
            Problem(where, f"is a {suffix} file, which has no `{name}`", "Remove it from the file in wave.yml.")
            for name in useless
        )
    # Each family needs a library of its own, which is only imported for its files.
    if suffix in (".csv", ".tsv", ".txt"):
        from perception.intake.formats.delimited import read_delimited

        return read_delimited(source, where, declared.get("encoding"), declared.get("delimiter"))
    if suffix in (".sav", ".zsav", ".dta"):
        from perception.intake.formats.statistical import read_dta, read_sav

        return (read_dta if suffix == ".dta" else read_sav)(source, where, declared.get("encoding"))
    if suffix == ".parquet":
        from perception.intake.formats.columnar import read_parquet

        return read_parquet(source, where)
    from perception.intake.formats.workbook import read_workbook

    return read_workbook(source, where, declared.get("sheet"))
