"""A quota set through the API is shown and enforced: by mailbox.stat, IMAP QUOTA (RFC 9208), APPEND, COPY and the SMTP reply. And with the store full, mail can be read and
deleted over IMAP, and what is deleted frees all that it held."""
import imaplib
import re
import smtplib
import ssl

import pytest

from postbus_test.dns import Knot
from postbus_test.ledger import unowned_of
from postbus_test.site import Site, wait_until

TLS = ssl._create_unverified_context()
PASSWORD = "correct horse 1"
BOB = "bob@alpha.test"
BIG = b"Subject: big\r\n\r\n" + b"x" * 60 * 1024 + b"\r\n"


@pytest.fixture(scope="module")
def site():
    knot = Knot({"load.test": '@ 60 IN TXT "v=spf1 ip4:127.0.0.1 -all"\n', "in-addr.arpa": "1.0.0.127 60 IN PTR ns.load.test.\n"})
    stubs = ",".join(f"{zone}={knot.address}" for zone in ("load.test", "in-addr.arpa"))
    s = Site("mx.alpha.test", {"POSTBUS_RESOLVER_STUBS": stubs, "POSTBUS_JANITOR_EVERY": "0"})
    s.start("accounts", "verifier", "mailbox", "smtpd", "imapd", "admin")
    s.add_account(BOB, PASSWORD)
    yield s
    s.end()
    knot.end()


@pytest.fixture
def imap(site):
    session = imaplib.IMAP4_SSL("127.0.0.1", site.ports["imaps"], ssl_context=TLS)
    session.login(BOB, PASSWORD)
    session.select("INBOX")
    yield session
    session.logout()


def reply(site, body):
    """What the front door answers at the end of a message."""
    with smtplib.SMTP("127.0.0.1", site.ports["smtp"], local_hostname="ns.load.test", timeout=20) as smtp:
        smtp.ehlo()
        smtp.mail("x@load.test")
        smtp.rcpt(BOB)
        return "%d %s" % (lambda code, text: (code, text.decode()))(*smtp.data(body))


def stat(site):
    return site.rpc("mailbox.stat", user=site.users[BOB])


def set_quota(site, quota):
    assert site.api("PATCH", f"/api/v1/accounts/{BOB}", {"quota_bytes": quota})[0] == 200
    wait_until("the mailbox service to know of it", lambda: stat(site)["quota_bytes"] == quota, 10)


def test_a_quota_of_100_kb_is_shown_and_enforced(site, imap):
    assert imap.append("INBOX", None, None, BIG)[0] == "OK"
    set_quota(site, 100 * 1024)
    used, limit = map(int, re.search(rb"STORAGE (\d+) (\d+)", imap.getquotaroot("INBOX")[1][1][0]).groups())
    assert (used, limit) == (61, 100)
    status, answer = imap.append("INBOX", None, None, BIG)
    assert status == "NO" and b"OVERQUOTA" in answer[0]
    status, answer = imap.copy("1", "Archive")
    assert status == "NO" and b"OVERQUOTA" in answer[0]
    lines = b"x" * 70 + b"\r\n"
    assert reply(site, b"Subject: small\r\n\r\n").startswith("250 ")
    assert reply(site, b"Subject: large\r\n\r\n" + lines * 900).startswith("552 5.2.2 ")
    assert stat(site)["messages"] == 2
    assert imap.store("1", "+FLAGS", r"(\Deleted)")[0] == "OK" and imap.expunge()[0] == "OK"
    assert imap.append("INBOX", None, None, BIG)[0] == "OK", "there is room again"
    set_quota(site, 0)
    assert imap.append("INBOX", None, None, BIG)[0] == "OK"


def test_with_the_store_full_mail_is_read_and_what_is_deleted_frees_everything(site, imap):
    for n in range(30):
        assert imap.append("INBOX", None, None, b"Subject: n%d\r\n\r\nbody\r\n" % n)[0] == "OK"
    site.redis("CONFIG", "SET", "maxmemory", 1)
    try:
        status, answer = imap.append("INBOX", None, None, BIG)
        assert status == "NO"
        assert reply(site, b"Subject: no room\r\n\r\n").startswith("452 4.3.1 ")
        imap.select("INBOX")
        fetched = imap.fetch("1:*", "(BODY.PEEK[])")[1]
        assert len([f for f in fetched if isinstance(f, tuple)]) >= 30
        assert imap.store("1:*", "+FLAGS.SILENT", r"(\Deleted)")[0] == "OK"
        assert imap.expunge()[0] == "OK"
        wait_until("all bodies to go", lambda: not site.redis("KEYS", "b:*").strip(), 10)
    finally:
        site.redis("CONFIG", "SET", "maxmemory", 0)
    assert stat(site)["messages"] == stat(site)["bytes"] == 0
    wait_until("every key to have its owner", lambda: not unowned_of(site), 10)
