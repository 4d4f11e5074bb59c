"""The one decision what may be published: rules of quality and of disclosure applied to estimates.

Everything that people see is made from what this module lets through; suppressed numbers are null, with a reason.
Quality (too uncertain to be of use) and disclosure (says too much about respondents) are decided apart, each by its own
rules and with its own reason codes. Disclosure goes first: of a cell withheld for it nothing else may be said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from perception.errors import InputError, Problem
from perception.estimation.disclosure import Flags, domain_categories, revealing_cells, withheld_cells
from perception.estimation.gaps import GAPS, gap_verdicts
from perception.estimation.trends import GAP_PREFIX, trend_verdicts
from perception.intake.describe import index_weights
from perception.schemas import LEVELS, PROPORTIONS, QUALITIES, TABLES, conform

DISCLOSURE_REASONS = {
    "below_minimum_level": "not published for areas this small",
    "few_persons": "withheld to protect respondents",
}
QUALITY_REASONS = {
    "few_responses": "too few respondents",
    "low_effective_sample": "too few respondents after allowing for the sample design",
    "few_psus": "respondents from a single sampling area",
    "no_degrees_of_freedom": "the sample gives no measure of uncertainty",
    "wide_interval": "too uncertain",
    "high_cv": "too uncertain",
    "reveals_withheld": "a number too uncertain to publish could be worked out from it",
}
CAUTION_REASONS = {
    "small_sample": "small sample",
    "no_respondents": "no answers there: estimated from districts like it",
    "few_degrees_of_freedom": "few sampling areas",
    "rather_wide_interval": "rather uncertain",
    "rather_high_cv": "rather uncertain",
    "many_dont_know": "many did not know",
    "part_not_published": "one of the numbers it is made from is not published",
    "not_comparable": "the two waves do not compare",
}
REASONS = DISCLOSURE_REASONS | QUALITY_REASONS | CAUTION_REASONS
"""What each reason code says to a reader."""

DIGITS = 5
"""Digits after the point of a published share, and significant digits of other numbers. More than a reader can use, and
so few that sums of published estimates do not give a withheld one away to the last digit.
"""
_LEVEL = ["estimate", "se", "low", "high"]
_RATIOS = ["n_eff", "deff", "kish", "cv"]
_CELL = ["wave", "indicator", "level", "unit_id", "domain"]
_KEPT_WHEN_SUPPRESSED = [*_CELL, "method", "simulated", "quality", "reason"]


@dataclass(frozen=True)
class PublicationRules:
    """Thresholds of suppression and caution; sources: NCHS (Parker 2017), ONS, UK LLC, as the methods page cites."""

    minimum_n: int = 30
    minimum_n_eff: float = 30
    minimum_psus: int = 2
    minimum_df: int = 1
    maximum_width: float = 0.30
    maximum_cv: float = 0.33
    caution_n: int = 50
    caution_df: int = 8
    caution_width: float = 0.20
    caution_cv: float = 0.20
    caution_dont_know: float = 0.20
    minimum_persons: int = 10


def judged_direct(
    estimates: pd.DataFrame,
    indicators: pd.DataFrame,
    rules: PublicationRules | None = None,
    units: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The direct estimates of `published_estimates`, judged but not rounded; `held` says what is withheld for privacy.

    `estimates` and `indicators` are the tables `district_estimates` and `indicators` of any waves. `units` gives wave,
    district_id, division_id and province_id of every district of a wave. It is needed where a sensitive indicator has
    cells to protect, or weights are equal; an InputError says so. n_eff is capped at n.
    """
    rules = rules or PublicationRules()
    direct = _described(estimates, indicators)
    direct["n_eff"] = direct["n_eff"].clip(upper=direct["n"].astype(float))
    unreliable = unreliable_estimates(direct, rules)
    held = withheld_for_disclosure(direct, units, rules, (unreliable != "").to_numpy())
    hidden = ((unreliable != "") | (held != "")).to_numpy()
    unreliable = unreliable.mask(revealing_estimates(direct, units, hidden), "reveals_withheld")
    unreliable = _with_parts(direct, unreliable, (held != "") | (unreliable != ""), indicators)
    judged = _judged(direct.assign(method="direct"), held, unreliable, doubtful_estimates(direct, rules))
    return judged.assign(held=held)


