"""Annotations of the IMAP server (RFC 5464), what LIST tells of them (RFC 9590), and SETQUOTA (RFC 9208)."""
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
    yield c
    c.close()


def test_values_are_set_replaced_and_removed(client):  # RFC 5464 §4.2, §4.3
    assert client.tagged('SETMETADATA INBOX (/private/comment "My own" /Shared/Comment {3+}\r\na\r\n)').startswith(b"OK")
    assert client.untagged("GETMETADATA INBOX /private/comment") == b'* METADATA INBOX (/private/comment "My own")\r\n'
    assert client.untagged("GETMETADATA INBOX (/shared/comment /PRIVATE/COMMENT)") == b'* METADATA INBOX (/shared/comment {3}\r\na\r\n /private/comment "My own")\r\n'
    assert client.tagged("SETMETADATA INBOX (/private/comment NIL /shared/comment ~{3+}\r\na\0b)").startswith(b"OK")
    assert client.untagged("GETMETADATA INBOX (/shared/comment /private/comment)") == b"* METADATA INBOX (/shared/comment ~{3}\r\na\0b /private/comment NIL)\r\n"
    assert client.tagged("GETMETADATA nowhere /private/comment").startswith(b"NO [NONEXISTENT]")
    assert client.tagged('SETMETADATA nowhere (/private/comment "x")').startswith(b"NO [NONEXISTENT]")


def test_depth_and_maxsize(client):  # RFC 5464 §4.2.1, §4.2.2
    client.tagged("CREATE Filters")
    assert client.tagged('SETMETADATA Filters (/private/filters/values/small "SMALLER 5000" /private/filters/values/boss "FROM \\"boss\\"" /private/filters/values/a/b "deep" /private/filtersx "x")').startswith(b"OK")

    def told(options):
        return client.untagged(f"GETMETADATA {options}")
    assert told("(DEPTH 1) Filters (/private/filters/values)").count(b"/private/filters/values/") == 2
    assert told("(DEPTH infinity) Filters /private/filters").count(b"/private/filters/values/") == 3
    assert b"filtersx" not in told("(DEPTH infinity) Filters /private/filters") and b"filtersx" in told("(DEPTH infinity) Filters /private")
    assert told("(DEPTH 0) Filters /private/filters/values") == b"* METADATA Filters (/private/filters/values NIL)\r\n"
    answer = client.command("GETMETADATA (MAXSIZE 5 DEPTH infinity) Filters /private/filters")
    assert answer[0] == b'* METADATA Filters (/private/filters/values/a/b "deep")\r\n' and answer[1].startswith(b"OK [METADATA LONGENTRIES 12]")
    assert client.tagged("GETMETADATA (MAXSIZE 12 DEPTH infinity) Filters /private/filters").startswith(b"OK GETMETADATA")


def test_annotations_follow_their_folder(client):  # RFC 5464 §4.1
    client.tagged("CREATE Before")
    client.tagged('SETMETADATA Before (/shared/comment "stays")')
    client.tagged("RENAME Before After")
    assert b'"stays"' in client.untagged("GETMETADATA After /shared/comment")
    client.tagged("CREATE Before")
    client.tagged("DELETE After")
    client.tagged("CREATE After")
    assert b"stays" not in client.untagged("GETMETADATA After /shared/comment") + client.untagged("GETMETADATA Before /shared/comment")


def test_the_inbox_keeps_its_annotations_when_it_is_renamed(client):  # RFC 5464 §4.1
    client.tagged('SETMETADATA INBOX (/private/vendor/x/kept "both")')
    assert client.tagged("RENAME INBOX Former").startswith(b"OK")
    for name in ("INBOX", "Former"):
        assert client.untagged(f"GETMETADATA {name} /private/vendor/x/kept").endswith(b'(/private/vendor/x/kept "both")\r\n')


@pytest.mark.parametrize("name", ["/other/comment", "/private", "/private//a", "/private/a/", '"/private/a*"', '"/private/a%"', "comment", "/private/vendor/token", '"/private/\x01"', "/private/" + "a" * 260], ids=range(10))
def test_names_that_are_not_valid(client, name):  # RFC 5464 §3.2
    assert client.tagged(f'SETMETADATA INBOX ({name} "x")').startswith(b"BAD")


@pytest.mark.parametrize("command", ["GETMETADATA", "GETMETADATA INBOX", "GETMETADATA INBOX ()", "GETMETADATA (DEPTH 2) INBOX /private/a", "GETMETADATA (MAXSIZE x) INBOX /private/a", "SETMETADATA INBOX", "SETMETADATA INBOX ()",
                                     "SETMETADATA INBOX (/private/a)", 'SETMETADATA INBOX (/private/a "x"', 'SETMETADATA INBOX /private/a "x"', "SETQUOTA", 'SETQUOTA "" STORAGE', 'SETQUOTA "" (STORAGE x)'], ids=range(13))
