"""Figures of drivers: marks, words that never say more than the numbers, and labels that do no harm."""

from __future__ import annotations

import io
import json
import math
import re
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import plotly.graph_objects as go
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from perception.publish import figures, plotly_figures, static_figures
from perception.publish.drawing import pngs, svg

SVG = "{http://www.w3.org/2000/svg}"
ABOUT = figures.About("Satisfied with health care", "Survey of KP, 2021", "Source: Producer (2021).", True)
HOSTILE = ["<script>alert(1)</script>", "x" * 200, "ہسپتال تک پہنچنا آسان تھا", "a\x00b\u202ec $x_1$ & “q”"]
DASH = "−"


def effect(driver: str, at: float | None, low: float | None, high: float | None, p: float | None, **more: Any) -> dict:
    """A row of published_drivers."""
    base = {"driver": driver, "label": f"Label {driver}", "kind": "driver", "term": "per SD", "reference": None}
    return base | {"effect": at, "low": low, "high": high, "p_adjusted": p, "n": 4300, "psus": 380} | more


def share(driver: str, at: float, low: float, high: float, place: float | None = None, quadrant: str | None = None):
    """A row of published_driver_importance."""
    ends = (None, None) if place is None else (place - 0.02, place + 0.02)
    row = {"driver": driver, "label": f"Label {driver}", "share": at, "share_low": low, "share_high": high}
    row |= {"performance": place, "performance_low": ends[0], "performance_high": ends[1], "quadrant": quadrant}
    return row | {"n": 4300, "psus": 380}


def part(driver: str, at: float, low: float, high: float, what_if: tuple[float, ...] = (math.nan,) * 3) -> dict:
    """A row of published_diagnosis: 30 % in the district, 45 % in the province."""
    row = {"driver": driver, "label": f"Label {driver}", "contribution": at, "contribution_low": low}
    row |= {"contribution_high": high, "share": 0.30, "share_province": 0.45, "n": 91, "psus": 11}
    return row | dict(zip(("what_if", "what_if_low", "what_if_high"), what_if, strict=True))


EFFECTS = pd.DataFrame(
    [
        effect("age", 0.3, 0.2, 0.4, None, kind="control"),
        effect("care", 0.136, 0.119, 0.152, 1e-9),
        effect("bribe", -0.202, -0.238, -0.167, 1e-9, term="yes", reference="no"),
        effect("cost", 0.012, -0.008, 0.032, 0.3),
        effect("gone", None, None, None, None),
    ]
)
IMPORTANCE = pd.DataFrame(
    [
        share("care", 0.5, 0.42, 0.58, 0.45, "concentrate_here"),
        share("near", 0.3, 0.22, 0.38, 0.55, "cannot_tell"),
        share("cost", 0.2, 0.14, 0.26, 0.56, "possible_overkill"),
    ]
)
GAP = pd.DataFrame(
    [
        part("care", -0.05, -0.09, -0.01, (0.36, 0.25, 0.47)),
        part("cost", -0.07, -0.16, 0.02, (0.4, 0.35, 0.45)),
        part("composition", 0.01, -0.01, 0.03),
        part("rest", -0.04, -0.1, 0.02),
        part("gap", -0.15, -0.2, -0.1),
    ]
)


def four() -> dict[str, figures.Figure]:
    """One figure of each kind."""
    made = {
        "effects": figures.effects_figure(EFFECTS, ABOUT),
        "importance": figures.importance_figure(IMPORTANCE, ABOUT),
        "quadrant": figures.quadrant_figure(IMPORTANCE, ABOUT),
        "gap": figures.gap_figure(GAP, "Bannu", "Khyber Pakhtunkhwa", ABOUT),
    }
    return {name: figure for name, figure in made.items() if figure is not None}


