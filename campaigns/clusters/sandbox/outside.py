"""A sandbox from outside its namespace: launch, find, enter, ask, end, and reap what a killed process left.

A sandbox's folder lies below `root()`. Its `lock` is held (flock) by the first process in the namespace for as long as
that lives; a folder whose lock is free belongs to nobody and is removed at the next start. Everything else that a
sandbox has (processes, network namespaces, mounts, links) ends with that first process, by the kernel's doing.

    root()/NAME/lock          flock
    root()/NAME/config.json   SandboxConfig
    root()/NAME/state.json    {"port": of its door, "owner": process or null}; once it is up also {"pid": of its first
                              process as seen outside, "ready_s"}. Only of sandboxes that `up` started
    root()/NAME/kubeconfig    0600, through the door; written by the keeper, as are:
    root()/NAME/progress      a line a step of the start
    root()/NAME/ready         empty; there once the sandbox is up
    root()/NAME/control.sock  0600 (campaigns.clusters.sandbox.control)
    root()/NAME/logs/         one file a component
    root()/NAME/work/         tmpfs, empty from outside
    root()/../failed/NAME/    logs of the last one of that name that did not start, or that `reset` had to replace
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypedDict, Unpack, cast

from campaigns.clusters.sandbox.components import Profile
from campaigns.clusters.sandbox.config import BINARIES, ImageConfig, SandboxConfig
from campaigns.clusters.sandbox.doorway import open_door
from campaigns.clusters.sandbox.processes import wait_for
from campaigns.environment import SBIN
from campaigns.uninterrupted import uninterrupted
from injector.errors import ClusterError, EnvironmentFailure, InputError, Problem
from injector.rules import JSONValue

__all__ = [
    "Launched",
    "Running",
    "Settings",
    "Stage",
    "down",
    "enter_command",
    "find",
    "find_running",
    "is_free",
    "launch",
    "logs_of",
    "pid_of",
    "prepare",
    "reap",
    "recreate",
    "require_free",
    "root",
    "running",
    "survey",
    "up",
]

_SOCKET_LIMIT = 107
"""sizeof(sun_path) - 1, unix(7)."""
_LONGEST_SOCKET = "/work/run/cri-node-10.sock"
_LONGEST_NAME = 32
_KEEPER = "campaigns.clusters.sandbox.keeper"
_LAUNCH_WITHIN_S = 5.0
"""From a folder's making until its lock is held; it takes some milliseconds."""
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")


_background: dict[str, subprocess.Popen[bytes]] = {}
"""Sandboxes that this process has put in the background: they are its children, and somebody has to wait for them."""


def root() -> Path:
    """`$XDG_STATE_HOME/mutineer/sandboxes`, or below the temp folder where that path is too long for a socket."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "mutineer" / "sandboxes"
    if len(str(state)) + len("/") + _LONGEST_NAME + len(_LONGEST_SOCKET) > _SOCKET_LIMIT:
        state = Path("/tmp") / f"mutineer-{os.getuid()}" / "sandboxes"  # noqa: S108 - 0700, and owned, as checked below
    for folder in (state.parent, state):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:  # a user without a home
            remedy = "set XDG_STATE_HOME to a folder of yours"
            raise EnvironmentFailure(f"{folder} can't be made: {error.strerror}", remedy=remedy) from None
        found = folder.lstat()  # not stat: a link that somebody planted in /tmp is not ours
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
            remedy = "set XDG_STATE_HOME to a folder of yours"
            raise EnvironmentFailure(f"{folder} belongs to somebody else", remedy=remedy)
    return state


@dataclass(slots=True)
class Launched:
    """A sandbox's outermost process (namespaces.py), with pipes if it was launched with them."""

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
            self.process.kill()  # which takes the namespace with it
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        _remove_when_free(self.config.folder)


class Settings(TypedDict, total=False):
    """What SandboxConfig has besides name, folder and binaries."""

    nodes: int
    profile: Profile
    images: Mapping[str, ImageConfig]
    encryption: bool
    etcd_tls: bool
    feature_gates: Mapping[str, bool]
    component_channels: bool
    audit: bool
    furniture: tuple[str, ...]
    workloads: tuple[JSONValue, ...]


