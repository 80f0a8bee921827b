"""A campaign through the program's own command line, until nothing of it is missing; one that was left goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from campaigns.store import open_run

__all__ = ["begun", "mutineer", "whole_run"]


def whole_run(text: str, folder: Path, name: str) -> tuple[Path, int]:
    """The run, below `folder`, of the spec `text`, and the last exit code; 0 where it was whole before."""
    run, code = begun(text, folder, name)
    with open_run(run) as opened:
        whole = "ended" in opened.metadata and opened.finished_ids() >= set(opened.planned_ids())
    return run, code if whole else mutineer("resume", name, folder=folder)


def begun(text: str, folder: Path, name: str) -> tuple[Path, int]:
    """The same, as far as it has got."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    run, code = folder / "runs" / name, 0
    if not (run / "record.sqlite").exists():
        code = mutineer("run", f"{name}.yaml", "--name", name, folder=folder)
    return run, code


def mutineer(*arguments: str, folder: Path) -> int:
    """Its exit code: 0, or 3, as errors of the harness in single experiments are results, too. Any other ends this."""
    done = subprocess.run([sys.executable, "-m", "mutineer", *arguments], cwd=folder, check=False)
    if done.returncode not in (0, 3):
        raise SystemExit(f"mutineer {' '.join(arguments)}: exit code {done.returncode}")
    return done.returncode
