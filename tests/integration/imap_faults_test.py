"""Faults of the IMAP server that clients met or could meet, each as the client sees it."""
import re
import time

import pytest

from postbus_test.imap_client import ANN, PASSWORD, TLS, Client
from postbus_test.site import Site, wait_until


@pytest.fixture(scope="module")
def site():
    s = Site("mx.alpha.test", {"POSTBUS_IMAP_IDLE_KEEPALIVE": "2s"})
    s.start("accounts", "mailbox", "imapd")
    s.add_account(ANN, PASSWORD)
    yield s
    s.end()


@pytest.fixture
def clients(site):
    """Makes sessions with an empty folder of the test's own selected."""
    opened = []
    name = f"T{time.monotonic_ns()}"
    first = Client(site)
    first.tagged(f"CREATE {name}")

    def make(selected=True):
        opened.append(Client(site, name if selected else None))
        opened[-1].folder = name
        return opened[-1]
    yield make
    for one in [first, *opened]:
        one.close()


# FETCH ------------------------------------------------------------------------------------------------------------


def test_a_hundred_items_with_changedsince(clients):
    c = clients()
    c.append(folder=c.folder)
    c.tagged("NOOP")
    answer = c.untagged("FETCH 1 (" + " ".join(["UID"] * 100) + ") (CHANGEDSINCE 1)")
    assert answer.count(b"UID") == 100 and b"MODSEQ (" in answer
    assert c.tagged("NOOP").startswith(b"OK")


def test_an_expunged_message_is_told_as_gone_and_not_refused_for_ever(clients):
    c, other = clients(), clients()
    uids = [c.append(folder=c.folder) for _ in range(3)]
    c.tagged("NOOP")
    other.untagged("NOOP")
    other.untagged("STORE 2 +FLAGS.SILENT (\\Deleted)")
    other.untagged("EXPUNGE")
    answers = [c.command("UID FETCH 1:* (BODY.PEEK[])") for _ in range(2)]
    assert answers[0][-1].startswith(b"OK") and b"2 EXPUNGE" in b"".join(answers[0])
    assert answers[1][-1].startswith(b"OK")
    assert c.untagged(f"UID FETCH {uids[2]} (UID)").startswith(b"* 2 FETCH")


def test_an_empty_part_is_an_empty_literal_or_string(clients):
    c = clients()
    c.append(b'Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n\r\n--b--\r\n', c.folder)
    c.tagged("NOOP")
    assert b"BODY[1] {0}\r\n" in c.untagged("FETCH 1 (BODY.PEEK[1])")


def test_binary_of_an_unknown_encoding(clients):
    c = clients()
    c.append(b"Content-Type: text/plain\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nbegin\r\n", c.folder)
    c.tagged("NOOP")
    assert b"[UNKNOWN-CTE]" in c.tagged("FETCH 1 (BINARY.PEEK[1])")
    assert b"[UNKNOWN-CTE]" in c.tagged("FETCH 1 (BINARY.SIZE[1])")


@pytest.mark.parametrize("item", ["BODY.PEEK[]", "BODY.PEEK[TEXT]", "BODY.PEEK[1]"])
def test_no_plain_literal_has_a_nul(clients, item):
    c = clients()
    c.append(b"Subject: x\r\n\r\na\0b\r\n", c.folder)
    c.tagged("NOOP")
    answer = c.untagged(f"FETCH 1 ({item})")
    assert b"a\x80b" in answer and b"\0" not in answer


# IDLE -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["FETCH 1 (FLAGS)", "STORE 1 FLAGS (\\Seen)", "SEARCH ALL", "NONSENSE", "COPY 1 nowhere"])
def test_idle_tells_an_expunge_whatever_came_before(clients, before):
    c, other = clients(), clients()
    for _ in range(2):
        c.append(folder=c.folder)
    c.tagged("NOOP")
    other.tagged("NOOP")
    c.command(before)
    c.idle()
    other.untagged("UID STORE 1:* +FLAGS.SILENT (\\Deleted)")
    other.untagged("EXPUNGE")
    seen = b"".join(c.until(b"* 1 EXPUNGE"))
    while seen.count(b"EXPUNGE") < 2:
        seen += c.response(10)
    c.done()


