"""Mail that an alias hands on to another server: SRS, the ARC seal, and the way back for reports. Checked by other makers' programs: dkimpy and pyspf."""
import base64
import email
import hashlib
import hmac
import imaplib
import json
import re
import smtplib
import ssl
import subprocess
import time

import dkim
import pytest
import spf

from postbus_test.peer import Peer
from postbus_test.scripted_dns import ScriptedDns
from postbus_test.site import BIN, Site, wait_until

PASSWORD = "correct horse 1"
TLS = ssl._create_unverified_context()
SERVICES = ("accounts", "verifier", "mailbox", "delivery", "smtpd", "imapd")


def openssl(*words, data=None):
    return subprocess.run(["openssl", *words], input=data, capture_output=True, check=True).stdout


def quoted(text):
    return " ".join(f'"{text[i:i + 200]}"' for i in range(0, len(text), 200))


@pytest.fixture(scope="module")
def world():
    peer = Peer()
    author = openssl("genrsa", "-traditional", "2048")
    public = base64.b64encode(openssl("pkey", "-pubout", "-outform", "DER", data=author)).decode()
    dns = ScriptedDns({
        ("author.test", "TXT"): '"v=spf1 ip4:127.0.0.1 -all"', ("author.test", "MX"): "10 mx.remote.test.", ("_dmarc.author.test", "TXT"): '"v=DMARC1; p=reject"',
        ("a._domainkey.author.test", "TXT"): quoted(f"v=DKIM1; k=rsa; p={public}"),
        ("lax.test", "TXT"): '"v=spf1 -all"', ("lax.test", "MX"): "10 mx.remote.test.", ("_dmarc.lax.test", "TXT"): '"v=DMARC1; p=none"',
        ("one.test", "TXT"): '"v=spf1 ip4:127.0.0.1 -all"',
        ("remote.test", "MX"): "10 mx.remote.test.", ("mx.remote.test", "A"): "127.0.0.1",
        ("1.0.0.127.in-addr.arpa", "PTR"): "mx.author.test.", ("mx.author.test", "A"): "127.0.0.1"}, ttl=60)
    dns.negative_ttl = 1
    site = Site("mx.alpha.test", {"POSTBUS_RESOLVER_STUBS": f"test={dns.address},in-addr.arpa={dns.address}", "POSTBUS_SMTP_PORT": peer.port, "POSTBUS_RETRY_FIRST_SECONDS": 1,
                                  "POSTBUS_DKIM_ROTATE": "0", "POSTBUS_DKIM_CLOCK": "1s", "POSTBUS_DKIM_RETIRED": "60s"})
    site.start(*SERVICES)
    site.peer, site.dns, site.author = peer, dns, author
    site.add_account("bob@alpha.test", PASSWORD)
    site.accepted, listener = [], site.new_nats()
    listener.subscribe("postbus.mail.accepted.*", lambda _subject, _reply, body: site.accepted.append(json.loads(body)["data"]))
    listener.flush()
    for alias, targets in {"out": ["x@remote.test"], "both": ["bob@alpha.test", "y@remote.test"], "gone": ["nobody@remote.test"]}.items():
        assert "error" not in site.rpc("accounts.alias.add", address=f"{alias}@alpha.test", targets=targets)
    publish(site)
    yield site
    site.end()
    peer.end()
    dns.end()


def publish(site):
    for record in site.rpc("verifier.dns.records", domain="alpha.test")["records"]:
        if record["type"] in ("TXT", "A", "MX"):
            site.dns.update({(record["name"], record["type"]): record["value"]})


def message(mark, sender="ann@author.test", **more):
    head = {"From": f"Ann <{sender}>", "To": "out@alpha.test", "Subject": mark, "Date": "Tue, 24 Nov 2026 10:00:00 +0000", "Message-ID": f"<{mark}@author.test>", **more}
    return "".join(f"{k}: {v}\r\n" for k, v in head.items()).encode() + b"\r\n8-bit \xc3\xa4, two  spaces \r\n\r\n.a dot\r\n\r\n"


