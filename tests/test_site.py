"""The pages of the site from made-up published tables: what is on them, nothing that may not be, the swap."""

from __future__ import annotations

import html
import itertools
import json
import re
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pandas as pd
import pytest

from perception import processes
from perception.errors import InputError
from perception.geography import DISCLAIMER, load_gazetteer, vintage_units
from perception.publish import driver_pages, images, place_pages, site, wave_parts
from perception.publish.downloads import Download
from perception.schemas import TABLES
from tests.site_tables import (
    BETTER,
    CAREFUL,
    DATA_FILES,
    EXPLAINED,
    INCOMPARABLE,
    LABELS,
    MADE_AT,
    NASTY,
    PLAN,
    REFERENCE,
    SPECIAL,
    SUPPRESSED,
    UNCOVERED,
    WAVES,
    WIDER,
    built_site,
    no_pngs,
    published_tables,
    reference,
    texts,
)

IMAGES = (".svg", ".png", "@2x.png", ".json")
EMBED = ("-embed.html", "-oembed.json")
DATA = (".csv", ".xlsx", ".json")
ASSETS = ("plotly.min.js", "style.css", "geometry-2018.js", "site.js", "search.js", "search-ur.js")
KINDS = ("map", "bands", "uncertainty", "tiles", "ranking")


@pytest.fixture(scope="module")
def known():
    return reference()


@pytest.fixture(scope="module")
def tables(known) -> dict[str, pd.DataFrame]:
    return published_tables(known[1]["2018"])


@pytest.fixture(scope="module")
def few(known) -> dict[str, pd.DataFrame]:
    """The tables of surveys in few districts, of which a site is soon built."""
    units = known[1]["2018"]
    named = [*SPECIAL, *units.loc[units["province_id"] != "kp", "district_id"].head(5)]
    return published_tables(units[units["district_id"].isin(named)])


@pytest.fixture(scope="module")
def folder(made_up_site) -> Path:
    return made_up_site


def page(folder: Path, name: str) -> str:
    return (folder / f"{name}.html").read_text(encoding="utf-8")


def shown(text: str) -> str:
    """What a reader of a piece of HTML sees, in one line."""
    return " ".join(html.unescape(re.sub("<[^>]+>", " ", text)).split())


def districts_of(tables: dict[str, pd.DataFrame], wave: str) -> set[str]:
    rows = tables["published_estimates"]
    return set(rows.loc[(rows["wave"] == wave) & (rows["level"] == "district"), "unit_id"])


def test_site_has_every_page_image_and_data_file_and_no_other(folder, tables):
    made = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    wanted = {"index.html", "methods.html", "embeds.json", "districts/index.html"}
    wanted |= {"services/index.html", "services/cps-health.html", "data/index.html"}
    wanted |= {f"data/{name}" for name in DATA_FILES}
    wanted |= {f"assets/{name}" for name in ASSETS}
    for wave in WAVES:
        wanted |= {f"{wave}/index.html", f"{wave}/quality.html"}
    for wave, indicator in PLAN:
        wanted.add(f"{wave}/{indicator}.html")
        if indicator == "heard":  # no headline: a page, and nothing to take away
            continue
        kinds = (*KINDS, "change") if (wave, indicator) == ("kp-2021", "satisfied") else KINDS
        wanted |= {f"{wave}/{indicator}-{kind}{end}" for kind in kinds for end in (*IMAGES, *EMBED)}
        wanted |= {f"{wave}/{indicator}{end}" for end in DATA}
    for wave in ("kp-2021", "punjab-2021"):  # the profile of a district is of the newest wave of the instrument
        for district in districts_of(tables, wave):
            wanted.add(f"districts/{district}.html")
            wanted |= {f"{wave}/{district}-card{end}" for end in (*IMAGES, *EMBED)}
            wanted |= {f"{wave}/{district}{end}" for end in DATA}
    wanted |= {f"kp-2021/{name}.html" for name in ("drivers", "drivers-care", "drivers-care-districts")}
    for figure in ("effects", "importance", "priorities", "in-kp-bannu", f"in-{EXPLAINED}"):
        wanted |= {f"kp-2021/drivers-care-{figure}{end}" for end in IMAGES}
    pages = {name for name in wanted if name.endswith(".html") and not name.endswith("-embed.html")}
    assert made == wanted | {f"ur/{name}" for name in pages}


def assert_links_lead_to_files_and_to_every_page(folder: Path) -> None:
    pages = {name: text for name, text in texts(folder).items() if name.endswith(".html")}
    reached = {"index.html"}
    for name, text in pages.items():
        for link in re.findall(r'(?:href|src)="([^"]+)"', text):
            target, _, place = html.unescape(link).partition("#")
            if target.startswith("https://address.invalid/"):  # what a release replaces
                assert name.endswith("-embed.html") or "oembed" in target, (name, link)
                continue
            assert "://" not in target, (name, link)
            file = ((folder / name).parent / target).resolve() if target else folder / name
            assert file.is_file(), (name, link)
            reached.add(str(file.relative_to(folder)))
            if place:
                assert f'id="{place}"' in file.read_text(encoding="utf-8"), (name, link)
    assert {name for name in pages if not name.endswith("-embed.html")} <= reached


def test_every_link_leads_to_a_file_and_every_page_is_led_to(folder):
    assert_links_lead_to_files_and_to_every_page(folder)


def test_ids_are_unique_and_headings_leave_no_level_out(folder):
    for name, text in texts(folder).items():
        if not name.endswith(".html"):
            continue
        ids = re.findall(r'\sid="([^"]+)"', text)
        assert len(ids) == len(set(ids)), (name, {one for one in ids if ids.count(one) > 1})
        if not name.endswith("-embed.html"):
            levels = [int(level) for level in re.findall(r"<h([1-6])", text)]
            assert levels.count(1) == 1, name
            assert all(after <= before + 1 for before, after in itertools.pairwise(levels)), (name, levels)


