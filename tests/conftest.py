"""One torch thread per process: tiny networks gain nothing from more, and workers share cores."""

import os

# Read when torch's OpenMP loads, so before any test module is imported; children inherit them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
