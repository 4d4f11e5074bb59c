"""Raw responses into tidy responses and sampled PSUs, exactly as the wave file declares and nothing guessed.

An undeclared code, an unknown district or a missing weight is a problem with its file, column, code and count.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from perception.errors import InputError, Problem
from perception.geography.gazetteer import Gazetteer, resolve_districts, unresolved_problems
from perception.intake.declarations import AGE_BREAKS, AGE_GROUPS, BACKGROUND, REASON_SUFFIX
from perception.intake.instrument import Instrument
from perception.intake.readers import code_key, code_keys
from perception.intake.wave_file import Variable, Wave
from perception.schemas import conform

SEPARATOR = "/"


def declaration_problems(wave: Wave, instrument: Instrument) -> list[Problem]:
    """What in the wave file does not fit its instrument, found without looking at data."""
    problems = []
    for name, variable in wave.variables.items():
        where = f"{wave.id}/wave.yml, variables.{name}"
        if name not in instrument.variables:
            remedy = f"Use a question of {instrument.id} or one of {', '.join(BACKGROUND)}."
            problems.append(
                Problem(where, f"is neither a question of {instrument.id} nor a background variable", remedy)
            )
            continue
        scale = instrument.scale(name)
        declared = [variable.constant] if variable.constant is not None else list(variable.map.values())
        problems += [
            Problem(f"{where}, {answer}", f"is not a category of {name}", f"Use one of {', '.join(scale)}.")
            for answer in dict.fromkeys(declared)
            if scale and answer not in scale
        ]
        if not scale and (variable.map or variable.constant is not None):
            problems.append(
                Problem(
                    where, f"{name} is a number and takes no map or constant", "Remove it; list `missing` codes only."
                )
            )
        if scale and variable.source is not None and not variable.map:
            problems.append(
                Problem(where, "has no `map` from codes to categories", f"Map its codes to {', '.join(scale)}.")
            )
    if not instrument.available_indicators(wave.variables):
        problems.append(
            Problem(
                f"{wave.id}/wave.yml, variables",
                f"fill none of the indicators of {instrument.id}",
                "Map at least the questions of one indicator.",
            )
        )
    return problems


def counted_rows(raw: pd.DataFrame, wave: Wave) -> pd.Series:
    """Whether each raw row counts under the wave's `rows` rules (bool, same index)."""
    counts = pd.Series(True, index=raw.index)
    for rule in wave.rows:
        codes = code_keys(raw[rule.column])
        if rule.keep:
            counts &= codes.isin([code_key(code) for code in rule.keep])
        else:
            counts &= ~codes.isin([code_key(code) for code in rule.drop])
    return counts


def responses(raw: pd.DataFrame, wave: Wave, instrument: Instrument, gazetteer: Gazetteer) -> pd.DataFrame:
    """Table `responses` of a wave: one row per raw row that counts. InputError lists every problem in the data."""
    problems = declaration_problems(wave, instrument) + _missing_columns(raw, wave)
    if problems:
        raise InputError(problems)

    kept = raw[counted_rows(raw, wave)]
    if kept.empty:
        raise InputError(
            [Problem(f"{wave.id}/wave.yml, rows", f"none of {len(raw)} rows counts", "Correct the codes to keep.")]
        )
    columns: dict[str, pd.Series] = {}
    for name in instrument.variables:
        if name in wave.variables:
            harmonised, found = _harmonised(kept, wave, instrument, name, wave.variables[name])
            columns |= harmonised
            problems += found
    district, found = _districts(kept, wave, gazetteer)
    problems += found
    weight, found = _weights(kept, wave)
    problems += found
    identity = _combined(kept, wave.respondent_id)
    problems += _identity_problems(kept, wave, identity)
    stratum, psu = _combined(kept, wave.design.strata), _combined(kept, [*wave.design.psu_within, wave.design.psu])
    problems += _nesting_problems(wave, stratum, psu)
    if problems:
        raise InputError(problems)

    background = {name: columns.pop(name, pd.Series(pd.NA, index=kept.index, dtype="str")) for name in BACKGROUND}
    for reason_of in BACKGROUND:
        columns.pop(reason_of + REASON_SUFFIX, None)
    age = pd.to_numeric(background.pop("age")).astype("float64")
    scales = {name: background[name].where(background[name].isin(BACKGROUND[name])) for name in background}
    bands = np.array(AGE_GROUPS, dtype=object)[np.searchsorted(AGE_BREAKS, age.fillna(0), side="right")]
    frame = pd.DataFrame(
        {
            "wave": wave.id,
            "respondent_id": identity,
            "district_id": district,
            "stratum": stratum,
            "psu": psu,
            "weight": weight,
            **scales,
            "age": age,
            "age_group": pd.Series(bands, index=kept.index).where(age.notna()),
            **columns,
        }
    )
    return conform(frame, "responses")