def test_an_expunge_that_was_held_is_told_at_the_next_idle(clients):
    c, other = clients(), clients()
    for _ in range(2):
        c.append(folder=c.folder)
    c.tagged("NOOP")
    other.tagged("NOOP")
    other.untagged("STORE 1 +FLAGS.SILENT (\\Deleted)")
    other.untagged("EXPUNGE")
    assert b"EXPUNGE" not in c.untagged("FETCH 2 (UID)")
    assert b"EXPUNGE" not in c.untagged("FETCH 2 (UID)")
    c.idle()
    c.until(b"* 1 EXPUNGE")
    c.done()


@pytest.mark.parametrize("reader", ["UID FETCH 1 (UID)", "UID STORE 1 +FLAGS.SILENT (\\Seen)", "UID SEARCH ALL"])
def test_mail_that_came_with_another_answer_is_told_again_by_idle(clients, reader):
    """Thunderbird looks for new mail only at what IDLE tells it."""
    c, other = clients(), clients()
    c.append(folder=c.folder)
    c.tagged("NOOP")
    other.append(folder=other.folder)
    end = time.monotonic() + 10
    while b"* 2 EXISTS" not in b"".join(c.command(reader)):
        assert time.monotonic() < end
    before = b"".join(c.idle())
    assert b"* 2 EXISTS" in before or c.response(1).startswith(b"* 2 EXISTS")
    c.done()


def test_done_is_answered_after_what_came_while_idle_told_something_else(site, clients):
    """RFC 9051 §5.2: a change that was made before the client said DONE is told before DONE is answered, also when IDLE is still busy with telling earlier ones."""
    other = clients()
    words = " ".join(f"{'x' * 100}{n}" for n in range(30))
    message = b"Subject: x\r\n\r\ny\r\n"
    for _ in range(15):
        other.send(f"a APPEND {other.folder}".encode() + (b" {%d+}\r\n" % len(message) + message) * 100)
        other.until(b"a OK")
    other.untagged("NOOP")
    c = Client(site, other.folder, receive=4096)
    c.idle()
    other.untagged(f"STORE 1:* +FLAGS.SILENT ({words})")  # 4.5 MB, more than the buffers between server and client hold
    first = [c.response() for _ in range(2)]
    assert any(b"* 1 FETCH" in one for one in first), first
    other.untagged("STORE 1 +FLAGS.SILENT (\\Flagged)")
    told = [one for one in c.done() if one.startswith(b"* 1 FETCH")]
    assert b"\\Flagged" in told[-1]
    c.close()


def test_idle_says_that_it_is_still_here(clients):
    c = clients()
    c.idle()
    began = time.monotonic()
    assert c.response(10).startswith(b"* OK Still here") and c.response(10).startswith(b"* OK Still here")
    assert 2 <= time.monotonic() - began < 8
    c.done()


def test_a_line_that_is_not_done_ends_idle_alone(clients):
    c, other = clients(), clients()
    for _ in range(5):
        other.append(folder=c.folder)
        c.send("i IDLE\r\nx NONSENSE\r\nn SELECT INBOX")  # the line comes while the first look is under way
        answer = c.until(b"n ")
        assert [line for line in answer if line.startswith(b"i ")][0].startswith(b"i BAD") and answer[-1].startswith(b"n OK")
        assert [line for line in answer if b"EXISTS" in line][-1] == b"* 0 EXISTS\r\n"  # nothing of the folder before
        assert c.tagged("FETCH 1 (UID)").startswith(b"BAD")
        assert c.tagged(f"SELECT {c.folder}").startswith(b"OK")


def test_commands_behind_done_are_not_taken_for_lines_of_idle(clients):
    c = clients()
    c.send("i IDLE\r\nDONE\r\nn NOOP\r\nm NOOP")
    answer = c.until(b"m ")
    assert [line[:4] for line in answer if line[:2] in (b"i ", b"n ", b"m ")] == [b"i OK", b"n OK", b"m OK"]


