"""Made-up published tables that a site is built from, and the site built of them, without drawing its PNG files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from perception import processes
from perception.geography import Geometry, district_geometry, load_gazetteer, vintage_units
from perception.project import Project
from perception.publish import data_page, drawing, images, maps, site, static_map, views
from perception.publish.project_site import PublishedSite
from perception.publish.views import Subject
from perception.schemas import TABLES, conform

REFERENCE = Path(__file__).resolve().parents[1] / "data" / "raw" / "reference"
SVG = "{http://www.w3.org/2000/svg}"
SUPPRESSED, CAREFUL, UNCOVERED = "kp-hangu", "kp-kurram", "kp-tank"
UNRELIABLE = "kp-swat"
"""Where the direct estimate of `heard` rests on too few respondents."""
BETTER, WORSE, INCOMPARABLE, EXPLAINED = "kp-abbottabad", "kp-bannu", "kp-buner", "kp-charsadda"
WIDER = "kp-haripur"
"""Whose change is of a larger district that was split."""
NASTY = 'Satisfied with <script>alert("x")</script> & care'
MADE_AT = "2026-01-01T00:00:00Z"
SPECIAL = (
    *(SUPPRESSED, CAREFUL, UNCOVERED, UNRELIABLE),
    *(BETTER, WORSE, INCOMPARABLE, EXPLAINED, WIDER),
)
"""Districts that tables of fewer than all must have."""
WAVES = {
    "kp-2018": ("Khyber Pakhtunkhwa 2018", "2018", None),
    "kp-2021": ("Khyber Pakhtunkhwa 2021", "2021", "kp-2018"),
    "punjab-2021": ("Punjab 2021", "2021", None),
}
PLAN = (
    ("kp-2018", "satisfied"),
    ("kp-2021", "satisfied"),
    ("kp-2021", "asked_bribe"),
    ("kp-2021", "heard"),
    ("punjab-2021", "satisfied"),
    ("punjab-2021", "minutes"),
)
LABELS = {"satisfied": NASTY, "asked_bribe": "Asked for a bribe", "heard": "Was heard", "minutes": "Waiting time"}
MINUTES, FIRST = 31.0, 0.20
"""Of the first district of each; each next one waits two minutes longer and has a share a point higher."""
CHANGES = {BETTER: (0.05, "better"), WORSE: (-0.05, "worse"), CAREFUL: (-0.04, "cannot_tell")}


DATA_FILES = dict.fromkeys(
    (data_page.ARCHIVE, data_page.DICTIONARY, *(data_page.codebook_file(wave) for wave in WAVES)), b""
)
"""Files beside the page about the data, which are empty here."""


def reference() -> tuple[dict[str, Geometry], dict[str, pd.DataFrame]]:
    """Geometry and districts of vintage 2018 as the repository carries them."""
    gazetteer = load_gazetteer(REFERENCE)
    return {"2018": district_geometry(gazetteer, "2018", None)}, {"2018": vintage_units(gazetteer, "2018")}


def published_tables(units: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """KP in two rounds, simulated, and Punjab in the second, not simulated.

    In the later KP wave one district is suppressed, one careful, one uncovered; of its changes since the wave before
    one is for the better, one for the worse, one not comparable, one suppressed, and the survey cannot tell the rest.
    `heard` is no headline indicator and small-area estimates of it are published, one where the direct one is not.
    """
    estimates, ranks = [], []
    for wave, indicator in PLAN:
        some_estimates, some_ranks = _indicator(units, wave, indicator)
        estimates += some_estimates
        ranks += some_ranks
    rows = {
        "published_estimates": estimates,
        "district_rankings": ranks,
        "index_sensitivity": [],
        "published_gaps": _gaps(),
        "published_trends": _trends(estimates),
        "withheld": _withheld(),
        **driver_tables(),
        "published_waves": [_wave(wave) for wave in WAVES],
        "published_indicators": [_indicator_facts(wave, indicator) for wave, indicator in PLAN],
    }
    return {name: frame(name, content) for name, content in rows.items()}


def _indicator(units: pd.DataFrame, wave: str, indicator: str) -> tuple[list[dict], list[dict]]:
    """The rows of estimates and of rankings of an indicator."""
    province = wave.split("-")[0]
    ids = sorted(units.loc[units["province_id"] == province, "district_id"])
    if province == "kp":
        ids.remove(UNCOVERED)
    minutes = indicator == "minutes"
    values = {key: MINUTES + 2 * place if minutes else FIRST + place / 100 for place, key in enumerate(ids)}
    values.pop(SUPPRESSED, None)
    worst_first = sorted(values, key=lambda key: values[key], reverse=indicator not in ("satisfied", "heard"))
    estimates, ranks = [], []
    for level, key in [*(("district", key) for key in ids), ("province", province), ("all", "all")]:
        row = {"wave": wave, "indicator": indicator, "level": level, "unit_id": key, "domain": "all"}
        row |= {"simulated": province == "kp"}
        value = values.get(key, None if level == "district" else 34.5 if minutes else 0.345)
        margin = 4.0 if minutes else 0.04
        known = {} if value is None else {"estimate": value, "low": value - margin, "high": value + margin, "n": 1234}
        quality = "suppress" if value is None else "caution" if key == CAREFUL else "publish"
        reason = {"suppress": "few_responses;wide_interval", "caution": "small_sample", "publish": None}[quality]
        modelled = indicator == "heard" and level == "district"
        said = row | known | {"method": "small_area" if modelled else "direct", "quality": quality, "reason": reason}
        estimates.append(said)
        if modelled:
            alone = said | {"method": "direct"}
            if key == UNRELIABLE:
                alone |= {"quality": "suppress", "reason": "few_responses"}
                alone |= dict.fromkeys(("estimate", "low", "high", "n"))
            estimates.append(alone)
        if level == "district":
            place = worst_first.index(key) + 1 if value is not None else None
            for scope, scope_id in (("province", province), ("round", WAVES[wave][1])):
                ranked = {"scope": scope, "scope_id": scope_id, "district_id": key, "districts": len(values)}
                ranks.append(said | ranked | ({} if place is None else _rank(place, len(values))))
    return estimates, ranks


def _rank(place: int, districts: int) -> dict[str, object]:
    """The rank of the district at a place: the two worst are low, the next four watched, the two best high."""
    band = (
        "low" if place <= 2 else "watch" if place <= 6 else "high" if place > districts - 2 else "not_distinguishable"
    )
    lowest, highest = {"low": (0.9, 0.0), "watch": (0.6, 0.0), "high": (0.0, 0.9)}.get(band, (0.1, 0.1))
    ends = {"rank_low": max(1, place - 3), "rank_high": min(place + 3, districts)}
    known = {"rank": place, "rank_expected": place + 0.1, "rank_median": place, "lowest_count": 5}
    return known | ends | {"p_lowest": lowest, "p_highest": highest, "band": band}


def _trends(estimates: list[dict]) -> list[dict[str, object]]:
    """Changes of satisfaction in KP by district, and of bribes, of which none compares."""
    rows = []
    for row in estimates:
        if row["wave"] != "kp-2021" or row["level"] != "district" or row["indicator"] == "heard":
            continue
        key = {name: row[name] for name in ("wave", "indicator", "level", "unit_id", "domain")}
        key |= {"predecessor": "kp-2018", "vintage": "2018", "simulated": True}
        key |= {"one_district": row["unit_id"] != WIDER}
        change, verdict = CHANGES.get(row["unit_id"], (0.01, "cannot_tell"))
        if row["indicator"] == "asked_bribe" or row["unit_id"] == INCOMPARABLE:
            said = {"quality": "suppress", "verdict": "not_comparable", "reason": "not_comparable"}
            rows.append(key | said | {"note": "2018 asked it <last>"})
        elif row["quality"] == "suppress":
            rows.append(key | {"quality": "suppress", "reason": "few_responses"})
        else:
            reach = 0.045 if verdict == "cannot_tell" else 0.03
            said = {"before": row["estimate"] - change, "after": row["estimate"], "change": change, "df": 20}
            said |= {"low": change - reach, "high": change + reach, "n_before": 987, "n_after": 1234}
            rows.append(key | said | {"se": reach / 2, "verdict": verdict, "quality": "publish"})
    return rows


def _gaps() -> list[dict[str, object]]:
    """In Swat women are less satisfied and nobody can tell of rural people; in Bannu the gap is suppressed."""
    base = {"wave": "kp-2021", "indicator": "satisfied", "level": "district", "simulated": True}
    answers = {"n_first": 611, "n_second": 623, "psus": 40, "df": 30, "quality": "publish"}
    told = {"estimate": -0.12, "low": -0.2, "high": -0.04, "verdict": "lower"}
    untold = {"estimate": 0.02, "low": -0.06, "high": 0.1, "verdict": "cannot_tell"}
    return [
        base | answers | told | {"unit_id": "kp-swat", "gap": "sex"},
        base | answers | untold | {"unit_id": "kp-swat", "gap": "urban"},
        base | {"unit_id": "kp-bannu", "gap": "sex", "quality": "suppress", "reason": "few_responses"},
    ]


def _withheld() -> list[dict[str, object]]:
    row = {"wave": "kp-2021", "indicator": "satisfied", "method": "direct", "level": "district", "domain_kind": "all"}
    row |= {"simulated": True, "concern": "quality", "reason": "few_responses", "words": "too few respondents"}
    return [row | {"withheld": 1, "cells": 31}, row | {"indicator": "heard", "withheld": 2, "cells": 31}]


def _wave(wave: str) -> dict[str, object]:
    title, year, predecessor = WAVES[wave]
    return {
        "wave": wave,
        "round": year,
        "predecessor": predecessor,
        "title": title,
        "instrument": "cps",
        "first_day": f"{year}-09-01",
        "last_day": f"{year}-11-20",
        "producer": "Producer & Co",
        "citation": f"Producer ({year}). Survey <one>",
        "licence": "CC BY 4.0",
        "simulated": wave.startswith("kp"),
        "vintage": "2018",
        "respondents": 5000,
        "psus": 400,
        "districts": 32,
        "raked_margins": "",
        "shared_psus": False,
        "wave_version": "0" * 64,
    }


def _indicator_facts(wave: str, indicator: str) -> dict[str, object]:
    health = indicator in ("satisfied", "asked_bribe")
    return {
        "wave": wave,
        "indicator": indicator,
        "simulated": wave.startswith("kp"),
        "label": LABELS[indicator],
        "kind": "mean" if indicator == "minutes" else "share",
        "unit": "minutes" if indicator == "minutes" else None,
        "higher_is_better": indicator in ("satisfied", "heard"),
        "headline": indicator != "heard",
        "sensitive": False,
        "minimum_level": "district",
        "question": "How was </script> it?",
        "positive": None,
        "population": "Adults who went there",
        "service": "health" if health else None,
        "service_label": "Health & <b>care</b>" if health else None,
        "middle_answer": False,
    }


def driver_tables() -> dict[str, list[dict[str, object]]]:
    """One driver model of the KP wave with two drivers, the diagnosis of Bannu and of Charsadda, and a change."""
    model = {"wave": "kp-2021", "model": "care", "level": "all", "unit_id": "all", "outcome": "satisfied"}
    model |= {"simulated": True, "n": 4300, "n_dropped": 12, "psus": 380, "df": 300}
    waiting = {"driver": "waiting_time", "label": "Waiting time at the last visit", "kind": "driver", "term": "per SD"}
    waiting |= {"effect": -0.052, "se": 0.01, "low": -0.072, "high": -0.032, "p": 0.0001, "p_adjusted": 0.0002}
    paid = {"driver": "paid", "label": NASTY, "kind": "driver", "term": "yes", "reference": "no"}
    paid |= {"effect": 0.011, "se": 0.01, "low": -0.009, "high": 0.031, "p": 0.3, "p_adjusted": 0.3}
    shares = [
        {"share": 0.7, "share_low": 0.6, "share_high": 0.8, "performance": 0.4, "quadrant": "cannot_tell"},
        {"share": 0.3, "share_low": 0.2, "share_high": 0.4, "performance": 0.6, "quadrant": "possible_overkill"},
    ]
    ends = {"importance": 0.1, "se": 0.01, "low": 0.08, "high": 0.12, "johnson": 0.1}
    facts = {"label": "What goes with care", "kind": "ordered_logit", "pseudo_r2": 0.1, "proportional_odds_p": 0.0004}
    facts |= {"largest_inflation": 1.1, "most_inflated": "paid", "slopes": "common", "slopes_gain": 0.0}
    parts = [(*waiting_part, 0.03) for waiting_part in (("waiting_time", -0.05), ("paid", 0.01), ("rest", -0.04))]
    gap = [
        {
            **model,
            "district_id": district,
            "province_id": "kp",
            "driver": driver,
            "label": {"waiting_time": waiting["label"], "paid": NASTY}.get(driver, f"The {driver}"),
            "contribution": value,
            "contribution_low": value - reach,
            "contribution_high": value + reach,
            "share": 0.3,
            "share_province": 0.4,
            "n": 90,
            "psus": 11,
            **({"mean": 1.5, "mean_province": 1.9} if driver == "waiting_time" else {}),
            **({"what_if": 0.35, "what_if_low": 0.27, "what_if_high": 0.43} if driver == "waiting_time" else {}),
        }
        for district in (WORSE, EXPLAINED)
        for driver, value, reach in (*parts, ("composition", -0.02, 0.03), ("gap", -0.1, 0.04))
    ]
    change = {"wave": "kp-2021", "predecessor": "kp-2018", "model": "care", "outcome": "satisfied", "simulated": True}
    change |= {"n_before": 3900, "n_after": 4200, "estimate": 0.06, "low": 0.02, "high": 0.1, "driver": "all"}
    change |= {"label": "all", "recoded": "Waiting time (the middle answer is gone)"}
    return {
        "published_drivers": [model | waiting | {"dont_know_share": 0.08}, model | paid | {"dont_know_share": 0.01}],
        "published_driver_importance": [
            model
            | ends
            | {"driver": driver["driver"], "label": driver["label"]}
            | share
            | {"performance_low": share["performance"] - 0.02, "performance_high": share["performance"] + 0.02}
            for driver, share in zip((waiting, paid), shares, strict=True)
        ],
        "published_driver_models": [model | facts],
        "published_diagnosis": gap,
        "published_change_decomposition": [
            change | {"part": "change"},
            *(change | {"part": part} for part in ("endowments", "effects", "interaction")),
            change | {"part": "endowments", "driver": "waiting_time", "label": waiting["label"], "estimate": -0.01},
        ],
    }


def frame(table: str, rows: list[dict[str, object]]) -> pd.DataFrame:
    """Rows as the published table that they are of."""
    return conform(pd.DataFrame(rows).reindex(columns=TABLES[table].names), table)


def subject_of(
    tables: dict[str, pd.DataFrame], units: pd.DataFrame, wave: str = "kp-2021", indicator: str = "satisfied"
) -> Subject:
    """An indicator of a wave with its rows; classes rest on all waves."""

    def own(table: str) -> list[maps.Row]:
        rows = tables[table]
        return maps.records(rows[(rows["wave"] == wave) & (rows["indicator"] == indicator)])

    estimates = maps.shown_estimates(tables["published_estimates"].query("domain == 'all'"))
    tables = tables | {"published_estimates": estimates}
    peers = estimates.loc[(estimates["indicator"] == indicator) & (estimates["level"] == "district"), "estimate"]
    facts = maps.records(tables["published_waves"][tables["published_waves"]["wave"] == wave])[0]
    (about,) = own("published_indicators")
    places = districts(units)
    everybody = own("published_estimates")
    return views.subject(facts, about, maps.scale(about, peers), everybody, own("district_rankings"), places)


def districts(units: pd.DataFrame) -> list[maps.Row]:
    """The districts of a vintage as rows, by province and name."""
    return maps.records(units.sort_values(["province", "name"]))


def changes_of(tables: dict[str, pd.DataFrame], indicator: str = "satisfied") -> dict[str, maps.Row]:
    """The published changes of an indicator in KP by district."""
    rows = tables["published_trends"]
    return {row["unit_id"]: row for row in maps.records(rows[rows["indicator"] == indicator])}


def ground_of(geometry: Geometry, units: pd.DataFrame, *provinces: str) -> tuple[maps.BaseMap, static_map.Canvas]:
    """The base map of provinces, in degrees and in pixels."""
    base = maps.base_map(geometry, units, provinces)
    return base, static_map.canvas(base, dict(zip(units["district_id"], units["name"], strict=True)))


def no_pngs(patch: pytest.MonkeyPatch) -> None:
    """Have no PNG file drawn, which takes longest of all."""
    patch.setattr(images, "_write_pngs", _write_nothing)
    patch.setattr(processes, "FEW", 1_000_000)  # other processes would not know of the patch


def _write_nothing(_: drawing.Drawing, place: Path) -> None:
    for ending in (".png", "@2x.png"):
        place.with_name(place.name + ending).write_bytes(b"")


def small_site(project: Project, *_: object) -> PublishedSite:
    """A site of one page, always the same: in place of `publish_site` where nobody looks at pages."""
    page = project.site / "index.html"
    page.parent.mkdir(exist_ok=True)
    page.write_text("<!doctype html><title>Surveys</title>", encoding="utf-8")
    return PublishedSite({"index": page}, [], [])


def built_site(folder: Path, tables: dict[str, pd.DataFrame] | None = None) -> Path:
    """The site of the made-up tables (or of others) in `folder`, its PNG files empty."""
    geometries, units = reference()
    with pytest.MonkeyPatch.context() as patch:
        no_pngs(patch)
        site.write_site(
            tables or published_tables(units["2018"]),
            geometries,
            units,
            folder,
            made_at=MADE_AT,
            data_files=lambda: DATA_FILES,
        )
    return folder


def texts(folder: Path) -> dict[str, str]:
    """Everything on the site that was written by this package, by its path."""
    wanted = [path for path in folder.rglob("*") if path.suffix in (".html", ".svg", ".json", ".csv")]
    wanted.append(folder / "assets" / "search.js")
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in wanted}
