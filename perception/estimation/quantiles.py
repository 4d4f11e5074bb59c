"""Quantiles of numbers, such as the median wait, by unit and domain: they need the respondents, not PSU totals.

A quantile's interval comes from that of the share at or below it; the share is estimated by `domains` like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import duckdb
import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from perception.estimation.design import Design, design_from_psus
from perception.estimation.domains import (
    UNIT_COLUMNS,
    CalibratedCells,
    Dimensions,
    calibrated_cells,
    domain_dimensions,
    domain_estimates,
)
from perception.estimation.intervals import t_interval
from perception.estimation.replicates import (
    BACKGROUND_CELL,
    ReplicateSums,
    Scheme,
    grouped_sums,
    replicate_columns,
)
from perception.estimation.totals import indicator_quantity
from perception.intake.instrument import Instrument
from perception.schemas import TABLES, conform

Numbers = NDArray[np.float64]
_TIE = 1e-12
"""Weights that are equal on paper add up to a share a little off it; a quantile must not hang on that."""


@dataclass(frozen=True)
class Distribution:
    """The weighted distribution of a number in each of several groups, sorted by group and value.

    `shares` is the part of the group's weight up to and including each row, `starts` the first row of each group.
    """

    codes: NDArray[np.intp]
    values: Numbers
    shares: Numbers
    starts: NDArray[np.intp]

    def quantile(self, p: ArrayLike) -> Numbers:
        """The smallest value of each group whose share is at least `p` (one, or one a group); null outside 0..1.

        The inverse of the distribution function from the left, Hyndman and Fan's type 1, R survey's qrule="math".
        """
        wanted = np.broadcast_to(np.asarray(p, dtype=np.float64), len(self.starts))
        below = np.bincount(self.codes, self.shares < wanted[self.codes] - _TIE, minlength=len(self.starts)).astype(int)
        last = np.append(self.starts[1:], len(self.codes)) - 1
        found = self.values[np.minimum(self.starts + below, last)]
        return np.where((wanted >= 0) & (wanted <= 1), found, np.nan)

    def interpolated(self, p: ArrayLike) -> Numbers:
        """`quantile`, but between the value before it and itself, as far as `p` lies between their shares.

        What is told in round numbers is taken to spread evenly over the gap below each; nothing lies below the first.
        """
        wanted = np.broadcast_to(np.asarray(p, dtype=np.float64), len(self.starts))
        upper = self.quantile(wanted)
        masses = np.diff(self.shares, prepend=0.0)
        masses[self.starts] = self.shares[self.starts]
        smaller = self.values < upper[self.codes]
        before = np.bincount(self.codes, masses * smaller, minlength=len(self.starts))
        at = np.bincount(self.codes, masses * (self.values == upper[self.codes]), minlength=len(self.starts))
        lower = np.full(len(self.starts), -np.inf)
        np.maximum.at(lower, self.codes[smaller], self.values[smaller])
        lower = np.where(np.isfinite(lower), lower, upper)
        part = np.divide(wanted - before, at, out=np.ones(len(at)), where=at > 0)
        return np.asarray(lower + (upper - lower) * np.clip(part, 0.0, 1.0), dtype=np.float64)


def distribution(codes: ArrayLike, values: ArrayLike, weights: ArrayLike) -> Distribution:
    """The `Distribution` of `values` with positive `weights`, in groups numbered from 0 of which none is empty."""
    groups, numbers, masses = np.asarray(codes, dtype=np.intp), np.asarray(values, float), np.asarray(weights, float)
    order = np.lexsort((numbers, groups))
    groups, numbers, masses = groups[order], numbers[order], masses[order]
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    running = pd.Series(masses).groupby(groups).cumsum().to_numpy()
    last = np.append(starts[1:], len(groups)) - 1
    return Distribution(groups, numbers, running / running[last][groups], starts)


def weighted_quantile(values: ArrayLike, weights: ArrayLike, p: float) -> float:
    """The smallest value at or below which lies at least the part `p` (0..1) of the weight; ValueError without any."""
    if np.size(values) == 0:
        raise ValueError("no values, no quantile")
    return float(distribution(np.zeros(np.size(values), dtype=int), values, weights).quantile(p)[0])


def domain_quantiles(
    people: pd.DataFrame,
    p: float,
    units: pd.DataFrame,
    design: Design,
    dimensions: Dimensions | None = None,
    calibrated: CalibratedCells | None = None,
    scheme: Scheme | None = None,
    around_attained: bool = False,
) -> pd.DataFrame:
    """The `p`-quantile with SE, interval and sample size of every level, unit and domain that has a valid answer.

    `people` has a row per respondent: indicator (one), district_id, the dimensions, psu, weight, y, answered,
    dont_know, refused (bool); uncalibrated_weight for `calibrated` weights, replicate weights for a `scheme`.

    Interval: p plus and minus the margin (t) of the share at or below the quantile, read off the distribution at both
    ends (Woodruff 1952); for the lower end the margin is that of the share strictly below it, so that with answers in
    round numbers both ends say whether the next number can be the quantile. An end beyond 0 or 1 is null, and so is
    then se: the interval's length over twice the t quantile, or what it would be with the distribution interpolated, if
    that is more (both ends may be the same round number). deff and n_eff are those of the share at or below.

    `around_attained` does as R survey's svyquantile with interval.type="mean": it starts from the share attained
    instead of p, with one margin, and does not interpolate. Without ties that is nearly the same. Of waits in quarters
    of an hour the share attained is far above p, and intervals meant to cover 95 % covered 63 to 70 % in a simulation,
    those from p 98 %.
    """
    placed = people.merge(
        units[["district_id", "division_id", "province_id"]], on="district_id", how="left", validate="m:1"
    )
    kinds = product(domain_dimensions(people) if dimensions is None else dimensions, UNIT_COLUMNS.items())
    by_kind = [([*([column] if column else []), *group], level) for group, (level, column) in kinds]
    found = [one for by, level in by_kind if (one := _of_kind(placed, p, by, level, calibrated, scheme)) is not None]
    shares = _shares(found, str(people["indicator"].iloc[0]), design, calibrated, scheme)
    tables = [_quantiles(one, p, *both, around_attained) for one, both in zip(found, shares, strict=True)]
    return pd.concat(tables, ignore_index=True)


@dataclass(frozen=True)
class _Share:
    """Sums that the share of people with a number at or below another is estimated from, in several domains."""

    cells: pd.DataFrame
    calibration_sums: pd.DataFrame | None
    replicate_sums: tuple[Numbers, Numbers] | None


@dataclass(frozen=True)
class _Kind:
    """One kind of domain of one level: `domains` (level, unit_id, domain), the quantile in each, the shares around it.

    `at` is the share at or below the quantile, `below` the one strictly below it.
    """

    domains: pd.DataFrame
    spread: Distribution
    quantile: Numbers
    at: _Share
    below: _Share


def _of_kind(
    placed: pd.DataFrame,
    p: float,
    by: list[str],
    level: str,
    calibrated: CalibratedCells | None,
    scheme: Scheme | None,
) -> _Kind | None:
    """`by` has the columns of the unit (none for all) and the domain; None where nobody gave a valid answer."""
    inside = placed[placed[by].notna().all(axis="columns")] if by else placed
    domain, names = _domains(inside, by, level)
    inside = inside.assign(code=domain)
    counted = inside[inside["answered"]]
    if counted.empty:
        return None
    numbered, code = np.unique(counted["code"], return_inverse=True)  # domains with a valid answer
    spread = distribution(code, counted["y"], counted["weight"])
    quantile = spread.quantile(p)
    y = counted["y"].to_numpy(float)

    def share(part: NDArray[np.bool_]) -> _Share:
        return _share(inside, counted, code, part.astype(float), names, calibrated, scheme)

    domains = names.loc[numbered].reset_index(drop=True)
    return _Kind(domains, spread, quantile, share(y <= quantile[code]), share(y < quantile[code]))


def _share(
    people: pd.DataFrame,
    counted: pd.DataFrame,
    code: NDArray[np.intp],
    part: Numbers,
    names: pd.DataFrame,
    calibrated: CalibratedCells | None,
    scheme: Scheme | None,
) -> _Share:
    """The sums of `part` (0/1 of the rows of `counted`) in the domains that `code` numbers.

    `people` also has those without a valid answer; `names` are level, unit_id and domain of its `code`.
    """
    sums = None
    if calibrated is not None:
        sums = _calibration_sums(counted, part, calibrated).join(names, on="code").drop(columns="code")
    replicates = None
    if scheme is not None:
        weights = counted[replicate_columns(list(counted.columns))].to_numpy(float)
        of_all, of_part = (
            grouped_sums(code, code.max() + 1, factors, weights) for factors in (np.ones(len(code)), part)
        )
        replicates = of_all, of_part
    return _Share(_cells(people, part).join(names, on="code"), sums, replicates)


def _shares(
    found: Sequence[_Kind], indicator: str, design: Design, calibrated: CalibratedCells | None, scheme: Scheme | None
) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """The estimates of both shares of each kind of domain, a row for each of its domains; all are made at once.

    Each share goes by a name of its own, since design effects are pooled by indicator and level.
    """
    shares = {f"{number} {name}": share for number, one in enumerate(found) for name, share in _both(one)}
    cells = pd.concat({name: share.cells for name, share in shares.items()}, names=["indicator"])
    if calibrated is not None:
        sums = pd.concat({name: share.calibration_sums for name, share in shares.items()}, names=["indicator"])
        calibrated = replace(calibrated, sums=sums.reset_index("indicator"))
    replicates = None
    if scheme is not None:
        keys = {f"{number} {name}": one.domains for number, one in enumerate(found) for name, _ in _both(one)}
        key = pd.concat(keys, names=["indicator"]).reset_index("indicator").reset_index(drop=True)
        both = zip(*(share.replicate_sums for share in shares.values()), strict=True)
        of_all, of_part = (np.concatenate(parts) for parts in both)
        replicates = ReplicateSums(scheme, key, of_all, of_part)
    made = domain_estimates(
        cells.reset_index("indicator"), design, dict.fromkeys(shares, "share"), calibrated, replicates
    )
    tables = {str(name): rows.assign(indicator=indicator) for name, rows in made.groupby("indicator", observed=True)}

    def table(number: int, name: str) -> pd.DataFrame:
        domains = found[number].domains
        return domains.merge(tables[f"{number} {name}"], on=list(domains.columns), validate="1:1")

    return [(table(number, "at"), table(number, "below")) for number in range(len(found))]


def _both(one: _Kind) -> tuple[tuple[str, _Share], ...]:
    return ("at", one.at), ("below", one.below)


def _quantiles(
    one: _Kind, p: float, table: pd.DataFrame, strictly_below: pd.DataFrame, around_attained: bool
) -> pd.DataFrame:
    """The quantile of each domain, from the estimates of the shares at or below it and strictly below it."""
    degrees = table["df"].to_numpy(float)
    df = np.where(degrees < 1, np.nan, degrees)
    attained, above = (table[name].to_numpy(float, na_value=np.nan) for name in ("estimate", "se"))
    if around_attained:
        ends = t_interval(attained, above, df)
    else:
        below = strictly_below["se"].to_numpy(float, na_value=np.nan)
        wanted = np.full(len(df), p)
        ends = t_interval(wanted, below, df)[0], t_interval(wanted, above, df)[1]
    table["low"], table["high"] = (one.spread.quantile(end) for end in ends)
    length = (table["high"] - table["low"]).to_numpy()
    if not around_attained:
        length = np.maximum(length, one.spread.interpolated(ends[1]) - one.spread.interpolated(ends[0]))
    unit_interval = t_interval(np.zeros(len(df)), np.ones(len(df)), df)
    table["se"] = length / (unit_interval[1] - unit_interval[0])
    table["estimate"] = one.quantile
    table["cv"] = (table["se"] / table["estimate"].abs()).where(table["estimate"] != 0)
    return table.assign(interval="woodruff", n_positive=np.nan)


def _domains(inside: pd.DataFrame, by: list[str], level: str) -> tuple[NDArray[np.intp], pd.DataFrame]:
    """The number of each row's domain, and level, unit_id and domain by number."""
    if not by:
        names = pd.DataFrame({"level": [level], "unit_id": ["all"], "domain": ["all"]})
        return np.zeros(len(inside), dtype=np.intp), names
    groups = inside.groupby(by, observed=True, sort=False)
    found = inside.loc[~pd.Series(groups.ngroup().to_numpy(), index=inside.index).duplicated(), by].astype("str")
    dimensions = by[1:] if level != "all" else by
    parts = [name + "=" + found[name] for name in dimensions]
    domain = parts[0] if parts else pd.Series("all", index=found.index)
    for part in parts[1:]:
        domain = domain + "," + part
    unit = found[by[0]] if level != "all" else "all"
    names = pd.DataFrame({"level": level, "unit_id": unit, "domain": domain}).reset_index(drop=True)
    return groups.ngroup().to_numpy().astype(np.intp), names


