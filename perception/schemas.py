"""One contract per table: its grain, columns, types, units and meaning, and the checks generated from them.

Tables are described here and nowhere else; how they are made is each station's business.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

if TYPE_CHECKING:
    import pandera.pandas as pa

Type = Literal["string", "integer", "number", "boolean", "date"]

_DTYPES: dict[str, Any] = {
    "string": "str",
    "integer": "Int64",
    "number": "float64",
    "boolean": "bool",
    "date": "str",
}


@dataclass(frozen=True)
class Column:
    """A column: name, type, meaning, unit, whether it may be null, its range and its allowed values."""

    name: str
    type: Type
    meaning: str
    unit: str = ""
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    allowed: tuple[str, ...] = ()

    @property
    def values(self) -> str:
        """What the column may hold, in words: allowed values in backticks, the range with both ends in it, `empty`."""
        parts = [f"`{value}`" for value in self.allowed]
        if self.low is not None and self.high is not None:
            parts.append(f"{self.low:g} to {self.high:g}")
        elif self.low is not None:
            parts.append(f"{self.low:g} or more")
        elif self.high is not None:
            parts.append(f"{self.high:g} or less")
        return ", ".join([*parts, *(["empty"] if self.nullable else [])])


@dataclass(frozen=True)
class Table:
    """A table: name, what it holds, the columns that identify a row; public or not; open to more columns or not."""

    name: str
    meaning: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    public: bool = False
    open: bool = False

    @property
    def names(self) -> list[str]:
        """The column names in order."""
        return [column.name for column in self.columns]


LEVELS = ("district", "division", "province", "all")
BANDS = ("low", "watch", "not_distinguishable", "high")
PROPORTIONS = ("share", "index")
"""Kinds of indicator that lie in 0..1."""
QUALITIES = ("publish", "caution", "suppress")
METHODS = ("direct", "small_area")

_WAVE = Column("wave", "string", "Wave id, the name of its folder")
_INDICATOR = Column("indicator", "string", "Indicator id of the wave's instrument")
_DISTRICT = Column("district_id", "string", "District slug, such as kp-swat, on the wave's vintage")
_SCOPE = (
    Column(
        "scope",
        "string",
        "Among whom: the district's province or all waves of the round",
        allowed=("province", "round"),
    ),
    Column("scope_id", "string", "The province or round"),
)
_STRATUM = Column("stratum", "string", "Sampling stratum as the wave declares it")
_PSU = Column("psu", "string", "Primary sampling unit, unique within the wave")
_CELL = (
    Column("sex", "string", "Sex of the respondent", nullable=True),
    Column("urban", "string", "Area of residence", nullable=True, allowed=("urban", "rural")),
    Column("age_group", "string", "Age band (SDG 16.6.2)", "years", nullable=True),
    Column("wealth", "string", "Wealth quintile", nullable=True),
)


def _statistics(nullable: bool) -> tuple[Column, ...]:
    """The numbers of an estimate; a published one may be null because it was suppressed."""
    return (
        Column("estimate", "number", "Share (0..1), mean or quantile", "proportion or the question's unit", nullable),
        Column("se", "number", "Design-based standard error", "as estimate", True, low=0),
        Column("low", "number", "Lower end of the 95 % interval", "as estimate", True),
        Column("high", "number", "Upper end of the 95 % interval", "as estimate", True),
        Column(
            "n",
            "integer",
            "Respondents with a valid answer; of an index, like n_eff, psus and df, to the indicator that has fewest",
            "persons",
            nullable,
            low=0,
        ),
        Column("n_eff", "number", "Effective sample size, n / deff", "persons", True, low=0),
        Column("psus", "integer", "PSUs with a valid answer", "PSUs", nullable, low=0),
        Column("df", "integer", "Degrees of freedom: PSUs with cases less strata with cases", "", nullable, low=0),
        Column("deff", "number", "Design effect against sampling with replacement", "ratio", True, low=0),
        Column("kish", "number", "Kish's 1 + cv(weights)^2", "ratio", True, low=0),
        Column("cv", "number", "Coefficient of variation, se / estimate", "ratio", True, low=0),
        Column(
            "dont_know_share", "number", "Don't know among all who were asked, unweighted", "proportion", True, 0, 1
        ),
        Column("refused_share", "number", "Refused among all who were asked, unweighted", "proportion", True, 0, 1),
    )


_FINDINGS = (
    _WAVE,
    Column("check", "string", "Check, an id of the register of checks"),
    Column(
        "level",
        "string",
        "What the finding is about",
        allowed=("wave", "province", "district", "stratum", "psu", "enumerator", "column", "row", "pair"),
    ),
    Column("unit", "string", "Which one: the wave, stratum, column, enumerator"),
    Column("value", "number", "What was measured", nullable=True),
    Column("threshold", "number", "Limit that the rule sets", nullable=True),
    Column(
        "verdict",
        "string",
        "Outcome; fail blocks the wave, not_run means that the wave lacks what the check needs",
        allowed=("pass", "warn", "hold", "fail", "not_run"),
    ),
    Column("message", "string", "The finding in words"),
)
_ESTIMATE_KEY = (
    _WAVE,
    _INDICATOR,
    Column("level", "string", "Geographic level of the unit", allowed=LEVELS),
    Column("unit_id", "string", "District, division or province id, or `all`"),
    Column("domain", "string", "`all` or a subgroup such as sex=female or sex=female,urban=rural"),
)
_DRIVER_MODEL = (
    _WAVE,
    Column("model", "string", "Driver model id of the instrument"),
    Column("level", "string", "Whether it is of the whole wave or of a province", allowed=("all", "province")),
    Column("unit_id", "string", "Province id, or `all`"),
    Column("outcome", "string", "Indicator that the model explains"),
)
_MODEL_SIZE = (
    Column("n", "integer", "Respondents in the model", "persons", low=0),
    Column("psus", "integer", "PSUs in the model", "PSUs", low=0),
    Column("df", "integer", "Design degrees of freedom", "", low=0),
)
_EFFECTS = (
    *_DRIVER_MODEL,
    Column("driver", "string", "Question, background variable or indicator"),
    Column("label", "string", "What the driver says: the question's wording, or the indicator's label"),
    Column("kind", "string", "Driver of interest, or control held constant", allowed=("driver", "control")),
    Column("term", "string", "Category, or `per SD` for a scored variable"),
    Column("reference", "string", "Category that the effect is measured against", nullable=True),
    Column("effect", "number", "Average marginal effect on the outcome's share", "proportion", True, -1, 1),
    Column("se", "number", "Design-based standard error (delta method)", "proportion", True, low=0),
    Column("low", "number", "Lower end of the 95 % interval", "proportion", True),
    Column("high", "number", "Upper end of the 95 % interval", "proportion", True),
    Column("p", "number", "p-value of no association", "", True, 0, 1),
    Column("p_adjusted", "number", "p-value adjusted over the model's drivers (Benjamini-Hochberg)", "", True, 0, 1),
    Column("prevalence", "number", "Weighted share of the category, or weighted mean", "", True),
    Column("dont_know_share", "number", "Don't know among those with an outcome, unweighted", "proportion", True, 0, 1),
    Column("n_dropped", "integer", "Respondents left out for an answer that is not there", "persons", low=0),
    Column(
        "not_in_wave", "string", "Labels of predictors that the model declares and the wave did not ask", nullable=True
    ),
    *_MODEL_SIZE,
)
_IMPORTANCE = (
    *_DRIVER_MODEL,
    Column("driver", "string", "Question, background variable or indicator"),
    Column("label", "string", "What the driver says: the question's wording, or the indicator's label"),
    Column("importance", "number", "Variance that it explains beyond the controls (LMG)", "proportion", False, 0, 1),
    Column("se", "number", "Jackknife standard error", "proportion", low=0),
    Column("low", "number", "Lower end of the 95 % interval", "proportion", False, 0, 1),
    Column("high", "number", "Upper end of the 95 % interval", "proportion", False, 0, 1),
    Column("share", "number", "Its part of what all drivers explain together", "proportion", False, 0, 1),
    Column("share_low", "number", "Lower end of the 95 % interval", "proportion", False, 0, 1),
    Column("share_high", "number", "Upper end of the 95 % interval", "proportion", False, 0, 1),
    Column("johnson", "number", "Johnson's relative weight, a cross-check", "proportion", False, 0, 1),
    Column("performance", "number", "Mean place on its scale, 0 worst to 1 best; null without a scale", "", True, 0, 1),
    Column("performance_low", "number", "Lower end of the 95 % interval", "", True),
    Column("performance_high", "number", "Upper end of the 95 % interval", "", True),
    Column(
        "quadrant",
        "string",
        "Importance (share) and performance against their means over the drivers on a scale",
        nullable=True,
        allowed=("concentrate_here", "keep_up", "low_priority", "possible_overkill", "cannot_tell"),
    ),
    *_MODEL_SIZE,
)
_MODEL_FACTS = (
    *_DRIVER_MODEL,
    Column("label", "string", "What the model asks"),
    Column("kind", "string", "Kind of model", allowed=("logit", "ordered_logit")),
    Column("n_dropped", "integer", "Respondents left out for an answer that is not there", "persons", low=0),
    Column("pseudo_r2", "number", "McFadden's, from the weighted likelihood", "proportion", high=1),
    Column(
        "proportional_odds_p",
        "number",
        "p-value of effects that are the same along the scale (Brant); null for a logit or where it cannot be tested",
        "",
        True,
        0,
        1,
    ),
    Column("largest_inflation", "number", "Largest GVIF^(1/(2 columns)): what the others blow an error up by", low=0),
    Column("most_inflated", "string", "Predictor that has it"),
    Column(
        "slopes",
        "string",
        "Whether effects are taken as common to all districts, or differ, by what predicts left-out PSUs best",
        allowed=("common", "random_slopes", "shrunken_interaction"),
    ),
    Column("slopes_gain", "number", "Log score won over common effects, per respondent", low=0),
    *_MODEL_SIZE,
)
_DIAGNOSIS = (
    *_DRIVER_MODEL,
    _DISTRICT,
    Column("province_id", "string", "Province that the district is compared with"),
    Column("driver", "string", "Driver, `composition` (all controls), `rest` (not explained) or `gap` (their sum)"),
    Column("label", "string", "What the driver or part says"),
    Column("contribution", "number", "Part of the gap to the province; association, not cause", "proportion", False),
    Column("contribution_low", "number", "Lower end of the 95 % interval", "proportion"),
    Column("contribution_high", "number", "Upper end of the 95 % interval", "proportion"),
    Column("mean", "number", "Mean of the driver in the district; null for several categories", "steps", True),
    Column("mean_province", "number", "Mean of the driver in the province", "steps", True),
    Column("effect", "number", "Change of the share per step of the driver there", "proportion per step", True),
    Column("mean_best", "number", "Mean that the best quarter of districts reach, where it is better", "steps", True),
    Column("what_if", "number", "Share expected with that mean; association, not cause", "proportion", True, 0, 1),
    Column("what_if_low", "number", "Lower end of the 95 % interval", "proportion", True, 0, 1),
    Column("what_if_high", "number", "Upper end of the 95 % interval", "proportion", True, 0, 1),
    Column("share", "number", "Share of good outcomes among the model's respondents there", "proportion", False, 0, 1),
    Column("share_province", "number", "The same in the province", "proportion", False, 0, 1),
    Column("n", "integer", "Respondents of the district in the model", "persons", low=0),
    Column("psus", "integer", "PSUs of the district in the model", "PSUs", low=0),
)
_CHANGE_DECOMPOSITION = (
    _WAVE,
    Column("predecessor", "string", "Wave before, from which the change is counted"),
    Column("model", "string", "Driver model id of the instrument"),
    Column("outcome", "string", "Indicator whose share changed"),
    Column(
        "part",
        "string",
        "endowments: drivers' levels changed, at the effects before; effects: their effects changed, at the levels "
        "before; interaction: both at once; change: the three together, after less before",
        allowed=("endowments", "effects", "interaction", "change"),
    ),
    Column(
        "driver",
        "string",
        "Question, background variable or indicator; composition: all controls; level: change of the share at the "
        "average category and the worst answer of every driver and control, unexplained; all: their sum",
    ),
    Column("label", "string", "What the driver says: the question's wording, or the indicator's label"),
    Column("estimate", "number", "Contribution to the change of the outcome's share", "proportion", True),
    Column("se", "number", "Standard error: jackknife by PSU over both waves", "proportion", True, low=0),
    Column("low", "number", "Lower end of the 95 % interval", "proportion", True),
    Column("high", "number", "Upper end of the 95 % interval", "proportion", True),
    Column("p", "number", "p-value of no contribution", "", True, 0, 1),
    Column(
        "p_adjusted",
        "number",
        "p-value adjusted over the drivers of the part (Benjamini-Hochberg); null for composition, level and all",
        "",
        True,
        0,
        1,
    ),
    Column("df", "number", "Degrees of freedom of the interval, of both waves together", "", True, low=0),
    Column("n_before", "integer", "Respondents of the predecessor in the model", "persons", True, low=0),
    Column("n_after", "integer", "Respondents of this wave in the model", "persons", True, low=0),
    Column(
        "n_dropped_before",
        "integer",
        "Respondents of the predecessor left out for an answer that is not there or not in both waves",
        "persons",
        True,
        low=0,
    ),
    Column(
        "n_dropped_after",
        "integer",
        "Respondents of this wave left out for an answer that is not there or not in both waves",
        "persons",
        True,
        low=0,
    ),
    Column("psus", "integer", "PSUs in the model, of the wave that has fewer", "PSUs", True, low=0),
    Column(
        "left_out", "string", "Labels of predictors that do not compare, or of answers to them, with why", nullable=True
    ),
    Column("recoded", "string", "Labels of predictors that were recoded to compare, with why", nullable=True),
)
_SIMULATED = Column("simulated", "boolean", "Whether the data were simulated: no respondent ever gave these answers")
_MODEL_KEY = (
    _SIMULATED,
    Column("instrument", "string", "Questionnaire id"),
    Column("round", "string", "Waves fielded and ranked together"),
    _INDICATOR,
)
_WAVE_FACTS = (
    _WAVE,
    Column("round", "string", "Waves fielded and ranked together"),
    Column("predecessor", "string", "Wave it is compared with; null where it is the first", nullable=True),
    Column("title", "string", "Title of the wave"),
    Column("title_ur", "string", "The title in Urdu", nullable=True),
    Column("instrument", "string", "Questionnaire id"),
    Column("first_day", "date", "First day of fieldwork"),
    Column("last_day", "date", "Last day of fieldwork"),
    Column("producer", "string", "Who ran the survey"),
    Column("citation", "string", "How to cite the survey"),
    Column("licence", "string", "Terms under which the data may be used"),
    _SIMULATED,
    Column("vintage", "string", "District map that the wave uses"),
    Column("respondents", "integer", "Responses that count", "persons", low=1),
    Column("psus", "integer", "Sampled PSUs", "PSUs", low=1),
    Column("districts", "integer", "Districts with a response", "districts", low=1),
    Column(
        "raked_margins", "string", "Margins that weights were raked to, such as district_id*sex;age_group; or empty"
    ),
    Column("shared_psus", "boolean", "Whether PSUs of the predecessor were visited again under the same ids"),
    Column("wave_version", "string", "SHA-256 over wave.yml, data files and instrument"),
)
_INDICATOR_FACTS = (
    _WAVE,
    _INDICATOR,
    _SIMULATED,
    Column("label", "string", "What the indicator says"),
    Column("label_ur", "string", "The same in Urdu", nullable=True),
    Column(
        "kind",
        "string",
        "Share of a 0/1 quantity, mean or quantile (the median) of a number, or index: weighted mean of shares",
        allowed=("share", "mean", "quantile", "index"),
    ),
    Column("unit", "string", "Unit of a mean or quantile", nullable=True),
    Column("higher_is_better", "boolean", "Whether a high value is good; rank 1 is always the worst"),
    Column("headline", "boolean", "Whether it has its own map and ranking page"),
    Column("sensitive", "boolean", "Whether small counts are withheld to protect respondents"),
    Column("minimum_level", "string", "Smallest level at which it may be published", allowed=LEVELS),
    Column("question", "string", "Wording of the question or questions"),
    Column("positive", "string", "Answers that count as 1", nullable=True),
    Column(
        "made_from",
        "string",
        "Question or questions by id, with the codes of the answers that count: a=yes|no; b=yes; null for an index",
        nullable=True,
    ),
    Column(
        "universe",
        "string",
        "Question by id with the codes of the answers that let a respondent in: a=yes|no; null where all count",
        nullable=True,
    ),
    Column("population", "string", "Who was asked"),
    Column("target", "number", "Value that a district should reach", "as estimate", True),
    Column("weights", "string", "Indicators of an index and what each counts for: a=0.5;b=0.5", nullable=True),
    Column(
        "sdg_16_6_2",
        "string",
        "Service area and part in SDG indicator 16.6.2: an attribute such as healthcare/accessibility, their average "
        "(healthcare/average), or overall satisfaction (healthcare/overall); null where it is no part of it",
        nullable=True,
    ),
    Column("service", "string", "Service or subject that it is about, as the questionnaire groups them", nullable=True),
    Column("service_label", "string", "What the service is called", nullable=True),
    Column("service_label_ur", "string", "The same in Urdu", nullable=True),
    Column(
        "middle_answer",
        "boolean",
        "Whether the wave offered the middle answer of an ordinal question that it is made from",
    ),
)

SDG_SEXES = {"female": "FEMALE", "male": "MALE", "transgender": "TRANSGENDER"}
SDG_LOCATIONS = {"urban": "URBAN", "rural": "RURAL"}
SDG_AGES = {"<25": "<25Y", **{ages: ages for ages in ("25-34", "35-44", "45-54", "55-64", "65+")}}
SDG_QUANTILES = {"lowest": "Q1", "second": "Q2", "middle": "Q3", "fourth": "Q4", "highest": "Q5"}
"""Categories of domains as the UN's SDG database writes them; the code of transgender persons is this project's."""
SDG_COLUMNS = (
    Column("Goal", "integer", "Sustainable Development Goal"),
    Column("Target", "string", "Target of the goal"),
    Column("Indicator", "string", "Indicator of the target"),
    Column(
        "SeriesCode",
        "string",
        "Codes of the UN's database are SP_PSR_SATIS_ (average of five attributes) and SP_PSR_OSATIS_ (overall "
        "satisfaction), each with HLTH, PRM, SEC or GOV. NAT_PSR_, the same ending and the attribute is no UN code but "
        "this project's, for what is reported nationally only",
    ),
    Column("SeriesDescription", "string", "What the series measures, in this project's words"),
    Column(
        "GeoAreaCode",
        "string",
        "District or province id, division: and its id (some divisions are called like one of their districts), or "
        "wave: and the wave id for all that it covers. Never an M49 code: no wave covers the country (586)",
    ),
    Column("GeoAreaName", "string", "Name of the area on the wave's district map"),
    Column("TimePeriod", "integer", "Year in which fieldwork ended", "year"),
    Column("Value", "number", "Share of users, or average of shares, to one decimal", "percent", False, 0, 100),
    Column("Time_Detail", "string", "Year or years of fieldwork; people report on the 12 months before the interview"),
    Column("TimeCoverage", "string", "First and last day of fieldwork, as an ISO 8601 interval"),
    Column("UpperBound", "number", "Upper end of the 95 % interval, to one decimal", "percent", True, 0, 100),
    Column("LowerBound", "number", "Lower end of the 95 % interval, to one decimal", "percent", True, 0, 100),
    Column("BasePeriod", "string", "Always null: nothing is indexed to a year", nullable=True),
    Column("Source", "string", "Citation of the survey; begins with SIMULATED DATA where it is"),
    Column("GeoInfoUrl", "string", "Always null: district maps are in the site", nullable=True),
    Column(
        "FootNote",
        "string",
        "Simulated or not, valid answers, don't know and refused (left out of the denominator), why to use it with "
        "caution, and what differs from the indicator's standard",
    ),
    Column("Age", "string", "Age band, or ALLAGE", "years", allowed=("ALLAGE", *SDG_AGES.values())),
    Column("Disability status", "string", "Always _T (total): not asked", allowed=("_T",)),
    Column("Location", "string", "Area of residence, or ALLAREA", allowed=("ALLAREA", *SDG_LOCATIONS.values())),
    Column("Nature", "string", "C, country data: estimated from a survey of the country", allowed=("C",)),
    Column("Quantile", "string", "Wealth quintile, Q1 the lowest, or _T", allowed=("_T", *SDG_QUANTILES.values())),
    Column("Reporting Type", "string", "N, national reporting", allowed=("N",)),
    Column(
        "Sex",
        "string",
        "Sex of the respondent, or BOTHSEX for everybody; TRANSGENDER is no UN code but this project's",
        allowed=("BOTHSEX", *SDG_SEXES.values()),
    ),
    Column("Units", "string", "Unit of Value and its bounds", allowed=("PERCENT",)),
)
"""The columns of a data file of the UN's SDG database, spelled and ordered as there."""

