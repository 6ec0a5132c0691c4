"""postbus backup and restore: an empty site gets every domain, account, alias, folder, flag and byte; a backup is incremental, keeps earlier states, and runs while mail moves."""
import imaplib
import json
import os
import pathlib
import re
import ssl
import subprocess
import threading
import time

import pytest

from postbus_test.site import BIN, Site

PASSWORD = "correct horse 1"
TLS = ssl._create_unverified_context()
MAIL = [  # (folder, flags, date, bytes)
    ("INBOX", r"(\Seen $Label1 work)", "24-Nov-2026 09:00:00 +0000", b"From: a@x.test\r\nSubject: plain\r\n\r\nFrom the start\r\n"),
    ("INBOX", r"(\Flagged \Deleted)", "01-Jan-1990 00:00:00 +0100", b"Subject: no line end\r\n\r\nlast"),
    ("INBOX", None, "24-Nov-2026 09:00:01 +0000", b"Subject: bare LF and CR\r\n\r\na\nb\rc\r\n"),
    ("INBOX", r"(\Answered $Forwarded)", "24-Nov-2026 09:00:02 +0000", b"Subject: twice\r\n\r\nx\r\n"),
    ("INBOX", None, "24-Nov-2026 09:00:02 +0000", b"Subject: twice\r\n\r\nx\r\n"),
    ("Sent", r"(\Draft)", "24-Nov-2026 09:00:03 +0000", "Subject: grüße\r\n\r\nschön\r\n".encode()),
    ("Entw&APw-rfe/50%", None, "24-Nov-2026 09:00:04 +0000", b"Subject: large\r\n\r\n" + b"0123456789\r\n" * 30000),
]


@pytest.fixture(scope="module")
def sites():
    pair = [Site("mx.alpha.test"), Site("mx.alpha.test")]
    for s in pair:
        s.start("accounts", "mailbox", "imapd", "admin")
    yield pair
    for s in pair:
        s.end()


@pytest.fixture(scope="module")
def full(sites):
    """The first site: two domains, three accounts, aliases, settings, and ann's mail."""
    s = sites[0]
    for address in ("ann@alpha.test", "o'b/ob.x@alpha.test", "cy@beta.test"):
        s.add_account(address, PASSWORD, quota_bytes=10_000_000 if address.startswith("ann") else 0)
    assert s.api("POST", "/api/v1/aliases", {"address": "all@alpha.test", "targets": ["ann@alpha.test", "cy@beta.test", "else@where.test"]})[0] == 201
    assert s.api("PATCH", "/api/v1/domains/beta.test", {"dns": {"dmarc_policy": "reject"}})[0] == 200
    with session(s) as i:
        for folder, flags, date, raw in MAIL:
            i.create(f'"{folder}"')
            assert i.append(f'"{folder}"', flags, f'"{date}"', raw)[0] == "OK"
        i.create("Made", )
        i.unsubscribe("Made")
        i.select("INBOX")
        i.copy("1", "Archive")
    with session(s, "cy@beta.test") as i:
        i.append("INBOX", None, None, b"Subject: to cy\r\n\r\nx\r\n")
    return s


def session(site, address="ann@alpha.test", password=PASSWORD):
    i = imaplib.IMAP4_SSL("127.0.0.1", site.ports["imaps"], ssl_context=TLS)
    i.login(address, password)
    return i


def holds(site, address="ann@alpha.test"):
    """({folder: [(date, flags, bytes), …] by UID}, {folder: attributes}, {subscribed})"""
    with session(site, address) as i:
        found, attributes = {}, {}
        for line in i.list()[1]:
            flags, name = re.match(rb'\((.*?)\) "/" "?(.*?)"?$', line).groups()
            attributes[name] = frozenset(flags.split()) - {rb"\HasChildren", rb"\HasNoChildren"}
            i.select(b'"' + name + b'"', readonly=True)
            found[name] = [(re.search(rb'INTERNALDATE "(.*?)"', part[0]).group(1), frozenset(re.search(rb"FLAGS \((.*?)\)", part[0]).group(1).split()) - {rb"\Recent"}, part[1])
                           for part in i.fetch("1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")[1] or [] if isinstance(part, tuple)]
        return found, attributes, {re.search(rb'"/" "?(.*?)"?$', line).group(1) for line in i.lsub()[1] if line}


def run(site, *words, status=0):
    env = {**os.environ, "POSTBUS_API": f"http://127.0.0.1:{site.ports['api']}", "POSTBUS_TOKEN_FILE": str(site.secrets / "admin.token")}
    done = subprocess.run([str(w) for w in (BIN / "cli", *words)], capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout) if "--json" in words else done.stdout + done.stderr


