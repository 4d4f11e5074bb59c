"""One wave as DDI Codebook 2.5 describes a study (DDI Alliance, 2012): for catalogues such as NADA.

The study, its design and its harmonised variables with their categories; no answers, no frequencies, no respondents.
Element names and their order are those of the schema `codebook.xsd` of namespace `ddi:codebook:2_5`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pandas as pd

from perception.intake.codebook import SOMEBODY
from perception.intake.declarations import AGE_GROUPS, BACKGROUND, REASON_SUFFIX, Text
from perception.intake.instrument import Instrument
from perception.intake.wave_file import CENSUS, Plan, Replicates, Variable, Wave
from perception.publish import maps
from perception.publish.downloads import clean_text
from perception.publish.maps import SIMULATED, SIMULATED_NOTE, Row, records
from perception.schemas import TABLES

NAMESPACE = "ddi:codebook:2_5"
SCHEMA = "http://www.ddialliance.org/Specification/DDI-Codebook/2.5/XMLSchema/codebook.xsd"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_FILE = "F1"
_WEIGHT = "weight"
_COUNTRIES = {"PK": "Pakistan"}
"""Names of countries by the two letters that the P-codes of their districts begin with (ISO 3166)."""
_REASONS = {
    "dont_know": "Don't know",
    "refused": "Refused",
    "not_asked": "Not asked: the question was not for this respondent",
    "missing": "No answer and no reason given",
}
_DESIGN = ("district_id", "stratum", "psu", _WEIGHT)
_SINGLE_PSU = {
    "collapse": "A stratum with one PSU is joined with another one for variances.",
    "centre": "A stratum with one PSU is centred at the mean of all strata for variances.",
    "fail": "No stratum has only one PSU.",
}
_SCALES = {
    "population": "weights sum to the population",
    "mean_one": "the mean weight is 1",
    "relative": "only the proportions of weights mean something",
}


def ddi(
    wave: Wave, instrument: Instrument, codebook: pd.DataFrame, facts: Mapping[str, Any], districts: pd.DataFrame
) -> str:
    """The DDI Codebook 2.5 document of a wave, XML 1.0 in UTF-8 (its text, with the declaration of the encoding).

    `codebook` is table `wave_codebook` of the wave, `facts` its row of `published_waves`, and `districts` the rows of
    the districts that it covers, as the gazetteer gives them for the wave's vintage. The same input gives the same
    text: there is no date of making in it. A simulated wave says so in its title, citation, abstract, keywords, notes
    and disclaimer. All texts are escaped, and control characters, which XML cannot hold, left out.
    """
    root = Element(
        "codeBook",
        {
            "xmlns": NAMESPACE,
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:schemaLocation": f"{NAMESPACE} {SCHEMA}",
            "version": "2.5",
            "ID": f"wave-{wave.id}",
            _LANGUAGE: "en",
        },
    )
    variables = [*_design_variables(wave), *_variables(wave, instrument, codebook)]
    root.append(_document(wave))
    root.append(_study(wave, instrument, facts, districts))
    root.append(_file(facts, len(variables)))
    root.append(_branch("dataDscr", *variables))
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _leaf(tag: str, text: str, **attributes: str) -> Element:
    """An element that holds a text; attributes and text without what XML cannot hold."""
    element = Element(tag, {name: clean_text(value) for name, value in attributes.items()})
    element.text = clean_text(text)
    return element


def _branch(tag: str, *children: Element | None, **attributes: str) -> Element:
    """An element that holds others, without those that are None."""
    element = Element(tag, {name: clean_text(value) for name, value in attributes.items()})
    element.extend(child for child in children if child is not None)
    return element


def _texts(tag: str, text: Text) -> list[Element]:
    """A text in English and, where there is one, in Urdu."""
    return [_leaf(tag, text.en), *([_leaf(tag, text.ur, **{_LANGUAGE: "ur"})] if text.ur else [])]


def _marked(wave: Wave, text: str) -> str:
    return f"{SIMULATED}: {text}" if wave.simulated else text


def _simulated(wave: Wave) -> list[Element]:
    return [_leaf("notes", SIMULATED_NOTE, type="simulated", subject=SIMULATED)] if wave.simulated else []


def _document(wave: Wave) -> Element:
    """About the document itself."""
    title = _branch("titlStmt", _leaf("titl", _marked(wave, f"Codebook of {wave.title.en}")), _leaf("IDNo", wave.id))
    made = _branch("prodStmt", _leaf("software", "perception"))
    return _branch("docDscr", _branch("citation", title, made, *_simulated(wave)))


def _study(wave: Wave, instrument: Instrument, facts: Mapping[str, Any], districts: pd.DataFrame) -> Element:
    return _branch(
        "stdyDscr",
        _citation(wave, facts),
        _scope(wave, instrument, facts, districts),
        _method(wave, instrument),
        _access(wave),
    )


def _citation(wave: Wave, facts: Mapping[str, Any]) -> Element:
    parallel = [_leaf("parTitl", wave.title.ur, **{_LANGUAGE: "ur"})] if wave.title.ur else []
    return _branch(
        "citation",
        _branch("titlStmt", _leaf("titl", _marked(wave, wave.title.en)), *parallel, _leaf("IDNo", wave.id)),
        _branch("rspStmt", _leaf("AuthEnty", wave.producer)),
        _branch("prodStmt", _leaf("producer", wave.producer)),
        _branch("verStmt", _leaf("version", f"SHA-256 of the inputs {facts['wave_version']}")),
        _leaf("biblCit", _marked(wave, wave.citation)),
        *_simulated(wave),
    )


def _scope(wave: Wave, instrument: Instrument, facts: Mapping[str, Any], districts: pd.DataFrame) -> Element:
    """What it is about, when, where and of whom."""
    there = set(wave.variables)
    asked = instrument.available_indicators(there) | instrument.available_indices(there)
    subjects = [one.label.en for one in instrument.services.values() if asked.keys() & set(one.indicators)]
    keywords = [*([SIMULATED.lower()] if wave.simulated else []), *subjects]
    labels = "; ".join(one.label.en for one in asked.values())
    abstract = f"{instrument.title.en}. {instrument.source}. Indicators: {labels}."
    days = {"start": wave.dates.start.isoformat(), "end": wave.dates.end.isoformat()}
    populations = dict.fromkeys(one.population for one in asked.values())
    return _branch(
        "stdyInfo",
        _branch("subject", *(_leaf("keyword", word) for word in keywords)) if keywords else None,
        _leaf("abstract", f"{SIMULATED_NOTE} {abstract}" if wave.simulated else abstract),
        _branch(
            "sumDscr",
            *(_leaf("collDate", day, event=event, date=day, cycle=wave.round) for event, day in days.items()),
            *_places(districts, facts),
            _leaf("geogUnit", "District"),
            _leaf("anlyUnit", "Respondent"),
            _leaf("universe", f"By indicator: {'; '.join(populations)}", clusion="I"),
            _leaf("dataKind", "Simulated survey data" if wave.simulated else "Survey data"),
        ),
        *_simulated(wave),
    )


def _places(districts: pd.DataFrame, facts: Mapping[str, Any]) -> list[Element]:
    """The country by the P-codes of its districts, then the provinces with the districts covered."""
    countries = sorted(set(districts["pcode"].dropna().str[:2]))
    provinces = districts.sort_values("name").groupby("province")["name"]
    return [
        *(_leaf("nation", _COUNTRIES.get(code, code), abbr=code) for code in countries),
        *(
            _leaf("geogCover", f"{province}, {len(names)} districts on the map of {facts['vintage']}: {_listed(names)}")
            for province, names in provinces
        ),
    ]


def _listed(names: Iterable[Any]) -> str:
    return ", ".join(str(name) for name in names)


def _method(wave: Wave, instrument: Instrument) -> Element:
    design = wave.design
    within = f", unique within {_listed(design.psu_within)}" if design.psu_within else ""
    sampling = (
        "Stratified sample of primary sampling units (PSUs). Strata: every combination of column "
        f"{_listed(design.strata)} of the data file. PSUs: column {design.psu}{within}."
    )
    return _branch(
        "method",
        _branch(
            "dataColl",
            _leaf("dataCollector", wave.producer),
            _leaf("sampProc", sampling),
            _planned(wave.fieldwork.plan),
            _leaf("resInstru", f"{instrument.title.en} ({instrument.id}). {instrument.source}"),
            _leaf("weight", _weighting(wave), ID="W1"),
        ),
        _branch("anlyInfo", _leaf("EstSmpErr", _variances(wave))),
    )


def _planned(plan: Plan) -> Element | None:
    """The number of interviews planned, where the wave says it."""
    if plan.psus is None or plan.interviews_per_psu is None:
        return None
    size = _leaf("sampleSize", str(plan.psus * plan.interviews_per_psu))
    formula = _leaf("sampleSizeFormula", f"{plan.psus} PSUs of {plan.interviews_per_psu} interviews")
    return _branch("targetSampleSize", size, formula)


def _weighting(wave: Wave) -> str:
    building, design = wave.weighting, wave.design
    if building is None:
        return f"The producer's weight, column {design.weight} of the data file; {_SCALES[design.weight_scale]}."
    steps = [
        f"Built from the design weight, column {building.base} of the data file, raised for non-response by stratum"
    ]
    if wave.rake:
        margins = " and ".join(" by ".join(margin) for margin in wave.rake)
        source = "the census" if building.margins == CENSUS else "the surveyed population"
        steps.append(f"raked to counts of {source}: {margins}")
    if building.trim is not None:
        steps.append(f"trimmed at {building.trim:g} times the median of the district")
    return f"{', then '.join(steps)}; {_SCALES[design.weight_scale]}."


def _variances(wave: Wave) -> str:
    design = wave.design
    if design.replicates is not None:
        return f"From the producer's replicate weights: {_replication(design.replicates)}."
    taken = (
        f"without replacement, the PSUs of each stratum's population in column {design.population_psus}"
        if design.population_psus
        else "with replacement"
    )
    single = _SINGLE_PSU[design.single_psu]
    return f"Linearised, of the stratified sample of PSUs, as if these were taken {taken}. {single}"


def _replication(replicates: Replicates) -> str:
    columns = replicates.columns if isinstance(replicates.columns, str) else _listed(replicates.columns)
    return f"{replicates.type}, columns {columns}"


def _access(wave: Wave) -> Element:
    return _branch(
        "dataAccs",
        _branch(
            "useStmt",
            _leaf(
                "restrctn",
                "Answers of respondents are not given out here; tables that passed the publication rules are.",
            ),
            _leaf("citReq", f"Cite as: {_marked(wave, wave.citation)}"),
            _leaf("conditions", f"Licence: {wave.licence}"),
            _leaf("disclaimer", SIMULATED_NOTE) if wave.simulated else None,
        ),
    )


def _file(facts: Mapping[str, Any], variables: int) -> Element:
    """The file of harmonised responses, which is not given out; how many there are is a published fact."""
    size = _branch("dimensns", _leaf("caseQnty", str(facts["respondents"])), _leaf("varQnty", str(variables)))
    text = _branch(
        "fileTxt",
        _leaf("fileName", "responses"),
        _leaf("fileCont", TABLES["responses"].meaning),
        _branch("fileStrc", type="rectangular"),
        size,
    )
    return _branch("fileDscr", text, _leaf("notes", "Not published."), ID=_FILE)


def _variable(name: str, *children: Element, **attributes: str) -> Element:
    weighed = {} if name in _DESIGN else {"wgt-var": f"V_{_WEIGHT}"}
    return _branch("var", *children, **{"ID": f"V_{name}", "name": name, "files": _FILE, **weighed, **attributes})


def _design_variables(wave: Wave) -> list[Element]:
    """Place, sample design and weight: what estimates need besides answers."""
    return [
        _variable(
            name,
            _leaf("labl", _meaning(name)),
            *([] if name == _WEIGHT else [_leaf("varFormat", "", type="character")]),
            **_kind_of_design(name),
        )
        for name in _DESIGN
    ]


def _meaning(name: str) -> str:
    """What a column of responses means that every wave may have."""
    return next(column.meaning for column in TABLES["responses"].columns if column.name == name)


def _kind_of_design(name: str) -> dict[str, str]:
    if name == _WEIGHT:
        return {"wgt": "wgt", "intrvl": "contin", "nature": "ratio", "representationType": "numeric"}
    return {"geog": "Y" if name == "district_id" else "N", "nature": "nominal", "representationType": "text"}


def _variables(wave: Wave, instrument: Instrument, codebook: pd.DataFrame) -> list[Element]:
    """Background variables and questions that the wave has, in the order of the questionnaire."""
    rows: dict[str, list[Row]] = {}
    for row in records(codebook):
        rows.setdefault(row["variable"], []).append(row)
    found = []
    for name in instrument.variables:
        if name in wave.variables:
            own = rows.get(name, [])
            made = _background(name, wave, own) if name in BACKGROUND else _question(name, wave, instrument, own)
            found += made
    return found


def _background(name: str, wave: Wave, rows: Sequence[Row]) -> list[Element]:
    """A background variable, blank where nothing is known; with the age its bands."""
    labels = {category: category.capitalize() for category in BACKGROUND[name]}
    whole = _answered(name, _literal(rows), Text(en=_meaning(name)), labels, wave, rows)
    if name != "age":
        kind = {"nature": "nominal" if name in ("sex", "urban") else "ordinal", "representationType": "code"}
        return [_variable(name, *whole, **kind)]
    age = _variable(name, *whole, intrvl="contin", nature="ratio", measUnit="years", representationType="numeric")
    bands = _variable(
        "age_group",
        _leaf("labl", _meaning("age_group")),
        *(_category(band, [_leaf("labl", f"{band} years")]) for band in AGE_GROUPS),
        _branch("derivation", _leaf("drvdesc", "From age"), var="V_age"),
        nature="ordinal",
        measUnit="years",
        representationType="code",
    )
    return [age, bands]


def _question(name: str, wave: Wave, instrument: Instrument, rows: Sequence[Row]) -> list[Element]:
    """A question; of a number the reason for no answer is a variable of its own, otherwise it stands among answers."""
    question, variable = instrument.questions[name], wave.variables[name]
    wording = _literal(rows) or question.label.en
    reasons = [_category(reason, [_leaf("labl", _REASONS[reason])], missing=reason) for reason in _reasons(variable)]
    if question.type == "number":
        limits = question.range
        between = {"min": f"{limits[0]:g}", "max": f"{limits[1]:g}"} if limits else {}
        number = _variable(
            name,
            *_texts("labl", question.label),
            _branch("qstn", _leaf("qstnLit", wording)),
            *([_branch("valrng", _branch("range", **between))] if between else []),
            _universe(variable, instrument),
            **{"intrvl": "contin", "nature": "ratio", "representationType": "numeric"},
            **({"measUnit": question.unit} if question.unit else {}),
        )
        beside = _variable(
            name + REASON_SUFFIX,
            _leaf("labl", f"Why there is no answer: {question.label.en}"),
            *reasons,
            nature="nominal",
            representationType="code",
        )
        return [number, beside]
    categories = {category: text for category, text in question.categories.items() if category in _offered(variable)}
    return [
        _variable(
            name,
            *_texts("labl", question.label),
            _branch("qstn", _leaf("qstnLit", wording)),
            _universe(variable, instrument),
            *(_category(value, _texts("labl", text), rows) for value, text in categories.items()),
            *reasons,
            nature="ordinal" if question.type == "ordinal" else "nominal",
            representationType="code",
        )
    ]


def _answered(
    name: str, wording: str | None, label: Text, labels: Mapping[str, str], wave: Wave, rows: Sequence[Row]
) -> list[Element]:
    """Label, wording and categories of a background variable."""
    offered = _offered(wave.variables[name])
    return [
        *_texts("labl", label),
        *([_branch("qstn", _leaf("qstnLit", wording))] if wording else []),
        *(_category(value, [_leaf("labl", text)], rows) for value, text in labels.items() if value in offered),
    ]


def _literal(rows: Sequence[Row]) -> str | None:
    """The wording in the wave's own file or form."""
    return next((row["question"] for row in rows if maps.text(row["question"])), None)


