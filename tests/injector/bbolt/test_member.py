"""A value in a database that a real etcd made gets another one; bbolt's own check and etcd itself are the judges."""

from __future__ import annotations

import fcntl
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from injector.bbolt import Database, Entry, Live, Revision, opened
from injector.bbolt.pages import branches
from injector.errors import CodecError, FaultError, HarnessError
from tests.injector.bbolt.conftest import DB, KEYS, Judge
from tests.injector.conftest import connected, free_port, start_etcd, stop


def live(path: Path) -> Mapping[bytes, Live]:
    with opened(path) as member:
        return member.live()


def replace(path: Path, key: bytes, value: bytes) -> None:
    with opened(path) as member:
        member.replace(member.live()[key].revision, value)


def entries(path: Path) -> dict[bytes, list[Entry]]:
    """All there is, bucket by bucket."""
    database = Database(path.read_bytes())
    return {bucket: list(database.entries(bucket)) for bucket in database.buckets()}


def changed(before: bytes, after: bytes) -> list[int]:
    """Offsets at which they differ; what one has more counts."""
    size = max(len(before), len(after))
    pairs = zip(before.ljust(size, b"\xff"), after.ljust(size, b"\xff"), strict=True)
    return [offset for offset, (old, new) in enumerate(pairs) if old != new]


