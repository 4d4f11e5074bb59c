"""What `wave.yml` declares about one wave: its files, design, geography and how its codes map to the instrument.

Only the declaration lives here; reading the files it names is `raw`, applying its maps is `harmonise`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import date
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from perception.errors import InputError, Problem
from perception.intake.declarations import ID_PATTERN, Declaration, Text, load_declaration
from perception.intake.instrument import Identifier, Universe
from perception.intake.readers import code_key

WAVE_ID_PATTERN = ID_PATTERN
WAVE_FILE = "wave.yml"
CHECKSUMS_FILE = "SHA256SUMS"
CENSUS = "census"
UNCHECKED = re.compile(r"#\s*check\s*(:|$)")
ACROSS_WAVES = "across"
RESERVED_IDS = (ACROSS_WAVES, "assets", "publishing")
"""Names of folders and stages that stand beside those of waves."""

Code = int | float | str
FileName = Annotated[str, Field(pattern=r"^[^/\\]+$")]
Columns = Annotated[list[str], Field(min_length=1)]
Thresholds = dict[str, dict[str, float]]
Reason = Literal["dont_know", "refused", "not_asked", "missing"]


class Join(Declaration):
    """How a further file is joined to the first: key columns `on`, which the further file holds once each row.

    `key` names them in the further file where they are called otherwise there (`_parent_index` for `_index`).
    """

    on: Columns
    key: list[str] = []

    @model_validator(mode="after")
    def _as_many_keys(self) -> Join:
        if self.key and len(self.key) != len(self.on):
            raise ValueError("`key` needs one column for each in `on`. Name them in the same order.")
        return self

    @property
    def further(self) -> list[str]:
        """The key columns as the further file calls them."""
        return self.key or self.on


class Reshape(Declaration):
    """From several rows a unit to one: `rows` identify a unit, each code of `over` becomes the suffix of `values`.

    Columns of `keep` are the same in all rows of a unit; rows whose code of `over` is in `drop` are left out.
    """

    rows: Columns
    over: str
    values: Columns
    keep: list[str] = []
    drop: list[Code] = []


class DataFile(Declaration):
    """A data file beside `wave.yml`, the columns taken from it (all when empty), how it is reshaped and joined.

    `sheet` is a sheet of a workbook (the first), `member` a table of a zip (the submissions). `encoding` and
    `delimiter` of a text file are found out, and reported, where they are not declared.
    """

    path: FileName
    sheet: str | None = None
    member: str | None = None
    encoding: str | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    columns: list[str] = []
    reshape: Reshape | None = None
    join: Join | None = None


class RowRule(Declaration):
    """Which rows count, by the codes of one column: either those to `keep` or those to `drop`."""

    column: str
    keep: list[Code] = []
    drop: list[Code] = []

    @model_validator(mode="after")
    def _one_of_the_two(self) -> RowRule:
        if bool(self.keep) == bool(self.drop):
            raise ValueError("needs either `keep` or `drop`. Give one of the two.")
        return self


class Replicates(Declaration):
    """Replicate weights as the producer supplies them, and how the spread of estimates over them makes a variance.

    V = scale x sum of rscales x (estimate of a replicate - centre)^2, as R survey's `svrepdesign` has it: `columns` is
    a list or a pattern (`rep_*`), `combined` says whether they are whole weights or factors of `design.weight`, and the
    centre is the mean of the replicates, or with `mse` the estimate with the full weight. What is not declared follows
    from `type`: scale is 1/R (brr), 1/(R (1 - rho)^2) (fay), (R - 1)/R (jk1), 1 (jkn) or 1/(R - 1) (bootstrap) of R
    replicates, and rscales are 1, but those of jkn, (n_h - 1)/n_h of the stratum thinned, must be declared.
    """

    type: Literal["brr", "fay", "jk1", "jkn", "bootstrap"]
    columns: Annotated[str, Field(pattern=r"\*")] | Annotated[list[str], Field(min_length=2)]
    rho: Annotated[float, Field(ge=0, lt=1)] | None = None
    scale: Annotated[float, Field(gt=0)] | None = None
    rscales: list[Annotated[float, Field(ge=0)]] = []
    combined: bool = True
    mse: bool = False

    @model_validator(mode="after")
    def _enough_for_the_type(self) -> Replicates:
        if (self.type == "fay") != (self.rho is not None):
            raise ValueError("`rho` belongs to type fay, and fay needs it. Give it there and nowhere else.")
        if self.type == "jkn" and not self.rscales:
            raise ValueError("jkn needs `rscales`, one for each replicate. Take them from the producer's manual.")
        if isinstance(self.columns, list) and len(set(self.columns)) < len(self.columns):
            raise ValueError("`columns` names a column twice. Name each once.")
        if self.rscales and isinstance(self.columns, list) and len(self.rscales) != len(self.columns):
            raise ValueError("`rscales` needs a number for each of `columns`. Give as many.")
        return self

    def named(self, columns: Iterable[str]) -> list[str]:
        """The replicate weights among `columns` of the data, in the order declared, or that of their numbers."""
        if isinstance(self.columns, list):
            return list(self.columns)
        return sorted((c for c in columns if fnmatchcase(c, str(self.columns))), key=_by_number)


def _by_number(name: str) -> list[tuple[int, str]]:
    """A key that puts rep_2 before rep_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


