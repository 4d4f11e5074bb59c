"""The driver models that an instrument declares, prepared from responses and fitted for one wave."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import pandas as pd
from scipy import special

from perception.errors import InputError, Problem
from perception.estimation.totals import indicator_quantity
from perception.intake.declarations import AGE_GROUPS, REASON_SUFFIX
from perception.intake.instrument import DriverModel, Indicator, Instrument, Predictor
from perception.schemas import TABLES, conform

if TYPE_CHECKING:
    from perception.drivers.effects import DriverFit


def wave_drivers(
    responses: pd.DataFrame, design_psus: pd.DataFrame, instrument: Instrument, units: pd.DataFrame
) -> tuple[pd.DataFrame, ...]:
    """Tables `drivers`, `driver_importance`, `driver_models` and `district_diagnosis` of a wave: every declared model
    whose outcome and any driver the wave has, fitted on the wave or on each province.

    `units` gives the province_id of each district_id. Predictors that the wave does not have are left out of the model
    and named in `not_in_wave`: effects of models with other predictors do not compare. InputError lists every model
    that cannot be fitted.
    """
    available = instrument.available_indicators(responses.columns)
    names = ("drivers", "driver_importance", "driver_models", "district_diagnosis")
    provinces = responses["district_id"].map(units.set_index("district_id")["province_id"])
    made: list[dict[str, pd.DataFrame]] = []
    problems: list[Problem] = []
    for name, model in instrument.driver_models.items():
        drivers_there = any(is_available(predictor, responses, instrument) for predictor in model.drivers)
        if model.outcome not in available or not drivers_there:
            continue
        places = {"all": responses}
        if model.level == "province":
            places = {str(province): rows for province, rows in responses.groupby(provinces)}
        for unit, rows in places.items():
            try:
                tables = _model_tables(name, model, rows, design_psus, instrument, unit, provinces)
            except InputError as error:
                problems += error.problems
            else:
                made.append({table: frame.assign(level=model.level, unit_id=unit) for table, frame in tables.items()})
    if problems:
        raise InputError(problems)
    return tuple(
        conform(
            pd.concat([tables[name] for tables in made]) if made else pd.DataFrame(columns=TABLES[name].names), name
        )
        for name in names
    )


def _model_tables(
    name: str,
    model: DriverModel,
    responses: pd.DataFrame,
    design_psus: pd.DataFrame,
    instrument: Instrument,
    unit: str,
    provinces: pd.Series,
) -> dict[str, pd.DataFrame]:
    from perception.drivers.diagnosis import PARTS, district_diagnosis
    from perception.drivers.effects import driver_effects

    wave = str(responses["wave"].iloc[0])
    where = f"wave {wave}, driver model {name} of instrument {instrument.id}"
    where += f", province {unit}" if model.level == "province" else ""
    there = [(kind, p) for kind, p in model.predictors() if is_available(p, responses, instrument)]
    known = {predictor.variable for _, predictor in there}
    lacking = [predictor_label(p.variable, instrument) for _, p in model.predictors() if p.variable not in known]
    indicator = instrument.indicators[model.outcome]
    if indicator.universe is not None:
        responses = responses[responses[indicator.universe.question].isin(indicator.universe.answers)]
    answered, positive_from = indicator_values(indicator, responses), None
    outcome = answered
    if model.model == "ordered_logit":
        outcome, positive_from = _scale_answers(indicator, answered, responses, instrument)
    predictors = pd.DataFrame({p.variable: predictor_answers(p, responses, instrument) for _, p in there})
    complete = outcome.notna() & predictors.notna().all(axis=1)
    for _, predictor in there:
        if isinstance(predictors[predictor.variable].dtype, pd.CategoricalDtype):
            predictors[predictor.variable] = _reference_first(predictor, predictors[predictor.variable], complete)
    fit = driver_effects(
        outcome,
        predictors,
        {predictor.variable: kind for kind, predictor in there},
        positive_from=positive_from,
        weights=responses["weight"],
        strata=responses["psu"].map(design_psus.set_index("psu")["variance_stratum"]),
        psu=responses["psu"],
        design_psus=design_psus,
        where=where,
    )
    labels = {variable: predictor_label(variable, instrument) for variable in known}
    unknown = {variable: _dont_know_share(variable, responses[answered.notna()]) for variable in known}
    of_model: dict[str, Any] = {"wave": wave, "model": name, "outcome": model.outcome}
    effects = fit.effects.assign(
        **of_model,
        n_dropped=fit.n_dropped,
        label=fit.effects["driver"].map(labels),
        dont_know_share=fit.effects["driver"].map(unknown),
        not_in_wave="; ".join(lacking) or None,
    )
    scales = {
        p.variable: len(instrument.scale(p.variable)) - 1
        for kind, p in there
        if kind == "driver" and p.form == "score" and instrument.scale(p.variable)
    }
    drivers = [p.variable for kind, p in there if kind == "driver"]
    importances = _importance(fit, drivers, scales, where)
    importances = importances.assign(**of_model, label=importances["driver"].map(labels))
    places = responses.loc[fit.rows, "district_id"], provinces[fit.rows]
    seed = int.from_bytes(hashlib.sha256(repr((wave, name, unit)).encode()).digest()[:8], "big")
    diagnosis, slopes = district_diagnosis(fit.results, fit.blocks, drivers, *places, np.random.default_rng(seed))
    diagnosis = diagnosis.assign(**of_model, label=diagnosis["driver"].map(labels | PARTS))
    return {
        "drivers": effects,
        "driver_importance": importances,
        "driver_models": pd.DataFrame(
            [
                of_model
                | {"kind": model.model, "label": model.label.en, "slopes": slopes.method, "slopes_gain": slopes.gain}
                | _facts(fit)
            ]
        ),
        "district_diagnosis": diagnosis,
    }


def _importance(fit: DriverFit, drivers: list[str], steps: Mapping[str, int], where: str) -> pd.DataFrame:
    """Importance of each driver, how well those on a scale of so many `steps` do, and the quadrant of both."""
    from perception.drivers.importance import importance, performance, quadrants

    model = fit.results.model
    taken = {place for driver in drivers for place in fit.blocks[driver]}
    controls = [place for block in fit.blocks.values() for place in block if place not in taken]
    sample: dict[str, Any] = {"weights": model.weights, "psu_rows": model.psu_rows, "design": model.design}
    columns = {driver: model.exog[:, fit.blocks[driver]] for driver in drivers}
    shares = importance(model.endog, columns, model.exog[:, controls], where=where, **sample)
    places = {driver: columns[driver][:, 0] / count for driver, count in steps.items()}
    table = shares.merge(performance(places, **sample), on="driver", how="left")
    sizes = {"n": len(model.endog), "psus": model.n_psus, "df": model.design_df}
    return table.assign(quadrant=quadrants(table), **sizes)


def _facts(fit: DriverFit) -> dict[str, Any]:
    """What a reader needs to judge a model: its size, its fit and whether it may be read as it stands."""
    from perception.drivers.checks import proportional_odds_p_value, variance_inflation
    from perception.drivers.ordered import SurveyOrderedLogit

    model = fit.results.model
    inflation = variance_inflation(model, fit.blocks)
    shares = np.bincount(model.endog.astype(int), model.weights) / model.weights.sum()
    entropy = float(special.xlogy(shares, shares).sum()) * model.weights.sum()
    return {
        "n": len(fit.rows),
        "n_dropped": fit.n_dropped,
        "psus": model.n_psus,
        "df": model.design_df,
        "pseudo_r2": 1 - fit.results.llf / entropy,
        "proportional_odds_p": (proportional_odds_p_value(model) if isinstance(model, SurveyOrderedLogit) else np.nan),
        "largest_inflation": float(inflation.max()),
        "most_inflated": str(inflation.idxmax()),
    }


def predictor_label(variable: str, instrument: Instrument) -> str:
    """What a predictor says to a reader; a background variable is its own name."""
    if variable in instrument.questions:
        return instrument.questions[variable].label.en
    if variable in instrument.indicators:
        return instrument.indicators[variable].label.en
    return variable.replace("_", " ").capitalize()


def indicator_values(indicator: Indicator, responses: pd.DataFrame) -> pd.Series:
    """The indicator of each respondent (0/1 or a number), null where there is no valid answer."""
    quantity = indicator_quantity(indicator)
    value = nw.when(quantity.is_valid).then(quantity.y.cast(nw.Float64))
    values = nw.from_native(responses, eager_only=True).select(value=value)
    return pd.Series(values["value"].to_numpy(), index=responses.index, dtype="float64")


def _scale_answers(
    indicator: Indicator, answered: pd.Series, responses: pd.DataFrame, instrument: Instrument
) -> tuple[pd.Series, str]:
    """The answers on the whole scale of those who have the indicator, and the lowest positive answer that was given."""
    assert indicator.question is not None
    scale = list(instrument.scale(indicator.question))
    values = responses[indicator.question].astype("str").where(answered.notna())
    answers = pd.Series(pd.Categorical(values, categories=scale, ordered=True), index=responses.index)
    given = set(answers.dropna().unique())
    positive = next((answer for answer in scale if answer in indicator.positive and answer in given), scale[-1])
    return answers.rename(indicator.question), positive


def _dont_know_share(variable: str, responses: pd.DataFrame) -> float | None:
    """Don't know among those who have an outcome, unweighted; null for what is not a question."""
    column = variable + REASON_SUFFIX if variable + REASON_SUFFIX in responses else variable
    if column not in responses or responses.empty:
        return None
    return float((responses[column].astype("str") == "dont_know").mean())


