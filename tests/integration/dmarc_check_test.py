"""`postbus check message` against every kind of DNS server: scripted ones that lie, truncate, time out and know no EDNS, a real one that only serves zones; and what the
fields that the verifier writes are to python3-authres, whatever is in them."""
import base64
from concurrent.futures import ThreadPoolExecutor
import json
import random
import re
import socket
import struct
import subprocess
import threading
import time

import authres
import dns.flags
import dns.message
import dns.rcode
import pytest

from postbus_test.dns import Knot
from postbus_test.scripted_dns import GARBAGE, NODATA, REFUSED, SERVFAIL, SILENCE, WRONG_ID, WRONG_NAME, ScriptedDns, Slow, Truncated
from postbus_test.site import BIN, Site, free_port

MESSAGE = "From: Ann <ann@{0}>\nSubject: x\n\nhello\n"
REJECT = '"v=DMARC1; p=reject"'


def check(resolver, domain, *words, message=None):
    """(JSON, exit status, seconds)"""
    begin = time.monotonic()
    done = subprocess.run([BIN / "cli", "check", "message", "-", "--json", "--resolver", resolver, *words], input=(message or MESSAGE.format(domain)).encode(), capture_output=True, timeout=60)
    return json.loads(done.stdout), done.returncode, time.monotonic() - begin


@pytest.fixture(scope="module")
def scripted():
    server = ScriptedDns({
        ("_dmarc.plain.test", "TXT"): REJECT,
        ("_dmarc.alias.test", "TXT"): "CNAME:_dmarc.plain.test",
        ("_dmarc.far.test", "TXT"): "CNAME:a.chain.test", ("a.chain.test", "TXT"): "CNAME:b.chain.test", ("b.chain.test", "TXT"): "CNAME:_dmarc.plain.test",
        ("_dmarc.loop.test", "TXT"): "CNAME:loop.chain.test", ("loop.chain.test", "TXT"): "CNAME:_dmarc.loop.test",
        ("_dmarc.dangling.test", "TXT"): "CNAME:nowhere.invalid",
        ("_dmarc.cut.test", "TXT"): Truncated(REJECT),
        ("_dmarc.huge.test", "TXT"): '"v=DMARC1; p=reject; x="' + ' "' + '" "'.join(["y" * 255] * 240) + '"',
        ("_dmarc.parts.test", "TXT"): '"v=DMA" "RC1; p=rej" "ect"',
        ("_dmarc.slow.test", "TXT"): Slow(1.5, REJECT),
        ("_dmarc.servfail.test", "TXT"): SERVFAIL, ("_dmarc.refused.test", "TXT"): REFUSED, ("_dmarc.silent.test", "TXT"): SILENCE, ("_dmarc.garbage.test", "TXT"): GARBAGE,
        ("_dmarc.wrongid.test", "TXT"): WRONG_ID, ("_dmarc.wrongname.test", "TXT"): WRONG_NAME, ("_dmarc.cutdead.test", "TXT"): Truncated(SILENCE),
        ("_dmarc.nodata.test", "TXT"): NODATA,
    })
    yield f"127.0.0.1:{server.port}"
    server.end()


ANSWERS = {
    "plain.test": "fail", "sub.plain.test": "fail", "alias.test": "fail", "far.test": "fail", "cut.test": "fail", "parts.test": "fail", "slow.test": "fail",
    "huge.test": "none",  # over the bound of a record: none
    "nodata.test": "none", "nx.test": "none", "dangling.test": "none",
    "loop.test": "temperror", "servfail.test": "temperror", "refused.test": "temperror", "silent.test": "temperror", "garbage.test": "temperror",
    "wrongid.test": "temperror", "wrongname.test": "temperror", "cutdead.test": "temperror",
}


@pytest.fixture(scope="module")
def answers(scripted):
    """All at once: most of the time is spent in waiting for servers that are silent."""
    with ThreadPoolExecutor(len(ANSWERS)) as pool:
        return dict(zip(ANSWERS, pool.map(lambda domain: check(scripted, domain), ANSWERS)))


@pytest.mark.parametrize("domain", ANSWERS)
def test_each_answer_and_each_failure(answers, domain):
    found, status, seconds = answers[domain]
    result = ANSWERS[domain]
    assert found["dmarc"]["result"] == result, found["dmarc"]
    assert status == {"fail": 1, "none": 0, "temperror": 75}[result]
    assert found["disposition"] == {"fail": "reject", "none": "accept", "temperror": "tempfail"}[result]
    assert seconds < 20


