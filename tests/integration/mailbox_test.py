"""The mailbox service on a real bus and a real store: a delivery happens once, what is stored can be told, and a deleted user leaves nothing behind."""
import base64
import itertools
import json
import os
import signal
import struct
import subprocess
import time

import pytest

from postbus_test.site import Site, wait_until

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


USER = [new_id() for _ in range(30)]


@pytest.fixture(scope="module")
def mailbox(bare_site):
    return bare_site.start("mailbox")


def listing(**columns):
    """What mailbox_listing_build makes; a column that is not given is computed later."""
    return base64.b64encode(b"".join(letter.encode() + struct.pack("<I", len(columns.get(letter, b""))) + columns.get(letter, b"") for letter in "eshkw")).decode()


LISTING = listing(e=b'(NIL "Hello" NIL NIL NIL NIL NIL NIL NIL NIL)', s=b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 8 1 NIL NIL NIL NIL)', h=b"Subject: Hello\r\n")
attempts = (f"t{n}" for n in itertools.count(1))


def message(blob, *rcpts, **more):
    """One message of a request; rcpts: (user, address)."""
    return {"id": blob, "from": "alice@alpha.test", "folder": "", "size": len(MESSAGE), "date": 1764000000, "attempt": next(attempts), "held": False,
            "rcpts": [{"user": user, "rcpt": rcpt} for user, rcpt in rcpts], **more}


def deliver(site, blob, user, rcpt="bob@beta.test", **more):
    """The outcome of one recipient of one message."""
    answer = site.rpc("mailbox.deliver", messages=[message(blob, (user, rcpt), **more)])
    return answer["messages"][0]["rcpts"][0] if "messages" in answer else answer


def references(site, blob):
    return sorted(field[2:] for field in site.redis("HKEYS", f"b:{{{blob}}}").split() if field.startswith("r:"))


def hold(site, blob, user, rcpt, attempt):
    site.redis("HSET", f"b:{{{blob}}}", f"r:u:{user}/{rcpt}/{attempt}", 1)


def test_a_delivery_happens_once(mailbox):
    blob = write_blob(mailbox, MESSAGE)
    first, second = deliver(mailbox, blob, USER[1], attempt="one"), deliver(mailbox, blob, USER[1], attempt="two")
    assert first == {"result": "delivered", "folder": "INBOX", "uid": 1, "modseq": first["modseq"], "duplicate": False}
    assert second == {**first, "duplicate": True}
    stat = mailbox.rpc("mailbox.stat", user=USER[1])
    prefix = len("Return-Path: <alice@alpha.test>\r\nDelivered-To: bob@beta.test\r\n")
    assert stat["messages"] == 1 and stat["bytes"] == len(MESSAGE) + prefix
    assert [f["name"] for f in stat["folders"]] == ["INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"]
    assert f"u:{USER[1]}/bob@beta.test/one" in references(mailbox, blob)


def test_a_prefix_is_before_the_body_of_each_recipient(mailbox):
    """The header fields of a message whose body was written while it was verified."""
    blob, prefix = write_blob(mailbox, MESSAGE), "Received: by mx\r\n\tfor <bob@beta.test>\r\n"
    assert deliver(mailbox, blob, USER[26], prefix=prefix)["result"] == "delivered"
    own = len("Return-Path: <alice@alpha.test>\r\nDelivered-To: bob@beta.test\r\n")
    assert mailbox.rpc("mailbox.stat", user=USER[26])["bytes"] == own + len(prefix) + len(MESSAGE)


@pytest.mark.parametrize("prefix", ["Received: x", "Received: x\r\n\r\n", " folded\r\n", "\r\n", "X: " + "x" * 16384 + "\r\n"])
def test_what_cannot_stand_in_a_header_is_no_prefix(mailbox, prefix):
    assert deliver(mailbox, write_blob(mailbox, MESSAGE), USER[27], prefix=prefix)["result"] == "invalid"


def test_two_recipients_of_one_user_are_two_messages(mailbox):
    blob = write_blob(mailbox, MESSAGE)
    uids = {deliver(mailbox, blob, USER[2], rcpt)["uid"] for rcpt in ("bob@beta.test", "sales@beta.test")}
    assert uids == {1, 2}


