"""Extensions of the IMAP server, each as its RFC says: what CAPABILITY announces, ENABLE, ID, UNAUTHENTICATE, WITHIN, ESEARCH with SAVE, PARTIAL."""
import pathlib
import re

import pytest

from postbus_test.imap_client import ANN, PASSWORD, Client
from postbus_test.site import Site

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site():
    s = Site("mx.alpha.test")
    s.start("accounts", "mailbox", "imapd")
    s.add_account(ANN, PASSWORD)
    yield s
    s.end()


@pytest.fixture(scope="module")
def folder(site):
    """Ten messages with the subjects 1 to 10; 2, 4, 6, 8 and 10 are flagged."""
    c = Client(site)
    c.tagged("CREATE ten")
    c.tagged("SELECT ten")
    for n in range(1, 11):
        c.append(b"Subject: %d\r\n\r\nbody\r\n" % n, "ten", r"\Flagged" if n % 2 == 0 else "")
    c.close()
    return "ten"


@pytest.fixture
def client(site, folder):
    c = Client(site, folder)
    yield c
    c.close()


def rows():
    """The table of extensions: name, states, file."""
    text = (ROOT / "services/imapd/command/extensions.c").read_text()
    return re.findall(r'\{"([^"]+)"[^,]*, EXTENSION_(\w+), "([^"]+)"\}', text)


def test_capability_is_the_table(client):
    announced = re.search(rb"\* CAPABILITY (.*)\r\n", client.untagged("CAPABILITY")).group(1).decode().split()
    wanted = [name for name, states, _ in rows() if states in ("ALWAYS", "LOGGED_IN")]
    assert [word if not word.startswith("APPENDLIMIT=") else "APPENDLIMIT=" for word in announced] == wanted
    assert "APPENDLIMIT=52428800" in announced  # RFC 7889 §3.1


def test_each_extension_names_a_file():
    assert rows() and not [(name, path) for name, _, path in rows() if not (ROOT / "services/imapd" / path).exists()]


def test_literal_plus_and_minus_are_not_announced_together():  # RFC 7888 §5
    names = [name for name, _, _ in rows()]
    assert "LITERAL+" in names and "LITERAL-" not in names


@pytest.mark.parametrize("asked, enabled", [
    ("CONDSTORE", b" CONDSTORE"), ("X-NONE", b""), ("qresync imap4rev2", b" IMAP4rev2 QRESYNC"), ("IDLE UTF8=ACCEPT", b" UTF8=ACCEPT"),
])
def test_enable(site, asked, enabled):  # RFC 5161 §3.1: what is not known is ignored
    c = Client(site)
    assert c.untagged(f"ENABLE {asked}") == b"* ENABLED" + enabled + b"\r\n"
    c.close()


@pytest.mark.parametrize("command", ["ENABLE", "ENABLE ", "ENABLE CONDSTORE ", "ENABLE (CONDSTORE)", "ENABLE  CONDSTORE"])
def test_enable_of_bad_syntax(client, command):
    assert client.tagged(command).startswith(b"BAD")


@pytest.mark.parametrize("argument", ["NIL", "()", '("name" "mutt")', '("name" NIL "version" "2")', '("name" {4+}\r\nmutt)'])
def test_id(client, argument):  # RFC 2971 §3.1
    assert client.untagged(f"ID {argument}") == b'* ID ("name" "Postbus")\r\n'


@pytest.mark.parametrize("argument, reason", [
    ("", b"requires"), ("mutt", b"requires"), ('("name")', b"requires"), ('("name" "x"', b"requires"), ("NIL NIL", b"requires"),
    (f'("{"n" * 31}" "x")', b"30 bytes"), (f'("name" "{"v" * 1025}")', b"1024 bytes"), ("(" + " ".join('"n" "v"' for _ in range(31)) + ")", b"30 pairs"),
])
def test_id_within_its_bounds(client, argument, reason):  # RFC 2971 §3.3
    answer = client.tagged(f"ID {argument}".rstrip())
    assert answer.startswith(b"BAD") and reason in answer


