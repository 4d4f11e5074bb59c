"""Rankings and profiles of districts from published tables: groups, sets of ranks, strips, what is said, drawings."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from perception.publish import drawing, maps, profiles, rankings, site_embeds, words
from perception.publish.page_templates import page_environment
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
LONG_REASONS = ("low_effective_sample", "few_psus", "no_degrees_of_freedom", "reveals_withheld")


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
    return profiles.profile(subjects, unit, changes, rows, [("Reading.", "page.html#here")], "KP 2018")


def drawn_texts(made: drawing.Drawing) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(drawing.svg(made)).iter(f"{SVG}text")]


def texts_within(made: drawing.Drawing) -> bool:
    """Whether every text of a drawing ends inside its margins, as the font has it."""
    texts = [shape for group in made.groups for shape in group.shapes if isinstance(shape, drawing.Text)]
    for text in texts:
        length = drawing._font(text.size, text.bold).getlength(text.text)
        start = text.x - length * {"start": 0, "middle": 0.5, "end": 1}[text.anchor]
        if start < drawing.MARGIN - 2 or start + length > drawing.WIDTH - drawing.MARGIN + 2 or text.y > made.height:
            return False
    return True


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
    said = {key: (row.change.number, row.change.interval, row.change.verdict) for key, row in rows.items()}
    assert said[BETTER] == ("+5.0", "+2.0 to +8.0", "Better")
    assert said[WORSE] == ("−5.0", "−8.0 to −2.0", "Worse")
    assert said[CAREFUL] == ("−4.0", "−8.5 to +0.5", "Cannot tell")
    assert said[INCOMPARABLE] == said[SUPPRESSED] == ("", "", "")
    assert rows[INCOMPARABLE].change.why == "Not comparable: 2018 asked it <last>"


def test_a_change_says_why_it_needs_care_or_is_not_there(tables, units):
    of, row = subject_of(tables, units), changes_of(tables)[BETTER]
    careful = rankings.shown_change(of, row | {"quality": "caution", "reason": "small_sample;rather_high_cv"})
    assert (careful.number, careful.why) == ("+5.0", "Use with caution: small sample, rather uncertain")
    held = rankings.shown_change(of, row | {"quality": "suppress", "reason": "few_responses"})
    assert (held.number, held.interval, held.why) == ("", "", "Not published: too few respondents")
    assert (
        rankings.shown_change(of, None).why == "Not comparable: the survey before has no such result for this district"
    )


def test_a_table_of_changes_has_intervals_stars_and_reasons_and_says_what_a_change_is(tables, units):
    rows = tables["published_trends"].copy()
    careful = (rows["unit_id"] == BETTER) & (rows["indicator"] == "satisfied")
    rows.loc[careful, ["quality", "reason"]] = ["caution", "small_sample"]
    changed = tables | {"published_trends": rows}
    parts = site_embeds.parts_of(page_environment(), "../")
    (ranking, _), of = ranked(changed, units), subject_of(changed, units)
    made = profile(changed, units, BETTER)
    assert made.since == "KP 2018"
    for table in (parts.ranking(ranking, of, "Share", "KP 2018", False), parts.main_results(made, linked=False)):
        text, notes = str(table).split("</table>")
        assert '+5.0<abbr title="Use with caution: small sample">*</abbr> <span class="interval">+2.0 to +8.0' in text
        assert text.count("*</abbr>") == 1
        assert '<abbr title="Not comparable: 2018 asked it &lt;last&gt;">–</abbr>' in text
        assert notes.count("Change since KP 2018, of direct estimates") == 1
        assert notes.count("<p>* Use with caution: small sample</p>") == 1
    assert "levels beside it are small-area estimates" in str(parts.ranking(ranking, of, "Share", "KP 2018", False))
    assert "levels beside it" not in str(parts.main_results(made))  # they are direct estimates
    modelled = replace(made, results=tuple(replace(result, modelled=True) for result in made.results))
    assert "levels beside it are small-area estimates" in str(parts.main_results(modelled))


def test_a_table_without_a_change_has_no_column_of_them(tables, units):
    parts = site_embeds.parts_of(page_environment(), "../")
    (ranking,), of = ranked(tables, units, "asked_bribe"), subject_of(tables, units, "kp-2021", "asked_bribe")
    rows = parts.ranking(ranking, of, "Share", "KP 2018", False)
    district = parts.main_results(profile(tables, units, INCOMPARABLE), linked=False)
    assert "Change" not in str(rows) + str(district)


def test_a_star_is_explained_by_each_reason_once():
    whys = ["Use with caution: small sample, few sampling areas", "", "Not published: too uncertain"]
    assert rankings.caution_note([*whys, "Use with caution: small sample"]) == (
        "Use with caution: small sample, few sampling areas"
    )
    assert rankings.caution_note(whys[1:]) == ""


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
    shown = drawn_texts(made)
    for row in table.rows[:-1]:
        assert row.rank in shown
        assert row.interval in shown
    assert shown.count("1,234") == 30
    assert "* Use with caution: small sample." in shown
    assert maps.MODELLED_NOTE in " ".join(shown)
    assert texts_within(made)
    assert "Hangu: Not published: too few respondents, too uncertain" in shown
    assert "Kurram*" in shown
    assert "SIMULATED DATA" in shown
    assert "The message." in shown
    assert made.facts["Title"].startswith("SIMULATED DATA: ")
    assert made.height < 1150
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
    assert (first.change.number, first.change.verdict, first.band) == ("+1.0", "Cannot tell", "not_distinguishable")
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
        assert (result.value, result.interval, result.n, result.rank, result.band) == ("",) * 5
        assert (result.change.number, result.change.interval, result.change.verdict) == ("",) * 3
        assert (result.whisker, result.province_at) == (None, None)
    text = drawing.svg(profiles.card(made))
    assert "%" not in text.replace("95% interval", "").replace("probability of 90%", "")


def test_gaps_are_told_only_where_published_and_found(tables, units):
    made = profile(tables, units, "kp-swat")
    ((label, sentence),) = made.gaps
    assert label == LABELS["satisfied"]
    assert sentence.startswith("The estimate is 12.0 points lower among women than among men (95% interval 4.0 to 20.0")
    assert (made.untold_gaps, made.untold_between) == (1, ("urban",))
    bannu = profile(tables, units, "kp-bannu")
    assert (bannu.gaps, bannu.untold_gaps, bannu.untold_between) == ((), 0, ())
    others = [row | {"indicator": "unknown"} for row in maps.records(tables["published_gaps"])]
    assert profile(tables, units, "kp-swat", others).gaps == ()


def test_a_card_draws_its_headlines_with_interval_province_and_ranks(tables, units):
    made = profile(tables, units, "kp-bannu")
    card = profiles.card(made)
    root = ElementTree.fromstring(drawing.svg(card))
    shown = " ".join(drawn_texts(card))
    for result in made.headlines:
        assert f"{result.n} respondents" in shown
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
    assert "*" not in shown
    assert maps.MODELLED_NOTE not in shown  # its headlines are direct estimates


def test_a_card_marks_what_needs_care_and_says_how_it_was_estimated(tables, units):
    made = profile(tables, units, CAREFUL)
    shown = drawn_texts(profiles.card(made))
    for result in made.headlines:
        assert f"{result.value}*" in shown
    assert "* Use with caution: small sample." in shown
    modelled = replace(made, results=tuple(replace(result, modelled=True) for result in made.results))
    assert maps.MODELLED_NOTE in " ".join(drawn_texts(profiles.card(modelled)))


def test_a_long_reason_makes_its_row_higher_and_stays_on_the_card(tables, units):
    made = profile(tables, units, SUPPRESSED)
    why = f"Not published: {', '.join(maps.reason_words(code) for code in ('few_responses', *LONG_REASONS))}"
    longer = replace(made, results=tuple(replace(result, why=why) for result in made.results))
    card = profiles.card(longer)
    assert why in " ".join(drawn_texts(card))
    assert texts_within(card)
    assert card.height > profiles.card(made).height


def test_the_unit_of_a_mean_stands_with_its_label(tables, units):
    subjects = [subject_of(tables, units, "punjab-2021", indicator) for indicator in ("satisfied", "minutes")]
    (unit,) = [row for row in districts(units) if row["district_id"] == "punjab-attock"]
    made = profiles.profile(subjects, unit, {}, [], [], "")
    assert [(result.value, result.unit) for result in made.results] == [("20.0%", ""), ("31.0", "minutes")]
    assert "Waiting time, minutes" in drawn_texts(profiles.card(made))