def _cells(people: pd.DataFrame, part: Numbers) -> pd.DataFrame:
    """Sums of `part` (0/1 of those who answered) by domain (`code`) and PSU, as `domains.domain_cells` has them."""
    answered, weight = people["answered"].to_numpy(float), people["weight"].to_numpy(float)
    y = np.zeros(len(people))
    y[people["answered"].to_numpy()] = part
    terms = {
        "n": answered,
        "n_positive": y,
        "n_dont_know": people["dont_know"].to_numpy(float),
        "n_refused": people["refused"].to_numpy(float),
        "sum_w": answered * weight,
        "sum_w2": answered * weight**2,
        "sum_wy": y * weight,
    }
    sums = people[["code", "psu"]].assign(**terms).groupby(["code", "psu"], observed=True, sort=False).sum()
    sums = sums.assign(sum_wx=sums["sum_w"], sum_wx2=sums["sum_w"], sum_wxy=sums["sum_wy"], sum_wy2=sums["sum_wy"])
    return sums.reset_index()


def _calibration_sums(counted: pd.DataFrame, part: Numbers, calibrated: CalibratedCells) -> pd.DataFrame:
    """Sums of d x and d y by domain (`code`) and calibration cell."""
    background = [name for name in calibrated.cells if name != "cell"]
    before = counted["uncalibrated_weight"].to_numpy(float)
    sums = counted[["code", *background]].assign(sum_dx=before, sum_dy=before * part)
    placed = sums.merge(calibrated.cells, on=background, how="left", validate="m:1")
    return placed.groupby(["code", "cell"])[["sum_dx", "sum_dy"]].sum().reset_index()