def test_readings_say_what_the_numbers_say():
    readings = {name: figure.reading for name, figure in four().items()}
    assert readings["effects"] == (
        "Where “Label bribe” is yes rather than no, the share “Satisfied with health care” is 20.2 "
        "points lower (95% interval 16.7 to 23.8), the largest difference; 1 of 3 cannot be told from zero. "
        "Association, not cause."
    )
    assert readings["importance"].startswith("“Label care” (50.0%; 95% interval 42.0 to 58.0) counts for the largest")
    assert readings["quadrant"] == (
        "Counts for more, rated worse: “Label care”. Counts for less, rated better: “Label cost”. "
        "For 1 of 3 the survey cannot tell."
    )
    assert readings["gap"] == (
        "In Bannu the share “Satisfied with health care” is 15.0 points lower (95% interval 10.0 to 20.0) than in "
        "Khyber Pakhtunkhwa: 30.0% against 45.0%. These are direct shares among the model's respondents. How Bannu "
        "differs in “Label care” goes with 5.0 points less (95% interval 1.0 to 9.0). Association, not cause."
    )
    without = EFFECTS[EFFECTS["driver"] != "bribe"]
    assert figures.effects_figure(without, ABOUT).reading.startswith(
        "The higher “Label care”, the larger the share “Satisfied with health care”: one standard "
        "deviation more goes with 13.6 points more (95% interval 11.9 to 15.2), the largest difference"
    )


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        (-0.15, "No less than the gap itself (15.0 against 15.0 points; 95% interval 5.0 to 25.0) is not explained."),
        (-0.14, "Nearly all of the gap (14.0 of 15.0 points; 95% interval 4.0 to 24.0) is not explained."),
        (-0.12, "A part of the gap (12.0 of 15.0 points; 95% interval 2.0 to 22.0) is not explained."),
    ],
)
def test_what_a_model_leaves_open_is_told_as_part_of_the_gap(rest, said):
    rows = pd.concat([GAP[GAP["driver"] != "rest"], pd.DataFrame([part("rest", rest, rest - 0.1, rest + 0.1)])])
    assert said in figures.gap_figure(rows, "Bannu", "KP", ABOUT).reading


def test_the_share_on_the_map_is_told_beside_that_of_the_model():
    def reading(**mapped: object) -> str:
        return figures.gap_figure(GAP, "Bannu", "KP", ABOUT, mapped).reading

    direct = "These are direct shares among the model's respondents"
    assert f"{direct}; the map's small-area estimate is 25.4%. " in reading(method="small_area", estimate=0.254)
    assert f"{direct}; the map's direct estimate is 31.0%. " in reading(method="direct", estimate=0.31)
    assert f"{direct}. " in reading(method="direct", estimate=math.nan)


def test_a_what_if_is_of_a_driver_that_the_model_can_tell():
    said = figures.what_if_sentence(GAP, {"care"}, "Bannu", "Khyber Pakhtunkhwa")
    assert "“Label care”" in said
    assert "36.0% (95% interval 25.0 to 47.0) instead of 30.0%; the interval holds the present share too" in said
    assert "Label cost" in figures.what_if_sentence(GAP, {"care", "cost"}, "Bannu", "KP")
    assert figures.what_if_sentence(GAP, set(), "Bannu", "KP").startswith("For no driver")


@pytest.mark.parametrize(("name", "marks"), [("effects", 3), ("importance", 3), ("quadrant", 3), ("gap", 6)])
def test_each_renderer_draws_every_mark_once(name, marks):
    figure = four()[name]
    content = plotly_figures.content(figure)
    go.Figure(content["data"], content["layout"])  # refuses what Plotly does not know
    assert len(content["data"]) == marks
    assert [trace["hovertext"] for trace in content["data"]] == sorted(
        {trace["hovertext"] for trace in content["data"]}, key=[t["hovertext"] for t in content["data"]].index
    )
    assert content["config"]["showSendToCloud"] is False
    assert "SIMULATED DATA" in json.dumps(content["layout"]["annotations"])
    assert len(json.dumps(content, allow_nan=False)) < 12_000
    text = svg(static_figures.drawing(figure))
    root = ElementTree.fromstring(text)
    assert root.findtext(f"{SVG}desc") == figure.alt
    shown = " ".join(element.text or "" for element in root.iter(f"{SVG}text"))
    for said in ("SIMULATED DATA", "Source: Producer (2021).", "95% interval", "respondents"):
        assert said in shown, said
    in_key = len(getattr(figure, "key", ()))
    solid = [e for e in root.iter() if e.tag in (f"{SVG}circle", f"{SVG}polygon") or e.get("stroke-width") == "1"]
    drawn = [e for e in solid if e.tag != f"{SVG}line" and e.get("stroke") == "#1c2330"]
    assert len(drawn) == marks + in_key


