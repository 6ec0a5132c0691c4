"""The same messages and zones through our `postbus check`, opendmarc (as a milter) and rspamd's dmarc module. Each disagreement is listed with the sentence that decides; one that is
not listed fails, and one that is listed and is none any more fails too. Both peers are of RFC 7489: they ask a public suffix list where RFC 9989 walks the tree."""
import base64
from concurrent.futures import ThreadPoolExecutor
import json
import os
import pathlib
import re
import subprocess
import urllib.request

import dkim
import pytest

from postbus_test.milter import Milter
from postbus_test.scripted_dns import SERVFAIL, ScriptedDns
from postbus_test.site import BIN, free_port, wait_until

SUFFIXES = "test\nexample\ncom\n"  # the public suffix list of both peers: the real one does not know the names of tests
IP, HELO = "192.0.2.1", "h.nowhere.test"

WALK = "RFC 9989 §4.10.2 finds the organizational domain by the tree walk; RFC 7489 §3.2 by the public suffix list"
PSD = "RFC 9989 §4.7: psd; a tag that RFC 7489 does not know"
NP = "RFC 9989 §4.7: np for names that do not exist; a tag that RFC 7489 does not know"
NO_RUA = "RFC 9989 §4.10.1: without a valid p and without rua no DMARC processing is applied"
DEFAULTS = "RFC 9989 §4.8: syntax errors in the remainder are discarded in favour of default values; the record stands"
RUA = "RFC 9989 §4.10.1: with a rua the receiver acts as if p=none had been retrieved"
STRICT = "RFC 9989 §4.10.2: with strict alignment a comparison of the two names as they are is all there is"
SPACES = "RFC 9989 §4.8: there may be white space on both sides of ="
FIRST = "RFC 9989 §4.7: where v is not the first tag the entire record is ignored"
OTHERS = "RFC 9989 §4.10 step 2: records that do not start with v=DMARC1 are discarded; it takes the first that comes, whatever it is"
DISCARD = "RFC 9989 §4.10 step 2: several records at one name are all discarded, and the walk goes on"
AUTHORS = "RFC 9989 §11.5: each author domain is looked at, and the strictest policy among those that fail stands"
TWICE = "RFC 6376 §3.2: a tag that is there twice makes the list invalid; RFC 9989 §4.8: then its default counts"
TEMP = "RFC 9989 §5.3.6: with an answer missing the message neither passes nor fails"

