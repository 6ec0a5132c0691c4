"""Clients that people use (Debian's packages), each doing what its user does against imapd: mbsync and offlineimap keep a Maildir and the account the same, from both sides;
getmail and fetchmail take mail away; mutt reads, marks, moves and deletes; curl and Python's imaplib do what scripts do."""
import fcntl
import imaplib
import itertools
import mailbox
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import ssl
import struct
import subprocess
import tempfile
import termios
import time

import pytest

from postbus_test.site import Site, wait_until

PASSWORD = "correct horse 1"
TLS = ssl._create_unverified_context()
MAIL = [(f"message {n}", (b"From: a@x.test\r\nTo: b@y.test\r\nDate: Mon, 23 Nov 2026 09:00:%02d +0000\r\nMessage-ID: <%d@x.test>\r\nSubject: message %d\r\n\r\nFrom here\r\n.\r\nline %d\r\n" % (n, n, n, n))) for n in range(20)]


def run(*argv, env=None, input=None, seconds=120, expect=0):
    done = subprocess.run([str(a) for a in argv], input=input, capture_output=True, timeout=seconds, env={**os.environ, **(env or {})})
    text = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode == expect, f"{argv[0]} ended with {done.returncode}:\n{text}"
    return text


@pytest.fixture(scope="module")
def site():
    s = Site("mx.alpha.test")
    s.start("accounts", "mailbox", "imapd")
    yield s
    s.end()


numbers = itertools.count(1)


class Account:
    def __init__(self, site, address, home, mail=MAIL):
        self.site, self.address, self.home = site, address, home
        self.port, self.ca = site.ports["imaps"], site.secrets_root / "ca/ca.crt"
        site.add_account(address, PASSWORD)
        with self.session() as s:
            for folder in ("Archive/2026", "Entw&APw-rfe"):
                s.create(folder)
            for k, (_, raw) in enumerate(mail):
                s.append("INBOX", r"(\Seen)" if k % 3 == 0 else None, f'"23-Nov-2026 09:00:{k:02} +0000"', raw)
            s.append("Entw&APw-rfe", r"(\Draft)", None, b"Subject: draft\r\n\r\nx\r\n")

    def session(self, folder=None):
        s = imaplib.IMAP4_SSL("localhost", self.port, ssl_context=TLS)
        s.login(self.address, PASSWORD)
        if folder:
            assert s.select(folder)[0] == "OK"
        return s

    def holds(self, folder="INBOX"):
        """{subject: flags}; every subject is there once."""
        found = {}
        with self.session(folder) as s:
            for part in s.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]:
                if isinstance(part, tuple):
                    subject = re.search(rb"Subject: (.*?)\r", part[1]).group(1).decode()
                    assert subject not in found, f"{subject} is there twice"
                    found[subject] = frozenset(re.search(rb"FLAGS \((.*?)\)", part[0]).group(1).decode().split()) - {"\\Recent"}
        return found

    def do(self, subject, action, *words, folder="INBOX"):
        """A UID command about the message with this subject, as another client of its user sends it."""
        with self.session(folder) as s:
            uid = s.uid("SEARCH", "SUBJECT", f'"{subject}"')[1][0].split()[-1].decode()
            assert s.uid(action, uid, *words)[0] == "OK"
            s.expunge()

    def add(self, subject, folder="INBOX"):
        with self.session() as s:
            assert s.append(folder, None, None, f"Subject: {subject}\r\nMessage-ID: <{subject.replace(' ', '.')}@x.test>\r\n\r\nx\r\n".encode())[0] == "OK"


@pytest.fixture
def account(site, tmp_path):
    return Account(site, f"user{next(numbers)}@alpha.test", tmp_path)


LETTERS = {"D": "\\Draft", "F": "\\Flagged", "R": "\\Answered", "S": "\\Seen", "T": "\\Deleted"}


