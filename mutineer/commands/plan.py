"""`mutineer plan`: what a campaign would do, without a cluster."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from injector.errors import InputError, Problem

if TYPE_CHECKING:  # what a command runs is loaded when it runs: help and completion stay quick
    from rich.console import Console

    from campaigns.planning.plan import Plan
    from campaigns.planning.recording import Recording
    from campaigns.record import PlannedExperiment
    from campaigns.spec.campaign_spec import CampaignSpec

__all__ = ["command", "load"]

_MOST = 50
"""Named faults that are listed unasked: a screen or two."""
_WIDTH = 120
"""Where it does not go to a terminal: a line of the widest table."""


@click.command("plan")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--seed", type=click.IntRange(0), metavar="N", help="Instead of the spec's.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan itself, for scripts.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it to a file.")
@click.option("--explain", metavar="ID", help="One experiment: what it hits, and the bytes before and after.")
@click.option("--list", "listed", is_flag=True, help="Every experiment with its id and what is done in it.")
@click.option("--parallelism", type=click.IntRange(1), metavar="N", help="For the duration: sandboxes side by side.")
@click.option("--recordings", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="FOLDER",
              help="Draw from the recordings there, such as those of a run (runs/NAME/recordings).")  # fmt: skip
def command(
    spec: Path,
    seed: int | None,
    as_json: bool,
    out: Path | None,
    explain: str | None,
    listed: bool,
    parallelism: int | None,
    recordings: Path | None,
) -> None:
    """Show the plan of SPEC, a YAML file or the name of a preset: its strata, what is left out and why, how long it
    takes. Needs no cluster.

    \b
    Examples:
      mutineer plan paper
      mutineer plan campaign.yaml --seed 7 --json > plan.json
      mutineer plan smoke --explain e0123456789ab
    """
    from rich.console import Console

    from campaigns.planning.plan import plan, plan_to_json
    from campaigns.planning.recordings_found import HERE, SHIPPED, find_recordings

    loaded, _, _ = load(spec)
    if seed is not None:
        loaded = loaded.model_copy(update={"seed": seed})
    folders = (recordings,) if recordings is not None else (HERE, SHIPPED)
    found = find_recordings(loaded, folders=folders)
    if found.missing:
        words = f"no recording of {', '.join(found.missing)} on such a cluster; `mutineer record {spec}` makes one"
        over = [Problem(str(path), "", f"passed over: {why}") for path, why in found.passed_over]
        raise InputError([Problem(str(spec), "sample", words), *over])
    made = plan(loaded, found.recordings)
    if out is not None:
        out.write_text(plan_to_json(made), encoding="utf-8")
    if as_json:
        click.echo(plan_to_json(made), nl=False)
        return
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False, soft_wrap=True)
    if explain is not None:
        _explain(console, made, loaded, explain, folders)
    else:
        known = {**found.recordings, **_others(loaded, found.recordings, folders)}
        _show(console, made, loaded, parallelism, known, listed=listed)


def load(spec: Path) -> tuple[CampaignSpec, str, Path | None]:
    """A spec by its path or as the name of a preset, its text, and where its relative paths start (None: a preset's).
    InputError with all its problems."""
    from campaigns.spec.campaign_spec import load_preset, load_spec, presets

    if str(spec) in presets():
        return *load_preset(str(spec)), None
    if not spec.exists():
        known = f"there is no such file; presets are: {', '.join(presets())}; `mutineer schema spec` describes the file"
        raise InputError([Problem(str(spec), "", known)])
    return *load_spec(spec), spec.parent


def _show(
    console: Console,
    made: Plan,
    spec: CampaignSpec,
    parallelism: int | None,
    recordings: Mapping[str, Recording],
    *,
    listed: bool,
) -> None:
    golden = sum(each.golden for each in made.experiments)
    console.print(f"{made.name}: {len(made.experiments)} experiments, {golden} of them golden runs; seed {made.seed}")
    if made.strata:
        _show_strata(console, made, spec)
        _show_left_out(console, made)
    faults = [each for each in made.experiments if not each.golden]
    named = [each for each in faults if not each.stratum]
    for each in faults if listed else named[:_MOST]:
        console.print(f"  {each.id}  {each.workload}: {each.why}", markup=False)
    if not listed and len(named) > _MOST:
        console.print(f"  {len(named) - _MOST} more: mutineer plan … --list")
    for words in _never(named, recordings):
        console.print(words, markup=False)
    seconds = {workload: recording.seconds_median for workload, recording in recordings.items()}
    console.print(_duration(made, spec, parallelism, seconds))


def _others(spec: CampaignSpec, found: Mapping[str, Recording], folders: Sequence[Path]) -> dict[str, Recording]:
    """Of the workloads that nothing is drawn for, as far as there is one."""
    from campaigns.planning.recordings_found import find_recording

    more = (each for each in spec.workloads if each not in found)
    read = ((each, find_recording(spec.alone(each), frozenset(), folders=folders)[0]) for each in more)
    return {workload: recording for workload, recording in read if recording is not None}


def _never(named: Sequence[PlannedExperiment], recordings: Mapping[str, Recording]) -> Iterator[str]:
    """Of faults that a person has named, those that met nothing in the golden run that was recorded, in words."""
    from campaigns.planning.preview import meets
    from campaigns.planning.sites import Traffic

    traffics = {workload: Traffic(recording) for workload, recording in recordings.items()}
    for each in named:
        if each.rule is not None and each.workload in traffics:
            why = meets(each.rule, traffics[each.workload])
            if why is not None:
                yield f"may never fire: {each.id} in {each.workload}: {why}"


def _show_strata(console: Console, made: Plan, spec: CampaignSpec) -> None:
    from rich import box
    from rich.table import Table

    assert spec.sample is not None
    table = Table(*spec.sample.strata, "population", "planned", "weight", box=box.SIMPLE_HEAD)
    for column in table.columns[-3:]:
        column.justify = "right"
    for each in made.strata:
        names = each.name.split("/")
        table.add_row(*names, f"{each.population:,}", f"{each.planned:,}", f"{each.weight:.2f}")
    total, planned = (sum(getattr(each, what) for each in made.strata) for what in ("population", "planned"))
    table.add_section()
    table.add_row("all", *[""] * (len(spec.sample.strata) - 1), f"{total:,}", f"{planned:,}", "")
    console.print(table)


def _show_left_out(console: Console, made: Plan) -> None:
    if made.left_out:
        console.print("left out:")
    for each in made.left_out:
        console.print(f"  {each.number:>7,}  {each.workload}, {each.channel}: {each.why}", markup=False)


def _duration(made: Plan, spec: CampaignSpec, parallelism: int | None, seconds: Mapping[str, float]) -> str:
    """Expected, from how long golden runs took when they were recorded."""
    from campaigns.running.host import sandboxes_for

    side_by_side = parallelism or sandboxes_for(spec, len(made.experiments))
    if unknown := sorted({each.workload for each in made.experiments} - set(seconds)):
        return f"how long it takes is not known: no golden run of {', '.join(unknown)} on such a cluster was recorded"
    whole = sum(seconds[each.workload] for each in made.experiments) / side_by_side
    each = ", ".join(f"{workload} {took:.1f} s" for workload, took in sorted(seconds.items()))
    return (
        f"about {_in_words(whole)} on {side_by_side} {'sandbox' if side_by_side == 1 else 'sandboxes'}, if each "
        f"experiment takes what a golden run took when it was recorded ({each}); many a fault takes longer"
    )


def _in_words(seconds: float) -> str:
    if seconds < 5400:
        return f"{max(1, round(seconds / 60))} min"
    return f"{seconds / 3600:.1f} h"


def _explain(console: Console, made: Plan, spec: CampaignSpec, name: str, folders: Sequence[Path]) -> None:
    from campaigns.planning.preview import preview
    from campaigns.planning.recordings_found import channels_needed, find_recording
    from campaigns.planning.sites import Traffic
    from injector.errors import InjectionError
    from mutineer.sheet import sheet_of

    experiment = _named(made.experiments, name)
    console.print(_sentence(experiment, made), markup=False)
    if experiment.rule is None:
        return
    needed = channels_needed([experiment.rule.channel])
    recording, _, _ = find_recording(spec.alone(experiment.workload), needed, folders=folders)
    try:
        if recording is None:
            raise InputError(f"there is no recording of {experiment.workload} that could show the bytes")
        firing = preview(experiment.rule, Traffic(recording))
    except (InjectionError, InputError) as error:
        console.print(f"the bytes can't be shown: {error}", markup=False)
        return
    console.print("in the recording's exemplary run:")
    console.print(sheet_of(firing, None, experiment.rule.target.field))


def _named(experiments: Sequence[PlannedExperiment], name: str) -> PlannedExperiment:
    found = [each for each in experiments if each.id.startswith(name)]
    if len(found) != 1:
        what = "none begins so" if not found else f"{len(found)} begin so: {', '.join(e.id for e in found[:5])}, …"
        raise InputError([Problem("command line", "--explain", f"expected one experiment's id, got {name!r}: {what}")])
    return found[0]


def _sentence(experiment: PlannedExperiment, made: Plan) -> str:
    rule = experiment.rule
    if rule is None:
        return f"{experiment.id}: {experiment.why}"
    told = ", ".join(f"{key} {value}" for key, value in rule.parameters.items())
    parts = [f"{experiment.id}: in {experiment.workload}, on {rule.channel}: {experiment.why} ({rule.model}"]
    parts.append(f", {told})." if told else ").")
    stratum = next((each for each in made.strata if each.name == experiment.stratum), None)
    if stratum is not None:
        share = f"{stratum.planned:,} of {stratum.population:,}"
        parts.append(f" Stratum {stratum.name}: {share}, so it stands for {stratum.weight:.2f}.")
    return "".join(parts)
