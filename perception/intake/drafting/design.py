"""What columns besides the questions are for: identity, design, place and fieldwork, as lines of a draft."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain

import pandas as pd

from perception.geography.gazetteer import (
    Gazetteer,
    fold_name,
    name_index,
    resolve_districts,
    units_covering,
    vintage_units,
)
from perception.intake.drafting.answers import labels_in_use
from perception.intake.drafting.material import Material, last_name
from perception.intake.drafting.material import fold_name as fold_column
from perception.intake.drafting.text import code, comment, flow, marked, scalar, short
from perception.intake.drafting.variables import Earlier
from perception.intake.privacy import looks_personal
from perception.intake.readers import code_key
from perception.intake.wave_file import RowRule, SampleDesign, Variable, Wave

Roles = Mapping[str, str]
"""The column that plays each role; roles that no column plays are left out.

KoboToolbox's `_submission_time` plays none: it is in UTC without saying so, beside local start and end.
"""

_NAMES = {
    "weight": "wfinal weightfinal finalweight weight weights wt wgt pweight hhweight w",
    "stratum": "stratum strata stratumid strat",
    "psu": "psu psuid cluster clusterid clusterno eb ebcode ea eacode block",
    "household": "hhno hhid household householdno householdid hhnumber hh",
    "id": "key uuid instanceid respid respondentid interviewid caseid serial id",
    "start": "start starttime startts interviewstart timestart begintime intdate interviewdate",
    "end": "end endtime endts interviewend timeend",
    "submitted": "submissiondate submitted submitts",
    "minutes": "durationmin minutes interviewminutes durationminutes",
    "enumerator": "enumid enumeratorid enumerator interviewer interviewerid surveyor enum intno username",
    "team": "teamid team supervisor supervisorid",
    "form_version": "formdefversion version formversion",
    "result": "resultcode result outcome interviewresult interviewstatus finalresult",
    "consent": "consent consented agreed",
    "district": "district districtname districtsrc dist districtcode zila ضلع",
}
"""How columns of each role are usually called, likeliest first: lower case, letters and digits only."""
_OF_SOFTWARE = {"KEY", "_uuid", "instanceID", "SubmissionDate", "_submission_time", "__version__", "formdef_version"}
"""Columns that field software adds under a fixed name: no guess."""
_TIMES = ("start", "end", "submitted")
_FIELDWORK = ("enumerator", "team", *_TIMES, "minutes", "form_version")
_TIME_FORMATS = (
    "%b %d, %Y %I:%M:%S %p",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y %I:%M:%S %p",
    "%d-%b-%Y %H:%M:%S",
    "%d-%b-%Y",
    "%d/%m/%Y",
    "%d/%m/%y",
    "%m/%d/%Y",
    "%m/%d/%y",
    "%d.%m.%Y",
)
_MOST_DISTRICTS = 300
"""Distinct codes of a column that may hold districts."""
_NEAR = 65
"""Likeness of 100 from which a spelling is proposed."""
_LATIN = str.maketrans(
    {
        letter: latin
        for latin, letters in {
            **{"a": "اآعٰ", "b": "ب", "p": "پ", "t": "تٹط", "s": "ثسص", "j": "ج", "ch": "چ", "h": "حہھه", "kh": "خ"},
            **{"d": "دڈ", "z": "ذزضظ", "r": "رڑ", "zh": "ژ", "sh": "ش", "gh": "غ", "f": "ف", "q": "ق", "k": "کك"},
            **{"g": "گ", "l": "ل", "m": "م", "n": "نں", "w": "و", "i": "یيئ", "e": "ے", "": "ء"},
        }.items()
        for letter in letters
    }
)
"""Urdu and Arabic letters by the Latin ones that usually stand for them; short vowels are not written."""


def find_roles(data: Material, earlier: Earlier) -> Roles:
    """The columns that play the usual roles: named as in the earlier wave, by the form's type, or by custom."""
    filled = [column for column in data.columns if data.codes[column].notna().any()]
    before = _earlier_columns(earlier.wave)
    found = {}
    for role, names in _NAMES.items():
        usual = [name for name in (before.get(role), *names.split()) if name]
        typed = [column for column in filled if (form := data.question(column)) is not None and form.type == role]
        same = [column for name in usual for column in filled if column == name]
        named = [column for name in usual for column in filled if fold_column(column) == fold_column(name)]
        if role == "weight":
            named += [column for column in filled if re.search(r"(weight|wgt)s?$", fold_column(column))]
        if role == "result":
            named += [column for column in filled if _completed(data.value_labels.get(column, {}))]
        likely = (column for column in [*same, *typed, *named] if role != "weight" or data.numeric(column))
        if (column := next(likely, None)) is not None:
            found[role] = column
    return found


