"""The templates of all pages, and what every one of them may say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from perception.publish import figures, maps, plotly_map, rankings, static_map, views, words
from perception.publish.language import ENGLISH, LANGUAGES, Language, words_with

if TYPE_CHECKING:
    from jinja2 import BytecodeCache, Environment
    from jinja2.bccache import Bucket
    from jinja2.runtime import Context


def page_environment(language: Language = ENGLISH, labels: Mapping[str, str] | None = None) -> Environment:
    """The templates of this package in a language, escaping everything, a name that is not given being an error.

    `labels` has texts of surveys in that language by the English ones (`language.labels_in`).
    """
    import jinja2

    known = words_with(language, labels or {})
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("perception.publish"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
        bytecode_cache=_compiled(),
    )
    environment.install_gettext_translations(known.translations, newstyle=True)  # type: ignore[attr-defined]
    environment.filters |= {"said": _when_shown(cache(known.said)), "fixed": _when_shown(known.fixed)}
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.globals |= {
        "language": language,
        "languages": LANGUAGES,
        "draft": known.draft,
        "SIMULATED": maps.SIMULATED,
        "SIMULATED_NOTE": maps.SIMULATED_NOTE,
        "HATCH": (maps.HATCH_GROUND, maps.HATCH_LINE),
        "HATCHED": maps.HATCHED,
        "NO_DATA": maps.NO_DATA,
        "BANDS": views.BANDS,
        "BAND_COLOURS": views.BAND_COLOURS,
        "OVERLAP": rankings.OVERLAP,
        "caution_note": rankings.caution_note,
        "QUADRANTS": figures.QUADRANTS,
        "NOT_CAUSE": figures.NOT_CAUSE,
        "MAP_CONFIG": plotly_map.CONFIG,
        "mark_fill": figures.mark_fill,
        "mark_colour": static_map.mark_colour,
        "dates_of": maps.dates,
        "list_of": words.list_of,
    }
    return environment


def _when_shown(translate: Callable[[str], str]) -> Callable[[Context, str], str]:
    """A filter that is not applied when a template is compiled, since all languages share what that gives."""
    import jinja2

    @jinja2.pass_context
    def translated(_: Context, english: str) -> str:
        return translate(english)

    return translated


@cache
def _compiled() -> BytecodeCache:
    """The templates that this process has compiled."""
    import jinja2

    class Compiled(jinja2.BytecodeCache):
        def __init__(self) -> None:
            self.by_key: dict[str, bytes] = {}

        def load_bytecode(self, bucket: Bucket) -> None:
            if bucket.key in self.by_key:
                bucket.bytecode_from_string(self.by_key[bucket.key])

        def dump_bytecode(self, bucket: Bucket) -> None:
            self.by_key[bucket.key] = bucket.bytecode_to_string()

    return Compiled()


def style_sheet() -> str:
    """The style sheet of all pages."""
    folder = Path(__file__).with_name("templates")
    return "".join((folder / name).read_text(encoding="utf-8") for name in ("figures.css", "style.css"))
