"""Direct design-based estimates of every unit and domain, from PSU totals alone (METHODS: linearised ratio estimator).

No respondent is read here, and nothing is withheld: that is `publication`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from perception.estimation.all_domains import all_domains
from perception.estimation.design import Calibration, Design, calibration, design_from_psus
from perception.estimation.intervals import intervals
from perception.estimation.replicates import ReplicateSums, Scheme
from perception.schemas import TABLES, conform

Dimensions = Sequence[tuple[str, ...]]
UNIT_COLUMNS = {"district": "district_id", "division": "division_id", "province": "province_id", "all": None}
DOMAIN_DIMENSIONS: Dimensions = ((), ("sex",), ("urban",), ("age_group",), ("wealth",), ("sex", "urban"))
_SUMMED = [
    "n",
    "n_positive",
    "n_dont_know",
    "n_refused",
    "sum_w",
    "sum_w2",
    "sum_wx",
    "sum_wy",
    "sum_wx2",
    "sum_wxy",
    "sum_wy2",
]
_DOMAIN_KEY = ["indicator", "level", "unit_id", "domain"]


_BACKGROUND = ["district_id", "sex", "urban", "age_group", "wealth"]


def domain_dimensions(totals: pd.DataFrame) -> Dimensions:
    """The dimensions that make domains in a wave: those in which it has at least two categories."""
    return [dimensions for dimensions in DOMAIN_DIMENSIONS if all(totals[name].nunique() > 1 for name in dimensions)]


def domain_cells(totals: pd.DataFrame, units: pd.DataFrame, dimensions: Dimensions | None = None) -> pd.DataFrame:
    """PSU totals summed to every level, unit and domain: one row per indicator, level, unit_id, domain and psu.

    `units` gives division_id and province_id of each district_id; `dimensions` are those of `totals` when not given.
    """
    return _by_domain(totals, units, dimensions or domain_dimensions(totals), ["indicator", "psu"], _SUMMED)


def _by_domain(
    frame: pd.DataFrame, units: pd.DataFrame, dimensions: Dimensions, key: list[str], summed: list[str]
) -> pd.DataFrame:
    """Sums of columns of `frame` by `key`, level, unit_id and domain.

    A row that lacks a dimension is in none of its domains. Districts are put together where `units` names the unit of a
    coarser map that each lies in (`common_id`). Groups are formed from numbers instead of texts, and coarser units from
    the sums of districts: several times faster than twenty groupings by five text columns.
    """
    columns = [column for column in UNIT_COLUMNS.values() if column]
    names = dict.fromkeys([*key, *(name for group in dimensions for name in group)])
    coded = {name: pd.factorize(frame[name]) for name in names}
    labels = {name: np.asarray(found, dtype=object) for name, (_, found) in coded.items()}
    district, districts = pd.factorize(frame["district_id"])
    placed = pd.DataFrame({"district_id": districts}).merge(
        units[[*columns, *(["common_id"] if "common_id" in units else [])]].astype({"district_id": districts.dtype}),
        on="district_id",
        how="left",
        validate="m:1",
    )
    if "common_id" in units:
        placed["district_id"] = placed["common_id"]
    unit_codes = {
        level: pd.factorize(placed.assign(all="all")[column or "all"]) for level, column in UNIT_COLUMNS.items()
    }
    values = frame[summed].to_numpy(float)
    places: list[tuple[str, str, str]] = []
    sums, keys, numbers = [], [], []
    for group in dimensions:
        by = [*key, *group]
        shape = tuple(len(labels[name]) for name in by)
        known = np.all([district >= 0, *(coded[name][0] >= 0 for name in by)], axis=0)
        if not known.any():
            continue
        combined = np.ravel_multi_index([coded[name][0][known] for name in by], shape)
        number, found = pd.factorize(combined * len(districts) + district[known])
        combination, home = np.divmod(found, len(districts))
        finest = _summed(number, values[known], len(found))
        domains = [",".join(map("=".join, zip(group, c, strict=True))) for c in product(*(labels[n] for n in group))]
        for level, (unit, units_found) in unit_codes.items():
            inside = unit[home] >= 0
            number, found = pd.factorize(combination[inside] * len(units_found) + unit[home][inside])
            # A PSU in one district only is a group of its own at every level.
            sums.append(finest[inside] if len(found) == len(number) else _summed(number, finest[inside], len(found)))
            codes = np.unravel_index(found // len(units_found), shape)
            keys.append(codes[: len(key)])
            domain = np.ravel_multi_index(codes[len(key) :], shape[len(key) :]) if group else 0
            numbers.append(found % len(units_found) * len(domains) + domain + len(places))
            places += [(level, u, d or "all") for u in units_found for d in domains]
    table = pd.DataFrame(places, columns=_DOMAIN_KEY[1:], dtype="str").astype("category").take(np.concatenate(numbers))
    for name, codes in zip(key, np.concatenate(keys, axis=1), strict=True):
        table[name] = pd.Categorical.from_codes(codes, coded[name][1])
    return table.reset_index(drop=True).join(pd.DataFrame(np.vstack(sums), columns=summed, copy=False))


def _summed(number: NDArray[Any], values: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """Sums of the rows of `values` that have the same number, 0 to `groups` - 1."""
    membership = sparse.csc_array((np.ones(len(number)), number, np.arange(len(number) + 1)), (groups, len(number)))
    return np.asarray(membership @ values)


@dataclass(frozen=True)
class CalibratedCells:
    """The calibration of a wave, and what domains need to find the regression of their scores on its margins.

    Cells combine district, sex, urban, age_group and wealth. `auxiliaries` is cells x margin categories (0/1, sparse),
    `places` says which cells (column `cell`) a level, unit_id and domain has, `sums` has sum_dx and sum_dy by indicator
    and cell (and by domain, for a y that depends on it). `cells` has the number of each combination.
    """

    calibration: Calibration
    auxiliaries: Any
    cells: pd.DataFrame
    places: pd.DataFrame
    sums: pd.DataFrame

    def products(self, domains: pd.DataFrame, ratio: NDArray[np.float64], over: NDArray[np.float64]) -> Any:
        """Sums of d a (y - ratio x) / over in each domain: margin categories x domains, sparse."""
        if "domain" in self.sums:
            keys = (pd.MultiIndex.from_frame(frame[_DOMAIN_KEY].astype("str")) for frame in (domains, self.sums))
            number = next(keys).get_indexer(next(keys))
            there = number >= 0
            cell, number = self.sums["cell"].to_numpy()[there], number[there]
            dx, dy = (self.sums[name].to_numpy()[there] for name in ("sum_dx", "sum_dy"))
        else:
            places, inside = self._inside
            own = inside[:, places.get_indexer(pd.MultiIndex.from_frame(domains[_DOMAIN_KEY[1:]].astype("str")))]
            cell, number = own.indices, np.repeat(np.arange(len(domains)), np.diff(own.indptr))
            indicators, sums = self._sums
            indicator = indicators.get_indexer(pd.Index(domains["indicator"].astype("str")))[number]
            dx, dy = sums[:, indicator, cell]
        values = (dy - ratio[number] * dx) / over[number]
        shape = (self.auxiliaries.shape[0], len(domains))
        return self.auxiliaries.T @ sparse.csc_array((values, (cell, number)), shape)

    @cached_property
    def _inside(self) -> tuple[Any, Any]:
        """The places, and which cells each has (cells x places, sparse)."""
        number, found = pd.MultiIndex.from_frame(self.places[_DOMAIN_KEY[1:]].astype("str")).factorize()
        cell = self.places["cell"].to_numpy()
        shape = (self.auxiliaries.shape[0], len(found))
        return found, sparse.csc_array((np.ones(len(cell)), (cell, number)), shape)

    @cached_property
    def _sums(self) -> tuple[pd.Index, NDArray[np.float64]]:
        """The indicators, and sum_dx and sum_dy (2 x indicators x cells)."""
        number, found = pd.factorize(self.sums["indicator"].astype("str"))
        sums = np.zeros((2, len(found), self.auxiliaries.shape[0]))
        sums[:, number, self.sums["cell"].to_numpy()] = self.sums[["sum_dx", "sum_dy"]].to_numpy(float).T
        return pd.Index(found), sums


def calibrated_cells(
    calibration_totals: pd.DataFrame,
    rake: Sequence[Sequence[str]],
    totals: pd.DataFrame,
    units: pd.DataFrame,
    design: Design,
    domain_units: pd.DataFrame | None = None,
    dimensions: Dimensions | None = None,
) -> CalibratedCells:
    """What `domain_estimates` needs to know about weights raked to the margins `rake` (each a list of columns).

    `calibration_totals` and `totals` are the tables of that name (`psu_totals`) of one wave, `units` its districts;
    `domain_units` are given where domains are formed by another map than the wave's own; `dimensions` are those of the
    domains to be estimated, as for `domain_cells`.
    """
    placed = calibration_totals.merge(
        units[["district_id", "division_id", "province_id"]], on="district_id", how="left", validate="m:1"
    )
    cell = placed.groupby(_BACKGROUND, dropna=False).ngroup()
    cells = placed.assign(cell=cell).drop_duplicates("cell").sort_values("cell", ignore_index=True)
    blocks = [sparse.csr_array(pd.get_dummies(cells.groupby(list(margin)).ngroup(), dtype=float)) for margin in rake]
    auxiliaries = sparse.hstack(blocks, format="csr")
    psu_rows = pd.Series(range(len(design.psus)), index=design.psus["psu"])[placed["psu"]]
    fitted = calibration(design, psu_rows, placed["sum_w"], placed["sum_d"], auxiliaries[cell.to_numpy()])
    known = cells[[*_BACKGROUND, "cell"]].assign(rows=1)
    shown, groups = units if domain_units is None else domain_units, dimensions or domain_dimensions(totals)
    places = _by_domain(known, shown, groups, ["cell"], ["rows"]).astype({"cell": int})
    sums = totals.merge(known, on=_BACKGROUND, validate="m:1")
    sums = sums.groupby(["indicator", "cell"], sort=False)[["sum_dx", "sum_dy"]].sum().reset_index()
    return CalibratedCells(fitted, auxiliaries, known.drop(columns="rows"), places.drop(columns="rows"), sums)


def _domain_sums(cells: pd.DataFrame, design: Design) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sums of each domain with its key, and the cells with their domain's number and their PSU's row."""
    psu, psus = pd.factorize(cells["psu"])
    psu_rows = pd.Series(range(len(design.psus)), index=design.psus["psu"]).reindex(psus)
    if psu_rows.isna().any():
        raise KeyError(f"PSUs that the design does not list: {list(psu_rows.index[psu_rows.isna()][:5])}")
    number, keys = _domain_numbers(cells)
    sums = pd.DataFrame(_summed(number, cells[_SUMMED].to_numpy(float), len(keys)), columns=_SUMMED, copy=False)
    rows = psu_rows.to_numpy(int)[psu]
    return sums.join(keys), cells.assign(domain_number=number, psu_row=rows)