# name, author's address, MAIL FROM, DKIM-signing domain, records ({D}: a domain of the case's own; its SPF passes for MAIL FROM domains that begin with "ok"), ours,
# and where a peer says otherwise: {"opendmarc": (what, why), "rspamd": (what, why)}; several: now one, now the other
CASES = [
    ("no record", "a@{D}", "a@ok.{D}", None, {}, "none", {}),
    ("p=none, nothing passes", "a@{D}", "a@bad.{D}", None, {"{D}": "v=DMARC1; p=none"}, "fail none", {}),
    ("p=quarantine", "a@{D}", "a@bad.{D}", None, {"{D}": "v=DMARC1; p=quarantine"}, "fail quarantine", {}),
    ("p=reject", "a@{D}", "a@bad.{D}", None, {"{D}": "v=DMARC1; p=reject"}, "fail reject", {}),
    ("SPF strict", "a@ok.{D}", "a@ok.{D}", None, {"ok.{D}": "v=DMARC1; p=reject; aspf=s"}, "pass", {}),
    ("SPF relaxed", "a@{D}", "a@ok.{D}", None, {"{D}": "v=DMARC1; p=reject"}, "pass", {}),
    ("SPF relaxed, strict wanted", "a@{D}", "a@ok.{D}", None, {"{D}": "v=DMARC1; p=reject; aspf=s"}, "fail reject", {"opendmarc": ("pass", STRICT)}),
    ("DKIM strict", "a@{D}", "a@bad.{D}", "{D}", {"{D}": "v=DMARC1; p=reject; adkim=s"}, "pass", {}),
    ("DKIM relaxed", "a@{D}", "a@bad.{D}", "s.{D}", {"{D}": "v=DMARC1; p=reject"}, "pass", {}),
    ("DKIM relaxed, strict wanted", "a@{D}", "a@bad.{D}", "s.{D}", {"{D}": "v=DMARC1; p=reject; adkim=s"}, "fail reject", {"opendmarc": ("pass", STRICT)}),
    ("DKIM of the parent", "a@s.{D}", "a@bad.{D}", "{D}", {"{D}": "v=DMARC1; p=reject"}, "pass", {}),
    ("DKIM of a stranger", "a@{D}", "a@bad.{D}", "other.example", {"{D}": "v=DMARC1; p=reject"}, "fail reject", {}),
    ("the parent's policy", "a@s.{D}", "a@bad.{D}", None, {"{D}": "v=DMARC1; p=reject"}, "fail reject", {}),
    ("sp", "a@s.{D}", "a@bad.{D}", None, {"{D}": "v=DMARC1; p=reject; sp=quarantine"}, "fail quarantine", {}),
    ("sp is not for the domain itself", "a@{D}", "a@bad.{D}", None, {"{D}": "v=DMARC1; p=reject; sp=none"}, "fail reject", {}),
    ("its own record before the parent's", "a@s.{D}", "a@bad.{D}", None, {"{D}": "v=DMARC1; p=reject", "s.{D}": "v=DMARC1; p=none"}, "fail none", {}),
    ("unknown tags", "a@{D}", "a@bad.{D}", None, {"{D}": "v=DMARC1; p=reject; x=y; rf=afrf; ri=60"}, "fail reject", {}),
    ("spaces", "a@{D}", "a@bad.{D}", None, {"{D}": "v = DMARC1 ; p = reject ;"}, "fail reject", {"opendmarc": ("none", SPACES), "rspamd": ("fail none", SPACES)}),
    ("upper case", "a@{D}", "a@bad.{D}", None, {"{D}": "v=DMARC1; P=REJECT"}, "fail reject", {}),
    ("v=dmarc1", "a@{D}", "a@bad.{D}", None, {"{D}": "v=dmarc1; p=reject"}, "none", {}),
    ("v not first", "a@{D}", "a@bad.{D}", None, {"{D}": "p=reject; v=DMARC1"}, "none", {"opendmarc": ("fail reject", FIRST)}),
    ("p invalid", "a@{D}", "a@bad.{D}", None, {"{D}": "v=DMARC1; p=x"}, "none", {"opendmarc": ("permerror", NO_RUA), "rspamd": ("permerror", NO_RUA)}),
    ("p invalid with rua", "a@{D}", "a@bad.{D}", None, {"{D}": "v=DMARC1; p=x; rua=mailto:a@{D}"}, "fail none", {"opendmarc": ("permerror", RUA), "rspamd": ("permerror", RUA)}),
    ("p missing with rua", "a@{D}", "a@bad.{D}", None, {"{D}": "v=DMARC1; rua=mailto:a@{D}"}, "fail none", {"opendmarc": ("permerror", RUA)}),
    ("p last", "a@{D}", "a@bad.{D}", None, {"{D}": "v=DMARC1; sp=none; p=reject"}, "fail reject", {}),
    ("p twice", "a@{D}", "a@bad.{D}", None, {"{D}": "v=DMARC1; p=none; p=reject; rua=mailto:a@{D}"}, "fail none", {"opendmarc": ("fail reject", TWICE), "rspamd": ("fail reject", TWICE)}),
    ("adkim malformed", "a@{D}", "a@bad.{D}", "s.{D}", {"{D}": "v=DMARC1; p=reject; adkim=strict"}, "pass", {"rspamd": ("permerror", DEFAULTS)}),
    ("a part without =", "a@{D}", "a@bad.{D}", None, {"{D}": "v=DMARC1; nonsense; p=reject"}, "fail reject", {"rspamd": ("fail none", DEFAULTS)}),
    ("two records", "a@{D}", "a@bad.{D}", None, {"{D}": ["v=DMARC1; p=reject", "v=DMARC1; p=none"]}, "none", {"opendmarc": (("fail none", "fail reject"), DISCARD), "rspamd": ("permerror", DISCARD)}),
    ("two records below one", "a@s.{D}", "a@bad.{D}", None, {"s.{D}": ["v=DMARC1; p=none", "v=DMARC1; p=quarantine"], "{D}": "v=DMARC1; p=reject"}, "fail reject", {"opendmarc": (("fail none", "fail quarantine"), DISCARD), "rspamd": ("permerror", DISCARD)}),
    ("beside other text", "a@{D}", "a@bad.{D}", None, {"{D}": ["hello", "v=DMARC1; p=reject"]}, "fail reject", {"opendmarc": (("none", "fail reject"), OTHERS)}),
    ("np", "a@nx.{D}", "a@bad.{D}", None, {"{D}": "v=DMARC1; p=none; np=reject"}, "fail reject", {"opendmarc": ("fail none", NP), "rspamd": ("fail none", NP)}),
    ("psd=n below", "a@s.{D}", "a@bad.{D}", "{D}", {"s.{D}": "v=DMARC1; p=reject; psd=n", "{D}": "v=DMARC1; p=none"}, "fail reject", {"opendmarc": ("pass", PSD), "rspamd": ("pass", PSD)}),
    ("psd=y above: siblings are strangers", "a@x.{D}", "a@bad.{D}", "y.{D}", {"{D}": "v=DMARC1; p=reject; psd=y"}, "fail reject", {"opendmarc": ("pass", PSD), "rspamd": ("pass", PSD)}),
    ("a record below the registrable domain alone: no organization above", "a@s.{D}", "a@bad.{D}", "{D}", {"s.{D}": "v=DMARC1; p=reject"}, "fail reject", {"opendmarc": ("pass", WALK), "rspamd": ("pass", WALK)}),
    ("no answer", "a@{D}", "a@bad.{D}", None, {"{D}": SERVFAIL}, "temperror", {"opendmarc": ("none", TEMP)}),
    ("two authors", "a@ok.{D}, a@{D}", "a@ok.{D}", None, {"ok.{D}": "v=DMARC1; p=none; aspf=s", "{D}": "v=DMARC1; p=reject; aspf=s"}, "fail reject", {"opendmarc": ("silent", AUTHORS), "rspamd": ("none", AUTHORS)}),
    ("display name with an address", '"a@bank.example" <a@{D}>', "a@bad.{D}", "{D}", {"{D}": "v=DMARC1; p=reject"}, "pass", {}),
]


