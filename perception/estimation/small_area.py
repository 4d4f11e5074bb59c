"""Small-area estimates of districts: one area model per indicator and round, on the scale on which its variances are
known, benchmarked to the provinces, and its joint draws for whoever ranks districts.

The model itself is `area_model`; which estimates may be published is `publication`'s decision.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from perception.estimation.area_model import Posterior, fit_area_model, posterior_draws
from perception.intake.describe import index_weights
from perception.schemas import LEVELS, PROPORTIONS, TABLES, conform

Numbers = NDArray[np.float64]
DRAWS = 2_000
DISTRICTS_PER_COVARIATE = 8
CENSUS_YEARS = 2023 - 2017
FEWEST_DISTRICTS = 5
"""Districts with a sample below which no model is fitted."""
FEWEST_FOR_PREVIOUS = 30
"""Respondents from which an earlier direct estimate counts as known."""
_DRAWN = [f"draw_{number}" for number in range(DRAWS)]
ROUND = ["simulated", "instrument", "round"]
"""What ranks together: the waves of one instrument fielded together, simulated ones apart from real ones."""


@dataclass(frozen=True)
class DrawnModel:
    """What ranking needs of an area model of one indicator over all districts of a round, sampled or not.

    `districts` has a row per district: wave, district_id, province_id, direct, n, deff (smoothed), weight_sum,
    synthetic, residual. `direct` and `variance` are direct estimates and their sampling variances on the model's scale.
    `draws` (draws x districts) are shares or means after benchmarking.
    """

    key: dict[str, Any]
    districts: pd.DataFrame
    direct: Numbers
    variance: Numbers
    draws: Numbers


@dataclass(frozen=True)
class RoundModel(DrawnModel):
    """An area model of one indicator over all districts of a round.

    `facts` describe the model, and `coefficients` its terms.
    """

    posterior: Posterior
    facts: dict[str, Any]
    coefficients: pd.DataFrame


def small_area_tables(models: Iterable[RoundModel]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Tables `small_area_estimates`, `small_area_models` and `small_area_coefficients` of models of any rounds."""
    tables: dict[str, list[pd.DataFrame]] = {
        name: [] for name in ("small_area_estimates", "small_area_models", "small_area_coefficients")
    }
    for model in models:
        tables["small_area_estimates"].append(_estimates(model))
        tables["small_area_models"].append(pd.DataFrame([model.key | model.facts]))
        tables["small_area_coefficients"].append(model.coefficients.assign(**model.key))
    made = [
        conform(pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=TABLES[name].names), name)
        for name, parts in tables.items()
    ]
    return made[0], made[1], made[2]


def drawn_frame(models: Iterable[RoundModel]) -> pd.DataFrame:
    """Models as one frame to store: a row per model and district, a column per draw. See `drawn_models`."""
    parts = [
        pd.concat(
            [
                model.districts.assign(**model.key, model_direct=model.direct, model_variance=model.variance),
                pd.DataFrame(model.draws.T, columns=_DRAWN),
            ],
            axis=1,
        )
        for model in models
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*ROUND, "indicator", *_DRAWN])


def drawn_models(frame: pd.DataFrame) -> Iterator[DrawnModel]:
    """The models in a `drawn_frame`, in their order."""
    names = [*ROUND, "indicator"]
    for place, rows in frame.groupby(names, sort=False):
        rows = rows.reset_index(drop=True)
        direct, variance = (rows[name].to_numpy(float) for name in ("model_direct", "model_variance"))
        districts = rows.drop(columns=[*names, "model_direct", "model_variance", *_DRAWN])
        key = dict(zip(names, place, strict=True))
        yield DrawnModel(key, districts, direct, variance, rows[_DRAWN].to_numpy(float).T)


def round_waves(waves: pd.DataFrame) -> list[tuple[list[str], list[str]]]:
    """The waves of each round in table `waves`, and the waves that its models are made from: these and earlier ones."""
    found = []
    for _, own in waves.groupby(ROUND, sort=True):
        same = (waves[["simulated", "instrument"]] == own[["simulated", "instrument"]].iloc[0]).all(axis=1)
        used = waves[same & ((waves["first_day"] < own["first_day"].max()) | waves["wave"].isin(own["wave"]))]
        found.append((sorted(own["wave"]), sorted(used["wave"])))
    return found


