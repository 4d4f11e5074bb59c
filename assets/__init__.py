"""What exists: thin Dagster assets, one module a stage, each calling one function of `perception`.

How they are stored, run and started is in `pipelines`.
"""