class Maildir:
    """What a person who reads mail in a Maildir does there."""

    def __init__(self, path):
        self.path = path

    def files(self):
        return [f for part in ("cur", "new") for f in (self.path / part).iterdir()]

    def holds(self):
        found = {}
        for f in self.files():
            subject = re.search(rb"^Subject: (.*?)\r?$", f.read_bytes(), re.M).group(1).decode()
            assert subject not in found, f"{subject} is there twice"
            found[subject] = frozenset(LETTERS[c] for c in f.name.partition(":2,")[2] if c in LETTERS)
        return found

    def file(self, subject):
        return next(f for f in self.files() if re.search(rb"^Subject: " + subject.encode() + rb"\r?$", f.read_bytes(), re.M))

    def flag(self, subject, letters):
        f = self.file(subject)
        f.rename(self.path / "cur" / (f.name.partition(":2,")[0] + ":2," + "".join(sorted(set(f.name.partition(":2,")[2]) | set(letters)))))

    def remove(self, subject):
        self.file(subject).unlink()

    def add(self, subject):
        mailbox.Maildir(self.path).add(f"Subject: {subject}\nMessage-ID: <{subject.replace(' ', '.')}@x.test>\n\nx\n")


def both_sides_change(account, local, removes):
    """Each side flags, removes and adds messages, and both flag the same one."""
    local.flag("message 1", "F")
    removes(local, "message 2")
    local.add("new here")
    account.do("message 4", "STORE", "+FLAGS", r"(\Answered)")
    account.do("message 5", "STORE", "+FLAGS", r"(\Deleted)")
    account.add("new there")
    local.flag("message 7", "F")
    account.do("message 7", "STORE", "+FLAGS", r"(\Answered)")


def changed():
    wanted = {name: {"\\Seen"} if k % 3 == 0 else set() for k, (name, _) in enumerate(MAIL)}
    wanted["message 1"] |= {"\\Flagged"}
    wanted["message 4"] |= {"\\Answered"}
    wanted["message 7"] |= {"\\Answered", "\\Flagged"}
    del wanted["message 2"], wanted["message 5"]
    return {**wanted, "new here": set(), "new there": set()}


def test_mbsync_keeps_both_sides_the_same(account, tmp_path):
    (tmp_path / "mail").mkdir()
    (tmp_path / "rc").write_text(f'IMAPAccount site\nHost localhost\nPort {account.port}\nUser {account.address}\nPass "{PASSWORD}"\nTLSType IMAPS\nCertificateFile {account.ca}\n\nIMAPStore far\nAccount site\n\n'
                                 f"MaildirStore near\nPath {tmp_path}/mail/\nInbox {tmp_path}/mail/INBOX\nSubFolders Verbatim\n\nChannel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nRemove Both\nExpunge Both\nSync All\nSyncState *\n")
    sync = lambda: run("mbsync", "-V", "-c", tmp_path / "rc", "-a")
    inbox = Maildir(tmp_path / "mail/INBOX")
    sync()
    assert inbox.holds() == account.holds() and len(inbox.holds()) == len(MAIL)
    assert Maildir(tmp_path / "mail/Entwürfe").holds() == {"draft": {"\\Draft"}} and (tmp_path / "mail/Archive/2026").is_dir()
    both_sides_change(account, inbox, lambda local, subject: local.flag(subject, "T"))
    mailbox.Maildir(tmp_path / "mail/Made").add("Subject: in a new folder\n\nx\n")
    sync()
    assert inbox.holds() == account.holds() == changed()
    assert set(account.holds("Made")) == {"in a new folder"}
    third = sync()
    assert not re.search(r"[+*#-][1-9]", third.splitlines()[-1]), third  # "Far: +0 *0 #0 -0, Near: …": nothing was left to do
    assert inbox.holds() == account.holds() == changed()


