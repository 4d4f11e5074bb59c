"""The site in Urdu: a whole catalogue, a page for every English one with the same numbers, and nothing breaks out."""

from __future__ import annotations

import json
import os
import re
import shutil
from html import unescape
from pathlib import Path

import pytest
from markupsafe import escape

from perception.errors import InputError
from perception.intake.describe import indicator_facts, wave_facts
from perception.intake.instrument import load_instrument
from perception.intake.wave_file import load_wave
from perception.publish import catalogues, embeds, site
from perception.publish.language import ENGLISH, LANGUAGES, URDU, is_draft, labels_in, read_catalogue, words_of
from perception.publish.page_templates import page_environment
from tests.conftest import SMALL_INSTRUMENT, SMALL_WAVE, small_answers, write_small_wave
from tests.site_tables import MADE_AT, NASTY, built_site, published_tables, reference

NASTY_URDU = 'خدمت سے <script>alert("x")</script> مطمئن 100% %(name)s'
TITLE_URDU = "خیبر پختونخوا 2021 کا سروے"
SERVICE_URDU = "صحت <b>اور</b> علاج"
TRANSLATED = [language for language in LANGUAGES if language != ENGLISH]
SWITCH = re.compile(r'<a class="language" lang="(\w+)" dir="(\w+)" hreflang="(\w+)" href="([^"]+)">')
PACKAGE = Path(catalogues.__file__).parent
DRAFT = "Draft translation, not yet reviewed."


def urdu_tables() -> dict:
    """The made-up tables, with labels in Urdu for one indicator, one title and one service."""
    tables = published_tables(reference()[1]["2018"])
    indicators = tables["published_indicators"].copy()
    indicators.loc[indicators["indicator"] == "satisfied", "label_ur"] = NASTY_URDU
    indicators.loc[indicators["service"] == "health", "service_label_ur"] = SERVICE_URDU
    waves = tables["published_waves"].copy()
    waves.loc[waves["wave"] == "kp-2021", "title_ur"] = TITLE_URDU
    return {**tables, "published_indicators": indicators, "published_waves": waves}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return built_site(tmp_path_factory.mktemp("urdu") / "site", urdu_tables())


@pytest.fixture(scope="module")
def pages(folder) -> dict[str, tuple[str, str]]:
    """Each page of the site, without those of embeds: English and Urdu text by its path."""
    found = (path.relative_to(folder) for path in folder.rglob("*.html") if not path.name.endswith("-embed.html"))
    english = [path for path in found if path.parts[0] != "ur"]
    return {
        path.as_posix(): (
            (folder / path).read_text(encoding="utf-8"),
            (folder / "ur" / path).read_text(encoding="utf-8"),
        )
        for path in english
    }


def translations(language) -> list[tuple[str, str]]:
    """Every (English, translated) text of a catalogue, each plural form with that of its number."""
    pairs = []
    for message in read_catalogue(language.catalogue):
        if not message.id:
            continue
        if isinstance(message.id, str):
            pairs.append((message.id, message.string))
        else:
            pairs += [(message.id[min(number, 1)], text) for number, text in enumerate(message.string)]
    return pairs


@pytest.mark.parametrize("language", TRANSLATED, ids=lambda language: language.code)
def test_a_catalogue_has_every_text_and_no_other(language):
    held = {message.id: message for message in read_catalogue(language.catalogue) if message.id}
    wanted = {message.id for message in catalogues.messages() if message.id}
    assert len(wanted) > 200
    assert held.keys() == wanted, "run python -m perception.publish.catalogues"
    assert not [message.id for message in held.values() if message.fuzzy]
    assert not [english for english, text in translations(language) if not text.strip()]
    assert not read_catalogue(language.catalogue).obsolete