class SampleDesign(Declaration):
    """The sample design: weight, strata (crossed), PSU, the columns PSU ids are unique within, and two policies.

    `weight` is the producer's; a wave that builds its own declares `weighting` instead.

    `single_psu` says what happens to a stratum with one PSU, `empty_psus` whether a sampled PSU in which nobody
    completed an interview counts in its stratum's number of PSUs. `shared_psus`: PSUs of the predecessor were visited
    again and have the same ids in both waves.

    `population_psus` is a column with the number of PSUs that the row's stratum has in the population; without it
    variances are those of sampling with replacement. `replicates` are the producer's replicate weights: variances are
    then taken from them.
    """

    weight: str | None = None
    weight_scale: Literal["population", "mean_one", "relative"]
    strata: Columns
    psu: str
    psu_within: list[str] = []
    single_psu: Literal["collapse", "centre", "fail"] = "collapse"
    empty_psus: Literal["count", "leave_out"] = "count"
    population_psus: str | None = None
    replicates: Replicates | None = None
    shared_psus: bool = False


class Place(Declaration):
    """Where respondents live: the district column, whether its codes or labels are names, names declared by hand."""

    vintage: str
    district: str
    by: Literal["code", "label"] = "label"
    names: dict[Code, str] = {}


class Variable(Declaration):
    """How one harmonised variable is made: source column and code map, or a constant for the whole wave.

    Several `source` columns hold one question in several form versions; a row fills at most one of them. `contains`
    reads a select-multiple column as code 1 where the answer is among those chosen, 0 where not; `choices` are further
    answers of it that no variable looks for. `asked_if` says who
    was asked: a blank is then `not_asked` of others, and `blank` of those who were.
    """

    source: str | Columns | None = None
    constant: str | None = None
    by: Literal["code", "label"] = "code"
    contains: Code | None = None
    choices: list[Code] = []
    map: dict[Code, str] = {}
    missing: dict[Code, Reason] = {}
    blank: Reason = "missing"
    asked_if: Universe | None = None

    @property
    def sources(self) -> list[str]:
        """The source columns; none for a constant."""
        return [self.source] if isinstance(self.source, str) else list(self.source or [])

    @model_validator(mode="after")
    def _source_or_constant(self) -> Variable:
        if (self.source is None) == (self.constant is None):
            raise ValueError("needs either `source` or `constant`. Give one of the two.")
        codes = [code_key(code) for code in (*self.map, *self.missing)]
        if twice := sorted({code for code in codes if codes.count(code) > 1}):
            raise ValueError(f"codes {twice} stand twice in `map` and `missing` together. Keep one of them.")
        return self


class RowChoice(Declaration):
    """Rows whose `column` holds one of `codes`."""

    column: str
    codes: Annotated[list[Code], Field(min_length=1)]


class GeoPoint(Declaration):
    """Where an interview was held: one `point` column (latitude longitude altitude accuracy) or columns for each."""

    point: str | None = None
    latitude: str | None = None
    longitude: str | None = None
    accuracy: str | None = None

    @model_validator(mode="after")
    def _one_form(self) -> GeoPoint:
        split = (self.latitude is None, self.longitude is None)
        if split[0] != split[1] or (self.point is None) == split[0]:
            raise ValueError("needs either `point`, or `latitude` and `longitude`. Give one of the two forms.")
        return self


