"""From CRI messages to what the spawner is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from campaigns.clusters.sandbox.cri.images import BUILT_IN, Image
from campaigns.clusters.sandbox.cri.pods import CONTAINER, NODE, POD, Pod
from campaigns.clusters.sandbox.cri.protocol import new
from campaigns.clusters.sandbox.cri.requests import container_spec, credentials, exec_spec
from campaigns.clusters.sandbox.cri.spec import (
    CAPABILITIES,
    DEFAULT_CAPABILITIES,
    ContainerRoot,
    Credentials,
    ProcessSpec,
)
from campaigns.clusters.sandbox.roots import Mount

IMAGE = Image("tool:1", ("/tool", "--entry"), ("default", "arguments"), files={"/tool": "/host/tool"})
DEFAULT = tuple(sorted(DEFAULT_CAPABILITIES))


def security(**fields: Any) -> Any:
    return new("LinuxContainerSecurityContext", **fields)


def caps(add: tuple[str, ...] = (), drop: tuple[str, ...] = ()) -> Any:
    return security(capabilities=new("Capability", add_capabilities=add, drop_capabilities=drop))


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        (caps(), DEFAULT_CAPABILITIES),
        (caps(drop=("ALL",)), set()),
        (caps(drop=("all",), add=("NET_ADMIN",)), {"NET_ADMIN"}),
        (caps(add=("CAP_NET_ADMIN", "sys_time")), DEFAULT_CAPABILITIES | {"NET_ADMIN", "SYS_TIME"}),
        (caps(drop=("CAP_KILL", "NET_RAW")), DEFAULT_CAPABILITIES - {"KILL", "NET_RAW"}),
        (caps(add=("ALL",)), set(CAPABILITIES)),
        (caps(add=("ALL",), drop=("SYS_ADMIN",)), set(CAPABILITIES) - {"SYS_ADMIN"}),
        (caps(add=("NET_ADMIN",), drop=("NET_ADMIN",)), DEFAULT_CAPABILITIES),
    ],
)
def test_capabilities_are_the_default_ones_with_additions_and_without_what_is_dropped(
    asked: Any, kept: set[str]
) -> None:
    assert credentials(asked) == Credentials(capabilities=tuple(sorted(kept)))


def test_a_privileged_container_has_everything_whatever_else_is_said() -> None:
    asked = security(privileged=True, capabilities=new("Capability", drop_capabilities=["ALL"]))
    assert credentials(asked) == Credentials(capabilities=None)


def test_users_and_groups_are_those_asked_for() -> None:
    asked = security(
        run_as_user=new("Int64Value", value=1000), run_as_group=new("Int64Value", value=2000),
        supplemental_groups=[1, 2], no_new_privs=True,
    )  # fmt: skip
    wanted = Credentials(uid=1000, gid=2000, groups=(1, 2), no_new_privileges=True, capabilities=DEFAULT)
    assert credentials(asked) == wanted
    assert credentials(security(run_as_username="root")).uid == 0
    with pytest.raises(OSError, match="no user 'nginx' in the image"):
        credentials(security(run_as_username="nginx"))


def pod(**config: Any) -> Pod:
    config = {"metadata": new("PodSandboxMetadata", name="web-0"), **config}
    return Pod("id", new("PodSandboxConfig", **config), "10.244.0.2", Path("/run/net"), Path("/run/ipc"))


@pytest.fixture
def node(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/resolv.conf").write_text("nameserver 172.30.0.1\n")
    return tmp_path


def spec(
    node: Path, *, of: Pod | None = None, image: Image = IMAGE, pids_of: int | None = None, **config: Any
) -> ProcessSpec:
    mode = config.pop("pid", CONTAINER)
    context = config.pop("security", security())
    context.namespace_options.pid = mode
    made = new("ContainerConfig", linux=new("LinuxContainerConfig", security_context=context), **config)
    return container_spec(of or pod(), made, image, node, pids_of=pids_of)


def test_a_container_that_asks_for_nothing(node: Path) -> None:
    assert spec(node) == ProcessSpec(
        argv=("/tool", "--entry", "default", "arguments"),
        env={
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOSTNAME": "web-0",
            "HOME": "/root",
        },
        credentials=Credentials(capabilities=DEFAULT),
        network="/run/net",
        ipc="/run/ipc",
        hostname="web-0",
        own_pids=True,
        root=ContainerRoot(
            files={"/tool": "/host/tool"},
            etc={
                "hostname": "web-0\n",
                "hosts": "127.0.0.1\tlocalhost\n",
                "resolv.conf": "nameserver 172.30.0.1\n",
            },
        ),
    )


@pytest.mark.parametrize(
    ("settings", "argv"),
    [
        ({}, ("/tool", "--entry", "default", "arguments")),
        ({"args": ["a"]}, ("/tool", "--entry", "a")),
        ({"command": ["c"]}, ("c",)),
        ({"command": ["c"], "args": ["a", "b"]}, ("c", "a", "b")),
    ],
)
def test_command_and_args_replace_the_images_as_kubernetes_has_it(
    node: Path, settings: dict[str, Any], argv: tuple[str, ...]
) -> None:
    # kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container
    made = spec(node, **settings)
    assert (made.argv, made.program) == (argv, None)


def test_a_built_in_program_is_called_unless_the_pod_has_a_command(node: Path) -> None:
    web = BUILT_IN["mutineer/web:1"]
    made = spec(node, image=web, args=["--port", "80"])
    assert (made.program, made.argv) == ("web", ("--port", "80"))
    made = spec(node, image=web, command=["sleep", "1"])
    assert (made.program, made.argv) == (None, ("sleep", "1"))


def envs(**values: bytes) -> list[Any]:
    return [new("KeyValue", key=key, value=value) for key, value in values.items()]


def test_what_the_kubelet_says_wins_over_every_default(node: Path) -> None:
    given = {"PATH": b"/p", "HOSTNAME": b"h", "HOME": b"/h", "TERM": b"dumb", "RAW": b"\xff"}
    found = {"PATH": "/p", "HOSTNAME": "h", "HOME": "/h", "TERM": "dumb", "RAW": "\udcff"}
    assert dict(spec(node, tty=True, envs=envs(**given)).env) == found
    assert ProcessSpec.from_json(spec(node, envs=envs(**given)).to_json()).env == found


@pytest.mark.parametrize(("uid", "home"), [(0, "/root"), (1, "/usr/sbin"), (65534, "/nonexistent"), (1000, "/")])
def test_a_home_is_the_users_of_etc_passwd(node: Path, uid: int, home: str) -> None:
    assert spec(node, security=security(run_as_user=new("Int64Value", value=uid))).env["HOME"] == home


def test_a_terminal_has_a_type(node: Path) -> None:
    assert "TERM" not in spec(node).env
    made = spec(node, tty=True)
    assert (made.env["TERM"], made.tty) == ("xterm", True)


@pytest.mark.parametrize(
    ("mode", "pids_of", "wanted"),
    [(CONTAINER, None, (True, None)), (POD, 7, (False, 7)), (NODE, None, (False, None)), (3, 9, (False, 9))],
)
def test_pid_namespaces(node: Path, mode: int, pids_of: int | None, wanted: tuple[bool, int | None]) -> None:
    made = spec(node, pid=mode, pids_of=pids_of)
    assert (made.own_pids, made.pids_of) == wanted


def test_the_pods_resolver_and_hostname_are_its_own(node: Path) -> None:
    dns = new("DNSConfig", servers=["10.96.0.10", "1.1.1.1"], searches=["a.b", "c"], options=["ndots:5"])
    root = spec(node, of=pod(hostname="other", dns_config=dns)).root
    assert root is not None and dict(root.etc) == {
        "hostname": "other\n",
        "hosts": "127.0.0.1\tlocalhost\n",
        "resolv.conf": "nameserver 10.96.0.10\nnameserver 1.1.1.1\nsearch a.b c\noptions ndots:5\n",
    }


def test_volumes_lie_in_the_nodes_root_and_are_made_where_they_are_missing(node: Path) -> None:
    (node / "link").symlink_to("/etc")
    wanted = {"/var/lib/x": "var/lib/x", "/link/y": "etc/y", "//root/z": "root/z", "/../../w": "w"}
    mounts = [
        new("Mount", host_path=path, container_path=f"/data/{number}", readonly=number == 1)
        for number, path in enumerate(wanted)
    ]
    root = spec(node, mounts=mounts).root
    assert root is not None and root.mounts == tuple(
        Mount(str(node / path), f"/data/{number}", number != 1) for number, path in enumerate(wanted.values())
    )
    assert all((node / path).is_dir() for path in wanted.values())
    assert spec(node, mounts=mounts).root == root, "again"
    (node / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        spec(node, mounts=[new("Mount", host_path="/file/below", container_path="/x")])


def test_an_image_volume_is_refused_in_words(node: Path) -> None:
    volume = new("Mount", image=new("ImageSpec", image="data:1"), container_path="/data")
    with pytest.raises(OSError, match="image volume 'data:1' at /data: images here have no layers"):
        spec(node, mounts=[volume])


def test_protected_paths_are_those_asked_for_unless_privileged(node: Path) -> None:
    fields = {"masked_paths": ["/proc/keys"], "readonly_paths": ["/proc/sys"], "readonly_rootfs": True}
    root = spec(node, security=security(**fields)).root
    assert root is not None
    assert (root.masked, root.frozen, root.read_only) == (("/proc/keys",), ("/proc/sys",), True)
    root = spec(node, security=security(privileged=True, **fields)).root
    assert root is not None
    assert (root.masked, root.frozen, root.read_only) == ((), (), True)


def test_an_exec_is_its_containers_in_all_but_the_command(node: Path) -> None:
    context = security(run_as_user=new("Int64Value", value=7))
    config = new(
        "ContainerConfig", command=["own"], working_dir="/work", envs=envs(A=b"b"),
        linux=new("LinuxContainerConfig", security_context=context),
    )  # fmt: skip
    made = exec_spec(pod(), config, 42, ["ls", "-l"], tty=True)
    assert made == ProcessSpec(
        argv=("ls", "-l"),
        env={
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOSTNAME": "web-0", "HOME": "/", "TERM": "xterm", "A": "b",
        },
        cwd="/work",
        credentials=Credentials(uid=7, capabilities=DEFAULT),
        join=42,
        tty=True,
    )  # fmt: skip


def test_a_spec_survives_its_way_to_the_spawner(node: Path) -> None:
    made = spec(
        node, security=security(supplemental_groups=[1], masked_paths=["/a"], readonly_paths=["/b"]),
        mounts=[new("Mount", host_path="/v", container_path="/v")], pids_of=3, pid=POD, tty=True,
    )  # fmt: skip
    assert ProcessSpec.from_json(made.to_json()) == made
    assert ProcessSpec.from_json(ProcessSpec(argv=()).to_json()) == ProcessSpec(argv=())
