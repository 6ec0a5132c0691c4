"""postbus mailbox export and import: Maildirs and mbox files, byte for byte and flag for flag, interrupted and repeated."""
import datetime
import imaplib
import itertools
import json
import os
import re
import shutil
import signal
import ssl
import subprocess


import pytest

from postbus_test.site import BIN, ROOT, Site, wait_until

PASSWORD = "correct horse 1"
TLS = ssl._create_unverified_context()
MANY = [f"key{n}" for n in range(40)]  # more keywords than a Maildir has letters

# what a mailbox may hold: (folder, flags, seconds since 1970, bytes)
MAIL = [
    ("INBOX", r"(\Seen $Label1 work)", 1764000000, b"From: a@x.test\r\nSubject: plain\r\n\r\nFrom the start\r\n>From\r\n"),
    ("INBOX", r"(\Flagged \Deleted)", 1700000000, b"Subject: no line end\r\n\r\nlast"),
    ("INBOX", r"()", 1700000001, b"Subject: bare LF\r\n\r\na\nb\r\n\nFrom x Mon Nov 23 09:00:00 2026\r\n"),
    ("INBOX", r"(\Answered)", 1, b"Subject: bare CR\r\n\r\na\rb\r\r\n"),
    ("INBOX", r"($Forwarded)", 1764000002, b"Status: RO\r\nX-Keywords: theirs\r\n\r\nx\r\n"),
    ("Sent", r"(\Draft)", 1764000003, "Subject: grüße\r\n\r\nschön\r\n".encode()),
    ("Archive/2026/Nov", r"(\Seen)", 1764000004, b"Subject: twice\r\n\r\nx\r\n"),
    ("Archive/2026/Nov", r"(\Flagged)", 1764000005, b"Subject: twice\r\n\r\nx\r\n"),
    ("Entwürfe v1.0/50%", r"()", 1764000006, b"\r\nonly a body\r\n"),
    ("Work", f"({' '.join(MANY)})", 1764000007, b"Subject: many keywords\r\n\r\nx\r\n"),
]


def utf7(name):
    return re.sub("[^ -~]+", lambda m: "&" + __import__("base64").b64encode(m.group().encode("utf-16-be")).decode().rstrip("=").replace("/", ",") + "-", name.replace("&", "&-"))


class Account:
    def __init__(self, site, address):
        self.site, self.address = site, address
        site.add_account(address, PASSWORD)

    def session(self):
        session = imaplib.IMAP4_SSL("127.0.0.1", self.site.ports["imaps"], ssl_context=TLS)
        session.login(self.address, PASSWORD)
        return session

    def fill(self, mail=MAIL):
        session = self.session()
        for folder, flags, date, raw in mail:
            session.create(f'"{utf7(folder)}"')
            ok, answer = session.append(f'"{utf7(folder)}"', flags, imaplib.Time2Internaldate(datetime.datetime.fromtimestamp(date, datetime.timezone.utc)), raw)
            assert ok == "OK", answer
        session.unsubscribe("Work")
        session.logout()
        return self

    def holds(self):
        """({folder: [(date, flags, bytes), …] by uid} of folders with mail, {subscribed folders})"""
        session, found = self.session(), {}
        for line in session.list()[1]:
            name = re.search(rb'"/" "?(.*?)"?$', line).group(1).decode()
            session.select(f'"{name}"', readonly=True)
            rows = []
            for part in session.fetch("1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")[1] or []:
                if isinstance(part, tuple):
                    date = re.search(rb'INTERNALDATE "(.*?)"', part[0]).group(1).decode()
                    rows.append((int(datetime.datetime.strptime(date.strip(), "%d-%b-%Y %H:%M:%S %z").timestamp()), frozenset(re.search(rb"FLAGS \((.*?)\)", part[0]).group(1).decode().split()), part[1]))
            if rows:
                found[name] = rows
        subscribed = {re.search(rb'"/" "?(.*?)"?$', line).group(1).decode() for line in session.lsub()[1] if line}
        session.logout()
        return found, subscribed


@pytest.fixture(scope="module")
def site():
    s = Site("mx.alpha.test")
    s.start("accounts", "mailbox", "imapd", "admin")
    yield s
    s.end()


numbers = itertools.count(1)


@pytest.fixture
def account(site):
    return lambda: Account(site, f"user{next(numbers)}@alpha.test")


@pytest.fixture
def cli(site):
    env = {**os.environ, "POSTBUS_API": f"http://127.0.0.1:{site.ports['api']}", "POSTBUS_TOKEN_FILE": str(site.secrets / "admin.token")}

    def run(*words, status=0):
        done = subprocess.run([BIN / "cli", "mailbox", *map(str, words)], capture_output=True, text=True, timeout=120, env=env)
        assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout if status == 0 else done.stdout + done.stderr
    run.env = env
    return run


def summary(text):
    whole = json.loads(text)
    return whole["done"], whole["skipped"], whole["failed"]


