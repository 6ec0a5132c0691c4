"""The body of a message for mailboxes here is written while the message is verified. What is fetched is the same as if the whole had been written at the end, and whichever of the two
fails or is late, the reply is right and no body stays that nobody owns."""
import imaplib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import time

import pytest

from postbus_test.dns import Knot
from postbus_test.ledger import unowned_of
from postbus_test.site import Site, wait_until

TLS = ssl._create_unverified_context()
PASSWORD = "correct horse 1"
BOB, ALICE = "bob@alpha.test", "alice@alpha.test"
SERVICES = ("accounts", "verifier", "mailbox", "smtpd", "imapd")


@pytest.fixture(scope="module")
def site():
    knot = Knot({"load.test": '@ 60 IN TXT "v=spf1 ip4:127.0.0.1 -all"\n@ 60 IN MX 10 mx\nmx 60 IN A 127.0.0.1\n', "strict.test": '@ 60 IN TXT "v=spf1 -all"\n_dmarc 60 IN TXT "v=DMARC1; p=reject"\n',
                 "in-addr.arpa": "1.0.0.127 60 IN PTR ns.load.test.\n"})
    stubs = ",".join(f"{zone}={knot.address}" for zone in ("load.test", "strict.test", "in-addr.arpa"))
    s = Site("mx.alpha.test", {"POSTBUS_RESOLVER_STUBS": stubs, "POSTBUS_JANITOR_EVERY": "0"})
    s.start(*SERVICES)
    for address in (BOB, ALICE):
        s.add_account(address, PASSWORD)
    assert send(s, text("warm") + b"x").startswith("250")
    yield s
    s.end()
    knot.end()


def text(mark, sender="x@load.test", before=b""):
    return before + f"From: {sender}\r\nTo: {BOB}\r\nSubject: {mark}\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{mark}@load.test>\r\n\r\n".encode()


class Client:
    """A connection with a transaction up to 354; then the text is sent, and the reply read."""

    def __init__(self, site, rcpts=(BOB,), sender="x@load.test"):
        self.sock = socket.create_connection(("127.0.0.1", site.ports["smtp"]), 40)
        self.file = self.sock.makefile("rb")
        self.file.readline()
        for line in ("HELO ns.load.test", f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{r}>" for r in rcpts), "DATA"):
            self.sock.sendall(line.encode() + b"\r\n")
            assert self.file.readline()[:1] in b"23"

    def text(self, body):
        self.sock.sendall(body + b"\r\n.\r\n")

    def reply(self):
        return self.file.readline().decode().rstrip()

    def close(self):
        self.file.close()
        self.sock.close()


def send(site, body, rcpts=(BOB,), sender="x@load.test"):
    client = Client(site, rcpts, sender)
    client.text(body)
    return client.reply()


def session_of(site, person=BOB, folder="INBOX"):
    session = imaplib.IMAP4_SSL("127.0.0.1", site.ports["imaps"], ssl_context=TLS)
    session.login(person, PASSWORD)
    session.select(folder, readonly=True)
    return session


def mails(site, mark, person=BOB):
    """The messages with this subject, as fetched, and what else is told of the last of them."""
    session = session_of(site, person)
    found = [part[1] for part in session.fetch("1:*", "(BODY.PEEK[])")[1] if isinstance(part, tuple)]
    session.logout()
    return [m for m in found if f"Subject: {mark}\r\n".encode() in m]


def bodies(site, pattern="b:{*"):
    return set(site.redis("--scan", "--pattern", pattern).split())


def queued(site):
    return sum(int(site.redis("ZCARD", f"{{q:{shard}}}:due")) for shard in range(16))


class Stopped:
    """A process that stands still."""

    def __init__(self, site, name):
        self.pid = site.processes[name].pid

    def __enter__(self):
        os.kill(self.pid, signal.SIGSTOP)

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGCONT)


# what is stored and fetched ------------------------------------------------------------------------------------------------------


def header_above(mail, received):
    assert mail.endswith(received), "the received bytes are not the end of what is fetched"
    return mail[: len(mail) - len(received)]


