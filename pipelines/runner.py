"""Running waves from the command line: the same jobs that the Dagster UI runs, with progress and a plain summary."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from threading import Thread

import dagster as dg
import pandas as pd
import pyarrow.parquet as pq
import yaml

from assets.tables import waves_partitions
from perception.errors import InputError
from perception.geography import load_gazetteer
from perception.intake.wave_file import WAVE_ID_PATTERN, load_wave
from perception.processes import FEW, SPAWN, cores, lent, new_processes
from perception.project import Project
from perception.publication_record import forget_publication, record_publication
from perception.publish import project_site
from pipelines import event_log
from pipelines.definitions import build_defs
from pipelines.unchanged import publication_inputs, publication_is_unchanged, wave_is_unchanged

PUBLISHING = "publishing"
UNCHANGED = "unchanged"
SIDE_BY_SIDE = min(2, cores())
"""Waves made at the same time, each in a process of its own."""

LOWEST_SHOWN = 3
Progress = Callable[[str, str, int, int], None]
"""Called with (wave or `publishing`, stage just finished or a message, stages finished, stages in all).

The message is `UNCHANGED`, of no stages, where nothing had to be made."""

DAGSTER_YAML = Path(__file__).with_name("dagster.yaml")


@dataclass(frozen=True)
class RunFailure:
    """What stopped: the wave (or `publishing`), the asset, and the cause with its remedy."""

    wave: str
    asset: str
    cause: str


def open_instance(project: Project) -> dg.DagsterInstance:
    """The project's Dagster instance, kept under internal/dagster with telemetry switched off."""
    project.make_folders()
    home = project.internal / "dagster"
    home.mkdir(exist_ok=True)
    text = DAGSTER_YAML.read_text(encoding="utf-8") + yaml.safe_dump(event_log.settings(home))
    (home / "dagster.yaml").write_text(text, encoding="utf-8")
    os.environ["DAGSTER_HOME"] = str(home)
    return dg.DagsterInstance.get()


def run_waves(project: Project, waves: list[str], progress: Progress) -> list[RunFailure]:
    """Materialise each wave, then publish; a wave that fails keeps its last good version and the others go on.

    A script that calls this, or `update`, needs the guard `if __name__ == "__main__"`: processes are started.
    """
    with open_instance(project) as instance, _side_by_side(progress) as pool:
        failures = _make_waves(project, instance, waves, progress, pool)
        return [*failures, *_publish(project, instance, progress, pool)]


def update(project: Project, progress: Progress) -> list[RunFailure]:
    """As `run_waves` of all waves, without what is made from the same as in its last complete run."""
    with open_instance(project) as instance, _side_by_side(progress) as pool:
        failures = _make_waves(project, instance, project.wave_ids(), progress, pool, unless=wave_is_unchanged)
        if publication_is_unchanged(project):
            progress(PUBLISHING, UNCHANGED, 0, 0)
            return failures
        return failures + _publish(project, instance, progress, pool)


def _make_waves(
    project: Project,
    instance: dg.DagsterInstance,
    waves: list[str],
    progress: Progress,
    pool: ProcessPoolExecutor,
    unless: Callable[[Project, str], bool] = lambda *_: False,
) -> list[RunFailure]:
    misnamed = [wave for wave in waves if not re.fullmatch(WAVE_ID_PATTERN, wave)]
    remedy = "Rename the folder, and its id in wave.yml, to lower-case letters, digits and single hyphens."
    failures = [RunFailure(wave, "raw_responses", f"{wave!r} cannot be a wave id. {remedy}") for wave in misnamed]
    fit = [wave for wave in waves if wave not in misnamed]
    instance.add_dynamic_partitions(str(waves_partitions.name), fit)
    before = _predecessors(project, fit)
    waiting = _predecessors_first(before)
    running: dict[Future[list[RunFailure]], str] = {}
    while waiting or running:
        ready = []
        for wave in list(waiting):
            if before[wave] in {*waiting[: waiting.index(wave)], *running.values()}:
                continue
            if unless(project, wave):
                waiting.remove(wave)
                progress(wave, UNCHANGED, 0, 0)
            else:
                ready.append(wave)
        if len(ready) == 1 and not running:  # another process would only have to be started
            waiting.remove(ready[0])
            _get_ready(project, pool)
            failures += _run_job(project, instance, "wave_job", ready[0], progress)
            continue
        for wave in ready[: SIDE_BY_SIDE - len(running)]:
            waiting.remove(wave)
            running[_submitted(pool, project, wave)] = wave
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            failures += _outcome(future, running.pop(future))
    return failures


