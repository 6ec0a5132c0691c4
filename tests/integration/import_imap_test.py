"""postbus mailbox import from another IMAP server: Dovecot with 1,000 messages, cut and killed in the middle, repeated; and servers that answer nonsense."""
import datetime
import imaplib
import itertools
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

from postbus_test import dovecot
from postbus_test.site import BIN, Site, wait_until

PASSWORD = "correct horse 1"
TLS = ssl._create_unverified_context()
SPECIAL = [  # (folder there, folder here, flags, seconds since 1970, bytes)
    ("INBOX", "INBOX", r"(\Flagged \Deleted $Label1 work)", 1700000000, b"Subject: no Message-ID, no line end\r\n\r\nlast"),
    ("INBOX", "INBOX", r"(\Answered $Forwarded)", 1700000001, "Subject: grüße\r\nMessage-ID: <8bit@x.test>\r\n\r\nschön\0\r\n".encode()),
    ("INBOX.Gesendet", "Sent", r"(\Seen)", 1700000002, b"Subject: sent\r\nMessage-ID: <sent@x.test>\r\n\r\nx\r\n"),
    ("INBOX.Entw&APw-rfe.v1", "Entw&APw-rfe/v1", r"(\Draft)", 1700000003, b"Subject: twice\r\nMessage-ID: <twice@x.test>\r\n\r\nx\r\n"),
    ("INBOX.Entw&APw-rfe.v1", "Entw&APw-rfe/v1", r"(\Seen)", 1700000003, b"Subject: twice\r\nMessage-ID: <twice@x.test>\r\n\r\nx\r\n"),
    ("INBOX.Projekte", "Projekte", r"()", 1700000004, b"\r\nonly a body\r\n"),
]
MANY = 1000


def date_text(seconds):
    return imaplib.Time2Internaldate(datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc))


def holds(session, names):
    """{folder: [(date, flags, bytes), …] in any order}"""
    found = {}
    for name in names:
        assert session.select(f'"{name}"', readonly=True)[0] == "OK", name
        rows = []
        for part in session.fetch("1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")[1] or []:
            if isinstance(part, tuple):
                date = re.search(rb'INTERNALDATE "(.*?)"', part[0]).group(1).decode().strip()
                rows.append((int(datetime.datetime.strptime(date, "%d-%b-%Y %H:%M:%S %z").timestamp()), frozenset(re.search(rb"FLAGS \((.*?)\)", part[0]).group(1).decode().split()) - {"\\Recent"}, part[1]))
        found[name] = sorted(rows, key=repr)
    return found


@pytest.fixture(scope="module")
def site():
    s = Site("mx.alpha.test")
    s.start("accounts", "mailbox", "imapd", "admin")
    yield s
    s.end()


@pytest.fixture(scope="module")
def other(site):
    """Dovecot with its account filled: 1,000 messages in INBOX, and the special ones."""
    d = dovecot.Dovecot(site.secrets_root / "imapd/tls.crt", site.secrets_root / "imapd/tls.key")
    cur = d.mail / "cur"
    cur.mkdir(exist_ok=True)
    for n in range(MANY):
        path = cur / f"{1764000000 + n}.{n}.host:2,{'S' if n % 3 == 0 else ''}"
        path.write_bytes(b"From: a@x.test\r\nDate: Mon, 23 Nov 2026 09:00:00 +0000\r\nMessage-ID: <%d@x.test>\r\nSubject: %d\r\n\r\n" % (n, n) + b"x" * (n % 5 * 700) + b"\r\n")
        os.utime(path, (1764000000 + n, 1764000000 + n))
    d.own()
    with their_session(d) as s:
        for folder, _, flags, date, raw in SPECIAL:
            s.create(f'"{folder}"')
            assert s.append(f'"{folder}"', flags, date_text(date), raw.replace(b"\0", b"."))[0] == "OK"
        s.subscribe('"INBOX.Projekte"')
        found = holds(s, dict.fromkeys(there for there, *_ in SPECIAL))
        d.holds = {here: found[there] for there, here, *_ in SPECIAL}
    yield d
    d.end()


def their_session(d):
    s = imaplib.IMAP4_SSL("localhost", d.imaps, ssl_context=TLS)
    s.login(dovecot.USER, dovecot.PASSWORD)
    return s


numbers = itertools.count(1)


class Person:
    def __init__(self, site):
        self.site, self.address = site, f"user{next(numbers)}@alpha.test"
        site.add_account(self.address, PASSWORD)

    def session(self):
        s = imaplib.IMAP4_SSL("localhost", self.site.ports["imaps"], ssl_context=TLS)
        s.login(self.address, PASSWORD)
        return s

    def count(self):
        with self.session() as s:
            return int(re.search(rb"MESSAGES (\d+)", s.status("INBOX", "(MESSAGES)")[1][0]).group(1))


