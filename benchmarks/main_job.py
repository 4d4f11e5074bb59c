"""Wall time and peak memory of the main job, start-up included, on the embedded waves in a fresh project.

Run by `make bench`.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SAMPLE_WAVES = tuple(f"{province}-{year}" for year in (2018, 2021, 2024) for province in ("kp", "punjab"))


def main() -> None:
    """Run `perception run` in a temporary project that holds the embedded waves only."""
    perception = Path(sys.executable).with_name("perception")
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "data/raw"
        for part in ("reference", "instruments", *(f"waves/{wave}" for wave in SAMPLE_WAVES)):
            shutil.copytree(ROOT / "data/raw" / part, raw / part)
        begin = time.perf_counter()
        subprocess.run([perception, "run"], env=os.environ | {"PERCEPTION_PROJECT": folder}, check=True)
        seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
    print(f"main job on {len(SAMPLE_WAVES)} waves: {seconds:.1f} s, peak memory {peak:.2f} GB, {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
