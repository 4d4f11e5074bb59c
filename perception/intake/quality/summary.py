"""What field supervisors see of each enumerator and PSU: how many interviews, how long, how complete, how often odd."""

from __future__ import annotations

import numpy as np
import pandas as pd

from perception.intake.quality.evidence import DONT_KNOW, REFUSED, Groups, Interviews
from perception.schemas import conform

COUNTED = {"near_duplicates": "near_duplicates", "straight_lining": "straight_lining", "duration": "odd_length"}
"""The checks whose listed rows have a column of their own."""


def fieldwork_summary(interviews: Interviews, rows: pd.DataFrame) -> pd.DataFrame:
    """Table `fieldwork_summary`, units with the most flagged interviews first; `rows` is table `wave_quality_rows`."""
    enumerators, psus = interviews.enumerators, interviews.psus
    each = _each_interview(interviews, rows)
    tables = [
        _by_unit("enumerator", enumerators, psus, interviews.districts, each),
        _by_unit("psu", psus, enumerators, interviews.districts, each),
    ]
    return conform(pd.concat(tables, ignore_index=True).assign(wave=interviews.wave.id), "fieldwork_summary")


def _each_interview(interviews: Interviews, rows: pd.DataFrame) -> pd.DataFrame:
    """What is counted or averaged, one row an interview that counts."""
    source, asked = interviews.column("source_row"), np.maximum(interviews.asked, 1)
    listed = {
        name: source.isin(rows.loc[rows["check"] == check, "source_row"]).to_numpy() for check, name in COUNTED.items()
    }
    return pd.DataFrame(
        {
            "minutes": interviews.known("minutes").clip(lower=0).to_numpy(dtype=np.float64),
            "dont_know": interviews.not_answered(DONT_KNOW) / asked,
            "refused": interviews.not_answered(REFUSED) / asked,
            **listed,
            "flagged": source.isin(rows["source_row"]).to_numpy(),
        }
    )


def _by_unit(by: str, part: Groups, other: Groups, districts: Groups, each: pd.DataFrame) -> pd.DataFrame:
    grouped = each[part.codes >= 0].groupby(part.codes[part.codes >= 0])
    found = grouped.agg(
        interviews=("flagged", "size"),
        minutes=("minutes", "median"),
        dont_know=("dont_know", "mean"),
        refused=("refused", "mean"),
        **{name: (name, "sum") for name in (*COUNTED.values(), "flagged")},
    )
    both = pd.DataFrame({"unit": part.codes, "other": other.codes, "district": districts.codes})
    both = both[both["unit"] >= 0]
    found["others"] = both[both["other"] >= 0].groupby("unit")["other"].nunique().reindex(found.index, fill_value=0)
    most = both.value_counts(["unit", "district"]).reset_index().drop_duplicates("unit").set_index("unit")["district"]
    names = np.array([*districts.names, None], dtype=object)
    found["district_id"] = names[most.reindex(found.index, fill_value=-1).to_numpy()]
    found = found.assign(by=by, unit=[part.names[code] for code in found.index])
    return found.sort_values(["flagged", "interviews"], ascending=False, kind="stable")
