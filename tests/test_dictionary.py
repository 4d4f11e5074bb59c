"""The data dictionary: tables, indicators, DDI and CSVW, against the schemas, the questionnaires and the standards."""

from __future__ import annotations

import importlib
import io
import json
import pkgutil
import re
import runpy
import sys
import zipfile
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import dagster as dg
import pandas as pd
import pytest

import assets
from perception.errors import InputError
from perception.geography import load_gazetteer, vintage_units
from perception.intake.declarations import Text
from perception.intake.describe import indicator_facts
from perception.intake.instrument import Instrument, load_instrument
from perception.intake.wave_file import Wave, load_wave
from perception.project import Project
from perception.publish import data_page, dictionary, project_site
from perception.publish.dictionary.csvw import METADATA_FILE
from perception.publish.dictionary.tables import COMMAND
from perception.publish.release import release
from perception.schemas import TABLES, conform
from pipelines.unchanged import wave_is_unchanged
from tests.conftest import FIRST, ROOT, SMALL_INSTRUMENT, SMALL_WAVE
from tests.site_tables import frame

HOSTILE = 'Heard </labl><script>alert(1)</script> & "loud" | *now*\x00\x0b\x1b\u202e\ufffe'
SAID = 'Heard </labl><script>alert(1)</script> & "loud" | *now*'
WAVES = sorted((ROOT / "data/raw/waves").glob("*/wave.yml")) + sorted((ROOT / "recipes").glob("*/wave.yml"))
DDI = "{ddi:codebook:2_5}"
LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"

# DDI Codebook 2.5 (DDI Alliance, 2012), codebook.xsd: what each element holds, in order. `!` must be there, `1` may be
# there once, the others any number of times.
CONTENT = {
    "codeBook": "docDscr stdyDscr! fileDscr dataDscr otherMat",
    "docDscr": "citation1 guide1 docStatus1 docSrc controlledVocabUsed notes",
    "citation": "titlStmt!1 rspStmt1 prodStmt1 distStmt1 serStmt verStmt biblCit1 holdings notes",
    "titlStmt": "titl!1 subTitl altTitl parTitl IDNo",
    "rspStmt": "AuthEnty othId",
    "prodStmt": "producer copyright1 prodDate prodPlac software fundAg grantNo",
    "verStmt": "version1 verResp notes",
    "stdyDscr": "citation! studyAuthorization stdyInfo studyDevelopment method dataAccs othrStdyMat notes",
    "stdyInfo": "studyBudget subject abstract sumDscr qualityStatement1 notes exPostEvaluation",
    "subject": "keyword topcClas",
    "sumDscr": "timePrd collDate nation geogCover geogUnit geoBndBox1 boundPoly1 anlyUnit universe dataKind",
    "method": "dataColl notes anlyInfo1 stdyClas1 dataProcessing codingInstructions",
    "dataColl": "timeMeth dataCollector collectorTraining frequenc sampProc sampleFrame targetSampleSize deviat "
    "collMode resInstru instrumentDevelopment sources1 collSitu actMin ConOps weight cleanOps",
    "targetSampleSize": "sampleSize1 sampleSizeFormula1",
    "anlyInfo": "respRate EstSmpErr dataAppr",
    "dataAccs": "setAvail useStmt notes",
    "useStmt": "confDec1 specPerm1 restrctn1 contact citReq1 deposReq1 conditions1 disclaimer1",
    "fileDscr": "fileTxt locMap1 notes",
    "fileTxt": "fileName1 fileCitation1 fileCont1 fileStrc1 dimensns1 fileType1 format1 filePlac1 dataChck ProcStat1 "
    "dataMsng1 software verStmt1",
    "fileStrc": "recGrp notes",
    "dimensns": "caseQnty varQnty logRecL recPrCas recNumTot",
    "dataDscr": "varGrp nCubeGrp var nCube notes",
    "var": "location labl imputation1 security1 embargo1 respUnit1 anlysUnit1 qstn valrng invalrng undocCod universe "
    "TotlResp1 sumStat txt stdCatgry catgryGrp catgry codInstr verStmt concept derivation1 varFormat1 geoMap catLevel "
    "notes",
    "qstn": "preQTxt qstnLit postQTxt forward backward ivuInstr",
    "valrng": "range! key1 notes",
    "catgry": "catValu1 labl txt catStat mrow1",
    "derivation": "drvdesc1 drvcmd1",
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Wave, Instrument]:
    """The small wave and its questionnaire, with a hostile label, a number and a question asked of some."""
    folder = tmp_path_factory.mktemp("small")
    questions = """\
  minutes:
    label: {en: How long did you wait?, ur: کتنا انتظار}
    type: number
    unit: minutes
    range: [0, 600]
indicators:
  middle: {label: Median wait, question: minutes, quantile: 0.5, population: users}
  wait: {label: Mean wait, question: minutes, population: users, higher_is_better: false, minimum_level: province}
  good_or_heard:
    label: Was heard, of those with good service
    question: heard
    positive: [yes]
    universe: {question: service, answers: [good, fair]}
    population: satisfied adults
    sensitive: true
"""
    text = SMALL_INSTRUMENT.replace("indicators:\n", questions, 1)
    text += "indices: {both: {label: Both, weights: {satisfied: 3, was_heard: 1}, population: all adults}}\n"
    text += "services: {care: {label: Health care, indicators: [satisfied]}}\n"
    (folder / "small.yml").write_text(text, encoding="utf-8")
    instrument = load_instrument(folder / "small.yml")
    heard = instrument.questions["heard"].model_copy(update={"label": Text(en=HOSTILE)})
    instrument = instrument.model_copy(update={"questions": {**instrument.questions, "heard": heard}})
    wave = folder / "small-2021"
    wave.mkdir()
    text = SMALL_WAVE.replace("blank: not_asked}", "asked_if: {question: service, answers: [good, fair]}}")
    text = text.replace("{1: bad, 2: fair, 3: good}", "{1: bad, 3: good}")
    text += "  minutes: {source: q3, missing: {998: dont_know}}\n  age: {source: age}\n"
    (wave / "wave.yml").write_text(text, encoding="utf-8")
    return load_wave(wave), instrument