def _domain_numbers(cells: pd.DataFrame) -> tuple[NDArray[np.intp], pd.DataFrame]:
    """The number of the domain of each cell, and the keys of the domains in that order."""
    coded = [pd.factorize(cells[name]) for name in _DOMAIN_KEY]
    shape = tuple(len(found) for _, found in coded)
    number, first = pd.factorize(np.ravel_multi_index([codes for codes, _ in coded], shape))
    places = zip(_DOMAIN_KEY, coded, np.unravel_index(first, shape), strict=True)
    keys = {name: pd.Series(np.asarray(found, dtype=object)[code], dtype="str") for name, (_, found), code in places}
    return number, pd.DataFrame(keys)


def _scores(
    sums: pd.DataFrame,
    cells: pd.DataFrame,
    design: Design,
    calibrated: CalibratedCells | None,
    ratio: NDArray[np.float64],
    over: NDArray[np.float64],
) -> Any:
    """PSU x domain totals of w (y - ratio x) / over, less what the calibration explains of them."""
    number = cells["domain_number"].to_numpy()
    values = (cells["sum_wy"].to_numpy() - ratio[number] * cells["sum_wx"].to_numpy()) / over[number]
    scores = sparse.csc_array((values, (cells["psu_row"], number)), shape=(len(design.psus), len(sums)))
    if calibrated is None:
        return scores
    return calibrated.calibration.residuals(scores, calibrated.products(sums, ratio, over))


