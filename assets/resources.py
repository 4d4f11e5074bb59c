"""The project folder as a Dagster resource; a run holds the lock of its wave, so two runs of one wave never mix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from filelock import Timeout

from perception.intake.wave_file import ACROSS_WAVES
from perception.project import Project, WaveInputs, made_from, open_wave

PARTITION_TAG = "dagster/partition"


class ProjectResource(dg.ConfigurableResource):
    """The project at `root`. A run waits up to `lock_timeout` seconds for another run of the same wave to end."""

    root: str
    lock_timeout: float = 3600.0

    @property
    def project(self) -> Project:
        """The folders of the project."""
        return Project(Path(self.root))

    def wave(self, wave_id: str) -> WaveInputs:
        """A wave and everything it is made from."""
        return open_wave(self.project, wave_id)

    def made_from(self, wave_id: str) -> str:
        """SHA-256 over everything the wave is made from, as it is now."""
        return made_from(self.project, wave_id)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[ProjectResource]:
        """Hold the lock of the run's wave (or of the across-wave tables) as long as the run uses the project."""
        if context.run is None:  # a sensor only looks
            yield self
            return
        name = context.run.tags.get(PARTITION_TAG, ACROSS_WAVES)
        lock = self.project.lock(name)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if context.log:
                context.log.info(f"another run is materialising {name}; waiting for it to end")
            try:
                lock.acquire(timeout=self.lock_timeout)
            except Timeout:
                raise dg.Failure(
                    f"{name}: another run has been materialising it for {self.lock_timeout:.0f} seconds. "
                    "Wait for it to end, or end it, and run again."
                ) from None
        try:
            yield self
        finally:
            lock.release()
