"""Workbooks as field software writes them: the form that was fielded (XLSForm) and an export of text and numbers.

What a round asks and in which codes comes from `questionnaire` and the module of the round.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from perception.intake.instrument import Instrument
from perception.simulate.coding import Coded, list_name
from perception.simulate.questionnaire import REASONS_NOT_USED, WAIT, Round

CREATED = datetime(2024, 1, 1)
"""A fixed day, so that the same content gives the same file."""


@dataclass(frozen=True)
class FormRow:
    """A row of the survey sheet; texts in English and Urdu."""

    type: str
    name: str
    en: str = ""
    ur: str = ""
    relevant: str = ""
    required: bool = False


@dataclass(frozen=True)
class Dialect:
    """What the form software calls the columns of labels, of codes, and its beginnings and ends."""

    english: str
    urdu: str
    code: str
    separator: str


KOBO = Dialect("label::English (en)", "label::اردو (ur)", "name", "_")
SURVEYCTO = Dialect("label", "label:urdu", "value", " ")


Choices = dict[str, dict[str, tuple[str, str]]]
"""Per list, the English and Urdu text of each code."""

NO_ANSWER_TEXTS = {
    "dont_know": ("Don't know", "معلوم نہیں"),
    "refused": ("Refused", "جواب نہیں دیا"),
    "not_asked": ("Never goes out alone", "اکیلے باہر نہیں جاتے"),
}
WHY = "why"
"""Stands for the select-multiple question in the order of a form."""
WHY_TEXT = ("Why was government health care not used?", "سرکاری صحت کی سہولت کیوں استعمال نہیں کی؟")
WHY_OTHER_TEXT = ("Please say which other reason", "کوئی اور وجہ بتائیں")

PERSON_ROWS = (
    FormRow("integer", "adults", "Adults in the household", "گھر میں بالغ افراد", required=True),
    FormRow("select_one sex", "sex", "Sex of the respondent", "جنس", required=True),
    FormRow("integer", "age", "Age in completed years", "عمر", required=True),
    FormRow("select_one educ", "educ", "Highest education", "تعلیم", required=True),
    FormRow("select_one quintile", "quintile", "Wealth quintile", "معاشی درجہ"),
)
"""What every form asks of the respondent, and the choices of it; rounds differ in the highest schooling."""
SEXES = {"1": ("Male", "مرد"), "2": ("Female", "عورت")}
SCHOOLING = {
    "0": ("No schooling", "ان پڑھ"),
    "1": ("Primary", "پرائمری"),
    "2": ("Middle", "مڈل"),
    "3": ("Matric or intermediate", "میٹرک یا انٹر"),
}
QUINTILES = {str(code): (f"Quintile {code}", f"درجہ {code}") for code in range(1, 6)}


def questions_sheet(
    paths: Mapping[str, str],
    how: Mapping[str, Coded],
    survey: Round,
    instrument: Instrument,
    wordings: Mapping[str, tuple[str, str]],
) -> tuple[list[FormRow], Choices]:
    """The questions of the instrument as rows of a form, and its lists of choices.

    `paths` gives each question's `group/name` in the order of the form, `WHY` that of the select-multiple question;
    `wordings` are those that differ from the instrument's.
    """
    rows: list[FormRow] = []
    choices: Choices = {}
    names = {question: path.rpartition("/")[2] for question, path in paths.items()}
    inside = ""
    for question, path in paths.items():
        group = path.rpartition("/")[0]
        if group != inside:
            rows += [FormRow("end_group", "")] if inside else []
            rows.append(FormRow("begin_group", group, group.capitalize(), ""))
            inside = group
        asked = f"{REASONS_NOT_USED}other" if question == WHY else question
        relevant = ""
        if condition := survey.asked_if(asked):
            relevant = f"${{{names[condition[0]]}}} = '{how[condition[0]].codes[condition[1]]}'"
        if question == WHY:
            choices[WHY] = _reasons_not_used(how, instrument)
            rows.append(FormRow(f"select_multiple {WHY}", names[WHY], *WHY_TEXT, relevant))
            other = f"selected(${{{names[WHY]}}}, '{list(choices[WHY])[-1]}')"
            rows.append(FormRow("text", f"{names[WHY]}_other", *WHY_OTHER_TEXT, other))
            continue
        label = instrument.questions[question].label
        texts = wordings.get(question, (label.en, label.ur or ""))
        if question == WAIT:
            minutes = (f"{texts[0]}, minutes", texts[1])
            rows.append(FormRow("integer", names[question], *minutes, relevant, required=True))
            continue
        offered = list_name(how[question], instrument.scale(question))
        choices.setdefault(offered, _choices(question, how[question], instrument))
        rows.append(FormRow(f"select_one {offered}", names[question], *texts, relevant, required=True))
    return [*rows, FormRow("end_group", "")], choices


def _choices(question: str, coded: Coded, instrument: Instrument) -> dict[str, tuple[str, str]]:
    texts = {name: (text.en, text.ur or "") for name, text in instrument.questions[question].categories.items()}
    return {str(code): texts[answer] for answer, code in coded.codes.items()} | {
        str(code): NO_ANSWER_TEXTS[reason] for reason, code in coded.missing.items()
    }


def _reasons_not_used(how: Mapping[str, Coded], instrument: Instrument) -> dict[str, tuple[str, str]]:
    found = {}
    for question, coded in how.items():
        if question.startswith(REASONS_NOT_USED):
            label = instrument.questions[question].label
            choice = coded.contains or coded.columns[0].rpartition("/")[2].rpartition("why_")[2]
            texts = [text.rpartition(": ")[2] for text in (label.en, label.ur or "")]
            found[choice] = (texts[0].capitalize(), texts[1])
    return found


def write_form(
    path: Path,
    rows: Iterable[FormRow],
    choices: Choices,
    settings: Mapping[str, str],
    dialect: Dialect,
) -> None:
    """Write an XLSForm."""
    survey = [
        {
            "type": re.sub("^(begin|end)_(group|repeat)$", rf"\1{dialect.separator}\2", row.type),
            "name": row.name,
            dialect.english: row.en,
            dialect.urdu: row.ur,
            "relevant" if dialect is KOBO else "relevance": row.relevant,
            "required": ("true" if dialect is KOBO else "yes") if row.required else "",
        }
        for row in rows
    ]
    lists = [
        {"list_name": name, dialect.code: code, dialect.english: en, dialect.urdu: ur}
        for name, codes in choices.items()
        for code, (en, ur) in codes.items()
    ]
    sheets = {"survey": pd.DataFrame(survey), "choices": pd.DataFrame(lists), "settings": pd.DataFrame([settings])}
    write_workbook(path, sheets)


def write_workbook(path: Path, sheets: Mapping[str, pd.DataFrame]) -> None:
    """Write frames of text and numbers as sheets; blank cells are left out."""
    import xlsxwriter

    with xlsxwriter.Workbook(str(path), {"constant_memory": True}) as workbook:  # row by row, whatever its size
        workbook.set_properties({"created": CREATED})
        for name, frame in sheets.items():
            sheet = workbook.add_worksheet(name)
            _write_row(sheet, 0, list(frame.columns))
            columns = [frame[column].astype(object).where(frame[column].notna(), None).tolist() for column in frame]
            for number, row in enumerate(zip(*columns, strict=True), start=1):
                _write_row(sheet, number, row)


def _write_row(sheet: Any, number: int, cells: Sequence[Any]) -> None:
    for place, cell in enumerate(cells):
        if cell is None or cell == "":
            continue
        if isinstance(cell, str):
            sheet.write_string(number, place, cell)
        else:
            sheet.write_number(number, place, cell)
