"""IMAP as clients speak it, on a real site: folders, flags, fetch, search, append, copy, move, expunge, idle, and what happens without TLS, store or bus."""
import imaplib
import re
import socket
import ssl
import threading
import time

import pytest

from postbus_test.site import Site, wait_until

TLS = ssl._create_unverified_context()
PASSWORD = "correct horse 1"
ANN = "ann@alpha.test"
MESSAGE = (b"From: Zo\xc3\xab <z@x.test>\r\nTo: ann@alpha.test\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nDate: Mon, 23 Nov 2026 09:00:00 +0100\r\nMessage-ID: <m1@x.test>\r\nMIME-Version: 1.0\r\n"
           b'Content-Type: multipart/mixed; boundary=bb\r\n\r\npreamble\r\n--bb\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nsch=C3=B6n\r\n'
           b"--bb\r\nContent-Type: application/octet-stream; name=a.bin\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC\r\n--bb--\r\n")


@pytest.fixture(scope="module")
def site():
    s = Site("mx.alpha.test")
    s.start("accounts", "mailbox", "imapd")
    s.add_account(ANN, PASSWORD)
    yield s
    s.end()


@pytest.fixture
def imap(site):
    session = login(site)
    for folder in ("Work", "Other"):
        session.create(folder)
    session.select("INBOX")
    session.store("1:*", "+FLAGS", r"(\Deleted)")
    session.expunge()
    yield session
    try:
        session.logout()
    except (imaplib.IMAP4.error, OSError):
        pass


def login(site):
    session = imaplib.IMAP4_SSL("127.0.0.1", site.ports["imaps"], ssl_context=TLS)
    session.login(ANN, PASSWORD)
    return session


def append(imap, message=MESSAGE, flags="", folder="INBOX"):
    ok, text = imap.append(folder, flags, None, message)
    assert ok == "OK", text
    return int(re.search(rb"APPENDUID \d+ (\d+)", text[0]).group(1))


def test_what_is_appended_is_fetched_to_the_byte(imap):
    uid = append(imap, flags=r"(\Flagged work)")
    imap.noop()
    answer = imap.uid("FETCH", str(uid), "(FLAGS RFC822.SIZE BODY.PEEK[])")[1]
    assert answer[0][1] == MESSAGE and f"RFC822.SIZE {len(MESSAGE)}".encode() in answer[0][0]
    assert rb"\Flagged" in b"".join(p if isinstance(p, bytes) else p[0] for p in answer) and b"work" in answer[0][0] + answer[1]


