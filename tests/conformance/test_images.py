from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from campaigns.assets.cache import Cache
from campaigns.assets.manifest import HERE
from campaigns.assets.progress import Silent
from campaigns.assets.toolchain import required_go
from tests.conformance import images
from tests.conformance.build import COMMANDS, DATA, DEBIAN, GO, Built, digest, ensure_built, missing_programs

BUSYBOX = "#!/bin/sh\nprintf '[\\n[[\\nash\\nbusybox\\ncat\\nsh\\n'\n"
NAMES = (
    "registry.k8s.io/e2e-test-images/agnhost:2.63.0", "registry.k8s.io/e2e-test-images/busybox:1.37.0-1",
    "registry.k8s.io/e2e-test-images/kitten:1.8", "registry.k8s.io/etcd:3.6.8-0",
    "invalid.registry.k8s.io/invalid/alpine:3.1", "gcr.io/k8s-authenticated-test/agnhost:2.6",
)  # fmt: skip


@pytest.fixture
def built(tmp_path: Path) -> Built:
    program = tmp_path / "built" / "debian" / "busybox-static" / "bin" / "busybox"
    program.parent.mkdir(parents=True)
    program.write_text(BUSYBOX)
    program.chmod(0o755)
    return Built(tmp_path / "built")


@pytest.fixture
def binaries(tmp_path: Path) -> dict[str, Path]:
    found = {name: tmp_path / name for name in ("etcd", "coredns")}
    for path in found.values():
        path.write_text("a program")
        path.chmod(0o755)
    return found


def test_only_images_with_a_recipe_are_in_the_catalogue(built: Built, binaries: dict[str, Path]) -> None:
    assert {*images.catalogue(built, NAMES, binaries)} == {*NAMES[:4]}


def test_busybox_is_alone_in_its_usr_with_every_applets_name(built: Built, binaries: dict[str, Path]) -> None:
    for _ in range(2):  # made once, and found the second time
        image = images.catalogue(built, [NAMES[1]], binaries)[NAMES[1]]
        place = Path(image.files["/usr"]) / "bin"
        assert sorted(path.name for path in place.iterdir()) == ["[", "[[", "ash", "busybox", "cat", "sh"]
        assert {os.readlink(place / name) for name in ("sh", "cat")} == {"busybox"}
        assert image.arguments == ("sh",)


def test_what_a_case_moves_is_copied_into_agnhosts_image(built: Built, binaries: dict[str, Path]) -> None:
    image = images.catalogue(built, [NAMES[0]], binaries)[NAMES[0]]
    assert (image.command, image.arguments) == (("/agnhost",), ("pause",))
    assert {*image.copies} == {"/localhost.crt", "/localhost.key"}
    assert image.files["/agnhost"] == image.files["/agnhost-2"] == str(built.folder / "agnhost")


def test_a_kitten_serves_its_picture(built: Built, binaries: dict[str, Path]) -> None:
    image = images.catalogue(built, [NAMES[2]], binaries)[NAMES[2]]
    assert image.arguments == ("test-webserver",)
    assert image.copies["/kitten.jpg"].endswith("kitten/html/kitten.jpg")


def test_etcds_image_follows_the_sandboxs_etcd(built: Built, binaries: dict[str, Path]) -> None:
    for content in ("a program", "a newer program"):
        fresh = binaries["etcd"].with_name(f"etcd-{len(content)}")
        fresh.write_text(content)
        image = images.catalogue(built, [NAMES[3]], {**binaries, "etcd": fresh})[NAMES[3]]
        assert (Path(image.files["/usr"]) / "local/bin/etcd").read_text() == content


def test_every_data_file_of_an_image_is_one_that_the_build_brings(built: Built, binaries: dict[str, Path]) -> None:
    known = {str(built.data(path)) for path in DATA}
    for recipe in images.RECIPES.values():
        assert {*recipe.make(built, binaries).copies.values()} <= known


def test_the_pages_list_says_what_runs() -> None:
    assert [name for name, _ in images.describe(NAMES)] == sorted(NAMES[:4])


def test_the_suites_images_are_asked_for(tmp_path: Path) -> None:
    program = tmp_path / "e2e.test"
    program.write_text("#!/bin/sh\necho b/c:2\necho a/b:1\necho nonsense\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    assert images.suite_images(program) == ["a/b:1", "b/c:2"]


def test_the_suites_module_is_pinned_to_the_clusters_version_and_knows_every_command() -> None:
    pinned, clusters = (GO / "go.mod").read_text(), (HERE / "go/kubernetes/go.mod").read_text()
    version = re.compile(r"^(?:require )?\s*k8s\.io/kubernetes (v\S+)", re.MULTILINE)
    assert version.findall(pinned) == version.findall(clusters)
    assert required_go(GO / "go.mod") >= (1, 26)
    assert all(package in pinned for package in COMMANDS.values())


def test_the_digest_changes_with_what_is_pinned(tmp_path: Path) -> None:
    for name in ("go.mod", "go.sum"):
        (tmp_path / name).write_bytes((GO / name).read_bytes())
    assert digest(tmp_path) == digest()
    (tmp_path / "go.sum").write_text("other")
    assert digest(tmp_path) != digest()


def test_missing_programs_are_told_as_debians_packages() -> None:
    assert missing_programs({"sh": "dash", "no-such-program": "some-package"}) == ["some-package"]


def test_what_was_built_before_is_neither_built_nor_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache" / "conformance" / digest()
    for name in (*COMMANDS, "e2e.test", "sources/data", *(f"debian/{package}.version" for package in DEBIAN)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("there")
    monkeypatch.setattr("tests.conformance.build.PROGRAMS", {})
    monkeypatch.setenv("PATH", str(tmp_path))  # neither Go nor apt-get
    progress = Silent()
    found = ensure_built(progress, Cache(tmp_path / "cache"))
    assert (found.folder, found.suite, progress.notes) == (folder, folder / "e2e.test", [])
    assert found.package_version("nginx") == "there"
