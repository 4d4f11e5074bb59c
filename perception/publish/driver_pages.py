"""What the pages of driver models say: figures, tables, checks in plain words, and the diagnosis of weak districts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from perception.estimation.publication import weak_districts
from perception.publish import figures, maps
from perception.publish.figures import Interval, number, percent_interval, plain, quoted, signed
from perception.publish.maps import Row, records

TABLES_OF_DRIVERS = (
    "published_drivers",
    "published_driver_importance",
    "published_driver_models",
    "published_diagnosis",
    "published_change_decomposition",
)
MANY_DONT_KNOW = 0.05
INFLATED, MUCH_INFLATED = 1.6, 2.2
"""Factors on a standard error from which other predictors blur an effect: variance inflation of about 2.5 and 5."""
CHANGE_PARTS = {
    "endowments": "Answers changed",
    "effects": "They count for more or less",
    "interaction": "Both at once",
}
CHANGE_ROWS = {
    "composition": "Who lives there: age, education and the like",
    "level": "What nothing in the model explains",
    "all": "Together",
}


@dataclass(frozen=True)
class EffectRow:
    """An effect in a table; `effect` is empty where there is none."""

    driver: str
    contrast: str
    effect: str
    interval: str
    p: str


@dataclass(frozen=True)
class ImportanceRow:
    """Importance and rating of a driver in a table; no rating where it is on no scale."""

    driver: str
    share: str
    interval: str
    rating: str
    rating_interval: str
    quadrant: str


@dataclass(frozen=True)
class GapRow:
    """A part of a district's gap in a table, with the means and the what-if of a driver on a scale."""

    part: str
    contribution: str
    interval: str
    mean: str
    mean_province: str
    what_if: str
    what_if_interval: str


@dataclass(frozen=True)
class District:
    """The diagnosis of one low or watched district."""

    district_id: str
    name: str
    figure: figures.BarFigure
    what_if: str
    rows: tuple[GapRow, ...]


@dataclass(frozen=True)
class Change:
    """Why the share changed since the wave before: a sentence, a row of cells by driver (label, cells), notes."""

    sentence: str
    parts: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ModelPage:
    """Everything that is said of a driver model of a wave; `key` is unique within the wave, `drawings` go by name.

    `left_out` are the names of districts that are low or watch too, of which nothing is published that explains it.
    """

    key: str
    title: str
    outcome: str
    indicator: str
    n: str
    drawings: Mapping[str, figures.Figure]
    effects: tuple[EffectRow, ...]
    controls: tuple[EffectRow, ...]
    importance: tuple[ImportanceRow, ...]
    checks: tuple[str, ...]
    change: Change | None
    districts: tuple[District, ...]
    left_out: tuple[str, ...]

    @property
    def page(self) -> str:
        """Name of its page in the wave's folder, without the ending; the districts' page adds `-districts`."""
        return f"drivers-{self.key}"


def page_key(row: Row) -> str:
    """What names a model's page: the model, and the province where each has its own."""
    return str(row["model"]) if row["level"] == "all" else f"{row['model']}-{row['unit_id']}"


def diagnosis_links(diagnosis: pd.DataFrame, indicator: str) -> dict[tuple[str, str], str]:
    """Where the diagnosis of a district is, from a page in any wave's folder: by (wave, district_id)."""
    rows = records(diagnosis[(diagnosis["outcome"] == indicator) & (diagnosis["driver"] == figures.GAP)])
    links = {}
    for row in reversed(rows):
        page = f"../{row['wave']}/drivers-{page_key(row)}-districts.html"
        links[row["wave"], row["district_id"]] = f"{page}#{row['district_id']}"
    return links