def test_a_server_that_only_serves_zones_is_enough():
    knot = Knot({"own.test": '@ 60 IN TXT "v=spf1 ip4:192.0.2.1 -all"\n_dmarc 60 IN TXT "v=DMARC1; p=quarantine"\nlong 60 IN CNAME own.test.\n', "bare.test": ""})
    try:
        found, status, _ = check(f"127.0.0.1:{knot.port}", "sub.own.test")
        assert (found["dmarc"]["result"], found["dmarc"]["record_domain"], status) == ("fail", "own.test", 1)
        found, status, _ = check(f"127.0.0.1:{knot.port}", "x.own.test", "--ip", "192.0.2.1", "--helo", "h.own.test", "--mail-from", "a@long.own.test")
        assert (found["spf"]["result"], found["dmarc"]["result"]) == ("pass", "pass")
        found, status, _ = check(f"127.0.0.1:{knot.port}", "bare.test")  # what is above its zones it refuses; that is no record
        assert (found["dmarc"]["result"], status) == ("none", 0)
        found, status, _ = check(f"127.0.0.1:{knot.port}", "elsewhere.example")  # but another zone may have one
        assert (found["dmarc"]["result"], status) == ("temperror", 75)
    finally:
        knot.end()


@pytest.mark.parametrize("rcode", [dns.rcode.FORMERR, dns.rcode.NOTIMP])
def test_a_server_of_before_edns(rcode):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                wire, peer = sock.recvfrom(4096)
            except OSError:
                return
            if wire[11]:  # an additional record: OPT
                sock.sendto(wire[:2] + struct.pack("!HHHHH", 0x8000 | int(rcode), 0, 0, 0, 0), peer)
                continue
            question = dns.message.from_wire(wire)
            answer = dns.message.make_response(question)
            if question.question[0].name.to_text().startswith("_dmarc.old."):
                answer.answer.append(dns.rrset.from_text(question.question[0].name, 60, "IN", "TXT", REJECT))
            else:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            sock.sendto(answer.to_wire(), peer)
    threading.Thread(target=serve, daemon=True).start()
    found, *_ = check(f"127.0.0.1:{sock.getsockname()[1]}", "old.test")
    sock.close()
    assert found["dmarc"]["result"] == "fail"


def test_silence_is_bounded_for_all_questions_together():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    signatures = "".join(f"DKIM-Signature: v=1; a=rsa-sha256; d=d{i}.test; s=s; h=from; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\n" for i in range(20))
    found, status, seconds = check(f"127.0.0.1:{sock.getsockname()[1]}", "a.test", "--ip", "192.0.2.1", "--helo", "h.test", "--mail-from", "x@y.test",
                                   message=signatures + "From: a@a.test\n\n")
    sock.close()
    assert status == 75 and found["spf"]["result"] == found["dmarc"]["result"] == "temperror" and seconds < 20


def test_nobody_listens_there():
    found, status, seconds = check(f"127.0.0.1:{free_port()}", "a.test")
    assert found["dmarc"]["result"] == "temperror" and status == 75 and seconds < 3


