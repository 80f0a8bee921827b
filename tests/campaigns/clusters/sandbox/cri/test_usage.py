"""What the metrics server computes, against metrics-server's rules."""

from __future__ import annotations

from dataclasses import replace

import pytest

from campaigns.clusters.sandbox.cri.usage import Batch, Point, Usage, node_metrics, pod_metrics, read_exposition

# As a kubelet 1.36 answers, cut
KUBELET = """\
# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container in core-seconds
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="web",namespace="default",pod="web-1"} 1.5 1700000010500
container_cpu_usage_seconds_total{container="idle",namespace="default",pod="idle-1"} 0 1700000010500
container_cpu_usage_seconds_total{container="half",namespace="default",pod="half-1"} 1 1700000010500
container_cpu_usage_seconds_total{container="side",namespace="default",pod="half-1"} 1 1700000010500
container_memory_working_set_bytes{container="web",namespace="default",pod="web-1"} 2.097152e+06 1700000010500
container_memory_working_set_bytes{container="idle",namespace="default",pod="idle-1"} 1024 1700000010500
container_memory_working_set_bytes{container="half",namespace="default",pod="half-1"} 1024 1700000010500
container_start_time_seconds{container="web",namespace="default",pod="web-1"} 1.70000000025e+09
node_cpu_usage_seconds_total 100.25 1700000009000
node_memory_working_set_bytes 1e+09 1700000009000
pod_cpu_usage_seconds_total{namespace="default",pod="web-1"} 1.5 1700000010500
resource_scrape_error 0
"""
WEB = ("default", "web-1")


def test_a_kubelets_answer_is_read_and_what_is_not_complete_left_out() -> None:
    assert read_exposition(KUBELET, "n", 5.0) == Batch(
        nodes={"n": Point(1700000009.0, 0.0, 100.25, 10**9)},
        pods={
            WEB: {"web": Point(1700000010.5, 1700000000.25, 1.5, 2 << 20)},
            ("default", "idle-1"): {"idle": Point(1700000010.5, 0.0, 0.0, 1024)},
        },
    )


def test_a_sample_without_a_time_is_of_now() -> None:
    text = "node_cpu_usage_seconds_total 1\nnode_memory_working_set_bytes 2\n"
    assert read_exposition(text, "n", 5.0).nodes == {"n": Point(5.0, 0.0, 1.0, 2)}


@pytest.mark.parametrize("text", ["<html>", "node_cpu_usage_seconds_total x 1\n"])
def test_what_is_no_exposition_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_exposition(text, "n", 0)


def of(*points: Point, resolution_s: float = 15) -> tuple[Point, Point] | None:
    """What is known of a container after scrapes that brought `points`."""
    usage = Usage(resolution_s)
    for point in points:
        usage.store(Batch(pods={WEB: {"web": point}}))
    found = usage.of_pod(WEB)
    return found["web"] if found is not None else None


FIRST = Point(100.0, 10.0, 1.0, 1)
SECOND, THIRD = replace(FIRST, at_s=115.0, cpu_s=2.0), replace(FIRST, at_s=130.0, cpu_s=4.0)


def test_usage_is_of_the_last_two_points() -> None:
    assert of(FIRST) is None
    assert of(FIRST, SECOND) == (FIRST, SECOND)
    assert of(FIRST, SECOND, THIRD) == (SECOND, THIRD)


def test_a_point_that_comes_twice_is_one() -> None:
    assert of(FIRST, FIRST) is None
    assert of(FIRST, SECOND, SECOND) == (FIRST, SECOND)
    assert of(SECOND, THIRD, FIRST) is None, "older than what is known"


def test_a_container_started_again_begins_anew() -> None:
    restarted = Point(115.0, 105.5, 0.1, 1)
    assert of(FIRST, restarted) is None
    assert of(FIRST, restarted, replace(restarted, at_s=130.0)) == (restarted, replace(restarted, at_s=130.0))


def test_a_container_that_runs_for_most_of_the_resolution_counts_from_its_start() -> None:
    fresh = Point(112.0, 100.0, 3.0, 1)
    assert of(fresh) == (Point(100.0, 100.0, 0.0, 1), fresh)
    assert of(replace(fresh, at_s=109.0)) is None, "too short"
    assert of(fresh, resolution_s=10) is None


def test_a_pod_is_told_of_only_when_all_its_containers_are() -> None:
    usage = Usage(15)
    usage.store(Batch(pods={WEB: {"web": FIRST}}))
    assert not usage.ready
    usage.store(Batch(pods={WEB: {"web": SECOND, "side": SECOND}}))
    assert usage.of_pod(WEB) is None and usage.ready
    usage.store(Batch(pods={WEB: {"web": THIRD, "side": THIRD}}))
    assert usage.of_pod(WEB) == {"web": (SECOND, THIRD), "side": (SECOND, THIRD)}
    usage.store(Batch())
    assert usage.of_pod(WEB) is None and not usage.ready, "it is gone"


def test_nodes_likewise_and_a_counter_that_falls_tells_nothing() -> None:
    usage = Usage(15)
    for point in (FIRST, SECOND):
        usage.store(Batch(nodes={"n": point}))
    assert usage.of_node("n") == (FIRST, SECOND) and usage.ready
    usage.store(Batch(nodes={"n": SECOND}))
    assert usage.of_node("n") == (FIRST, SECOND)
    usage.store(Batch(nodes={"n": replace(THIRD, cpu_s=0.5)}))
    assert usage.of_node("n") is None and usage.of_node("m") is None


def test_objects_are_those_of_the_api() -> None:
    metadata = {"name": "web-1", "namespace": "default", "labels": {"app": "web"}, "uid": "u", "managedFields": []}
    earlier, later = Point(1000.0, 0, 1.0, 1), Point(1002.0, 0, 1.5, 3 << 20)
    older = (replace(earlier, at_s=999.0), replace(later, at_s=1001.5))
    pod = pod_metrics(metadata, {"web": (earlier, later), "side": older})
    assert pod["metadata"].pop("creationTimestamp").endswith("Z")
    assert pod == {
        "apiVersion": "metrics.k8s.io/v1beta1",
        "kind": "PodMetrics",
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"app": "web"}},
        "timestamp": "1970-01-01T00:16:41Z",
        "window": "2.500s",
        "containers": [
            {"name": "side", "usage": {"cpu": "200000000n", "memory": "3072Ki"}},
            {"name": "web", "usage": {"cpu": "250000000n", "memory": "3072Ki"}},
        ],
    }
    node = node_metrics({"name": "n"}, (earlier, later))
    assert (node["kind"], node["window"], node["usage"]["cpu"]) == ("NodeMetrics", "2.000s", "250000000n")
