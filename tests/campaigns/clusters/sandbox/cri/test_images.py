"""The image catalogue."""

from __future__ import annotations

import importlib

import pytest

from campaigns.clusters.sandbox.config import ImageConfig
from campaigns.clusters.sandbox.cri import programs
from campaigns.clusters.sandbox.cri.images import BUILT_IN, PAUSE, Catalogue, Image

CATALOGUE = Catalogue(
    {
        "mutineer/web:1": ImageConfig(command=("web", "--fast")),
        "mutineer/web:2": ImageConfig(command=("web",)),
        "tool": ImageConfig(command=("tool",)),
        "tool:latest": ImageConfig(command=("tool",), arguments=("x",), files={"/a": "/b"}, copies={"/c": "/d"}),
    }
)


@pytest.mark.parametrize("name", ["mutineer/web:1", "docker.io/mutineer/web:1", "docker.io/library/mutineer/web:1"])
def test_an_image_is_found_by_its_name_however_the_registry_spells_it(name: str) -> None:
    found = CATALOGUE.find(name)
    assert found is not None and (found.command, found.program) == (("web", "--fast"), None), "ours replaces a built-in"


@pytest.mark.parametrize(
    "name", ["mutineer/web", "mutineer/web:3", "mutineer/web:", "web:1", "", "quay.io/tool", "sha256:", "tool:1"]
)
def test_an_image_that_is_not_in_the_catalogue_is_not_found(name: str) -> None:
    assert CATALOGUE.find(name) is None


def test_latest_is_what_an_image_without_a_tag_is_called() -> None:
    plain = Catalogue({"tool": ImageConfig(command=("tool",))})
    assert plain.find("tool:latest") == plain.find("docker.io/library/tool:latest") == plain.find("tool") is not None


def test_an_image_keeps_all_that_is_said_of_it() -> None:
    found = CATALOGUE.find("tool:latest")
    assert found == Image("tool:latest", ("tool",), ("x",), files={"/a": "/b"}, copies={"/c": "/d"})


def test_an_id_finds_its_image_and_no_two_images_share_one() -> None:
    images = CATALOGUE.all()
    assert [CATALOGUE.find(image.id) for image in images] == images
    assert all(image.id.startswith("sha256:") and len(image.id) == 71 for image in images)
    same = [
        Image("a", ("b", "c")), Image("a", ("b",), ("c",)), Image("a", ("bc",)), Image("a", program="b"),
        Image("a", files={"b": "c"}), Image("a", copies={"b": "c"}), Image("a"),
    ]  # fmt: skip
    assert len({image.id for image in same}) == len(same)
    assert Image("a", files={"x": "1", "y": "2"}).id == Image("a", files={"y": "2", "x": "1"}).id


def test_every_built_in_image_is_a_program_of_ours() -> None:
    assert {"mutineer/web:1", "mutineer/client:1", "mutineer/routes:1", PAUSE} <= BUILT_IN.keys()
    for image in BUILT_IN.values():
        assert image.program is not None and image.command == ()
        assert callable(importlib.import_module(f"{programs.__name__}.{image.program}").main)
