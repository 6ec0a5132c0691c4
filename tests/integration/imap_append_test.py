"""MULTIAPPEND (RFC 3502) and REPLACE (RFC 8508): several messages or none; one in place of another in one step, also of the quota."""
import re

import pytest

from postbus_test.imap_client import ANN, PASSWORD, Client
from postbus_test.site import Site, wait_until

BOB = "bob@alpha.test"


@pytest.fixture(scope="module")
def site():
    s = Site("mx.alpha.test")
    s.start("accounts", "mailbox", "imapd")
    s.add_account(ANN, PASSWORD)
    yield s
    s.end()


@pytest.fixture
def client(site):
    c = Client(site)
    c.tagged("DELETE box")
    c.tagged("CREATE box")
    c.tagged("SELECT box")
    yield c
    c.close()


def literal(text):
    return b"{%d+}\r\n" % len(text) + text


def subjects(client):
    client.untagged("NOOP")
    return re.findall(rb"Subject: (\S+)", b"".join(client.command("FETCH 1:* BODY.PEEK[HEADER.FIELDS (Subject)]")))


def message(name, size=0):
    return b"Subject: " + name + b"\r\n\r\n" + b"x" * size + b"\r\n"


def test_several_messages_in_one_append(client):
    answer = client.command(b"APPEND box (\\Seen work) " + literal(message(b"a")) + b' "01-Feb-2026 10:00:00 +0000" ' + literal(message(b"b")) + b" (\\Flagged) \"02-Feb-2026 10:00:00 +0000\" "
                            + literal(message(b"c")))
    assert re.match(rb"OK \[APPENDUID \d+ 1:3\]", answer[-1]) and any(b"3 EXISTS" in line for line in answer)
    assert subjects(client) == [b"a", b"b", b"c"]
    told = client.untagged("FETCH 1:3 (FLAGS INTERNALDATE)").replace(b"\\Recent ", b"")  # a session of rev1
    assert rb"FLAGS (\Seen work)" in told and rb"FLAGS (\Flagged)" in told and b"01-Feb-2026" in told and b"02-Feb-2026" in told


@pytest.mark.parametrize("rest, answer", [
    (b" " + literal(b""), b"NO [CANNOT]"),  # §6.3.11: an empty one cancels all
    (b" (\\Seen)", b"BAD"), (b" x", b"BAD"), (b"  " + literal(b"x"), b"BAD"), (b" (\\Bad\\) " + literal(b"x"), b"BAD"), (b" ", b"BAD"),
])
def test_all_or_none(client, rest, answer):
    assert client.tagged(b"APPEND box " + literal(message(b"a")) + rest).startswith(answer)
    assert subjects(client) == []


def test_the_quota_counts_all_of_them(site):
    bob = site.add_account(BOB, PASSWORD, quota_bytes=3000)
    wait_until("the quota to be set", lambda: site.rpc("mailbox.stat", user=bob).get("quota_bytes") == 3000)
    c = Client(site)
    c.untagged("UNAUTHENTICATE")
    assert c.tagged(f'LOGIN {BOB} "{PASSWORD}"').startswith(b"OK")
    c.tagged("SELECT Drafts")
    big = literal(message(b"big", 2000))
    assert c.tagged(b"APPEND Drafts " + big + b" " + big).startswith(b"NO [OVERQUOTA]")
    assert subjects(c) == []
    assert c.tagged(b"APPEND Drafts " + big).startswith(b"OK") and c.tagged(b"APPEND Drafts " + big).startswith(b"NO [OVERQUOTA]")
    # RFC 8508 §3.4: only the difference counts
    assert c.tagged(b"REPLACE 1 Drafts " + literal(message(b"new", 2100))).startswith(b"OK") and subjects(c) == [b"new"]
    assert c.tagged(b"REPLACE 1 Drafts " + literal(message(b"huge", 3100))).startswith(b"NO [OVERQUOTA]") and subjects(c) == [b"new"]
    c.close()


