"""Raw responses into tidy responses and sampled PSUs, exactly as the wave file declares and nothing guessed.

An undeclared code, an unknown district or a missing weight is a problem with its file, column, code and count.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from perception.errors import InputError, Problem
from perception.geography.gazetteer import Gazetteer, resolve_districts, unresolved_problems
from perception.intake.declarations import AGE_BREAKS, AGE_GROUPS, BACKGROUND, REASON_SUFFIX, REASONS, REPLICATE_PREFIX
from perception.intake.instrument import Instrument, Universe
from perception.intake.privacy import looks_personal
from perception.intake.readers import code_key, code_keys, numbers
from perception.intake.remedies import remedied
from perception.intake.wave_file import Variable, Wave
from perception.schemas import conform

SEPARATOR = "/"
MOST_LISTED = 20
"""Values of one kind that are named one by one."""
PERSONAL_COLUMNS = "personal_columns"
"""The quality check that columns of a person are not passed on; a wave may accept a column that only looks so."""


def declaration_problems(wave: Wave, instrument: Instrument) -> list[Problem]:
    """What in the wave file does not fit its instrument, found without looking at data."""
    problems = [p for name in wave.variables for p in _variable_problems(wave, instrument, name)]
    if not instrument.available_indicators(wave.variables):
        problems.append(
            Problem(
                f"{wave.id}/wave.yml, variables",
                f"fill none of the indicators of {instrument.id}",
                "Map at least the questions of one indicator.",
            )
        )
    return problems


def _variable_problems(wave: Wave, instrument: Instrument, name: str) -> list[Problem]:
    variable, where = wave.variables[name], f"{wave.id}/wave.yml, variables.{name}"
    if name not in instrument.variables:
        remedy = f"Use a question of {instrument.id} or one of {', '.join(BACKGROUND)}."
        return [Problem(where, f"is neither a question of {instrument.id} nor a background variable", remedy)]
    scale = instrument.scale(name)
    declared = [variable.constant] if variable.constant is not None else list(variable.map.values())
    problems = [
        Problem(f"{where}, {answer}", f"is not a category of {name}", f"Use one of {', '.join(scale)}.")
        for answer in dict.fromkeys(declared)
        if scale and answer not in scale
    ]
    if not scale and (variable.map or variable.constant is not None):
        remedy = "Remove it; list `missing` codes only."
        problems.append(Problem(where, f"{name} is a number and takes no map or constant", remedy))
    if scale and variable.sources and not variable.map:
        problems.append(
            Problem(where, "has no `map` from codes to categories", f"Map its codes to {', '.join(scale)}.")
        )
    if variable.contains is not None and {code_key(code) for code in variable.map} != {"0", "1"}:
        remedy = "Map 1 (chosen) and 0 (not chosen)."
        problems.append(Problem(where, "reads a select-multiple column without a map of 1 and 0", remedy))
    if variable.asked_if is not None:
        problems += _filter_problems(wave, instrument, where, variable.asked_if)
    return problems


def _filter_problems(wave: Wave, instrument: Instrument, where: str, asked_if: Universe) -> list[Problem]:
    question, place = asked_if.question, f"{where}.asked_if"
    if question not in wave.variables:
        return [Problem(place, f"{question} is not among the wave's variables", "Map it, or correct its name.")]
    scale = instrument.scale(question) if question in instrument.variables else ()
    return [
        Problem(place, f"{answer} is not a category of {question}", f"Use one of {', '.join(scale)}.")
        for answer in asked_if.answers
        if scale and answer not in scale
    ]


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
    """Table `responses` of a wave: one row per raw row that counts after the wave's remedies.

    Question columns are categoricals of their scale and the reasons for no answer, numbers with their reasons beside
    them. The weight is the producer's, or the base weight where the wave builds its own. InputError lists every problem
    of the declaration and of the data.
    """
    absent = _missing_columns(raw, wave)
    problems = declaration_problems(wave, instrument) + list(absent.values())
    if any(not place.startswith("variables.") for place, _ in absent):
        raise InputError(problems)  # without its design or rows nothing more can be said of the data

    kept, _ = remedied(raw, wave)
    counts = counted_rows(kept, wave)
    rows = Rows.of(wave, kept if counts.all() else kept[counts])
    problems += _personal_problems(rows)
    kept = rows.frame
    if kept.empty:
        what = f"none of {len(raw)} rows counts"
        raise InputError([*problems, Problem(f"{wave.id}/wave.yml, rows", what, "Correct the codes to keep.")])
    unsound = {place.removeprefix("variables.") for place, _ in absent}
    sound = [name for name in instrument.variables if name in wave.variables and name not in unsound]
    sound = [name for name in sound if not _variable_problems(wave, instrument, name)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = list(pool.map(lambda name: _answers(rows, instrument, name), sound))
        answers = {name: answer for name, (answer, _) in zip(sound, read, strict=True)}
        columns: dict[str, pd.Series] = {}
        for made in pool.map(lambda name: _with_reasons(name, answers[name], wave.variables[name], answers), answers):
            columns |= made
    problems += [problem for _, found in read for problem in found]
    district, found = _districts(rows, gazetteer)
    problems += found
    weight, found = _weights(rows)
    problems += found
    replicates, found = _replicate_weights(rows, weight)
    problems += found
    identity = combined_codes(kept, wave.respondent_id)
    problems += _identity_problems(kept, wave, identity, rows.column_files)
    stratum, psu = (
        combined_codes(kept, wave.design.strata),
        combined_codes(kept, [*wave.design.psu_within, wave.design.psu]),
    )
    problems += _nesting_problems(wave, stratum, psu, rows.column_files)
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
            "base_weight": np.nan,
            "uncalibrated_weight": np.nan,
            **scales,
            "age": age,
            "age_group": pd.Series(bands, index=kept.index).where(age.notna()),
            **columns,
            **replicates,
        },
        copy=False,
    )
    return conform(frame, "responses")


def _missing_columns(raw: pd.DataFrame, wave: Wave) -> dict[tuple[str, str], Problem]:
    """A problem for each declared place and column that is in no file."""
    wanted = {
        "rows": [rule.column for rule in wave.rows],
        "respondent_id": wave.respondent_id,
        "weighting.base" if wave.weighting else "design.weight": [wave.base_weight],
        "design.strata": wave.design.strata,
        "design.psu": [wave.design.psu],
        "design.psu_within": wave.design.psu_within,
        "design.population_psus": [wave.design.population_psus] if wave.design.population_psus else [],
        "geography.district": [wave.geography.district],
        "fieldwork": wave.fieldwork.columns,
        "remedies": [column for remedy in wave.remedies for column in remedy.columns],
    } | {f"variables.{name}": variable.sources for name, variable in wave.variables.items()}
    if wave.design.replicates and isinstance(wave.design.replicates.columns, list):
        wanted["design.replicates"] = wave.design.replicates.columns
    if wave.weighting and wave.weighting.eligible:
        wanted["weighting.eligible"] = [wave.weighting.eligible.column]
    return {
        (place, column): Problem(
            f"{wave.id}/wave.yml, {place}",
            f"column {column!r} is in none of {', '.join(file.path for file in wave.files)}",
            "Correct the name (capitals count) or bring the file that has it.",
        )
        for place, names in wanted.items()
        for column in dict.fromkeys(names)
        if column not in raw.columns
    }


def _personal_problems(rows: Rows) -> list[Problem]:
    """Columns that would carry a name, number or place of a person on into `responses`."""
    wave, frame = rows.wave, rows.frame
    accepted = {unit for remedy in wave.remedies if remedy.check == PERSONAL_COLUMNS for unit in remedy.accept}
    carried = {
        "respondent_id": wave.respondent_id,
        "design.strata": wave.design.strata,
        "design.psu": [*wave.design.psu_within, wave.design.psu],
    } | {f"variables.{name}": variable.sources for name, variable in wave.variables.items()}
    remedy = f"Use another column, or declare the remedy `{PERSONAL_COLUMNS}: accept` with the reason why it is none."
    return [
        Problem(f"{rows.place(column)} ({place})", f"looks like {why}; it must not be passed on", remedy)
        for place, columns in carried.items()
        for column in columns
        if column in frame and column not in accepted and (why := looks_personal(column, frame[column]))
    ]


@dataclass(frozen=True)
class Rows:
    """Rows of a wave, and apart what its files say of them: pandas copies attributes deeply with every column."""

    wave: Wave
    frame: pd.DataFrame
    value_labels: Mapping[str, Mapping[str, str]]
    column_files: Mapping[str, str]

    @classmethod
    def of(cls, wave: Wave, raw: pd.DataFrame) -> Rows:
        """The rows of a raw frame."""
        bare = raw.copy(deep=False)
        bare.attrs = {}
        return cls(wave, bare, raw.attrs["value_labels"], raw.attrs["column_files"])

    def place(self, column: str) -> str:
        """Where a column is found, for messages."""
        return f"{self.wave.id}/{self.column_files[column]}, column {column}"

    def keys(self, column: str, by: str) -> pd.Series:
        """The codes of a column as keys, or replaced by their value labels; a code without one stays itself."""
        keys = code_keys(self.frame[column])
        if by == "label":
            labels = self.value_labels.get(column, {})
            keys = keys.astype("str").map(lambda key: labels.get(key, key), na_action="ignore").astype("str")
        return keys


@dataclass(frozen=True)
class Answers:
    """A variable before blanks have their reason: what was answered, and the reasons that stand as codes in the file.

    `given` is a categorical of the scale, or numbers; `reasons` a categorical of `REASONS`; a blank is null in both.
    """

    given: pd.Series
    reasons: pd.Series


def _answers(rows: Rows, instrument: Instrument, name: str) -> tuple[Answers, list[Problem]]:
    wave, index = rows.wave, rows.frame.index
    variable, scale = wave.variables[name], instrument.scale(name)
    if variable.constant is not None:
        given = _constant(variable.constant, scale, index)
        return Answers(given, _constant(None, REASONS, index)), []
    keys, problems = _keys(rows, name)
    place = (
        rows.place(variable.sources[0])
        if len(variable.sources) == 1
        else (f"{wave.id}, columns {', '.join(variable.sources)}")
    )
    if isinstance(keys.dtype, pd.CategoricalDtype):
        codes, uniques = keys.cat.codes.to_numpy(), keys.cat.categories
    else:
        codes, uniques = pd.factorize(keys)
    texts = [str(unique) for unique in uniques]
    missing = {code_key(code): reason for code, reason in variable.missing.items()}
    reasons = _recoded(codes, [missing.get(text) for text in texts], REASONS, index)
    if scale:
        answer = {code_key(code): meaning for code, meaning in variable.map.items()}
        given = _recoded(codes, [answer.get(text) for text in texts], scale, index)
        unknown = [text not in answer and text not in missing for text in texts]
        return Answers(given, reasons), problems + _undeclared(codes, texts, unknown, rows, place, variable, name)
    parsed = pd.to_numeric(pd.Series(texts, dtype="str"), errors="coerce").astype("float64").to_numpy()
    parsed = np.where(np.isfinite(parsed), parsed, np.nan)
    unknown = [bool(np.isnan(number)) and text not in missing for text, number in zip(texts, parsed, strict=True)]
    problems += _undeclared(codes, texts, unknown, rows, place, variable, name)
    values = np.append(np.where([text in missing for text in texts], np.nan, parsed), np.nan)[codes]
    low, high = (0, 130) if name == "age" else instrument.questions[name].range or (-np.inf, np.inf)
    outside = pd.Series(values[(values < low) | (values > high)])
    problems += [
        Problem(
            place,
            f"{name} is {value:g} in {count} rows, outside {low:g} to {high:g}",
            "Declare it under `missing`, or correct the range of the instrument.",
        )
        for value, count in outside.value_counts().sort_index().head(MOST_LISTED).items()
    ]
    problems += _more(place, outside.nunique(), "values out of range", f"variables.{name}")
    return Answers(pd.Series(values, index=index), reasons), problems


def _keys(rows: Rows, name: str) -> tuple[pd.Series, list[Problem]]:
    """The code keys of a variable: of its one source column, or of several of which a row fills at most one."""
    variable = rows.wave.variables[name]
    first, *others = [rows.keys(column, variable.by) for column in variable.sources]
    problems = []
    for column, further in zip(variable.sources[1:], others, strict=True):
        first, further = first.astype("str"), further.astype("str")
        if (clash := first.notna() & further.notna() & (first != further)).any():
            row = int(clash.to_numpy().argmax())
            number = rows.frame["source_row"].iloc[row]
            problems.append(
                Problem(
                    rows.place(column),
                    f"{name}: {int(clash.sum())} rows fill it and an earlier source column with different codes, for "
                    f"example {first.iloc[row]!r} and {further.iloc[row]!r} in row {number}",
                    "Name under `source` only columns of which a row fills one.",
                )
            )
        first = first.fillna(further)
    if variable.contains is not None:
        chosen = {key: _chosen(rows.wave, variable, str(key)) for key in first.dropna().unique()}
        first = first.astype("str").map(chosen, na_action="ignore").astype("str")
    return first, problems


def _chosen(wave: Wave, variable: Variable, answer: str) -> str:
    """1 or 0: whether an answer of a select-multiple column has the code looked for; a reason for no answer stays.

    So does a code that no variable of the column looks for: it is named with the undeclared ones.
    """
    given, code = [code_key(part) for part in answer.split()], code_key(str(variable.contains))
    others = [other for other in wave.variables.values() if set(other.sources) & set(variable.sources)]
    known = {code_key(str(other.contains)) for other in others if other.contains is not None}
    known |= {code_key(str(choice)) for other in others for choice in other.choices}
    reasons = {code_key(reason) for reason in variable.missing}
    if strange := [part for part in given if part not in known | reasons]:
        return strange[0]
    return "1" if code in given else next((part for part in given if part in reasons), "0")


def _constant(value: str | None, scale: tuple[str, ...], index: pd.Index) -> pd.Series:
    return _recoded(np.zeros(len(index), dtype=int), [value], scale, index)


def _recoded(codes: NDArray[Any], meanings: list[str | None], scale: tuple[str, ...], index: pd.Index) -> pd.Series:
    """A categorical of `scale`: `meanings` of each factorised code; null where there is none or the code is -1."""
    place = {category: number for number, category in enumerate(scale)}
    lookup = np.array([*(place.get(str(meaning), -1) for meaning in meanings), -1], dtype=np.int8)
    return pd.Series(pd.Categorical.from_codes(lookup[codes], categories=pd.Index(scale, dtype="str")), index=index)


def _with_reasons(
    name: str, answer: Answers, variable: Variable, answers: Mapping[str, Answers]
) -> dict[str, pd.Series]:
    """The columns of a variable, every row answered or with its reason: a blank was not asked, or is `blank`."""
    given, reasons = answer.given, answer.reasons.cat.codes.to_numpy().copy()
    blank = given.isna().to_numpy() & (reasons < 0)
    if variable.asked_if is not None and variable.asked_if.question in answers:
        asked = answers[variable.asked_if.question].given.isin(variable.asked_if.answers).to_numpy()
        reasons[blank & ~asked] = REASONS.index("not_asked")
        blank &= asked
    reasons[blank] = REASONS.index(variable.blank)
    if isinstance(given.dtype, pd.CategoricalDtype):
        codes = given.cat.codes.to_numpy()
        categories = pd.Index([*given.cat.categories, *REASONS], dtype="str")
        whole = np.where(codes >= 0, codes, reasons + len(given.cat.categories))
        return {name: pd.Series(pd.Categorical.from_codes(whole, categories=categories), index=given.index)}
    why = pd.Categorical.from_codes(np.where(given.notna(), -1, reasons), categories=pd.Index(REASONS, dtype="str"))
    return {name: given, name + REASON_SUFFIX: pd.Series(why, index=given.index)}


def _undeclared(
    codes: NDArray[Any],
    texts: list[str],
    unknown: list[bool],
    rows: Rows,
    place: str,
    variable: Variable,
    name: str,
) -> list[Problem]:
    if not any(unknown):
        return []
    labels = rows.value_labels.get(variable.sources[0], {})
    counts = np.bincount(codes[codes >= 0], minlength=len(texts))
    problems = []
    lists = "`map` or `missing`" if variable.contains is None else "`choices` or `missing`"
    found = sorted((text, counts[i]) for i, text in enumerate(texts) if unknown[i] and counts[i])
    for code, count in found[:MOST_LISTED]:
        label = f" ({labels[code]})" if variable.by == "code" and code in labels else ""
        problems.append(
            Problem(
                place,
                f"code {code!r}{label} stands in {count} rows and is not declared",
                f"Add it to {lists} of variables.{name} in wave.yml.",
            )
        )
    return problems + _more(place, len(found), "codes that are not declared", f"variables.{name}")


def _more(where: str, count: int, what: str, declared: str) -> list[Problem]:
    """A last problem for all that are not listed one by one."""
    if count <= MOST_LISTED:
        return []
    remedy = f"So many may mean that it is the wrong column: check the one of {declared} in wave.yml."
    return [Problem(where, f"holds {count - MOST_LISTED} more {what}", remedy)]


def _districts(rows: Rows, gazetteer: Gazetteer) -> tuple[pd.Series, list[Problem]]:
    place = rows.wave.geography
    names = rows.keys(place.district, place.by).astype("str")
    where = rows.place(place.district)
    declared = {code_key(name): district_id for name, district_id in place.names.items()}
    resolved = resolve_districts(gazetteer, place.vintage, names.dropna().unique(), declared)
    counts = names.value_counts()
    unknown = resolved.loc[resolved["district_id"].isna(), "name"]
    problems = [
        problem
        for name in unknown.head(MOST_LISTED)
        for problem in unresolved_problems(
            gazetteer, place.vintage, [name], declared, f"{where}, in {counts[name]} rows"
        )
    ]
    problems += _more(where, len(unknown), "names that are no district", "geography.district")
    if names.isna().any():
        problems.append(
            Problem(
                where,
                f"the district is blank in {int(names.isna().sum())} rows",
                "Fill it, or leave these rows out by `rows`.",
            )
        )
    return names.map(resolved.set_index("name")["district_id"]).astype("str"), problems


def _weights(rows: Rows) -> tuple[pd.Series, list[Problem]]:
    kept, column = rows.frame, rows.wave.base_weight
    weight = numbers(code_keys(kept[column]))
    wrong = ~(np.isfinite(weight) & (weight > 0))
    problems = []
    if wrong.any():
        examples = kept.loc[wrong, column].drop_duplicates().head(3).tolist()
        problems.append(
            Problem(
                rows.place(column),
                f"{int(wrong.sum())} of {len(kept)} rows that count have no positive weight, for example {examples}",
                "Leave rows that are no completed interviews out by `rows`, or bring the weight.",
            )
        )
    return weight, problems


def _replicate_weights(rows: Rows, weight: pd.Series) -> tuple[dict[str, pd.Series], list[Problem]]:
    """The replicate weights that the wave declares, whole (not factors of the weight), numbered in order."""
    declared, frame, wave = rows.wave.design.replicates, rows.frame, rows.wave
    if declared is None:
        return {}, []
    names, where = declared.named(map(str, frame.columns)), f"{wave.id}/wave.yml, design.replicates"
    if len(names) < 2 or (declared.rscales and len(declared.rscales) != len(names)):
        what = f"`columns` {declared.columns!r} are {len(names)} columns"
        if declared.rscales:
            what += f", `rscales` {len(declared.rscales)} numbers"
        remedy = "Name every column with replicate weights, at least two, and as many `rscales` where there are any."
        return {}, [Problem(where, what, remedy)]
    columns, problems = {}, []
    for number, name in enumerate(names, start=1):
        values = numbers(code_keys(frame[name])).astype("float64")
        wrong = ~(np.isfinite(values) & (values >= 0))
        if wrong.any() or not (values > 0).any():
            count = int(wrong.sum())
            what = f"{count} of {len(frame)} rows have no weight of zero or more" if count else "is zero in every row"
            remedy = "Bring the file with its replicate weights, or leave the column out of design.replicates."
            problems.append(Problem(f"{rows.place(name)} (design.replicates)", what, remedy))
        columns[f"{REPLICATE_PREFIX}{number}"] = values if declared.combined else values * weight
    return columns, problems


def combined_codes(rows: pd.DataFrame, columns: list[str]) -> pd.Series:
    """The codes of several columns as one text; null where any is blank."""
    if len(columns) == 1:
        return code_keys(rows[columns[0]]).astype("str")
    group = rows.groupby(columns, dropna=False, observed=True, sort=False).ngroup().to_numpy()
    _, first = np.unique(group, return_index=True)  # texts are made once for each combination, not for each row
    combined = code_keys(rows[columns[0]].iloc[first]).astype("str")
    for column in columns[1:]:
        combined = combined + SEPARATOR + code_keys(rows[column].iloc[first]).astype("str")
    return combined.take(group).set_axis(rows.index)


def _place(wave: Wave, declared: str, columns: list[str], column_files: Mapping[str, str]) -> str:
    """Where the columns are found that together are what wave.yml declares."""
    files = ", ".join(dict.fromkeys(column_files[column] for column in columns))
    return f"{wave.id}/{files}, {declared} ({', '.join(columns)})"


def _identity_problems(
    kept: pd.DataFrame, wave: Wave, identity: pd.Series, column_files: Mapping[str, str]
) -> list[Problem]:
    problems = []
    place = _place(wave, "respondent_id", wave.respondent_id, column_files)
    if identity.isna().any():
        rows = kept.loc[identity.isna(), "source_row"].head(3).tolist()
        problems.append(
            Problem(
                place,
                f"is blank in {int(identity.isna().sum())} rows, first at rows {rows}",
                "Name columns that are always filled.",
            )
        )
    repeated = identity[identity.duplicated(keep=False) & identity.notna()]
    if len(repeated):
        problems.append(
            Problem(
                place,
                f"{repeated.nunique()} ids stand in {len(repeated)} rows, for example {repeated.iloc[0]}",
                "Name the columns that make a respondent unique, or leave the duplicates out by `rows`.",
            )
        )
    return problems


def _nesting_problems(wave: Wave, stratum: pd.Series, psu: pd.Series, column_files: Mapping[str, str]) -> list[Problem]:
    design = wave.design
    places = {
        "strata": _place(wave, "design.strata", design.strata, column_files),
        "psu": _place(wave, "design.psu", [*design.psu_within, design.psu], column_files),
    }
    problems = [
        Problem(
            places[name],
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
                places["psu"],
                f"{astride['psu'].nunique()} PSU ids stand in several strata, for example {example['psu'].iloc[0]} in "
                f"{', '.join(example['stratum'])}",
                "List under design.psu_within the columns that PSU ids are unique within.",
            )
        )
    return problems


def sampled_psus(raw: pd.DataFrame, wave: Wave, frame: pd.DataFrame) -> pd.DataFrame:
    """Every PSU of the raw rows in strata that have a response: wave, stratum, psu, district_id, urban,
    population_psus (of its stratum, null when not declared), responses.

    `frame` is the wave's `responses`; a PSU without one takes district and area from its stratum. InputError when a PSU
    of rows that do not count stands in another stratum than its responses, or when a stratum's number of PSUs in the
    population is not one whole number, at least that of those sampled.
    """
    places = frame[["psu", "stratum", "district_id", "urban"]].drop_duplicates()
    columns = list(dict.fromkeys([*wave.design.strata, *wave.design.psu_within, wave.design.psu]))
    rows = raw[columns].drop_duplicates()
    sampled = pd.DataFrame(
        {
            "stratum": combined_codes(rows, wave.design.strata),
            "psu": combined_codes(rows, [*wave.design.psu_within, wave.design.psu]),
        }
    ).drop_duplicates()
    sampled = sampled[sampled["stratum"].isin(places["stratum"].unique())].dropna()
    if problems := _nesting_problems(wave, sampled["stratum"], sampled["psu"], raw.attrs["column_files"]):
        raise InputError(problems)
    known = places.groupby("psu")[["district_id", "urban"]].first()
    known["responses"] = frame["psu"].value_counts()
    strata = places.groupby("stratum")[["district_id", "urban"]].first()
    sampled = sampled.merge(known, on="psu", how="left").merge(
        strata, on="stratum", how="left", suffixes=("", "_stratum")
    )
    for column in ("district_id", "urban"):
        sampled[column] = sampled[column].fillna(sampled[column + "_stratum"])
    sampled["responses"] = sampled["responses"].fillna(0).astype(int)
    sampled["population_psus"] = _population_psus(raw, wave, sampled)
    if wave.design.empty_psus == "leave_out":
        sampled = sampled[sampled["responses"] > 0]
    sampled.insert(0, "wave", wave.id)
    return (
        sampled.drop(columns=["district_id_stratum", "urban_stratum"])
        .sort_values(["stratum", "psu"])
        .reset_index(drop=True)
    )


def _population_psus(raw: pd.DataFrame, wave: Wave, sampled: pd.DataFrame) -> pd.Series:
    """The number of PSUs in the population that the wave declares of the stratum of each sampled PSU; else null."""
    column = wave.design.population_psus
    if column is None:
        return pd.Series(pd.NA, index=sampled.index, dtype="Int64")
    declared = pd.DataFrame(
        {"stratum": combined_codes(raw, wave.design.strata), "count": numbers(code_keys(raw[column]))}
    ).drop_duplicates()
    declared = declared[declared["stratum"].isin(sampled["stratum"])]
    drawn = sampled["stratum"].value_counts()
    place = f"{wave.id}/{raw.attrs['column_files'][column]}, column {column}"
    problems = []
    for stratum, counts in declared.groupby("stratum")["count"]:
        found, least = counts.tolist(), int(drawn[stratum])
        if len(found) > 1:
            what = f"differs within stratum {stratum}: {', '.join(f'{count:g}' for count in found[:5])}"
        elif not (np.isfinite(found[0]) and found[0] >= least and found[0] == round(found[0])):
            what = f"is {found[0]:g} in stratum {stratum}, of which {least} PSUs were sampled"
        else:
            continue
        remedy = "Give every row of a stratum its whole number of PSUs in the population, or take the column out."
        problems.append(Problem(f"{place} (design.population_psus)", what, remedy))
    if problems:
        raise InputError(problems)
    counts = declared.set_index("stratum")["count"]
    return sampled["stratum"].map(counts).astype("Int64")