_GAP_KEY = (
    _WAVE,
    _INDICATOR,
    Column("level", "string", "Geographic level of the unit", allowed=LEVELS),
    Column("unit_id", "string", "District, division or province id, or `all`"),
    Column(
        "gap",
        "string",
        "Which groups: sex is female less male, urban is rural less urban, wealth is lowest less highest quintile",
        allowed=("sex", "urban", "wealth"),
    ),
)


def _gap_statistics(nullable: bool) -> tuple[Column, ...]:
    """The numbers of a gap between two groups; a published one may be null because it was suppressed."""
    return (
        Column("estimate", "number", "First group less second", "proportion or the question's unit", nullable),
        Column("se", "number", "Design-based standard error; null where neither group varies", "as estimate", True, 0),
        Column("low", "number", "Lower end of the 95 % interval", "as estimate", True),
        Column("high", "number", "Upper end of the 95 % interval", "as estimate", True),
        Column("p_value", "number", "p-value of no gap", "", True, 0, 1),
        Column(
            "q_value", "number", "p-value adjusted over the units of the level (Benjamini-Hochberg)", "", True, 0, 1
        ),
        Column("n_first", "integer", "Valid answers in the first group", "persons", nullable, low=1),
        Column("n_second", "integer", "Valid answers in the second group", "persons", nullable, low=1),
        Column("psus", "integer", "PSUs with a valid answer in either group", "PSUs", nullable, low=0),
        Column("df", "integer", "Degrees of freedom: these PSUs less their strata", "", nullable, low=0),
        Column(
            "verdict",
            "string",
            "Whether the first group is lower or higher, by q_value below 0.05",
            nullable=nullable,
            allowed=("lower", "higher", "cannot_tell"),
        ),
    )


