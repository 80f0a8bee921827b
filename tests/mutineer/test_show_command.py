from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result

from campaigns.record import Purpose
from campaigns.store import create_run, open_run
from classifiers.judge import judge
from classifiers.verdict import State, Verdict
from injector.errors import InputError, StoreError
from injector.rules import Rule
from injector.targets import Channel, Target
from mutineer import showing, story
from mutineer.commands import schema, show
from tests.builders import baseline, drop, faulty, firing, probes
from tests.campaigns.builders import SPEC, record, small_plan
from tests.classifiers.labelled import UP_THEN_DOWN

PLAN = small_plan()
SELECTOR = next(e for e in PLAN.experiments if e.rule and e.rule.model == "value-set")
LOST = next(e for e in PLAN.experiments if e.rule and e.rule.model == "drop")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with all classes of one experiment interesting: a Service that went away."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    observed = faulty(probes=probes(UP_THEN_DOWN))
    with create_run(tmp_path / "runs" / "mine", SPEC, PLAN, {}) as made:
        for planned in PLAN.experiments:
            if planned is SELECTOR:
                made.add(record(planned, observation=observed, verdict=judge(observed, baseline())))
            elif planned is LOST:
                lost = faulty(firings=(drop(),))
                made.add(record(planned, observation=lost, verdict=judge(lost, baseline())))
            else:
                made.add(record(planned))
    return made.folder


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(show.command, list(arguments), catch_exceptions=False)


def test_the_newest_run_is_shown_as_a_table_that_fits_80_columns(run: Path) -> None:
    output = invoke().output
    assert all(len(line) <= 80 for line in output.splitlines())
    assert "runs/mine: 2 of 2 experiments done" in output
    assert "4 golden runs: 4 quiet" in output
    lines = [line for line in output.splitlines() if line[:6] in (SELECTOR.id[:6], LOST.id[:6])]
    assert lines[0].startswith(f"{SELECTOR.id[:6]} value-set: Service default/web")  # the gravest first
    assert "network" in lines[0] and "unreachable" in lines[0] and "no" in lines[0]
    assert "cluster  1 network · 1 none" in output


def test_one_experiment_is_told_on_one_screen(run: Path) -> None:
    output = invoke("mine", SELECTOR.id[:6]).output
    assert all(len(line) <= 80 for line in output.splitlines())
    assert len(output.splitlines()) <= 40
    for expected in (
        "network, clients unreachable, effective, the user was not told",
        "a wrong word",
        'field    "web" → "wax"',
        "key      /registry/services/specs/default/web at revision 101",
        "bytes    12 before, 12 after",
        "000000 - 6b 38 73 00 20 61 70 70 3d 77 65 62",
        "000000 + 6b 38 73 00 20 61 70 70 3d 77 61 78",
        "0.2 s   the fault: put of Service/default/web",
        "traffic (golden 4 s)",
        "6 pods are ready, but default/web is unreachable from every node",
        "0.70 monzo-empty-endpoints-2017: same field",
        "Reset by rollback in 0.2 s",
    ):
        assert " ".join(expected.split()) in " ".join(output.split())


def test_a_dropped_message_has_no_bytes_after(run: Path) -> None:
    assert "12 bytes held back" in invoke("mine", LOST.id).output


def test_a_fault_that_fired_again_and_again_is_told_twice() -> None:
    fired = tuple(firing(at_s=0.2 + 0.5 * number) for number in range(9))
    told = [(at_s, words) for at_s, words in story._events(faulty(firings=fired), baseline()) if "the fault" in words]
    assert told == [
        (0.2, "the fault: put of Service/default/web"),
        (4.2, "the fault again, 9 times in all: put of Service/default/web"),
    ]


def test_a_golden_run_and_an_error_have_a_story_too(run: Path) -> None:
    assert "A golden run: no fault." in invoke("mine", PLAN.experiments[0].id).output


def test_the_json_of_a_run_is_valid_against_the_schema_that_the_command_prints(run: Path) -> None:
    printed = CliRunner().invoke(schema.command, ["show"], catch_exceptions=False).output
    made = json.loads(invoke("mine", "--json").output)
    jsonschema.validate(made, json.loads(printed))
    assert made["summary"]["by_orchestrator"]["network"] == 1
    one = json.loads(invoke("mine", SELECTOR.id, "--json").output)
    assert one == {"schema": 1, "experiment": next(e for e in made["experiments"] if e["id"] == SELECTOR.id)}
    golden = json.loads(invoke("mine", PLAN.experiments[0].id, "--json").output)
    assert golden == {"schema": 1, "golden": made["golden"][0]}


