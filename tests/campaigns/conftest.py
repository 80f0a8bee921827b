"""Fixtures for the rooms of campaigns: a real etcd, and a connection to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from campaigns.clusters.keyspace import KeySpace
from tests.campaigns.etcd import Etcd, running_etcd


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """One etcd for all tests that do not break it. Tests start with `keyspace`, which empties it."""
    with running_etcd(tmp_path_factory.mktemp("etcd")) as started:
        yield started


@pytest.fixture
def keyspace(etcd: Etcd) -> Iterator[KeySpace]:
    """A connection to an empty etcd (revisions go on from test to test)."""
    connection = KeySpace(etcd.address)
    connection.write({}, list(connection.dump()))
    yield connection
    connection.close()
