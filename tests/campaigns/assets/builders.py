"""A small project to supply, binaries that are shell scripts, and a real HTTP server that can misbehave."""

from __future__ import annotations

import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from campaigns.assets.cache import Cache
from campaigns.assets.download import Download
from campaigns.assets.manifest import Binary, DownloadSource, GoSource, Manifest, Project
from campaigns.assets.progress import Progress
from campaigns.assets.providers import Provider
from campaigns.assets.supply import Supply

VERSION = "1.2.3"


def script(says: str = f"tool v{VERSION}", *, padding: int = 0) -> bytes:
    """An executable that prints `says`; `padding` bytes make it larger."""
    return f"#!/bin/sh\necho '{says}'\nexit 0\n".encode() + b"#" * padding


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def project(*names: str, member: str | None = None, go_folder: Path = Path("/nonexistent")) -> Project:
    """Version 1.2.3 of a project with these binaries (default: one called `tool`)."""
    archive = "/{version}/all.tgz" if member else "/{version}/{binary}"
    return Project(
        name="small",
        version=VERSION,
        download=DownloadSource(
            url=f"https://example.invalid{archive}",
            checksum="https://example.invalid/{version}/SUMS" if member else f"https://example.invalid{archive}.sha256",
            member=member,
        ),
        go=GoSource(
            folder=go_folder, module="example.com/small", ldflags=f"-s -w -X main.version={VERSION}", disk_bytes=1
        ),
        binaries=tuple(
            Binary(name=name, package="example.com/small", version_arguments=("--version",), built_as="small")
            for name in names or ("tool",)
        ),
    )


def manifest(*projects: Project) -> Manifest:
    return Manifest(projects=projects or (project(),), digest="0123456789abcdef" * 4)


def downloading(
    root: Path, url: str, *, of: Project | None = None, cache: Cache | None = None, progress: Progress | None = None
) -> Supply:
    """A supply that only downloads, from the server at `url`, and does not wait between tries."""
    cache = cache or Cache(root)
    providers: list[Provider] = [Download(cache, mirror=url, wait=lambda _: None)]
    return Supply(cache=cache, manifest=manifest(of or project()), providers=providers, progress=progress)


def tarball(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


@dataclass
class FileServer:
    """Serves `files` (path → bytes) with Range. `cuts[path]` are lengths after which the next answers break off,
    one an answer; `ranges` False ignores Range; `status` answers this to every file; `seen` holds (path, Range).
    An answer that was cut waits for `gate` before it hangs up."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    ranges: bool = True
    status: dict[str, int] = field(default_factory=dict)
    seen: list[tuple[str, str | None]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def publish(self, path: str, data: bytes, *, digest: str | None = None) -> None:
        """A file and its checksum beside it, as Kubernetes does."""
        self.files[path] = data
        self.files[f"{path}.sha256"] = (digest or sha256(data)).encode()

    def requests_for(self, path: str) -> list[str | None]:
        """The Range headers of all requests for a path but the probe's own."""
        return [span for seen, span in self.seen if seen == path]


@contextmanager
def serving() -> Iterator[FileServer]:
    server = FileServer()
    server.gate.set()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            span = self.headers.get("Range")
            server.seen.append((self.path, span))
            data = server.files.get(self.path)
            status = server.status.get(self.path, 200 if data is not None else 404)
            if data is None or status >= 400:
                self.send_error(status)
                return
            start = int(span.removeprefix("bytes=").rstrip("-")) if span and server.ranges else 0
            if start and start >= len(data):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            body = data[start:]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            cuts = server.cuts.get(self.path, [])
            self.wfile.write(body[: cuts[0]] if cuts else body)
            if cuts:
                cuts.pop(0)
                self.wfile.flush()
                server.gate.wait(20)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        server.url = f"http://127.0.0.1:{web.server_address[1]}"
        try:
            yield server
        finally:
            server.gate.set()
            web.shutdown()
            thread.join()
