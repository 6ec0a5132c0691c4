"""Quotas and deletions from accounts to the mailbox service and its users, all real."""
import imaplib
import ssl

import pytest

from postbus_test.site import wait_until

TLS = ssl._create_unverified_context()
PASSWORD = "correct horse 1"


@pytest.fixture(scope="module")
def world(bare_site):
    bare_site.start("accounts", "mailbox", "imapd")
    assert "error" not in bare_site.rpc("accounts.domain.add", domain="q.test")
    return bare_site


def session(site, who):
    s = imaplib.IMAP4_SSL("127.0.0.1", site.ports["imaps"], ssl_context=TLS)
    s.login(who, PASSWORD)
    return s


def test_a_quota_is_shown_and_enforced(world):
    user = world.rpc("accounts.account.add", address="ann@q.test", password=PASSWORD, quota_bytes=102400)["user"]
    imap = session(world, "ann@q.test")
    assert b"STORAGE 0 100" in imap.getquotaroot("INBOX")[1][1][0]
    assert imap.append("INBOX", None, None, b"Subject: x\r\n\r\n" + b"y" * 90000)[0] == "OK"
    kind, words = imap.append("INBOX", None, None, b"Subject: x\r\n\r\n" + b"y" * 90000)
    assert kind == "NO" and b"OVERQUOTA" in words[0]
    assert "error" not in world.rpc("accounts.account.set", address="ann@q.test", quota_bytes=0)
    assert imap.append("INBOX", None, None, b"Subject: x\r\n\r\n" + b"y" * 90000)[0] == "OK"
    assert "error" not in world.rpc("accounts.account.delete", address="ann@q.test")
    wait_until("no key but the tombstone", lambda: [k for k in world.redis("--scan", "--pattern", f"*{{u:{user}}}*").split() if not k.endswith(":gone")] == [])
    wait_until("no body", lambda: world.redis("--scan", "--pattern", "b:*").split() == [])