CODEBOOK = conform(
    pd.DataFrame(
        [
            ("service", "q1", "Rate the service <here>", "1", "Poor", "bad"),
            ("service", "q1", "Rate the service <here>", "3", "Fine", "good"),
            ("service", "q1", "Rate the service <here>", "8", "?", "dont_know"),
        ],
        columns=["variable", "source", "question", "code", "label", "meaning"],
    ).assign(wave="small-2021", place=1, asked_if=None),
    "wave_codebook",
)
NO_CODEBOOK = conform(pd.DataFrame(columns=TABLES["wave_codebook"].names), "wave_codebook")
FACTS = {"wave_version": "0a" * 32, "vintage": "2018", "respondents": 600}


@pytest.fixture(scope="module")
def districts() -> pd.DataFrame:
    return vintage_units(load_gazetteer(ROOT / "data/raw/reference"), "2018").query("province_id == 'kp'").head(2)


def waves_table(*rows: dict[str, Any]) -> pd.DataFrame:
    return frame("published_waves", [{"instrument": "small", "simulated": True, **row} for row in rows])


EARLY = {"wave": "small-2021", "first_day": "2021-03-01", "last_day": "2021-03-31", "title": "Small", "citation": "Us"}
EARLY |= {"licence": "CC0-1.0"}
LATE = {**EARLY, "wave": "a-small-2022", "first_day": "2022-03-01", "last_day": "2022-03-31", "title": HOSTILE}