def replicate_sums(
    replicate_totals: pd.DataFrame, scheme: Scheme, units: pd.DataFrame, dimensions: Dimensions
) -> ReplicateSums:
    """Table `replicate_totals` of one wave summed to every level, unit and domain."""
    names = [f"{kind}_{number}" for kind in ("wx", "wy") for number in range(1, scheme.count + 1)]
    summed = _by_domain(replicate_totals, units, dimensions, ["indicator"], names)
    return ReplicateSums(
        scheme,
        summed[_DOMAIN_KEY].astype("str"),
        summed[names[: scheme.count]].to_numpy(float),
        summed[names[scheme.count :]].to_numpy(float),
    )


def domain_covariance(
    cells: pd.DataFrame,
    design: Design,
    calibrated: CalibratedCells | None = None,
    replicates: ReplicateSums | None = None,
) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """Ratio estimates of the domains in `cells` and their full covariance matrix, in one go.

    Returns a frame (indicator, level, unit_id, domain, estimate) of k rows and the k x k covariance, for contrasts. The
    covariance is linearised, or that of the producer's `replicates` where they are given.
    """
    sums, numbered = _domain_sums(cells, design)
    wx = sums["sum_wx"].to_numpy(float)
    estimate = sums["sum_wy"].to_numpy(float) / wx
    if replicates is not None:
        return sums[_DOMAIN_KEY].assign(estimate=estimate), replicates.covariance(sums[_DOMAIN_KEY], estimate)
    scores = _scores(sums, numbered, design, calibrated, estimate, wx)
    return sums[_DOMAIN_KEY].assign(estimate=estimate), design.covariance(scores)


