from __future__ import annotations

import io

from rich.console import Console

from campaigns.assets.progress import PLAIN_INTERVAL_S, PlainProgress, TerminalProgress, choose_progress


def test_piped_progress_is_plain_lines_and_few_of_them() -> None:
    out, now = io.StringIO(), [0.0]
    progress = PlainProgress(out, clock=lambda: now[0])
    with progress.task("downloading x", total_bytes=50_000_000) as task:
        for second in range(40):
            now[0] = float(second)
            task.done_bytes(second * 1_000_000)
    with progress.task("building y") as task:
        now[0] += PLAIN_INTERVAL_S
        task.tick("12 packages, k8s.io/api")
    assert out.getvalue().splitlines() == [
        "downloading x (50 MB) ...",
        "downloading x: 15 s, 15 of 50 MB",
        "downloading x: 30 s, 30 of 50 MB",
        "downloading x: done in 39 s",
        "building y ...",
        "building y: 15 s, 12 packages, k8s.io/api",
        "building y: done in 15 s",
    ]


def test_a_terminal_sees_a_bar_with_bytes_and_rate() -> None:
    out = io.StringIO()
    progress = TerminalProgress(Console(file=out, force_terminal=True, width=120))
    with progress.task("downloading [x]", total_bytes=2_000_000) as task:
        task.done_bytes(1_000_000)
    with progress.task("building y") as task:
        task.tick("12 packages")
    shown = out.getvalue()
    assert "downloading [x]" in shown
    assert "1.0/2.0 MB" in shown
    assert "12 packages" in shown


def test_a_stream_that_is_no_terminal_gets_lines() -> None:
    assert isinstance(choose_progress(io.StringIO()), PlainProgress)
