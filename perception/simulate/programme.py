"""The simulated programme: six waves as survey teams would have delivered them, with wave file, truth and faults.

How a round codes, and what goes wrong in which wave, is said in modules of their own.
"""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from perception.geography import load_gazetteer, vintage_units
from perception.geography.gazetteer import units_covering
from perception.intake.instrument import Instrument, load_instrument
from perception.intake.wave_file import WAVE_FILE, load_wave, write_checksums
from perception.simulate import round_2018, round_2021, round_2024
from perception.simulate.coding import Delivery, Remedied
from perception.simulate.faults import FAULTS, plant
from perception.simulate.fieldwork import interviews
from perception.simulate.population import (
    district_effects,
    inherited_effects,
    simulate_answers,
    simulate_people,
    true_values,
)
from perception.simulate.questionnaire import INSTRUMENT, PROVINCES, REASONS_NOT_USED, ROUNDS, Round
from perception.simulate.sample import assigned_enumerators, draw_psus, draw_sample

FIRST_VINTAGE = "2018"
FULL_SIZE = 7
"""How many times the PSUs of the sample waves the full programme has: about 1,000 adults a district."""
TRUTH_FILE = "truth.csv"
FAULTS_FILE = "faults.csv"
BACK_CHECKS = 2
"""Interviews of each enumerator that are asked again."""
REPLACED_PSUS = ("kp-khyber 3", "kp-kurram 9")
"""PSUs that the team had to replace in each round: only 2021 says so."""
OTHER_REASONS = ("no time", "وقت نہیں ملا", "گھر پر علاج کیا", "was away from home")


@dataclass(frozen=True)
class SimulatedWave:
    """A wave with what nobody knows of a real one: the truth, all adults by sex and age group, and its faults."""

    delivery: Delivery
    truth: pd.DataFrame
    adults: pd.DataFrame
    faults: pd.DataFrame


def write_simulated_waves(
    raw: Path, seed: int = 2021, *, waves: Path | None = None, full: bool = False, faults: bool = True
) -> list[Path]:
    """Write the six simulated waves, from the reference files and the instrument in `raw`; returns their folders.

    They go into `waves`, or `raw`/waves. `full` is the programme at full size (about 1,000 adults a district, an
    uncompressed .sav beside the .zsav, the Stata twins of 2024 under `stata`) and needs `waves`, so that it cannot take
    the place of the sample. Without `faults` the same interviews are delivered as they were held. The same seed gives
    the same files, byte for byte.
    """
    if full and waves is None:
        raise ValueError("the programme at full size needs a folder of its own: name it as `waves`")
    target = waves or raw / "waves"
    folders = []
    for honest in simulated_waves(raw, seed, full=full):
        simulated = with_faults(honest, seed) if faults else honest
        wave = simulated.delivery.wave
        folders.append(write_wave(simulated, target / wave, generator(seed, f"{wave} back-checks")))
        if full and simulated.delivery.survey.name == "2018":
            round_2018.write_spss(simulated.delivery, target / wave / "responses.sav")
        if full and simulated.delivery.survey.name == "2024":
            write_stata_twin(target / wave, target / "stata" / wave)
    return folders


def simulated_waves(raw: Path, seed: int, *, full: bool = False) -> Iterator[SimulatedWave]:
    """The six waves in order of rounds, as honest teams deliver them, before anything is written."""
    instrument = load_instrument(raw / "instruments" / f"{INSTRUMENT}.yml")
    gazetteer = load_gazetteer(raw / "reference")
    covering = units_covering(gazetteer, FIRST_VINTAGE)
    effects = district_effects(vintage_units(gazetteer, FIRST_VINTAGE), generator(seed, "districts"))
    for survey in ROUNDS.values():
        units = vintage_units(gazetteer, survey.vintage)
        parents = pd.Series({unit: covering[unit][0] for unit in units["district_id"]})
        own = inherited_effects(effects[survey.name], parents, generator(seed, f"{survey.name} parts"))
        rng = generator(seed, survey.name)
        sample, truth, adults = simulate_round(units, own, instrument, survey, rng, FULL_SIZE if full else 1)
        for province in PROVINCES:
            wave = f"{province}-{survey.name}"
            home = units[units["province_id"] == province].reset_index(drop=True)
            here = home["district_id"]
            visits = sample[sample["province_id"] == province]
            visits = interviews(visits, survey, province, gazetteer, generator(seed, f"{wave} field"))
            visits = _prepared(visits, home, survey, generator(seed, f"{wave} keys"))
            psus = visits.groupby(["district_id", "psu"]).ngroups
            delivery = Delivery(survey, province, visits, home, instrument, psus, Remedied())
            truth_here, adults_here = (table[table["district_id"].isin(here)] for table in (truth, adults))
            yield SimulatedWave(delivery, truth_here, adults_here, pd.DataFrame())


