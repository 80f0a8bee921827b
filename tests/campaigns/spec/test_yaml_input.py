from __future__ import annotations

import pytest

from campaigns.spec.yaml_input import parse_yaml
from injector.errors import InputError


def problems(text: str) -> list[str]:
    with pytest.raises(InputError) as raised:
        parse_yaml(text, file="a.yaml")
    return [str(p) for p in raised.value.problems]


def test_plain_values_come_through() -> None:
    assert parse_yaml("a: [1, 0.5, true, null, x]\nb: {c: d}", file="a.yaml") == {
        "a": [1, 0.5, True, None, "x"],
        "b": {"c": "d"},
    }
    assert parse_yaml("", file="a.yaml") is None


def test_every_duplicate_key_is_told_with_line_and_column() -> None:
    assert problems("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n") == [
        "a.yaml: line 5, column 1: key 'a' is given twice (first in line 1)",
        "a.yaml: line 4, column 3: key 'c' is given twice (first in line 3)",
    ]


def test_what_is_no_yaml_is_told_with_line_and_column() -> None:
    (found,) = problems("a: [1\nb: 2")
    assert found.startswith("a.yaml: line 2, column 2: not valid YAML: ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1: x", "expected keys that are strings, got 1: quote it"),
        ("a:\n  no: x", "a: expected keys that are strings, got False: quote it"),
        ("a: 2020-01-01", "a: expected a plain value, got datetime.date(2020, 1, 1)"),
        ("a: 2020-13-45", "can't be read as YAML"),
        ("a: !!python/object:os.system x", "not valid YAML: could not determine a constructor"),
        ("a: 1\n---\nb: 2", "not valid YAML: expected a single document"),
        ("a: \x00", "not valid YAML"),
        ("[" * 5000, "can't be read as YAML"),
        ("? [1, 2]\n: x", "not valid YAML"),
    ],
)
def test_what_a_spec_does_not_need_is_refused(text: str, words: str) -> None:
    assert any(words in found for found in problems(text)), problems(text)


def test_dates_are_texts_where_that_is_asked_for() -> None:
    text = "a: 2020-01-01\nb: 2020-13-45\nc: 2020-01-01T10:00:00Z\nd: '2020-01-01'"
    asked = parse_yaml(text, file="a", dates_as_text=True)
    assert asked == {"a": "2020-01-01", "b": "2020-13-45", "c": "2020-01-01T10:00:00Z", "d": "2020-01-01"}
    assert "expected a plain value" in problems("a: 2020-01-01")[0]


def test_merge_keys_work_and_are_no_duplicates() -> None:
    text = "base: &b {x: 1}\na:\n  <<: *b\n  y: 2\n"
    assert parse_yaml(text, file="a") == {"base": {"x": 1}, "a": {"x": 1, "y": 2}}
