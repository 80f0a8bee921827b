"""What a recording holds, and what its file is when it is none, another's, newer or damaged."""

from __future__ import annotations

import base64
import hashlib
import lzma
from dataclasses import replace as replaced
from pathlib import Path

import pytest

from campaigns.planning.recording import (
    WHOLE,
    Subject,
    counted_as,
    read_recording,
    recording_from_bytes,
    recording_to_bytes,
    write_recording,
)
from campaigns.planning.recordings_found import SHIPPED, find_recordings, write_recordings
from campaigns.spec.campaign_spec import ClusterSpec, parse_spec
from injector.codec import encode_value, list_fields, locate, replace
from injector.errors import StoreError
from injector.targets import Channel
from tests.campaigns.planning.recordings import WRITES, message, of_runs, recorded, shipped
from tests.injector.stored import KEYS, golden

DEPLOYMENT, POD, SECRET = golden("deployment"), golden("pod"), golden("secret")
WEB = "Deployment/default/web"


def small() -> bytes:
    run = recorded([message(WEB, 0, group="apps"), message("Pod/default/web#1", 1)], [DEPLOYMENT, POD])
    return recording_to_bytes(of_runs([run, run], baseline={KEYS["deployment"]: DEPLOYMENT}))


def test_a_recording_comes_back_equal_and_its_hash_is_of_its_content(tmp_path: Path) -> None:
    recording = recording_from_bytes(small(), name="small")
    write_recording(recording, tmp_path / "a.recording")
    again = read_recording(tmp_path / "a.recording")
    assert again == recording and again.sha256 == recording.sha256 != ""
    other = lzma.compress(lzma.decompress(small()), preset=0)
    assert other != small() and recording_from_bytes(other, name="other").sha256 == recording.sha256
    assert again.seconds == (7.0, 8.0) and again.seconds_median == 7.5
    assert [each.name for each in tmp_path.iterdir()] == ["a.recording"]


def test_what_can_not_be_read_is_named_in_words(tmp_path: Path) -> None:
    plain = lzma.decompress(small())
    head, _, content = plain.partition(b"\n")
    wrong = {
        "can't be read": None,
        "not a recording: expected a .recording file": b"name: spec\n",
        "damaged or cut off; record anew": small()[:-40],
        "not a recording: it begins with b'hello": lzma.compress(b"hello"),
        "of schema 7; this program reads schema 1": lzma.compress(plain.replace(b"recording 1 ", b"recording 7 ", 1)),
        "damaged: its content is not what was written": lzma.compress(plain[:-1] + bytes([plain[-1] ^ 1])),
        "not a recording that this program wrote": recompressed(b'{"a": 1}\n'),
        "expected 0 bytes of values": recompressed(b'{"paths":[],"subjects":[],"lengths":[]}\nab'),
    }
    for words, data in wrong.items():
        path = tmp_path / "x.recording"
        path.unlink(missing_ok=True)
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(StoreError) as error:
            read_recording(path)
        assert words in str(error.value) and "x.recording" in str(error.value), words
    assert head.startswith(b"mutineer-recording 1 ") and content


def recompressed(content: bytes) -> bytes:
    return lzma.compress(f"mutineer-recording 1 {hashlib.sha256(content).hexdigest()}\n".encode() + content)


def test_of_secrets_and_tokens_the_file_has_the_fields_paths_and_nothing_of_their_values() -> None:
    token = b'{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","status":{"token":"eyJhbGciOi.secret"}}'
    said = [
        message("Secret/default/tls", 0),
        message("ServiceAccount/default/default", 1, operation="answer/token", component="kubelet-node-1"),
    ]
    run = recorded(said, [SECRET, token])
    recording = of_runs([run, run], channel=Channel.APISERVER_TO_COMPONENT, baseline={KEYS["secret"]: SECRET})
    plain = lzma.decompress(recording_to_bytes(recording))
    assert b"eyJhbGciOi" not in plain
    told = recording.channels[Channel.APISERVER_TO_COMPONENT].messages[0].value
    assert told is not None and told.content is None and told.size == len(SECRET)
    data = [path for path, _ in told.fields if path.startswith("data[")]
    assert data and recording.baseline[KEYS["secret"]].content is None
    values = [str(item.value) for item in list_fields(SECRET) if item.path.startswith("data")]
    assert values and not any(value.encode() in plain or base64.b64decode(value) in plain for value in values)


