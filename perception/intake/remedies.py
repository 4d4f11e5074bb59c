"""What a wave declares to do about its faults, applied to its raw rows and counted; nothing is done unasked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from perception.intake.readers import code_key, code_keys
from perception.intake.wave_file import Multiply, Repeats, Replace, RowChoice, Wave
from perception.schemas import conform


def remedied(raw: pd.DataFrame, wave: Wave) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The raw rows after the wave's remedies, in the order declared, and table `wave_remedies`.

    `source_row` stays what it was, so that rows can be found in the file. Columns must be there (see `harmonise`).
    """
    frame, log = raw, []
    for number, remedy in enumerate(wave.remedies, start=1):
        frame, rows, detail = _ACTIONS[remedy.action](frame, getattr(remedy, remedy.action), wave)
        log.append(
            {
                "wave": wave.id,
                "number": number,
                "check": remedy.check,
                "action": remedy.action,
                "detail": detail,
                "rows": rows,
                "reason": remedy.reason,
            }
        )
    frame.attrs = raw.attrs
    columns = ["wave", "number", "check", "action", "detail", "rows", "reason"]
    return frame, conform(pd.DataFrame(log, columns=columns), "wave_remedies")


def chosen_rows(frame: pd.DataFrame, choice: RowChoice | None) -> pd.Series:
    """Which rows a choice means (bool, same index); all when there is none."""
    if choice is None:
        return pd.Series(True, index=frame.index)
    return code_keys(frame[choice.column]).isin([code_key(code) for code in choice.codes])


Applied = tuple[pd.DataFrame, int, str]


def _drop(frame: pd.DataFrame, choice: RowChoice, wave: Wave) -> Applied:
    rows = chosen_rows(frame, choice)
    return frame[~rows], int(rows.sum()), f"rows with {_named(choice)}"


def _drop_repeats(frame: pd.DataFrame, repeats: Repeats, wave: Wave) -> Applied:
    keys = pd.DataFrame({column: code_keys(frame[column]) for column in repeats.columns})
    rows = keys.duplicated(keep=repeats.keep) & keys.notna().all(axis=1)
    return frame[~rows], int(rows.sum()), f"all but the {repeats.keep} row with the same {', '.join(repeats.columns)}"


def _multiply(frame: pd.DataFrame, multiply: Multiply, wave: Wave) -> Applied:
    made = [variable for variable in wave.variables.values() if set(variable.sources) & set(multiply.columns)]
    reasons = {code_key(code) for variable in made for code in variable.missing}

    def scaled(key: str) -> str:
        number = pd.to_numeric(key, errors="coerce")
        return key if key in reasons or pd.isna(number) else code_key(float(number) * multiply.by)

    detail = f"{', '.join(multiply.columns)} times {multiply.by:g} where {_named(multiply.where)}"
    return _changed(frame, multiply.columns, multiply.where, scaled, detail)


def _replace(frame: pd.DataFrame, replace: Replace, wave: Wave) -> Applied:
    codes = {code_key(old): code_key(new) for old, new in replace.codes.items()}
    where = f" where {_named(replace.where)}" if replace.where else ""
    detail = f"{', '.join(replace.columns)}: " + ", ".join(f"{old} to {new}" for old, new in codes.items()) + where
    return _changed(frame, replace.columns, replace.where, lambda key: codes.get(key, key), detail)


def _accept(frame: pd.DataFrame, units: list[str], wave: Wave) -> Applied:
    return frame, 0, ", ".join(units)


def _changed(
    frame: pd.DataFrame, columns: list[str], where: RowChoice | None, change: Callable[[str], str], detail: str
) -> Applied:
    """Columns with their keys changed in the chosen rows; counted are rows of which any value changed."""
    rows, touched, fresh = chosen_rows(frame, where), pd.Series(False, index=frame.index), {}
    for column in columns:
        keys = code_keys(frame[column]).astype("str")
        chosen = keys[rows]
        changes = {key: change(str(key)) for key in chosen.dropna().unique()}
        fresh[column] = keys.mask(rows, chosen.map(changes, na_action="ignore").astype("str"))
        touched |= rows & keys.notna() & (fresh[column] != keys)
    return frame.assign(**fresh), int(touched.sum()), detail


def _named(choice: RowChoice) -> str:
    return f"{choice.column} {', '.join(code_key(code) for code in choice.codes)}"


_ACTIONS: dict[str, Callable[[pd.DataFrame, Any, Wave], Applied]] = {
    "drop": _drop,
    "drop_repeats": _drop_repeats,
    "multiply": _multiply,
    "replace": _replace,
    "accept": _accept,
}
