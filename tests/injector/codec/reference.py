"""Kubernetes' own decoder and encoder of stored objects: go/main.go, built as the assets are, kept in their cache.

It is compiled against the go.mod of the sandbox's Kubernetes, so that there is one list of pinned versions.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from campaigns.assets import choose_progress
from campaigns.assets.cache import Cache
from campaigns.assets.toolchain import ensure_go, required_go
from injector.errors import AssetError
from injector.rules import JSONValue
from tools.field_table import GO_MODULE

SOURCE = Path(__file__).parent / "go" / "main.go"
BUILD_TIMEOUT_S = 900.0
"""6 s where Kubernetes was built before, else the packages of its API are compiled first."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What Kubernetes makes of one value: its JSON and its bytes when stored again, or an error."""

    tree: JSONValue
    stored: bytes
    error: str


def binary() -> Path:
    """Where the reference decoder is, or will be once it is built."""
    sources = (SOURCE, GO_MODULE / "go.mod", GO_MODULE / "go.sum")
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()[:16]
    return Cache().root / "reference" / digest / "stored-objects"


def ensure_reference() -> Path:
    """Builds it if need be; skips the test, in words, where that can't be done."""
    cache, place = Cache(), binary()
    with cache.lock("reference", on_wait=lambda who: None):
        if place.exists():
            return place
        try:
            go = ensure_go(required_go(GO_MODULE / "go.mod"), cache, choose_progress())
        except AssetError as error:
            pytest.skip(f"no Go to build Kubernetes' own decoder with: {error}")
        with cache.staging("reference") as staging:
            command = [str(go), "build", "-mod=readonly", "-trimpath", "-o", str(staging / "built"), str(SOURCE)]
            kept = {name: each for name, each in os.environ.items() if name not in ("GOOS", "GOARCH", "GOROOT")}
            done = subprocess.run(
                command, cwd=GO_MODULE, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False,
                env={**kept, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"},
            )  # fmt: skip
            if done.returncode and ("dial tcp" in done.stderr or "module lookup disabled" in done.stderr):
                pytest.skip(f"Kubernetes' sources can't be had: {done.stderr.strip()[-300:]}")
            assert done.returncode == 0, done.stderr
            place.parent.mkdir(parents=True, exist_ok=True)
            (staging / "built").replace(place)
    return place


def ask(values: Sequence[bytes]) -> list[Answer]:
    """What Kubernetes makes of each value."""
    told = b"".join(struct.pack(">I", len(value)) + value for value in values)
    done = subprocess.run([ensure_reference()], input=told, capture_output=True, timeout=100, check=True)
    answers = []
    for line in done.stdout.splitlines():
        found = json.loads(line)
        stored = base64.b64decode(found.get("bytes", ""))
        answers.append(Answer(found.get("json"), stored, found.get("error", "")))
    assert len(answers) == len(values)
    return answers
