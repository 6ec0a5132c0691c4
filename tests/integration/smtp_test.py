"""The front door by itself: what is promised by 250, in every way a message can take, and what each refusal and limit says. Without delivery, so that what is queued stays there."""
import base64
import email
import imaplib
import json
import os
import re
import signal
import smtplib
import socket
import ssl
import threading
import time

import pytest

from postbus_test.dns import Knot
from postbus_test.site import Site, wait_until

TLS = ssl._create_unverified_context()
PASSWORD = "correct horse 1"
BOB, ALICE = "bob@alpha.test", "alice@alpha.test"
SERVICES = ("accounts", "verifier", "mailbox", "smtpd", "imapd")


@pytest.fixture(scope="module")
def world():
    knot = Knot({"load.test": '@ 60 IN TXT "v=spf1 ip4:127.0.0.1 -all"\n', "doubtful.test": '@ 60 IN TXT "v=spf1 -all"\n_dmarc 60 IN TXT "v=DMARC1; p=quarantine"\n',
                 "in-addr.arpa": "1.0.0.127 60 IN PTR ns.load.test.\n"})
    stubs = ",".join(f"{zone}={knot.address}" for zone in ("load.test", "doubtful.test", "in-addr.arpa"))
    site = Site("mx.alpha.test", {"POSTBUS_RESOLVER_STUBS": stubs, "POSTBUS_MESSAGE_MAX_BYTES": 8000000})
    site.start(*SERVICES)
    site.add_account(BOB, PASSWORD)
    site.add_account(ALICE, PASSWORD)
    yield site
    site.end()
    knot.end()


class Client:
    """A connection that says exactly what it is told to."""

    def __init__(self, site, port="smtp", ip="127.0.0.1"):
        self.sock = socket.create_connection(("127.0.0.1", site.ports[port]), 30, (ip, 0))
        if port == "submissions":
            self.sock = TLS.wrap_socket(self.sock)
        self.file = self.sock.makefile("rb")
        self.greeting = self.reply()

    def reply(self):
        """The whole reply; "" at the end of the connection."""
        text = line = self.file.readline().decode(errors="replace")
        while line[3:4] == "-":
            line = self.file.readline().decode(errors="replace")
            text += line
        return text.rstrip("\r\n")

    def send(self, *lines):
        self.sock.sendall(b"".join(line if isinstance(line, bytes) else line.encode() + b"\r\n" for line in lines))

    def do(self, *lines):
        """Sends all at once, then reads a reply for each; answers the last."""
        self.send(*lines)
        for _ in lines:
            answer = self.reply()
        return answer

    def close(self):
        self.file.close()
        self.sock.close()


def text(mark, **fields):
    head = {"From": "x@load.test", "To": BOB, "Subject": mark, "Date": "Tue, 24 Nov 2026 10:00:00 +0000", "Message-ID": f"<{mark}@load.test>", **fields}
    return "".join(f"{k}: {v}\r\n" for k, v in head.items()).encode() + b"\r\n"