def test_the_fetched_message_is_the_trace_and_then_the_received_bytes(site):
    received = text("exact") + b"One\r\n.\r\nTwo \xff\xfe\r\n\r\n"
    answer = send(site, received.replace(b"\r\n.\r\n", b"\r\n..\r\n")[:-2])
    id = answer.split()[-1]
    (mail,) = mails(site, "exact")
    above = header_above(mail, received).decode()
    names = re.findall(r"(?m)^([A-Za-z-]+):", above)
    assert names == ["Return-Path", "Delivered-To", "Authentication-Results", "Received-SPF", "Received"] or names == ["Return-Path", "Delivered-To", "Authentication-Results", "Received"], above
    assert above.startswith(f"Return-Path: <x@load.test>\r\nDelivered-To: {BOB}\r\nAuthentication-Results: mx.alpha.test")
    assert f" id {id}\r\n\tfor <{BOB}>;\r\n" in above and "spf=pass" in above
    assert int(site.redis("HGET", f"b:{{{id}}}", "n")) == len(received), "the stored body is not what was received"


def test_sizes_parts_and_listings_count_the_trace(site):
    received = text("counted") + b"Some text\r\n"
    send(site, received[:-2])
    (mail,) = mails(site, "counted")
    session = session_of(site)
    number = session.search(None, "SUBJECT", "counted")[1][0].split()[-1]
    above = len(mail) - len(received)
    told = session.fetch(number, "(RFC822.SIZE ENVELOPE BODYSTRUCTURE)")[1][0].decode()
    assert f"RFC822.SIZE {len(mail)} " in told and '"counted"' in told and '"TEXT" "PLAIN"' in told.upper() and " 11 1 " in told
    across = session.fetch(number, f"(BODY.PEEK[]<{above - 10}.40>)")[1][0][1]
    assert across == mail[above - 10 : above + 30]
    assert session.fetch(number, "(BODY.PEEK[TEXT])")[1][0][1] == b"Some text\r\n"
    trace = session.fetch(number, "(BODY.PEEK[HEADER.FIELDS (RECEIVED AUTHENTICATION-RESULTS)])")[1][0][1]
    assert trace.startswith(b"Authentication-Results: mx.alpha.test") and b"\r\nReceived: from " in trace and trace.endswith(b"\r\n\r\n")
    assert session.fetch(number, "(BODY.PEEK[HEADER])")[1][0][1] == mail[: mail.index(b"\r\n\r\n") + 4]
    session.logout()


def test_each_recipient_has_the_trace(site):
    send(site, text("both") + b"x", (BOB, ALICE))
    for person in (BOB, ALICE):
        (mail,) = mails(site, "both", person)
        assert mail.startswith(f"Return-Path: <x@load.test>\r\nDelivered-To: {person}\r\nAuthentication-Results: ".encode()) and mail.count(b"\r\nReceived: ") == 1
        assert b"\tfor <" not in mail, "each recipient would see another"


def test_forged_results_are_dropped_and_the_whole_is_written_again(site):
    """RFC 8601 §5: a field that claims to be ours. RFC 5321 §4.4: a foreign Return-Path."""
    before = bodies(site)
    forged = b"Authentication-Results: mx.alpha.test; spf=pass smtp.mailfrom=bank.test\r\nReturn-Path: <bank@bank.test>\r\nX-Kept: yes\r\n"
    answer = send(site, text("forged", before=forged) + b"x", (BOB, ALICE))
    assert answer.startswith("250 2.0.0 OK, delivered as ")
    for person in (BOB, ALICE):
        (mail,) = mails(site, "forged", person)
        assert b"bank" not in mail and mail.count(b"Authentication-Results: mx.alpha.test") == 1 and mail.count(b"Return-Path:") == 1
        assert mail.endswith(b"X-Kept: yes\r\n" + text("forged") + b"x\r\n")
    (blob,) = bodies(site) - before
    assert len([f for f in site.redis("HKEYS", blob).split() if f.startswith("r:")]) == 2
    assert not unowned_of(site)


def test_a_large_message_is_written_after_its_checks(site):
    received = text("large") + b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n" * 5000
    with Stopped(site, "verifier"):
        before = bodies(site)
        client = Client(site)
        client.text(received[:-2])
        time.sleep(0.5)  # a body that must not come
        assert bodies(site) == before
    assert client.reply().startswith("250 2.0.0 OK, delivered")
    (mail,) = mails(site, "large")
    header_above(mail, received)


