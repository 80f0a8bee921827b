from __future__ import annotations

import os
from pathlib import Path

import pytest

from campaigns.assets.cache import Cache, cache_root
from campaigns.assets.supply import AssetState
from injector.errors import AssetError
from tests.campaigns.assets.builders import FileServer, downloading, script, sha256

PATH = "/1.2.3/tool"


def filled(server: FileServer, root: Path) -> Path:
    """A cache with the tool in it; returns the blob."""
    server.publish(PATH, script())
    downloading(root, server.url).ensure()
    return root / "blobs" / "sha256" / sha256(script())


def tamper(blob: Path, data: bytes) -> None:
    blob.chmod(0o755)
    blob.write_bytes(data)


def test_the_executable_is_the_blob_itself_under_a_readable_name(server: FileServer, tmp_path: Path) -> None:
    blob = filled(server, tmp_path)
    (status,) = downloading(tmp_path, server.url).status()
    assert status.path == tmp_path / "bin" / "0123456789abcdef" / "download" / "tool"
    assert status.path.samefile(blob)
    assert blob.stat().st_mode & 0o777 == 0o555
    assert (status.state, status.size_bytes, status.digest) == (AssetState.CACHED, len(script()), sha256(script()))


@pytest.mark.parametrize("data", [b"", script()[:10], script("tool v1.2.3; evil"), script() + b"#"])
def test_a_blob_that_changed_is_never_used_again(server: FileServer, tmp_path: Path, data: bytes) -> None:
    tamper(filled(server, tmp_path), data)
    supply = downloading(tmp_path, server.url)
    assert supply.status()[0].state is AssetState.MISSING
    assert supply.ensure()["tool"].read_bytes() == script()


def test_verify_takes_the_digest_even_if_size_and_time_look_right(server: FileServer, tmp_path: Path) -> None:
    blob = filled(server, tmp_path)
    before = blob.stat()
    tamper(blob, script().replace(b"exit 0", b"exit 1"))
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))
    supply = downloading(tmp_path, server.url)
    assert supply.status()[0].state is AssetState.CACHED
    assert [status.state for status in supply.verify()] == [AssetState.BROKEN]
    assert not blob.exists()
    assert [status.state for status in supply.verify()] == [AssetState.MISSING]
    assert supply.ensure()["tool"].read_bytes() == script()


def test_a_blob_that_was_only_touched_stays(server: FileServer, tmp_path: Path) -> None:
    os.utime(filled(server, tmp_path))
    server.files.clear()
    assert downloading(tmp_path, server.url).ensure()["tool"].exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 2}', '{"schema": 1, "name": "tool"}'])
def test_an_entry_that_cannot_be_read_counts_as_missing(server: FileServer, tmp_path: Path, text: str) -> None:
    filled(server, tmp_path)
    (index,) = (tmp_path / "index").iterdir()
    index.write_text(text)
    supply = downloading(tmp_path, server.url)
    assert supply.status()[0].state is AssetState.MISSING
    assert supply.verify()[0].state is AssetState.MISSING
    assert supply.ensure()["tool"].exists()


def test_what_a_killed_process_left_in_staging_is_removed(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "staging" / "small" / "download").mkdir(parents=True)
    (tmp_path / "staging" / "small" / "download" / "tool").write_bytes(b"half")
    filled(server, tmp_path)
    assert list((tmp_path / "staging").iterdir()) == []


def test_looking_creates_nothing(tmp_path: Path) -> None:
    supply = downloading(tmp_path / "cache", "http://127.0.0.1:9")
    assert [supply.status()[0].state, supply.verify()[0].state] == [AssetState.MISSING] * 2
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_said_with_the_remedy(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(AssetError, match="cannot write the cache folder") as caught:
        downloading(tmp_path / "cache", server.url).ensure()
    assert "XDG_CACHE_HOME" in caught.value.remedy


def test_the_cache_stands_where_xdg_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_root() == tmp_path / ".cache" / "mutineer"
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_root() == Cache().root == Path("/somewhere/mutineer")
