"""Ids of folders, messages and threads (OBJECTID), and the time at which a message was saved (SAVEDATE)."""
import re
import time

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


def mailbox_id(text):
    return re.search(rb"MAILBOXID \((F[A-Za-z0-9_-]{1,254})\)", text).group(1)


def test_ids_of_folders_and_messages(site):
    """RFC 8474: an id stays when its folder is renamed, is never used again, and a copy has the EMAILID of its source."""
    c = Client(site)
    created = mailbox_id(c.tagged("CREATE One"))
    assert created == mailbox_id(c.untagged("SELECT One")) == mailbox_id(c.untagged("EXAMINE One")) == mailbox_id(c.untagged("STATUS One (MAILBOXID)"))
    assert c.untagged("STATUS One (MESSAGES MAILBOXID)") == b"* STATUS One (MESSAGES 0 MAILBOXID (%s))\r\n" % created
    assert created in c.untagged('LIST "" One RETURN (STATUS (MAILBOXID))')
    c.untagged("RENAME One Two")
    assert mailbox_id(c.untagged("STATUS Two (MAILBOXID)")) == created
    c.untagged("UNSELECT")
    c.untagged("DELETE Two")
    again = mailbox_id(c.tagged("CREATE Two"))
    assert again != created and again != mailbox_id(c.untagged("STATUS INBOX (MAILBOXID)"))

    first = c.append(b"Message-ID: <a@alpha.test>\r\nSubject: x\r\n\r\nhello\r\n", "Two")
    reply = c.append(b"Message-ID: <b@alpha.test>\r\nIn-Reply-To: <a@alpha.test>\r\nSubject: Re: x\r\n\r\nhello\r\n", "Two")
    other = c.append(b"Message-ID: <c@alpha.test>\r\nSubject: y\r\n\r\nhello\r\n", "Two")
    c.untagged("SELECT Two")
    email = dict((int(uid), one) for uid, one in re.findall(rb"UID (\d+) EMAILID \(([^)]+)\)", c.untagged("UID FETCH 1:* EMAILID")))
    thread = dict((int(uid), one) for uid, one in re.findall(rb"UID (\d+) THREADID \(([^)]+)\)", c.untagged("UID FETCH 1:* THREADID")))
    assert len(set(email.values())) == 3 and thread[first] == thread[reply] != thread[other]
    c.untagged(f"UID COPY {other} Two")
    copy = other + 1
    assert c.untagged(b"UID SEARCH EMAILID " + email[other]) == b"* SEARCH %d %d\r\n" % (other, copy)
    assert c.untagged(b"UID SEARCH THREADID " + thread[first]) == b"* SEARCH %d %d\r\n" % (first, reply)
    assert c.untagged(b"UID SEARCH NOT EMAILID " + email[first] + b" THREADID " + thread[first]) == b"* SEARCH %d\r\n" % reply
    assert c.untagged("UID SEARCH EMAILID M00000001") == c.untagged("UID SEARCH THREADID Tx") == b"* SEARCH\r\n"
    assert c.tagged("SEARCH EMAILID").startswith(b"BAD") and c.tagged('SEARCH EMAILID ""').startswith(b"BAD")
    c.close()


def test_search_by_save_date(site):
    """RFC 8514 §4.3: the day on which a message came into this folder, whatever its internal date is."""
    c = Client(site)
    c.untagged("CREATE Saved")
    message = b"Subject: old\r\n\r\nhello\r\n"
    assert c.tagged(b'APPEND Saved "01-Feb-2003 10:00:00 +0000" {%d+}\r\n' % len(message) + message).startswith(b"OK")
    c.untagged("SELECT Saved")
    saved = re.search(rb'SAVEDATE "([ \d]\d-\w+-\d{4})', c.untagged("FETCH 1 SAVEDATE")).group(1).strip().decode()
    before = time.strftime("%d-%b-%Y", time.gmtime(time.mktime(time.strptime(saved, "%d-%b-%Y")) - 36 * 3600))
    found, none = b"* SEARCH 1\r\n", b"* SEARCH\r\n"
    assert [c.untagged(f"SEARCH SAVEDON {saved}"), c.untagged(f"SEARCH SAVEDSINCE {saved}"), c.untagged(f"SEARCH SAVEDBEFORE {saved}")] == [found, found, none]
    assert [c.untagged(f"SEARCH SAVEDON {before}"), c.untagged(f"SEARCH SAVEDSINCE {before}"), c.untagged("SEARCH SAVEDBEFORE 1-Jan-2100")] == [none, found, found]
    assert c.untagged("SEARCH ON 1-Feb-2003 SAVEDATESUPPORTED") == found and c.untagged("SEARCH NOT SAVEDATESUPPORTED") == none
    assert c.tagged("SEARCH SAVEDON yesterday").startswith(b"BAD")
    c.close()
