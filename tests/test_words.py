"""Sentences about published numbers: read back, they say what the numbers say and no more."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.estimation.gaps import GAPS
from perception.publish import maps, views, words
from perception.schemas import BANDS

NAN = math.nan
SHARE = maps.Scale("share", "", (0.3, 0.4, 0.5, 0.6), 1)
WAIT = maps.Scale("mean", "minutes", (20, 40, 60, 80), 1)
PLAIN = maps.Scale("mean", "", (0.2, 0.4, 0.6, 0.8), 2)
SCALES = [SHARE, WAIT, PLAIN]
LABEL = "Satisfied with government primary health care"
PLACE = "Khyber Pakhtunkhwa"
PUBLISHED = {"quality": "publish", "reason": None}
HELD = {"quality": "suppress", "reason": "wide_interval"}
SECRET = 0.7913
"""Stands in withheld rows of these tests, where the tables have null: nothing may show it."""

NUMBER = r"[−-]?\d[\d,]*(?:\.\d+)?"


def of(text: str) -> float:
    """A number as shown."""
    return float(text.replace("−", "-").replace(",", "").replace("+", ""))


def shown(value: float, scale: maps.Scale) -> float:
    """What a value is rounded to on screen, worked out anew."""
    return round(float(f"{100 * value if scale.kind == 'share' else value:.{scale.decimals}f}"), 9) + 0.0


# Rows


def estimate_row(at: float, low: float, high: float, n: int = 812, unit_id: str = "a", **more: Any) -> maps.Row:
    row = {"level": "district", "unit_id": unit_id, "domain": "all", "method": "small_area", **PUBLISHED}
    return row | {"estimate": at, "low": low, "high": high, "n": n} | more


def rank_row(district: str, rank_set: tuple[int, int], count: int = 32, **more: Any) -> maps.Row:
    row = {"indicator": "care", "district_id": district, **PUBLISHED, "rank": rank_set[0], "rank_low": rank_set[0]}
    row |= {"rank_high": rank_set[1], "districts": count, "band": "not_distinguishable", "n": 812}
    return row | {"estimate": 0.395, "low": 0.371, "high": 0.419} | more


def unranked(district: str) -> maps.Row:
    nothing = dict.fromkeys(("rank", "rank_low", "rank_high", "band", "n"))
    return rank_row(district, (1, 1)) | nothing | HELD | {"estimate": SECRET, "low": SECRET, "high": SECRET}


def trend_row(change: float, low: float, high: float, verdict: str | None, unit_id: str = "a", **more: Any) -> maps.Row:
    row = {"unit_id": unit_id, "domain": "all", **PUBLISHED, "before": 0.4, "after": 0.4 + change}
    return row | {"change": change, "low": low, "high": high, "verdict": verdict} | more


def gap_row(at: float, low: float, high: float, verdict: str | None, **more: Any) -> maps.Row:
    row = {"gap": "sex", **PUBLISHED, "estimate": at, "low": low, "high": high, "verdict": verdict}
    return row | {"n_first": 1597, "n_second": 1645} | more


# Random rows

edge = st.sampled_from([0.0, 1.0, 0.0004, 0.0006, 0.9996, 0.5, 0.44449, 0.4445])
shares = st.one_of(edge, st.floats(0, 1))
n_people = st.sampled_from([1, 2, 49, 1000, 12345])
scales = st.sampled_from(SCALES)
differences = st.one_of(st.sampled_from([0.0, 0.0004, -0.0004, 0.00051, -0.00051, 0.052, -1.0]), st.floats(-1, 1))
half_widths = st.one_of(st.just(1.5), st.floats(0, 0.3))
quality = st.sampled_from([PUBLISHED, {"quality": "caution", "reason": "small_sample"}, HELD])
hostile = st.one_of(
    st.text('ab<>&"=\u202e\u202a\u2066\u2069\x00\x07\n\t  ‘é١()', min_size=1, max_size=30),
    st.just("x" * 10_000),
    st.just("<script>alert(1)</script>"),
)


def around(at: float, half: float) -> tuple[float, float]:
    return at - half, at + half


@st.composite
def estimate_rows(draw: st.DrawFn, most: int = 12) -> list[maps.Row]:
    rows = []
    for place in range(draw(st.integers(0, most))):
        at, below, above = draw(shares), draw(st.floats(0, 0.2)), draw(st.floats(0, 0.2))
        ends = draw(st.sampled_from([(max(0.0, at - below), min(1.0, at + above)), (NAN, NAN)]))
        row = estimate_row(at, *ends, draw(n_people), f"d{place}") | draw(quality)
        if row["quality"] == "suppress":
            row |= {"estimate": SECRET, "low": SECRET, "high": SECRET, "n": None}
        rows.append(row)
    return rows


@st.composite
def ranking_rows(draw: st.DrawFn) -> list[maps.Row]:
    """A whole ranking: worst first, rank sets that hold the rank, any band."""
    count = draw(st.integers(0, 20))
    rows = []
    for place in range(1, count + 1):
        ends = draw(st.integers(1, place)), draw(st.integers(place, count))
        band = draw(st.sampled_from(BANDS)) if count > 1 else "not_distinguishable"
        at = draw(st.floats(0, 1))
        low, high = around(at, 0.05)
        rows.append(rank_row(f"d{place}", ends, count, rank=place, band=band, estimate=at, low=low, high=high))
    rows += [unranked(f"u{place}") for place in range(draw(st.integers(0, 4)))]
    return draw(st.permutations(rows))


@st.composite
def trends(draw: st.DrawFn, gap: bool = False) -> maps.Row:
    """Any row, also one whose verdict its own numbers do not bear out."""
    before, after = draw(differences if gap else shares), draw(differences if gap else shares)
    change = after - before
    ends = draw(st.sampled_from([around(change, draw(half_widths)), around(change, abs(change) / 2), (NAN, NAN)]))
    verdict = draw(st.sampled_from(["better", "worse", "cannot_tell", "not_comparable", None]))
    row = trend_row(change, *ends, verdict) | {"before": before, "after": after} | draw(quality)
    row |= {"domain": draw(st.sampled_from(["gap:sex", "gap:urban", "gap:wealth"])) if gap else "all"}
    if verdict in ("not_comparable", None):
        row |= HELD | {"reason": "not_comparable" if verdict else "wide_interval"}
    if row["quality"] == "suppress":
        row |= {"change": SECRET, "before": SECRET, "after": SECRET, "low": SECRET, "high": SECRET}
        row["verdict"] = verdict if verdict == "not_comparable" else None
    return row


@st.composite
def gaps(draw: st.DrawFn) -> maps.Row:
    at = draw(differences)
    ends = draw(st.sampled_from([around(at, draw(half_widths)), around(at, abs(at) / 2), (NAN, NAN)]))
    verdict = draw(st.sampled_from(["lower", "higher", "cannot_tell"]))
    row = gap_row(at, *ends, verdict, gap=draw(st.sampled_from(sorted(GAPS)))) | draw(quality)
    return row | ({"estimate": SECRET, "verdict": None} if row["quality"] == "suppress" else {})


def topic(scale: maps.Scale = SHARE, label: str = LABEL, **more: Any) -> words.Topic:
    return words.Topic(
        **{
            **{"label": label, "place": PLACE, "scale": scale, "higher_is_better": True, "simulated": True},
            **{"since": "2021", **more},
        }
    )


NAMES = {f"d{place}": f"Q{chr(97 + place)}" for place in range(25)}
NAMES |= {f"u{place}": f"W{chr(97 + place)}" for place in range(25)}


# What holds for every text


def check_text(text: str, sentence: bool = True) -> None:
    assert text.isprintable()
    assert "  " not in text
    assert ".." not in text
    assert not re.search(r"\b(nan|None|NaN|inf|NA)\b", text)
    assert not re.search(r"[−-]0(\.0+)?(?![\d.]*\d)", text), "a negative zero"
    assert not re.search(r"\brank \d", text)
    if sentence:
        assert text.endswith((".", "!", "?", "…"))
    for number, thing, plural in re.findall(r"(\d[\d,]*) (district|indicator|respondent)(s?)\b", text):
        assert (plural == "") == (of(number) == 1) or f"and {number} respondents" in text, thing
    for number, verb in re.findall(r"(\d+)(?: of \d+)? (?:districts?|more)(?: in [\w ]+?)? (is|are)\b", text):
        assert (verb == "is") == (number == "1")


def check_ranks(text: str) -> None:
    """No rank stands alone: none remains after taking the sets away."""
    place = r"\d+(?:st|nd|rd|th)"
    assert not re.findall(place, re.sub(rf"between {place} and {place} of \d+|{place} of \d+", "", text))


def listed(text: str) -> tuple[list[str], int]:
    """The names of a list and how many it stands for."""
    if more := re.search(r" and (\d+) more$", text):
        names = text[: more.start()].split(", ")
        return names, len(names) + int(more[1])
    names = re.split(r", | and ", text)
    return names, len(names)


# Lists, ranks


def test_lists_are_cut_and_joined():
    assert words.list_of(["A", "B", "C"], 3) == "A, B and C"
    assert words.list_of(["A", "B"], 3) == "A and B"
    assert words.list_of(["A\u202e"], 3) == "A"
    assert words.list_of(["A", "B", "C", "D", "E", "F"], 2) == "A, B and 4 more"
    assert words.list_of([], 2) == "none"


@given(st.lists(st.sampled_from("ABCDEFG"), min_size=1), st.integers(1, 9))
def test_a_list_stands_for_all_its_names(names: list[str], most: int):
    found, count = listed(words.list_of(names, most))
    assert (found, count) == (names[:most], len(names))


def test_ranks_are_always_sets():
    assert [words.ordinal(number) for number in (1, 2, 3, 4, 11, 12, 13, 21, 102, 111)] == (
        ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th"]
    )
    assert words.rank_words(3, 14, 32) == "between 3rd and 14th of 32"
    assert words.rank_words(1, 1, 32) == "1st of 32"
    assert words.rank_range(3, 14) == "3rd to 14th"


# Estimates


def test_estimates_in_words():
    row = estimate_row(0.3951, 0.3712, 0.4193)
    assert words.estimate_words(row, SHARE) == "39.5% (95% interval 37.1–41.9; 812 respondents)"
    assert words.estimate_words(estimate_row(12.34, 10.1, 14.5, 1), WAIT) == (
        "12.3 minutes (95% interval 10.1–14.5; 1 respondent)"
    )
    ladder = maps.Scale("mean", "steps (0-10)", (5, 6, 7, 8), 1)
    assert words.estimate_words(row | {"estimate": 4.61, "low": 4.32, "high": 4.9}, ladder) == (
        "4.6 steps (95% interval 4.3–4.9; 812 respondents)"
    )
    care = {"quality": "caution", "reason": "small_sample;rather_wide_interval"}
    assert words.estimate_words(row | care | {"n": 1234, "low": NAN, "high": NAN}, SHARE) == (
        "39.5% (95% interval not available; 1,234 respondents; use with caution: small sample, rather uncertain)"
    )
    modelled = {"quality": "caution", "reason": "no_respondents", "n": 0}
    assert words.estimate_words(row | modelled, SHARE) == (
        "39.5% (95% interval 37.1–41.9; no respondents of its own, modelled from other districts; use with caution: no "
        "answers there: estimated from districts like it)"
    )
    assert words.estimate_words(row | HELD, SHARE) == "not published: too uncertain"
    assert words.estimate_words(row | HELD | {"reason": None}, SHARE) == "not published: no reason recorded"


@given(estimate_rows(most=3), scales)
def test_an_estimate_says_its_numbers(rows: list[maps.Row], scale: maps.Scale):
    for row in rows:
        said = words.estimate_words(row, scale)
        check_text(said, sentence=False)
        if row["quality"] == "suppress":
            assert not re.search(r"\d", said)
            continue
        assert of(re.match(NUMBER, said)[0]) == shown(row["estimate"], scale)
        ends = re.search(rf"95% interval ({NUMBER})–({NUMBER})", said)
        if math.isnan(row["low"]):
            assert ends is None
            assert "95% interval not available" in said
        else:
            assert [of(end) for end in ends.groups()] == [shown(row["low"], scale), shown(row["high"], scale)]
        assert f"{row['n']:,} respondent" in said
        assert ("use with caution: small sample" in said) == (row["quality"] == "caution")


# Rankings


def ranked_as(*bands: str) -> list[maps.Row]:
    return [rank_row(f"d{place}", (place + 1, place + 1), len(bands), band=band) for place, band in enumerate(bands)]


MIDDLE = ("not_distinguishable",)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            ranked_as(*["low"] * 3, *["watch"] * 2, *MIDDLE * 26, "high"),
            "3 of 32 districts in Khyber Pakhtunkhwa are very likely among the worst-placed: Qa, Qb and Qc; 2 more "
            "are to watch: Qd and Qe. 1 district is very likely among the best-placed: d31. 26 districts are not "
            "clearly among the worst-placed or the best-placed.",
        ),
        (
            [*ranked_as("low", "watch", *MIDDLE), unranked("u0")],
            "1 of 3 districts in Khyber Pakhtunkhwa is very likely among the worst-placed: Qa; 1 more is to watch: Qb. "
            "1 district is not clearly among the worst-placed or the best-placed. 1 district is not ranked.",
        ),
        (
            ranked_as("watch", *MIDDLE * 4),
            "1 of 5 districts in Khyber Pakhtunkhwa is to watch: Qa; the survey cannot tell for sure that any district "
            "is among the worst-placed. 4 districts are not clearly among the "
            "worst-placed or the best-placed.",
        ),
        (
            ranked_as(*MIDDLE * 32),
            "The survey cannot tell which of the 32 districts in Khyber Pakhtunkhwa are among the worst-placed or the "
            "best-placed.",
        ),
        (
            ranked_as(*MIDDLE * 4, "high"),
            "The survey cannot tell which of the 5 districts in Khyber Pakhtunkhwa are among the worst-placed. "
            "1 district is very likely among the best-placed: Qe. 4 districts are not clearly among the "
            "worst-placed or the best-placed.",
        ),
        (
            [*ranked_as(*MIDDLE), unranked("u0"), unranked("u1")],
            "Only Qa is ranked in Khyber Pakhtunkhwa: there is nothing to compare it with. 2 districts are not ranked.",
        ),
        ([unranked("u0")], "No district in Khyber Pakhtunkhwa is ranked. 1 district is not ranked."),
        (
            ranked_as(*["low"] * 9, *MIDDLE),
            "9 of 10 districts in Khyber Pakhtunkhwa are very likely among the worst-placed: Qa, Qb, Qc, Qd, Qe, Qf "
            "and 3 more. 1 district is not clearly among the worst-placed or the best-placed.",
        ),
    ],
)
def test_headlines_of_rankings(rows: list[maps.Row], said: str):
    assert words.ranking_headline(rows, NAMES, PLACE) == said


@given(ranking_rows())
def test_a_ranking_headline_counts_and_names_the_bands(rows: list[maps.Row]):
    said = words.ranking_headline(rows, NAMES, PLACE)
    check_text(said)
    bands = {name: {NAMES[row["district_id"]] for row in rows if row["band"] == name} for name in BANDS}
    total = sum(map(len, bands.values()))
    counted = {}
    for band, pattern in (
        (
            "low",
            r"(\d+) of (?P<all>\d+) districts? in [\w ]+ \w+ very likely among the worst-placed: (?P<names>[^.;]+)",
        ),
        ("watch", r"(\d+) (?:more|of (?P<all>\d+) districts? in [\w ]+) (?:is|are) to watch: (?P<names>[^.;]+)"),
        ("high", r"(\d+) districts? \w+ very likely among the best-placed: (?P<names>[^.;]+)"),
    ):
        if found := re.search(pattern, said):
            names, count = listed(found["names"])
            assert set(names) <= bands[band]
            assert count == int(found[1]) == len(bands[band])
            assert found.groupdict().get("all") in (None, str(total))
            counted[band] = count
    every = r"which of the (\d+) districts [^.]* or the best"
    if found := re.search(rf"(\d+) districts? (?:is|are) not clearly|{every}", said):
        counted["not_distinguishable"] = int(found[1] or found[2])
    elif said.startswith("Only "):
        counted["not_distinguishable"] = 1
    assert counted == {band: len(names) for band, names in bands.items() if names}
    left = re.search(r"(\d+) districts? (?:is|are) not ranked", said)
    assert (int(left[1]) if left else 0) == len(rows) - total
    assert not re.search(r"\bW\w\b", said), "names a district that has no rank"


# Change


@pytest.mark.parametrize(
    ("row", "scale", "higher_is_better", "verdict"),
    [
        (trend_row(0.052, 0.01, 0.094, "better"), SHARE, True, "better"),
        (trend_row(-0.031, -0.052, -0.01, "worse"), SHARE, True, "worse"),
        (trend_row(3.2, 1.04, 5.4, "worse", quality="caution", reason="small_sample"), WAIT, False, "worse"),
        (trend_row(0.012, -0.03, 0.054, "cannot_tell"), SHARE, True, "cannot_tell"),
        (trend_row(0.032, 0.001, 0.063, "cannot_tell"), SHARE, True, "cannot_tell"),
        (trend_row(-0.0004, -0.0007, -0.0001, "worse"), SHARE, True, "cannot_tell"),
        (trend_row(3.4, 0.0004, 6.8, "worse"), WAIT, False, "cannot_tell"),
        (trend_row(0.05, -0.01, 0.11, "better"), SHARE, True, "cannot_tell"),
        (trend_row(0.05, 0.01, 0.09, "worse"), SHARE, True, "cannot_tell"),
        (trend_row(0.05, NAN, NAN, "better"), SHARE, True, "cannot_tell"),
        (trend_row(SECRET, SECRET, SECRET, "not_comparable", **HELD), SHARE, True, "not_comparable"),
        (trend_row(SECRET, SECRET, SECRET, None, **HELD), SHARE, True, "suppressed"),
    ],
)
def test_verdicts_of_changes(row: maps.Row, scale: maps.Scale, higher_is_better: bool, verdict: str):
    assert words.change_verdict(row, scale, higher_is_better) == verdict


def test_a_gap_that_narrows_is_better_whatever_its_sign():
    rows = [
        trend_row(0.047, 0.01, 0.084, "better", domain="gap:sex") | {"before": -0.057, "after": -0.01},
        trend_row(-0.047, -0.084, -0.01, "better", domain="gap:sex") | {"before": 0.057, "after": 0.01},
    ]
    assert [words.change_verdict(row, SHARE, upwards) for row in rows for upwards in (True, False)] == ["better"] * 4
    turned = trend_row(0.2, 0.1, 0.3, "cannot_tell", domain="gap:wealth") | {"before": -0.1, "after": 0.1}
    assert words.change_verdict(turned, SHARE, True) == "cannot_tell"


@given(st.one_of(trends(), trends(gap=True)), scales, st.booleans())
def test_a_change_verdict_agrees_with_its_row_and_the_sign_shown(row: maps.Row, scale: maps.Scale, upwards: bool):
    verdict = words.change_verdict(row, scale, upwards)
    assert (verdict in ("not_comparable", "suppressed")) == (row["quality"] == "suppress")
    assert (verdict == "not_comparable") == (row["verdict"] == "not_comparable")
    if row["quality"] != "suppress":
        change, low, high = (shown(row[number], scale) for number in ("change", "low", "high"))
        rose, fell = change > 0 and low > 0, change < 0 and high < 0
        narrowed = abs(row["after"]) < abs(row["before"])
        improved = narrowed if row["domain"] != "all" else rose == upwards
        told = (rose or fell) and row["verdict"] == ("better" if improved else "worse")
        assert verdict == (row["verdict"] if told else "cannot_tell")


@given(st.lists(trends(), max_size=24), scales, st.booleans())
def test_a_change_headline_counts_and_names_the_verdicts(rows: list[maps.Row], scale: maps.Scale, upwards: bool):
    rows = [row | {"unit_id": f"d{place}"} for place, row in enumerate(rows)]
    said = words.change_headline(rows, NAMES, "2021", PLACE, scale, upwards)
    check_text(said)
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(words.change_verdict(row, scale, upwards), set()).add(NAMES[row["unit_id"]])
    counts = {}
    for verdict in ("better", "worse"):
        if part := re.search(rf"(\d+)(?: of (\d+) districts? in [\w ]+ changed)? for the {verdict}: ([^.;]+)", said):
            names, counts[verdict] = listed(part[3])
            assert set(names) <= found[verdict]
            assert int(part[1]) == counts[verdict]
            assert part[2] in (None, str(len(rows)))
    for what, pattern in (
        ("cannot_tell", r"[Ff]or (?:all )?(\d+) (?:districts? )?the survey cannot tell"),
        ("not_comparable", r"(\d+) (?:districts? cannot be compared|(?:is|are) not comparable)"),
        ("suppressed", r"(\d+) (?:districts? the change is|(?:is|are)) not published"),
    ):
        if part := re.search(pattern, said):
            counts[what] = int(part[1])
    if "the only district" in said:
        counts["cannot_tell"] = 1
    assert counts == {what: len(names) for what, names in found.items()}
    assert not ("No " in said and found.keys() & {"better", "worse"})
    assert ("for all" in said) == (set(found) == {"cannot_tell"} and len(rows) > 1)


def test_change_headlines():
    better = [trend_row(0.1 + place / 100, 0.05, 0.2, "better", f"d{place}") for place in range(2)]
    rest = [
        trend_row(-0.2, -0.3, -0.1, "worse", "d2"),
        trend_row(0.01, -0.1, 0.1, "cannot_tell", "d3"),
        trend_row(NAN, NAN, NAN, None, "d4", **HELD),
        trend_row(NAN, NAN, NAN, "not_comparable", "d5", **HELD),
    ]
    assert words.change_headline([*better, *rest], NAMES, "2021", PLACE, SHARE, True) == (
        "Since 2021, 2 of 6 districts in Khyber Pakhtunkhwa changed for the better: Qb and Qa; 1 for the worse: Qc. "
        "For 1 district the survey cannot tell. 1 district cannot be compared with 2021. For 1 district the change is "
        "not published."
    )
    assert words.change_headline(rest[1:3], NAMES, "2021", PLACE, SHARE, True) == (
        "No district in Khyber Pakhtunkhwa is known to have changed since 2021; for 1 the survey cannot tell, 1 is not "
        "published."
    )
    many = [*rest[1:2] * 22, *rest[3:4], *rest[2:3] * 10]
    assert words.change_headline(many, NAMES, "2021", PLACE, SHARE, True) == (
        "No district in Khyber Pakhtunkhwa is known to have changed since 2021; for 22 the survey cannot tell, 1 is "
        "not comparable, 10 are not published."
    )
    assert words.change_headline(rest[1:2] * 3, NAMES, "2021", PLACE, SHARE, True) == (
        "No district in Khyber Pakhtunkhwa is known to have changed since 2021; for all 3 the survey cannot tell."
    )
    assert words.change_headline(rest[1:2], NAMES, "2021", PLACE, SHARE, True) == (
        "The survey cannot tell whether the only district in Khyber Pakhtunkhwa changed since 2021."
    )
    assert words.change_headline([rest[3]] * 2, NAMES, "2018", PLACE, SHARE, True) == (
        "No change since 2018 is published for districts in Khyber Pakhtunkhwa. 2 districts cannot be compared with "
        "2018."
    )
    assert words.change_headline([], NAMES, "2018", PLACE, SHARE, True) == (
        "No change since 2018 is published for districts in Khyber Pakhtunkhwa."
    )


# Gaps


def test_every_gap_has_words():
    assert words.GROUPS.keys() == GAPS.keys()
    assert GAPS["sex"] == ("sex=female", "sex=male")
    assert GAPS["urban"] == ("urban=rural", "urban=urban")
    assert GAPS["wealth"] == ("wealth=lowest", "wealth=highest")


def test_gaps_in_words():
    assert words.gap_sentence(gap_row(-0.0567, -0.0969, -0.0165, "lower"), SHARE) == (
        "The estimate is 5.7 points lower among women than among men (95% interval 1.7 to 9.7; 1,597 and 1,645 "
        "respondents)."
    )
    assert words.gap_sentence(gap_row(4.3, 1.2, 7.4, "higher", gap="urban"), WAIT) == (
        "The estimate is 4.3 minutes higher among rural people than among urban people (95% interval 1.2 to 7.4; "
        "1,597 and 1,645 respondents)."
    )
    assert words.gap_sentence(gap_row(-0.0652, -0.1398, 0.0104, "cannot_tell", gap="wealth"), SHARE) == (
        "The survey cannot tell whether the estimate differs between the poorest fifth and the richest fifth: −6.5 "
        "points (the poorest fifth less the richest fifth; 95% interval −14.0 to 1.0; 1,597 and 1,645 respondents)."
    )
    care = {"quality": "caution", "reason": "small_sample"}
    assert words.gap_sentence(gap_row(0.032, 0.001, 0.063, "cannot_tell", **care), SHARE) == (
        "The survey cannot tell whether the estimate differs between women and men: +3.2 points (women less men; 95% "
        "interval 0.1 to 6.3; 1,597 and 1,645 respondents). The interval leaves out zero, but among so many "
        "comparisons such a difference may be chance. Use with caution: small sample."
    )
    assert words.gap_sentence(gap_row(-0.0004, -0.0007, -0.0001, "lower"), SHARE) == (
        "The survey cannot tell whether the estimate differs between women and men: 0.0 points (women less men; 95% "
        "interval −0.1 to 0.0; 1,597 and 1,645 respondents). Rounded to the digits shown, the interval reaches zero."
    )
    for row in (gap_row(0.05, -0.01, 0.11, "higher"), gap_row(0.05, 0.01, 0.09, "lower")):
        assert words.gap_sentence(row, SHARE).startswith("The survey cannot tell whether"), row
    assert words.gap_sentence(gap_row(0.0, NAN, NAN, "cannot_tell"), SHARE) == (
        "The survey cannot tell whether the estimate differs between women and men: 0.0 points (women less men; 95% "
        "interval not available; 1,597 and 1,645 respondents)."
    )
    assert words.gap_sentence(gap_row(SECRET, SECRET, SECRET, None, **HELD), SHARE) == (
        "The gap between women and men is not published: too uncertain."
    )


def check_direction(said: str, at: float, low: float, high: float, scale: maps.Scale) -> None:
    """The numbers of a difference told apart: its size and interval, turned round where the words say less."""
    found = re.search(rf"({NUMBER})(?: \w+)? .*95% interval ({NUMBER}) to ({NUMBER})", said)
    size, *ends = (of(part) for part in found.groups())
    turned = [shown(end, scale) for end in ((low, high) if at > 0 else (-high, -low))]
    assert (size, ends) == (shown(abs(at), scale), turned)
    assert size > 0
    assert ends[0] > 0


@given(gaps(), scales)
def test_a_gap_sentence_agrees_with_verdict_and_sign(row: maps.Row, scale: maps.Scale):
    said = words.gap_sentence(row, scale)
    check_text(said)
    first, second = words.GROUPS[row["gap"]]
    told = re.search(r"(lower|higher) among ([\w ]+) than among ([\w ]+) \(", said)
    assert ("is not published" in said) == (row["quality"] == "suppress")
    assert bool(told) + ("cannot tell" in said) + ("is not published" in said) == 1
    assert ("Use with caution" in said) == (row["quality"] == "caution")
    if told:
        assert told[1] == row["verdict"] == ("higher" if row["estimate"] > 0 else "lower")
        assert (told[2], told[3]) == (first, second)
        assert shown(row["estimate"], scale) != 0
        check_direction(said, row["estimate"], row["low"], row["high"], scale)
        assert row["low"] > 0 or row["high"] < 0
    elif "cannot tell" in said:
        assert of(re.search(rf": \+?({NUMBER})", said)[1]) == shown(row["estimate"], scale)
        assert ("+" in said) == (shown(row["estimate"], scale) > 0)
        assert "1,597 and 1,645 respondents" in said
        ends = re.search(rf"95% interval ({NUMBER}) to ({NUMBER})", said)
        if math.isnan(row["low"]):
            assert ends is None
        else:
            low, high = (of(end) for end in ends.groups())
            assert [low, high] == [shown(row["low"], scale), shown(row["high"], scale)]
            assert ("be chance" in said) == (low > 0 or high < 0)
            reaches = low <= 0 <= high and row["verdict"] != "cannot_tell"
            assert ("the interval reaches zero" in said) == reaches


# District profiles

LABELS = {name: f"Label {name}" for name in "abcdefghijkl"}


def test_district_headlines():
    bands = ["low", "low", "watch", "high", "not_distinguishable"]
    rows = [rank_row("x", (1, 4), band=band, indicator=name) for band, name in zip(bands, "abcde", strict=True)]
    rows.append(unranked("x") | {"indicator": "f"})
    assert words.district_headline(rows, LABELS, "Nowshera") == (
        "Nowshera is very likely among the worst-placed on 2 of 6 indicators: “Label a” and “Label b”; to "
        "watch on 1: “Label c”; very likely among the best-placed on 1: “Label d”. On 1 indicator it is not "
        "clearly among the worst-placed or the best-placed. On 1 indicator it is not ranked."
    )
    assert words.district_headline(rows[4:5], LABELS, "Nowshera") == (
        "Nowshera is not clearly among the worst-placed or the best-placed on the only indicator it is ranked on."
    )
    assert words.district_headline(rows[4:], LABELS, "Nowshera") == (
        "Nowshera is not clearly among the worst-placed or the best-placed on the only indicator it is ranked on. "
        "On 1 indicator it is not ranked."
    )
    assert words.district_headline(rows[5:], LABELS, "Tank") == "Tank is not ranked on the only indicator."
    assert words.district_headline([], LABELS, "Tank") == "Tank is in no ranking."


@given(st.lists(st.sampled_from([*BANDS, ""]), max_size=12))
def test_a_district_headline_counts_and_names_its_bands(bands: list[str]):
    rows = [
        (rank_row("x", (2, 5), band=band) if band else unranked("x")) | {"indicator": name}
        for band, name in zip(bands, LABELS, strict=False)
    ]
    said = words.district_headline(rows, LABELS, "Nowshera")
    check_text(said)
    counts = {}
    for band, pattern in (
        ("low", "among the worst-placed"),
        ("watch", "to watch"),
        ("high", "among the best-placed"),
    ):
        if found := re.search(rf"{pattern} on (\d+)(?: of (\d+) indicators?)?: ([^.;]+)", said):
            names, counts[band] = listed(found[3])
            assert int(found[1]) == counts[band]
            assert found[2] in (None, str(len(rows)))
            right = {f"“{LABELS[row['indicator']]}”" for row in rows if row["band"] == band}
            assert set(names) <= right
    for band, pattern in (("not_distinguishable", "not clearly"), ("", "not ranked")):
        if found := re.search(rf"On (\d+) indicators? it is {pattern}", said):
            counts[band] = int(found[1])
    if found := re.search(r"Nowshera is not (clearly|ranked).*? on (?:any of (\d+) indicators|the only)", said):
        counts.setdefault("" if found[1] == "ranked" else "not_distinguishable", int(found[2] or 1))
    assert counts == {band: bands.count(band) for band in set(bands)}


# Alt texts

ALTS = ("estimate", "tiles", "uncertainty", "bands", "change", "ranking")


def alt_rows() -> dict[str, list[maps.Row]]:
    estimates = [
        estimate_row(0.231, 0.201, 0.263, unit_id="d0"),
        estimate_row(0.45, 0.4, 0.5, unit_id="d1"),
        estimate_row(0.61, 0.58, 0.66, unit_id="d2"),
        estimate_row(SECRET, SECRET, SECRET, unit_id="d3", **HELD),
    ]
    ranks = [
        rank_row("d0", (1, 2), 3, band="low", estimate=0.231, low=0.201, high=0.263),
        rank_row("d1", (1, 3), 3),
        rank_row("d2", (3, 3), 3, band="high", estimate=0.61, low=0.58, high=0.66),
        unranked("d3"),
    ]
    changes = [
        trend_row(0.2, 0.1, 0.3, "better", "d0"),
        trend_row(0.01, -0.1, 0.1, "cannot_tell", "d1"),
        trend_row(NAN, NAN, NAN, "not_comparable", "d2", **HELD),
        trend_row(NAN, NAN, NAN, None, "d3", **HELD),
    ]
    rows = {"estimate": estimates, "tiles": estimates, "uncertainty": estimates, "bands": ranks, "ranking": ranks}
    return rows | {"change": changes}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (
            "estimate",
            "Map of “Satisfied with government primary health care”: 3 districts in Khyber Pakhtunkhwa. Grey, no data: "
            "1 district. Hatched, not published: 1 district. Districts by class: under 30%: 1, 40% to under 50%: 1, "
            "60% or more: 1. Lowest: Qa 23.1% (95% interval 20.1–26.3); highest: Qc 61.0% (95% interval 58.0–66.0); "
            "their intervals do not overlap.",
        ),
        (
            "uncertainty",
            "Map of how uncertain “Satisfied with government primary health care” is: 3 districts in Khyber "
            "Pakhtunkhwa. Grey, no data: 1 district. Hatched, not published: 1 district. A typical estimate is "
            "uncertain by ±4.0 points (95% interval). Least uncertain: Qa, ±3.1 points; most uncertain: Qb, ±5.0 "
            "points.",
        ),
        (
            "bands",
            "Map of bands of “Satisfied with government primary health care”: 3 districts ranked in Khyber "
            "Pakhtunkhwa. Grey, no data: 1 district. Low (worst-placed): 1, Watch: 0, Not clear: 1, High "
            "(best-placed): 1. Hatched, not published: 1 district. Low: Qa. High: Qc.",
        ),
        (
            "change",
            "Map of change since 2021 in “Satisfied with government primary health care”: 4 districts in Khyber "
            "Pakhtunkhwa. Grey, no data: 1 district. For the better: 1, for the worse: 0, cannot tell: 1. Grey, "
            "not comparable: 1 district. Hatched, not published: 1 district. Better: Qa.",
        ),
    ],
)
def test_alt_texts(kind: Any, said: str):
    assert words.alt_text(kind, topic(), alt_rows()[kind], NAMES, 1) == f"SIMULATED DATA. {said}"
    assert words.alt_text(kind, topic(simulated=False), alt_rows()[kind], NAMES, 1) == said


def test_alt_text_of_a_ranking():
    assert words.alt_text("ranking", topic(label="Label"), alt_rows()["ranking"], NAMES) == (
        "SIMULATED DATA. Dots with intervals, worst first, in bands of “Label”: 3 districts ranked in Khyber "
        "Pakhtunkhwa. From Qa 23.1% (95% interval 20.1–26.3; between 1st and 2nd of 3) to Qc 61.0% (95% interval "
        "58.0–66.0; 3rd of 3); their rank sets do not overlap. Low (worst-placed): 1, Watch: 0, Not clear: "
        "1, High (best-placed): 1. Not ranked: 1 district. Low: Qa. High: Qc."
    )


def test_alt_text_calls_districts_grey_or_hatched_as_they_are_painted():
    modelled = unranked("d4") | {"quality": "caution", "reason": "no_respondents", "estimate": 0.4, "n": 0}
    rows = [*alt_rows()["bands"], modelled]
    said = words.alt_text("bands", topic(label="Label"), rows, NAMES, 2)
    assert "Grey, no data: 2 districts." in said
    assert "Hatched, not published: 1 district. Grey, not ranked: 1 district." in said
    assert "Not ranked: 2 districts." in words.alt_text("ranking", topic(label="Label"), rows, NAMES)


def test_alt_text_names_no_extreme_that_another_district_shows_too():
    rows = [estimate_row(at, at - 0.1, at + 0.1, unit_id=f"d{place}") for place, at in enumerate((0.20001, 0.2, 0.25))]
    said = words.alt_text("estimate", topic(), rows, NAMES)
    assert "Lowest: 20.0% in 2 districts; highest: Qc 25.0% (95% interval 15.0–35.0)." in said
    said = words.alt_text("estimate", topic(), rows[1:], NAMES)
    assert said.endswith("(95% interval 15.0–35.0); their intervals overlap.")
    touching = [estimate_row(0.2, 0.1, 0.29998, unit_id="d0"), estimate_row(0.4, 0.30002, 0.5, unit_id="d1")]
    assert words.alt_text("estimate", topic(), touching, NAMES).endswith("their intervals overlap.")
    assert "All show 20.0%." in words.alt_text("estimate", topic(), rows[:2], NAMES)


@given(estimate_rows(), scales, st.integers(0, 3))
def test_alt_text_of_estimates_counts_and_finds_the_extremes(rows: list[maps.Row], scale: maps.Scale, absent: int):
    told = [row for row in rows if row["quality"] != "suppress"]
    values = [shown(row["estimate"], scale) for row in told]
    for kind in ("estimate", "tiles"):
        said = words.alt_text(kind, topic(scale, "Label"), rows, NAMES, absent)
        check_text(said)
        assert len(said) <= words.LONGEST_ALT
        assert f"“Label”: {len(told)} district" in said
        for pattern, count in (("Hatched, not published", len(rows) - len(told)), ("Grey, no data", absent)):
            found = re.search(rf"{pattern}: (\d+) district", said)
            assert (int(found[1]) if found else 0) == count
        if classes := re.search(r"Districts by class[\w ]*: (.*?)\. (?=[A-Z])", said):
            assert sum(int(count) for count in re.findall(r": (\d+)(?:,|$)", classes[1])) == len(told)
        if found := re.search(rf"Lowest: (?:(Q\w) )?({NUMBER}).*?; highest: (?:(Q\w) )?({NUMBER})", said):
            for name, value, extreme in ((found[1], found[2], min(values)), (found[3], found[4], max(values))):
                assert of(value) == extreme
                assert [name] == [NAMES[r["unit_id"]] for r, v in zip(told, values, strict=True) if v == extreme] or (
                    name is None and values.count(extreme) > 1
                )
        if "overlap" in said:
            low, high = (told[values.index(end)] for end in (min(values), max(values)))
            overlap = shown(low["high"], scale) >= shown(high["low"], scale)
            assert ("do not overlap" not in said) == overlap


@given(estimate_rows(), scales)
def test_alt_text_of_uncertainty_finds_the_extremes(rows: list[maps.Row], scale: maps.Scale):
    said = words.alt_text("uncertainty", topic(scale, "Label"), rows, NAMES)
    check_text(said)
    assert len(said) <= words.LONGEST_ALT
    told = [row for row in rows if row["quality"] != "suppress"]
    margins = {
        NAMES[row["unit_id"]]: shown((row["high"] - row["low"]) / 2, scale)
        for row in told
        if not math.isnan(row["low"])
    }
    for pattern, count in (
        ("Hatched, not published", len(rows) - len(told)),
        ("Grey, 95% interval not available", len(told) - len(margins)),
    ):
        found = re.search(rf"{pattern}: (\d+) district", said)
        assert (int(found[1]) if found else 0) == count
    ends = re.search(rf"Least uncertain: ([\w ]+), ±({NUMBER}).*; most uncertain: ([\w ]+), ±({NUMBER})", said)
    assert bool(ends) == (len(set(margins.values())) > 1)
    if ends:
        for who, value, extreme in ((ends[1], ends[2], min), (ends[3], ends[4], max)):
            assert of(value) == extreme(margins.values())
            names = [name for name, margin in margins.items() if margin == of(value)]
            assert who == (names[0] if len(names) == 1 else f"{len(names)} districts")


@given(ranking_rows())
def test_alt_text_of_bands_counts_them(rows: list[maps.Row]):
    counts = {band: sum(row["band"] == band for row in rows) for band in BANDS}
    for kind in ("bands", "ranking"):
        said = words.alt_text(kind, topic(label="Label"), rows, NAMES)
        check_text(said)
        check_ranks(said)
        assert len(said) <= words.LONGEST_ALT
        assert f"{sum(counts.values())} district" in said
        assert not re.search(r"\bW\w\b", said)
        if any(counts.values()):
            for band, (label, _) in views.BANDS.items():
                assert re.search(rf"{label}(?: \([\w-]+\))?: (\d+)[,.]", said)[1] == str(counts[band])
        left = re.search(rf"{'Not ranked' if kind == 'ranking' else 'Hatched, not published'}: (\d+) district", said)
        assert kind == "bands" or not re.search("Hatched|Grey", said)
        assert (int(left[1]) if left else 0) == len(rows) - sum(counts.values())
    if found := re.search(r"From (Q\w) .* to (Q\w) .*their rank sets (overlap|do not overlap)", said):
        ranked = sorted((row for row in rows if row["band"]), key=lambda row: row["rank"])
        assert [found[1], found[2]] == [NAMES[row["district_id"]] for row in (ranked[0], ranked[-1])]
        assert (found[3] == "overlap") == (ranked[0]["rank_high"] >= ranked[-1]["rank_low"])


@given(st.lists(trends(), max_size=24), scales, st.booleans())
def test_alt_text_of_change_counts_the_verdicts(rows: list[maps.Row], scale: maps.Scale, upwards: bool):
    rows = [row | {"unit_id": f"d{place}"} for place, row in enumerate(rows)]
    said = words.alt_text("change", topic(scale, "Label", higher_is_better=upwards), rows, NAMES)
    check_text(said)
    assert len(said) <= words.LONGEST_ALT
    verdicts = [words.change_verdict(row, scale, upwards) for row in rows]
    for pattern, verdict in (
        ("For the better", "better"),
        ("for the worse", "worse"),
        (" cannot tell", "cannot_tell"),
        ("Grey, not comparable", "not_comparable"),
        ("Hatched, not published", "suppressed"),
    ):
        found = re.search(rf"{pattern}: (\d+)", said)
        assert (int(found[1]) if found else 0) == verdicts.count(verdict)


# Captions

WAVE = {
    "title": "Citizen Services Survey, Khyber Pakhtunkhwa 2024 (simulated)",
    "first_day": "2024-01-22",
    "last_day": "2024-03-09",
    "citation": "Citizen Services Survey. Simulated data",
    "licence": "CC0-1.0",
    "simulated": True,
    "respondents": 5242,
}
INDICATOR = {"label": LABEL, "kind": "share", "population": "adults 18+ who used the service in the last 12 months"}
WHOLE = estimate_row(0.5, 0.48, 0.52, 3512, "all", level="all", method="direct")


def test_captions():
    rows = [*alt_rows()["estimate"], WHOLE, estimate_row(0.5, 0.48, 0.52, 3512, "kp", level="province")]
    assert words.caption(WAVE, INDICATOR, rows, SHARE) == (
        "“Satisfied with government primary health care” in percent. Asked of: adults 18+ who used the "
        "service in the last 12 months. 3,512 of 5,242 respondents answered; published for 3 of 4 districts. A typical "
        "district estimate is uncertain by ±4.0 points (95% interval): small differences between districts may be "
        "chance. Districts: small-area estimates. Each rests on its own respondents and, the fewer they are, the more "
        "on what districts like it answered. Provinces: direct estimates."
    )
    real = WAVE | {"simulated": False, "title": "Survey 2024"}
    direct = [estimate_row(41.0, NAN, NAN, method="direct"), WHOLE | HELD]
    assert words.caption(real, INDICATOR | {"label": "Mean wait"}, direct, WAIT) == (
        "“Mean wait” in minutes. Asked of: adults 18+ who used the service in the last 12 months. 5,242 respondents "
        "in the whole survey; published for 1 of 1 district. Direct estimates: each rests on its own respondents alone."
    )


def test_the_caption_of_a_change_counts_changes_and_says_since_when():
    estimates = [*alt_rows()["estimate"], WHOLE]
    trends_of = alt_rows()["change"]
    assert words.change_caption(WAVE, INDICATOR, estimates, trends_of, "the 2021 survey", SHARE) == (
        "“Satisfied with government primary health care”: change in points since the 2021 survey. Asked of: adults 18+ "
        "who used the service in the last 12 months. 3,512 of 5,242 respondents answered; change published for 2 of 4 "
        "districts. A typical change is uncertain by ±10.0 points (95% interval). Changes are of direct estimates, on "
        "the districts that both surveys share."
    )
    index = INDICATOR | {"kind": "index"}  # its n is that of its smallest part
    said = words.change_caption(WAVE, index, estimates, trends_of[2:], "", PLAIN)
    assert "change since the wave before. " in said
    assert "5,242 respondents in the whole survey; change published for 0 of 2 districts. Changes are" in said


@given(estimate_rows(), scales, hostile)
def test_a_caption_counts_what_is_published(rows: list[maps.Row], scale: maps.Scale, label: str):
    said = words.caption(WAVE, INDICATOR | {"label": label}, [*rows, WHOLE], scale)
    check_text(said)
    published = [row for row in rows if row["quality"] != "suppress"]
    assert f"published for {len(published)} of {len(rows)} district" in said
    margins = sorted((row["high"] - row["low"]) / 2 for row in published if not math.isnan(row["low"]))
    assert ("±" in said) == bool(margins)
    if margins:
        middle = (margins[(len(margins) - 1) // 2] + margins[len(margins) // 2]) / 2
        assert of(re.search(rf"±({NUMBER})", said)[1]) == pytest.approx(shown(middle, scale), abs=1e-9)


# Whatever the labels, and whatever stands in withheld rows


def every_text(rows: dict[str, list[maps.Row]], names: dict[str, str], label: str, place: str) -> list[str]:
    about = topic(label=label, place=place, since=label)
    first, trends_of, ranks = rows["estimate"], rows["change"], rows["ranking"]
    said = [words.alt_text(kind, about, rows[kind], names, 1) for kind in ALTS]
    said.append(words.ranking_headline(ranks, names, place))
    said.append(words.change_headline(trends_of, names, label, place, SHARE, True))
    said.append(words.district_headline(ranks, {"care": label}, place))
    wave = WAVE | {"title": label}
    scale = maps.Scale("mean", label, (20, 40, 60, 80), 1)
    indicator = INDICATOR | {"label": label, "population": place}
    said.append(words.caption(wave, indicator, [*first, WHOLE], scale))
    said.append(words.change_caption(wave, indicator, [*first, WHOLE], trends_of, label, scale))
    return said


@settings(deadline=None)
@given(hostile, hostile, st.lists(hostile, min_size=4, max_size=4))
def test_hostile_labels_do_no_harm(label: str, place: str, names: list[str]):
    for said in every_text(alt_rows(), {f"d{at}": name for at, name in enumerate(names)}, label, place):
        check_text(said)
        assert not set(said) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\x00")
        assert len(said) < 2500 or "x" * 10_000 in said, "only a citation may be as long as it likes"


def test_withheld_numbers_are_not_even_looked_at():
    def without(row: maps.Row) -> maps.Row:
        return row | {name: NAN for name, value in row.items() if value == SECRET}

    rows = alt_rows()
    hidden = {kind: [without(row) for row in found] for kind, found in rows.items()}
    assert hidden["estimate"] != rows["estimate"]
    assert every_text(hidden, NAMES, LABEL, PLACE) == every_text(rows, NAMES, LABEL, PLACE)
