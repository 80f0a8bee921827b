from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from campaigns.store import create_run
from mutineer.cli import cli
from tests.campaigns.builders import SPEC, small_plan

PLAN = small_plan()


def completed(*words: str) -> list[str]:
    """What a shell is offered in place of the last of these words."""
    offered = ShellComplete(cli, {}, "mutineer", "_MUTINEER_COMPLETE").get_completions(list(words[:-1]), words[-1])
    return [f"{each.type},{each.value}" for each in offered]


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs, the second made later."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("nightly-1", "nightly-2")):
        create_run(tmp_path / "runs" / name, SPEC, PLAN, {}).close()
        os.utime(tmp_path / "runs" / name / "plan.json", (number, number))


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("gate", ""), ["plain,nightly-2", "plain,nightly-1"]),
        (("show", "nightly-1"), ["plain,nightly-1"]),
        (("compare", "nightly-1", "n"), ["plain,nightly-2", "plain,nightly-1"]),
        (("report", "x"), []),
        (("show", "nightly-1", "e"), [f"plain,{e.id}" for e in PLAN.experiments if not e.golden]),
        (("show", "none", "e"), []),
        (("export", "--format", "j"), ["plain,junit"]),
        (("init", "--preset", "q"), ["plain,quickstart"]),
        (("run", "q"), ["plain,quickstart", "file,q"]),
        (("schema", "ga"), ["plain,gate"]),
    ],
)  # fmt: skip
def test_runs_experiments_presets_and_formats_complete(words: tuple[str, ...], offered: list[str]) -> None:
    assert completed(*words) == offered


def test_an_experiment_completes_in_a_run_that_is_named_by_its_folder(tmp_path: Path) -> None:
    first = next(e.id for e in PLAN.experiments if not e.golden)
    assert completed("show", str(tmp_path / "runs" / "nightly-1"), first[:8]) == [f"plain,{first}"]
