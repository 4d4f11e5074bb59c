"""Building a wave's weights: design weight, adjustment for non-response, raking to margins of the population, trimming.

What variances must know about such weights is in `design` (calibration) and `domains`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from perception.errors import InputError, Problem
from perception.estimation.design import generalised_inverse
from perception.geography.gazetteer import Gazetteer, resolve_districts, unresolved_problems
from perception.intake.declarations import AGE_GROUPS, BACKGROUND
from perception.intake.harmonise import combined_codes, counted_rows
from perception.intake.readers import code_key, code_keys, read_table
from perception.intake.remedies import chosen_rows, remedied
from perception.intake.wave_file import CENSUS, Wave
from perception.schemas import conform

Numbers = NDArray[np.float64]
Margin = tuple[str, ...]
Margins = Mapping[Margin, pd.Series]
"""Persons of the surveyed population by category of each margin: a series indexed by the margin's columns."""

AGREEMENT = 0.005
"""How far totals of two margins, or a margin and its raked weights, may lie apart (relative)."""
TRIM_TOLERANCE = 0.001
"""How far a weight may exceed its limit after the last raking (relative)."""
RAKING_CYCLES = 2000
TRIMMING_ROUNDS = 500
PERSONS = "persons"
_BACKGROUND = ["district_id", "sex", "urban", "age_group"]
_PLACES = ("district_id", "division_id", "province_id")
_ALSO_KNOWN = {"district_id": ("division_id", "province_id"), "division_id": ("province_id",)}
_CATEGORIES = {"sex": BACKGROUND["sex"], "urban": BACKGROUND["urban"], "age_group": AGE_GROUPS}
_CENSUS_COUNTS = {
    None: {"all": "population_2023"},
    "sex": {"female": "female_2023", "male": "male_2023", "transgender": "transgender_2023"},
    "urban": {"urban": "urban_2023", "rural": "rural_2023"},
}


def built_weights(
    responses: pd.DataFrame, raw: pd.DataFrame, wave: Wave, folder: Path, gazetteer: Gazetteer, units: pd.DataFrame
) -> pd.DataFrame:
    """The wave's `responses` (weight: the base weight) with base_weight, uncalibrated_weight and the final weight.

    A wave that keeps its producer's weight comes back as it is. Otherwise: base weight x non-response adjustment of the
    stratum (see `nonresponse_factors`; `raw` are all raw responses) x raking to the margins, trimmed. `units` are the
    districts of the wave's vintage; weights raked to persons sum to the surveyed population.

    What holds afterwards: every weight is positive; every margin is met, to rounding, or within 0.5 % where margins
    disagree by that little (the last one exactly even then); no weight exceeds `trim` medians of its district's
    untrimmed weights by more than 0.1 %. Where that cannot be had, and for all that is wrong with base weights and
    margins, InputError lists every problem.
    """
    weighting = wave.weighting
    if weighting is None:
        return responses
    factors, problems = nonresponse_factors(responses, raw, wave)
    margins, found = population_margins(wave, folder, gazetteer, units, responses)
    problems += found
    if weighting.rake and wave.design.weight_scale != "population":
        what = f"is {wave.design.weight_scale}, but weights raked to persons sum to the population"
        problems.append(Problem(f"{wave.id}/wave.yml, design.weight_scale", what, "Set it to population."))
    if problems:
        raise InputError(problems)
    base = responses["weight"]
    uncalibrated = base * responses["stratum"].map(factors)
    frame = responses.assign(base_weight=base, uncalibrated_weight=uncalibrated)
    final = _trimmed(frame, _calibrated(frame, margins, units, wave), margins, units, wave)
    return frame.assign(weight=final)


def weight_steps(
    responses: pd.DataFrame, wave: Wave, folder: Path, gazetteer: Gazetteer, units: pd.DataFrame
) -> pd.DataFrame:
    """Table `weights` of a wave from its final `responses`: how unequal weights are after each step of building them.

    A producer's weight has the step `final` only. The step `calibrated`, before trimming, is raked once more.
    """
    steps = {"final": responses["weight"]}
    if wave.weighting is not None:
        steps = {"base": responses["base_weight"], "nonresponse": responses["uncalibrated_weight"]}
        if wave.weighting.rake:
            margins, _ = population_margins(wave, folder, gazetteer, units, responses)
            steps["calibrated"] = _calibrated(responses, margins, units, wave)
        steps["final"] = responses["weight"]
    rows = [{"wave": wave.id, "step": step, **_spread(weights.to_numpy(float))} for step, weights in steps.items()]
    return conform(pd.DataFrame(rows), "weights")