def published_beside(
    direct: pd.DataFrame, small_area: pd.DataFrame, indicators: pd.DataFrame, rules: PublicationRules | None = None
) -> pd.DataFrame:
    """Table `published_estimates` from what `judged_direct` gives of any waves, and their `small_area_estimates`.

    A small-area estimate stands beside the direct one as a row of method `small_area` (level district, domain `all`),
    judged by its own interval, also where the direct one is too uncertain; it is withheld with the direct one where
    that is withheld to protect respondents. Neither the direct estimate that the model used nor its shrinkage is handed
    on, since together they give away a withheld direct estimate. Numbers are rounded to `DIGITS`.
    """
    rules = rules or PublicationRules()
    modelled = _described(small_area, indicators)
    modelled = modelled.assign(level="district", unit_id=modelled["district_id"], domain="all", method="small_area")
    modelled["cv"] = (modelled["se"] / modelled["estimate"].abs()).where(modelled["estimate"] != 0)
    beside = modelled[_CELL].merge(direct[[*_CELL, "held"]], on=_CELL, how="left", validate="1:1")
    modelled = _judged(
        modelled,
        beside["held"].fillna("").mask(_below_minimum_level(modelled), "below_minimum_level"),
        _reasons(_too_uncertain(modelled, rules)),
        _reasons({"no_respondents": modelled["n"] == 0, **_rather_uncertain(modelled, rules)}),
    )
    names = [*TABLES["published_estimates"].names, "kind"]
    parts = [part.reindex(columns=names) for part in (direct, modelled) if len(part)]
    if not parts:
        return conform(pd.DataFrame(columns=TABLES["published_estimates"].names), "published_estimates")
    table = pd.concat(parts, ignore_index=True)
    table = _rounded(table, _LEVEL, _decimals(table, table))
    table = _rounded(table, ["dont_know_share", "refused_share"], pd.Series(DIGITS, index=table.index))
    for name in _RATIOS:
        table = _rounded(table, [name], _significant(table[name]))
    return conform(table, "published_estimates")


def _decimals(rows: pd.DataFrame, published: pd.DataFrame) -> pd.Series:
    """Digits after the point of the estimates in `rows` (wave, indicator, kind): of a number as many as its largest
    published estimate takes.
    """
    key = ["wave", "indicator"]
    largest = published.assign(estimate=published["estimate"].abs()).groupby(key)["estimate"].max()
    own = rows[key].join(largest.rename("largest"), on=key)["largest"]
    return _significant(own).where(~rows["kind"].isin(PROPORTIONS), DIGITS)


def _significant(values: pd.Series) -> pd.Series:
    """Digits after the point that leave `DIGITS` significant ones."""
    size = values.abs().astype(float)
    places = size.where(size > 0).map(np.log10, na_action="ignore") // 1
    return (DIGITS - 1 - places).fillna(DIGITS)


def _rounded(frame: pd.DataFrame, names: list[str], decimals: pd.Series) -> pd.DataFrame:
    """The frame with columns rounded to so many digits after the point, row by row."""
    factor = 10.0 ** decimals.to_numpy(float)
    return frame.assign(**{name: np.round(frame[name].astype(float) * factor) / factor for name in names})


def unreliable_estimates(direct: pd.DataFrame, rules: PublicationRules) -> pd.Series:
    """Quality codes for which each direct estimate is suppressed, joined by semicolons; empty where there is none.

    `direct` is `district_estimates` with the indicator's kind. An n_eff above n counts as n: with few degrees of
    freedom a design effect below 1 is more often luck than precision.
    """
    n, psus, df = (direct[name].astype(float) for name in ("n", "psus", "df"))
    return _reasons(
        {
            "few_responses": n < rules.minimum_n,
            "low_effective_sample": ~(direct["n_eff"].clip(upper=n) >= rules.minimum_n_eff),
            "few_psus": psus < rules.minimum_psus,
            "no_degrees_of_freedom": (df < rules.minimum_df) | direct["se"].isna(),
            **_too_uncertain(direct, rules),
        }
    )


