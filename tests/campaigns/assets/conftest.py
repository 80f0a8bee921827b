from __future__ import annotations

from collections.abc import Iterator

import pytest

from campaigns.assets.supply import SOURCE_VARIABLE
from tests.campaigns.assets.builders import FileServer, serving


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def no_source_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SOURCE_VARIABLE, raising=False)
