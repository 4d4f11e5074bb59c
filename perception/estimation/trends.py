"""Change of estimates and gaps between a wave and its predecessor, on the map that both share, where they compare.

What does not compare stays as a row that says why. Nothing is withheld here: that is `publication`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from perception.errors import InputError, Problem
from perception.estimation.contrasts import contrasts, differences, significance
from perception.estimation.design import Design, design_from_psus
from perception.estimation.domains import (
    SampledDomains,
    WaveDomains,
    domain_dimensions,
    wave_domains,
)
from perception.estimation.gaps import FALSE_DISCOVERY_RATE, adjusted_p_values, group_pairs, indicators_together
from perception.estimation.indices import Weights, index_domains
from perception.estimation.intervals import satterthwaite
from perception.estimation.replicates import Scheme
from perception.geography.gazetteer import Gazetteer, common_units, vintage_units
from perception.schemas import TABLES, conform

GAP_PREFIX = "gap:"
Verdicts = dict[tuple[str, str], tuple[str, str | None]]
"""Verdict and reason by (kind, name), as in table `comparability`."""

BACKGROUND_OF = {"age_group": "age"}
"""The background variable from which another is made."""

_PLACE = ["level", "unit_id", "domain"]
_KEY = ["indicator", *_PLACE]
_UNIT_COLUMNS = {"district": "common_id", "division": "division_id", "province": "province_id", "all": "all"}
_NUMBERS = ["before", "after", "change", "se", "low", "high", "df", "p_value", "n_before", "n_after"]


@dataclass(frozen=True)
class WaveSample:
    """What change needs of one wave: its map, its tables of the names given here, the margins it was raked to.

    `scheme` is that of the variance of the producer's replicate weights, None where there are none; `indices` has the
    weights of the indicators of each index.
    """

    wave: str
    vintage: str
    psu_totals: pd.DataFrame
    design_psus: pd.DataFrame
    calibration_totals: pd.DataFrame
    rake: Sequence[Sequence[str]] = ()
    replicate_totals: pd.DataFrame | None = None
    scheme: Scheme | None = None
    indices: Mapping[str, Weights] = field(default_factory=dict)


@dataclass(frozen=True)
class _Revisit:
    """PSUs that both waves have: their design, and their rows in the design of each wave."""

    design: Design
    before: NDArray[np.intp]
    after: NDArray[np.intp]

    def covariances(self, before: Any, after: Any) -> NDArray[np.float64]:
        """Of pairs of totals, from their scores (PSUs of each wave x m): (V(a + b) - V(a - b)) / 4 over shared PSUs."""
        one, other = before[self.before], after[self.after]
        return (self.design.variances(one + other) - self.design.variances(one - other)) / 4


def trends(
    waves: pd.DataFrame,
    indicators: pd.DataFrame,
    comparability: pd.DataFrame,
    sample: Callable[[str], WaveSample],
    gazetteer: Gazetteer,
) -> pd.DataFrame:
    """Table `trends`: the change of every wave since its predecessor, where that is among `waves` too.

    `waves`, `indicators` and `comparability` are the tables of that name; `sample` gives what is needed of a wave, so
    that no more than two are in memory.
    """
    compared = waves[waves["predecessor"].isin(waves["wave"])]
    tables = [
        wave_trends(
            sample(before),
            sample(wave),
            gazetteer,
            comparability[comparability["wave"] == wave],
            indicators[indicators["wave"] == wave].set_index("indicator")["higher_is_better"],
            shared,
        )
        for wave, before, shared in zip(
            compared["wave"].astype("str"),
            compared["predecessor"].astype("str"),
            compared["shared_psus"].astype(bool),
            strict=True,
        )
    ]
    return pd.concat(tables, ignore_index=True) if tables else _no_trends()


def common_members(waves: pd.DataFrame, gazetteer: Gazetteer) -> pd.DataFrame:
    """The districts that make up each unit of the maps that waves share with their predecessors.

    Columns wave, predecessor, side (`before` or `after`: whose districts), unit_id and district_id.
    """
    vintages = waves.set_index("wave")["vintage"]
    tables = [pd.DataFrame(columns=["wave", "predecessor", "side", "unit_id", "district_id"], dtype="str")]
    for wave, before in waves.loc[waves["predecessor"].isin(waves["wave"]), ["wave", "predecessor"]].to_numpy():
        _, common = common_units(gazetteer, vintages[before], vintages[wave])
        for side, vintage in (("before", vintages[before]), ("after", vintages[wave])):
            units = common.loc[common["vintage"] == vintage, ["common_id", "district_id"]]
            tables.append(
                units.rename(columns={"common_id": "unit_id"}).assign(wave=wave, predecessor=before, side=side)
            )
    return pd.concat(tables, ignore_index=True)


def _no_trends() -> pd.DataFrame:
    return conform(pd.DataFrame(columns=TABLES["trends"].names), "trends")


def wave_trends(
    before: WaveSample,
    after: WaveSample,
    gazetteer: Gazetteer,
    comparability: pd.DataFrame,
    higher_is_better: pd.Series,
    shared_psus: bool = False,
) -> pd.DataFrame:
    """Table `trends` of the wave `after`: its change since the wave `before`, in the indicators' units.

    `comparability` is the table of that name of `after`; `higher_is_better` is indexed by indicator. The variance of a
    change is the sum of both, less twice their covariance where PSUs were visited again (`shared_psus`). Degrees of
    freedom are Satterthwaite's (1946), or the smaller of both where PSUs are shared. Each variance is that of the
    producer's replicate weights where the wave has them. Where PSUs are shared all is linearised instead: nothing says
    which replicate of one wave belongs to which of the other, and a covariance must not be of another kind than the
    variances it is taken from. InputError when PSUs are declared as shared and none is.
    """
    vintage, common = common_units(gazetteer, before.vintage, after.vintage)
    sides = _side(before, gazetteer, common, not shared_psus), _side(after, gazetteer, common, not shared_psus)
    revisit = _revisit(before, after, sides[0].design, sides[1].design) if shared_psus else None
    declared = declared_verdicts(comparability)
    answers = pd.concat([side.totals for side in sides])
    verdicts = {str(name): verdict_on(declared, "indicator", str(name)) for name in answers["indicator"].unique()}
    both = set(sides[0].totals["indicator"]) & set(sides[1].totals["indicator"])
    tables = []
    for names in indicators_together(answers):
        compared = [name for name in names if name in both and verdicts[name][0] != "break"]
        if compared:
            tables.append(_changes((sides[0].sampled(compared), sides[1].sampled(compared)), revisit))
        if alone := sorted(set(names) - set(compared)):
            own = [side.cells(alone) for side in sides if side.totals["indicator"].isin(alone).any()]
            tables.append(_places_alone([cells.groupby(_KEY, observed=True)["n"].sum().reset_index() for cells in own]))
    for name in sorted({*before.indices, *after.indices}):
        verdicts[name] = verdict_on(declared, "indicator", name)
        if name in before.indices and name in after.indices and before.indices[name] != after.indices[name]:
            verdicts[name] = "break", "the weights of its parts changed"
        waves = zip((before, after), sides, strict=True)
        own_indices = [_index(sample, side, name) for sample, side in waves if name in sample.indices]
        if len(own_indices) == 2 and verdicts[name][0] != "break":
            tables.append(_changes((own_indices[0], own_indices[1]), revisit))
        else:
            tables.append(_places_alone([index.domains[[*_KEY, "n"]] for index in own_indices]))
    if not tables:
        return _no_trends()
    frame = pd.concat(tables, ignore_index=True).reindex(columns=[*_KEY, *_NUMBERS])
    reason = frame["indicator"].map({name: why for name, (_, why) in verdicts.items()})
    broken = frame["indicator"].isin([name for name, (verdict, _) in verdicts.items() if verdict == "break"])
    frame = frame.assign(obstacle=reason.where(broken), note=reason.mask(broken))
    frame = frame.assign(wave=after.wave, predecessor=before.wave, vintage=vintage)
    frame = _explained(frame, declared, _coverage(before, after, common))
    frame = frame.assign(reason=frame["obstacle"].fillna(frame["note"]))
    frame.loc[frame["obstacle"].notna(), _NUMBERS] = np.nan
    frame["higher_is_better"] = frame["indicator"].map(higher_is_better)
    judged = trend_verdicts(frame, comparable=frame["obstacle"].isna())
    return conform(judged.sort_values(_KEY), "trends")


def declared_verdicts(comparability: pd.DataFrame) -> Verdicts:
    """The verdicts of table `comparability`, of one wave."""
    return {
        (str(kind), str(name)): (str(verdict), None if pd.isna(reason) else str(reason))
        for kind, name, verdict, reason in comparability[["kind", "name", "verdict", "reason"]].itertuples(index=False)
    }


def verdict_on(declared: Verdicts, kind: str, name: str) -> tuple[str, str | None]:
    """The verdict on an indicator, question or background variable, and its reason; what is not declared is a break."""
    verdict, reason = declared.get((kind, name), ("break", "not declared"))
    return verdict, (reason or "declared as a break") if verdict == "break" else reason


def _side(sample: WaveSample, gazetteer: Gazetteer, common: pd.DataFrame, replicated: bool) -> WaveDomains:
    """The wave in the domains of the common map."""
    return wave_domains(
        sample.psu_totals[sample.psu_totals["n"] > 0],
        sample.design_psus,
        vintage_units(gazetteer, sample.vintage),
        sample.calibration_totals,
        sample.rake,
        sample.replicate_totals,
        sample.scheme if replicated else None,
        [dimension for dimension in domain_dimensions(sample.psu_totals) if len(dimension) < 2],
        common[common["vintage"] == sample.vintage],
    )


def _index(sample: WaveSample, side: WaveDomains, name: str) -> SampledDomains:
    """The domains of an index of the wave."""
    weights = sample.indices[name]
    return index_domains(side.sampled(list(weights)), name, weights)[0]


def shared_psus(old: Design, new: Design, before: str, after: str) -> pd.DataFrame:
    """The PSUs that the designs of the waves `before` and `after` have in common, by their id.

    Columns psu; variance_stratum, row_before and size_before (the stratum, the row in `psus` and the PSUs of that
    stratum); variance_stratum_after, row_after and size_after. InputError when there is none.
    """
    one = old.psus.assign(row_before=range(len(old.psus)), size_before=old.stratum_sizes[old.stratum_codes])
    other = new.psus.assign(row_after=range(len(new.psus)), size_after=new.stratum_sizes[new.stratum_codes])
    shared = one.merge(other, on="psu", suffixes=("", "_after"), validate="1:1")
    if shared.empty:
        raise InputError(
            [
                Problem(
                    f"{after}/wave.yml, design.shared_psus",
                    f"no PSU of this wave has the id of one of {before}",
                    "Take shared_psus out, or declare psu and psu_within so that a PSU has the same id in both waves.",
                )
            ]
        )
    return shared


def _revisit(before: WaveSample, after: WaveSample, old: Design, new: Design) -> _Revisit:
    """The shared PSUs, in strata that both waves have in common.

    A stratum with one shared PSU of several says nothing about their covariance, which then counts as 0.
    """
    shared = shared_psus(old, new, before.wave, after.wave)
    shared["variance_stratum"] = shared["variance_stratum"] + " / " + shared["variance_stratum_after"]
    both = shared.groupby("variance_stratum")["psu"].transform("size")
    alone = (shared["size_before"] == 1) & (shared["size_after"] == 1)
    shared = shared[(both > 1) | alone].sort_values(["variance_stratum", "psu"])
    return _Revisit(design_from_psus(shared), shared["row_before"].to_numpy(), shared["row_after"].to_numpy())


def _estimates(sampled: SampledDomains) -> tuple[pd.DataFrame, Any]:
    """Estimates and gaps of one wave with variance, df, n and agree, and their scores."""
    keys, pairs = _with_gaps(sampled.domains)
    count = len(sampled.domains)
    gaps = differences(pairs["first"].to_numpy(np.intp), pairs["second"].to_numpy(np.intp), count)
    found = contrasts(sampled, sparse.vstack([sparse.eye_array(count), gaps]))
    return pd.concat([keys, found.rows[["estimate", "variance", "df"]]], axis=1), found.scores


def _with_gaps(domains: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Indicator, level, unit_id, domain, n and agree of domains and then of the gaps they make; and the gaps' pairs."""
    pairs = group_pairs(domains)
    gaps = pairs.assign(domain=GAP_PREFIX + pairs["gap"], n=pairs["n_first"] + pairs["n_second"])
    columns = [*_KEY, "n", "agree"]
    return pd.concat([domains[columns], gaps[columns]], ignore_index=True), pairs


