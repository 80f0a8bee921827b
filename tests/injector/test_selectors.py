"""Label selectors: kubectl's grammar, and what is wrong with a text that is none."""

from __future__ import annotations

import pytest

from injector.errors import FaultError
from injector.selectors import labels_of, labels_text, parse_selector
from tests.injector.stored import golden

WEB = {"app": "web", "tier": "front", "example.com/on": ""}


@pytest.mark.parametrize(
    "text",
    [
        "app=web", "app == web", " app = web , tier != back ", "app in (db, web)", "app notin (db)", "app", "!other",
        "! other,app", "other!=web", "other notin (web)", "example.com/on=", "example.com/on in (,x)", "app,tier",
        "tier!=", "in!=x",
    ],
)  # fmt: skip
def test_a_selector_fits(text: str) -> None:
    assert parse_selector(text).matches(WEB)


@pytest.mark.parametrize(
    "text",
    ["app=db", "app!=web", "app in (db)", "app notin (db, web)", "other", "!app", "other=", "app=web,tier=back", "App"],
)
def test_a_selector_does_not_fit(text: str) -> None:
    assert not parse_selector(text).matches(WEB)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'', character 1: expected a label's key, got the end"),
        ("app=web,", "character 9: expected a label's key, got the end"),
        ("app=web tier=db", "character 9: expected a comma or the end, got 'tier'"),
        ("app in web", "character 8: expected ( before the values, got 'web'"),
        ("app in (web", "character 12: expected , or ) after a value, got the end"),
        ("app in (web db)", "character 13: expected , or ) after a value, got 'db'"),
        ("app=we*b", "character 5: expected a label's value, got 'we*b'"),
        ("=web", "character 1: expected a label's key, got '='"),
        ("-app", "character 1: expected a label's key, got '-app'"),
        ("Example_/on", "character 1: expected a domain name before the key's slash, got 'Example_/on'"),
        ("app > 3", "character 5: expected =, ==, !=, in, notin, a comma or the end, got '>'"),
        ("a" * 64, "character 1: expected a label's key"),
        ("!app=web", "character 5: expected a comma or the end, got '='"),
    ],
)
def test_what_is_no_selector_is_told_with_the_place_and_what_was_expected(text: str, words: str) -> None:
    with pytest.raises(FaultError) as refused:
        parse_selector(text)
    assert words in str(refused.value)


def test_labels_are_those_of_the_object_itself_and_none_where_it_has_none() -> None:
    assert labels_of(golden("deployment")) == {"app": "web"}
    assert labels_of(golden("service")) == labels_of(golden("box")) == labels_of(b"k8s\0\xff") == {}
    assert (labels_text({"b": "2", "a": "1"}), labels_text({})) == ("a=1,b=2", "no labels")