def _with_parts(direct: pd.DataFrame, unreliable: pd.Series, blocked: pd.Series, indicators: pd.DataFrame) -> pd.Series:
    """`unreliable`, with an index too where an indicator of it is blocked: the rest would give that one away."""
    found = unreliable.copy()
    for wave, own in indicators[indicators["kind"] == "index"].groupby("wave"):
        rows = direct[direct["wave"] == wave]
        for name, weights in index_weights(own).items():
            parts = rows[rows["indicator"].isin(list(weights)) & blocked.loc[rows.index]]
            index = rows[rows["indicator"] == name]
            gives_away = pd.MultiIndex.from_frame(index[_CELL[2:]]).isin(pd.MultiIndex.from_frame(parts[_CELL[2:]]))
            held = index.index[gives_away]
            found[held] = found[held].where(found[held] == "", found[held] + ";") + "part_not_published"
    return found


def doubtful_estimates(direct: pd.DataFrame, rules: PublicationRules) -> pd.Series:
    """Codes for which each direct estimate is to be used with caution, joined by semicolons."""
    n, df = (direct[name].astype(float) for name in ("n", "df"))
    return _reasons(
        {
            "small_sample": n < rules.caution_n,
            "few_degrees_of_freedom": df < rules.caution_df,
            **_rather_uncertain(direct, rules),
            "many_dont_know": direct["dont_know_share"] > rules.caution_dont_know,
        }
    )


def withheld_for_disclosure(
    direct: pd.DataFrame, units: pd.DataFrame | None, rules: PublicationRules, unpublished: Flags
) -> pd.Series:
    """The disclosure code for which each direct estimate is suppressed; empty where there is none.

    Below the indicator's minimum level nothing is published. Of a sensitive indicator neither is a cell with fewer than
    `minimum_persons` answering 1 or answering 0, and further cells are withheld, with the same code, until the counts
    in all these cells cannot be worked out from the others (see `disclosure`). `unpublished` says which rows are
    suppressed for their quality. A sensitive mean is withheld whole: no counts show its cells safe.
    """
    below, sensitive = _below_minimum_level(direct), direct["sensitive"].astype(bool)
    persons = direct[["n", "n_positive"]].assign(other=direct["n"] - direct["n_positive"]).astype("Int64")
    thin = sensitive & (persons[["n_positive", "other"]].min(axis=1, skipna=False) < rules.minimum_persons).fillna(True)
    protected = (below | thin).to_numpy(bool)
    reason = pd.Series("", index=direct.index, dtype="str")
    for _, group in direct[sensitive].groupby(["wave", "indicator"], sort=False):
        rows = direct.index.get_indexer(group.index)
        if (group["kind"] == "mean").any() or persons.iloc[rows].isna().any(axis=None):
            reason.iloc[rows] = "few_persons"
        elif protected[rows].any():
            cells = group[[*_CELL[2:], "n", "n_positive"]]
            own = _units_of(group["wave"].iloc[0], group["indicator"].iloc[0], units)
            hidden = withheld_cells(cells, own, protected[rows], unpublished[rows], rules.minimum_persons)
            reason.iloc[rows[hidden]] = "few_persons"
    return reason.mask(below, "below_minimum_level")


def revealing_estimates(direct: pd.DataFrame, units: pd.DataFrame | None, hidden: Flags) -> Flags:
    """Which of the other direct estimates must go with the `hidden` ones, so that none of these can be recomputed.

    One value per row. Shares and means add up to those of larger cells as soon as the weights in them are known, and
    equal weights are known to everybody. A published share p then gives its count away: n p lies within
    n sqrt(kish - 1) / 2 of it (Cauchy-Schwarz), so that n^2 (kish - 1) < 1 leaves a single whole number. Where weights
    differ nothing is withheld. A quantile is no sum and tells nothing.
    """
    n, kish = direct["n"].to_numpy(float), direct["kish"].to_numpy(float)
    told = ~hidden & direct["kind"].isin(["share", "mean"]).to_numpy() & (n**2 * (kish - 1) < 1)
    revealing = np.zeros(len(direct), bool)
    for (wave, indicator), group in direct.groupby(["wave", "indicator"], sort=False):
        rows = direct.index.get_indexer(group.index)
        if told[rows].any() and hidden[rows].any():
            cells = group[[*_CELL[2:], "n", "n_positive"]]
            if (group["kind"] == "mean").any():
                # The sum of a number has no ends that are known: as a count of n in 2 n it may move either way.
                cells = cells.assign(n=2 * cells["n"], n_positive=cells["n"])
            own = _units_of(str(wave), str(indicator), units)
            revealing[rows] = revealing_cells(cells, own, hidden[rows], told[rows])
    return revealing


