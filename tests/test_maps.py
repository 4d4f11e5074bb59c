"""Maps from published tables, without a browser: scales and classes, what each map says, drawings, figures."""

from __future__ import annotations

import io
import itertools
import json
import math
import re
from dataclasses import replace
from xml.etree import ElementTree

import pandas as pd
import plotly.graph_objects as go
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from perception.geography import DISCLAIMER
from perception.publish import drawing, maps, plotly_map, static_map, views
from perception.publish.maps import MapSpec
from tests.site_tables import (
    BETTER,
    CAREFUL,
    INCOMPARABLE,
    NASTY,
    SUPPRESSED,
    SVG,
    UNCOVERED,
    WORSE,
    changes_of,
    districts,
    ground_of,
    published_tables,
    reference,
    subject_of,
)


@pytest.fixture(scope="module")
def known():
    geometries, units = reference()
    return geometries["2018"], units["2018"]


@pytest.fixture(scope="module")
def tables(known):
    return published_tables(known[1])


@pytest.fixture(scope="module")
def kp(known):
    """KP on a base map, in degrees and in pixels."""
    return ground_of(*known, "kp")


@pytest.fixture(scope="module")
def four(tables, known, kp) -> dict[str, MapSpec]:
    """The maps of satisfaction in KP 2021, by kind."""
    of = subject_of(tables, known[1])
    specs = (
        views.estimate_map(of, kp[0]),
        views.band_map(of, kp[0]),
        views.change_map(of, changes_of(tables), "Khyber Pakhtunkhwa 2018", kp[0], districts(known[1])),
        views.uncertainty_map(of, kp[0]),
    )
    return {spec.kind: spec for spec in specs}


def by_id(spec: MapSpec) -> dict[str, maps.Place]:
    return {place.district_id: place for place in spec.places}


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
    kp, punjab = (subject_of(tables, known[1], wave) for wave in ("kp-2021", "punjab-2021"))
    assert kp.scale.cuts == punjab.scale.cuts == (0.2, 0.3, 0.4, 0.5)  # the median of both together is in the thirties


def test_darker_is_worse_in_both_directions(tables, known, kp):
    satisfied, bribe = (
        views.estimate_map(subject_of(tables, known[1], indicator=name), kp[0]) for name in ("satisfied", "asked_bribe")
    )
    places = by_id(satisfied)
    assert places["kp-abbottabad"].value == "20.0%"
    assert satisfied.colour(places["kp-abbottabad"]) == maps.PALETTE[3]  # 20-30 %: second class from the worse end
    assert places["kp-upper-dir"].value == "50.0%"  # the last of 31
    assert satisfied.colour(places["kp-upper-dir"]) == maps.PALETTE[0]
    assert satisfied.ends == ("worse", "better")
    assert bribe.ends == ("better", "worse")
    colours = [one.colour for one in satisfied.classes]
    dark_to_light = [sum(int(colour[at : at + 2], 16) for at in (1, 3, 5)) for colour in colours]
    assert dark_to_light == sorted(dark_to_light)
    assert [one.colour for one in bribe.classes] == colours[::-1]


def test_every_district_of_the_province_has_one_state_and_no_other_is_there(four):
    for kind in ("map", "bands", "uncertainty"):
        spec = four[kind]
        assert len(by_id(spec)) == len(spec.places) == 32
        states = {place.district_id: place.state for place in spec.places if place.state != "published"}
        assert states == {SUPPRESSED: "suppressed", CAREFUL: "caution", UNCOVERED: "no_data"}, kind
        notes = " ".join(spec.notes)
        assert "Hatched, not published: 1 of 32 districts (too few respondents)" in notes
        assert "Use with caution: 1 of 32 districts (small sample)" in notes
        assert "Grey: 1 of 32 districts: not covered by this survey" in notes


def test_a_band_map_shows_the_band_of_the_ranking(four):
    spec = four["bands"]
    assert [one.label for one in spec.classes] == ["Low", "Watch", "Not clear", "High"]
    shown = {key: place.value for key, place in by_id(spec).items() if place.class_number is not None}
    assert all(spec.classes[by_id(spec)[key].class_number].label == value for key, value in shown.items())
    order = sorted(shown)  # satisfaction rises by a point from each district to the next
    assert [shown[key] for key in order] == ["Low"] * 2 + ["Watch"] * 4 + ["Not clear"] * 22 + ["High"] * 2
    assert by_id(spec)["kp-abbottabad"].details == (
        "20.0%",
        "95% interval 16.0–24.0",
        "1,234 respondents",
        "rank between 1st and 4th of 30",
    )
    assert "not clearly among the worst-placed or the best-placed 15%" in spec.notes[0]