def test_nothing_says_nan_or_breaks_out_of_its_place(folder):
    for name, text in texts(folder).items():
        if not name.endswith((".json", ".csv")):
            words = re.sub(
                r'="none"|:\s*none|Watch</th>|<td>none</td>', "", re.sub(r"<style>.*?</style>", "", text, flags=re.S)
            )
            words = re.sub(r"<script>.*?</script>", "", words, flags=re.S)
            if name.endswith("data/index.html"):
                words = words.partition('<h2 id="tables">')[0]  # what follows says where columns are null
            assert not re.search(r"\b(nan|null|undefined|None|NaN)\b", words), name
        assert "<script>alert" not in text or name.endswith((".json", ".csv")) or "search.js" in name, name
        assert "was </script> it" not in text or name.endswith((".json", ".csv")), name


def without_digests(text: str) -> str:
    """A text without SHA-256 digests, in which any four digits turn up now and then."""
    return re.sub(r'"[0-9a-f]{64}"', '""', text)


def test_a_suppressed_number_is_nowhere_even_if_the_table_leaks_it(tables, tmp_path, monkeypatch):
    leaking = dict(tables)
    for name in ("published_estimates", "district_rankings"):
        frame = tables[name].copy()
        hidden = frame["quality"] == "suppress"
        frame.loc[hidden, ["estimate", "low", "high"]] = [0.98765, 0.9765, 0.9987]
        frame.loc[hidden, "n"] = 7654
        leaking[name] = frame
    with pytest.raises(ValueError, match="suppressed rows have numbers in estimate"):  # data files refuse to be made
        built_site(tmp_path / "site", leaking)
    assert not (tmp_path / "site").exists()
    monkeypatch.setattr(site, "write_downloads", lambda *_: None)
    monkeypatch.setattr(Download, "__post_init__", lambda self: None)
    built_site(tmp_path / "site", leaking)
    for name, text in texts(tmp_path / "site").items():
        assert not re.search(r"98\.8%|97\.[67]–99\.9|0\.98765|7,?654", without_digests(text)), name


def test_a_suppressed_change_or_gap_is_nowhere_even_if_the_table_leaks_it(tables, tmp_path):
    trends, gaps = tables["published_trends"].copy(), tables["published_gaps"].copy()
    hidden = trends["quality"] == "suppress"
    trends.loc[hidden, ["before", "after", "change", "low", "high"]] = [0.11, 0.8787, 0.7687, 0.7587, 0.7787]
    trends.loc[hidden, ["n_before", "n_after"]] = 7654
    gaps.loc[gaps["quality"] == "suppress", ["estimate", "low", "high"]] = [-0.7687, -0.7787, -0.7587]
    built_site(tmp_path / "site", tables | {"published_trends": trends, "published_gaps": gaps})
    for name, text in texts(tmp_path / "site").items():
        assert not re.search(r"[+−]7[567]\.9|0\.[78]\d87|87\.9%|7,?654", without_digests(text)), name


def test_simulated_waves_are_marked_everywhere_and_others_nowhere(folder):
    for name, text in texts(folder).items():
        district = name.startswith(("districts/kp-", "kp-"))
        if name.startswith(("punjab", "districts/punjab")):
            neighbours = re.findall(r'<li><span lang="en" dir="ltr"><a href=".*?</li>', text)
            assert all(("SIMULATED" in one) == ('href="kp-' in one) for one in neighbours), name
            assert text.count("SIMULATED") == "".join(neighbours).count("SIMULATED"), name
        elif district and name.endswith("oembed.json"):
            assert json.loads(text)["title"].startswith("SIMULATED DATA: "), name
        elif district and name.endswith(".json"):
            assert json.loads(text)["simulated"] is True, name
        elif district and name.endswith(".csv"):
            assert all("SIMULATED DATA" in line for line in text.splitlines()[1:]), name
        elif district:
            assert re.search(r"<title[^>]*>SIMULATED DATA", text), name
            assert text.count("SIMULATED DATA") >= 2, name
    home = page(folder, "index")
    surveys = home[home.index('id="surveys"') :]
    assert surveys.count("SIMULATED DATA") == 2  # the two waves of KP, of three
    assert "SIMULATED" not in home[: home.index('id="surveys"')]  # the newest that people answered stands above
    service = page(folder, "services/cps-health")
    rows = re.findall(r"<tr>.*?</tr>", service, re.S)
    assert all(("SIMULATED" in row) == ("Khyber" in row) for row in rows[1:] if "<td" in row)


def test_every_indicator_page_says_who_was_asked_what_and_where_it_comes_from(folder):
    for wave, indicator in PLAN:
        text = page(folder, f"{wave}/{indicator}")
        year = WAVES[wave][1]
        for said in ("Adults who went there", "CC BY 4.0", "Survey &lt;one&gt;", DISCLAIMER, f"1 Sep {year} – 20 Nov"):
            assert said in text, (wave, indicator, said)
        assert "Preview boundaries, not for publication: generalised from OCHA" in text
        assert "How was &lt;/script&gt; it?" in text


