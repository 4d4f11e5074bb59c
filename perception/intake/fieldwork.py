"""What is known about the interviews themselves: who held them, when, how long and where, and the files that say more.

No answer is read here and nothing is judged; that is the quality checks' business.
"""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from perception.errors import InputError, Problem
from perception.intake.readers import code_keys, numbers, read_table
from perception.intake.wave_file import DataFile, Wave

AWARE = r"(?:Z|[+-]\d{2}:?\d{2})$"
"""How a time ends that says its zone itself."""


def interviews(raw: pd.DataFrame, wave: Wave) -> pd.DataFrame:
    """The paradata of a wave, one row per raw row with the same index.

    Columns: source_row, enumerator, team, form_version (codes), start, end, submitted (UTC), minutes (as declared, or
    from start to end), latitude, longitude (degrees), accuracy (metres), at_zero (whether the place is 0/0, as a device
    writes it that knows none). What the wave does not declare is null, and so is a place at 0/0. InputError names each
    column and value that is no time, number or place.
    """
    field, problems = wave.fieldwork, list[Problem]()
    absent = [column for column in dict.fromkeys(field.columns) if column not in raw.columns]
    if absent:
        raise InputError(
            Problem(f"{wave.id}/wave.yml, fieldwork", f"column {column!r} is in none of the files", "Correct the name.")
            for column in absent
        )
    frame = pd.DataFrame({"source_row": raw["source_row"]})
    for name in ("enumerator", "team"):
        frame[name] = _codes(raw, getattr(field, name))
    for name in ("start", "end", "submitted"):
        frame[name] = _times(raw, getattr(field, name), wave, problems)
    if field.minutes:
        frame["minutes"] = _numbers(raw, field.minutes, raw[field.minutes], wave, problems)
    else:
        frame["minutes"] = (frame["end"] - frame["start"]).dt.total_seconds() / 60
    frame["form_version"] = _codes(raw, field.form_version)
    frame = frame.assign(**_places(raw, wave, problems))
    if problems:
        raise InputError(problems)
    return frame


def question_times(wave: Wave, folder: Path) -> pd.DataFrame | None:
    """Seconds spent on each question of each interview, visits added up: instance, question, seconds.

    From the wave's ODK audit log (events `question`, start and end in milliseconds); None when it declares none.
    """
    audit = wave.fieldwork.audit
    if audit is None:
        return None
    where = f"{wave.id}/{audit.path}"
    table = read_table(folder / audit.path, where, DataFile(path=audit.path, member=audit.member)).frame
    columns = ["event", "node", "start", "end", audit.instance]
    if absent := [column for column in columns if column not in table.columns]:
        raise InputError(
            Problem(f"{where}, column {column}", "is not in the file", "Bring the audit log as ODK writes it.")
            for column in absent
        )
    asked = table[code_keys(table["event"]).astype("str") == "question"]
    times = {side: pd.to_numeric(asked[side].astype("str"), errors="coerce") for side in ("start", "end")}
    seconds = pd.DataFrame(
        {
            "instance": code_keys(asked[audit.instance]).astype("str"),
            "question": _text(asked["node"]),
            "seconds": (times["end"] - times["start"]) / 1000,
        }
    )
    return seconds.groupby(["instance", "question"])["seconds"].sum(min_count=1).reset_index()


def back_checks(wave: Wave, folder: Path) -> pd.DataFrame | None:
    """The interviews asked again, as in their file; None when the wave declares none. InputError names lost columns."""
    declared = wave.fieldwork.back_checks
    if declared is None:
        return None
    where = f"{wave.id}/{declared.path}"
    table = read_table(folder / declared.path, where).frame
    wanted = [*declared.key, *declared.type_1, *declared.type_2, *declared.type_3]
    if absent := [column for column in dict.fromkeys(wanted) if column not in table.columns]:
        raise InputError(
            Problem(f"{where}, column {column}", "is not in the file", "Correct fieldwork.back_checks of wave.yml.")
            for column in absent
        )
    return table


def _text(values: pd.Series) -> pd.Series:
    """As text, empty for null, every blank a single space (SurveyCTO puts a narrow no-break one before AM)."""
    text = values.astype("str")
    for blank in ("\u202f", "\u00a0", "  "):
        text = text.str.replace(blank, " ", regex=False)
    return text.str.strip().fillna("")


def _codes(raw: pd.DataFrame, column: str | None) -> pd.Series:
    if column is None:
        return pd.Series(pd.NA, index=raw.index, dtype="str")
    return code_keys(raw[column])


def _place(raw: pd.DataFrame, wave: Wave, column: str) -> str:
    return f"{wave.id}/{raw.attrs['column_files'][column]}, column {column}"


def _unreadable(raw: pd.DataFrame, wave: Wave, column: str, wrong: pd.Series, what: str, remedy: str) -> Problem:
    value, row = raw.loc[wrong, column].iloc[0], raw.loc[wrong, "source_row"].iloc[0]
    message = f"{int(wrong.sum())} values are no {what}, for example {value!r} in row {row}"
    return Problem(_place(raw, wave, column), message, remedy)


