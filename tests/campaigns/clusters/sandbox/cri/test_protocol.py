"""The CRI's messages, from its descriptor set."""

from __future__ import annotations

import pytest

from campaigns.clusters.sandbox.cri.protocol import methods, new


def test_a_message_survives_its_encoding() -> None:
    container = new("ContainerConfig", command=["a", "b"], image=new("ImageSpec", image="x"), labels={"k": "v"})
    again = type(container).FromString(container.SerializeToString())
    assert (list(again.command), again.image.image, dict(again.labels)) == (["a", "b"], "x", {"k": "v"})


def test_field_numbers_are_those_of_the_published_api() -> None:
    # k8s.io/cri-api v0.36.3 pkg/apis/runtime/v1/api.proto
    wanted = {
        "VersionResponse": {"version": 1, "runtime_name": 2, "runtime_version": 3, "runtime_api_version": 4},
        "RunPodSandboxRequest": {"config": 1, "runtime_handler": 2},
        "StopContainerRequest": {"container_id": 1, "timeout": 2},
        "PodSandboxStatus": {"id": 1, "metadata": 2, "state": 3, "created_at": 4, "network": 5, "linux": 6},
    }
    for name, numbers in wanted.items():
        described = new(name).DESCRIPTOR.fields_by_name
        assert {field: described[field].number for field in numbers} == numbers


def test_both_services_name_the_calls_that_kubelets_make() -> None:
    runtime = methods("RuntimeService")
    assert {"Version", "RunPodSandbox", "StartContainer", "ListContainers", "UpdateRuntimeConfig"} <= runtime.keys()
    assert runtime["GetContainerEvents"][2] and not runtime["Version"][2], "which calls stream"
    assert {"PullImage", "ImageStatus", "ImageFsInfo"} <= methods("ImageService").keys()


def test_what_the_cri_does_not_know_is_refused() -> None:
    with pytest.raises(KeyError):
        new("NoSuchMessage")
    with pytest.raises(ValueError, match="no_such_field"):
        new("VersionResponse", no_such_field=1)
