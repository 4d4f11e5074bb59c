"""Embeds: a page for an iframe, its oEmbed answer, and snippets to paste, of a map, a ranking or a district's card.

A preview does not know where it will be published. Absolute addresses in its files begin with `PREVIEW_ADDRESS`, which
a release replaces (`release.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from markupsafe import Markup

from perception.publish import maps
from perception.publish.downloads import ENDINGS, clean_text
from perception.publish.maps import Row

if TYPE_CHECKING:
    from jinja2 import Environment

Kind = Literal["map", "bands", "change", "uncertainty", "tiles", "ranking", "card"]
PREVIEW_ADDRESS = "https://address.invalid/"
"""Stands for the address of a site that is not published yet; RFC 2606 keeps it from ever being anybody's."""
PREVIEW_NOTE = (
    "This is a preview, and the addresses in these snippets do not work yet. "
    "The command perception release gives addresses that stay."
)
"""What an embed panel says of its addresses; a release puts its own sentence in its place."""
PROVIDER = "Citizen perception surveys"
INDEX_FILE = "embeds.json"
IMAGES = {"SVG": ".svg", "PNG": ".png", "PNG, large": "@2x.png"}
HEIGHT_MESSAGE = "perception-embed-height"
_WORD_WIDTH = 600
"""Pixels; as wide as the text of an A4 or Letter page with usual margins."""
_ONE_DAY = 86_400
_PATH = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
_MARKDOWN = re.compile(r"^(\d+)(?=[.)])|(?=[\\`*_\[\]<>|~&]|^[#+\-=])")
"""What Markdown reads as more than a letter, in the text of one paragraph (CommonMark 0.31, and tables of GitHub)."""
_LISTENER = Markup(
    "<script>addEventListener('message',function(e){"
    "if(!e.data||e.data.type!=='" + HEIGHT_MESSAGE + "')return;"
    "document.querySelectorAll('iframe[data-perception-embed]').forEach(function(f){"
    "if(f.contentWindow===e.source)f.style.height=Math.min(Math.max(Number(e.data.height)||0,100),9999)+'px'})})"
    "</script>"
)
"""A frame may set its own height, within bounds, and nothing else: the page it stands on is somebody else's."""


@dataclass(frozen=True)
class Embed:
    """A figure that others show on their pages.

    `path` is the base of its files on the site (`kp-2024/satisfied-map`: images, `-embed.html`, `-oembed.json`),
    `data` that of its data files, `page` the page that shows it; all relative to the site's root. `headline` is its
    message, `caption` what it shows of whom, `notes` what else there is to say of it. `width` and `height` are the
    static image's, in pixels. `body` is HTML that has been escaped. `wave`, `indicator` and `district` are ids, empty
    where it is not about one. Texts lose control characters and overrides of their direction.

    ValueError when a path leads out of the site.
    """

    path: str
    kind: Kind
    title: str
    subtitle: str
    headline: str
    caption: str
    alt: str
    notes: tuple[str, ...]
    source: str
    citation: str
    licence: str
    simulated: bool
    width: int
    height: int
    body: Markup
    data: str
    page: str
    wave: str
    indicator: str
    district: str

    def __post_init__(self) -> None:
        for path in (self.path, self.data, self.page.removesuffix(".html")):
            if not _PATH.fullmatch(path):
                raise ValueError(f"{path!r} is no path of a file on the site")
        for name in ("title", "subtitle", "headline", "caption", "alt", "source", "citation", "licence"):
            object.__setattr__(self, name, clean_text(getattr(self, name)))
        object.__setattr__(self, "notes", tuple(clean_text(note) for note in self.notes))

    @property
    def root(self) -> str:
        """The way from its page to the site's root."""
        return "../" * self.path.count("/")

    @property
    def name(self) -> str:
        """What it is called where it stands alone: marked where it is simulated."""
        words = ", ".join(filter(None, (self.title, self.subtitle)))
        return f"{maps.SIMULATED}: {words}" if self.simulated else words

    @property
    def credit(self) -> str:
        """What is said under its image: message, survey, caption and source, and before them that it is simulated."""
        mark = maps.SIMULATED_NOTE if self.simulated else ""
        survey = f"{self.subtitle}." if self.subtitle else ""
        return " ".join(filter(None, (mark, self.headline, survey, self.caption, self.source)))


@dataclass(frozen=True)
class Snippets:
    """What people paste: an iframe for a web page, an image for Markdown, an image for Word."""

    html: str
    markdown: str
    word: str