@pytest.mark.parametrize("section, expected", [
    ("BODY.PEEK[1]", b"sch=C3=B6n"),
    ("BODY.PEEK[2]", b"AAEC"),
    ("BODY.PEEK[1.MIME]", b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"),
    ("BODY.PEEK[HEADER.FIELDS (Subject X-None)]", b"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n\r\n"),
    ("BODY.PEEK[TEXT]<0.8>", b"preamble"),
    ("BODY.PEEK[]<0.5>", b"From:"),
    ("BINARY.PEEK[2]", b"\x00\x01\x02"),
])
def test_sections(imap, section, expected):
    uid = append(imap)
    imap.noop()
    assert imap.uid("FETCH", str(uid), f"({section})")[1][0][1] == expected


def test_a_line_that_is_no_field_hides_no_later_one(imap):
    uid = append(imap, b"From nobody Mon Nov 23 09:00:00 2026\r\n" + MESSAGE.replace(b"To: ann@alpha.test\r\n", b"To: ann@alpha.test\r\n>From nobody again\r\n"))
    imap.noop()
    answer = b"".join(part if isinstance(part, bytes) else b"".join(part) for part in imap.uid("FETCH", str(uid), "(ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (Subject)])")[1])
    assert b"=?utf-8?q?gr=C3=BC=C3=9Fe?=" in answer.split(b"BODYSTRUCTURE")[0] and b'"m1@x.test"' not in answer and b"<m1@x.test>" in answer
    assert b'"application" "octet-stream"' in answer.lower() and b"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n\r\n" in answer
    assert imap.uid("SEARCH", "SUBJECT", "gr")[1][0].split() == [str(uid).encode()]


def test_structure_and_envelope(imap):
    uid = append(imap)
    imap.noop()
    text = b"".join(p if isinstance(p, bytes) else b"".join(p) for p in imap.uid("FETCH", str(uid), "(ENVELOPE BODYSTRUCTURE)")[1])
    assert b'"Mon, 23 Nov 2026 09:00:00 +0100" "=?utf-8?q?gr=C3=BC=C3=9Fe?="' in text and b'"<m1@x.test>"' in text
    assert re.search(rb'\("text" "plain" \("charset" "utf-8"\) NIL NIL "quoted-printable" \d+ \d+', text, re.I) and re.search(rb'"mixed" \("boundary" "bb"\)', text, re.I)


@pytest.mark.parametrize("query, found", [
    ("ALL", True), ("UNSEEN", True), ("SEEN", False), ("SUBJECT gr", True), ("FROM z@x.test", True), ("TO nobody", False), ("BODY {sch}", True), ("TEXT preamble", False), ("HEADER Message-ID m1", True),
    ("SENTON 23-Nov-2026", True), ("SENTBEFORE 23-Nov-2026", False), ("LARGER 100", True), ("SMALLER 100", False), ("NOT SEEN", True), ("OR SEEN UNSEEN", True), ("UID 1:*", True), ("1:*", True),
    ("KEYWORD nothing", False), ("(UNSEEN (NOT DELETED))", True), ("BEFORE 1-Jan-2000", False), ("SINCE 1-Jan-2000", True),
])
def test_search(imap, query, found):
    append(imap)
    imap.noop()
    if "{sch}" in query:
        imap.literal = "schön".encode()
        answer = imap.search("UTF-8", "BODY")
    else:
        answer = imap.search(None, query)
    assert answer[0] == "OK" and bool(answer[1][0]) == found


def fetched(imap, uid, items):
    return b"".join(part if isinstance(part, bytes) else b"".join(part) for part in imap.uid("FETCH", str(uid), items)[1])


def test_ids_dates_and_previews(imap):
    """RFC 8474 §5.1 and §5.2, RFC 8514 §4.3, RFC 8970 §3, and BODY beside BODYSTRUCTURE."""
    first, reply = append(imap), append(imap, b"Message-ID: <m2@x.test>\r\nReferences: <m1@x.test>\r\nSubject: Re\r\n\r\n> sch\xc3\xb6n\r\nYes.\r\n")
    imap.noop()
    ids = {uid: dict(re.findall(rb"(EMAILID|THREADID) \(([A-Za-z0-9_-]+)\)", fetched(imap, uid, "(EMAILID THREADID)"))) for uid in (first, reply)}
    assert ids[first][b"EMAILID"] != ids[reply][b"EMAILID"]
    assert ids[first][b"THREADID"] == ids[reply][b"THREADID"], "an answer is in its message's thread"
    assert re.search(rb'SAVEDATE "\d\d-[A-Z][a-z][a-z]-\d{4} ', fetched(imap, first, "(SAVEDATE)"))
    assert "sch\u00f6n".encode() in fetched(imap, first, "(PREVIEW)")
    assert b'PREVIEW "Yes."' in fetched(imap, reply, "(PREVIEW (LAZY))")
    body = fetched(imap, first, "(BODY)")
    assert b'BODY (("text" "plain" ("charset" "utf-8") NIL NIL "quoted-printable" 10 0)("application" "octet-stream" ("name" "a.bin") NIL NIL "base64" 4) "mixed")' in body, body
    imap.uid("COPY", str(first), "Work")
    imap.select("Work")
    copy = imap.uid("SEARCH", "ALL")[1][0].split()[-1].decode()
    assert ids[first][b"EMAILID"] in fetched(imap, copy, "(EMAILID)") and ids[first][b"THREADID"] in fetched(imap, copy, "(THREADID)")


def test_a_large_message_in_pieces(imap):
    """BODY[]<a.b> (RFC 9051 §6.4.5) reads parts of the body; what is asked beside it is right."""
    message = b"Subject: large\r\nFrom: a@x.test\r\n\r\n" + b"".join(b"line %06d of a message that is longer than a block\r\n" % n for n in range(4000))
    uid = append(imap, message)
    imap.noop()
    read = b""
    while len(read) < len(message):
        answer = imap.uid("FETCH", str(uid), f"(BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[]<{len(read)}.30000> ENVELOPE)")[1]
        fields, piece = answer[0], answer[1]
        assert fields[1] == b"Subject: large\r\n\r\n", fields
        assert piece[0].startswith(b" BODY[]<%d> {%d}" % (len(read), min(30000, len(message) - len(read)))), piece[0]
        assert b'ENVELOPE (NIL "large"' in answer[2]
        read += piece[1]
    assert read == message
    assert b'BODY[]<%d> ""' % len(message) in fetched(imap, uid, f"(BODY.PEEK[]<{len(message)}.10>)")
    assert b"{7}\r\nSubject" in b"\r\n".join(p for part in imap.uid("FETCH", str(uid), "(BODY.PEEK[]<0.7> BODY.PEEK[]<2.3>)")[1] if part for p in (part if isinstance(part, tuple) else (part,)))


def test_status_counts_deleted(imap):
    """RFC 9051 §6.3.11, also of LIST (RFC 5819)."""
    for flags in (r"(\Deleted)", r"(\Deleted \Seen)", ""):
        append(imap, flags=flags)
    assert b"DELETED 2" in imap.status("INBOX", "(DELETED)")[1][0]
    imap._simple_command("LIST", '""', "INBOX", "RETURN (STATUS (DELETED UNSEEN))")
    assert b"(DELETED 2 UNSEEN 2)" in imap.untagged_responses["STATUS"][-1] or b"(UNSEEN 2 DELETED 2)" in imap.untagged_responses["STATUS"][-1]


def test_store_of_many_chunks(imap):
    """A STORE of more messages than one step of the store changes: each is told once, in order."""
    with_many = 250
    first = append(imap, b"Subject: one\r\n\r\n")
    imap.noop()
    copies = 1
    while copies < with_many:
        imap.uid("COPY", "1:*", "INBOX")
        imap.noop()
        copies = len(imap.uid("SEARCH", "ALL")[1][0].split())
    imap.untagged_responses.clear()
    ok, told = imap.uid("STORE", "1:*", "+FLAGS", r"(\Flagged fresh)")
    uids = [int(re.search(rb"UID (\d+)", line).group(1)) for line in told if b"Flagged" in line]
    assert ok == "OK" and uids == sorted(uids) and len(set(uids)) == len(uids) == copies and uids[0] == first
    assert len(imap.uid("SEARCH", "KEYWORD", "fresh")[1][0].split()) == copies


def test_a_field_too_long_for_the_keys_is_searched(imap):
    """Long fields are not kept for SEARCH, and are read in the header."""
    many = ", ".join(f"person{n}@x.test" for n in range(600))
    long, short = append(imap, f"To: {many}\r\nSubject: long\r\n\r\n".encode()), append(imap, b"To: person599@x.test\r\n\r\n")
    imap.noop()
    assert imap.uid("SEARCH", "TO", "person599@")[1][0].split() == [str(long).encode(), str(short).encode()]
    assert imap.uid("SEARCH", "TO", "person600@")[1][0] == b""
    assert imap.uid("SEARCH", "SUBJECT", '""')[1][0].split() == [str(long).encode()], "an empty text asks whether there is such a field (RFC 9051 §6.4.4)"


def test_flags_copy_move_expunge(imap, site):
    uids = [append(imap, MESSAGE.replace(b"m1@", b"m%d@" % i)) for i in range(5)]
    imap.noop()
    assert imap.uid("STORE", f"{uids[0]}:{uids[1]}", "+FLAGS", r"(\Seen \Answered)")[0] == "OK"
    assert len(imap.search(None, "SEEN")[1][0].split()) == 2
    copied = imap.uid("COPY", f"{uids[0]}", "Work")
    assert copied[0] == "OK"
    assert imap.uid("MOVE", f"{uids[2]}", "Work")[0] == "OK"
    assert int(imap.status("Work", "(MESSAGES)")[1][0].split()[-1].strip(b")")) >= 2
    imap.uid("STORE", f"{uids[4]}", "+FLAGS", r"(\Deleted)")
    imap.expunge()
    assert len(imap.search(None, "ALL")[1][0].split()) == 3
    other = login(site)
    other.select("INBOX")
    assert len(other.search(None, "SEEN")[1][0].split()) == 2
    other.logout()


def test_folders(imap):
    assert imap.create("a/b/c")[0] == "OK" and imap.create("a/b/c")[0] == "NO"
    assert imap.rename("a/b", "a/x")[0] == "OK"
    names = b" ".join(imap.list()[1])
    assert b"a/x/c" in names and b"a/b" not in names and rb"\Drafts" in names and rb"\Sent" in names
    assert imap.delete("INBOX")[0] == "NO" and imap.delete("nothing")[0] == "NO"
    assert imap.delete("a/x/c")[0] == "OK"
    assert imap.select("nothing")[0] == "NO"
    assert imap.create("Entw&APw-rfe")[0] == "OK"  # modified UTF-7 (RFC 3501 §5.1.3)
    assert b"Entw&APw-rfe" in b" ".join(imap.list()[1])


def test_idle_tells_at_once(imap, site):
    imap.send(b"i1 IDLE\r\n")
    assert imap.readline().startswith(b"+")
    other = login(site)
    began = time.monotonic()
    append(other)
    while b"EXISTS" not in imap.readline():
        pass
    assert time.monotonic() - began < 2
    imap.send(b"DONE\r\n")
    while not imap.readline().startswith(b"i1 OK"):
        pass
    other.logout()


def test_changes_since_a_modseq(imap, site):
    uids = [append(imap) for _ in range(3)]
    imap.logout()
    imap = login(site)
    imap.enable("QRESYNC")
    imap.select("INBOX")
    before = int(re.search(rb"HIGHESTMODSEQ (\d+)", imap.status("INBOX", "(HIGHESTMODSEQ)")[1][0]).group(1))
    imap.uid("STORE", str(uids[1]), "+FLAGS", r"(\Flagged)")
    changed = imap.uid("FETCH", "1:*", f"(FLAGS) (CHANGEDSINCE {before})")[1]
    assert len(changed) == 1 and f"UID {uids[1]}".encode() in changed[0]


def raw(site, port="imap"):
    sock = socket.create_connection(("127.0.0.1", site.ports[port]), 30)
    file = sock.makefile("rb")
    file.readline()

    def say(line):
        sock.sendall(line + b"\r\n")
        while not (answer := file.readline()).startswith(line.split()[0]):
            if not answer or answer.startswith((b"* BYE", b"* BAD")):
                break
        return answer
    return say


def test_no_password_goes_over_plain_text(site):
    say = raw(site)
    assert say(b"b LOGIN ann@alpha.test x").startswith(b"b NO")
    assert say(b"c SELECT INBOX").startswith((b"c BAD", b"c NO"))


@pytest.mark.parametrize("line", [b"x", b"a NONSENSE", b"a LOGIN", b"a FETCH 1 FLAGS", b"a LOGIN \"unclosed", b"a " + b"x" * 70000])
def test_nonsense_is_answered_and_not_crashed_on(site, line):
    answer = raw(site)(line)
    assert b" BAD" in answer or b" NO" in answer or answer.startswith(b"* B")


def test_a_wrong_password(site):
    session = imaplib.IMAP4_SSL("127.0.0.1", site.ports["imaps"], ssl_context=TLS)
    with pytest.raises(imaplib.IMAP4.error) as refusal:
        session.login(ANN, "wrong")
    assert "AUTHENTICATIONFAILED" in str(refusal.value)


def test_without_the_store_it_says_so_at_once_and_goes_on_after(imap, site):
    append(imap)
    site.kill("redis")
    began = time.monotonic()
    ok, text = imap.status("INBOX", "(MESSAGES)")
    assert ok == "NO" and b"UNAVAILABLE" in text[0] and time.monotonic() - began < 5
    site.start_redis()
    wait_until("the store to be back", lambda: imap.status("INBOX", "(MESSAGES)")[0] == "OK")


def test_many_sessions_at_once(site):
    failures = []

    def work(n):
        try:
            session = login(site)
            session.select("INBOX")
            for _ in range(5):
                append(session, MESSAGE.replace(b"m1@", b"t%d@" % n))
            session.search(None, "ALL")
            session.logout()
        except (imaplib.IMAP4.error, OSError, AssertionError) as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
