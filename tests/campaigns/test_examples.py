"""What a newcomer copies has to be right."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from campaigns.judging.gate_policy import parse_policy
from campaigns.spec.campaign_spec import parse_spec
from campaigns.spec.cluster_spec import parse_cluster

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_a_campaign_a_cluster_or_a_gate_without_a_problem(path: Path) -> None:
    text = path.read_text()
    keys = yaml.safe_load(text)
    parse = parse_spec if "faults" in keys else parse_policy if "limits" in keys else parse_cluster
    parse(text, file=path.name)