def openssl(*words, data=None):
    return subprocess.run(["openssl", *words], input=data, capture_output=True, check=True).stdout


PEM = openssl("genrsa", "-traditional", "2048")
P = base64.b64encode(openssl("rsa", "-pubout", "-outform", "DER", data=PEM)).decode()
KEY = f'"v=DKIM1; k=rsa; p=" "{P[:200]}" "{P[200:]}"'


class Case:
    def __init__(self, number, row):
        self.name, author, sender, signer, records, self.ours, self.otherwise = row
        self.domain = f"c{number}.test"
        put = lambda text: text.replace("{D}", self.domain) if isinstance(text, str) else text
        self.author, self.sender, self.signer = put(author), put(sender), put(signer)
        self.records = {put(name): [put(v) for v in value] if isinstance(value, list) else put(value) for name, value in records.items()}
        self.spf = self.sender.split("@")[1].startswith("ok.")
        plain = f"From: {self.author}\r\nTo: bob@here.test\r\nSubject: x\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{number}@{self.domain}>\r\n\r\nx\r\n".encode()
        self.message = (dkim.sign(plain, b"k", self.signer.encode(), PEM, include_headers=[b"from", b"subject"]) if self.signer else b"") + plain

    def zone(self):
        zone = {(f"ok.{self.domain}", "TXT"): f'"v=spf1 ip4:{IP} -all"', (f"bad.{self.domain}", "TXT"): '"v=spf1 -all"', (self.domain, "A"): "192.0.2.9", (f"s.{self.domain}", "A"): "192.0.2.9"}
        for name, value in self.records.items():
            zone[(f"_dmarc.{name}", "TXT")] = [f'"{v}"' for v in value] if isinstance(value, list) else value if value == SERVFAIL else f'"{value}"'
        if self.signer:
            zone[(f"k._domainkey.{self.signer}", "TXT")] = KEY
        return zone


ALL = [Case(n, row) for n, row in enumerate(CASES)]


@pytest.fixture(scope="module")
def dns():
    zone = {}
    for case in ALL:
        zone.update(case.zone())
    inside = os.geteuid() == 0 and pathlib.Path("/.dockerenv").exists()
    server = ScriptedDns(zone, port=53 if inside else 0)  # opendmarc has no setting for its resolver: it is the system's, which only a container's can be changed
    yield server
    server.end()


def ours(dns, case):
    done = subprocess.run([BIN / "cli", "check", "message", "-", "--json", "--resolver", f"127.0.0.1:{dns.port}", "--ip", IP, "--helo", HELO, "--mail-from", case.sender],
                          input=case.message, capture_output=True, timeout=60)
    found = json.loads(done.stdout)
    assert found["spf"]["result"] == ("pass" if case.spf else "fail") and [s["result"] for s in found["dkim"]] == (["pass"] if case.signer else [])
    return found["dmarc"]["result"] + (" " + found["dmarc"]["policy"] if found["dmarc"]["result"] == "fail" else "")


@pytest.fixture(scope="module")
def our_results(dns):
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda case: ours(dns, case), ALL))


@pytest.fixture(scope="module")
def opendmarc_results(dns, tmp_path_factory):
    if dns.port != 53:
        pytest.skip("only in a container of its own: the system's resolver has to be the tests' own")
    work = tmp_path_factory.mktemp("opendmarc")
    port = free_port()
    (work / "conf").write_text(f"Socket inet:{port}@127.0.0.1\nAuthservID here.test\nTrustedAuthservIDs trusted.test\nRejectFailures false\nSPFIgnoreResults true\nSPFSelfValidate true\nSyslog false\nPidFile {work}/pid\n"
                               f"PublicSuffixList {work}/suffixes\n")
    (work / "suffixes").write_text(SUFFIXES)
    before = pathlib.Path("/etc/resolv.conf").read_text()
    pathlib.Path("/etc/resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:2 attempts:1\n")
    process = subprocess.Popen(["opendmarc", "-f", "-c", work / "conf"], stdout=open(work / "log", "wb"), stderr=subprocess.STDOUT)
    try:
        yield [opendmarc(port, case) for case in ALL]
    finally:
        process.terminate()
        process.wait(10)
        pathlib.Path("/etc/resolv.conf").write_text(before)