def test_bad_syntax(client, command):
    assert client.tagged(command).startswith(b"BAD")


def test_annotations_of_the_server(client):  # RFC 5464 §6.2
    assert client.tagged('SETMETADATA "" (/private/vendor/x/y "mine")').startswith(b"OK")
    assert client.untagged('GETMETADATA "" (/private/vendor/x/y /shared/admin)') == b'* METADATA "" (/private/vendor/x/y mine /shared/admin "mailto:postmaster@alpha.test")\r\n'.replace(b" mine ", b' "mine" ')
    for name in ("/shared/admin", "/shared/comment"):
        assert client.tagged(f'SETMETADATA "" ({name} "x")').startswith(b"NO [NOPERM]")
    assert b"/private/vendor/x/y NIL" in client.untagged("GETMETADATA INBOX /private/vendor/x/y")


def test_all_or_none_within_the_bounds(client):  # RFC 5464 §4.3
    client.tagged("CREATE Bounds")
    long = b"x" * (16 * 1024 + 1)
    assert client.tagged(b"SETMETADATA Bounds (/private/a \"1\" /private/b {%d+}\r\n%s)" % (len(long), long)).startswith(b"NO [METADATA MAXSIZE 16384]")
    assert client.tagged(b"SETMETADATA Bounds (/private/b {%d+}\r\n%s)" % (len(long) - 1, long[1:])).startswith(b"OK")
    for first in (0, 50):
        entries = " ".join(f'/private/e{n} "v"' for n in range(first, first + 49))
        assert client.tagged(f"SETMETADATA Bounds ({entries})").startswith(b"OK")
    assert client.tagged('SETMETADATA Bounds (/private/y "1" /private/z "1")').startswith(b"NO [METADATA TOOMANY]")  # 99 there are, 100 may be
    assert b"/private/y NIL" in client.untagged("GETMETADATA Bounds /private/y")
    assert client.tagged('SETMETADATA Bounds (/private/y "1" /private/e0 "2")').startswith(b"OK")
    assert client.tagged(b"SETMETADATA Bounds (" + b" ".join(b'/private/e%d "v"' % n for n in range(51)) + b")").startswith(b"BAD")
    client.tagged("DELETE Bounds")
    client.tagged("CREATE Bounds")
    full = 0
    for n in range(80):  # 16 KB each: the account's bound is met
        if not client.tagged(b"SETMETADATA Bounds (/private/e%d {%d+}\r\n%s)" % (n, len(long) - 1, long[1:])).startswith(b"OK"):
            break
        full += 1
    assert 60 <= full <= 64 and client.tagged('SETMETADATA Bounds (/private/e0 "short")').startswith(b"OK")


def test_special_use_is_an_annotation(client):  # RFC 6154 §4
    assert client.untagged("GETMETADATA Sent /private/specialuse") == b'* METADATA Sent (/private/specialuse "\\\\Sent")\r\n'
    client.tagged("CREATE Draughts")
    assert client.tagged('SETMETADATA Draughts (/private/specialuse "\\\\Drafts")').startswith(b"OK")
    assert b'\\Drafts) "/" Draughts' in client.untagged('LIST (SPECIAL-USE) "" Draughts')
    assert client.tagged('SETMETADATA Draughts (/private/specialuse "\\\\Unknown")').startswith(b"NO [USEATTR]")
    assert client.tagged("SETMETADATA Draughts (/private/specialuse NIL)").startswith(b"OK")
    assert b"Draughts" not in client.untagged('LIST (SPECIAL-USE) "" Draughts')


def test_list_tells_annotations(client):  # RFC 9590 §3
    client.tagged("CREATE Coloured")
    client.tagged('SETMETADATA Coloured (/shared/vendor/x/color "#b71c1c")')
    told = client.command('LIST "" (Coloured Sent) RETURN (METADATA ("/shared/vendor/x/color" /private/specialuse) SUBSCRIBED)')
    coloured = told.index(b'* LIST (\\HasNoChildren \\Subscribed) "/" Coloured\r\n')
    assert told[coloured + 1] == b'* METADATA Coloured (/shared/vendor/x/color "#b71c1c" /private/specialuse NIL)\r\n'
    assert b'* METADATA Sent (/shared/vendor/x/color NIL /private/specialuse "\\\\Sent")\r\n' in told
    assert client.tagged('LIST "" * RETURN (METADATA (x))').startswith(b"BAD") and client.tagged('LIST "" * RETURN (METADATA)').startswith(b"BAD")


def test_users_do_not_set_their_quota(client):  # RFC 9208 §4.1.3
    assert client.tagged('SETQUOTA "" (STORAGE 512 MESSAGE 5)').startswith(b"NO [NOPERM]")
    assert client.tagged('SETQUOTA "other" (STORAGE 512)').startswith(b"NO [NONEXISTENT]")