def quantile_estimates(
    responses: Path,
    design_psus: pd.DataFrame,
    units: pd.DataFrame,
    instrument: Instrument,
    calibration_totals: pd.DataFrame | None = None,
    rake: Sequence[Sequence[str]] = (),
    scheme: Scheme | None = None,
) -> pd.DataFrame:
    """Quantiles of table `district_estimates` of one wave, from its responses as a Parquet file; may have no row."""
    estimates = []
    with duckdb.connect() as connection:
        relation = connection.read_parquet(str(responses))
        available = instrument.available_indicators(relation.columns)
        asked = {name: indicator for name, indicator in available.items() if indicator.quantile is not None}
        needed = ["wave", *BACKGROUND_CELL, "psu", "weight", "uncalibrated_weight"]
        for name, indicator in asked.items():
            quantity = indicator_quantity(indicator)
            assert quantity.dont_know is not None
            assert quantity.refused is not None
            assert indicator.quantile is not None
            table = nw.from_native(relation).select(
                *needed,
                *(replicate_columns(relation.columns) if scheme is not None else []),
                y=quantity.y.cast(nw.Float64),
                answered=quantity.is_valid,
                dont_know=quantity.dont_know,
                refused=quantity.refused,
            )
            flags = ["answered", "dont_know", "refused"]
            people: pd.DataFrame = table.collect("pandas").to_native()
            people[flags] = people[flags].eq(1)
            people = people[people[flags].any(axis="columns")].assign(indicator=name)
            if not people["answered"].any():
                continue
            design, dimensions = design_from_psus(design_psus), domain_dimensions(people)
            calibrated = None
            if calibration_totals is not None and len(calibration_totals):
                sums = people.assign(sum_dx=0.0, sum_dy=0.0)
                calibrated = calibrated_cells(calibration_totals, rake, sums, units, design)
            part = domain_quantiles(people, indicator.quantile, units, design, dimensions, calibrated, scheme)
            estimates.append(part.assign(wave=people["wave"].iloc[0]))
    if not estimates:
        return conform(pd.DataFrame(columns=TABLES["district_estimates"].names), "district_estimates")
    found = pd.concat(estimates).sort_values(["indicator", "level", "unit_id", "domain"])
    return conform(found, "district_estimates")
