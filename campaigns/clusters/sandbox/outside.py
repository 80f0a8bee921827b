"""A sandbox from outside its namespace: launch, find, enter, end, and reap what a killed process left.

A sandbox's folder lies below `root()`. Its `lock` is held (flock) by the first process in the namespace for as long as
that lives; a folder whose lock is free belongs to nobody and is removed at the next start. Everything else that a
sandbox has (processes, network namespaces, mounts, links) ends with that first process, by the kernel's doing.

    root()/NAME/lock          flock
    root()/NAME/config.json   SandboxConfig
    root()/NAME/state.json    {"pid": first process as seen outside, "ready_s"} once it is up
    root()/NAME/logs/         one file a component
    root()/NAME/work/         tmpfs, empty from outside
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from campaigns.clusters.sandbox.config import BINARIES, SandboxConfig
from campaigns.clusters.sandbox.processes import wait_for
from campaigns.environment import SBIN
from campaigns.uninterrupted import uninterrupted
from injector.errors import ClusterError, EnvironmentFailure, InputError, Problem

__all__ = ["Launched", "down", "enter_command", "find", "launch", "prepare", "reap", "root", "running", "up"]

_SOCKET_LIMIT = 107
"""sizeof(sun_path) - 1, unix(7)."""
_LONGEST_SOCKET = "/work/run/cri-node-10.sock"
_LONGEST_NAME = 32
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")


_background: dict[str, subprocess.Popen[bytes]] = {}
"""Sandboxes that this process has put in the background: they are its children, and somebody has to wait for them."""


def root() -> Path:
    """`$XDG_STATE_HOME/mutineer/sandboxes`, or below the temp folder where that path is too long for a socket."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "mutineer" / "sandboxes"
    if len(str(state)) + len("/") + _LONGEST_NAME + len(_LONGEST_SOCKET) > _SOCKET_LIMIT:
        state = Path("/tmp") / f"mutineer-{os.getuid()}" / "sandboxes"  # noqa: S108 - 0700, and owned, as checked below
    for folder in (state.parent, state):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = folder.lstat()  # not stat: a link that somebody planted in /tmp is not ours
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
            remedy = "set XDG_STATE_HOME to a folder of yours"
            raise EnvironmentFailure(f"{folder} belongs to somebody else", remedy=remedy)
    return state