def _changes(sampled: tuple[SampledDomains, SampledDomains], revisit: _Revisit | None) -> pd.DataFrame:
    """Change of every estimate and gap; numbers are null where one of the waves has none."""
    (before, old_scores), (after, new_scores) = (_estimates(domains) for domains in sampled)
    rows = before.assign(row=range(len(before))).merge(
        after.assign(row=range(len(after))), on=_KEY, how="outer", suffixes=("_before", "_after")
    )
    there = rows["row_before"].notna() & rows["row_after"].notna()
    both = rows[there]
    old, new, df_old, df_new = (
        both[name].to_numpy(float) for name in ("variance_before", "variance_after", "df_before", "df_after")
    )
    variance, df = old + new, np.minimum(df_old, df_new)
    unknown = (both["agree_before"].astype(bool) & both["agree_after"].astype(bool)).to_numpy()
    if revisit is None:
        df = satterthwaite(old, new, df_old, df_new)
        unknown = unknown | ~(variance > 0)
    else:
        columns = both["row_before"].to_numpy(np.intp), both["row_after"].to_numpy(np.intp)
        shared = revisit.covariances(old_scores[:, columns[0]], new_scores[:, columns[1]])
        rest = variance - 2 * shared
        variance = np.where(rest > 1e-12 * variance, rest, 0.0)
    change = (both["estimate_after"] - both["estimate_before"]).to_numpy(float)
    numbers = significance(change, variance, df, unknown).assign(change=change, df=df).set_index(both.index)
    renamed = rows.rename(columns={"estimate_before": "before", "estimate_after": "after"})
    return renamed[[*_KEY, "before", "after", "n_before", "n_after"]].join(numbers)


