"""What holds for all tests.

One torch thread per process: tiny networks gain nothing from more, and workers share cores. No
deadlines: a drawn case that is slow on a busy machine is no failure.
"""

import os

from hypothesis import settings

# Read when torch's OpenMP loads, so before any test module is imported; children inherit them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

settings.register_profile("headgate", deadline=None)
settings.load_profile("headgate")