def test_unauthenticate_goes_back_before_the_login(site, folder):  # RFC 8437 §3, §4.1
    site.add_account("bob@alpha.test", PASSWORD) if "bob@alpha.test" not in site.users else None
    c = Client(site, folder)
    c.untagged("ENABLE QRESYNC IMAP4rev2")
    c.untagged("SEARCH RETURN (SAVE) ALL")
    c.untagged(r"STORE 1 +FLAGS.SILENT (\Deleted)")
    answer = c.command("UNAUTHENTICATE")
    assert answer[-1].startswith(b"OK") and b"AUTH=PLAIN" in answer[-1] and len(answer) == 1  # nothing is expunged
    assert c.tagged("SELECT INBOX").startswith(b"BAD")
    assert b"AUTH=PLAIN" in c.untagged("CAPABILITY") and c.tagged("UNAUTHENTICATE").startswith(b"BAD")
    assert c.tagged(f'LOGIN bob@alpha.test "{PASSWORD}"').startswith(b"OK")
    assert c.tagged(f"SELECT {folder}").startswith(b"NO")  # it is Ann's
    c.append()
    selected = b"".join(c.command("SELECT INBOX"))
    assert b"RECENT" in selected  # IMAP4rev2 is off
    assert c.untagged("FETCH $ UID") == b"" and b"MODSEQ" not in c.untagged(r"STORE 1 FLAGS (\Seen)")
    c.tagged("UNAUTHENTICATE")
    assert c.tagged(f'LOGIN {ANN} "{PASSWORD}"').startswith(b"OK") and c.tagged(f"SELECT {folder}").startswith(b"OK")
    assert b"* SEARCH 1\r\n" == c.untagged("SEARCH DELETED")
    c.untagged(r"STORE 1 -FLAGS.SILENT (\Deleted)")
    c.close()


def test_unauthenticate_and_a_login_in_one_packet(site):  # RFC 8437 §3
    c = Client(site)
    c.send(f'a UNAUTHENTICATE\r\nb LOGIN {ANN} "{PASSWORD}"\r\nc NOOP')
    answers = c.until(b"c ")
    assert [line[:4] for line in answers] == [b"a OK", b"b OK", b"c OK"]
    c.close()


@pytest.mark.parametrize("key, found", [("YOUNGER 3600", 10), ("OLDER 3600", 0), ("NOT OLDER 3600", 10), ("OR OLDER 3600 FLAGGED", 5)])
def test_within(client, key, found):  # RFC 5032 §2
    assert len(client.untagged(f"SEARCH {key}").split()) - 2 == found


@pytest.mark.parametrize("key", ["YOUNGER", "YOUNGER 0", "OLDER -1", "OLDER x", "OLDER 4294967296"])
def test_within_needs_an_interval(client, key):  # RFC 5032 §4: nz-number
    assert client.tagged(f"SEARCH {key}").startswith(b"BAD")


@pytest.mark.parametrize("options, told", [
    ("", b" ALL 2,4,6,8,10"), ("MIN", b" MIN 2"), ("MIN MAX COUNT", b" MIN 2 MAX 10 COUNT 5"), ("COUNT ALL", b" COUNT 5 ALL 2,4,6,8,10"),
    ("PARTIAL 1:2", b" PARTIAL (1:2 2,4)"), ("PARTIAL 2:1", b" PARTIAL (2:1 2,4)"), ("PARTIAL 4:100", b" PARTIAL (4:100 8,10)"), ("PARTIAL 6:9", b" PARTIAL (6:9 NIL)"),
    ("PARTIAL -1:-2", b" PARTIAL (-1:-2 8,10)"), ("partial -5:-9 count", b" COUNT 5 PARTIAL (-5:-9 2)"), ("MIN PARTIAL 2:2", b" MIN 2 PARTIAL (2:2 4)"),
])
def test_results(client, options, told):  # RFC 4731 §3.1, RFC 9394 §3.1
    assert re.sub(rb'\(TAG "t\d+"\)', b"", client.untagged(f"SEARCH RETURN ({options}) FLAGGED")) == b"* ESEARCH " + told + b"\r\n"
    assert b" UID" in client.untagged(f"UID SEARCH RETURN ({options}) FLAGGED")


@pytest.mark.parametrize("options, reason", [
    ("PARTIAL 1:2 ALL", b"exclude each other"), ("ALL PARTIAL 1:2", b"exclude each other"), ("PARTIAL 1:2 PARTIAL 3:4", b"once"), ("PARTIAL", b"range"), ("PARTIAL 0:1", b"range"), ("PARTIAL 1:-1", b"range"),
    ("PARTIAL 1:*", b"range"), ("PARTIAL 4294967296:1", b"range"), ("COLOUR", b"Unknown option"), ("MIN", None), ("MIN  MAX", b"list"), ("MIN ", b"list"),
])
def test_bad_return_options(client, options, reason):
    answer = client.tagged(f"SEARCH RETURN ({options}) FLAGGED")
    assert answer.startswith(b"OK") if reason is None else answer.startswith(b"BAD") and reason in answer, answer