def signed(site, mark, **more):
    text = message(mark, **more)
    return dkim.sign(text, b"a", b"author.test", site.author, include_headers=[b"from", b"to", b"subject", b"date"], canonicalize=(b"relaxed", b"simple")) + text


def send(site, sender, rcpts, text, ip="127.0.0.1"):
    client = smtplib.SMTP("127.0.0.1", site.ports["smtp"], local_hostname="mx.author.test", timeout=60, source_address=(ip, 0))
    refused = client.sendmail(sender, rcpts, text, mail_options=["BODY=8BITMIME"])
    client.quit()
    return refused


def arrived(site, mark, count=1):
    return wait_until(f"{mark} at the other server", lambda: len(site.peer.of(mark)) >= count and site.peer.of(mark))


def dns_of(site):
    def find(name, timeout=5):
        value = site.dns.script.get((name.decode().rstrip("."), "TXT"))
        return "".join(re.findall(r'"([^"]*)"', value)).encode() if value else None
    return find


def told(site, mark):
    """The event of its acceptance."""
    return wait_until(f"the event of {mark}", lambda: [e for e in site.accepted if e.get("message_id") == f"<{mark}@author.test>"])[0]


def check(site, taken):
    """What a receiver says of it, by our own client."""
    done = subprocess.run([BIN / "cli", "check", "message", "-", "--json", "--ip", taken.ip, "--helo", "mx.alpha.test", "--mail-from", taken.mail_from, "--resolver", f"127.0.0.1:{site.dns.port}"],
                          input=taken.text, capture_output=True, timeout=60)
    return json.loads(done.stdout)


def pyspf(site, taken):
    """What Debian's python3-spf says of the envelope."""
    ask = lambda name, kind, *_: [((name, kind), [re.findall(r'"([^"]*)"', v)[0].encode() if kind == "TXT" else v]) for v in
                                  ([site.dns.script[(name.lower(), kind)]] if isinstance(site.dns.script.get((name.lower(), kind)), str) else site.dns.script.get((name.lower(), kind), []))]
    old, spf.DNSLookup = spf.DNSLookup, ask
    try:
        return spf.check2(i=taken.ip, s=taken.mail_from, h="mx.alpha.test")[0]
    finally:
        spf.DNSLookup = old


def arc(site, text):
    cv, results, _ = dkim.arc_verify(text, dnsfunc=dns_of(site))
    return cv.decode(), results


def inbox(site):
    session = imaplib.IMAP4_SSL("127.0.0.1", site.ports["imaps"], ssl_context=TLS)
    session.login("bob@alpha.test", PASSWORD)
    session.select("INBOX", readonly=True)
    answer = session.fetch("1:*", "(BODY.PEEK[])")[1]
    session.logout()
    return [part[1] for part in answer if isinstance(part, tuple)]


def nothing_new(site, mark):
    return not site.peer.of(mark) and site.rpc("delivery.queue.list", limit=100)["entries"] == []


# there -------------------------------------------------------------------------------------------------------------------------


def test_what_is_handed_on_passes_every_check_at_the_next_server(world):
    text = signed(world, "whole-way")
    send(world, "ann@author.test", ["out@alpha.test"], text)
    (taken,) = arrived(world, "whole-way")
    assert re.fullmatch(r"SRS0=[A-Z2-7]{6}=[A-Z2-7]{2}=author\.test=ann@alpha\.test", taken.mail_from), taken.mail_from
    assert taken.rcpts == ["x@remote.test"]
    assert taken.text.endswith(text), "not a byte of what came in may be another"
    assert taken.text.startswith(b"ARC-Seal: i=1;")

    got = check(world, taken)
    assert got["spf"]["result"] == "pass" and got["spf"]["domain"] == "alpha.test"
    assert [(d["result"], d["domain"]) for d in got["dkim"]] == [("pass", "author.test")]
    assert got["dmarc"]["result"] == "pass" and got["dmarc"]["dkim_aligned"]
    assert got["arc"]["cv"] == "pass" and got["arc"]["sealer"] == "alpha.test"

    assert dkim.verify(taken.text, dnsfunc=dns_of(world)), "dkimpy: the author's signature"
    cv, sets = arc(world, taken.text)
    assert cv == "pass" and len(sets) == 1, "dkimpy: our seal"
    assert pyspf(world, taken) == "pass"
    results = email.message_from_bytes(taken.text)["ARC-Authentication-Results"]
    assert re.match(r"i=1;\s*mx\.alpha\.test;", results) and "spf=pass" in results and "dkim=pass" in results and "dmarc=pass" in results


