from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from campaigns.spec.campaign_spec import load_spec
from injector.errors import InputError
from mutineer.commands import init


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(init.command, list(arguments), catch_exceptions=False)


def test_a_spec_is_written_and_the_next_command_said() -> None:
    assert invoke().output == "campaign.yaml is written. Edit it, then: mutineer run campaign.yaml\n"
    assert load_spec(Path("campaign.yaml"))[0].name == "my-campaign"


def test_a_preset_is_written_under_the_name_that_was_given() -> None:
    assert "mutineer run mine.yaml" in invoke("mine.yaml", "--preset", "quickstart").output
    assert load_spec(Path("mine.yaml"))[0].name == "quickstart"


def test_a_file_that_is_there_is_left_alone_unless_forced() -> None:
    Path("campaign.yaml").write_text("mine")
    with pytest.raises(InputError, match=r"campaign\.yaml: is there already.*--force"):
        invoke()
    assert Path("campaign.yaml").read_text() == "mine"
    invoke("--force")
    assert load_spec(Path("campaign.yaml"))[0].name == "my-campaign"


def test_what_can_not_be_written_is_said() -> None:
    with pytest.raises(InputError, match="can't be written"):
        invoke("nowhere/campaign.yaml")
    with pytest.raises(InputError, match="no preset"):
        invoke("--preset", "nope")
    assert list(Path().iterdir()) == []