def _places_alone(domains: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Every indicator, level, unit_id and domain (or gap) of the domains of either wave."""
    return pd.concat([_with_gaps(own.assign(agree=False))[0] for own in domains])[_KEY].drop_duplicates(
        ignore_index=True
    )


def _coverage(before: WaveSample, after: WaveSample, common: pd.DataFrame) -> pd.DataFrame:
    """Units (level, unit_id) of which the two waves did not survey the same area, and what is amiss (`uncovered`)."""
    surveyed = {}
    for sample in (before, after):
        units = common[common["vintage"] == sample.vintage]
        there = units["district_id"].isin(sample.design_psus["district_id"])
        surveyed[sample.wave] = there.groupby(units["common_id"]).agg(["any", "all"])
    whole = pd.DataFrame({wave: state["all"] for wave, state in surveyed.items()})
    some = pd.DataFrame({wave: state["any"] for wave, state in surveyed.items()})
    amiss = whole.index[some.any(axis=1) & ~whole.all(axis=1)]
    texts = {}
    for unit in amiss:
        parts = [
            f"{'only part of it was' if some.at[unit, wave] else 'not'} surveyed in {wave}"
            for wave in surveyed
            if not whole.at[unit, wave]
        ]
        texts[unit] = "; ".join(parts)
    places = common.drop_duplicates("common_id").set_index("common_id").loc[amiss].reset_index().assign(all="all")
    rows = [pd.DataFrame({"level": "district", "unit_id": list(texts), "uncovered": list(texts.values())}, dtype="str")]
    for level in ("division", "province", "all"):
        named = places.groupby(_UNIT_COLUMNS[level])["common_id"].agg(", ".join)
        text = "not the same districts were surveyed: " + named.astype("str")
        rows.append(pd.DataFrame({"level": level, "unit_id": named.index, "uncovered": text.to_numpy()}, dtype="str"))
    return pd.concat(rows, ignore_index=True)


def domain_kind(domain: pd.Series) -> pd.Series:
    """What kind of domain each is: `all`, `sex`, `gap:sex`; the categories of one kind are shown together."""
    return domain.str.replace(r"=.*", "", regex=True)


def _explained(frame: pd.DataFrame, declared: Verdicts, coverage: pd.DataFrame) -> pd.DataFrame:
    """The rows with `obstacle`, the first reason why one does not compare, and `note`, what was recoded."""
    variable = domain_kind(frame["domain"]).str.removeprefix(GAP_PREFIX)
    groups = {name: verdict_on(declared, "background", BACKGROUND_OF.get(name, name)) for name in variable.unique()}
    groups["all"] = ("same", None)
    broken = variable.map({name: reason for name, (verdict, reason) in groups.items() if verdict == "break"})
    recoded = variable.map({name: reason for name, (verdict, reason) in groups.items() if verdict != "break"})
    uncovered = frame[["level", "unit_id"]].merge(coverage, on=["level", "unit_id"], how="left")["uncovered"]
    lacking = pd.Series(None, index=frame.index, dtype="object")
    for side, wave in (("before", "predecessor"), ("after", "wave")):
        lacking = lacking.where(lacking.notna() | frame[side].notna(), "no answers in " + frame[wave])
    obstacle = frame["obstacle"].astype("object")
    for reason in (broken, uncovered, lacking):
        obstacle = obstacle.fillna(reason.astype("object"))
    joined = frame["note"].astype("object").fillna(recoded.astype("object"))
    both = frame["note"].notna() & recoded.notna()
    joined = joined.where(~both, frame["note"].astype("str") + "; " + recoded.astype("str"))
    return frame.assign(obstacle=obstacle, note=joined)


def trend_verdicts(frame: pd.DataFrame, comparable: pd.Series) -> pd.DataFrame:
    """The rows with q_value (within wave, indicator, level and kind of domain) and verdict.

    A change is `better` or `worse` as `higher_is_better` says. That of a gap is `better` when the gap is narrower and
    `worse` when wider; one that changed sides is neither.
    """
    kind = domain_kind(frame["domain"])
    q_value = adjusted_p_values(frame["p_value"], [frame["wave"], frame["indicator"], frame["level"], kind])
    before, after, change = (frame[name].to_numpy(float, na_value=np.nan) for name in ("before", "after", "change"))
    upwards = frame["higher_is_better"].astype("boolean").fillna(True).to_numpy(bool)
    gap = kind.str.startswith(GAP_PREFIX).to_numpy(bool)
    improved = np.where(gap, np.abs(after) < np.abs(before), (change > 0) == upwards)
    clear = (q_value < FALSE_DISCOVERY_RATE).to_numpy() & ~(gap & (before * after < 0))
    verdict = np.where(clear, np.where(improved, "better", "worse"), "cannot_tell")
    return frame.assign(q_value=q_value, verdict=np.where(comparable, verdict, "not_comparable"))