def ordered(holds):
    """The same, whatever the order within a folder: a Maildir is read by the times of its messages."""
    return {folder: sorted(rows, key=repr) for folder, rows in holds[0].items()}, holds[1]


@pytest.mark.parametrize("form", ["maildir", "mbox"])
def test_what_is_exported_and_imported_is_the_same_byte_for_byte_and_flag_for_flag(account, cli, tmp_path, form):
    first, second = account().fill(), account()
    assert summary(cli("export", first.address, tmp_path / "out", "--format", form, "--json")) == (len(MAIL), 0, 0)
    assert summary(cli("import", second.address, tmp_path / "out", "--json")) == (len(MAIL), 0, 0)
    if form == "mbox":  # one file is one folder, in order; it has no list of subscriptions of the folder's own
        assert second.holds()[0] == first.holds()[0]
    else:
        assert ordered(second.holds()) == ordered(first.holds())


@pytest.mark.parametrize("form", ["maildir", "mbox"])
def test_an_import_that_is_repeated_adds_nothing(account, cli, tmp_path, form):
    first, second = account().fill(), account()
    cli("export", first.address, tmp_path / "out", "--format", form)
    cli("import", second.address, tmp_path / "out")
    before = second.holds()
    assert summary(cli("import", second.address, tmp_path / "out", "--json")) == (0, len(MAIL), 0)
    assert second.holds() == before
    # what its user moves to another folder does not come back
    session = second.session()
    session.select("INBOX")
    session.uid("MOVE", "1", "Archive")
    session.logout()
    moved = second.holds()
    cli("import", second.address, tmp_path / "out")
    assert second.holds() == moved


def test_an_export_that_is_repeated_adds_what_is_new_and_renames_what_has_other_flags(account, cli, tmp_path):
    first = account().fill()
    cli("export", first.address, tmp_path / "out")
    session = first.session()
    session.select("INBOX")
    session.store("1", "-FLAGS", r"(\Seen)")
    session.append("INBOX", None, None, b"Subject: new\r\n\r\nx\r\n")
    session.logout()
    assert summary(cli("export", first.address, tmp_path / "out", "--json")) == (1, len(MAIL), 0)
    second = account()
    cli("import", second.address, tmp_path / "out")
    assert ordered(second.holds()) == ordered(first.holds())