def test_a_mailbox_here_and_one_elsewhere_each_get_their_reverse_path(world):
    text = signed(world, "both-ways")
    send(world, "ann@author.test", ["both@alpha.test"], text)
    (taken,) = arrived(world, "both-ways")
    assert taken.mail_from.startswith("SRS0=") and taken.rcpts == ["y@remote.test"]
    (here,) = wait_until("the copy in the mailbox", lambda: [m for m in inbox(world) if b"both-ways" in m])
    assert here.startswith(b"Return-Path: <ann@author.test>\r\n") and here.endswith(text)
    assert dkim.arc_verify(here, dnsfunc=dns_of(world))[0] == b"pass"


def test_several_ways_of_one_message(world):
    """One transaction a reverse-path: each alias's domain has its own."""
    assert "error" not in world.rpc("accounts.domain.add", domain="beta.test")
    world.rpc("accounts.alias.add", address="up@beta.test", targets=["m3@remote.test"])
    world.rpc("accounts.alias.add", address="more@alpha.test", targets=["m1@remote.test", "m2@remote.test"])
    send(world, "ann@author.test", ["out@alpha.test", "more@alpha.test", "up@beta.test"], signed(world, "several"))
    wait_until("all four", lambda: sum(len(t.rcpts) for t in world.peer.of("several")) == 4)
    assert sorted((t.mail_from.split("@")[1], sorted(t.rcpts)) for t in world.peer.of("several")) == [
        ("alpha.test", ["m1@remote.test", "m2@remote.test", "x@remote.test"]), ("beta.test", ["m3@remote.test"])]


@pytest.mark.parametrize("mark, sender, path", [
    ("null", "", r""),
    ("chained", "SRS0=abcd=XY=far.test=carl@one.test", r"SRS1=[A-Z2-7]{6}=one\.test==abcd=XY=far\.test=carl@alpha\.test"),
    ("quoted", '"two words"@one.test', r'"SRS0=[A-Z2-7]{6}=[A-Z2-7]{2}=one\.test=two words"@alpha\.test'),
    ("very-long", "bounces+1234567890-0123456789abcdef=recipient.example=list@one.test", r"postmaster@alpha\.test"),
    ("own", "bob@alpha.test", r"bob@alpha\.test"),
])
def test_reverse_paths(world, mark, sender, path):
    send(world, sender, ["out@alpha.test"], message(mark, sender="ann@one.test" if mark != "own" else "bob@alpha.test"))
    (taken,) = arrived(world, f"Subject: {mark}")
    assert re.fullmatch(path, taken.mail_from), taken.mail_from
    if taken.mail_from:
        assert pyspf(world, taken) == "pass"


def test_our_name_is_not_lent_to_what_could_not_be_proven(world):
    """DMARC fails, with a policy of none: it goes on, but with its own sender, so that it fails at the next server too."""
    send(world, "eve@lax.test", ["out@alpha.test"], message("not-proven", sender="eve@lax.test"), ip="127.0.0.2")
    (taken,) = arrived(world, "not-proven")
    assert taken.mail_from == "eve@lax.test"
    cv, _ = arc(world, taken.text)
    assert cv == "pass" and "dmarc=fail" in email.message_from_bytes(taken.text)["ARC-Authentication-Results"]


@pytest.mark.parametrize("sender", ["bob@alpha.test", ""])
def test_a_forged_sender_of_ours_is_not_made_true(world, sender):
    """From 127.0.0.2 SPF fails for alpha.test; from our own address it would pass, and without a sender our greeting would."""
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        send(world, sender, ["out@alpha.test"], message("forged-boss", sender="bob@alpha.test"), ip="127.0.0.2")
    assert refusal.value.smtp_code == 550 and b"5.7.1" in refusal.value.smtp_error and b"not handed on" in refusal.value.smtp_error
    assert nothing_new(world, "forged-boss")


