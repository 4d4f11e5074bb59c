"""The languages of the site: the folder of each, which way it runs, and the words of its catalogue.

A catalogue is a gettext file, `languages/<code>.po`, in which Poedit, Weblate and the like can work. While its header
says `X-Review: draft`, pages made with it say that nobody has reviewed it; a reviewer takes that line out. Texts that
no catalogue has, such as sentences made from numbers, stay English and are marked as English.
"""

from __future__ import annotations

import gettext
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from markupsafe import Markup, escape

from perception.publish.maps import records, text

if TYPE_CHECKING:
    import pandas as pd
    from babel.messages import Catalog

_DRAFT = re.compile(r'^"X-Review: *draft\\n"$', re.MULTILINE)
_LABELS = {"published_waves": ("title",), "published_indicators": ("label", "service_label")}
"""The columns that other columns, such as title_ur, have in other languages."""


@dataclass(frozen=True)
class Language:
    """A language of the site: its code (BCP 47), its name in itself, where its pages stand, how its lines run.

    `folder` is from the site's root, empty or with a slash at its end.
    """

    code: str
    name: str
    folder: str
    direction: Literal["ltr", "rtl"]

    @property
    def up(self) -> str:
        """The way from the root of its own pages to the site's root."""
        return "../" * self.folder.count("/")

    @property
    def search_file(self) -> str:
        """Path of the file with what the search box finds."""
        return f"assets/search-{self.code}.js" if self.folder else "assets/search.js"

    @property
    def catalogue(self) -> Path:
        """The file with its translations; English, in which the site is written, has none."""
        return Path(__file__).with_name("languages") / f"{self.code}.po"


ENGLISH = Language("en", "English", "", "ltr")
URDU = Language("ur", "اردو", "ur/", "rtl")
LANGUAGES = (ENGLISH, URDU)
"""The languages in which every page is made. Images, data files and embeds are made once, in English."""


@dataclass(frozen=True)
class Words:
    """What is known in a language: translations for templates, and texts by the English text that they stand for."""

    language: Language
    translations: gettext.NullTranslations
    texts: Mapping[str, str]
    draft: bool

    def fixed(self, english: str) -> str:
        """A text without markup, for attributes and titles; English where no translation is known."""
        return self._translated(english) or english

    def said(self, english: str) -> str:
        """A text for the content of an element: escaped, and marked as English where no translation is known."""
        found = self._translated(english)
        if found is not None:
            return escape(found)
        if self.language == ENGLISH or not english:
            return escape(english)
        return Markup('<span lang="en" dir="ltr">{}</span>').format(english)

    def _translated(self, english: str) -> str | None:
        """The translation of a text, or of the parts of one such as `Not published: too uncertain, small sample`."""
        if found := self.texts.get(english):
            return found
        lead, colon, rest = english.partition(": ")
        parts = [self.texts.get(part, "") for part in (lead, *rest.split(", "))]
        return f"{parts[0]}: {'، '.join(parts[1:])}" if colon and all(parts) else None


def read_catalogue(file: Path) -> Catalog:
    """The messages of a catalogue; ValueError says where the file is malformed."""
    from babel.messages.pofile import PoFileError, read_po

    with file.open("rb") as opened:
        try:
            return read_po(opened, abort_invalid=True)
        except PoFileError as error:
            raise ValueError(f"{file.name}: {error}") from error


def is_draft(file: Path) -> bool:
    """Whether the header of a catalogue says that nobody has reviewed it (Babel drops headers it does not know)."""
    return bool(_DRAFT.search(file.read_text(encoding="utf-8")))


@cache
def words_of(language: Language) -> Words:
    """The words of a language's catalogue."""
    if language == ENGLISH:
        return Words(language, gettext.NullTranslations(), {}, draft=False)
    from babel.messages.mofile import write_mo

    catalogue = read_catalogue(language.catalogue)
    with io.BytesIO() as file:
        write_mo(file, catalogue)
        file.seek(0)
        translations = gettext.GNUTranslations(file)
    texts = {
        message.id: message.string
        for message in catalogue
        if isinstance(message.id, str) and isinstance(message.string, str) and message.id and not message.fuzzy
    }
    return Words(language, translations, texts, is_draft(language.catalogue))


def words_with(language: Language, labels: Mapping[str, str]) -> Words:
    """The words of a language's catalogue, and texts of surveys in it by the English ones (`labels_in`)."""
    known = words_of(language)
    return replace(known, texts={**known.texts, **labels})


def labels_in(language: Language, tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """The labels and titles that questionnaires and waves carry in a language, by the English ones.

    `tables` has published_waves and published_indicators. Where waves differ, the newest says it.
    """
    if language == ENGLISH:
        return {}
    order = dict(zip(tables["published_waves"]["wave"], tables["published_waves"]["last_day"], strict=True))
    found = {}
    for table, columns in _LABELS.items():
        for row in sorted(records(tables[table]), key=lambda row: str(order.get(row["wave"], ""))):
            for column in columns:
                english, translated = text(row[column]), text(row[f"{column}_{language.code}"])
                if english and translated:
                    found[english] = translated
    return found
