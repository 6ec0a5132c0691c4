"""The mailbox service on a real bus and a real store: a delivery happens once, what is stored can be told, and a deleted user leaves nothing behind."""
import os
import subprocess
import time

import pytest

from postbus_test.site import Site

ULID_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
MESSAGE = b"From: Alice <alice@alpha.test>\r\nTo: bob@beta.test\r\nSubject: Hello\r\nDate: Tue, 24 Nov 2026 09:41:17 +0000\r\nMessage-ID: <1@alpha.test>\r\n\r\nHi Bob\r\n"


def new_id():
    n = int(time.time() * 1000) << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join(ULID_LETTERS[n >> shift & 31] for shift in range(125, -1, -5))


def redis_bytes(site, *words):
    """A command whose last word is bytes."""
    return subprocess.run([*site.redis_cli, "-x", *map(str, words[:-1])], input=words[-1], capture_output=True, check=True).stdout


def write_blob(site, message, reference="q"):
    """A body as the queue holds it."""
    blob = new_id()
    packed = subprocess.run(["zstd", "-q", "-c", "--single-thread", "--no-check"], input=message, capture_output=True, check=True).stdout
    redis_bytes(site, "HSET", f"b:{{{blob}}}", "n", len(message), "r:" + reference, 1, "z", packed)
    return blob


USER = [new_id() for _ in range(10)]


@pytest.fixture(scope="module")
def mailbox(bare_site):
    return bare_site.start("mailbox")


def deliver(site, blob, user, rcpt="bob@beta.test", **more):
    return site.rpc("mailbox.deliver", id=blob, rcpt=rcpt, user=user, **{"from": "alice@alpha.test", "folder": "INBOX", **more})


def test_a_delivery_happens_once(mailbox):
    blob = write_blob(mailbox, MESSAGE)
    first, second = deliver(mailbox, blob, USER[1]), deliver(mailbox, blob, USER[1])
    assert first["duplicate"] is False and second["duplicate"] is True
    assert {k: first[k] for k in ("folder", "uid", "modseq")} == {k: second[k] for k in ("folder", "uid", "modseq")}
    stat = mailbox.rpc("mailbox.stat", user=USER[1])
    prefix = len("Return-Path: <alice@alpha.test>\r\nDelivered-To: bob@beta.test\r\n")
    assert stat["messages"] == 1 and stat["bytes"] == len(MESSAGE) + prefix
    assert [f["name"] for f in stat["folders"]] == ["INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"]
    assert mailbox.redis("HEXISTS", f"b:{{{blob}}}", f"r:u:{USER[1]}/bob@beta.test").strip() == "1"


def test_two_recipients_of_one_user_are_two_messages(mailbox):
    blob = write_blob(mailbox, MESSAGE)
    uids = {deliver(mailbox, blob, USER[2], rcpt)["uid"] for rcpt in ("bob@beta.test", "sales@beta.test")}
    assert uids == {1, 2}


def test_a_full_mailbox_refuses_and_holds_nothing(mailbox):
    mailbox.redis("FCALL", "mailbox_set_quota", 1, f"{{u:{USER[3]}}}", 100)
    blob = write_blob(mailbox, MESSAGE)
    assert deliver(mailbox, blob, USER[3])["error"]["code"] == "over_quota"
    assert sorted(mailbox.redis("HKEYS", f"b:{{{blob}}}").split()) == ["n", "r:q", "z"]


@pytest.fixture
def untapped():
    """A site whose bus is not held against the schemas: for requests that break them."""
    s = Site(tap=False)
    yield s.start("mailbox")
    s.end()


def test_wrong_requests_are_refused(untapped):
    mailbox = untapped
    blob = write_blob(mailbox, MESSAGE)
    assert deliver(mailbox, "not-an-id", USER[4])["error"]["code"] == "invalid"
    assert deliver(mailbox, blob, "no such/user")["error"]["code"] == "not_found"
    assert deliver(mailbox, blob, USER[4], rcpt="bob@beta.test\r\nX: y")["error"]["code"] == "invalid"
    assert deliver(mailbox, new_id(), USER[4])["error"]["code"] == "unavailable", "a body that cannot be read is never a reason to bounce"
    assert mailbox.rpc("mailbox.stat", user="")["error"]["code"] == "not_found"


def test_a_missing_folder_is_made(mailbox):
    blob = write_blob(mailbox, MESSAGE)
    assert deliver(mailbox, blob, USER[5], folder="Lists/Postbus")["folder"] == "Lists/Postbus"
    names = [f["name"] for f in mailbox.rpc("mailbox.stat", user=USER[5])["folders"]]
    assert "Lists" in names and "Lists/Postbus" in names


def test_a_deleted_user_leaves_nothing(mailbox):
    blobs = [write_blob(mailbox, MESSAGE) for _ in range(3)]
    for blob in blobs:
        deliver(mailbox, blob, USER[6])
        mailbox.redis("FCALL", "blob_release", 1, f"b:{{{blob}}}", "q")
        assert mailbox.redis("EXISTS", f"b:{{{blob}}}").strip() == "1"
    assert mailbox.rpc("mailbox.delete", user=USER[6]) == {}
    assert mailbox.redis("KEYS", f"{{u:{USER[6]}}}*").strip() == ""
    for blob in blobs:
        assert mailbox.redis("EXISTS", f"b:{{{blob}}}").strip() == "0"


def test_what_was_delivered_long_ago_is_forgotten(mailbox):
    user = USER[8]
    key = f"{{u:{user}}}"
    first = write_blob(mailbox, MESSAGE)
    deliver(mailbox, first, user)
    redis_bytes(mailbox, "HSET", key + ":d", first + "/bob@beta.test", bytes(20))  # its time: 1970
    for _ in range(16):
        deliver(mailbox, write_blob(mailbox, MESSAGE), user)
    assert mailbox.redis("HEXISTS", key + ":d", first + "/bob@beta.test").strip() == "0"
    assert mailbox.redis("HLEN", key + ":d") == mailbox.redis("LLEN", key + ":o") == "16\n"


def test_redis_away_is_temporary(mailbox):
    blob = write_blob(mailbox, MESSAGE)
    mailbox.stop("redis")
    try:
        started = time.monotonic()
        assert deliver(mailbox, blob, USER[7])["error"]["code"] == "unavailable"
        assert time.monotonic() - started < 5
    finally:
        mailbox.start_redis()
    deadline = time.monotonic() + 10
    while "error" in (answer := deliver(mailbox, blob, USER[7])) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert answer["uid"] == 1
