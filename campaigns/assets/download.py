"""The official download: the published file, checked against the checksum published beside it.

One file is collected in `partial/DIGEST.part`, named by the digest it shall have, so that whoever comes next goes on
where a killed download stopped (HTTP Range). The digest is taken from the whole file once it is complete: wrong
bytes are thrown away and, if the file had been resumed, fetched once more from the start.

Whether the site can be reached at all is found out first, in a child process with a deadline: a resolver or a
firewall that swallows packets would otherwise cost minutes, and neither can be interrupted from inside.
"""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

from campaigns.assets.cache import Cache, sha256_of
from campaigns.assets.manifest import Project
from campaigns.assets.progress import Progress, Task
from campaigns.assets.providers import Candidate, Refusal

__all__ = ["MIRROR_VARIABLE", "Download", "reachable"]

MIRROR_VARIABLE = "MUTINEER_ASSETS_MIRROR"
"""Environment variable: a base URL that takes the place of scheme and host of every download; paths stay."""

REACH_DEADLINE_S = 8.0
"""Arbitrary: long enough for a slow proxy's handshake, short enough to go on to the Go build at once."""
READ_TIMEOUT_S = 30.0
"""No byte for this long: the connection is given up and resumed."""
RETRY_WAITS_S = (0.5, 2.0, 5.0)
"""Waits between the tries of one file; a try that brought bytes starts them anew."""
CHUNK_BYTES = 1 << 20
CHECKSUM_LIMIT_BYTES = 1 << 20
"""etcd's SHA256SUMS has under 4 kB; an error page must not be read without end."""

T = TypeVar("T")

_PROBE = """
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(sys.argv[1], timeout=float(sys.argv[2])).close()
except urllib.error.HTTPError:
    pass
except OSError as error:
    sys.exit(str(getattr(error, "reason", error)))
"""