def made_assets() -> Iterator[str]:
    """The tables that assets make: those that the I/O manager of tables stores."""
    for module in pkgutil.iter_modules(assets.__path__, "assets."):
        for found in vars(importlib.import_module(module.name)).values():
            if isinstance(found, dg.AssetsDefinition):
                for name, out in found.node_def.output_dict.items():
                    if out.io_manager_key == "tables":
                        yield name


def test_every_table_that_is_made_has_a_contract_and_every_contract_is_of_a_made_table() -> None:
    assert set(made_assets()) == set(TABLES)


def test_every_table_and_column_says_what_it_means() -> None:
    for table in TABLES.values():
        assert table.meaning.strip(), table.name
        assert [column.name for column in table.columns if not column.meaning.strip()] == [], table.name
        assert set(table.key) <= set(table.names), f"{table.name}: its key has columns that it has not"
        assert len(set(table.names)) == len(table.names), f"{table.name}: a column stands twice"


def test_a_column_says_which_values_it_may_have() -> None:
    columns = {column.name: column.values for column in TABLES["published_estimates"].columns}
    assert columns["dont_know_share"] == "0 to 1, empty"
    assert columns["se"] == "0 or more, empty"
    assert columns["method"] == "`direct`, `small_area`"
    assert columns["wave"] == ""


def test_the_dictionary_of_tables_in_docs_is_the_one_of_the_schemas() -> None:
    written = (ROOT / "docs/dictionary.md").read_text(encoding="utf-8")
    assert written == dictionary.markdown_tables(), f"docs/dictionary.md is out of date. Write it with: {COMMAND}"


def test_the_command_that_is_named_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(sys, "argv", ["", COMMAND.split()[-1]])
    runpy.run_module(COMMAND.split()[2], run_name="__main__", alter_sys=False)
    assert (tmp_path / "docs/dictionary.md").read_text(encoding="utf-8") == dictionary.markdown_tables()


def test_a_row_of_the_markdown_has_as_many_cells_as_its_head() -> None:
    rows = [line for line in dictionary.markdown_tables().splitlines() if line.startswith("| `")]
    assert len(rows) == sum(len(table.columns) for table in TABLES.values())
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {6}
    assert any("| `low` | number | as estimate | empty | Lower end of the 95 % interval |" in row for row in rows)


def facts_of(small: tuple[Wave, Instrument], wave: str, *variables: str) -> pd.DataFrame:
    """Table `published_indicators` of a wave with the small questionnaire that asked some of its questions."""
    declared = small[0].model_copy(update={"id": wave})
    return conform(indicator_facts(pd.DataFrame(columns=variables), declared, small[1]), "published_indicators")


def test_indicators_say_what_they_are_made_from_and_which_waves_have_them(small: tuple[Wave, Instrument]) -> None:
    early = facts_of(small, "small-2021", "service", "heard")
    late = facts_of(small, "a-small-2022", "service", "minutes")
    reworded = late["indicator"] == "satisfied"
    late.loc[reworded, "question"] = "How good was it?"
    other = {**LATE, "wave": "other-2020", "instrument": "other"}
    found = dictionary.indicator_dictionary(pd.concat([early, late]), waves_table(LATE, EARLY, other))
    assert set(found["instrument"]) == {"small"}
    assert found["indicator"].tolist() == [
        *("middle", "wait", "satisfied", "good_or_heard", "satisfied", "was_heard", "both")
    ]
    by = found.set_index(["indicator", "question"])
    once = found.drop_duplicates("indicator", keep=False).set_index("indicator")
    assert once["made_from"].to_dict() == {
        "middle": "quantile 0.5 of minutes",
        "wait": "minutes",
        "good_or_heard": "heard=yes",
        "was_heard": "heard=yes",
        "both": None,
    }
    assert once.loc["both", "weights"] == "satisfied=0.75;was_heard=0.25"
    assert once.loc["good_or_heard", "universe"] == "service=good|fair"
    assert once.loc["was_heard", "universe"] is None
    assert once.loc["wait", ["kind", "unit", "positive", "minimum_level"]].tolist() == [
        *("mean", "minutes", None, "province")
    ]
    asked = {
        ("satisfied", "How satisfied are you with the service?"): (["small-2021"], ["a-small-2022"]),
        ("satisfied", "How good was it?"): (["a-small-2022"], ["small-2021"]),
    }
    for key, waves in asked.items():
        assert (by.loc[key, "waves"], by.loc[key, "waves_without"]) == waves
        assert by.loc[key, ["made_from", "positive"]].tolist() == ["service=good", "Good"]
    assert (once.loc["wait", "waves"], once.loc["wait", "waves_without"]) == (["a-small-2022"], ["small-2021"])