def test_the_kernel_asks_silent_clients_whether_they_are_there(site, clients):
    clients()
    port = f":{site.ports['imaps']:04X}"

    def kept():
        table = open("/proc/net/tcp").read().splitlines() + open("/proc/net/tcp6").read().splitlines()
        timers = [row.split()[5][:2] for row in table if row.split()[1].endswith(port) and row.split()[3] == "01"]
        return timers and all(timer == "02" for timer in timers)  # 02: the keepalive timer
    wait_until("keepalive timers on all connections", kept, 5)


# STORE ------------------------------------------------------------------------------------------------------------


def test_a_silent_store_tells_what_another_changed(clients):
    c, other = clients(), clients()
    c.append(folder=c.folder)
    c.tagged("NOOP")
    other.tagged("NOOP")
    other.untagged("STORE 1 +FLAGS.SILENT (\\Flagged)")
    answer = c.untagged("STORE 1 +FLAGS.SILENT (\\Seen)") + c.untagged("NOOP")
    assert b"\\Flagged" in answer and b"\\Seen" in answer


def test_a_silent_store_with_condstore_tells_what_another_changed(clients):
    c, other = clients(), clients()
    c.append(folder=c.folder)
    c.append(folder=c.folder)
    c.untagged("ENABLE CONDSTORE")
    c.tagged("NOOP")
    other.tagged("NOOP")
    other.untagged("STORE 1 +FLAGS.SILENT (\\Flagged)")
    answer = c.untagged("STORE 1:2 +FLAGS.SILENT (\\Seen)")
    first = [line for line in answer.splitlines() if line.startswith(b"* 1 FETCH")]
    second = [line for line in answer.splitlines() if line.startswith(b"* 2 FETCH")]
    assert b"\\Flagged" in first[0] and b"MODSEQ" in first[0] and b"FLAGS" not in second[0] and b"MODSEQ" in second[0]


def test_a_store_of_a_new_keyword_by_number_tells_no_expunge(clients):
    c, other = clients(), clients()
    for _ in range(3):
        c.append(folder=c.folder)
    c.tagged("NOOP")
    other.tagged("NOOP")
    other.untagged("STORE 1 +FLAGS.SILENT (\\Deleted)")
    other.untagged("EXPUNGE")
    answer = c.untagged("STORE 3 +FLAGS (brandnew)")
    assert b"EXPUNGE" not in answer and b"* 3 FETCH" in answer and b"brandnew" in answer
    assert b"* 1 EXPUNGE" in c.untagged("NOOP")


# SEARCH -----------------------------------------------------------------------------------------------------------


def test_modseq_of_min_and_max_is_theirs(clients):
    c = clients()
    for _ in range(4):
        c.append(folder=c.folder)
    c.untagged("ENABLE CONDSTORE")
    c.tagged("NOOP")
    c.untagged("STORE 2 +FLAGS.SILENT (\\Seen)")
    modseqs = [int(n) for n in re.findall(rb"MODSEQ \((\d+)\)", c.untagged("FETCH 1:4 (MODSEQ)"))]

    def told(options):
        return int(re.search(rb"MODSEQ (\d+)", c.untagged(f"SEARCH RETURN ({options}) MODSEQ 1")).group(1))
    assert (told("MIN"), told("MAX"), told("MIN MAX"), told("MIN COUNT"), told("ALL")) == (modseqs[0], modseqs[3], modseqs[3], modseqs[1], modseqs[1])


def test_the_largest_number_is_no_asterisk(clients):
    c = clients()
    last = c.append(folder=c.folder)
    c.tagged("NOOP")
    assert c.untagged(f"UID SEARCH UID {last + 1}:4294967295").strip() == b"* SEARCH"
    assert c.untagged(f"UID SEARCH UID {last + 1}:*").strip() == b"* SEARCH %d" % last
    assert c.untagged(f"UID FETCH {last + 1}:4294967295 (FLAGS)") == b""


