"""The quality record of a wave: what was counted, what was done about the design, what a reader should know.

These checks never block a wave; what cannot be used at all is refused earlier, by `harmonise`.
"""

from __future__ import annotations

import pandas as pd

from perception.intake.declarations import REASON_SUFFIX, REASONS
from perception.intake.instrument import Instrument
from perception.intake.wave_file import Wave
from perception.schemas import conform

MANY_DONT_KNOW = 0.20
FEW_RESPONSES = 30
UNEVEN_WEIGHTS = 6.0


def wave_quality(
    raw: pd.DataFrame, responses: pd.DataFrame, design_psus: pd.DataFrame, wave: Wave, instrument: Instrument
) -> pd.DataFrame:
    """Table `wave_quality`: one row per check and the wave, stratum, district or question it looked at."""
    rows: list[dict[str, object]] = []

    def add(check: str, level: str, unit: str, value: float, threshold: float | None, warn: bool, message: str) -> None:
        verdict = "warn" if warn else "pass"
        found = {"check": check, "level": level, "unit": unit, "value": value, "threshold": threshold}
        rows.append({"wave": wave.id, **found, "verdict": verdict, "message": message})

    kept, total = len(responses), len(raw)
    add("rows that count", "wave", wave.id, kept, None, False, f"{kept} of {total} rows count under `rows` of wave.yml")
    empty = int((design_psus["responses"] == 0).sum())
    add(
        "PSUs without a response",
        "wave",
        wave.id,
        empty,
        0,
        empty > 0,
        f"{empty} of {len(design_psus)} sampled PSUs have no response",
    )

    weight = responses["weight"]
    uneven = float(weight.max() / weight.median())
    add(
        "weights, largest over median",
        "wave",
        wave.id,
        uneven,
        UNEVEN_WEIGHTS,
        uneven > UNEVEN_WEIGHTS,
        f"the largest weight is {uneven:.1f} times the median",
    )
    kish = float(len(weight) * (weight**2).sum() / weight.sum() ** 2)
    add(
        "weights, Kish design effect",
        "wave",
        wave.id,
        kish,
        None,
        False,
        f"unequal weights alone cost a factor of {kish:.2f} in variance",
    )

    for row in design_psus[design_psus["single_psu"].notna()].itertuples():
        done = f"was joined with {row.variance_stratum}" if row.single_psu == "collapsed" else "was centred at zero"
        add("stratum with one PSU", "stratum", str(row.stratum), 1, 2, True, f"for variances it {done}")
    for district, count in responses["district_id"].value_counts().sort_index().items():
        if count < FEW_RESPONSES:
            add("few responses", "district", str(district), count, FEW_RESPONSES, True, f"{count} responses")

    for name in instrument.questions:
        if name in responses:
            reasons = responses[name + REASON_SUFFIX] if name + REASON_SUFFIX in responses else responses[name]
            counts = reasons.value_counts().reindex(REASONS, fill_value=0)
            asked = kept - counts["not_asked"]
            unknown = counts["dont_know"] / asked if asked else 0.0
            parts = f"{counts['dont_know']} did not know, {counts['refused']} refused, {counts['missing']} missing"
            message = f"asked of {asked}: {parts}"
            add("don't know", "question", name, float(unknown), MANY_DONT_KNOW, unknown > MANY_DONT_KNOW, message)
    return conform(pd.DataFrame(rows), "wave_quality")