def require_free(name: str) -> None:
    """InputError if the name is taken or is not a DNS label."""
    if not _NAME.fullmatch(name):
        problem = f"expected lower-case letters, digits and dashes (at most 32), got {name!r}"
        raise InputError([Problem("command line", "--name", problem)])
    folder = root() / name
    if folder.exists() and not _is_left_over(folder):
        raise InputError([_taken(name)])


def _taken(name: str) -> Problem:
    words = f"a sandbox named {name!r} is running (`mutineer sandbox down --name {name}` ends it)"
    return Problem("command line", "--name", words)


def prepare(name: str, *, binaries: Mapping[str, Path], **settings: Unpack[Settings]) -> SandboxConfig:
    """Makes the folder of a new sandbox. InputError as require_free."""
    require_free(name)
    folder = root() / name
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:  # another process was quicker
        raise InputError([_taken(name)]) from None
    (folder / "logs").mkdir(mode=0o700)
    config = SandboxConfig(name=name, folder=folder, binaries={b: binaries[b] for b in BINARIES}, **settings)
    (folder / "config.json").write_text(config.to_json())
    return config


def launch(
    config: SandboxConfig, module: str, *, pipes: bool, dies_with_us: bool, handed: Sequence[int] = ()
) -> Launched:
    """Starts `python -m MODULE FOLDER LOCK_FD HANDED_FD...` as the first process of new namespaces.

    dies_with_us  the kernel kills it when the calling thread ends (call from the main thread)
    pipes         its stdin and stdout are pipes, otherwise its output goes to logs/sandbox.log
    handed        descriptors that it gets besides its lock
    """
    # held before it has its name, so that a `lock` that is free always is a dead sandbox's
    new = config.folder / f"lock.{os.getpid()}"
    lock = os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    log = (config.folder / "logs" / "sandbox.log").open("ab")
    command = [
        sys.executable, "-I", "-S", str(Path(__file__).with_name("namespaces.py")),
        *(["--dies-with-parent"] if dies_with_us else []), "--",
        sys.executable, "-m", module, str(config.folder), str(lock), *map(str, handed),
    ]  # fmt: skip
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (config.folder / "lock").hardlink_to(new)
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipes else log,
            stderr=log,
            pass_fds=(lock, *handed),
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


def up(
    config: SandboxConfig,
    say: Callable[[str], None] = lambda _: None,
    *,
    port: int = 0,
    owner: int | None = None,
    within_s: float = 150.0,
    keeper: str = _KEEPER,
) -> float:
    """Starts a sandbox in the background and returns, once it is ready, the seconds that took.

    port   of its door on 127.0.0.1; 0: any that is free
    owner  it ends when this process does; None: it stays until `down`
    """
    began = time.monotonic()
    launched: Launched | None = None
    state = config.folder / "state.json"
    with contextlib.ExitStack() as stack:
        try:
            door = stack.enter_context(_door(port))
            handed = [door.fileno()]
            if owner is not None:
                handed.append(_descriptor_of(owner))
                stack.callback(os.close, handed[-1])
        except InputError:
            shutil.rmtree(config.folder)
            raise
        facts = {"port": door.getsockname()[1], "owner": owner}
        state.write_text(json.dumps(facts))
        try:
            with uninterrupted():
                launched = launch(config, keeper, pipes=False, dies_with_us=False, handed=handed)
            _wait_ready(launched, say, within_s=within_s)
        except BaseException as error:
            kept = _keep_logs(config) if isinstance(error, (ClusterError, TimeoutError)) else None
            if launched is not None:
                launched.end()
            if isinstance(error, TimeoutError):
                raise ClusterError(f"{error}; logs in {kept}") from None
            raise
    took = time.monotonic() - began
    _background[config.name] = launched.process
    _replace(state, json.dumps({**facts, "pid": launched.init_pid, "ready_s": round(took, 3)}))
    return took


