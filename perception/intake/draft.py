"""A first wave.yml for files that have none: columns matched to the instrument, codes, design, place and fieldwork.

Facts (names, labels, what the form says) are written plainly; whatever is a guess carries `# check`, and a wave does
not run before every such line was looked at. The guesses themselves are made in `drafting`.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from perception.geography.gazetteer import Gazetteer
from perception.intake.codebook import ASPECTS, codebook_changes, wave_codebook
from perception.intake.drafting.design import (
    Roles,
    design_lines,
    field_columns,
    field_days,
    fieldwork_lines,
    find_roles,
    identity_lines,
    place_lines,
    psu_columns,
    row_lines,
    row_rules,
    strata_columns,
)
from perception.intake.drafting.material import Material, read_material
from perception.intake.drafting.text import WIDTH, comment, flow, marked, scalar, short
from perception.intake.drafting.variables import DraftVariable, Earlier, draft_variables
from perception.intake.instrument import Instrument
from perception.intake.wave_file import Variable, Wave

_PUT_RIGHT = {
    "codes": "other codes, put right by the code maps",
    "direction": "reversed codes, put right by the code maps",
}
_BROKEN = {
    "new": "not asked in {}",
    "lost": "asked in {} only",
    "wording": "worded otherwise than in {}",
    "labels": "answers worded otherwise than in {}",
    "scale": "other answers than in {}",
    "filter": "others were asked than in {}",
    "order": "asked at another place than in {}",
}


@dataclass(frozen=True)
class Draft:
    """The text of a wave.yml, and which column was matched to each variable of the instrument.

    `matches`: variable, column, contains (answer of a select-multiple column), how (`name`, `earlier`, `wording`,
    `similar`, `answers`), score (0..1); missing where no column was found.
    """

    text: str
    matches: pd.DataFrame


def draft_wave(
    wave_id: str,
    files: Sequence[Path],
    instrument: Instrument,
    gazetteer: Gazetteer,
    form: Path | None = None,
    like: Wave | None = None,
    like_codebook: pd.DataFrame | None = None,
) -> Draft:
    """Draft wave.yml for `files` (the first is the main one), with an XLSForm and an earlier wave of the instrument.

    `like_codebook` is the table `wave_codebook` of `like`. InputError when a file or the form cannot be read.
    """
    data = read_material(wave_id, files, form)
    earlier = Earlier(like, like_codebook)
    roles = find_roles(data, earlier)
    rules = row_rules(data, roles, earlier)
    drafted, matches = draft_variables(
        data, instrument, earlier, field_columns(data, roles), [rule for rule, _ in rules]
    )
    variables = {name: draft.variable for name, draft in drafted.items()}
    strata = strata_columns(data, roles, variables, earlier)
    psu = psu_columns(data, roles, strata)
    sections = [
        _heading(wave_id, data, form, earlier),
        _head_lines(wave_id, data, roles, instrument, earlier),
        _file_lines(data, form),
        row_lines(rules),
        identity_lines(data, roles, psu, earlier),
        design_lines(data, roles, strata, psu, earlier),
        place_lines(data, roles, gazetteer, earlier),
        fieldwork_lines(data, roles, psu, variables, earlier),
        _comparability_lines(wave_id, data, variables, instrument, earlier),
        [*_variable_lines(drafted), *_absent_lines(matches, variables, earlier)],
    ]
    body = "\n\n".join("\n".join(lines) for lines in sections if lines)
    return Draft("\n".join([body, *_unused_lines(data, body)]) + "\n", matches)


def _heading(wave_id: str, data: Material, form: Path | None, earlier: Earlier) -> list[str]:
    made = [file.name for file in data.files] + ([form.name] if form else [])
    return comment(
        f"{wave_id}, drafted by `perception new-wave` from {', '.join(made)}"
        + (f" on the pattern of {earlier.id}" if earlier.id else "")
        + ". Every guess is marked at the end of its line, with its reason: correct it where it is wrong, then delete "
        "the mark. The wave does not run before the last mark is gone."
    )


def _head_lines(wave_id: str, data: Material, roles: Roles, instrument: Instrument, earlier: Earlier) -> list[str]:
    like, days = earlier.wave, field_days(data, roles)
    year = days[0][:4] if days else next(iter(re.findall(r"(?:19|20)\d\d", wave_id)), "2000")
    start, end = days or (f"{year}-01-01", f"{year}-12-31")

    def renewed(text: str) -> str:
        return text.replace(str(like.dates.start.year), year) if like is not None else text

    title = renewed(like.title.en) if like is not None else f"{instrument.title.en} {year}"
    lines = [f"id: {wave_id}", marked(f"round: {year}", ["waves fielded together have the same"])]
    if like is not None:
        lines.append(marked(f"predecessor: {like.id}", ["the wave that this one is compared with"]))
    lines.append(marked(f"title: {scalar(title)}", ["the name of the survey"]))
    lines.append(f"instrument: {instrument.id}")
    told = "first and last interview" if days else "first and last day of fieldwork"
    lines.append(marked(f"dates: {{start: {start}, end: {end}}}", [told]))
    for key, hint in (("producer", "who ran the survey"), ("citation", "how to cite it"), ("licence", "terms of use")):
        text = renewed(getattr(like, key)) if like is not None else "unknown"
        lines.append(marked(f"{key}: {scalar(text)}", [hint]))
    simulated = like.simulated if like is not None else False
    return [*lines, marked(f"simulated: {scalar(simulated)}", ["whether nobody gave these answers"])]


def _file_lines(data: Material, form: Path | None) -> list[str]:
    lines = ["files:"]
    for file in data.files:
        parts: dict[str, Any] = {"path": file.name, "columns": file.columns, "join": {"on": file.on, "key": file.key}}
        parts["join"] = {name: columns for name, columns in parts["join"].items() if columns}
        lines.append(marked(f"  - {flow({name: part for name, part in parts.items() if part})}", file.reasons))
    return [*lines, f"form: {scalar(form.name)}"] if form else lines


def _comparability_lines(
    wave_id: str, data: Material, variables: Mapping[str, Variable], instrument: Instrument, earlier: Earlier
) -> list[str]:
    """A verdict on each difference from the earlier wave: code maps put codes right, everything else is a break."""
    if earlier.wave is None or earlier.codebook is None:
        return []
    update = {"id": wave_id, "predecessor": earlier.id, "comparability": {}, "variables": variables}
    wave = earlier.wave.model_copy(update=update)
    codebook = wave_codebook(wave, data.columns, data.value_labels, data.column_labels)
    changes = codebook_changes(earlier.codebook, codebook, wave, instrument)
    lines = []
    for aspect in ASPECTS:
        rows = changes[changes["aspect"] == aspect].fillna("")
        if aspect in _PUT_RIGHT and len(rows):
            entry = {"verdict": "recoded", "reason": _PUT_RIGHT[aspect]}
            lines.append(marked(f'  "*.{aspect}": {flow(entry)}', [f"{len(rows)} variables"]))
            continue
        entry = {"verdict": "break", "reason": _BROKEN.get(aspect, "").format(earlier.id)}
        alike = ["before", "after"] if aspect not in ("new", "lost") else ["aspect"]
        for _, group in rows.groupby(alike, sort=False):
            told = [f"{short(group['before'].iloc[0])} there, {short(group['after'].iloc[0])} here"]
            if aspect in ("new", "lost"):
                told = ["or was it only not recognised?"] if aspect == "lost" else []
            names = _patterns(list(group["variable"]), list(rows["variable"]))
            lines += [marked(f"  {scalar(f'{name}.{aspect}')}: {flow(entry)}", told) for name in names]
    return ["comparability:", *lines] if lines else []


def _patterns(names: Sequence[str], others: Sequence[str]) -> list[str]:
    """The names, several with one beginning or ending as a pattern where it matches none of `others` besides."""
    parts = [name.split("_") for name in names]
    ends = {f"*_{'_'.join(words[place:])}" for words in parts for place in range(1, len(words))}
    starts = {f"{'_'.join(words[:place])}_*" for words in parts for place in range(1, len(words))}
    left, chosen = list(names), []
    for pattern in sorted(ends | starts, key=lambda one: (-len(fnmatch.filter(names, one)), len(one), one)):
        same = fnmatch.filter(left, pattern)
        if len(same) >= 3 and set(fnmatch.filter(others, pattern)) <= set(names):
            chosen.append(pattern)
            left = [name for name in left if name not in same]
    return [*chosen, *left]


def _variable_lines(drafted: Mapping[str, DraftVariable]) -> list[str]:
    """The variables; a code map that several have is written once and then referred to."""
    maps = [_key(codes) for draft in drafted.values() for codes in (draft.variable.map, draft.variable.missing)]
    anchors: dict[str, str] = {}
    lines = ["variables:"]
    for name, draft in drafted.items():
        variable, anchored = draft.variable, False
        source = variable.sources[0] if len(variable.sources) == 1 else variable.sources
        parts = {"source": flow(source)} if variable.constant is None else {"constant": scalar(variable.constant)}
        if variable.contains is not None:
            parts["contains"] = scalar(variable.contains)
        for part, codes in (("map", variable.map), ("missing", variable.missing)):
            if not codes:
                continue
            if maps.count(_key(codes)) == 1:
                parts[part] = flow(codes)
            elif _key(codes) in anchors:
                parts[part] = f"*{anchors[_key(codes)]}"
            else:
                anchors[_key(codes)] = _anchor(part, codes.values(), name, anchors.values())
                parts[part], anchored = f"&{anchors[_key(codes)]} {flow(codes)}", True
        if variable.asked_if is not None:
            parts["asked_if"] = flow(variable.asked_if.model_dump())
        if variable.blank != "missing":
            parts["blank"] = variable.blank
        line = f"  {name}: {{{', '.join(f'{part}: {value}' for part, value in parts.items())}}}"
        if len(line) <= WIDTH and not anchored:
            lines.append(marked(line, chain.from_iterable(draft.guesses.values())))
            continue
        lost = [reasons for part, reasons in draft.guesses.items() if part not in parts]
        lines.append(marked(f"  {name}:", chain.from_iterable(lost)))
        lines += [marked(f"    {part}: {value}", draft.guesses.get(part, ())) for part, value in parts.items()]
    return lines


def _key(codes: Mapping[Any, str]) -> str:
    return json.dumps(list(codes.items()))


def _anchor(part: str, meanings: Iterable[str], variable: str, used: Iterable[str]) -> str:
    """A free name for a code map: what it says, or the variable that has it first."""
    name = "no_answer" if part == "missing" else "yes_no" if set(meanings) == {"yes", "no"} else f"{variable}_codes"
    taken = set(used)
    return next(free for free in (name, *(f"{name}_{number}" for number in range(2, 1000))) if free not in taken)


def _absent_lines(matches: pd.DataFrame, variables: Mapping[str, Variable], earlier: Earlier) -> list[str]:
    """Variables that no column was found for; those that the earlier wave has are to be looked for one by one."""
    absent = [name for name in matches.loc[matches["column"].isna(), "variable"] if name not in variables]
    before = {name: variable for name in absent if (variable := earlier.variable(name)) is not None}
    lines = []
    for name, variable in before.items():
        sources = ", ".join(variable.sources)
        lines += comment(f"no column was found for {name}, {sources} in {earlier.id}", "  ", "check: ")
    others = ", ".join(name for name in absent if name not in before)
    if others and earlier.wave is None:
        lines += comment(others, "  ", "check: no column was found for ")
    elif others:
        lines += comment(others, "  ", f"neither here nor in {earlier.id}: ")
    return lines


def _unused_lines(data: Material, body: str) -> list[str]:
    """Every column that the draft does not name, so that nothing is left out silently."""
    named = set(_texts(yaml.safe_load(body)))
    unused = [column for column in data.columns if column not in named]
    return ["", *comment(", ".join(unused), mark="not used: ")] if unused else []


def _texts(content: Any) -> Iterable[str]:
    if isinstance(content, Mapping):
        content = list(content.values())
    if isinstance(content, list):
        return chain.from_iterable(map(_texts, content))
    return [str(content)]