@contextmanager
def _side_by_side(progress: Progress) -> Iterator[ProcessPoolExecutor]:
    """Processes that make waves side by side; what they report goes to `progress`. None starts before it is needed."""
    reports = SPAWN.SimpleQueue()

    def listen() -> None:
        while (report := reports.get()) is not None:
            progress(*report)

    listener = Thread(target=listen)
    listener.start()
    try:
        with new_processes(partial(_report_to, reports)) as pool:
            yield pool
    finally:
        reports.put(None)
        listener.join()


def _report_to(reports: SimpleQueue[tuple[str, str, int, int]]) -> None:
    """In a process of `_side_by_side`: where `_make_wave` reports to. A queue cannot be handed over with a task."""
    global _reports
    _reports = reports


_reports: SimpleQueue[tuple[str, str, int, int]]


def _make_wave(project: Project, wave: str) -> list[RunFailure]:
    """Make a wave in a process of `_side_by_side`."""
    with dg.DagsterInstance.get() as instance:
        return _run_job(project, instance, "wave_job", wave, lambda *report: _reports.put(report))


def _submitted(pool: ProcessPoolExecutor, project: Project, wave: str) -> Future[list[RunFailure]]:
    try:
        return pool.submit(_make_wave, project, wave)
    except BrokenProcessPool as error:  # since the other wave's process ended
        failed: Future[list[RunFailure]] = Future()
        failed.set_exception(error)
        return failed


def _outcome(future: Future[list[RunFailure]], wave: str) -> list[RunFailure]:
    try:
        return future.result()
    except BrokenProcessPool:
        cause = "a process that made waves was ended from outside, perhaps for want of memory. "
        cause += f"Run it by itself: perception run --wave {wave}."
        return [RunFailure(wave, "wave_job", cause)]


def _get_ready(project: Project, pool: ProcessPoolExecutor) -> None:
    """Have the processes start that publishing will need if there is as much to publish as last time.

    The second does so after the first: until then the wave has a core to itself, also where there are two.
    """
    last = project.table("published_indicators", None)
    if last.exists() and pq.read_metadata(last).num_rows > FEW:
        pool.submit(_import_what_publishing_needs).add_done_callback(lambda _: _start_all(pool))


def _start_all(pool: ProcessPoolExecutor) -> None:
    with suppress(RuntimeError):  # the run has ended meanwhile
        for _ in range(cores()):
            pool.submit(_import_what_publishing_needs)


def _import_what_publishing_needs() -> None:
    import matplotlib.backends.backend_agg  # noqa: F401
    import scipy.stats  # noqa: F401
    import xlsxwriter  # noqa: F401

    import perception.publish.site  # noqa: F401


def _publish(
    project: Project, instance: dg.DagsterInstance, progress: Progress, pool: ProcessPoolExecutor
) -> list[RunFailure]:
    inputs = publication_inputs(project)
    forget_publication(project)
    with lent(pool):
        failures = _run_job(project, instance, "publish_job", None, progress)
    if not failures:
        record_publication(project, inputs)
    return failures


def _predecessors(project: Project, waves: list[str]) -> dict[str, str | None]:
    """The wave that each is compared with; None also of one that cannot be read."""
    before: dict[str, str | None] = {}
    for wave in waves:
        try:
            before[wave] = load_wave(project.waves / wave).predecessor
        except InputError:
            before[wave] = None
    return before


def _predecessors_first(before: Mapping[str, str | None]) -> list[str]:
    """The waves so that each follows the wave it is compared with."""
    ordered: list[str] = []
    for wave in before:
        chain = [wave]
        while (earlier := before[chain[0]]) in before and earlier not in chain:
            chain.insert(0, str(earlier))
        ordered += [each for each in chain if each not in ordered]
    return ordered


def publish(project: Project, progress: Progress) -> list[RunFailure]:
    """Publish again what all waves have, without making any wave."""
    with open_instance(project) as instance, _side_by_side(progress) as pool:
        return _publish(project, instance, progress, pool)


def forget_wave(project: Project, wave: str) -> None:
    """Take the wave's partition out of Dagster."""
    with open_instance(project) as instance:
        instance.delete_dynamic_partition(str(waves_partitions.name), wave)