def _spread(weights: Numbers) -> dict[str, float]:
    cv, median = weights.std() / weights.mean(), float(np.median(weights))
    return {
        "n": len(weights),
        "sum": weights.sum(),
        "smallest": weights.min(),
        "median": median,
        "largest": weights.max(),
        "cv": cv,
        "kish": 1 + cv**2,
        "max_over_median": weights.max() / median,
    }


# Non-response


def nonresponse_factors(responses: pd.DataFrame, raw: pd.DataFrame, wave: Wave) -> tuple[pd.Series, list[Problem]]:
    """By stratum: sum of base weights of eligible sampled rows over that of responses; and what is wrong with them.

    Eligible are the rows of `raw` that `weighting.eligible` names (all when it is not given). Rows that a remedy drops
    were sampled and gave no usable interview; of repeated rows only one was sampled.
    """
    assert wave.weighting is not None
    column, choice = wave.weighting.base, wave.weighting.eligible
    columns = ["source_row", column, *wave.design.strata, *(rule.column for rule in wave.rows)]
    columns += [name for remedy in wave.remedies for name in remedy.columns]
    columns += [choice.column] if choice else []
    raw = raw[list(dict.fromkeys(columns))]
    not_dropped = [remedy for remedy in wave.remedies if remedy.action != "drop"]
    sampled, _ = remedied(raw, wave.model_copy(update={"remedies": not_dropped}))
    eligible = sampled[chosen_rows(sampled, choice)]
    base = pd.to_numeric(eligible[column].astype(object), errors="coerce").astype("float64")
    stratum = combined_codes(eligible, wave.design.strata)
    problems = []
    if (wrong := ~(np.isfinite(base) & (base > 0))).any():
        examples = eligible.loc[wrong, ["source_row", column]].head(3).to_numpy().tolist()
        what = f"{int(wrong.sum())} of {len(base)} eligible rows have no positive base weight: row, value {examples}"
        remedy = "Give every sampled case its design weight, or name those to be interviewed under weighting.eligible."
        problems.append(Problem(f"{wave.id}/{raw.attrs['column_files'][column]}, column {column}", what, remedy))
    if stratum.isna().any():
        what = f"is blank in {int(stratum.isna().sum())} eligible rows"
        remedy = "Fill it, or leave these rows out by weighting.eligible."
        problems.append(Problem(f"{wave.id}, design.strata {', '.join(wave.design.strata)}", what, remedy))
    usable, _ = remedied(raw, wave)
    strangers = usable[counted_rows(usable, wave) & ~chosen_rows(usable, choice)]
    if len(strangers):
        what = f"{len(strangers)} rows that count are not eligible, first at row {strangers['source_row'].iloc[0]}"
        remedy = "Correct the codes there or under `rows`: who responded was to be interviewed."
        problems.append(Problem(f"{wave.id}/wave.yml, weighting.eligible", what, remedy))
    wanted, given = base.groupby(stratum).sum(), responses["weight"].groupby(responses["stratum"]).sum()
    for lost in wanted.index.difference(given.index):
        what = f"has {int((stratum == lost).sum())} eligible rows and no response"
        remedy = "Merge it with another stratum under design.strata, or leave its rows out by weighting.eligible."
        problems.append(Problem(f"{wave.id}, stratum {lost}", what, remedy))
    return wanted / given, problems


# Margins of the population


