"""Small versions of `python -m tests.soak`: one kill and one Ctrl-C in the middle of a real campaign."""

from __future__ import annotations

import pytest

from campaigns.assets import Assets
from tests.soak.campaign import Victim
from tests.soak.rounds import GOLDENS, interrupt, kill

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(180)]


def test_a_runner_killed_in_mid_campaign_leaves_only_folders_and_the_next_start_removes_them(binaries: Assets) -> None:
    seen = kill(Victim.RUNNER, 1, after_first=True)
    assert seen.wrong == []
    assert seen.exit_code == -9 and 1 <= seen.finished < GOLDENS, "in the middle, and what was finished is kept"


def test_ctrl_c_in_mid_campaign_exits_130_keeps_what_is_finished_and_leaves_nothing(binaries: Assets) -> None:
    seen = interrupt(1, after_first=True)
    assert seen.wrong == []
    assert seen.exit_code == 130 and 1 <= seen.finished < GOLDENS
