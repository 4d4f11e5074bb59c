"""The jobs: one that makes everything of a wave, one that publishes what all waves have."""

from __future__ import annotations

import dagster as dg

from assets.publication import GROUP as PUBLICATION

publication = dg.AssetSelection.groups(PUBLICATION)

wave_job = dg.define_asset_job(
    "wave_job",
    selection=dg.AssetSelection.all() - publication,
    description="Everything of one wave: intake, PSU totals, estimates, drivers",
)
publish_job = dg.define_asset_job(
    "publish_job",
    selection=publication,
    description="Publication rules, rankings, warehouses and site, from what all waves have",
)