@pytest.mark.parametrize("resolver", ["", "nonsense", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:0", "127.0.0.1:70000", "[::1", "[]:53", "300.1.1.1:53", ":53"])
def test_resolvers_that_are_none(resolver):
    done = subprocess.run([BIN / "cli", "check", "message", "-", "--resolver", resolver], input=b"From: a@b.test\n\n", capture_output=True, timeout=60)
    assert done.returncode == 69 and b"is not a usable resolver" in done.stderr and not done.stdout


def test_the_text_tells_each_step(scripted):
    done = subprocess.run([BIN / "cli", "check", "message", "-", "--resolver", scripted, "--ip", "192.0.2.1", "--helo", "h.test", "--mail-from", "a@b.test"],
                          input=MESSAGE.format("sub.plain.test").encode(), capture_output=True, timeout=60, text=False)
    out = done.stdout.decode()
    for line in ("dns    _dmarc.sub.plain.test TXT: no such name", "spf    none: b.test has no SPF record (MAIL FROM b.test, 0 lookups, 0 of them void)", "spf    none: h.test has no SPF record (HELO h.test",
                 "dkim   none: the message carries no signature", "arc    none", "dmarc  fail: neither an aligned DKIM signature nor aligned SPF passed (from sub.plain.test, record of plain.test, policy reject, done reject)",
                 "dmarc      _dmarc.sub.plain.test: no DMARC record", "dmarc      _dmarc.plain.test: v=DMARC1; p=reject", "iprev  permerror", "a receiver would reject it: 5.7.1 refused by the DMARC policy of sub.plain.test"):
        assert line in out, (line, out)
    assert done.returncode == 1


@pytest.mark.parametrize("sender, scope, domain", [("<a@plain.test>", "mfrom", "plain.test"), ("<>", "helo", "h.plain.test"), ("", "helo", "h.plain.test")])
def test_a_sender_as_smtp_writes_it(scripted, sender, scope, domain):
    """Angle brackets are no part of the address; without one, the client's name is what SPF is about."""
    found, *_ = check(scripted, "plain.test", "--ip", "192.0.2.1", "--helo", "h.plain.test", "--mail-from", sender)
    assert (found["spf"]["scope"], found["spf"]["domain"]) == (scope, domain)


def test_a_client_that_is_no_address_is_wrong_usage(scripted):
    done = subprocess.run([BIN / "cli", "check", "message", "-", "--json", "--resolver", scripted, "--ip", "mail.plain.test", "--mail-from", "a@plain.test"],
                          input=b"From: a@plain.test\n\n", capture_output=True, timeout=60)
    assert done.returncode == 64 and b"--ip is not an IPv4" in done.stderr and not done.stdout


@pytest.mark.parametrize("message, result", [
    ("", "none"), ("From :a@plain.test\n\n", "fail"), ("From a@plain.test", "none"), ("\n", "none"), ("nonsense\n\nbody", "none"), ("Subject: x\n\nbody", "none"), ("From: \n\n", "none"), ("From: a@[192.0.2.1]\n\n", "permerror"), ("From: a@plain.test", "fail"),
    ("x" * 100000 + "\n\n", "none"), ("From: " + "a@plain.test, " * 900 + "\n\n", "fail"), ("From: a@plain.test\r\n\r\n\0\xff", "fail"),
])
def test_odd_messages(scripted, message, result):
    found, status, _ = check(scripted, "", message=message)
    assert found["dmarc"]["result"] == result and status in (0, 1)


def test_what_the_verifier_writes_parses_whatever_it_is():
    """Random envelopes and signatures of nasty bytes: python3-authres reads each field, and reads of it what was sent."""
    site = Site(settings={"POSTBUS_RESOLVER_STUBS": f"test=127.0.0.1@{free_port()}"})
    rng = random.Random(9989)
    try:
        site.start("verifier")
        alphabet = "ab1.-_@\"\\();:=/,<>[]{}!#$%&'*+?^`|~ \t"
        for _ in range(150):
            local, helo, domain = ("".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 40))) for _ in range(3))
            sender = local.replace("@", "") + "@nx.invalid"
            header = f"From: a@nx.invalid\r\nDKIM-Signature: v=1; a=rsa-sha256; d={domain.replace(';', '').strip()}; s=s s; h=from; bh=x; b=y\r\n".encode()
            reply = site.rpc("verifier.verify", id="01JDADM0000000000000000001", client_ip="2001:db8::1", helo=helo, mail_from=sender, tls="", body_hashes=[], header_b64=base64.b64encode(header).decode())
            fields = reply["headers"]
            assert fields.isascii() and fields.endswith("\r\n") and all(len(line) < 998 for line in fields.split("\r\n"))
            ours, spf = fields.split("\r\nReceived-SPF:")
            parsed = authres.AuthenticationResultsHeader.parse(ours.replace("\r\n", ""))
            assert parsed.authserv_id == "mx.alpha.test"
            properties = {(r.method, p.type, p.name): p.value for r in parsed.results for p in r.properties}
            # it leaves the "\\" of quoted pairs in (RFC 5322 §3.2.4: it is no part of the value)
            assert re.sub(r"\\(.)", r"\1", properties[("spf", "smtp", "mailfrom")]) == sender.replace("\t", "?"), fields
            assert properties[("iprev", "policy", "iprev")] == "2001:db8::1"
            assert "receiver=mx.alpha.test;" in spf
    finally:
        site.end()
