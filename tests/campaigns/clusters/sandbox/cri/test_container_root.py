"""What a container sees: real ones, from a real spawner."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from campaigns.clusters.sandbox.cri.spec import ContainerRoot, Credentials
from campaigns.clusters.sandbox.roots import Mount, make_node_root
from tests.campaigns.clusters.sandbox.cri.conftest import Done, Started
from tests.conftest import wait_until

pytestmark = pytest.mark.inside

Run = Callable[..., Done]
PROTECTED = ContainerRoot(
    # kubernetes/pkg/securitycontext/util.go, v1.36: what a kubelet asks for, in part
    masked=("/proc/acpi", "/proc/keys", "/proc/kcore", "/proc/timer_list", "/sys/firmware", "/proc/no-such"),
    frozen=("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"),
)


def test_usr_is_the_hosts_and_read_only_and_usr_local_is_its_own(run: Run) -> None:
    script = "ls /usr/bin/env /bin/sh; ls -A /usr/local; touch /usr/local/mine; touch /usr/bin/mine; echo $?"
    done = run("sh", "-c", script)
    assert done.out.splitlines() == ["/bin/sh", "/usr/bin/env", "1"], "nothing in /usr/local, which is writable"
    assert "/usr/bin/mine" in done.err and "Read-only file system" in done.err


def test_nothing_else_of_the_host_is_there(run: Run) -> None:
    empty = ("/home", "/mnt", "/opt", "/root", "/run", "/srv", "/tmp", "/var/lib", "/var/log", "/var/tmp")
    assert run("ls", "-A", *empty).out.split() == [part for name in empty for part in (f"{name}:",)]
    assert set(run("ls", "-A", "/").lines) <= {
        "bin", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "mnt", "opt", "proc", "root", "run", "sbin",
        "srv", "sys", "tmp", "usr", "var",
    }  # fmt: skip
    assert set(run("ls", "-A", "/etc").lines) <= {
        "alternatives", "group", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "nsswitch.conf", "passwd",
        "protocols", "ssl",
    }  # fmt: skip
    assert "private" not in run("sh", "-c", "ls -A /etc/ssl || true").out


def test_its_root_is_its_own_and_gone_with_it(run: Run, tmp_path: Path) -> None:
    mounts = Path("/proc/self/mountinfo").read_text()
    assert run("sh", "-c", "echo x > /mine; mkdir /srv/also; ls /mine").lines == ["/mine"]
    assert run("sh", "-c", "ls /mine /srv/also").code == 2
    assert not Path("/mine").exists() and not list(Path("/srv").glob("also"))
    assert Path("/proc/self/mountinfo").read_text() == mounts


def test_what_a_container_mounts_is_not_seen_outside_and_ends_with_it(
    begin: Callable[..., Started], tmp_path: Path
) -> None:
    volume = Mount(str(tmp_path), "/volume", True)
    started = begin(
        "sh", "-c", "mkdir /volume/sub; mount -t tmpfs none /volume/sub && touch /volume/sub/seen; echo up; read x",
        root=ContainerRoot(mounts=(volume,)), credentials=Credentials(),
    )  # fmt: skip
    assert started.read_line() == "up"
    theirs = Path(f"/proc/{started.child.pid}/mountinfo").read_text()
    assert "/volume/sub" in theirs and "scratch" not in theirs, "the old root has gone from its mounts"
    assert (tmp_path / "sub").is_dir() and not (tmp_path / "sub/seen").exists()
    assert "sub" not in Path("/proc/self/mountinfo").read_text()
    started.finish()
    (tmp_path / "sub").rmdir()  # busy while something is mounted there


def test_volumes_are_at_their_paths_writable_or_not(run: Run, tmp_path: Path) -> None:
    for name in ("rw", "ro", "rw/inner"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "here").write_text(name)
    (tmp_path / "file").write_text("a file")
    mounts = (
        Mount(str(tmp_path / "ro"), "/data/rw/inner/deep", False),  # told before what it lies in
        Mount(str(tmp_path / "rw/inner"), "/data/rw/inner", True),
        Mount(str(tmp_path / "rw"), "/data/rw", True),
        Mount(str(tmp_path / "ro"), "/data/ro", False),
        Mount(str(tmp_path / "file"), "/etc/config/file", False),
        Mount(str(tmp_path / "rw"), "/var/run/secrets/x", False),
        Mount(str(tmp_path / "ro"), "/usr/local/share/ro", False),
    )
    script = (
        "cd /data; cat rw/here rw/inner/here rw/inner/deep/here ro/here /etc/config/file /usr/local/share/ro/here"
        " /run/secrets/x/here; echo; touch rw/new; for i in rw/inner/deep ro /etc/config/file /var/run/secrets/x; do"
        " test -w $i && echo $i; done; true"
    )
    assert run("sh", "-c", script, root=ContainerRoot(mounts=mounts)).lines == ["rwrw/innerroroa filerorw"]
    assert (tmp_path / "rw/new").exists()
    denied = run("sh", "-c", "echo x > /data/ro/x; echo y > /etc/config/file", root=ContainerRoot(mounts=mounts))
    assert denied.err.count("Read-only file system") == 2 and (tmp_path / "file").read_text() == "a file"


def test_a_volume_in_a_folder_of_usr_that_does_not_exist_leaves_its_neighbours_as_they_are(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "index").write_text("a page")
    mounts = (
        Mount(str(tmp_path), "/usr/share/nginx/html", True),
        Mount(str(tmp_path / "index"), "/usr/share/nginx/one", False),
        Mount(str(tmp_path), "/usr/lib/no-such", False),
    )
    done = run(
        "sh", "-c", "cat /usr/share/nginx/html/index; echo; touch /usr/share/nginx/html/new; ls /usr/share; ls /lib",
        root=ContainerRoot(mounts=mounts),
    )  # fmt: skip
    assert done.code == 0 and done.lines[0] == "a page" and (tmp_path / "new").exists()
    wanted = {*os.listdir("/usr/share"), "nginx", *os.listdir("/usr/lib"), "no-such"}
    assert set(done.lines[1:]) == wanted, "and programs still find their libraries"
    denied = run("sh", "-c", "echo x > /usr/share/doc/x", root=ContainerRoot(mounts=mounts))
    assert "Read-only file system" in denied.err


def test_a_volume_is_kept_within_the_root_whatever_links_say(run: Run, tmp_path: Path) -> None:
    image, outside = tmp_path / "image", tmp_path / "outside"
    image.mkdir()
    outside.mkdir()
    (image / "out").symlink_to(outside)  # as an image or a pod could have it
    (image / "up").symlink_to("../../../../../../etc")
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "mark").touch()
    mounts = (Mount(str(image), "/image", True), *(Mount(str(volume), f"/image/{n}/v", True) for n in ("out", "up")))
    lines = run("sh", "-c", f"ls {outside}/v /etc/v", root=ContainerRoot(mounts=mounts)).lines
    assert lines.count("mark") == 2, "both lie in the container's root"
    assert not list(outside.iterdir()) and not Path("/etc/v").exists()


def test_a_volume_whose_source_is_missing_is_said_in_words(run: Run, tmp_path: Path) -> None:
    missing = Mount(str(tmp_path / "nowhere"), "/data", True)
    with pytest.raises(OSError, match=r"the volume's source /\S+/nowhere for /data does not exist"):
        run("true", root=ContainerRoot(mounts=(missing,)))
    loop = tmp_path / "loop"
    loop.mkdir()
    (loop / "a").symlink_to("b")
    (loop / "b").symlink_to("a")
    mounts = (Mount(str(loop), "/loop", True), Mount(str(tmp_path), "/loop/a", True))
    with pytest.raises(OSError, match="too many symbolic links"):
        run("true", root=ContainerRoot(mounts=mounts))


def test_files_of_the_image_are_shown_read_only_and_copies_are_its_own(run: Run, tmp_path: Path) -> None:
    program, data = tmp_path / "program", tmp_path / "data"
    program.write_text("#!/bin/sh\necho ran $1\n")
    program.chmod(0o755)
    data.write_text("content")
    root = ContainerRoot(
        files={"/tool": str(program), "/usr/local/bin/tool": str(program), "/opt/folder": str(tmp_path)},
        copies={"/etc/deep/data": str(data)},
    )
    script = "tool a; /tool b; cat /opt/folder/data /etc/deep/data; echo; echo mine > /etc/deep/data; test -w /tool"
    done = run("sh", "-c", script, root=root, env={"PATH": "/usr/local/bin:/usr/bin:/bin"})
    assert (done.code, done.out.split()) == (1, ["ran", "a", "ran", "b", "contentcontent"])
    assert data.read_text() == "content"


def test_an_image_may_replace_the_hosts_programs(run: Run, tmp_path: Path) -> None:
    busy = tmp_path / "usr"
    (busy / "bin").mkdir(parents=True)
    with pytest.raises(OSError, match=r'exec: "ls": executable file not found in \$PATH'):
        run("ls", root=ContainerRoot(files={"/usr": str(busy)}))


def test_a_read_only_root_is_read_only_but_for_its_volumes(run: Run, tmp_path: Path) -> None:
    root = ContainerRoot(read_only=True, mounts=(Mount(str(tmp_path), "/data", True),))
    script = "for i in / /etc /usr /usr/local /tmp /var/lib /opt /data /dev/shm; do test -w $i && echo $i; done; true"
    assert run("sh", "-c", script, root=root).lines == ["/data", "/dev/shm"]
    assert run("sh", "-c", script).lines == ["/", "/etc", "/usr/local", "/tmp", "/var/lib", "/opt", "/dev/shm"]


def test_the_kernels_own_files_are_protected_as_the_kubelet_asks(run: Run) -> None:
    script = (
        "cat /proc/keys /proc/timer_list | wc -c; ls -A /sys/firmware /proc/acpi | grep -v : | tr -d '\\n'; echo;"
        "for i in /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/irq; do test -w $i && echo $i; done;"
        "mkdir /sys/fs/cgroup/mine 2>/dev/null && echo cgroup; test -w /sys/kernel && echo sys; true"
    )
    confined = run("sh", "-c", script, root=PROTECTED, credentials=Credentials(capabilities=()))
    assert confined.out.splitlines()[:1] == ["0"] and confined.out.split()[1:] == [], confined


def test_even_a_privileged_container_changes_settings_of_its_network_only_and_none_of_the_machine(run: Run) -> None:
    machine = ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/overcommit_memory", "/proc/sysrq-trigger", "/sys/kernel")
    script = f"for i in {' '.join(machine)} /proc/sys/net/ipv4/ip_forward; do test -w $i && echo $i; done; true"
    assert run("sh", "-c", script, credentials=Credentials()).lines == ["/proc/sys/net/ipv4/ip_forward"]


def test_a_nodes_root_leaves_the_machine_alone(tmp_path: Path) -> None:
    make_node_root(tmp_path, files={}, etc={})
    try:
        for path in ("proc/sys/kernel/panic", "proc/sys/vm/overcommit_memory", "sys/kernel", "usr"):
            assert os.statvfs(tmp_path / path).f_flag & os.ST_RDONLY, path
        assert not (tmp_path / "dev/kmsg").exists() and (tmp_path / "dev/null").is_char_device()
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)


def test_every_mount_below_sys_is_read_only(run: Run) -> None:
    def options(credentials: Credentials) -> set[str]:
        fields = [line.split() for line in run("cat", "/proc/self/mountinfo", credentials=credentials).lines]
        return {each[5].split(",")[0] for each in fields if each[4].startswith("/sys")}

    assert options(Credentials(capabilities=("SYS_ADMIN",))) == {"ro"}


def test_devices_work_and_only_those_of_every_container_are_there(run: Run) -> None:
    script = (
        "head -c 3 /dev/zero | od -An -tx1; head -c 8 /dev/urandom | wc -c;"
        "echo x > /dev/null; echo x 2>&- > /dev/full || echo full;"
        "echo out > /dev/stdout; echo err > /dev/stderr; cat /dev/stdin; echo shm > /dev/shm/x; cat /dev/shm/x;"
        "exec 3<> /dev/ptmx && ls /dev/pts; ls /dev"
    )
    done = run("sh", "-c", script)
    lines = done.out.split("\n")
    assert (lines[:6], done.err) == ([" 00 00 00", "8", "full", "out", "shm", "0"], "err\n")
    assert set(lines[6:]) - {"", "ptmx"} == {
        "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero",
    } - {"ptmx"}  # fmt: skip


def test_its_own_processes_are_all_that_it_sees(run: Run) -> None:
    first, seen = run("sh", "-c", "echo $$; ls -d /proc/[0-9]* | grep -vc self").lines
    assert first == "1" and seen in ("2", "3"), "sh, ls, and grep if it was quick"
    others = run("sh", "-c", "ls -d /proc/[0-9]*", own_pids=False).lines
    assert f"/proc/{os.getpid()}" in others


def test_links_in_a_nodes_paths_do_not_lead_out(tmp_path: Path) -> None:
    from campaigns.clusters.sandbox.roots import inside

    root = tmp_path / "root"
    (root / "var/lib").mkdir(parents=True)
    (root / "etc").mkdir()
    for name, target in {
        "var/run": "/run", "absolute": "/etc/passwd", "relative": "var/../var/lib", "escape": "../../../../etc",
        "chain": "/escape/hosts", "loop": "loop",
    }.items():  # fmt: skip
        (root / name).symlink_to(target)
    for path, wanted in {
        "/etc/hosts": "etc/hosts", "/var/run/cri.sock": "run/cri.sock", "/absolute": "etc/passwd",
        "/relative/x": "var/lib/x", "/escape/x": "etc/x", "/chain": "etc/hosts", "/../../x": "x",
        "/var/lib/../../../../x": "x", "//etc//x": "etc/x", "/etc/./x": "etc/x", "/no/such/../thing": "no/thing",
    }.items():  # fmt: skip
        assert inside(root, path) == root / wanted, path
    with pytest.raises(OSError, match="/loop/x: too many symbolic links"):
        inside(root, "/loop/x")


def test_a_container_that_fills_its_root_is_stopped_by_its_size(run: Run) -> None:
    done = run("sh", "-c", "head -c 300m /dev/zero > /big; stat -c %s /big")
    assert "No space left on device" in done.err and int(done.out) <= 256 << 20


def test_a_volume_is_the_nodes_folder_and_not_a_copy(begin: Callable[..., Started], tmp_path: Path) -> None:
    started = begin(
        "sh", "-c", "echo up; read x; cat /data/later; echo back > /data/answer",
        root=ContainerRoot(mounts=(Mount(str(tmp_path), "/data", True),)),
    )  # fmt: skip
    assert started.read_line() == "up"
    (tmp_path / "later").write_text("afterwards\n")
    started.write(b"\n")
    assert started.finish().out == "afterwards\n"
    wait_until(lambda: (tmp_path / "answer").read_text() == "back\n", within_s=5, what="the answer")