def with_faults(honest: SimulatedWave, seed: int) -> SimulatedWave:
    """The wave with the faults planted that `faults.FAULTS` lists for it, and declared in its wave file."""
    delivery = honest.delivery
    rngs = {fault.name: generator(seed, f"{delivery.wave} {fault.name}") for fault in FAULTS}
    visits, planted, declared = plant(delivery.wave, delivery.visits, delivery.instrument, rngs)
    return replace(honest, delivery=replace(delivery, visits=visits, declared=declared), faults=planted)


def write_wave(simulated: SimulatedWave, folder: Path, rng: np.random.Generator) -> Path:
    """Write a wave's folder: data, form, wave file, checksums, truth.csv and, where it has faults, faults.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    match simulated.delivery.survey.name:
        case "2018":
            round_2018.write(simulated.delivery, folder)
        case "2021":
            round_2021.write(simulated.delivery, folder)
            simulated.adults.to_csv(folder / "margins.csv", index=False, lineterminator="\n")
        case _:
            round_2024.write(simulated.delivery, folder, rng)
    simulated.truth.to_csv(folder / TRUTH_FILE, index=False, lineterminator="\n")
    (folder / FAULTS_FILE).unlink(missing_ok=True)
    if len(simulated.faults):
        simulated.faults.to_csv(folder / FAULTS_FILE, index=False, lineterminator="\n")
    write_checksums(load_wave(folder), folder)
    return folder


def generator(seed: int, label: str) -> np.random.Generator:
    """A generator of its own for each part, so that a change in one part leaves the others alone."""
    return np.random.default_rng([seed, *label.encode()])


def simulate_round(
    units: pd.DataFrame,
    effects: pd.DataFrame,
    instrument: Instrument,
    survey: Round,
    rng: np.random.Generator,
    size: int = 1,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """A round in all districts: the visits (`draw_sample`), the truth (`true_values`), adults by sex and age group."""
    people = simulate_people(units, rng, size)
    drawn = draw_psus(people, units, rng, size)
    people["enumerator"] = assigned_enumerators(people, drawn, rng, size)
    population = simulate_answers(people, effects, instrument, survey, rng)
    truth = true_values(population, instrument)
    truth = truth.assign(truth=truth["truth"].round(6), population_n=truth["population_n"].round().astype(int))
    return draw_sample(population, drawn, rng), truth, round_2021.margins(population)


def _prepared(visits: pd.DataFrame, units: pd.DataFrame, survey: Round, rng: np.random.Generator) -> pd.DataFrame:
    """The visits with what a round's files need besides: keys, names, ages as told, who is back-checked."""
    count, number = len(visits), pd.factorize(visits["district_id"], sort=True)[0] + 1
    complete = visits["result"] == "complete"
    if survey.name == "2018":
        serial = complete.astype(int).groupby(visits["district_id"]).cumsum()
        keys = [f"{district}/{place}" for district, place in zip(number, serial, strict=True)]
    else:
        ids = [str(uuid.UUID(bytes=rng.bytes(16), version=4)) for _ in range(count)]
        keys = ids if survey.name == "2021" else [f"uuid:{one}" for one in ids]
    again = pd.Series(rng.random(count)).where(complete)
    rank = again.groupby([visits["district_id"], visits["enumerator"]]).rank()
    names = units.set_index("district_id")["name"]
    replaced = (visits["district_id"] + " " + visits["psu"].astype(str)).isin(REPLACED_PSUS)
    prepared = visits.assign(
        key=keys,
        contact=rng.permutation(count) + 1,
        district_name=visits["district_id"].map(names),
        psu_replaced=replaced.astype(int),
        backcheck=(rank <= BACK_CHECKS).astype(int),
        invented=False,
        why_other=None,
    )
    if survey.name == "2018":  # there, 99 is who does not know
        prepared["age"] = prepared["age"].astype(float).where(rng.random(count) > 0.01)
    else:
        other = prepared[f"{REASONS_NOT_USED}other"] == "yes"
        prepared["why_other"] = pd.Series(rng.choice(OTHER_REASONS, count), dtype=object).where(other, None)
    return prepared


def write_stata_twin(wave: Path, target: Path) -> Path:
    """Write a 2024 wave folder again with a Stata file for its data; `target` must have the wave's name.

    The file has value labels, and .d and .r for don't know and refused.
    """
    target.mkdir(parents=True, exist_ok=True)
    round_2024.write_stata(wave, target)
    write_checksums(load_wave(target), target)
    return target


def undeclared(wave: Path, target: Path, keys: Sequence[str] = ("remedies",)) -> Path:
    """Copy a wave folder into `target` (of the same name) without the named blocks of its wave file.

    So the faults stand as they came from the field: `remedies`, or `names` for the spellings of districts.
    """
    shutil.copytree(wave, target)
    path = target / WAVE_FILE
    path.write_text(without(path.read_text(encoding="utf-8"), keys), encoding="utf-8")
    return target


def without(text: str, keys: Sequence[str]) -> str:
    """YAML text without the blocks of these keys, at any depth."""
    lines, depth = [], -1
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if depth >= 0 and (not line.strip() or indent > depth):
            continue
        match = re.match(r"\s*(\w+):", line)
        depth = indent if match and match[1] in keys else -1
        if depth < 0:
            lines.append(line)
    return "\n".join(lines) + "\n"
