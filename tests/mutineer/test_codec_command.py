"""`mutineer decode`, `encode`, `fields` as a person calls them; on a real cluster it is tests/sandbox/test_codec.py."""

from __future__ import annotations

import base64
import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
from click.testing import CliRunner, Result

from campaigns.clusters.sandbox import outside
from campaigns.clusters.sandbox.config import BINARIES
from injector.codec import list_fields, locate, replace
from injector.errors import InputError
from mutineer.cli import cli
from mutineer.commands import codec
from tests.campaigns.clusters.sandbox.stand_in_keeper import STORED
from tests.campaigns.clusters.sandbox.test_outside import KEEPER
from tests.injector.stored import GOLDEN, golden
from tests.mutineer.test_sandbox_command import completed

ROOT = Path(__file__).parents[2]
SETTINGS = "/registry/configmaps/default/settings"
FIELDS = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["path", "type", "wire_type", "kubernetes_type", "role", "dependency"],
        "properties": {
            "path": {"type": "string"},
            "type": {"type": "string"},
            "wire_type": {"enum": [0, 1, 2, 5, None]},
            "kubernetes_type": {"type": "string"},
            "role": {"type": "string"},
            "dependency": {"type": ["string", "null"]},
            "span": {"type": ["array", "null"], "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
            "value": {},
        },
    },
}


def run(*argv: str, told: bytes = b"") -> Result:
    return CliRunner().invoke(cli, argv, input=told, catch_exceptions=False, standalone_mode=False)


def refused(*argv: str, told: bytes = b"") -> str:
    with pytest.raises(InputError) as raised:
        run(*argv, told=told)
    return str(raised.value)


