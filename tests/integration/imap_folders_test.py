"""Folders of the IMAP server: subscriptions of names that come and go, deletion, copies that fail half-way, and what looking at many folders costs."""
import re

import pytest

from imap_faults_test import ANN, PASSWORD, Client
from postbus_test.site import Site, wait_until


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
    yield c
    c.close()


def test_a_subscription_outlives_its_folder(client):
    for name in ("kept", "kept/below", "dropped"):
        assert client.tagged(f"CREATE {name}").startswith(b"OK")
    assert client.tagged("SUBSCRIBE kept/below").startswith(b"OK")
    for name in ("kept/below", "dropped"):
        assert client.tagged(f"DELETE {name}").startswith(b"OK")
    told = client.untagged('LIST (SUBSCRIBED) "" "*"')
    assert b'(\\NonExistent \\Subscribed) "/" kept/below\r\n' in told and b"dropped" not in told
    assert b'"/" kept/below\r\n' in client.untagged('LSUB "" "*"')
    assert b"kept/below" not in client.untagged('LIST "" "*"')
    assert client.tagged("SELECT kept/below").startswith(b"NO") and client.tagged("STATUS kept/below (MESSAGES)").startswith(b"NO")
    assert client.tagged("CREATE kept/below").startswith(b"OK")
    assert re.search(rb'LIST \(\\HasNoChildren \\Subscribed\) "/" kept/below', client.untagged('LIST (SUBSCRIBED) "" "*"'))
    assert client.tagged("DELETE kept/below").startswith(b"OK")
    assert client.tagged("UNSUBSCRIBE kept/below").startswith(b"OK")
    assert b"kept/below" not in client.untagged('LSUB "" "*"')


def test_unsubscribing_a_name_that_was_renamed(client):
    client.tagged("CREATE before")
    client.tagged("SUBSCRIBE before")
    assert client.tagged("RENAME before after").startswith(b"OK")
    assert client.tagged("UNSUBSCRIBE before").startswith(b"OK") and client.tagged("UNSUBSCRIBE never-was").startswith(b"OK")
    assert client.tagged("SUBSCRIBE never-was").startswith(b"NO")


def test_lsub_with_percent_answers_the_parent(client):
    client.tagged("CREATE top/sub/leaf")
    for name in ("top", "top/sub"):
        client.tagged(f"UNSUBSCRIBE {name}")
    told = client.untagged('LSUB "" "%"')
    assert told.count(b'* LSUB (\\Noselect) "/" top\r\n') == 1 and b"sub" not in told
    assert b'* LSUB (\\Noselect) "/" top/sub\r\n' in client.untagged('LSUB "" "top/%"')
    everything = client.untagged('LSUB "" "*"')
    assert b"top/sub/leaf" in everything and b'"/" top\r\n' not in everything


def test_deleting_a_parent_says_why_not(client):
    client.tagged("CREATE parent/child")
    assert client.tagged("DELETE parent").startswith(b"NO [HASCHILDREN]")


def test_a_copy_that_fails_half_way_has_copied_nothing(client, site):
    client.tagged("CREATE From")
    client.tagged("CREATE To")
    for _ in range(330):
        client.append(b"Subject: 0123456789\r\n\r\n" + b"x" * 977, "From")
    assert client.tagged("SELECT From").startswith(b"OK")
    site.rpc("mailbox.quota", user=site.users[ANN], quota_bytes=(330 + 250) * 1000)  # each has 1,000
    try:
        assert client.tagged("COPY 1:* To").startswith(b"NO [OVERQUOTA]")
        assert b"(MESSAGES 0)" in client.untagged("STATUS To (MESSAGES)")
        assert client.tagged("COPY 1:200 To").startswith(b"OK")  # the room is there again
        assert b"(MESSAGES 200)" in client.untagged("STATUS To (MESSAGES)")
    finally:
        site.rpc("mailbox.quota", user=site.users[ANN], quota_bytes=0)


def test_a_copy_whose_server_was_killed_copies_once(site):  # RFC 9051 §6.4.7
    c = Client(site)
    c.tagged("CREATE Source")
    for _ in range(100):
        c.append(folder="Source")
    c.tagged("SELECT Source")
    for _ in range(5):
        assert c.tagged("COPY 1:* Source").startswith(b"OK")
    total = 3200
    key = f"{{u:{site.users[ANN]}}}"

    def copied(name):
        folder = site.redis("HGET", f"{key}:f", name).strip()
        return int(site.redis("HLEN", f"{key}:f:{folder}:m"))
    for attempt in range(10):
        target = f"Killed{attempt}"
        c.tagged(f"CREATE {target}")
        c.send(f"k COPY 1:* {target}")
        wait_until("a part is copied", lambda: copied(target) > 0)
        site.kill("imapd")
        site.start("imapd")
        c = Client(site, "Source")
        if copied(target) < total:
            break
    assert c.tagged(f"COPY 1:* {target}").startswith(b"OK")
    assert b"(MESSAGES %d)" % total in c.untagged(f"STATUS {target} (MESSAGES)")
    c.close()


def test_keywords_that_no_message_has_make_room(client):  # RFC 9051 §2.3.2, §7.1 LIMIT
    client.tagged("CREATE Words")
    client.append(folder="Words")
    client.append(folder="Words")
    client.tagged("SELECT Words")
    words = " ".join(f"w{i}" for i in range(56))
    assert client.tagged(f"STORE 1 +FLAGS ({words})").startswith(b"OK")
    assert client.tagged("STORE 2 +FLAGS (another)").startswith(b"NO [LIMIT]")
    client.tagged("STORE 1 -FLAGS (w3 w4)")
    told = client.untagged("STORE 2 +FLAGS (another)")
    assert b" w2 another w5 " in told and re.search(rb"\* 2 FETCH \(.*FLAGS \(\\Recent another\)\)", told)
    told = client.untagged("FETCH 1:2 (FLAGS)")
    assert b"* 2 FETCH (FLAGS (\\Recent another))" in told and b" w2 w5 " in told and b"w55" in told


def test_the_status_of_a_folder_reads_that_folder(client, site):
    for i in range(60):
        client.tagged(f"CREATE many/f{i}")

    def reads():
        return int(re.search(r"cmdstat_hmget:calls=(\d+)", site.redis("INFO", "commandstats")).group(1))
    before = reads()
    for i in range(60):
        assert b"MESSAGES 0" in client.untagged(f"STATUS many/f{i} (MESSAGES UNSEEN)")
    assert reads() - before <= 60 * 2 + 20


def test_events_of_reading_have_a_bound(client, site):
    client.tagged("CREATE Read")
    for _ in range(260):
        client.append(folder="Read")
    assert client.tagged("SELECT Read").startswith(b"OK")

    def events():
        return site.tap.seen.get("events/mail.fetched", 0)
    before = events()
    client.untagged("FETCH 1:* (BODY.PEEK[])")
    wait_until("the events", lambda: events() - before >= 200)
    client.tagged("NOOP")
    assert events() - before == 200
