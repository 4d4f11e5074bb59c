"""An XLSForm as a list of questions: path, type, choices, labels in each language, and who is asked what.

Only the form is read here; which column of an export holds which question is told by names, what answers mean is not.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perception.errors import InputError, Problem
from perception.intake.formats.archives import check_zip
from perception.intake.readers import code_key

LANGUAGES = {"en": {"en", "eng", "english"}, "ur": {"ur", "urd", "urdu", "اردو"}}
OTHER = "other"
"""Name of the choice, and suffix of the text column, that `or_other` adds."""

_SELECT = re.compile(
    r"^(?P<how>select[ _]one|select1|select[ _]multiple|select all that apply|rank)"
    r"(?P<place>_from_file|_external)?( from)?\s+(?P<list>\S+)(?P<other>\s+or[ _]other)?$",
    re.IGNORECASE,
)
_BLOCK = re.compile(r"^(begin|end)[ _](group|repeat)$", re.IGNORECASE)
_TEXT_HEADER = re.compile(r"^(label|hint)\s*(?:::?\s*(.+))?$", re.IGNORECASE)
_ALIASES = {"relevance": "relevant", "list name": "list_name", "value": "name", "caption": "label"}
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|\*\*|^#+\s+")


@dataclass(frozen=True)
class FormQuestion:
    """A row of the survey sheet. Texts are keyed by language: `en`, `ur`, or as the form calls it.

    `heading` is the label of the group it stands in, `relevant` the condition of the question and of all its groups,
    `repeat` the path of the repeat it stands in.
    """

    path: str
    type: str
    labels: Mapping[str, str]
    hints: Mapping[str, str]
    heading: Mapping[str, str]
    choices: str | None = None
    or_other: bool = False
    relevant: str = ""
    required: bool = False
    repeat: str | None = None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class XLSForm:
    """A form: its questions in order, and per list the texts of each code, by language."""

    title: str
    version: str
    questions: tuple[FormQuestion, ...]
    choices: Mapping[str, Mapping[str, Mapping[str, str]]]

    def answers(self, question: FormQuestion) -> dict[str, Mapping[str, str]]:
        """The texts of each code that the question offers; empty when it is no select question."""
        offered = dict(self.choices.get(question.choices or "", {}))
        return {**offered, OTHER: {"en": "Other"}} if question.or_other else offered


@dataclass(frozen=True)
class Condition:
    """Who is asked: those whose answer to the question `name` is one of `codes`, or (`negated`) none of them."""

    name: str
    codes: frozenset[str]
    negated: bool = False


@dataclass
class _Block:
    kind: str
    name: str
    relevant: str
    labels: Mapping[str, str]


@dataclass
class _Sheet:
    """Rows of a sheet by header, with their number in the workbook."""

    headers: list[str] = field(default_factory=list)
    rows: list[tuple[int, dict[str, str]]] = field(default_factory=list)


def english(texts: Mapping[str, str]) -> str | None:
    """The English text, else the one in the first language of the form."""
    return texts.get("en") or next(iter(texts.values()), None)


def read_xlsform(path: Path, where: str) -> XLSForm:
    """Read an XLSForm workbook; InputError (placed by `where`) lists every row that cannot be understood."""
    sheets = _read_sheets(path, where)
    survey, choices = sheets.get("survey"), sheets.get("choices", _Sheet())
    if survey is None:
        remedy = "Name the form as XLSForm (sheets survey, choices, settings), not the data."
        raise InputError([Problem(where, f"has no sheet `survey` (it has {', '.join(sheets) or 'none'})", remedy)])
    if absent := [name for name in ("type", "name") if name not in survey.headers]:
        raise InputError(
            Problem(f"{where}, sheet survey", f"has no column `{name}`", "Restore the header row of the form.")
            for name in absent
        )
    settings = next((row for _, row in sheets.get("settings", _Sheet()).rows), {})
    default = _language(settings.get("default_language", "en"))
    problems: list[Problem] = []
    lists = _choice_lists(choices, default, settings, where, problems)
    questions = tuple(_questions(survey, lists, default, where, problems))
    if problems:
        raise InputError(problems)
    return XLSForm(settings.get("form_title", ""), settings.get("version", ""), questions, lists)


def _read_sheets(path: Path, where: str) -> dict[str, _Sheet]:
    from python_calamine import CalamineWorkbook

    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                check_zip(archive, where)
        with CalamineWorkbook.from_path(str(path)) as workbook:
            tables = {name: workbook.get_sheet_by_name(name).to_python() for name in workbook.sheet_names}
    except InputError:
        raise
    except Exception as error:  # Whatever the reader raises on a broken file is one finding.
        what = " ".join(str(error).split()) or type(error).__name__
        remedy = "Download the form again as XLSForm (.xlsx)."
        raise InputError([Problem(where, f"cannot be read as a workbook: {what}", remedy)]) from error
    return {name.strip().casefold(): _sheet(rows) for name, rows in tables.items()}


def _sheet(rows: list[list[Any]]) -> _Sheet:
    numbered = [(number, [code_key(cell) for cell in row]) for number, row in enumerate(rows, start=1)]
    filled = [(number, cells) for number, cells in numbered if any(cells)]
    if not filled:
        return _Sheet()
    headers = [_header(cell) for cell in filled[0][1]]
    body = [
        (number, {header: cell for header, cell in zip(headers, cells, strict=False) if header and cell})
        for number, cells in filled[1:]
    ]
    return _Sheet(headers, body)


def _header(cell: str) -> str:
    if _TEXT_HEADER.match(cell):
        return cell
    name = cell.casefold()
    return _ALIASES.get(name, name)


def _language(name: str) -> str:
    words = set(re.findall(r"\w+", name.casefold()))
    return next((code for code, names in LANGUAGES.items() if words & names), name.strip())


def _texts(row: Mapping[str, str], kind: str, default: str) -> dict[str, str]:
    """The row's `label` or `hint` by language, without markup; a column without a language is in the default one."""
    texts: dict[str, str] = {}
    for header, cell in row.items():
        match = _TEXT_HEADER.match(header)
        if match and match[1].casefold() == kind and (text := " ".join(_MARKUP.sub(" ", cell).split())):
            texts.setdefault(_language(match[2]) if match[2] else default, text)
    return texts