def test_the_schema_of_the_spec_is_printed_and_of_nothing_else() -> None:
    printed = CliRunner().invoke(schema.command, ["spec"], catch_exceptions=False).output
    assert json.loads(printed)["title"] == "CampaignSpec"
    assert CliRunner().invoke(schema.command, ["run"]).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("mine", "zzz"), "no one experiment 'zzz' in .*none begins so"),
        (("mine", "g"), "4 begin so"),
        (("other",), "no run 'other'.*there are: mine"),
    ],
)
def test_what_is_not_there_is_said_in_words(run: Path, arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        invoke(*arguments)


def test_a_folder_that_is_no_run_is_the_stores_to_name(run: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is no run"):
        invoke(str(tmp_path / "runs"))


def test_an_experiment_that_is_planned_but_not_finished_is_said_to_be(tmp_path: Path) -> None:
    create_run(tmp_path / "r", SPEC, PLAN, {}).close()
    with pytest.raises(InputError, match="is planned, but not finished"):
        invoke(str(tmp_path / "r"), SELECTOR.id)
    assert "0 of 2 experiments done" in " ".join(invoke(str(tmp_path / "r")).output.split())


def test_secrets_and_markup_in_values_are_not_printed_as_such(tmp_path: Path) -> None:
    target = Target(kind="Secret", identity="Secret/default/s", field="data[password]")
    rule = Rule(id=SELECTOR.id, channel=Channel.AT_REST_WRITE, model="value-set", target=target)
    from dataclasses import replace

    secret = firing(
        key="/registry/secrets/default/s",
        identity="Secret/default/s",
        before=b"k8s hunter2",
        after=b"k8s hunter3",
        field_before="hunter2",
        field_after="hunter3",
    )
    observed = faulty(firings=(secret,))
    with create_run(tmp_path / "r", SPEC, PLAN, {}) as run:
        run.add(record(replace(SELECTOR, rule=rule, why="[bold red]brackets[/]"), observation=observed))
    output = invoke(str(tmp_path / "r"), SELECTOR.id).output
    assert "hunter" not in output
    assert "[bold red]brackets[/]" in output


def test_what_could_not_be_judged_is_shown_with_its_state(tmp_path: Path) -> None:
    with create_run(tmp_path / "r", SPEC, PLAN, {}) as run:
        run.add(
            record(
                LOST,
                verdict=Verdict(state=State.ERROR, reasons=("the sandbox broke",)),
                observation=None,
                error="Traceback\nClusterError: etcd did not start",
            )
        )
    assert "1 error" in invoke(str(tmp_path / "r")).output
    assert "ClusterError: etcd did not start" in invoke(str(tmp_path / "r"), LOST.id).output


def test_of_many_experiments_the_gravest_are_listed_and_the_others_counted(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(showing, "MOST", 1)
    output = invoke().output
    assert SELECTOR.id[:6] in output and LOST.id[:6] not in output
    assert "1 more, no graver than these: mutineer show mine --all" in output
    assert "cluster  1 network · 1 none" in output
    everything = invoke("--all", "mine").output
    assert LOST.id[:6] in everything and "more, no graver" not in everything


def test_golden_runs_in_which_something_was_wrong_are_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    observed = faulty(probes=probes(UP_THEN_DOWN))
    with create_run(tmp_path / "runs/noisy", SPEC, PLAN, {}) as made:
        first, *rest = PLAN.experiments
        made.add(record(first, observation=observed, verdict=judge(observed, baseline())))
        for planned in rest:
            made.add(record(planned))
    output = " ".join(invoke().output.split())
    assert "3 quiet, 1 with a failure" in output
    assert f"Something was wrong without a fault ({first.id})" in output and f"show noisy {first.id}" in output


def test_an_experiment_that_was_done_again_says_so(run: Path) -> None:
    with open_run(run, writable=True) as opened:
        opened.add_repeat(record(SELECTOR), Purpose.REPLAY)
    assert "Done again: replay 1 none" in " ".join(invoke("mine", SELECTOR.id).output.split())


def test_a_broken_folder_below_runs_is_passed_over_for_the_newest_run(run: Path) -> None:
    broken = run.parent / "broken"
    broken.mkdir()
    (broken / "plan.json").write_text("{}")
    assert "runs/mine: 2 of 2 experiments done" in invoke().output