def test_waves_of_an_indicator_stand_the_earliest_first(small: tuple[Wave, Instrument]) -> None:
    both = pd.concat([facts_of(small, wave, "service") for wave in ("a-small-2022", "small-2021")])
    found = dictionary.indicator_dictionary(both, waves_table(LATE, EARLY))
    assert found[["indicator", "waves", "waves_without"]].to_numpy().tolist() == [
        ["satisfied", ["small-2021", "a-small-2022"], []]
    ]


def test_the_markdown_escapes_labels_and_marks_simulated_waves(small: tuple[Wave, Instrument]) -> None:
    waves = waves_table(EARLY, {**LATE, "simulated": False})
    published = facts_of(small, "small-2021", "service", "heard").assign(label=HOSTILE)
    made = dictionary.markdown(dictionary.indicator_dictionary(published, waves), waves)
    assert "<script" not in made.replace(r"\<script", "")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", made)
    simulated, real = (
        next(line for line in made.splitlines() if f"- `{wave}`:" in line) for wave in ("small-2021", "a-small-2022")
    )
    assert "SIMULATED DATA" in simulated
    assert "SIMULATED DATA" not in real
    assert not re.search(r"\b(nan|None)\b", made.split("# Tables")[0])
    headings = set(re.findall(r"^### (\w+)$", made, re.MULTILINE))
    assert headings == {name for name, table in TABLES.items() if table.public}


def breaches(element: Element) -> list[str]:
    """Where an element and those in it do not follow the content that the standard gives them."""
    tag = element.tag.removeprefix(DDI)
    names = [child.tag.removeprefix(DDI) for child in element]
    found = [problem for child in element for problem in breaches(child)]
    if tag not in CONTENT:
        return found + [f"{tag} holds {names}"] * bool(names)
    rules = [re.fullmatch(r"(\w*?[A-Za-z])(!?)(1?)", rule).groups() for rule in CONTENT[tag].split()]
    order = [name for name, _, _ in rules]
    if strange := [name for name in names if name not in order]:
        return [*found, f"{tag} holds {strange}"]
    places = [order.index(name) for name in names]
    found += [f"{tag} has its parts in another order: {names}"] * (places != sorted(places))
    found += [f"{tag} has no {name}" for name, needed, _ in rules if needed and name not in names]
    return found + [f"{tag} has {name} twice" for name, _, once in rules if once and names.count(name) > 1]


def checked(text: str) -> Element:
    """The document, which has the elements that DDI 2.5 needs in their order, and references that lead somewhere."""
    root = ElementTree.fromstring(text.encode())
    assert (root.tag, root.get("version")) == (f"{DDI}codeBook", "2.5")
    assert breaches(root) == []
    ids = [element.get("ID") for element in root.iter() if element.get("ID")]
    assert len(ids) == len(set(ids))
    assert [i for i in ids if not re.fullmatch(r"[A-Za-z_][\w.-]*", i)] == []
    for element in root.iter(f"{DDI}var"):
        assert element.get("name")
        assert {*element.get("files", "").split(), *element.get("wgt-var", "").split()} <= set(ids)
    for size in root.iter(f"{DDI}sampleSize"):
        assert size.text.isdecimal()
    return root


