"""The commands of RFC 9051 and of extensions, one by one, that no other file tries by itself: their responses and response codes."""
import base64
import re
import socket

import pytest

from postbus_test.imap_client import ANN, PASSWORD, Client
from postbus_test.site import Site


@pytest.fixture(scope="module")
def site():
    s = Site("mx.alpha.test")
    s.start("accounts", "mailbox", "imapd")
    s.add_account(ANN, PASSWORD)
    yield s
    s.end()


@pytest.fixture
def client(site):
    c = Client(site)
    for folder in ("Work", "Work/Deep", "Empty"):
        c.tagged(f"CREATE {folder}")
    c.tagged("SELECT INBOX")
    c.tagged(r"STORE 1:* +FLAGS.SILENT (\Deleted)")
    c.tagged("EXPUNGE")
    yield c
    c.close()


def test_capability(client):  # RFC 9051 §6.1.1, §7.2.2
    assert re.match(rb"\* CAPABILITY (IMAP4rev1 IMAP4rev2|IMAP4rev2 IMAP4rev1) ", client.untagged("CAPABILITY"))


def test_noop_and_check_tell_what_is_new(client, site):  # RFC 9051 §6.1.2, RFC 3501 §6.4.1
    other = Client(site)
    for command in ("NOOP", "CHECK"):
        other.append()
        assert b"EXISTS" in client.untagged(command)
    other.close()


def test_logout(client):  # RFC 9051 §6.1.3: BYE before the tagged OK
    answer = client.command("LOGOUT")
    assert answer[0].startswith(b"* BYE") and answer[-1].startswith(b"OK") and client.response() == b""


def test_starttls_and_what_is_refused_before_it(site):  # RFC 9051 §6.2.1, §6.2.3, RFC 5530 §3 PRIVACYREQUIRED
    sock = socket.create_connection(("127.0.0.1", site.ports["imap"]), 30)
    file = sock.makefile("rb")
    greeting = file.readline()
    assert greeting.startswith(b"* OK [CAPABILITY ") and b"LOGINDISABLED" in greeting and b"STARTTLS" in greeting and b"AUTH=" not in greeting
    sock.sendall(f'a LOGIN {ANN} "{PASSWORD}"\r\n'.encode())
    assert file.readline().startswith(b"a NO [PRIVACYREQUIRED]")
    sock.sendall(b"b STARTTLS\r\n")
    assert file.readline().startswith(b"b OK")
    sock.close()


@pytest.mark.parametrize("initial", [True, False])
def test_authenticate_plain(client, initial):  # RFC 9051 §6.2.2, RFC 4959 §3
    client.tagged("UNAUTHENTICATE")
    secret = base64.b64encode(f"\0{ANN}\0{PASSWORD}".encode()).decode()
    if initial:
        assert client.tagged(f"AUTHENTICATE PLAIN {secret}").startswith(b"OK [CAPABILITY ")
    else:
        client.send("a AUTHENTICATE PLAIN")
        client.until(b"+")
        client.send(secret)
        assert client.until(b"a ")[-1].startswith(b"a OK [CAPABILITY ")


def test_namespace(client):  # RFC 9051 §6.3.10
    assert client.untagged("NAMESPACE").startswith(b'* NAMESPACE (("" "/"))')


def test_select_tells_the_folder(client):  # RFC 9051 §6.3.2 (LIST, no UNSEEN), RFC 3501 §6.3.1, RFC 7162 §3.1.2
    client.append(flags=r"\Seen"), client.append()
    answer = client.command("SELECT INBOX")
    text = b"".join(answer)
    for part in (rb"\* FLAGS \(.*\\Seen.*\)", rb"\* 2 EXISTS", rb"OK \[PERMANENTFLAGS \(.*\\\*\)\]", rb"OK \[UIDVALIDITY \d+\]", rb"OK \[UIDNEXT \d+\]", rb"OK \[UNSEEN 2\]", rb"OK \[HIGHESTMODSEQ \d+\]"):
        assert re.search(part, text), part
    assert answer[-1].startswith(b"OK [READ-WRITE]") and b"[CLOSED]" in text
    assert client.tagged("SELECT none").startswith(b"NO [NONEXISTENT]")
    client.tagged("ENABLE IMAP4rev2")
    text = client.untagged("SELECT INBOX")
    assert re.search(rb'\* LIST \(.*\) "/" INBOX', text) and b"[UNSEEN" not in text


def test_examine_changes_nothing(client):  # RFC 9051 §6.3.3
    client.append()
    answer = client.command("EXAMINE INBOX")
    assert answer[-1].startswith(b"OK [READ-ONLY]") and b"PERMANENTFLAGS ()" in b"".join(answer)
    assert client.tagged(r"STORE 1 +FLAGS (\Seen)").startswith(b"NO") and client.tagged("EXPUNGE").startswith(b"NO")
    client.tagged("FETCH 1 BODY[]")
    assert rb"\Seen" not in client.untagged("FETCH 1 FLAGS")


def test_create_rename_delete_and_their_codes(client):  # RFC 9051 §6.3.4–6.3.6, RFC 5530 §3
    assert client.tagged("CREATE Work").startswith(b"NO [ALREADYEXISTS]") and client.tagged("DELETE none").startswith(b"NO [NONEXISTENT]")
    assert client.tagged("RENAME none other").startswith(b"NO [NONEXISTENT]") and client.tagged("RENAME Work Empty").startswith(b"NO [ALREADYEXISTS]")
    assert client.tagged("DELETE Work").startswith(b"NO [HASCHILDREN]") and client.tagged("DELETE INBOX").startswith(b"NO")
    assert client.tagged("RENAME Work/Deep Work/Deeper").startswith(b"OK") and client.tagged("DELETE Work/Deeper").startswith(b"OK")


