"""What was done so far (runs/soak/state.json), and the pages that tell of it (docs/soak/KIND.md).

The file: {"schema": 1, "seed": N, "rounds": {"KIND/WHAT/NUMBER": {a Round, "commit", "host", "at"}}}. Rounds are only
ever added, each at once when it is done: a soak that was killed goes on where it was.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import platform
import statistics
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.soak.rounds import Round

__all__ = ["State", "commit"]

SCHEMA = 1


def commit(root: Path) -> str:
    """The commit checked out in `root`, marked where files differ from it."""

    def git(*argv: str) -> str:
        return subprocess.run(["git", *argv], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")


def _host() -> str:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, {memory:.0f} GiB, kernel {platform.release()}, Python {platform.python_version()}"


@dataclass(slots=True)
class State:
    """Rounds by key."""

    path: Path
    seed: int
    rounds: dict[str, dict[str, Any]]

    @classmethod
    def load(cls, path: Path, *, seed: int) -> State:
        """What is there; SystemExit in words if it is of another seed or schema."""
        if not path.exists():
            return cls(path, seed, {})
        document = json.loads(path.read_text())
        if (document["schema"], document["seed"]) != (SCHEMA, seed):
            raise SystemExit(f"{path} is of schema {document['schema']}, seed {document['seed']}; use --fresh")
        return cls(path, seed, document["rounds"])

    def add(self, key: str, done: Round, root: Path) -> None:
        """Adds one, and writes the file whole."""
        at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.rounds[key] = {**dataclasses.asdict(done), "commit": commit(root), "host": _host(), "at": at}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps({"schema": SCHEMA, "seed": self.seed, "rounds": self.rounds}, indent=1))
        partial.rename(self.path)

    def write_page(self, kind: str, title: str, folder: Path) -> None:
        """docs/soak/KIND.md from all rounds of that kind."""
        mine = {key: each for key, each in self.rounds.items() if key.startswith(f"{kind}/")}
        if not mine:
            return
        groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for key, each in mine.items():
            groups[key.split("/")[1]].append(each)
        lines = [f"# {title}", ""]
        lines += [f"- {name}: {', '.join(sorted({e[key] for e in mine.values()}))}" for name, key in
                  (("commit", "commit"), ("host", "host"))]  # fmt: skip
        times = sorted(each["at"] for each in mine.values())
        lines += [f"- run: {times[0]} to {times[-1]}, seed {self.seed}, by `python -m tests.soak`", ""]
        lines += ["| what | rounds | with something wrong | exit codes | moments, s | round, median s |"]
        lines += ["|---|---|---|---|---|---|"]
        for name, rounds in groups.items():
            codes = ", ".join(sorted({str(each["exit_code"]) for each in rounds}))
            moments = [each["moment_s"] for each in rounds]
            lines.append(
                f"| {name} | {len(rounds)} | {sum(bool(e['wrong']) for e in rounds)} | {codes} "
                f"| {min(moments):.1f} to {max(moments):.1f} | {statistics.median(e['seconds'] for e in rounds):.1f} |"
            )
        for key, each in mine.items():
            lines += _table(key.split("/", 1)[1], each.get("figures") or {})
        wrong = {key: each["wrong"] for key, each in mine.items() if each["wrong"]}
        lines += ["", "## What was wrong", ""] if wrong else ["", "Nothing was wrong in any round."]
        lines += [f"- {key}: {words!r}" for key, all_words in wrong.items() for words in all_words]
        noted = [f"- {key}: {words}" for key, each in mine.items() for words in each.get("noted") or []]
        lines += ["", "## Noted", "", *noted] if noted else []
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{kind}.md").write_text("\n".join(lines) + "\n")


def _table(title: str, figures: dict[str, dict[str, str]]) -> list[str]:
    """What a round measured; nothing where it measured nothing."""
    if not figures:
        return []
    columns = list(next(iter(figures.values())))
    rows = [f"| {name} | {' | '.join(figure[column] for column in columns)} |" for name, figure in figures.items()]
    return ["", f"## {title}", "", f"| what | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|", *rows]
