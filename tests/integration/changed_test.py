"""account.changed is an event, and may be lost: what services know of accounts must be right again all the same, soon after the bus was away and, at the latest, after
POSTBUS_LOGIN_CHECK."""
import imaplib
import json
import smtplib
import socket
import ssl
import time

import pytest

from postbus_test.cut import Cut
from postbus_test.site import Site, wait_until

PASSWORD, ANN, BOB, CAROL = "correct horse 1", "ann@alpha.test", "bob@alpha.test", "carol@alpha.test"
TLS = ssl._create_unverified_context()
HEARERS = ("imapd", "pop3d", "smtpd")


@pytest.fixture(scope="module")
def site():
    s = Site(settings={"POSTBUS_LOGIN_CHECK": "1h"})
    s.cut = Cut(s.nats_port)
    for service in HEARERS:
        s.extra[service] = {"POSTBUS_NATS": f"nats://127.0.0.1:{s.cut.port}"}
    s.extra["imapd@2"] = {"POSTBUS_LOGIN_CHECK": "1s"}
    s.start("accounts", "mailbox", *HEARERS, "imapd@2")
    yield s
    s.end()
    s.cut.end()


class Session:
    """A line protocol over TLS."""

    def __init__(self, port, *lines):
        self.sock = TLS.wrap_socket(socket.create_connection(("127.0.0.1", port), 30))
        self.file = self.sock.makefile("rb")
        self.file.readline()
        self.answers = [self.say(line) for line in lines]

    def say(self, line, until=None):
        self.sock.sendall(line.encode() + b"\r\n")
        while (answer := self.file.readline()) and until and not answer.startswith(until):
            pass
        return answer

    def rest(self, seconds=30):
        self.sock.settimeout(seconds)
        return self.file.read()


def imap(site, name, door="imaps"):
    session = Session(site.ports[door])
    assert session.say(f'a LOGIN {name} "{PASSWORD}"', b"a ").startswith(b"a OK")
    return session


def works(session):
    return session.say("n NOOP", b"n ").startswith(b"n OK")


def pop3(site, name):
    session = Session(site.ports["pop3s"], f"USER {name}", f"PASS {PASSWORD}")
    assert session.answers[-1].startswith(b"+OK"), session.answers
    return session


def submission(site, name):
    smtp = smtplib.SMTP_SSL("127.0.0.1", site.ports["submissions"], context=TLS, timeout=30)
    smtp.login(name, PASSWORD)
    return smtp


def rcpt(site, address):
    with smtplib.SMTP("127.0.0.1", site.ports["smtp"], timeout=30) as smtp:
        smtp.ehlo()
        smtp.mail("x@load.test")
        return smtp.rcpt(address)[0]


def test_what_changed_while_the_bus_was_away_is_known_when_it_is_back(site):
    for name in (ANN, BOB, CAROL):
        site.add_account(name, PASSWORD)
    idle, other, pop, smtp = imap(site, ANN), imap(site, CAROL), pop3(site, ANN), submission(site, ANN)
    assert idle.say("s SELECT INBOX", b"s ").startswith(b"s OK") and idle.say("i IDLE").startswith(b"+")
    cached = time.monotonic()
    assert rcpt(site, BOB) == 250
    site.cut.cut()
    wait_until("the services to notice", lambda: all("lost the bus" in site.log(service) for service in HEARERS))
    assert "error" not in site.rpc("accounts.account.set", address=ANN, password="another one 2")
    assert "error" not in site.rpc("accounts.account.delete", address=BOB)
    site.cut.mend()
    assert idle.rest().startswith(b"* BYE The password was changed")
    assert pop.rest().startswith(b"-ERR [AUTH] the password was changed")
    assert smtp.getreply()[0] == 421
    with pytest.raises(imaplib.IMAP4.error):
        imaplib.IMAP4_SSL("127.0.0.1", site.ports["imaps"], ssl_context=TLS).login(ANN, PASSWORD)
    assert works(other), "another account's session goes on"
    wait_until("a refusal of the deleted one", lambda: rcpt(site, BOB) == 550)
    assert time.monotonic() - cached < 30, "the cache's own time proves nothing"


def test_an_event_that_nobody_sent_is_found_by_the_check(site):
    """Killed between the write and the event, for example: here the store is changed without one."""
    site.add_account("dora@alpha.test", PASSWORD)
    site.add_account("eve@alpha.test", PASSWORD)
    gone, changed, other = imap(site, "dora@alpha.test", "imaps@2"), imap(site, "eve@alpha.test", "imaps@2"), imap(site, CAROL, "imaps@2")
    account = json.loads(site.redis("HGET", "a:{alpha.test}:u", "eve"))
    site.redis("HDEL", "a:{alpha.test}:u", "dora")
    site.redis("HSET", "a:{alpha.test}:u", "eve", json.dumps({**account, "generation": "01JDADM0000000000000000001"}))
    for session in (gone, changed):
        assert session.rest().startswith(b"* BYE The password was changed or the account was deleted")
    assert works(other)


def test_a_void_login_is_told_from_a_new_one_and_only_true_lists_are_taken(site):
    user = site.add_account("frank@alpha.test", PASSWORD)
    login = lambda password: site.rpc("accounts.login", login="frank@alpha.test", password=password, client_ip="192.0.2.1", protocol="imap")
    old = login(PASSWORD)
    assert "error" not in site.rpc("accounts.account.set", address="frank@alpha.test", password="another one 2")
    new = login("another one 2")
    assert old["user"] == new["user"] == user and old["generation"] != new["generation"]
    assert site.rpc("accounts.logins", logins=[old, new, {**new, "user": "01JDADM0000000000000000001"}, {**new, "address": "nobody@alpha.test"}, {**new, "address": "x@other.test"}, new]) == {"ended": [0, 2, 3, 4]}
    assert "error" not in site.rpc("accounts.account.set", address="frank@alpha.test", quota_bytes=10**9)
    assert site.rpc("accounts.logins", logins=[new]) == {"ended": []}
    for wrong in ([new] * 201, [{**new, "address": "no address"}], None):
        assert site.rpc("accounts.logins", logins=wrong)["error"]["code"] == "invalid"
