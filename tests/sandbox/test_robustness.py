"""Small versions of `python -m tests.soak`: one kill of each process, of a real campaign and of a real sandbox; one
Ctrl-C; some churn; a Deployment of a million replicas; two ordinary users at once; what listens and who may read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from campaigns.assets import Assets
from tests.soak.kept import Kept, raised
from tests.soak.rounds import GOLDENS, healed, interrupt, kill
from tests.soak.victims import Victim

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(240)]

COMPONENTS = [Victim.ETCD, Victim.KUBELET, Victim.RUNTIME, Victim.SPAWNER]


@pytest.fixture(scope="module")
def kept(binaries: Assets) -> Iterator[Kept]:
    """A sandbox in the background with a workload in it; the last test of this module that uses it ends it."""
    with raised() as sandbox:
        yield sandbox


def test_a_runner_killed_in_mid_campaign_leaves_only_folders_and_the_next_start_removes_them(binaries: Assets) -> None:
    seen = kill(Victim.RUNNER, 1, after_first=True)
    assert seen.wrong == []
    assert seen.exit_code == -9 and 1 <= seen.finished < GOLDENS, "in the middle, and what was finished is kept"


def test_ctrl_c_in_mid_campaign_exits_130_keeps_what_is_finished_and_leaves_nothing(binaries: Assets) -> None:
    seen = interrupt(1, after_first=True)
    assert seen.wrong == []
    assert seen.exit_code == 130 and 1 <= seen.finished < GOLDENS


@pytest.mark.parametrize("victim", [Victim.FIRST_PROCESS, *COMPONENTS])
def test_a_campaign_goes_on_when_a_process_is_killed_and_leaves_nothing(binaries: Assets, victim: Victim) -> None:
    seen = kill(victim, 1, after_first=True)
    assert seen.wrong == []
    assert seen.finished == GOLDENS


@pytest.mark.parametrize("victim", COMPONENTS)
def test_a_sandbox_is_well_again_when_a_process_is_killed(kept: Kept, victim: Victim) -> None:
    assert healed(kept, victim) == []