@dataclass(slots=True)
class Launched:
    """A sandbox's outermost process (`unshare`), with pipes if it was launched with them."""

    config: SandboxConfig
    process: subprocess.Popen[bytes]

    @property
    def init_pid(self) -> int | None:
        """The first process in the namespace, as seen from here."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        try:
            pids = children.read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return int(pids[0]) if pids else None

    def end(self, *, grace_s: float = 0.0) -> None:
        """Ends it (SIGTERM first if there is a grace) and removes its folder. Idempotent."""
        if grace_s and self.process.poll() is None and (pid := self.init_pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(grace_s)
        if self.process.poll() is None:
            self.process.kill()  # unshare --kill-child takes the namespace with it
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        _remove_when_free(self.config.folder)


def prepare(name: str, *, binaries: dict[str, Path], **settings: object) -> SandboxConfig:
    """Makes the folder of a new sandbox. InputError if the name is taken or is not a DNS label."""
    if not _NAME.fullmatch(name):
        problem = f"expected lower-case letters, digits and dashes (at most 32), got {name!r}"
        raise InputError([Problem("command line", "--name", problem)])
    folder = root() / name
    if folder.exists() and not _free(folder):
        problem = f"a sandbox named {name!r} is running (`mutineer sandbox down --name {name}` ends it)"
        raise InputError([Problem("command line", "--name", problem)])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    (folder / "logs").mkdir(mode=0o700)
    config = SandboxConfig(
        name=name,
        folder=folder,
        binaries={b: binaries[b] for b in BINARIES},
        **settings,  # type: ignore[arg-type]
    )
    (folder / "config.json").write_text(config.to_json())
    return config


def launch(config: SandboxConfig, module: str, *, pipes: bool, dies_with_us: bool) -> Launched:
    """Starts `python -m MODULE FOLDER` as the first process of new namespaces.

    dies_with_us  the kernel kills it when the calling thread ends (call from the main thread)
    pipes         its stdin and stdout are pipes, otherwise its output goes to logs/sandbox.log
    """
    # held before it has its name, so that a `lock` that is free always is a dead sandbox's
    new = config.folder / f"lock.{os.getpid()}"
    lock = os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    log = (config.folder / "logs" / "sandbox.log").open("ab")
    namespaces = ("--user", "--map-root-user", "--net", "--pid", "--ipc", "--uts", "--fork", "--mount", "--mount-proc")
    command = [
        *(["setpriv", "--pdeathsig", "KILL"] if dies_with_us else []),
        "unshare", *namespaces, "--kill-child=KILL",
        sys.executable, "-m", module, str(config.folder), str(lock),
    ]  # fmt: skip
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (config.folder / "lock").hardlink_to(new)
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipes else log,
            stderr=log,
            pass_fds=(lock,),
            start_new_session=True,
            cwd="/",
            env={**_environment(), "PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), *SBIN])},
        )
    except FileExistsError:
        raise ClusterError(f"the sandbox {config.name!r} was launched already") from None
    finally:
        new.unlink()
        os.close(lock)
        log.close()
    return Launched(config, process)


def _environment() -> dict[str, str]:
    """Ours without a proxy: no proxy can be reached from inside, and kubelets, gRPC and clients would all ask it."""
    proxies = {"http_proxy", "https_proxy", "all_proxy", "grpc_proxy"}
    return {name: value for name, value in os.environ.items() if name.lower() not in proxies}


def up(config: SandboxConfig, say: Callable[[str], None], *, within_s: float = 120.0) -> float:
    """Starts a sandbox in the background and returns, once it is ready, the seconds that took."""
    began = time.monotonic()
    launched: Launched | None = None
    progress, state = config.folder / "progress", config.folder / "state.json"
    said = 0

    def ready() -> bool:
        nonlocal said
        assert launched is not None
        if progress.exists():
            lines = progress.read_text().splitlines()
            for line in lines[said:]:
                say(line)
            said = len(lines)
        if launched.process.poll() is not None:
            log = (config.folder / "logs" / "sandbox.log").read_text(errors="replace").strip()
            raise ClusterError(f"the sandbox {config.name!r} did not start:\n{log or '(its log is empty)'}")
        return (config.folder / "ready").exists()

    try:
        with uninterrupted():
            launched = launch(config, "campaigns.clusters.sandbox.keeper", pipes=False, dies_with_us=False)
        wait_for(ready, within_s=within_s, what=f"the sandbox {config.name!r} to be ready")
        took = time.monotonic() - began
        state.write_text(json.dumps({"pid": launched.init_pid, "ready_s": round(took, 3)}))
        _background[config.name] = launched.process
    except BaseException as error:
        kept = _keep_logs(config) if isinstance(error, (ClusterError, TimeoutError)) else None
        if launched is not None:
            launched.end()
        if isinstance(error, TimeoutError):
            raise ClusterError(f"{error}; logs in {kept}") from None
        raise
    return took


def _keep_logs(config: SandboxConfig) -> Path:
    kept = root().parent / "failed" / config.name
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(config.logs, kept)
    return kept


def find(name: str) -> tuple[SandboxConfig, int]:
    """Config and first process of a running sandbox. InputError that lists those that run."""
    folder = root() / name
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
        state = json.loads((folder / "state.json").read_text())
        if not _free(folder):
            return SandboxConfig.from_json((folder / "config.json").read_text()), int(state["pid"])
    known = ", ".join(repr(n) for n in running()) or "none"
    raise InputError([Problem("command line", "--name", f"no sandbox named {name!r} is running (running: {known})")])


def running() -> list[str]:
    """Names of the sandboxes that run."""
    return [folder.name for folder in sorted(root().iterdir()) if folder.is_dir() and not _free(folder)]


def enter_command(config: SandboxConfig, pid: int, argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The command and environment that run `argv` inside: same network, mounts and processes as the cluster."""
    enter = [
        "nsenter",
        f"--target={pid}",
        "--user",
        "--preserve-credentials",
        "--net",
        "--mount",
        "--pid",
        "--ipc",
        "--uts",
    ]
    folders = dict.fromkeys(str(path.parent) for path in config.binaries.values())
    path = ":".join([*folders, os.environ.get("PATH", "/usr/bin:/bin")])
    env = {**_environment(), "KUBECONFIG": str(config.work / "admin.kubeconfig"), "PATH": path}
    return [*enter, "--", *argv], env


def down(name: str) -> None:
    """Ends a running sandbox; returns when nothing of it is left."""
    folder = root() / name
    pid = _first_process(folder) if name in running() else None
    if pid is None:
        _, pid = find(name)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    try:
        wait_for(lambda: _free(folder), within_s=10, what="its end")
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _remove_when_free(folder)


def _first_process(folder: Path) -> int | None:
    """The first process of the namespace, found by the lock that it holds: whoever started it may have been killed
    before it could write state.json."""
    lock = (folder / "lock").stat()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile, or is somebody else's
            if any(os.path.samestat(descriptor.stat(), lock) for descriptor in (process / "fd").iterdir()):
                status = (process / "status").read_text()
                pids = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
                if len(pids) > 1 and pids[-1] == "1":
                    return int(process.name)
    return None


def reap() -> list[str]:
    """Removes the folders of sandboxes whose first process is gone; returns their names."""
    reaped = []
    for folder in sorted(root().iterdir()):
        # without a lock, younger ones may be between `prepare` and `launch` of another process
        launched = (folder / "lock").exists() or time.time() - folder.stat().st_mtime > 5
        if folder.is_dir() and launched and _free(folder):
            _remove_when_free(folder)
            reaped.append(folder.name)
    return reaped


def _free(folder: Path) -> bool:
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _remove_when_free(folder: Path) -> None:
    if (child := _background.pop(folder.name, None)) is not None:
        child.wait(10)
    try:
        wait_for(lambda: _free(folder), within_s=10, what=f"the processes of {folder.name} to end")
    except TimeoutError as error:
        raise ClusterError(str(error)) from None
    shutil.rmtree(folder, ignore_errors=True)
