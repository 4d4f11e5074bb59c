"""Embeds without a browser: snippets, oEmbed and pages parsed as their readers parse them, with hostile texts."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markupsafe import Markup

from perception.publish import maps
from perception.publish.embeds import (
    PREVIEW_ADDRESS,
    PREVIEW_NOTE,
    Embed,
    embed_page,
    embeds_index,
    markdown_text,
    oembed,
    oembed_link,
    panel,
    snippets,
    write_embed,
)
from perception.publish.page_templates import page_environment

ADDRESS = "https://surveys.example/releases/v3/"
HOSTILE = (
    '"><img src=x onerror=alert(1)>',
    "<script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "</style></title><b onload=alert(1)>",
    "' onload='alert(1)",
    "]()![x](javascript:alert(1)) **b** `c` <u>",
    "=cmd()",
    "{{ 7*7 }} {% x %}",
    "long " * 2000,
)


def embed(**changes: object) -> Embed:
    made = Embed(
        path="kp-2024/satisfied-map",
        kind="map",
        title="Satisfied with the district",
        subtitle="KP 2024",
        headline="Two of 35 districts are low.",
        caption="Between 20% and 50% are satisfied.",
        alt="Map of 35 districts.",
        notes=("A typical estimate is uncertain by ±4 points.",),
        source="Source: Bureau (2024). Licence: CC0-1.0.",
        citation="Bureau (2024)",
        licence="CC0-1.0",
        simulated=False,
        width=840,
        height=900,
        body=Markup('<img src="satisfied-map.svg" alt="Map of 35 districts.">'),
        data="kp-2024/satisfied",
        page="kp-2024/satisfied.html",
        wave="kp-2024",
        indicator="satisfied",
        district="",
    )
    return replace(made, **changes)


def hostile(text: str) -> Embed:
    texts = ("title", "subtitle", "headline", "caption", "alt", "source", "citation", "licence")
    return embed(**dict.fromkeys(texts, text), notes=(text,))


class Tags(HTMLParser):
    """Every tag with its attributes and every text, as a browser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._open[-1] if self._open else "", []).append(data)

    def only(self, name: str) -> dict[str, str | None]:
        (found,) = [attributes for tag, attributes in self.tags if tag == name]
        return found