_TREND_KEY = (
    _WAVE,
    Column("predecessor", "string", "Wave it is compared with"),
    _INDICATOR,
    Column("level", "string", "Geographic level of the unit", allowed=LEVELS),
    Column("unit_id", "string", "Unit on the map that both waves share: district, division or province id, or `all`"),
    Column("domain", "string", "`all`, a subgroup such as sex=female, or a gap such as gap:sex (female less male)"),
    Column("vintage", "string", "District map that both waves share"),
)
_TREND_STATISTICS = (
    Column("before", "number", "Estimate in the predecessor", "proportion or the question's unit", True),
    Column("after", "number", "Estimate in this wave", "as before", True),
    Column("change", "number", "After less before", "as before", True),
    Column("se", "number", "Standard error of the change; null where no part of it varies", "as before", True, low=0),
    Column("low", "number", "Lower end of the 95 % interval of the change", "as before", True),
    Column("high", "number", "Upper end of the 95 % interval of the change", "as before", True),
    Column("df", "number", "Degrees of freedom of the interval", "", True, low=0),
    Column("p_value", "number", "p-value of no change", "", True, 0, 1),
    Column(
        "q_value",
        "number",
        "p-value adjusted over units and categories shown together (Benjamini-Hochberg)",
        "",
        True,
        0,
        1,
    ),
    Column("n_before", "integer", "Valid answers in the predecessor", "persons", True, low=0),
    Column("n_after", "integer", "Valid answers in this wave", "persons", True, low=0),
    Column(
        "verdict",
        "string",
        "By q_value below 0.05; a gap is better when it is narrower; null where the change is suppressed",
        nullable=True,
        allowed=("better", "worse", "cannot_tell", "not_comparable"),
    ),
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table(
            "raw_responses",
            "The wave's files joined: every row and column as the field software wrote them",
            ("source_row",),
            (Column("source_row", "integer", "Row number in the first data file, from 1", low=1),),
            open=True,
        ),
        Table(
            "responses",
            "One row per respondent that counts: design, place, background, then a column per harmonised question",
            ("wave", "respondent_id"),
            (
                _WAVE,
                Column("respondent_id", "string", "Respondent, unique within the wave"),
                _DISTRICT,
                _STRATUM,
                _PSU,
                Column("weight", "number", "Survey weight", low=0),
                Column("base_weight", "number", "Design weight that the wave's own weights start from", "", True, 0),
                Column("uncalibrated_weight", "number", "After non-response, before calibration", "", True, 0),
                *_CELL,
                Column("age", "number", "Age in completed years", "years", True, 0, 130),
                Column("education", "string", "Highest education", nullable=True),
            ),
            open=True,
        ),
        Table(
            "design_psus",
            "Every sampled PSU, also those without a response that counts",
            ("wave", "psu"),
            (
                _WAVE,
                _STRATUM,
                _PSU,
                _DISTRICT,
                Column("urban", "string", "Area of the PSU", nullable=True, allowed=("urban", "rural")),
                Column("population_psus", "integer", "PSUs of the stratum in the population", "PSUs", True, low=1),
                Column("variance_stratum", "string", "Stratum used for variances, after the single-PSU policy"),
                Column(
                    "single_psu",
                    "string",
                    "What was done about a single PSU",
                    "",
                    True,
                    allowed=("collapsed", "centred"),
                ),
                Column("responses", "integer", "Responses that count", "persons", low=0),
                Column("longitude", "number", "Displaced centre of the PSU's interviews", "degrees", True, -180, 180),
                Column("latitude", "number", "Displaced centre of the PSU's interviews", "degrees", True, -90, 90),
            ),
        ),
        Table(
            "psu_totals",
            "Sufficient statistics of each indicator per domain cell and PSU; nearly microdata",
            ("wave", "indicator", "district_id", "sex", "urban", "age_group", "wealth", "stratum", "psu"),
            (
                _WAVE,
                _INDICATOR,
                _DISTRICT,
                *_CELL,
                _STRATUM,
                _PSU,
                Column("n", "integer", "Valid answers", "persons", low=0),
                Column("n_positive", "integer", "Valid answers that count as 1", "persons", low=0),
                Column("n_dont_know", "integer", "Don't know", "persons", low=0),
                Column("n_refused", "integer", "Refused", "persons", low=0),
                Column("sum_w", "number", "Sum of weights of valid answers", low=0),
                Column("sum_w2", "number", "Sum of squared weights", low=0),
                Column("sum_wx", "number", "Weighted sum of the denominator x (1 for shares and means)"),
                Column("sum_wy", "number", "Weighted sum of the numerator y"),
                Column("sum_wx2", "number", "Weighted sum of x^2", low=0),
                Column("sum_wxy", "number", "Weighted sum of x y"),
                Column("sum_wy2", "number", "Weighted sum of y^2", low=0),
                Column("sum_dx", "number", "Sum of x with weights before calibration, null for a producer's", "", True),
                Column("sum_dy", "number", "Sum of y with weights before calibration, null for a producer's", "", True),
            ),
        ),
        Table(
            "calibration_totals",
            "Weights of all responses per domain cell and PSU, before and after raking; empty when they were not raked",
            ("wave", "district_id", "sex", "urban", "age_group", "wealth", "stratum", "psu"),
            (
                _WAVE,
                _DISTRICT,
                *_CELL,
                _STRATUM,
                _PSU,
                Column("sum_w", "number", "Sum of final weights", low=0),
                Column("sum_d", "number", "Sum of weights before calibration", low=0),
            ),
        ),
        Table(
            "replicate_totals",
            "Sums of each indicator per cell by replicate weight r (wx_r, wy_r); empty where the producer gave none",
            ("wave", "indicator", "district_id", "sex", "urban", "age_group", "wealth"),
            (_WAVE, _INDICATOR, _DISTRICT, *_CELL),
            open=True,
        ),
        Table(
            "replicate_factors",
            "What each replicate weight counts in a variance: the sum of factor x (its estimate - centre) squared",
            ("wave", "replicate"),
            (
                _WAVE,
                Column("replicate", "integer", "Number of the replicate", low=1),
                Column("factor", "number", "scale x rscale", low=0),
                Column("mse", "boolean", "Whether the centre is the estimate with the full weight, not the mean"),
            ),
        ),
        Table(
            "weights",
            "How unequal the weights are, at each step of building them",
            ("wave", "step"),
            (
                _WAVE,
                Column(
                    "step",
                    "string",
                    "Step of the weights",
                    allowed=("base", "nonresponse", "calibrated", "final"),
                ),
                Column("n", "integer", "Responses", "persons", low=1),
                Column("sum", "number", "Sum of weights", low=0),
                Column("smallest", "number", "Smallest weight", low=0),
                Column("median", "number", "Median weight", low=0),
                Column("largest", "number", "Largest weight", low=0),
                Column("cv", "number", "Coefficient of variation of the weights", "ratio", low=0),
                Column("kish", "number", "Kish's 1 + cv^2: what unequal weights cost in variance", "ratio", low=1),
                Column("max_over_median", "number", "Largest weight over the median", "ratio", low=1),
            ),
        ),
        Table(
            "district_estimates",
            "Direct design-based estimates by unit and domain, before any publication rule",
            tuple(column.name for column in _ESTIMATE_KEY),
            (
                *_ESTIMATE_KEY,
                *_statistics(nullable=False),
                Column(
                    "interval",
                    "string",
                    "How the interval was made",
                    allowed=("logit", "korn_graubard", "t", "woodruff"),
                ),
                Column("n_positive", "integer", "Valid answers that count as 1", "persons", True, low=0),
                Column("weight_sum", "number", "Sum of the weights of valid answers", low=0),
            ),
        ),
        Table(
            "small_area_estimates",
            "Model-based estimates of every district, sampled or not, before any publication rule",
            ("wave", "indicator", "district_id"),
            (
                _WAVE,
                _INDICATOR,
                _SIMULATED,
                _DISTRICT,
                Column("direct", "number", "Direct estimate, null without a sample", "as estimate", True),
                Column("n", "integer", "Respondents with a valid answer", "persons", low=0),
                Column("deff", "number", "Smoothed design effect", "ratio", True, low=0),
                Column("estimate", "number", "Posterior mean after benchmarking", "proportion or the question's unit"),
                Column("se", "number", "Posterior standard deviation", "as estimate", low=0),
                Column("low", "number", "Lower end of the 95 % interval", "as estimate"),
                Column("high", "number", "Upper end of the 95 % interval", "as estimate"),
                Column("shrinkage", "number", "Weight of the model; 1 without a sample", "proportion", False, 0, 1),
                Column("synthetic", "number", "What covariates alone predict", "as estimate"),
                Column("residual", "number", "Standardised residual from the synthetic part", "", True),
            ),
        ),
        Table(
            "small_area_models",
            "The area model of each indicator and round, with its diagnostics",
            ("simulated", "instrument", "round", "indicator"),
            (
                *_MODEL_KEY,
                Column("scale", "string", "Scale of the model", allowed=("arcsine_root", "natural")),
                Column("districts", "integer", "Districts estimated", "districts", low=1),
                Column("sampled", "integer", "Districts with a sample", "districts", low=1),
                Column("covariates", "string", "Covariates used; empty for none"),
                Column(
                    "variance", "number", "Posterior mean of the variance between districts", "scale squared", low=0
                ),
                Column("variance_low", "number", "Lower end of its 95 % interval", "scale squared", low=0),
                Column("variance_high", "number", "Upper end of its 95 % interval", "scale squared", low=0),
                Column(
                    "explained", "number", "Share of the variance between districts that covariates explain", "", True
                ),
                Column("rho", "number", "Intraclass correlation within PSUs; null for an index", "", True, 0, 1),
                Column("shrinkage", "number", "Mean weight of the model in sampled districts", "", False, 0, 1),
                Column("largest_residual", "number", "Largest standardised residual in size", low=0),
                Column("normality_p", "number", "Shapiro-Wilk p of the standardised residuals", "", False, 0, 1),
                Column("left_out_rmse", "number", "Error of predicting each district from the others", "scale", low=0),
            ),
        ),
        Table(
            "small_area_coefficients",
            "The terms of each area model, on its scale; covariates are standardised",
            ("simulated", "instrument", "round", "indicator", "term"),
            (
                *_MODEL_KEY,
                Column("term", "string", "Intercept or covariate"),
                Column("estimate", "number", "Posterior mean", "scale per standard deviation"),
                Column("low", "number", "Lower end of the 95 % interval", "as estimate"),
                Column("high", "number", "Upper end of the 95 % interval", "as estimate"),
            ),
        ),
        Table(
            "subgroup_gaps",
            "Gaps between two groups of a unit's people, before any publication rule",
            tuple(column.name for column in _GAP_KEY),
            (*_GAP_KEY, *_gap_statistics(nullable=False)),
        ),
        Table(
            "wave_codebook",
            "What the wave's files and form say of each harmonised variable, code by code",
            ("wave", "variable", "code"),
            (
                _WAVE,
                Column("variable", "string", "Harmonised variable"),
                Column("source", "string", "Source column or columns", nullable=True),
                Column("question", "string", "Wording in the file or form", nullable=True),
                Column("place", "integer", "Place of the source column among those of the wave, from 1", "", True, 1),
                Column("asked_if", "string", "Who was asked, null for everybody", nullable=True),
                Column("code", "string", "Code as written in the file; empty for a number"),
                Column("label", "string", "Label of the code in the file or form", nullable=True),
                Column("meaning", "string", "Harmonised category or reason that it is mapped to", nullable=True),
            ),
        ),
        Table(
            "codebook_changes",
            "How each variable differs from the predecessor wave's, and the declared verdict on comparing them",
            ("wave", "variable", "aspect"),
            (
                _WAVE,
                Column("predecessor", "string", "Wave it is compared with"),
                Column("variable", "string", "Harmonised variable"),
                Column(
                    "aspect",
                    "string",
                    "What differs",
                    allowed=("new", "lost", "wording", "labels", "codes", "scale", "direction", "filter", "order"),
                ),
                Column("before", "string", "In the predecessor", nullable=True),
                Column("after", "string", "In this wave", nullable=True),
                Column(
                    "verdict",
                    "string",
                    "How far they compare, as wave.yml declares; null when it does not",
                    "",
                    True,
                    allowed=("same", "recoded", "break"),
                ),
                Column("reason", "string", "Why, as wave.yml says", nullable=True),
            ),
        ),
        Table(
            "comparability",
            "How far each indicator, question and background variable compares with the predecessor wave, as declared",
            ("wave", "kind", "name"),
            (
                _WAVE,
                Column("predecessor", "string", "Wave it is compared with"),
                Column("kind", "string", "What is compared", allowed=("indicator", "question", "background")),
                Column("name", "string", "Indicator id, question or background variable"),
                Column(
                    "verdict",
                    "string",
                    "The strictest of its questions, universe included",
                    allowed=("same", "recoded", "break"),
                ),
                Column("reason", "string", "Why, as wave.yml says; null where nothing differs", nullable=True),
            ),
        ),
        Table(
            "wave_remedies",
            "What the wave declares to do about findings, and how many rows it concerned",
            ("wave", "number"),
            (
                _WAVE,
                Column("number", "integer", "Place in `remedies` of wave.yml, from 1", low=1),
                Column("check", "string", "Check whose finding it answers"),
                Column("action", "string", "What is done"),
                Column("detail", "string", "To which columns, codes or units"),
                Column("rows", "integer", "Rows concerned", "rows", low=0),
                Column("reason", "string", "Why, as wave.yml says"),
            ),
        ),
        Table("wave_quality", "What the checks of a wave found", ("wave", "check", "level", "unit"), _FINDINGS),
        Table(
            "estimate_review",
            "What comparing the estimates with the predecessor's found: estimates to look at before they are used",
            ("wave", "check", "level", "unit"),
            _FINDINGS,
        ),
        Table(
            "fieldwork_summary",
            "Interviews by enumerator and by PSU, for field supervisors",
            ("wave", "by", "unit"),
            (
                _WAVE,
                Column("by", "string", "What a row is", allowed=("enumerator", "psu")),
                Column("unit", "string", "The enumerator or PSU"),
                Column("district_id", "string", "District of most of its interviews", nullable=True),
                Column("interviews", "integer", "Interviews that count", "interviews", low=1),
                Column("others", "integer", "PSUs of an enumerator, enumerators of a PSU", low=0),
                Column("minutes", "number", "Median length of an interview", "minutes", True, low=0),
                Column("dont_know", "number", "Don't know among the questions put", "proportion", False, 0, 1),
                Column("refused", "number", "Refused among the questions put", "proportion", False, 0, 1),
                Column(
                    "straight_lining", "integer", "Interviews that the check of this name lists", "interviews", low=0
                ),
                Column(
                    "near_duplicates", "integer", "Interviews that the check of this name lists", "interviews", low=0
                ),
                Column("odd_length", "integer", "Interviews of an odd length", "interviews", low=0),
                Column("flagged", "integer", "Interviews that any check lists", "interviews", low=0),
            ),
        ),
        Table(
            "wave_quality_rows",
            "The interviews that findings are about, for following up in the field",
            ("wave", "check", "source_row", "detail"),
            (
                _WAVE,
                Column("check", "string", "Check, an id of the register of checks"),
                Column("source_row", "integer", "Row number in the first data file, from 1", low=1),
                Column("respondent_id", "string", "Respondent", nullable=True),
                Column("enumerator", "string", "Who interviewed", nullable=True),
                Column("district_id", "string", "District", nullable=True),
                Column("psu", "string", "Primary sampling unit", nullable=True),
                Column("verdict", "string", "Outcome", allowed=("warn", "hold", "fail")),
                Column("detail", "string", "What is odd about it: column, value, the other interview"),
            ),
        ),
        Table(
            "drivers",
            "Average marginal effects of each driver model; association, not cause",
            ("wave", "model", "unit_id", "driver", "term"),
            _EFFECTS,
        ),
        Table(
            "driver_importance",
            "How much of the outcome's variance each driver accounts for, and how well it does",
            ("wave", "model", "unit_id", "driver"),
            _IMPORTANCE,
        ),
        Table(
            "driver_models",
            "The driver models of each wave, their fit and checks",
            ("wave", "model", "unit_id"),
            _MODEL_FACTS,
        ),
        Table(
            "district_diagnosis",
            "The gap of each district to its province split by driver, and what one better driver would go with",
            ("wave", "model", "district_id", "driver"),
            _DIAGNOSIS,
        ),
        Table("waves", "What a wave is", ("wave",), _WAVE_FACTS),
        Table("indicators", "What each indicator of a wave means", ("wave", "indicator"), _INDICATOR_FACTS),
        Table(
            "published_estimates",
            "Estimates that passed the publication rules; numbers are null where they are suppressed, with the reason",
            (*(column.name for column in _ESTIMATE_KEY), "method"),
            (
                *_ESTIMATE_KEY,
                Column("method", "string", "From the cell's own sample, or by a model", allowed=METHODS),
                _SIMULATED,
                *_statistics(nullable=True),
                Column("quality", "string", "Whether it may be used", allowed=QUALITIES),
                Column("reason", "string", "Why it is to be used with caution or suppressed", nullable=True),
            ),
            public=True,
        ),
        Table(
            "withheld",
            "How many published estimates are withheld and why; each cell counts once, under the first of its reasons",
            ("wave", "indicator", "method", "level", "domain_kind", "reason"),
            (
                _WAVE,
                _INDICATOR,
                Column("method", "string", "From the cell's own sample, or by a model", allowed=METHODS),
                Column("level", "string", "Geographic level of the units", allowed=LEVELS),
                Column("domain_kind", "string", "`all`, or what respondents are divided by, such as sex,urban"),
                _SIMULATED,
                Column(
                    "concern",
                    "string",
                    "Too uncertain to be of use, or to protect respondents",
                    allowed=("quality", "disclosure"),
                ),
                Column("reason", "string", "Code of the reason"),
                Column("words", "string", "The reason in words"),
                Column("withheld", "integer", "Cells withheld for this reason; areas by groups, not persons", low=1),
                Column("cells", "integer", "Cells of this wave, indicator, method, level and kind", low=1),
            ),
            public=True,
        ),
        Table(
            "district_rankings",
            "Districts in order of their small-area estimates, rank 1 the worst; no rank where these are suppressed",
            ("wave", "indicator", "scope", "district_id"),
            (
                _WAVE,
                _INDICATOR,
                _SIMULATED,
                *_SCOPE,
                _DISTRICT,
                Column("rank", "integer", "Place by expected rank, 1 = worst; see rank_low and rank_high", "", True, 1),
                Column("rank_expected", "number", "Posterior mean of the rank", "", True, 1),
                Column("rank_median", "number", "Posterior median of the rank", "", True, 1),
                Column("rank_low", "integer", "Lower end of the 90 % rank set", "", True, 1),
                Column("rank_high", "integer", "Upper end of the 90 % rank set", "", True, 1),
                Column("certain_low", "integer", "Lowest rank that the direct estimates leave open", "", True, 1),
                Column("certain_high", "integer", "Highest rank that the direct estimates leave open", "", True, 1),
                Column("p_lowest", "number", "Probability of being among the worst lowest_count", "", True, 0, 1),
                Column("p_highest", "number", "Probability of being among the best lowest_count", "", True, 0, 1),
                Column("p_below_target", "number", "Probability of being worse than the target", "", True, 0, 1),
                Column("lowest_count", "integer", "How many districts count as the worst and as the best", low=0),
                Column("districts", "integer", "Districts ranked in the scope", "districts", low=0),
                Column("band", "string", "Band, null where there is no rank", "", True, allowed=BANDS),
                Column("estimate", "number", "Small-area estimate", "proportion or the question's unit", True),
                Column("low", "number", "Lower end of the 95 % interval", "as estimate", True),
                Column("high", "number", "Upper end of the 95 % interval", "as estimate", True),
                Column("n", "integer", "Respondents with a valid answer", "persons", True, low=0),
                Column("quality", "string", "Whether the estimate may be used", allowed=QUALITIES),
                Column("reason", "string", "Why it is to be used with caution or suppressed", nullable=True),
            ),
            public=True,
        ),
        Table(
            "index_sensitivity",
            "How far each district's rank in an index depends on the index's weights; doubt from sampling is left out",
            ("wave", "indicator", "scope", "district_id"),
            (
                _WAVE,
                _INDICATOR,
                _SIMULATED,
                *_SCOPE,
                _DISTRICT,
                Column("rank_declared", "integer", "Rank of the weighted mean of the small-area estimates", low=1),
                Column("rank_low", "integer", "Lower end of the ranks under 90 % of the weightings", low=1),
                Column("rank_high", "integer", "Upper end of the ranks under 90 % of the weightings", low=1),
                Column("share_lowest", "number", "Share of weightings among whose worst it is", "", False, 0, 1),
                Column("decisive", "string", "Indicator without which the rank moves furthest"),
                Column("rank_without", "integer", "Rank without that indicator", low=1),
                Column("weightings", "integer", "Weightings drawn evenly from all there are", low=1),
                Column("districts", "integer", "Districts compared", "districts", low=1),
            ),
            public=True,
        ),
        Table(
            "published_drivers",
            "Average marginal effects that passed the publication rules; association, not cause",
            ("wave", "model", "unit_id", "driver", "term"),
            (*_EFFECTS, _SIMULATED),
            public=True,
        ),
        Table(
            "published_driver_importance",
            "Importance and performance of drivers, of models that passed the publication rules",
            ("wave", "model", "unit_id", "driver"),
            (*_IMPORTANCE, _SIMULATED),
            public=True,
        ),
        Table(
            "published_driver_models",
            "Driver models that passed the publication rules, their fit and checks",
            ("wave", "model", "unit_id"),
            (*_MODEL_FACTS, _SIMULATED),
            public=True,
        ),
        Table(
            "published_diagnosis",
            "The diagnosis of districts low or watch in their province whose direct estimate is published",
            ("wave", "model", "district_id", "driver"),
            (*_DIAGNOSIS, _SIMULATED),
            public=True,
        ),
        Table(
            "published_gaps",
            "Gaps between two groups of which both are published as estimates; else null, with the reason",
            tuple(column.name for column in _GAP_KEY),
            (
                *_GAP_KEY,
                _SIMULATED,
                *_gap_statistics(nullable=True),
                Column("quality", "string", "Whether it may be used", allowed=QUALITIES),
                Column("reason", "string", "Why it is to be used with caution or suppressed", nullable=True),
            ),
            public=True,
        ),
        Table(
            "trends",
            "Change of each estimate and gap since the predecessor wave, before any publication rule",
            tuple(column.name for column in _TREND_KEY if column.name not in ("predecessor", "vintage")),
            (
                *_TREND_KEY,
                *_TREND_STATISTICS,
                Column("reason", "string", "Why it does not compare, or what was recoded to compare", nullable=True),
            ),
        ),
        Table(
            "published_trends",
            "Change since the predecessor wave where both sides are published as estimates; else null, with the reason",
            tuple(column.name for column in _TREND_KEY if column.name not in ("predecessor", "vintage")),
            (
                *_TREND_KEY,
                _SIMULATED,
                Column(
                    "one_district",
                    "boolean",
                    "Whether the maps of both waves have it as the one district of this id, so that the change is also "
                    "that of the wave's own district; a union of districts or a larger unit is not",
                ),
                *_TREND_STATISTICS,
                Column("note", "string", "Why it does not compare, or what was recoded to compare", nullable=True),
                Column("quality", "string", "Whether it may be used", allowed=QUALITIES),
                Column("reason", "string", "Why it is to be used with caution or suppressed", nullable=True),
            ),
            public=True,
        ),
        Table(
            "sdg_16_6_2",
            "SDG indicator 16.6.2 by service area, in the columns of the UN's SDG database: direct estimates only. "
            "What is withheld has no row: published_estimates says why",
            ("wave", "SeriesCode", "GeoAreaCode", "Age", "Location", "Quantile", "Sex"),
            (
                _WAVE,
                Column("level", "string", "Geographic level of the area", allowed=LEVELS),
                *SDG_COLUMNS,
                Column(
                    "n",
                    "integer",
                    "Valid answers, the denominator; of an average, to the attribute that has fewest",
                    "persons",
                    low=0,
                ),
                _SIMULATED,
            ),
            public=True,
        ),
        Table(
            "change_decomposition",
            "Change of each driver model's outcome since the predecessor wave, split by driver; association, not cause",
            ("wave", "model", "part", "driver"),
            (
                *_CHANGE_DECOMPOSITION,
                Column(
                    "fewest",
                    "integer",
                    "Respondents who gave the driver's rarest answer, in either wave; null for a score",
                    "persons",
                    True,
                    low=0,
                ),
                Column("obstacle", "string", "Why there are no numbers; null where there are", nullable=True),
                _SIMULATED,
            ),
        ),
        Table(
            "published_change_decomposition",
            "Decompositions that passed the publication rules; association, not cause",
            ("wave", "model", "part", "driver"),
            (*_CHANGE_DECOMPOSITION, _SIMULATED),
            public=True,
        ),
        Table("published_waves", "The waves behind the published tables", ("wave",), _WAVE_FACTS, public=True),
        Table("published_indicators", "The indicators published", ("wave", "indicator"), _INDICATOR_FACTS, public=True),
    )
}