class AuditLog(Declaration):
    """Time spent on each question: an ODK audit file whose `instance` column holds the codes of the data's `key`."""

    path: FileName
    member: str | None = None
    instance: str = "instance ID"
    key: str


class BackChecks(Declaration):
    """Interviews asked again: a file keyed like the data, and the columns to compare by how they may change.

    Type 1 never changes, type 2 seldom, type 3 may.
    """

    path: FileName
    key: Columns
    type_1: list[str] = []
    type_2: list[str] = []
    type_3: list[str] = []


class Plan(Declaration):
    """What was to be done: interviews in each PSU, interviews a day of an enumerator, and which PSUs were replaced."""

    interviews_per_psu: Annotated[int, Field(gt=0)] | None = None
    psus: Annotated[int, Field(gt=0)] | None = None
    interviews_per_day: Annotated[float, Field(gt=0)] | None = None
    replaced: RowChoice | None = None


class Fieldwork(Declaration):
    """What is known about the interviews themselves; quality checks read it, nothing of it is published.

    `time_format` is `iso` or a strptime format. `household` identifies an interview in the field (a form sent twice has
    it twice); `unique` are columns in which no value should stand twice. `coordinates`: interview places are either
    dropped after the checks or kept as displaced PSU centres.
    """

    enumerator: str | None = None
    team: str | None = None
    start: str | None = None
    end: str | None = None
    submitted: str | None = None
    time_format: str = "iso"
    time_zone: str = "Asia/Karachi"
    minutes: str | None = None
    form_version: str | None = None
    current_versions: list[Code] = []
    stale_versions: list[Code] = []
    household: list[str] = []
    unique: list[str] = []
    must_have: list[str] = []
    other_specify: list[str] = []
    gps: GeoPoint | None = None
    coordinates: Literal["drop", "displace"] = "drop"
    plan: Plan = Plan()
    audit: AuditLog | None = None
    back_checks: BackChecks | None = None

    @property
    def columns(self) -> list[str]:
        """Every column of the data that is named here."""
        gps = self.gps or GeoPoint.model_construct()
        single = [self.enumerator, self.team, self.start, self.end, self.submitted, self.minutes, self.form_version]
        single += [gps.point, gps.latitude, gps.longitude, gps.accuracy]
        single += [self.audit.key] if self.audit else []
        single += [self.plan.replaced.column] if self.plan.replaced else []
        back = self.back_checks.key if self.back_checks else []
        return [name for name in single if name] + [*self.household, *self.unique, *self.other_specify, *back]


class Multiply(Declaration):
    """A unit put right: values of `columns` times `by`, in the rows of `where`."""

    columns: Columns
    by: float
    where: RowChoice


class Replace(Declaration):
    """Codes put right: in `columns`, each code by another, in the rows of `where` (all when not given)."""

    columns: Columns
    codes: Annotated[dict[Code, Code], Field(min_length=1)]
    where: RowChoice | None = None


class Repeats(Declaration):
    """Rows that share the values of `columns`: one is kept, the first in the file or the last."""

    columns: Columns
    keep: Literal["first", "last"] = "first"


class Remedy(Declaration):
    """What is done about a finding of a quality `check`, and why. One action each; raw responses stay as they are.

    `accept` names units (of `wave_quality`) that are known and left: their `fail` or `hold` becomes `warn`.
    """

    check: str
    reason: Annotated[str, Field(min_length=1)]
    drop: RowChoice | None = None
    drop_repeats: Repeats | None = None
    multiply: Multiply | None = None
    replace: Replace | None = None
    accept: list[str] = []

    @property
    def action(self) -> str:
        """Which of the actions it is."""
        return next(name for name in REMEDY_ACTIONS if getattr(self, name))

    @property
    def columns(self) -> list[str]:
        """Every column of the data that is named here."""
        named: list[str] = []
        for part in (self.drop, self.drop_repeats, self.multiply, self.replace):
            if isinstance(part, RowChoice):
                named.append(part.column)
            elif part is not None:
                where = getattr(part, "where", None)
                named += [*part.columns, *([where.column] if where else [])]
        return named

    @model_validator(mode="after")
    def _one_action(self) -> Remedy:
        if sum(bool(getattr(self, name)) for name in REMEDY_ACTIONS) != 1:
            raise ValueError(f"needs one action of {', '.join(REMEDY_ACTIONS)}. Write a remedy for each.")
        return self


