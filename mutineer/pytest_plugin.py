"""The pytest plugin: `pytest --mutineer` gives tests a real Kubernetes to break, by the fixtures cluster and inject.

    cluster   mutineer.testing.Cluster: one sandbox for the session, rolled back before each test that uses it (and so
              as the last test left it where it is kept)
    inject    Cluster.inject of it; what a test has injected is undone after it, and a fault that was armed and never
              fired is an error

Without --mutineer, tests that use them are skipped. With pytest-xdist, each worker has a sandbox of its own. A sandbox
ends with the process that has started it, however that ends (--mutineer-keep: it stays, `mutineer sandbox list`).

Every installation of pytest beside mutineer loads this file: it loads nothing itself until a fixture is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mutineer.testing import Cluster, Inject, Injection

__all__ = ["cluster", "inject", "pytest_addoption"]

_KEPT = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """--mutineer, --mutineer-config (ini: mutineer_config), --mutineer-keep."""
    group = parser.getgroup("mutineer", "faults in a real Kubernetes (mutineer)")
    group.addoption("--mutineer", action="store_true", help="Run the tests that use the fixtures cluster or inject.")
    group.addoption(
        "--mutineer-config",
        metavar="FILE",
        help="Their sandbox: YAML as of `mutineer sandbox up --config` (ini: mutineer_config, relative to its file).",
    )
    group.addoption(
        "--mutineer-keep", action="store_true", help="Leave the sandbox running, as the last test has left it."
    )
    parser.addini("mutineer_config", "The sandbox of `pytest --mutineer`, unless --mutineer-config is given.")


@pytest.fixture(scope="session")
def _mutineer_session(pytestconfig: pytest.Config) -> Iterator[_Session]:
    if not pytestconfig.getoption("--mutineer"):
        pytest.skip("needs a Kubernetes sandbox: pytest --mutineer")
    from injector.errors import MutineerError
    from mutineer.testing import Cluster

    keep = bool(pytestconfig.getoption("--mutineer-keep"))
    try:
        started = Cluster.start(f"pytest-{os.getpid()}", config=_config_file(pytestconfig), keep=keep)
    except MutineerError as error:
        pytest.fail(f"no sandbox for `pytest --mutineer`: {error}", pytrace=False)
    yield _Session(started)
    if keep:
        pytestconfig.stash.setdefault(_KEPT, []).append(f"{started.name}: export KUBECONFIG={started.kubeconfig}")
    else:
        started.end()


class _Session:
    """The session's sandbox, and whether a test has used it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self._used = cluster, False

    def fresh(self) -> Cluster:
        """As it was when it came up. The first test finds it so."""
        if self._used:
            self.cluster.reset()
        self._used = True
        return self.cluster


def _config_file(config: pytest.Config) -> Path | None:
    """The option's path starts here, the ini value's at the ini file."""
    if given := config.getoption("--mutineer-config"):
        return config.invocation_params.dir / str(given)
    written = str(config.getini("mutineer_config"))
    base = config.inipath.parent if config.inipath is not None else config.rootpath
    return base / written if written else None


@pytest.fixture
def cluster(_mutineer_session: _Session) -> Cluster:
    """A real Kubernetes, as it was when it came up: kubeconfig, kubectl(…), inject(…), reset(), name."""
    return _mutineer_session.fresh()


@pytest.fixture
def inject(cluster: Cluster) -> Iterator[Inject]:
    """Injects one fault into the cluster, as mutineer.testing.Cluster.inject; undone after the test."""
    made: list[Injection] = []

    def injected(model: str, target: str, /, **arguments: object) -> Injection:
        made.append(cluster.inject(model, target, **arguments))  # type: ignore[arg-type]
        return made[-1]

    yield injected
    _close(made)


def _close(made: list[Injection]) -> None:
    """All of them, the latest first, whatever goes wrong with one."""
    from injector.errors import MutineerError

    wrong: list[str] = []
    for each in reversed(made):
        try:
            each.close()
        except MutineerError as error:
            wrong.append(str(error))
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Where a sandbox was kept, how to reach it."""
    for words in config.stash.get(_KEPT, []):
        terminalreporter.write_line(f"sandbox kept: {words} (mutineer sandbox down --name {words.split(':')[0]})")