@pytest.mark.parametrize("failing", ["SEARCH RETURN (SAVE) CHARSET x-none SUBJECT x", "SEARCH RETURN (SAVE) CHARSET x-none SUBJECT \"x\""])
def test_a_failed_search_empties_what_was_saved(clients, failing):
    c = clients()
    c.append(folder=c.folder)
    c.tagged("NOOP")
    c.untagged("SEARCH RETURN (SAVE) ALL")
    assert b"FETCH" in c.untagged("FETCH $ (UID)")
    assert c.tagged(failing).startswith(b"NO")
    assert b"FETCH" not in c.untagged("FETCH $ (UID)")


SEARCHED = [
    ("KÄSE", "Subject: Käse\r\n\r\nx\r\n".encode(), "SUBJECT"),
    ("käse", b"Subject: =?iso-8859-1?q?K=C4SE?=\r\n\r\nx\r\n", "SUBJECT"),
    ("KÄSE", b"Content-Type: text/plain; charset=utf-8\r\n\r\nK\xc3\xa4se\r\n", "BODY"),
    ("STRASSE", b"Content-Type: text/plain; charset=utf-8\r\n\r\nStra\xc3\x9fe\r\n", "BODY"),
    ("привет", b"Content-Type: text/plain; charset=windows-1251\r\n\r\n\xcf\xf0\xe8\xe2\xe5\xf2\r\n", "BODY"),
    ("привет", b"Content-Type: text/plain; charset=windows-1251\r\nContent-Transfer-Encoding: base64\r\n\r\nz/Do\r\n4uXy\r\n", "BODY"),
    ("käse", b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nder K=E4=\r\nse\r\n", "BODY"),
    ("käse", b"Content-Type: text/plain; charset=iso-8859-1\r\n\r\nder K\xe4se\r\n", "TEXT"),
    ("hello", b"Content-Type: text/plain; charset=utf-16le\r\nContent-Transfer-Encoding: base64\r\n\r\naABlAGwAbABvAA==\r\n", "BODY"),
    ("日本", b"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$BF|K\\\x1b(B\r\n", "BODY"),
    ("привет", b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html; charset=\"koi8-r\"\r\n\r\n\xf0\xd2\xc9\xd7\xc5\xd4\r\n--b--\r\n", "BODY"),
]


@pytest.mark.parametrize("text, message, key", SEARCHED, ids=[f"{key}-{text}-{i}" for i, (text, _, key) in enumerate(SEARCHED)])
def test_search_folds_case_and_knows_charsets(clients, text, message, key):
    c = clients()
    c.append(b"Subject: another\r\n\r\nnothing\r\n", c.folder)
    c.append(message, c.folder)
    c.tagged("NOOP")
    needle = text.encode()
    assert c.untagged(f"SEARCH CHARSET UTF-8 {key} ".encode() + b"{%d+}\r\n" % len(needle) + needle).strip() == b"* SEARCH 2"


# Folders ----------------------------------------------------------------------------------------------------------


def test_deleting_the_selected_folder_is_answered(clients):
    c = clients()
    c.append(folder=c.folder)
    assert c.tagged(f"DELETE {c.folder}").startswith(b"OK")
    assert c.tagged("NOOP").startswith(b"OK") and c.tagged("FETCH 1 (UID)").startswith(b"BAD")


def test_a_folder_deleted_by_another_is_told_after_the_answer(clients):
    c, other = clients(), clients(selected=False)
    assert other.tagged(f"DELETE {c.folder}").startswith(b"OK")
    c.send("n NOOP")
    seen = [c.response()]
    while seen[-1]:
        seen.append(c.response())
    assert any(line.startswith(b"n ") for line in seen) and b"BYE" in b"".join(seen)


def test_inbox_in_patterns_has_any_case(clients):
    c = clients(selected=False)
    for pattern in ("inbox*", "inb*", "InBo%", "inbox"):
        assert b'"/" INBOX' in c.untagged(f'LIST "" {pattern}'), pattern
