"""POP3 as real clients speak it (Python's poplib) and as nobody should."""
import base64
import poplib
import socket
import ssl

import pytest

from mailbox_test import deliver, write_blob
from postbus_test.site import wait_until

poplib._MAXLINE = 20000
PASSWORD = "correct horse 1"
MESSAGE = (b"From: alice@alpha.test\r\nTo: bob@beta.test\r\nSubject: =?utf-8?q?H=C3=A9?=\r\n\r\n.a line that begins with a dot\r\n..two\r\n.\r\n"
           b"8-bit \xc3\xa9 and \xff\r\n" + b"x" * 5000 + b"\r\nbare\nLF\r\nend")
PREFIX = b"Return-Path: <alice@alpha.test>\r\nDelivered-To: bob@beta.test\r\n"


@pytest.fixture(scope="module")
def pop(bare_site):
    bare_site.start("accounts", "mailbox", "pop3d")
    bare_site.nats.sock.settimeout(None)
    bare_site.bob = bare_site.add_account("bob@beta.test", PASSWORD)
    return bare_site


@pytest.fixture
def mail(pop):
    """Three messages in an empty INBOX; their ids."""
    pop.rpc("mailbox.delete", user=pop.bob)
    pop.redis("DEL", f"{{u:{pop.bob}}}:gone")  # the account is there still
    blobs = [write_blob(pop, MESSAGE + b" %d\r\n" % n) for n in range(3)]
    for blob in blobs:
        assert deliver(pop, blob, pop.bob)["duplicate"] is False
        pop.redis("FCALL", "blob_release", 1, f"b:{{{blob}}}", "q")
    return blobs


def tls():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def login(site, password=PASSWORD):
    client = poplib.POP3_SSL("127.0.0.1", site.ports["pop3s"], context=tls(), timeout=20)
    client.user("bob@beta.test")
    client.pass_(password)
    return client


class Raw:
    """Bytes to and from the TLS port."""

    def __init__(self, site, login=True, port="pop3s"):
        sock = socket.create_connection(("127.0.0.1", site.ports[port]), 10)
        self.sock = tls().wrap_socket(sock) if port == "pop3s" else sock
        self.file = self.sock.makefile("rb")
        assert self.line().startswith(b"+OK")
        if login:
            assert self.ask(b"USER bob@beta.test").startswith(b"+OK")
            assert self.ask(b"PASS " + PASSWORD.encode()).startswith(b"+OK 3 messages")

    def line(self):
        return self.file.readline()

    def ask(self, line):
        self.sock.sendall(line + b"\r\n")
        return self.line()

    def lines(self):
        out = []
        while (line := self.line()) != b".\r\n":
            assert line
            out.append(line)
        return out


def test_the_bytes_are_those_that_were_stored(pop, mail):
    raw = Raw(pop)
    assert raw.ask(b"RETR 2").startswith(b"+OK")
    got = b""
    while not got.endswith(b"\r\n.\r\n"):
        got += raw.sock.recv(65536) if not raw.file.peek(1) else raw.file.read1(65536)
    got = got[:-3]
    lines = got.split(b"\r\n")
    assert b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines) == PREFIX + MESSAGE + b" 1\r\n"


def test_poplib_reads_and_deletes(pop, mail):
    client = login(pop)
    size = len(PREFIX + MESSAGE) + 4
    assert client.stat() == (3, 3 * size)
    assert client.list()[1] == [b"%d %d" % (n, size) for n in (1, 2, 3)]
    uids = [line.split()[1] for line in client.uidl()[1]]
    assert len(set(uids)) == 3 and all(b"." in uid for uid in uids)
    top = client.top(1, 2)[1]
    assert top[0] == b"Return-Path: <alice@alpha.test>" and top[-2:] == [b".a line that begins with a dot", b"..two"]
    client.dele(2)
    assert client.stat()[0] == 2
    with pytest.raises(poplib.error_proto):
        client.retr(2)
    client.rset()
    assert client.stat()[0] == 3
    client.dele(1)
    client.dele(3)
    client.quit()
    client = login(pop)
    assert [line.split()[1] for line in client.uidl()[1]] == [uids[1]]
    client.quit()
    for blob, there in zip(mail, "010"):
        assert pop.redis("EXISTS", f"b:{{{blob}}}").strip() == there


