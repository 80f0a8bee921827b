#!/usr/bin/env python3
"""Sets everything up that `make run` and `make test` need: system tools, uv, the virtual environment in .venv.

Run with whatever `python3` the machine has. It uses the standard library only and keeps to Python 3.6's syntax, so
that an old Python can say what it lacks; where it is too old it looks for a newer one and goes on with that.
It asks no questions. As root it installs missing Debian packages and says so; as an ordinary user it stops with the
one line that does (exit code 3). When nothing changed since the last time it does nothing, in well under 0.5 s.

    python3 tools/bootstrap.py [--force] [--uv]     --force: make .venv anew; --uv: print where uv is

Files: .venv/ (the environment), .venv/mutineer-bootstrap (what it was made from), .uv/ (a private uv, where the
machine has none; pinned by hash in tools/uv.txt), requirements.lock (every dependency with its hashes; why not
uv.lock: docs/decisions/001-lock-file.md).
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV, PRIVATE_UV = ROOT / ".venv", ROOT / ".uv"
STAMP = VENV / "mutineer-bootstrap"
LOCK, PROJECT, UV_LOCK = ROOT / "requirements.lock", ROOT / "pyproject.toml", ROOT / "tools" / "uv.txt"

MINIMUM_PYTHON = (3, 11)
NEWER_PYTHONS = ("python3.14", "python3.13", "python3.12", "python3.11")
MINIMUM_UV = (0, 5)
"""Older ones lack `pip sync --require-hashes` together with universal locks (0.4) or groups in pyproject.toml (0.5)."""
EXIT_ENVIRONMENT = 3


sys.path.insert(0, str(ROOT))
if sys.version_info >= MINIMUM_PYTHON:  # standard library only, but not an old Python's
    from campaigns.environment import install_command, installer_environment, missing_packages


class BootstrapError(Exception):
    """What is missing, and the line that mends it."""

    def __init__(self, what: "str", remedy: "str") -> None:
        super().__init__(what)
        self.what, self.remedy = what, remedy


def say(text: "str") -> None:
    print(f"bootstrap: {text}", file=sys.stderr, flush=True)


def find_newer_python(which=shutil.which) -> "str":
    """A python3.11 or newer on PATH, for a Python that is too old."""
    for name in NEWER_PYTHONS:
        if which(name):
            return which(name)
    version = ".".join(map(str, sys.version_info[:3]))
    raise BootstrapError(
        f"mutineer needs Python >= 3.11; this is {version}, and there is no {' or '.join(reversed(NEWER_PYTHONS))}",
        "{}apt-get install -y python3.11 python3.11-venv   (or any newer Python)".format(
            "sudo " if os.getuid() else ""
        ),
    )


def fingerprint() -> "str":
    """Changes when the environment has to be brought up to date. First line: where it was made; its scripts hold
    that path, so a checkout that was moved needs a new environment."""
    digest = hashlib.sha256()
    for path in (LOCK, PROJECT, UV_LOCK, Path(__file__)):
        digest.update(path.read_bytes())
    return f"{ROOT}\n{digest.hexdigest()}\n"


def environment_stands() -> "bool":
    """Whether .venv has a Python that runs, is new enough, finds its packages, and was made in this place."""
    probe = "import sys; print(sys.prefix); print(*sys.version_info[:2])"
    try:
        command = [str(VENV / "bin" / "python"), "-I", "-c", probe]
        said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30).stdout.decode()
        prefix, version = said.splitlines()
        numbers = tuple(map(int, version.split()))
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return False
    packages = VENV / "lib" / "python{}.{}".format(*numbers)
    moved = STAMP.exists() and STAMP.read_text().split("\n")[0] != str(ROOT)
    return Path(prefix) == VENV and numbers >= MINIMUM_PYTHON and packages.is_dir() and not moved


def is_current() -> "bool":
    """Whether .venv was made from what is here now, and still stands."""
    try:
        return STAMP.read_text() == fingerprint() and environment_stands()
    except OSError:
        return False


def run(command: "list[str]", what: "str", remedy: "str") -> None:
    """Run a step; its own messages go to the terminal."""
    environment = installer_environment()
    environment.pop("VIRTUAL_ENV", None)
    environment["DEBIAN_FRONTEND"] = "noninteractive"
    if subprocess.run(command, cwd=str(ROOT), env=environment, stdin=subprocess.DEVNULL).returncode != 0:
        raise BootstrapError(f"{what} failed: {' '.join(command)}", remedy)


# System packages


def wanted_packages(needs_uv: "bool") -> "list[str]":
    """Debian packages that are missing: the sandbox's tools, and what a private uv is made with if one is needed."""
    packages = list(missing_packages())
    if needs_uv and not (find_spec("ensurepip") and find_spec("venv")):
        packages.append("python{}.{}-venv".format(*sys.version_info[:2]))
    return packages


