"""The page on the fault models."""

from __future__ import annotations

from tools.fault_models import PAGE, page


def test_the_page_says_what_the_models_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m tools.fault_models`"