def _offered(variable: Variable) -> set[str]:
    """The categories that a wave has: those that its codes are mapped to, or the one of all its respondents."""
    return {*variable.map.values(), *([variable.constant] if variable.constant is not None else [])}


def _reasons(variable: Variable) -> list[str]:
    """Why an answer may not be there, in a wave."""
    if variable.constant is not None:
        return []
    possible = {*variable.missing.values(), variable.blank, *(["not_asked"] if variable.asked_if else [])}
    return [reason for reason in _REASONS if reason in possible]


def _universe(variable: Variable, instrument: Instrument) -> Element:
    """Who was asked."""
    if variable.asked_if is not None:
        asked = variable.asked_if
        known = instrument.questions[asked.question].categories if asked.question in instrument.questions else {}
        answers = " or ".join(known[answer].en if answer in known else answer for answer in asked.answers)
        return _leaf("universe", f"Respondents whose answer to {asked.question} is: {answers}", clusion="I")
    everybody = "All respondents" if variable.blank != "not_asked" else f"{SOMEBODY.capitalize()}: see not_asked"
    return _leaf("universe", everybody, clusion="I")


def _category(value: str, labels: list[Element], rows: Sequence[Row] = (), missing: str | None = None) -> Element:
    """A category, with the codes that the wave's file has for it where `rows` of its codebook tell."""
    codes = _codes(rows, value)
    why = {"missing": "Y", "missType": missing} if missing else {}
    source = [_leaf("txt", f"In the file of the wave: {'; '.join(codes)}")] if codes else []
    return _branch("catgry", _leaf("catValu", value), *labels, *source, **why)


def _codes(rows: Sequence[Row], value: str) -> list[str]:
    return [
        f"{row['code']} ({row['label']})" if maps.text(row["label"]) else str(row["code"])
        for row in rows
        if row["meaning"] == value and row["code"] != ""
    ]
