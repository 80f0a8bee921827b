"""The fork server: starts, ends, what it leaves, what it says when it can't."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from campaigns.clusters.sandbox.cri import spawning
from campaigns.clusters.sandbox.cri.containers import processes_below
from campaigns.clusters.sandbox.cri.images import BUILT_IN
from campaigns.clusters.sandbox.cri.spawning import Child, Spawner
from campaigns.clusters.sandbox.cri.spec import ContainerRoot, Credentials, ProcessSpec
from tests.campaigns.clusters.sandbox.cri.conftest import PATH, Done, Started
from tests.conftest import children, wait_until

_OF_THE_C_LIBRARY = 1 << 31 | 1 << 32
"""Signals 32 and 33, which it keeps for its threads and lets nobody set: as whoever started the tests left them."""

pytestmark = pytest.mark.inside

Run = Callable[..., Done]
Begin = Callable[..., Started]
PYTHON = BUILT_IN["mutineer/web:1"].files


def descriptors(pid: int | str = "self") -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def gone(pid: int) -> bool:
    """Or a zombie, which is its parent's to reap."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("exec sh -c 'exit 7'", 7)]
)
def test_exit_codes_are_told(run: Run, script: str, code: int) -> None:
    assert run("sh", "-c", script) == Done(code, "", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGHUP])
def test_a_signals_exit_code_is_128_and_its_number(begin: Begin, run: Run, number: signal.Signals) -> None:
    assert run("sh", "-c", f"kill -{number} $$", own_pids=False).code == 128 + number
    killed = begin("sh", "-c", "echo up; read x", own_pids=False)
    assert killed.read_line() == "up"
    killed.child.signal(number)
    assert killed.child.wait() == 128 + number
    killed.child.signal(number)  # again: nothing happens