def test_an_indicator_page_has_each_view_once_and_no_change_where_none_compares(folder):
    views = {
        (wave, indicator): re.findall(r'<figure class="view" data-view="(\w+)"', page(folder, f"{wave}/{indicator}"))
        for wave, indicator in PLAN
    }
    assert views.pop(("kp-2021", "satisfied")) == ["map", "bands", "change", "tiles"]
    assert set(map(tuple, views.values())) == {("map", "bands", "tiles")}
    bribes = shown(page(folder, "kp-2021/asked_bribe"))
    assert "No change since Khyber Pakhtunkhwa 2018 is published" in bribes
    changed = shown(page(folder, "kp-2021/satisfied"))
    assert (
        "1 of 31 districts in Khyber Pakhtunkhwa changed for the better: Abbottabad; 1 for the worse: Bannu" in changed
    )


def test_a_ranking_is_grouped_by_band_and_always_says_the_set_of_ranks(folder):
    table = re.findall(r'<table class="ranking.*?</table>', page(folder, "kp-2021/satisfied"), re.S)[0]
    groups = [shown(head) for head in re.findall(r'<tr class="group">.*?</tr>', table, re.S)]
    assert [group.split(")")[0] + ")" for group in groups] == [
        "Low (2)",
        "Watch (4)",
        "Not clear (22)",
        "High (2)",
        "Without a rank (1)",
    ]
    rows = [shown(row) for row in re.findall(r'<tr><th scope="row">.*?</tr>', table, re.S)]
    assert len(rows) == 31
    assert rows[0].startswith("Abbottabad between 1st and 4th of 30 20.0% 16.0–24.0 +5.0 +2.0 to +8.0 Better 1,234 Low")
    assert rows[-1] == "Hangu Not published: too few respondents, too uncertain"
    assert all(re.search(r"between \d+(st|nd|rd|th) and \d+(st|nd|rd|th) of 30", row) for row in rows[:-1])
    bare = re.sub(r"between \w+ and \w+ of \d+|1st is the worst", "", " ".join(rows))
    assert not re.search(r"\b\d+(st|nd|rd|th)\b", bare)


def test_no_page_names_a_rank_without_its_set(folder):
    for name, text in texts(folder).items():
        if not name.endswith(".html") or name in ("methods.html", "data/index.html", "ur/data/index.html"):
            continue
        bare = re.sub(r"between \d+\w\w and \d+\w\w( of \d+)?|\d+\w\w to \d+\w\w|1st is the worst", "", shown(text))
        bare = re.sub(r"\d+(st|nd|rd|th) of \d+", "", bare)  # a set of one
        assert not re.search(r"\brank (is )?\d|\branked \d|\b\d+(st|nd|rd|th)\b", bare), name


def test_the_round_is_ranked_too_where_it_holds_more_districts(folder, tables, tmp_path):
    waves = tables["published_waves"].assign(simulated=True)
    built_site(tmp_path / "site", tables | {"published_waves": waves})
    both = page(tmp_path / "site", "kp-2021/satisfied").split('<table class="ranking')
    assert page(folder, "kp-2021/satisfied").count('<table class="ranking') == 1  # the other wave is not simulated
    assert len(both) == 3
    assert len(re.findall(r'<tr><th scope="row">', both[2])) == 31 + 36
    assert "All districts surveyed in this round" in both[2]
    assert page(tmp_path / "site", "kp-2021/asked_bribe").count('<table class="ranking') == 1


def test_a_district_page_has_every_indicator_once_and_only_what_is_published(folder):
    text = page(folder, "districts/kp-swat")
    everything = text[text.index("<summary>All 3 indicators") :]
    rows = [shown(row) for row in re.findall(r'<tr><th scope="row">.*?</tr>', everything, re.S)]
    assert sorted(row.split(" 4")[0] for row in rows) == sorted(
        LABELS[name] for name in ("satisfied", "asked_bribe", "heard")
    )
    said = shown(text)
    assert "The estimate is 12.0 points lower among women than among men (95% interval 4.0 to 20.0" in said
    assert "The survey cannot tell a difference in 1 other comparison between rural and urban people." in said
    bannu = shown(page(folder, "districts/kp-bannu"))
    assert "women" not in bannu.split("What goes with its gap")[1].split("Over time")[0]  # that gap is suppressed


def test_a_suppressed_district_has_a_page_without_a_number(folder):
    said = shown(page(folder, f"districts/{SUPPRESSED}").split("<main")[1])
    assert said.count("Not published: too few respondents, too uncertain") >= 3
    assert "%" not in said.replace("95% interval", "").split("Neighbours")[0].split("Embed")[0]
    card = (folder / "kp-2021" / f"{SUPPRESSED}-card.svg").read_text(encoding="utf-8")
    assert "%" not in card.replace("95% interval", "").replace("probability of 90%", "")


def test_a_district_page_leads_to_the_districts_beside_it(folder, known):
    from perception.geography import neighbours

    pairs = neighbours(known[0]["2018"].shapes)
    beside = set(pairs.loc[pairs["district_id"] == "kp-bannu", "neighbour_id"]) - {UNCOVERED}
    section = page(folder, "districts/kp-bannu").split('<h2 id="neighbours">')[1].split("</section>")[0]
    assert set(re.findall(r'href="([\w-]+)\.html"', section)) == beside
    assert len(beside) >= 3


def test_a_district_keeps_the_rounds_before(folder):
    over_time = shown(page(folder, "districts/kp-abbottabad").split("<h3>Over time</h3>")[1].split("</table>")[0])
    rows = [f"{year} : Khyber Pakhtunkhwa {year} 20.0% 16.0–24.0 34.5% 1,234" for year in (2021, 2018)]
    assert over_time.endswith(" ".join(rows))
    assert "Over time" not in page(folder, "districts/punjab-lahore")
    careful = shown(page(folder, f"districts/{CAREFUL}").split("<h3>Over time</h3>")[1].split("<details>")[0])
    assert "Khyber Pakhtunkhwa 2021 34.0% * 30.0–38.0" in careful
    assert careful.endswith("* Use with caution: small sample")


