"""\\Recent of RFC 3501 §2.3.2: a message is recent in the first session that is told of it, and in no later one; IMAP4rev2 has no such flag (RFC 9051 Appendix E)."""
import re
import socket
import ssl

import pytest

from postbus_test.site import Site

TLS = ssl._create_unverified_context()
PASSWORD = "correct horse 1"


@pytest.fixture(scope="module")
def site():
    s = Site(tap=False)
    s.start("accounts", "mailbox", "imapd", "imapd@2")
    yield s
    s.end()


class Client:
    def __init__(self, site, user, port="imaps", enable=None):
        self.sock = TLS.wrap_socket(socket.create_connection(("127.0.0.1", site.ports[port]), 20))
        self.file = self.sock.makefile("rb")
        self.file.readline()
        self.do(f'LOGIN {user} "{PASSWORD}"')
        if enable:
            self.do(f"ENABLE {enable}")

    def do(self, command):
        """The responses, the tagged one last."""
        self.sock.sendall(f"x {command}\r\n".encode())
        return self.until("x ")

    def until(self, start):
        lines = []
        while not lines or not lines[-1].startswith(start):
            line = self.file.readline().decode().rstrip("\r\n")
            assert line, f"the connection ended: {lines}"
            lines.append(line)
        return lines

    def append(self, folder="INBOX"):
        answer = self.do(f"APPEND {folder} {{18+}}\r\nSubject: x\r\n\r\nxy\r\n")[-1]
        return int(re.search(r"APPENDUID \d+ (\d+)", answer).group(1))

    def recent(self):
        """The uids with \\Recent."""
        return [int(re.search(r"UID (\d+)", line).group(1)) for line in self.do("FETCH 1:* (UID FLAGS)") if "\\Recent" in line]


@pytest.fixture
def user(site, request):
    name = re.sub(r"\W", "", request.node.name.removeprefix("test_"))[:40] + "@alpha.test"
    site.add_account(name, PASSWORD)
    return name


def test_new_mail_is_recent_in_the_first_session_that_selects_it(site, user):
    first, second, other = Client(site, user), Client(site, user), Client(site, user, "imaps@2")
    first.append(), first.append()
    answer = first.do("SELECT INBOX")
    assert "* 2 EXISTS" in answer and "* 2 RECENT" in answer, answer
    assert len(first.recent()) == 2
    for later in (second, other):
        answer = later.do("SELECT INBOX")
        assert "* 2 EXISTS" in answer and "* 0 RECENT" in answer, f"a later session: {answer}"
        assert later.recent() == []
    assert len(first.recent()) == 2, "the flag stays in the first session (RFC 3501 §2.3.2)"


def test_a_session_that_may_not_change_the_folder_takes_nothing(site, user):
    reader, writer = Client(site, user), Client(site, user)
    reader.append()
    assert "* 1 RECENT" in reader.do("EXAMINE INBOX"), "EXAMINE shows what is recent (RFC 3501 §6.3.2)"
    assert "* 1 RECENT" in writer.do("SELECT INBOX"), "and leaves it so"


def test_mail_that_comes_later_is_recent_in_one_of_the_sessions(site, user):
    sessions = [Client(site, user), Client(site, user), Client(site, user, "imaps@2")]
    sender = Client(site, user)
    for session in sessions:
        session.do("SELECT INBOX")
        session.sock.sendall(b"i IDLE\r\n")
        session.until("+")
    uid = sender.append()
    for session in sessions:
        session.until("* 1 EXISTS")
        session.sock.sendall(b"DONE\r\n")
        session.until("i ")
    assert sorted(session.recent() for session in sessions) == [[], [], [uid]]


def test_search_knows_recent_new_and_old(site, user):
    session = Client(site, user)
    session.append()
    session.do("SELECT INBOX")
    session.do("UNSELECT")
    session.append(), session.append()
    session.do("SELECT INBOX")
    session.do(r"STORE 3 +FLAGS (\Seen)")
    assert session.do("SEARCH RECENT")[0] == "* SEARCH 2 3"
    assert session.do("SEARCH OLD")[0] == "* SEARCH 1"
    assert session.do("SEARCH NEW")[0] == "* SEARCH 2", "recent and not seen (RFC 3501 §6.4.4)"
    assert r"\Recent \Seen" in "".join(session.do("FETCH 3 (FLAGS)"))


def test_imap4rev2_has_no_recent(site, user):
    session = Client(site, user, enable="IMAP4rev2")
    session.append()
    assert not [line for line in session.do("SELECT INBOX") if "RECENT" in line]
    assert session.recent() == []
    assert "* 1 RECENT" in Client(site, user).do("SELECT INBOX"), "and takes it from nobody"
