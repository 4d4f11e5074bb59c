"""What the catalogues of the site's languages are to hold; `python -m perception.publish.catalogues` updates the files.

Run it after changing a text of a template: new texts enter every catalogue without a translation, those that are gone
leave it, and translations stay.
"""

from __future__ import annotations

from pathlib import Path

from babel.messages import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import write_po

from perception.estimation.publication import REASONS
from perception.publish import driver_pages, figures, maps, rankings, views
from perception.publish.language import LANGUAGES, is_draft, read_catalogue

TEMPLATES = Path(__file__).with_name("templates")
WORDINGS = (
    *("worse", "better", "certain", "uncertain"),
    *("darker is worse", "darker is less certain", "Band in the ranking of the province"),
    *("Share in percent", "Weighted mean of shares in percent", f"Half the width of the {maps.INTERVAL}, points"),
    *("Not published", "Not ranked", "Use with caution", "not published", "no reason recorded"),
    *("All districts surveyed in this round", "Other", "Survey", "Service"),
    *("For a web page: HTML", "For Markdown", "For Word or an e-mail: image and caption", "PNG, large"),
    "No person ever gave these answers. Do not cite as a finding.",
)
"""Texts that code writes where it needs them."""
PHRASES = (
    maps.SIMULATED,
    maps.MODELLED_NOTE,
    rankings.OVERLAP,
    *(words for pair in views.BANDS.values() for words in pair),
    *(name for name, _ in views.VERDICTS.values()),
    *figures.QUADRANTS.values(),
    *driver_pages.CHANGE_PARTS.values(),
    *driver_pages.CHANGE_ROWS.values(),
    *REASONS.values(),
    *WORDINGS,
)
"""Texts that never change and reach the templates from code; the filters `said` and `fixed` look them up."""


def messages() -> Catalog:
    """Everything that a catalogue is to have, without translations: texts of the templates, then `PHRASES`."""
    wanted = Catalog()
    options = {"newstyle_gettext": "true", "trim_blocks": "true", "lstrip_blocks": "true", "silent": "false"}
    for file in sorted(TEMPLATES.glob("*.j2")):
        with file.open("rb") as opened:
            for _, text, _, _ in extract("jinja2.ext:babel_extract", opened, options=options):
                wanted.add(text, locations=[(file.name, 0)])
    for phrase in PHRASES:
        if phrase not in wanted:
            wanted.add(phrase)
    return wanted


def update(file: Path) -> None:
    """Bring a catalogue up to date with `messages`."""
    draft = is_draft(file)
    catalogue = read_catalogue(file)
    catalogue.update(messages(), no_fuzzy_matching=True, update_creation_date=False)
    for phrase in PHRASES:
        catalogue[phrase].flags.discard("python-format")  # a percent sign in them is one
    with file.open("wb") as opened:
        write_po(opened, catalogue, width=110, include_lineno=False, ignore_obsolete=True)
    if draft:
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace('"Language: ', '"X-Review: draft\\n"\n"Language: ', 1), encoding="utf-8")


if __name__ == "__main__":
    for language in LANGUAGES:
        if language.folder:
            update(language.catalogue)
