"""Change of an outcome's share between two waves, split into what drivers' levels and what their effects contribute.

The split is arithmetic on two regressions: it says what goes with a change, not what caused it. Which predictors enter
is declared in the instrument's driver models; how they are read from responses is the business of `wave_drivers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from perception.drivers.wave_drivers import indicator_values, is_available, predictor_answers, predictor_label
from perception.errors import InputError, Problem
from perception.estimation.contrasts import significance
from perception.estimation.design import Design, design_from_psus
from perception.estimation.gaps import adjusted_p_values
from perception.estimation.intervals import satterthwaite
from perception.estimation.jackknife import LeftOut, left_out, psu_cross_products
from perception.estimation.replicates import Scheme
from perception.estimation.trends import BACKGROUND_OF, Verdicts, declared_verdicts, shared_psus, verdict_on
from perception.intake.declarations import BACKGROUND
from perception.intake.instrument import DriverModel, Instrument
from perception.schemas import TABLES, conform

Floats = NDArray[np.float64]
PARTS = ("endowments", "effects", "interaction")
COMPOSITION, LEVEL, ALL = "composition", "level", "all"
NOT_DRIVERS = (COMPOSITION, LEVEL, ALL)
"""What stands for more than one driver in the column of that name."""

COLLINEAR = 1e-10
"""Smallest eigenvalue of a solvable matrix of cross-products whose columns have length one."""

RARE = 0.01
"""Share of respondents up to which those who gave an answer that does not compare are left out, not the variable."""


@dataclass(frozen=True)
class Block:
    """Consecutive columns of both models that stand for a `variable`: one score, or all its `categories` but one.

    `driver` is what they are reported under: several variables may go together.
    """

    variable: str
    driver: str
    columns: int
    categories: bool


@dataclass(frozen=True)
class Respondents:
    """One wave's rows of a model: `outcome` (n; 0 or 1), `columns` (n x k, without a constant), `weights` (n).

    `psu_rows` (n) are the rows of `design.psus` that they belong to.
    """

    outcome: Floats
    columns: Floats
    weights: Floats
    psu_rows: NDArray[np.intp]
    design: Design

    @property
    def psus(self) -> int:
        """PSUs with a row."""
        return len(np.unique(self.psu_rows))

    @property
    def df(self) -> int:
        """PSUs with a row less strata with a row."""
        used = np.unique(self.psu_rows)
        return len(used) - len(np.unique(self.design.stratum_codes[used]))

    def cross_products(self) -> Floats:
        """Of (1, columns, outcome), weighted, by PSU: n_psus x (k + 2) x (k + 2)."""
        values = np.column_stack([self.columns, self.outcome])
        return psu_cross_products(values, self.weights, self.psu_rows, len(self.design.psus))


def decompose_change(
    before: Respondents,
    after: Respondents,
    blocks: Sequence[Block],
    shared: pd.DataFrame | None = None,
    where: str = "change",
) -> pd.DataFrame:
    """The threefold Oaxaca-Blinder decomposition of the change of a share, after less before.

    With weighted means x and coefficients b of the weighted linear probability model of each wave: endowments
    (x_after - x_before) b_before, effects x_before (b_after - b_before), interaction (x_after - x_before)
    (b_after - b_before), summed over the columns of each driver; the three sums over drivers and constant are the
    change of the weighted mean, exactly (Daymont and Andrisani 1984; Jann 2008). A logit's parts would not add up
    without an approximation, and by driver would depend on the order in which distributions are exchanged (Fairlie
    2005); its average effects are close to the linear coefficients where shares are not near 0 or 1.

    Effects of categories are taken from their mean over all categories, the reference included (Yun 2005), so that
    parts do not depend on the reference. Those of a score are taken from its zero, which `level` (the constant) then
    stands at: another zero moves effects between the two, and nothing else.

    Variances are those of a stratified jackknife by PSU over both waves, which are independent unless `shared` (see
    `trends.shared_psus`) lists PSUs of both: these are left out of both at once. Where their strata differ in size the
    deviation of `after` is rescaled, so that each wave keeps its own variance; where only part of a stratum is shared
    the covariance is taken a little too small.

    Returns part, driver, estimate, se, low, high (proportion; 95 %, t), p, df (Satterthwaite's, or the smaller of both
    waves with `shared`): a row per part and driver of `blocks`; `level` under effects (its other parts are 0); `all`
    under each part; and part `change`. InputError, with `where`, when columns are collinear in a wave, or without one
    of its PSUs, or when a wave has fewer degrees of freedom than coefficients.
    """
    sides = before, after
    products = [side.cross_products() for side in sides]
    without = [left_out(product, side.design) for product, side in zip(products, sides, strict=True)]
    if problems := [
        problem
        for name, side, product, replicates in zip(("before", "after"), sides, products, without, strict=True)
        for problem in _unsolvable(side, product.sum(axis=0), replicates, blocks, f"{where}, {name}")
    ]:
        raise InputError(problems)
    full = [product.sum(axis=0) for product in products]
    runs = _replicates(full, without, shared)
    (means_before, slopes_before), (means_after, slopes_after) = (
        _fit(np.concatenate([total[None], sums])[rows])
        for total, sums, rows in zip(full, runs.sums, runs.rows, strict=True)
    )
    to_means, to_slopes, drivers = _all_categories(blocks)
    level, slope = means_before @ to_means.T, slopes_before @ to_slopes.T
    more, steeper = means_after @ to_means.T - level, slopes_after @ to_slopes.T - slope
    names = list(dict.fromkeys(drivers))
    membership = np.array([[driver == name for name in names] for driver in drivers], dtype=np.float64)
    parts = np.stack([more * slope, level * steeper, more * steeper], axis=1) @ membership
    sums = parts.sum(axis=2, keepdims=True)
    values = np.concatenate([parts, sums], axis=2).reshape(len(parts), -1)
    values = np.column_stack([values, sums.sum(axis=(1, 2))])
    variance = runs.scheme.variances(values[1:], values[0])
    df_before, df_after = (np.full(len(variance), float(side.df)) for side in sides)
    if shared is None:
        count = len(without[0].rows)
        split = values[1 : count + 1], values[count + 1 :]
        each = [part.scheme.variances(own, values[0]) for part, own in zip(without, split, strict=True)]
        df = satterthwaite(each[0], each[1], df_before, df_after)
    else:
        df = np.minimum(df_before, df_after)
    labels = pd.MultiIndex.from_product([PARTS, [*names, ALL]]).append(pd.MultiIndex.from_tuples([("change", ALL)]))
    table = labels.to_frame(index=False, name=["part", "driver"]).astype("str")
    numbers = significance(values[0], variance, df, unknown=np.zeros(len(df), dtype=bool)).rename(
        columns={"p_value": "p"}
    )
    table = table.assign(estimate=values[0], **{name: numbers[name] for name in ("se", "low", "high", "p")}, df=df)
    nothing = (table["driver"] == LEVEL) & (table["part"] != "effects")
    return table[~nothing].reset_index(drop=True)


@dataclass(frozen=True)
class _Replicates:
    """Every run of both waves, the whole sample first: `rows` of (whole, *`sums`) that each wave has in it."""

    sums: list[Floats]
    rows: list[NDArray[np.intp]]
    scheme: Scheme


def _replicates(full: list[Floats], without: list[LeftOut], shared: pd.DataFrame | None) -> _Replicates:
    """Runs that leave a PSU out of one wave, and those of `shared` PSUs out of both."""
    old, new = without
    counts = len(old.rows), len(new.rows)
    sums = [old.sums, new.sums.copy()]
    alone = [np.ones(count, dtype=bool) for count in counts]
    pairs = np.empty((2, 0), dtype=np.intp)
    if shared is not None:
        pairs = np.stack(
            [
                pd.Index(side.rows).get_indexer(pd.Index(shared[name]))
                for side, name in zip(without, ("row_before", "row_after"), strict=True)
            ]
        )
        pairs = pairs[:, (pairs >= 0).all(axis=0)]
        pairs = pairs[:, (old.rscales[pairs[0]] > 0) & (new.rscales[pairs[1]] > 0)]
        rescale = np.sqrt(new.rscales[pairs[1]] / old.rscales[pairs[0]])[:, None, None]
        sums[1][pairs[1]] = full[1] + rescale * (new.sums[pairs[1]] - full[1])
        for own, paired in zip(alone, pairs, strict=True):
            own[paired] = False
    ones, others = np.flatnonzero(alone[0]), np.flatnonzero(alone[1])
    whole = np.zeros(1, dtype=np.intp)
    rows = [
        np.concatenate([whole, ones + 1, np.zeros_like(others), pairs[0] + 1]),
        np.concatenate([whole, np.zeros_like(ones), others + 1, pairs[1] + 1]),
    ]
    rscales = np.concatenate([old.rscales[ones], new.rscales[others], old.rscales[pairs[0]]])
    return _Replicates(sums, rows, Scheme(1.0, rscales, mse=True))


def _fit(products: Floats) -> tuple[Floats, Floats]:
    """Weighted means of (1, columns) and least-squares coefficients, each r x (k + 1), from their cross-products."""
    means = products[:, 0, :-1] / products[:, :1, 0]
    slopes = np.linalg.solve(products[:, :-1, :-1], products[:, :-1, -1:])[..., 0]
    return means, np.asarray(slopes)


def _all_categories(blocks: Sequence[Block]) -> tuple[Floats, Floats, list[str]]:
    """Matrices from (1, columns) to the constant, the scores and all categories, of means and of coefficients.

    Coefficients of categories become deviations from their mean, which goes to the constant. Also returns which driver
    each row belongs to.
    """
    width = 1 + sum(block.columns for block in blocks)
    identity = np.eye(width)
    means, slopes, drivers = [identity[:1]], [identity[:1].copy()], [LEVEL]
    start = 1
    for block in blocks:
        own = identity[start : start + block.columns]
        start += block.columns
        if block.categories:
            mean = own.sum(axis=0, keepdims=True) / (block.columns + 1)
            means.append(np.vstack([identity[:1] - own.sum(axis=0), own]))
            slopes.append(np.vstack([np.zeros((1, width)), own]) - mean)
            slopes[0] += mean
        else:
            means.append(own)
            slopes.append(own)
        drivers += [block.driver] * len(means[-1])
    # `level` stands last, as a reader meets it after what is explained.
    order = [*range(1, len(drivers)), 0]
    return np.vstack(means)[order], np.vstack(slopes)[order], [drivers[row] for row in order]


def _unsolvable(
    side: Respondents, full: Floats, without: LeftOut, blocks: Sequence[Block], where: str
) -> Iterator[Problem]:
    """Why the coefficients of a wave cannot be worked out, or their variance not."""
    remedy = "Leave a variable out of the driver model, or merge its categories."
    coefficients = len(full) - 1
    if side.df < coefficients:
        what = f"{side.psus} PSUs with cases leave {side.df} degrees of freedom for {coefficients} coefficients"
        yield Problem(where, what, remedy)
        return
    lengths = np.sqrt(np.diag(full)[:-1])
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    values, vectors = np.linalg.eigh(scale[:, None] * full[:-1, :-1] * scale)
    if values[0] < COLLINEAR:
        variables = np.repeat(["constant", *(b.variable for b in blocks)], [1, *(b.columns for b in blocks)])
        involved = dict.fromkeys(variables[np.abs(vectors[:, 0]) > 1e-3].tolist())
        yield Problem(where, f"{', '.join(involved)} determine each other (collinear)", remedy)
        return
    smallest = np.linalg.eigvalsh(scale[:, None] * without.sums[:, :-1, :-1] * scale)[:, 0]
    if len(fatal := without.rows[smallest < COLLINEAR]):
        names = ", ".join(side.design.psus["psu"].iloc[fatal[:5]].astype("str"))
        yield Problem(where, f"without PSU {names} columns determine each other (collinear)", remedy)


@dataclass(frozen=True)
class DriverSample:
    """What decomposing a change needs of one wave's last complete run: two tables, and the instrument as it was."""

    wave: str
    responses: pd.DataFrame
    design_psus: pd.DataFrame
    instrument: Instrument


