"""Which columns look personal: names, phones, identity numbers, places; what is done about it is elsewhere."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

LOOKED_AT = 20_000
"""Values of a column that are looked at, evenly spread over it."""
FEW = 100
"""Different values of which ten times as many rows show enough."""
SHARE = 0.2
"""Share of a column's values from which a pattern counts; a few may look like anything."""

SMALLEST_NUMBER = 3_000_000_000
"""Of a phone, without its leading zero; identity cards have more digits."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PERSON = {"respondent", "resp", "person", "head", "hh", "household", "father", "mother", "husband", "wife", "spouse"}
_PERSON |= {"full", "first", "last", "sur", "family", "nick", "member", "enumerator", "interviewer", "contact", "your"}
_THING = {"district", "tehsil", "province", "division", "village", "school", "facility", "service", "indicator", "file"}
_THING |= {
    "variable",
    "column",
    "table",
    "form",
    "stratum",
    "psu",
    "wave",
    "unit",
    "team",
    "area",
    "block",
    "city",
    "town",
}
_THING |= {
    "question",
    "category",
    "instrument",
    "place",
    "map",
    "vintage",
    "region",
    "language",
    "device",
    "department",
}
_THING |= {"office", "programme", "program", "scheme", "bank", "company", "party", "union", "council", "ward", "mouza"}
_PHONE = {"phone", "mobile", "cell", "cellphone", "telephone", "tel", "whatsapp", "msisdn", "sim"}
_IDENTITY = {"cnic", "nic", "nicop", "snic", "passport"}
_CONTACT = {"email": "an e-mail address", "address": "an address", "imei": "a device number", "imsi": "a device number"}
_PLACE = {"gps", "geopoint", "geolocation", "latitude", "longitude", "lat", "lon", "lng", "coordinates", "geotrace"}
_CODE = {"id", "key", "uuid", "code", "psu", "stratum", "cluster", "serial", "row", "no", "number", "hhcode", "hhid"}
_CODE |= {"weight", "version", "index", "block", "time", "date", "start", "end", "timestamp", "sha256"}

PHONE = "a phone number"
CNIC = "an identity card number"
PLACE = "the place of a person"
NAME = "a person's name"

_STRONG = (
    (re.compile(r"\b\d{5}-\d{7}-\d\b"), CNIC),
    (re.compile(r"(?:\+|\b00)92[ -]?\(?0?\)?3\d{2}[ -]?\d{7}\b"), PHONE),
    (re.compile(r"\b03\d{2}[ -]\d{7}\b"), PHONE),
    (re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+\.[\w.]+"), _CONTACT["email"]),
    (re.compile(r"^-?\d{1,2}\.\d{3,}[ ,;]+-?\d{2,3}\.\d{3,}"), PLACE),
)
"""What hardly anything else looks like, wherever it stands."""
_BARE = ((re.compile(r"^0?3[0-6]\d{8}$"), PHONE), (re.compile(r"^[1-8]\d{12}$"), CNIC))
"""Bare digits, which may as well be a code."""


_SAYING = {"name", "surname", "fullname", "firstname", "lastname", "naam", *_PHONE, *_IDENTITY, *_CONTACT, *_PLACE}
"""Words of a column name that may say that it is personal."""
_ANY = re.compile("|".join(f"(?:{pattern.pattern.strip('^$')})" for pattern, _ in (*_STRONG, *_BARE)))
"""Found in whatever a pattern above matches, and in more."""


def looks_personal(column: str, values: pd.Series) -> str | None:
    """What personal thing a column seems to hold, in words, or None; judged by its name and by its values.

    A name counts only where the values can bear it (a yes or no to owning a phone is no phone number); bare digits
    count only where the name is not that of a code and they do not run on like serial numbers.
    """
    words = [word.lower() for word in _WORD.findall(column)]
    known = np.flatnonzero(values.notna().to_numpy())
    few = isinstance(values.dtype, pd.CategoricalDtype) and len(values.cat.categories) <= FEW
    sample = values.iloc[known[:: max(len(known) // (10 * FEW if few else LOOKED_AT), 1)]]
    if not set(words) & _SAYING and _shows_nothing(sample):
        return None
    text = sample.astype("str").str.strip().str.replace(r"\.0$", "", regex=True)
    text = text[text != ""]
    return _by_name(words, text, sample) or _by_content(words, text)


def _shows_nothing(values: pd.Series) -> bool:
    """Whether no value matches a pattern: that is sooner said than which pattern matches how many."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return bool((values.abs() < SMALLEST_NUMBER).all())
    categorical = isinstance(values.dtype, pd.CategoricalDtype)
    return not _ANY.search("\n".join(map(str, values.cat.categories if categorical else values.unique())))


def _by_name(words: list[str], text: pd.Series, values: pd.Series) -> str | None:
    """What the column's name says, where its values do not say otherwise."""
    said, personal = set(words), None
    if said & _PLACE:
        return PLACE if text.empty or _coordinates(values) else None
    if said & {"name", "surname", "fullname", "firstname", "lastname"} or words[-1:] == ["naam"]:
        personal = NAME if not (said & _THING) or said & (_PERSON - {"household", "hh", "family"}) else None
        if words == ["name"] and not _mostly_different(text):
            personal = None
    elif said & _PHONE:
        personal = PHONE
    elif said & _IDENTITY:
        personal = CNIC
    else:
        personal = next((what for word, what in _CONTACT.items() if word in said), None)
    if personal is None or text.empty:
        return personal
    return personal if _mostly_different(text) else None


def _mostly_different(text: pd.Series) -> bool:
    """Whether the values are not just a few categories."""
    different = text.nunique()
    return bool(different > 12 or different > len(text) / 3) and not text.str.fullmatch(r"\d{1,3}").all()


def _coordinates(values: pd.Series) -> bool:
    """Whether values can be degrees, or several numbers of a place in one text."""
    numbers = pd.to_numeric(values.astype("str"), errors="coerce")
    if numbers.notna().mean() > 0.5:
        inside = numbers.abs() <= 180
        return bool(inside.mean() > 0.9 and (numbers.dropna() % 1 != 0).mean() > 0.5)
    return bool(values.astype("str").str.contains(r"\d+\.\d+[ ,;]+\d+\.\d+", regex=True).mean() > SHARE)


def _by_content(words: list[str], text: pd.Series) -> str | None:
    if text.empty:
        return None
    for pattern, what in _STRONG:
        if text.str.contains(pattern).mean() > (SHARE if what == PLACE else 0):
            return what
    if set(words) & _CODE:
        return None
    for pattern, what in _BARE:
        alike = text.str.fullmatch(pattern.pattern.strip("^$"))
        if alike.mean() > SHARE and _scattered(text[alike]):
            return what
    return None


def _scattered(digits: pd.Series) -> bool:
    """Whether numbers are not serial: neither neighbours of each other nor of one narrow range."""
    numbers = np.sort(pd.to_numeric(digits).to_numpy(dtype=np.float64))
    if len(numbers) < 3:
        return True
    # Networks and districts have prefixes of their own; numbers of one kind rarely have five of three digits.
    return bool(np.median(np.diff(numbers)) > 1000 and digits.str.lstrip("0").str[:3].nunique() >= 5)


def personal_columns(frame: pd.DataFrame) -> list[str]:
    """The columns of a frame that look personal, each with what it looks like."""
    found = {str(column): looks_personal(str(column), frame[column]) for column in frame}
    return [f"{column} looks like {what}" for column, what in found.items() if what]
