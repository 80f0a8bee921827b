"""The image catalogue."""

from __future__ import annotations

import shutil

import pytest

from campaigns.clusters.sandbox.cri.images import BUILT_IN, Catalogue

CATALOGUE = Catalogue({"mutineer/web:1": ("web", "--fast"), "mutineer/web:2": ("web",), "tool": ("tool",)})


@pytest.mark.parametrize("name", ["mutineer/web:1", "docker.io/mutineer/web:1", "docker.io/library/mutineer/web:1"])
def test_an_image_is_found_by_its_name_however_the_registry_spells_it(name: str) -> None:
    found = CATALOGUE.find(name)
    assert found is not None and found.command == ("web", "--fast")


@pytest.mark.parametrize("name", ["mutineer/web", "mutineer/web:3", "mutineer/web:", "web:1", "", "quay.io/tool"])
def test_an_image_that_is_not_in_the_catalogue_is_not_found(name: str) -> None:
    assert CATALOGUE.find(name) is None


def test_an_id_finds_its_image_and_no_two_images_share_one() -> None:
    images = CATALOGUE.all()
    assert len({image.id for image in images}) == 3
    assert [CATALOGUE.find(image.id) for image in images] == images
    assert all(image.id.startswith("sha256:") and len(image.id) == 71 for image in images)


def test_the_built_in_images_are_commands_of_this_machine() -> None:
    assert "mutineer/web:1" in BUILT_IN
    assert all(shutil.which(command[0]) for command in BUILT_IN.values())
