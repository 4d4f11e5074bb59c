"""Rankings and profiles of districts from published tables: groups, sets of ranks, strips, what is said, drawings."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from perception.publish import drawing, maps, profiles, rankings, words
from perception.publish.profiles import Profile
from perception.publish.rankings import Ranking
from perception.publish.views import BAND_COLOURS
from tests.site_tables import (
    BETTER,
    CAREFUL,
    INCOMPARABLE,
    LABELS,
    SUPPRESSED,
    SVG,
    WORSE,
    changes_of,
    districts,
    published_tables,
    reference,
    subject_of,
)

KP = ("satisfied", "asked_bribe", "heard")


@pytest.fixture(scope="module")
def units():
    return reference()[1]["2018"]


@pytest.fixture(scope="module")
def tables(units):
    return published_tables(units)


def ranked(tables, units, indicator: str = "satisfied", wave: str = "kp-2021", **weights: float) -> list[Ranking]:
    rows = tables["district_rankings"]
    own = (rows["indicator"] == indicator) & rows["wave"].isin([wave, "punjab-2021"])
    rows = rows[own].assign(weights_low=float("nan"), weights_high=float("nan")).assign(**weights)
    changes = {(wave, district): row for district, row in changes_of(tables, indicator).items()}
    places = {row["district_id"]: row for row in districts(units)}
    links = {(wave, district): f"there.html#{district}" for district in (WORSE, "kp-swat")}
    return rankings.rankings(subject_of(tables, units, wave, indicator), maps.records(rows), places, links, changes)


def profile(tables, units, district: str, gaps: list[maps.Row] | None = None) -> Profile:
    subjects = [subject_of(tables, units, "kp-2021", indicator) for indicator in KP]
    (unit,) = [row for row in districts(units) if row["district_id"] == district]
    changes = {(name, key): row for name in KP for key, row in changes_of(tables, name).items()}
    rows = maps.records(tables["published_gaps"]) if gaps is None else gaps
    rows = [row for row in rows if row["unit_id"] == district]
    return profiles.profile(subjects, unit, changes, rows, [("Reading.", "page.html#here")])


def test_rows_stand_by_band_and_inside_it_worst_first(tables, units):
    table = ranked(tables, units)[0]
    assert [(band, len(rows)) for band, rows in table.groups] == [
        ("low", 2),
        ("watch", 4),
        ("not_distinguishable", 22),
        ("high", 2),
        ("", 1),
    ]
    for _, rows in table.groups[:-1]:
        assert [row.order for row in rows] == sorted(row.order for row in rows)
    assert table.rows[0].name == "Abbottabad"  # least satisfied
    assert ranked(tables, units, "asked_bribe")[0].rows[0].name == "Upper Dir"  # most asked for a bribe


def test_a_band_comes_before_the_rank(tables, units):
    """A district may have a better expected rank and yet be more surely among the worst."""
    rows = tables["district_rankings"].copy()
    rows.loc[rows["district_id"] == "kp-swat", "band"] = "low"
    found = ranked(tables | {"district_rankings": rows}, units)[0]
    assert [row.district_id for row in found.rows[:3]] == ["kp-abbottabad", "kp-bajaur", "kp-swat"]


def test_every_ranked_row_says_its_set_and_every_other_says_why(tables, units):
    for row in ranked(tables, units)[0].rows:
        if row.district_id == SUPPRESSED:
            assert (row.rank, row.value, row.interval, row.n, row.whisker) == ("", "", "", "", None)
            assert row.why == "Not published: too few respondents, too uncertain"
        else:
            assert re.fullmatch(r"between \d+\w\w and \d+\w\w of 30", row.rank)
            assert row.why == ("Use with caution: small sample" if row.district_id == CAREFUL else "")
            assert row.diagnosis == ("there.html#kp-bannu" if row.district_id == "kp-bannu" else "")  # Swat is not weak


def test_a_strip_holds_every_interval_and_has_its_marks_in_proportion(tables, units):
    table = ranked(tables, units)[0]
    assert table.ends == (0.1, 0.6)  # 16 % to 54 %
    assert table.strip == ("10%", "60%")
    marks = {row.district_id: row.whisker for row in table.rows if row.whisker}
    assert (marks[BETTER].low, marks[BETTER].at, marks[BETTER].high) == (12.0, 20.0, 28.0)
    assert all(0 <= mark.low < mark.at < mark.high <= 100 for mark in marks.values())


def test_changes_stand_beside_ranks_only_where_published(tables, units):
    rows = {row.district_id: row for row in ranked(tables, units)[0].rows}
    assert (rows[BETTER].change, rows[BETTER].verdict) == ("+5.0", "Better")
    assert (rows[WORSE].change, rows[WORSE].verdict) == ("−5.0", "Worse")
    assert (rows[CAREFUL].change, rows[CAREFUL].verdict) == ("−4.0", "Cannot tell")
    assert rows[INCOMPARABLE].change == rows[SUPPRESSED].change == ""


def test_the_round_is_another_ranking_with_the_province_of_each(tables, units):
    own, together = ranked(tables, units)
    assert (own.own, own.among, len(own.rows)) == (True, "Khyber Pakhtunkhwa", 31)
    assert (together.own, len(together.rows)) == (False, 31 + 36)
    assert {row.province for row in together.rows} == {"Khyber Pakhtunkhwa", "Punjab"}
    assert {row.province for row in own.rows} == {""}


def test_ranks_under_other_weights_are_told(tables, units):
    row = ranked(tables, units, weights_low=2, weights_high=5)[0].rows[0]
    assert row.by_weights == "2nd to 5th"


def test_a_ranking_is_drawn_with_a_dot_and_a_set_for_each_district(tables, units):
    table = ranked(tables, units)[0]
    made = rankings.drawing(subject_of(tables, units), [table], "The message.")
    root = ElementTree.fromstring(drawing.svg(made))
    dots = list(root.iter(f"{SVG}circle"))
    assert len(dots) == 30
    fills = [dot.get("fill") for dot in dots]
    assert fills == [BAND_COLOURS[row.band] for row in table.rows if row.rank]
    shown = [element.text for element in root.iter(f"{SVG}text")]
    for row in table.rows[:-1]:
        assert row.rank in shown
        assert row.interval in shown
    assert "Hangu: Not published: too few respondents, too uncertain" in shown
    assert "Kurram*" in shown
    assert "SIMULATED DATA" in shown
    assert "The message." in shown
    assert made.facts["Title"].startswith("SIMULATED DATA: ")
    assert made.height < 1100
    texts = [shape for group in made.groups for shape in group.shapes if isinstance(shape, drawing.Text)]
    assert all(0 <= text.y <= made.height for text in texts)


def test_a_profile_has_every_indicator_of_the_wave_once_in_its_order(tables, units):
    made = profile(tables, units, "kp-swat")
    assert [result.indicator for result in made.results] == list(KP)
    assert [result.label for result in made.results] == [LABELS[name] for name in KP]
    assert [result.indicator for result in made.headlines] == ["satisfied", "asked_bribe"]
    assert {name: len(rows) for name, rows in made.by_service.items()} == {"Health & <b>care</b>": 2, "Other": 1}
    assert made.respondents == "1,234"
    first = made.results[0]
    assert (first.value, first.interval, first.n, first.province_value) == (
        "48.0%",
        "44.0–52.0",
        "1,234",
        "34.5%",
    )  # 28 districts come before it
    assert (first.change, first.verdict, first.band) == ("+1.0", "Cannot tell", "not_distinguishable")
    assert first.rank == words.rank_words(25, 30, 30)


def test_worse_is_on_the_left_of_every_strip(tables, units):
    satisfied, bribes, _ = profile(tables, units, "kp-abbottabad").results
    assert satisfied.value == bribes.value == "20.0%"
    assert satisfied.whisker.at == 20.0  # few are satisfied: near the left end
    assert bribes.whisker.at == 80.0  # few are asked for a bribe: near the right end
    assert satisfied.province_at == 49.0
    assert bribes.province_at == 51.0


def test_a_suppressed_district_has_reasons_and_no_number(tables, units):
    made = profile(tables, units, SUPPRESSED)
    assert made.respondents == ""
    for result in made.results:
        assert result.why == "Not published: too few respondents, too uncertain"
        said = (result.value, result.interval, result.n, result.rank, result.band, result.change, result.verdict)
        assert said == ("",) * 7
        assert (result.whisker, result.province_at) == (None, None)
    text = drawing.svg(profiles.card(made))
    assert "%" not in text.replace("95% interval", "").replace("probability of 90%", "")


def test_gaps_are_told_only_where_published_and_found(tables, units):
    made = profile(tables, units, "kp-swat")
    ((label, sentence),) = made.gaps
    assert label == LABELS["satisfied"]
    assert sentence.startswith("The estimate is 12.0 points lower among women than among men (95% interval 4.0 to 20.0")
    assert made.untold_gaps == 1
    assert (profile(tables, units, "kp-bannu").gaps, profile(tables, units, "kp-bannu").untold_gaps) == ((), 0)
    others = [row | {"indicator": "unknown"} for row in maps.records(tables["published_gaps"])]
    assert profile(tables, units, "kp-swat", others).gaps == ()


def test_a_card_draws_its_headlines_with_interval_province_and_ranks(tables, units):
    made = profile(tables, units, "kp-bannu")
    card = profiles.card(made)
    root = ElementTree.fromstring(drawing.svg(card))
    shown = " ".join(element.text or "" for element in root.iter(f"{SVG}text"))
    for result in made.headlines:
        assert result.value in shown
        assert result.interval in shown
        assert result.rank in shown
    assert LABELS["heard"] not in shown
    assert [dot.get("fill") for dot in root.iter(f"{SVG}circle")] == [
        BAND_COLOURS[result.band] for result in made.headlines
    ]
    assert "SIMULATED DATA" in shown
    assert made.card == "kp-2021/kp-bannu-card"
    assert card.facts["Title"] == "SIMULATED DATA: Bannu, Khyber Pakhtunkhwa"