def test_what_people_answered_stands_before_newer_simulated_answers_and_is_not_mixed_with_them(
    tables, tmp_path, monkeypatch
):
    waves = tables["published_waves"].copy()
    waves.loc[waves["wave"] == "kp-2018", "simulated"] = False
    waves.loc[waves["wave"] == "punjab-2021", "instrument"] = "mics"
    only_simulated = "kp-bannu"

    def without(table: str, key: str) -> pd.DataFrame:
        rows = tables[table]
        return rows[~((rows["wave"] == "kp-2018") & (rows[key] == only_simulated))]

    changed = {
        "published_waves": waves,
        "published_estimates": without("published_estimates", "unit_id"),
        "district_rankings": without("district_rankings", "district_id"),
    }
    monkeypatch.setattr(place_pages, "former_districts", lambda _: {"kp-swat": ("2018", "2023")})
    folder = built_site(tmp_path / "site", tables | changed)
    swat = page(folder, "districts/kp-swat")
    assert 'class="simulated"' not in swat
    real, simulated = re.findall(r'<h2 id="in-([\w-]+)">(.*?)</h2>', swat)
    assert (real[0], simulated[0]) == ("kp-2018", "kp-2021")
    assert ("SIMULATED" in real[1], "SIMULATED" in simulated[1]) == (False, True)
    assert re.search(
        r'<p class="summary">Swat is not clearly among .* on the only indicator it is ranked on\.</p>', swat
    )
    assert re.findall(r'href="[^"]*/(kp-\d+/kp-swat-card-oembed.json)"', swat) == ["kp-2018/kp-swat-card-oembed.json"]
    assert "Over time" not in swat
    assert 'class="simulated"' in page(folder, f"districts/{only_simulated}")
    tags = {
        key: "SIMULATED DATA" in entry
        for entry in page(folder, "districts/kp-karak").split('<h2 id="neighbours">')[1].split("<li>")[1:]
        for key in re.findall(r'href="([\w-]+)\.html"', entry.split("</li>")[0])
    }
    assert tags[only_simulated]
    assert sum(tags.values()) == 1 < len(tags)
    rows = re.findall(r"<tr>.*?</tr>", page(folder, "districts/index"), re.S)
    former = [shown(row) for row in rows if "on the map of 2018, not of 2023" in row]
    assert [row.split(" on the map")[0] for row in former] == ["Swat"]
    assert former[0].endswith("Khyber Pakhtunkhwa 2018")
    assert [re.findall(r'href="([\w-]+)\.html"', row)[0] for row in rows if "SIMULATED" in row] == [only_simulated]
    services = shown(page(folder, "services/index").split("<main")[1])
    assert "Health & <b>care</b>: Punjab 2021 1 indicator · 1 survey" in services  # two services have this label
    assert "Health & <b>care</b>: Khyber Pakhtunkhwa 2018 2 indicators · 2 surveys" in services
    rows = re.findall(
        r'<tr><th scope="row"><a href="\.\./([^"]+)">', page(folder, "services/cps-health").split("<h2>")[1]
    )
    assert rows == ["kp-2018/satisfied.html", "kp-2021/satisfied.html"]


def test_districts_that_are_no_more_are_known_by_the_maps_before_and_after():
    gazetteer = load_gazetteer(REFERENCE)
    units = {vintage: vintage_units(gazetteer, vintage) for vintage in ("2018", "2023", "2025")}
    former = place_pages.former_districts(units)
    assert former["kp-chitral"] == former["kp-kohistan"] == ("2018", "2023")
    assert former["kp-south-waziristan"] == ("2023", "2025")
    assert "kp-swat" not in former
    assert place_pages.former_districts({"2018": units["2018"]}) == {}


def test_changes_on_pages_are_those_of_the_table(folder):
    cells = {
        district: re.findall(
            r"(?:[+−][\d.]+|\b0\.0) [+−]?[\d.]+ to [+−]?[\d.]+ (?:Better|Worse|Cannot tell)",
            shown(page(folder, f"districts/{district}")),
        )
        for district in (BETTER, "kp-bannu", "kp-swat", INCOMPARABLE, SUPPRESSED, WIDER, "punjab-lahore")
    }
    assert set(cells[BETTER]) == {"+5.0 +2.0 to +8.0 Better"}
    assert set(cells["kp-bannu"]) == {"−5.0 −8.0 to −2.0 Worse"}
    assert set(cells["kp-swat"]) == {"+1.0 −3.5 to +5.5 Cannot tell"}
    assert cells[INCOMPARABLE] == cells[SUPPRESSED] == cells[WIDER] == cells["punjab-lahore"] == []
    numbers = pd.read_csv(folder / "kp-2021" / "satisfied.csv").set_index("unit_id")["change"]
    assert (pd.isna(numbers[WIDER]), numbers["kp-swat"]) == (True, 0.01)


def test_a_service_page_shows_its_indicators_in_all_rounds_simulated_ones_last_and_the_newest_first(folder):
    text = page(folder, "services/cps-health")
    assert "<h1>Health &amp; &lt;b&gt;care&lt;/b&gt;</h1>" in text
    sections = text.split("<h2>")[1:]
    assert [html.unescape(section.split("</h2>")[0]) for section in sections] == [NASTY, "Asked for a bribe"]
    rows = re.findall(r'<tr><th scope="row"><a href="\.\./([^"]+)">', sections[0])
    assert rows == ["punjab-2021/satisfied.html", "kp-2021/satisfied.html", "kp-2018/satisfied.html"]
    kp = re.findall(r"<tr>.*?</tr>", sections[0], re.S)[2]
    low, watch = (re.findall(r"districts/([\w-]+)\.html", cell) for cell in kp.split("<td>")[2:4])
    assert low == ["kp-abbottabad", "kp-bajaur"]
    assert watch == ["kp-bannu", "kp-batagram", "kp-buner", "kp-charsadda"]
    assert "minutes" not in text


