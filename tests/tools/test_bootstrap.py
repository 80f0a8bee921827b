"""Bootstrap is run for real, on a small tree with a `uv` that makes the environment with the standard library."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import bootstrap

ROOT = Path(__file__).parents[2]

UV = f"""#!/bin/sh
echo "$*" >> "$LOG"
case "$1" in
  --version) echo "uv 0.9.0" ;;
  venv) exec {sys.executable} -m venv --without-pip "$5" ;;
esac
"""


def put(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What bootstrap needs of a checkout."""
    tree = tmp_path / "tree"
    for name in ("campaigns/__init__.py", "campaigns/environment.py", "campaigns/import_names.py", "tools/bootstrap.py",
                 "tools/uv.txt", "requirements.lock", "pyproject.toml"):  # fmt: skip
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name)
    return tree


def run(tree: Path, *arguments: str, uv: str = UV) -> list[str]:
    """Run bootstrap; the calls of uv that it made, but for --version."""
    log = tree.parent / "log"
    log.write_text("")
    put(tree.parent / "bin", "uv", uv)
    environment = {
        "PATH": f"{tree.parent / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin",
        "LOG": str(log),
        "HOME": str(tree.parent),
    }
    subprocess.run([sys.executable, tree / "tools" / "bootstrap.py", *arguments], env=environment, check=True)
    return [line for line in log.read_text().splitlines() if line != "--version"]


def test_the_environment_is_made_from_the_hashed_lock_and_a_second_run_does_nothing(tree: Path) -> None:
    python = tree / ".venv" / "bin" / "python"
    assert run(tree) == [
        f"venv -q --python {sys.executable} {tree / '.venv'}",
        f"pip sync -q --python {python} --require-hashes {tree / 'requirements.lock'}",
        f"pip install -q --python {python} --no-deps --no-build-isolation -e {tree}",
    ]
    assert run(tree) == []


def test_a_changed_lock_is_synced_into_the_same_environment(tree: Path) -> None:
    run(tree)
    (tree / "requirements.lock").write_text("# changed\n")
    assert [call.split()[:2] for call in run(tree)] == [["pip", "sync"], ["pip", "install"]]


def test_force_and_a_moved_or_broken_tree_make_the_environment_anew(tree: Path) -> None:
    run(tree)
    assert run(tree, "--force")[0].startswith("venv ")
    (tree / ".venv" / "bin" / "python").unlink()
    assert run(tree)[0].startswith("venv ")
    moved = tree.rename(tree.with_name("moved"))
    assert run(moved)[0].startswith("venv ")
    assert run(moved) == []


def test_a_step_that_fails_is_said_with_its_remedy_and_tried_again_the_next_time(tree: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run(tree, uv=UV.replace("esac", "  pip) exit 1 ;;\nesac"))
    assert caught.value.returncode == bootstrap.EXIT_ENVIRONMENT
    assert [call.split()[:2] for call in run(tree)] == [["pip", "sync"], ["pip", "install"]]


def test_uv_on_path_is_taken_only_if_it_runs_and_is_new_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "PRIVATE_UV", tmp_path / "private")

    def usable(text: str) -> str | None:
        path = put(tmp_path / "bin", "uv", text)
        return bootstrap.usable_uv(lambda name: str(path))

    assert usable("#!/bin/sh\necho uv 0.13.9\n") == str(tmp_path / "bin" / "uv")
    assert usable("#!/bin/sh\necho uv 0.4.30\n") is None
    assert usable("#!/bin/sh\necho 'pyenv: uv: command not found' >&2\nexit 127\n") is None
    put(tmp_path / "private", "bin", "").unlink()
    private = put(tmp_path / "private" / "bin", "uv", "#!/bin/sh\necho uv 0.13.9\n")
    assert usable("nonsense") == str(private)


def test_an_ordinary_user_is_told_the_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    with pytest.raises(bootstrap.BootstrapError) as caught:
        bootstrap.install_packages(["bubblewrap", "nftables"])
    assert caught.value.what == "system packages are missing: bubblewrap, nftables"
    assert caught.value.remedy == (
        "sudo apt-get update && sudo apt-get install -y --no-install-recommends bubblewrap nftables"
    )


def test_root_installs_and_fetches_package_lists_only_if_it_has_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    log = tmp_path / "log"
    apt = '#!/bin/sh\necho "$1 $DEBIAN_FRONTEND" >> "$LOG"\n'
    put(tmp_path / "bin", "apt-get", apt)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("LOG", str(log))
    bootstrap.install_packages(["nftables"])
    assert log.read_text().splitlines() == ["install noninteractive"]

    log.unlink()
    put(tmp_path / "bin", "apt-get", apt + '[ "$1" = update ] && touch "$LOG.lists"; [ -e "$LOG.lists" ]\n')
    bootstrap.install_packages(["nftables"])
    assert [line.split()[0] for line in log.read_text().splitlines()] == ["install", "update", "install"]


def test_what_a_private_uv_is_made_with_is_asked_for_in_the_same_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "missing_packages", lambda: ("bubblewrap",))
    monkeypatch.setattr(bootstrap, "find_spec", lambda name: None)
    venv = "python{}.{}-venv".format(*sys.version_info[:2])
    assert bootstrap.wanted_packages(needs_uv=True) == ["bubblewrap", venv]
    assert bootstrap.wanted_packages(needs_uv=False) == ["bubblewrap"]


def test_an_old_python_can_read_the_file_and_looks_for_a_newer_one() -> None:
    source = (ROOT / "tools" / "bootstrap.py").read_text()
    ast.parse(source, feature_version=(3, 6))
    assert bootstrap.find_newer_python(lambda name: "/usr/bin/python3.12" if name == "python3.12" else None) == (
        "/usr/bin/python3.12"
    )
    with pytest.raises(bootstrap.BootstrapError, match=r"needs Python >= 3\.11"):
        bootstrap.find_newer_python(lambda name: None)


def test_uv_is_pinned_by_hash() -> None:
    lines = [line for line in (ROOT / "tools" / "uv.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines[0].startswith("uv==")
    assert all("--hash=sha256:" in line for line in lines[1:])