@pytest.fixture
def person(site):
    return Person(site)


@pytest.fixture
def importing(site, tmp_path):
    """importing(person, url, …) answers (exit status, what it printed); importing.start(…) a process."""
    secret = tmp_path / "password"
    env = {**os.environ, "POSTBUS_API": f"http://127.0.0.1:{site.ports['api']}", "POSTBUS_TOKEN_FILE": str(site.secrets / "admin.token")}

    def start(person, url, *words, password=dovecot.PASSWORD, ca=site.secrets_root / "ca/ca.crt"):
        secret.write_text(password + "\n")
        return subprocess.Popen([str(w) for w in (BIN / "cli", "mailbox", "import", person.address, url, "--password-file", secret, *(("--ca", ca) if ca else ()), *words)],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)

    def run(*words, **more):
        process = start(*words, **more)
        out, err = process.communicate(timeout=240)
        return process.returncode, out + err
    run.start = start
    return run


def summary(result):
    assert result[0] == 0, result
    whole = json.loads(result[1][result[1].index("{"):result[1].rindex("}") + 1])
    return whole["done"], whole["skipped"], whole["failed"]


class Relay:
    """Passes bytes on to a server; cuts a connection after so many bytes of the server, as often as told."""

    def __init__(self, port, after, times):
        self.server, self.to, self.after, self.times, self.cuts = socket.create_server(("127.0.0.1", 0)), port, after, times, 0
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near = self.server.accept()[0]
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.to))
            threading.Thread(target=self._pass, args=(near, far, None), daemon=True).start()
            threading.Thread(target=self._pass, args=(far, near, self.after if self.cuts < self.times else None), daemon=True).start()

    def _pass(self, source, target, left):
        try:
            while piece := source.recv(16384):
                target.sendall(piece)
                if left is not None:
                    left -= len(piece)
                    if left < 0:
                        self.cuts += 1
                        break
        except OSError:
            pass
        for s in (source, target):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def test_an_account_of_dovecot_is_copied_whole_once_however_often_it_is_cut(person, other, importing):
    relay = Relay(other.imaps, 400_000, 3)
    url = f"imaps://{dovecot.USER}@localhost:{relay.port}"
    killed = importing.start(person, url)
    wait_until("some messages to be here", lambda: person.count() > 100 or killed.poll() is not None, 60)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    before = person.count()
    assert 100 < before < MANY
    done, skipped, failed = summary(importing(person, url, "--json"))
    assert relay.cuts == 3 and failed == 0 and done + skipped == MANY + len(SPECIAL) and before <= skipped <= before + 1
    with person.session() as s:
        assert holds(s, dict.fromkeys(here for _, here, *_ in SPECIAL)) == other.holds
        subscribed = {re.search(rb'"/" "?(.*?)"?$', line).group(1).decode() for line in s.lsub()[1]}
        assert {"Projekte", "Sent"} <= subscribed and "Entw&APw-rfe/v1" not in subscribed
    # what the user moves or has flagged stays as it is, and nothing comes twice
    with person.session() as s:
        s.select("INBOX")
        s.uid("STORE", "5", "FLAGS", r"(\Flagged)")
        s.uid("MOVE", "1:3", "Archive")
        moved = holds(s, ["INBOX", "Archive", "Sent"])
    assert summary(importing(person, url, "--json")) == (0, MANY + len(SPECIAL), 0)
    with person.session() as s:
        assert holds(s, ["INBOX", "Archive", "Sent"]) == moved


def test_starttls_maps_and_single_folders(person, other, importing):
    user = dovecot.USER.replace("@", "%40")
    assert summary(importing(person, f"imap://{user}@localhost:{other.imap}", "--folder", "Projekte", "--json")) == (1, 0, 0)
    assert summary(importing(person, f"imap://{user}@localhost:{other.imap}", "--folder", "Sent", "--map", "Sent=Old/Sent", "--json")) == (1, 0, 0)
    with person.session() as s:
        assert holds(s, ["Projekte", "Old/Sent"]) == {"Projekte": other.holds["Projekte"], "Old/Sent": other.holds["Sent"]}


def test_a_wrong_password_and_a_certificate_of_a_stranger_are_final(person, other, importing):
    status, text = importing(person, f"imaps://{dovecot.USER}@localhost:{other.imaps}", password="wrong")
    assert status == 1 and "Authentication failed" in text
    status, text = importing(person, f"imaps://{dovecot.USER}@localhost:{other.imaps}", ca=None)
    assert status == 1 and "self-signed certificate in certificate chain" in text
    assert importing(person, "imaps://localhost")[0] == 64 and importing(person, f"imaps://{dovecot.USER}@localhost", "--rate", "0")[0] == 64