def test_the_search_finds_every_district_indicator_service_and_survey(folder, tables, known):
    script = (folder / "assets" / "search.js").read_text(encoding="utf-8")
    assert "</" not in script
    entries = json.loads(script.removeprefix("window.perceptionSearch = ").removesuffix(";\n"))
    names = dict(zip(known[1]["2018"]["district_id"], known[1]["2018"]["name"], strict=True))
    surveyed = districts_of(tables, "kp-2021") | districts_of(tables, "punjab-2021")
    provinces = {"kp": "Khyber Pakhtunkhwa", "punjab": "Punjab"}
    wanted = [[names[key], f"District, {provinces[key.split('-')[0]]}", f"districts/{key}.html"] for key in surveyed]
    wanted += [[LABELS[indicator], WAVES[wave][0], f"{wave}/{indicator}.html"] for wave, indicator in PLAN]
    wanted += [[WAVES[wave][0], "Survey", f"{wave}/index.html"] for wave in WAVES]
    wanted += [["Health & <b>care</b>", "Service", "services/cps-health.html"]]
    assert sorted(entries) == sorted(wanted)
    assert all((folder / entry[2]).is_file() for entry in entries)


def test_the_page_about_the_data_has_every_public_table_and_column_with_what_it_means(folder):
    text = page(folder, "data/index")
    public = {name: table for name, table in TABLES.items() if table.public}
    assert re.findall(r'<h3 id="(\w+)"', text) == list(public)
    for name, table in public.items():
        section = text.partition(f'<h3 id="{name}"')[2].partition("<h3")[0]
        assert f"Key: {', '.join(f'<code>{key}</code>' for key in table.key)}." in section
        rows = re.findall(r'<tr><th scope="row">.*?</tr>', section)
        cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]
        assert [[html.unescape(re.sub("<[^>]*>", "", cell)) for cell in row] for row in cells] == [
            [said.replace("`", "") for said in (column.name, column.type, column.unit, column.values, column.meaning)]
            for column in table.columns
        ]


def test_the_page_about_the_data_says_what_an_indicator_is_made_from_and_which_waves_have_it(known, few, tmp_path):
    indicators = few["published_indicators"].set_index(["wave", "indicator"])
    indicators.loc[("kp-2021", "asked_bribe"), ["made_from", "universe", "positive"]] = [
        "b1=yes; b2=yes",
        "v=yes",
        "Yes",
    ]
    indicators.loc["kp-2018", "question"] = "How was it in 2018?"
    changed = few | {"published_indicators": indicators.reset_index()}
    folder = built_site(tmp_path / "site", changed)
    text = page(folder, "data/index")
    rows = dict.fromkeys(LABELS, ())
    for row in re.findall(r'<tr><th scope="row">.*?</tr>', text.partition('id="indicators"')[2], re.S):
        name = re.search(r"<code>(\w+)</code>", row)
        if name and name.group(1) in rows:
            rows[name.group(1)] += (row,)
    (bribe,) = rows["asked_bribe"]
    assert "Counted: Yes</small>" in bribe
    assert "<code>b1=yes; b2=yes</code>" in bribe
    assert "Adults who went there<small" in bribe
    assert "<code>v=yes</code>" in bribe
    assert bribe.endswith(
        "<code>kp-2021</code><small>not <code>kp-2018</code>, <code>punjab-2021</code></small></span></td></tr>"
    )
    later, earlier = rows["satisfied"]
    assert "<code>kp-2021</code>, <code>punjab-2021</code><small>not <code>kp-2018</code></small>" in later
    assert "How was it in 2018?" in earlier
    assert "<code>kp-2018</code><small>not <code>kp-2021</code>, <code>punjab-2021</code></small>" in earlier


def test_the_page_about_the_data_marks_simulated_waves_and_offers_their_files(folder):
    rows = dict(
        re.findall(r'<tr>(<th scope="row"><a href="../([\w-]+)/index.html">.*?</tr>)', page(folder, "data/index"))
    )
    rows = {wave: row for row, wave in rows.items()}
    assert rows.keys() == WAVES.keys()
    for wave, row in rows.items():
        assert f'href="ddi-{wave}.xml" download>' in row
        assert ("SIMULATED DATA" in row) == wave.startswith("kp")
    assert '<a href="../../data/tables.zip" download>' in page(folder, "ur/data/index")


def test_the_home_page_lists_the_weakest_districts_of_the_newest_survey(folder):
    home = shown(page(folder, "index").split('id="surveys"')[0])
    assert "2 of 36 districts in Punjab are very likely among the worst-placed: Attock and Bahawalnagar" in home
    assert "Attock 20.0% (95% interval 16.0–24.0; 1,234 respondents); rank between 1st and 4th of 36" in home
    assert "Khyber" not in home
    assert "Waiting time Low: Vehari and Toba Tek Singh" in home