def _missing_columns(raw: pd.DataFrame, wave: Wave) -> list[Problem]:
    wanted = {
        "rows": [rule.column for rule in wave.rows],
        "respondent_id": wave.respondent_id,
        "design.weight": [wave.design.weight],
        "design.strata": wave.design.strata,
        "design.psu": [wave.design.psu],
        "design.psu_within": wave.design.psu_within,
        "geography.district": [wave.geography.district],
    } | {f"variables.{name}": [v.source] for name, v in wave.variables.items() if v.source is not None}
    return [
        Problem(
            f"{wave.id}/wave.yml, {place}",
            f"column {column!r} is in none of {', '.join(file.path for file in wave.files)}",
            "Correct the name (capitals count) or bring the file that has it.",
        )
        for place, names in wanted.items()
        for column in names
        if column not in raw.columns
    ]


def _column_place(raw: pd.DataFrame, wave: Wave, column: str) -> str:
    return f"{wave.id}/{raw.attrs['column_files'][column]}, column {column}"


def _labelled(values: pd.Series, raw: pd.DataFrame, column: str, by: str) -> pd.Series:
    """Codes as keys, or replaced by their value labels; a code without a label stays itself."""
    keys = code_keys(values)
    if by == "label":
        labels: Mapping[str, str] = raw.attrs["value_labels"].get(column, {})
        keys = keys.map(lambda key: labels.get(key, key), na_action="ignore").astype("str")
    return keys


def _harmonised(
    kept: pd.DataFrame, wave: Wave, instrument: Instrument, name: str, variable: Variable
) -> tuple[dict[str, pd.Series], list[Problem]]:
    if variable.source is None:
        return {name: pd.Series(variable.constant, index=kept.index, dtype="str")}, []
    keys = _labelled(kept[variable.source], kept, variable.source, variable.by)
    reasons = keys.map({code_key(code): reason for code, reason in variable.missing.items()}).astype("str")
    reasons = reasons.mask(keys.isna(), variable.blank)
    answered = keys.where(reasons.isna())
    place = _column_place(kept, wave, variable.source)
    if instrument.scale(name):
        answers = answered.map({code_key(code): answer for code, answer in variable.map.items()}).astype("str")
        return {name: answers.fillna(reasons)}, _undeclared(answered[answers.isna()], kept, place, variable, name)
    numbers = pd.to_numeric(answered, errors="coerce").astype("float64")
    problems = _undeclared(answered[numbers.isna()], kept, place, variable, name)
    low, high = (0, 130) if name == "age" else instrument.questions[name].range or (-np.inf, np.inf)
    outside = numbers[(numbers < low) | (numbers > high)]
    problems += [
        Problem(
            place,
            f"{name} is {value:g} in {count} rows, outside {low:g} to {high:g}",
            "Declare it under `missing`, or correct the range of the instrument.",
        )
        for value, count in outside.value_counts().sort_index().items()
    ]
    return {name: numbers, name + REASON_SUFFIX: reasons}, problems


def _undeclared(codes: pd.Series, raw: pd.DataFrame, place: str, variable: Variable, name: str) -> list[Problem]:
    labels = raw.attrs["value_labels"].get(variable.source, {})
    problems = []
    for code, count in codes.value_counts().sort_index().items():
        label = f" ({labels[code]})" if variable.by == "code" and code in labels else ""
        problems.append(
            Problem(
                place,
                f"code {code!r}{label} stands in {count} rows and is not declared",
                f"Add it to `map` or `missing` of variables.{name} in wave.yml.",
            )
        )
    return problems


def _districts(kept: pd.DataFrame, wave: Wave, gazetteer: Gazetteer) -> tuple[pd.Series, list[Problem]]:
    place = wave.geography
    names = _labelled(kept[place.district], kept, place.district, place.by)
    where = _column_place(kept, wave, place.district)
    declared = {code_key(name): district_id for name, district_id in place.names.items()}
    resolved = resolve_districts(gazetteer, place.vintage, names.dropna().unique(), declared)
    counts = names.value_counts()
    problems = [
        problem
        for name in resolved.loc[resolved["district_id"].isna(), "name"]
        for problem in unresolved_problems(
            gazetteer, place.vintage, [name], declared, f"{where}, in {counts[name]} rows"
        )
    ]
    if names.isna().any():
        problems.append(
            Problem(
                where,
                f"the district is blank in {int(names.isna().sum())} rows",
                "Fill it, or leave these rows out by `rows`.",
            )
        )
    return names.map(resolved.set_index("name")["district_id"]).astype("str"), problems