# back --------------------------------------------------------------------------------------------------------------------------


def srs_path(world, mark):
    send(world, "Ann.Meyer@author.test", ["out@alpha.test"], signed(world, mark))
    return arrived(world, mark)[0].mail_from


def test_a_report_finds_its_way_back(world):
    path = srs_path(world, "to-be-reported")
    for mark, address in (("report-as-it-is", path), ("report-in-lower-case", path.lower())):
        send(world, "", [address], message(mark, sender="mailer-daemon@one.test"))
        (taken,) = arrived(world, mark)
        assert taken.mail_from == "" and [r.lower() for r in taken.rcpts] == ["ann.meyer@author.test"]
    assert world.peer.of("report-as-it-is")[0].rcpts == ["Ann.Meyer@author.test"], "a local part keeps its case"


def test_a_report_to_one_of_our_own(world):
    key = (world.secrets_root / "smtpd/srs.key").read_text().strip()
    send(world, "", [forge(key, "alpha.test", "bob")], message("report-home", sender="mailer-daemon@one.test"))
    wait_until("the report in the mailbox", lambda: [m for m in inbox(world) if b"report-home" in m])


def forge(key, domain, local, days=0, at="alpha.test"):
    """An SRS address made with a key, by the description in srs.h."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    day = (int(time.time()) // 86400 + days) % 1024
    rest = f"{letters[day >> 5]}{letters[day & 31]}={domain}={local}"
    digest = hmac.new(key.encode(), f"SRS0={rest}@{at}".lower().encode(), hashlib.sha256).digest()
    return f"SRS0={base64.b32encode(digest)[:6].decode()}={rest}@{at}"


def test_no_way_back_for_others(world):
    key = (world.secrets_root / "smtpd/srs.key").read_text().strip()
    good = srs_path(world, "no-way-back")
    cases = {
        "another hash": (good.replace(good[5:11], "AAAAAA"), "", 550, b"5.1.1"),
        "another person": (good.replace("Ann.Meyer", "victim"), "", 550, b"5.1.1"),
        "another key": (forge("not the key of this site at all", "author.test", "victim"), "", 550, b"5.1.1"),
        "too old": (forge(key, "author.test", "ann", days=-22), "", 550, b"long ago"),
        "a domain that is not ours": (good.replace("@alpha.test", "@elsewhere.test"), "", 554, b"Relay access denied"),
        "made for another domain": (forge(key, "author.test", "ann", at="beta.test").replace("@beta.test", "@alpha.test"), "", 550, b"5.1.1"),
        "mail that is no report": (good, "ann@author.test", 550, b"delivery reports only"),
        "no such mailbox of ours": (forge(key, "alpha.test", "nobody"), "", 550, b"5.1.1"),
    }
    assert forge(key, "author.test", "Ann.Meyer") == good, "else the forgeries above prove nothing"
    for what, (address, sender, code, words) in cases.items():
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refusal:
            send(world, sender, [address], message("smuggled", sender="mailer-daemon@one.test"))
        got = refusal.value.recipients[address]
        assert got[0] == code and words in got[1], (what, got)
    world.rpc("accounts.alias.add", address="@alpha.test", targets=["bob@alpha.test"])  # also not for the catch-all
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        send(world, "", [cases["another person"][0]], message("smuggled", sender="mailer-daemon@one.test"))
    world.rpc("accounts.alias.delete", address="@alpha.test")
    assert nothing_new(world, "smuggled")


def test_when_the_next_server_refuses_the_sender_hears_of_it(world):
    world.peer.refuse["nobody@remote.test"] = "550 5.1.1 no such person"
    send(world, "ann@author.test", ["gone@alpha.test"], signed(world, "refused-there"))
    (report,) = arrived(world, "Your message could not be delivered")
    assert report.mail_from == "" and report.rcpts == ["ann@author.test"] and b"refused-there" in report.text
    parsed = email.message_from_bytes(report.text)
    assert sorted(re.search(r"d=([^;]*)", s).group(1) for s in parsed.get_all("DKIM-Signature")) == ["alpha.test", "alpha.test"], "signed by the mail host's domain"
    for index in range(2):
        assert dkim.DKIM(report.text).verify(idx=index, dnsfunc=dns_of(world))
    assert "mailer-daemon@mx.alpha.test" in parsed["From"].lower()


# the chain ------------------------------------------------------------------------------------------------------------------------


def sealed_before(world, mark, change=lambda text: text):
    """As another forwarder hands it on: signed by its author, then sealed by author.test."""
    text = b"Authentication-Results: author.test; spf=pass smtp.mailfrom=author.test\r\n" + signed(world, mark)
    sets = dkim.arc_sign(text, b"a", b"author.test", world.author, b"author.test", include_headers=[b"from", b"to", b"subject", b"date"])
    return change(b"".join(sets) + text)


def test_a_chain_goes_on(world):
    send(world, "ann@author.test", ["out@alpha.test"], sealed_before(world, "chain-of-two"))
    (taken,) = arrived(world, "chain-of-two")
    cv, sets = arc(world, taken.text)
    assert cv == "pass" and len(sets) == 2
    assert told(world, "chain-of-two")["sealed"] == "alpha.test" and told(world, "chain-of-two")["rcpts"][0]["from"] == taken.mail_from
    assert check(world, taken)["arc"]["cv"] == "pass"
    assert re.search(rb"^ARC-Seal: i=2;[^\n]*cv=pass", taken.text, re.M)


def test_a_broken_chain_is_never_made_whole(world):
    send(world, "ann@author.test", ["out@alpha.test"], sealed_before(world, "chain-broken", lambda t: t.replace(b"ARC-Authentication-Results: i=1;", b"ARC-Authentication-Results: i=1; forged.test;", 1)))
    (taken,) = arrived(world, "chain-broken")
    assert not re.search(rb"cv=pass", taken.text), "a seal of ours must not say that it passed (RFC 8617 section 5.1.2)"
    assert check(world, taken)["arc"]["cv"] == "fail" and check(world, taken)["dkim"][0]["result"] == "pass"


def test_a_chain_that_has_ended_gets_no_further_seal(world):
    send(world, "ann@author.test", ["out@alpha.test"], sealed_before(world, "chain-ended", lambda t: t.replace(b"cv=none", b"cv=fail", 1)))
    (taken,) = arrived(world, "chain-ended")
    assert taken.text.count(b"ARC-Seal:") == 1
    assert "sealed" not in told(world, "chain-ended"), "the journey would tell of a seal that was not made"


def test_seals_are_made_with_the_active_key_alone(world):
    new = world.rpc("accounts.key.rotate", domain="alpha.test")["changed"]
    send(world, "ann@author.test", ["out@alpha.test"], signed(world, "sealed-before-the-switch"))
    (before,) = arrived(world, "sealed-before-the-switch")
    publish(world)
    world.dns.ttl = 1
    wait_until("the new keys to be seen", lambda: all("seen" in k for k in world.rpc("accounts.key.list", domain="alpha.test")["keys"] if k["selector"] in new))
    stored = {s: json.loads(world.redis("HGET", "a:{alpha.test}:k", s)) for s in new}
    assert all(k["state"] == "published" for k in stored.values()), "their TTL is not over"
    assert world.rpc("accounts.key.activate", domain="alpha.test", selectors=new)["changed"]
    send(world, "ann@author.test", ["out@alpha.test"], signed(world, "sealed-after-the-switch"))
    (after,) = arrived(world, "sealed-after-the-switch")
    selector = lambda taken: re.search(r"s=([^;\s]+)", email.message_from_bytes(taken.text)["ARC-Seal"]).group(1)
    assert selector(before) not in new and selector(after) in new and selector(after).startswith("r")
    assert arc(world, before.text)[0] == arc(world, after.text)[0] == "pass", "also what was sealed before the switch"