REMEDY_ACTIONS = ("drop", "drop_repeats", "multiply", "replace", "accept")


class Weighting(Declaration):
    """How the wave's weights are built: design weight, adjusted for non-response by stratum, raked, trimmed.

    `base` is the design weight of every sampled case, `eligible` the rows that were to be interviewed (all when not
    given); those that count under `rows` responded. `rake` lists margins, each crossing columns of `margins`, a file
    of the surveyed population with a column `persons`; `census` instead takes the gazetteer's counts, which are of all
    ages. `trim` is the largest weight allowed, in medians of its district.
    """

    base: str
    eligible: RowChoice | None = None
    margins: FileName | Literal["census"] | None = None
    rake: list[
        Annotated[
            list[Literal["district_id", "division_id", "province_id", "sex", "urban", "age_group"]], Field(min_length=1)
        ]
    ] = []
    trim: Annotated[float, Field(gt=1)] | None = None

    @model_validator(mode="after")
    def _margins_to_rake(self) -> Weighting:
        if bool(self.rake) != (self.margins is not None):
            raise ValueError("`rake` and `margins` go together. Give both or neither.")
        return self


class Comparison(Declaration):
    """How far a variable compares with the predecessor's: the same, recoded to be the same, or not at all."""

    verdict: Literal["same", "recoded", "break"]
    reason: Annotated[str, Field(min_length=1)]


class FieldDates(Declaration):
    """First and last day of fieldwork."""

    start: date
    end: date

    @model_validator(mode="after")
    def _starts_before_it_ends(self) -> FieldDates:
        if self.start > self.end:
            raise ValueError("starts after it ends. Correct `start` or `end`.")
        return self


class Wave(Declaration):
    """One survey in one folder."""

    id: Identifier
    round: str
    predecessor: Identifier | None = None
    title: Text
    instrument: Identifier
    dates: FieldDates
    producer: str
    citation: str
    licence: str
    simulated: bool
    files: Annotated[list[DataFile], Field(min_length=1)]
    rows: list[RowRule] = []
    form: FileName | None = None
    respondent_id: Columns
    design: SampleDesign
    weighting: Weighting | None = None
    geography: Place
    fieldwork: Fieldwork = Fieldwork()
    quality: Thresholds = {}
    remedies: list[Remedy] = []
    comparability: dict[str, Comparison] = {}
    variables: dict[str, Variable]

    @property
    def file_names(self) -> list[str]:
        """Every file beside wave.yml that the wave is made from, once each."""
        fieldwork, margins = self.fieldwork, self.weighting.margins if self.weighting else None
        further = [
            self.form,
            fieldwork.audit.path if fieldwork.audit else None,
            fieldwork.back_checks.path if fieldwork.back_checks else None,
            margins if margins != CENSUS else None,
        ]
        return list(dict.fromkeys([*(file.path for file in self.files), *(name for name in further if name)]))

    @property
    def base_weight(self) -> str:
        """The column of the weight that the producer gave: final, or the design weight to build on."""
        return self.weighting.base if self.weighting else str(self.design.weight)

    @property
    def rake(self) -> list[list[str]]:
        """The margins that its weights are raked to, each a list of columns; none for a producer's weight."""
        return [list(margin) for margin in self.weighting.rake] if self.weighting else []

    @model_validator(mode="before")
    @classmethod
    def _round_may_be_a_year(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("round"), int):
            return {**value, "round": str(value["round"])}
        return value

    @model_validator(mode="after")
    def _id_is_free(self) -> Wave:
        if self.id in RESERVED_IDS:
            raise ValueError(f"id: {self.id} is a name that the software uses itself. Choose another id.")
        return self

    @model_validator(mode="after")
    def _one_weight(self) -> Wave:
        if (self.design.weight is None) == (self.weighting is None):
            raise ValueError("needs either `design.weight` or `weighting`. Give one of the two.")
        if self.weighting is not None and self.design.replicates is not None:
            raise ValueError(
                "`weighting` builds weights of its own, which `design.replicates` know nothing of. Give one of the two."
            )
        if self.comparability and self.predecessor is None:
            raise ValueError("`comparability` says how the wave compares with its `predecessor`. Name that wave.")
        if self.design.shared_psus and self.predecessor is None:
            raise ValueError("`design.shared_psus` says that PSUs are the `predecessor`'s. Name that wave.")
        return self

    @model_validator(mode="after")
    def _only_the_first_file_stands_alone(self) -> Wave:
        if self.files[0].join is not None or any(file.join is None for file in self.files[1:]):
            raise ValueError("files: the first stands alone and every further one needs `join`. Correct the list.")
        return self