def test_no_more_than_a_hundred(client):
    one = b" " + literal(message(b"m"))
    assert client.tagged(b"APPEND box" + one * 101).startswith(b"NO [LIMIT]") and subjects(client) == []
    assert client.tagged(b"APPEND box" + one * 100).startswith(b"OK") and len(subjects(client)) == 100


def test_no_such_mailbox(client):
    assert client.tagged(b"APPEND nowhere " + literal(b"x") + b" " + literal(b"y")).startswith(b"NO [TRYCREATE]")
    client.append(message(b"a"), "box")
    assert client.tagged(b"REPLACE 1 nowhere " + literal(b"x")).startswith(b"NO [TRYCREATE]") and subjects(client) == [b"a"]


@pytest.mark.parametrize("by_uid", [False, True])
def test_replace(client, by_uid):  # RFC 8508 §3.2, §3.3, §4.3
    for name in (b"a", b"b", b"c"):
        client.append(message(name), "box")
    client.untagged("NOOP")
    answer = client.command((b"UID " if by_uid else b"") + b"REPLACE 2 box (\\Seen \\Draft) " + literal(message(b"new")))
    lines = b"".join(answer[:-1])
    assert answer[-1].startswith(b"OK") and re.match(rb"\* OK \[APPENDUID \d+ 4\]", answer[0]) and b"* 2 EXPUNGE" in lines and b"EXISTS" in lines
    assert subjects(client) == [b"a", b"c", b"new"]
    assert rb"FLAGS (\Seen \Draft)" in client.untagged("FETCH 3 FLAGS").replace(b"\\Recent ", b"")


def test_replace_into_another_folder(site, client):
    client.append(message(b"draft"), "box")
    client.untagged("NOOP")
    assert client.tagged(b"REPLACE * Sent (\\Seen) " + literal(message(b"sent"))).startswith(b"OK") and subjects(client) == []
    other = Client(site, "Sent")
    assert subjects(other)[-1:] == [b"sent"]
    other.close()


def test_replace_of_what_another_session_removed(site, client):
    client.append(message(b"a"), "box")
    client.untagged("NOOP")
    other = Client(site, "box")
    other.untagged(r"STORE 1 +FLAGS (\Deleted)")
    other.untagged("EXPUNGE")
    assert client.tagged(b"REPLACE 1 box " + literal(message(b"b"))).startswith(b"NO ")
    other.untagged("NOOP")
    assert subjects(other) == []
    other.close()


@pytest.mark.parametrize("command, answer", [
    (b"REPLACE", b"BAD"), (b"REPLACE 1", b"BAD"), (b"REPLACE 1 box", b"BAD"), (b"REPLACE 0 box " + literal(b"x"), b"BAD"), (b"REPLACE 2 box " + literal(b"x"), b"BAD No such message"),
    (b"REPLACE 1:2 box " + literal(b"x"), b"BAD"), (b"REPLACE $ box " + literal(b"x"), b"BAD"), (b"REPLACE 1 box " + literal(b"x") + b" " + literal(b"y"), b"BAD"),
    (b"UID REPLACE 99 box " + literal(b"x"), b"NO [NONEXISTENT]"), (b"REPLACE 1 box " + literal(b""), b"NO [CANNOT]"),
])
def test_bad_replaces(client, command, answer):
    client.append(message(b"a"), "box")
    client.untagged("NOOP")
    assert client.tagged(command).startswith(answer) and subjects(client) == [b"a"]


def test_replace_needs_a_writable_folder(client):
    client.append(message(b"a"), "box")
    client.tagged("EXAMINE box")
    assert client.tagged(b"REPLACE 1 box " + literal(message(b"b"))).startswith(b"NO [READ-ONLY]")
    client.tagged("UNSELECT")
    assert client.tagged(b"REPLACE 1 box " + literal(message(b"b"))).startswith(b"BAD")


def test_a_large_message_replaces_another(client):
    client.append(message(b"a"), "box")
    client.untagged("NOOP")
    assert client.tagged(b"UID REPLACE 1 box " + literal(message(b"large", 3_000_000))).startswith(b"OK")
    assert b"RFC822.SIZE 3000020" in client.untagged("FETCH 1 RFC822.SIZE")
