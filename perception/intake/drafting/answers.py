"""Which category or reason a code stands for: by its label, an earlier wave or custom; each certain or a guess."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from perception.intake.codebook import fold_text
from perception.intake.declarations import REASONS
from perception.intake.drafting.material import code_order, is_number

_USUAL_REASONS = {
    "dont_know": ("8", "88", "98", "888", "998", "9998", "-8", "-88", "-98", "-888", "-998", ".d", "d"),
    "refused": ("9", "99", "999", "9999", "-9", "-99", "-999", ".r", "r"),
    "not_asked": ("7", "77", "97", "997", "-7", "-77", "-97", "-997", ".n", "n", ".s", "s"),
    "missing": (".m", "m"),
}
"""Codes that are customary for no answer; each of them may be an answer in some question."""
_REASON_TEXTS = {
    "dont_know": ("don't know", "do not know", "doesn't know", "dk", "معلوم نہیں", "پتہ نہیں"),
    "refused": ("refused", "refusal", "refused to answer", "declined to answer", "انکار", "جواب دینے سے انکار"),
    "not_asked": ("not applicable", "n/a", "not asked", "inapplicable", "لاگو نہیں"),
    "missing": ("missing", "no data", "not stated", "system missing"),
}
_REASON_WORDS = {
    "dont_know": r"\b(don ?t know|do not know|dk|not sure|can t say|cannot say|unknown)\b|معلوم|پتہ نہیں",
    "refused": r"\b(refus\w*|declin\w*|no answer|no response|prefer not)\b|انکار|جواب نہیں",
    "not_asked": r"\b(not applicable|not asked|inapplicable|skipped)\b|لاگو نہیں",
    "missing": r"\b(missing|not stated|no data|inconsistent|invalid)\b",
}
_REASON_OF = {fold_text(text): reason for reason, texts in _REASON_TEXTS.items() for text in texts}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_STRONG = _words("very strongly completely extremely totally highly fully absolutely lot great بہت سخت بالکل مکمل")
_PLAIN = _words("somewhat fairly rather quite mostly partly slightly little bit a of or to the is are کچھ تھوڑا")
_NEUTRAL = _words("neither nor neutral undecided indifferent mixed average درمیانہ")
_NEGATIVE = _words("not no never bad poor poorly worse worst worsened hardly غیر نہیں")


@dataclass(frozen=True)
class Meaning:
    """What a code stands for (a category or a reason), and whether that is certain or a guess."""

    meaning: str
    certain: bool

    @property
    def is_reason(self) -> bool:
        """Whether it stands for no answer."""
        return self.meaning in REASONS


@dataclass(frozen=True)
class _Parsed:
    """An answer's words: side (-1, 0 neutral, 1), whether strong, and the roots of the words that are left."""

    words: str
    side: int
    strong: bool
    roots: frozenset[str]


def reason_of(label: str) -> Meaning | None:
    """The reason for no answer that a label gives, if it gives one."""
    folded = fold_text(label)
    if folded in _REASON_OF:
        return Meaning(_REASON_OF[folded], True)
    found = (reason for reason, words in _REASON_WORDS.items() if re.search(words, folded))
    return next((Meaning(reason, False) for reason in found), None)


def answer_meanings(
    labels: Mapping[str, str], categories: Mapping[str, Sequence[str]], known: Mapping[str, str] | None = None
) -> dict[str, Meaning]:
    """What each labelled code stands for; codes whose label says nothing known are left out.

    `categories` gives the texts of each; `known` folded labels whose meaning an earlier wave declared. A label must
    equal a text, or (a guess) have its root, side and strength: "Very unsatisfied" never becomes very satisfied.
    """
    texts = {**(known or {}), **{fold_text(text): name for name, names in categories.items() for text in names}}
    found: dict[str, Meaning] = {}
    for code, label in labels.items():
        if (folded := fold_text(label)) in texts:
            found[code] = Meaning(texts[folded], True)
        elif reason := reason_of(label):
            found[code] = reason
        elif (category := _nearest(label, categories)) is not None:
            found[code] = Meaning(category, False)
    return found


@cache
def _parsed(text: str) -> _Parsed:
    folded = re.sub(r"^(?:yes|no) (?=\w+ \w)", "", fold_text(text))
    side, strong, roots = 1, False, set()
    for word in folded.split():
        if word in _NEGATIVE:
            side = -1
        elif word in _STRONG:
            strong = True
        elif word not in _PLAIN | _NEUTRAL:
            if prefix := re.match(r"(?:dis|un)(?=\w{4})", word):
                word, side = word[prefix.end() :], -1
            roots.add(word[:6])
    return _Parsed(folded, 0 if _NEUTRAL & set(folded.split()) else side, strong, frozenset(roots))