def _completed(labels: Mapping[str, str]) -> list[str]:
    """Codes whose label says that the interview was completed."""
    return [key for key, text in labels.items() if re.match(r"(interview )?complete", text.casefold())]


def _earlier_columns(wave: Wave | None) -> dict[str, str | None]:
    if wave is None:
        return {}
    return {
        "weight": wave.base_weight,
        "psu": wave.design.psu,
        "district": wave.geography.district,
        "household": next(iter(wave.fieldwork.household[-1:]), None),
        **{role: getattr(wave.fieldwork, role) for role in _FIELDWORK},
    }


def field_columns(data: Material, roles: Roles) -> set[str]:
    """Columns that hold no answer to tabulate: of the software, time, weights and places, and personal ones."""
    kinds = ("weight", "stratum", "psu", "household", "id", *_FIELDWORK, "result", "consent", "district")
    software = {column for column in data.columns if column in _OF_SOFTWARE or column.startswith("_")}
    personal = {column for column in data.columns if looks_personal(column, data.codes[column]) is not None}
    return {roles[role] for role in kinds if role in roles} | software | personal | set(_gps(data)[0].values())


def _certain(data: Material, column: str, role: str, earlier: Earlier) -> bool:
    """Whether a role is no guess: so named in the earlier wave or by the software, or of that type in the form."""
    form = data.question(column)
    return (
        column in _OF_SOFTWARE
        or _earlier_columns(earlier.wave).get(role) == column
        or (form is not None and form.type == role)
    )


def _role_line(data: Material, roles: Roles, role: str, earlier: Earlier, absent: str) -> str:
    column = roles.get(role)
    if column is None:
        return marked(f"  {role}: {role}", [absent])
    reasons = [] if _certain(data, column, role, earlier) else ["by its name"]
    if role == "weight" and re.search("base|design", column, re.IGNORECASE):
        reasons.append("a base weight needs `weighting`")
    return marked(f"  {role}: {scalar(column)}", reasons)


# --- which rows, and what identifies them ----------------------------------------------------------------------


def row_rules(data: Material, roles: Roles, earlier: Earlier) -> list[tuple[RowRule, str]]:
    """Which rows count, and why: the earlier wave's rules where their columns are there, else those who completed the
    interview and consented to it.
    """
    rules = [(rule, f"as in {earlier.id}") for rule in (earlier.wave.rows if earlier.wave else [])]
    rules = [(rule, reason) for rule, reason in rules if rule.column in data.codes]
    for role in ("result", "consent"):
        column = roles.get(role)
        if column is None or column in {rule.column for rule, _ in rules}:
            continue
        counts = data.counts(column)
        labels = labels_in_use(data.value_labels.get(column, {}), counts)
        texts = {key: labels.get(key, key) for key in counts}
        yes = [key for key, text in texts.items() if re.match(r"(yes|consent|agree)", text.casefold())]
        keep = (_completed(texts) if role == "result" else yes) or [key for key in texts if key == "1"]
        if keep and len(keep) < len(texts):
            told = ", ".join(short(text) for key, text in texts.items() if key not in keep)
            rules.append((RowRule(column=column, keep=[code(key) for key in keep]), f"leaves out {told}"))
    return rules


def row_lines(rules: Sequence[tuple[RowRule, str]]) -> list[str]:
    """`rows`."""
    lines = [marked(f"  - {flow(rule.model_dump(exclude_defaults=True))}", [reason]) for rule, reason in rules]
    return ["rows:", *lines] if lines else []


