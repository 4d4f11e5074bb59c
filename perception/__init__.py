"""The science of the survey pipeline: pure functions over frames, from a wave folder to published tables and pages.

Nothing in this package imports dagster; what exists as an asset is in `assets`, how it runs is in `pipelines`.
"""