def texts(root: Element, path: str) -> list[str | None]:
    return [element.text for element in root.findall("/".join(DDI + part for part in path.split("/")))]


def var(root: Element, name: str) -> Element:
    return root.find(f"{DDI}dataDscr/{DDI}var[@name='{name}']")


def test_the_content_of_the_standard_is_checked() -> None:
    wrong = "<codeBook xmlns='ddi:codebook:2_5'><dataDscr/><stdyDscr><method/></stdyDscr><x/></codeBook>"
    assert breaches(ElementTree.fromstring(wrong)) == ["stdyDscr has no citation", "codeBook holds ['x']"]
    turned = "<var xmlns='ddi:codebook:2_5'><catgry/><labl/><derivation/><derivation/></var>"
    assert [problem.split(":")[0] for problem in breaches(ElementTree.fromstring(turned))] == [
        *("var has its parts in another order", "var has derivation twice")
    ]


@pytest.mark.parametrize("file", WAVES, ids=lambda file: file.parent.name)
def test_every_wave_and_recipe_of_the_repository_makes_a_ddi_document(file: Path, districts: pd.DataFrame) -> None:
    wave = load_wave(file.parent)
    instrument = load_instrument(ROOT / f"data/raw/instruments/{wave.instrument}.yml")
    root = checked(dictionary.ddi(wave, instrument, NO_CODEBOOK, FACTS, districts))
    names = {element.get("name") for element in root.iter(f"{DDI}var")}
    assert set(wave.variables) <= names
    assert {"weight", "psu", "stratum", "district_id"} <= names
    for name in wave.variables:
        assert var(root, name).find(f"{DDI}labl").text
    told = ElementTree.tostring(root, encoding="unicode")
    assert ("Simulated data" in told) == wave.simulated


def test_ddi_says_who_when_where_and_how(small: tuple[Wave, Instrument], districts: pd.DataFrame) -> None:
    wave, instrument = small
    root = checked(dictionary.ddi(wave, instrument, CODEBOOK, FACTS, districts))
    study = "stdyDscr/citation"
    assert texts(root, f"{study}/titlStmt/titl") == ["SIMULATED DATA: Small survey (simulated)"]
    assert texts(root, f"{study}/titlStmt/IDNo") == ["small-2021"]
    assert texts(root, f"{study}/prodStmt/producer") == ["Tests"]
    assert texts(root, f"{study}/biblCit") == ["SIMULATED DATA: Tests (2021)"]
    days = root.findall(f"{DDI}stdyDscr/{DDI}stdyInfo/{DDI}sumDscr/{DDI}collDate")
    assert [(day.get("event"), day.get("date")) for day in days] == [("start", "2021-03-01"), ("end", "2021-03-31")]
    assert texts(root, "stdyDscr/stdyInfo/subject/keyword") == ["simulated data", "Health care"]
    assert texts(root, "stdyDscr/stdyInfo/sumDscr/nation") == ["Pakistan"]
    (where,) = texts(root, "stdyDscr/stdyInfo/sumDscr/geogCover")
    assert where == "Khyber Pakhtunkhwa, 2 districts on the map of 2018: Abbottabad, Bajaur"
    assert texts(root, "stdyDscr/dataAccs/useStmt/conditions") == ["Licence: CC0-1.0"]
    (weight,) = texts(root, "stdyDscr/method/dataColl/weight")
    assert weight.startswith("The producer's weight, column w")
    (notes,) = texts(root, "stdyDscr/stdyInfo/notes")
    assert "no person ever gave these answers" in notes
    assert texts(root, "fileDscr/fileTxt/dimensns/varQnty") == [str(len(list(root.iter(f"{DDI}var"))))]


