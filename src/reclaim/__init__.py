"""Fine-tune without losing what your model knew.

Import from the file that holds the thing: ``from reclaim.calibration.calibrators.logit_offset import LogitOffset``.
This file imports nothing, so that start-up is instant.
"""

__version__ = "0.1.0"