def test_a_district_without_a_band_is_not_ranked_on_the_band_map(tables, known, kp):
    ranks = tables["district_rankings"].copy()
    ranks.loc[ranks["district_id"] == "kp-swat", ["rank", "rank_low", "rank_high", "band"]] = None
    spec = views.band_map(subject_of(tables | {"district_rankings": ranks}, known[1]), kp[0])
    assert by_id(spec)["kp-swat"].lines == ("No data: not ranked",)
    assert "Grey: 2 of 32 districts: " in " ".join(spec.notes)


def test_a_change_map_shows_what_the_survey_can_tell(four):
    spec = four["change"]
    places = by_id(spec)
    labels = {
        key: spec.classes[place.class_number].label for key, place in places.items() if place.class_number is not None
    }
    assert {key: label for key, label in labels.items() if label != "Cannot tell"} == {BETTER: "Better", WORSE: "Worse"}
    assert len(labels) == 32 - 3
    assert places[BETTER].words == (
        "Better: +5.0 points (95% interval +2.0 to +8.0; from 15.0% to 20.0%; 987 and 1,234 respondents)"
    )
    assert places[WORSE].value == "Worse: −5.0 points"
    assert places[INCOMPARABLE].lines == ("No data: not comparable: 2018 asked it <last>",)
    assert places[SUPPRESSED].lines == ("Not published: too few respondents",)
    assert places[UNCOVERED].lines == ("No data: not covered by this survey",)
    notes = " ".join(spec.notes)
    assert "Hatched, not published: 1 of 32" in notes
    assert "Grey: 2 of 32 districts: not comparable: 2018 asked it <last>: 1; not covered by this survey: 1." in notes
    assert spec.measure == "Since Khyber Pakhtunkhwa 2018"


def test_fewer_bribes_are_a_change_for_the_better(tables, known, kp):
    of = subject_of(tables, known[1], indicator="asked_bribe")
    changes = {key: row | {"verdict": verdict} for key, row in changes_of(tables).items() for verdict in ["better"]}
    places = by_id(views.change_map(of, changes, "2018", kp[0], districts(known[1])))
    assert places[WORSE].value == "Better: −5.0 points"
    assert places[BETTER].value == "Cannot tell: +5.0 points"  # the verdict says better, the numbers more bribes


def test_an_uncertainty_map_shows_half_the_interval(tables, known, kp):
    estimates = tables["published_estimates"].copy()
    place = estimates["unit_id"].map({"kp-abbottabad": 0.024, "kp-swat": 0.05, "kp-bannu": 0.2})
    for name, sign in (("low", -1), ("high", 1)):
        estimates[name] = estimates[name].where(place.isna(), estimates["estimate"] + sign * place)
    estimates.loc[estimates["unit_id"] == "kp-mohmand", ["low", "high"]] = None
    spec = views.uncertainty_map(subject_of(tables | {"published_estimates": estimates}, known[1]), kp[0])
    places = by_id(spec)
    assert spec.cuts == ("±2.5", "±5", "±7.5", "±10")
    shown = {key: (places[f"kp-{key}"].value, places[f"kp-{key}"].class_number) for key in ("abbottabad", "swat")}
    assert shown == {"abbottabad": ("±2.4 points", 0), "swat": ("±5.0 points", 2)}
    assert (places["kp-bannu"].value, places["kp-bannu"].class_number) == ("±20.0 points", 4)
    assert places["kp-mohmand"].lines == ("No data: no interval is known",)
    assert spec.ends == ("certain", "uncertain")


def test_a_mean_says_its_unit_and_a_share_its_percent(tables, known):
    base, _ = ground_of(*known, "punjab")
    minutes = subject_of(tables, known[1], "punjab-2021", "minutes")
    wait = views.estimate_map(minutes, base)
    assert wait.summary == "Punjab: 34.5 minutes (95% interval 30.5–38.5)"
    doubt = views.uncertainty_map(minutes, base)
    assert by_id(doubt)["punjab-lahore"].value == "±4.00 minutes"
    share = views.estimate_map(subject_of(tables, known[1], "punjab-2021"), base)
    assert share.summary == "Punjab: 34.5% (95% interval 30.5–38.5)"