class Scripted:
    """An IMAP server that logs everybody in and answers what it is told: answer(command) is a list of lines or bytes before the tagged OK, or None to hang up."""

    def __init__(self, site, answer):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(site.secrets_root / "imapd/tls.crt", site.secrets_root / "imapd/tls.key")
        self.server, self.answer, self.commands = socket.create_server(("127.0.0.1", 0)), answer, []
        self.url = f"imaps://a@localhost:{self.server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            near = self.server.accept()[0]
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near):
        try:
            with self.context.wrap_socket(near, server_side=True) as s:
                lines = s.makefile("rwb")
                lines.write(b"* OK hello\r\n")
                lines.flush()
                for line in lines:
                    tag, _, command = line.decode().strip().partition(" ")
                    self.commands.append(command)
                    for piece in (answer := self.answer(command)) or []:
                        lines.write(piece if isinstance(piece, bytes) else piece.encode() + b"\r\n")
                    if answer is None:
                        break
                    lines.write(f"{tag} OK done\r\n".encode())
                    lines.flush()
                lines.flush()
        except OSError:
            pass


def folders(command, inbox=()):
    """One INBOX with three messages."""
    if command.startswith("LIST"):
        return [r'* LIST () "/" INBOX', *inbox]
    if command.startswith("EXAMINE"):
        return ["* 3 EXISTS", "* OK [UIDVALIDITY 7] here"]
    if "1:*" in command:
        return ["* 1 EXPUNGE", *(f'* {n} FETCH (UID {n} X-OWN (a (b {{1}}\r\nc)) FLAGS (\\Seen \\Recent bad( ok) INTERNALDATE "nonsense" RFC822.SIZE 10 BODY[HEADER.FIELDS (DATE)] "{n}")'.replace("bad( ", "") for n in (1, 2, 3))]
    return []


def test_a_foreign_server_is_bounded(site, person, importing):
    """A literal that is too large is thrown away, messages that nobody asked for are ignored, NIL is no message; a line without end and an answer that is not IMAP end the connection."""
    def answer(command):
        if command == "UID FETCH 1,2,3 (UID BODY.PEEK[])":
            return ["* 9 FETCH (UID 9 BODY[] {1}", "x)", b"* 1 FETCH (UID 1 BODY[] {53000000}\r\n" + b"x" * 53000000 + b")\r\n", "* 2 FETCH (UID 2 BODY[] {5}", b"Hello)\r\n", "* 3 FETCH (UID 3 BODY[] NIL)"]
        return folders(command, [r'* LIST (\Noselect) "/" "no"', r'* LIST () "/" "&bad"', '* LIST () "/" {3}', b"a\"b\r\n"])
    status, text = importing(person, Scripted(site, answer).url, "--json")
    assert status == 1 and '"done": 1' in text and '"failed": 3' not in text, text
    assert "UID 1: the message is larger than 50 MiB" in text and "UID 3: the message is empty" in text
    with person.session() as s:
        assert [(flags, raw) for _, flags, raw in holds(s, ["INBOX"])["INBOX"]] == [({"\\Seen", "ok"}, b"Hello")]
    for nonsense in (b"* LIST " + b"x" * 300000, b"* LIST (\\Noselect \"/\" x\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"* LIST () \"/\" {99999999999999}\r\n"):
        status, text = importing(person, Scripted(site, lambda command: [nonsense] if command.startswith("LIST") else []).url)
        assert status == 69 and re.search("line that is too long|not IMAP|far too long", text), (nonsense[:40], text)


def test_a_message_that_the_server_refuses_does_not_keep_the_others(site, person, importing):
    def answer(command):
        found = re.match(r"UID FETCH ([\d,]+) \(UID BODY", command)
        if found and "2" in found.group(1):
            return None if found.group(1) != "2" and len(server.commands) < 12 else []
        if found:
            return [line for n in found.group(1).split(",") for line in (f"* {n} FETCH (UID {n} BODY[] {{4}}", f"m{n}\r\n)")]
        return folders(command)
    server = Scripted(site, answer)
    status, text = importing(person, server.url)
    assert status == 1 and "UID 2: the server does not send it" in text, text


def test_the_rate_is_kept(site, person, importing):
    def answer(command):
        found = re.match(r"UID FETCH ([\d,]+) \(UID BODY", command)
        if found:
            return [line for n in found.group(1).split(",") for line in (f"* {n} FETCH (UID {n} BODY[] {{4}}", f"m{n}\r\n)")]
        return folders(command)
    begun = time.monotonic()
    assert summary(importing(person, Scripted(site, answer).url, "--rate", "2", "--json")) == (3, 0, 0)
    assert time.monotonic() - begun > 1