def opendmarc(port, case):
    proofs = f"trusted.test; dkim=pass header.d={case.signer} header.i=@{case.signer}" if case.signer else "trusted.test; dkim=none"  # SPF it does itself
    headers = [("Authentication-Results", proofs)] + [tuple(line.split(": ", 1)) for line in case.message.decode().split("\r\n\r\n")[0].split("\r\n") if line.startswith(("From", "To", "Subject", "Date", "Message-ID"))]
    ended, _, added = Milter(port).message(IP, HELO, case.sender, "bob@here.test", headers)
    if ended == "tempfail":
        return "temperror"
    if ended in ("reject", "discard"):
        return "refused"
    found = next((re.search(r"dmarc=(\w+)(?: \(p=(\w+))?", value) for name, value in added if name == "Authentication-Results" and "dmarc=" in value), None)
    if not found:
        return "silent"
    return found.group(1) + (" " + found.group(2) if found.group(1) == "fail" else "")


RSPAMD = """
options {{ filters = "dkim"; url_tld = "{work}/suffixes"; dns {{ nameserver = ["127.0.0.1:{dns}"]; timeout = 2s; retransmits = 1; }} tempdir = "{work}"; pidfile = "{work}/pid"; control_socket = "{work}/control mode=0600"; local_addrs = []; }}
logging {{ type = "file"; filename = "{work}/log"; level = "info"; }}
worker "normal" {{ bind_socket = "127.0.0.1:{port}"; count = 1; }}
modules {{ path = "/usr/share/rspamd/plugins/dmarc.lua"; path = "/usr/share/rspamd/plugins/spf.lua"; }}
lua = "/usr/share/rspamd/rules/rspamd.lua";
spf {{ }} dkim {{ }} dmarc {{ actions {{ }} }}
"""


@pytest.fixture(scope="module")
def rspamd_results(dns, tmp_path_factory):
    work = tmp_path_factory.mktemp("rspamd")
    port = free_port()
    (work / "suffixes").write_text(SUFFIXES)
    (work / "rspamd.conf").write_text(RSPAMD.format(dns=dns.port, port=port, work=work))
    process = subprocess.Popen(["rspamd", "-f", "-i", "-c", work / "rspamd.conf"], stdout=open(work / "out", "wb"), stderr=subprocess.STDOUT)
    try:
        wait_until(f"rspamd (see {work})", lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2).status == 200)
        yield [rspamd(port, case) for case in ALL]
    finally:
        process.terminate()
        process.wait(20)


def rspamd(port, case):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/checkv2", case.message, {"IP": IP, "Helo": HELO, "From": case.sender, "Rcpt": "bob@here.test"})
    symbols = json.loads(urllib.request.urlopen(request, timeout=30).read())["symbols"]
    assert ("R_SPF_ALLOW" in symbols) == case.spf and ("R_DKIM_ALLOW" in symbols) == bool(case.signer), symbols
    words = {"DMARC_POLICY_ALLOW": "pass", "DMARC_POLICY_REJECT": "fail reject", "DMARC_POLICY_QUARANTINE": "fail quarantine", "DMARC_POLICY_SOFTFAIL": "fail none", "DMARC_NA": "none",
             "DMARC_BAD_POLICY": "permerror", "DMARC_DNSFAIL": "temperror", "DMARC_POLICY_ALLOW_WITH_FAILURES": "pass"}
    return next((words[name] for name in words if name in symbols), "silent")


@pytest.mark.parametrize("number", range(len(ALL)), ids=[c.name for c in ALL])
def test_ours(our_results, number):
    assert our_results[number] == ALL[number].ours


@pytest.mark.parametrize("number", range(len(ALL)), ids=[c.name for c in ALL])
@pytest.mark.parametrize("peer", ["opendmarc", "rspamd"])
def test_the_peer_agrees_or_the_rfc_decides(request, peer, number):
    theirs, case = request.getfixturevalue(f"{peer}_results")[number], ALL[number]
    said, why = case.otherwise.get(peer, (case.ours, ""))
    several = isinstance(said, tuple)
    assert theirs in said if several else theirs == said, f"{peer} says {theirs}, we say {case.ours}" + (f"; listed is {said}: {why}" if why else "")
    assert several or said != case.ours or not why, "this is no disagreement any more"