def test_a_quality_page_says_what_is_withheld_and_why(folder):
    row = re.findall(r'<tr><th scope="row"><a href="satisfied.*?</tr>', page(folder, "kp-2021/quality"), re.S)[0]
    cells = [shown(cell) for cell in re.findall(r"<td.*?</td>", row, re.S)]
    assert cells[3:] == ["29", "1", "1", "too few respondents: 1"]
    row = re.findall(r'<tr><th scope="row"><a href="heard.*?</tr>', page(folder, "kp-2021/quality"), re.S)[0]
    cells = [shown(cell) for cell in re.findall(r"<td.*?</td>", row, re.S)]
    assert cells[3:] == ["28", "1", "2", "too few respondents: 2"]  # one is shown all the same: its modelled estimate
    assert "Swat between" in shown(page(folder, "kp-2021/heard"))


def test_a_footer_says_nothing_twice_and_a_caption_everything(folder):
    entries = {one["path"]: one for one in json.loads((folder / "embeds.json").read_text("utf-8"))["embeds"]}
    for kind in (*KINDS, "change"):
        one = entries[f"kp-2021/satisfied-{kind}"]
        text = page(folder, f"kp-2021/satisfied-{kind}-embed")
        said = [shown(part) for part in re.findall(r"<p>.*?</p>", text[text.index("<footer>") :], re.S)]
        sentences = [sentence for part in said for sentence in re.split(r"(?<=\.) ", part)]
        assert len(sentences) == len(set(sentences)), kind
        footer = " ".join(said)
        assert footer.count("is uncertain by ±") == 1
        assert one["subtitle"] not in footer
        assert "1,234 of 5,000 respondents answered" in one["caption"]
        for snippet in ("markdown", "word"):
            pasted = re.search(
                rf'id="embed-kp-2021-satisfied-{kind}-{snippet}".*?</textarea>', page(folder, "kp-2021/satisfied"), re.S
            )
            plain = shown(pasted[0]).replace("\\", "")
            for part in (
                "no person ever gave these answers",
                one["subtitle"],
                "±",
                "1,234 of 5,000",
                "Producer (2021)",
            ):
                assert part in plain, (kind, snippet, part)
    change = entries["kp-2021/satisfied-change"]["caption"]
    assert "change in points since Khyber Pakhtunkhwa 2018" in change
    assert "change published for 29 of 31 districts" in change
    assert "Changes are of direct estimates" in change
    assert "published for 30 of 31 districts" in entries["kp-2021/satisfied-map"]["caption"]


def test_alt_texts_count_what_each_picture_shows(folder):
    alts = {one["path"]: one["alt"] for one in json.loads((folder / "embeds.json").read_text("utf-8"))["embeds"]}
    for kind in KINDS:
        assert ("Grey, no data: 1 district." in alts[f"kp-2021/satisfied-{kind}"]) == (kind != "ranking"), kind
    change = alts["kp-2021/satisfied-change"]
    assert "Grey, no data: 1 district." in change
    assert "Grey, not comparable: 1 district." in change
    assert "Hatched, not published: 1 district." in change
    assert "Not ranked: 1 district." in alts["kp-2021/satisfied-ranking"]


def test_provenance_says_what_an_image_was_made_from(folder):
    content = json.loads((folder / "kp-2021" / "satisfied-map.json").read_text(encoding="utf-8"))
    assert content["inputs"]["wave_version"] == "0" * 64
    assert content["inputs"]["figure"] == "map"
    version = metadata.version("perception")
    assert content["citation"] == f"Producer (2021). Survey <one>. Estimates from these data: perception {version}."
    assert content["made_at"] == MADE_AT


@pytest.mark.parametrize(
    ("kind", "table"),
    [
        ("map", "published_estimates"),
        ("uncertainty", "published_estimates"),
        ("change", "published_trends"),
        ("bands", "district_rankings"),
        ("ranking", "district_rankings"),
    ],
)
def test_provenance_names_the_table_that_has_what_is_shown(folder, kind, table):
    content = json.loads((folder / "kp-2021" / f"satisfied-{kind}.json").read_text(encoding="utf-8"))
    assert content["inputs"]["table"] == table


def test_the_same_tables_give_the_same_bytes_and_a_failure_leaves_the_old_site(tmp_path, known, few, monkeypatch):
    folder = built_site(tmp_path / "public" / "site", few)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    no_pngs(monkeypatch)
    later = "2027-01-01T00:00:00Z"  # the time of making stays
    pages = site.write_site(few, *known, folder, made_at=later, data_files=lambda: DATA_FILES)
    assert pages["kp-2021/satisfied"] == folder / "kp-2021" / "satisfied.html"
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(images, "_write_pngs", fail)
    with pytest.raises(OSError, match="no space left"):
        site.write_site(few, *known, folder, made_at="2027-01-01T00:00:00Z")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert list(folder.parent.iterdir()) == [folder]


def test_processes_write_the_same_site_as_one_and_their_failure_leaves_the_old_site(tmp_path, known, few, monkeypatch):
    def write(name: str, root: Path, alone: int) -> Path:
        monkeypatch.setattr(processes, "FEW", alone)
        site.write_site(few, *known, root / name, made_at=MADE_AT)
        return root / name

    one, several = write("one", tmp_path, 1_000_000), write("several", tmp_path, 0)
    contents = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (one, several)
    ]
    assert contents[0] == contents[1]
    broken = {
        name: frame.replace({"indicator": {"satisfied": "no?path"}}) if "indicator" in frame else frame
        for name, frame in few.items()
    }
    with pytest.raises(ValueError, match=r"kp-2021/no\?path.* is no path"):
        site.write_site(broken, *known, several, made_at=MADE_AT)
    assert contents[1] == {
        path.relative_to(several): path.read_bytes() for path in several.rglob("*") if path.is_file()
    }
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["one", "several"]


