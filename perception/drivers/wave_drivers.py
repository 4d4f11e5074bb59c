"""The driver models that an instrument declares, prepared from responses and fitted for one wave."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import pandas as pd

from perception.errors import InputError, Problem
from perception.estimation.totals import indicator_quantity
from perception.intake.declarations import AGE_GROUPS
from perception.intake.instrument import DriverModel, Indicator, Instrument, Predictor
from perception.schemas import TABLES, conform


def wave_drivers(responses: pd.DataFrame, design_psus: pd.DataFrame, instrument: Instrument) -> pd.DataFrame:
    """Table `drivers` of a wave: the effects of every declared model whose outcome and any driver the wave has.

    Predictors that the wave does not have are left out of the model and named in `not_in_wave`: effects of models with
    other predictors do not compare. InputError lists every model that cannot be fitted.
    """
    available = instrument.available_indicators(responses.columns)
    effects: list[pd.DataFrame] = []
    problems: list[Problem] = []
    for name, model in instrument.driver_models.items():
        drivers_there = any(is_available(predictor, responses, instrument) for predictor in model.drivers)
        if model.outcome in available and drivers_there:
            try:
                effects.append(_model_effects(name, model, responses, design_psus, instrument))
            except InputError as error:
                problems += error.problems
    if problems:
        raise InputError(problems)
    table = pd.concat(effects) if effects else pd.DataFrame(columns=TABLES["drivers"].names)
    return conform(table, "drivers")


def _model_effects(
    name: str, model: DriverModel, responses: pd.DataFrame, design_psus: pd.DataFrame, instrument: Instrument
) -> pd.DataFrame:
    from perception.drivers.effects import driver_effects

    wave = str(responses["wave"].iloc[0])
    where = f"wave {wave}, driver model {name} of instrument {instrument.id}"
    there = [(kind, p) for kind, p in model.predictors() if is_available(p, responses, instrument)]
    known = {predictor.variable for _, predictor in there}
    lacking = [predictor_label(p.variable, instrument) for _, p in model.predictors() if p.variable not in known]
    outcome = indicator_values(instrument.indicators[model.outcome], responses)
    predictors = pd.DataFrame({p.variable: predictor_answers(p, responses, instrument) for _, p in there})
    complete = outcome.notna() & predictors.notna().all(axis=1)
    for _, predictor in there:
        if isinstance(predictors[predictor.variable].dtype, pd.CategoricalDtype):
            predictors[predictor.variable] = _reference_first(predictor, predictors[predictor.variable], complete)
    fit = driver_effects(
        outcome,
        predictors,
        {predictor.variable: kind for kind, predictor in there},
        weights=responses["weight"],
        strata=responses["psu"].map(design_psus.set_index("psu")["variance_stratum"]),
        psu=responses["psu"],
        design_psus=design_psus,
        where=where,
    )
    labels = fit.effects["driver"].map(lambda variable: predictor_label(variable, instrument))
    facts: dict[str, Any] = {"wave": wave, "model": name, "outcome": model.outcome, "n_dropped": fit.n_dropped}
    return fit.effects.assign(**facts, label=labels, not_in_wave="; ".join(lacking) or None)


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
    values = nw.from_native(responses, eager_only=True).select(value=nw.when(quantity.valid).then(quantity.y))
    return pd.Series(values["value"].to_numpy(), index=responses.index, dtype="float64")


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
    return pd.Series(pd.Categorical(values.where(values.isin(scale)), categories=list(scale)), index=values.index)


def _reference_first(predictor: Predictor, values: pd.Series, complete: pd.Series) -> pd.Series:
    """The categories that complete rows have, the declared reference (or the first of the scale) in front."""
    given = list(values[complete].cat.remove_unused_categories().cat.categories)
    if predictor.reference in given:
        given = [predictor.reference, *(category for category in given if category != predictor.reference)]
    return values.cat.set_categories(given)
