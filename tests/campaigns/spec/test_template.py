from __future__ import annotations

import re
import typing
from collections.abc import Iterator

import pytest
import yaml
from pydantic import BaseModel, Field

from campaigns.spec import template as module
from campaigns.spec.campaign_spec import CampaignSpec, load_preset, parse_spec, presets
from campaigns.spec.cluster_spec import Model
from campaigns.spec.template import STARTER, spec_template
from injector.errors import InputError

CHOICES = [None, *presets()]


def keys(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, str]]:
    """Every key of a model and of those in it: path, name."""
    for name, info in model.model_fields.items():
        yield f"{path}{name}", info.alias or name
        for inner in module._models(info.annotation):
            yield from keys(inner, f"{path}{name}.")


@pytest.mark.parametrize("preset", CHOICES)
def test_the_file_is_a_valid_spec_that_says_what_the_preset_does(preset: str | None) -> None:
    spec = parse_spec(spec_template(preset=preset), file="campaign.yaml")
    assert spec == parse_spec(STARTER if preset is None else load_preset(preset)[1], file="preset.yaml")


@pytest.mark.parametrize("preset", CHOICES)
def test_every_key_of_the_models_is_in_the_file_with_words_about_it(preset: str | None) -> None:
    lines = spec_template(preset=preset).splitlines()
    for path, name in keys(CampaignSpec):
        described = [
            place
            for place, line in enumerate(lines)
            if re.match(rf" *#? *{name}: \w", line) or (re.match(rf" *#?{name}:", line) and "# " in lines[place - 1])
        ]
        assert described, f"{path} is not in the file, or nothing is said of it: give its field a description"


@pytest.mark.parametrize("preset", CHOICES)
def test_what_is_commented_out_is_the_default_so_putting_it_in_force_changes_nothing(preset: str | None) -> None:
    text = spec_template(preset=preset)
    in_force = re.sub(r"(?m)^( *)#(?=[a-z_]+:)", r"\1", text)
    assert in_force != text
    optional = {name for name, info in CampaignSpec.model_fields.items() if info.default is None}
    document = {name: value for name, value in yaml.safe_load(in_force).items() if name not in optional}
    assert CampaignSpec.model_validate(document) == CampaignSpec.model_validate(
        {name: value for name, value in yaml.safe_load(text).items() if name not in optional}
    )
    assert set(document) == set(CampaignSpec.model_fields) - optional


def test_no_line_is_longer_than_a_screen_is_wide() -> None:
    assert max(map(len, spec_template().splitlines())) <= 120


def test_the_next_command_names_the_file() -> None:
    assert "mutineer run mine.yaml" in spec_template(file="mine.yaml")


def test_the_values_of_a_preset_keep_its_comments() -> None:
    assert "  # Who owns whom\n  - why: A ReplicaSet whose owner's uid" in spec_template(preset="quickstart")


def test_a_preset_that_there_is_not_is_refused() -> None:
    with pytest.raises(InputError, match="no preset 'quickstrat'"):
        spec_template(preset="quickstrat")


class Stop(Model):
    """When to stop before the end. And more of it."""

    after: int = Field(description="Experiments")
    which: typing.Literal["first", "last"] = Field("first", description="Of them")


class Grown(CampaignSpec):
    stop: Stop | None = Field(None, alias="halt")
    sample: Stop = Field(default_factory=lambda: Stop(after=3), description="How many are drawn")


def test_a_key_that_is_added_to_the_models_appears_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CampaignSpec", Grown)
    text = spec_template()
    assert (
        "\n# When to stop before the end\n#halt:\n  # Experiments (required)\n  #after: null\n"
        "  # Of them [first | last]\n  #which: first\n"
    ) in text
    assert "\n# How many are drawn\n#sample:\n" in text