def test_list(client):  # RFC 9051 §6.3.9, RFC 3348, RFC 6154 §2
    text = client.untagged('LIST "" (INBOX %) RETURN (CHILDREN SPECIAL-USE SUBSCRIBED)')
    assert re.search(rb'LIST \([^)]*\\HasChildren[^)]*\) "/" Work\r', text) and re.search(rb'LIST \([^)]*\\Sent[^)]*\) "/" Sent', text) and b"Work/Deep" not in text
    assert client.untagged('LIST "" ""') == b'* LIST (\\Noselect) "/" ""\r\n'
    client.tagged("UNSUBSCRIBE Empty")
    assert b"Empty" not in client.untagged('LIST (SUBSCRIBED) "" *') and b"Empty" in client.untagged('LIST "" *')
    client.tagged("SUBSCRIBE Empty")
    assert b"Empty" in client.untagged('LSUB "" *')  # RFC 3501 §6.3.9


def test_list_with_status(client):  # RFC 5819 §2
    client.append(folder="Work")
    text = client.untagged('LIST "" % RETURN (STATUS (MESSAGES UNSEEN))')
    assert re.search(rb"\* STATUS Work \(MESSAGES [1-9]\d* UNSEEN [1-9]\d*\)", text)


def test_status(client):  # RFC 9051 §6.3.11, RFC 8438 §2, RFC 7162 §3.1.7
    client.append(b"Subject: x\r\n\r\n12345\r\n")
    text = client.untagged("STATUS INBOX (MESSAGES UNSEEN UIDNEXT UIDVALIDITY SIZE HIGHESTMODSEQ)")
    for part in (rb"^\* STATUS INBOX \(", rb"MESSAGES 1\b", rb"UNSEEN 1\b", rb"UIDNEXT \d+", rb"UIDVALIDITY \d+", rb"SIZE 21\b", rb"HIGHESTMODSEQ \d+"):
        assert re.search(part, text), (part, text)
    assert client.tagged("STATUS none (MESSAGES)").startswith(b"NO [NONEXISTENT]")


def test_append_codes(client):  # RFC 9051 §6.3.12, RFC 7889 §4
    assert client.tagged(b"APPEND none {1+}\r\nx").startswith(b"NO [TRYCREATE]")
    assert re.match(rb"OK \[APPENDUID \d+ \d+\]", client.tagged(b"APPEND INBOX (\\Seen) \"23-Nov-2026 09:00:00 +0100\" {1+}\r\nx"))
    assert b'INTERNALDATE "23-Nov-2026 08:00:00 +0000"' in client.untagged("FETCH 1 INTERNALDATE"), "the same moment, told in UTC"
    client.send("a APPEND INBOX {52428801}")
    assert client.until(b"a ")[-1].startswith(b"a NO [TOOBIG]")


def test_close_and_unselect(client):  # RFC 9051 §6.4.1, §6.4.2
    client.append(flags=r"\Deleted")
    assert client.tagged("UNSELECT").startswith(b"OK") and client.tagged("FETCH 1 FLAGS").startswith(b"BAD")
    assert b"MESSAGES 1)" in client.untagged("STATUS INBOX (MESSAGES)")
    client.tagged("SELECT INBOX")
    assert client.command("CLOSE")[0].startswith(b"OK"), "CLOSE tells no EXPUNGE"
    assert b"MESSAGES 0)" in client.untagged("STATUS INBOX (MESSAGES)")


def test_uid_expunge_and_copy_codes(client):  # RFC 9051 §6.4.9, §6.4.7, §6.4.8
    uids = [client.append(flags=r"\Deleted") for _ in range(3)]
    client.tagged("NOOP")
    assert client.untagged(f"UID EXPUNGE {uids[1]}") == b"* 2 EXPUNGE\r\n"
    assert re.match(rb"OK \[COPYUID \d+ %d \d+\]" % uids[0], client.tagged(f"UID COPY {uids[0]} Work"))
    assert client.tagged("COPY 1 none").startswith(b"NO [TRYCREATE]")
    answer = client.command(f"UID MOVE {uids[2]} Work")
    assert re.match(rb"\* OK \[COPYUID \d+ %d \d+\]" % uids[2], answer[0]) and b"* 2 EXPUNGE\r\n" in answer


def test_searchres(client):  # RFC 9051 §6.4.4.1
    client.append(flags=r"\Flagged"), client.append()
    client.tagged("NOOP")
    assert client.untagged("SEARCH RETURN (SAVE) FLAGGED") == b"" and client.untagged("FETCH $ UID").startswith(b"* 1 FETCH")


def test_a_charset_that_is_not_known(client):  # RFC 9051 §6.4.4, §7.1 BADCHARSET
    assert client.tagged("SEARCH CHARSET x-none SUBJECT x").startswith(b"NO [BADCHARSET")


def test_conditional_store(client):  # RFC 7162 §3.1.3
    client.append()
    client.tagged("NOOP")
    assert client.tagged(r"STORE 1 (UNCHANGEDSINCE 1) +FLAGS (\Seen)").startswith(b"OK [MODIFIED 1]")


def test_enabling_utf8_lets_names_be_utf8(client):  # RFC 6855 §3, RFC 9051 §5.1
    client.tagged("CREATE Entw&APw-rfe")
    assert b"Entw&APw-rfe" in client.untagged('LIST "" *')
    client.tagged("ENABLE UTF8=ACCEPT")
    assert "Entwürfe".encode() in client.untagged('LIST "" *')


def test_quota(client):  # RFC 9208 §4.1.1, §4.1.2
    answer = client.untagged("GETQUOTAROOT INBOX")
    assert re.search(rb'\* QUOTAROOT INBOX', answer)
    assert client.tagged('GETQUOTA "none"').startswith(b"NO")