def conform(frame: pd.DataFrame, table: str) -> pd.DataFrame:
    """The frame with the table's columns first, in order and typed; KeyError when one is missing."""
    contract = TABLES[table]
    extra = [name for name in frame.columns if name not in contract.names] if contract.open else []
    typed = frame[[*contract.names, *extra]].copy(deep=False)
    typed.attrs = {}
    for column in contract.columns:
        if column.type == "string" and typed[column.name].isna().all():
            typed[column.name] = pd.Series(pd.NA, index=typed.index, dtype="str")
        if isinstance(typed[column.name].dtype, pd.CategoricalDtype):
            typed[column.name] = _words(typed[column.name])
        typed[column.name] = typed[column.name].astype(_DTYPES[column.type])
    return typed.reset_index(drop=True)


def joined(files: Iterable[Path], table: str) -> pd.DataFrame:
    """The parts of a table, one in each Parquet file, as one frame."""
    parts = [pd.read_parquet(file) for file in files]
    for part in parts:
        part.attrs = {}
    return conform(pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=TABLES[table].names), table)


def _words(column: pd.Series) -> pd.Series:
    """What a categorical says, fifteen times as fast as pandas' own `astype`, which goes through an object a row."""
    words = column.cat.categories.array.take(column.cat.codes.to_numpy(), allow_fill=True)
    return pd.Series(words, index=column.index)


