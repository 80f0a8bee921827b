from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from campaigns.assets.cache import Cache
from campaigns.assets.download import reachable
from campaigns.assets.progress import Silent
from campaigns.assets.supply import AssetState
from injector.errors import AssetError
from tests.campaigns.assets.builders import FileServer, downloading, project, script, sha256, tarball

PATH = "/1.2.3/tool"
BIG = script(padding=3_000_000)


def leftovers(root: Path) -> list[str]:
    """Files of the cache that are neither blobs, entries, executables nor locks."""
    kinds = ("blobs", "index", "bin", "locks")
    return [
        str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and p.relative_to(root).parts[0] not in kinds
    ]


def blobs(root: Path) -> list[str]:
    return [path.name for path in (root / "blobs").rglob("*") if path.is_file()]


def test_a_good_file_is_checked_stored_under_its_digest_and_runs(server: FileServer, tmp_path: Path) -> None:
    server.publish(PATH, BIG)
    assets = downloading(tmp_path, server.url).ensure()
    assert subprocess.check_output([assets["tool"]], text=True) == "tool v1.2.3\n"
    assert assets.entries["tool"].provider == "download"
    assert assets.origins["tool"] == f"1.2.3 from download ({server.url}{PATH}), sha256 {sha256(BIG)}"
    assert blobs(tmp_path) == [sha256(BIG)]
    assert leftovers(tmp_path) == []


def test_a_cached_file_is_not_asked_for_again(server: FileServer, tmp_path: Path) -> None:
    server.publish(PATH, script())
    first = downloading(tmp_path, server.url).ensure()
    server.seen.clear()
    assert dict(downloading(tmp_path, server.url).ensure()) == dict(first)
    assert server.seen == []


def test_a_corrupted_file_is_thrown_away_and_never_used(server: FileServer, tmp_path: Path) -> None:
    server.publish(PATH, BIG, digest=sha256(script()))
    with pytest.raises(
        AssetError, match=f"wrong checksum: {sha256(script())} is published, the file has {sha256(BIG)}"
    ):
        downloading(tmp_path, server.url).ensure()
    assert blobs(tmp_path) == []
    assert leftovers(tmp_path) == []


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(server: FileServer, tmp_path: Path) -> None:
    server.publish(PATH, BIG)
    server.cuts[PATH] = [1_000_000, 500_000]
    downloading(tmp_path, server.url).ensure()
    assert server.requests_for(PATH) == [None, "bytes=1000000-", "bytes=1500000-"]
    assert blobs(tmp_path) == [sha256(BIG)]


def test_a_file_that_stays_truncated_is_kept_for_later_but_not_used(server: FileServer, tmp_path: Path) -> None:
    server.publish(PATH, BIG)
    server.cuts[PATH] = [1_000_000, 0, 0, 0, 0, 0, 0, 0]
    with pytest.raises(AssetError, match=r"broke off \(1000000 of 3000\d+ bytes came\)"):
        downloading(tmp_path, server.url).ensure()
    assert blobs(tmp_path) == []
    assert leftovers(tmp_path) == [f"partial/{sha256(BIG)}.part"]

    server.cuts.clear()
    server.seen.clear()
    downloading(tmp_path, server.url).ensure()
    assert server.requests_for(PATH) == ["bytes=1000000-"]
    assert blobs(tmp_path) == [sha256(BIG)]


def test_a_resumed_file_with_wrong_bytes_is_fetched_once_more_from_the_start(
    server: FileServer, tmp_path: Path
) -> None:
    server.publish(PATH, BIG)
    Cache(tmp_path).partial(sha256(BIG)).write_bytes(b"x" * 1000)
    downloading(tmp_path, server.url).ensure()
    assert server.requests_for(PATH) == ["bytes=1000-", None]
    assert blobs(tmp_path) == [sha256(BIG)]


def test_a_complete_partial_file_needs_no_more_bytes(server: FileServer, tmp_path: Path) -> None:
    server.publish(PATH, BIG)
    Cache(tmp_path).partial(sha256(BIG)).write_bytes(BIG)
    downloading(tmp_path, server.url).ensure()
    assert server.requests_for(PATH) == [f"bytes={len(BIG)}-"]


def test_a_server_that_ignores_range_is_believed_from_the_start(server: FileServer, tmp_path: Path) -> None:
    server.publish(PATH, BIG)
    server.ranges = False
    server.cuts[PATH] = [1_000_000]
    downloading(tmp_path, server.url).ensure()
    assert blobs(tmp_path) == [sha256(BIG)]


def test_a_missing_file_is_refused_at_once(server: FileServer, tmp_path: Path) -> None:
    server.publish(PATH, BIG)
    del server.files[PATH]
    with pytest.raises(AssetError, match=f"{PATH} answers 404"):
        downloading(tmp_path, server.url).ensure()
    assert server.requests_for(PATH) == [None]


def test_a_busy_server_is_asked_again(server: FileServer, tmp_path: Path) -> None:
    server.publish(PATH, BIG)
    server.status[PATH] = 503
    with pytest.raises(AssetError, match=f"{PATH} answers 503"):
        downloading(tmp_path, server.url).ensure()
    assert len(server.requests_for(PATH)) == 4


