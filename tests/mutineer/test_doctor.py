from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from campaigns.environment import Check
from mutineer.commands import doctor

GOOD = Check(name="ip", ok=True, found="/usr/sbin/ip", needed_for="networks")
ADVICE = Check(name="memory", ok=False, found="1 GB", needed_for="three nodes", remedy="free 1 GB", needed=False)
BAD = Check(name="bwrap", ok=False, found="not found", needed_for="containers", remedy="apt", packages=("bubblewrap",))
WORSE = Check(name="nft", ok=False, found="not found", needed_for="Services", remedy="apt", packages=("nftables",))


def test_a_machine_that_has_all_gets_the_next_step() -> None:
    assert doctor.render([GOOD]).splitlines() == [
        "ok       ip  /usr/sbin/ip",
        "",
        "Everything is there. Next: mutineer quickstart",
    ]


def test_what_is_missing_is_a_line_each_and_one_command_for_all_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 1000)
    assert doctor.render([GOOD, BAD, WORSE, ADVICE]).splitlines() == [
        "ok       ip      /usr/sbin/ip",
        "MISSING  bwrap   not found  (needed for containers)",
        "MISSING  nft     not found  (needed for Services)",
        "advice   memory  1 GB  (needed for three nodes)",
        "",
        "To mend it:",
        "  sudo apt-get update && sudo apt-get install -y --no-install-recommends bubblewrap nftables",
        "  free 1 GB",
        "",
        "2 missing.",
    ]


def run(monkeypatch: pytest.MonkeyPatch, *checks: Check, json_too: bool = False) -> tuple[object, str]:
    monkeypatch.setattr(doctor, "collect", lambda: checks)
    result = CliRunner().invoke(doctor.command, ["--json"] if json_too else [], standalone_mode=False)
    return result.return_value, result.output


def test_the_exit_code_is_0_if_all_that_is_needed_is_there_and_3_if_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, GOOD, ADVICE)[0] == 0
    assert run(monkeypatch, GOOD, BAD)[0] == 3


def test_json_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    code, output = run(monkeypatch, GOOD, BAD, json_too=True)
    data = json.loads(output)
    assert (code, data["schema"], data["ok"]) == (3, 1, False)
    assert data["checks"][1] == {
        "name": "bwrap",
        "ok": False,
        "found": "not found",
        "needed_for": "containers",
        "remedy": "apt",
        "packages": ["bubblewrap"],
        "needed": True,
    }
    assert len(data["remedies"]) == 1


def test_a_real_look_names_every_thing_once_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    checks = doctor.collect()
    names = [check.name for check in checks]
    assert len(names) == len(set(names))
    assert {"user namespaces", "nft", "import names", "disk space", "Kubernetes, etcd, CoreDNS"} <= set(names)
    (assets,) = [check for check in checks if check.name == "Kubernetes, etcd, CoreDNS"]
    assert "8 not cached" in assets.found
    assert list(tmp_path.iterdir()) == []
