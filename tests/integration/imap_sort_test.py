"""SORT, SORT=DISPLAY, ESORT and THREAD (RFC 5256, 5957, 5267 §3) of a folder."""
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


MAIL = [  # from, to, subject, day, id, references, body lines
    ('"Zoe" <zoe@x.test>', "bob@x.test", "Plans", 3, "a", "", 5),
    ("ann@x.test", '"Bob" <zz@x.test>', "Re: plans", 4, "b", "<a@x>", 1),
    ("=?utf-8?q?=C3=84nne?= <mike@x.test>", "carl@x.test", "[list] Apples", 2, "c", "", 9),
    ("bob@x.test", "ann@x.test", "zebra (fwd)", 1, "d", "<b@x>", 3),
    ("carl@x.test", "dora@x.test", "Fwd: apples", 5, "e", "", 2),
]


@pytest.fixture(scope="module")
def filled(site):
    c = Client(site)
    c.tagged("CREATE mail")
    for number, (sender, to, subject, day, name, references, lines) in enumerate(MAIL):
        message = (f"From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\nDate: {day} Nov 2026 10:00:00 +0100\r\nMessage-ID: <{name}@x>\r\n{f'References: {references}' + chr(13) + chr(10) if references else ''}"
                 f"\r\n{'line' * 10 * lines}\r\n".encode())
        assert c.tagged(b'APPEND mail "%02d-Nov-2026 10:00:00 +0000" {%d+}\r\n' % (number + 1, len(message)) + message).startswith(b"OK")
    c.close()


@pytest.fixture
def client(site, filled):
    c = Client(site, "mail")
    yield c
    c.close()


@pytest.mark.parametrize("program, order", [
    ("ARRIVAL", "1 2 3 4 5"), ("REVERSE ARRIVAL SIZE", None), ("DATE", "4 3 1 2 5"), ("REVERSE DATE", "5 2 1 3 4"), ("SIZE", None), ("FROM", "2 4 5 3 1"), ("TO", "4 1 3 5 2"), ("SUBJECT", "3 5 1 2 4"),
    ("SUBJECT REVERSE DATE", "5 3 2 1 4"), ("REVERSE SUBJECT DATE", "4 1 2 3 5"), ("CC", "1 2 3 4 5"), ("DISPLAYFROM", "2 3 4 5 1"), ("DISPLAYTO", "4 2 1 3 5"),
])
def test_sort(client, program, order):
    answer = client.untagged(f"SORT ({program}) UTF-8 ALL")
    assert re.fullmatch(rb"\* SORT( \d+){5}\r\n", answer)
    if order:
        assert answer.split(None, 2)[2].decode().strip() == order


def test_sort_by_size_is_by_octets(client):
    sizes = dict(re.findall(rb"\* (\d+) FETCH \(RFC822.SIZE (\d+)\)", client.untagged("FETCH 1:* RFC822.SIZE")))
    told = client.untagged("SORT (SIZE) UTF-8 ALL").split()[2:]
    assert told == sorted(sizes, key=lambda n: int(sizes[n]))


def test_sort_of_what_is_found(client):
    assert client.untagged("SORT (DATE) US-ASCII SUBJECT plans") == b"* SORT 1 2\r\n"
    assert client.untagged('SORT (DATE) UTF-8 TEXT "not in mailbox"') == b"* SORT\r\n"
    uids = re.findall(rb"UID (\d+)", client.untagged("FETCH 4,3,1 UID"))
    assert client.untagged("UID SORT (DATE) UTF-8 OR SUBJECT zebra OR SUBJECT list 1").split()[2:] == [uids[2], uids[1], uids[0]]


@pytest.mark.parametrize("options, told", [
    ("", b" ALL 4,3,1:2,5"), ("MIN", b" MIN 4"), ("MAX COUNT", b" MAX 5 COUNT 5"), ("PARTIAL 2:3", b" PARTIAL (2:3 3,1)"), ("PARTIAL -1:-1", b" PARTIAL (-1:-1 5)"),
])
def test_extended_sort(client, options, told):  # RFC 5267 §3.1 and §3.2: ranges ascend
    assert re.sub(rb'\(TAG "t\d+"\)', b"", client.untagged(f"SORT RETURN ({options}) (DATE) UTF-8 ALL")) == b"* ESEARCH " + told + b"\r\n"


def test_what_a_sort_saves(client):
    client.untagged("SORT RETURN (SAVE PARTIAL 1:2) (DATE) UTF-8 ALL")
    assert b" ALL 3:4\r\n" in client.untagged("SEARCH RETURN (ALL) $")


@pytest.mark.parametrize("command, answer", [
    ("SORT", b"BAD"), ("SORT (DATE)", b"BAD"), ("SORT () UTF-8 ALL", b"BAD"), ("SORT (COLOUR) UTF-8 ALL", b"BAD"), ("SORT (DATE) UTF-8", b"BAD"), ("SORT (REVERSE) UTF-8 ALL", b"BAD"),
    ("SORT (" + " ".join(["DATE"] * 17) + ") UTF-8 ALL", b"BAD"), ("SORT (DATE) KLINGON ALL", b"NO [BADCHARSET"), ("SORT (DATE) UTF-8 COLOUR", b"BAD"), ("SORT RETURN (X) (DATE) UTF-8 ALL", b"BAD"),
    ("THREAD", b"BAD"), ("THREAD SIZE UTF-8 ALL", b"BAD"), ("THREAD REFS", b"BAD"), ("THREAD REFERENCES KLINGON ALL", b"NO [BADCHARSET"), ("THREAD REFERENCES UTF-8", b"BAD"),
])
def test_bad_sorts(client, command, answer):
    assert client.tagged(command).startswith(answer)


# "Änne" is A, a combining diaeresis and NNE in i;unicode-casemap, so "ann@x.test" is before it. Without message 2, nothing joins 4 and 1.
@pytest.mark.parametrize("command, threads", [
    ("THREAD REFERENCES UTF-8 ALL", b"(3 5)(1 2 4)"), ("THREAD ORDEREDSUBJECT UTF-8 ALL", b"(4)(3 5)(1 2)"), ("THREAD REFS UTF-8 ALL", b"(3)(1 2 4)(5)"),
    ("THREAD REFERENCES UTF-8 NOT 2", b"(4)(3 5)(1)"), ("THREAD REFERENCES UTF-8 SUBJECT nothing", b""),
])
def test_threads(client, command, threads):
    assert client.untagged(command) == (b"* THREAD " + threads if threads else b"* THREAD") + b"\r\n"


def test_uid_thread_gives_uids(client):
    client.untagged("UID THREAD REFERENCES UTF-8 ALL")
    uid = re.search(rb"UID (\d+)", client.untagged("FETCH 3 UID")).group(1)
    assert client.untagged("UID THREAD REFERENCES UTF-8 3") == b"* THREAD (" + uid + b")\r\n"


def test_no_expunge_is_told_during_a_sort_by_numbers(site, client):  # RFC 5256 §3, BASE.6.4.SORT
    other = Client(site, "mail")
    other.append(b"Subject: extra\r\n\r\nx\r\n", "mail")
    client.untagged("NOOP")
    other.untagged("NOOP")
    other.untagged(r"STORE 6 +FLAGS (\Deleted)")
    other.untagged("EXPUNGE")
    assert b"EXPUNGE" not in client.untagged("SORT (DATE) UTF-8 ALL")
    assert b"* 6 EXPUNGE" in client.untagged("NOOP")
    other.close()
