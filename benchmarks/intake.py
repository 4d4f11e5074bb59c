"""Wall time and peak memory of the intake of a large .csv wave: 1,000,000 rows x 150 columns, through Dagster's assets.

Run by `make bench`. The wave is generated into a temporary project; what is measured is a process of its own that
materialises the assets of the group `intake` (raw responses, responses, design, quality, ...), start-up included.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h3
import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
ROWS, COLUMNS, DESIGN_COLUMNS = 1_000_000, 150, 13
DISTRICT_PSUS, DISTRICT_ENUMERATORS, DAY_INTERVIEWS, BLOCK = 600, 30, 4, 100_000
CODES = np.array(["0", "1", "2", "3", "98", ""], dtype=object)
PROBABILITIES = (0.15, 0.25, 0.3, 0.15, 0.05, 0.1)

INTAKE = """
import sys
from pathlib import Path
import dagster as dg
from assets import intake, quality
from pipelines.definitions import build_defs
from assets.resources import ProjectResource
from pipelines.storage import ParquetTables
root = sys.argv[1]
resources = {"project": ProjectResource(root=root), "tables": ParquetTables(root=root)}
with dg.DagsterInstance.ephemeral() as instance:
    instance.add_dynamic_partitions("wave", ["large"])
    result = dg.materialize(
        dg.load_assets_from_modules([intake, quality]), resources=resources, partition_key="large", instance=instance,
        raise_on_error=False,
    )
    done = {}
    for event in result.all_events:
        if event.event_type_value == "STEP_SUCCESS":
            seconds = event.event_specific_data.duration_ms / 1000
            done[event.step_key] = seconds
            print(f"  {event.step_key:<20} {seconds:6.1f} s", flush=True)
        elif event.event_type_value == "STEP_FAILURE":
            print(event.message, event.step_failure_data.user_failure_data, flush=True)
    gate = done.get("quality_checks", 0) + done.get("quality_page", 0)
    print(f"  to tidy responses {sum(done.values()) - gate:.1f} s, quality gate with its page {gate:.1f} s", flush=True)
    sys.exit(0 if result.success else 1)
"""


def write_large_wave(project: Path, rows: int = ROWS) -> Path:
    """A wave `large` of `rows` x 150 columns and its instrument in the project; returns the data file.

    Fieldwork is as it should be: by day, one interview after the other, each near its PSU and inside its district.
    """
    shutil.copytree(ROOT / "data/raw/reference", project / "data/raw/reference")
    questions = [f"q{number:03d}" for number in range(1, COLUMNS - DESIGN_COLUMNS + 1)]
    instrument = project / "data/raw/instruments/large.yml"
    instrument.parent.mkdir(parents=True)
    scale = "{very_bad: Very bad, bad: Bad, good: Good, very_good: Very good}"
    lines = ["id: large", "title: Large questionnaire", "source: made for a benchmark", "questions:"]
    lines += [f"  {name}: {{label: Question {name}, type: ordinal, categories: {scale}}}" for name in questions]
    lines += ["indicators:"]
    lines += [
        f"  good_{name}: {{label: Good {name}, question: {name}, positive: [good, very_good], population: adults}}"
        for name in questions[:20]
    ]
    instrument.write_text("\n".join(lines) + "\n", encoding="utf-8")
    folder = project / "data/raw/waves/large"
    folder.mkdir(parents=True)
    codes = "{0: very_bad, 1: bad, 2: good, 3: very_good}"
    variables = "\n".join(
        f"  {name}: {{source: {name}, map: {codes}, missing: {{98: dont_know}}, blank: not_asked}}"
        for name in questions
    )
    (folder / "wave.yml").write_text(
        f"""\