def _times(raw: pd.DataFrame, column: str | None, wave: Wave, problems: list[Problem]) -> pd.Series:
    """A column of times in UTC; a time that does not say its zone is of the wave's."""
    field = wave.fieldwork
    if column is None:
        return pd.Series(pd.NaT, index=raw.index, dtype="datetime64[us, UTC]")
    try:
        ZoneInfo(field.time_zone)
    except (KeyError, ValueError, OSError):
        remedy = "Name a zone of the IANA list, such as Asia/Karachi."
        problem = Problem(f"{wave.id}/wave.yml, fieldwork.time_zone", f"{field.time_zone!r} is no time zone", remedy)
        problems += [problem] if problem not in problems else []
        return pd.Series(pd.NaT, index=raw.index, dtype="datetime64[us, UTC]")
    values = raw[column]
    if pd.api.types.is_datetime64_any_dtype(values):
        return _in_utc(values, field.time_zone)
    text = _text(values)
    pattern = "ISO8601" if field.time_format == "iso" else field.time_format
    try:
        pd.to_datetime(pd.Series(["x"]), format=pattern, errors="coerce")
    except ValueError as error:
        place, remedy = (
            f"{wave.id}/wave.yml, fieldwork.time_format",
            "Write it as for strptime, such as %d/%m/%Y %H:%M.",
        )
        problem = Problem(place, f"{field.time_format!r} is no time format ({error})", remedy)
        problems += [problem] if problem not in problems else []
        return pd.Series(pd.NaT, index=raw.index, dtype="datetime64[us, UTC]")
    aware = (text.str.contains(AWARE, regex=True) if pattern == "ISO8601" else "%z" in pattern) & (text != "")
    naive = ~aware & (text != "")
    times = pd.Series(pd.NaT, index=raw.index, dtype="datetime64[us, UTC]")
    if aware.any():
        times[aware] = pd.to_datetime(text[aware], format=pattern, errors="coerce", utc=True)
    if naive.any():
        times[naive] = _in_utc(pd.to_datetime(text[naive], format=pattern, errors="coerce"), field.time_zone)
    if (wrong := times.isna() & (text != "")).any():
        what = "ISO time" if field.time_format == "iso" else f"time written as {field.time_format}"
        remedy = f"Correct fieldwork.time_format (now {field.time_format!r}), or put the values right by a remedy."
        problems.append(_unreadable(raw, wave, column, wrong, what, remedy))
    return times


def _in_utc(times: pd.Series, zone: str) -> pd.Series:
    index = pd.DatetimeIndex(times)
    if index.tz is None:
        summer = np.ones(len(index), dtype=bool)
        index = index.tz_localize(zone, ambiguous=summer, nonexistent="shift_forward")
    return pd.Series(index.tz_convert("UTC"), index=times.index).astype("datetime64[us, UTC]")


def _numbers(raw: pd.DataFrame, column: str, values: pd.Series, wave: Wave, problems: list[Problem]) -> pd.Series:
    """Values of `column`, or a part of each, as numbers."""
    found = numbers(values)
    unread = found.isna() & values.notna()
    if (wrong := unread & (_text(values[unread]) != "").reindex(values.index, fill_value=False)).any():
        remedy = "Put the values right by a remedy, or correct fieldwork of wave.yml."
        problems.append(_unreadable(raw, wave, column, wrong, "number", remedy))
    return found


def _places(raw: pd.DataFrame, wave: Wave, problems: list[Problem]) -> dict[str, pd.Series]:
    """Latitude, longitude, accuracy and whether the place was 0/0."""
    gps, names = wave.fieldwork.gps, ("latitude", "longitude", "accuracy")
    if gps is None:
        unknown = {name: pd.Series(np.nan, index=raw.index) for name in names}
        return unknown | {"at_zero": pd.Series(False, index=raw.index)}
    if gps.point:
        parts = (
            _text(raw[gps.point]).str.split(" ", n=4, expand=True).reindex(columns=range(4)).astype("str").fillna("")
        )
        sources = {name: (gps.point, parts[part]) for name, part in zip(names, (0, 1, 3), strict=True)}
        half = (parts[0] != "") & (parts[1] == "")
        if half.any():
            remedy = "Correct fieldwork.gps of wave.yml."
            problems.append(_unreadable(raw, wave, gps.point, half, "latitude and longitude", remedy))
    else:
        columns = {name: getattr(gps, name) for name in names}
        sources = {name: (column, raw[column]) for name, column in columns.items() if column}
    found = {name: _numbers(raw, column, values, wave, problems) for name, (column, values) in sources.items()}
    found.setdefault("accuracy", pd.Series(np.nan, index=raw.index))
    latitude, longitude = found["latitude"], found["longitude"]
    at_zero = (latitude == 0) & (longitude == 0)
    nowhere = latitude.isna() | longitude.isna() | at_zero
    for name, furthest in (("latitude", 90), ("longitude", 180)):
        if (wrong := found[name].abs() > furthest).any():
            remedy = "Put the values right by a remedy, or correct fieldwork.gps of wave.yml."
            problems.append(_unreadable(raw, wave, sources[name][0], wrong, name, remedy))
    return {name: found[name].mask(nowhere) for name in names} | {"at_zero": at_zero}
