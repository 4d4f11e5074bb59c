"""The site: every page, image and asset, built from published tables in a new folder that then replaces the old one.

What a map says is `maps`, how it is drawn `static_map` and `plotly_map`; figures of drivers are `figures`,
`static_figures` and `plotly_figures`, what stands around them `driver_pages`. This module puts them on pages.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from perception.errors import InputError, Problem
from perception.publish import driver_pages, figures, maps, plotly_figures, plotly_map, static_figures, static_map
from perception.publish.driver_pages import ModelPage
from perception.publish.figures import Figure
from perception.publish.maps import MapSpec, Row, records
from perception.publish.words import rank_range, rank_words

if TYPE_CHECKING:
    from jinja2 import Environment

    from perception.geography import Geometry

BANDS = {
    "low": ("Low", "among the worst-placed 15% (at most ten districts) with a probability of 80% or more"),
    "watch": ("Watch", "among the worst-placed 15% with a probability of 50% to 80%"),
    "not_distinguishable": ("Not distinguishable", "the survey cannot tell it from districts in the middle"),
    "high": ("High", "among the best-placed 15% with a probability of 80% or more"),
}
"""Each band of a ranking as a reader meets it, and what it means."""


@dataclass(frozen=True)
class Whisker:
    """A value and its interval on a strip that runs from 0 to 100."""

    at: float
    low: float
    high: float


@dataclass(frozen=True)
class RankRow:
    """A district in a ranking: its rank set, value and band in words; `why` when there is no number or it needs care.

    `province` is empty where the whole table is of one province, `by_weights` (its ranks under other weights) where the
    indicator is no index, `diagnosis` (where it is told what goes with its gap) where there is none.
    """

    name: str
    province: str
    rank: str = ""
    value: str = ""
    interval: str = ""
    n: str = ""
    band: str = ""
    whisker: Whisker | None = None
    why: str = ""
    by_weights: str = ""
    diagnosis: str = ""


@dataclass(frozen=True)
class Ranking:
    """A ranking table: among whom, the rows worst first with the unranked at the end, and the ends of the strip."""

    among: str
    rows: tuple[RankRow, ...]
    strip: tuple[str, str]


def write_site(
    tables: Mapping[str, pd.DataFrame],
    geometries: Mapping[str, Geometry],
    units: Mapping[str, pd.DataFrame],
    folder: Path,
    *,
    made_at: str,
) -> dict[str, Path]:
    """Build the site of all published waves in `folder`; a failure leaves the old site as it was.

    `tables` has published_estimates, district_rankings, index_sensitivity, published_waves, published_indicators and
    the tables of drivers (`driver_pages.TABLES_OF_DRIVERS`), any of them empty but that of waves; `geometries`
    and `units` the shapes and districts (`geography.vintage_units`) by vintage; `made_at` is written into
    the provenance files. Returns the pages by name: `index`, `<wave>/<indicator>`, `<wave>/<indicator>-ranking`,
    `<wave>/drivers`, `<wave>/drivers-<model>`, `<wave>/drivers-<model>-districts`. InputError
    lists vintages without geometry and districts that are not on their vintage.
    """
    _check(tables, geometries, units)
    tables = {**tables, "published_estimates": maps.shown_estimates(tables["published_estimates"])}
    fresh, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    if old.exists() and not folder.exists():
        os.replace(old, folder)  # an earlier run died between the two renames below
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        pages = _build(_Work(tables, geometries, units, fresh, made_at, page_environment()))
        if folder.exists():
            os.replace(folder, old)
        os.replace(fresh, folder)
    except BaseException:
        if old.exists():
            os.replace(old, folder)
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
    return {name: folder / page for name, page in pages.items()}


def rankings(
    spec: MapSpec, rows: pd.DataFrame, places: pd.DataFrame, diagnoses: Mapping[tuple[str, str], str]
) -> list[Ranking]:
    """The tables of a ranking page: one per province, then the round where that is another set of districts.

    `rows` are the district_rankings of the indicator for the wave and, in scope `round`, for the waves ranked with it,
    with weights_low and weights_high, the ranks under other weights (null where the indicator is no index);
    `places` has district_id, name, province and province_id of every district in them; `diagnoses` says where that of
    (wave, district_id) is.
    """
    named = zip(rows["wave"], rows["district_id"], strict=True)
    rows = rows.assign(diagnosis=[diagnoses.get(place, "") for place in named])
    rows = rows.merge(places, on="district_id", how="left", validate="m:1")
    own = _only(rows, scope="province", wave=spec.wave)
    tables = [_ranking(str(group["province"].iloc[0]), group, spec) for _, group in own.groupby("province", sort=True)]
    together = _only(rows, scope="round")
    if set(together["district_id"]) != set(own["district_id"]) or len(tables) > 1:
        tables.append(_ranking("All districts surveyed in this round", together, spec))
    return tables


def _ranking(among: str, rows: pd.DataFrame, spec: MapSpec) -> Ranking:
    """Worst first by the estimate, the suppressed at the end by name."""
    shown = [value for column in ("estimate", "low", "high") for value in rows[column].dropna()]
    start, end = (min(shown), max(shown)) if shown else (0.0, 1.0)
    step = 0.1 if spec.scale.kind == "share" else spec.scale.cuts[1] - spec.scale.cuts[0]
    start, end = (start // step) * step, -(-end // step) * step
    mixed = rows["province"].nunique() > 1
    ordered = rows.sort_values(["rank", "name"], na_position="last")
    return Ranking(
        among=among,
        rows=tuple(_rank_row(row, row["province"] if mixed else "", spec, start, end) for row in records(ordered)),
        strip=(spec.scale.cut(round(start, 9)), spec.scale.cut(round(end, 9))),
    )


def _rank_row(row: Row, province: str, spec: MapSpec, start: float, end: float) -> RankRow:
    why = (
        ""
        if row["quality"] == "publish"
        else maps.reason_words(row["reason"] if isinstance(row["reason"], str) else "")
    )
    if row["quality"] == "suppress" or pd.isna(row["rank"]):
        return RankRow(
            row["name"], province, why=f"Not {'published' if row['quality'] == 'suppress' else 'ranked'}: {why}"
        )
    return RankRow(
        name=row["name"],
        province=province,
        rank=rank_words(int(row["rank_low"]), int(row["rank_high"]), int(row["districts"])),
        value=spec.scale.value(row["estimate"]),
        interval=spec.scale.interval(row["low"], row["high"]),
        n=f"{int(row['n']):,}",
        band=row["band"],
        whisker=_whisker(row["estimate"], row["low"], row["high"], start, end),
        why=f"Use with caution: {why}" if why else "",
        diagnosis=row["diagnosis"],
        by_weights="" if pd.isna(row["weights_low"]) else rank_range(int(row["weights_low"]), int(row["weights_high"])),
    )


def _whisker(value: float, low: float, high: float, start: float, end: float) -> Whisker | None:
    if any(pd.isna(number) for number in (value, low, high)) or end <= start:
        return None
    at, left, right = (round(100 * (number - start) / (end - start), 1) for number in (value, low, high))
    return Whisker(at, left, right)


def _check(
    tables: Mapping[str, pd.DataFrame], geometries: Mapping[str, Geometry], units: Mapping[str, pd.DataFrame]
) -> None:
    problems = []
    placed = {
        "published_estimates": _only(tables["published_estimates"], level="district").rename(
            columns={"unit_id": "district_id"}
        ),
        "published_diagnosis": tables["published_diagnosis"],
    }
    for wave, vintage in zip(*(tables["published_waves"][name] for name in ("wave", "vintage")), strict=True):
        if vintage not in geometries or vintage not in units:
            remedy = f"Pass the geometry and the units of vintage {vintage}."
            problems.append(Problem(f"wave {wave}", f"no districts are known for its vintage {vintage}", remedy))
            continue
        for table, districts in placed.items():
            found = set(_only(districts, wave=wave)["district_id"])
            if strange := sorted(found - set(units[vintage]["district_id"])):
                what = f"{table} has districts that are not on vintage {vintage}: {', '.join(strange)}"
                problems.append(Problem(f"wave {wave}", what, "Correct the wave's vintage or its district names."))
    if problems:
        raise InputError(problems)


@dataclass(frozen=True)
class _Ground:
    """Where a wave is drawn, in degrees and in pixels, and a name for it that is unique on the site."""

    key: str
    base: maps.BaseMap
    canvas: static_map.Canvas


@dataclass(frozen=True)
class _Work:
    """What building needs everywhere: the sources, the folder, the templates, and what is made once and used again."""

    tables: Mapping[str, pd.DataFrame]
    geometries: Mapping[str, Geometry]
    units: Mapping[str, pd.DataFrame]
    root: Path
    made_at: str
    templates: Environment
    grounds: dict[str, _Ground] = field(default_factory=dict)
    pages: dict[str, Path] = field(default_factory=dict)

    def write_page(self, name: str, template: str, content: Mapping[str, Any]) -> None:
        """Render a page and remember it under its name."""
        page = Path(f"{name}.html")
        text = self.templates.get_template(f"{template}.html.j2").render(content)
        (self.root / page).write_text(text, encoding="utf-8")
        self.pages[name] = page


def _build(work: _Work) -> dict[str, Path]:
    """Write everything; the pages by name, relative to the site."""
    waves = work.tables["published_waves"]
    _write_assets(work, waves["vintage"].unique().tolist())
    newest_first = waves.sort_values(["last_day", "wave"], ascending=[False, True])
    sections = [_wave_section(work, wave) for wave in records(newest_first)]
    overview = {"root": "", "sections": sections, "grounds": list(work.grounds.values())}
    work.write_page("index", "index", overview | {"simulated": bool(waves["simulated"].all())})
    return work.pages


def _wave_section(work: _Work, wave: Row) -> dict[str, Any]:
    """Write the pages of a wave; what the index shows of it."""
    name, places = wave["wave"], work.units[wave["vintage"]]
    (work.root / name).mkdir()
    indicators = _only(work.tables["published_indicators"], wave=name)
    labels = dict(zip(indicators["indicator"], indicators["label"], strict=True))
    waves = work.tables["published_waves"]
    titles = dict(zip(waves["wave"], waves["title"], strict=True))
    models = driver_pages.model_pages(wave, work.tables, labels, places, titles)
    about = {"wave": wave, "dates": maps.dates(wave), "simulated": bool(wave["simulated"])}
    about |= {"models": models, "root": "../"}
    if models:
        work.write_page(f"{name}/drivers", "drivers", about)
    for model in models:
        _driver_pages(work, model, about)
    estimates = _only(work.tables["published_estimates"], wave=name, domain="all")
    surveyed = places["district_id"].isin(_only(estimates, level="district")["unit_id"])
    cards = []
    for indicator in records(_only(indicators, headline=True)):
        rows = _only(estimates, indicator=indicator["indicator"])
        if (rows["level"] == "district").any():
            ground = _ground(work, wave["vintage"], sorted(places.loc[surveyed, "province_id"].unique()))
            spec = maps.map_spec(wave, indicator, rows, _peers(work, wave, indicator), places, ground.base)
            _indicator_pages(work, spec, ground, about | {"indicator": indicator})
            cards.append({"spec": spec, "ground": ground, "path": f"{name}/{spec.indicator}"})
    return about | {"cards": cards}


def _driver_pages(work: _Work, model: ModelPage, about: Mapping[str, Any]) -> None:
    """Write the images and the page of a driver model, and the page of its weak districts where there are any."""
    name = f"{about['wave']['wave']}/{model.page}"
    charts = {part: _chart(work, figure, f"{name}-{part}", about["wave"]) for part, figure in model.drawings.items()}
    work.write_page(name, "driver_model", {**about, "model": model, "charts": charts})
    if model.districts:
        charts = {
            district.district_id: _chart(work, district.figure, f"{name}-in-{district.district_id}", about["wave"])
            for district in model.districts
        }
        work.write_page(f"{name}-districts", "driver_districts", {**about, "model": model, "charts": charts})


def _chart(work: _Work, figure: Figure, name: str, wave: Row) -> dict[str, Any]:
    """Write the images of a figure; what a page needs to show it."""
    inputs = {
        "tables": list(driver_pages.TABLES_OF_DRIVERS),
        "wave": wave["wave"],
        "wave_version": wave["wave_version"],
        "figure": Path(name).name,
    }
    about = {"title": figure.title, "simulated": figure.simulated, "inputs": inputs, **_made(work, wave)}
    _write_images(work.root / name, static_figures.svg(figure), static_figures.pngs(figure), about)
    return {"figure": figure, "content": plotly_figures.content(figure), "file": Path(name).name}


def _indicator_pages(work: _Work, spec: MapSpec, ground: _Ground, about: Mapping[str, Any]) -> None:
    """Write the images, the map page and the ranking page of one indicator of a wave."""
    name = f"{spec.wave}/{spec.indicator}"
    images = static_map.svg(spec, ground.canvas), static_map.pngs(spec, ground.canvas)
    _write_images(work.root / name, *images, _provenance(work, about["wave"], spec, ground))
    figure = plotly_map.figure(spec, ground.base) | {"config": plotly_map.CONFIG}
    work.write_page(name, "map", {**about, "spec": spec, "ground": ground, "figure": figure})
    ranked, waves = _ranked_with(work, about["wave"], spec.indicator), work.tables["published_waves"]
    order = {
        "rankings": rankings(
            spec,
            ranked,
            _every_place(work),
            driver_pages.diagnosis_links(work.tables["published_diagnosis"], spec.indicator),
        ),
        "bands": BANDS,
        "simulated": bool(waves.loc[waves["wave"].isin(ranked["wave"]), "simulated"].any()),
    }
    work.write_page(f"{name}-ranking", "ranking", {**about, "spec": spec, **order})


def _only(frame: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    """The rows in which every named column has the wanted value."""
    for column, value in wanted.items():
        frame = frame.loc[frame[column] == value]
    return frame


def page_environment() -> Environment:
    """The templates of this package, escaping everything, a name that is not given being an error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("perception.publish"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.globals |= {
        "SIMULATED": maps.SIMULATED,
        "SIMULATED_NOTE": maps.SIMULATED_NOTE,
        "HATCH": (maps.HATCH_GROUND, maps.HATCH_LINE),
        "NO_DATA": maps.NO_DATA,
        "QUADRANTS": figures.QUADRANTS,
        "NOT_CAUSE": figures.NOT_CAUSE,
        "mark_fill": figures.mark_fill,
    }
    return environment


def _write_assets(work: _Work, vintages: list[str]) -> None:
    from plotly.offline import get_plotlyjs

    assets = work.root / "assets"
    assets.mkdir()
    shutil.copyfile(Path(__file__).with_name("templates") / "style.css", assets / "style.css")
    (assets / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")
    for vintage in vintages:
        script = plotly_map.geometry_script(work.geometries[vintage], work.units[vintage])
        (assets / f"geometry-{vintage}.js").write_text(script, encoding="utf-8")


def _ground(work: _Work, vintage: str, provinces: list[str]) -> _Ground:
    """The base map of a set of provinces; projected once for all waves drawn on it."""
    key = "-".join([vintage, *provinces])
    if key not in work.grounds:
        units = work.units[vintage]
        base = maps.base_map(work.geometries[vintage], units, provinces)
        names = dict(zip(units["district_id"], units["name"], strict=True))
        work.grounds[key] = _Ground(key, base, static_map.canvas(base, names))
    return work.grounds[key]


def _peers(work: _Work, wave: Row, indicator: Row) -> pd.Series:
    """Published district estimates of an indicator in all waves of the same instrument: what its classes rest on."""
    waves = _only(work.tables["published_waves"], instrument=wave["instrument"], simulated=wave["simulated"])
    of_districts = {"level": "district", "domain": "all"}
    rows = _only(work.tables["published_estimates"], indicator=indicator["indicator"], **of_districts)
    return rows.loc[rows["wave"].isin(waves["wave"]) & (rows["quality"] != "suppress"), "estimate"]


def _ranked_with(work: _Work, wave: Row, indicator: str) -> pd.DataFrame:
    """The ranking rows of an indicator in a wave and in the waves that its round ranks it with."""
    same = {name: wave[name] for name in ("instrument", "round", "simulated")}
    waves = _only(work.tables["published_waves"], **same)
    ranks = _only(work.tables["district_rankings"], indicator=indicator)
    key = ["wave", "indicator", "scope", "district_id"]
    weights = {"rank_low": "weights_low", "rank_high": "weights_high"}
    by_weights = work.tables["index_sensitivity"][[*key, *weights]].rename(columns=weights)
    return ranks.loc[ranks["wave"].isin(waves["wave"])].merge(by_weights, on=key, how="left", validate="1:1")


def _every_place(work: _Work) -> pd.DataFrame:
    known = pd.concat([frame[["district_id", "name", "province", "province_id"]] for frame in work.units.values()])
    return known.drop_duplicates("district_id")


def _write_images(path: Path, svg: str, pngs: tuple[bytes, bytes], provenance: Mapping[str, Any]) -> None:
    """`<name>.svg`, `.png`, `@2x.png`, and `.json` that says what they were made from."""
    single, double = pngs
    path.with_name(f"{path.name}.svg").write_text(svg, encoding="utf-8")
    path.with_name(f"{path.name}.png").write_bytes(single)
    path.with_name(f"{path.name}@2x.png").write_bytes(double)
    text = json.dumps(provenance, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    path.with_name(f"{path.name}.json").write_text(text, encoding="utf-8")


def _provenance(work: _Work, wave: Row, spec: MapSpec, ground: _Ground) -> dict[str, Any]:
    geometry = ground.base.geometry
    return {
        "title": spec.title,
        "simulated": spec.simulated,
        "inputs": {
            "table": "published_estimates",
            "wave": spec.wave,
            "wave_version": wave["wave_version"],
            "indicator": spec.indicator,
            "level": "district",
            "domain": "all",
        },
        "parameters": {"cuts": list(spec.scale.cuts), "provinces": list(ground.base.provinces)},
        "boundaries": {"source": geometry.source, "vintage": geometry.vintage, "preview": geometry.preview},
        **_made(work, wave),
    }


def _made(work: _Work, wave: Row) -> dict[str, Any]:
    """What every provenance file says: the source, and what made an image when."""
    try:
        version = importlib.metadata.version("perception")
    except importlib.metadata.PackageNotFoundError:
        version = "not installed"
    made = {"code_version": version, "made_at": work.made_at}
    return {"citation": wave["citation"], "licence": wave["licence"], **made}