# the order of the two answers ------------------------------------------------------------------------------------------------------


def test_the_body_is_on_disk_while_the_verifier_thinks(site):
    before = bodies(site)
    with Stopped(site, "verifier"):
        client = Client(site)
        client.text(text("slow-verifier") + b"x")
        wait_until("the body", lambda: bodies(site) - before)
        assert not mails(site, "slow-verifier"), "delivered before it was verified"
    assert client.reply().startswith("250 2.0.0 OK, delivered as ")
    assert len(mails(site, "slow-verifier")) == 1


def test_250_waits_for_the_write_when_the_verifier_is_faster(site):
    client = Client(site)
    with Stopped(site, "redis"):
        client.text(text("slow-store") + b"x")
        client.sock.settimeout(1)
        with pytest.raises(TimeoutError):
            client.sock.recv(1)
    client.sock.settimeout(40)
    assert client.sock.recv(1000).startswith(b"250 2.0.0 OK, delivered as ")
    assert len(mails(site, "slow-store")) == 1


def test_a_refusal_does_not_wait_for_the_write_and_the_body_goes(site):
    before, client = bodies(site), Client(site, sender="eve@strict.test")
    with Stopped(site, "redis"):
        client.text(text("refused-in-flight", "eve@strict.test") + b"x")
        assert client.reply().startswith("550 5.7.")
    client.close()
    wait_until("the body to go", lambda: bodies(site) == before)
    assert not unowned_of(site)


def test_a_refused_message_leaves_no_body(site):
    before = bodies(site)
    for i in range(5):
        assert send(site, text(f"refused-{i}", "eve@strict.test") + b"x", (BOB, ALICE), "eve@strict.test").startswith("550 5.7.")
    wait_until("the bodies to go", lambda: bodies(site) == before)


def test_without_the_verifier_it_is_deferred_and_leaves_no_body(site):
    before = bodies(site)
    site.stop("verifier")
    try:
        assert send(site, text("no-verifier") + b"x").startswith("451 4.7.0")
        wait_until("the body to go", lambda: bodies(site) == before)
    finally:
        site.start("verifier")


def test_a_client_that_leaves_while_its_message_is_verified_leaves_no_body(site):
    before = bodies(site)
    with Stopped(site, "verifier"):
        client = Client(site)
        client.text(text("left") + b"x")
        wait_until("the body", lambda: bodies(site) - before)
        client.close()
        wait_until("the body to go", lambda: bodies(site) == before)
    assert not mails(site, "left")


def test_a_full_store_is_452_also_when_the_verifier_accepts(site):
    before = bodies(site)
    site.redis("CONFIG", "SET", "maxmemory", "1")
    try:
        assert send(site, text("full") + b"x").startswith("452 4.3.1")
        assert send(site, text("full", "eve@strict.test") + b"x", sender="eve@strict.test").startswith("550 5.7."), "the sender is told of the store instead of the refusal"
    finally:
        site.redis("CONFIG", "SET", "maxmemory", "0")
    assert bodies(site) == before and not mails(site, "full")


def test_smtpd_is_killed_while_the_message_is_verified(site):
    """The janitor finds the body (janitor_test.py); a second try of the client is delivered once."""
    before = bodies(site)
    with Stopped(site, "verifier"):
        client = Client(site)
        client.text(text("killed") + b"x")
        wait_until("the body", lambda: bodies(site) - before)
        site.processes["smtpd"].kill()
        site.processes.pop("smtpd").wait(10)
        site.start("smtpd")
    assert any("is held by nobody" in line for line in unowned_of(site))
    assert send(site, text("killed") + b"x").startswith("250 ") and len(mails(site, "killed")) == 1
    for blob in bodies(site) - before:
        if "is held by nobody" in "".join(line for line in unowned_of(site) if blob[3:-1] in line):
            site.redis("DEL", blob)
    assert not unowned_of(site)


# by way of the queue -----------------------------------------------------------------------------------------------------------------


