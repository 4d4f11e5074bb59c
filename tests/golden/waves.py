"""Step 1 of the reference numbers computed on simulated waves: their responses as CSV, for waves.R and oaxaca.R.

    python tests/golden/waves.py FOLDER && Rscript tests/golden/waves.R FOLDER && Rscript tests/golden/oaxaca.R FOLDER

from the root of the repository writes FOLDER/<wave>.csv (a megabyte or two each, not committed) and then
tests/golden/wave_estimates.csv (for tests/test_wave_golden.py) and tests/golden/oaxaca_parts.csv (for
tests/test_change_decomposition.py). The CSV has answers as they were given: R works out the indicators itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from perception import wave_tables  # noqa: E402
from perception.intake.raw import raw_responses  # noqa: E402
from perception.project import Project, open_wave  # noqa: E402

WAVES = ("kp-2018", "punjab-2024", "kp-2021", "kp-2024")
SERVICES = ("health", "primary_school", "secondary_school", "water", "electricity", "waste", "identity")
BACKGROUND = ("sex", "urban", "age_group", "education", "wealth")
QUESTIONS = (
    *("district_satisfaction", "safety_after_dark", "health_wait"),
    *(f"{service}_{what}" for service in SERVICES for what in ("used", "satisfaction")),
    *(f"health_{what}" for what in ("access", "affordability", "facilities", "equality", "courtesy")),
    *("local_government_responds", "discrimination", "complaint_made"),
)


def main(folder: Path) -> None:
    """Write the responses of each wave with the variance stratum of their PSU and the province of their district."""
    for wave in WAVES:
        project = Project(ROOT)
        inputs = open_wave(project, wave)
        tidy, psus, _, _ = wave_tables.tidy_wave(project, inputs, raw_responses(inputs.wave, inputs.folder))
        if missing := set(psus["psu"]) - set(tidy["psu"]):
            raise SystemExit(f"{wave}: PSUs without a response are not in the file that R reads: {sorted(missing)}")
        strata = psus.set_index("psu")["variance_stratum"]
        frame = pd.DataFrame(
            {
                "district_id": tidy["district_id"],
                "province_id": tidy["district_id"].map(inputs.units.set_index("district_id")["province_id"]),
                "variance_stratum": tidy["psu"].map(strata),
                **{name: tidy[name] for name in ("psu", "weight", *BACKGROUND)},
                **{name: tidy[name] for name in QUESTIONS if name in tidy},
            }
        )
        frame.to_csv(folder / f"{wave}.csv", index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
