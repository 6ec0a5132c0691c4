"""Results of searches that are kept up to date: CONTEXT=SEARCH and CONTEXT=SORT (RFC 5267 §4)."""
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


@pytest.fixture
def pair(site):
    """Two sessions of one folder with four messages of the subjects d, b, c, a."""
    first = Client(site)
    name = f"T{time.monotonic_ns()}"
    first.untagged(f"CREATE {name}")
    for letter in "dbca":
        first.append(f"Subject: {letter}\r\n\r\nbody {letter}\r\n".encode(), name)
    second = Client(site, name)
    first.untagged(f"SELECT {name}")
    first.folder = name
    yield first, second
    first.close()
    second.close()


def updates(text):
    """[(tag, "UID" or "", the changes)]"""
    return [(tag.decode(), uid.decode().strip(), data.decode()) for tag, uid, data in re.findall(rb'\* ESEARCH \(TAG "(\w+)"\)( UID)? ((?:ADDTO|REMOVEFROM)[^\r]*)\r\n', text)]


def tell(c):
    return updates(c.untagged("NOOP"))


@pytest.mark.parametrize("uid", ["", "UID "])
def test_changes_of_a_search_are_told(pair, uid):
    c, other = pair
    answer = c.command(f"{uid}SEARCH RETURN (UPDATE COUNT) FLAGGED")
    assert b"COUNT 0\r\n" in answer[0] and answer[-1].startswith(b"OK")
    tag, word = f"t{c.count}", uid.strip()
    other.untagged("STORE 2:3 +FLAGS (\\Flagged)")
    assert tell(c) == [(tag, word, "ADDTO (0 2:3)")]
    assert tell(c) == []
    other.untagged("STORE 3 -FLAGS (\\Flagged)")
    other.append(folder=c.folder, flags="\\Flagged")
    assert tell(c) == [(tag, word, "REMOVEFROM (0 3) ADDTO (0 5)")]
    other.untagged("STORE 1,2 +FLAGS.SILENT (\\Deleted)")
    other.untagged("EXPUNGE")
    told = c.untagged("NOOP")
    assert updates(told) == [(tag, word, "REMOVEFROM (0 2)")]
    assert told.index(b"REMOVEFROM") < told.index(b"EXPUNGE")  # the numbers are valid until then (§4.3.4)
    assert updates(c.untagged("STORE 1 +FLAGS (\\Flagged)")) == [(tag, word, f"ADDTO (0 {3 if uid else 1})")]  # the session's own change


def test_a_message_that_is_new_is_told_after_its_exists(pair):
    c, other = pair
    c.untagged("SEARCH RETURN (UPDATE) OR SUBJECT e BODY f")
    c.idle()
    other.append(b"Subject: e\r\n\r\nx\r\n", c.folder)
    told = b"".join(c.until(b"* ESEARCH"))
    assert told.index(b"5 EXISTS") < told.index(b"ADDTO (0 5)")
    other.append(b"Subject: x\r\n\r\nf\r\n", c.folder)
    assert b"ADDTO (0 6)" in b"".join(c.until(b"* ESEARCH"))
    other.append(b"Subject: x\r\n\r\ny\r\n", c.folder)
    c.until(b"* 7 EXISTS")
    assert updates(b"".join(c.done())) == []


def test_numbers_are_those_of_the_command(pair):
    """§4.3: a sequence number of the search keys means the message that had it when the command came."""
    c, other = pair
    c.untagged("UID SEARCH RETURN (UPDATE) 2:* SEEN")
    other.untagged("STORE 1 +FLAGS.SILENT (\\Deleted)")
    other.untagged("EXPUNGE")
    other.append(folder=c.folder, flags="\\Seen")
    other.untagged("UID STORE 2 +FLAGS (\\Seen)")
    assert [x[2] for x in tell(c)] == ["ADDTO (0 2)"]