def test_by_way_of_the_queue_the_message_is_the_same(site):
    received = text("by-queue") + b"x\r\n"
    site.stop("mailbox")
    answer = send(site, received[:-2], (BOB, ALICE))
    assert answer.startswith("250 2.0.0 OK, queued as "), answer
    site.start("mailbox", "delivery")
    try:
        wait_until("the queue to be empty", lambda: queued(site) == 0, 60)
        for person in (BOB, ALICE):
            (mail,) = mails(site, "by-queue", person)
            above = header_above(mail, received).decode()
            assert above.startswith(f"Return-Path: <x@load.test>\r\nDelivered-To: {person}\r\nAuthentication-Results: mx.alpha.test") and above.count("\r\nReceived: ") == 1
    finally:
        site.stop("delivery")


def test_a_late_delivery_and_the_queue_give_one_message_with_one_trace(site):
    received = text("late-mailbox") + b"x\r\n"
    with Stopped(site, "mailbox"):
        assert send(site, received[:-2]).startswith("250 2.0.0 OK, queued as ")
    site.start("delivery")
    try:
        wait_until("the queue to be empty", lambda: queued(site) == 0, 60)
        (mail,) = mails(site, "late-mailbox")
        assert header_above(mail, received).count(b"\r\nReceived: ") == 1
    finally:
        site.stop("delivery")


def stored(site, blob):
    packed = subprocess.run([*site.redis_cli, "--raw", "HGET", blob, "z"], capture_output=True, check=True).stdout[:-1]
    return subprocess.run(["zstd", "-d", "-q", "-c"], input=packed, capture_output=True, check=True).stdout


def test_a_report_on_one_of_two_recipients_has_the_trace(site):
    """One account goes between RCPT and the end of the text: the report on it has the header as the other recipient got it."""
    user = site.add_account("gone@alpha.test", PASSWORD)
    texts = "{q:*}:b:*"  # the report is small, and goes to another site: it is kept with its entry
    before = bodies(site, texts)
    client = Client(site, (BOB, "gone@alpha.test"))
    assert site.rpc("mailbox.delete", user=user) == {}
    client.text(text("half") + b"x")
    answer = client.reply()
    assert answer.startswith("250 2.0.0 OK, queued as ")
    site.start("delivery")
    try:
        (report,) = wait_until("the report", lambda: bodies(site, texts) - before)
        said = stored(site, report)
    finally:
        site.stop("delivery")
    (mail,) = mails(site, "half")
    header = said[said.index(b"message/rfc822-headers") if b"message/rfc822-headers" in said else said.index(b"text/rfc822-headers"):]
    trace = mail[mail.index(b"Authentication-Results:") : mail.index(b"From: x@load.test")]
    assert trace in header and b"Subject: half\r\n" in header
    site.rpc("accounts.account.delete", address="gone@alpha.test")


# some mailboxes have it, and the store is full for the others -----------------------------------------------------------------------


@pytest.mark.parametrize("first, rest, code", [
    ("delivered", "full", "250 2.0.0 OK, queued"),
    (None, "full", "250 2.0.0 OK, queued"),  # without an answer it may have been delivered
    ("full", "full", "452 4.3.1"),
])
def test_what_some_mailboxes_may_have_is_not_refused_for_the_rest(site, first, rest, code):
    """Otherwise the client sends it again, to all. Another answers for the mailbox service, and Redis is at its limit from then on."""
    site.stop("mailbox")
    bus, before = site.new_nats(), queued(site)

    def answer(_subject, reply, body):
        message = json.loads(body)["messages"][0]
        outcome = {"delivered": {"result": "delivered", "folder": "INBOX", "uid": 1, "modseq": 1, "duplicate": False}, "full": {"result": "full", "message": "no room"},
                   None: {"result": "unavailable", "message": "no answer"}}
        site.redis("CONFIG", "SET", "maxmemory", "1")
        bus.publish(reply, {"messages": [{"id": message["id"], "rcpts": [outcome[first], outcome[rest]]}]})

    bus.subscribe("postbus.rpc.mailbox.deliver", answer)
    bus.flush()
    try:
        said = send(site, text(f"partly-{first}") + b"x", (BOB, ALICE))
        assert said.startswith(code), said
    finally:
        site.redis("CONFIG", "SET", "maxmemory", "0")
        bus.sock.shutdown(socket.SHUT_RDWR)
        site.start("mailbox")
    assert queued(site) == before + code.startswith("250")
    if code.startswith("250"):
        assert "r:q" in site.redis("HKEYS", f"b:{{{said.split()[-1]}}}").split()
