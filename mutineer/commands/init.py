"""`mutineer init`: a campaign spec to start from."""

from __future__ import annotations

from pathlib import Path

import click

from injector.errors import InputError, Problem
from mutineer.completing import complete_presets

__all__ = ["command"]


@click.command("init")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), default="campaign.yaml")
@click.option("--preset", metavar="NAME", shell_complete=complete_presets,
              help="With the values of a spec that ships, e.g. quickstart (default: two faults).")  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite FILE.")
def command(file: Path, preset: str | None, force: bool) -> None:
    """Write a campaign spec with every key, what it means and its default to FILE (default: campaign.yaml).

    \b
    Examples:
      mutineer init
      mutineer init mine.yaml --preset quickstart
    """
    from campaigns.spec.template import spec_template

    text = spec_template(preset=preset, file=str(file))
    try:
        with file.open("w" if force else "x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        words = "is there already: choose another name, or overwrite it with --force"
        raise InputError([Problem(str(file), "", words)]) from None
    except OSError as error:
        raise InputError([Problem(str(file), "", f"can't be written: {error.strerror}")]) from error
    click.echo(f"{file} is written. Edit it, then: mutineer run {file}")
