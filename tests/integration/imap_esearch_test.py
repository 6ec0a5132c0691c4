"""ESEARCH: one search in several mailboxes (MULTISEARCH, RFC 7377)."""
import re

import pytest

from postbus_test.imap_client import ANN, PASSWORD, Client
from postbus_test.site import Site


@pytest.fixture(scope="module")
def site():
    s = Site("mx.alpha.test")
    s.start("accounts", "mailbox", "imapd")
    s.add_account(ANN, PASSWORD)
    c = Client(s)
    for name in ("One", "Two", "Two/Deep", "Two/Deep/Deeper", "Empty"):
        c.untagged(f"CREATE {name}")
    for n, name in enumerate(("One", "One", "Two", "Two/Deep", "Two/Deep/Deeper")):
        c.append(f"Subject: apple {n}\r\n\r\nbody {'pear' if n % 2 else 'plum'}\r\n".encode(), name, flags="\\Seen" if n == 1 else "work")
    c.close()
    yield s
    s.end()


def found(answer):
    """{mailbox: result} of the responses."""
    assert answer[-1].startswith(b"OK"), answer
    out = {}
    for one in answer[:-1]:
        m = re.match(rb'\* ESEARCH \(TAG "t\d+" MAILBOX (\S+) UIDVALIDITY \d+\) UID (.*)\r\n$', one)
        assert m and m.group(1) not in out, answer
        out[m.group(1).decode()] = m.group(2).decode()
    return out


@pytest.mark.parametrize("command, expected", [
    ('ESEARCH IN (mailboxes "One") ALL', {"One": "ALL 1:2"}),
    ("ESEARCH IN (mailboxes (One Two None)) SUBJECT apple", {"One": "ALL 1:2", "Two": "ALL 1"}),
    ("ESEARCH IN (subtree Two) BODY pear", {"Two/Deep": "ALL 1"}),
    ("ESEARCH IN (subtree-one Two) SUBJECT apple", {"Two": "ALL 1", "Two/Deep": "ALL 1"}),
    ("ESEARCH IN (subtree (Two) mailboxes (One Two)) KEYWORD work", {"One": "ALL 1", "Two": "ALL 1", "Two/Deep": "ALL 1", "Two/Deep/Deeper": "ALL 1"}),
    ("ESEARCH IN (personal) RETURN (COUNT MAX) SUBJECT apple", {"One": "MAX 2 COUNT 2", "Two": "MAX 1 COUNT 1", "Two/Deep": "MAX 1 COUNT 1", "Two/Deep/Deeper": "MAX 1 COUNT 1"}),
    ("ESEARCH IN (personal) RETURN () CHARSET UTF-8 SEEN", {"One": "ALL 2"}),
    ("ESEARCH IN (inboxes) 2", {"One": "ALL 2"}),
    ("ESEARCH IN (subscribed) RETURN (PARTIAL 1:1) UID *", {"One": "PARTIAL (1:1 2)", "Two": "PARTIAL (1:1 1)", "Two/Deep": "PARTIAL (1:1 1)", "Two/Deep/Deeper": "PARTIAL (1:1 1)"}),
    ("ESEARCH IN (mailboxes Empty) RETURN (COUNT) ALL", {}),
    ("ESEARCH IN (mailboxes None) ALL", {}),
    ("ESEARCH IN (selected) SUBJECT apple", {"Two": "ALL 1"}),
    ("ESEARCH SUBJECT apple", {"Two": "ALL 1"}),
    ("ESEARCH IN (selected mailboxes One) $", {"Two": "ALL 1"}),
])
def test_a_search_in_several_mailboxes(site, command, expected):
    c = Client(site, "Two")
    c.untagged("SEARCH RETURN (SAVE) ALL")
    assert found(c.command(command)) == expected
    assert b"MESSAGES 1" in c.untagged("STATUS Two (MESSAGES)") and c.untagged("UID SEARCH ALL") == b"* SEARCH 1\r\n"  # still selected
    c.close()


@pytest.mark.parametrize("command", ["ESEARCH", "ESEARCH IN", "ESEARCH IN ()", "ESEARCH IN (selected-delayed) ALL", "ESEARCH IN (mailboxes) ALL", "ESEARCH IN (mailboxes ()) ALL", "ESEARCH IN (personal)",
                                     "ESEARCH IN (personal) WRONG", "ESEARCH IN (personal) RETURN (SAVE) ALL", "ESEARCH IN (personal (x)) ALL", "ESEARCH IN (everything) ALL", "UID ESEARCH ALL"])
def test_wrong_sources_are_refused(site, command):
    c = Client(site, "Two")
    assert c.tagged(command).startswith(b"BAD")
    c.close()


def test_the_selected_mailbox_needs_one(site):
    c = Client(site)
    assert c.tagged("ESEARCH ALL").startswith(b"BAD") and c.tagged("ESEARCH IN (selected) ALL").startswith(b"BAD")
    assert found(c.command("ESEARCH IN (mailboxes One) UNSEEN")) == {"One": "ALL 1"}
    assert b"BADCHARSET" in c.tagged("ESEARCH IN (personal) CHARSET X ALL")
    c.close()


def test_saving_a_result(site):
    c = Client(site, "One")
    assert c.untagged("ESEARCH RETURN (SAVE) SEEN") == b""
    assert c.untagged("UID FETCH $ UID") == b"* 2 FETCH (UID 2)\r\n"
    c.close()