def test_what_is_live_is_what_etcd_serves(data_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(data_folder, tmp_path / "data")
    found = live(tmp_path / "data" / DB)
    etcd = start_etcd(tmp_path / "data", ("127.0.0.1", free_port()))
    try:
        with connected(etcd.address) as client:
            served = {
                meta.key: (value, meta.create_revision, meta.mod_revision, meta.version, meta.lease_id)
                for value, meta in client.get_prefix("/")
            }
    finally:
        stop(etcd.process)
    kvs = {key: each.kv for key, each in found.items()}
    assert {k: (v.value, v.create_revision, v.mod_revision, v.version, v.lease) for k, v in kvs.items()} == served
    assert len(found) == KEYS - KEYS // 10 + 1, "what was deleted is not there"


def test_the_facts_say_what_the_member_is(database: Path) -> None:
    with opened(database) as member:
        facts = member.facts()
    assert facts["storageVersion"] == "3.6.0" and isinstance(facts["consistent_index"], int)
    assert facts["consistent_index"] > KEYS and facts["term"] == 2


def test_a_value_of_the_same_size_changes_its_own_bytes_and_nothing_else(database: Path) -> None:
    before, old = database.read_bytes(), live(database)[b"/k/003"].kv.value
    new = bytes(byte ^ 0xFF for byte in old)
    replace(database, b"/k/003", new)
    after, at = database.read_bytes(), before.index(b"/k/003")
    start = before.index(old, at)
    assert changed(before, after) == list(range(start, start + len(old)))
    assert after[start : start + len(new)] == new


def test_a_value_that_grows_within_its_page_changes_that_page_and_nothing_else(database: Path, judge: Judge) -> None:
    before, size = database.read_bytes(), Database(database.read_bytes()).meta.page_size
    old = live(database)[b"/k/003"].kv.value
    replace(database, b"/k/003", old + b"!")
    pages = {offset // size for offset in changed(before, database.read_bytes())}
    assert pages == {before.index(b"003" + b"v" * 100) // size}
    assert judge.check(database) == "OK"


def test_a_leaf_that_outgrows_its_pages_goes_to_the_end_and_only_what_leads_there_changes(
    database: Path, judge: Judge
) -> None:
    before = database.read_bytes()
    metas, size = Database(before).metas, Database(before).meta.page_size
    replace(database, b"/k/003", b"n" * 20_000)
    after = database.read_bytes()
    high_water = max(meta.high_water for meta in metas)
    outside = {o for o in changed(before, after) if o < high_water * size}
    metas_bytes = {o for meta in metas for o in range(meta.content, meta.content + 64)}
    pointer = outside - metas_bytes
    assert outside & metas_bytes and pointer and max(pointer) - min(pointer) < 8, "one page id in the branch"
    assert [meta.txid for meta in Database(after).metas] == [meta.txid for meta in metas]
    assert all(meta.high_water > high_water for meta in Database(after).metas)
    assert judge.check(database) == "OK"


def sized(draw: st.DrawFn) -> bytes:
    around = st.sampled_from([0, 1, 120, 127, 128, 1000, 4000, 4096, 8192, 16384, 65536, 1_000_000])
    size = draw(st.one_of(st.integers(0, 9000), st.builds(lambda a, b: max(a + b, 0), around, st.integers(-40, 40))))
    return draw(st.binary(min_size=1, max_size=8)) * (size // 8) + b"." * (size % 8)


values = st.composite(sized)()
keys = st.sampled_from([b"/big", *(b"/k/%03d" % n for n in range(KEYS) if n % 10)])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(keys, values), min_size=1, max_size=4))
def test_whatever_the_sizes_the_edited_entries_hold_it_and_all_others_are_as_before(
    data_folder: Path, tmp_path: Path, judge: Judge, edits: list[tuple[bytes, bytes]]
) -> None:
    path = Path(shutil.copy(data_folder / DB, tmp_path / "db"))
    expected, before = entries(path), live(path)
    for key, value in edits:
        replace(path, key, value)
    after, now = live(path), entries(path)
    wanted = dict(edits)
    assert {key: each.kv for key, each in after.items()} == {
        key: each.kv._replace(value=wanted.get(key, each.kv.value)) for key, each in before.items()
    }
    revisions = {before[key].revision.packed() for key in wanted}
    for bucket, content in expected.items():
        assert [e for e in now[bucket] if e.key not in revisions] == [e for e in content if e.key not in revisions]
    assert judge.check(path) == "OK"


@pytest.mark.parametrize("size", [0, 1, 5, 400, 5000, 1_000_000])
def test_an_inline_bucket_grows_and_shrinks_too(small_database: Path, judge: Judge, size: int) -> None:
    expected, key = entries(small_database), live(small_database)[b"/b"].revision.packed()
    replace(small_database, b"/b", b"n" * size)
    assert live(small_database)[b"/b"].kv.value == b"n" * size
    now = entries(small_database)
    assert {b: [e for e in c if e.key != key] for b, c in now.items()} == {
        b: [e for e in c if e.key != key] for b, c in expected.items()
    }
    assert judge.check(small_database) == "OK"


def test_a_file_that_keeps_a_freelist_loses_it_when_a_leaf_moves_and_is_sound(
    database: Path, tmp_path: Path, judge: Judge
) -> None:
    kept = tmp_path / "kept"
    judge.compact(database, kept)
    assert judge.freelist(kept) != "<pgid=18446744073709551615>"
    replace(kept, b"/k/003", b"n" * 9)
    assert judge.freelist(kept) != "<pgid=18446744073709551615>", "nothing moved"
    replace(kept, b"/k/003", b"n" * 50_000)
    assert judge.freelist(kept) == "<pgid=18446744073709551615>"
    assert judge.check(kept) == "OK"
    assert live(kept)[b"/k/003"].kv.value == b"n" * 50_000


def test_etcd_starts_with_an_edited_file_serves_the_new_values_and_goes_on_writing(
    data_folder: Path, tmp_path: Path, judge: Judge
) -> None:
    data = tmp_path / "data"
    shutil.copytree(data_folder, data)
    new = {b"/k/003": b"n" * 70_000, b"/k/004": b"", b"/big": b"small", b"/k/001": b"\x00\xff"}
    for key, value in new.items():
        replace(data / DB, key, value)
    etcd = start_etcd(data, ("127.0.0.1", free_port()))
    try:
        with connected(etcd.address) as client:
            assert {key: client.get(key)[0] for key in new} == new
            for number in range(KEYS):
                client.put(f"/k/{number:03}", b"again")
    finally:
        etcd.process.terminate()
        etcd.process.wait(10)
    assert judge.check(data / DB) == "OK"
    assert {each.kv.value for key, each in live(data / DB).items() if key != b"/big"} == {b"again"}


def test_after_every_step_of_a_move_the_file_is_a_sound_database(database: Path, tmp_path: Path, judge: Judge) -> None:
    old = live(database)[b"/k/003"]
    data = bytearray(database.read_bytes())
    before = Database(bytes(data))
    value = before.get(b"key", old.revision.packed())
    assert value is not None
    steps = before.replacing(b"key", old.revision.packed(), value + b"n" * 30_000)
    assert len(steps) == 2 + len(before.metas)
    for step in steps:
        for write in step:
            data[len(data) :] = b"\0" * (write.offset - len(data))
            data[write.offset : write.offset + len(write.data)] = write.data
        (tmp_path / "now").write_bytes(data)
        assert judge.check(tmp_path / "now") == "OK"


def test_a_file_of_a_running_etcd_is_refused(tmp_path: Path) -> None:
    etcd = start_etcd(tmp_path / "data", ("127.0.0.1", free_port()))
    try:
        words = "locked by another process: .* while its etcd is stopped"
        with pytest.raises(HarnessError, match=words), opened(tmp_path / "data" / DB):
            pass
    finally:
        stop(etcd.process)


def test_the_file_is_locked_while_it_is_open_and_free_afterwards(database: Path) -> None:
    code = "import fcntl, sys; fcntl.flock(open(sys.argv[1], 'rb'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    command = [sys.executable, "-c", code, str(database)]
    with opened(database):
        assert subprocess.run(command, capture_output=True, check=False).returncode != 0
    with database.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def broken(path: Path, offset: int, data: bytes) -> Path:
    content = bytearray(path.read_bytes())
    content[offset : offset + len(data)] = data
    path.write_bytes(content)
    return path


def test_the_older_meta_page_counts_where_the_newer_one_is_broken(database: Path, judge: Judge) -> None:
    newer, older = Database(database.read_bytes()).metas
    broken(database, newer.content + 20, b"\xff")
    assert [meta.txid for meta in Database(database.read_bytes()).metas] == [older.txid]
    replace(database, b"/k/003", b"n" * 20_000)
    assert judge.check(database) == "OK"


def test_what_is_no_database_is_refused_in_words(database: Path, tmp_path: Path) -> None:
    good = database.read_bytes()
    metas = Database(good).metas

    def refused(words: str, content: bytes) -> None:
        path = tmp_path / "bad"
        path.write_bytes(content)
        with pytest.raises(CodecError, match=words) as caught, opened(path):
            pass
        assert str(path) in str(caught.value)

    refused("not a bbolt database: it is empty", b"")
    refused("not a bbolt database: it has 10 bytes", good[:10])
    refused("not a bbolt database: the magic number is 0x0", b"\0" * 8192)
    both = bytearray(good)
    for meta in metas:
        both[meta.content + 4] = 3
    refused("its format has version 3, this program knows 2", bytes(both))
    both = bytearray(good)
    for meta in metas:
        both[meta.content + 40] ^= 1
    refused("the checksum of its meta page is wrong", bytes(both))
    refused("beyond the database's .* pages or the file's", good[: 2 * metas[0].page_size])


def test_a_database_that_is_not_etcds_and_a_storage_version_of_tomorrow_are_refused(
    database: Path, small_database: Path, judge: Judge
) -> None:
    small_database.write_bytes(small_database.read_bytes().replace(b"3.6.0", b"4.0.0"))
    with pytest.raises(CodecError, match=r"storage version is 4\.0\.0, this program knows 3\."), opened(small_database):
        pass
    meta = Database(database.read_bytes()).meta
    broken(database, database.read_bytes().index(b"meta", meta.root * meta.page_size), b"metb")
    with pytest.raises(CodecError, match="not an etcd member's: it has no bucket meta"), opened(database):
        pass


def test_a_revision_or_a_file_that_is_not_there_is_refused(database: Path, tmp_path: Path) -> None:
    with opened(database) as member, pytest.raises(FaultError, match=r"has no revision 9999\.0"):
        member.replace(Revision(9999, 0, tombstone=False), b"")
    with pytest.raises(HarnessError, match="nosuch can't be opened: No such file"), opened(tmp_path / "nosuch"):
        pass


def test_pages_that_lead_in_a_circle_or_elsewhere_are_refused(database: Path) -> None:
    data = database.read_bytes()
    meta = Database(data).meta
    at = data.index(b"key", meta.root * meta.page_size) + len("key")
    (root,) = struct.unpack_from("<Q", data, at)
    (branch,) = branches(data[root * meta.page_size : (root + 1) * meta.page_size])[:1]

    def refused(words: str, offset: int, page_id: int) -> None:
        bad = bytearray(data)
        struct.pack_into("<Q", bad, offset, page_id)
        with pytest.raises(CodecError, match=words):
            list(Database(bytes(bad)).entries(b"key"))
        with pytest.raises(CodecError, match=words):
            Database(bytes(bad)).get(b"key", Revision(2, 0, tombstone=False).packed())

    refused("its pages lead in a circle", root * meta.page_size + branch.pointer, root)
    refused(f"page {meta.high_water} is beyond the database's {meta.high_water} pages", at, meta.high_water)
    refused("page 1 is beyond", at, 1)