@pytest.mark.parametrize("language", TRANSLATED, ids=lambda language: language.code)
def test_translations_keep_placeholders_and_have_no_markup(language):
    for english, text in translations(language):
        for pattern in (r"%\(\w+\)[sd]", r"%%", r"(?<!%)\d+%", r"[<>&]", "#"):
            assert sorted(re.findall(pattern, text)) == sorted(re.findall(pattern, english)), english
        if english not in catalogues.PHRASES:  # templates format these, and a stray percent sign is an error there
            names = re.findall(r"%\((\w+)\)", text)
            assert text % dict.fromkeys(names, 1) is not None


def test_texts_that_code_writes_are_still_written_there():
    sources = [path for path in PACKAGE.glob("*.py") if path.name != "catalogues.py"]
    sources += (PACKAGE / "templates").glob("*.j2")
    written = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    made_of_parts = {"Half the width of the 95% interval, points": "Half the width of the {INTERVAL},{measured"}
    made_of_parts |= {
        "No person ever gave these answers. Do not cite as a finding.": "no person ever gave these answers"
    }
    assert not [text for text in catalogues.WORDINGS if made_of_parts.get(text, text) not in written]


def test_every_page_stands_in_urdu_too_and_files_stand_once(folder, pages):
    assert len(pages) > 80
    in_urdu = {path.relative_to(folder / "ur").as_posix() for path in (folder / "ur").rglob("*") if path.is_file()}
    assert in_urdu == pages.keys()
    for name, (english, urdu) in pages.items():
        assert '<html lang="en" dir="ltr">' in english, name
        assert '<html lang="ur" dir="rtl">' in urdu, name
        assert DRAFT not in english, name
        assert urdu.count(DRAFT) == 1, name
        assert words_of(URDU).fixed(next(m for m in words_of(URDU).texts if m.startswith(DRAFT))) in urdu, name


def test_the_switch_leads_to_the_same_page_and_back(folder, pages):
    for name in pages:
        for language, other in ((ENGLISH, URDU), (URDU, ENGLISH)):
            page = folder / language.folder / name
            text = page.read_text(encoding="utf-8")
            ((lang, direction, hreflang, href),) = SWITCH.findall(text)
            assert (lang, hreflang, direction) == (other.code, other.code, other.direction)
            assert os.path.normpath(page.parent / href) == str(folder / other.folder / name)
            alternates = dict(re.findall(r'<link rel="alternate" hreflang="(\w+)" href="([^"]+)">', text))
            assert {code: os.path.normpath(page.parent / to) for code, to in alternates.items()} == {
                each.code: str(folder / each.folder / name) for each in LANGUAGES
            }


def test_links_of_urdu_pages_lead_to_files_and_stay_in_urdu(folder, pages):
    for name, (_, text) in pages.items():
        for link in re.findall(r'(?:href|src)="([^"]+)"', text):
            target = unescape(link).partition("#")[0]
            if not target or "://" in target:
                continue
            file = Path(os.path.normpath((folder / "ur" / name).parent / target))
            assert file.is_file(), (name, link)
            if file.suffix == ".html" and not file.is_relative_to(folder / "ur"):
                assert file == folder / name, (name, link)


def numbers(text: str) -> list[list[str]]:
    """The numbers in every cell of a page's tables; of each in any order, because sentences have their own."""
    cells = re.findall(r"<td[^>]*>(.*?)</td>", text, flags=re.S)
    return [sorted(re.findall(r"[+−±]?[0-9][0-9,.]*%?", re.sub(r"<[^>]+>", " ", unescape(cell)))) for cell in cells]


def test_numbers_on_urdu_pages_are_those_of_the_english_ones(pages):
    assert sum(len(numbers(english)) for english, _ in pages.values()) > 1000
    for name, (english, urdu) in pages.items():
        assert numbers(urdu) == numbers(english), name
        assert re.findall(r'data-value="([^"]*)"', urdu) == re.findall(r'data-value="([^"]*)"', english), name
        assert re.findall(r'fill="(#\w+)"', urdu) == re.findall(r'fill="(#\w+)"', english), name


