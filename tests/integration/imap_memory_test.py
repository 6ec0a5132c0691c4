"""What clients of the IMAP server may make it hold in memory, and how long one of them may keep the others waiting."""
import re
import time

import pytest

from imap_faults_test import ANN, PASSWORD, Client
from postbus_test.site import Site

MB = 1024 * 1024


@pytest.fixture(scope="module")
def site():
    s = Site("mx.alpha.test", {"POSTBUS_IMAP_MEMORY": str(100 * MB), "ASAN_OPTIONS": "quarantine_size_mb=1:malloc_context_size=1"})
    s.start("accounts", "mailbox", "imapd")
    s.add_account(ANN, PASSWORD)
    client = Client(site=s)
    line = b"0123456789" * 7 + b"abcdef\r\n"
    client.append(b"Subject: large\r\n\r\n" + line * (20 * MB // len(line)))
    client.close()
    yield s
    s.end()


def resident(site):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{site.processes['imapd'].pid}/status").read()).group(1)) * 1024


def test_listings_that_nobody_reads_are_not_gathered(site):
    """First in this file: what a process once had is seen in no growth later."""
    client = Client(site)
    client.tagged("CREATE Wide")
    names = b",\r\n ".join(b"someone.with.a.long.name.%d@wide.example.test" % i for i in range(1000))
    for _ in range(400):
        client.append(b"From: a@b.test\r\nTo: " + names + b"\r\nSubject: wide\r\n\r\nx\r\n", "Wide")
    assert client.tagged("SELECT Wide").startswith(b"OK")
    client.untagged("FETCH 1 (ENVELOPE)")
    before, most = resident(site), 0
    client.send("f FETCH 1:* (ENVELOPE)")
    for _ in range(20):
        time.sleep(0.1)
        most = max(most, resident(site))
    assert most - before < 40 * MB, (most - before) / MB
    assert b"".join(client.until(b"f ")).count(b"ENVELOPE") == 400
    client.close()


def announce(client, size):
    client.send(b"a APPEND INBOX {%d}" % size)
    return client.response()


def test_an_append_of_many_literals_holds_one(site):
    client = Client(site)
    before = resident(site)
    assert announce(client, 30 * MB).startswith(b"+")
    client.sock.sendall(b"x" * (30 * MB) + b" {31457280}\r\n")
    assert client.response().startswith(b"a NO [TOOBIG]")
    assert resident(site) - before < 100 * MB
    assert client.tagged("NOOP").startswith(b"OK")
    client.close()


def test_literals_of_all_sessions_have_a_bound(site):
    first, second, third = (Client(site) for _ in range(3))
    assert announce(first, 45 * MB).startswith(b"+") and announce(second, 45 * MB).startswith(b"+")
    assert announce(third, 45 * MB).startswith(b"a NO [LIMIT]")
    third.send(b"a APPEND INBOX {%d+}" % (2 * MB) + b"\r\n" + b"x" * (2 * MB))
    assert third.response().startswith(b"a OK")  # there are 10 MB left
    first.close()
    end = time.monotonic() + 20
    while not (answer := announce(third, 45 * MB)).startswith(b"+"):
        assert answer.startswith(b"a NO [LIMIT]") and time.monotonic() < end
        time.sleep(0.1)
    second.close()
    third.close()


def test_a_client_that_does_not_read_is_not_produced_for(site):
    client = Client(site, "INBOX")
    client.untagged("FETCH 1 (BODY.PEEK[]<0.10>)")
    before = resident(site)
    client.send("f FETCH 1 (" + " ".join(["BODY.PEEK[]", "BODY.PEEK[TEXT]"] * 50) + ")")
    most = 0
    for _ in range(30):
        time.sleep(0.1)
        most = max(most, resident(site))
    assert most - before < 100 * MB
    client.close()


def test_what_is_read_slowly_is_whole(site):
    client = Client(site, "INBOX")
    whole = client.untagged("FETCH 1 (BODY.PEEK[])")
    message = whole[whole.index(b"\r\n") + 2:-3]
    client.send("f FETCH 1 (BODY.PEEK[TEXT] BODY.PEEK[1] BODY.PEEK[HEADER])")
    time.sleep(1)
    answer = b"".join(client.until(b"f OK"))
    body = message.split(b"\r\n\r\n", 1)[1]
    assert len(body) > 19 * MB
    assert answer == b"* 1 FETCH (BODY[TEXT] {%d}\r\n%b BODY[1] {%d}\r\n%b BODY[HEADER] {18}\r\nSubject: large\r\n\r\n)\r\nf OK FETCH done\r\n" % (len(body), body, len(body), body)
    client.close()


def test_fetches_of_large_messages_wait_for_room(site):
    slow = [Client(site, "INBOX") for _ in range(6)]
    for client in slow:
        client.send("f FETCH 1 (BODY.PEEK[])")
    time.sleep(1)
    for client in slow:  # five have room, the sixth gets it when they are done
        assert b"".join(client.until(b"f ")).endswith(b"f OK FETCH done\r\n")
        client.close()


@pytest.mark.parametrize("line", [b"a" * 76 + b"\r\n", b"a" * 998], ids=["lines", "one line"])
def test_a_search_for_a_long_text_holds_nobody(site, line):
    client, other = Client(site), Client(site)
    client.tagged("CREATE Slow")
    client.append(b"Subject: a\r\n\r\n" + line * (8 * MB // len(line)), "Slow")
    assert client.tagged("SELECT Slow").startswith(b"OK")
    needle = b"a" * 60000 + b"b"
    client.send(b"s SEARCH CHARSET UTF-8 BODY {%d+}\r\n" % len(needle) + needle)
    client.sock.settimeout(0)
    longest, answered, looks = 0, False, 0
    while not answered:
        began = time.monotonic()
        assert other.tagged("NOOP").startswith(b"OK")
        longest, looks = max(longest, time.monotonic() - began), looks + 1
        try:
            answered = client.sock.recv(1) == b"*"
        except (BlockingIOError, OSError):
            pass
    client.sock.settimeout(30)
    assert client.file.readline() == b" SEARCH\r\n" and client.file.readline().startswith(b"s OK")
    assert longest < 1 and looks > 3, (longest, looks)
    client.tagged("CLOSE")
    client.tagged("DELETE Slow")
    client.close()
    other.close()
