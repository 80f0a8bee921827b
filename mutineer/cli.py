"""The `mutineer` command: finds the command's file, maps errors to exit codes. Nothing else."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from mutineer.exit_codes import ExitCode

try:
    from injector.errors import EnvironmentFailure, HarnessError, InputError, MutineerError
except ModuleNotFoundError:
    # PyPI's package `injector` stands before ours: no command can run, so every command says what `doctor` would.
    from campaigns import environment

    names = environment.check_import_names()
    if names.ok:
        raise
    click.echo(f"error: {names.found}\n  remedy: {names.remedy}", err=True)
    sys.exit(ExitCode.ENVIRONMENT)

__all__ = ["cli", "main"]

COMMANDS = (
    "doctor", "assets", "sandbox", "inject", "quickstart", "init", "workloads", "record", "plan", "run", "resume",
    "replay", "rejudge", "show", "compare", "shares", "propagation", "report", "gate", "export", "incidents", "faults",
    "fields", "decode", "encode", "schema", "completion",
)  # fmt: skip
_IN_ONE_FILE = {"decode": "codec", "encode": "codec", "fields": "codec"}
"""Commands whose module has a name of its own, and `commands` by name in it."""


class _Commands(click.Group):
    """Loads `mutineer.commands.NAME` when NAME is asked for, so that `--help` and completion stay quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"mutineer.commands.{_IN_ONE_FILE.get(cmd_name, cmd_name)}")
        command = module.commands[cmd_name] if cmd_name in _IN_ONE_FILE else module.command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        import difflib

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean {near[0]!r}?" if near else " See `mutineer --help`."
            ctx.fail(f"no such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="mutineer")
def cli() -> None:
    """Corrupt one value of a Kubernetes cluster's stored state and see what breaks.

    \b
    Start here:
      mutineer doctor        what is missing on this machine
      mutineer quickstart    a small campaign on a real cluster, with a report
    """


def _exit_code(error: MutineerError) -> ExitCode:
    if isinstance(error, (EnvironmentFailure, HarnessError)):
        return ExitCode.ENVIRONMENT
    return ExitCode.INPUT


def main(args: Sequence[str] | None = None) -> None:
    """Entry point. Errors that we raise on purpose are printed in words; others keep their traceback."""
    try:
        result = cli.main(args=list(args) if args is not None else None, standalone_mode=False)
        sys.exit(result if isinstance(result, int) else ExitCode.OK)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(ExitCode.INTERRUPTED)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(ExitCode.INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(ExitCode.INPUT)
    except InputError as error:
        count = len(error.problems)
        click.echo(f"{count} problems in the input:\n{error}" if count > 1 else f"error: {error}", err=True)
        sys.exit(ExitCode.INPUT)
    except MutineerError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(_exit_code(error))