def withheld(published: pd.DataFrame) -> pd.DataFrame:
    """Table `withheld` from `published_estimates`: how many cells are withheld and why, in words.

    Each cell counts once, under the first of its reasons, so that rows may be added up.
    """
    held = published[published["quality"] == "suppress"]
    code = held["reason"].str.split(";").str[0]
    by = ["wave", "simulated", "indicator", "method", "level", "domain_kind"]
    kinds = {domain: ",".join(domain_categories(domain)) or "all" for domain in published["domain"].unique()}
    cells = published.assign(domain_kind=published["domain"].map(kinds)).groupby(by).size().rename("cells")
    counted = held.assign(domain_kind=held["domain"].map(kinds), reason=code)
    table = counted.groupby([*by, "reason"]).size().rename("withheld").reset_index().join(cells, on=by)
    table["concern"] = np.where(table["reason"].isin(list(DISCLOSURE_REASONS)), "disclosure", "quality")
    return conform(table.assign(words=table["reason"].map(REASONS)), "withheld")


def _described(frame: pd.DataFrame, indicators: pd.DataFrame) -> pd.DataFrame:
    """Rows with what `indicators` says of them; an InputError names those it does not know."""
    facts = indicators[["wave", "indicator", "kind", "sensitive", "minimum_level", "simulated"]]
    bare = frame.drop(columns="simulated", errors="ignore")
    described = bare.merge(facts, on=["wave", "indicator"], how="left", validate="m:1")
    unknown = described.loc[described["kind"].isna(), ["wave", "indicator"]].drop_duplicates()
    if len(unknown):
        raise InputError(
            Problem(
                f"wave {row.wave}, indicator {row.indicator}",
                "has estimates, but `indicators` does not describe it",
                "Materialise the wave whole.",
            )
            for row in unknown.itertuples()
        )
    return described


def _judged(frame: pd.DataFrame, withheld: pd.Series, unreliable: pd.Series, doubtful: pd.Series) -> pd.DataFrame:
    """Rows with quality and reason, and without the numbers of suppressed ones, the sample size included."""
    blocked = withheld.where(withheld != "", unreliable)
    reason = blocked.where(blocked != "", doubtful)
    frame = frame.assign(
        quality=np.where(blocked != "", "suppress", np.where(doubtful != "", "caution", "publish")),
        reason=reason.where(reason != ""),
    )
    numbers = [column for column in frame.columns if column not in _KEPT_WHEN_SUPPRESSED]
    frame[numbers] = frame[numbers].mask(blocked != "")
    return frame


def _too_uncertain(frame: pd.DataFrame, rules: PublicationRules) -> dict[str, pd.Series]:
    share = frame["kind"].isin(PROPORTIONS)
    return {
        "wide_interval": share & ~(frame["high"] - frame["low"] < rules.maximum_width),
        "high_cv": ~share & ~(frame["cv"] <= rules.maximum_cv),
    }


def _rather_uncertain(frame: pd.DataFrame, rules: PublicationRules) -> dict[str, pd.Series]:
    share = frame["kind"].isin(PROPORTIONS)
    return {
        "rather_wide_interval": share & (frame["high"] - frame["low"] >= rules.caution_width),
        "rather_high_cv": ~share & (frame["cv"] > rules.caution_cv),
    }


def _below_minimum_level(frame: pd.DataFrame) -> pd.Series:
    below: pd.Series = frame["level"].map(LEVELS.index) < frame["minimum_level"].map(LEVELS.index)
    return below


def _units_of(wave: str, indicator: str, units: pd.DataFrame | None) -> pd.DataFrame:
    own = None if units is None else units[units["wave"] == wave]
    if own is None or own.empty:
        problem = "has counts to protect, but the divisions and provinces of its districts are not given"
        raise InputError(
            [Problem(f"wave {wave}, indicator {indicator}", problem, "Pass the wave's districts as units.")]
        )
    return own


def _reasons(rules: dict[str, pd.Series]) -> pd.Series:
    """The codes of the rules that hold in each row, joined by semicolons; empty where none does."""
    text = pd.Series("", index=next(iter(rules.values())).index, dtype="str")
    for code, holds in rules.items():
        added = text.where(text == "", text + ";") + code
        text = added.where(holds.astype(bool), text)
    return text