def test_pages_of_waves_that_are_the_same_are_taken_over_and_no_others(tmp_path, known, few, monkeypatch):
    no_pngs(monkeypatch)
    few = {
        name: frame[frame["indicator"] == "satisfied"] if "indicator" in frame else frame for name, frame in few.items()
    }
    written: list[str] = []
    write = wave_parts.write_wave_pages
    monkeypatch.setattr(wave_parts, "write_wave_pages", lambda work, one: (written.append(one.name), write(work, one)))

    def build(**changed: pd.DataFrame) -> list[str]:
        """The waves whose pages are written."""
        written.clear()
        site.write_site(few | changed, *known, tmp_path / "site", made_at=MADE_AT, kept=tmp_path / "kept")
        return sorted(written)

    def scaled(table: str, column: str, wave: str) -> dict[str, pd.DataFrame]:
        frame = few[table].copy()
        frame.loc[frame["wave"] == wave, column] *= 0.5
        return {table: frame}

    assert build() == ["kp-2018", "kp-2021", "punjab-2021"]
    assert build(**scaled("published_trends", "low", "kp-2021")) == ["kp-2021"]
    # Waves of a round show each other's ranks.
    assert build(**scaled("district_rankings", "rank_expected", "punjab-2021")) == ["kp-2021", "punjab-2021"]
    # The classes of a map rest on all waves of an instrument.
    assert build(**scaled("published_estimates", "estimate", "kp-2018")) == ["kp-2018", "kp-2021", "punjab-2021"]

    build()
    renamed = few["published_waves"].replace({"title": {"Khyber Pakhtunkhwa 2018": "The wave before"}})
    assert build(published_waves=renamed) == ["kp-2018", "kp-2021"]
    site.write_site(few | {"published_waves": renamed}, *known, tmp_path / "new", made_at=MADE_AT)
    one, other = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("site", "new")
    )
    assert one == other
    page = tmp_path / "site" / "punjab-2021" / "satisfied.html"
    page.write_text("edited", encoding="utf-8")
    assert build(published_waves=renamed) == ["punjab-2021"]
    page.unlink()
    assert build(published_waves=renamed) == ["punjab-2021"]
    assert len(list((tmp_path / "kept").iterdir())) == 3


def test_a_failed_swap_brings_the_old_site_back(tmp_path, known, few, monkeypatch):
    folder = built_site(tmp_path / "public" / "site", few)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    rename = site.os.replace
    no_pngs(monkeypatch)

    def fail_once(source: Path, target: Path) -> None:
        if source.name.endswith(".new"):
            raise OSError("target is busy")
        rename(source, target)

    monkeypatch.setattr(site.os, "replace", fail_once)
    with pytest.raises(OSError, match="busy"):
        site.write_site(few, *known, folder, made_at="2027-01-01T00:00:00Z")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert list(folder.parent.iterdir()) == [folder]


def test_unknown_vintages_districts_and_ids_are_reported_together(known, tables, tmp_path):
    geometries, units = known
    waves = tables["published_waves"].copy()
    waves.loc[waves["wave"] == "kp-2021", "vintage"] = "1947"
    waves.loc[waves["wave"] == "kp-2018", "wave"] = "districts"
    fewer = {"2018": units["2018"][units["2018"]["district_id"] != "punjab-lahore"]}
    renamed = {"asked_bribe": "quality", "heard": "drivers-care", "minutes": "index", "satisfied": "drivers_of_care"}
    indicators = tables["published_indicators"].replace({"indicator": renamed})
    strange = tables | {"published_waves": waves, "published_indicators": indicators}
    with pytest.raises(InputError) as caught:
        site.write_site(strange, geometries, fewer, tmp_path / "site", made_at="now")
    message = str(caught.value)
    for said in (
        *("wave kp-2021", "1947", "punjab-lahore", "wave districts: its id is the name of a folder"),
        *("wave kp-2021, indicator quality: its id is the name of a page", "wave kp-2021, indicator drivers-care: "),
        *("wave punjab-2021, indicator index: its id", "Give the indicator another id."),
    ):
        assert said in message
    assert "drivers_of_care" not in message
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
        f"Since Khyber Pakhtunkhwa 2018 the share “{NASTY}” is 6.0 points higher (95% interval 2.0 to 10.0).",
        "−1.0 (2.0 to 10.0)",
        "Recoded to compare, so read their parts with care: Waiting time (the middle answer is gone).",
        "Counts for less, rated better",
    ):
        assert said in text, said
    assert len(text) < 400_000
    assert text.count('class="plot paper"') == text.count('class="static"') == 3


def test_weak_districts_are_diagnosed_and_their_ranking_rows_lead_there(folder):
    text = html.unescape(page(folder, "kp-2021/drivers-care-districts"))
    assert re.findall(r'<section id="([^"]+)">', text) == ["kp-bannu", "kp-charsadda"]
    assert "In Bannu the share" in text
    assert "direct shares among the model's respondents; the map's direct estimate is 22.0%." in text
    assert "or the model could use too few of them: Abbottabad, Bajaur, Batagram, Buner." in shown(text)
    assert "one would expect 35.0% (95% interval 27.0 to 43.0) instead of 30.0%" in text
    link = r'href="\.\./(kp-2021/drivers-care-districts\.html)#([^"]+)"'
    assert {district for _, district in re.findall(link, page(folder, "kp-2021/satisfied"))} == {
        "kp-bannu",
        "kp-charsadda",
    }
    assert 'href="drivers-care.html"' in page(folder, "kp-2021/satisfied")
    assert not re.findall(link, page(folder, "kp-2021/asked_bribe"))
    assert "drivers-care-districts.html#kp-charsadda" in page(folder, "districts/kp-charsadda")