def reachable(url: str, *, deadline_s: float = REACH_DEADLINE_S) -> str | None:
    """None if something answers HTTP at `url` (with whatever status) in time, else why not."""
    command = [sys.executable, "-I", "-c", _PROBE, url, str(deadline_s)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=deadline_s, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return f"no answer within {deadline_s:.0f} s"
    return None if result.returncode == 0 else (result.stderr.strip().splitlines() or ["no answer"])[-1]


class _FetchError(Exception):
    """This file can't be had from here; str() is the sentence. Becomes a Refusal at the border of this module."""


class Download:
    """`mirror` replaces scheme and host of the manifest's URLs (default: the environment variable)."""

    name = "download"

    def __init__(self, cache: Cache, *, mirror: str | None = None, wait: Callable[[float], None] = time.sleep) -> None:
        self._cache, self._wait = cache, wait
        self._mirror = os.environ.get(MIRROR_VARIABLE) if mirror is None else mirror
        self._hosts: dict[str, str | None] = {}

    def fetch(
        self, project: Project, names: Sequence[str], *, arch: str, staging: Path, progress: Progress
    ) -> Iterator[Candidate | Refusal]:
        fill = {"version": project.version, "arch": arch}
        source = project.download
        # An archive's URL does not name the binary, so that all of its binaries fall under one URL.
        urls = {name: self._url(source.url.format(**fill, binary=name)) for name in names}
        for url in dict.fromkeys(urls.values()):
            wanted = [name for name in names if urls[name] == url]
            try:
                checksum = self._url(source.checksum.format(**fill, binary=wanted[0]))
                file = self._collect(url, self._published_digest(checksum, url), progress)
                for name in wanted:
                    path = staging / name
                    if source.member is None:
                        file.replace(path)
                    else:
                        _extract(file, source.member.format(**fill, binary=name), path, self._cache)
                    yield Candidate(name=name, path=path, origin=url)
                file.unlink(missing_ok=True)
            except _FetchError as failure:
                yield Refusal(str(failure))

    def _url(self, url: str) -> str:
        if not self._mirror:
            return url
        base, parts = urlsplit(self._mirror), urlsplit(url)
        return urlunsplit((base.scheme, base.netloc, base.path.rstrip("/") + parts.path, parts.query, ""))

    def _open(self, url: str, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
        host = urlsplit(url).netloc
        if urlsplit(url).scheme not in ("http", "https"):
            raise _FetchError(f"{url} is not an http(s) address")
        if host not in self._hosts:
            self._hosts[host] = reachable(url)
        if (why := self._hosts[host]) is not None:
            raise _FetchError(f"{host} cannot be reached ({why})")
        request = urllib.request.Request(url, headers={"User-Agent": "mutineer", **(headers or {})})  # noqa: S310
        response = urllib.request.urlopen(request, timeout=READ_TIMEOUT_S)  # noqa: S310 - the scheme was checked
        assert isinstance(response, http.client.HTTPResponse)
        return response

    def _published_digest(self, checksum_url: str, file_url: str) -> str:
        def read() -> str:
            with self._open(checksum_url) as response:
                return response.read(CHECKSUM_LIMIT_BYTES).decode(errors="replace")

        text = self._retried(read, checksum_url)
        file_name = file_url.rsplit("/", 1)[-1]
        for line in text.splitlines():
            words = line.split()
            if (
                words
                and re.fullmatch(r"[0-9a-fA-F]{64}", words[0])
                and words[1:] in ([], [file_name], [f"*{file_name}"])
            ):
                return words[0].lower()
        raise _FetchError(f"{checksum_url} holds no SHA-256 of {file_name}")

    def _retried(self, action: Callable[[], T], url: str, *, moved: Callable[[], int] = lambda: 0) -> T:
        """Run `action` until it succeeds. A 4xx is final; else after `RETRY_WAITS_S` in which `moved` did not grow."""
        waits, before = list(RETRY_WAITS_S), moved()
        while True:
            try:
                return action()
            except urllib.error.HTTPError as error:
                error.close()
                why = f"{url} answers {error.code} {error.reason}"
                if error.code < 500 and error.code not in (408, 429):
                    raise _FetchError(why) from error
            except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
                why = f"{url} broke off ({error})"
            if moved() > before:
                waits, before = list(RETRY_WAITS_S), moved()
            if not waits:
                raise _FetchError(why)
            self._wait(waits.pop(0))

    def _collect(self, url: str, digest: str, progress: Progress) -> Path:
        """The complete file with this digest, at `partial/DIGEST.part`."""
        part = self._cache.partial(digest)
        for resumed in (part.exists(), False):
            self._retried(
                lambda: self._transfer(url, part, progress),
                url,
                moved=lambda: part.stat().st_size if part.exists() else 0,
            )
            if (seen := sha256_of(part)) == digest:
                return part
            part.unlink()
            if not resumed:
                break
        raise _FetchError(
            f"{url} has the wrong checksum: {digest} is published, the file has {seen}; it was thrown away"
        )

    def _transfer(self, url: str, part: Path, progress: Progress) -> None:
        """Bring `part` to its full length, going on from what is there. ConnectionError where it ends too early."""
        have = part.stat().st_size if part.exists() else 0
        try:
            response = self._open(url, {"Range": f"bytes={have}-"} if have else None)
        except urllib.error.HTTPError as error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
                error.close()
                return  # nothing is missing; the digest decides whether what is there is the file
            raise
        with response:
            if response.status != http.HTTPStatus.PARTIAL_CONTENT or not _starts_at(response, have):
                have = 0
            left = response.headers.get("Content-Length")
            total = have + int(left) if left is not None else None
            if total is not None:
                self._cache.require_space(total - have, url.rsplit("/", 1)[-1])
            label = f"downloading {url.rsplit('/', 1)[-1]}"
            with progress.task(label, total_bytes=total) as task, part.open("r+b" if have else "wb") as file:
                file.seek(have)
                have = self._pour(response, file.write, have, task)
            if total is not None and have < total:
                raise ConnectionError(f"{have} of {total} bytes came")

    def _pour(self, response: http.client.HTTPResponse, write: Callable[[bytes], int], have: int, task: Task) -> int:
        task.done_bytes(have)
        while chunk := response.read(CHUNK_BYTES):
            write(chunk)
            have += len(chunk)
            task.done_bytes(have)
        return have


def _starts_at(response: http.client.HTTPResponse, have: int) -> bool:
    return response.headers.get("Content-Range", "").startswith(f"bytes {have}-")


def _extract(archive: Path, member: str, path: Path, cache: Cache) -> None:
    """One regular file out of a gzipped tar; nothing else in the archive is touched."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            info = next((one for one in tar if one.name.removeprefix("./") == member and one.isreg()), None)
            if info is None:
                raise _FetchError(f"the archive holds no file {member}")
            cache.require_space(info.size, path.name)
            source = tar.extractfile(info)
            assert source is not None
            with source, path.open("wb") as file:
                while chunk := source.read(CHUNK_BYTES):
                    file.write(chunk)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise _FetchError(f"the archive with {member} cannot be read ({error})") from error