def _wait_ready(launched: Launched, say: Callable[[str], None], *, within_s: float) -> None:
    """Waits for the keeper's `ready`, telling its progress. ClusterError with its log if it ends, TimeoutError."""
    folder, said = launched.config.folder, 0

    def ready() -> bool:
        nonlocal said
        if (folder / "progress").exists():
            lines = (folder / "progress").read_text().splitlines()
            for line in lines[said:]:
                say(line)
            said = len(lines)
        if launched.process.poll() is not None:
            log = (folder / "logs" / "sandbox.log").read_text(errors="replace").strip()
            raise ClusterError(f"the sandbox {folder.name!r} did not start:\n{log or '(its log is empty)'}")
        return (folder / "ready").exists()

    wait_for(ready, within_s=within_s, what=f"the sandbox {folder.name!r} to be ready")


def _door(port: int) -> socket.socket:
    try:
        return open_door(port)
    except OSError as error:
        problem = f"127.0.0.1:{port} can't be listened on: {error.strerror}; leave --port out to get a free one"
        raise InputError([Problem("command line", "--port", problem)]) from None


def _descriptor_of(owner: int) -> int:
    """A pidfd: unlike the number, it stays this process's and means something inside the namespace."""
    try:
        return os.pidfd_open(owner)
    except OSError as error:  # there is none, or it is a thread's
        problem = f"expected a running process, got {owner}: {error.strerror}"
        raise InputError([Problem("command line", "--owner", problem)]) from None


def _replace(file: Path, text: str) -> None:
    new = file.with_name(f"{file.name}.new")
    new.write_text(text)
    new.rename(file)


def _keep_logs(config: SandboxConfig) -> Path:
    kept = root().parent / "failed" / config.name
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(config.logs, kept)
    return kept


class Stage(StrEnum):
    """How far a running sandbox is."""

    STARTING = "starting"
    READY = "ready"
    CAMPAIGN = "campaign"
    """A runner's: it has neither door nor control channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A running sandbox, seen from outside. `age_s`: since it was prepared. `pid`: first process of its namespace."""

    config: SandboxConfig
    stage: Stage
    age_s: float
    pid: int | None
    port: int | None = None
    owner: int | None = None

    @property
    def kubeconfig(self) -> Path:
        """Usable from outside once it is READY."""
        return self.config.folder / "kubeconfig"


def survey() -> list[Running]:
    """All running sandboxes, by name."""
    found = (_look(root() / name) for name in running())
    return [each for each in found if each is not None]


def find_running(name: str) -> Running:
    """A sandbox that is ready. InputError that lists those that run, or says why this one can't be used."""
    found = _look(root() / name) if _NAME.fullmatch(name) else None
    if found is None:
        option = "" if name == "default" else f" --name {name}"
        known = ", ".join(repr(n) for n in running()) or f"none; `mutineer sandbox up{option}` starts it"
        problem = f"no sandbox named {name!r} is running (running: {known})"
    elif found.stage is Stage.STARTING:
        problem = f"the sandbox {name!r} is still starting; see `mutineer sandbox logs sandbox --name {name}`"
    elif found.stage is Stage.CAMPAIGN:
        problem = f"the sandbox {name!r} belongs to a running campaign"
    else:
        return found
    raise InputError([Problem("command line", "--name", problem)])


def find(name: str) -> tuple[SandboxConfig, int]:
    """Config and first process of a sandbox that is ready. InputError as find_running."""
    found = find_running(name)
    if found.pid is None:
        raise ClusterError(f"the first process of the sandbox {name!r} can't be found")
    return found.config, found.pid


def _look(folder: Path) -> Running | None:
    try:
        if is_free(folder):
            return None
        written = folder / "config.json"
        config, age_s = SandboxConfig.from_json(written.read_text()), time.time() - written.stat().st_mtime
        state = json.loads(_read(folder / "state.json") or "null")
        if state is None:
            return Running(config=config, stage=Stage.CAMPAIGN, age_s=age_s, pid=_first_process(folder))
        return Running(
            config=config,
            stage=Stage.READY if (folder / "ready").exists() else Stage.STARTING,
            age_s=age_s,
            pid=state.get("pid") or _first_process(folder),  # whoever ran `up` may have been killed too soon
            port=state["port"],
            owner=state["owner"],
        )
    except FileNotFoundError:  # it ended just now
        return None