def test_a_survey_that_was_held_is_not_marked_as_simulated(
    small: tuple[Wave, Instrument], districts: pd.DataFrame
) -> None:
    wave, instrument = small
    real = wave.model_copy(update={"simulated": False, "title": Text(en="Small survey")})
    told = dictionary.ddi(real, instrument, CODEBOOK, FACTS, districts)
    checked(told)
    assert "imulated" not in told
    assert "SIMULATED" not in told


def test_ddi_variables_have_the_wording_and_the_categories_of_the_wave(
    small: tuple[Wave, Instrument], districts: pd.DataFrame
) -> None:
    wave, instrument = small
    root = checked(dictionary.ddi(wave, instrument, CODEBOOK, FACTS, districts))
    service = var(root, "service")
    assert texts(service, "qstn/qstnLit") == ["Rate the service <here>"]
    assert texts(service, "universe") == ["All respondents"]
    assert texts(service, "catgry/catValu") == ["bad", "good", "dont_know", "missing"], "`fair` was not offered"
    assert texts(service, "catgry/txt") == ["In the file of the wave: 1 (Poor)", "In the file of the wave: 3 (Fine)"]
    missing = [category.get("missing") for category in service.findall(f"{DDI}catgry")]
    assert missing == [None, None, "Y", "Y"]
    heard = var(root, "heard")
    assert texts(heard, "universe") == ["Respondents whose answer to service is: Good or Fair"]
    assert texts(heard, "catgry/catValu") == ["no", "yes", "not_asked", "missing"]
    minutes = var(root, "minutes")
    assert (minutes.get("intrvl"), minutes.get("measUnit")) == ("contin", "minutes")
    limits = minutes.find(f"{DDI}valrng/{DDI}range")
    assert (limits.get("min"), limits.get("max")) == ("0", "600")
    assert minutes.findall(f"{DDI}labl")[1].get(LANGUAGE) == "ur"
    assert texts(var(root, "minutes_reason"), "catgry/catValu") == ["dont_know", "missing"]
    assert texts(var(root, "age_group"), "catgry/catValu")[0] == "<25"
    assert texts(var(root, "sex"), "catgry/catValu") == ["female", "male"]
    assert not {"wealth", "urban", "education"} & {element.get("name") for element in root.iter(f"{DDI}var")}


def test_hostile_labels_stay_text_and_no_frequencies_are_told(
    small: tuple[Wave, Instrument], districts: pd.DataFrame
) -> None:
    wave, instrument = small
    told = dictionary.ddi(wave, instrument, CODEBOOK, FACTS, districts)
    assert texts(var(checked(told), "heard"), "labl") == [SAID]
    root = ElementTree.fromstring(told.encode())
    assert not [element for element in root.iter() if element.tag in (f"{DDI}catStat", f"{DDI}sumStat", "script")]


def csv_folder(folder: Path) -> Path:
    """What the archive of public tables holds, two of which have rows; the path of its metadata."""
    estimates = {"wave": "small-2021", "indicator": "satisfied", "level": "district", "domain": "all"}
    estimates |= {"method": "direct", "simulated": True}
    known = {"estimate": 0.00001, "se": 0.05, "low": 0.0, "high": 0.1, "n": 120, "psus": 6, "df": 5}
    rows = {
        "published_estimates": [
            {**estimates, **known, "unit_id": "kp-swat", "quality": "publish"},
            {**estimates, "unit_id": "kp-tank", "quality": "suppress", "reason": "few_responses"},
        ],
        "published_waves": [
            {**EARLY, "round": "2021", "instrument": "small", "producer": '=Us, "the"\n team', "licence": "CC0-1.0"}
            | {"simulated": True, "vintage": "2018", "respondents": 600, "psus": 30, "districts": 5}
            | {"raked_margins": "", "shared_psus": False, "wave_version": "0a", "title_ur": "چھوٹا"}
        ],
    }
    tables = {name: frame(name, rows.get(name, [])) for name, table in TABLES.items() if table.public}
    made = dictionary.csv_archive(tables)
    assert made == dictionary.csv_archive(tables)
    return unpacked(made, folder)