def is_available(predictor: Predictor, responses: pd.DataFrame, instrument: Instrument) -> bool:
    """Whether the wave has answers to what a predictor is made from."""
    variable = predictor.variable
    if variable in instrument.indicators:
        return variable in instrument.available_indicators(responses.columns)
    return variable in responses and bool(responses[variable].notna().any())


def predictor_answers(predictor: Predictor, responses: pd.DataFrame, instrument: Instrument) -> pd.Series:
    """A score as a number, anything else as a category in the order of its scale; null where there is no answer."""
    variable = predictor.variable
    scale: tuple[str, ...] = ("no", "yes")
    if variable in instrument.indicators:
        values = indicator_values(instrument.indicators[variable], responses).map({0.0: "no", 1.0: "yes"})
    else:
        values = responses[variable]
        scale = AGE_GROUPS if variable == "age_group" else instrument.scale(variable)
    if not scale:
        return values.astype("float64")
    values = values.astype("str")
    if predictor.form == "score":
        return values.map({category: float(place) for place, category in enumerate(scale)}).astype("float64")
    categories = [*scale, *(["dont_know"] if predictor.dont_know else [])]
    return pd.Series(pd.Categorical(values.where(values.isin(categories)), categories=categories), index=values.index)


def _reference_first(predictor: Predictor, values: pd.Series, complete: pd.Series) -> pd.Series:
    """The categories that complete rows have, the declared reference (or the first of the scale) in front."""
    given = list(values[complete].cat.remove_unused_categories().cat.categories)
    if predictor.reference in given:
        given = [predictor.reference, *(category for category in given if category != predictor.reference)]
    return values.cat.set_categories(given)
