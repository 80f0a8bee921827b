from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from campaigns.assets import load_manifest
from campaigns.assets.supply import SOURCE_VARIABLE
from injector.errors import AssetError
from mutineer.commands.assets import command


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(SOURCE_VARIABLE, raising=False)


@pytest.fixture
def users_folder(tmp_path: Path) -> Path:
    """A folder with scripts that print the pinned versions."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for project in load_manifest().projects:
        for binary in project.binaries:
            (folder / binary.name).write_text(f"#!/bin/sh\necho '{binary.name} v{project.version}'\n")
            (folder / binary.name).chmod(0o755)
    return folder


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments))


def test_ensure_from_a_folder_then_list_path_and_verify_agree(users_folder: Path) -> None:
    assert invoke("ensure", "--from", str(users_folder)).exit_code == 0
    assets = json.loads(invoke("list", "--json").stdout)["assets"]
    assert [one["name"] for one in assets] == list(load_manifest().names)
    assert {(one["state"], one["provider"]) for one in assets} == {("cached", "named")}
    assert assets[0]["origin"] == str(users_folder / "kube-apiserver")
    path = invoke("path", "etcd").stdout.strip()
    assert path == next(one["path"] for one in assets if one["name"] == "etcd")
    assert os.access(path, os.X_OK)
    assert "cached" in invoke("verify").stdout


def test_ensure_gets_only_what_is_named(users_folder: Path) -> None:
    invoke("ensure", "kubectl", "--from", str(users_folder))
    states = {one["name"]: one["state"] for one in json.loads(invoke("list", "--json").stdout)["assets"]}
    assert [name for name, state in states.items() if state == "cached"] == ["kubectl"]


def test_verify_removes_what_is_broken_and_exits_with_3(users_folder: Path) -> None:
    invoke("ensure", "kubectl", "--from", str(users_folder))
    path = Path(invoke("path", "kubectl").stdout.strip())
    path.chmod(0o755)
    path.write_text("something else")
    result = CliRunner().invoke(command, ["verify"], standalone_mode=False)
    assert result.return_value == 3
    assert "removed: kubectl" in result.stderr
    assert "kubectl                  1.36.3   broken" in result.stdout


def test_a_name_that_does_not_exist_gets_the_nearest() -> None:
    result = invoke("path", "kubctl")
    assert result.exit_code == 2
    assert "no such asset 'kubctl'; did you mean 'kubectl'?" in result.stderr
    assert "choose from kube-apiserver" in invoke("ensure", "zzz").stderr


def test_the_path_of_what_is_not_cached_is_an_error_with_the_command_that_gets_it() -> None:
    result = invoke("path", "etcd")
    assert isinstance(result.exception, AssetError)
    assert result.exception.remedy == "mutineer assets ensure etcd"
