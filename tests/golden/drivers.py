"""Step 1 of the reference numbers for tests/test_driver_golden.py: answers of a simulated wave as CSV, for drivers.R.

    python tests/golden/drivers.py FOLDER && Rscript tests/golden/drivers.R FOLDER

from the root of the repository writes FOLDER/kp-2024.csv (not committed) and then tests/golden/driver_estimates.csv. A
category is written with its place on its scale in front (`2:satisfied`), so that R sorts it as the scale does.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from perception import wave_tables  # noqa: E402
from perception.intake.declarations import AGE_GROUPS  # noqa: E402
from perception.intake.raw import raw_responses  # noqa: E402
from perception.project import Project, open_wave  # noqa: E402

WAVE, MODEL = "kp-2024", "satisfied_health"


def main(folder: Path) -> None:
    """Write outcome, drivers and controls of those who used the service, with the design; empty without an answer."""
    project = Project(ROOT)
    inputs = open_wave(project, WAVE)
    tidy, psus, _, _ = wave_tables.tidy_wave(project, inputs, raw_responses(inputs.wave, inputs.folder))
    if missing := set(psus["psu"]) - set(tidy["psu"]):
        raise SystemExit(f"{WAVE}: PSUs without a response are not in the file that R reads: {sorted(missing)}")
    instrument = inputs.instrument
    model = instrument.driver_models[MODEL]
    frame = pd.DataFrame(
        {
            "variance_stratum": tidy["psu"].map(psus.set_index("psu")["variance_stratum"]),
            "psu": tidy["psu"],
            "weight": tidy["weight"],
            "used": tidy["health_used"],
        }
    )
    for variable in ("health_satisfaction", *(predictor.variable for _, predictor in model.predictors())):
        scale = AGE_GROUPS if variable == "age_group" else instrument.scale(variable)
        places = {category: f"{place}:{category}" for place, category in enumerate(scale)}
        frame[variable] = tidy[variable].map(places)
    frame.to_csv(folder / f"{WAVE}.csv", index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