def test_what_cannot_be_told_is_hollow():
    traces = plotly_figures.content(four()["effects"])["data"]
    assert [trace["marker"]["color"] for trace in traces] == ["#1c2330", "#1c2330", "#ffffff"]
    assert traces[0]["x"] == [pytest.approx(-20.2)]
    assert traces[0]["error_x"]["array"] == [pytest.approx(3.5)]
    bars = plotly_figures.content(four()["gap"])["data"]
    assert [trace["type"] for trace in bars] == ["scatter", "bar", "bar", "bar", "bar", "scatter"]
    # the largest contribution first, though its interval crosses zero
    assert [trace["marker"]["color"] for trace in bars[1:5]] == ["#ffffff", figures.FILLS[-1], "#ffffff", "#ffffff"]
    assert bars[2]["base"] == [pytest.approx(38)]
    assert bars[5]["x"] == [pytest.approx(30)]


def test_pngs_are_the_same_bytes_each_time_in_both_sizes():
    made = static_figures.drawing(four()["gap"])
    first = pngs(made)
    assert first == pngs(made)
    single, double = (Image.open(io.BytesIO(content)) for content in first)
    assert single.width == 840
    assert double.size == (1680, 2 * single.height)
    assert double.text["Title"].startswith("SIMULATED DATA: Bannu")
    assert double.text["Source"] == "Source: Producer (2021)."
    assert not any("202" in text for name, text in double.text.items() if "date" in name.lower())


def test_nothing_is_drawn_of_nothing():
    assert figures.effects_figure(EFFECTS.iloc[[0, 4]], ABOUT) is None
    assert figures.importance_figure(IMPORTANCE.iloc[:0], ABOUT) is None
    assert figures.quadrant_figure(IMPORTANCE.iloc[:2], ABOUT) is None  # one driver is withheld: the cuts are not known
    assert figures.gap_figure(GAP.iloc[:2], "Bannu", "KP", ABOUT) is None
    assert figures.importance_figure(IMPORTANCE.iloc[:1], ABOUT).reading.startswith("The only driver is “Label care”")


@pytest.mark.parametrize("label", HOSTILE)
def test_hostile_labels_do_no_harm(label):
    effects = figures.effects_figure(EFFECTS.assign(label=label), ABOUT)
    gap = figures.gap_figure(GAP.assign(label=label), label, label, ABOUT)
    plane = figures.quadrant_figure(IMPORTANCE.assign(label=label), ABOUT)
    for figure in (effects, gap, plane):
        drawn = static_figures.drawing(figure)
        text = svg(drawn)
        ElementTree.fromstring(text)
        content = plotly_figures.content(figure)
        words = [note["text"] for note in content["layout"]["annotations"]]
        words += [trace["hovertext"] for trace in content["data"]]
        assert "<script" not in text
        assert not any(re.search(r"<(?!/?b>|br>)", said) for said in words)
        shapes = [shape for group in drawn.groups for shape in group.shapes]
        assert all(0 <= shape.x <= 840 and shape.y <= drawn.height for shape in shapes)


def test_numbers_beside_dots_do_not_meet():
    dots = [(100.0, 100.0), (104.0, 101.0), (99.0, 108.0), (112.0, 96.0), (300.0, 40.0)]
    spots = [(x + dx, y + dy) for (x, y), (dx, dy) in zip(dots, figures.mark_places(dots), strict=True)]
    assert min(math.dist(a, b) for i, a in enumerate(spots) for b in spots[:i]) >= 14


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=8))
def test_ticks_hold_all_values(values):
    made = figures.ticks(values)
    assert 3 <= len(made) <= 9
    assert made[0] <= min(values) + 1e-6
    assert made[-1] >= max(values) - 1e-6
    assert list(made) == sorted(set(made))


proportions = st.floats(-1, 1).map(lambda value: round(value, 4))


@st.composite
def effect_rows(draw: st.DrawFn) -> pd.DataFrame:
    rows = []
    for place in range(draw(st.integers(1, 6))):
        at, below, above = draw(proportions), draw(st.floats(0, 0.3)), draw(st.floats(0, 0.3))
        known = draw(st.booleans()) or draw(st.booleans())
        ends = (at - below, at + above) if known else (None, None)
        p = draw(st.none() | st.floats(0, 0.2))
        rows.append(effect(str(place), at, *ends, p, term=draw(st.sampled_from(["per SD", "yes"]))))
    return pd.DataFrame(rows)


