"""Workloads by name, ours and those of installed packages."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from campaigns.workloads import WORKLOADS, Registry, Workload
from campaigns.workloads.deploy import DEPLOY
from campaigns.workloads.registry import GROUP

PLUGIN = """
from campaigns.workloads import Workload
ONE = Workload(name="shop-one", summary="s", steps=(), done=())
MANY = [Workload(name=name, summary="s", steps=(), done=()) for name in ("shop-two", "deploy")]
NOTHING = ["deploy"]
"""


def point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, GROUP)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "shop_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "shop_plugin", raising=False)
    return "shop_plugin"


def test_a_name_is_registered_once() -> None:
    registry = Registry((DEPLOY,), entry_points=list)
    with pytest.raises(ValueError, match="a workload named 'deploy' is registered already"):
        registry.add(DEPLOY)


def test_ours_are_there_and_a_name_that_is_not_is_a_key_error() -> None:
    assert WORKLOADS.names()[0] == "deploy" and WORKLOADS["deploy"].wanted_pods == 6
    assert "deploy" in WORKLOADS and "nosuch" not in WORKLOADS
    with pytest.raises(KeyError):
        WORKLOADS["nosuch"]


def test_packages_add_one_or_several_and_a_broken_one_is_named_and_breaks_no_other(plugin: str) -> None:
    points = [
        point("many", f"{plugin}:MANY"),
        point("gone", "shop_nowhere:X"),
        point("text", f"{plugin}:NOTHING"),
        point("one", f"{plugin}:ONE"),
    ]
    registry = Registry((DEPLOY,), entry_points=lambda: points)
    assert registry.names() == ("deploy", "shop-two", "shop-one") and tuple(registry) == registry.names()
    assert isinstance(registry["shop-one"], Workload) and registry["deploy"] is DEPLOY
    gone, many, text = registry.broken
    assert gone.startswith("entry point gone (shop_nowhere:X) of mutineer.workloads: ModuleNotFoundError")
    assert many.endswith("ValueError: a workload named 'deploy' is registered already")
    assert text.endswith("TypeError: expected Workloads, got 'deploy'")


def test_packages_are_not_loaded_for_a_name_of_ours() -> None:
    def never() -> list[EntryPoint]:
        raise AssertionError("asked for plugins")

    assert Registry((DEPLOY,), entry_points=never)["deploy"] is DEPLOY