def _weights(kept: pd.DataFrame, wave: Wave) -> tuple[pd.Series, list[Problem]]:
    weight = pd.to_numeric(kept[wave.design.weight], errors="coerce").astype("float64")
    wrong = ~(np.isfinite(weight) & (weight > 0))
    problems = []
    if wrong.any():
        examples = kept.loc[wrong, wave.design.weight].drop_duplicates().head(3).tolist()
        problems.append(
            Problem(
                _column_place(kept, wave, wave.design.weight),
                f"{int(wrong.sum())} of {len(kept)} rows that count have no positive weight, for example {examples}",
                "Leave rows that are no completed interviews out by `rows`, or bring the weight.",
            )
        )
    return weight, problems


def _combined(rows: pd.DataFrame, columns: list[str]) -> pd.Series:
    """The codes of several columns as one text; null where any is blank."""
    parts = [code_keys(rows[column]) for column in columns]
    combined = parts[0]
    for part in parts[1:]:
        combined = combined + SEPARATOR + part
    return combined


def _identity_problems(kept: pd.DataFrame, wave: Wave, identity: pd.Series) -> list[Problem]:
    problems = []
    columns = ", ".join(wave.respondent_id)
    if identity.isna().any():
        rows = kept.loc[identity.isna(), "source_row"].head(3).tolist()
        problems.append(
            Problem(
                f"{wave.id}, respondent_id ({columns})",
                f"is blank in {int(identity.isna().sum())} rows, first at rows {rows}",
                "Name columns that are always filled.",
            )
        )
    repeated = identity[identity.duplicated(keep=False) & identity.notna()]
    if len(repeated):
        problems.append(
            Problem(
                f"{wave.id}, respondent_id ({columns})",
                f"{repeated.nunique()} ids stand in {len(repeated)} rows, for example {repeated.iloc[0]}",
                "Name the columns that make a respondent unique, or leave the duplicates out by `rows`.",
            )
        )
    return problems


def _nesting_problems(wave: Wave, stratum: pd.Series, psu: pd.Series) -> list[Problem]:
    problems = [
        Problem(
            f"{wave.id}, design.{name}",
            f"is blank in {int(values.isna().sum())} rows",
            "Name columns that are always filled.",
        )
        for name, values in (("strata", stratum), ("psu", psu))
        if values.isna().any()
    ]
    strata = pd.DataFrame({"stratum": stratum, "psu": psu}).drop_duplicates().dropna()
    astride = strata[strata.duplicated("psu", keep=False)]
    if len(astride):
        example = astride[astride["psu"] == astride["psu"].iloc[0]]
        problems.append(
            Problem(
                f"{wave.id}, design.psu {wave.design.psu}",
                f"{astride['psu'].nunique()} PSU ids stand in several strata, for example {example['psu'].iloc[0]} in "
                f"{', '.join(example['stratum'])}",
                "List under design.psu_within the columns that PSU ids are unique within.",
            )
        )
    return problems


def sampled_psus(raw: pd.DataFrame, wave: Wave, frame: pd.DataFrame) -> pd.DataFrame:
    """Every PSU of the raw rows in strata that have a response: wave, stratum, psu, district_id, urban, responses.

    `frame` is the wave's `responses`; a PSU without one takes district and area from its stratum. InputError when a PSU
    of rows that do not count stands in another stratum than its responses.
    """
    sampled = pd.DataFrame(
        {
            "stratum": _combined(raw, wave.design.strata),
            "psu": _combined(raw, [*wave.design.psu_within, wave.design.psu]),
        }
    ).drop_duplicates()
    sampled = sampled[sampled["stratum"].isin(frame["stratum"])].dropna()
    if problems := _nesting_problems(wave, sampled["stratum"], sampled["psu"]):
        raise InputError(problems)
    known = frame.groupby("psu").agg(
        district_id=("district_id", "first"), urban=("urban", "first"), responses=("psu", "size")
    )
    strata = frame.groupby("stratum").agg(district_id=("district_id", "first"), urban=("urban", "first"))
    sampled = sampled.merge(known, on="psu", how="left").merge(
        strata, on="stratum", how="left", suffixes=("", "_stratum")
    )
    for column in ("district_id", "urban"):
        sampled[column] = sampled[column].fillna(sampled[column + "_stratum"])
    sampled["responses"] = sampled["responses"].fillna(0).astype(int)
    if wave.design.empty_psus == "leave_out":
        sampled = sampled[sampled["responses"] > 0]
    sampled.insert(0, "wave", wave.id)
    return (
        sampled.drop(columns=["district_id_stratum", "urban_stratum"])
        .sort_values(["stratum", "psu"])
        .reset_index(drop=True)
    )
