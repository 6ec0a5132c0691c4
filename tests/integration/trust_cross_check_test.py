"""DKIM and ARC beside dkimpy, OpenDKIM and rspamd, on random messages with odd white space, folds, 8-bit text, empty bodies, lone dots, long lines, a last line without CRLF: what one signs
the others verify, in all four canonicalizations, with rsa and Ed25519, and what was tampered with fails everywhere. POSTBUS_CROSS_MESSAGES=10000 for the long run.

Where they differ from the RFCs, and so from us, is DIFFERENCES below: each row is shown true by a test, with the sentence that decides."""
import dataclasses
import json
import os
import random
import re
import subprocess
import typing

import pytest
from postbus_test.dns import Knot
from postbus_test.peers import Dkimpy, Keys, OpenDkim, Ours, Rspamd
from postbus_test.site import BIN

MESSAGES = int(os.environ.get("POSTBUS_CROSS_MESSAGES", "160"))
CANONICALIZATIONS = [(a, b) for a in ("simple", "relaxed") for b in ("simple", "relaxed")]
LINES = [b"", b"", b" ", b"\t ", b"a  b\t c ", b" lead", b"trail \t", b"caf\xc3\xa9 \xff\xfe", b".", b"..", b". x", b"plain", b"From x", b"-- ", b"x" * 997, b"\xe2\x80\x8b", b"=20", b"\xc2\xa0"]
VALUES = [b"", b" ", b"x", b" x ", b"  two  spaces ", b"\ttab\t", b" folded\r\n\t  over\r\n lines", b" caf\xc3\xa9 \xff", b" =?utf-8?q?a=20b?= =?utf-8?q?c?=", b" a:b;c=d", b" long" + b" word" * 60,
          b"\r\n begins with a fold", b" \"quoted \\\" text\" (comment (nested))"]


@dataclasses.dataclass
class Difference:
    """A message that we sign and verify, and what others say of our signature; applies: whether a random message is such a one, for these peers."""
    what: str
    others: dict
    decided_by: str
    canonicalization: tuple
    header: bytes
    body: bytes
    applies: typing.Callable = lambda header, body, canonicalization: False


DIFFERENCES = [
    Difference("white space between a field's name and its colon", {"dkimpy": "error", "rspamd": "fail"},
               "RFC 6376 §3.4.2: \"Delete any WSP characters remaining before and after the colon separating the header field name from the header field value.\" (RFC 5322 §4.5 has them)",
               ("relaxed", "relaxed"), b"X-Odd : a\r\n", b"hello\r\n"),
    Difference("a field twice that should be there once", {"rspamd": "fail"},
               "RFC 6376 §5.4.2: \"Signers choosing to sign an existing header field that occurs more than once in the message … MUST sign the physically last instance of that header field\"",
               ("relaxed", "relaxed"), b"Subject: a\r\nSubject: b\r\n", b"hello\r\n"),
    Difference("a vertical tab or form feed in the body", {"rspamd": "fail"},
               "RFC 6376 §2.8: WSP is SP / HTAB; §3.4.4 reduces \"all sequences of WSP within a line\"", ("simple", "relaxed"), b"Subject: x\r\n", b"a\x0bb\x0c\r\n"),
    Difference("a body of nothing but white space", {"rspamd": "fail"},
               "RFC 6376 §3.4.4: \"Ignore all whitespace at the end of lines\", then \"ignore all empty lines at the end of the message body\": nothing is left",
               ("simple", "relaxed"), b"Subject: x\r\n", b" \r\n\t \r\n", lambda h, b, c: c[1] == "relaxed" and b.strip(b" \t\r\n") == b"" and b.strip(b"\r\n") != b""),
    Difference("white space at the end of a last line that has no CRLF", {"dkimpy": "fail", "opendkim": "fail", "rspamd": "fail"},
               "RFC 6376 §3.4.4: \"Ignore all whitespace at the end of lines\"; \"If the body is non-empty but does not end with a CRLF, a CRLF is added.\" (SMTP's DATA cannot make it, BDAT can)",
               ("relaxed", "relaxed"), b"Subject: x\r\n", b"a ", lambda h, b, c: c[1] == "relaxed" and b[-1:] in (b" ", b"\t")),
    Difference("a last line without CRLF, relaxed", {"opendkim": "syntax"},
               "RFC 6376 §3.4.4: \"If the body is non-empty but does not end with a CRLF, a CRLF is added.\" (OpenDKIM's library; its milter hands it whole lines)",
               ("relaxed", "relaxed"), b"Subject: x\r\n", b"a", lambda h, b, c: b != b"" and not b.endswith(b"\r\n")),
    Difference("4,096 bytes and no CRLF at the end, simple", {"opendkim": "fail"},
               "RFC 6376 §3.4.3: \"If there is no trailing CRLF on the message body, a CRLF is added.\"", ("simple", "simple"), b"Subject: x\r\n", b"x" * 4097),
]