def test_offlineimap_keeps_both_sides_the_same(account, tmp_path):
    (tmp_path / "rc").write_text(f"""[general]
accounts = site
metadata = {tmp_path}/state
[Account site]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {tmp_path}/mail
[Repository far]
type = IMAP
remotehost = localhost
remoteport = {account.port}
remoteuser = {account.address}
remotepass = {PASSWORD}
ssl = yes
sslcacertfile = {account.ca}
idlefolders = []
""")
    sync = lambda: run("offlineimap", "-o", "-1", "-u", "basic", "-c", tmp_path / "rc", env={"HOME": str(tmp_path)})
    inbox = Maildir(tmp_path / "mail/INBOX")
    sync()
    assert inbox.holds() == account.holds() and len(inbox.holds()) == len(MAIL)
    both_sides_change(account, inbox, lambda local, subject: local.remove(subject))
    sync()
    assert inbox.holds() == account.holds() == changed()
    third = sync()
    assert not re.search(r"(?i)copy message|adding flags|deleting", third), third
    assert inbox.holds() == account.holds() == changed()


def test_getmail_takes_each_message_once(site, tmp_path):
    """Three messages, because getmail takes a second for each. It does not deliver as root."""
    account = Account(site, f"user{next(numbers)}@alpha.test", tmp_path, MAIL[:3])
    home = pathlib.Path(tempfile.mkdtemp(prefix="postbus-getmail-"))
    got = Maildir(home / "got")
    for part in ("cur", "new", "tmp"):
        (got.path / part).mkdir(parents=True)
    if os.getuid() == 0:
        for path in (home, got.path, *got.path.iterdir()):
            shutil.chown(path, "nobody")
    rc = f"""[retriever]
type = SimpleIMAPSSLRetriever
server = localhost
port = {account.port}
username = {account.address}
password = {PASSWORD}
mailboxes = ("INBOX",)
ca_certs = {account.ca}
[destination]
type = Maildir
path = {got.path}/
{"user = nobody" if os.getuid() == 0 else ""}
[options]
read_all = false
delivered_to = false
received = false
"""
    (tmp_path / "rc").write_text(rc)
    get = lambda: run("getmail", "--getmaildir", tmp_path, "--rcfile", tmp_path / "rc")
    get()
    assert set(got.holds()) == {name for name, _ in MAIL[:3]}
    account.add("later")
    (tmp_path / "rc").write_text(rc + "delete = true\n")
    get()
    assert "later" in got.holds() and len(got.holds()) == 4 and account.holds() == {}
    shutil.rmtree(home)


def test_fetchmail_takes_mail_away_and_waits_in_idle_for_more(account, tmp_path):
    got = tmp_path / "got"
    got.touch()
    (tmp_path / "rc").write_text(f'poll localhost service {account.port} protocol imap user "{account.address}" password "{PASSWORD}" ssl sslcertfile "{account.ca}" fetchall idle mda "cat >> {got}"\n')
    (tmp_path / "rc").chmod(0o600)
    subjects = lambda: set(re.findall(r"^Subject: (.*)$", got.read_text(errors="replace"), re.M))
    running = subprocess.Popen(["fetchmail", "-f", tmp_path / "rc", "--pidfile", tmp_path / "pid", "-v", "--nodetach", "-d", "0"], stdout=open(tmp_path / "said", "wb"), stderr=subprocess.STDOUT, env={**os.environ, "HOME": str(tmp_path), "FETCHMAILHOME": str(tmp_path)})
    try:
        said = lambda: (tmp_path / "said").read_text(errors="replace")
        wait_until("all mail to be fetched", lambda: subjects() == {name for name, _ in MAIL}, 60)
        wait_until("fetchmail to be in IDLE", lambda: " IDLE" in said(), 60)
        account.add("while it waits")
        wait_until("the news to be fetched", lambda: "while it waits" in subjects(), 60)
        wait_until("the account to be empty", lambda: account.holds() == {}, 60)
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(30)


def in_a_terminal(argv, env, seconds=60):
    """Runs a full-screen program in a terminal of 24 by 80, and answers what it wrote."""
    pid, fd = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        os.execvpe(argv[0], argv, env)
    screen, end = b"", time.monotonic() + seconds
    while time.monotonic() < end:
        if not select.select([fd], [], [], 0.5)[0]:
            continue
        try:
            piece = os.read(fd, 65536)
        except OSError:
            piece = b""
        if not piece:
            break
        screen += piece
    else:
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return screen.decode(errors="replace")