def identity_lines(data: Material, roles: Roles, psu: Sequence[str], earlier: Earlier) -> list[str]:
    """`respondent_id`: the earlier wave's columns, the software's key, PSU and household, or any that never repeats."""
    before = list(earlier.wave.respondent_id) if earlier.wave else []
    named = [column for column in data.columns if re.search(r"(id|key|serial|no|code)$", fold_column(column))]
    whole = (column for column in data.columns if not data.codes[column].str.contains(r"\d\.\d").any())
    choices = chain(
        [before],
        ([column] for column in data.columns if column in _OF_SOFTWARE and fold_column(column) in _NAMES["id"].split()),
        [[roles["id"]]] if "id" in roles else [],
        [[roles["household"]], [*psu, roles["household"]]] if "household" in roles else [],
        ([column] for column in chain(named, whole)),
    )
    best, rows = ["id"], len(next(iter(data.codes.values()))) + 1
    for columns in choices:
        if columns and set(columns) <= set(data.codes) and (repeated := _repeated(data, columns)) < rows:
            best, rows = columns, repeated
            if not rows:
                break
    reasons = [] if best == before or best[0] in _OF_SOFTWARE else ["always filled, and never twice the same"]
    if rows:
        reasons = [f"{rows} rows repeat another or are blank: name more columns, or declare a remedy"]
    return [marked(f"respondent_id: {flow(best)}", reasons)]


def _repeated(data: Material, columns: Sequence[str]) -> int:
    rows = data.rows(columns)
    return int((rows.duplicated() | rows.isna().any(axis=1)).sum())


# --- design ------------------------------------------------------------------------------------------------------


def psu_columns(data: Material, roles: Roles, strata: Sequence[str]) -> list[str]:
    """The columns that make a PSU unique: its own and, where its numbers stand in several strata, those before it."""
    if "psu" not in roles:
        return []
    psu, district = roles["psu"], roles.get("district")
    if not strata or not _several(data, [psu], strata):
        return [psu]
    outer = [district] if district is not None and not _several(data, [district, psu], strata) else list(strata)
    return [*(column for column in outer if column != psu), psu]


def strata_columns(data: Material, roles: Roles, variables: Mapping[str, Variable], earlier: Earlier) -> list[str]:
    """The strata: the earlier wave's columns, one named so, or district by area."""
    before = list(earlier.wave.design.strata) if earlier.wave else []
    if before and set(before) <= set(data.codes):
        return before
    if "stratum" in roles:
        return [roles["stratum"]]
    urban = variables["urban"].sources[:1] if "urban" in variables else []
    return [*([roles["district"]] if "district" in roles else []), *urban]


def _several(data: Material, inner: Sequence[str], outer: Sequence[str]) -> bool:
    """Whether a code of `inner` stands in several of `outer`."""
    pairs = data.rows(dict.fromkeys([*inner, *outer])).drop_duplicates().dropna()
    return bool(pairs.duplicated(list(inner)).any())


def design_lines(
    data: Material, roles: Roles, strata: Sequence[str], psu: Sequence[str], earlier: Earlier
) -> list[str]:
    """`design`, and `weighting` where the earlier wave built its weights."""
    wave, weight = earlier.wave, roles.get("weight")
    built = wave.weighting if wave is not None and weight == wave.base_weight else None
    lines = ["design:"]
    if built is None:
        absent = "no column looks like a weight: name it, or declare `weighting`"
        lines.append(_role_line(data, roles, "weight", earlier, absent))
    scale, told = _weight_scale(data, weight) if built is None else ("population", "of the weights built here")
    lines.append(marked(f"  weight_scale: {scale}", [told]))
    reasons = [] if wave is not None and list(strata) == wave.design.strata else ["by name"]
    if "stratum" not in roles and reasons:
        reasons = ["district by area: was the sample drawn so?"]
    lines.append(marked(f"  strata: {flow(strata or ['stratum'])}", reasons if strata else ["name the strata"]))
    lines.append(_role_line(data, roles, "psu", earlier, "no column looks like a PSU: name it"))
    if within := list(psu[:-1]):
        reasons = (
            [] if wave is not None and within == wave.design.psu_within else ["PSU numbers stand in several strata"]
        )
        lines.append(marked(f"  psu_within: {flow(within)}", reasons))
    for policy in ("single_psu", "empty_psus"):
        usual = SampleDesign.model_fields[policy].default
        if wave is not None and (chosen := getattr(wave.design, policy)) != usual:
            lines.append(marked(f"  {policy}: {chosen}", [f"as in {wave.id}"]))
    if built is not None:
        lines += ["", marked(f"weighting: {flow(built.model_dump(exclude_defaults=True))}", [f"as in {earlier.id}"])]
    return lines


