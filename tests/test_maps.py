"""Maps, rankings and the site from published tables, without a browser: classes, wording, escaping, the swap."""

from __future__ import annotations

import html
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from perception.errors import InputError
from perception.geography import DISCLAIMER, Geometry, district_geometry, load_gazetteer, vintage_units
from perception.publish import drawing, driver_pages, maps, plotly_map, site, static_figures, static_map
from perception.schemas import conform

REFERENCE = Path(__file__).resolve().parents[1] / "data" / "raw" / "reference"
SVG = "{http://www.w3.org/2000/svg}"
SUPPRESSED, CAREFUL, UNCOVERED = "kp-hangu", "kp-kurram", "kp-tank"
NASTY = 'Satisfied with <script>alert("x")</script> & care'
SHARES = {"satisfied": 0.20, "asked_bribe": 0.20}  # of the first district; each next one has a point more


def reference() -> tuple[dict[str, Geometry], dict[str, pd.DataFrame]]:
    """Geometry and districts of vintage 2018 as the repository carries them."""
    gazetteer = load_gazetteer(REFERENCE)
    return {"2018": district_geometry(gazetteer, "2018", None)}, {"2018": vintage_units(gazetteer, "2018")}


def published_tables(units: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Two waves of one round: KP simulated, Punjab not; shares from 20 % up, a point more per district; one mean."""
    plan = [
        ("kp-2021", "kp", "satisfied"),
        ("kp-2021", "kp", "asked_bribe"),
        ("punjab-2021", "punjab", "satisfied"),
        ("punjab-2021", "punjab", "minutes"),
    ]
    estimates, ranks = [], []
    for wave, province, indicator in plan:
        ids = sorted(units.loc[units["province_id"] == province, "district_id"])
        if province == "kp":
            ids.remove(UNCOVERED)
        values = {
            key: 31.0 + 2 * number if indicator == "minutes" else SHARES[indicator] + number / 100
            for number, key in enumerate(ids)
        }
        values.pop(SUPPRESSED, None)
        worst_first = sorted(values, key=lambda key: values[key], reverse=indicator != "satisfied")
        for level, key in [*(("district", key) for key in ids), ("province", province), ("all", "all")]:
            row = {"wave": wave, "indicator": indicator, "level": level, "unit_id": key, "domain": "all"}
            value = values.get(key, None if level == "district" else 0.345)
            margin = 4.0 if indicator == "minutes" else 0.04
            known = (
                {} if value is None else {"estimate": value, "low": value - margin, "high": value + margin, "n": 1234}
            )
            quality = "suppress" if value is None else "caution" if key == CAREFUL else "publish"
            reason = {"suppress": "few_responses;wide_interval", "caution": "small_sample", "publish": None}[quality]
            said = {**row, **known, "method": "direct", "quality": quality, "reason": reason}
            estimates.append(said)
            if level == "district":
                place = worst_first.index(key) + 1 if value is not None else None
                for scope, scope_id in (("province", province), ("round", "2021")):
                    ranked = {"scope": scope, "scope_id": scope_id, "district_id": key, "districts": len(values)}
                    if place is not None:
                        ranked |= {
                            "rank": place,
                            "rank_low": max(1, place - 3),
                            "rank_high": place + 3,
                            "band": "watch",
                        }
                    ranks.append(said | ranked)
    waves = [
        {
            "wave": wave,
            "round": "2021",
            "predecessor": None,
            "title": title,
            "instrument": "cps",
            "first_day": "2021-09-01",
            "last_day": "2021-11-20",
            "producer": "Producer & Co",
            "citation": "Producer (2021). Survey <one>",
            "licence": "CC BY 4.0",
            "simulated": wave == "kp-2021",
            "vintage": "2018",
            "respondents": 5000,
            "psus": 400,
            "districts": 32,
            "raked_margins": "",
            "shared_psus": False,
            "wave_version": "0" * 64,
        }
        for wave, title in (("kp-2021", "Khyber Pakhtunkhwa 2021"), ("punjab-2021", "Punjab 2021"))
    ]
    labels = {"satisfied": NASTY, "asked_bribe": "Asked for a bribe", "minutes": "Waiting time"}
    indicators = [
        {
            "wave": wave,
            "indicator": indicator,
            "simulated": wave == "kp-2021",
            "label": labels[indicator],
            "kind": "mean" if indicator == "minutes" else "share",
            "unit": "minutes" if indicator == "minutes" else None,
            "higher_is_better": indicator == "satisfied",
            "headline": True,
            "sensitive": False,
            "minimum_level": "district",
            "question": "How was </script> it?",
            "positive": None,
            "population": "Adults who went there",
        }
        for wave, _, indicator in plan
    ]
    rows = {
        "published_estimates": estimates,
        "district_rankings": ranks,
        "index_sensitivity": [],
        **driver_tables(),
        "published_waves": waves,
        "published_indicators": indicators,
    }
    return {name: _frame(name, content) for name, content in rows.items()}


def driver_tables() -> dict[str, list[dict[str, object]]]:
    """One driver model of the KP wave with two drivers, the diagnosis of Bannu and of Swat, and a change."""
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
        for district in ("kp-bannu", "kp-swat")
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


def _frame(table: str, rows: list[dict[str, object]]) -> pd.DataFrame:
    from perception.schemas import TABLES

    return conform(pd.DataFrame(rows).reindex(columns=TABLES[table].names), table)


@pytest.fixture(scope="module")
def known() -> tuple[dict[str, Geometry], dict[str, pd.DataFrame]]:
    return reference()


@pytest.fixture(scope="module")
def tables(known) -> dict[str, pd.DataFrame]:
    return published_tables(known[1]["2018"])


@pytest.fixture(scope="module")
def folder(known, tables, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("public") / "site"
    site.write_site(tables, *known, place, made_at="2026-01-01T00:00:00Z")
    return place


def spec_of(tables, known, wave: str, indicator: str, geometry: Geometry | None = None):
    """The specification of one map and the base it is drawn on."""
    geometries, units = known
    districts = units["2018"]
    estimates, facts = tables["published_estimates"], tables["published_indicators"]
    base = maps.base_map(geometry or geometries["2018"], districts, [wave.split("-")[0]])
    peers = estimates[(estimates["indicator"] == indicator) & (estimates["level"] == "district")]
    spec = maps.map_spec(
        tables["published_waves"].set_index("wave", drop=False).loc[wave].to_dict(),
        facts[(facts["wave"] == wave) & (facts["indicator"] == indicator)].iloc[0].to_dict(),
        estimates[(estimates["wave"] == wave) & (estimates["indicator"] == indicator)],
        peers["estimate"],
        districts,
        base,
    )
    names = dict(zip(districts["district_id"], districts["name"], strict=True))
    return spec, base, static_map.canvas(base, names)


def texts(folder: Path) -> dict[str, str]:
    """Everything on the site that was written by this package, by its path."""
    wanted = [path for path in folder.rglob("*") if path.suffix in (".html", ".svg", ".json")]
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in wanted}


def no_pngs(*_: object) -> tuple[bytes, bytes]:
    """Stands in for the slowest step where images do not matter."""
    return b"", b""


@pytest.mark.parametrize(
    ("median", "cuts"),
    [
        (0.031, (0.02, 0.05, 0.10, 0.20)),  # door-step waste collection, PSLM 2019-20
        (0.45, (0.30, 0.40, 0.50, 0.60)),
        (0.944, (0.80, 0.90, 0.95, 0.98)),  # feels safe, MICS Punjab 2017-18
        (1.0, (0.80, 0.90, 0.95, 0.98)),
    ],
)
def test_cuts_of_shares_follow_the_level_of_the_indicator(median, cuts):
    assert maps.share_cuts(median) == cuts


def test_cuts_mirror_each_other_around_half():
    for low, high in zip(maps.SHARE_CUTS, maps.SHARE_CUTS[::-1], strict=True):
        assert [round(1 - cut, 10) for cut in low[::-1]] == list(high)


@given(st.floats(-1000, 1000), st.floats(0, 1000))
def test_cuts_of_means_are_round_and_hold_the_range(low, span):
    cuts = maps.mean_cuts(low, low + span)
    width = (cuts[3] - cuts[0]) / 3
    assert cuts[0] - width <= low + 1e-6 * width
    assert cuts[3] + width >= low + span - 1e-6 * max(width, 1)
    assert f"{width:.0e}"[0] in "125"


def test_a_value_is_classed_as_it_is_shown():
    scale = maps.Scale("share", "", (0.3, 0.4, 0.5, 0.6), 1)
    assert scale.value(0.39996) == "40.0%"
    assert [scale.class_of(value) for value in (0.0, 0.3994, 0.39996, 0.4, 1.0)] == [0, 1, 2, 2, 4]


def test_waves_of_one_instrument_have_the_same_classes(tables, known):
    kp, punjab = (spec_of(tables, known, wave, "satisfied")[0] for wave in ("kp-2021", "punjab-2021"))
    assert kp.scale.cuts == punjab.scale.cuts == (0.2, 0.3, 0.4, 0.5)  # the median of both together is in the thirties


def test_darker_is_worse_in_both_directions(tables, known):
    satisfied = spec_of(tables, known, "kp-2021", "satisfied")[0]
    bribe = spec_of(tables, known, "kp-2021", "asked_bribe")[0]
    by_id = {place.district_id: place for place in satisfied.places}
    assert by_id["kp-abbottabad"].value == "20.0%"
    assert satisfied.colour(by_id["kp-abbottabad"]) == maps.PALETTE[3]  # 20-30 %: second class from the worse end
    assert by_id["kp-upper-dir"].value == "50.0%"  # the last of 31
    assert satisfied.colour(by_id["kp-upper-dir"]) == maps.PALETTE[0]
    assert satisfied.ends == ("worse", "better")
    assert bribe.ends == ("better", "worse")
    dark_to_light = [sum(int(colour[at : at + 2], 16) for at in (1, 3, 5)) for colour in satisfied.colours]
    assert dark_to_light == sorted(dark_to_light)
    assert bribe.colours == satisfied.colours[::-1]


def test_every_district_of_the_province_has_one_state_and_no_other_is_there(tables, known):
    spec = spec_of(tables, known, "kp-2021", "satisfied")[0]
    assert len(spec.places) == 32
    states = {place.district_id: place.state for place in spec.places if place.state != "published"}
    assert states == {SUPPRESSED: "suppressed", CAREFUL: "caution", UNCOVERED: "no_data"}
    assert "Hatched: 1 of 32 districts not published" in " ".join(spec.notes)
    assert "too few respondents" in " ".join(spec.notes)
    assert "Use with caution: 1 of 32 districts (small sample)" in " ".join(spec.notes)
    assert "Grey: 1 of 32 districts not covered" in " ".join(spec.notes)


def test_svg_draws_each_district_once_in_its_colour(tables, known):
    spec, _, canvas = spec_of(tables, known, "kp-2021", "satisfied")
    root = ElementTree.fromstring(static_map.svg(spec, canvas))
    paths = [path for path in root.iter(f"{SVG}path") if "data-district" in path.attrib]
    fills = {path.get("data-district"): path.get("fill") for path in paths}
    assert len(paths) == len(fills) == 32
    assert fills[SUPPRESSED] == "url(#hatch)"
    assert fills[UNCOVERED] == maps.NO_DATA
    assert fills["kp-abbottabad"] == maps.PALETTE[3]
    titles = {path.get("data-district"): path.findtext(f"{SVG}title") for path in paths}
    assert titles["kp-abbottabad"] == "Abbottabad: 20.0% (95% interval 16.0–24.0; 1,234 respondents)"
    assert titles[SUPPRESSED] == "Hangu: Not published: too few respondents, too uncertain"
    assert root.get("role") == "img"
    assert NASTY in root.findtext(f"{SVG}title", "")
    shown = [element.text for element in root.iter(f"{SVG}text")]
    assert any(text.endswith("*") for text in shown)
    assert "SIMULATED DATA" in shown
    assert "Generalised preview boundaries, not for publication." in root.findtext(f"{SVG}desc", "")
    assert DISCLAIMER in root.findtext(f"{SVG}desc", "")


def test_labels_lie_inside_their_districts(tables, known):
    _, base, canvas = spec_of(tables, known, "punjab-2021", "minutes")
    placed = 0
    for key in base.points:
        x, y, lines = canvas.labels[key]
        polygons = [shapely.Polygon(ring) for ring in canvas.rings[key]]
        assert any(polygon.contains(shapely.Point(x, y)) for polygon in polygons), key
        placed += bool(lines)
    assert placed >= 20


def test_png_has_both_sizes_the_class_colours_and_says_what_it_is(tables, known):
    for wave, simulated in (("kp-2021", True), ("punjab-2021", False)):
        spec, _, canvas = spec_of(tables, known, wave, "satisfied")
        single, double = (Image.open(io.BytesIO(content)) for content in static_map.pngs(spec, canvas))
        assert single.width == drawing.WIDTH == 840
        assert double.size == (2 * single.width, 2 * single.height)
        assert double.text["Title"].startswith("SIMULATED DATA: ") == simulated
        assert ("Warning" in double.text) == simulated
        assert NASTY in double.text["Title"]
        pixels = {colour: count for count, colour in single.getcolors(single.width * single.height)}
        for place in spec.places:
            if place.state == "published":
                colour = spec.colour(place)
                assert pixels[tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))] > 250


def test_figure_draws_every_district_with_escaped_hover_text(tables, known):
    spec, base, _ = spec_of(tables, known, "kp-2021", "satisfied")
    content = plotly_map.figure(spec, base)
    areas = [trace for trace in content["data"] if trace["type"] == "choropleth"]
    assert [trace["locations"] for trace in areas[:2]] == [[SUPPRESSED], [UNCOVERED]]
    assert sum(len(trace["locations"]) for trace in areas) == 32
    valued = dict(zip(areas[2]["locations"], areas[2]["z"], strict=True))
    assert valued["kp-abbottabad"] == 1.5  # second of five classes, 0 to 5
    hover = dict(zip(areas[2]["locations"], areas[2]["text"], strict=True))
    assert hover[CAREFUL].endswith("<br>Use with caution: small sample")
    strange = replace(spec, places=(replace(spec.places[0], name="<i>x</i>"), *spec.places[1:]))
    assert "&lt;i&gt;x" in json.dumps(plotly_map.figure(strange, base))
    assert len(json.dumps(content)) < 9000
    assert plotly_map.CONFIG["showSendToCloud"] is False
    assert plotly_map.CONFIG["displaylogo"] is False


def test_shared_geometry_is_clockwise_and_rounded(known):
    geometries, units = known
    script = plotly_map.geometry_script(geometries["2018"], units["2018"])
    content = json.loads(script.split('window.perceptionGeometry["2018"] = ')[1].removesuffix(";\n"))
    features = content["districts"]["features"]
    assert len(features) == 68
    for feature in features:
        shape = shapely.geometry.shape(feature["geometry"])
        for part in shapely.get_parts(shape):
            assert not shapely.is_ccw(part.exterior), feature["id"]
    assert not re.search(r"\.\d{5}", script)
    assert set(content["borders"]) == {"kp", "punjab"}
    assert "topojson" in script


def test_a_district_without_a_shape_is_named_and_keeps_its_row(tables, known):
    whole = known[0]["2018"]
    shapes = whole.shapes[whole.shapes["district_id"] != "kp-swat"].reset_index(drop=True)
    spec, base, canvas = spec_of(tables, known, "kp-2021", "satisfied", replace(whole, shapes=shapes))
    assert len(spec.places) == 32
    assert "no shape for them: Swat." in spec.notes[-1]
    assert 'data-district="kp-swat"' not in static_map.svg(spec, canvas)
    assert "kp-swat" not in json.dumps(plotly_map.figure(spec, base))


@pytest.mark.parametrize(
    ("page", "first", "last"), [("satisfied", "Abbottabad", "Upper Dir"), ("asked_bribe", "Upper Dir", "Abbottabad")]
)
def test_ranking_page_runs_from_worst_to_suppressed(folder, page, first, last):
    text = (folder / "kp-2021" / f"{page}-ranking.html").read_text(encoding="utf-8")
    table = re.findall(r"<table.*?</table>", text, re.S)[0]
    rows = re.findall(r'<tr><th scope="row">([^<]+)(.*?)</tr>', table, re.S)
    assert len(rows) == 31
    assert (rows[0][0], rows[-2][0], rows[-1][0]) == (first, last, "Hangu")
    assert "between 1st and 4th of 30" in rows[0][1]
    assert "16.0–24.0" in dict(rows)["Abbottabad"]
    assert re.sub("<[^>]+>", "", rows[-1][1]) == "Not published: too few respondents, too uncertain"


def test_the_round_is_ranked_too_where_it_holds_more_districts(folder, tmp_path):
    geometries, units = reference()
    tables = published_tables(units["2018"])
    tables["published_waves"] = tables["published_waves"].assign(simulated=True)
    site.write_site(tables, geometries, units, tmp_path / "site", made_at="2026-01-01T00:00:00Z")
    both = (tmp_path / "site" / "kp-2021" / "satisfied-ranking.html").read_text(encoding="utf-8")
    alone = (tmp_path / "site" / "kp-2021" / "asked_bribe-ranking.html").read_text(encoding="utf-8")
    apart = (folder / "kp-2021" / "satisfied-ranking.html").read_text(encoding="utf-8")
    assert apart.count("<table") == 1  # there the other wave of the round is not simulated
    assert both.count("<table") == 2
    assert both.split("<table")[2].count('<tr><th scope="row">') == 31 + 36
    assert alone.count("<table") == 1


def test_a_mean_says_its_unit_and_a_share_its_percent(tables, known):
    wait, *_ = spec_of(tables, known, "punjab-2021", "minutes")
    assert wait.summary == "Punjab: 0.3 minutes (95% interval -3.7 to 4.3)"
    share, *_ = spec_of(tables, known, "punjab-2021", "satisfied")
    assert re.fullmatch(r"Punjab: [\d.]+% \(95% interval [\d.]+–[\d.]+\)", share.summary), share.summary


def test_site_has_a_page_and_images_for_each_headline_indicator(folder):
    made = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    wanted = {
        "index.html",
        "kp-2021/drivers.html",
        "kp-2021/drivers-care.html",
        "kp-2021/drivers-care-districts.html",
        "assets/plotly.min.js",
        "assets/style.css",
        "assets/geometry-2018.js",
    }
    for stem in ("kp-2021/satisfied", "kp-2021/asked_bribe", "punjab-2021/satisfied", "punjab-2021/minutes"):
        wanted |= {f"{stem}{end}" for end in (".html", "-ranking.html", ".svg", ".png", "@2x.png", ".json")}
    for figure in ("effects", "importance", "priorities", "in-kp-bannu", "in-kp-swat"):
        wanted |= {f"kp-2021/drivers-care-{figure}{end}" for end in (".svg", ".png", "@2x.png", ".json")}
    assert made == wanted
    for page, text in texts(folder).items():
        for link in re.findall(r'(?:href|src)="([^"#]+)"', text):
            assert "://" not in link, (page, link)
            assert ((folder / page).parent / link).resolve().is_file(), (page, link)


def test_nothing_says_nan_or_breaks_out_of_its_place(folder):
    pages = {page: text for page, text in texts(folder).items() if not page.endswith(".json")}
    for page, text in pages.items():
        assert not re.search(r"\b(nan|none|null|undefined)\b", re.sub(r'="none"|: none', "", text), re.I), page
        assert "<script>alert" not in text, page
        assert "was </script> it" not in text, page


def test_a_suppressed_number_is_nowhere_even_if_the_table_leaks_it(known, tables, tmp_path, monkeypatch):
    monkeypatch.setattr(static_map, "pngs", no_pngs)
    monkeypatch.setattr(static_figures, "pngs", no_pngs)
    leaking = dict(tables)
    for name in ("published_estimates", "district_rankings"):
        frame = tables[name].copy()
        hidden = frame["quality"] == "suppress"
        frame.loc[hidden, ["estimate", "low", "high"]] = [0.98765, 0.9765, 0.9987]
        frame.loc[hidden, "n"] = 7654
        leaking[name] = frame
    site.write_site(leaking, *known, tmp_path / "site", made_at="2026-01-01T00:00:00Z")
    for page, text in texts(tmp_path / "site").items():
        assert not re.search(r"98\.8%|97\.[67]–99\.9|0\.98765|7,?654", text), page


def test_simulated_waves_are_marked_everywhere_and_others_nowhere(folder):
    for page, text in texts(folder).items():
        if page.startswith("punjab"):
            assert "SIMULATED" not in text, page
        elif page.endswith(".json"):
            assert json.loads(text)["simulated"] is True
        elif page != "index.html":
            assert re.search(r"<title[^>]*>SIMULATED DATA", text), page
            assert text.count("SIMULATED DATA") >= 2, page
    assert (folder / "index.html").read_text(encoding="utf-8").count("SIMULATED DATA") == 3  # heading and each KP card


def test_every_page_says_who_was_asked_what_and_where_it_comes_from(folder):
    for page, text in texts(folder).items():
        if page.endswith(".html") and page != "index.html" and "drivers" not in page:
            for said in (
                "Adults who went there",
                "CC BY 4.0",
                "Survey &lt;one&gt;",
                "2018",
                DISCLAIMER,
                "1 Sep 2021 – 20 Nov 2021",
            ):
                assert said in text, (page, said)
            assert "Generalised preview boundaries, not for publication" in text


def test_provenance_says_what_an_image_was_made_from(folder):
    content = json.loads((folder / "kp-2021" / "satisfied.json").read_text(encoding="utf-8"))
    assert content["inputs"]["wave_version"] == "0" * 64
    assert content["inputs"]["table"] == "published_estimates"
    assert content["parameters"]["cuts"] == [0.2, 0.3, 0.4, 0.5]
    assert content["boundaries"]["vintage"] == "2018"
    assert content["made_at"] == "2026-01-01T00:00:00Z"


def test_the_same_tables_give_the_same_bytes_and_a_failure_leaves_the_old_site(folder, known, tables, monkeypatch):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    pages = site.write_site(tables, *known, folder, made_at="2026-01-01T00:00:00Z")
    assert pages["kp-2021/satisfied"] == folder / "kp-2021" / "satisfied.html"
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(static_map, "pngs", fail)
    with pytest.raises(OSError, match="no space left"):
        site.write_site(tables, *known, folder, made_at="2027-01-01T00:00:00Z")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert list(folder.parent.iterdir()) == [folder]


def test_a_failed_swap_brings_the_old_site_back(folder, known, tables, monkeypatch):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    rename = site.os.replace
    monkeypatch.setattr(static_map, "pngs", no_pngs)
    monkeypatch.setattr(static_figures, "pngs", no_pngs)

    def fail_once(source: Path, target: Path) -> None:
        if source.name.endswith(".new"):
            raise OSError("target is busy")
        rename(source, target)

    monkeypatch.setattr(site.os, "replace", fail_once)
    with pytest.raises(OSError, match="busy"):
        site.write_site(tables, *known, folder, made_at="2027-01-01T00:00:00Z")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert list(folder.parent.iterdir()) == [folder]


def test_unknown_vintages_and_districts_are_reported_together(known, tables, tmp_path):
    geometries, units = known
    waves = tables["published_waves"].copy()
    waves.loc[waves["wave"] == "kp-2021", "vintage"] = "1947"
    fewer = {"2018": units["2018"][units["2018"]["district_id"] != "punjab-lahore"]}
    with pytest.raises(InputError) as caught:
        site.write_site(tables | {"published_waves": waves}, geometries, fewer, tmp_path / "site", made_at="now")
    message = str(caught.value)
    assert "wave kp-2021" in message
    assert "1947" in message
    assert "punjab-lahore" in message
    assert not (tmp_path / "site").exists()


def test_driver_effects_are_in_points_with_their_interval(folder):
    text = (folder / "kp-2021" / "drivers-care.html").read_text(encoding="utf-8")
    assert "−5.2" in text
    assert "−7.2 to −3.2" in text
    assert "&lt;0.001" in text
    assert "association, not cause" in text


def test_a_model_page_says_how_far_to_trust_it_and_why_the_share_changed(folder):
    text = html.unescape((folder / "kp-2021" / "drivers-care.html").read_text(encoding="utf-8"))
    for said in (
        "4,300 respondents in 380 sampling areas are in the model; 12 were left out",
        "More than 5% answered “don’t know” to: “Waiting time at the last visit” (8.0%).",
        "A test speaks against it (p <0.001)",
        f"at most 1.1 times as large (“{NASTY}”)",
        "Effects are taken as the same in all districts",
        f"Since the wave before the share “{NASTY}” is 6.0 points higher (95% interval 2.0 to 10.0).",
        "−1.0 (2.0 to 10.0)",
        "Recoded to compare, so read their parts with care: Waiting time (the middle answer is gone).",
        "Possible overkill",
    ):
        assert said in text, said
    assert len(text) < 400_000
    assert text.count('class="plot"') == text.count('class="static"') == 3


def test_weak_districts_are_diagnosed_and_their_ranking_rows_lead_there(folder):
    page = html.unescape((folder / "kp-2021" / "drivers-care-districts.html").read_text(encoding="utf-8"))
    assert re.findall(r'<section id="([^"]+)">', page) == ["kp-bannu", "kp-swat"]
    assert "In Bannu the share" in page
    assert "one would expect 35.0% (95% interval 27.0 to 43.0) instead of 30.0%" in page
    ranking = (folder / "kp-2021" / "satisfied-ranking.html").read_text(encoding="utf-8")
    links = re.findall(r'href="\.\./(kp-2021/drivers-care-districts\.html)#([^"]+)"', ranking)
    assert {district for _, district in links} == {"kp-bannu", "kp-swat"}
    assert "drivers-care.html" in ranking
    assert "#" not in "".join(re.findall(r'href="([^"]+)"', (folder / "kp-2021/asked_bribe-ranking.html").read_text()))


def test_a_site_without_drivers_has_no_page_of_them(known, tables, tmp_path, monkeypatch):
    monkeypatch.setattr(static_map, "pngs", no_pngs)
    monkeypatch.setattr(static_figures, "pngs", no_pngs)
    empty = {name: tables[name].iloc[:0] for name in driver_pages.TABLES_OF_DRIVERS}
    made = site.write_site(tables | empty, *known, tmp_path / "none", made_at="2026")
    assert not any("drivers" in name for name in made)
    gone = tables["published_drivers"].assign(effect=float("nan"))
    alone = empty | {"published_drivers": gone}
    alone["published_driver_importance"] = tables["published_driver_importance"].iloc[:1]  # too few for quadrants
    made = site.write_site(tables | alone, *known, tmp_path / "alone", made_at="2026")
    page = made["kp-2021/drivers-care"].read_text(encoding="utf-8")
    assert page.count('class="plot"') == 1
    assert page.count("Not published") == 2
    assert "kp-2021/drivers-care-districts" not in made


def test_a_model_of_each_province_has_a_page_of_its_own(known, tables, tmp_path, monkeypatch):
    monkeypatch.setattr(static_map, "pngs", no_pngs)
    monkeypatch.setattr(static_figures, "pngs", no_pngs)
    apart = {
        name: tables[name].assign(level="province", unit_id="kp") if "unit_id" in tables[name] else tables[name]
        for name in driver_pages.TABLES_OF_DRIVERS
    }
    made = site.write_site(tables | apart, *known, tmp_path / "site", made_at="2026")
    page = html.unescape(made["kp-2021/drivers-care-kp"].read_text(encoding="utf-8"))
    assert "<h1>What goes with care, Khyber Pakhtunkhwa</h1>" in page
    assert "kp-2021/drivers-care-kp-districts" in made
    ranking = made["kp-2021/satisfied-ranking"].read_text(encoding="utf-8")
    assert "../kp-2021/drivers-care-kp-districts.html#kp-bannu" in ranking


def test_a_diagnosis_off_the_map_is_an_error(known, tables, tmp_path):
    strange = tables["published_diagnosis"].assign(district_id="kp-atlantis")
    with pytest.raises(InputError, match=r"published_diagnosis has districts .* kp-atlantis"):
        site.write_site(tables | {"published_diagnosis": strange}, *known, tmp_path / "site", made_at="now")
