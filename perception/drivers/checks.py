"""Whether a driver model may be read as it stands: proportional odds, and predictors that say the same thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from perception.drivers.models import Floats, SurveyLogit, SurveyModel
from perception.drivers.ordered import SurveyOrderedLogit
from perception.errors import InputError


def proportional_odds_p_value(model: SurveyOrderedLogit) -> float:
    """p-value of slopes that are the same at every threshold; null with two categories or where one of them cannot be
    fitted alone.

    Wald test of Brant (1990): a logit of lying above each threshold, with the design-based covariance between the
    logits, as an F statistic on the design's degrees of freedom (Korn and Graubard 1990).
    """
    thresholds = len(model.categories) - 1
    columns = model.exog.shape[1]
    if thresholds < 2:
        return np.nan
    exog = pd.DataFrame(model.exog, columns=model.exog_names[:columns]).assign(const=1.0)
    psus = model.design.psus
    own = psus.iloc[model.psu_rows]
    slopes, influence = [], []
    for threshold in range(thresholds):
        above = pd.Series((model.codes > threshold).astype(float), name="above")
        logit = SurveyLogit(
            above,
            exog,
            weights=model.weights,
            strata=own["variance_stratum"],
            psu=own["psu"],
            design_psus=psus,
            where=model.where,
        )
        try:
            fitted = logit.fit()
        except InputError:
            return np.nan
        slopes.append(np.asarray(fitted.params)[:columns])
        influence.append(fitted.influence[:, :columns])
    covariance = model.design.covariance(np.hstack(influence))
    compare = np.kron(np.hstack([-np.ones((thresholds - 1, 1)), np.eye(thresholds - 1)]), np.eye(columns))
    difference, spread = compare @ np.concatenate(slopes), compare @ covariance @ compare.T
    count, df = len(difference), model.design_df
    if df <= count:
        return np.nan
    wald = float(difference @ np.linalg.solve(spread, difference))
    return float(stats.f.sf(wald * (df - count + 1) / (df * count), count, df - count + 1))


def variance_inflation(model: SurveyModel, blocks: Mapping[str, Sequence[int]]) -> pd.Series:
    """Generalised variance inflation of each predictor, GVIF^(1 / (2 columns)): what others blow its errors up by.

    `blocks` gives each predictor's columns in the model. Sources: Fox and Monette 1992; the covariance of the columns
    is weighted.
    """
    positions = [position for block in blocks.values() for position in block]
    correlation = _correlation(model.exog[:, positions], model.weights)
    inflation, start = {}, 0
    for name, block in blocks.items():
        own = np.arange(start, start + len(block))
        rest = np.delete(np.arange(len(positions)), own)
        ratio = np.linalg.det(correlation[np.ix_(own, own)]) * np.linalg.det(correlation[np.ix_(rest, rest)])
        inflation[name] = float((ratio / np.linalg.det(correlation)) ** (1 / (2 * len(block))))
        start += len(block)
    return pd.Series(inflation, dtype="float64")


def _correlation(values: Floats, weights: Floats) -> Floats:
    covariance = np.atleast_2d(np.cov(values.T, aweights=weights))
    spread = np.sqrt(np.diag(covariance))
    return np.asarray(covariance / np.outer(spread, spread))