def test_an_empty_site_gets_every_byte_and_flag(sites, full, tmp_path):
    empty = sites[1]
    saved = run(full, "backup", tmp_path / "b", "--json")
    assert (saved["accounts"], saved["messages"], saved["new"]) == (3, len(MAIL) + 2, len(MAIL) + 1)  # a copy has the bytes of its source
    restored = run(empty, "restore", tmp_path / "b", "--json")
    assert (restored["domains"], restored["accounts"], restored["done"], restored["skipped"], restored["failed"]) == (2, 3, len(MAIL) + 2, 0, 0)
    for address in ("ann@alpha.test", "cy@beta.test"):
        assert holds(empty, address) == holds(full, address)
    for path in ("/api/v1/accounts/ann@alpha.test", "/api/v1/accounts/o'b%2Fob.x@alpha.test", "/api/v1/aliases/all@alpha.test", "/api/v1/domains/beta.test"):
        there, here = full.api("GET", path), empty.api("GET", path)
        assert here[0] == 200
        for field in ("address", "quota_bytes", "targets", "dns"):
            assert here[1].get(field) == there[1].get(field), (path, field)
    assert "error" in empty.rpc("accounts.login", login="ann@alpha.test", password="wrong horse 1", client_ip="192.0.2.1", protocol="imap")
    # a second restore changes nothing
    again = run(empty, "restore", tmp_path / "b", "--json")
    assert (again["done"], again["skipped"]) == (0, len(MAIL) + 2)
    assert holds(empty) == holds(full)


def test_a_backup_is_incremental_and_keeps_earlier_states(sites, full, tmp_path):
    other = sites[1]
    first = run(full, "backup", tmp_path / "b", "ann@alpha.test", "--json")
    before = holds(full)
    time.sleep(1.1)  # a state has the second of its time as its name
    with session(full) as i:
        i.select("INBOX")
        i.store("1", "-FLAGS", r"(\Seen)")
        i.uid("MOVE", "4", "Sent")
        i.append("INBOX", None, None, b"Subject: new\r\n\r\nx\r\n")
        i.select('"Entw&APw-rfe/50%"')
        i.store("1", "+FLAGS", r"(\Deleted)")
        i.expunge()
    second = run(full, "backup", tmp_path / "b", "ann@alpha.test", "--json")
    assert second["new"] == 1 and second["messages"] == first["messages"]
    for words, there in ((("ann@alpha.test", "--at", first["time"]), before), (("alpha.test",), holds(full))):
        assert other.api("DELETE", "/api/v1/accounts/ann@alpha.test")[0] in (204, 404)
        run(other, "restore", tmp_path / "b", *words)
        assert holds(other) == there
    # what was removed is put back beside what is there, and nothing comes twice
    assert run(full, "restore", tmp_path / "b", "ann@alpha.test", "--at", first["time"], "--folder", "Entw\u00fcrfe/50%", "--json")["done"] == 1
    assert holds(full)[0][b"Entw&APw-rfe/50%"] == before[0][b"Entw&APw-rfe/50%"]
    # with --keep 1 the bytes of the large message stay only because it is there again
    mail = lambda: sum(1 for f in (tmp_path / "b/alpha.test/ann/mail").rglob("*") if f.is_file())
    with session(full) as i:
        i.select('"Entw&APw-rfe/50%"')
        i.store("1", "+FLAGS", r"(\Deleted)")
        i.expunge()
    count = mail()
    time.sleep(1.1)
    run(full, "backup", tmp_path / "b", "ann@alpha.test", "--keep", "1")
    assert mail() == count - 1 and len(list((tmp_path / "b/alpha.test/ann/states").iterdir())) == 1


def test_messages_that_move_while_a_backup_runs_are_in_it(full, tmp_path):
    """A client moves messages to and fro: each is in the backup, in one of its folders."""
    with session(full, "cy@beta.test") as i:
        i.create("Fro")
        for n in range(30):
            i.append("INBOX", None, None, b"Subject: moving %d\r\n\r\nx\r\n" % n)

    def move():
        with session(full, "cy@beta.test") as i:
            for here, there in (("INBOX", "Fro"), ("Fro", "INBOX")) * 3:
                i.select(here)
                i.uid("MOVE", "1:*", there)
    mover = threading.Thread(target=move)
    mover.start()
    run(full, "backup", tmp_path / "b", "cy@beta.test")
    mover.join()
    state = json.loads(next((tmp_path / "b/beta.test/cy/states").iterdir()).read_text())
    ids = {m["email_id"] for f in state["folders"] for m in f["messages"]}
    assert len(ids) == 31
    assert sum(1 for f in (tmp_path / "b/beta.test/cy/mail").rglob("*") if f.is_file()) == 31


def test_what_is_wrong_is_said(full, tmp_path):
    assert "there is no account nobody@alpha.test" in run(full, "backup", tmp_path / "b", "nobody@alpha.test", status=1)
    assert "there is no such backup" in run(full, "restore", tmp_path / "b", "gamma.test", status=1)
    assert "--at is a time" in run(full, "restore", tmp_path / "b", "--at", "yesterday", status=64)
    run(full, "backup", tmp_path / "c", "cy@beta.test")
    record = pathlib.Path(tmp_path / "c/beta.test/cy/record.json")
    assert record.stat().st_mode & 0o077 == 0  # it has what is kept of a password
    next((tmp_path / "c/beta.test/cy/states").iterdir()).write_text("{")
    assert "cannot read" in run(full, "restore", tmp_path / "c", status=1)
    assert full.api("PUT", "/api/v1/accounts/new@alpha.test/record", {"record": {"user": "x"}})[0] == 422
    assert full.api("GET", "/api/v1/accounts/nobody@alpha.test/record")[0] == 404