def _choice_lists(
    sheet: _Sheet, default: str, settings: Mapping[str, str], where: str, problems: list[Problem]
) -> dict[str, dict[str, dict[str, str]]]:
    lists: dict[str, dict[str, dict[str, str]]] = {}
    repeats_allowed = _truth(settings.get("allow_choice_duplicates", ""))
    for number, row in sheet.rows:
        place = f"{where}, sheet choices, row {number}"
        name, code = row.get("list_name"), row.get("name")
        if name is None or code is None:
            if row.keys() & {"list_name", "name"}:
                lacks = "list_name" if name is None else "name"
                problems.append(Problem(place, f"has no `{lacks}`", "Fill it in, or delete the row."))
            continue
        texts = _texts(row, "label", default)
        known = lists.setdefault(name, {})
        if code in known and known[code] != texts and not repeats_allowed:
            what = f"code {code!r} stands twice in list {name}, as {english(known[code])!r} and {english(texts)!r}"
            problems.append(Problem(place, what, "Give each answer a code of its own, as the form that was fielded."))
        known.setdefault(code, texts)
    return lists


def _questions(
    sheet: _Sheet, lists: Mapping[str, Any], default: str, where: str, problems: list[Problem]
) -> Iterator[FormQuestion]:
    blocks: list[_Block] = []
    seen: dict[str, int] = {}
    for number, row in sheet.rows:
        place = f"{where}, sheet survey, row {number}"
        kind = " ".join(row.get("type", "").split())
        if not kind or _truth(row.get("disabled", "")):
            continue
        labels = _texts(row, "label", default)
        if match := _BLOCK.match(kind):
            edge, block = match[1].casefold(), match[2].casefold()
            if edge == "begin":
                blocks.append(_Block(block, row.get("name", ""), row.get("relevant", ""), labels))
            elif blocks and blocks[-1].kind == block:
                blocks.pop()
            else:
                problems.append(Problem(place, f"`{kind}` ends no {block}", "Balance begin and end rows."))
            continue
        if not (name := row.get("name")):
            problems.append(Problem(place, f"a question of type {kind} has no `name`", "Give it its name."))
            continue
        path = "/".join([*(block.name for block in blocks if block.name), name])
        if path in seen:
            what = f"{path} stands twice, first in row {seen[path]}"
            problems.append(Problem(place, what, "Give each question a name of its own."))
            continue
        seen[path] = number
        select = _SELECT.match(kind)
        listed = select["list"] if select and not select["place"] else None
        if listed is not None and listed not in lists:
            problems.append(Problem(place, f"list {listed!r} is not in sheet choices", "Add it or correct its name."))
        yield FormQuestion(
            path=path,
            type=_select_type(select["how"]) if select else kind,
            labels=labels,
            hints=_texts(row, "hint", default),
            heading=next((block.labels for block in reversed(blocks) if block.labels), {}),
            choices=listed,
            or_other=bool(select and select["other"]),
            relevant=_joined([*(block.relevant for block in blocks), row.get("relevant", "")]),
            required=_truth(row.get("required", "")),
            repeat=_repeat_path(blocks),
        )
    problems += [
        Problem(f"{where}, sheet survey", f"{block.kind} {block.name} is never ended", "Balance begin and end rows.")
        for block in blocks
    ]


def _select_type(how: str) -> str:
    how = how.casefold()
    if how == "rank":
        return how
    return "select_one" if "one" in how or how.endswith("1") else "select_multiple"


def _repeat_path(blocks: list[_Block]) -> str | None:
    inner = max((depth for depth, block in enumerate(blocks, start=1) if block.kind == "repeat"), default=0)
    return "/".join(block.name for block in blocks[:inner] if block.name) or None


def _truth(cell: str) -> bool:
    return cell.casefold() in {"yes", "true", "true()", "1"}


def _joined(conditions: Iterable[str]) -> str:
    parts = [part for part in conditions if part]
    return parts[0] if len(parts) == 1 else " and ".join(f"({part})" for part in parts)


