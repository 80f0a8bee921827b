"""Version 1, the first: where every record begins. Nothing leads to it."""

from __future__ import annotations

__all__ = ["down_revision", "revision", "upgrade"]

revision = "1"
down_revision = None


def upgrade() -> None:
    raise NotImplementedError("nothing older than version 1 was ever written")