def _estimates(model: RoundModel) -> pd.DataFrame:
    low, high = np.quantile(model.draws, [0.025, 0.975], axis=0)
    return model.districts.assign(
        **model.key,
        estimate=model.draws.mean(axis=0),
        se=model.draws.std(axis=0),
        low=low,
        high=high,
        shrinkage=1 - model.posterior.weight,
    )


def round_models(
    estimates: pd.DataFrame,
    waves: pd.DataFrame,
    indicators: pd.DataFrame,
    units: Mapping[str, pd.DataFrame],
    wanted: Collection[str] | None = None,
) -> Iterator[RoundModel]:
    """The area model of every share, mean and index that may be published for districts, round by round.

    Takes `district_estimates`, `waves` and `indicators` of any number of waves and the districts of each vintage; of
    waves that are not `wanted` (all are by default) estimates serve as earlier ones only.
    Each model has its own random numbers, seeded by what it is of, so that it is the same whoever asks for it. A
    round's indices come last: their variances are smoothed with the models of their shares.
    """
    rows = estimates[(estimates["domain"] == "all") & estimates["level"].isin(["district", "province"])]
    rows = rows.merge(waves[["wave", *ROUND, "vintage", "first_day"]], on="wave", validate="m:1")
    facts = indicators[["wave", "indicator", "kind", "minimum_level", "weights"]]
    rows = rows.merge(facts, on=["wave", "indicator"], validate="m:1")
    rows = rows[(rows["minimum_level"] == LEVELS[0]) & rows["kind"].isin(["share", "mean", "index"])]
    asked = rows if wanted is None else rows[rows["wave"].isin(wanted)]
    for place, of_round in asked.groupby(ROUND, sort=True):
        shares: dict[str, RoundModel] = {}
        of_round = of_round.assign(is_index=of_round["kind"] == "index")
        for (is_index, indicator), group in of_round.groupby(["is_index", "indicator"], sort=True):
            name = str(indicator)
            key = dict(zip([*ROUND, "indicator"], [*place, name], strict=True))
            frame = _all_districts(group, units)
            if int((frame["n"] >= 2).sum()) < FEWEST_DISTRICTS:
                continue
            earlier = rows[
                (rows["indicator"] == name)
                & (rows["instrument"] == key["instrument"])
                & (rows["simulated"] == key["simulated"])
                & (rows["first_day"] < group["first_day"].min())
            ]
            rho = np.nan if is_index else intraclass_correlation(frame)
            if is_index:
                weights = index_weights(group)[name]
                deff = index_deff(frame, [(weight, shares[part]) for part, weight in weights.items()])
            else:
                deff = smoothed_deff(frame["kish"], frame["n"] / frame["psus"], rho)
            provinces, proportion = group[group["level"] == "province"], group["kind"].iloc[0] in PROPORTIONS
            model = _round_model(key, frame, deff, rho, provinces, earlier, proportion)
            if not is_index:
                shares[name] = model
            yield model