def response_columns(instrument: Instrument) -> list[str]:
    """The columns of `responses` that the instrument's driver models are made from."""
    columns = dict.fromkeys(["wave", "psu", "weight"])
    for model in instrument.driver_models.values():
        for variable in (model.outcome, *(predictor.variable for _, predictor in model.predictors())):
            indicator = instrument.indicators.get(variable)
            columns |= dict.fromkeys(sorted(indicator.needed_questions) if indicator else [variable])
    return list(columns)


def change_decomposition(
    waves: pd.DataFrame, comparability: pd.DataFrame, sample: Callable[[str], DriverSample]
) -> pd.DataFrame:
    """Table `change_decomposition`: every driver model of every wave whose predecessor is among `waves` too.

    `waves` and `comparability` are the tables of that name; `sample` gives what is needed of a wave, so that no more
    than two are in memory. InputError when PSUs are declared as shared and none is.
    """
    compared = waves[waves["predecessor"].isin(waves["wave"])]
    simulated = set(waves.loc[waves["simulated"].astype(bool), "wave"])
    tables = [
        wave_change_decomposition(
            sample(str(row.predecessor)),
            sample(str(row.wave)),
            comparability[comparability["wave"] == row.wave],
            bool(row.shared_psus),
        ).assign(simulated=not simulated.isdisjoint({row.wave, row.predecessor}))
        for row in compared.itertuples()
    ]
    empty = pd.DataFrame(columns=TABLES["change_decomposition"].names)
    return conform(pd.concat(tables, ignore_index=True) if tables else empty, "change_decomposition")