def test_no_checksum_no_download(server: FileServer, tmp_path: Path) -> None:
    server.publish(PATH, BIG)
    server.files[f"{PATH}.sha256"] = b"<html>not found</html>"
    with pytest.raises(AssetError, match="holds no SHA-256 of tool"):
        downloading(tmp_path, server.url).ensure()
    assert server.requests_for(PATH) == []


def test_a_file_that_is_another_version_is_refused_even_with_the_right_checksum(
    server: FileServer, tmp_path: Path
) -> None:
    server.publish(PATH, script("tool v1.2.30"))
    with pytest.raises(AssetError, match=r"is not tool 1\.2\.3: `--version` prints 'tool v1\.2\.30'"):
        downloading(tmp_path, server.url).ensure()
    assert blobs(tmp_path) == []


def test_one_archive_brings_all_of_its_binaries(server: FileServer, tmp_path: Path) -> None:
    archive = tarball(dir__one=script("one 1.2.3"), dir__two=script("two 1.2.3"), dir__other=b"no")
    server.files |= {
        "/1.2.3/all.tgz": archive,
        "/1.2.3/SUMS": f"{'0' * 64}  x.zip\n{sha256(archive)}  all.tgz\n".encode(),
    }
    assets = downloading(tmp_path, server.url, of=project("one", "two", member="dir/{binary}")).ensure()
    assert [subprocess.check_output([assets[name]], text=True) for name in ("one", "two")] == [
        "one 1.2.3\n",
        "two 1.2.3\n",
    ]
    assert server.requests_for("/1.2.3/all.tgz") == [None]
    assert leftovers(tmp_path) == []


def test_an_archive_without_the_binary_is_refused(server: FileServer, tmp_path: Path) -> None:
    archive = tarball(other=b"no")
    server.files |= {"/1.2.3/all.tgz": archive, "/1.2.3/SUMS": f"{sha256(archive)}  all.tgz\n".encode()}
    with pytest.raises(AssetError, match="the archive holds no file dir/tool"):
        downloading(tmp_path, server.url, of=project(member="dir/{binary}")).ensure()


def test_a_full_disk_is_found_out_before_the_first_byte(server: FileServer, tmp_path: Path) -> None:
    server.publish(PATH, BIG)
    cache = Cache(tmp_path, free=lambda _: 1_000_000)
    with pytest.raises(AssetError, match=r"no space for tool in .*: 3 MB needed, 1 MB free") as caught:
        downloading(tmp_path, server.url, cache=cache).ensure()
    assert "XDG_CACHE_HOME" in caught.value.remedy
    assert blobs(tmp_path) == leftovers(tmp_path) == []


def test_without_network_the_refusal_comes_in_seconds_and_only_one_probe_is_made(tmp_path: Path) -> None:
    started = time.monotonic()
    progress = Silent()
    closed = "http://127.0.0.1:9"
    with pytest.raises(AssetError, match=r"can't get one, two 1\.2\.3: download: 127\.0\.0\.1:9 cannot be reached"):
        downloading(tmp_path, closed, of=project("one", "two"), progress=progress).ensure()
    assert time.monotonic() - started < 5
    assert len(progress.notes) == 1


def test_a_site_that_swallows_packets_costs_the_deadline_and_no_more(server: FileServer) -> None:
    assert reachable(f"{server.url}/missing") is None
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, never answers
        assert reachable(f"http://127.0.0.1:{silent.getsockname()[1]}/", deadline_s=1.0) is not None


@contextmanager
def child(root: Path, url: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.campaigns.assets.child", str(root), url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until_line(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if word in line:
            return line
    raise AssertionError(f"the child ended without saying {word!r}")


def test_of_two_processes_the_second_waits_and_finds_it_done(server: FileServer, tmp_path: Path) -> None:
    server.publish(PATH, BIG)
    server.cuts[PATH] = [1_000_000]
    server.gate.clear()
    with child(tmp_path, server.url) as first:
        until_line(first, "downloading tool")
        with child(tmp_path, server.url) as second:
            assert until_line(second, "waiting") == f"process {first.pid} is getting small; waiting for it\n"
            server.gate.set()
            got = until_line(first, "got ")
            assert until_line(second, "got ") == got
            assert (first.wait(10), second.wait(10)) == (0, 0)
    assert server.requests_for(PATH) == [None, "bytes=1000000-"]
    assert leftovers(tmp_path) == []


def test_what_a_killed_process_downloaded_is_gone_on_with(server: FileServer, tmp_path: Path) -> None:
    server.publish(PATH, BIG)
    server.cuts[PATH] = [2_000_000]
    server.gate.clear()
    part = Cache(tmp_path).partial(sha256(BIG))
    with child(tmp_path, server.url) as process:
        until_line(process, "downloading tool")
        deadline = time.monotonic() + 10
        while not (part.exists() and part.stat().st_size >= 1_000_000):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
    server.gate.set()
    assert downloading(tmp_path, server.url).status()[0].state is AssetState.MISSING
    have = part.stat().st_size
    downloading(tmp_path, server.url).ensure()
    assert server.requests_for(PATH) == [None, f"bytes={have}-"]
    assert blobs(tmp_path) == [sha256(BIG)]
    assert leftovers(tmp_path) == []
