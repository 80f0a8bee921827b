"""Foreign packages that take an import name of ours.

PyPI's `injector` (a dependency-injection framework) installs the import name of our own package, and PyPI's `etcd3`
that of `python3-etcd3`, which we need. Either one breaks mutineer with an import error, so this module imports
nothing of ours and nothing but the standard library: the command asks it before it imports anything else.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

__all__ = ["FOREIGN", "ForeignPackage", "foreign_packages", "uninstall_command"]

ROOT = Path(__file__).parents[1]

FOREIGN = {
    "injector": "it installs the import name `injector`, which is a package of mutineer",
    "etcd3": "it installs the import name `etcd3`, which mutineer takes from python3-etcd3",
}
"""Distribution on PyPI → why it must not be installed beside mutineer."""


@dataclass(frozen=True, slots=True)
class ForeignPackage:
    """An installed distribution that is in the way; `where` is the folder it is installed in."""

    name: str
    version: str
    where: str
    why: str


def _installed(name: str) -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def foreign_packages(
    installed: Callable[[str], importlib.metadata.Distribution | None] = _installed,
) -> tuple[ForeignPackage, ...]:
    """Those of `FOREIGN` that are installed for this interpreter."""
    return tuple(
        ForeignPackage(name, found.version, str(found.locate_file("")), why)
        for name, why in FOREIGN.items()
        if (found := installed(name)) is not None
    )


def uninstall_command(
    packages: tuple[ForeignPackage, ...], *, root: Path = ROOT, prefix: Path = Path(sys.prefix)
) -> str:
    """The one command that mends it. The foreign package may have overwritten files of the right one, so taking it
    out is not enough: a checkout's own .venv is made anew, elsewhere mutineer has to be installed again."""
    if prefix == root / ".venv":
        return f"python3 {root / 'tools' / 'bootstrap.py'} --force"
    names = " ".join(package.name for package in packages)
    pip = (
        f"{sys.executable} -m pip uninstall --yes"
        if find_spec("pip")
        else f"uv pip uninstall --python {sys.executable}"
    )
    return f"{pip} {names}   (then install mutineer again)"