def published_drivers(
    drivers: pd.DataFrame, indicators: pd.DataFrame, rules: PublicationRules | None = None
) -> pd.DataFrame:
    """Table `published_drivers`: without models of sensitive outcomes or of too few respondents, PSUs or df.

    A sensitive indicator that is a driver itself is left out where its prevalence stands for too few persons.
    """
    rules = rules or PublicationRules()
    known = _of_published_models(drivers, indicators, rules)
    rarer = known["prevalence"].clip(upper=1 - known["prevalence"])
    thin = _is_sensitive(known, indicators) & ~(known["n"].astype(float) * rarer >= rules.minimum_persons)
    return conform(known[~thin], "published_drivers")


def published_driver_importance(
    importance: pd.DataFrame, published: pd.DataFrame, indicators: pd.DataFrame
) -> pd.DataFrame:
    """Table `published_driver_importance`: of `driver_importance`, the drivers that `published_drivers` has."""
    known = _of_published_models(importance, indicators, PublicationRules())
    return conform(_in(known, published, ["wave", "model", "unit_id", "driver"]), "published_driver_importance")


def published_driver_models(models: pd.DataFrame, published: pd.DataFrame, indicators: pd.DataFrame) -> pd.DataFrame:
    """Table `published_driver_models`: of `driver_models`, the models that `published_drivers` has."""
    known = _of_published_models(models, indicators, PublicationRules())
    return conform(_in(known, published, ["wave", "model", "unit_id"]), "published_driver_models")


def weak_districts(rankings: pd.DataFrame) -> pd.DataFrame:
    """The rows of `district_rankings` of districts that are low or watch in their province, to which gaps are told."""
    return rankings[(rankings["scope"] == "province") & rankings["band"].isin(["low", "watch"])]


def published_diagnosis(
    diagnosis: pd.DataFrame, drivers: pd.DataFrame, published: pd.DataFrame, rankings: pd.DataFrame
) -> pd.DataFrame:
    """Table `published_diagnosis`: of `district_diagnosis`, the districts that are low or watch in their province.

    A district is left out where its direct estimate of the outcome is suppressed or its model has too few respondents
    there: the share among the model's respondents is nearly that estimate. So are models, and drivers, that are not in
    `published_drivers`.
    """
    rules = PublicationRules()
    simulated = drivers[["wave", "model", "unit_id", "simulated"]].drop_duplicates()
    rows = diagnosis.merge(simulated, on=["wave", "model", "unit_id"], validate="m:1")
    key = ["wave", "outcome", "district_id"]
    weak = weak_districts(rankings).rename(columns={"indicator": "outcome"})
    direct = published[(published["method"] == "direct") & (published["level"] == "district")]
    direct = direct[(direct["domain"] == "all") & (direct["quality"] != "suppress")]
    direct = direct.rename(columns={"indicator": "outcome", "unit_id": "district_id"})
    rows = _in(_in(rows, weak, key), direct, key)
    rows = rows[(rows["n"] >= rules.minimum_n) & (rows["psus"] >= rules.minimum_psus)]
    known = ["wave", "model", "unit_id", "driver"]
    shown = drivers[known].drop_duplicates()
    whole = rows["driver"].isin(["composition", "rest", "gap"]).to_numpy()
    complete = rows[~whole].groupby(["wave", "model", "unit_id"])["driver"].nunique()
    listed = _in(rows[~whole], shown, known).groupby(["wave", "model", "unit_id"])["driver"].nunique()
    # Without one of its drivers a split would give that one away as what is missing from the gap.
    models = complete.index[complete.eq(listed.reindex(complete.index).fillna(0))].to_frame(index=False)
    return conform(_in(rows, models, ["wave", "model", "unit_id"]), "published_diagnosis")


def _of_published_models(rows: pd.DataFrame, indicators: pd.DataFrame, rules: PublicationRules) -> pd.DataFrame:
    """The rows of models whose outcome is not sensitive and that have enough respondents, PSUs and df."""
    facts = indicators[["wave", "indicator", "sensitive", "simulated"]]
    known = rows.merge(facts.rename(columns={"indicator": "outcome"}), on=["wave", "outcome"], validate="m:1")
    enough = (known["n"] >= rules.minimum_n) & (known["psus"] >= rules.minimum_psus) & (known["df"] >= rules.minimum_df)
    return known[enough & ~known["sensitive"].astype(bool)]