def on_a_terminal(*argv: str, columns: int = 80) -> str:
    """What a person sees, on a terminal of that width."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "COLUMNS": str(columns), "TERM": "dumb", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "mutineer", *argv]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                part = os.read(ours, 1 << 16)
            except OSError:  # the other end is closed: the program has ended
                break
            seen += part
        process.wait(30)
    os.close(ours)
    return seen.decode().replace("\r\n", "\n")


# files and streams


@pytest.mark.parametrize("form", ["yaml", "json"])
@pytest.mark.parametrize("name", ["deployment", "secret", "crd", "box", "portrange"])
def test_encode_makes_the_bytes_again_that_were_decoded(name: str, form: str, tmp_path: Path) -> None:
    text = run("decode", str(GOLDEN / f"{name}.bin"), "-o", form).stdout_bytes
    (tmp_path / "object").write_bytes(text)
    run("encode", str(tmp_path / "object"), "-o", str(tmp_path / "value"))
    assert (tmp_path / "value").read_bytes() == golden(name)
    assert run("encode", told=text).stdout_bytes == golden(name)


def test_values_may_come_and_go_in_base64() -> None:
    told = base64.encodebytes(golden("service"))
    text = run("decode", "--base64", "-", told=told).stdout_bytes
    assert base64.b64decode(run("encode", "--base64", told=text).stdout_bytes, validate=False) == golden("service")


def test_an_edit_reaches_the_bytes(tmp_path: Path) -> None:
    text = run("decode", str(GOLDEN / "deployment.bin")).stdout
    assert text.count("  replicas: 3\n") == 2, "in spec and status"
    after = run("encode", told=text.replace("  replicas: 3\n", "  replicas: 0\n", 1).encode()).stdout_bytes
    before = golden("deployment")
    assert after == replace(before, locate(before, "spec.replicas"), b"\x00")


def test_what_yaml_can_not_say_is_carried_along() -> None:
    value = golden("configmap")
    path = next(each.path for each in list_fields(value) if each.path.startswith("data["))
    broken = replace(value, locate(value, path), b"\xff")
    shown = run("decode", told=broken).stdout
    assert "mutineer.original: " in shown
    assert run("encode", told=shown.encode()).stdout_bytes == broken


def test_a_value_with_a_newline_too_much_and_one_in_base64_are_told_what_to_do() -> None:
    value = golden("service")
    assert "remedy: take the newline at its end off" in refused("decode", told=value + b"\n")
    assert "remedy: this is base64: add --base64" in refused("decode", told=base64.b64encode(value) + b"\n")
    assert "remedy: this is base64: add --base64" in refused("decode", told=base64.b64encode(golden("crd")))


@pytest.mark.parametrize(
    ("argv", "told", "words"),
    [
        (("decode",), b"", "stdin: not a stored object"),
        (("decode",), golden("service")[:99], "stdin: byte 20: a field reaches"),
        (("decode", "--base64"), b"%%%", "stdin: expected base64, got b'%%%'"),
        (("encode",), golden("service"), "stdin: byte 20: expected YAML or JSON in UTF-8, got b'k8s"),
        (("encode",), b"a: [", "stdin: line 1, column 5: not valid YAML"),
        (("encode",), b"a: b", "stdin: apiVersion: expected the object's apiVersion, such as apps/v1, got None"),
        (
            ("encode",),
            b"{apiVersion: v1, kind: Pod, spec: {nodeNam: a}}",
            "stdin: spec.nodeNam: a PodSpec has no field",
        ),
        (("fields", "--from", "-"), b"k8s\x00\x00", "stdin: byte 4: illegal field number 0"),
        (("fields", "Deploymnt"), b"", "did you mean"),
    ],
)
def test_what_can_not_be_read_is_refused_with_its_place(argv: tuple[str, ...], told: bytes, words: str) -> None:
    assert words in refused(*argv, told=told)


@pytest.mark.parametrize(
    "argv",
    [("decode", "nosuch"), ("fields",), ("fields", "Pod", "--from", "x"), ("fields", "Pod", "--cluster", "x"),
     ("decode", "--cluster", "x"), ("decode", str(GOLDEN / "pod.bin"), "--key", "/x"), ("decode", "-o", "xml")],
)  # fmt: skip
def test_wrong_usage_is_refused(argv: tuple[str, ...]) -> None:
    with pytest.raises(click.UsageError):
        run(*argv)


def test_bad_input_ends_with_exit_code_2_and_nothing_on_stdout() -> None:
    command = [sys.executable, "-m", "mutineer", "decode"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=30, input="x", check=False)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith("error: stdin: not a stored object")


def test_a_stored_value_is_not_thrown_at_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "o.yaml").write_bytes(run("decode", str(GOLDEN / "pod.bin")).stdout_bytes)
    seen = on_a_terminal("encode", str(tmp_path / "o.yaml"))
    assert "a stored value is no text for a terminal: name a file with -o, or add --base64" in seen
    assert "expected a FILE, or something on stdin" in on_a_terminal("decode")


# secrets


def test_a_secret_is_hidden_on_a_terminal_and_whole_in_a_pipe() -> None:
    file = str(GOLDEN / "secret.bin")
    whole = run("decode", file).stdout
    password = next(line for line in whole.splitlines() if line.startswith("  password: ")).split()[1]
    seen = on_a_terminal("decode", file)
    assert "password: '<redacted: 12 bytes>'" in seen and password not in seen
    assert "values of a Secret are hidden on a terminal (--show-secrets shows them)" in seen
    assert password in on_a_terminal("decode", file, "--show-secrets")
    clear = base64.b64decode(password).decode()
    fields = on_a_terminal("fields", "--from", file, columns=140)
    assert "data[password]" in fields and clear not in fields and password not in fields
    assert "last-applied" in fields and "<redacted>" in fields
    assert password in on_a_terminal("fields", "--from", file, "--show-secrets", columns=140)


# fields


def test_fields_of_a_kind_are_told_with_types_and_roles() -> None:
    found: Any = json.loads(run("fields", "apps/v1/Deployment", "--json").stdout)
    jsonschema.validate(found, FIELDS)
    by_path = {each["path"]: each for each in found}
    assert by_path["spec.replicas"] == {
        "path": "spec.replicas", "type": "int32", "wire_type": 0, "kubernetes_type": "int32", "role": "replicas",
        "dependency": None,
    }  # fmt: skip
    labels = by_path["spec.template.metadata.labels[KEY]"]
    assert (labels["role"], labels["dependency"]) == ("dependency", "label-or-selector")
    assert run("fields", "Service").stdout.splitlines()[0] == "metadata.name\tstring\t2\tidentity"


def test_other_kinds_of_that_name_are_mentioned() -> None:
    result = run("fields", "event")
    assert "v1/Event; 'event' is also events.k8s.io/v1/Event, events.k8s.io/v1beta1/Event" in result.stderr


def test_recursion_is_cut_with_a_note() -> None:
    seen = on_a_terminal("fields", "CustomResourceDefinition", columns=140)
    assert "JSONSchemaProps (as above)" in seen and "the message holds itself again" in seen


def test_fields_of_an_object_are_told_with_the_bytes_where_they_lie() -> None:
    value = golden("service")
    found: Any = json.loads(run("fields", "--from", str(GOLDEN / "service.bin"), "--json").stdout)
    jsonschema.validate(found, FIELDS)
    assert [each["path"] for each in found] == [each.path for each in list_fields(value)]
    by_path = {each["path"]: each for each in found}
    start, end = by_path["spec.selector[app]"]["span"]
    assert value[start:end] == b"web" and by_path["spec.selector[app]"]["value"] == "web"
    target = by_path["spec.ports[1].targetPort"]
    assert (target["kubernetes_type"], target["type"], target["wire_type"]) == ("IntOrString", "int32", 0)


@pytest.mark.parametrize(
    ("columns", "argv"), [(140, ("fields", "Pod")), (80, ("fields", "--from", str(GOLDEN / "deployment.bin")))]
)
def test_tables_fit_the_terminal(columns: int, argv: tuple[str, ...]) -> None:
    lines = on_a_terminal(*argv, columns=columns).splitlines()
    assert max(map(len, lines)) <= columns
    assert not any("…" in line.split()[0] for line in lines if line.split()), (
        "paths are whole, on more lines if need be"
    )


# keys of a running sandbox


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A sandbox named default with a stand-in for its cluster, in a state folder of its own."""
    state = Path(f"/tmp/mt-{os.getpid()}-codec")  # short: sockets in it may have 107 characters
    state.mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(state))
        patch.setenv("PYTHONPATH", str(ROOT))
        config = outside.prepare("default", binaries={name: Path("/bin/true") for name in BINARIES}, nodes=1)
        outside.up(config, keeper=KEEPER)
        yield state
        outside.down("default")
    shutil.rmtree(state)