def test_an_import_that_is_killed_goes_on(account, cli, tmp_path):
    mail = [("INBOX", r"(\Seen)", 1764000000 + n, b"Subject: %d\r\n\r\n" % n + b"x" * 2000 + b"\r\n") for n in range(300)]
    first, second = account().fill(mail), account()
    cli("export", first.address, tmp_path / "out")
    count = lambda: int(re.search(rb"MESSAGES (\d+)", second.session().status("INBOX", "(MESSAGES)")[1][0]).group(1))
    kills = 0
    while kills < 3 and count() < 250:
        before = count()
        running = subprocess.Popen([BIN / "cli", "mailbox", "import", second.address, str(tmp_path / "out")], env=cli.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until("some messages to be there", lambda: count() > before + 10 or running.poll() is not None)
        running.send_signal(signal.SIGKILL)
        running.wait()
        kills += 1
    assert kills
    cli("import", second.address, tmp_path / "out")
    assert ordered(second.holds()) == ordered(first.holds())


def test_an_import_goes_on_when_the_site_does_not_answer_for_a_while(account, cli, site, tmp_path):
    first, second = account().fill(), account()
    cli("export", first.address, tmp_path / "out")
    site.kill("redis")
    running = subprocess.Popen([BIN / "cli", "mailbox", "import", second.address, str(tmp_path / "out")], env=cli.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    site.start_redis()
    text = running.communicate(timeout=60)[0].decode()
    if running.returncode != 0:  # the account could not be found in the meantime: that is said, and a further run does it
        assert running.returncode == 69, text
        cli("import", second.address, tmp_path / "out")
    assert ordered(second.holds()) == ordered(first.holds())


def test_folders_are_mapped_and_chosen(account, cli, tmp_path):
    first, second, third = account().fill(), account(), account()
    cli("export", first.address, tmp_path / "out")
    cli("import", second.address, tmp_path / "out", "--map", "Sent=Sent/Old", "--map", "INBOX=From elsewhere")
    assert {"Sent/Old", "From elsewhere"} <= set(second.holds()[0]) and "INBOX" not in second.holds()[0] and "Sent" not in second.holds()[0]
    cli("import", third.address, tmp_path / "out", "--folder", "Sent")
    assert set(third.holds()[0]) == {"Sent"}


def test_a_maildir_that_dovecot_made(account, cli, tmp_path):
    """tests/data/dovecot-maildir was made by Dovecot 2.4 (its README tells how): flags in names, keywords, subscriptions, a name in modified UTF-7, LF for CRLF."""
    shutil.copytree(ROOT / "tests/data/dovecot-maildir", tmp_path / "mail")
    times = json.loads((tmp_path / "mail/times.json").read_text())
    for name, seconds in times.items():
        os.utime(tmp_path / "mail" / name, (seconds, seconds))
    person = account()
    cli("import", person.address, tmp_path / "mail")
    holds, subscribed = person.holds()
    assert holds == {
        "INBOX": [(1764000000, frozenset({"\\Seen", "$Label1"}), b"From: a@x.test\r\nSubject: first\r\n\r\nline\r\n"), (1764000060, frozenset({"\\Flagged", "\\Answered", "work"}), b"Subject: second\r\n\r\n.\r\n")],
        "Entw&APw-rfe": [(1764000120, frozenset({"\\Draft"}), b"Subject: third\r\n\r\nx\r\n")],
        "Archive/2026": [(1764000180, frozenset({"\\Seen"}), b"Subject: fourth\r\n\r\nx\r\n")],
    }
    assert "Archive/2026" in subscribed and "Entw&APw-rfe" not in subscribed


def test_what_is_refused_is_said_and_the_rest_goes_on(account, cli, site, tmp_path):
    person = account()
    for name in ("cur", "new", "tmp"):
        (tmp_path / "mail" / name).mkdir(parents=True)
    (tmp_path / "mail/cur/1.a:2,").write_bytes(b"Subject: one\n\nx\n")
    (tmp_path / "mail/cur/2.a:2,").write_bytes(b"")
    (tmp_path / "mail/cur/3.a:2,").write_bytes(b"Subject: big\r\n\r\n" + b"x" * (50 * 1024 * 1024 + 1))
    (tmp_path / "mail/cur/4.a:2,").write_bytes(b"Subject: four\n\nx\n")
    text = cli("import", person.address, tmp_path / "mail", status=1)
    assert "2.a:2,: the message is empty" in text and "3.a:2,: the message is larger than 50 MiB" in text and "2 messages, 0 were there already, 2 could not be transferred" in text
    assert [row[2] for row in person.holds()[0]["INBOX"]] == [b"Subject: one\r\n\r\nx\r\n", b"Subject: four\r\n\r\nx\r\n"]


def test_a_full_mailbox_ends_the_import(account, cli, site, tmp_path):
    first, second = account().fill(), account()
    cli("export", first.address, tmp_path / "out")
    status, answer = site.api("PATCH", f"/api/v1/accounts/{second.address}", {"quota_bytes": 100})
    assert status == 200, answer
    wait_until("the quota", lambda: site.rpc("mailbox.stat", user=answer["user"])["quota_bytes"] == 100)
    assert "the mailbox is full" in cli("import", second.address, tmp_path / "out", status=1)


def test_the_api_s_bounds(account, site):
    person = account()
    post = lambda query, body=b"Subject: x\r\n\r\nx\r\n", type="message/rfc822", token=True: raw_post(site, f"/api/v1/accounts/{person.address}/messages?{query}", body, type, token)
    identity = "id=0000000000ABCDEFGHJKMNPQRS"
    assert post(f"folder=INBOX&{identity}")[0] == 201 and post(f"folder=INBOX&{identity}") == (200, {"duplicate": True})
    assert post(f"folder=none&{identity}")[0] == 404 and post(identity)[0] == 400 and post("folder=INBOX&id=01JDADM0000000000000000001")[0] == 400
    assert post(f"folder=INBOX&{identity}", type="text/plain")[0] == 415 and post(f"folder=INBOX&{identity}", body=b"")[0] == 422
    assert post(f"folder=INBOX&{identity}&flags=a(b")[0] == 422 and post(f"folder=INBOX&{identity}&flags={'%20'.join(f'k{n}' for n in range(65))}")[0] == 422 and post(f"folder=INBOX&{identity}&date=x")[0] == 400
    assert post(f"folder=INBOX&{identity}", body=b"x" * (50 * 1024 * 1024 + 1))[0] == 413
    assert post(f"folder=INBOX&{identity}", token=False)[0] == 401
    get = lambda query: site.api("GET", f"/api/v1/accounts/{person.address}/messages{query}")
    assert get("/raw?folder=INBOX&uid=1") == (200, b"Subject: x\r\n\r\nx\r\n") and get("/raw?folder=INBOX&uid=9")[0] == 404 and get("/raw?folder=INBOX&uid=x")[0] == 400 and get("?folder=none")[0] == 404
    assert site.api("PUT", f"/api/v1/accounts/{person.address}/folders", {"name": "a/b", "subscribed": "yes"})[0] == 422
    assert site.api("PUT", f"/api/v1/accounts/{person.address}/folders", {"name": "a//b"})[0] == 422
    assert site.api("PUT", f"/api/v1/accounts/{person.address}/folders", {"name": "a/b"})[0] == 204


def raw_post(site, path, body, type, token):
    import http.client
    connection = http.client.HTTPConnection("127.0.0.1", site.ports["api"], timeout=60)
    connection.request("POST", path, body, {"Content-Type": type, **({"Authorization": "Bearer " + site.token} if token else {})})
    answer = connection.getresponse()
    text = answer.read()
    return answer.status, json.loads(text)
