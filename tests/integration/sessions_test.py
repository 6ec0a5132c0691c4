"""How long sessions of IMAP and POP3 may last: they end with their login, and a client that takes its time with a login or a command is not waited for."""
import imaplib
import socket
import ssl
import threading
import time

import pytest

from postbus_test.site import Site, wait_until

PASSWORD = "correct horse 1"
LIMITS = {"LOGIN_TIME": "3s", "COMMAND_TIME": "2s", "CONNECTIONS_PER_CLIENT": 5}
TLS = ssl._create_unverified_context()
DOORS = {"imap": b"* ", "pop3": b"+OK"}


@pytest.fixture(scope="module")
def site():
    s = Site(settings={f"POSTBUS_{door}_{name}": value for door in ("IMAP", "POP3") for name, value in LIMITS.items()} | {"POSTBUS_IMAP_RATE_MIN": 10, "POSTBUS_IMAP_SESSIONS_PER_USER": 10})
    s.start("accounts", "mailbox", "imapd", "pop3d")
    s.add_account("ann@alpha.test", PASSWORD)
    yield s
    s.end()


class Line:
    """A connection to a TLS port; with a name, logged in."""

    def __init__(self, site, door, name=None, password=PASSWORD, source="127.0.0.1"):
        self.door = door
        self.sock = TLS.wrap_socket(socket.create_connection(("127.0.0.1", site.ports[door + "s"]), 20, (source, 0)))
        self.file = self.sock.makefile("rb")
        self.greeting = self.file.readline()
        if name and door == "imap":
            self.say(f'a LOGIN {name} "{password}"')
            assert self.until(b"a ").startswith(b"a OK")
        elif name:
            self.say(f"USER {name}")
            self.file.readline()
            self.say(f"PASS {password}")
            assert self.file.readline().startswith(b"+OK")

    def say(self, text):
        self.sock.sendall((text if isinstance(text, bytes) else text.encode()) + b"\r\n")

    def until(self, start):
        while (line := self.file.readline()) and not line.startswith(start):
            pass
        return line

    def rest(self, seconds=10):
        """Everything until the server closes; a timeout is an error."""
        self.sock.settimeout(seconds)
        return self.file.read()

    def works(self):
        self.say("n NOOP" if self.door == "imap" else "NOOP")
        return self.until(b"n ").startswith(b"n OK") if self.door == "imap" else self.file.readline().startswith(b"+OK")


# the end of a login -------------------------------------------------------------------------------------------------------------


def changes(site, name):
    yield "password", lambda: site.rpc("accounts.account.set", address=name, password="another one 2")
    yield "deletion", lambda: site.rpc("accounts.account.delete", address=name)


@pytest.mark.parametrize("change", ["password", "deletion"])
def test_sessions_end_with_their_login_also_in_idle(site, change):
    name = f"{change}@alpha.test"
    site.add_account(name)
    quiet, idle, pop, other, other_pop = Line(site, "imap", name), Line(site, "imap", name), Line(site, "pop3", name), Line(site, "imap", "ann@alpha.test"), Line(site, "pop3", "ann@alpha.test")
    idle.say("s SELECT INBOX")
    assert idle.until(b"s ").startswith(b"s OK")
    idle.say("i IDLE")
    assert idle.until(b"+").startswith(b"+")
    assert "error" not in site.rpc("accounts.account.set", address=name, quota_bytes=10**9)
    assert quiet.works() and pop.works(), "another change ends nothing"
    assert "error" not in dict(changes(site, name))[change]()
    for line in (quiet, idle):
        assert line.rest().startswith(b"* BYE The password was changed or the account was deleted")
    assert pop.rest().startswith(b"-ERR [AUTH] the password was changed or the account was deleted")
    assert other.works() and other_pop.works(), "another account's session goes on"


def test_an_account_has_a_bound_of_sessions(site):
    """RFC 5530 §3 LIMIT: the login is refused, and the connection goes on."""
    site.add_account("many@alpha.test")
    lines = [Line(site, "imap", "many@alpha.test") for _ in range(10)]
    refused = Line(site, "imap")
    refused.say(f'a LOGIN many@alpha.test "{PASSWORD}"')
    assert refused.until(b"a ").startswith(b"a NO [LIMIT] ")
    lines[0].say("o LOGOUT")
    lines[0].rest()
    wait_until("room for one more", lambda: (refused.say(f'a LOGIN many@alpha.test "{PASSWORD}"'), refused.until(b"a ").startswith(b"a OK"))[1])
    assert all(line.works() for line in lines[1:])


def test_a_session_ends_while_its_command_runs(site):
    site.add_account("busy@alpha.test")
    line = Line(site, "imap", "busy@alpha.test")
    append = b"x APPEND INBOX {%d+}\r\n" % 2000 + b"Subject: x\r\n\r\n" + b"y" * 1986
    seen = []
    reader = threading.Thread(target=lambda: seen.append(line.rest()))
    reader.start()
    for i in range(400):
        try:
            line.say(append)
        except OSError:
            break
        if i == 50:
            assert "error" not in site.rpc("accounts.account.set", address="busy@alpha.test", password="another one 2")
    reader.join()
    assert b"* BYE The password was changed" in seen[0] or seen[0] == b""


