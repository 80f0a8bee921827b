"""The plugin without a sandbox: skips, options, what it costs. With one: tests/sandbox/test_pytest_plugin.py."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

USES_BOTH = """
def test_one(cluster): ...
def test_two(inject): ...
def test_three(): ...
"""


def test_without_the_option_tests_that_use_the_fixtures_are_skipped_with_the_reason(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(USES_BOTH)
    result = pytester.runpytest_subprocess("-rs", "-W", "error", "-p", "no:cacheprovider")
    result.assert_outcomes(skipped=2, passed=1)
    result.stdout.fnmatch_lines(["*needs a Kubernetes sandbox: pytest --mutineer*"])


def test_a_config_that_is_wrong_fails_the_tests_in_words_before_anything_starts(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(USES_BOTH)
    pytester.makefile(".yaml", cluster="nodes: 0\nnods: 1\n")
    result = pytester.runpytest_inprocess("--mutineer", "--mutineer-config", "cluster.yaml")
    result.assert_outcomes(errors=2, passed=1)
    text = result.stdout.str()
    assert "no sandbox for `pytest --mutineer`: " in text
    assert "cluster.yaml: nodes: expected a number >= 1, got 0" in text
    assert "cluster.yaml: nods: unknown key; did you mean 'nodes'?" in text
    assert "Traceback" not in text


def test_the_config_may_stand_in_the_ini_file_relative_to_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(USES_BOTH)
    pytester.makeini("[pytest]\nmutineer_config = conf/none.yaml\n")
    result = pytester.runpytest_inprocess("--mutineer")
    assert f"{pytester.path}/conf/none.yaml: can't be read" in result.stdout.str()


def test_a_projects_own_fixture_of_that_name_stands_before_ours(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import pytest\n@pytest.fixture\ndef cluster(): return 7\ndef test_it(cluster): assert cluster == 7"
    )
    pytester.runpytest_inprocess().assert_outcomes(passed=1)


def test_loading_the_plugin_loads_nothing_else_of_ours() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import mutineer.pytest_plugin; "
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["mutineer", "mutineer.pytest_plugin"]
