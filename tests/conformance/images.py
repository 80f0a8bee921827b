"""The suite's images as the sandbox's catalogue: for each name that e2e.test uses, the real program behind it.

Recipes are by repository; the tags come from `e2e.test --list-images`, so they are those of the suite's version. An
image without a recipe stays unknown to the runtime: its pods get a pull error, as they would where a registry lacks it.
Deviations from upstream's images are said in `Recipe.what`, which the page prints.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from campaigns.clusters.sandbox.config import ImageConfig
from tests.conformance.build import Built

__all__ = ["RECIPES", "Recipe", "catalogue", "describe", "suite_images"]

_NGINX_CONF = """\
user root;
worker_processes 1;
pid /run/nginx.pid;
error_log stderr;
events { worker_connections 64; }
http {
    access_log /dev/stdout;
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    default_type text/plain;
    server { listen 80; location / { return 200 "Welcome to nginx!\\n"; } }
}
"""
"""What the official image's configuration does, without the user nginx and Debian's folders below /var."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """make: from the built programs and the sandbox's own binaries. what: for the page."""

    make: Callable[[Built, Mapping[str, Path]], ImageConfig]
    what: str


def _agnhost(built: Built, binaries: Mapping[str, Path], *, data: Mapping[str, str] | None = None) -> ImageConfig:
    program, certificates = str(built.folder / "agnhost"), "agnhost/porter/localhost"
    copies = {"/localhost.crt": f"{certificates}.crt", "/localhost.key": f"{certificates}.key"}
    return ImageConfig(
        command=("/agnhost",),
        arguments=("pause",) if data is None else ("test-webserver",),
        files={"/agnhost": program, "/agnhost-2": program, "/coredns": str(binaries["coredns"])},
        # copied: StatefulSet cases break and mend a probe by moving localhost.crt away and back
        copies={path: str(built.data(source)) for path, source in {**copies, **(data or {})}.items()},
    )


def _kitten(built: Built, binaries: Mapping[str, Path]) -> ImageConfig:
    data = {"/data.json": "kitten/html/data.json", "/kitten.jpg": "kitten/html/kitten.jpg"}
    return _agnhost(built, binaries, data=data)


def _nautilus(built: Built, binaries: Mapping[str, Path]) -> ImageConfig:
    data = {"/data.json": "nautilus/html/data.json", "/nautilus.jpg": "nautilus/html/nautilus.jpg"}
    return _agnhost(built, binaries, data=data)


def _busybox(built: Built, _: Mapping[str, Path]) -> ImageConfig:
    """A /usr with nothing but busybox and its applets' names (/bin is /usr/bin, as on the host)."""
    usr = built.folder / "images" / "busybox" / "usr"
    program = built.folder / "debian" / "busybox-static" / "bin" / "busybox"
    if not (usr / "bin" / "sh").is_symlink():
        for name in ("bin", "sbin"):
            (usr / name).mkdir(parents=True, exist_ok=True)
        shutil.copy2(program, usr / "bin" / "busybox")
        listed = subprocess.run([program, "--list"], capture_output=True, text=True, check=True, timeout=30)
        for applet in sorted({*listed.stdout.split()} - {"busybox", "sh"}):
            _link(usr / "bin" / applet, "busybox")
        _link(usr / "bin" / "sh", "busybox")  # last: it tells that the others are there
    return ImageConfig(command=(), arguments=("sh",), files={"/usr": str(usr)})


def _link(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _etcd(built: Built, binaries: Mapping[str, Path]) -> ImageConfig:
    usr = built.folder / "images" / "etcd" / "usr"
    program = usr / "local" / "bin" / "etcd"
    if not program.exists() or not os.path.samefile(program, binaries["etcd"]):
        program.parent.mkdir(parents=True, exist_ok=True)
        program.unlink(missing_ok=True)
        try:
            program.hardlink_to(binaries["etcd"])
        except OSError:  # another disk
            shutil.copy2(binaries["etcd"], program)
    return ImageConfig(command=("/usr/local/bin/etcd",), files={"/usr": str(usr)})


def _nginx(built: Built, _: Mapping[str, Path]) -> ImageConfig:
    configuration = built.folder / "images" / "nginx.conf"
    configuration.parent.mkdir(exist_ok=True)
    configuration.write_text(_NGINX_CONF)
    return ImageConfig(
        command=("/opt/nginx/sbin/nginx", "-c", "/opt/nginx.conf", "-g", "daemon off;"),
        files={"/opt/nginx": str(built.folder / "debian" / "nginx" / "usr"), "/opt/nginx.conf": str(configuration)},
    )


def _nonewprivs(built: Built, _: Mapping[str, Path]) -> ImageConfig:
    return ImageConfig(command=("/opt/nnp",), files={"/opt/nnp": str(built.folder / "nonewprivs")})


def _sample_apiserver(built: Built, _: Mapping[str, Path]) -> ImageConfig:
    files = {"/sample-apiserver": str(built.folder / "sample-apiserver")}
    return ImageConfig(command=("/sample-apiserver",), files=files)


def _debian(_: Built, __: Mapping[str, Path]) -> ImageConfig:
    return ImageConfig(command=(), arguments=("bash",))


_E2E = "registry.k8s.io/e2e-test-images"
RECIPES: Mapping[str, Recipe] = {
    f"{_E2E}/agnhost": Recipe(
        _agnhost, "agnhost of the suite's own version under every tag; its companions (curl, dig, nc) are the host's"
    ),
    f"{_E2E}/busybox": Recipe(_busybox, "Debian's busybox-static, alone in its /usr"),
    f"{_E2E}/glibc-dns-testing": Recipe(_debian, "the host's /usr with Debian's bind9-dnsutils, as upstream's image"),
    f"{_E2E}/kitten": Recipe(_kitten, "agnhost with upstream's files"),
    f"{_E2E}/nautilus": Recipe(_nautilus, "agnhost with upstream's files"),
    f"{_E2E}/nginx": Recipe(_nginx, "Debian's nginx under every tag"),
    f"{_E2E}/nonewprivs": Recipe(_nonewprivs, "built from upstream's source, with its setuid bit"),
    f"{_E2E}/sample-apiserver": Recipe(_sample_apiserver, "k8s.io/sample-apiserver of the cluster's version"),
    "registry.k8s.io/etcd": Recipe(_etcd, "the sandbox's own etcd binary, alone in its /usr"),
}
"""The runtime has pause built in. Without a recipe: images that no conformance case starts."""


def suite_images(suite: Path) -> list[str]:
    """Every image that e2e.test may use, with its tag."""
    listed = subprocess.run([suite, "--list-images"], capture_output=True, text=True, check=True, timeout=60)
    return sorted(line for line in listed.stdout.split() if "/" in line and ":" in line)


def catalogue(built: Built, names: Iterable[str], binaries: Mapping[str, Path]) -> dict[str, ImageConfig]:
    """Image name → what the sandbox runs, for those with a recipe."""
    found = {name: RECIPES.get(name.rpartition(":")[0]) for name in names}
    return {name: recipe.make(built, binaries) for name, recipe in found.items() if recipe is not None}


def describe(names: Iterable[str]) -> list[tuple[str, str]]:
    """Image and what runs instead of it, for the page."""
    found = [(name, RECIPES.get(name.rpartition(":")[0])) for name in sorted(names)]
    return [(name, recipe.what) for name, recipe in found if recipe is not None]