def wave_change_decomposition(
    before: DriverSample, after: DriverSample, comparability: pd.DataFrame, shared: bool = False
) -> pd.DataFrame:
    """Rows of `change_decomposition`, without `simulated`, of the wave `after` since the wave `before`.

    `comparability` is the table of that name of `after`. A predictor that is a break, or that one wave does not have,
    is left out of both models and named; so is one with an answer that fewer than two PSUs of either wave have, unless
    hardly anybody gave it: then these respondents are left out. Where nothing can be decomposed (the outcome is a
    break, no driver compares, the models cannot be solved) one row without numbers says why in `obstacle`.
    """
    declared = declared_verdicts(comparability)
    designs = design_from_psus(before.design_psus), design_from_psus(after.design_psus)
    pairs = shared_psus(*designs, before.wave, after.wave) if shared else None
    here = after.instrument.available_indicators(after.responses.columns)
    rows = [
        _model_rows(name, model, (before, after), designs, declared, pairs)
        for name, model in after.instrument.driver_models.items()
        if model.outcome in here
    ]
    names = [name for name in TABLES["change_decomposition"].names if name != "simulated"]
    return pd.concat([pd.DataFrame(columns=names), *rows], ignore_index=True)[names]


@dataclass
class _Chosen:
    """The predictors of a model that compare (kind and label of each), their answers in both waves, and what is amiss.

    `left_out` and `recoded` name predictors and answers, with the reason.
    """

    kinds: dict[str, str]
    labels: dict[str, str]
    answers: list[pd.DataFrame]
    left_out: list[str]
    recoded: list[str]

    def leave_out(self, variable: str, why: str) -> None:
        """Without a predictor from now on."""
        del self.kinds[variable]
        self.answers = [answers.drop(columns=variable) for answers in self.answers]
        self.left_out.append(f"{self.labels[variable]} ({why})")