def test_mutt_reads_flags_moves_and_deletes(account, tmp_path):
    (tmp_path / "muttrc").write_text(f'set imap_user="{account.address}"\nset imap_pass="{PASSWORD}"\nset folder="imaps://localhost:{account.port}/"\nset spoolfile="+INBOX"\nset certificate_file="{account.ca}"\nset ssl_verify_host=no\n'
                                     f"set wait_key=no\nset quit=yes\nset delete=yes\nset confirmappend=no\nset confirmcreate=no\nset header_cache={tmp_path}/cache\nset sort=date\nset move=no\nset mark_old=no\n"
                                     "push '<search>~s \"message 1$\"<enter><display-message><exit><search>~s \"message 2$\"<enter><flag-message><search>~s \"message 4$\"<enter><delete-message>"
                                     "<search>~s \"message 5$\"<enter><save-message><kill-line>=Archive/2026<enter><sync-mailbox><quit>'\n")
    screen = in_a_terminal(["mutt", "-n", "-F", str(tmp_path / "muttrc")], {**os.environ, "HOME": str(tmp_path), "TERM": "xterm"})
    holds = account.holds()
    assert holds.get("message 1") == {"\\Seen"} and holds.get("message 2") == {"\\Flagged"}, (holds, screen[-2000:])
    assert "message 4" not in holds and "message 5" not in holds and set(account.holds("Archive/2026")) == {"message 5"}, (holds, screen[-2000:])
    assert len(holds) == len(MAIL) - 2


def test_curl_lists_searches_reads_marks_and_adds(account, tmp_path):
    curl = lambda path, *words: run("curl", "-sS", "--cacert", account.ca, "--user", f"{account.address}:{PASSWORD}", f"imaps://localhost:{account.port}/{path}", *words)
    assert "INBOX" in curl("") and "Archive/2026" in curl("")
    assert curl("INBOX?SUBJECT%20%22message%2012%22").split()[-1] == "13"
    assert run("curl", "-sS", "--cacert", account.ca, "--user", f"{account.address}:{PASSWORD}", f"imaps://localhost:{account.port}/INBOX;UID=13").encode().replace(b"\r\n", b"\n") == MAIL[12][1].replace(b"\r\n", b"\n")
    curl("INBOX", "-X", r"UID STORE 13 +FLAGS (\Flagged)")
    (tmp_path / "new").write_bytes(b"Subject: by curl\r\n\r\nx\r\n")
    curl("INBOX", "-T", tmp_path / "new")
    holds = account.holds()
    assert "\\Flagged" in holds["message 12"] and "by curl" in holds


def test_imaplib_does_what_a_script_does(account):
    """The usual script: read what is unseen, file it, expunge."""
    with account.session("INBOX") as s:
        unseen = s.uid("SEARCH", None, "UNSEEN")[1][0].split()
        assert len(unseen) == len(MAIL) - len(MAIL[::3])
        for uid in unseen[:5]:
            raw = s.uid("FETCH", uid, "(RFC822)")[1][0][1]
            assert raw in [r for _, r in MAIL]
            assert s.uid("COPY", uid, "Archive/2026")[0] == "OK" and s.uid("STORE", uid, "+FLAGS", r"(\Deleted)")[0] == "OK"
        assert len(s.expunge()[1]) == 5
        assert s.status("Archive/2026", "(MESSAGES UNSEEN)")[1][0].endswith(b"(MESSAGES 5 UNSEEN 0)")
        assert s.rename("Archive/2026", "Archive/Old")[0] == "OK" and s.delete("Archive/Old")[0] == "OK"
        assert s.getquotaroot("INBOX")[0] == "OK" and s.namespace()[0] == "OK" and s.noop()[0] == "OK"
    assert len(account.holds()) == len(MAIL) - 5