def _read(file: Path) -> str | None:
    try:
        return file.read_text()
    except FileNotFoundError:
        return None


def running() -> list[str]:
    """Names of the sandboxes that run."""
    return [folder.name for folder in sorted(root().iterdir()) if folder.is_dir() and not is_free(folder)]


def enter_command(
    config: SandboxConfig, pid: int, argv: Sequence[str], *, folder: Path | None = None
) -> tuple[list[str], dict[str, str]]:
    """The command and environment that run `argv` inside: same network, mounts and processes as the cluster. In
    `folder`, which is the same there as here unless it was mounted after the start; None: in /."""
    spaces = ("--user", "--preserve-credentials", "--net", "--mount", "--pid", "--ipc", "--uts")
    # not nsenter's --wd: it would be this namespace's folder, which has no name inside
    at = ["env", f"--chdir={folder}"] if folder else []
    folders = dict.fromkeys(str(path.parent) for path in config.binaries.values())
    path = ":".join([*folders, os.environ.get("PATH", "/usr/bin:/bin")])
    env = {**_environment(), "KUBECONFIG": str(config.work / "admin.kubeconfig"), "PATH": path}
    return ["nsenter", f"--target={pid}", *spaces, "--", *at, *argv], env


def logs_of(name: str, *, previous: bool = False) -> Path:
    """The folder of a running sandbox's logs; `previous`: of the last one of that name that did not start, or that had
    to be replaced. InputError where there is none."""
    if previous:
        folder = root().parent / "failed" / name
        if not (_NAME.fullmatch(name) and folder.is_dir()):
            raise InputError(f"no sandbox named {name!r} has failed to start, or had to be replaced")
        return folder
    if _NAME.fullmatch(name) and (found := _look(root() / name)) is not None:
        return found.config.logs
    return find_running(name).config.logs  # says why not


def pid_of(name: str) -> int:
    """The first process of a sandbox that runs or starts."""
    found = _look(root() / name)
    return found.pid if found is not None and found.pid is not None else find(name)[1]


def recreate(name: str, say: Callable[[str], None] = lambda _: None, *, keeper: str = _KEEPER) -> float:
    """Ends a sandbox and starts one like it, for the same owner and at the same port unless that has been taken
    meanwhile; returns the seconds that took. Its logs are kept (`logs_of`)."""
    began, before = time.monotonic(), find_running(name)
    old = before.config
    _keep_logs(old)
    down(name)
    fields = {field.name: getattr(old, field.name) for field in dataclasses.fields(old)}
    settings = cast("Settings", {key: fields[key] for key in Settings.__annotations__})
    config = prepare(name, binaries=old.binaries, **settings)
    up(config, say, port=_still_free(before.port or 0), owner=before.owner, keeper=keeper)
    return time.monotonic() - began


def _still_free(port: int) -> int:
    try:
        open_door(port).close()
    except OSError:
        return 0
    return port


def down(name: str) -> None:
    """Ends a running sandbox, also one that is still starting; returns when nothing of it is left."""
    folder = root() / name
    pid = _first_process(folder) if name in running() else None
    if pid is None:
        _, pid = find(name)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    try:
        wait_for(lambda: is_free(folder), within_s=10, what="its end")
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
        with contextlib.suppress(FileNotFoundError):  # another process removes it, too
            if folder.is_dir() and _is_left_over(folder):
                _remove_when_free(folder)
                reaped.append(folder.name)
    return reaped


def _is_left_over(folder: Path) -> bool:
    """Whether nobody has it: without a lock it may just be between `prepare` and `launch` of another process."""
    launched = (folder / "lock").exists() or time.time() - folder.stat().st_mtime > _LAUNCH_WITHIN_S
    return launched and is_free(folder)


def is_free(folder: Path) -> bool:
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two who look don't see each other
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _remove_when_free(folder: Path) -> None:
    if (child := _background.pop(folder.name, None)) is not None:
        child.wait(10)
    try:
        wait_for(lambda: is_free(folder), within_s=10, what=f"the processes of {folder.name} to end")
    except TimeoutError as error:
        raise ClusterError(str(error)) from None
    shutil.rmtree(folder, ignore_errors=True)