def test_modelled_estimates_are_called_so(tables, known, kp, four):
    heard = views.estimate_map(subject_of(tables, known[1], indicator="heard"), kp[0])
    assert maps.MODELLED_NOTE in heard.notes
    assert maps.MODELLED_NOTE not in four["map"].notes


@pytest.mark.parametrize("kind", ["map", "bands", "change", "uncertainty"])
def test_svg_draws_each_district_once_in_its_colour(four, kp, kind):
    spec = four[kind]
    root = ElementTree.fromstring(drawing.svg(static_map.drawing(spec, kp[1])))
    paths = [path for path in root.iter(f"{SVG}path") if "data-district" in path.attrib]
    fills = {path.get("data-district"): path.get("fill") for path in paths}
    assert len(paths) == len(fills) == 32
    assert fills[SUPPRESSED] == "url(#hatch)"
    assert fills[UNCOVERED] == maps.NO_DATA
    assert {key: fill for key, fill in fills.items() if key != SUPPRESSED} == {
        place.district_id: spec.colour(place) for place in spec.places if place.district_id != SUPPRESSED
    }
    titles = {path.get("data-district"): path.findtext(f"{SVG}title") for path in paths}
    assert titles == {place.district_id: f"{place.name}: {place.words}" for place in spec.places}
    assert root.get("role") == "img"
    assert NASTY in root.findtext(f"{SVG}title", "")
    shown = [element.text for element in root.iter(f"{SVG}text")]
    assert "SIMULATED DATA" in shown
    said = root.findtext(f"{SVG}desc", "")
    assert "Preview boundaries, not for publication: generalised from OCHA COD-AB 2022 tehsils (CC BY-IGO)," in said
    assert said.count("oundaries") == 2  # once where they come from, once what they do not imply
    assert DISCLAIMER in said
    assert "Asked of: Adults who went there (1,234 of 5,000 respondents answered)." in said
    assert any(text.endswith("*") for text in shown) == (kind != "change")


def test_the_words_of_a_district_hold_value_interval_respondents_and_rank(four):
    assert by_id(four["map"])["kp-abbottabad"].words == (
        "20.0% (95% interval 16.0–24.0; 1,234 respondents; rank between 1st and 4th of 30)"
    )
    assert by_id(four["map"])[SUPPRESSED].words == "Not published: too few respondents, too uncertain"


def test_labels_lie_inside_their_districts(known):
    base, canvas = ground_of(*known, "punjab")
    placed = 0
    for key in base.points:
        x, y, lines = canvas.labels[key]
        polygons = [shapely.Polygon(ring) for ring in canvas.rings[key]]
        assert any(polygon.contains(shapely.Point(x, y)) for polygon in polygons), key
        placed += bool(lines)
    assert placed >= 20


def test_every_small_district_that_a_headline_names_is_named_beside_the_map(tables, known):
    for wave, province in (("kp-2021", "kp"), ("punjab-2021", "punjab")):
        base, canvas = ground_of(*known, province)
        land = shapely.union_all([shapely.Polygon(ring) for key in base.points for ring in canvas.rings[key]])
        small = {key for key in base.points if not canvas.labels[key][2]}
        assert set(canvas.asides) == small
        assert len(small) >= 10
        of = subject_of(tables, known[1], wave)
        spec = replace(views.band_map(of, base), named=frozenset(base.points))
        shapes = list(static_map.labels(spec, canvas))
        lines = {(shape.x, shape.y): shape for shape in shapes if isinstance(shape, drawing.Line)}
        texts = [shape for shape in shapes if isinstance(shape, drawing.Text)]
        boxes = [
            shapely.box(text.x - half, text.y - 7, text.x + half, text.y + 2)
            for text in texts
            for half in [len(text.text) * text.size * drawing.EM[False] / 2]
        ]
        assert not any(first.intersects(second) for first, second in itertools.combinations(boxes, 2))
        for place in spec.places:
            if place.district_id in small:
                line = lines[canvas.labels[place.district_id][:2]]
                x, y, *_ = canvas.asides[place.district_id]
                assert not land.contains(shapely.Point(x, y)), place.name
                assert sum(text.text.startswith(place.name) for text in texts) == 1
                path = shapely.LineString([(line.x, line.y), (line.to_x, line.to_y)])
                met = [text.text for text, box in zip(texts, boxes, strict=True) if box.buffer(-1).intersects(path)]
                assert [name for name in met if not name.startswith(place.name)] == []


