"""The front door by itself: what is promised by 250, in every way a message can take, and what each refusal and limit says. Without delivery, so that what is queued stays there."""
import email
import imaplib
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

    def __init__(self, site, port="smtp", tls=False, ip="127.0.0.1", login=None):
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

    def start_tls(self):
        assert self.do("STARTTLS").startswith("220")
        self.sock = TLS.wrap_socket(self.sock)
        self.file = self.sock.makefile("rb")
        return self


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