def load_wave(folder: Path) -> Wave:
    """Read `wave.yml` of a wave folder; InputError lists every mistake, a folder of another name and guesses that
    nobody has checked (`# check`, as `perception new-wave` marks them) included.
    """
    wave = load_declaration(folder / WAVE_FILE, Wave)
    lines = enumerate((folder / WAVE_FILE).read_text(encoding="utf-8").splitlines(), start=1)
    if unchecked := [(number, line) for number, line in lines if UNCHECKED.search(line)]:
        raise InputError(
            Problem(
                f"{wave.id}/{WAVE_FILE}, line {number}",
                f"is a guess that nobody has checked: {line.strip()}",
                "Correct it where it is wrong, then remove the mark `# check`.",
            )
            for number, line in unchecked
        )
    if wave.id != folder.name:
        raise InputError(
            [
                Problem(
                    f"{folder.name}/{WAVE_FILE}, id", f"is {wave.id!r}", f"Name the folder {wave.id} or correct the id."
                )
            ]
        )
    return wave


def data_files(wave: Wave, folder: Path) -> list[Path]:
    """The files that a wave is made from, in the order declared; they need not exist."""
    return [folder / name for name in wave.file_names]


def sha256(path: Path) -> str:
    """SHA-256 of a file, hex; a file that has not been touched since is not read again."""
    facts = path.stat()
    return _sha256(path, facts.st_ino, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=4096)
def _sha256(path: Path, inode: int, size: int, changed: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_checksums(wave: Wave, folder: Path) -> None:
    """Record the SHA-256 of the data files in `SHA256SUMS`, in the form that `sha256sum --check` reads."""
    lines = [f"{sha256(path)}  {path.name}\n" for path in data_files(wave, folder)]
    (folder / CHECKSUMS_FILE).write_text("".join(lines), encoding="utf-8")


def checksum_problems(wave: Wave, folder: Path) -> list[Problem]:
    """Data files that are not there or differ from the recorded checksum; a wave without a record has none to break."""
    recorded: dict[str, str] = {}
    problems = []
    if (folder / CHECKSUMS_FILE).exists():
        try:
            for line in (folder / CHECKSUMS_FILE).read_text(encoding="utf-8").splitlines():
                digest, _, name = line.partition("  ")
                recorded[name] = digest
        except (OSError, UnicodeDecodeError):
            remedy = "Delete it and run `perception add-wave` again to record the checksums."
            problems.append(Problem(f"{wave.id}/{CHECKSUMS_FILE}", "cannot be read as text", remedy))
    for path in data_files(wave, folder):
        where = f"{wave.id}/{path.name}"
        if not path.is_file():
            problems.append(Problem(where, "the file is not there", "Put it beside wave.yml or correct `files`."))
        elif path.name in recorded and sha256(path) != recorded[path.name]:
            problems.append(
                Problem(
                    where,
                    "is not the file whose checksum was recorded",
                    f"Restore it, or run `perception add-wave` again to record the new one in {CHECKSUMS_FILE}.",
                )
            )
    return problems


def wave_version(wave: Wave, folder: Path, instrument: Path) -> str:
    """SHA-256 over the content of everything a wave is made from: wave.yml, its data files and the instrument."""
    digest = hashlib.sha256()
    for path in [folder / WAVE_FILE, *data_files(wave, folder), instrument]:
        digest.update(f"{path.name} {sha256(path)}\n".encode())
    return digest.hexdigest()