def test_occurrences_are_counted_over_what_a_rule_without_an_operation_counts() -> None:
    write = Subject("Pod", "", "Pod/default/web#1", "default", "put", "")
    assert counted_as(WRITES, write) == (write._replace(operation=""),)
    watch = write._replace(operation="watch")
    assert counted_as(Channel.ETCD_TO_APISERVER, watch) == (watch,)
    told = watch._replace(component="kubelet-node-2")
    assert counted_as(Channel.APISERVER_TO_COMPONENT, told) == (told, told._replace(component="kubelet-*"))
    scheduler = watch._replace(component="kube-scheduler")
    assert counted_as(Channel.APISERVER_TO_COMPONENT, scheduler) == (scheduler,)
    asked = scheduler._replace(operation="update/status")
    plain = asked._replace(operation="update")
    assert counted_as(Channel.COMPONENT_TO_APISERVER, asked) == (asked, plain), "`update` has its subresources among it"
    assert counted_as(Channel.COMPONENT_TO_APISERVER, plain) == (plain,)


def test_what_was_seen_is_counted_run_by_run_and_values_that_vary_are_kept() -> None:
    field = locate(DEPLOYMENT, "spec.replicas")
    values = [DEPLOYMENT, *(replace(DEPLOYMENT, field, encode_value(field, n)) for n in (11, 12))]
    web = [message(WEB, n, group="apps") for n in range(3)]
    gone = message(WEB, None, group="apps", operation="delete")
    runs = [recorded([web[0], web[1], gone], values), recorded([web[0], web[2]], values)]
    told = of_runs(runs).channels[WRITES]
    (subject,) = told.seen
    counts = {path: each.counts for each in told.seen[subject] for path in each.paths}
    assert counts[WHOLE] == (3, 2) and counts["spec.replicas"] == (2, 2)
    assert told.varying[subject] == {"spec.replicas": (11, 12, field.value)}
    assert told.messages[0].value is not None and told.runs == 2


def test_every_recording_that_ships_can_be_planned_from_and_is_small() -> None:
    paths = sorted(SHIPPED.glob("*.recording"))
    assert paths
    for path in paths:
        assert path.stat().st_size <= 300_000, path
        recording = read_recording(path)
        assert path.name.startswith(recording.workload)
        assert set(recording.channels) == {channel for channel in Channel if not channel.at_rest}
        assert all(told.runs >= 10 for told in recording.channels.values())
        assert all("/secrets/" not in key or value.content is None for key, value in recording.baseline.items())
        assert 1 < recording.seconds_median < 120


def test_a_recording_is_found_by_workload_and_cluster_and_a_run_keeps_it(tmp_path: Path) -> None:
    def asking(cluster: str, channel: str = "apiserver-to-etcd") -> tuple[str, ...]:
        text = f"name: a\ncluster: {cluster}\nsample: {{budget: 5, channels: [{channel}]}}\n"
        found = find_recordings(parse_spec(text, file="a"), folders=(tmp_path, SHIPPED))
        return found.missing

    assert asking("{}") == asking("{audit: true}") == asking("{component_channels: true}") == ()
    assert asking("{}", "apiserver-to-component") == asking("{}", "at-rest-silent") == ()
    assert asking("{nodes: 1}") == asking("{profile: kubeadm}") == ("deploy",)
    assert find_recordings(parse_spec("name: a\n", file="a")).missing == ()
    other = replaced(shipped(), versions={**shipped().versions, "kubelet": "1.30.1"})
    write_recording(other, tmp_path / "deploy.recording")
    spec = parse_spec("name: a\nsample: {budget: 5}\n", file="a")
    (path, why), *more = find_recordings(spec, folders=(tmp_path,)).passed_over
    assert (path.name, why, more) == ("deploy.recording", "it is of kubelet 1.30.1", [])
    assert asking("{}") == (), "the one that ships is next"
    write_recordings({}, tmp_path)
    write_recordings({"deploy": shipped()}, tmp_path)
    assert read_recording(tmp_path / "recordings" / "deploy.recording") == shipped()
    assert ClusterSpec.model_validate({}).content()