def _all_districts(group: pd.DataFrame, units: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The districts of a round: those with an estimate, and the others of the provinces that each wave covers."""
    parts = []
    for (wave, vintage), own in group[group["level"] == "district"].groupby(["wave", "vintage"]):
        places = units[str(vintage)]
        covered = places.loc[places["district_id"].isin(own["unit_id"]), "province_id"].unique()
        there = places[places["province_id"].isin(covered)]
        direct = own.set_index("unit_id")[["estimate", "n", "psus", "df", "deff", "kish", "se", "weight_sum"]]
        parts.append(there.join(direct, on="district_id").assign(wave=str(wave)))
    frame = pd.concat(parts, ignore_index=True).rename(columns={"estimate": "direct"})
    return frame.fillna({"n": 0, "weight_sum": 0.0})


def _round_model(
    key: dict[str, Any],
    frame: pd.DataFrame,
    deff: Numbers,
    rho: float,
    provinces: pd.DataFrame,
    earlier: pd.DataFrame,
    share: bool,
) -> RoundModel:
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "big"))
    frame = frame.assign(sampled=frame["n"] >= 2)
    known = frame["sampled"].to_numpy()
    names, covariates = covariate_matrix(frame, earlier, share)
    x = covariates[known]
    if share:
        direct = np.where(known, arcsine_root(frame["direct"]), np.nan)
        variance = deff / (4 * frame["n"].to_numpy(float, na_value=np.nan))
    else:
        direct = np.where(known, frame["direct"], np.nan)
        variance = np.full(len(frame), np.nan)
        variance[known] = mean_variances(frame[known], deff[known], x)
    posterior = posterior_draws(direct, variance, covariates, DRAWS, rng)
    draws = inverse_arcsine_root(posterior.areas) if share else posterior.areas
    draws = benchmarked_to_provinces(draws, frame.assign(deff=deff), variance, provinces, share, rng)

    fitted = covariates @ posterior.coefficients.mean(axis=0)
    residual = np.full(len(frame), np.nan)
    residual[known], left_out = _residuals(direct[known], variance[known], x, float(posterior.variance.mean()))
    synthetic = inverse_arcsine_root(fitted) if share else fitted
    districts = frame[["wave", "district_id", "province_id", "direct", "n", "weight_sum"]].assign(
        deff=deff, synthetic=synthetic, residual=residual
    )
    plain = fit_area_model(direct[known], variance[known], np.ones((int(known.sum()), 1)), "reml").variance
    full = fit_area_model(direct[known], variance[known], x, "reml").variance
    low, high = np.quantile(posterior.variance, [0.025, 0.975])
    facts: dict[str, Any] = {
        "scale": "arcsine_root" if share else "natural",
        "districts": len(frame),
        "sampled": int(known.sum()),
        "covariates": ", ".join(names[1:]),
        "variance": float(posterior.variance.mean()),
        "variance_low": float(low),
        "variance_high": float(high),
        "explained": 1 - full / plain if plain > 0 else np.nan,
        "rho": rho,
        "shrinkage": float(1 - posterior.weight[known].mean()),
        "largest_residual": float(np.abs(residual[known]).max()),
        "normality_p": _normality(residual[known]),
        "left_out_rmse": left_out,
    }
    low, high = np.quantile(posterior.coefficients, [0.025, 0.975], axis=0)
    terms = {"term": names, "estimate": posterior.coefficients.mean(axis=0), "low": low, "high": high}
    return RoundModel(key, districts, direct, variance, draws, posterior, facts, pd.DataFrame(terms))


# Sampling variances


def arcsine_root(share: ArrayLike) -> Numbers:
    """arcsin(sqrt(p)), on which the variance of a share hardly depends on the share: deff / (4 n)."""
    return np.asarray(np.arcsin(np.sqrt(np.asarray(share, dtype=np.float64))), dtype=np.float64)


def inverse_arcsine_root(angle: ArrayLike) -> Numbers:
    """The share of an angle; beyond 0 and a quarter turn it stays 0 or 1."""
    inside = np.clip(np.asarray(angle, dtype=np.float64), 0.0, np.pi / 2)
    return np.asarray(np.sin(inside) ** 2, dtype=np.float64)


def intraclass_correlation(frame: pd.DataFrame) -> float:
    """rho, 0 to 1: what clusters add to Kish's effect, pooled over districts with a design effect.

    `frame` has deff, kish, n, psus, df of districts: least squares of deff / kish - 1 on the mean take less one,
    weighted by degrees of freedom (Kish 1965).
    """
    known = frame["deff"].notna() & (frame["df"] >= 1) & (frame["n"] > frame["psus"])
    part = frame[known].astype({"n": float, "psus": float, "df": float})
    take = part["n"] / part["psus"] - 1
    if part.empty:
        return 0.0
    return float(
        np.clip((part["df"] * take * (part["deff"] / part["kish"] - 1)).sum() / (part["df"] * take**2).sum(), 0, 1)
    )


def smoothed_deff(kish: ArrayLike, take: ArrayLike, rho: float) -> Numbers:
    """Design effect kish (1 + (b - 1) rho), from Kish's 1 + cv^2 of the weights and the mean respondents a PSU, b."""
    unequal, each = (pd.Series(values).to_numpy(float, na_value=np.nan) for values in (kish, take))
    return np.asarray(unequal * (1 + np.maximum(each - 1, 0) * rho), dtype=np.float64)


def index_deff(frame: pd.DataFrame, parts: Sequence[tuple[float, RoundModel]]) -> Numbers:
    """Smoothed design effects of an index in the districts of `frame`, null where one of its shares has no sample.

    `parts` are the weights (summing to 1) and models of its shares, `frame` has wave, district_id, n, df and se of the
    index. Its variance is that of shares sampled apart, sum a^2 p (1 - p) deff / n of their models, times a factor for
    what they have in common: the same respondents and PSUs, pooled over districts as the ratio of direct to modelled
    variances, weighted by degrees of freedom. The design effect is against n answers 0 or 1: averaging shares makes it
    smaller.
    """
    place = pd.MultiIndex.from_frame(frame[["wave", "district_id"]])
    apart, index = np.zeros(len(frame)), np.zeros(len(frame))
    for weight, model in parts:
        own = model.districts.set_index(["wave", "district_id"]).assign(share=model.draws.mean(axis=0)).reindex(place)
        share, n = own["share"].to_numpy(float), own["n"].to_numpy(float, na_value=np.nan)
        with np.errstate(divide="ignore"):
            apart += weight**2 * share * (1 - share) * own["deff"].to_numpy(float) / np.where(n > 0, n, np.nan)
        index += weight * share
    df, se, n = (frame[name].to_numpy(float, na_value=np.nan) for name in ("df", "se", "n"))
    known = (df >= 1) & np.isfinite(se) & np.isfinite(apart)
    common = (df * se**2)[known].sum() / (df * apart)[known].sum() if known.any() else 1.0
    return np.asarray(common * apart * n / (index * (1 - index)), dtype=np.float64)


def mean_variances(frame: pd.DataFrame, deff: Numbers, covariates: Numbers) -> Numbers:
    """Sampling variances of means, from a variance function of smoothed means (Wolter 2007, chapter 7).

    `frame` has direct, se, n, df, deff of districts, `deff` their smoothed design effects, `covariates` the model's.
    The variance between respondents is pooled, then scaled by a power of the mean, fitted over districts whose own
    variance is known; the mean that enters is not the direct one, of which a lucky low value would look precise.
    """
    n, df = (frame[name].to_numpy(float, na_value=np.nan) for name in ("n", "df"))
    own = (frame["se"] ** 2 * frame["n"] / frame["deff"]).to_numpy(float, na_value=np.nan)
    known = np.isfinite(own) & (own > 0) & (df >= 1)
    if not known.any():
        return np.asarray(max(float(frame["direct"].var()), 1e-12) * deff / n, dtype=np.float64)
    pooled = float(np.average(own[known], weights=n[known]))
    variances = pooled * deff / n
    means = fit_area_model(frame["direct"], variances, covariates, "moment").estimate
    if known.sum() < FEWEST_DISTRICTS or not (means > 0).all():
        return np.asarray(variances, dtype=np.float64)
    size, spread = np.log(means), np.log(np.where(known, own, 1.0))
    centre = np.average(size[known], weights=df[known])
    across = size[known] - centre
    power = float((df[known] * across * spread[known]).sum() / max((df[known] * across**2).sum(), 1e-12))
    scale = np.exp(np.clip(power, 0, 2) * (size - centre))
    level = np.average(own[known], weights=n[known]) / np.average(scale[known], weights=n[known])
    return np.asarray(level * scale * deff / n, dtype=np.float64)


# Covariates


def covariate_matrix(frame: pd.DataFrame, earlier: pd.DataFrame, share: bool) -> tuple[list[str], Numbers]:
    """Names and values (districts x terms, intercept first, the others standardised) of a round's covariates.

    From the gazetteer (census 2023): province, urban share, density, household size, yearly growth; and the latest
    earlier direct estimate of the indicator. In that order as many as the districts with a sample carry, one for every
    eight. What is not known of a district is the mean of its province; what does not vary or follows from the others
    is left out.
    """
    people, before = (frame[name].astype("float64") for name in ("population_2023", "population_2017"))
    candidates: dict[str, pd.Series] = {
        f"province {name}": (frame["province_id"] == name).astype("float64")
        for name in sorted(frame["province_id"].unique())[1:]
    }
    previous = _previous(frame, earlier, share)
    if previous is not None:
        candidates["earlier estimate"] = previous
    candidates |= {
        "urban share": frame["urban_share"].astype("float64"),
        "log density": (people / frame["area_km2"].astype("float64")).map(np.log),
        "log household size": (people / frame["households_2023"].astype("float64")).map(np.log),
        "yearly growth": (people / before).map(np.log) / CENSUS_YEARS,
    }
    names, columns = ["intercept"], [np.ones(len(frame))]
    sampled = frame["sampled"].to_numpy()
    for name, values in candidates.items():
        filled = values.fillna(values.groupby(frame["province_id"]).transform("mean")).fillna(values.mean())
        scaled = ((filled - filled.mean()) / filled.std()).to_numpy(float)
        trial = np.column_stack([*columns, scaled])
        room = len(columns) <= sampled.sum() // DISTRICTS_PER_COVARIATE
        if room and np.isfinite(scaled).all() and np.linalg.matrix_rank(trial[sampled], tol=1e-6) == trial.shape[1]:
            names.append(name)
            columns.append(scaled)
    return names, np.column_stack(columns)


def _previous(frame: pd.DataFrame, earlier: pd.DataFrame, share: bool) -> pd.Series | None:
    """The latest earlier direct estimate of each district on the model's scale, null where there is none to trust."""
    usable = earlier[(earlier["level"] == "district") & (earlier["n"] >= FEWEST_FOR_PREVIOUS)]
    if usable.empty:
        return None
    latest = usable.sort_values("first_day").drop_duplicates("unit_id", keep="last").set_index("unit_id")["estimate"]
    found = frame["district_id"].map(latest)
    return pd.Series(arcsine_root(found), index=frame.index) if share else found


# Benchmarking and diagnostics


def benchmarked_to_provinces(
    draws: Numbers,
    districts: pd.DataFrame,
    variance: Numbers,
    provinces: pd.DataFrame,
    share: bool,
    rng: np.random.Generator,
) -> Numbers:
    """Draws (draws x districts) moved so that their weighted mean is the province's, draw by draw.

    theta_d + l_d (T - sum W theta), l_d = W_d D_d / sum W^2 D, with W the districts' shares of the weights of valid
    answers, D their smoothed variances on the scale of the draws and T drawn from the sampling distribution of the
    province's direct estimate (Datta, Ghosh, Steorts and Maples 2011; a fixed T would understate doubt). `districts`
    has wave, province_id, n, deff, weight_sum; `provinces` wave, unit_id, estimate, se. Shares stay within 0 and 1.
    """
    out = draws.copy()
    for place, rows in districts.groupby(["wave", "province_id"]).indices.items():
        wave, province = place if isinstance(place, tuple) else (None, None)
        target = provinces[(provinces["wave"] == wave) & (provinces["unit_id"] == province)]
        own = districts.iloc[rows]
        weights = (own["weight_sum"] / own["weight_sum"].sum()).to_numpy(float)
        if target.empty or not np.isfinite(target["se"].iloc[0]):
            continue
        mean = draws[:, rows].mean(axis=0)
        spread = variance[rows]
        if share:
            spread = mean * (1 - mean) * own["deff"].to_numpy(float) / own["n"].to_numpy(float, na_value=np.nan)
        spread = np.where(weights > 0, spread, 0.0)
        denominator = float((weights**2 * spread).sum())
        if denominator <= 0:
            continue
        wanted = _province_draws(float(target["estimate"].iloc[0]), float(target["se"].iloc[0]), share, len(draws), rng)
        missing = wanted - draws[:, rows] @ weights
        out[:, rows] += missing[:, None] * (weights * spread / denominator)
    return np.clip(out, 0, 1) if share else out


def _province_draws(estimate: float, se: float, share: bool, draws: int, rng: np.random.Generator) -> Numbers:
    noise = rng.standard_normal(draws)
    if not share or not 0 < estimate < 1:
        return np.asarray(estimate + se * noise, dtype=np.float64)
    logit = np.log(estimate / (1 - estimate)) + se / (estimate * (1 - estimate)) * noise
    return np.asarray(1 / (1 + np.exp(-logit)), dtype=np.float64)


def _residuals(direct: Numbers, variance: Numbers, covariates: Numbers, between: float) -> tuple[Numbers, float]:
    """Standardised residuals from the synthetic part, and the root mean square error of predicting each district from
    the others, on the model's scale.
    """
    total = between + variance
    covariance = np.linalg.inv(covariates.T @ (covariates / total[:, None]))
    residual = direct - covariates @ (covariance @ (covariates.T @ (direct / total)))
    leverage = np.einsum("ij,jk,ik->i", covariates, covariance, covariates) / total
    rest = np.maximum(1 - leverage, 1e-9)
    return residual / np.sqrt(total * rest), float(np.sqrt(np.mean((residual / rest) ** 2)))


def _normality(residual: Numbers) -> float:
    from scipy.stats import shapiro

    return float(shapiro(residual).pvalue)
