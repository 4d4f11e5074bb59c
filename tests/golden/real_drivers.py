"""Step 1 of the reference numbers for the driver models in tests/test_real_waves.py: their rows as CSV, for R.

    python tests/golden/real_drivers.py FOLDER WAVES && Rscript tests/golden/real_drivers.R FOLDER

from the root of the repository; WAVES holds the surveys' own files by wave. Writes FOLDER/<wave>.csv (respondents:
never committed) and then tests/golden/real_driver_effects.csv (effects only). The answer to the outcome's question is
written as given; predictors are as the model has them, their reference first (`0:rural`).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from perception import wave_tables  # noqa: E402
from perception.drivers.wave_drivers import predictor_answers  # noqa: E402
from perception.intake.raw import raw_responses  # noqa: E402
from perception.project import Project, open_wave  # noqa: E402
from perception.wave_folders import add_wave  # noqa: E402

MODELS = {"mics-punjab-2018": "safety", "mics-punjab-2014": "life"}


def main(folder: Path, waves: Path) -> None:
    """Write the rows of both models."""
    with tempfile.TemporaryDirectory() as temporary:
        project = Project(Path(temporary))
        project.waves.mkdir(parents=True)
        for name in ("reference", "instruments"):
            (project.root / "data/raw" / name).symlink_to(ROOT / "data/raw" / name)
        for wave, model in MODELS.items():
            add_wave(project, ROOT / "recipes" / wave, waves / wave)
            inputs = open_wave(project, wave)
            tidy, psus, _, _ = wave_tables.tidy_wave(project, inputs, raw_responses(inputs.wave, inputs.folder))
            declared = inputs.instrument.driver_models[model]
            indicator = inputs.instrument.indicators[declared.outcome]
            frame = pd.DataFrame(
                {
                    "variance_stratum": tidy["psu"].map(psus.set_index("psu")["variance_stratum"]),
                    "psu": tidy["psu"],
                    "weight": tidy["weight"],
                    "answer": tidy[indicator.questions[0]],
                }
            )
            for _, predictor in declared.predictors():
                answers = predictor_answers(predictor, tidy, inputs.instrument)
                order = [predictor.reference or answers.cat.categories[0], *answers.cat.categories]
                places = {category: f"{place}:{category}" for place, category in enumerate(dict.fromkeys(order))}
                frame[predictor.variable] = answers.astype("str").map(places)
            frame.to_csv(folder / f"{wave}.csv", index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
