"""Which faults are drawn: that they do something, where nearly every run has what they hit, the same on any machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from campaigns.planning.draw import NotPlanned, draw
from campaigns.planning.plan import Plan, plan, plan_from_json, plan_to_json
from campaigns.planning.preview import preview
from campaigns.planning.recording import RecordedMessage, Recording
from campaigns.planning.sites import Traffic
from campaigns.spec.campaign_spec import CampaignSpec, FaultSpec, parse_spec
from campaigns.spec.sample_spec import SampleSpec
from injector.channels.etcd import EtcdChannel
from injector.channels.resources import resource_of
from injector.codec import read_meta
from injector.errors import FaultError, InputError
from injector.faults import MODELS
from injector.identity import plural
from injector.rules import JSONValue, Rule
from injector.targets import Channel, Target
from tests.campaigns.planning.recordings import message, of_runs, recorded, shipped
from tests.injector.channels.test_etcd import ask
from tests.injector.conftest import put_request
from tests.injector.stored import golden

DEPLOY = {"deploy": shipped()}
WEB = "Deployment/default/web"
FEW = {"kinds": ["Service", "EndpointSlice", "Pod"], "namespaces": ["default"], "exclude": {"paths": ["metadata.*"]}}
"""So that planning takes tenths of a second."""


WRITES = Channel.APISERVER_TO_ETCD
FIRST_BIT: dict[str, JSONValue] = {"bit": 0, "character": 0}


def asking(budget: int = 40, **sample: object) -> CampaignSpec:
    return CampaignSpec.model_validate({"name": "drawn", "sample": {"budget": budget, **sample}})


def planned(spec: CampaignSpec) -> Plan:
    return plan(spec, DEPLOY)


def key_of(said: RecordedMessage) -> str:
    subject, value = said.subject, said.value
    assert value is not None and value.content is not None
    name = read_meta(value.content).name or subject.identity.rpartition("/")[2]
    prefix = resource_of(subject.group, "endpoints" if subject.kind == "Endpoints" else plural(subject.kind)).prefix
    return f"{prefix}{subject.namespace}/{name}" if subject.namespace else f"{prefix}{name}"


def test_every_drawn_fault_fires_when_the_recorded_messages_pass_again_and_does_what_its_preview_shows() -> None:
    models = [name for name in MODELS.names() if name not in ("duplicate", "reorder")]
    made = planned(asking(40, models=models, strata=["model"]))
    told = shipped().channels[Channel.APISERVER_TO_ETCD]
    requests = [
        put_request(key_of(said), said.value.content or b"")
        for said in told.messages
        if said.value is not None and "/apiserver-" not in said.subject.identity
    ]
    baseline = [(key.encode(), value.content) for key, value in shipped().baseline.items() if value.content is not None]
    traffic = Traffic(shipped())
    rules = [each.rule for each in made.experiments if each.rule is not None]
    assert len({rule.model for rule in rules}) == len(models) and len(rules) == 40
    for rule in rules:
        channel = EtcdChannel(rule, baseline=baseline)
        for request in requests:
            ask(channel, request)
        fired = channel.firings()
        assert len(fired) == 1, (rule, channel.near_misses()[:3])
        shown = preview(rule, traffic)
        same = (shown.identity, shown.before, shown.after, shown.field_before, shown.field_after, shown.told)
        found = fired[0]
        assert same == (
            found.identity, found.before, found.after, found.field_before, found.field_after, found.told,
        ), rule  # fmt: skip


@pytest.mark.parametrize("channel", [channel for channel in Channel if not channel.at_rest])
def test_what_is_drawn_of_a_message_hits_that_message_as_a_rule_counts(channel: Channel) -> None:
    recordings = {"rolling-update": shipped("rolling-update")}
    traffic = Traffic(recordings["rolling-update"])
    sample = SampleSpec.model_validate(
        {"budget": 60, "channels": [channel.value], "models": ["bit-flip", "value-set", "boolean-invert"],
         "strata": ["operation"] if channel.of_components else ["kind"], "targets": {"namespaces": ["default"]}}
    )  # fmt: skip
    faults = draw(sample, recordings, seed=1).faults
    assert len(faults) == 60
    for each in faults:
        candidate = each.candidate
        site = candidate.site
        rule = Rule(
            id="r", channel=channel, model=candidate.model, target=candidate.target, parameters=candidate.parameters
        )
        assert site.value is not None and preview(rule, traffic).before == site.value.content, candidate.sentence


def test_a_named_rule_is_shown_whatever_chooses_its_object() -> None:
    traffic = Traffic(shipped())
    selector = {"kind": "Service", "field": "spec.selector[app]"}
    labelled = Target(kind="Service", role="label-or-selector", namespace="default", labels="app=web")
    for target, field in (
        (Target(**selector, namespace="default"), "spec.selector[app]"),
        (Target(**selector, labels="app=web", operation="put"), "spec.selector[app]"),
        (labelled, "metadata.labels[app]"),
    ):
        shown = preview(Rule(id="r", channel=WRITES, model="bit-flip", target=target, parameters=FIRST_BIT), traffic)
        assert (shown.identity, shown.field, shown.field_after) == ("Service/default/web", field, "veb")
    pod = Target(kind="Pod", field="spec.schedulerName", namespace="default", after="Service/default/web exists")
    shown = preview(Rule(id="r", channel=WRITES, model="bit-flip", target=pod, parameters=FIRST_BIT), traffic)
    assert shown.identity.startswith("Pod/default/") and shown.field_after != shown.field_before
    late = Target(**selector, namespace="default", after="Service/default/never exists")
    with pytest.raises(FaultError, match="never came"):
        preview(Rule(id="r", channel=WRITES, model="bit-flip", target=late, parameters=FIRST_BIT), traffic)


@pytest.mark.parametrize("channel", list(Channel))
def test_every_channel_can_be_planned_and_its_faults_are_those_that_a_spec_could_name(channel: Channel) -> None:
    made = planned(asking(30, channels=[channel.value], models=list(MODELS.names()), targets=FEW))
    rules = [each.rule for each in made.experiments if each.rule is not None]
    assert len(rules) == 30 and {rule.channel for rule in rules} == {channel}
    for rule in rules:
        target = {
            name: getattr(rule.target, name) for name in Target.__dataclass_fields__ if getattr(rule.target, name)
        }
        named = FaultSpec.model_validate(
            {"why": "w", "channel": channel.value, "model": rule.model, "parameters": rule.parameters,
             "target": target, "reread": rule.reread}
        )  # fmt: skip
        spec = asking(30, channels=[channel.value]).model_copy(update={"faults": [named], "sample": None})
        assert rule.id in {each.id for each in plan(spec).experiments}, "drawn or named, it has the same id"
    if channel.of_components:
        assert all(rule.target.component and rule.target.operation for rule in rules)
    assert all(rule.reread == (channel is Channel.AT_REST_SILENT) for rule in rules)


def test_strata_keep_their_population_and_each_has_one_where_the_budget_allows() -> None:
    made = planned(asking(60, targets=FEW))
    faults = [each for each in made.experiments if not each.golden]
    assert Counter(each.stratum for each in faults) == {s.name: s.planned for s in made.strata if s.planned}
    assert sum(s.planned for s in made.strata) == 60 == len(faults)
    assert all(1 <= s.planned <= s.population for s in made.strata)
    whole = planned(asking(1_000_000, targets=FEW))
    assert {s.name: s.population for s in whole.strata} == {s.name: s.population for s in made.strata}
    assert all(s.planned == s.population for s in whole.strata)
    assert {e.id for e in made.experiments if not e.golden} <= {e.id for e in whole.experiments}
    (used,) = made.recordings
    assert used.sha256 == shipped().sha256 and used.seconds == shipped().seconds_median


def test_another_seed_draws_others_and_a_larger_budget_holds_the_smaller_ones() -> None:
    def ids(made: Plan) -> set[str]:
        return {each.id for each in made.experiments if not each.golden}

    one = planned(asking(50, models=["bit-flip"], targets=FEW))
    assert ids(planned(asking(50, models=["bit-flip"], targets=FEW))) == ids(one)
    seeded = asking(50, models=["bit-flip"], targets=FEW).model_copy(update={"seed": 2})
    assert len(ids(planned(seeded)) & ids(one)) < 10
    assert ids(one) < ids(planned(asking(90, models=["bit-flip"], targets=FEW)))


def test_the_plan_is_the_same_byte_for_byte_in_another_process_locale_and_folder(tmp_path: Path) -> None:
    code = (
        "from campaigns.planning.plan import *; from campaigns.spec.campaign_spec import *\n"
        "from campaigns.planning.recordings_found import *\n"
        "spec, _ = load_preset('smoke')\n"
        "print(plan_to_json(plan(spec, find_recordings(spec).recordings)), end='')"
    )
    texts = set()
    for seed, locale, folder in (("1", "C", tmp_path), ("77", "C.UTF-8", Path("/"))):
        more = {"PYTHONHASHSEED": seed, "LC_ALL": locale, "PYTHONUTF8": "1", "PATH": os.environ["PATH"]}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=more, cwd=folder)
        texts.add(done.stdout)
    (text,) = texts
    made = plan_from_json(text.decode())
    assert plan_to_json(made).encode() == text and made.strata and made.left_out


def test_targets_choose_by_kind_role_path_and_namespace_and_leave_out() -> None:
    def drawn(**targets: object) -> list[Target]:
        made = planned(asking(400, targets=targets))
        return [each.rule.target for each in made.experiments if each.rule is not None]

    assert {t.kind for t in drawn(kinds=["Service", "Event"])} == {"Service", "Event"}
    assert "Event" not in {t.kind for t in drawn()}
    assert all((t.field or "").startswith("metadata.ownerReferences") for t in drawn(roles=["owner-reference"]))
    assert {t.field for t in drawn(roles=["message"])} == {None}
    assert {t.field for t in drawn(paths=["spec.selector[app]", "*.replicas"], kinds=["Service", "Deployment"])} == {
        "spec.selector[app]", "spec.replicas", "status.replicas",
    }  # fmt: skip
    assert all("/kube-system/" in t.identity for t in drawn(namespaces=["kube-system"]))
    left = drawn(exclude={"kinds": ["Pod"], "paths": ["metadata.*"], "roles": ["message", "status"]})
    assert left and all(t.kind != "Pod" and t.field and not t.field.startswith(("metadata.", "status.")) for t in left)


def test_only_what_came_in_nine_of_ten_runs_is_planned_and_values_that_a_run_had_are_not_set() -> None:
    value = golden("deployment")
    web = message(WEB, 0, group="apps")
    often, seldom = recorded([web, web, web], [value]), recorded([web], [value])
    for runs, most in (([often] * 9 + [seldom], 3), ([often] * 8 + [seldom] * 2, 1)):
        drawn = draw(SampleSpec(budget=10_000, models=["drop"]), {"deploy": of_runs(runs)}, seed=1)
        assert max(each.candidate.site.occurrence for each in drawn.faults) == most
    few = [each for each in drawn.left_out if "less than 90%" in each.why]
    assert few and few[0].number > 2


def test_what_can_do_nothing_is_left_out_and_said_with_its_number() -> None:
    made = planned(asking(10, models=["duplicate", "value-set"]))
    assert not any(e.rule and e.rule.model == "duplicate" for e in made.experiments)
    copies = [each for each in made.left_out if each.why.startswith("duplicate: a write is guarded")]
    assert len(copies) == 1 and copies[0].number > 30 and isinstance(copies[0], NotPlanned)
    reads = planned(asking(10, channels=["etcd-to-apiserver"]))
    assert any("only when kube-apiserver starts" in each.why and each.number > 100 for each in reads.left_out)


def test_at_rest_idle_objects_of_the_baseline_are_among_those_that_are_changed() -> None:
    made = planned(asking(3_000, channels=["at-rest-write"], strata=["kind"]))
    kinds = {e.rule.target.kind for e in made.experiments if e.rule is not None}
    assert {"ClusterRole", "ServiceAccount", "PriorityClass", "APIService", "Pod", "Deployment"} <= kinds
    assert not any("mutineer-canary" in e.rule.target.identity for e in made.experiments if e.rule is not None)


def test_a_fault_that_is_named_and_drawn_is_planned_once_and_belongs_to_no_stratum() -> None:
    whole = planned(asking(1_000_000, models=["boolean-invert"]))
    rule = next(each.rule for each in whole.experiments if each.rule is not None)
    text = (
        "name: drawn\nsample: {budget: 1000000, models: [boolean-invert]}\nfaults:\n- why: named\n"
        f"  channel: apiserver-to-etcd\n  model: boolean-invert\n  target: {{kind: {rule.target.kind}, "
        f"identity: {rule.target.identity}, field: '{rule.target.field}', occurrence: {rule.target.occurrence}}}\n"
    )
    both = planned(parse_spec(text, file="both.yaml"))
    assert sorted(each.id for each in both.experiments) == sorted(each.id for each in whole.experiments)
    named = next(each for each in both.experiments if each.id == rule.id)
    assert (named.why, named.stratum) == ("named", "")
    assert sum(s.population for s in both.strata) == sum(s.population for s in whole.strata) - 1


def test_a_sample_without_a_recording_is_refused_and_goldens_are_one_in_twenty() -> None:
    with pytest.raises(InputError, match="there is none of deploy"):
        plan(asking())
    made = planned(asking(570))
    goldens = [each.golden for each in made.experiments]
    assert sum(goldens) == 30 and len(goldens) == 600 and all(goldens[:3])
    gaps = "".join("g" if golden else "e" for golden in goldens)[3:].split("g")
    assert max(map(len, gaps)) - min(map(len, gaps)) <= 1


def test_what_the_recording_does_not_have_can_not_be_shown() -> None:
    recording: Recording = shipped()
    rule = next(e.rule for e in planned(asking(10)).experiments if e.rule is not None)
    from dataclasses import replace

    with pytest.raises(FaultError, match="exemplary run has no Pod/default/nobody"):
        preview(replace(rule, target=replace(rule.target, identity="Pod/default/nobody")), Traffic(recording))


def test_another_object_s_value_is_named_by_its_object_for_a_uid_is_another_one_in_each_cluster() -> None:
    made = planned(asking(200, models=["value-set"], targets={"roles": ["dependency"]}))
    told = [each.rule.parameters for each in made.experiments if each.rule is not None]
    assert sum("object" in parameters for parameters in told) > 20
    assert all(set(parameters) in ({"object"}, {"extreme"}) for parameters in told)


def test_a_sample_that_nothing_is_left_of_is_refused_in_words() -> None:
    with pytest.raises(InputError, match="sample: no message in deploy has a field that `targets`"):
        planned(asking(targets={"kinds": ["Gateway"]}))
    with pytest.raises(InputError, match=r"at rest nothing is on its way"):
        planned(asking(channels=["at-rest-write"], models=["drop"]))