def test_no_other_small_district_is_named_beside_the_map(four, kp):
    canvas = kp[1]
    assert four["bands"].named == four["map"].named
    assert len(four["bands"].named) == 8  # two low, four to watch, two high
    assert four["change"].named == {BETTER, WORSE}
    for kind in ("bands", "change"):
        ends = {
            (shape.x, shape.y) for shape in static_map.labels(four[kind], canvas) if isinstance(shape, drawing.Line)
        }
        assert ends == {canvas.labels[key][:2] for key in four[kind].named & canvas.asides.keys()}
        assert ends


def test_a_modelled_district_without_respondents_says_so(tables, known, kp):
    estimates = tables["published_estimates"].copy()
    estimates.loc[(estimates["unit_id"] == "kp-swat") & (estimates["method"] == "small_area"), "n"] = 0
    heard = views.estimate_map(
        subject_of(tables | {"published_estimates": estimates}, known[1], indicator="heard"), kp[0]
    )
    assert by_id(heard)["kp-swat"].details[1] == "no respondents of its own, modelled from other districts"
    assert "0 respondents" not in by_id(heard)["kp-swat"].words


def test_png_has_both_sizes_the_class_colours_and_says_what_it_is(tables, known):
    for wave, simulated in (("kp-2021", True), ("punjab-2021", False)):
        base, canvas = ground_of(*known, wave.split("-")[0])
        spec = views.estimate_map(subject_of(tables, known[1], wave), base)
        single, double = (Image.open(io.BytesIO(content)) for content in drawing.pngs(static_map.drawing(spec, canvas)))
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


def test_every_district_has_a_tile_of_its_own_near_to_where_it_lies(known):
    geometry, units = known
    for provinces in (("kp",), ("punjab",), ("kp", "punjab")):
        base, canvas = ground_of(geometry, units, *provinces)
        again = ground_of(geometry, units, *provinces)[1]
        tiles = canvas.tiles
        assert tiles == again.tiles
        assert set(tiles) == set(base.points)
        assert len(set(tiles.values())) == len(tiles)
        assert min(column for column, _ in tiles.values()) == min(row for _, row in tiles.values()) == 0
        for capital in provinces:
            assert {"kp": "kp-peshawar", "punjab": "punjab-lahore"}[capital] in tiles
        # In the order of the compass: what lies clearly further north or east has no tile further south or west.
        spread = base.shapes.total_bounds
        third = ((spread[2] - spread[0]) / 3, (spread[3] - spread[1]) / 3)
        for first, (x, y) in base.points.items():
            for second, (other_x, other_y) in base.points.items():
                if x > other_x + third[0]:
                    assert tiles[first][0] >= tiles[second][0], (first, second)
                if y > other_y + third[1]:
                    assert tiles[first][1] <= tiles[second][1], (first, second)


def test_neighbours_stay_near_each_other_as_tiles(known):
    from perception.geography import neighbours

    geometry, units = known
    _, canvas = ground_of(geometry, units, "punjab")
    pairs = neighbours(geometry.shapes)
    steps = [
        math.dist(canvas.tiles[a], canvas.tiles[b])
        for a, b in zip(pairs["district_id"], pairs["neighbour_id"], strict=True)
        if a in canvas.tiles and b in canvas.tiles
    ]
    assert len(steps) > 100
    assert sum(step < 2 for step in steps) >= 0.8 * len(steps)  # side by side or corner to corner
    assert max(steps) <= 4


