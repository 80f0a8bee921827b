"""The HTML report of a run: plain values in (`build_report`), one self-contained file out (`render`)."""

from mutineer.report.model import Deviation, RunMetadata, RunReport, build_report
from mutineer.report.rendering import render

__all__ = ["Deviation", "RunMetadata", "RunReport", "build_report", "render"]