def test_a_lost_connection_deletes_nothing(pop, mail):
    client = login(pop)
    client.dele(1)
    client.close()
    client = login(pop)
    assert client.stat()[0] == 3
    client.quit()


def test_starttls_and_sasl(pop, mail):
    client = poplib.POP3("127.0.0.1", pop.ports["pop3"], timeout=10)
    capabilities = client.capa()
    assert "STLS" in capabilities and "SASL" not in capabilities and "USER" not in capabilities
    with pytest.raises(poplib.error_proto, match="TLS first"):
        client.user("bob@beta.test")
    client.stls(tls())
    capabilities = client.capa()
    assert capabilities["SASL"] == ["PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"] and "STLS" not in capabilities
    secret = base64.b64encode(b"\0bob@beta.test\0" + PASSWORD.encode()).decode()
    assert client._shortcmd("AUTH PLAIN " + secret).startswith(b"+OK 3 messages")
    client.quit()
    raw = Raw(pop, login=False)
    assert raw.ask(b"AUTH LOGIN") == b"+ VXNlcm5hbWU6\r\n"
    assert raw.ask(base64.b64encode(b"bob@beta.test")) == b"+ UGFzc3dvcmQ6\r\n"
    assert raw.ask(base64.b64encode(PASSWORD.encode())).startswith(b"+OK 3 messages")
    raw = Raw(pop, login=False)
    assert raw.ask(b"AUTH PLAIN") == b"+ \r\n"
    assert raw.ask(b"*").startswith(b"-ERR")
    assert raw.ask(b"AUTH PLAIN ****").startswith(b"-ERR [AUTH]")
    assert raw.ask(b"AUTH CRAM-MD5").startswith(b"-ERR")


def test_what_was_pipelined_before_tls_is_thrown_away(pop):
    raw = Raw(pop, login=False, port="pop3")
    raw.sock.sendall(b"STLS\r\nNOOP\r\n")
    assert raw.line().startswith(b"+OK")
    encrypted = tls().wrap_socket(raw.sock)
    encrypted.sendall(b"QUIT\r\n")
    assert encrypted.recv(100).startswith(b"+OK bye")


def test_a_wrong_password_says_auth(pop):
    with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
        login(pop, "wrong")


def test_bad_input_is_refused_and_bounded(pop, mail):
    raw = Raw(pop)
    for line in (b"", b"FOO", b"RETR", b"RETR 0", b"RETR 4", b"RETR -1", b"RETR 99999999999999999999", b"TOP 1", b"TOP 1 x", b"DELE x", b"LIST 4", b"USER x", b"NO\0OP", b"x" * 10000):
        assert raw.ask(line).startswith(b"-ERR"), line
    assert raw.ask(b"NOOP").startswith(b"+OK")
    for _ in range(30):
        try:
            answer = raw.ask(b"FOO")
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            break
        if not answer:
            break
    else:
        pytest.fail("bad commands without end")


def test_pipelined_commands_are_answered_in_order(pop, mail):
    raw = Raw(pop)
    raw.sock.sendall(b"STAT\r\nRETR 1\r\nDELE 1\r\nNOOP\r\nQUIT\r\n")
    assert raw.line().startswith(b"+OK 3 ")
    assert raw.line().startswith(b"+OK")
    assert len(raw.lines()) > 5
    assert raw.line().startswith(b"+OK message 1 marked")
    assert raw.line() == b"+OK\r\n"
    assert raw.line() == b"+OK bye, 1 messages removed\r\n"
    assert raw.line() == b""


def test_events_say_what_happened(pop, mail):
    def seen(name):
        return pop.tap.seen.get("events/" + name, 0)

    before = seen("mail.fetched"), seen("mailbox.changed")
    client = login(pop)
    client.retr(1)
    client.retr(1)
    client.dele(1)
    client.quit()
    wait_until("the events", lambda: (seen("mail.fetched"), seen("mailbox.changed")) == (before[0] + 1, before[1] + 1), 5)


def test_no_accounts_is_temporary(pop, mail):
    pop.stop("accounts")
    try:
        with pytest.raises(poplib.error_proto, match=r"\[SYS/TEMP\]"):
            login(pop)
    finally:
        pop.start("accounts")