def test_labels_of_surveys_are_shown_in_urdu_where_they_have_them(pages):
    _, page = pages["kp-2021/satisfied.html"]
    assert f"<h1>{escape(NASTY_URDU)}</h1>" in page
    assert f'<a href="index.html">{TITLE_URDU}</a>' in page
    assert f">{escape(SERVICE_URDU)}</a>" in page
    _, other = pages["kp-2021/heard.html"]
    assert '<h1><span lang="en" dir="ltr">Was heard</span></h1>' in other
    english, _ = pages["kp-2021/satisfied.html"]
    assert f"<h1>{escape(NASTY)}</h1>" in english
    assert "مطمئن" not in english


def test_nothing_hostile_escapes_through_a_translation(folder, pages):
    for name, (_, page) in pages.items():
        assert "<script>alert" not in page, name
        assert "<b>" not in page, name
    found = (folder / URDU.search_file).read_text(encoding="utf-8")
    assert "</script>" not in found


def test_what_a_release_puts_in_its_place_stands_on_urdu_pages_as_it_is(pages):
    assert embeds.PREVIEW_NOTE not in words_of(URDU).texts
    for name, (english, urdu) in pages.items():
        for text in (embeds.PREVIEW_NOTE, embeds.PREVIEW_ADDRESS):
            assert urdu.count(text) == english.count(text), name


def test_english_on_urdu_pages_is_marked(pages):
    for name in ("kp-2021/satisfied.html", "districts/kp-swat.html", "kp-2021/drivers-care.html", "index.html"):
        _, page = pages[name]
        main = page.partition('<main id="main">')[2]
        body = re.sub(r"<(script|style|svg|textarea)\b.*?</\1>", "", main, flags=re.S)
        marked = re.compile(r'<(\w+)[^>]* lang="en"[^>]*>(?:(?!</?\1\b).)*</\1>', flags=re.S)
        rest = re.sub(r"<[^>]*>", " ", marked.sub(" ", body))
        english = set(re.findall(r"[A-Za-z]{3,}", unescape(rest)))
        allowed = {"PNG", "SVG", "CSV", "XLSX", "HTML", "Word", "Markdown", "Ctrl", "Cmd"}
        allowed |= {"script", "alert", "name", "Benjamini", "Hochberg", "LMG", "jackknife"}
        assert english <= allowed, (name, english - allowed)


def test_simulated_data_is_marked_in_both_languages(pages):
    for name, (english, urdu) in pages.items():
        mark = "<strong>SIMULATED DATA.</strong>"
        assert (mark in english) == (mark in urdu), name
        assert (mark in english) == ("<strong>مصنوعی ڈیٹا:</strong>" in urdu), name
        if mark in english:
            assert "<title>مصنوعی ڈیٹا: " in urdu, name


def test_what_is_made_of_known_parts_is_translated_and_the_rest_is_marked_as_english():
    words = words_of(URDU)
    parts = [words.texts[text] for text in ("Not published", "too uncertain", "small sample")]
    assert words.fixed("Not published: too uncertain, small sample") == f"{parts[0]}: {parts[1]}، {parts[2]}"
    assert words.said("Not published: too <uncertain>, small sample") == (
        '<span lang="en" dir="ltr">Not published: too &lt;uncertain&gt;, small sample</span>'
    )
    assert words.said("") == ""
    assert words_of(ENGLISH).said("a <b>") == "a &lt;b&gt;"


def test_the_search_of_urdu_pages_knows_both_names(folder):
    def entries(language):
        text = (folder / language.search_file).read_text(encoding="utf-8")
        return json.loads(text.removeprefix("window.perceptionSearch = ").removesuffix(";\n"))

    english, urdu = entries(ENGLISH), entries(URDU)
    assert [entry[2] for entry in urdu] == [entry[2] for entry in english]
    assert all((there[3:] or [there[0]]) == [here[0]] for here, there in zip(english, urdu, strict=True))
    assert [NASTY_URDU, TITLE_URDU, "kp-2021/satisfied.html", NASTY] in urdu
    for entry in urdu:
        assert (folder / "ur" / entry[2]).is_file()