def test_many_messages_and_recipients_in_one_request(mailbox):
    """Each recipient has its own outcome, in order, and each user hears of it once."""
    heard = []
    mailbox.nats.subscribe("postbus.mailbox.changed.>", lambda subject, reply, body: heard.append(json.loads(body)["data"]))
    mailbox.nats.flush()
    one, two, lost = write_blob(mailbox, MESSAGE), write_blob(mailbox, MESSAGE), new_id()
    mailbox.rpc("mailbox.quota", user=USER[12], quota_bytes=10)
    many = [(USER[10], f"r{n}@beta.test") for n in range(70)]
    answer = mailbox.rpc("mailbox.deliver", messages=[
        message(one, (USER[10], "a@beta.test"), (USER[11], "b@beta.test"), (USER[12], "full@beta.test"), (USER[10], "c@beta.test")),
        message(two, *many, (USER[11], "b@beta.test"), folder="Junk"),
        message(lost, (USER[10], "a@beta.test")),
    ])
    assert [m["id"] for m in answer["messages"]] == [one, two, lost]
    first, second, third = (m["rcpts"] for m in answer["messages"])
    assert [r["result"] for r in first] == ["delivered", "delivered", "over_quota", "delivered"]
    assert (first[0]["uid"], first[3]["uid"], first[1]["uid"]) == (1, 2, 1)
    assert [(r["result"], r["folder"], r["uid"]) for r in second] == [("delivered", "Junk", n + 1) for n in range(70)] + [("delivered", "Junk", 1)]
    assert third[0]["result"] == "unavailable", "a body that cannot be read is never a reason to bounce"
    assert f"u:{USER[12]}/full@beta.test" not in "".join(references(mailbox, one))
    assert len(references(mailbox, two)) == 1 + 71
    mailbox.nats.flush()
    wait_until("the news", lambda: len(heard) >= 4, 10)
    mailbox.nats.flush()
    told = [(h["user"], h["folder"]) for h in heard]
    assert len(told) == len(set(told)) == 4, "one for each user and folder"
    assert max(h["modseq"] for h in heard if h["user"] == USER[10]) == max(r["modseq"] for r in second[:70])


def test_an_asker_that_holds_the_body_is_not_read_again(mailbox):
    blob = write_blob(mailbox, MESSAGE)
    hold(mailbox, blob, USER[13], "bob@beta.test", "one")
    assert deliver(mailbox, blob, USER[13], attempt="one", held=True, listing_b64=LISTING, size=4711)["uid"] == 1
    assert mailbox.rpc("mailbox.stat", user=USER[13])["bytes"] > 4711, "the size is taken from the asker, since the body is not read"
    assert references(mailbox, blob) == ["q", f"u:{USER[13]}/bob@beta.test/one"]
    # A listing that is damaged or missing is worked out from the body.
    for number, bad in enumerate(({"listing_b64": "AAAA"}, {"listing_b64": "!"}, {})):
        hold(mailbox, blob, USER[13], f"r{number}@beta.test", "one")
        assert deliver(mailbox, blob, USER[13], f"r{number}@beta.test", attempt="one", held=True, **bad)["result"] == "delivered"
    # Refusals release the asker's reference.
    mailbox.rpc("mailbox.quota", user=USER[13], quota_bytes=100)
    hold(mailbox, blob, USER[13], "late@beta.test", "one")
    assert deliver(mailbox, blob, USER[13], "late@beta.test", attempt="one", held=True, listing_b64=LISTING)["result"] == "over_quota"
    hold(mailbox, blob, "nobody", "late@beta.test", "one")
    assert deliver(mailbox, blob, "nobody", "late@beta.test", attempt="one", held=True, listing_b64=LISTING)["result"] == "not_found"
    wait_until("their release", lambda: not [r for r in references(mailbox, blob) if "late" in r], 10)


def test_a_quota_is_enforced_and_shown(mailbox):
    user = USER[3]
    assert mailbox.rpc("mailbox.quota", user=user, quota_bytes=100 * 1024) == {}
    big = MESSAGE + b"x" * (60 * 1024) + b"\r\n"
    first, second = write_blob(mailbox, big), write_blob(mailbox, big)
    assert deliver(mailbox, first, user)["result"] == "delivered"
    refused = deliver(mailbox, second, user)
    assert refused == {"result": "over_quota", "message": "the mailbox is full"}
    wait_until("the release", lambda: references(mailbox, second) == ["q"], 10)
    stat = mailbox.rpc("mailbox.stat", user=user)
    assert stat["quota_bytes"] == 100 * 1024 and stat["messages"] == 1 and stat["bytes"] < 100 * 1024
    assert deliver(mailbox, first, user)["duplicate"] is True, "what was delivered before stays so"
    assert mailbox.rpc("mailbox.quota", user=user, quota_bytes=0) == {}
    assert deliver(mailbox, second, user)["result"] == "delivered"


@pytest.fixture
def untapped():
    """A site whose bus is not held against the schemas: for requests that break them."""
    s = Site(tap=False)
    yield s.start("mailbox")
    s.end()


def test_wrong_requests_are_refused(untapped):
    mailbox = untapped
    blob = write_blob(mailbox, MESSAGE)
    assert deliver(mailbox, "not-an-id", USER[4])["result"] == "invalid"
    assert deliver(mailbox, blob, USER[4], attempt="a/b")["result"] == "invalid"
    assert deliver(mailbox, blob, USER[4], attempt="")["result"] == "invalid"
    assert deliver(mailbox, blob, "no such/user")["result"] == "not_found"
    assert deliver(mailbox, blob, USER[4], rcpt="bob@beta.test\r\nX: y")["result"] == "invalid"
    assert deliver(mailbox, new_id(), USER[4])["result"] == "unavailable", "a body that cannot be read is never a reason to bounce"
    assert deliver(mailbox, blob, USER[4], size=2**63)["result"] == "delivered", "a size that cannot be does no harm"
    assert mailbox.rpc("mailbox.stat", user="")["error"]["code"] == "not_found"
    assert mailbox.rpc("mailbox.quota", user=USER[4], quota_bytes=-1)["error"]["code"] == "invalid"
    for ask in ({}, {"messages": []}, {"messages": [message(blob)]}, {"messages": [message(blob, (USER[4], "a@b"))] * 65}, {"messages": [message(blob, *[(USER[4], "a@b")] * 1001)]},
                {"messages": [message(blob, (USER[4], "a@b"), held=True, listing_b64="A" * 720 * 1024)]}):
        assert mailbox.rpc("mailbox.deliver", **ask)["error"]["code"] == "invalid"


