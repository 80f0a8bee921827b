"""What the report is made of: bytes compared, time drawn, shares, sentences, and what is never shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.redaction import holds_secret, is_secret_rule
from classifiers.observation import Handled, ProbeSample, ProbeSeries
from classifiers.verdict import Activation, OrchestratorFailure
from injector.rules import Firing, Rule, Told
from injector.targets import Channel, Target
from mutineer.report.figures import Share, cross_table, golden_medians, golden_tables, role_label, wilson
from mutineer.report.hexdump import MAX_LINES, Line, Piece, compare
from mutineer.report.sentences import (
    change_of,
    shown_handled,
    shown_parameters,
    shown_value,
    target_name,
    what_was_done,
)
from mutineer.report.timeline import draw
from tests.mutineer.report_builders import (
    experiment,
    firing,
    golden,
    judged,
    observation,
    quickstart_records,
    service,
    service_selector,
    stored,
)
from tests.mutineer.report_builders import field as proto


def rule(model: str, *, field: str | None = None, **more: object) -> Rule:
    fields: dict[str, object] = {
        "id": "r",
        "channel": Channel.APISERVER_TO_ETCD,
        "model": model,
        "target": Target(kind="Pod", identity="Pod/default/web#2", field=field, occurrence=2),
    }
    return Rule(**{**fields, **more})  # type: ignore[arg-type]


def marked(lines: tuple[Line, ...], side: str) -> str:
    return " ".join(piece.hex for line in lines for piece in getattr(line, side) if piece.changed)


# Bytes


def test_only_the_lines_around_a_change_are_shown_and_only_the_changed_bytes_are_marked() -> None:
    before = bytes(range(256)) * 4
    after = before[:512] + b"\xff" + before[513:]
    seen = compare(before, after, span=(512, 513))
    assert [line.offset for line in seen.lines] == ["0001f0", "000200", "000210"]
    assert (marked(seen.lines, "before"), marked(seen.lines, "after")) == ("00", "ff")
    assert seen.lines[1].after[0] == Piece("ff", "·", True)
    assert (seen.before_bytes, seen.after_bytes, seen.changed_before, seen.changed_after) == (1024, 1024, 1, 1)


def test_a_value_that_grew_is_marked_on_both_sides_and_the_lengths_that_followed_are_told() -> None:
    meta = proto(1, b"m" * 70)
    before = stored("apps/v1", "Deployment", meta, proto(2, b"\x08\x06"))
    after = stored("apps/v1", "Deployment", meta, proto(2, b"\x08\x86\x02"))
    start = before.index(b"\x12\x02\x08\x06") + 3
    seen = compare(before, after, span=(start, start + 1))
    assert marked(seen.lines, "before") == "02 06"  # the inner length, too, stands in a shown line
    assert marked(seen.lines, "after") == "03 86 02"
    assert seen.lengths == ("0x1c: 4c → 4d",)
    assert (seen.changed_before, seen.changed_after) == (1, 2)


def test_a_span_that_does_not_fit_the_bytes_is_not_believed() -> None:
    seen = compare(b"abcdef", b"abXdef", span=(5, 6))
    assert marked(seen.lines, "after") == f"{ord('X'):02x}"


def test_a_long_change_is_cut_and_says_how_much_is_missing() -> None:
    seen = compare(b"a" * 4096, b"b" * 4096)
    assert len(seen.lines) == MAX_LINES
    assert seen.omitted == 4096 // 16 - MAX_LINES


def test_nothing_written_compares_as_everything_gone() -> None:
    seen = compare(service("web"), b"")
    assert (seen.after_bytes, seen.changed_before) == (0, len(service("web")))
    assert all(line.after == () for line in seen.lines)


@given(
    st.binary(max_size=200), st.binary(max_size=200), st.none() | st.tuples(st.integers(0, 220), st.integers(0, 220))
)
def test_any_two_values_can_be_compared_and_what_differs_is_marked(
    before: bytes, after: bytes, span: tuple[int, int] | None
) -> None:
    seen = compare(before, after, span=span)
    if before != after:
        assert seen.changed_before or seen.changed_after or seen.lengths
    for line in seen.lines:
        start = int(line.offset, 16)
        told = " ".join(piece.hex for piece in line.after)
        assert told == " ".join(f"{byte:02x}" for byte in after[start : start + 16])
        for piece in (p for p in line.before if not p.changed and len(before) == len(after)):
            assert piece.hex in " ".join(p.hex for p in line.after)


# Time


def test_requests_of_one_outcome_are_one_bar_and_the_words_count_them() -> None:
    samples = [
        ProbeSample(at, 0.1, outcome)
        for at, outcome in ((0, "refused"), (1, "refused"), (2, "ok"), (3, "ok"), (4, "timeout"), (9, "http-503"))
    ]
    seen = observation(seconds=10, probes=(ProbeSeries(service="web", vantage="node-1", samples=tuple(samples)),))
    (strip,) = draw(seen, {}).strips
    assert [(bar.x, bar.width, bar.look) for bar in strip.bars] == [
        (0, 20, "refused"),
        (20, 20, "ok"),
        (40, 50, "timeout"),
        (90, 1, "http"),
    ]
    assert strip.summary == "4 of 6 requests failed (2 refused, 1 timeout, 1 http-503)"


def test_a_milestone_that_was_never_reached_says_so_beside_the_golden_median() -> None:
    seen = observation(seconds=10, milestones={"applied": 1.0, "traffic": None})
    applied, traffic = draw(seen, {"applied": 2.0, "traffic": 20.0}).milestones
    assert (applied.x, applied.golden_x, applied.label) == (10, 20, "1.0 s (golden median 2.0 s)")
    assert (traffic.x, traffic.golden_x, traffic.label) == (None, None, "never (golden median 20.0 s)")


def test_a_firing_outside_the_experiment_is_from_another_clock_and_not_drawn() -> None:
    inside, outside = firing(b"a", b"b", at_s=5.0), firing(b"a", b"b", at_s=99_000.0)
    seen = observation(seconds=10, firings=(inside, outside))
    assert [(tick.x, tick.label) for tick in draw(seen, {}).firings] == [(50, "fired at 5.0 s")]


def test_a_blind_probe_is_blind_and_not_a_row_of_answers() -> None:
    series = ProbeSeries(service="web", vantage="node-3", samples=(), blind="no namespace")
    (strip,) = draw(observation(probes=(series,)), {}).strips
    assert (strip.blind, strip.bars, strip.summary) == ("no namespace", (), "no requests")


# Numbers


@pytest.mark.parametrize(
    ("count", "of", "expected"),
    [
        (3, 22, "3 of 22 fired (14 %)"),
        (0, 22, "0 of 22 fired (0 %)"),
        (1, 1000, "1 of 1000 fired (< 1 %)"),
        (999, 1000, "999 of 1000 fired (> 99 %)"),
        (22, 22, "22 of 22 fired (100 %)"),
        (0, 0, "none fired"),
    ],
)
def test_a_share_names_its_denominator_and_does_not_round_to_never_or_always(
    count: int, of: int, expected: str
) -> None:
    assert str(Share(count, of, "fired")).replace("\N{NO-BREAK SPACE}", " ") == expected


def test_a_share_of_nothing_has_no_percentage() -> None:
    assert Share(0, 0, "fired").percent == "n/a"


def test_the_interval_of_a_share_is_wilsons() -> None:
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)


def test_the_cross_table_counts_every_experiment_once() -> None:
    faults = [record for record in quickstart_records() if not record.planned.golden]
    table = cross_table(faults, caption="", row_name="role", label=role_label)
    assert table.total[1] == len(faults) == sum(row[2] for row in table.rows)
    assert all(sum(counts) == total for _, counts, total in table.rows)
    assert table.columns[0] == "outage"
    assert table.columns[-1] == "error"
    assert {row[0]: row[2] for row in table.rows}["whole message"] == 2


def test_golden_runs_are_spread_over_least_median_and_most_and_a_noisy_one_is_told() -> None:
    noisy = service_selector()
    runs = [golden(0), golden(1, shift=0.2), golden(2, shift=1.0)]
    (table,) = golden_tables(runs)
    at = table.columns.index("pods-ready")
    assert [values[at] for _, values in table.spread] == pytest.approx([2.9, 3.1, 3.9])
    assert golden_medians((table,))["deploy"]["pods-ready"] == pytest.approx(3.1)
    assert "whole run" not in golden_medians((table,))["deploy"]
    assert [row.quiet for row in golden_tables([golden(0), noisy])[0].rows] == [True, False]


# Sentences and redaction


@pytest.mark.parametrize(
    ("of", "told", "sentence"),
    [
        (rule("drop", parameters={"told": "success"}), None,
         "Dropped the write of Pod default/web#2, in its second write to etcd, and told the sender: success"),
        (rule("value-set", field="spec.nodeName", channel=Channel.AT_REST_WRITE), ("node-1", "node-0"),
         'Set spec.nodeName of Pod default/web#2 to a wrong value ("node-1" → "node-0"), put straight into etcd'),
        (rule("bit-flip", field="data[{what}]"), None,
         "Flipped one bit of data[{what}] of Pod default/web#2, in its second write to etcd"),
        (rule("drop", channel=Channel.APISERVER_TO_COMPONENT, parameters={"told": "timeout"}), None,
         "Dropped the news of Pod default/web#2, the second time that kube-apiserver told a component of it, "
         "and told the receiver: timeout"),
        (rule("stale", channel=Channel.ETCD_TO_APISERVER), None,
         "Told an older version of Pod default/web#2, the second time that etcd told kube-apiserver of it"),
        (rule("some-plugin"), None, "Applied some-plugin to Pod default/web#2, in its second write to etcd"),
        (rule("value-set", field="spec.x"), ("a" * 30, "b"),
         "Set spec.x of Pod default/web#2 to a wrong value, in its second write to etcd"),
    ],
)  # fmt: skip
def test_what_was_done_is_a_sentence(of: Rule, told: tuple[str, str] | None, sentence: str) -> None:
    seen = firing(b"a", b"b", field_before=told[0], field_after=told[1]) if told else None
    assert what_was_done(of, seen) == sentence


def test_what_was_chosen_is_named_by_its_choice_until_it_fired_and_then_by_its_name() -> None:
    target = Target(kind="Pod", namespace="default", labels="app=web", role="node-name", by="kubelet", after="A/b Up")
    of = Rule(id="r", channel=Channel.APISERVER_TO_ETCD, model="bit-flip", target=target)
    end = ", in its first write to etcd, written by kubelet, after A/b Up"
    assert (
        what_was_done(of, None)
        == f"Flipped one bit of a field with the role node-name of any Pod in default with app=web{end}"
    )
    seen = replace(firing(b"a", b"b", field_before=None, field_after=None), field="spec.nodeName", identity="Pod/a/b#1")
    assert what_was_done(of, seen) == f"Flipped one bit of spec.nodeName of Pod a/b#1{end}"
    assert target_name(target) == "any in default with app=web"


def test_a_long_value_is_cut_and_tells_its_length() -> None:
    assert shown_value("x" * 500).endswith("… (502 characters)")


SECRET = stored("v1", "Secret", proto(2, b"hunter2"))


@pytest.mark.parametrize(
    "seen",
    [
        firing(b"", b"", key="/registry/secrets/default/token"),
        firing(b"", b"", identity="Secret/default/token"),
        firing(SECRET, b""),
        firing(b"", SECRET, key="/registry/pods/default/web"),
        firing(b'{"apiVersion": "v1", "kind": "Secret"}', b""),
    ],
)
def test_a_secret_is_recognised_by_key_identity_or_its_bytes(seen: Firing) -> None:
    assert holds_secret(seen)


def test_other_objects_are_shown() -> None:
    assert not holds_secret(firing(service("web"), service("veb"), told=Told.ERROR))
    assert not is_secret_rule(rule("drop"))


def test_of_a_secret_neither_value_nor_parameter_nor_byte_is_shown() -> None:
    seen = firing(SECRET, SECRET, field_before="aHVudGVyMg==", field_after="aHVudGVyMw==")
    aimed = rule(
        "value-set",
        parameters={"value": "hunter2"},
        target=Target(kind="Secret", identity="Secret/a/b", field="data[x]"),
    )
    assert change_of(seen) == ("redacted (14 characters)", "redacted (14 characters)")
    assert shown_parameters(aimed) == {"value": "redacted (9 characters)"}
    assert what_was_done(aimed, seen) == "Set data[x] of Secret a/b to a wrong value, in its first write to etcd"
    hidden = compare(SECRET, SECRET + b"x", redacted=True)
    assert (hidden.lines, hidden.lengths, hidden.after_bytes) == ((), (), len(SECRET) + 1)


def test_a_message_fault_has_the_role_of_a_whole_message() -> None:
    record = experiment(
        "e1", kind="Pod", identity="Pod/default/web#1", model="drop",
        verdict=judged(OrchestratorFailure.NONE, activation=Activation.FIRED),
    )  # fmt: skip
    assert role_label(record) == "whole message"


REFUSED = "Pod web: HTTP 422 spec: Invalid value"


@pytest.mark.parametrize(
    ("handled", "said", "invalid"),
    [
        ({}, "could be read, written back and deleted", False),
        ({"update": REFUSED}, f"is invalid; could not be written back: {REFUSED}; could be read and deleted", True),
        (
            {"decodable": False, "read": "HTTP 500", "update": "HTTP 500", "delete": "HTTP 500 too"},
            "can't be decoded; could not be read or written back: HTTP 500; could not be deleted: HTTP 500 too",
            False,
        ),
        ({"read": "no answer", "update": "no answer", "delete": "no answer"},
         "could not be read, written back or deleted: no answer", False),
    ],
)  # fmt: skip
def test_what_can_still_be_done_with_an_object_is_told(handled: dict[str, Any], said: str, invalid: bool) -> None:
    seen = Handled(**{"key": "/registry/pods/default/web", "identity": "Pod/default/web", "decodable": True, **handled})
    assert (shown_handled(seen), seen.invalid) == (f"Pod/default/web: {said}", invalid)