def population_margins(
    wave: Wave, folder: Path, gazetteer: Gazetteer, units: pd.DataFrame, responses: pd.DataFrame
) -> tuple[Margins, list[Problem]]:
    """Persons by category of every margin that the wave rakes to, and all that is wrong with them.

    They come from the file `weighting.margins`, or from the census counts of the wave's districts. The file has a
    column `persons` and columns of `rake`; a row counts the persons of the categories that it fills. A margin is summed
    from the rows that fill its columns and fewest others (a district also says its division and province), so one table
    that crosses everything serves, and so do several tables below one another.
    """
    weighting = wave.weighting
    if weighting is None or not weighting.rake:
        return {}, []
    rake: list[Margin] = list(dict.fromkeys(tuple(dict.fromkeys(margin)) for margin in weighting.rake))
    placed, problems = _placed(responses[_BACKGROUND], units), []
    for column in dict.fromkeys(name for margin in rake for name in margin):
        if missing := int(placed[column].isna().sum()):
            remedy = "Bring the answers, leave these rows out by `rows`, or rake without the column."
            where = f"{wave.id}/wave.yml, weighting.rake, {column}"
            problems.append(Problem(where, f"{missing} of {len(placed)} responses have none", remedy))
    if weighting.margins == CENSUS:
        where = f"{wave.id}/wave.yml, weighting.margins census"
        margins, found = _census_margins(rake, units, placed, where)
    else:
        where = f"{wave.id}/{weighting.margins}"
        margins, found = _file_margins(rake, wave, folder, gazetteer, units, where)
    problems += found
    for margin, persons in margins.items():
        problems += _category_problems(margin, persons, placed, where)
    for one, other in combinations(margins, 2):
        problems += _disagreement(one, margins[one], other, margins[other], units, where)
    return margins, problems


def _placed(frame: pd.DataFrame, units: pd.DataFrame) -> pd.DataFrame:
    """`frame` with the division and province that follow from its district, or the province from its division."""
    finest = next((column for column in _PLACES if column in frame), None)
    for column in _ALSO_KNOWN.get(finest or "", ()):
        frame = frame.assign(**{column: frame[finest].map(units.drop_duplicates(finest).set_index(finest)[column])})
    return frame


def _said(names: Hashable) -> str:
    """A margin or a category in words."""
    return " x ".join(map(str, names)) if isinstance(names, tuple) else str(names)


def _census_margins(
    rake: list[Margin], units: pd.DataFrame, placed: pd.DataFrame, where: str
) -> tuple[Margins, list[Problem]]:
    """Margins from the gazetteer's census counts (all ages) of the districts that the wave has.

    Transgender persons, one in ten thousand, are left out of districts where nobody of them responded, as is the urban
    or rural part of a district where the census has nobody.
    """
    margins, problems = {}, []
    here = units[units["district_id"].isin(placed["district_id"])]
    for margin in rake:
        further = [column for column in margin if column not in _PLACES]
        if "age_group" in further or len(further) > 1:
            what = f"has no counts by {_said(margin)}: only by district and either sex or urban, of all ages"
            problems.append(Problem(where, what, "Bring a margins file, or rake to fewer columns."))
            continue
        kind = further[0] if further else None
        counts = here.melt(_PLACES, list(_CENSUS_COUNTS[kind].values()), "count", PERSONS)
        counts[kind or "all"] = counts["count"].map({count: name for name, count in _CENSUS_COUNTS[kind].items()})
        unknown = sorted(counts.loc[counts[PERSONS].isna(), "district_id"].unique())
        if unknown:
            what = f"has no count by {_said(margin)} of {', '.join(unknown)}"
            problems.append(Problem(where, what, "Use a vintage that the census counted, or bring a margins file."))
            continue
        persons = counts.groupby(list(margin))[PERSONS].sum().astype("float64")
        present = persons.index.isin(placed.groupby(list(margin)).size().index)
        rare = kind == "sex" and persons.index.get_level_values("sex") == "transgender"
        margins[margin] = persons[(persons > 0) & (present | ~np.asarray(rare))]
    return margins, problems


