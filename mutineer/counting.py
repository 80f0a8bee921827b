"""A count that goes up on a terminal, for work that takes seconds."""

from __future__ import annotations

import sys

import click

__all__ = ["counted"]

_EACH = 20


def counted(done: int, of: int) -> None:
    """`40 of 240` in one line of stderr, now and then; nothing where that is no terminal."""
    if sys.stderr.isatty() and (done % _EACH == 0 or done == of):
        click.echo(f"\r{done} of {of}{'' if done < of else chr(10)}", err=True, nl=False)
