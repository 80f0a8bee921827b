"""`mutineer completion`: the script that makes a shell complete commands, options, and names of what there is."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command("completion")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def command(shell: str) -> None:
    """Print the script that completes `mutineer` in SHELL; names of sandboxes, components, runs, … complete, too.

    \b
    Examples:
      eval "$(mutineer completion bash)"                          # this shell
      echo 'eval "$(mutineer completion zsh)"' >> ~/.zshrc        # every shell
      mutineer completion fish > ~/.config/fish/completions/mutineer.fish
    """
    from click.shell_completion import get_completion_class

    from mutineer.cli import cli

    maker = get_completion_class(shell)
    assert maker is not None  # the choices are click's own
    click.echo(maker(cli, {}, "mutineer", "_MUTINEER_COMPLETE").source())
