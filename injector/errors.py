"""Every error this project raises on purpose, as one tree.

    MutineerError                 says what, where, the value and what to do
    ├── InputError                the user's input: all problems at once (exit code 2)
    ├── EnvironmentFailure        the machine lacks something, with the remedy (exit code 3)
    │   └── AssetError            a binary can't be had, or is not what it says
    ├── HarnessError              our own machinery failed; never a finding (exit code 3)
    │   ├── ClusterError          a component of the cluster did not start, answer or stop
    │   └── StoreError            a record is foreign, newer, locked or broken
    └── InjectionError            a fault can't be carried out as asked
        ├── CodecError            bytes are not the stored object they should be
        ├── FaultError            the model does not fit the field or its parameters
        ├── NotFired              a fault was armed, and no message came that it fits
        └── WireError             a peer broke HTTP/2 or gRPC

The tree stands in the lowest layer so that every room can raise from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "AssetError",
    "ClusterError",
    "CodecError",
    "EnvironmentFailure",
    "FaultError",
    "HarnessError",
    "InjectionError",
    "InputError",
    "MutineerError",
    "NotFired",
    "Problem",
    "StoreError",
    "WireError",
]


class MutineerError(Exception):
    """Root of everything raised on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the input: where it is (`file: path.to[0].key`), and what was expected and got."""

    file: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.path}: {self.message}" if self.path else f"{self.file}: {self.message}"


class InputError(MutineerError):
    """The user's input has problems; all of them are listed."""

    def __init__(self, problems: Iterable[Problem] | str) -> None:
        self.problems = (Problem("input", "", problems),) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(p.message if p.file == "input" else str(p) for p in self.problems))


class EnvironmentFailure(MutineerError):  # noqa: N818 - EnvironmentError is a builtin, and means something else
    """The machine lacks something. `remedy` is the one thing the user can do about it."""

    def __init__(self, what: str, *, remedy: str) -> None:
        self.what, self.remedy = what, remedy
        super().__init__(f"{what}\n  remedy: {remedy}")


class AssetError(EnvironmentFailure):
    """A binary can't be had, or its bytes are not what its checksum says."""


class HarnessError(MutineerError):
    """Our own machinery failed. Such a failure is never reported as a finding in the cluster."""


class ClusterError(HarnessError):
    """A component of the cluster did not start, answer or stop in time."""


class StoreError(HarnessError):
    """A run's record is foreign, newer than this program, locked or broken."""


class InjectionError(MutineerError):
    """A fault can't be carried out as asked."""


class CodecError(InjectionError):
    """Bytes are not the stored object they should be."""


class FaultError(InjectionError):
    """The fault model does not fit the field, or its parameters are wrong."""


class NotFired(InjectionError):  # noqa: N818 - what came of it, as everywhere else; no bug of the one who catches it
    """A fault was armed, and no message came that it fits. The words name those that nearly did."""


class WireError(InjectionError):
    """A peer broke HTTP/2 or gRPC framing."""