def model_pages(
    wave: Row,
    tables: Mapping[str, pd.DataFrame],
    labels: Mapping[str, str],
    places: pd.DataFrame,
    titles: Mapping[str, str],
) -> list[ModelPage]:
    """The driver models of a wave, in the order of `published_drivers`.

    `tables` has `TABLES_OF_DRIVERS`, district_rankings, and published_estimates as `maps.shown_estimates` gives them;
    `wave` is its row of published_waves, `labels` has the labels of its indicators, `places` district_id, name,
    province_id and province of its districts, `titles` the title of every wave.
    """
    needed = (*TABLES_OF_DRIVERS, "district_rankings", "published_estimates")
    own = {name: tables[name].loc[tables[name]["wave"] == wave["wave"]] for name in needed}
    return [
        _model_page(wave, records(group)[0], own, labels, places, titles)
        for _, group in own["published_drivers"].groupby(["model", "unit_id"], sort=False)
    ]


def _model_page(
    wave: Row,
    model: Row,
    tables: Mapping[str, pd.DataFrame],
    labels: Mapping[str, str],
    places: pd.DataFrame,
    titles: Mapping[str, str],
) -> ModelPage:
    of_model = {
        name: frame[(frame["model"] == model["model"]) & (frame.get("unit_id", model["unit_id"]) == model["unit_id"])]
        for name, frame in tables.items()
        if name in TABLES_OF_DRIVERS
    }
    effects, importance = of_model["published_drivers"], of_model["published_driver_importance"]
    facts = next(iter(records(of_model["published_driver_models"])), None)
    outcome = labels.get(model["outcome"], _words(model["outcome"]))
    provinces = dict(zip(places["province_id"], places["province"], strict=True))
    where = f", {provinces.get(model['unit_id'], _words(model['unit_id']))}" if model["level"] == "province" else ""
    about = figures.About(
        plain(outcome), plain(f"{wave['title']}{where}"), maps.source_words(wave), bool(wave["simulated"])
    )
    drawn = {
        "effects": figures.effects_figure(effects, about),
        "importance": figures.importance_figure(importance, about),
        "priorities": figures.quadrant_figure(importance, about),
    }
    sure = set(effects.loc[(effects["kind"] == "driver") & (effects["p_adjusted"] < figures.SIGNIFICANT), "driver"])
    names = dict(zip(places["district_id"], places["name"], strict=True))
    of_outcome = {
        name: tables[name][tables[name]["indicator"] == model["outcome"]]
        for name in ("published_estimates", "district_rankings")
    }
    mapped = {row["unit_id"]: row for row in records(of_outcome["published_estimates"]) if row["level"] == "district"}
    weak = weak_districts(of_outcome["district_rankings"])
    if model["level"] == "province":
        weak = weak[weak["scope_id"] == model["unit_id"]]
    told = of_model["published_diagnosis"]["district_id"]
    districts = [
        _district(key, rows, names, provinces, sure, about, mapped.get(key))
        for key, rows in of_model["published_diagnosis"].groupby("district_id", sort=False)
    ]
    return ModelPage(
        key=page_key(model),
        title=f"{facts['label'] if facts else outcome}{where}",
        outcome=outcome,
        indicator=str(model["outcome"]),
        n=f"{int(model['n']):,}",
        drawings={name: figure for name, figure in drawn.items() if figure is not None},
        effects=_effect_rows(effects, "driver"),
        controls=_effect_rows(effects, "control"),
        importance=_importance_rows(importance),
        checks=_checks(model, facts, effects),
        change=_change(of_model["published_change_decomposition"], about, titles),
        districts=tuple(sorted((each for each in districts if each), key=lambda district: district.name)),
        left_out=tuple(sorted(names.get(key, key) for key in set(weak["district_id"]) - set(told))),
    )


def _words(name: str) -> str:
    return name.replace("_", " ")


