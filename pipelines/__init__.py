"""How it runs: definitions, storage, jobs, sensors and the command line."""

import os

# Matrices are small here: threads of BLAS would mostly wait for each other, and for those of the other wave.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
