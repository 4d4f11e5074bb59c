"""The one decision what may be published: rules of quality and of disclosure applied to direct estimates.

Everything that people see is made from what this module lets through; suppressed numbers are null, with a reason.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from perception.errors import InputError, Problem
from perception.schemas import LEVELS, conform

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
