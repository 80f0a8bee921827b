from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.activation import activation, history_differences
from classifiers.judge import judge
from classifiers.observation import Observation, Write
from classifiers.verdict import Activation, ClientFailure, OrchestratorFailure, Symptom
from injector.rules import Told
from tests.builders import POD_KEY, SERVICE_KEY, baseline, counts, drop, faulty, firing, observation, writes

BASELINE = baseline()


def reached(observed: Observation) -> Activation:
    return activation(observed, BASELINE)[0]


def rewritten(key: str, at_s: float, *, revision: int = 500, operation: str = "update") -> tuple[Write, ...]:
    again = Write(
        revision=revision,
        at_s=at_s,
        key=key,
        kind="Service",
        identity="Service/default/web",
        operation=operation,
        size_bytes=1,
    )
    return (*writes(), again)


def test_without_a_firing_nothing_fired() -> None:
    assert reached(observation(armed=True)) is Activation.NOT_FIRED


def test_bytes_that_etcd_refused_have_only_fired() -> None:
    assert reached(faulty(firings=(firing(accepted=False, revision=None),))) is Activation.FIRED
    assert reached(faulty(firings=(firing(accepted=None, revision=None),))) is Activation.FIRED


def test_bytes_that_etcd_took_and_nobody_wrote_again_are_accepted() -> None:
    assert reached(faulty()) is Activation.ACCEPTED


def test_a_later_revision_of_the_same_key_proves_that_it_was_read() -> None:
    assert reached(faulty(writes=rewritten(SERVICE_KEY, 5.0))) is Activation.CONSUMED
    assert reached(faulty(writes=rewritten(SERVICE_KEY, 5.0, operation="delete"))) is Activation.CONSUMED


def test_an_earlier_revision_or_another_key_proves_nothing() -> None:
    late = firing(revision=600)
    assert reached(faulty(firings=(late,), writes=rewritten(SERVICE_KEY, 5.0))) is Activation.ACCEPTED
    assert reached(faulty(writes=rewritten("/registry/services/specs/default/other", 5.0))) is Activation.ACCEPTED


def test_a_pod_changed_at_its_creation_is_consumed_by_its_own_next_update() -> None:
    born = next(w for w in writes() if w.key == POD_KEY and w.operation == "create")
    fired = firing(key=POD_KEY, identity="Pod/default/web#1", revision=born.revision)
    assert reached(faulty(firings=(fired,))) is Activation.CONSUMED


def test_a_symptom_or_a_client_failure_is_an_effect() -> None:
    held = Symptom(orchestrator=OrchestratorFailure.TIMING, why="late")
    assert activation(faulty(), BASELINE, symptoms=(held,))[0] is Activation.EFFECTIVE
    assert activation(faulty(), BASELINE, client=ClientFailure.SLOWER)[0] is Activation.EFFECTIVE


def test_a_history_unlike_any_golden_run_is_an_effect_without_a_failure() -> None:
    verdict = judge(faulty(writes=writes(7)), BASELINE)
    assert (verdict.orchestrator, verdict.activation) == (OrchestratorFailure.NONE, Activation.EFFECTIVE)
    assert any("Pod/default/web#7 was written, in golden runs never" in r for r in verdict.reasons)


def test_history_differences_name_what_is_missing_new_or_written_too_often() -> None:
    pod = [w for w in writes() if w.identity == "Pod/default/web#1"]
    without = tuple(w for w in writes() if w not in pod)
    assert history_differences(faulty(writes=without), BASELINE) == (
        "Pod/default/web#1 was never written, golden 3 times",
    )
    often = (*writes(), *(pod[1] for _ in range(9)))
    assert history_differences(faulty(writes=often), BASELINE) == ("Pod/default/web#1 was written 12 times, golden 3",)
    assert history_differences(faulty(writes=(*writes(), *pod[1:])), BASELINE) == ()
    assert history_differences(faulty(final_counts=counts(Pod=5, Event=999)), BASELINE) == (
        "5 of Pod at the end, golden 6",
    )