id: large
round: 2024
title: Large survey (simulated)
instrument: large
dates: {{start: 2024-01-01, end: 2024-06-30}}
producer: Benchmark
citation: Benchmark
licence: CC0-1.0
simulated: true
files: [{{path: answers.csv}}]
respondent_id: [key]
design: {{weight: w, weight_scale: relative, strata: [district, area], psu: psu}}
geography: {{vintage: "2018", district: district, by: code}}
fieldwork: {{enumerator: enum, start: start, end: end, gps: {{latitude: lat, longitude: lon, accuracy: accuracy}}}}
variables:
  sex: {{source: sex, map: {{1: female, 2: male}}}}
  urban: {{source: area, map: {{1: urban, 2: rural}}}}
  age: {{source: age}}
{variables}
""",
        encoding="utf-8",
    )
    vintages = pd.read_csv(ROOT / "data/raw/reference/vintages.csv", dtype="str")
    vintages = vintages[vintages["vintage"] == "2018"].dropna(subset="district_id")
    names = sorted(vintages["district_id"].unique())
    rng = np.random.default_rng(1)
    cells = pd.read_csv(ROOT / "data/raw/reference/tehsil_cells.csv", dtype="str").merge(vintages, on="tehsil_id")
    own_cells = cells.groupby("district_id")["cell"]
    psu_cells = [cell for name in names for cell in rng.choice(own_cells.get_group(name), DISTRICT_PSUS)]
    centres = np.array([h3.cell_to_latlng(cell) for cell in psu_cells])
    with (folder / "answers.csv").open("w", encoding="utf-8") as stream:
        for first in range(0, rows, BLOCK):
            place = np.arange(first, min(first + BLOCK, rows))
            psu = place * DISTRICT_PSUS * len(names) // rows
            district = psu // DISTRICT_PSUS
            within = place - -(-district * rows // len(names))
            number = within // DISTRICT_ENUMERATORS
            clock = 120 * (number % DAY_INTERVIEWS) + rng.integers(0, 30, len(place))
            start = (
                pd.Timestamp("2024-01-01 08:00")
                + pd.to_timedelta(number // DAY_INTERVIEWS, "D")
                + pd.to_timedelta(clock, "min")
            )
            minutes = np.minimum(rng.lognormal(3.5, 0.3, len(place)).round(), 90)
            latitude, longitude = centres[psu].T
            frame = pd.DataFrame(
                {
                    "key": [f"uuid:{number:08d}" for number in place],
                    "district": np.array(names, dtype=object)[district],
                    "area": 1 + psu % 2,
                    "psu": psu,
                    "enum": district * DISTRICT_ENUMERATORS + within % DISTRICT_ENUMERATORS,
                    "start": start.strftime("%Y-%m-%dT%H:%M:%S+05:00"),
                    "end": (start + pd.to_timedelta(minutes, "min")).strftime("%Y-%m-%dT%H:%M:%S+05:00"),
                    "lat": (latitude + rng.uniform(-0.01, 0.01, len(place))).round(5),
                    "lon": (longitude + rng.uniform(-0.01, 0.01, len(place))).round(5),
                    "accuracy": rng.integers(3, 30, len(place)),
                    "w": rng.uniform(0.5, 2.0, len(place)).round(4),
                    "sex": rng.integers(1, 3, len(place)),
                    "age": rng.integers(18, 90, len(place)),
                }
            )
            answers = rng.choice(CODES, size=(len(place), len(questions)), p=PROBABILITIES)
            frame = pd.concat([frame, pd.DataFrame(answers, columns=questions)], axis=1)
            frame.to_csv(stream, index=False, header=first == 0)
    return folder / "answers.csv"


def main() -> None:
    """Generate the wave, take it in, print seconds and peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        data = write_large_wave(project)
        size = data.stat().st_size / 1024**2
        begin = time.perf_counter()
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", INTAKE, folder], stderr=subprocess.DEVNULL)
        seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
    outcome = "" if done.returncode == 0 else " FAILED"
    print(f"intake of {ROWS:,} x {COLUMNS} ({size:.0f} MB .csv): {seconds:.1f} s, peak memory {peak:.2f} GB{outcome}")


if __name__ == "__main__":
    main()