def _file_margins(
    rake: list[Margin], wave: Wave, folder: Path, gazetteer: Gazetteer, units: pd.DataFrame, where: str
) -> tuple[Margins, list[Problem]]:
    assert wave.weighting is not None
    try:
        table = read_table(folder / str(wave.weighting.margins), where).frame
    except InputError as error:
        return {}, list(error.problems)
    if PERSONS not in table.columns:
        return {}, [Problem(where, "has no column persons", "Add it: how many persons each row counts.")]
    crossing = [column for column in (*_PLACES, *_CATEGORIES) if column in table.columns]
    written = pd.DataFrame({column: code_keys(table[column]).astype("str") for column in crossing}, index=table.index)
    rows, problems = _resolved(written, wave, gazetteer, units, where)
    rows[PERSONS] = pd.to_numeric(table[PERSONS].astype(object), errors="coerce").astype("float64")
    for number in np.flatnonzero(~(np.isfinite(rows[PERSONS]) & (rows[PERSONS] > 0))):
        value = table[PERSONS].iloc[number]
        what = "is blank" if pd.isna(value) else f"{value!r} is not a number of persons above 0"
        remedy = "Write digits only, and leave out rows that count nobody."
        problems.append(Problem(f"{where}, column {PERSONS}, row {number + 1}", what, remedy))

    groups: dict[Margin, pd.DataFrame] = {}
    for pattern, part in rows.groupby([written[column].notna() for column in crossing]) if crossing else ():
        columns = tuple(column for column, filled in zip(crossing, pattern, strict=True) if filled)
        groups[columns] = part[[*columns, PERSONS]]
        for category, same in part.dropna(subset=list(columns)).groupby(list(columns)) if columns else ():
            if len(same) > 1:
                what = f"rows {', '.join(str(place + 1) for place in same.index)} all count {_said(category)}"
                remedy = "Keep one of them, or add them up."
                problems.append(Problem(f"{where}, {_said(columns)}", what, remedy))
    margins = {}
    for margin in rake:
        fitting = [
            columns
            for columns in groups
            if set(margin) <= {*columns, *(name for column in columns for name in _ALSO_KNOWN.get(column, ()))}
        ]
        if not fitting:
            remedy = f"Add rows that fill {', '.join(margin)} and {PERSONS}, or correct weighting.rake."
            problems.append(Problem(where, f"has no rows that give persons by {_said(margin)}", remedy))
        elif not problems:
            group = _placed(groups[min(fitting, key=len)], units)
            margins[margin] = group.groupby(list(margin))[PERSONS].sum()
    return margins, problems


def _resolved(
    rows: pd.DataFrame, wave: Wave, gazetteer: Gazetteer, units: pd.DataFrame, where: str
) -> tuple[pd.DataFrame, list[Problem]]:
    """Places by id instead of name; a problem for every value that is no place or category."""
    problems, fresh = [], rows.copy()
    for column in rows:
        place, values = f"{where}, column {column}", rows[column].dropna().unique()
        if column == "district_id":
            vintage = wave.geography.vintage
            declared = {code_key(name): district_id for name, district_id in wave.geography.names.items()}
            found = resolve_districts(gazetteer, vintage, values, declared).dropna()
            problems += unresolved_problems(gazetteer, vintage, values, declared, place)
            ids = dict(zip(found["name"], found["district_id"], strict=True))
        else:
            known = list(_CATEGORIES[column] if column in _CATEGORIES else units[column].unique())
            ids = dict(zip(known, known, strict=True))
            if column in _PLACES:
                ids |= dict(zip(units[column.removesuffix("_id")], units[column], strict=True))
            remedy = f"Use {', '.join(known)}."
            if column == "age_group":
                remedy = f"Use the age bands {', '.join(known)}, not wider or other ones, or rake without age_group."
            problems += [Problem(place, f"{value!r} is not known", remedy) for value in values if value not in ids]
        fresh[column] = rows[column].map(ids, na_action="ignore").astype("str")
    return fresh, problems


def _category_problems(margin: Margin, persons: pd.Series, placed: pd.DataFrame, where: str) -> list[Problem]:
    """Categories that only the responses or only the margin have."""
    counts = placed.groupby(list(margin)).size()
    place = f"{where}, margin {_said(margin)}"
    wanted = "Add its persons, or rake to fewer or coarser margins."
    unwanted = "Leave it out if nobody of it was to be interviewed; otherwise rake to coarser or fewer margins."
    return [
        *(
            Problem(f"{place}, {_said(category)}", f"has {count} responses but no persons", wanted)
            for category, count in counts[~counts.index.isin(persons.index)].items()
        ),
        *(
            Problem(f"{place}, {_said(category)}", f"has {count:.0f} persons but no response", unwanted)
            for category, count in persons[~persons.index.isin(counts.index)].items()
        ),
    ]


