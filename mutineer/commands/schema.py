"""`mutineer schema`: the JSON Schemas of what a person writes and of what a script reads."""

from __future__ import annotations

from importlib.resources import files

import click

__all__ = ["SCHEMAS", "command"]

SCHEMAS = ("spec", "cluster", "gate", "show")
"""spec: a campaign's YAML file; cluster: the file of `mutineer sandbox up --config`; gate: that of `mutineer gate
--policy`; show: the output of `mutineer show RUN --json`. Files in mutineer/schemas."""


@click.command("schema")
@click.argument("name", type=click.Choice(SCHEMAS))
def command(name: str) -> None:
    """Print a JSON Schema: of a campaign's YAML file (spec), of a sandbox's (cluster), of a gate's policy (gate), or of
    `show --json` (show).

    \b
    Example:
      mutineer schema cluster > cluster.schema.json
    """
    click.echo(files("mutineer").joinpath("schemas", f"{name}.schema.json").read_text(encoding="utf-8"), nl=False)
