"""What a wave is and what its indicators mean, as tables, so that later stages need no YAML."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from perception.intake.instrument import Indicator, Instrument
from perception.intake.wave_file import Wave
from perception.schemas import LEVELS, TABLES, conform


def wave_facts(responses: pd.DataFrame, design_psus: pd.DataFrame, wave: Wave, version: str) -> pd.DataFrame:
    """Table `waves` of one wave (one row); `version` is the SHA-256 over everything it is made from."""
    facts = {
        "wave": wave.id,
        "round": wave.round,
        "predecessor": wave.predecessor,
        "title": wave.title.en,
        "title_ur": wave.title.ur,
        "instrument": wave.instrument,
        "first_day": wave.dates.start.isoformat(),
        "last_day": wave.dates.end.isoformat(),
        "producer": wave.producer,
        "citation": wave.citation,
        "licence": wave.licence,
        "simulated": wave.simulated,
        "vintage": wave.geography.vintage,
        "respondents": len(responses),
        "psus": len(design_psus),
        "districts": responses["district_id"].nunique(),
        "raked_margins": ";".join("*".join(margin) for margin in wave.rake),
        "shared_psus": wave.design.shared_psus,
        "wave_version": version,
    }
    return conform(pd.DataFrame([facts]), "waves")


def raked_margins(text: str) -> list[list[str]]:
    """The margins that column raked_margins of `waves` names, each a list of columns."""
    return [margin.split("*") for margin in text.split(";") if margin]


def indicator_facts(responses: pd.DataFrame, wave: Wave, instrument: Instrument) -> pd.DataFrame:
    """Table `indicators` of one wave: every indicator and index whose questions the wave has."""
    sdg = instrument.sdg_parts
    rows: list[dict[str, object]] = [
        {
            "wave": wave.id,
            "indicator": name,
            "simulated": wave.simulated,
            "label": indicator.label.en,
            "label_ur": indicator.label.ur,
            "kind": indicator.kind,
            "unit": _unit(indicator, instrument),
            "higher_is_better": indicator.higher_is_better,
            "headline": indicator.headline,
            "sensitive": indicator.sensitive,
            "minimum_level": indicator.minimum_level,
            "question": "; ".join(instrument.questions[question].label.en for question in indicator.questions),
            "positive": _positive(indicator, instrument),
            "made_from": _made_from(indicator),
            "universe": _answers(indicator.universe.question, indicator.universe.answers)
            if indicator.universe
            else None,
            "population": indicator.population,
            "target": indicator.target,
            "sdg_16_6_2": sdg.get(name),
            **_service(name, instrument),
            "middle_answer": _middle_offered(indicator, wave, instrument),
        }
        for name, indicator in instrument.available_indicators(responses.columns).items()
    ]
    rows += [
        {
            "wave": wave.id,
            "indicator": name,
            "simulated": wave.simulated,
            "label": index.label.en,
            "label_ur": index.label.ur,
            "kind": "index",
            "higher_is_better": True,
            "headline": index.headline,
            "sensitive": False,
            "minimum_level": LEVELS[0],
            "question": "; ".join(
                f"{instrument.indicators[part].label.en} ({100 * share:.3g}%)" for part, share in index.shares.items()
            ),
            "population": index.population,
            "target": index.target,
            "weights": ";".join(f"{part}={share!r}" for part, share in index.shares.items()),
            "sdg_16_6_2": sdg.get(name),
            **_service(name, instrument),
            "middle_answer": any(
                _middle_offered(instrument.indicators[part], wave, instrument) for part in index.weights
            ),
        }
        for name, index in instrument.available_indices(responses.columns).items()
    ]
    columns = TABLES["indicators"].names
    return conform(pd.DataFrame(rows, columns=columns), "indicators")


def index_weights(indicators: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The weight of each indicator in each index that table `indicators` of one wave has."""
    declared = indicators.dropna(subset="weights")
    return {
        str(name): {part: float(weight) for part, _, weight in (term.partition("=") for term in text.split(";"))}
        for name, text in zip(declared["indicator"], declared["weights"], strict=True)
    }


def _service(indicator: str, instrument: Instrument) -> dict[str, str | None]:
    name = instrument.service_of.get(indicator)
    if name is None:
        return {}
    label = instrument.services[name].label
    return {"service": name, "service_label": label.en, "service_label_ur": label.ur}


def _unit(indicator: Indicator, instrument: Instrument) -> str | None:
    return instrument.questions[indicator.questions[0]].unit if indicator.kind != "share" else None


def _answers(question: str, answers: Sequence[str]) -> str:
    return f"{question}={'|'.join(answers)}"


def _made_from(indicator: Indicator) -> str:
    part = f"quantile {indicator.quantile:g} of " if indicator.quantile is not None else ""
    return "; ".join(
        _answers(question, indicator.positive) if indicator.positive else part + question
        for question in indicator.questions
    )


def _positive(indicator: Indicator, instrument: Instrument) -> str | None:
    if indicator.kind != "share":
        return None
    categories = instrument.questions[indicator.questions[0]].categories
    return ", ".join(categories[answer].en for answer in indicator.positive)


def _middle_offered(indicator: Indicator, wave: Wave, instrument: Instrument) -> bool:
    """Whether the wave offered the middle answer of an ordinal question that the indicator is made from."""
    for name in indicator.questions:
        question = instrument.questions[name]
        scale = list(question.categories)
        offered = wave.variables[name].map.values() if name in wave.variables else ()
        if question.type == "ordinal" and len(scale) % 2 and scale[len(scale) // 2] in offered:
            return True
    return False
