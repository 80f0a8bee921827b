"""The page of a kind of soak."""

from __future__ import annotations

from pathlib import Path

from tests.soak.state import State


def test_a_page_tells_what_was_wrong_and_notes_the_rest_and_reads_rounds_of_before(tmp_path: Path) -> None:
    known = {
        "what": "ten", "moment_s": 0.0, "seconds": 9.0, "exit_code": 0, "finished": 10, "wrong": ["g1 is timing"],
        "commit": "abc", "host": "2 cores", "at": "2026-01-01",
    }  # fmt: skip
    rounds = {"quiet/one/0": known, "quiet/two/0": {**known, "wrong": [], "noted": ["g2 is inconclusive"]}}
    State(tmp_path / "state.json", 1, rounds).write_page("quiet", "Soak: quiet", tmp_path)
    page = (tmp_path / "quiet.md").read_text()
    assert page.startswith("# Soak: quiet\n") and "| one | 1 | 1 | 0 |" in page and "| two | 1 | 0 | 0 |" in page
    assert page.endswith("""
## What was wrong

- quiet/one/0: 'g1 is timing'

## Noted

- quiet/two/0: g2 is inconclusive
""")