def _nearest(label: str, categories: Mapping[str, Sequence[str]]) -> str | None:
    """The one category of the label's side and root; where several are, that of its strength, then of its words."""
    from rapidfuzz import fuzz

    own = _parsed(label)
    near = {name: [text for text in map(_parsed, texts) if _akin(text, own)] for name, texts in categories.items()}
    alike = {name: texts for name, texts in near.items() if any(text.strong == own.strong for text in texts)}
    spelt = {
        name: max(fuzz.token_sort_ratio(text.words, own.words) for text in texts)
        for name, texts in (alike or near).items()
        if texts
    }
    ranked = sorted(spelt, key=spelt.__getitem__, reverse=True)
    clear = len(ranked) == 1 or (len(ranked) > 1 and spelt[ranked[0]] - spelt[ranked[1]] >= 8)
    return ranked[0] if clear else None


def _akin(one: _Parsed, other: _Parsed) -> bool:
    from rapidfuzz import fuzz

    if one.side != other.side or one.side == 0 or not one.roots or not other.roots:
        return one.side == other.side and (one.side == 0 or one.roots == other.roots)
    return any(fuzz.ratio(a, b) >= 85 for a in one.roots for b in other.roots)


def labels_in_use(labels: Mapping[str, str], counts: Mapping[str, int]) -> dict[str, str]:
    """Labels by what stands in the file, which is the label itself where labels were exported."""
    texts = set(labels.values())
    by_code, by_label = (sum(count for code, count in counts.items() if code in side) for side in (labels, texts))
    return {text: text for text in labels.values()} if by_label > by_code else dict(labels)


def category_codes(
    counts: Mapping[str, int],
    labels: Mapping[str, str],
    categories: Mapping[str, Sequence[str]],
    known: Mapping[str, str],
    declared: Mapping[str, str],
) -> tuple[dict[str, Meaning], str]:
    """What the codes of a question with categories stand for, and by what where labels do not say: ``, `earlier` or
    `custom`.

    `declared` is the code map of an earlier wave; it serves where the file has no labels and no other codes.
    """
    found = answer_meanings(labels, categories, known)
    bare = {code: code for code in counts if code not in labels}
    found |= answer_meanings({code: code for code in bare if not is_number(code)}, categories)
    initials = {name[0]: name for name in categories}
    if len(initials) == len(categories):
        found |= {
            code: Meaning(initials[code.casefold()], False)
            for code in bare
            if code not in found and code.casefold() in initials
        }
    left = [code for code in bare if code not in found]
    alike = not labels and all(code in declared or usual_reason(code) for code in left)
    earlier = {
        code: Meaning(declared[code], False)
        for code in left
        if code in declared and (alike or declared[code] in REASONS)
    }
    found |= earlier
    left = [code for code in bare if code not in found]
    found |= {
        code: Meaning(reason, False)
        for code in left
        if (reason := usual_reason(code)) and not _continues_scale(code, left, len(categories))
    }
    left = [code for code in left if code not in found]
    custom = {} if any(not meaning.is_reason for meaning in found.values()) else _by_custom(left, list(categories))
    found |= {code: Meaning(meaning, False) for code, meaning in custom.items()}
    how = "custom" if custom else "earlier" if any(not meaning.is_reason for meaning in earlier.values()) else ""
    return {code: found[code] for code in sorted(found, key=code_order)}, how


def usual_reason(code: str) -> str | None:
    """The reason for which a code is customary."""
    return next((reason for reason, codes in _USUAL_REASONS.items() if code in codes), None)


def _continues_scale(code: str, codes: Sequence[str], size: int) -> bool:
    """Whether 7, 8 or 9 is the next step of a scale rather than a code for no answer."""
    return code in {"7", "8", "9"} and (int(code) <= size or (size > 4 and str(int(code) - 1) in codes))


def _by_custom(codes: Sequence[str], scale: Sequence[str]) -> dict[str, str]:
    """Codes without any label: 1 is yes, 1 is male, the lowest is the worst."""
    if set(scale) == {"yes", "no"} and set(codes) <= {"0", "1", "2"} and len(codes) <= 2:
        return {code: "yes" if code == "1" else "no" for code in codes}
    if {"male", "female"} <= set(scale) and set(codes) <= {"1", "2", "3"}:
        return {code: {"1": "male", "2": "female", "3": "transgender"}[code] for code in codes}
    if len(codes) == len(scale) and all(map(is_number, codes)):
        return dict(zip(sorted(codes, key=code_order), scale, strict=True))
    return {}


def number_reasons(
    counts: Mapping[str, int],
    labels: Mapping[str, str],
    limits: tuple[float, float] | None,
    declared: Mapping[str, str],
) -> dict[str, Meaning]:
    """Codes of a number that stand for no answer: by label; else values that cannot be or are far from all others.

    Where the number has no limits, codes that an earlier wave `declared` too.
    """
    found = {code: meaning for code, label in labels.items() if (meaning := reason_of(label)) is not None}
    low, high = limits or (0.0, float("inf"))
    plain = [float(code) for code in counts if is_number(code) and usual_reason(code) is None]
    far = 1.5 * max(plain, default=float("inf"))
    for code in counts:
        reason = declared.get(code) or usual_reason(code)
        if code in found or reason is None:
            continue
        impossible = not is_number(code) or not low <= float(code) <= high
        if impossible or (limits is None and (code in declared or float(code) > far)):
            found[code] = Meaning(reason, False)
    return {code: found[code] for code in sorted(found, key=code_order)}