def _model_rows(
    name: str,
    model: DriverModel,
    samples: tuple[DriverSample, DriverSample],
    designs: tuple[Design, Design],
    declared: Verdicts,
    shared: pd.DataFrame | None,
) -> pd.DataFrame:
    before, after = samples
    indicator = after.instrument.indicators[model.outcome]
    facts: dict[str, str | None] = {
        "wave": after.wave,
        "predecessor": before.wave,
        "model": name,
        "outcome": model.outcome,
    }
    verdict, reason = verdict_on(declared, "indicator", model.outcome)
    if verdict == "break":
        return _undecomposed(facts, str(reason))
    chosen = _comparable(model, samples, declared)
    outcomes = [indicator_values(indicator, sample.responses) for sample in samples]
    complete = _common_answers(chosen, outcomes, samples)
    facts |= {"left_out": "; ".join(chosen.left_out) or None, "recoded": "; ".join(chosen.recoded) or None}
    if "driver" not in chosen.kinds.values():
        return _undecomposed(facts, "no driver compares")
    answers = [rows[there] for rows, there in zip(chosen.answers, complete, strict=True)]
    sides = [
        _respondents(sample.responses[there], outcome[there], rows, design)
        for sample, there, outcome, rows, design in zip(samples, complete, outcomes, answers, designs, strict=True)
    ]
    blocks = [
        Block(variable, variable if kind == "driver" else COMPOSITION, *_block(answers[0][variable]))
        for variable, kind in chosen.kinds.items()
    ]
    where = f"wave {after.wave} since {before.wave}, driver model {name} of instrument {after.instrument.id}"
    try:
        table = decompose_change(sides[0], sides[1], blocks, shared, where)
    except InputError as error:
        return _undecomposed(facts, "; ".join(f"{problem.what}. {problem.remedy}" for problem in error.problems))
    fewest = {
        variable: min(int(rows[variable].value_counts().min()) for rows in answers)
        for variable in chosen.kinds
        if isinstance(answers[0][variable].dtype, pd.CategoricalDtype)
    }
    return table.assign(
        **facts,
        label=table["driver"].map(chosen.labels).fillna(table["driver"]),
        fewest=table["driver"].map(fewest),
        p_adjusted=adjusted_p_values(table["p"].where(~table["driver"].isin(NOT_DRIVERS)), [table["part"]]),
        n_before=len(sides[0].outcome),
        n_after=len(sides[1].outcome),
        n_dropped_before=int((~complete[0]).sum()),
        n_dropped_after=int((~complete[1]).sum()),
        psus=min(side.psus for side in sides),
    )


def _undecomposed(facts: dict[str, str | None], obstacle: str) -> pd.DataFrame:
    return pd.DataFrame([{"part": "change", "driver": ALL, "label": ALL, "obstacle": obstacle, **facts}])