def _disagreement(
    one: Margin, persons: pd.Series, other: Margin, others: pd.Series, units: pd.DataFrame, where: str
) -> list[Problem]:
    """Totals that two margins have in common (of a district, of everybody) and do not agree on."""
    tables = [_placed(counts.rename(PERSONS).reset_index(), units).assign(of="all") for counts in (persons, others)]
    shared = [str(column) for column in tables[0] if column in tables[1] and column not in (PERSONS, "of")]
    implied = {name for column in shared for name in _ALSO_KNOWN.get(column, ())}
    by = [column for column in shared if column not in implied] or ["of"]
    totals = pd.concat([table.groupby(by)[PERSONS].sum() for table in tables], axis=1, join="inner")
    common = totals.to_numpy(float)
    apart = common[:, 1] / common[:, 0] - 1
    worst = int(np.abs(apart).argmax())
    if abs(apart[worst]) <= AGREEMENT:
        return []
    what = (
        f"count {common[worst, 0]:.0f} and {common[worst, 1]:.0f} persons ({apart[worst]:+.1%}) of "
        f"{_said(totals.index[worst])}; "
        f"{int((np.abs(apart) > AGREEMENT).sum())} of their common totals lie more than {AGREEMENT:.1%} apart"
    )
    return [Problem(f"{where}, margins {_said(one)} and {_said(other)}", what, "Make them count the same population.")]


# Raking and trimming


@dataclass(frozen=True)
class Raking:
    """Margins as raking needs them: `cells` (cells x margins: numbers of categories), the `cell` of each row, and the
    `persons` of each margin's categories.

    Rows of the same categories share their factor, so fitting works on the small table of cells.
    """

    cells: NDArray[np.intp]
    cell: NDArray[np.intp]
    persons: list[Numbers]

    def raked(self, weights: ArrayLike) -> Numbers:
        """Weights times a factor for each category of each margin, so that they sum to the persons of each category.

        Iterative proportional fitting (Deming and Stephan 1940). It ends when a cycle changes nothing (1e-12) or after
        `RAKING_CYCLES`; of margins that contradict each other the last one holds.
        """
        start = np.asarray(weights, dtype=np.float64)
        sums = np.bincount(self.cell, start, len(self.cells))
        factors = np.ones(len(self.cells))
        for _ in range(RAKING_CYCLES):
            before = factors
            for category, wanted in zip(self.cells.T, self.persons, strict=True):
                factors = factors * (wanted / np.bincount(category, sums * factors, len(wanted)))[category]
            if np.abs(factors / before - 1).max() < 1e-12:
                break
        return np.asarray(start * factors[self.cell], dtype=np.float64)

    def deviations(self, weights: Numbers) -> list[Numbers]:
        """How far the sum of weights of each category lies from its persons (relative), by margin."""
        sums = np.bincount(self.cell, weights, len(self.cells))
        margins = zip(self.cells.T, self.persons, strict=True)
        return [np.bincount(category, sums, len(wanted)) / wanted - 1 for category, wanted in margins]


def raking(categories: Sequence[ArrayLike], persons: Sequence[ArrayLike]) -> Raking:
    """Margins for `Raking.raked`: the number of every row's category and the wanted persons of each, by margin.

    Every category has at least one row, and more than 0 persons.
    """
    wanted = [np.asarray(counts, dtype=np.float64) for counts in persons]
    shape = tuple(len(counts) for counts in wanted)
    cell, found = pd.factorize(np.ravel_multi_index([np.asarray(numbers) for numbers in categories], shape))
    return Raking(np.column_stack(np.unravel_index(found, shape)), cell, wanted)