def snippets(embed: Embed, address: str) -> Snippets:
    """The snippets of an embed on the site at `address` (ends with a slash)."""
    files = _files(embed, address)
    frame = Markup(
        '<iframe data-perception-embed src="{}" title="{}" width="100%" height="{}" loading="lazy" '
        'style="border:0;width:100%"></iframe>'
    ).format(files["page"], embed.name, embed.height)
    height = round(_WORD_WIDTH * embed.height / embed.width)
    word = Markup(
        '<p><img src="{}" alt="{}" width="{}" height="{}"></p>\n<p><strong>{}.</strong> {} <a href="{}">{}</a></p>'
    ).format(files["double"], embed.alt, _WORD_WIDTH, height, embed.title, embed.credit, files["whole"], files["whole"])
    image = f"[![{markdown_text(embed.alt)}]({files['single']})]({files['whole']})"
    markdown = f"{image}\n\n**{markdown_text(embed.title)}.** {markdown_text(embed.credit)}"
    return Snippets(f"{frame}\n{_LISTENER}", markdown, str(word))


def oembed(embed: Embed, address: str) -> dict[str, Any]:
    """The answer to an oEmbed request (oEmbed 1.0, section 2.3.4.4, type `rich`) of an embed at `address`."""
    return {
        "version": "1.0",
        "type": "rich",
        "title": embed.name,
        "provider_name": PROVIDER,
        "provider_url": address,
        "html": snippets(embed, address).html,
        "width": embed.width,
        "height": embed.height,
        "thumbnail_url": _files(embed, address)["single"],
        "thumbnail_width": embed.width,
        "thumbnail_height": embed.height,
        "cache_age": _ONE_DAY,
    }


def oembed_link(embed: Embed, address: str) -> Markup:
    """The tag by which readers of a page find the oEmbed answer of its embed."""
    tag = Markup('<link rel="alternate" type="application/json+oembed" href="{}" title="{}">')
    return tag.format(f"{address}{quote(embed.path)}-oembed.json", embed.name)


def embed_page(embed: Embed, templates: Environment) -> str:
    """The page of an embed for an iframe; it needs no other file but what its body names."""
    return templates.get_template("embed.html.j2").render(
        embed=embed,
        height_message=HEIGHT_MESSAGE,
        oembed_link=oembed_link(embed, PREVIEW_ADDRESS),
        whole_page=embed.root + quote(embed.page),
    )


def write_embed(embed: Embed, site: Path, templates: Environment) -> None:
    """Write `<path>-embed.html` and `<path>-oembed.json` into the folder of a site."""
    page = site / f"{embed.path}-embed.html"
    page.write_text(embed_page(embed, templates), encoding="utf-8")
    answer = json.dumps(oembed(embed, PREVIEW_ADDRESS), ensure_ascii=False, indent=1) + "\n"
    page.with_name(f"{page.name.removesuffix('-embed.html')}-oembed.json").write_text(answer, encoding="utf-8")


def panel(embed: Embed, root: str) -> dict[str, Any]:
    """What the macro `panel` of `embed_panel.html.j2` shows on a page that is `root` (`../`) away from the site's."""
    images = {name: root + quote(embed.path) + ending for name, ending in IMAGES.items()}
    data = {ending[1:].upper(): root + quote(embed.data) + ending for ending in ENDINGS}
    made = snippets(embed, PREVIEW_ADDRESS)
    return {
        "key": embed.path.replace("/", "-"),
        "title": embed.title,
        "files": images | data,
        "snippets": (
            ("html", "For a web page: HTML", made.html),
            ("markdown", "For Markdown", made.markdown),
            ("word", "For Word or an e-mail: image and caption", made.word),
        ),
        "address_note": PREVIEW_NOTE,
        "citation": f"{maps.SIMULATED}: {embed.citation}" if embed.simulated else embed.citation,
        "licence": embed.licence,
    }


def embeds_index(embeds: Iterable[Embed], waves: Iterable[Row]) -> dict[str, Any]:
    """What `embeds.json` at the site's root says: the embeds, and the waves (rows of published_waves) behind the site.

    Releases and exports read it and nothing else of the site's making.
    """
    facts = ("wave", "title", "wave_version", "simulated", "citation", "licence")
    about = (
        *("path", "kind", "wave", "indicator", "district", "title", "subtitle", "headline", "caption", "alt", "source"),
        *("citation", "licence", "simulated", "width", "height", "data", "page"),
    )
    return {
        "address": PREVIEW_ADDRESS,
        "waves": [{name: wave[name] for name in facts} for wave in waves],
        "embeds": [{name: getattr(embed, name) for name in about} for embed in embeds],
    }


def write_index(embeds: Iterable[Embed], waves: Iterable[Row], site: Path) -> None:
    """Write `embeds.json` into the folder of a site."""
    text = json.dumps(embeds_index(embeds, waves), ensure_ascii=False, indent=1) + "\n"
    (site / INDEX_FILE).write_text(text, encoding="utf-8")


def markdown_text(text: str) -> str:
    """A text that Markdown shows as it is."""
    return _MARKDOWN.sub(r"\1\\", text)


def _files(embed: Embed, address: str) -> Mapping[str, str]:
    base = address + quote(embed.path)
    return {
        "page": f"{base}-embed.html",
        "single": f"{base}.png",
        "double": f"{base}@2x.png",
        "whole": address + quote(embed.page),
    }