def _comparable(model: DriverModel, samples: tuple[DriverSample, DriverSample], declared: Verdicts) -> _Chosen:
    """The predictors that both waves have and that are no break, with their answers."""
    instrument = samples[1].instrument
    labels = {p.variable: predictor_label(p.variable, instrument) for _, p in model.predictors()}
    chosen = _Chosen({}, labels, [pd.DataFrame(index=sample.responses.index) for sample in samples], [], [])
    for kind, predictor in model.predictors():
        variable = predictor.variable
        lacking = [s.wave for s in samples if not is_available(predictor, s.responses, instrument)]
        verdict, reason = verdict_on(declared, *_compared_as(variable, instrument))
        if lacking or verdict == "break":
            why = f"no answers in {' and '.join(lacking)}" if lacking else reason
            chosen.left_out.append(f"{labels[variable]} ({why})")
            continue
        chosen.kinds[variable] = kind
        for answers, sample in zip(chosen.answers, samples, strict=True):
            answers[variable] = predictor_answers(predictor, sample.responses, instrument)
        if verdict == "recoded":
            chosen.recoded.append(f"{labels[variable]} ({reason})")
    return chosen


def _compared_as(variable: str, instrument: Instrument) -> tuple[str, str]:
    """Kind and name of a predictor in table `comparability`."""
    if variable in instrument.indicators:
        return "indicator", variable
    name = BACKGROUND_OF.get(variable, variable)
    return ("background" if name in BACKGROUND else "question"), name


def _common_answers(
    chosen: _Chosen, outcomes: list[pd.Series], samples: tuple[DriverSample, DriverSample]
) -> list[NDArray[np.bool_]]:
    """The rows of each wave that have the outcome and every answer; `chosen` keeps what both waves have.

    An answer counts when two PSUs of each wave have it: a coefficient that hangs on one PSU has no jackknife variance.
    """
    while True:
        complete = [
            (outcome.notna() & answers.notna().all(axis=1)).to_numpy()
            for outcome, answers in zip(outcomes, chosen.answers, strict=True)
        ]
        psus = [sample.responses["psu"][there] for sample, there in zip(samples, complete, strict=True)]
        if not any(_keep_common(chosen, variable, complete, psus) for variable in list(chosen.kinds)):
            return complete


def _keep_common(chosen: _Chosen, variable: str, complete: list[NDArray[np.bool_]], psus: list[pd.Series]) -> bool:
    """Leave out the answers to a predictor that the waves do not share, or the predictor; whether anything was."""
    given = [answers.loc[there, variable] for answers, there in zip(chosen.answers, complete, strict=True)]
    if not isinstance(given[0].dtype, pd.CategoricalDtype):
        if all(values.nunique() > 1 for values in given):
            return False
        chosen.leave_out(variable, "all respondents of a wave answer alike")
        return True
    spread = [psu.groupby(values, observed=False).nunique() for psu, values in zip(psus, given, strict=True)]
    categories = list(given[0].cat.categories)
    common = [category for category in categories if min(psus_of[category] for psus_of in spread) >= 2]
    others = [name for name in categories if name not in common and max(psus_of[name] for psus_of in spread) > 0]
    if len(common) < 2 or max(values.isin(others).mean() for values in given) > RARE:
        names = ", ".join(others) or "but one"
        chosen.leave_out(variable, f"answers {names} are not found in two PSUs of both waves")
        return True
    for answers in chosen.answers:
        answers[variable] = answers[variable].cat.set_categories(common)
    if others:
        why = "not found in two PSUs of both waves"
        chosen.left_out.append(f"{chosen.labels[variable]}: respondents who answer {', '.join(others)} ({why})")
    return bool(others)


def _block(values: pd.Series) -> tuple[int, bool]:
    """How many columns a predictor has in a model, and whether they are categories."""
    categories = isinstance(values.dtype, pd.CategoricalDtype)
    return (len(values.cat.categories) - 1 if categories else 1), categories


def _respondents(responses: pd.DataFrame, outcome: pd.Series, answers: pd.DataFrame, design: Design) -> Respondents:
    columns = [
        (values.cat.codes.to_numpy()[:, None] == np.arange(1, len(values.cat.categories))).astype(np.float64)
        if isinstance(values.dtype, pd.CategoricalDtype)
        else values.to_numpy(np.float64)[:, None]
        for _, values in answers.items()
    ]
    rows = pd.Index(design.psus["psu"]).get_indexer(responses["psu"])
    return Respondents(
        outcome.to_numpy(np.float64), np.hstack(columns), responses["weight"].to_numpy(np.float64), rows, design
    )
