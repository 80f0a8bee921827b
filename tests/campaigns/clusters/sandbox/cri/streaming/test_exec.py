"""Commands, over real sockets."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import time
from pathlib import Path

import pytest

from campaigns.clusters.sandbox.cri.streaming import connections, run_sync, sessions, spdy
from tests.campaigns.clusters.sandbox.cri.streaming.client import RECORDED, SpdyClient, dial
from tests.campaigns.clusters.sandbox.cri.streaming.conftest import Serving, descriptors
from tests.campaigns.clusters.sandbox.cri.streaming.processes import Processes
from tests.conftest import wait_until

SUCCESS = {"status": "Success"}


def sleeps(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def test_a_command_gives_its_outputs_and_its_exit_code(serving: Serving) -> None:
    with SpdyClient(serving.exec("sh", "-c", "echo hi; echo no >&2; exit 3")) as client:
        error, out, err = client.streams("error", "stdout", "stderr")
        client.rest()
        assert (client.text(out), client.text(err)) == (b"hi\n", b"no\n")
        assert json.loads(client.text(error)) == {
            "status": "Failure",
            "message": "command terminated with non-zero exit code: "
            "error executing command [sh -c echo hi; echo no >&2; exit 3], exit code 3",
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": "3"}]},
        }
        assert client.ended == {error, out, err}
        assert client.frames[-1] == spdy.GoAway(err)


def test_a_command_that_succeeds_says_so(serving: Serving) -> None:
    with SpdyClient(serving.exec("true")) as client:
        error, *_ = client.streams("error", "stdout", "stderr")
        assert json.loads(client.rest().text(error)) == SUCCESS


def test_a_signal_is_128_and_its_number(serving: Serving) -> None:
    with SpdyClient(serving.exec("sh", "-c", "kill -9 $$")) as client:
        error, *_ = client.streams("error", "stdout", "stderr")
        assert json.loads(client.rest().text(error))["details"]["causes"][0]["message"] == "137"


@pytest.mark.parametrize(
    ("container", "words"),
    [("c", 'exec: "nosuch": executable file not found in $PATH'), ("x", "failed to find container 'x': not found")],
)
def test_a_command_that_cannot_be_started_is_told_in_words(serving: Serving, container: str, words: str) -> None:
    with SpdyClient(serving.exec("nosuch", container=container)) as client:
        error, *_ = client.streams("error", "stdout", "stderr")
        assert json.loads(client.rest().text(error)) == {
            "status": "Failure",
            "message": "Internal error occurred: error executing command in container: "
            f"failed to exec in container: {words}",
            "reason": "InternalError",
            "code": 500,
        }


def test_the_bytes_of_the_real_client_are_answered(serving: Serving) -> None:
    url = serving.exec("sh", "-c", "cat; echo no >&2; exit 3", stdin=True)
    head, _, rest = (RECORDED / "exec.bin").read_bytes().partition(b"\r\n")
    with dial(url) as sock:
        sock.sendall(b"POST /exec/" + url.rpartition("/")[2].encode() + b" HTTP/1.1\r\n" + rest)
        answer = b""
        while part := sock.recv(65536):
            answer += part
    head, _, frames = answer.partition(b"\r\n\r\n")
    assert b"X-Stream-Protocol-Version: v4.channel.k8s.io" in head
    data = [frame for frame in spdy.Decoder().feed(frames) if isinstance(frame, spdy.Data)]
    text = {n: b"".join(frame.data for frame in data if frame.stream == n) for n in (1, 5, 7)}
    assert (text[5], text[7]) == (b"hello", b"no\n")
    assert json.loads(text[1])["details"]["causes"][0]["message"] == "3"


def test_the_clients_end_of_stdin_is_the_commands(serving: Serving) -> None:
    with SpdyClient(serving.exec("cat", stdin=True)) as client:
        error, stdin, out, _ = client.streams("error", "stdin", "stdout", "stderr")
        client.write(stdin, b"abc")
        client.until(lambda: client.text(out) == b"abc")
        client.write(stdin, b"def", fin=True)
        client.rest()
        assert client.text(out) == b"abcdef"
        assert json.loads(client.text(error)) == SUCCESS


def test_without_stdin_a_command_reads_its_end_at_once(serving: Serving) -> None:
    with SpdyClient(serving.exec("cat")) as client:
        error, *_ = client.streams("error", "stdout", "stderr")
        assert json.loads(client.rest().text(error)) == SUCCESS


def test_an_output_that_was_not_asked_for_is_thrown_away(serving: Serving) -> None:
    url = serving.server.exec_url(
        "c", ("sh", "-c", "head -c 1000000 /dev/zero >&2; echo hi"), tty=False, stdin=False, stdout=True, stderr=False
    )
    with SpdyClient(url) as client:
        _, out = client.streams("error", "stdout")
        assert client.rest().text(out) == b"hi\n"


def test_tens_of_megabytes_go_through_in_both_directions_at_once(serving: Serving) -> None:
    sent = os.urandom(1 << 20) * 24
    with SpdyClient(serving.exec("cat", stdin=True)) as client:
        error, stdin, out, _ = client.streams("error", "stdin", "stdout", "stderr")
        writer = client.writing(stdin, sent, fin=True)
        client.rest()
        writer.join()
        assert client.text(out) == sent
        assert json.loads(client.text(error)) == SUCCESS


def test_a_command_that_stops_reading_ends_well_under_a_flood_of_stdin(serving: Serving) -> None:
    with SpdyClient(serving.exec("head", "-c", "5", stdin=True)) as client:
        error, stdin, out, _ = client.streams("error", "stdin", "stdout", "stderr")
        writer = client.writing(stdin, bytes(16 << 20), fin=True)
        client.rest()
        writer.join()
        assert client.text(out) == bytes(5)
        assert json.loads(client.text(error)) == SUCCESS  # though the client was still sending
        assert spdy.Reset(stdin, spdy.ResetStatus.CANCEL) in client.frames


def test_a_command_that_cannot_be_started_is_told_under_a_flood_of_stdin(serving: Serving) -> None:
    with SpdyClient(serving.exec("nosuch", stdin=True)) as client:
        error, stdin, *_ = client.streams("error", "stdin", "stdout", "stderr")
        writer = client.writing(stdin, bytes(16 << 20), fin=True)
        client.rest()
        writer.join()
        assert b"not found" in client.text(error)


def test_a_command_that_closed_its_stdin_does_not_hold_up_the_client(serving: Serving) -> None:
    with SpdyClient(serving.exec("sh", "-c", "exec 0<&-; exec sleep 1000", stdin=True)) as client:
        _, stdin, *_ = client.streams("error", "stdin", "stdout", "stderr")
        writer = client.writing(stdin, bytes(16 << 20))
        writer.join(10)
        client.send(spdy.Ping(1))
        client.until(lambda: spdy.Ping(1) in client.frames)


def test_the_answer_does_not_wait_for_stdin_that_a_child_still_holds(serving: Serving) -> None:
    # it ends when the flood has begun and the pipe is full
    script = "exec 3<&0; setsid sleep 1000 >/dev/null 2>&1 & echo $!; head -c 5000 >/dev/null; sleep 0.2"
    with SpdyClient(serving.exec("sh", "-c", script, stdin=True)) as client:
        error, stdin, out, _ = client.streams("error", "stdin", "stdout", "stderr")
        writer = client.writing(stdin, bytes(4 << 20))
        client.rest()
        os.kill(int(client.text(out)), signal.SIGKILL)
        writer.join()
        assert json.loads(client.text(error)) == SUCCESS


def test_a_child_that_escapes_does_not_keep_the_connection_of_a_client_that_vanishes(serving: Serving) -> None:
    client = SpdyClient(serving.exec("sh", "-c", "setsid sleep 1000 & echo $!; wait"))
    _, out, _ = client.streams("error", "stdout", "stderr")
    client.until(lambda: client.text(out).endswith(b"\n"))
    client.socket.close()
    try:
        serving.idle()
    finally:
        os.kill(int(client.text(out)), signal.SIGKILL)


def test_a_client_that_reads_late_gets_everything(serving: Serving) -> None:
    with SpdyClient(serving.exec("head", "-c", "20000000", "/dev/zero")) as client:
        error, out, _ = client.streams("error", "stdout", "stderr")
        child = serving.started().child
        wait_until(lambda: sleeps(child.pid), within_s=5, what="the command to wait for its reader")
        client.rest()
        assert len(client.text(out)) == 20_000_000
        assert json.loads(client.text(error)) == SUCCESS


def test_the_answer_waits_for_output_that_a_child_still_holds(serving: Serving) -> None:
    started = time.monotonic()
    with SpdyClient(serving.exec("sh", "-c", "(sleep 0.4; echo late) & echo early")) as client:
        _, out, _ = client.streams("error", "stdout", "stderr")
        assert client.rest().text(out) == b"early\nlate\n"
    assert time.monotonic() - started >= 0.4


def leave_quietly(client: SpdyClient) -> None:
    client.socket.close()


def leave_with_reset(client: SpdyClient) -> None:
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.close()


def leave_as_client_go(client: SpdyClient) -> None:
    client.send(spdy.GoAway(0))


@pytest.mark.parametrize("leave", [leave_quietly, leave_with_reset, leave_as_client_go])
@pytest.mark.parametrize("command", ["exec sleep 1000", "yes", "sleep 1000 >&2 & wait"])
def test_the_command_of_a_client_that_vanishes_is_killed_and_nothing_leaks(
    serving: Serving, leave: object, command: str
) -> None:
    before = descriptors()
    client = SpdyClient(serving.exec("sh", "-c", command, stdin=True))
    client.streams("error", "stdin", "stdout", "stderr")
    child = serving.started().child
    assert callable(leave)
    leave(client)
    assert serving.started().ended.wait(5), "the command still runs"
    assert child.returncode == -signal.SIGKILL
    serving.idle()
    client.socket.close()
    assert descriptors() == before


def test_a_client_that_vanishes_is_noticed_though_its_stdin_is_not_read(serving: Serving) -> None:
    client = SpdyClient(serving.exec("sleep", "1000", stdin=True))
    _, stdin, *_ = client.streams("error", "stdin", "stdout", "stderr")
    client.write(stdin, bytes(connections._HELD_BYTES + (1 << 18)))  # more than is held, and some for the kernel
    client.socket.close()
    assert serving.started().ended.wait(5), "the command still runs"
    serving.idle()


def test_a_terminal_is_a_terminal_and_has_the_clients_size(serving: Serving) -> None:
    script = "stty size; read line; stty size; echo got $line; tty >/dev/tty"
    with SpdyClient(serving.exec("sh", "-c", script, stdin=True, tty=True)) as client:
        error, stdin, out, resize = client.streams("error", "stdin", "stdout", "resize")
        client.until(lambda: client.text(out).endswith(b"\r\n"))
        assert client.text(out) == b"0 0\r\n"
        client.write(resize, b'{"Width":0,"Height":0}')  # skipped
        client.write(resize, b'{"Width":123,"Hei')
        client.write(resize, b'ght":45}\n')
        terminal = os.readlink(f"/proc/{serving.started().child.pid}/fd/0")
        with open(terminal) as tty:
            wait_until(lambda: os.get_terminal_size(tty.fileno()) == (123, 45), within_s=5, what="the new size")
        client.write(stdin, b"hello\n")
        client.rest()
        assert client.text(out) == f"0 0\r\nhello\r\n45 123\r\ngot hello\r\n{terminal}\r\n".encode()
        assert json.loads(client.text(error)) == SUCCESS


def test_the_clients_end_of_stdin_does_not_end_a_terminal(serving: Serving) -> None:
    with SpdyClient(serving.exec("sh", "-c", "sleep 0.2; echo still here", stdin=True, tty=True)) as client:
        _, stdin, out, _ = client.streams("error", "stdin", "stdout", "resize")
        client.write(stdin, b"", fin=True)
        assert client.rest().text(out) == b"still here\r\n"


@pytest.mark.parametrize("protocol", ["v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"])
def test_older_protocols_have_only_an_errors_text(serving: Serving, protocol: str) -> None:
    for code, words in (("0", b""), ("4", b"exit code 4")):
        with SpdyClient(serving.exec("sh", "-c", f"exit {code}"), [protocol]) as client:
            error, *_ = client.streams("error", "stdout", "stderr")
            text = client.rest().text(error)
        assert text == b"" if not words else text.endswith(words) and not text.startswith(b"{")


def test_before_version_3_a_terminal_has_no_stream_for_its_size(serving: Serving) -> None:
    with SpdyClient(serving.exec("echo", "hi", tty=True), ["v2.channel.k8s.io"]) as client:
        _, out = client.streams("error", "stdout")
        assert client.rest().text(out) == b"hi\r\n"


def test_pings_are_answered_and_what_has_no_meaning_here_is_ignored(serving: Serving) -> None:
    with SpdyClient(serving.exec("cat", stdin=True)) as client:
        _, stdin, out, _ = client.streams("error", "stdin", "stdout", "stderr")
        client.send(spdy.Settings({4: 100}))
        client.send(spdy.WindowUpdate(stdin, 1000))
        client.send(spdy.Data(99, b"of no stream"))
        client.send(spdy.Ping(2))
        client.send(spdy.Ping(1))
        client.until(lambda: spdy.Ping(1) in client.frames)
        assert spdy.Ping(2) not in client.frames  # even ones would be ours
        client.write(stdin, b"x", fin=True)
        assert client.rest().text(out) == b"x"


@pytest.mark.parametrize("number", [2, 1])
def test_a_stream_whose_number_is_not_the_clients_or_not_new_is_reset(serving: Serving, number: int) -> None:
    with SpdyClient(serving.exec("cat")) as client:
        client.open(streamtype="error")
        client.send(spdy.SynStream(number, {"streamtype": "stdout"}))
        client.until(lambda: spdy.Reset(number, spdy.ResetStatus.PROTOCOL_ERROR) in client.frames)


def test_output_is_thrown_away_once_the_client_has_reset_its_stream(serving: Serving) -> None:
    with SpdyClient(serving.exec("sh", "-c", "cat; echo out; echo err >&2", stdin=True)) as client:
        error, stdin, out, err = client.streams("error", "stdin", "stdout", "stderr")
        client.send(spdy.Reset(out, spdy.ResetStatus.CANCEL))
        client.write(stdin, b"", fin=True)
        client.rest()
        assert (client.text(out), client.text(err)) == (b"", b"err\n")
        assert json.loads(client.text(error)) == SUCCESS


def test_a_broken_frame_ends_the_connection_and_the_command(serving: Serving) -> None:
    with SpdyClient(serving.exec("sleep", "1000")) as client:
        client.streams("error", "stdout", "stderr")
        client.socket.sendall(bytes.fromhex("80020006 00000004 00000001"))
        client.rest()
        assert serving.started().ended.wait(5), "the command still runs"


def test_closing_the_server_ends_what_runs(serving: Serving) -> None:
    with SpdyClient(serving.exec("sleep", "1000")) as client:
        client.streams("error", "stdout", "stderr")
        serving.server.close()
        assert serving.started().child.returncode == -signal.SIGKILL
        client.rest()


def test_a_probe_gets_the_exit_code_and_both_outputs() -> None:
    assert run_sync(Processes(), "c", ["sh", "-c", "echo hi; echo no >&2; cat; exit 2"], 10) == (2, b"hi\n", b"no\n")


@pytest.mark.parametrize("script", ["exec sleep 1000", "exec sleep 1000 >/dev/null 2>&1"])
def test_a_probe_that_takes_too_long_is_killed(script: str) -> None:
    backend, before = Processes(), descriptors()
    with pytest.raises(TimeoutError, match=r"'sh' took longer than 0.2 s"):
        run_sync(backend, "c", ["sh", "-c", script], 0.2)
    assert backend.running[0].child.returncode == -signal.SIGKILL
    assert descriptors() == before


def test_a_probe_does_not_wait_for_ever_for_output_that_an_escaped_child_holds(tmp_path: Path) -> None:
    note, before = tmp_path / "pid", descriptors()
    with pytest.raises(TimeoutError):
        run_sync(Processes(), "c", ["sh", "-c", f"setsid sleep 1000 & echo $! >{note}"], 0.2)
    os.kill(int(note.read_text()), signal.SIGKILL)
    assert descriptors() == before


def test_a_probes_output_is_cut_and_the_rest_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_SYNC_BYTES", 100_000)
    code, out, err = run_sync(Processes(), "c", ["sh", "-c", "head -c 3000000 /dev/zero; echo end >&2"])
    assert (code, len(out), err) == (0, 100_000, b"end\n")


def test_a_probe_that_cannot_be_started_raises() -> None:
    before = descriptors()
    with pytest.raises(OSError, match="not found in"):
        run_sync(Processes(), "c", ["nosuch"], 1)
    with pytest.raises(KeyError):
        run_sync(Processes(), "x", ["true"], 1)
    assert descriptors() == before
