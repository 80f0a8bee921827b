"""What a spec may say of stopping and confirming."""

from __future__ import annotations

import pytest

from campaigns.spec.campaign_spec import parse_spec
from injector.errors import InputError
from tests.campaigns.builders import SPEC


@pytest.mark.parametrize(("said", "seconds"), [("2h", 7200), ("90m", 5400), ("45s", 45), ("1.5h", 5400), ("30", 30)])
def test_a_time_has_a_unit_or_is_in_seconds(said: str, seconds: float) -> None:
    assert parse_spec(f"{SPEC}stop: {{after: {said}}}\n", file="a.yaml").stop.after == seconds


def test_what_a_spec_does_not_say() -> None:
    spec = parse_spec(SPEC, file="a.yaml")
    assert (spec.stop.after, spec.stop.experiments, spec.stop.findings, spec.stop.errors) == (None, None, None, 10)
    assert spec.confirm is None
    confirm = parse_spec(SPEC + "confirm: {}\n", file="a.yaml").confirm
    assert confirm is not None and (confirm.classes, confirm.times) == (["stall", "outage"], 1)


def test_every_mistake_is_told_at_once_with_its_path() -> None:
    wrong = "stop: {after: soon, findings: 0, often: 1}\nconfirm: {classes: [stal], times: 0}\n"
    with pytest.raises(InputError) as refused:
        parse_spec(SPEC + wrong, file="a.yaml")
    assert [(problem.path, problem.message) for problem in refused.value.problems] == [
        ("stop.after", "expected a time such as 8h, 90m or 45s, got 'soon'"),
        ("stop.findings", "expected a number >= 1, got 0"),
        ("stop.often", "unknown key; did you mean 'after'?"),
        (
            "confirm.classes[0]",
            "expected outage, stall, network, more-resources, less-resources or timing, got 'stal'; "
            "did you mean 'stall'?",
        ),
        ("confirm.times", "expected a number >= 1, got 0"),
    ]