@dataclass(frozen=True)
class SampledDomains:
    """Ratio estimates of k domains and what the errors of any combination of them need.

    `domains` has indicator, level, unit_id, domain, the sums, estimate, whether all answers agree (`agree`) and the
    variance under simple random sampling (`simple`). `scores` (rows x k) add up in combinations: PSU totals of the
    linearised variable (rows as `Design.psus`), or how far each replicate's estimates are from their centre where the
    producer's `scheme` is given. `cases` says which PSUs have a valid answer (n_psus x k).
    """

    domains: pd.DataFrame
    design: Design
    scores: Any
    cases: Any
    scheme: Scheme | None = None

    def variances(self, scores: Any) -> NDArray[np.float64]:
        """Variances (m) of combinations of the domains, from the combinations of their scores (rows x m)."""
        return self.design.variances(scores) if self.scheme is None else self.scheme.spread(scores)

    def degrees_of_freedom(self, cases: Any) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """PSUs with `cases` (n_psus x m) and degrees of freedom: with replicates at most their number less one."""
        psus, df = self.design.degrees_of_freedom(cases)
        return psus, df if self.scheme is None else np.minimum(df, self.scheme.count - 1)


def sampled_domains(
    cells: pd.DataFrame,
    design: Design,
    calibrated: CalibratedCells | None = None,
    replicates: ReplicateSums | None = None,
) -> SampledDomains:
    """The domains of `cells` that have a valid answer; their errors are those of `replicates` where they are given.

    Sources: Woodruff 1971 (linearisation), Deville and Särndal 1992 (calibration).
    """
    number, keys = _domain_numbers(cells)
    answered = np.bincount(number, cells["n"].to_numpy(float), len(keys)) > 0
    sums, numbered = _domain_sums(cells[answered[number]], design)
    wx = sums["sum_wx"].to_numpy(float)
    estimate = sums["sum_wy"].to_numpy(float) / wx
    spread = _spread(sums, estimate)
    facts = {"estimate": estimate, "agree": _agree(spread, estimate), "simple": spread / sums["n"].to_numpy(float)}
    if replicates is None:
        scores, scheme = _scores(sums, numbered, design, calibrated, estimate, wx), None
    else:
        scores, scheme = replicates.deviations(sums[_DOMAIN_KEY], estimate), replicates.scheme
    own = numbered.loc[numbered["n"] > 0, ["psu_row", "domain_number"]].to_numpy().T
    cases = sparse.csc_array((np.ones(own.shape[1]), tuple(own)), shape=(len(design.psus), len(sums)))
    return SampledDomains(sums.assign(**facts), design, scores, cases, scheme)


@dataclass(frozen=True)
class WaveDomains:
    """A wave ready to be estimated in the domains of `dimensions`, with what its weights ask for.

    `totals` are its PSU totals and `units` the districts of the map that domains are formed by. Made by `wave_domains`.
    """

    totals: pd.DataFrame
    design: Design
    units: pd.DataFrame
    dimensions: Dimensions
    calibrated: CalibratedCells | None
    replicate_totals: pd.DataFrame | None
    scheme: Scheme | None

    def cells(self, indicators: Sequence[str]) -> pd.DataFrame:
        """Domain cells of these indicators."""
        return domain_cells(self.totals[self.totals["indicator"].isin(indicators)], self.units, self.dimensions)

    def replicates(self, indicators: Sequence[str]) -> ReplicateSums | None:
        """Replicate sums of these indicators; None where the producer supplies no replicate weights."""
        if self.replicate_totals is None or self.scheme is None:
            return None
        own = self.replicate_totals[self.replicate_totals["indicator"].isin(indicators)]
        return replicate_sums(own, self.scheme, self.units, self.dimensions)

    def sampled(self, indicators: Sequence[str]) -> SampledDomains:
        """The domains of these indicators with what their errors take."""
        return sampled_domains(self.cells(indicators), self.design, self.calibrated, self.replicates(indicators))