def test_the_newest_wave_says_what_a_label_is_in_urdu():
    tables = urdu_tables()
    indicators = tables["published_indicators"].copy()
    old = (indicators["wave"] == "kp-2018") & (indicators["indicator"] == "satisfied")
    indicators.loc[old, "label_ur"] = "پرانا"
    changed = {**tables, "published_indicators": indicators}
    assert labels_in(URDU, changed)[NASTY] == NASTY_URDU
    assert labels_in(ENGLISH, changed) == {}


def test_the_draft_note_goes_with_its_line_in_the_catalogue(tmp_path):
    assert is_draft(URDU.catalogue)
    reviewed = tmp_path / "ur.po"
    text = URDU.catalogue.read_text(encoding="utf-8")
    reviewed.write_text(text.replace('"X-Review: draft\\n"\n', ""), encoding="utf-8")
    assert not is_draft(reviewed)
    templates = page_environment(URDU)
    content = {"root": "", "site": "../", "beside": "", "here": "methods.html", "simulated": False}
    assert DRAFT in templates.get_template("methods.html.j2").render(content)
    templates.globals["draft"] = False
    assert DRAFT not in templates.get_template("methods.html.j2", globals={"draft": False}).render(content)


def test_updating_a_catalogue_keeps_translations_and_the_mark_of_a_draft(tmp_path):
    file = tmp_path / "ur.po"
    shutil.copyfile(URDU.catalogue, file)
    catalogues.update(file)
    assert file.read_text(encoding="utf-8") == URDU.catalogue.read_text(encoding="utf-8")
    text = file.read_text(encoding="utf-8").replace('msgid "Neighbours"', 'msgid "No longer said"')
    file.write_text(text, encoding="utf-8")
    catalogues.update(file)
    updated = {message.id: message.string for message in read_catalogue(file)}
    assert "No longer said" not in file.read_text(encoding="utf-8")
    assert updated["Neighbours"] == ""
    assert updated["Methods"] == words_of(URDU).texts["Methods"]
    assert is_draft(file)


def test_a_malformed_catalogue_is_named(tmp_path):
    file = tmp_path / "ur.po"
    file.write_text('msgid "a"\nmsgstr "b"\nso what\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"ur\.po"):
        read_catalogue(file)


def test_a_wave_cannot_take_the_folder_of_a_language(tmp_path):
    geometries, units = reference()
    tables = {
        name: rows.assign(wave=rows["wave"].replace("kp-2018", "ur")) if "wave" in rows else rows
        for name, rows in published_tables(units["2018"]).items()
    }
    with pytest.raises(InputError, match="wave ur: its id is the name of a folder"):
        site.write_site(tables, geometries, units, tmp_path / "site", made_at=MADE_AT)


def test_tables_carry_the_urdu_texts_of_waves_and_questionnaires(tmp_path):
    instrument = SMALL_INSTRUMENT.replace(
        "    label: Satisfied with the service\n", "    label: {en: Satisfied with the service, ur: خدمت سے مطمئن}\n"
    )
    instrument += "services:\n  care:\n    label: {en: Care, ur: علاج}\n    indicators: [satisfied]\n"
    (tmp_path / "small.yml").write_text(instrument, encoding="utf-8")
    wave = SMALL_WAVE.replace(
        "title: Small survey (simulated)", "title: {en: Small survey (simulated), ur: چھوٹا سروے}"
    )
    loaded = load_wave(write_small_wave(tmp_path / "small-2021", wave=wave))
    answers = small_answers().rename(columns={"q1": "service", "q2": "heard", "district": "district_id"})
    facts = indicator_facts(answers, loaded, load_instrument(tmp_path / "small.yml")).set_index("indicator")
    assert facts.loc["satisfied", ["label_ur", "service_label_ur"]].tolist() == ["خدمت سے مطمئن", "علاج"]
    assert facts.loc["was_heard", ["label_ur", "service_label_ur"]].isna().all()
    assert wave_facts(answers, answers, loaded, "0" * 64)["title_ur"].tolist() == ["چھوٹا سروے"]