def test_a_login_that_was_asked_for_before_the_change_does_not_survive_it(site):
    """The answer and the event may come in either order."""
    user = site.add_account("race@alpha.test")
    site.stop("accounts")
    held, stand_in = [], site.new_nats()
    stand_in.subscribe("postbus.rpc.accounts.login", lambda _s, reply, _b: held.append(reply), group="accounts")
    stand_in.flush()
    try:
        for door in DOORS:
            line = Line(site, door)
            if door == "imap":
                line.say(f'a LOGIN race@alpha.test "{PASSWORD}"')
            else:
                line.say("USER race@alpha.test")
                line.file.readline()
                line.say(f"PASS {PASSWORD}")
            wait_until("the question", lambda: held)
            event = {"specversion": "1.0", "id": "01JDADM0000000000000000009", "source": "/postbus/accounts/test", "type": "postbus.account.changed", "time": "2026-11-29T12:00:00Z",
                     "subject": "alpha.test", "datacontenttype": "application/json",
                     "data": {"domain": "alpha.test", "what": "account", "name": "race@alpha.test", "change": "changed", "user": user, "sessions": "end"}}
            site.nats.publish("postbus.account.changed.alpha.test", event)
            site.nats.flush()
            time.sleep(0.3)
            site.nats.publish(held.pop(), {"user": user, "address": "race@alpha.test"})
            answer = line.until(b"a ") if door == "imap" else line.file.readline()
            assert answer.startswith((b"a NO [UNAVAILABLE]", b"-ERR [SYS/TEMP]")), answer
            line.sock.close()
    finally:
        stand_in.sock.shutdown(socket.SHUT_RDWR)
        site.start("accounts")


# time ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", DOORS)
def test_a_client_that_does_not_log_in_is_not_waited_for(site, door):
    line, begin = Line(site, door), time.monotonic()
    command = b"n NOOP\r\n" if door == "imap" else b"CAPA\r\n"
    try:
        while time.monotonic() - begin < 10:
            line.sock.sendall(command)
            time.sleep(0.3)
    except OSError:
        pass
    assert 2.5 < time.monotonic() - begin < 8
    try:
        assert b"too long without a login" in line.rest().lower()
    except OSError:
        pass  # reset: we said something after its end


@pytest.mark.parametrize("door", DOORS)
def test_a_command_that_comes_byte_by_byte_is_not_waited_for(site, door):
    line, begin = Line(site, door, "ann@alpha.test"), time.monotonic()
    try:
        while time.monotonic() - begin < 10:
            line.sock.sendall(b"x")
            time.sleep(0.2)
    except OSError:
        pass
    assert 1.5 < time.monotonic() - begin < 6


def test_idle_and_slow_literals_may_last(site):
    idle, slow = Line(site, "imap", "ann@alpha.test"), Line(site, "imap", "ann@alpha.test")
    idle.say("i IDLE")
    assert idle.until(b"+")
    slow.say(b"a APPEND INBOX {60+}")
    for _ in range(6):  # 6 s; the command's own time is 2 s, and 60 bytes at 10 a second have 6 beside
        slow.sock.sendall(b"1234567890")
        time.sleep(0.9)
    slow.say(b"")
    assert slow.until(b"a ").startswith(b"a OK [APPENDUID")
    idle.say("DONE")
    assert idle.until(b"i ").startswith(b"i OK")
    many = Line(site, "imap", "ann@alpha.test")
    begin = time.monotonic()
    while time.monotonic() - begin < 5:  # a client that always has the next command half sent
        many.sock.sendall(b"AB NOOP\r\nA")
        time.sleep(0.1)
        many.sock.sendall(b"B NOOP\r\n")
        assert many.file.readline().startswith(b"AB OK") and many.file.readline().startswith(b"AB OK")


@pytest.mark.parametrize("door", DOORS)
def test_connections_of_one_network_that_have_not_logged_in_are_bounded(site, door):
    names = [f"many{i}@alpha.test" for i in range(8)]  # a mailbox has one POP3 session at a time
    for name in names:
        if door == "pop3":
            site.add_account(name, PASSWORD)
    users = [Line(site, door, name if door == "pop3" else "ann@alpha.test") for name in names]  # those that have are not counted
    lines = [Line(site, door) for _ in range(5)]
    assert all(line.greeting.startswith(DOORS[door]) for line in lines)
    plain = socket.create_connection(("127.0.0.1", site.ports[door]), 10)
    assert b"too many connections from your network" in plain.makefile("rb").read().lower()
    assert Line(site, door, source="127.0.0.2").greeting.startswith(DOORS[door]), "another network"
    lines.pop().sock.close()
    wait_until("room", lambda: Line(site, door).greeting.startswith(DOORS[door]))
    assert all(u.works() for u in users)
    for line in lines + users:
        line.sock.close()
    time.sleep(0.5)