@settings(deadline=None)
@given(effect_rows())
def test_a_reading_never_says_more_than_interval_and_p_allow(rows):
    figure = figures.effects_figure(rows, ABOUT)
    for text in (figure.reading, figure.alt):
        assert not re.search(r"\b(nan|none|inf)\b", text.replace("None of", ""), re.I)
        assert "cause" in text
    named = re.findall(r"“Label (\d)”", figure.reading)
    if not named:
        assert not any(bar.sign for bar in figure.bars)
        return
    row = rows.iloc[int(named[0])]
    assert row["p_adjusted"] < 0.05
    assert row["low"] * row["high"] > 0
    positive = row["effect"] > 0
    assert bool(re.search(r"points (more|higher)", figure.reading)) == positive
    assert ("larger the share" in figure.reading) <= positive
    assert f"{abs(100 * row['effect']):.1f} points" in figure.reading
    if "the largest difference" in figure.reading:
        others = rows.drop(index=int(named[0]))
        assert others[["low", "high"]].notna().all(axis=None)
        reach = others[["low", "high"]].abs().max().max()
        assert pd.isna(reach) or reach < min(abs(row["low"]), abs(row["high"]))


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(0, 0.3)), min_size=1, max_size=6))
def test_the_most_important_is_named_alone_only_where_the_survey_can_tell(pairs):
    total = sum(at for at, _ in pairs)
    rows = [
        share(str(place), at / total, max(at / total - reach, 0), min(at / total + reach, 1))
        for place, (at, reach) in enumerate(pairs)
    ]
    reading = figures.importance_figure(pd.DataFrame(rows), ABOUT).reading
    assert "nan" not in reading
    if "largest part" in reading:
        top = max(rows, key=lambda row: row["share"])
        assert top["label"] in reading
        assert all(row["share_high"] < top["share_low"] for row in rows if row is not top)
    else:
        assert len(rows) == 1 or "cannot tell" in reading


@settings(deadline=None)
@given(st.lists(st.tuples(proportions, st.floats(0, 0.4)), min_size=4, max_size=7))
def test_signs_of_a_gap_in_words_match_its_numbers(numbers):
    names = [*map(str, range(len(numbers) - 3)), "composition", "rest", "gap"]
    rows = pd.DataFrame(
        [part(name, at, at - reach, at + reach) for name, (at, reach) in zip(names, numbers, strict=True)]
    )
    figure = figures.gap_figure(rows, "Bannu", "KP", ABOUT)
    gap = rows.iloc[-1]
    assert not re.search(r"\b(nan|none|inf)\b", figure.alt, re.I)

    def shown(row):
        return f"{abs(100 * row['contribution']):.1f}"

    sure = gap["contribution_low"] * gap["contribution_high"] > 0 and shown(gap) != "0.0"
    assert ("cannot tell whether" in figure.reading) == (not sure)
    if sure:
        way = ("higher", "more") if gap["contribution"] > 0 else ("lower", "less")
        assert f"points {way[0]}" in figure.reading
        assert re.findall(r"goes with [\d.]+ points (\w+)", figure.reading) in ([], [way[1]])
        rest = rows.iloc[-2]
        told = rest["contribution_low"] * rest["contribution_high"] > 0 and shown(rest) != "0.0"
        same = told and (rest["contribution"] > 0) == (gap["contribution"] > 0)
        unexplained = re.findall(r"\(([\d.]+) (?:of|against) ([\d.]+) points; 95% .*\) is not expl", figure.reading)
        sizes = shown(rest), shown(gap)
        assert unexplained == ([sizes] if same else [])
        assert ("No less than the gap" in figure.reading) == (same and float(sizes[0]) >= float(sizes[1]))
    of_label = {row["label"]: row for _, row in rows.iterrows()}
    for bar in figure.bars[1:-1]:
        row = of_label[bar.label]
        way = "" if shown(row) == "0.0" else "+" if row["contribution"] > 0 else DASH
        assert bar.value == way + shown(row)