def test_tiles_show_what_the_map_shows(four, kp):
    spec = four["map"]
    made = static_map.tile_drawing(spec, kp[1])
    root = ElementTree.fromstring(drawing.svg(made))
    tiles = {box.get("data-district"): box for box in root.iter(f"{SVG}rect") if "data-district" in box.attrib}
    assert len(tiles) == 32
    corners = {(box.get("x"), box.get("y")) for box in tiles.values()}
    assert len(corners) == 32
    assert {box.get("width") for box in tiles.values()} == {box.get("height") for box in tiles.values()}
    side = float(tiles[BETTER].get("width"))
    spots = sorted((float(x), float(y)) for x, y in corners)
    for x, y in spots:
        assert not any(0 < abs(x - a) < side and abs(y - b) < side for a, b in spots), "two tiles overlap"
        assert x + side <= drawing.INNER
    assert tiles["kp-peshawar"].get("fill") == spec.colour(by_id(spec)["kp-peshawar"])
    assert tiles[SUPPRESSED].get("fill") == "url(#hatch)"
    assert tiles[SUPPRESSED].findtext(f"{SVG}title") == "Hangu: Not published: too few respondents, too uncertain"


@pytest.mark.parametrize("kind", ["map", "bands", "change", "uncertainty"])
def test_figure_draws_every_district_in_its_class_with_escaped_hover_text(four, kp, kind):
    spec, (base, _) = four[kind], kp
    content = plotly_map.figure(spec, base)
    sent = [{name: value for name, value in trace.items() if name != "geojson"} for trace in content["data"]]
    go.Figure(sent, content["layout"])  # refuses what Plotly does not know
    areas = [trace for trace in content["data"] if trace["type"] == "choropleth"]
    assert areas[0]["locations"] == [SUPPRESSED]
    assert UNCOVERED in areas[1]["locations"]
    drawn = [district for trace in areas for district in trace["locations"]]
    assert len(drawn) == len(set(drawn)) == 32
    valued = {
        key: math.floor(value) for trace in areas[2:] for key, value in zip(trace["locations"], trace["z"], strict=True)
    }
    assert valued == {place.district_id: place.class_number for place in spec.places if place.class_number is not None}
    strange = replace(spec, places=(replace(spec.places[0], name="<i>x</i>"), *spec.places[1:]))
    text = json.dumps(plotly_map.figure(strange, base))
    assert "&lt;i&gt;x" in text
    assert "<i>" not in text
    assert len(json.dumps(content)) < 12_000
    assert plotly_map.CONFIG["showSendToCloud"] is False
    assert plotly_map.CONFIG["displaylogo"] is False


def test_shared_geometry_is_clockwise_and_rounded(known):
    script = plotly_map.geometry_script(*known)
    content = json.loads(script.split('window.perceptionGeometry["2018"] = ')[1].removesuffix(";\n"))
    features = content["districts"]["features"]
    assert len(features) == 68
    for feature in features:
        shape = shapely.geometry.shape(feature["geometry"])
        for part in shapely.get_parts(shape):
            assert not shapely.is_ccw(part.exterior), feature["id"]
    assert not re.search(r"\.\d{5}", script)
    assert set(content["borders"]["province"]) == {"kp", "punjab"}
    assert set(content["borders"]["division"]) == {"kp", "punjab"}
    assert "topojson" in script


def test_a_district_without_a_shape_is_named_and_keeps_its_row(tables, known):
    whole, units = known
    shapes = whole.shapes[whole.shapes["district_id"] != "kp-swat"].reset_index(drop=True)
    base, canvas = ground_of(replace(whole, shapes=shapes), units, "kp")
    spec = views.estimate_map(subject_of(tables, units), base)
    assert len(spec.places) == 32
    assert "no shape for them: Swat." in spec.notes[-1]
    for made in (static_map.drawing(spec, canvas), static_map.tile_drawing(spec, canvas)):
        text = drawing.svg(made)
        assert 'data-district="kp-swat"' not in text
        assert "no shape for them: Swat." in ElementTree.fromstring(text).findtext(f"{SVG}desc", "")
    assert "kp-swat" not in json.dumps(plotly_map.figure(spec, base))


def test_records_are_those_that_pandas_gives():
    mixed = {
        "text": pd.Series(["a", None, "c"], dtype="str"),
        "whole": pd.Series([1, None, 3], dtype="Int64"),
        "number": [0.5, float("nan"), 2.0],
        "flag": [True, False, True],
        "any": pd.Series(["x", None, 3], dtype="object"),
    }
    rows, expected = maps.records(pd.DataFrame(mixed)), pd.DataFrame(mixed).to_dict("records")
    assert repr(rows) == repr(expected)  # repr tells 1 from 1.0 and None from nan, and nan is itself
    assert maps.records(pd.DataFrame(mixed).iloc[:0]) == []