def form_columns(form: XLSForm, columns: Iterable[str]) -> dict[str, tuple[FormQuestion, str | None]]:
    """The question that each exported column holds; for one choice of a select_multiple, its code too.

    Known are full paths joined by `/`, `-` or `.`, bare names where only one question bears them, `[1]` and `_1` of
    wide repeats, a choice after `/` or `_`, and `_other`. Columns that hold no question are left out.
    """
    found: dict[str, tuple[FormQuestion, str | None]] = {}
    names = [question.name for question in form.questions]
    index: dict[str, tuple[FormQuestion, str | None]] = {}
    for question in form.questions:
        keys = {question.path, question.path.replace("/", "-"), question.path.replace("/", ".")}
        if question.repeat is not None:
            inside = question.path.removeprefix(question.repeat + "/")
            keys |= {inside, inside.replace("/", "-")} if names.count(question.name) == 1 else set()
        if names.count(question.name) == 1:
            keys.add(question.name)
        for key in keys:
            index[key] = (question, None)
            if question.or_other:
                index.setdefault(f"{key}_{OTHER}", (question, OTHER))
            if question.type == "select_multiple":
                for code in form.answers(question):
                    index.setdefault(f"{key}/{code}", (question, code))
                    index.setdefault(f"{key}_{code}", (question, code))
    for column in columns:
        single = re.sub(r"\[\d+\]", "", column)
        hit = index.get(single)
        if hit is None and (wide := index.get(re.sub(r"(_\d+)+$", "", single))) and wide[0].repeat is not None:
            hit = wide
        if hit is not None:
            found[column] = hit
    return found


def form_labels(form: XLSForm, columns: Iterable[str]) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """What a form says of exported columns, in English where it can: labels of codes, and question wordings.

    Returns column -> code -> label (select questions only) and column -> wording; a choice of its own column is
    worded `question: choice`.
    """
    value_labels: dict[str, dict[str, str]] = {}
    column_labels: dict[str, str] = {}
    for column, (question, choice) in form_columns(form, columns).items():
        wording, answers = english(question.labels), form.answers(question)
        if choice is None and answers:
            value_labels[column] = {code: english(texts) or code for code, texts in answers.items()}
        if choice is not None:
            wording = f"{wording or question.name}: {english(answers[choice]) or choice}"
        if wording:
            column_labels[column] = wording
    return value_labels, column_labels


_ATOM = re.compile(
    r"""^(?:selected\s*\(\s*\$\{(?P<chosen>[^}]+)\}\s*,\s*(?P<choice>'[^']*'|"[^"]*"|-?[\w.]+)\s*\)
    |\$\{(?P<name>[^}]+)\}\s*(?P<sign>!=|=)\s*(?P<code>'[^']*'|"[^"]*"|-?[\d.]+))$""",
    re.VERBOSE,
)


def conditions(relevant: str) -> list[Condition | str]:
    """A `relevant` expression as parts that must all hold; a part that is no question against codes stays text.

    Understood are `${q} = 'a'`, `${q} != 1`, `selected(${q}, 'a')`, `not(...)` of these, and several of them about one
    question joined by `or`.
    """
    return [_condition(part) or part for part in _conjuncts(relevant)] if relevant.strip() else []


def _conjuncts(text: str) -> list[str]:
    parts = _split(_bare(text), "and")
    return [one for part in parts for one in _conjuncts(part)] if len(parts) > 1 else [_bare(text)]


def _condition(part: str) -> Condition | None:
    text, negated = _bare(part), False
    while match := re.fullmatch(r"not\s*\((.*)\)", text, re.DOTALL):
        text, negated = _bare(match[1]), not negated
    atoms = [_ATOM.match(_bare(alternative)) for alternative in _split(text, "or")]
    names = {(atom["chosen"] or atom["name"]).strip() if atom else None for atom in atoms}
    differs = any(atom is not None and atom["sign"] == "!=" for atom in atoms)
    if None in names or len(names) > 1 or (differs and len(atoms) > 1):
        return None
    codes = frozenset(code_key((atom["choice"] or atom["code"]).strip("'\"")) for atom in atoms if atom)
    return Condition(str(names.pop()), codes, negated != differs)


def _bare(text: str) -> str:
    """Without outer parentheses that enclose the whole."""
    text = text.strip()
    while text.startswith("(") and _closing(text) == len(text) - 1:
        text = text[1:-1].strip()
    return text


def _closing(text: str) -> int:
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return place
    return -1


def _split(text: str, word: str) -> list[str]:
    """Split at a word that stands outside parentheses and quotes."""
    parts, depth, quote, start, place = [], 0, "", 0, 0
    separator = re.compile(rf"\s{word}\s", re.IGNORECASE)
    while place < len(text):
        letter = text[place]
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "()":
            depth += 1 if letter == "(" else -1
        elif depth == 0 and (match := separator.match(text, place)):
            parts.append(text[start:place])
            start = place = match.end()
            continue
        place += 1
    return [part.strip() for part in [*parts, text[start:]]]
