from __future__ import annotations

import argparse
import os
import signal

import pytest

import tests.conformance.__main__ as command
from injector.errors import ClusterError


def test_options_say_what_they_choose() -> None:
    chosen = command.options(["--focus", "sig-cli", "--resume", "--workers", "2", "--profile", "kubeadm"])
    assert (chosen.focus, chosen.resume, chosen.only_failed, chosen.workers) == ("sig-cli", True, False, 2)
    assert chosen.profile.value == "kubeadm"


def test_a_second_signal_does_not_cut_short_what_the_first_one_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []

    def interrupted(_: argparse.Namespace) -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            ended.append(True)
        return 0

    monkeypatch.setattr("sys.argv", ["conformance"])
    monkeypatch.setattr(command, "_run", interrupted)
    assert (command.main(), ended) == (130, [True])


def test_a_cluster_that_does_not_start_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_: argparse.Namespace) -> int:
        raise ClusterError("etcd did not start")

    monkeypatch.setattr("sys.argv", ["conformance"])
    monkeypatch.setattr(command, "_run", fails)
    assert command.main() == 3
    assert capsys.readouterr().err == "etcd did not start\n"
