"""When what has ended is started again."""

from __future__ import annotations

from campaigns.clusters.sandbox.back_off import BackOff


def starts(back_off: BackOff, name: str, until: int, *, begin: int = 0) -> list[int]:
    """When one that ends at once is started, asked every second."""
    return [second for second in range(begin, until) if back_off.due(name, second)]


def test_at_once_then_after_twice_as_long_each_time_at_most_five_minutes() -> None:
    assert starts(BackOff(), "etcd", 1300) == [0, 10, 30, 70, 150, 310, 610, 910, 1210]


def test_it_is_forgotten_ten_minutes_after_the_last_start() -> None:
    back_off = BackOff()
    starts(back_off, "etcd", 100)
    assert starts(back_off, "etcd", 682, begin=671) == [671, 681]


def test_each_has_its_own() -> None:
    back_off = BackOff()
    assert back_off.due("etcd", 0) and back_off.due("kubelet", 1) and not back_off.due("etcd", 1)
