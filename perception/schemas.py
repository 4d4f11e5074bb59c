"""One contract per table: its grain, columns, types, units and meaning, and the checks generated from them.

Tables are described here and nowhere else; how they are made is each station's business.
"""

from __future__ import annotations

from dataclasses import dataclass
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
QUALITIES = ("publish", "caution", "suppress")

_WAVE = Column("wave", "string", "Wave id, the name of its folder")
_INDICATOR = Column("indicator", "string", "Indicator id of the wave's instrument")
_DISTRICT = Column("district_id", "string", "District slug, such as kp-swat, on the wave's vintage")
_STRATUM = Column("stratum", "string", "Sampling stratum as the wave declares it")
_PSU = Column("psu", "string", "Primary sampling unit, unique within the wave")
_CELL = (
    Column("sex", "string", "Sex of the respondent", nullable=True),
    Column("urban", "string", "Area of residence", nullable=True, allowed=("urban", "rural")),
    Column("age_group", "string", "Age band (SDG 16.6.2)", "years", nullable=True),
)


def _statistics(nullable: bool) -> tuple[Column, ...]:
    """The numbers of an estimate; a published one may be null because it was suppressed."""
    return (
        Column("estimate", "number", "Share (0..1) or mean", "proportion or the question's unit", nullable),
        Column("se", "number", "Design-based standard error", "as estimate", True, low=0),
        Column("low", "number", "Lower end of the 95 % interval", "as estimate", True),
        Column("high", "number", "Upper end of the 95 % interval", "as estimate", True),
        Column("n", "integer", "Respondents with a valid answer", "persons", nullable, low=0),
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


_ESTIMATE_KEY = (
    _WAVE,
    _INDICATOR,
    Column("level", "string", "Geographic level of the unit", allowed=LEVELS),
    Column("unit_id", "string", "District, division or province id, or `all`"),
    Column("domain", "string", "`all` or a subgroup such as sex=female or sex=female,urban=rural"),
)
_EFFECTS = (
    _WAVE,
    Column("model", "string", "Driver model id of the instrument"),
    Column("outcome", "string", "Indicator that the model explains"),
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
    Column("n", "integer", "Respondents in the model", "persons", low=0),
    Column("n_dropped", "integer", "Respondents left out for an answer that is not there", "persons", low=0),
    Column("psus", "integer", "PSUs in the model", "PSUs", low=0),
    Column("df", "integer", "Design degrees of freedom", "", low=0),
)
_SIMULATED = Column("simulated", "boolean", "Whether the data were simulated: no respondent ever gave these answers")
_WAVE_FACTS = (
    _WAVE,
    Column("round", "string", "Waves fielded and ranked together"),
    Column("title", "string", "Title of the wave"),
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
    Column("wave_version", "string", "SHA-256 over wave.yml, data files and instrument"),
)
_INDICATOR_FACTS = (
    _WAVE,
    _INDICATOR,
    _SIMULATED,
    Column("label", "string", "What the indicator says"),
    Column("kind", "string", "Share of a 0/1 quantity, or mean of a number", allowed=("share", "mean")),
    Column("unit", "string", "Unit of a mean", nullable=True),
    Column("higher_is_better", "boolean", "Whether a high value is good; rank 1 is always the worst"),
    Column("headline", "boolean", "Whether it has its own map and ranking page"),
    Column("sensitive", "boolean", "Whether small counts are withheld to protect respondents"),
    Column("minimum_level", "string", "Smallest level at which it may be published", allowed=LEVELS),
    Column("question", "string", "Wording of the question or questions"),
    Column("positive", "string", "Answers that count as 1", nullable=True),
    Column("population", "string", "Who was asked"),
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
                *_CELL,
                Column("age", "number", "Age in completed years", "years", True, 0, 130),
                Column("wealth", "string", "Wealth quintile", nullable=True),
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
            ),
        ),
        Table(
            "psu_totals",
            "Sufficient statistics of each indicator per domain cell and PSU; nearly microdata",
            ("wave", "indicator", "district_id", "sex", "urban", "age_group", "stratum", "psu"),
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
            ),
        ),
        Table(
            "district_estimates",
            "Direct design-based estimates by unit and domain, before any publication rule",
            tuple(column.name for column in _ESTIMATE_KEY),
            (
                *_ESTIMATE_KEY,
                *_statistics(nullable=False),
                Column("interval", "string", "How the interval was made", allowed=("logit", "korn_graubard", "t")),
                Column("n_positive", "integer", "Valid answers that count as 1", "persons", True, low=0),
            ),
        ),
        Table(
            "wave_quality",
            "What the checks of a wave found",
            ("wave", "check", "level", "unit"),
            (
                _WAVE,
                Column("check", "string", "Check"),
                Column("level", "string", "What the check looks at: wave, stratum, column"),
                Column("unit", "string", "The wave, stratum or column"),
                Column("value", "number", "What was measured", nullable=True),
                Column("threshold", "number", "Limit that the rule sets", nullable=True),
                Column("verdict", "string", "Outcome", allowed=("pass", "warn", "hold", "fail")),
                Column("message", "string", "The finding in words"),
            ),
        ),
        Table(
            "drivers",
            "Average marginal effects of each driver model; association, not cause",
            ("wave", "model", "driver", "term"),
            _EFFECTS,
        ),
        Table("waves", "What a wave is", ("wave",), _WAVE_FACTS),
        Table("indicators", "What each indicator of a wave means", ("wave", "indicator"), _INDICATOR_FACTS),
        Table(
            "published_estimates",
            "Estimates that passed the publication rules; numbers are null where they are suppressed, with the reason",
            (*(column.name for column in _ESTIMATE_KEY), "method"),
            (
                *_ESTIMATE_KEY,
                Column("method", "string", "How it was estimated", allowed=("direct",)),
                _SIMULATED,
                *_statistics(nullable=True),
                Column("quality", "string", "Whether it may be used", allowed=QUALITIES),
                Column("reason", "string", "Why it is to be used with caution or suppressed", nullable=True),
            ),
            public=True,
        ),
        Table(
            "district_rankings",
            "Districts in order of their published estimate, rank 1 the worst; no rank where it is suppressed",
            ("wave", "indicator", "scope", "district_id"),
            (
                _WAVE,
                _INDICATOR,
                _SIMULATED,
                Column(
                    "scope",
                    "string",
                    "Among whom: the district's province or all waves of the round",
                    allowed=("province", "round"),
                ),
                Column("scope_id", "string", "The province or round"),
                _DISTRICT,
                Column(
                    "rank",
                    "integer",
                    "Place by the estimate, 1 = worst; uncertain, see rank_low and rank_high",
                    "",
                    True,
                    low=1,
                ),
                Column(
                    "rank_low", "integer", "Best-supported worst place: lower end of the 90 % rank set", "", True, low=1
                ),
                Column("rank_high", "integer", "Upper end of the 90 % rank set", "", True, low=1),
                Column("districts", "integer", "Districts ranked in the scope", "districts", low=0),
                Column("band", "string", "Band, null where there is no rank", "", True, allowed=BANDS),
                Column("estimate", "number", "Published estimate", "proportion or the question's unit", True),
                Column("low", "number", "Lower end of the 95 % interval", "as estimate", True),
                Column("high", "number", "Upper end of the 95 % interval", "as estimate", True),
                Column("n", "integer", "Respondents with a valid answer", "persons", True, low=0),
                Column("quality", "string", "Whether the estimate may be used", allowed=QUALITIES),
                Column("reason", "string", "Why it is to be used with caution or suppressed", nullable=True),
            ),
            public=True,
        ),
        Table(
            "published_drivers",
            "Average marginal effects that passed the publication rules; association, not cause",
            ("wave", "model", "driver", "term"),
            (*_EFFECTS, _SIMULATED),
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
    typed = frame[[*contract.names, *extra]].copy()
    typed.attrs = {}
    for column in contract.columns:
        if column.type == "string" and typed[column.name].isna().all():
            typed[column.name] = pd.Series(pd.NA, index=typed.index, dtype="str")
        typed[column.name] = typed[column.name].astype(_DTYPES[column.type])
    return typed.reset_index(drop=True)


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

    try:
        table_schema(table).validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        cases = error.failure_cases
        return [
            f"{table}.{column}: {check} fails for {len(rows)} value(s), for example {rows['failure_case'].iloc[0]!r}"
            for (column, check), rows in cases.groupby(["column", "check"], dropna=False, sort=False)
        ]
    return []