def unpacked(archive: bytes, folder: Path) -> Path:
    """The path of the metadata among the files of an archive, which now stand in a folder."""
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        packed.extractall(folder)
    return folder / METADATA_FILE


def test_csvw_describes_every_public_table_and_no_other() -> None:
    made = json.loads(json.dumps(dictionary.csvw(waves_table(EARLY))))
    assert made["@context"] == ["http://www.w3.org/ns/csvw", {"@language": "en"}]
    public = [table for table in TABLES.values() if table.public]
    assert [table["url"] for table in made["tables"]] == [f"{table.name}.csv" for table in public]
    for told, table in zip(made["tables"], public, strict=True):
        columns = {column["name"]: column for column in told["tableSchema"]["columns"]}
        assert set(told["tableSchema"]["primaryKey"]) <= set(columns)
        assert all(columns[name]["required"] for name in told["tableSchema"]["primaryKey"])
        assert [column["titles"] for column in columns.values()] == table.names
        assert all(column["dc:description"] for column in columns.values())
    sdg = next(table for table in made["tables"] if table["url"] == "sdg_16_6_2.csv")
    names = {column["titles"]: column["name"] for column in sdg["tableSchema"]["columns"]}
    assert names["Disability status"] == "Disability%20status"


def test_csvw_says_which_waves_are_simulated() -> None:
    real = {**LATE, "simulated": False}
    assert "dc:description" not in dictionary.csvw(waves_table(real))
    assert dictionary.csvw(waves_table(EARLY))["dc:description"].startswith("Simulated data")
    assert dictionary.csvw(waves_table(EARLY, real))["dc:description"].startswith("Of small-2021 (column simulated)")


def test_the_archive_has_every_public_table_as_it_is_but_for_texts_that_would_run(tmp_path: Path) -> None:
    metadata = csv_folder(tmp_path)
    made = json.loads(metadata.read_text(encoding="utf-8"))
    assert {path.name for path in tmp_path.iterdir()} == {METADATA_FILE, *(table["url"] for table in made["tables"])}
    for table in made["tables"]:
        header = pd.read_csv(tmp_path / table["url"], nrows=0).columns
        assert list(header) == [column["titles"] for column in table["tableSchema"]["columns"]]
    waves = pd.read_csv(tmp_path / "published_waves.csv")
    assert waves.loc[0, ["producer", "title_ur", "respondents"]].tolist() == ['\'=Us, "the" team', "چھوٹا", 600]
    estimates = pd.read_csv(tmp_path / "published_estimates.csv")
    assert estimates["estimate"].tolist()[0] == 0.00001
    assert estimates.loc[1, ["estimate", "low", "n"]].isna().all()


def valid(metadata: Path) -> bool:
    """Whether the library `csvw` reads the files by their metadata: headers, types, ranges, required cells, keys."""
    from csvw import CSVW, TableGroup

    try:
        for table in TableGroup.from_file(metadata).tables:
            list(table.iterdicts(strict=True))
            table.check_primary_key()
        whole = CSVW(str(metadata), validate=True)
        return whole.is_valid and not whole.warnings
    except ValueError:
        return False


def test_a_csvw_validator_takes_the_files_and_refuses_wrong_ones(tmp_path: Path) -> None:
    metadata = csv_folder(tmp_path)
    assert valid(metadata)
    file = tmp_path / "published_estimates.csv"
    right = file.read_text(encoding="utf-8")
    wrong = {"suppress": "perhaps", "0.05": "-0.05", "kp-tank": "kp-swat", "120": "many", "unit_id": "unit"}
    for good, bad in wrong.items():
        assert good in right
        file.write_text(right.replace(good, bad), encoding="utf-8")
        assert not valid(metadata), f"{bad} is not refused"


def codebook_of(project: Project) -> Path:
    return project.site / data_page.FOLDER / data_page.codebook_file(FIRST)