def skeleton(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """The tags and the names of their attributes: what a text must not be able to change."""
    return [(tag, tuple(attributes)) for tag, attributes in Tags(text).tags]


def panel_page(one: Embed) -> str:
    source = '{% import "embed_panel.html.j2" as embeds %}{{ embeds.panel(one) }}{{ embeds.once() }}'
    return page_environment().from_string(source).render(one=panel(one, "../"))


def test_the_html_snippet_is_a_named_lazy_frame_of_full_width() -> None:
    frame = Tags(snippets(embed(), ADDRESS).html).only("iframe")
    assert frame["src"] == f"{ADDRESS}kp-2024/satisfied-map-embed.html"
    assert frame["title"] == "Satisfied with the district, KP 2024"
    assert (frame["width"], frame["height"], frame["loading"]) == ("100%", "900", "lazy")


def test_the_markdown_snippet_links_the_image_to_its_page() -> None:
    image, caption = snippets(embed(), ADDRESS).markdown.split("\n\n")
    assert image == (f"[![Map of 35 districts.]({ADDRESS}kp-2024/satisfied-map.png)]({ADDRESS}kp-2024/satisfied.html)")
    assert caption.startswith("**Satisfied with the district.** Two of 35 districts are low. KP 2024. Between 20% and")
    assert caption.endswith("Source: Bureau (2024). Licence: CC0-1.0.")


def test_the_word_snippet_is_an_image_as_wide_as_a_page_with_its_source() -> None:
    read = Tags(snippets(embed(), ADDRESS).word)
    image = read.only("img")
    assert image["src"] == f"{ADDRESS}kp-2024/satisfied-map@2x.png"
    assert image["alt"] == "Map of 35 districts."
    assert (image["width"], image["height"]) == ("600", "643")  # 900 of 840 wide
    assert "Source: Bureau (2024). Licence: CC0-1.0." in " ".join(read.texts["p"])
    assert read.only("a")["href"] == f"{ADDRESS}kp-2024/satisfied.html"


def test_simulated_embeds_say_so_wherever_they_go() -> None:
    one = embed(simulated=True)
    made = snippets(one, ADDRESS)
    assert str(Tags(made.html).only("iframe")["title"]).startswith(maps.SIMULATED)
    assert maps.SIMULATED_NOTE in made.word
    assert maps.SIMULATED_NOTE in made.markdown
    assert oembed(one, ADDRESS)["title"].startswith(maps.SIMULATED)
    page = Tags(embed_page(one, page_environment()))
    assert page.texts["title"] == [f"{maps.SIMULATED}: Satisfied with the district, KP 2024"]
    assert f"{maps.SIMULATED}." in page.texts["strong"]
    assert maps.SIMULATED not in embed_page(embed(), page_environment())


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_changes_what_a_page_or_a_snippet_is_made_of(text: str) -> None:
    templates, harmless = page_environment(), embed()
    one = hostile(text)
    assert skeleton(embed_page(one, templates)) == skeleton(embed_page(harmless, templates))
    assert skeleton(panel_page(one)) == skeleton(panel_page(harmless))
    for kind in ("html", "word"):
        assert skeleton(getattr(snippets(one, ADDRESS), kind)) == skeleton(getattr(snippets(harmless, ADDRESS), kind))
    assert Tags(snippets(one, ADDRESS).word).only("img")["alt"] == text.strip()
    assert str(Tags(str(oembed_link(one, ADDRESS))).only("link")["title"]).startswith(text.strip())


@pytest.mark.parametrize("text", HOSTILE)
def test_in_markdown_every_mark_of_a_text_is_escaped(text: str) -> None:
    made = snippets(hostile(text), ADDRESS).markdown
    plain = re.sub(r"\\.", "", made)
    assert plain.count("](") == 2  # the image, and the link around it
    assert plain.count("**") == 2
    assert not set(plain) & set("<>`")


@pytest.mark.parametrize("text", ["# x", "- x", "+ x", "1. x", "2024) x", "=== x", "> x", "* x"])
def test_in_markdown_a_text_begins_no_list_and_no_heading(text: str) -> None:
    assert re.match(r"\d*\\[#\-+.)=>*]", markdown_text(text))


def test_overrides_of_direction_and_control_characters_are_gone_everywhere() -> None:
    one = hostile("Swat\u202e\u2066\x00\x1b now\r\nthere")
    everything = [embed_page(one, page_environment()), panel_page(one), json.dumps(embeds_index([one], []))]
    everything += [snippets(one, ADDRESS).html, snippets(one, ADDRESS).word, snippets(one, ADDRESS).markdown]
    for text in everything:
        assert "Swat now there" in text
        assert not set(text) & set("\u202e\u2066\x00\x1b\r")


@pytest.mark.parametrize(
    "path", ["../kp", "/etc/passwd", "kp/../../x", "kp\\x", 'kp"onload', "javascript:x", "", "a//b"]
)
@pytest.mark.parametrize("field", ["path", "data", "page"])
def test_a_path_that_leads_elsewhere_is_refused(field: str, path: str) -> None:
    with pytest.raises(ValueError, match="no path of a file on the site"):
        embed(**{field: path})


def test_the_oembed_answer_has_what_its_standard_asks_for() -> None:
    answer = oembed(embed(), ADDRESS)
    assert (answer["version"], answer["type"]) == ("1.0", "rich")
    assert {"html", "width", "height"} <= set(answer)  # required of type rich
    assert Tags(answer["html"]).only("iframe")["src"] == f"{ADDRESS}kp-2024/satisfied-map-embed.html"
    assert answer["provider_url"] == ADDRESS
    thumbnail = {"thumbnail_url", "thumbnail_width", "thumbnail_height"}  # all three or none
    assert thumbnail <= set(answer)
    assert answer["thumbnail_url"] == f"{ADDRESS}kp-2024/satisfied-map.png"


def test_the_page_names_itself_and_asks_for_nothing_from_elsewhere() -> None:
    text = embed_page(embed(), page_environment())
    page = Tags(text)
    assert page.only("html")["lang"] == "en"
    assert page.only("main")["aria-labelledby"] == page.only("h1")["id"]
    link = page.only("a")
    assert (link["href"], link["target"], link["rel"]) == ("../kp-2024/satisfied.html", "_top", "noopener")
    loaded = [attributes.get("src") for tag, attributes in page.tags if tag in ("img", "script", "iframe")]
    assert loaded == ["satisfied-map.svg", None]
    assert "url(" not in text
    assert "@import" not in text
    assert len(text.encode()) < 12_000


def test_the_panel_labels_every_snippet_and_offers_every_file() -> None:
    page = Tags(panel_page(embed()))
    labels = [attributes["for"] for tag, attributes in page.tags if tag == "label"]
    areas = [attributes for tag, attributes in page.tags if tag == "textarea"]
    assert [area["id"] for area in areas] == labels
    assert all("readonly" in area for area in areas)
    assert all("hidden" in attributes for tag, attributes in page.tags if tag == "button")
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    base = "../kp-2024/satisfied"
    images = [f"{base}-map.svg", f"{base}-map.png", f"{base}-map@2x.png"]
    assert links == [*images, f"{base}.csv", f"{base}.xlsx", f"{base}.json"]
    made = snippets(embed(), PREVIEW_ADDRESS)
    for text in (made.html, made.markdown, made.word):
        assert text in "".join(page.texts["textarea"])
    assert PREVIEW_NOTE in page.texts["p"]


def test_files_are_written_where_their_addresses_point(tmp_path: Path) -> None:
    (tmp_path / "kp-2024").mkdir()
    write_embed(embed(), tmp_path, page_environment())
    assert {path.name for path in (tmp_path / "kp-2024").iterdir()} == {
        "satisfied-map-embed.html",
        "satisfied-map-oembed.json",
    }
    answer = json.loads((tmp_path / "kp-2024/satisfied-map-oembed.json").read_text(encoding="utf-8"))
    assert answer == oembed(embed(), PREVIEW_ADDRESS)
    link = [tag for _, tag in Tags((tmp_path / "kp-2024/satisfied-map-embed.html").read_text()).tags if "type" in tag]
    assert link[0]["href"] == f"{PREVIEW_ADDRESS}kp-2024/satisfied-map-oembed.json"


def test_the_index_says_what_exports_and_releases_need() -> None:
    wave = {"wave": "kp-2024", "title": "KP", "wave_version": "abc", "simulated": True, "citation": "B", "licence": "L"}
    index = embeds_index([embed()], [{**wave, "psus": 3}])
    assert index["waves"] == [wave]
    (one,) = index["embeds"]
    assert "body" not in one
    assert (one["path"], one["kind"], one["indicator"]) == ("kp-2024/satisfied-map", "map", "satisfied")
    assert json.loads(json.dumps(index))["address"] == PREVIEW_ADDRESS