def _margin_raking(frame: pd.DataFrame, margins: Margins, units: pd.DataFrame) -> Raking:
    placed = _placed(frame[_BACKGROUND], units)
    numbers = []
    for margin, persons in margins.items():
        keys = pd.MultiIndex.from_frame(placed[list(margin)]) if len(margin) > 1 else pd.Index(placed[margin[0]])
        numbers.append(persons.index.get_indexer(keys))
    return raking(numbers, list(margins.values()))


def _calibrated(frame: pd.DataFrame, margins: Margins, units: pd.DataFrame, wave: Wave) -> pd.Series:
    """The uncalibrated weights of `frame` raked to `margins`; InputError when they cannot be."""
    if not margins:
        return frame["uncalibrated_weight"]
    fitting = _margin_raking(frame, margins, units)
    weights = fitting.raked(frame["uncalibrated_weight"])
    problems = []
    for (margin, persons), apart in zip(margins.items(), fitting.deviations(weights), strict=True):
        worst = int(np.abs(apart).argmax())
        if abs(apart[worst]) > AGREEMENT:
            what = f"does not converge: {_said(persons.index[worst])} stays {apart[worst]:+.1%} off its persons"
            remedy = "Rake to fewer or coarser margins: some combination of their categories has no response."
            problems.append(Problem(f"{wave.id}/wave.yml, weighting.rake {_said(margin)}", what, remedy))
    if problems:
        raise InputError(problems)
    return pd.Series(weights, index=frame.index)


def _trimmed(frame: pd.DataFrame, weights: pd.Series, margins: Margins, units: pd.DataFrame, wave: Wave) -> pd.Series:
    """Weights cut to `trim` medians of their district and raked again, in turn until both hold.

    Cutting and raking are projections onto convex sets, so the rounds close in on weights that satisfy both wherever
    there are any (Bregman 1967). Without margins each district keeps its sum of weights.
    """
    assert wave.weighting is not None
    trim = wave.weighting.trim
    if trim is None:
        return weights
    districts, names = pd.factorize(frame["district_id"])
    limit = trim * weights.groupby(districts).transform("median").to_numpy()
    fitting = (
        _margin_raking(frame, margins, units) if margins else raking([districts], [np.bincount(districts, weights)])
    )
    final = weights.to_numpy(float)
    for _ in range(TRIMMING_ROUNDS):
        over = final > limit * (1 + TRIM_TOLERANCE)
        if not over.any():
            return pd.Series(final, index=frame.index)
        final = fitting.raked(np.minimum(final, limit))
    what = (
        f"{trim:g} medians cannot be kept together with the margins: {int(over.sum())} weights stay above, up to "
        f"{(final / limit).max() * trim:.1f} medians, in {', '.join(sorted(names[np.unique(districts[over])])[:5])}"
    )
    remedy = "Raise `trim`, or rake to fewer or coarser margins."
    raise InputError([Problem(f"{wave.id}/wave.yml, weighting.trim", what, remedy)])


def calibrate(
    weights: ArrayLike, auxiliaries: ArrayLike, totals: ArrayLike, method: Literal["linear", "raking"]
) -> Numbers:
    """Weights closest to `weights` (n) under which `auxiliaries` (n x k) sum to `totals` (k), in units of `weights`.

    `linear` is the generalised regression estimator, whose weights may turn negative, `raking` multiplies by an
    exponential and keeps them positive (Deville and Särndal 1992; for margins of categories `Raking` finds the same).
    ValueError when `totals` cannot be reached.
    """
    start, known = np.asarray(weights, dtype=np.float64), np.asarray(auxiliaries, dtype=np.float64)
    wanted = np.asarray(totals, dtype=np.float64)
    tilt = np.zeros(known.shape[1])
    calibrated = start
    for _ in range(50):
        missing = wanted - known.T @ calibrated
        if (np.abs(missing) <= 1e-10 * (1 + np.abs(wanted))).all():
            return calibrated
        if not np.isfinite(missing).all():
            break
        slope = start if method == "linear" else calibrated
        tilt = tilt + generalised_inverse(known.T @ (slope[:, None] * known)) @ missing
        with np.errstate(over="ignore"):
            calibrated = start * (1 + known @ tilt if method == "linear" else np.exp(known @ tilt))
    raise ValueError(f"calibration does not reach the totals; largest difference {np.abs(missing).max():g}")
