"""How many sandboxes a machine bears."""

from __future__ import annotations

import pytest

from campaigns.running.capacity import sandboxes_side_by_side

GIB = 1 << 30


@pytest.mark.parametrize(
    ("cores", "memory", "inotify", "wanted", "number", "why"),
    [
        (2, 64 * GIB, 1024, 100, 3, "an experiment mostly waits"),
        (1, 64 * GIB, 1024, 100, 1, "the same on one core"),
        (16, 8 * GIB, 1024, 100, 5, "memory"),
        (16, 64 * GIB, 1024, 3, 3, "no more than experiments"),
        (16, 64 * GIB, 128, 100, 3, "the kernel's own default of inotify instances"),
        (16, 1 * GIB, 1024, 100, 1, "one is tried in any case"),
    ],
)
def test_as_many_as_cpu_memory_inotify_and_experiments_bear(
    cores: int, memory: int, inotify: int, wanted: int, number: int, why: str
) -> None:
    assert sandboxes_side_by_side(cores, memory, inotify, wanted) == number, why