def differs(peer, m, canonicalization):
    header, _, body = m.partition(b"\r\n\r\n")
    return any(peer in d.others and d.applies(header, body, canonicalization) for d in DIFFERENCES)


def message(rng):
    """A random message; From, To, Date are there, so that all peers take it."""
    fields = [b"From: a@sign.test", b"To:" + rng.choice([b" b@example.org", b"b@example.org ", b" b@example.org,\r\n\tc@example.org"]), b"Date: Tue, 24 Nov 2026 10:00:00 +0000"]
    for name in (rng.choice([b"Subject", b"SUBJECT", b"subject"]), b"X-Odd", b"x-odd", b"Cc", b"Message-ID", b"Received", b"Received"):
        if rng.random() < 0.6:
            fields.append(name + b":" + rng.choice(VALUES))
    rng.shuffle(fields)
    body = b"".join(rng.choice(LINES) + b"\r\n" for _ in range(rng.choice([0, 0, 1, 2, 3, 8, 40])))
    if rng.random() < 0.2:
        body = body.rstrip(b"\r\n") + b"\r\n" * rng.randrange(4)
    if rng.random() < 0.2:
        body += rng.choice([b"no end", b"no end ", b".", b" "])
    return b"\r\n".join(fields) + b"\r\n\r\n" + body


def tampered(rng, m):
    """The same with a signed field or the body changed, so that no canonicalization hides it."""
    if rng.random() < 0.5:
        return m.replace(b"From: a@sign.test", b"From: b@sign.test", 1)
    return m + (b"" if m.endswith(b"\r\n") else b"\r\n") + b"more\r\n"


@pytest.fixture(scope="module")
def peers():
    keys = Keys()
    made = {peer.name: peer for peer in (Ours(keys), Dkimpy(keys), OpenDkim(keys), Rspamd(keys))}
    yield made
    assert made["postbus"].end() == 0
    for peer in made.values():
        if peer.name != "postbus":
            peer.end()