def _weight_scale(data: Material, weight: str | None) -> tuple[str, str]:
    if weight is None:
        return "relative", "what do the weights add up to?"
    values = pd.to_numeric(data.codes[weight].astype("str"), errors="coerce")
    values = values[values > 0]
    mean = float(values.mean())
    if abs(mean - 1) < 0.02:
        return "mean_one", f"their mean is {mean:.3f}"
    return ("population" if mean > 20 else "relative"), f"they add up to {values.sum():,.0f}"


# --- place -------------------------------------------------------------------------------------------------------


def place_lines(data: Material, roles: Roles, gazetteer: Gazetteer, earlier: Earlier) -> list[str]:
    """`geography`: the district column, the map that knows most of its names, and the names that it does not know."""
    place = earlier.wave.geography if earlier.wave else None
    vintages = sorted(gazetteer.vintages["vintage"].unique())
    spellings = {one: set(name_index(gazetteer, vintage_units(gazetteer, one)["district_id"])) for one in vintages}
    options = []
    for column in [roles["district"]] if "district" in roles else data.columns:
        counts, labels = data.counts(column), data.value_labels.get(column, {})
        if not 1 < len(counts) <= _MOST_DISTRICTS:
            continue
        for by in ("label", "code") if labels else ("code",):
            names = list(dict.fromkeys(labels.get(key, key) if by == "label" else key for key in counts))
            for age, vintage in enumerate(vintages):
                known = sum(fold_name(name) in spellings[vintage] for name in names)
                same = place is not None and place.vintage == vintage
                if known * 2 >= len(names):
                    options.append((known, same, -age, column, by, vintage, names))
    if not options:
        vintage = place.vintage if place else vintages[0]
        district = marked(f"  district: {scalar(roles.get('district', 'district'))}", ["its names are not known"])
        return ["geography:", f'  vintage: "{vintage}"', district]
    _, same, _, column, by, vintage, names = max(options, key=lambda option: option[:3])
    reasons = [] if _certain(data, column, "district", earlier) else ["by its name and content"]
    lines = ["geography:", marked(f'  vintage: "{vintage}"', [] if same else ["the map that knows most of the names"])]
    lines += [marked(f"  district: {scalar(column)}", reasons), f"  by: {by}"]
    declared = {code_key(name): district for name, district in place.names.items()} if place else {}
    declared = {name: district for name, district in declared.items() if name in names}
    resolved = resolve_districts(gazetteer, vintage, names, declared)
    named = [f"    {scalar(name)}: {district}" for name, district in declared.items()]
    unknown: list[str] = []
    for name in resolved.loc[resolved["district_id"].isna(), "name"]:
        nearest, reason = _nearest_district(gazetteer, vintage, name)
        if nearest is None:
            unknown += comment(f"{scalar(name)} is like no district of {vintage}: declare it", "    ", "check: ")
        else:
            named.append(marked(f"    {scalar(name)}: {nearest}", [reason]))
    return [*lines, *(["  names:"] if named else []), *named, *unknown]


def _nearest_district(gazetteer: Gazetteer, vintage: str, name: str) -> tuple[str | None, str]:
    """The district a name most likely means, and why: its territory lies there, or it is nearest in spelling.

    None where no spelling is near. Urdu letters are compared by the Latin ones that stand for them.
    """
    from rapidfuzz import fuzz, process

    for district in sorted(name_index(gazetteer, gazetteer.districts["district_id"]).get(fold_name(name), {})):
        covering = units_covering(gazetteer, vintage)[district]
        if len(covering) == 1:
            return covering[0], f"{district} lies in it on the map of {vintage}"
    index = name_index(gazetteer, vintage_units(gazetteer, vintage)["district_id"])
    latin = fold_name(name.translate(_LATIN))
    spelling, likeness, _ = process.extractOne(latin, list(index), scorer=fuzz.ratio)
    found = next(iter(index[spelling])) if likeness >= _NEAR else None
    return found, f"nearest spelling ({likeness:.0f} of 100)"


# --- fieldwork ---------------------------------------------------------------------------------------------------