def _is_sensitive(rows: pd.DataFrame, indicators: pd.DataFrame) -> Flags:
    """Whether the driver of each row is a sensitive indicator."""
    sensitive = indicators.loc[indicators["sensitive"].astype(bool), ["wave", "indicator"]]
    return np.asarray(pd.MultiIndex.from_frame(rows[["wave", "driver"]]).isin(pd.MultiIndex.from_frame(sensitive)))


def _in(rows: pd.DataFrame, others: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """The rows whose `key` is among those of `others`."""
    return rows[pd.MultiIndex.from_frame(rows[key]).isin(pd.MultiIndex.from_frame(others[key]))]


def published_change_decomposition(
    decomposition: pd.DataFrame,
    published: pd.DataFrame,
    indicators: pd.DataFrame,
    rules: PublicationRules | None = None,
) -> pd.DataFrame:
    """Table `published_change_decomposition`: of `change_decomposition`, the models that may be published.

    The change of the outcome itself must be in `published` (`published_trends`), the outcome not be sensitive, and
    respondents, PSUs and df suffice in both waves. Of a model with a driver that is a sensitive indicator and stands
    for too few persons, the sums over drivers alone are published: the other drivers would give its parts away.
    """
    rules = rules or PublicationRules()
    found = decomposition[decomposition["estimate"].notna()]
    changes = published[(published["quality"] != "suppress") & (published[["level", "domain"]] == "all").all(axis=1)]
    sensitive = indicators.loc[indicators["sensitive"].astype(bool), ["wave", "indicator"]]
    enough = (
        (found[["n_before", "n_after"]].min(axis=1) >= rules.minimum_n)
        & (found["psus"] >= rules.minimum_psus)
        & (found["df"] >= rules.minimum_df)
    )
    shown = enough & _listed(found, changes, "outcome") & ~_sensitive_in_either(found, sensitive, "outcome")
    thin = _sensitive_in_either(found, sensitive, "driver") & (found["fewest"] < rules.minimum_persons).fillna(True)
    in_sums = thin.groupby([found["wave"], found["model"]]).transform("any") & (found["driver"] != "all")
    return conform(found[shown & ~in_sums], "published_change_decomposition")


def _listed(rows: pd.DataFrame, indicators: pd.DataFrame, name: str, wave: str = "wave") -> pd.Series:
    """Whether `indicators` (wave, indicator) lists what each row has in the columns `wave` and `name`."""
    known = pd.MultiIndex.from_frame(indicators[["wave", "indicator"]])
    return pd.Series(pd.MultiIndex.from_frame(rows[[wave, name]]).isin(known), index=rows.index)


def _sensitive_in_either(rows: pd.DataFrame, sensitive: pd.DataFrame, name: str) -> pd.Series:
    """Whether what a row has in column `name` is a sensitive indicator of its wave or of the predecessor."""
    return _listed(rows, sensitive, name) | _listed(rows, sensitive, name, "predecessor")


def published_gaps(gaps: pd.DataFrame, published: pd.DataFrame, indicators: pd.DataFrame) -> pd.DataFrame:
    """Table `published_gaps`: of `subgroup_gaps`, those of which both groups are published in `published_estimates`.

    q_value and verdict are made anew among the gaps that are published.
    """
    parts = []
    for group in (0, 1):
        domain = gaps["gap"].map({gap: pair[group] for gap, pair in GAPS.items()})
        parts.append(gaps[["wave", "indicator", "level", "unit_id"]].assign(domain=domain, row=gaps.index))
    frame = _with_quality(gaps, parts, published, indicators)
    shown = frame["quality"] != "suppress"
    numbers = ["estimate", "se", "low", "high", "p_value", "n_first", "n_second", "psus", "df"]
    frame[numbers] = frame[numbers].where(shown)
    judged = _rounded(gap_verdicts(frame), _LEVEL, _decimals(frame, published))
    return conform(judged.assign(verdict=judged["verdict"].where(shown)), "published_gaps")


def published_trends(
    trends: pd.DataFrame, published: pd.DataFrame, indicators: pd.DataFrame, members: pd.DataFrame
) -> pd.DataFrame:
    """Table `published_trends`: of `trends`, the changes of which every part is published in `published_estimates`.

    Parts are the estimates of both waves, of both groups for a gap, and of each district for a unit that is made of
    several (`members`: wave, predecessor, side, unit_id, district_id). q_value and verdict are made anew among the
    changes that are published; what does not compare has no numbers and keeps its verdict, with the why as note.
    """
    parts = []
    for side, wave in (("before", "predecessor"), ("after", "wave")):
        inside = members[members["side"] == side].assign(level="district").drop(columns="side")
        keys = trends[["wave", "predecessor", "indicator", "level", "unit_id", "domain"]].assign(row=trends.index)
        keys = keys.merge(inside, on=["wave", "predecessor", "level", "unit_id"], how="left")
        keys = keys.assign(unit_id=keys["district_id"].fillna(keys["unit_id"]), wave=keys[wave])
        gap = keys["domain"].str.startswith(GAP_PREFIX)
        parts.append(keys[~gap])
        for group in (0, 1):
            domains = {GAP_PREFIX + name: pair[group] for name, pair in GAPS.items()}
            parts.append(keys[gap].assign(domain=keys.loc[gap, "domain"].map(domains)))
    frame = _with_quality(trends.rename(columns={"reason": "note"}), parts, published, indicators)
    comparable = frame["verdict"] != "not_comparable"
    frame["quality"] = frame["quality"].where(comparable, "suppress")
    frame["reason"] = frame["reason"].where(comparable, "not_comparable")
    shown = frame["quality"] != "suppress"
    numbers = ["before", "after", "change", "se", "low", "high", "df", "p_value", "n_before", "n_after"]
    frame[numbers] = frame[numbers].where(shown)
    frame = frame.merge(_one_district(members), on=["wave", "level", "unit_id"], how="left", validate="m:1")
    frame["one_district"] = frame["one_district"].eq(True)
    levels = ["before", "after", "change", "se", "low", "high"]
    judged = _rounded(trend_verdicts(frame, comparable), levels, _decimals(frame, published))
    return conform(judged.assign(verdict=judged["verdict"].where(shown | ~comparable)), "published_trends")


def _one_district(members: pd.DataFrame) -> pd.DataFrame:
    """Column one_district by wave, level and unit_id: whether both maps have the unit as the one district of its id."""
    one = (members["unit_id"] == members["district_id"]).groupby([members["wave"], members["unit_id"]]).all()
    return one.rename("one_district").reset_index().assign(level="district")


def _with_quality(
    frame: pd.DataFrame, parts: list[pd.DataFrame], published: pd.DataFrame, indicators: pd.DataFrame
) -> pd.DataFrame:
    """The rows with what `published` says of their parts: the worst quality and its reasons; and the indicator's facts.

    Each of `parts` has the key of an estimate and `row`, an index label of `frame`. A part that is not in `published`
    is suppressed.
    """
    key = ["wave", "indicator", "level", "unit_id", "domain"]
    direct = published.loc[published["method"] == "direct", [*key, "quality", "reason"]]
    found = pd.concat([part[[*key, "row"]] for part in parts], ignore_index=True).drop_duplicates()
    found = found.merge(direct, on=key, how="left", validate="m:1")
    found["reason"] = found["reason"].where(found["quality"].notna(), "part_not_published")
    found["rank"] = found["quality"].fillna("suppress").map(QUALITIES.index)
    worst = found.groupby("row")["rank"].max().reindex(frame.index)
    decisive = found[(found["rank"] == found["row"].map(worst)) & found["reason"].notna()]
    decisive = decisive[["row", "reason"]].drop_duplicates()
    several = decisive["row"].duplicated(keep=False)
    codes = decisive[several].assign(reason=decisive["reason"].str.split(";")).explode("reason")
    joined = codes.drop_duplicates().groupby("row")["reason"].agg(";".join)
    reasons = pd.concat([decisive[~several].set_index("row")["reason"], joined]).reindex(frame.index)
    facts = indicators[["wave", "indicator", "higher_is_better", "kind"]]
    waves = [name for name in ("wave", "predecessor") if name in frame]
    known = frame[["wave", "indicator"]].merge(facts, on=["wave", "indicator"], how="left", validate="m:1")
    return frame.assign(
        quality=worst.map(dict(enumerate(QUALITIES))),
        reason=reasons,
        simulated=frame[waves].isin(set(indicators.loc[indicators["simulated"], "wave"])).any(axis=1),
        higher_is_better=known["higher_is_better"].to_numpy(),
        kind=known["kind"].to_numpy(),
    )