def test_a_site_without_drivers_has_no_page_of_them(known, tables, tmp_path, monkeypatch):
    no_pngs(monkeypatch)
    empty = {name: tables[name].iloc[:0] for name in driver_pages.TABLES_OF_DRIVERS}
    made = site.write_site(tables | empty, *known, tmp_path / "none", made_at="2026")
    assert not any("drivers" in name for name in made)
    gone = tables["published_drivers"].assign(effect=float("nan"))
    alone = empty | {"published_drivers": gone}
    alone["published_driver_importance"] = tables["published_driver_importance"].iloc[:1]  # too few for quadrants
    made = site.write_site(tables | alone, *known, tmp_path / "alone", made_at="2026")
    text = made["kp-2021/drivers-care"].read_text(encoding="utf-8")
    assert text.count('class="plot paper"') == 1
    assert text.count("Not published") == 2
    assert "kp-2021/drivers-care-districts" not in made


def test_a_site_of_estimates_alone_stands(known, tables, tmp_path, monkeypatch):
    no_pngs(monkeypatch)
    kept = ("published_estimates", "published_waves", "published_indicators")
    alone = {name: frame if name in kept else frame.iloc[:0] for name, frame in tables.items()}
    estimates = tables["published_estimates"].copy()
    held = (estimates["indicator"] == "asked_bribe") & (estimates["level"] == "district")
    estimates.loc[held, ["estimate", "low", "high", "n"]] = None
    estimates.loc[held, ["quality", "reason"]] = ["suppress", "below_minimum_level"]
    alone["published_estimates"] = estimates
    made = site.write_site(alone, *known, tmp_path / "site", made_at="2026")
    assert "Swat" in shown(made["districts/kp-swat"].read_text(encoding="utf-8"))
    text = made["kp-2021/satisfied"].read_text(encoding="utf-8")
    assert re.findall(r'<figure class="view" data-view="(\w+)"', text) == ["map", "tiles"]
    assert not any(
        path.name.startswith(("satisfied-bands", "satisfied-ranking")) for path in (tmp_path / "site").rglob("*")
    )
    numbers = shown(text[text.index('<section id="ranking"') :].split("</section>")[0])
    assert "This indicator is not ranked; districts are in the order of their names." in numbers
    assert "Abbottabad 20.0% 16.0–24.0 1,234 Bajaur 21.0% 17.0–25.0 1,234 Bannu" in numbers
    assert "Hangu Not published: too few respondents, too uncertain Haripur" in numbers
    assert "Kurram Use with caution: small sample 3" in numbers
    assert "Ranks it may hold" not in text
    none = made["kp-2021/asked_bribe"].read_text(encoding="utf-8")
    assert "No number is shown for any of the 31 districts surveyed (not published for areas this small)." in shown(
        none
    )
    assert "34.5% (95% interval 30.5–38.5)" in shown(none)
    assert not re.search("<figure|<table|plotly|Ranking|Preview boundaries", none)


def test_a_model_of_each_province_has_a_page_of_its_own(known, tables, tmp_path, monkeypatch):
    no_pngs(monkeypatch)
    apart = {
        name: tables[name].assign(level="province", unit_id="kp") if "unit_id" in tables[name] else tables[name]
        for name in driver_pages.TABLES_OF_DRIVERS
    }
    made = site.write_site(tables | apart, *known, tmp_path / "site", made_at="2026")
    text = html.unescape(made["kp-2021/drivers-care-kp"].read_text(encoding="utf-8"))
    assert "<h1>What goes with care, Khyber Pakhtunkhwa</h1>" in text
    assert "kp-2021/drivers-care-kp-districts" in made
    assert "drivers-care-kp-districts.html#kp-bannu" in made["kp-2021/satisfied"].read_text(encoding="utf-8")


def test_a_province_without_a_shape_has_all_but_maps_and_the_others_theirs(known, few, tmp_path, monkeypatch):
    """As with a user's boundary file that has one province only."""
    no_pngs(monkeypatch)
    shapes = known[0]["2018"].shapes
    only_kp = replace(known[0]["2018"], shapes=shapes[shapes["district_id"].str.startswith("kp-")])
    made = site.write_site(few, {"2018": only_kp}, known[1], tmp_path / "site", made_at="2026")
    assert (tmp_path / "site" / "kp-2021" / "satisfied-map.svg").exists()
    assert not list((tmp_path / "site" / "punjab-2021").glob("satisfied-map*"))
    assert (tmp_path / "site" / "punjab-2021" / "satisfied-ranking.svg").exists()
    page = made["punjab-2021/satisfied"].read_text(encoding="utf-8")
    assert "There is no map" in page
    assert "data-view" not in page
    ranked = few["district_rankings"].query(
        "wave == 'punjab-2021' and indicator == 'satisfied' and scope == 'province'"
    )
    assert page.count('<th scope="row"') == len(ranked) == 5
    district = shown(made[f"districts/{ranked['district_id'].iloc[0]}"].read_text(encoding="utf-8"))
    assert "Waiting time" in district
    assert "minutes" in district
    home = made["index"].read_text(encoding="utf-8")
    newest = "latest-punjab-2021"
    assert newest in home
    assert "There is no map" in home
    assert "<path" not in home[home.index(newest) : home.index("</section>", home.index(newest))]
    assert_links_lead_to_files_and_to_every_page(tmp_path / "site")


def test_a_diagnosis_off_the_map_is_an_error(known, tables, tmp_path):
    strange = tables["published_diagnosis"].assign(district_id="kp-atlantis")
    with pytest.raises(InputError, match=r"published_diagnosis has districts .* kp-atlantis"):
        site.write_site(tables | {"published_diagnosis": strange}, *known, tmp_path / "site", made_at="now")
