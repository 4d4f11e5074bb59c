"""Average marginal effects of drivers: one comparable row per category or scored variable, adjusted for many tests.

Choosing and preparing the predictor columns belongs to the caller, the model itself to `models`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from perception.drivers.models import SurveyLogit, SurveyModel
from perception.drivers.ordered import SurveyOrderedLogit
from perception.errors import InputError, Problem

KINDS = ("driver", "control")
EFFECT_COLUMNS = [
    *("driver", "kind", "term", "reference", "effect", "se", "low", "high"),
    *("p", "p_adjusted", "n", "psus", "df", "prevalence"),
]


@dataclass(frozen=True)
class DriverFit:
    """`effects` (see `driver_effects`), the fitted model (`results.summary()`), rows used and rows left out.

    `blocks` says in which columns of the model each predictor stands, `rows` which rows of the input the model has.
    """

    effects: pd.DataFrame
    results: Any
    blocks: dict[str, list[int]]
    rows: pd.Index
    n_dropped: int


def driver_effects(
    outcome: pd.Series,
    drivers: pd.DataFrame,
    kinds: Mapping[str, str],
    *,
    positive_from: str | None = None,
    weights: pd.Series,
    strata: pd.Series,
    psu: pd.Series,
    design_psus: pd.DataFrame,
    where: str = "driver model",
) -> DriverFit:
    """Fit a weighted logit of `outcome` (0, 1, missing) on all of `drivers` and report their average marginal effects.

    With `positive_from` the outcome is an ordered categorical, the model an ordered logit, and the effects are those on
    the probability of that category or a higher one.

    A categorical column stands for its categories, the first being the reference: the effect is the weighted mean
    change of the probability when everybody moves from the reference to the category. A numeric column is a score: the
    effect is the weighted mean derivative times one weighted standard deviation (weighted mean square about the mean).
    `kinds` says `driver` or `control` for each column. All series share the index of `drivers`; a row with a missing
    outcome or driver is left out and counted, its PSU stays in the design (`design_psus`: variance_stratum, psu).

    `DriverFit.effects` has a row per term, in column order: driver, kind, term (category or `per SD`), reference
    (null for scores), effect and se, low, high (probability, 0..1; 95 %, t on the design's df), p, p_adjusted
    (Benjamini and Hochberg 1995 over the terms of drivers, null for controls), n (rows), psus, df, prevalence
    (weighted share of the category, or mean of the score). Delta-method SEs take the rows and weights as given, as R's
    `margins` does (Leeper 2017).

    Raises InputError with every problem: columns of another type or without a kind, empty categories, categories whose
    outcomes all agree, and whatever `SurveyLogit` refuses.
    """
    for name, series in {"outcome": outcome, "weights": weights, "strata": strata, "psu": psu}.items():
        if not series.index.equals(drivers.index):
            raise ValueError(f"{name} and drivers must have the same index")
    complete = outcome.notna() & drivers.notna().all(axis=1)
    ordered = positive_from is not None
    y = outcome[complete].cat.remove_unused_categories() if ordered else outcome[complete].astype(float)
    values, answers = (y.cat.codes.astype(float), list(y.cat.categories)) if ordered else (y, ["0", "1"])
    predictors = drivers[complete]
    if y.empty:
        remedy = "Leave out the column that is never answered."
        raise InputError([Problem(where, "no row has the outcome and every driver answered", remedy)])

    problems: list[Problem] = []
    columns: dict[str, pd.Series] = {} if ordered else {"const": pd.Series(1.0, index=y.index)}
    blocks: dict[str, list[str]] = {}
    for driver in predictors.columns:
        found = _predictor_problems(predictors[driver], values, answers, kinds.get(driver), f"{where}, {driver}")
        problems.extend(found)
        if found:
            continue
        encoded = _encode(predictors[driver])
        blocks[driver] = list(encoded)
        columns.update(encoded)
    exog = pd.DataFrame(columns, index=y.index)
    sample: dict[str, Any] = {
        "weights": weights[complete],
        "strata": strata[complete],
        "psu": psu[complete],
        "design_psus": design_psus,
        "where": where,
    }
    try:
        model: SurveyModel
        if positive_from is None:
            model = SurveyLogit(y, exog, **sample)
        else:
            model = SurveyOrderedLogit(y, exog, positive_from=positive_from, **sample)
    except InputError as error:
        raise InputError([*problems, *error.problems]) from None
    if problems:
        raise InputError(problems)

    results = model.fit()
    positions = {driver: [model.exog_names.index(name) for name in block] for driver, block in blocks.items()}
    tables = [_driver_rows(results, predictors[driver], block) for driver, block in positions.items()]
    effects = pd.concat(tables, ignore_index=True)
    effects["kind"] = effects["driver"].map(dict(kinds))
    tested = effects["kind"] == "driver"
    effects["p_adjusted"] = np.nan
    effects.loc[tested, "p_adjusted"] = stats.false_discovery_control(effects.loc[tested, "p"])
    return DriverFit(effects[EFFECT_COLUMNS], results, positions, y.index, n_dropped=int((~complete).sum()))


def _predictor_problems(
    values: pd.Series, outcome: pd.Series, answers: Sequence[str], kind: str | None, place: str
) -> list[Problem]:
    """`outcome` holds the numbers of `answers`."""
    problems = []
    if kind not in KINDS:
        problems.append(Problem(place, f"its kind is {kind!r}", f"Declare it as one of {', '.join(KINDS)}."))
    if isinstance(values.dtype, pd.CategoricalDtype):
        by_category = outcome.groupby(values, observed=False).agg(["size", "min", "max"])
        for category, size, low, high in by_category.itertuples():
            if size == 0:
                remedy = "Merge the category with another or remove it."
                problems.append(Problem(f"{place}, category {category}", "no row has it", remedy))
            elif low == high and outcome.nunique() > 1 and low in (outcome.min(), outcome.max()):
                what = f"the outcome is {answers[int(low)]} in all its {size} rows (separation)"
                problems.append(Problem(f"{place}, category {category}", what, "Merge the category with another."))
        if len(by_category) < 2:
            problems.append(Problem(place, "has fewer than two categories", "Leave it out."))
    elif not pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype):
        remedy = "Make it categorical (first category = reference) or a number."
        problems.append(Problem(place, f"has type {values.dtype}", remedy))
    return problems


def _encode(values: pd.Series) -> dict[str, pd.Series]:
    """The model's columns for one predictor: a 0/1 column per category but the first, or the score itself."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return {
            f"{values.name}={category}": (values == category).astype(float) for category in values.cat.categories[1:]
        }
    return {str(values.name): values.astype(float)}


def _driver_rows(results: Any, values: pd.Series, positions: list[int]) -> pd.DataFrame:
    """The rows of `driver_effects` for one predictor whose model columns are at `positions`, before kind and BH."""
    model = results.model
    exog, shares = model.exog[:, positions], model.weights / model.weights.sum()
    prevalence = shares @ exog
    reference: str | None = None
    table: pd.DataFrame
    if isinstance(values.dtype, pd.CategoricalDtype):
        reference, *terms = (str(category) for category in values.cat.categories)
        table = results.effect_table(*results.contrasts(positions))
    else:
        terms = ["per SD"]
        spread = np.sqrt(shares @ (exog - prevalence) ** 2)
        effects, gradient = results.derivatives()
        table = results.effect_table(effects[positions] * spread, gradient[positions] * spread[:, None])
    labels = pd.DataFrame({"driver": values.name, "term": terms, "reference": reference}, dtype="str")
    sizes = {"n": len(shares), "psus": model.n_psus, "df": model.design_df, "prevalence": prevalence}
    return pd.concat([labels, table], axis=1).assign(**sizes)