def test_what_can_not_be_executed_is_said_as_runc_says_it(run: Run, tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("not a program")
    root = ContainerRoot(copies={"/tool": str(tool), "/bin2/tool": str(tool)})
    for argv, words in (
        (("no-such",), r'exec: "no-such": executable file not found in \$PATH'),
        (("/no/such",), r'exec: "/no/such": no such file or directory'),
        (("/etc/passwd/x",), r'exec: "/etc/passwd/x": not a directory'),
        (("/tool",), r'exec: "/tool": permission denied'),
        (("/etc",), r'exec: "/etc": permission denied'),
        ((), "no command specified"),
        (("a\0b",), "execve: embedded null character in path"),
        (("sh", "a\0b"), "embedded null byte"),
        (("sh", "x" * (1 << 18)), r'exec: "sh": argument list too long'),
    ):
        with pytest.raises(OSError, match=f"^{words}$"):
            run(*argv, root=root)
    with pytest.raises(OSError, match=r"executable file not found in \$PATH"):
        run("sh", env={"PATH": "/nowhere"})
    tool.chmod(0o755)
    with pytest.raises(OSError, match='exec: "/tool": exec format error'):
        run("/tool", root=root)
    with pytest.raises(OSError, match="embedded null byte"):
        run("true", env={"PATH": PATH, "X": "a\0b"})
    assert run("true").code == 0, "and the spawner goes on"


def test_its_first_process_is_number_1_and_takes_all_others_with_it(begin: Begin) -> None:
    started = begin("sh", "-c", "setsid sleep 60 & setsid sh -c 'sleep 61 & sleep 62' & echo $$; read x")
    assert started.read_line() == "1"
    below: list[int] = []

    def all_there() -> bool:
        below[:] = processes_below(started.child.pid)
        return len(below) == 5

    wait_until(all_there, within_s=5, what="its processes")
    started.child.kill()
    assert started.child.wait() == 137
    wait_until(lambda: all(map(gone, below)), within_s=5, what="their end")


def test_orphans_of_a_container_are_its_first_processes(begin: Begin) -> None:
    started = begin("sh", "-c", "(sleep 60 & echo $!); echo up; read x; echo $PPID")
    orphan = int(started.read_line())
    assert orphan > 1 and started.read_line() == "up"
    assert len(processes_below(started.child.pid)) == 2, "what was left behind is still counted"


def test_the_environment_is_exactly_the_one_asked_for(run: Run) -> None:
    env = {"PATH": PATH, "EMPTY": "", "a.b-c": "dots", "BYTES": os.fsdecode(b"\xff\xfe=\n"), "UNI": "ü"}
    done = run("env", "-0", env=env)
    given = dict(pair.split("=", 1) for pair in done.out.split("\0")[:-1])
    assert {k: os.fsencode(v) for k, v in given.items()} == {k: os.fsencode(v) for k, v in env.items()}


def test_a_large_environment_arrives(run: Run) -> None:
    env = {"PATH": PATH, **{f"VARIABLE_{n}": "x" * 1000 for n in range(400)}}
    assert len(ProcessSpec(argv=(), env=env).to_json()) > 400_000
    assert run("sh", "-c", "env | grep -c VARIABLE_.*x$", env=env).lines == ["400"]


def test_a_process_has_no_descriptors_but_its_own_three(run: Run) -> None:
    assert run("ls", "/proc/self/fd").lines == ["0", "1", "2", "3"], "3 is the listing's"
    lines = run("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status").lines
    masks = [int(line.split()[1], 16) & ~_OF_THE_C_LIBRARY for line in lines]
    assert masks == [0, 0], "no signal is blocked or ignored"


def test_a_session_of_its_own(run: Run) -> None:
    # pid, parent, group, session, terminal
    assert run("cut", "-d ", "-f", "1,4,5,6,7", "/proc/self/stat").lines == ["1 0 1 1 0"]


def test_output_and_exit_code_of_what_ends_at_once_are_right(begin: Begin) -> None:
    for number in range(40):
        done = begin("sh", "-c", f"echo {number}; echo e{number} >&2; exit {number}").finish()
        assert done == Done(number, f"{number}\n", f"e{number}\n")


def test_many_starts_leave_no_descriptor_and_no_zombie(spawner: Spawner) -> None:
    before = descriptors(), descriptors(spawner.pid), children(), set(processes_below(spawner.pid))
    ended = threading.Semaphore(0)
    with open("/dev/null", "r+b") as null:
        for number in range(200):
            spec = ProcessSpec(argv=("sleep", "0") if number % 4 else ("no-such",), env={"PATH": PATH}, own_pids=True)
            try:
                spawner.start(spec, (null.fileno(),) * 3, lambda _: ended.release())
            except OSError:
                assert number % 4 == 0
                ended.release()
    for _ in range(200):
        assert ended.acquire(timeout=10)
    wait_until(
        lambda: (descriptors(), descriptors(spawner.pid), children(), set(processes_below(spawner.pid))) == before,
        within_s=5, what="everything to be as before",
    )  # fmt: skip


def test_many_threads_start_at_once_and_each_gets_its_own(begin: Begin) -> None:
    with ThreadPoolExecutor(16) as pool:
        started = list(pool.map(lambda n: begin("sh", "-c", f"echo {n}; exit {n}"), range(60)))
    assert [each.finish() for each in started] == [Done(n, f"{n}\n", "") for n in range(60)]
    assert len({each.child.pid for each in started}) == 60


def test_a_callback_is_called_once_and_after_the_end_is_known(spawner: Spawner) -> None:
    codes: list[int | None] = []
    with open("/dev/null", "r+b") as null:
        child = spawner.start(
            ProcessSpec(argv=("sh", "-c", "exit 9"), env={"PATH": PATH}),
            (null.fileno(),) * 3,
            lambda each: codes.append(each.exit_code),
        )
    assert child.wait() == 9
    wait_until(lambda: codes == [9], within_s=5, what="the callback")


def test_when_the_spawner_is_killed_its_containers_end_and_starts_fail_in_words(tmp_path: Path) -> None:
    spawner = Spawner(tmp_path / "scratch")
    ended: list[int | None] = []
    with open("/dev/null", "r+b") as null, contextlib.closing(spawner):

        def start(*argv: str, own_pids: bool = False) -> Child:
            spec = ProcessSpec(argv=argv, env={"PATH": PATH}, own_pids=own_pids, root=ContainerRoot())
            return spawner.start(spec, (null.fileno(),) * 3, lambda child: ended.append(child.exit_code))

        containers = [start("sleep", "60", own_pids=own) for own in (True, False)]
        os.kill(spawner.pid, signal.SIGKILL)
        assert [child.wait() for child in containers] == [137, 137]
        wait_until(lambda: all(gone(child.pid) for child in containers), within_s=5, what="their end")
        for _ in range(2):
            with pytest.raises(OSError, match="the spawner, which all containers come from, has ended"):
                start("true")
        wait_until(lambda: ended == [137, 137], within_s=5, what="both callbacks")


def test_what_is_being_started_when_the_spawner_is_killed_fails_in_words(tmp_path: Path) -> None:
    spawner = Spawner(tmp_path / "scratch")
    failures: list[str] = []

    def start() -> None:
        try:
            with open("/dev/null", "r+b") as null:
                spawner.start(ProcessSpec(argv=("sleep", "60")), (null.fileno(),) * 3)
        except OSError as error:
            failures.append(str(error))

    with contextlib.closing(spawner):
        os.kill(spawner.pid, signal.SIGSTOP)
        starting = [threading.Thread(target=start) for _ in range(3)]
        for each in starting:
            each.start()
        os.kill(spawner.pid, signal.SIGKILL)
        for each in starting:
            each.join(10)
    assert failures == ["the spawner, which all containers come from, has ended"] * 3


def test_closing_ends_everything_and_twice_is_no_error(tmp_path: Path) -> None:
    spawner = Spawner(tmp_path / "scratch")
    with open("/dev/null", "r+b") as null:
        child = spawner.start(ProcessSpec(argv=("sleep", "60"), env={"PATH": PATH}), (null.fileno(),) * 3)
    spawner.close()
    assert child.wait() == 137 and gone(spawner.pid)
    wait_until(lambda: gone(child.pid), within_s=5, what="its end")
    spawner.close()


def test_a_start_that_takes_too_long_fails_and_leaves_no_process(
    spawner: Spawner, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = processes_below(spawner.pid)
    with open("/dev/null", "r+b") as null:
        files = (null.fileno(),) * 3
        os.kill(spawner.pid, signal.SIGSTOP)
        with monkeypatch.context() as patched:
            patched.setattr(spawning, "_START_WITHIN_S", 0.1)
            with pytest.raises(OSError, match=r"the spawner has not answered within 0\.1 s"):
                spawner.start(ProcessSpec(argv=("sleep", "60"), env={"PATH": PATH}), files)
        os.kill(spawner.pid, signal.SIGCONT)
        # later than that one's
        child = spawner.start(ProcessSpec(argv=("true",), env={"PATH": PATH}), files)
        assert child.wait() == 0
        wait_until(lambda: processes_below(spawner.pid) == before, within_s=5, what="the other's end")


def test_a_built_in_program_is_a_process_of_its_own(begin: Begin, spawner: Spawner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    web = begin(
        "--port", str(port), program="web", env={"HOSTNAME": "web-0"}, hostname="h",
        root=ContainerRoot(files=PYTHON), credentials=Credentials(capabilities=()),
    )  # fmt: skip
    assert web.read_line() == f"serving as web-0 on port {port}"
    pid = web.child.pid
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert (status["Name"], status["PPid"].strip()) == ("web", str(spawner.pid))
    assert (int(status["CapEff"], 16), int(status["CapBnd"], 16)) == (0, 0)
    assert descriptors(pid) <= 5, "its three, its listener, its poll: none of the spawner's"
    assert status["Threads"].strip() == "1"
    web.child.signal(signal.SIGTERM)
    assert web.finish() == Done(0, "", "")


def test_a_built_in_program_that_fails_says_so_as_python_does(run: Run) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        here = f"/proc/{os.getpid()}/ns/net"
        port = str(taken.getsockname()[1])
        done = run("--port", port, program="web", root=ContainerRoot(files=PYTHON), network=here)
    assert done.code == 1 and done.err.startswith("Traceback") and "Address already in use" in done.err
    usage = run("--no-such-option", program="routes", root=ContainerRoot(files=PYTHON))
    assert usage.code == 2 and "--no-such-option" in usage.err


def test_the_statistics_of_a_container_are_those_of_all_its_processes(begin: Begin) -> None:
    busy = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done"
    started = begin("sh", "-c", f"sh -c '{busy}'; sh -c 'echo up; read x; true'")
    assert started.read_line() == "up"
    from campaigns.clusters.sandbox.cri.containers import Container
    from campaigns.clusters.sandbox.cri.protocol import new

    config = new("ContainerConfig")
    container = Container("c", "p", config, BUILT_IN["mutineer/web:1"], Path("/x"), started_at=1, child=started.child)
    usage = container.usage()
    assert len(processes_below(started.child.pid)) == 2
    assert usage.cpu_s >= 0.02, "of the child that has ended, too"
    first = int(Path(f"/proc/{started.child.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert usage.rss_bytes > first > 0
    started.finish()
    container.finished_at = time.time_ns()
    assert (container.usage().cpu_s, container.usage().rss_bytes) == (0.0, 0)
