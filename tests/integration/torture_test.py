"""The torture set (tests/torture/messages.py): what IMAP tells of each message is valid, agrees with itself, and differs from what Dovecot and Cyrus told of it (tests/torture/answers, recorded by
tests/torture/record) only where tests/torture/differences.tsv gives the RFC section that decides."""
import fnmatch
import json
import pathlib
import ssl
import sys

import pytest

from postbus_test.site import ROOT, Site

sys.path.insert(0, str(ROOT / "tests/torture"))
from asking import Client, ask, plain  # noqa: E402
from messages import MESSAGES  # noqa: E402

SERVERS = ("dovecot", "cyrus")
FOLDER = pathlib.Path(ROOT / "tests/torture")
PASSWORD = "correct horse 1"
TLS = ssl._create_unverified_context()


def recorded(server):
    return dict(json.loads(line) for line in (FOLDER / f"answers/{server}.jsonl").read_text().splitlines())


def without_charset(value):
    """A structure in which a text in US-ASCII has no parameters."""
    if not isinstance(value, list):
        return value
    value = [without_charset(v) for v in value]
    if len(value) > 3 and value[0] == "text" and value[2] == ["charset", "us-ascii"]:
        value[2] = None
    return value


# when a row applies, beyond its patterns
WHEN = {
    "any": lambda ours, theirs: True,
    "NIL, theirs is empty": lambda ours, theirs: ours is None and theirs == "",
    "theirs is refused": lambda ours, theirs: isinstance(theirs, str) and theirs.startswith(("NO", "BAD", "the server closed", "no answer", "invalid:")),
    "only the charset": lambda ours, theirs: without_charset(ours) == without_charset(theirs),
}


def rows():
    """(message pattern, item pattern, servers, when, reason) of each row of the table."""
    table = [line.split("\t") for line in (FOLDER / "differences.tsv").read_text().splitlines() if line and not line.startswith("#")]
    for row in table:
        assert len(row) == 5 and set(row[2].split(",")) <= set(SERVERS) and row[3] in WHEN and "RFC " in row[4], f"a row has a message, an item, servers, when, and a reason that cites an RFC: {row}"
    return [(name, item, servers.split(","), when, reason) for name, item, servers, when, reason in table]


@pytest.fixture(scope="module")
def ours():
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20000)
    site = Site("mx.alpha.test")
    try:
        site.start("accounts", "mailbox", "imapd")
        site.add_account("ann@alpha.test", PASSWORD)

        def connect():
            client = Client("127.0.0.1", site.ports["imaps"], TLS.wrap_socket)
            client.command(f'LOGIN ann@alpha.test "{PASSWORD}"')
            return client

        answers = json.dumps({name: ask(connect, message) for name, message in MESSAGES.items()})
        (ROOT / "build/torture-ours.json").write_text(answers)  # to look at
        yield json.loads(answers)
    finally:
        site.end()
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize("server", SERVERS)
def test_every_difference_is_explained_and_every_explanation_is_needed(ours, server):
    theirs, table, unlisted, used = recorded(server), rows(), [], set()
    assert set(theirs) == set(MESSAGES), "tests/torture/record was not run after messages.py was changed"
    for name, answers in ours.items():
        for item in {**answers, **theirs[name]}:
            # a server that refuses the whole message (APPEND) tells nothing of it
            if "APPEND" in theirs[name] and item != "APPEND" or theirs[name].get(item, "no answer") == answers.get(item, "no answer"):
                continue
            plain_item = item.replace("[", "(").replace("]", ")")  # brackets are special in patterns
            found = [n for n, (names, items, servers, when, _) in enumerate(table) if server in servers and fnmatch.fnmatchcase(name, names) and fnmatch.fnmatchcase(plain_item, items)
                     and WHEN[when](answers.get(item, "no answer"), theirs[name].get(item, "no answer"))]
            used.update(found[:1])
            if not found:
                unlisted.append(f"{name}\t{item}\n    ours   {json.dumps(answers.get(item, 'no answer'))[:400]}\n    theirs {json.dumps(theirs[name].get(item, 'no answer'))[:400]}")
    stale = [f"{names} {items}" for n, (names, items, servers, _, _) in enumerate(table) if server in servers and n not in used]
    assert not unlisted, f"{len(unlisted)} answers differ from {server}'s and are not in differences.tsv:\n" + "\n".join(unlisted)
    assert not stale, f"rows of differences.tsv that explain nothing of {server}: {stale}"


@pytest.mark.parametrize("name", MESSAGES)
def test_the_answers_agree_with_each_other(ours, name):
    answers, raw = ours[name], MESSAGES[name].raw
    assert not [item for item, value in answers.items() if isinstance(value, str) and value.startswith("invalid:")], answers
    assert "APPEND" not in answers, "every message of the set is taken"
    # a plain literal has no NUL, so it has 0x80 there (RFC 9051 §9, CHAR8); its size stays
    assert answers["RFC822.SIZE"] == len(raw) and answers["BODY.PEEK[]"] == plain(raw.replace(b"\0", b"\x80")), "what was stored is what is fetched (docs/laws.md, law 4)"
    header, text, raw = answers["BODY.PEEK[HEADER]"], answers["BODY.PEEK[TEXT]"], raw.replace(b"\0", b"\x80")
    if not header.startswith("sha256:") and not text.startswith("sha256:"):
        assert plain((header + text).encode("latin-1")) == plain(raw), "HEADER and TEXT together are the message (RFC 9051 §6.4.5.1)"
    assert cut(answers["BODYSTRUCTURE"]) == answers["BODY"], "BODY is BODYSTRUCTURE without its extension data (RFC 9051 §7.5.2)"
    for section in MESSAGES[name].sections:
        body, size = answers[f"BODY.PEEK[{section}]"], answers[f"BINARY.SIZE[{section}]"]
        assert answers[f"BODY.PEEK[{section}]<1.3>"] == (None if body is None else body[1:4] if not body.startswith("sha256:") else answers[f"BODY.PEEK[{section}]<1.3>"])
        binary = answers[f"BINARY.PEEK[{section}]"]
        if isinstance(binary, str) and not binary.startswith(("NO", "sha256:")):
            assert size == len(binary), "BINARY.SIZE is the size of BINARY (RFC 9051 §6.4.5)"


def cut(structure):
    """A body structure without its extension data."""
    out = list(structure)
    stack = [out]
    while stack:
        part = stack.pop()
        children = 0
        while children < len(part) and isinstance(part[children], list):
            part[children] = list(part[children])
            stack.append(part[children])
            children += 1
        if children:
            del part[children + 1:]
        elif part[0] == "message" and part[1] in ("rfc822", "global") and len(part) > 8 and isinstance(part[8], list):
            part[8] = list(part[8])
            stack.append(part[8])
            del part[10:]
        else:
            del part[8 if part[0] == "text" else 7:]
    return out