def _run_job(
    project: Project, instance: dg.DagsterInstance, name: str, wave: str | None, progress: Progress
) -> list[RunFailure]:
    place = wave or PUBLISHING
    defs = build_defs(project.root, loggers={"steps": _step_logger(place, progress)})
    job = defs.resolve_job_def(name)
    result = job.execute_in_process(
        instance=instance, partition_key=wave, raise_on_error=False, run_config={"loggers": {"steps": {}}}
    )
    failures = [
        RunFailure(place, event.step_key or "", _cause(event))
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.STEP_FAILURE
    ]
    if any("DagsterExecutionInterruptedError" in failure.cause for failure in failures):
        raise KeyboardInterrupt  # Ctrl-C, which Dagster takes for a failure of the step: nothing else is begun
    if not result.success and not failures:
        failures.append(RunFailure(place, name, _run_cause(result)))
    return failures


def _cause(event: dg.DagsterEvent) -> str:
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return str(data.user_failure_data.description)
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error is not None else "no cause was recorded"


def _run_cause(result: dg.ExecuteInProcessResult) -> str:
    messages = [event.message for event in result.all_events if event.is_failure and event.message]
    return messages[-1] if messages else "the run did not start"


def _step_logger(place: str, progress: Progress) -> dg.LoggerDefinition:
    """A logger that reports finished steps instead of printing Dagster's events."""

    @dg.logger
    def report_steps(context: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("perception.steps")
        total = len(context.job_def.nodes) if context.job_def else 0
        logger.addHandler(_StepHandler(place, progress, total))
        return logger

    return report_steps


class _StepHandler(logging.Handler):
    def __init__(self, place: str, progress: Progress, total: int):
        super().__init__()
        self.place, self.progress, self.total, self.done = place, progress, total, 0

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "dagster_event", None)
        if event is None:
            self.progress(self.place, record.dagster_meta["orig_message"], self.done, self.total)
        elif event.event_type == dg.DagsterEventType.STEP_SUCCESS:
            self.done += 1
            self.progress(self.place, event.step_key, self.done, self.total)


def wave_summary(project: Project, waves: list[str]) -> pd.DataFrame:
    """What was published of each wave: wave, simulated, respondents, districts, published, suppressed (estimates)."""
    published = pd.read_parquet(project.table("published_estimates", None))
    facts = pd.read_parquet(project.table("published_waves", None))
    suppressed = (published["quality"] == "suppress").groupby(published["wave"]).agg(["sum", "size"])
    counts = facts[facts["wave"].isin(waves)].join(suppressed, on="wave")
    counts = counts.fillna({"sum": 0, "size": 0}).astype({"sum": int, "size": int})
    counts = counts.assign(published=counts["size"] - counts["sum"], suppressed=counts["sum"])
    return counts[["wave", "simulated", "respondents", "districts", "published", "suppressed"]]


def boundaries_not_matched(project: Project) -> list[str]:
    """Lines (`project_site.unmatched`) on the boundary file of a project that has one, for the vintages published."""
    if not project.boundaries.is_dir():
        return []
    names = ("published_waves", "published_trends")
    tables = {name: pd.read_parquet(project.table(name, None), columns=["vintage"]) for name in names}
    return project_site.unmatched(project_site.geometries_drawn(project, tables).values())


def lowest_districts(project: Project, waves: list[str]) -> pd.DataFrame:
    """The three lowest districts of each wave and province on its first headline indicator.

    Columns wave, label (of the indicator), district (name), rank_low, rank_high, districts (ranked in the province).
    """
    rankings = pd.read_parquet(project.table("district_rankings", None))
    headline = pd.read_parquet(project.table("published_indicators", None)).query("headline").groupby("wave").head(1)
    rows = rankings[(rankings["scope"] == "province") & rankings["rank"].notna() & rankings["wave"].isin(waves)]
    rows = rows.merge(headline[["wave", "indicator", "label"]], on=["wave", "indicator"])
    lowest = (
        rows.sort_values("rank")
        .groupby(["wave", "scope_id"])
        .head(LOWEST_SHOWN)
        .sort_values(["wave", "scope_id", "rank"])
    )
    names = load_gazetteer(project.reference).districts.set_index("district_id")["name"]
    lowest = lowest.assign(district=lowest["district_id"].map(names))
    return lowest[["wave", "label", "district", "rank_low", "rank_high", "districts"]]