def test_a_drop_that_was_retried_at_once_has_only_fired() -> None:
    assert reached(faulty(firings=(drop(told=Told.ERROR),), writes=rewritten(SERVICE_KEY, 0.5))) is Activation.FIRED


def test_a_component_s_request_that_was_dropped_is_a_drop_whatever_it_was() -> None:
    lost = replace(drop(told=Told.ERROR), operation="patch/status")
    assert reached(faulty(firings=(lost,), writes=rewritten(SERVICE_KEY, 0.5))) is Activation.FIRED
    _, why = activation(faulty(firings=(lost,), writes=rewritten(SERVICE_KEY, 0.5)), None)
    assert "was made again after" in why and "the sender was told error" in why


@pytest.mark.parametrize("operation", ["watch", "list", "get", "answer", "answer/status"])
def test_what_a_component_was_told_wrongly_is_no_write(operation: str) -> None:
    told = replace(firing(), operation=operation, accepted=None, revision=None)
    reached_so, why = activation(faulty(firings=(told,), writes=()), None)
    assert (reached_so, "was told wrongly in" in why) == (Activation.FIRED, True)


def test_a_drop_whose_loss_stood_is_accepted() -> None:
    lost = tuple(w for w in writes() if w.key != SERVICE_KEY)
    got, why = activation(faulty(firings=(drop(),), writes=lost), None)
    assert got is Activation.ACCEPTED
    assert "stood to the end, the sender was told success" in why


def test_a_drop_that_somebody_noticed_later_is_consumed() -> None:
    lost = tuple(w for w in rewritten(SERVICE_KEY, 9.0) if w.key != SERVICE_KEY or w.at_s == 9.0)
    assert activation(faulty(firings=(drop(),), writes=lost), None)[0] is Activation.CONSUMED


def test_the_furthest_of_several_firings_counts() -> None:
    refused = firing(accepted=False, revision=None)
    assert reached(faulty(firings=(refused, firing(), refused))) is Activation.ACCEPTED


def test_without_a_baseline_no_effect_is_claimed() -> None:
    assert activation(faulty(writes=writes(9)), None)[0] is Activation.ACCEPTED


@settings(max_examples=25, deadline=None)
@given(st.permutations(rewritten(SERVICE_KEY, 5.0)))
def test_the_order_in_which_writes_are_stored_changes_no_verdict(shuffled: list[Write]) -> None:
    assert judge(faulty(writes=tuple(shuffled)), BASELINE) == judge(
        faulty(writes=rewritten(SERVICE_KEY, 5.0)), BASELINE
    )


def test_what_components_ask_and_are_told_is_told_as_that() -> None:
    taken = activation(faulty(firings=(firing(operation="update/status"),)), BASELINE)
    assert taken[0] is Activation.ACCEPTED and taken[1].startswith("kube-apiserver took the changed")
    told = activation(faulty(firings=(firing(operation="answer/status", at_s=9.0),)), BASELINE)
    assert told[0] is Activation.FIRED and "was told wrongly in the answer to a write" in told[1]
    lost = firing(operation="bind", accepted=False, revision=None, after=b"", told=Told.ERROR)
    assert "was made again" in activation(faulty(firings=(lost,), writes=rewritten(SERVICE_KEY, 0.6)), BASELINE)[1]


def test_a_components_request_that_was_dropped_is_a_lost_write() -> None:
    lost = replace(drop(told=Told.ERROR), operation="update/status")
    got, why = activation(faulty(firings=(lost,), writes=rewritten(SERVICE_KEY, 0.5)), None)
    assert (got, "made again" in why) == (Activation.FIRED, True)


def test_what_a_component_is_told_is_a_read() -> None:
    told = replace(firing(accepted=None), operation="answer/status", at_s=1.0)
    got, why = activation(faulty(firings=(told,), writes=rewritten(SERVICE_KEY, 5.0)), None)
    assert got is Activation.CONSUMED and "was told wrongly in the answer to a write, and written afterwards" in why
    dropped = replace(told, operation="watch", after=b"", told=Told.ERROR)
    assert "was left out in a watch event" in activation(faulty(firings=(dropped,)), None)[1]