@pytest.mark.usefixtures("home")
def test_a_key_of_a_running_sandbox_is_read() -> None:
    shown = run("decode", "--key", SETTINGS).stdout
    assert "hello: world\n" in shown
    assert run("encode", told=shown.encode()).stdout_bytes == STORED[SETTINGS]
    assert run("decode", "--cluster", "default", "--key", SETTINGS, "-o", "json").stdout.startswith("{\n")


@pytest.mark.usefixtures("home")
def test_a_key_that_is_not_there_is_refused_with_near_ones() -> None:
    near = refused("decode", "--key", SETTINGS + "s")
    assert near.startswith(
        f"command line: --key: the sandbox 'default' has no key '{SETTINGS}s'; did you mean {SETTINGS}"
    )
    assert "no key ''" in refused("decode", "--key", "")


@pytest.mark.usefixtures("home")
def test_a_sandbox_that_does_not_run_is_refused_and_what_is_no_object_is_located() -> None:
    assert refused("decode", "--cluster", "nosuch", "--key", "/x").startswith(
        "command line: --cluster: no sandbox named"
    )
    assert refused("decode", "--key", "/registry/pods/default/web").startswith(
        "/registry/pods/default/web: not a stored"
    )


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("decode", "--cluster", ""), ["default"]),
        (("decode", "--key", "/r"), ["/registry/"]),
        (("decode", "--key", "/registry/"), ["/registry/configmaps/", "/registry/pods/"]),
        (
            ("fields", "--cluster", "default", "--key", "/registry/configmaps/default/set"),
            [SETTINGS, f"{SETTINGS[:-4]}led"],
        ),
        (("decode", "--cluster", "nosuch", "--key", "/"), []),
        (("fields", "deploy"), ["Deployment"]),
    ],
)
@pytest.mark.usefixtures("home")
def test_the_shell_completes_sandboxes_keys_and_kinds(words: tuple[str, ...], offered: list[str]) -> None:
    assert completed(*words) == offered


def test_every_command_has_examples_in_its_help() -> None:
    for name in codec.commands:
        assert "Examples:" in run(name, "--help").stdout and f"mutineer {name} " in run(name, "--help").stdout