def wave_domains(
    totals: pd.DataFrame,
    design_psus: pd.DataFrame,
    units: pd.DataFrame,
    calibration_totals: pd.DataFrame | None = None,
    rake: Sequence[Sequence[str]] = (),
    replicate_totals: pd.DataFrame | None = None,
    scheme: Scheme | None = None,
    dimensions: Dimensions | None = None,
    domain_units: pd.DataFrame | None = None,
) -> WaveDomains:
    """The `WaveDomains` of tables `psu_totals` and `design_psus` of one wave and its districts `units`.

    Weights that were raked come with the wave's `calibration_totals` and the margins `rake`, replicate weights with its
    `replicate_totals` and the `scheme` of their variance. `dimensions` are those of the totals when not given;
    `domain_units` are given where domains are formed by another map than the wave's own.
    """
    design, dimensions = design_from_psus(design_psus), dimensions or domain_dimensions(totals)
    calibrated = None
    if calibration_totals is not None and len(calibration_totals):
        calibrated = calibrated_cells(calibration_totals, rake, totals, units, design, domain_units, dimensions)
    shown = units if domain_units is None else domain_units
    return WaveDomains(totals, design, shown, dimensions, calibrated, replicate_totals, scheme)


def _spread(sums: pd.DataFrame, estimate: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted variance of the linearised variable in each domain, with the domain's own weights."""
    residual = sums["sum_wy2"] - 2 * estimate * sums["sum_wxy"] + estimate**2 * sums["sum_wx2"]
    w, wx = sums["sum_w"].to_numpy(float), sums["sum_wx"].to_numpy(float)
    return np.asarray(residual.to_numpy() / w * (w / wx) ** 2, dtype=np.float64)


def _agree(spread: NDArray[np.float64], estimate: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether all answers of a domain are the same, but for rounding."""
    return np.asarray(spread <= 1e-12 * np.maximum(1.0, estimate**2), dtype=np.bool_)


def domain_totals(cells: pd.DataFrame, design: Design, calibrated: CalibratedCells | None = None) -> pd.DataFrame:
    """Weighted totals of y by domain: indicator, level, unit_id, domain, estimate, se (units of y x weight)."""
    sums, numbered = _domain_sums(cells, design)
    scores = _scores(sums, numbered, design, calibrated, np.zeros(len(sums)), np.ones(len(sums)))
    return sums[_DOMAIN_KEY].assign(estimate=sums["sum_wy"], se=np.sqrt(design.variances(scores)))


def domain_estimates(
    cells: pd.DataFrame,
    design: Design,
    kinds: Mapping[str, str],
    calibrated: CalibratedCells | None = None,
    replicates: ReplicateSums | None = None,
) -> pd.DataFrame:
    """Estimates with SE, interval and sample size of every domain in `cells` that has a valid answer.

    `kinds` says of each indicator whether it is a `share` or a `mean`; `calibrated` is given when weights were raked,
    `replicates` when the producer supplies replicate weights: standard errors are theirs, and degrees of freedom at
    most their number less one.
    deff compares with sampling with replacement and the same weights (R's deff="replace", so what calibration gains
    shows in it); it is null where all answers agree, and n_eff is then n over the pooled deff of the indicator at that
    level (over Kish's deff where no unit has one). Sources: Woodruff 1971 (linearisation), Deville and Särndal 1992
    (calibration), Korn and Graubard 1998 (df, intervals), Kish 1965 (deff).
    """
    sampled = sampled_domains(cells, design, calibrated, replicates)
    psus, df = sampled.degrees_of_freedom(sampled.cases)
    return _statistics(sampled.domains.assign(variance=sampled.variances(sampled.scores), psus=psus, df=df), kinds)


def _statistics(sums: pd.DataFrame, kinds: Mapping[str, str]) -> pd.DataFrame:
    """Estimates with everything said of them, from the sums of each domain, its variance, psus and df."""
    asked = sums[["n", "n_dont_know", "n_refused"]].sum(axis=1)
    n, w, wx, variance = (sums[name].to_numpy(float) for name in ("n", "sum_w", "sum_wx", "variance"))
    df, estimate = sums["df"].to_numpy(), sums["sum_wy"].to_numpy(float) / wx
    spread = _spread(sums, estimate)
    agree = _agree(spread, estimate)
    variance = np.where(agree, 0.0, variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        deff = variance / (spread / (n - 1))
    deff = np.where(agree | (n < 2) | (df < 1) | ~(variance > 0), np.nan, deff)

    frame = sums[_DOMAIN_KEY].assign(
        estimate=estimate,
        se=np.where(df < 1, np.nan, np.sqrt(variance)),
        n=sums["n"],
        n_positive=sums["n_positive"],
        psus=sums["psus"],
        df=df,
        deff=deff,
        kish=n * sums["sum_w2"].to_numpy() / w**2,
        weight_sum=w,
        dont_know_share=sums["n_dont_know"] / asked,
        refused_share=sums["n_refused"] / asked,
    )
    # Where not one cell of the indicator varies there is no pooled deff either; unequal weights still cost something.
    frame["n_eff"] = n / frame["deff"].fillna(_pooled_deff(frame)).fillna(frame["kish"]).to_numpy()
    frame["cv"] = (frame["se"] / frame["estimate"].abs()).where(frame["estimate"] != 0)
    share = (frame["indicator"].map(dict(kinds)) == "share").to_numpy()
    return frame.join(intervals(frame, share))


def _pooled_deff(frame: pd.DataFrame) -> pd.Series:
    """Pooled deff of each row's indicator and level: sum of n over sum of n_eff where deff is known.

    n_eff counts at most as n: one cell whose PSUs happen to agree (deff near 0) would else outweigh all the others.
    """
    known = frame[frame["deff"].notna()]
    capped = known.assign(n_eff=known["n"] / known["deff"].clip(lower=1.0))
    sizes = capped.groupby(["indicator", "level"])[["n", "n_eff"]].sum()
    pooled = (sizes["n"] / sizes["n_eff"]).astype("float64").rename("pooled")
    return frame.join(pooled, on=["indicator", "level"])["pooled"]


def district_estimates(
    totals: pd.DataFrame,
    design_psus: pd.DataFrame,
    units: pd.DataFrame,
    indicators: pd.DataFrame,
    calibration_totals: pd.DataFrame | None = None,
    rake: Sequence[Sequence[str]] = (),
    replicate_totals: pd.DataFrame | None = None,
    scheme: Scheme | None = None,
    dimensions: Dimensions | None = None,
) -> pd.DataFrame:
    """Shares and means of table `district_estimates` of one wave, from `psu_totals`, PSUs, districts and indicators.

    `dimensions` are crosses of columns of `totals`, those of `domain_dimensions` when not given: any other cross of
    sex, urban, age_group and wealth comes from the same totals, without a look at respondents. Weights that were raked
    come with the wave's `calibration_totals` and the margins `rake` of its wave.yml, replicate weights with its
    `replicate_totals` and the `scheme` of their variance; indicators are then estimated one by one, which keeps memory
    at that of one.
    """
    kinds = dict(zip(indicators["indicator"], indicators["kind"], strict=True))
    dimensions = dimensions or domain_dimensions(totals)
    raked = calibration_totals is not None and len(calibration_totals) > 0
    answers = totals.groupby("indicator")["n"].sum()
    answered = totals if (answers > 0).all() else totals[totals["indicator"].isin(answers.index[answers > 0])]
    if answered.empty:
        return conform(pd.DataFrame(columns=TABLES["district_estimates"].names), "district_estimates")
    if not raked and scheme is None:
        sums = all_domains(answered, units, design_from_psus(design_psus), dimensions, UNIT_COLUMNS, _SUMMED)
        table = _statistics(sums, kinds)
        table.insert(0, "wave", totals["wave"].iloc[0])
        return conform(table.sort_values(_DOMAIN_KEY), "district_estimates")
    wave = wave_domains(answered, design_psus, units, calibration_totals, rake, replicate_totals, scheme, dimensions)
    one_by_one = [[str(name)] for name in sorted(answered["indicator"].unique())]
    table = pd.concat(
        domain_estimates(wave.cells(own), wave.design, kinds, wave.calibrated, wave.replicates(own))
        for own in one_by_one
    )
    table.insert(0, "wave", totals["wave"].iloc[0])
    return conform(table.sort_values(_DOMAIN_KEY), "district_estimates")