def test_changes_of_a_sort_are_told(pair):
    c, other = pair
    answer = c.command("UID SORT RETURN (UPDATE ALL) (SUBJECT) UTF-8 UNDELETED")
    assert b"ALL 4,2:3,1\r\n" in answer[0]
    tag = f"t{c.count}"
    other.append(b"Subject: bb\r\n\r\nx\r\n", c.folder)
    other.append(b"Subject: z\r\n\r\nx\r\n", c.folder)
    assert tell(c) == [(tag, "UID", "ADDTO (3 5 6 6)")]  # 4 2 5 3 1 6
    other.untagged("NOOP")
    other.untagged("UID STORE 2,3 +FLAGS (\\Deleted)")
    assert tell(c) == [(tag, "UID", "REMOVEFROM (2 2 3 3)")]  # 4 5 1 6
    other.untagged("UID STORE 3 -FLAGS (\\Deleted)")
    assert tell(c) == [(tag, "UID", "ADDTO (3 3)")]  # 4 5 3 1 6
    other.untagged("UID STORE 4 +FLAGS (\\Deleted)")
    other.untagged("EXPUNGE")
    assert ("UID", "REMOVEFROM (1 4)") in [x[1:] for x in tell(c)]
    assert b"ALL 5,3,1,6\r\n" in c.untagged("UID SORT RETURN (ALL CONTEXT) (SUBJECT) UTF-8 UNDELETED")


def test_a_plain_sort_order_by_arrival_with_numbers(pair):
    c, other = pair
    c.untagged("SORT RETURN (UPDATE) (REVERSE ARRIVAL) UTF-8 ALL")
    other.append(b"Subject: bb\r\n\r\nx\r\n", c.folder)
    (update,) = tell(c)
    assert re.fullmatch(r"ADDTO \(\d 5\)", update[2]) and update[1] == ""


def test_updates_end(pair):
    c, other = pair
    c.untagged("SEARCH RETURN (UPDATE) SEEN")
    first = c.count
    c.untagged("SEARCH RETURN (UPDATE) SEEN")
    assert c.tagged(f'CANCELUPDATE "t{first}"').startswith(b"OK")
    other.untagged("STORE 1 +FLAGS (\\Seen)")
    assert [x[0] for x in tell(c)] == [f"t{first + 1}"]
    assert c.tagged("CANCELUPDATE").startswith(b"BAD") and c.tagged("CANCELUPDATE x").startswith(b"BAD")
    assert c.tagged('CANCELUPDATE "none"').startswith(b"OK")
    c.untagged(f"SELECT {c.folder}")
    other.untagged("STORE 2 +FLAGS (\\Seen)")
    assert tell(c) == []


def test_a_tag_is_used_once(pair):
    c, _ = pair
    c.untagged("SEARCH RETURN (UPDATE) SEEN")
    for command in ("SEARCH RETURN (UPDATE) ALL", "SORT RETURN (UPDATE) (DATE) UTF-8 ALL", "ESEARCH RETURN (UPDATE) ALL"):
        c.count -= 1
        assert c.tagged(command).startswith(b"BAD")
    c.count -= 1
    assert c.tagged("SEARCH RETURN () ALL").startswith(b"OK")


def test_too_many_contexts(pair):
    c, _ = pair
    answers = [c.command("SEARCH RETURN (UPDATE COUNT) SEEN") for _ in range(12)]
    refused = [one for one in answers if b"* NO [NOUPDATE" in b"".join(one)]
    assert len(refused) == 2 and b'NOUPDATE "t%d"' % c.count in b"".join(refused[-1])
    assert all(one[-1].startswith(b"OK") and b"COUNT 0" in b"".join(one) for one in answers)


def test_esearch_updates_the_selected_mailbox(pair):
    c, other = pair
    c.untagged(f"ESEARCH IN (selected mailboxes INBOX) RETURN (UPDATE) FLAGGED")
    other.untagged("STORE 1 +FLAGS (\\Flagged)")
    assert [x[1:] for x in tell(c)] == [("UID", "ADDTO (0 1)")]