def table_schema(table: str) -> pa.DataFrameSchema:
    """The pandera schema generated from the table's contract."""
    import pandera.pandas as pa

    contract = TABLES[table]
    columns = {}
    for column in contract.columns:
        checks = []
        if column.low is not None:
            checks.append(pa.Check.ge(column.low))
        if column.high is not None:
            checks.append(pa.Check.le(column.high))
        if column.allowed:
            checks.append(pa.Check.isin(column.allowed))
        columns[column.name] = pa.Column(
            _DTYPES[column.type], checks, nullable=column.nullable, description=column.meaning
        )
    return pa.DataFrameSchema(columns, strict=not contract.open, unique=list(contract.key), name=table)


def contract_breaches(frame: pd.DataFrame, table: str) -> list[str]:
    """Every way in which a frame breaks the table's contract, in words; empty when it keeps it."""
    import pandera.errors

    described = [column for column in frame.columns if column in TABLES[table].names]
    try:
        table_schema(table).validate(frame[described] if TABLES[table].open else frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        cases = error.failure_cases
        return [
            f"{table}.{column}: {check} fails for {len(rows)} value(s), for example {rows['failure_case'].iloc[0]!r}"
            for (column, check), rows in cases.groupby(["column", "check"], dropna=False, sort=False)
        ]
    return []