def compare(peers, signer, verifier, seed, count, make=None):
    """Of `count` messages: what `signer` signs must pass at `verifier`, and must not when it was changed. Those that the two are known to take differently are left out. The number
    that was compared."""
    rng = random.Random(seed)
    other = signer if verifier == "postbus" else verifier
    done = i = 0
    while i < count:
        m = message(rng)
        selector, canonicalization = ("r", "e")[i % 2], CANONICALIZATIONS[i // 2 % 4]
        if make:
            canonicalization = ("relaxed", "relaxed")
        if differs(other, m, canonicalization):
            continue
        i += 1
        field = make(m, selector) if make else peers[signer].sign(m, selector, canonicalization)
        if field is None:
            continue
        done += 1
        got = peers[verifier].verify(field + m)
        assert got == "pass", (signer, verifier, selector, canonicalization, got, field + m)
        got = peers[verifier].verify(field + tampered(rng, m))
        assert got != "pass", (signer, verifier, selector, canonicalization, got, field + m)
    return done


@pytest.mark.parametrize("verifier", ["dkimpy", "opendkim", "rspamd", "postbus"])
def test_what_we_sign_they_verify(peers, verifier):
    assert compare(peers, "postbus", verifier, f"ours {verifier}", MESSAGES) == MESSAGES


@pytest.mark.parametrize("verifier", ["dkimpy", "opendkim", "rspamd"])
def test_the_fields_that_leave_our_site_verify_at_theirs(peers, verifier):
    count = MESSAGES // 4
    assert compare(peers, "postbus", verifier, f"sent {verifier}", count, make=peers["postbus"].sign_as_sent) == count


@pytest.mark.parametrize("signer", ["dkimpy", "opendkim", "rspamd"])
def test_what_they_sign_we_verify(peers, signer):
    """rspamd signs rsa, relaxed/relaxed alone: every eighth."""
    assert compare(peers, signer, "postbus", f"theirs {signer}", MESSAGES) == (MESSAGES // 8 if signer == "rspamd" else MESSAGES)


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda d: d.what)
def test_where_they_differ_the_rfc_decides(peers, difference):
    m = b"From: a@sign.test\r\nTo: b@example.org\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n" + difference.header + b"\r\n" + difference.body
    field = peers["postbus"].sign(m, "r", difference.canonicalization)
    said = {name: peer.verify(field + m).split(":")[0] for name, peer in peers.items()}
    assert said == {"postbus": "pass", "dkimpy": "pass", "opendkim": "pass", "rspamd": "pass", **difference.others}, difference.decided_by


def test_opendkims_folded_simple_ed25519_signatures_verify_nowhere(peers):
    """RFC 6376 §3.7: what is signed is the DKIM-Signature field "with the value of the b= tag (including all surrounding whitespace) deleted". OpenDKIM 2.11 folds the field after it has hashed it, so
    that an Ed25519 signature with simple header canonicalization is refused by everybody, itself included; unfolded (dkim_set_margin) it is good."""
    m = b"From: a@sign.test\r\nTo: b@example.org\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n\r\nhello\r\n"
    assert {peer.verify(peers["opendkim"].sign(m, "e", ("simple", "simple"), margin=75) + m) for peer in peers.values()} == {"fail"}
    assert {peer.verify(peers["opendkim"].sign(m, "e", ("simple", "simple")) + m) for peer in peers.values()} == {"pass"}


@pytest.mark.parametrize("sealer,validator", [("postbus", "dkimpy"), ("postbus", "rspamd"), ("dkimpy", "postbus"), ("rspamd", "postbus"), ("postbus", "postbus")])
def test_chains_hold_at_the_other(peers, sealer, validator):
    """Chains of one to three sets; a changed message or an older result fails. With rsa, and Ed25519 where both can: dkimpy's ARC knows rsa alone (its DKIM has both), rspamd checks both and
    is given an rsa key to seal with."""
    rng = random.Random(f"{sealer} {validator}")
    for i in range(MESSAGES // 8):
        m = message(rng)
        while any(differs(peer, m, ("relaxed", "relaxed")) for peer in (sealer, validator)):
            m = message(rng)
        for hop in range(rng.randrange(1, 4)):
            selector = "r" if sealer == "rspamd" or "dkimpy" in (sealer, validator) else ("r", "e")[(i + hop) % 2]
            fields = peers[sealer].seal(m, selector)
            assert fields, (sealer, m)
            m = fields + m
            assert peers[validator].arc(m) == "pass", (sealer, validator, hop, m)
        assert peers[validator].arc(m.replace(b"From: a@sign.test", b"From: b@sign.test", 1)) == "fail"
        assert peers[validator].arc(re.sub(rb"ARC-Authentication-Results: i=1;", b"ARC-Authentication-Results: i=1; x=1;", m, count=1)) == "fail"


POLICIES = {"pass": "v=spf1 ip4:192.0.2.1 -all", "fail": "v=spf1 -all", "softfail": "v=spf1 ~all", "neutral": "v=spf1 ?all",
            "permerror": "v=spf1 nonsense:x", "none": "hello"}


@pytest.fixture(scope="module")
def knot():
    server = Knot({"sign.test": "".join(f'{name} 60 IN TXT "{text}"\n' for name, text in POLICIES.items())})
    yield server
    server.end()


@pytest.mark.parametrize("result", POLICIES)
def test_spf_results_and_exit_status(knot, result):
    done = subprocess.run([BIN / "cli", "check", "spf", "--ip", "192.0.2.1", "--helo", "h.sign.test", "--mail-from", f"a@{result}.sign.test", "--json", "--resolver",
                           f"127.0.0.1:{knot.port}"], capture_output=True, timeout=60)
    assert json.loads(done.stdout)["spf"]["result"] == result
    assert done.returncode == (1 if result in ("fail", "permerror") else 0)