def _effect_rows(effects: pd.DataFrame, kind: str) -> tuple[EffectRow, ...]:
    """The effects of drivers or controls, those of one variable together, the variable with the largest first."""
    largest = effects.groupby("driver")["effect"].transform(lambda values: values.abs().max())
    ordered = effects.assign(largest=largest).sort_values("largest", ascending=False, kind="stable")
    rows = []
    for row in records(ordered[ordered["kind"] == kind]):
        effect = percent_interval(row, "effect", "low", "high")
        p = row["p_adjusted"]
        rows.append(
            EffectRow(
                driver=row["label"],
                contrast=figures.contrast(row),
                effect="" if pd.isna(row["effect"]) else signed(effect.at),
                interval=effect.range,
                p="" if pd.isna(p) else _p_value(p),
            )
        )
    return tuple(rows)


def _p_value(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _importance_rows(importance: pd.DataFrame) -> tuple[ImportanceRow, ...]:
    rows = []
    for row in records(importance.sort_values("share", ascending=False, kind="stable")):
        share = percent_interval(row, "share", "share_low", "share_high")
        rating = percent_interval(row, "performance", "performance_low", "performance_high")
        rated = not pd.isna(row["performance"])
        quadrant = figures.QUADRANTS[row["quadrant"]] if isinstance(row["quadrant"], str) else ""
        rows.append(
            ImportanceRow(
                driver=row["label"],
                share=f"{number(share.at)}%",
                interval=share.range,
                rating=number(rating.at) if rated else "",
                rating_interval=rating.range,
                quadrant=quadrant,
            )
        )
    return tuple(rows)


def _district(
    district_id: str,
    rows: pd.DataFrame,
    names: Mapping[str, str],
    provinces: Mapping[str, str],
    sure: set[str],
    about: figures.About,
    mapped: Row | None,
) -> District | None:
    name = names.get(district_id, district_id)
    province = provinces.get(rows["province_id"].iloc[0], "its province")
    figure = figures.gap_figure(rows, name, province, about, mapped)
    if figure is None:
        return None
    table = tuple(_gap_row(row) for row in records(rows))
    return District(district_id, name, figure, figures.what_if_sentence(rows, sure, name, province), table)


def _gap_row(row: Row) -> GapRow:
    part = percent_interval(row, "contribution", "contribution_low", "contribution_high")
    expected = percent_interval(row, "what_if", "what_if_low", "what_if_high")
    means = ["" if pd.isna(row[name]) else f"{row[name]:.2f}" for name in ("mean", "mean_province")]
    return GapRow(
        part=row["label"],
        contribution=signed(part.at),
        interval=part.range,
        mean=means[0],
        mean_province=means[1],
        what_if="" if pd.isna(row["what_if"]) else f"{number(expected.at)}%",
        what_if_interval=expected.range,
    )


def _checks(model: Row, facts: Row | None, effects: pd.DataFrame) -> tuple[str, ...]:
    """What a reader needs to judge a model, in plain words."""
    said = [
        f"{int(model['n']):,} respondents in {int(model['psus']):,} sampling areas are in the model; "
        f"{int(model['n_dropped']):,} were left out: not asked one of the questions, or no answer."
    ]
    if isinstance(model["not_in_wave"], str):
        missing = f"This survey did not ask: {model['not_in_wave']}."
        said.append(f"{missing} What goes with them may show in the other rows.")
    unknown = effects.drop_duplicates("driver")
    unknown = unknown[unknown["dont_know_share"] > MANY_DONT_KNOW].sort_values("dont_know_share", ascending=False)
    if len(unknown):
        named = ", ".join(f"{quoted(row['label'])} ({100 * row['dont_know_share']:.1f}%)" for row in records(unknown))
        kept = set(effects.loc[effects["term"] == "dont_know", "driver"])
        left = "They are left out" + (", unless “don’t know” is shown as an answer of its own." if kept else ".")
        said.append(f"More than 5% answered “don’t know” to: {named}. {left}")
    else:
        said.append("No question of the model was answered with “don’t know” by more than 5%.")
    return (*said, *(_fit_checks(facts, effects) if facts else ()))


def _fit_checks(facts: Row, effects: pd.DataFrame) -> list[str]:
    said = []
    if facts["kind"] == "ordered_logit":
        p = facts["proportional_odds_p"]
        assumed = "The model assumes that a driver works alike along the whole scale of answers"
        if pd.isna(p):
            said.append(f"{assumed}; this could not be tested here.")
        elif p < figures.SIGNIFICANT:
            said.append(
                f"{assumed}. A test speaks against it (p {_compared(p)}): read effects as averages of the scale."
            )
        else:
            said.append(f"{assumed}. A test does not speak against it (p {_compared(p)}).")
    labels = dict(zip(effects["driver"], effects["label"], strict=True))
    factor, name = facts["largest_inflation"], labels.get(facts["most_inflated"])
    what = quoted(name) if name else "one of the predictors"
    verdict = "hardly blurs any effect"
    if factor >= MUCH_INFLATED:
        verdict = "makes these effects hard to tell apart"
    elif factor >= INFLATED:
        verdict = "blurs effects somewhat"
    said.append(
        f"That predictors go together {verdict}: it makes standard errors at most {factor:.1f} times as large ({what})."
    )
    if facts["slopes"] == "common":
        said.append("Effects are taken as the same in all districts: letting them differ predicts no better.")
    else:
        said.append("Effects differ between districts: letting them differ predicts better. The figures show averages.")
    return said


def _compared(p: float) -> str:
    return _p_value(p) if p < 0.001 else f"= {_p_value(p)}"


def _change(rows: pd.DataFrame, about: figures.About, titles: Mapping[str, str]) -> Change | None:
    cells = {(row["part"], row["driver"]): row for row in records(rows)}
    whole = cells.get(("change", "all"))
    if whole is None or pd.isna(whole["estimate"]):
        return None
    before = titles.get(whole["predecessor"], "the wave before")
    change = _estimate(whole)
    if change.sign:
        said = f"Since {before} the share {quoted(about.outcome)} is {change.apart('higher', 'lower')}."
    else:
        said = (
            f"The survey cannot tell whether the share {quoted(about.outcome)} has changed since {before}: "
            f"{signed(change.at)} points ({change.words})."
        )
    answers = _estimate(cells[("endowments", "all")])
    if answers.sign:
        said += f" That answers to the drivers and who lives there changed goes with {answers.apart('more', 'less')}."
    else:
        said += (
            " Whether changed answers to the drivers, or who lives there, had a part in it the survey cannot tell: "
            f"{signed(answers.at)} points ({answers.words})."
        )
    drivers = list(dict.fromkeys(driver for part, driver in cells if part != "change"))
    order = [each for each in drivers if each not in CHANGE_ROWS] + [each for each in CHANGE_ROWS if each in drivers]
    table = []
    for driver in order:
        own = [cells.get((part, driver)) for part in CHANGE_PARTS]
        label = CHANGE_ROWS.get(driver) or next(row["label"] for row in own if row)
        table.append((label, tuple(_cell(_estimate(row)) if row else "" for row in own)))
    if whole["simulated"] and not about.simulated:
        said = f"{maps.SIMULATED} in the wave before. {said}"
    notes = [f"{int(whole['n_before']):,} respondents before and {int(whole['n_after']):,} now. {figures.NOT_CAUSE}"]
    for column, words in (
        ("left_out", "Left out, because it does not compare"),
        ("recoded", "Recoded to compare, so read their parts with care"),
    ):
        if isinstance(whole[column], str):
            text = whole[column]
            for wave, title in titles.items():
                text = text.replace(f"no answers in {wave}", f"not asked in {title}")
            notes.append(f"{words}: {text}.")
    return Change(f"{said} {figures.NOT_CAUSE}", tuple(CHANGE_PARTS.values()), tuple(table), tuple(notes))


def _estimate(row: Row) -> Interval:
    return percent_interval(row, "estimate", "low", "high")


def _cell(part: Interval) -> str:
    return f"{signed(part.at)} ({part.range})" if part.known else signed(part.at)
