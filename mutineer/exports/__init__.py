"""What a run can be exported as: one file a format; the registry is passed in.

A format gets the run's experiments as values and writes bytes: it opens nothing. A new one is a file here and a line
below.
"""

from __future__ import annotations

from mutineer.exports.formats import Experiment, Exported, Format, Registry
from mutineer.exports.junit import JUnit

__all__ = ["FORMATS", "Experiment", "Exported", "Format", "Registry"]

FORMATS = Registry()
FORMATS.add(JUnit())