def fieldwork_lines(
    data: Material, roles: Roles, psu: Sequence[str], variables: Mapping[str, Variable], earlier: Earlier
) -> list[str]:
    """`fieldwork`: who, when, where, with which form; personal columns are never named."""
    lines = [_role_line(data, roles, role, earlier, "") for role in _FIELDWORK if role in roles]
    if timed := [roles[role] for role in _TIMES if role in roles]:
        lines += _time_lines(data, timed)
    if psu and "household" in roles and roles["household"] not in psu:
        lines.append(marked(f"  household: {flow([*psu, roles['household']])}", ["a form sent twice has it twice"]))
    if other := [column for column in data.columns if _says_other(data, column)]:
        lines.append(marked(f"  other_specify: {flow(other)}", ["text beside an answer `other`"]))
    gps, certain = _gps(data)
    if gps:
        lines.append(marked(f"  gps: {flow(gps)}", [] if certain else ["by their names"]))
    if earlier.wave is not None:
        before = earlier.wave.fieldwork
        if before.must_have and set(before.must_have) <= set(variables):
            lines.append(marked(f"  must_have: {flow(before.must_have)}", [f"as in {earlier.id}"]))
        plan = before.plan.model_dump(exclude_defaults=True, exclude={"replaced", "psus"})
        if plan:
            lines.append(marked(f"  plan: {flow(plan)}", [f"as in {earlier.id}"]))
    return ["fieldwork:", *lines] if lines else []


def _time_lines(data: Material, columns: Sequence[str]) -> list[str]:
    formats = _time_formats(data, columns)
    if formats == ["iso"]:
        return []
    if not formats:
        examples = chain.from_iterable(data.codes[column].dropna().head(1) for column in columns)
        return [marked("  time_format: iso", [f"such times are not understood: {', '.join(map(short, examples))}"])]
    reasons = ["does the day or the month stand first?"] if len(formats) > 1 else []
    return [marked(f"  time_format: {scalar(formats[0])}", reasons)]


def _time_formats(data: Material, columns: Sequence[str]) -> list[str]:
    """Formats in which nearly every time of the columns can be read, day before month first."""
    texts = pd.concat([data.codes[column].dropna().astype("str").drop_duplicates().head(500) for column in columns])
    if texts.empty:
        return []
    iso = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=True).notna() & texts.str.contains("-")
    if iso.mean() >= 0.99:
        return ["iso"]
    return [how for how in _TIME_FORMATS if pd.to_datetime(texts, format=how, errors="coerce").notna().mean() >= 0.99]


def field_days(data: Material, roles: Roles) -> tuple[str, str] | None:
    """First and last day of the interviews (ISO), clocks that are far off left out; None without a known time."""
    column = roles.get("start") or roles.get("submitted")
    formats = _time_formats(data, [column]) if column is not None else []
    if column is None or not formats:
        return None
    texts = data.codes[column].dropna().astype("str").str.slice(0, None if formats[0] != "iso" else 10)
    times = pd.to_datetime(texts, format="ISO8601" if formats[0] == "iso" else formats[0], errors="coerce").dropna()
    usual = times[(times - times.median()).abs() < pd.Timedelta(days=120)]
    return (str(usual.min().date()), str(usual.max().date()))


def _says_other(data: Material, column: str) -> bool:
    """Whether a column holds the text that explains an answer `other`."""
    named = re.search(r"_(other|oth|specify|osp)$", last_name(column).casefold())
    return bool(named) and column not in data.value_labels and len(data.counts(column)) > 0 and not data.numeric(column)


def _gps(data: Material) -> tuple[dict[str, str], bool]:
    """Columns of the interview's place, and whether that is certain: a geopoint of the form, else by their names."""
    points = (column for column in data.columns if (form := data.question(column)) and form.type == "geopoint")
    if (point := next(points, None)) is not None:
        return {"point": point}, True
    for column in data.columns:
        if not (found := re.fullmatch(r"(?i)(.*?)(latitude|(?<![a-z])lat)", column)):
            continue
        parts = {"latitude": column}
        endings = {"longitude": ("longitude", "lon", "long", "lng"), "accuracy": ("accuracy", "precision", "acc")}
        for part, names in endings.items():
            wanted = {(found[1] + name).casefold() for name in names}
            if same := [other for other in data.columns if other.casefold() in wanted]:
                parts[part] = same[0]
        if "longitude" in parts:
            return parts, False
    return {}, False
