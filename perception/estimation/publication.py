"""The one decision what may be published: rules of quality and of disclosure applied to direct estimates.

Everything that people see is made from what this module lets through; suppressed numbers are null, with a reason.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from perception.errors import InputError, Problem
from perception.estimation.gaps import GAPS, gap_verdicts
from perception.estimation.trends import GAP_PREFIX, trend_verdicts
from perception.schemas import LEVELS, QUALITIES, conform

REASONS = {
    "below_minimum_level": "not published for areas this small",
    "few_persons": "withheld to protect respondents",
    "few_responses": "too few respondents",
    "low_effective_sample": "too few respondents after allowing for the sample design",
    "few_psus": "respondents from a single sampling area",
    "no_degrees_of_freedom": "the sample gives no measure of uncertainty",
    "wide_interval": "too uncertain",
    "high_cv": "too uncertain",
    "small_sample": "small sample",
    "few_degrees_of_freedom": "few sampling areas",
    "rather_wide_interval": "rather uncertain",
    "rather_high_cv": "rather uncertain",
    "many_dont_know": "many did not know",
    "part_not_published": "one of the numbers compared is not published",
    "not_comparable": "the two waves do not compare",
}
"""What each reason code says to a reader."""

_KEPT_WHEN_SUPPRESSED = ["wave", "indicator", "level", "unit_id", "domain", "method", "simulated", "quality", "reason"]


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


def published_estimates(
    estimates: pd.DataFrame, indicators: pd.DataFrame, rules: PublicationRules | None = None
) -> pd.DataFrame:
    """Table `published_estimates` from `district_estimates` and `indicators` of any number of waves.

    n_eff is capped at n. Of a sensitive indicator a whole table (one level by one kind of domain) is withheld as soon
    as one of its cells has fewer persons on either side than allowed, so that nothing can be had by subtraction.
    """
    rules = rules or PublicationRules()
    frame = estimates.merge(
        indicators[["wave", "indicator", "kind", "sensitive", "minimum_level", "simulated"]],
        on=["wave", "indicator"],
        how="left",
        validate="m:1",
    )
    unknown = frame.loc[frame["kind"].isna(), ["wave", "indicator"]].drop_duplicates()
    if len(unknown):
        raise InputError(
            Problem(
                f"wave {row.wave}, indicator {row.indicator}",
                "has estimates, but `indicators` does not describe it",
                "Materialise the wave whole.",
            )
            for row in unknown.itertuples()
        )
    frame["n_eff"] = np.minimum(frame["n_eff"], frame["n"].astype(float))
    share, width = frame["kind"] == "share", frame["high"] - frame["low"]
    n, psus, df = (frame[name].astype(float) for name in ("n", "psus", "df"))

    disclosing = {
        "below_minimum_level": frame["level"].map(LEVELS.index) < frame["minimum_level"].map(LEVELS.index),
        "few_persons": _in_a_disclosing_table(frame, rules.minimum_persons),
    }
    unreliable = {
        "few_responses": n < rules.minimum_n,
        "low_effective_sample": ~(frame["n_eff"] >= rules.minimum_n_eff),
        "few_psus": psus < rules.minimum_psus,
        "no_degrees_of_freedom": (df < rules.minimum_df) | frame["se"].isna(),
        "wide_interval": share & ~(width < rules.maximum_width),
        "high_cv": ~share & ~(frame["cv"] <= rules.maximum_cv),
    }
    doubtful = {
        "small_sample": n < rules.caution_n,
        "few_degrees_of_freedom": df < rules.caution_df,
        "rather_wide_interval": share & (width >= rules.caution_width),
        "rather_high_cv": ~share & (frame["cv"] > rules.caution_cv),
        "many_dont_know": frame["dont_know_share"] > rules.caution_dont_know,
    }
    withheld, blocked, doubt = _first_reason(disclosing), _reasons(unreliable), _reasons(doubtful)
    # Of a cell withheld to protect respondents nothing else may be said, its sample size included.
    blocked = withheld.where(withheld != "", blocked)
    frame["method"] = "direct"
    frame["quality"] = np.where(blocked != "", "suppress", np.where(doubt != "", "caution", "publish"))
    reason = blocked.where(blocked != "", doubt)
    frame["reason"] = reason.where(reason != "")
    numbers = [column for column in frame.columns if column not in _KEPT_WHEN_SUPPRESSED]
    frame[numbers] = frame[numbers].mask(blocked != "")
    return conform(frame, "published_estimates")


def _in_a_disclosing_table(frame: pd.DataFrame, minimum_persons: int) -> pd.Series:
    """Rows of sensitive indicators whose table has a cell with too few persons answering 1 or answering 0."""
    other = frame["n"] - frame["n_positive"]
    thin = frame["sensitive"] & ((frame["n_positive"] < minimum_persons) | (other < minimum_persons)).fillna(True)
    dimensions = frame["domain"].str.replace(r"=[^,]*", "", regex=True)
    return thin.astype(bool).groupby([frame["wave"], frame["indicator"], frame["level"], dimensions]).transform("any")


def _reasons(rules: dict[str, pd.Series]) -> pd.Series:
    """The codes of the rules that hold in each row, joined by semicolons; empty where none does."""
    text = pd.Series("", index=next(iter(rules.values())).index, dtype="str")
    for code, holds in rules.items():
        added = text.where(text == "", text + ";") + code
        text = added.where(holds.astype(bool), text)
    return text


def _first_reason(rules: dict[str, pd.Series]) -> pd.Series:
    """The code of the first rule that holds in each row; empty where none does."""
    return _reasons(rules).str.split(";").str[0]


def published_drivers(
    drivers: pd.DataFrame, indicators: pd.DataFrame, rules: PublicationRules | None = None
) -> pd.DataFrame:
    """Table `published_drivers`: without models of sensitive outcomes or of too few respondents, PSUs or df."""
    rules = rules or PublicationRules()
    outcomes = indicators[["wave", "indicator", "sensitive", "simulated"]].rename(columns={"indicator": "outcome"})
    known = drivers.merge(outcomes, on=["wave", "outcome"], how="inner", validate="m:1")
    enough = (known["n"] >= rules.minimum_n) & (known["psus"] >= rules.minimum_psus) & (known["df"] >= rules.minimum_df)
    return conform(known[enough & ~known["sensitive"].astype(bool)], "published_drivers")


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
    judged = gap_verdicts(frame)
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
    judged = trend_verdicts(frame, comparable)
    return conform(judged.assign(verdict=judged["verdict"].where(shown | ~comparable)), "published_trends")


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
    codes = decisive.assign(reason=decisive["reason"].str.split(";")).explode("reason")[["row", "reason"]]
    reasons = codes.drop_duplicates().groupby("row")["reason"].agg(";".join).reindex(frame.index)
    facts = indicators[["wave", "indicator", "higher_is_better"]]
    waves = [name for name in ("wave", "predecessor") if name in frame]
    known = frame[["wave", "indicator"]].merge(facts, on=["wave", "indicator"], how="left", validate="m:1")
    return frame.assign(
        quality=worst.map(dict(enumerate(QUALITIES))),
        reason=reasons,
        simulated=frame[waves].isin(set(indicators.loc[indicators["simulated"], "wave"])).any(axis=1),
        higher_is_better=known["higher_is_better"].to_numpy(),
    )