def deliver(site, body, rcpts=(BOB,), sender="x@load.test", ip="127.0.0.1"):
    """The reply to a message."""
    client = Client(site, ip=ip)
    client.do("EHLO ns.load.test", f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{r}>" for r in rcpts), "DATA")
    return client.do(body + b"\r\n.\r\n")


def mails(site, person=BOB, folder="INBOX"):
    session = imaplib.IMAP4_SSL("127.0.0.1", site.ports["imaps"], ssl_context=TLS)
    session.login(person, PASSWORD)
    session.select(folder, readonly=True)
    answer = session.fetch("1:*", "(BODY.PEEK[])")[1]
    session.logout()
    return [part[1] for part in answer if isinstance(part, tuple)]


def of(mark, messages):
    return [m for m in messages if f"Subject: {mark}\r\n".encode() in m]


def queued(site):
    return sum(int(site.redis("ZCARD", f"{{q:{shard}}}:due")) for shard in range(16))


# what 250 says ----------------------------------------------------------------------------------------------------------------


def test_a_message_is_in_the_mailbox_when_250_is_said(world):
    before = queued(world)
    for i in range(5):
        answer = deliver(world, text(f"at-once-{i}") + b"x")
        assert answer.startswith("250 2.0.0 OK, delivered as "), answer
        assert len(of(f"at-once-{i}", mails(world))) == 1
    assert queued(world) == before


def test_what_the_event_of_a_direct_delivery_tells(world):
    heard, listener = [], world.new_nats()
    listener.subscribe("postbus.mail.accepted.*", lambda _subject, _reply, body: heard.append(json.loads(body)["data"]))
    listener.flush()
    deliver(world, text("told") + b"x")
    (event,) = wait_until("the event", lambda: heard)
    assert event["queued"] is False and "shard" not in event and event["origin"] == "mx" and event["client"]["ip"] == "127.0.0.1"
    assert event["reply"].startswith("250 2.0.0 OK, delivered as ") and event["verdict"]["disposition"] == "accept" and event["verdict"]["spf"]["result"] == "pass"
    assert [r["address"] for r in event["rcpts"]] == [BOB]


def test_without_the_mailbox_service_it_goes_to_the_queue(world):
    world.stop("mailbox")
    before = queued(world)
    answer = deliver(world, text("no-mailbox-service") + b"x", (BOB, ALICE))
    assert answer.startswith("250 2.0.0 OK, queued as "), answer
    assert queued(world) == before + 1
    id = answer.split()[-1]
    assert "r:q" in world.redis("HKEYS", f"b:{{{id}}}").split()
    world.start("mailbox")


def test_a_slow_mailbox_service_is_not_waited_for_and_nothing_is_there_twice(world):
    """It is stopped in the middle: the delivery happens later, and the entry in the queue does not repeat it (the memo by id and recipient)."""
    os.kill(world.processes["mailbox"].pid, signal.SIGSTOP)
    began = time.monotonic()
    answer = deliver(world, text("slow-mailbox-service") + b"x")
    took = time.monotonic() - began
    os.kill(world.processes["mailbox"].pid, signal.SIGCONT)
    assert answer.startswith("250 2.0.0 OK, queued as ") and 2 <= took < 10
    wait_until("the late delivery", lambda: of("slow-mailbox-service", mails(world)))
    id = answer.split()[-1]
    again = world.rpc("mailbox.deliver", messages=[{"id": id, "from": "x@load.test", "folder": "", "size": 1, "date": 1, "attempt": "again", "held": False, "rcpts": [{"rcpt": BOB, "user": world.users[BOB]}]}])
    assert again["messages"][0]["rcpts"][0]["duplicate"] is True
    assert len(of("slow-mailbox-service", mails(world))) == 1


def test_the_body_is_written_again_when_it_went_while_the_mailbox_service_was_waited_for(world):
    """As when that service refuses the last recipient, and releases the body, just after smtpd gave up waiting."""
    blobs = lambda: set(world.redis("--scan", "--pattern", "b:{*").split())
    before = blobs()
    client = Client(world)
    client.do("EHLO ns.load.test", "MAIL FROM:<x@load.test>", f"RCPT TO:<{BOB}>", "DATA")
    os.kill(world.processes["mailbox"].pid, signal.SIGSTOP)
    try:
        client.send(text("body-gone") + b"x\r\n.\r\n")
        (blob,) = wait_until("the body", lambda: blobs() - before)
        world.redis("DEL", blob)
        answer = client.reply()
    finally:
        os.kill(world.processes["mailbox"].pid, signal.SIGCONT)
    assert answer.startswith("250 2.0.0 OK, queued as ") and blob == f"b:{{{answer.split()[-1]}}}"
    assert "r:q" in world.redis("HKEYS", blob).split()


def test_what_becomes_ready_at_once_goes_to_the_mailbox_service_in_one_request(world):
    """The store answers all at once after it was stopped with all of them in flight."""
    asked, listener = [], world.new_nats()
    listener.subscribe("postbus.rpc.mailbox.deliver", lambda _subject, _reply, body: asked.append(len(json.loads(body)["messages"])))
    listener.flush()
    clients = [Client(world) for _ in range(20)]
    for i, client in enumerate(clients):
        client.do("EHLO ns.load.test", "MAIL FROM:<x@load.test>", f"RCPT TO:<{BOB}>", "DATA")
    os.kill(world.processes["redis"].pid, signal.SIGSTOP)
    for i, client in enumerate(clients):
        client.send(text(f"together-{i}") + b"x\r\n.\r\n")
    time.sleep(2)  # all are verified, and wait for the store
    os.kill(world.processes["redis"].pid, signal.SIGCONT)
    assert all(client.reply().startswith("250 2.0.0 OK, delivered") for client in clients)
    assert sum(asked) == 20 and len(asked) <= 3, asked
    assert len([m for m in mails(world) if b"Subject: together-" in m]) == 20


def test_over_quota_is_a_reply(world):
    assert world.rpc("mailbox.quota", user=world.users[ALICE], quota_bytes=1) == {}
    try:
        before = queued(world)
        answer = deliver(world, text("over-quota") + b"x", (ALICE,))
        assert answer == "552 5.2.2 Mailbox full" and queued(world) == before
        # one of two has room: it is delivered there, and the other's refusal is reported by way of the queue
        answer = deliver(world, text("half-over-quota") + b"x", (BOB, ALICE))
        assert answer.startswith("250 2.0.0 OK, queued as ") and queued(world) == before + 1
        assert len(of("half-over-quota", mails(world))) == 1
    finally:
        assert world.rpc("mailbox.quota", user=world.users[ALICE], quota_bytes=0) == {}


def test_a_deleted_user_gets_nothing_and_no_new_mailbox(world):
    """The account goes between RCPT and the end of the text."""
    user = world.add_account("gone@alpha.test", PASSWORD)
    client = Client(world)
    client.do("EHLO ns.load.test", "MAIL FROM:<x@load.test>", "RCPT TO:<gone@alpha.test>", "DATA")
    assert world.rpc("mailbox.delete", user=user) == {}
    assert client.do(text("to-the-gone") + b"x\r\n.\r\n") == "550 5.1.1 No such mailbox here"
    assert world.redis("EXISTS", f"{{u:{user}}}:f").strip() == "0"
    world.rpc("accounts.account.delete", address="gone@alpha.test")


def test_quarantined_mail_is_junk(world):
    answer = deliver(world, text("doubtful", From="eve@doubtful.test") + b"x", sender="eve@doubtful.test")
    assert answer.startswith("250 2.0.0 OK, delivered")
    assert not of("doubtful", mails(world)) and len(of("doubtful", mails(world, folder="Junk"))) == 1


def test_with_the_store_full_every_250_has_its_body(world):
    """Redis at its maxmemory while mail flows: what is answered 250 is there whole, byte for byte; all else is answered 452."""
    used = int(re.search(r"used_memory:(\d+)", world.redis("INFO", "memory")).group(1))
    body = lambda i: b"".join(b"%08d " % (i * 100000 + k) + os.urandom(20).hex().encode() + b"\r\n" for k in range(2000))
    texts = {f"full-{i}": text(f"full-{i}") + body(i) for i in range(30)}
    replies = {}
    world.redis("CONFIG", "SET", "maxmemory", used + 1200000)
    try:
        def send(mark):
            replies[mark] = deliver(world, texts[mark], (BOB,) if int(mark[5:]) % 3 else (BOB, "postmaster@elsewhere.test"))
        for mark in texts:
            send(mark)
    finally:
        world.redis("CONFIG", "SET", "maxmemory", "0")
    good = [m for m in texts if replies[m].startswith("250 ")]
    assert 3 <= len(good) < len(texts), replies
    assert {replies[m][:9] for m in texts if m not in good} == {"452 4.3.1"}
    stored = mails(world)
    for mark in texts:
        assert [m.endswith(texts[mark] + b"\r\n") for m in of(mark, stored)] == [True] * (mark in good), mark


# recipients --------------------------------------------------------------------------------------------------------------------


def test_a_group_of_recipients_is_looked_up_side_by_side_and_answered_in_order(world):
    asked, listener = [], world.new_nats()
    listener.subscribe("postbus.rpc.accounts.resolve", lambda _subject, _reply, body: asked.append(json.loads(body)["address"]))
    listener.flush()
    client = Client(world)
    client.do("EHLO ns.load.test", "MAIL FROM:<x@load.test>")
    names = [f"nobody{i}@alpha.test" for i in range(10)]
    names[3:3] = ["postmaster@alpha.test<", ALICE]
    os.kill(world.processes["accounts"].pid, signal.SIGSTOP)
    try:
        client.send(*(f"RCPT TO:<{name}>" for name in names), "NOOP", "RCPT TO:<z@elsewhere.test>", "RSET")
        wait_until("all of the group to be asked for", lambda: len([a for a in asked if a.startswith("nobody")]) == 10)
    finally:
        os.kill(world.processes["accounts"].pid, signal.SIGCONT)
    assert [client.reply()[:9] for _ in range(15)] == ["550 5.1.1"] * 3 + ["501 5.1.3", "250 2.1.5"] + ["550 5.1.1"] * 7 + ["250 2.0.0", "554 5.7.1", "250 2.0.0"]


def test_what_accounts_answered_is_remembered_until_it_changes(world):
    asked, listener = [], world.new_nats()
    listener.subscribe("postbus.rpc.accounts.resolve", lambda _subject, _reply, body: asked.append(json.loads(body)["address"]))
    listener.flush()
    world.rpc("accounts.alias.add", address="turn@alpha.test", targets=[BOB])
    deliver(world, text("turn-1") + b"x", ("turn@alpha.test",))
    deliver(world, text("turn-2") + b"x", ("Turn@alpha.test",))
    assert asked.count("turn@alpha.test") == 1 and "Turn@alpha.test" not in asked
    world.rpc("accounts.alias.delete", address="turn@alpha.test")
    world.rpc("accounts.alias.add", address="turn@alpha.test", targets=[ALICE])
    time.sleep(0.2)  # the event
    deliver(world, text("turn-3") + b"x", ("turn@alpha.test",))
    assert len(of("turn-2", mails(world))) == 1 and not of("turn-3", mails(world)) and len(of("turn-3", mails(world, ALICE))) == 1


def test_a_repeated_recipient_counts(world):
    client = Client(world)
    client.do("EHLO ns.load.test", "MAIL FROM:<x@load.test>")
    client.send(*["RCPT TO:<bob@alpha.test>"] * 1100)
    replies = [client.reply()[:9] for _ in range(1021)]
    assert replies == ["250 2.1.5"] * 1000 + ["452 4.5.3"] * 20 + ["421 4.7.0"]


def alias_of(world, name, count):
    """An alias that leads to so many addresses elsewhere, by way of others."""
    names = [f"{name}{i}@elsewhere.test" for i in range(count)]
    parts = [f"{name}-part{i}@alpha.test" for i in range(0, count, 75)]
    for targets in ([BOB], None):  # accounts takes no alias that leads to too many; one of its parts can grow later
        for i, part in enumerate(parts):
            world.rpc("accounts.alias.delete", address=part)
            assert "error" not in world.rpc("accounts.alias.add", address=part, targets=targets or names[i * 75:i * 75 + 75])
        if targets:
            assert "error" not in world.rpc("accounts.alias.add", address=f"{name}@alpha.test", targets=parts)


def test_an_alias_leads_to_all_of_its_targets_or_is_refused(world):
    alias_of(world, "some", 150)
    heard, listener = [], world.new_nats()
    listener.subscribe("postbus.mail.accepted.*", lambda _subject, _reply, body: heard.append(json.loads(body)["data"]))
    listener.flush()
    assert deliver(world, text("to-150") + b"x", ("some@alpha.test",)).startswith("250 ")
    assert len(wait_until("the event", lambda: heard)[0]["rcpts"]) == 150
    alias_of(world, "many", 1050)
    client = Client(world)
    assert client.do("EHLO ns.load.test", "MAIL FROM:<x@load.test>", "RCPT TO:<many@alpha.test>").startswith("550 5.2.4")


@pytest.mark.parametrize("command, code", [
    ("MAIL FROM:<%s@load.test>" % ("a" * 65), "501 5.1.7"),
    ("MAIL FROM:<a@%s.test>" % ".".join(["b" * 60] * 5), "501 5.1.7"),
    ("MAIL FROM:<%s@%s>" % ("a" * 60, ".".join(["b" * 48] * 4)), "501 5.1.7"),
    ("MAIL FROM:<%s@load.test>" % ("a" * 64), "250 2.1.0"),
    ("MAIL FROM:<x@load.test> RET=ALL", "501 5.5.4"),
    ("MAIL FROM:<x@load.test> BODY=9BIT", "501 5.5.4"),
    ("MAIL FROM:<x@load.test> COLOUR=RED", "555 5.5.4"),
])
def test_parameters_and_lengths_of_mail(world, command, code):
    assert Client(world).do("EHLO ns.load.test", command).startswith(code)


@pytest.mark.parametrize("command, code", [
    ("RCPT TO:<bob@alpha.test> NOTIFY=NEVER,SUCCESS", "501 5.5.4"),
    ("RCPT TO:<bob@alpha.test> NOTIFY=SOMETIMES", "501 5.5.4"),
    ("RCPT TO:<bob@alpha.test> ORCPT=bob", "501 5.5.4"),
    ("RCPT TO:<bob@alpha.test> NOTIFY=SUCCESS,DELAY", "250 2.1.5"),
    ("RCPT TO:<bob@alpha.test> COLOUR=RED", "555 5.5.4"),
    ("RCPT TO:<%s@alpha.test>" % ("a" * 65), "501 5.1.3"),
])
def test_parameters_and_lengths_of_rcpt(world, command, code):
    assert Client(world).do("EHLO ns.load.test", "MAIL FROM:<x@load.test>", command).startswith(code)


# the header ---------------------------------------------------------------------------------------------------------------------


def test_a_foreign_return_path_does_not_survive(world):
    deliver(world, b"Return-Path: <ceo@bank.test>\r\n" + text("return-path") + b"Return-Path: in the body\r\n")
    (got,) = of("return-path", mails(world))
    assert email.message_from_bytes(got).get_all("Return-Path") == ["<x@load.test>"] and b"\r\nReturn-Path: in the body\r\n" in got


def test_with_several_recipients_none_is_told_of_the_others(world):
    deliver(world, text("several") + b"x", (BOB, ALICE))
    for person in (BOB, ALICE):
        (got,) = of("several", mails(world, person))
        assert b"\r\n\tfor <" not in got
        assert (BOB if person == ALICE else ALICE).encode() not in got.split(b"\r\nFrom:")[0]


def submit(world, message, sender=ALICE, rcpts=(BOB,), login=ALICE):
    client = smtplib.SMTP("127.0.0.1", world.ports["submission"], local_hostname="client.local", timeout=60)
    client.starttls(context=TLS)
    client.login(login, PASSWORD)
    client.ehlo()
    client.mail(sender)
    for rcpt in rcpts:
        client.rcpt(rcpt)
    code, words = client.data(message)
    return f"{code} {words.decode()}"


@pytest.mark.parametrize("header, code", [
    (f"From: {ALICE}, {BOB}", "550 5.7.1"),
    (f"From: {BOB}, {ALICE}", "550 5.7.1"),
    (f"From: {BOB}, {ALICE}\r\nSender: {ALICE}", "250 2.0.0"),
    (f"From: {ALICE}\r\nSender: {BOB}", "550 5.7.1"),
    (f"From: {BOB}\r\nSender: {ALICE}", "550 5.7.1"),
    (f"From: {ALICE}\r\nFrom: {BOB}", "550 5.6.0"),
    (f"From: {ALICE}\r\nthis line is no field\r\nFrom: {BOB}", "550 5.6.0"),
    (f"From: Alice <{ALICE}>", "250 2.0.0"),
])
def test_all_authors_are_held_against_the_login(world, header, code):
    assert submit(world, f"{header}\r\nTo: {BOB}\r\nSubject: authors\r\n\r\nx\r\n").startswith(code)


def test_bcc_is_removed_also_after_a_bad_line(world):
    answer = submit(world, f"From: {ALICE}\r\nthis line is no field\r\nSubject: bad-line\r\nBcc: secret@alpha.test\r\n\r\nx\r\n")
    assert answer.startswith("250 "), answer
    (got,) = of("bad-line", mails(world))
    assert b"secret" not in got and b"this line is no field" in got


# bounds -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["password", "delete"])
def test_a_session_ends_when_the_password_changes_or_the_account_goes(world, change):
    person = f"carol-{change}@alpha.test"
    world.add_account(person, PASSWORD)
    clients = []
    for lines in ([], [f"MAIL FROM:<{person}>", f"RCPT TO:<{BOB}>"], [f"MAIL FROM:<{person}>", f"RCPT TO:<{BOB}>", "DATA"]):
        client = Client(world, "submissions")
        plain = base64.b64encode(f"\0{person}\0{PASSWORD}".encode()).decode()
        assert client.do("EHLO client.local", f"AUTH PLAIN {plain}", *lines)[:3] in ("235", "250", "354")
        clients.append(client)
    other = Client(world)
    if change == "password":
        assert "error" not in world.rpc("accounts.account.set", address=person, password="another horse 2")
    else:
        assert "error" not in world.rpc("accounts.account.delete", address=person)
    for client in clients:
        assert client.reply() == "421 4.7.0 mx.alpha.test The account has changed, log in again" and client.reply() == ""
    assert other.do("NOOP").startswith("250")


@pytest.mark.parametrize("service, lines", [
    ("accounts", ["MAIL FROM:<x@load.test>", *(f"RCPT TO:<nobody{i}@alpha.test>" for i in range(20))]),
    ("verifier", ["MAIL FROM:<x@load.test>", f"RCPT TO:<{BOB}>", "DATA"]),
    ("mailbox", ["MAIL FROM:<x@load.test>", f"RCPT TO:<{BOB}>", "DATA"]),
    ("redis", ["MAIL FROM:<x@load.test>", f"RCPT TO:<{BOB}>", "DATA"]),
])
def test_clients_that_leave_while_a_service_is_waited_for(world, service, lines):
    """What they wait for comes when they are gone. A message that was whole and verified by then is delivered, once; nothing is left behind (the sanitizers see to that)."""
    mark = f"left-{service}"
    clients = [Client(world) for _ in range(5)]
    if lines[-1] == "DATA":
        for client in clients:
            client.do("EHLO ns.load.test", *lines)
    os.kill(world.processes[service].pid, signal.SIGSTOP)
    for client in clients:
        if lines[-1] == "DATA":
            client.send(text(mark) + b"x\r\n.\r\n")
        else:
            client.send("EHLO ns.load.test", *lines)
    time.sleep(1)
    closed = world.log("smtpd").count("connection closed")
    for client in clients:
        client.close()
    wait_until("smtpd to see that they left", lambda: world.log("smtpd").count("connection closed") >= closed + 5)
    os.kill(world.processes[service].pid, signal.SIGCONT)
    if service in ("redis", "mailbox"):
        wait_until("the five messages", lambda: len(of(mark, mails(world))) == 5)
    assert deliver(world, text(f"after-{service}") + b"x").startswith("250 ")
    assert len(of(mark, mails(world))) == (5 if service in ("redis", "mailbox") else 0)


@pytest.fixture(scope="module")
def strict():
    """Short deadlines, small bounds, two workers."""
    site = Site("mx.strict.test", {"POSTBUS_SMTP_COMMAND_TIME": "3s", "POSTBUS_SMTP_LOGIN_TIME": "2s", "POSTBUS_SMTP_SESSION_TIME": "8s", "POSTBUS_SMTP_DATA_TIME": "2s", "POSTBUS_SMTP_RATE_MIN": "1000",
                                   "POSTBUS_SMTP_CONNECTIONS_PER_CLIENT": "6", "POSTBUS_SMTP_MEMORY_MAX": 3 * 1024 * 1024, "POSTBUS_WORKERS": "2"}, tap=False)
    site.start("accounts", "verifier", "mailbox", "smtpd")
    site.add_account("bob@strict.test", PASSWORD)
    yield site
    site.end()


def until_end(client, every=0.2):
    """Sends a byte now and then; the last reply, and how long it took."""
    began = time.monotonic()
    client.sock.settimeout(every)
    answer = b""
    while time.monotonic() - began < 30:
        try:
            client.sock.sendall(b"x")
        except OSError:
            pass
        try:
            part = client.sock.recv(1000)
            if not part:
                break
            answer += part
        except TimeoutError:
            continue
        except OSError:
            break
    return answer.decode().strip(), time.monotonic() - began


def test_a_command_a_byte_at_a_time_comes_to_an_end(strict):
    answer, took = until_end(Client(strict))
    assert answer == "421 4.4.2 mx.strict.test Timeout waiting for a command, closing connection" and 2.5 < took < 6


def test_a_login_that_does_not_come(strict):
    client = Client(strict, "submissions")
    answer, took = until_end(client)
    assert answer == "421 4.4.2 mx.strict.test Timeout waiting for a login, closing connection" and 1.5 < took < 5


def test_a_text_that_trickles_comes_to_an_end(strict):
    client = Client(strict)
    client.do("EHLO a.test", "MAIL FROM:<>", "RCPT TO:<bob@strict.test>", "DATA")
    answer, took = until_end(client)
    assert answer == "421 4.4.2 mx.strict.test The message arrives too slowly, closing connection" and 1.5 < took < 5


def test_a_text_that_arrives_steadily_may_take_its_time(strict):
    client = Client(strict)
    client.do("EHLO a.test", "MAIL FROM:<>", "RCPT TO:<bob@strict.test>", "DATA")
    client.send("From: x@y.test", "Subject: steady", "")
    for _ in range(10):
        client.send("x" * 990)
        time.sleep(0.5)
    assert client.do(".").startswith("250 ")


def test_a_session_that_lasts_too_long(strict):
    client, began = Client(strict), time.monotonic()
    while (answer := client.do("NOOP")).startswith("250"):
        time.sleep(0.3)
    assert answer == "421 4.4.2 mx.strict.test The session has lasted too long, connect again, closing connection" and 7 < time.monotonic() - began < 12


def test_the_connections_of_a_client_are_counted_over_all_workers(strict):
    time.sleep(0.5)  # those of the tests before are gone
    clients = [Client(strict, ip="127.0.0.7") for _ in range(16)]
    greetings = [c.greeting[:9] for c in clients]
    assert greetings.count("421 4.7.0") == 10 and len([g for g in greetings if g.startswith("220")]) == 6, greetings
    assert Client(strict, ip="127.0.0.8").greeting.startswith("220")
    for client in clients:
        client.close()
    wait_until("room for another", lambda: Client(strict, ip="127.0.0.7").greeting.startswith("220"))


def test_the_memory_of_a_process_is_bounded(strict):
    """Texts that are not finished take the room; what there is no room for is answered 452, and the room comes back."""
    def begin(size):
        client = Client(strict)
        client.do("EHLO a.test", "MAIL FROM:<>", "RCPT TO:<bob@strict.test>", "DATA")
        client.send("From: x@y.test", "Subject: memory", "", b"".join(b"x" * 98 + b"\r\n" for _ in range(size // 100)))
        return client
    for _ in range(3):
        clients = [begin(900000) for _ in range(4)]
        time.sleep(0.5)
        replies = [client.do(".")[:9] for client in clients]
        assert "452 4.3.1" in replies, replies
        for client in clients:
            client.close()
    assert begin(400000).do(".").startswith("250 ")