def test_a_run_leaves_a_ddi_document_of_its_wave_and_csv_files_as_described(run_once: Project, tmp_path: Path) -> None:
    root = checked(codebook_of(run_once).read_text(encoding="utf-8"))
    assert texts(root, "stdyDscr/citation/titlStmt/titl") == ["SIMULATED DATA: Small survey (simulated)"]
    (where,) = texts(root, "stdyDscr/stdyInfo/sumDscr/geogCover")
    assert where == "Khyber Pakhtunkhwa, 5 districts on the map of 2018: Bannu, Kohat, Mardan, Peshawar, Swat"
    assert texts(var(root, "service"), "catgry/txt")[0] == "In the file of the wave: 1"
    metadata = unpacked((run_once.site / data_page.FOLDER / data_page.ARCHIVE).read_bytes(), tmp_path)
    assert valid(metadata)
    for table in (table for table in TABLES.values() if table.public):
        stored = pd.read_parquet(run_once.table(table.name, None))
        written = pd.read_csv(tmp_path / f"{table.name}.csv")
        assert len(written) == len(stored), table.name
        if len(stored):
            assert written["simulated"].all(), table.name
    stored = pd.read_parquet(run_once.table("published_estimates", None))
    written = pd.read_csv(tmp_path / "published_estimates.csv")
    assert written["estimate"].tolist() == pytest.approx(stored["estimate"].tolist(), abs=0, nan_ok=True)
    assert "SIMULATED DATA" in (run_once.site / data_page.FOLDER / data_page.DICTIONARY).read_text(encoding="utf-8")


def test_a_release_has_the_files_about_the_data(run_project: Project) -> None:
    made = release(run_project, "https://surveys.example/", "First", date(2026, 3, 1))
    names = {data_page.ARCHIVE, data_page.DICTIONARY, data_page.codebook_file(FIRST)}
    for folder in (made.folder, run_project.releases / "latest"):
        files = {path.name: path.read_bytes() for path in (folder / data_page.FOLDER).iterdir()}
        assert files.keys() == {*names, "index.html"}
        for name in names:
            assert files[name] == (run_project.site / data_page.FOLDER / name).read_bytes(), name


def files_of_data(project: Project, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The files about the data that publishing what is there would write."""
    written: dict[str, bytes] = {}

    def note(*_: object, data_files: Callable[[], dict[str, bytes]], **__: object) -> dict[str, Path]:
        written.update(data_files())
        return {}

    monkeypatch.setattr(project_site, "write_site", note)
    tables = {name: pd.read_parquet(project.table(name, None)) for name, table in TABLES.items() if table.public}
    project_site.publish_site(project, tables, "2026")
    return written


def test_an_edited_wave_is_published_as_it_was_until_it_is_run(
    run_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = codebook_of(run_project).read_bytes()
    declaration = run_project.waves / FIRST / "wave.yml"
    edited = declaration.read_text(encoding="utf-8").replace("producer: Tests", "producer: Somebody else")
    declaration.write_text(edited, encoding="utf-8")
    instrument = run_project.instrument_file("small")
    instrument.write_text(
        instrument.read_text(encoding="utf-8").replace("Were you heard?", "Did they listen?"), encoding="utf-8"
    )
    assert files_of_data(run_project, monkeypatch)[data_page.codebook_file(FIRST)] == before


@pytest.mark.parametrize("gone", ["wave.yml", "wave_codebook.parquet"])
def test_a_wave_whose_description_was_not_kept_is_named_and_made_again(
    run_project: Project, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    assert wave_is_unchanged(run_project, FIRST)
    (run_project.complete_declaration(FIRST).parent / gone).unlink()
    assert not wave_is_unchanged(run_project, FIRST)
    with pytest.raises(InputError, match=f"wave {FIRST}.*perception run --wave {FIRST}"):
        files_of_data(run_project, monkeypatch)
