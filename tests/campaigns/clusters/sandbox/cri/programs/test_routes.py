"""The route agent's patience; what it does on a node is in inside.py."""

from __future__ import annotations

from campaigns.clusters.sandbox.cri.programs.routes import retry_after_s


def test_a_boot_is_asked_often_and_a_long_outage_seldom() -> None:
    assert [retry_after_s(failing_s) for failing_s in (0, 5, 50, 125, 10_000)] == [0.2, 0.2, 2.0, 5.0, 5.0]
