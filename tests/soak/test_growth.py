"""What counts as growth."""

from __future__ import annotations

import dataclasses

import pytest

from tests.soak.growth import Sample, enough, grown, more

MB = 1 << 20


def sample(
    number: int, *, apiserver: int = 300 * MB, mounts: int = 130, descriptors: int = 90, database: int = MB
) -> Sample:
    return Sample(
        at_s=60.0 * number,
        processes={"kube-apiserver": 1, "etcd": 1},
        threads={"kube-apiserver": 11, "etcd": 8},
        descriptors={"kube-apiserver": descriptors, "etcd": 70},
        memory_bytes={"kube-apiserver": apiserver, "etcd": 40 * MB + 2 * database},
        mounts=mounts,
        namespaces=10,
        links=5,
        files=100,
        logs=30,
        database_bytes=database,
    )


def wrong(samples: list[Sample]) -> list[str]:
    return [growth.name for growth in grown(samples) if growth.wrong]


def test_what_stays_as_it_is_and_wobbles_has_not_grown() -> None:
    assert wrong([sample(n, apiserver=(300 + n % 7) * MB) for n in range(60)]) == []


def test_a_warm_up_is_no_growth() -> None:
    assert wrong([sample(n, apiserver=(150 if n < 9 else 300) * MB) for n in range(60)]) == []


@pytest.mark.parametrize(
    ("samples", "names"),
    [
        ([sample(n, apiserver=(300 + n) * MB) for n in range(60)], ["memory of kube-apiserver", "memory, all"]),
        ([sample(n, mounts=130 + n // 30) for n in range(60)], ["mounts"]),
        ([sample(n, descriptors=90 + n) for n in range(60)], ["descriptors of kube-apiserver"]),
    ],
)
def test_what_grows_is_named(samples: list[Sample], names: list[str]) -> None:
    assert wrong(samples) == names


def test_the_history_that_etcd_keeps_is_no_leak_but_is_shown() -> None:
    found = grown([sample(n, database=n * MB) for n in range(60)])
    assert [growth.name for growth in found if growth.wrong] == []
    (database,) = [growth for growth in found if growth.name == "etcd's database"]
    assert database.last - database.first > 30 * MB
    assert database.row()["growth"] == f"{(database.last - database.first) / 1e6:.4g}"


def test_few_samples_are_not_judged() -> None:
    few = [sample(n) for n in range(9)]
    assert not enough(few[:8]) and enough([sample(n) for n in range(10)])
    with pytest.raises(ValueError, match="too few"):
        grown(few[:8])


def test_more_names_what_there_is_more_of() -> None:
    before = sample(0)
    after = dataclasses.replace(before, mounts=131, files=99, processes={"kube-apiserver": 1, "etcd": 1, "sh": 2})
    assert more(before, after) == ["mounts: 131, 130 before", "processes of sh: 2, 0 before"]