def test_a_missing_folder_is_made(mailbox):
    blob = write_blob(mailbox, MESSAGE)
    assert deliver(mailbox, blob, USER[5], folder="Lists/Postbus")["folder"] == "Lists/Postbus"
    names = [f["name"] for f in mailbox.rpc("mailbox.stat", user=USER[5])["folders"]]
    assert "Lists" in names and "Lists/Postbus" in names


def test_a_deleted_user_leaves_nothing_and_never_comes_back(mailbox):
    user = USER[6]
    key = f"{{u:{user}}}"
    blobs = [write_blob(mailbox, MESSAGE) for _ in range(3)]
    for blob in blobs:
        deliver(mailbox, blob, user)
        mailbox.redis("FCALL", "blob_release", 1, f"b:{{{blob}}}", "q")
        assert mailbox.redis("EXISTS", f"b:{{{blob}}}").strip() == "1"
    assert mailbox.rpc("mailbox.delete", user=user) == {}
    assert mailbox.redis("KEYS", key + "*").split() == [key + ":gone"]
    for blob in blobs:
        assert mailbox.redis("EXISTS", f"b:{{{blob}}}").strip() == "0"
    # Mail that was queued meanwhile.
    late = write_blob(mailbox, MESSAGE)
    assert deliver(mailbox, late, user)["result"] == "not_found"
    assert mailbox.rpc("mailbox.stat", user=user)["error"]["code"] == "not_found"
    assert mailbox.rpc("mailbox.quota", user=user, quota_bytes=5)["error"]["code"] == "not_found"
    assert mailbox.rpc("mailbox.delete", user=user) == {}
    wait_until("the release of the late one", lambda: references(mailbox, late) == ["q"], 10)
    assert mailbox.redis("KEYS", key + "*").split() == [key + ":gone"]


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


def test_a_worker_takes_no_more_requests_than_it_has_room_for(mailbox):
    """While the store does not answer: 32 MB of requests wait, the others are told so at once; those that wait are all done later."""
    blob, answers = write_blob(mailbox, MESSAGE), []
    ask = {"messages": [message(blob, (USER[15], f"r{n}@beta.test"), held=True, listing_b64="A" * (680 * 1024)) for n in range(1)]}
    mailbox.nats.subscribe("_INBOX.test.room.*", lambda subject, reply, body: answers.append(json.loads(body)))
    os.kill(mailbox.processes["redis"].pid, signal.SIGSTOP)
    try:
        for n in range(60):
            ask["messages"][0]["rcpts"][0]["rcpt"] = f"r{n}@beta.test"
            mailbox.nats.publish("postbus.rpc.mailbox.deliver", ask, f"_INBOX.test.room.{n}")
        wait_until("those without room", lambda: len(answers) >= 60 - 32 * 1024 // 680 - 1, 8)
        assert all(a["error"]["code"] == "busy" for a in answers) and len(answers) < 20
    finally:
        os.kill(mailbox.processes["redis"].pid, signal.SIGCONT)
    wait_until("the others", lambda: len(answers) == 60, 20)
    done = [a["messages"][0]["rcpts"][0]["result"] for a in answers if "messages" in a]
    assert done == ["delivered"] * len(done) and len(done) > 40
    assert mailbox.rpc("mailbox.stat", user=USER[15])["messages"] == len(done)


def test_a_full_store_says_so(mailbox):
    blob = write_blob(mailbox, MESSAGE)
    deliver(mailbox, blob, USER[14])
    mailbox.redis("CONFIG", "SET", "maxmemory", 1)
    try:
        assert deliver(mailbox, blob, USER[14], "other@beta.test")["result"] == "full"
        assert mailbox.rpc("mailbox.delete", user=USER[14]) == {}, "deleting works all the same"
    finally:
        mailbox.redis("CONFIG", "SET", "maxmemory", 0)
    wait_until("the release", lambda: references(mailbox, blob) == ["q"], 10)


def test_redis_away_is_temporary(mailbox):
    blob = write_blob(mailbox, MESSAGE)
    mailbox.stop("redis")
    try:
        started = time.monotonic()
        assert deliver(mailbox, blob, USER[7])["result"] == "unavailable"
        assert time.monotonic() - started < 5
    finally:
        mailbox.start_redis()
    deadline = time.monotonic() + 10
    while (answer := deliver(mailbox, blob, USER[7]))["result"] != "delivered" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert answer["uid"] == 1
