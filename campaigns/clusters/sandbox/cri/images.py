"""The image catalogue: an image's name is a local command or a built-in program. Nothing is ever pulled."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from campaigns.clusters.sandbox.config import ImageConfig

__all__ = ["BUILT_IN", "PAUSE", "Catalogue", "Image"]


@dataclass(frozen=True, slots=True)
class Image:
    """`program` is a module of cri.programs that is run in the command's stead. The rest is as in ImageConfig."""

    name: str
    command: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    program: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    copies: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """A digest over what is run, as a registry's would be over layers."""
        shown = [sorted(self.files.items()), sorted(self.copies.items())]
        content = json.dumps([self.name, self.program, self.command, self.arguments, shown])
        return "sha256:" + hashlib.sha256(content.encode()).hexdigest()


def _python() -> dict[str, str]:
    """What a forked interpreter may still load: its library, its packages, ours."""
    here = Path(__file__).parents[4]
    return {path: path for path in (sys.base_prefix, sys.prefix, str(here / "campaigns"), str(here / "injector"))}


PAUSE = "registry.k8s.io/pause:3.10.1"
_PROGRAMS = {
    "mutineer/web:1": "web",
    "mutineer/client:1": "client",
    "mutineer/routes:1": "routes",
    "mutineer/webhook:1": "webhook",
    "mutineer/operator:1": "operator",
    "mutineer/metrics:1": "metrics",
    PAUSE: "pause",
    "registry.k8s.io/pause:3.10.2": "pause",
}

BUILT_IN: Mapping[str, Image] = {
    name: Image(name, program=program, files=_python()) for name, program in _PROGRAMS.items()
}


class Catalogue:
    """All images of one sandbox: the built-in ones and `images`, which may replace them."""

    def __init__(self, images: Mapping[str, ImageConfig] | None = None) -> None:
        mapped = {
            name: Image(name, image.command, image.arguments, files=image.files, copies=image.copies)
            for name, image in (images or {}).items()
        }
        self._images = {**BUILT_IN, **mapped}

    def find(self, name: str) -> Image | None:
        """By name, with or without `docker.io/`, `docker.io/library/` and `:latest`, or by id."""
        for prefix in ("", "docker.io/library/", "docker.io/"):
            if name.startswith(prefix):
                plain = name.removeprefix(prefix)
                if image := self._images.get(plain) or self._images.get(plain.removesuffix(":latest")):
                    return image
        return next((image for image in self._images.values() if image.id == name), None)

    def all(self) -> list[Image]:
        return list(self._images.values())