def install_packages(packages: "list[str]") -> None:
    """With apt as root; otherwise stop with the one line. Package lists are fetched only if they are too old."""
    install = ["apt-get", "install", "-y", "--no-install-recommends", "-qq", "-o=Dpkg::Use-Pty=0", *packages]
    line = install_command(packages)
    names = ", ".join(packages)
    if os.getuid() != 0:
        raise BootstrapError(f"system packages are missing: {names}", line)
    if shutil.which("apt-get") is None:
        raise BootstrapError(f"system packages are missing, and there is no apt-get: {names} (Debian's names)",
                             "install them with this system's package manager")  # fmt: skip
    say(f"installing Debian packages: {names}")
    try:
        run(install, "apt-get install", line)
    except BootstrapError:
        run(["apt-get", "update", "-qq"], "apt-get update", "make the package index reachable, then try again")
        run(install, "apt-get install", line)


# uv and the environment


def usable_uv(which=shutil.which) -> "str | None":
    """uv on PATH, if it runs (a version manager's shim may not) and is new enough; else the private one, if there."""
    for path in (which("uv"), str(PRIVATE_UV / "bin" / "uv")):
        if path is None or not os.access(path, os.X_OK):
            continue
        with contextlib.suppress(OSError, ValueError, IndexError, subprocess.TimeoutExpired):
            said = subprocess.run(
                [path, "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30
            ).stdout.decode()
            if tuple(map(int, said.split()[1].split(".")[:2])) >= MINIMUM_UV:
                return path
    return None


def install_uv() -> "str":
    """A private uv in .uv/, pinned by hash."""
    say("installing uv into .uv/")
    for half in ("bin", "lib"):  # of an earlier try; not --clear, which would take the lock file too
        shutil.rmtree(str(PRIVATE_UV / half), ignore_errors=True)
    run([sys.executable, "-m", "venv", str(PRIVATE_UV)], "making a venv for uv", "install uv yourself")
    pip = [str(PRIVATE_UV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "-q", "install"]
    run([*pip, "--require-hashes", "--no-deps", "-r", str(UV_LOCK)], "installing uv",
        "make the Python package index reachable (pip.conf, PIP_INDEX_URL), or install uv yourself")  # fmt: skip
    return str(PRIVATE_UV / "bin" / "uv")


def make_environment(uv: "str", force: "bool") -> None:
    """.venv with exactly what the lock names, and this checkout in it."""
    index = "make the Python package index reachable (UV_DEFAULT_INDEX, HTTPS_PROXY), then try again"
    python = VENV / "bin" / "python"
    stands = environment_stands() and not force
    with contextlib.suppress(OSError):
        STAMP.unlink()
    if not stands:
        if VENV.exists():
            shutil.rmtree(str(VENV))
        run([uv, "venv", "-q", "--python", sys.executable, str(VENV)], "making .venv", "remove .venv, then try again")
    say("installing what requirements.lock names into .venv/")
    run([uv, "pip", "sync", "-q", "--python", str(python), "--require-hashes", str(LOCK)], "uv pip sync", index)
    editable = ["--no-deps", "--no-build-isolation", "-e", str(ROOT)]
    run([uv, "pip", "install", "-q", "--python", str(python), *editable], "installing mutineer", index)
    STAMP.write_text(fingerprint())


def bootstrap(force: "bool") -> None:
    """Everything, in order; each step is skipped if it is done."""
    current = is_current() and not force
    uv = None if current else usable_uv()
    packages = wanted_packages(needs_uv=not current and uv is None)
    if packages:
        install_packages(packages)
    if not current:
        make_environment(uv or install_uv(), force)
        say("ready: {}".format(VENV / "bin" / "mutineer"))


def main(arguments: "list[str]") -> "int":
    try:
        if sys.version_info < MINIMUM_PYTHON:
            newer = find_newer_python()
            os.execv(newer, [newer, str(Path(__file__).resolve()), *arguments])  # noqa: S606 - no shell
        PRIVATE_UV.mkdir(exist_ok=True)
        with (PRIVATE_UV / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # a second `make` waits, then finds it done
            bootstrap("--force" in arguments)
            if "--uv" in arguments:
                print(usable_uv() or install_uv())
    except BootstrapError as error:
        say(f"{error.what}\n  remedy: {error.remedy}")
        return EXIT_ENVIRONMENT
    except KeyboardInterrupt:
        say("interrupted; run it again to go on")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
