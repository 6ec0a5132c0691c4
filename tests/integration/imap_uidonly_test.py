"""UIDONLY (RFC 9586): a session in which messages have uids, and no numbers."""
import re

import pytest

from postbus_test.imap_client import ANN, PASSWORD, Client
from postbus_test.site import Site


@pytest.fixture(scope="module")
def site():
    s = Site("mx.alpha.test")
    s.start("accounts", "mailbox", "imapd")
    s.add_account(ANN, PASSWORD)
    yield s
    s.end()


def test_no_response_has_a_message_number(site):
    c, other = Client(site), Client(site)
    assert b"UIDONLY" in c.untagged("ENABLE UIDONLY IMAP4rev2")
    other.untagged("CREATE Uids")
    uids = [other.append(folder="Uids") for _ in range(4)]
    selected = c.untagged("SELECT Uids")
    assert b"* 4 EXISTS" in selected and b"UNSEEN" not in selected
    other.untagged("SELECT Uids")
    assert c.untagged("UID FETCH 1:* FLAGS").count(b"UIDFETCH (FLAGS (") == 4
    assert c.untagged(f"UID FETCH {uids[1]} (UID RFC822.SIZE)").startswith(b"* %d UIDFETCH (UID %d RFC822.SIZE" % (uids[1], uids[1]))
    assert c.untagged(f"UID STORE {uids[1]} +FLAGS (\\Seen)") == b"* %d UIDFETCH (FLAGS (\\Seen))\r\n" % uids[1]
    c.idle()
    other.untagged(f"UID STORE {uids[0]} +FLAGS.SILENT (\\Deleted)")
    told = c.until(b"* %d UIDFETCH (FLAGS (\\Deleted))" % uids[0])
    other.untagged("EXPUNGE")
    told += c.until(b"* VANISHED %d\r\n" % uids[0])
    told += c.done()
    assert not re.search(rb"\* \d+ (FETCH|EXPUNGE)", b"".join(told))
    c.untagged(f"UID STORE {uids[1]} +FLAGS.SILENT (\\Deleted)")
    assert c.untagged("EXPUNGE") == b"* VANISHED %d\r\n" % uids[1]
    assert c.untagged("UID SEARCH RETURN (ALL) ALL").endswith(b" UID ALL %d:%d\r\n" % (uids[2], uids[3]))
    c.close()
    other.close()


@pytest.mark.parametrize("command", ["FETCH 1 FLAGS", "STORE 1 +FLAGS (\\Seen)", "SEARCH ALL", "COPY 1 INBOX", "MOVE 1 Junk", "UID SEARCH 1:2", "UID SEARCH NOT (OR 1 SEEN)",
                                     "SORT (ARRIVAL) UTF-8 ALL", "THREAD REFS UTF-8 ALL"])
def test_message_numbers_are_refused(site, command):
    c = Client(site, "INBOX")
    c.append()
    c.untagged("NOOP")
    assert b"UIDREQUIRED" not in c.tagged(command)
    c.untagged("ENABLE UIDONLY")
    assert c.tagged(command).startswith(b"BAD [UIDREQUIRED]")
    c.close()


def test_numbers_of_qresync_are_refused(site):
    c = Client(site)
    c.untagged("ENABLE UIDONLY QRESYNC")
    validity = re.search(rb"UIDVALIDITY (\d+)", c.untagged("SELECT INBOX")).group(1).decode()
    assert c.tagged(f"SELECT INBOX (QRESYNC ({validity} 1 1:9 (1,2 1,2)))").startswith(b"BAD [UIDREQUIRED]")
    assert c.tagged("UID SEARCH ALL").startswith(b"OK")
    assert b"UIDFETCH" in c.untagged(f"SELECT INBOX (QRESYNC ({validity} 1 1:9))")
    c.close()
