from __future__ import annotations

from pathlib import Path

import pytest

from campaigns.assets.cache import Cache
from campaigns.assets.progress import Silent
from campaigns.assets.supply import SOURCE_VARIABLE, Supply
from injector.errors import AssetError
from tests.campaigns.assets.builders import FileServer, downloading, manifest, project, script


def put(folder: Path, says: str = "tool v1.2.3", name: str = "tool") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(script(says))
    path.chmod(0o755)
    return path


def alone(root: Path) -> Supply:
    """A supply that has only what the user names."""
    return Supply(cache=Cache(root / "cache"), manifest=manifest(), providers=[])


def test_a_folder_that_the_user_names_comes_first(server: FileServer, tmp_path: Path) -> None:
    server.publish("/1.2.3/tool", script("downloaded 1.2.3"))
    supply = downloading(tmp_path / "cache", server.url)
    assert supply.ensure().entries["tool"].provider == "download"
    assets = supply.ensure(source=str(put(tmp_path / "mine").parent))
    assert (assets.entries["tool"].provider, assets.entries["tool"].origin) == (
        "named",
        str(tmp_path / "mine" / "tool"),
    )


@pytest.mark.parametrize("says", ["tool v1.2.30", "tool v1.2.3-rc.0", "tool v1.2.3+k3s1", "tool 11.2.3", "", "no"])
def test_a_wrong_version_in_the_users_folder_is_refused_in_words(tmp_path: Path, says: str) -> None:
    put(tmp_path / "mine", says)
    with pytest.raises(AssetError, match=r"is not tool 1\.2\.3: `--version` prints"):
        alone(tmp_path).ensure(source=str(tmp_path / "mine"))


@pytest.mark.parametrize("says", ["tool v1.2.3", "etcd Version: 1.2.3", "CoreDNS-1.2.3", "1.2.3"])
def test_a_version_is_known_however_it_is_printed(tmp_path: Path, says: str) -> None:
    put(tmp_path / "mine", says)
    assert alone(tmp_path).ensure(source=str(tmp_path / "mine"))["tool"].exists()


def test_a_file_that_is_not_a_program_is_refused_in_words(tmp_path: Path) -> None:
    put(tmp_path / "mine").write_bytes(b"\x7fELF nonsense")
    with pytest.raises(AssetError, match="cannot be run: Exec format error"):
        alone(tmp_path).ensure(source=str(tmp_path / "mine"))


def test_a_binary_that_the_folder_lacks_is_left_to_the_next_provider(server: FileServer, tmp_path: Path) -> None:
    server.publish("/1.2.3/other", script("other 1.2.3"))
    put(tmp_path / "mine")
    supply = downloading(tmp_path / "cache", server.url, of=project("tool", "other"))
    entries = supply.ensure(source=str(tmp_path / "mine")).entries
    assert {name: entry.provider for name, entry in entries.items()} == {"tool": "named", "other": "download"}


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="no such folder: '/nowhere'"):
        alone(tmp_path).ensure(source="/nowhere")


def test_the_environment_names_the_folder_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SOURCE_VARIABLE, str(put(tmp_path / "mine").parent))
    assert alone(tmp_path).ensure().entries["tool"].provider == "named"


def test_what_was_named_once_stays_cached_as_it_was(tmp_path: Path) -> None:
    mine = put(tmp_path / "mine")
    alone(tmp_path).ensure(source=str(mine.parent))
    mine.write_bytes(script("tool v9"))
    assert alone(tmp_path).ensure()["tool"].read_bytes() == script("tool v1.2.3")


def test_a_file_that_the_user_changed_is_looked_at_again(tmp_path: Path) -> None:
    mine = put(tmp_path / "mine")
    alone(tmp_path).ensure(source=str(mine.parent))
    mine.write_bytes(script("changed but still 1.2.3"))
    assert alone(tmp_path).ensure(source=str(mine.parent))["tool"].read_bytes() == mine.read_bytes()


def test_on_path_a_wrong_version_is_only_passed_over(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.publish("/1.2.3/tool", script())
    monkeypatch.setenv("PATH", f"{put(tmp_path / 'bin', 'tool v1.1.0').parent}:/usr/bin:/bin")
    progress = Silent()
    supply = downloading(tmp_path / "cache", server.url, progress=progress)
    assert supply.ensure(source="PATH").entries["tool"].provider == "download"
    assert "prints 'tool v1.1.0'" in progress.notes[0]
    server.files.clear()
    assert supply.ensure(source="PATH").entries["tool"].provider == "download"

    put(tmp_path / "bin")
    assert supply.ensure(source="PATH").entries["tool"].provider == "named"


def test_no_space_for_the_copy_is_said_before_it_is_made(tmp_path: Path) -> None:
    put(tmp_path / "mine")
    supply = Supply(cache=Cache(tmp_path / "cache", free=lambda _: 3), manifest=manifest(), providers=[])
    with pytest.raises(AssetError, match="no space for tool"):
        supply.ensure(source=str(tmp_path / "mine"))


def test_a_name_that_is_no_asset_is_refused_with_the_choice(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="no such asset: 'toll'") as caught:
        alone(tmp_path).ensure(["toll"])
    assert caught.value.remedy == "choose from tool"