@pytest.mark.parametrize("options, saved", [
    ("SAVE", b"2,4,6,8,10"), ("SAVE ALL", b"2,4,6,8,10"), ("SAVE MIN", b"2"), ("SAVE MAX", b"10"), ("SAVE MIN MAX", b"2,10"), ("SAVE MIN COUNT", b"2,4,6,8,10"),
    ("SAVE PARTIAL 2:3", b"4,6"), ("SAVE PARTIAL 2:3 MIN", b"2,4,6"), ("SAVE PARTIAL 2:3 MAX", b"4,6,10"), ("SAVE PARTIAL 2:3 MIN MAX", b"2,4,6,10"), ("SAVE PARTIAL 2:3 COUNT MIN", b"2,4,6,8,10"),
    ("SAVE PARTIAL 7:8", None),
])
def test_what_is_saved(client, options, saved):  # RFC 5182 §2.1, RFC 9394 §3.2 table 1
    client.untagged(f"SEARCH RETURN ({options}) FLAGGED")
    told = client.untagged("SEARCH RETURN (ALL) $")
    assert told.split(b" ALL ")[1:] == ([saved + b"\r\n"] if saved else [])


def numbers(client, command):
    return [int(n) for n in re.findall(rb"\* (\d+) FETCH", client.untagged(command))]


def test_partial_fetch(client):  # RFC 9394 §3.3
    assert numbers(client, "UID FETCH 1:* FLAGS (PARTIAL -1:-3)") == [8, 9, 10]
    assert numbers(client, "UID FETCH 1:* FLAGS (PARTIAL 1:2)") == [1, 2]
    assert numbers(client, "UID FETCH 1:* FLAGS (PARTIAL 11:20)") == []
    assert client.tagged("FETCH 1:* FLAGS (PARTIAL 1:2)").startswith(b"BAD")
    assert client.tagged("UID FETCH 1:* FLAGS (PARTIAL 1:2 PARTIAL 1:3)").startswith(b"BAD")


def test_partial_fetch_of_what_changed(client):  # RFC 9394 §3.4: first the part, then the changes
    modseq = int(re.search(rb"HIGHESTMODSEQ (\d+)", client.untagged("STATUS ten (HIGHESTMODSEQ)")).group(1))
    client.untagged("UID STORE 2,9 +FLAGS.SILENT (seen-it)")
    assert numbers(client, f"UID FETCH 1:* FLAGS (PARTIAL -1:-3 CHANGEDSINCE {modseq})") == [9]
    assert numbers(client, f"UID FETCH 1:* FLAGS (CHANGEDSINCE {modseq} PARTIAL -1:-3)") == [9]


def test_a_long_search_tells_how_far_it_is():  # RFC 9585 §4
    site = Site("mx.alpha.test", {"POSTBUS_IMAP_PROGRESS": "0s"})
    site.start("accounts", "mailbox", "imapd")
    site.add_account(ANN, PASSWORD)
    c = Client(site)
    for n in range(40):
        c.append(b"Subject: %d\r\n\r\nbody\r\n" % n)
    c.untagged("SELECT INBOX")
    answer = c.command("SEARCH BODY body")
    told = [re.fullmatch(rb'\* OK \[INPROGRESS \("t%d" (\d+) 40\)\] Searching\r\n' % c.count, line) for line in answer]
    at = [int(one.group(1)) for one in told if one]  # several messages are read at once
    assert at[0] == 0 and len(at) > 2 and at == sorted(set(at)) and b"* SEARCH " + b" ".join(b"%d" % n for n in range(1, 41)) + b"\r\n" in answer
    assert not [line for line in c.command("SEARCH SEEN") if b"INPROGRESS" in line]  # nothing had to be read
    c.close()
    site.end()


def test_create_with_a_special_use(client):  # RFC 6154 §3
    assert client.tagged(r"CREATE paper (USE (\Archive))").startswith(b"OK")
    assert rb"\Archive" in client.untagged('LIST (SPECIAL-USE) "" paper')
    assert client.tagged(r"CREATE paper2 (USE (\Nothing))").startswith(b"NO [USEATTR]")
    assert client.tagged("CREATE paper3 (COLOUR (red))").startswith(b"BAD")
    client.tagged("DELETE paper")
