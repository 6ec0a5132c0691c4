"""The verdict of a live verifier behind a live smtpd, over a DNS that does what a script says: dispositions, codes, headers as python3-authres reads them, overrides,
trusted sealers, and the verdict of a stored message by API and command line."""
import base64
import json
import os
import smtplib
import subprocess
import time

import authres
import dkim
import pytest

from postbus_test.scripted_dns import SERVFAIL, ScriptedDns
from postbus_test.site import BIN, Site, wait_until

BOB = "bob@alpha.test"
HERE = "v=spf1 ip4:127.0.0.1 -all"


def openssl(*words, data=None):
    return subprocess.run(["openssl", *words], input=data, capture_output=True, check=True).stdout


PEM = openssl("genrsa", "-traditional", "2048")
P = base64.b64encode(openssl("rsa", "-pubout", "-outform", "DER", data=PEM)).decode()
KEY = f'"v=DKIM1; k=rsa; p=" "{P[:200]}" "{P[200:]}"'

ZONES = {
    ("sign.test", "TXT"): '"v=spf1 -all"', ("k._domainkey.sign.test", "TXT"): KEY, ("_dmarc.sign.test", "TXT"): '"v=DMARC1; p=reject; rua=mailto:r@sign.test; fo=1"',
    ("here.test", "TXT"): f'"{HERE}"', ("_dmarc.here.test", "TXT"): '"v=DMARC1; p=reject"',
    ("mail.here.test", "TXT"): f'"{HERE}"',
    ("quarantine.test", "TXT"): '"v=spf1 -all"', ("_dmarc.quarantine.test", "TXT"): '"v=DMARC1; p=quarantine"',
    ("testing.test", "TXT"): '"v=spf1 -all"', ("_dmarc.testing.test", "TXT"): '"v=DMARC1; p=reject; t=y"',
    ("plain.test", "TXT"): f'"{HERE}"',
    ("fail.test", "TXT"): '"v=spf1 -all"',
    ("dark.test", "TXT"): '"v=spf1 -all"', ("_dmarc.dark.test", "TXT"): SERVFAIL,
    ("dim.test", "TXT"): SERVFAIL, ("_dmarc.dim.test", "TXT"): '"v=DMARC1; p=reject"',
    ("friend.test", "TXT"): '"v=spf1 -all"', ("_dmarc.friend.test", "TXT"): '"v=DMARC1; p=reject"',
    ("xn--bcher-kva.test", "TXT"): f'"{HERE}"', ("_dmarc.xn--bcher-kva.test", "TXT"): '"v=DMARC1; p=reject"',
    ("k._domainkey.list.test", "TXT"): KEY, ("k._domainkey.stranger.test", "TXT"): KEY, ("list.test", "TXT"): f'"{HERE}"',
    ("_dmarc.bank.test", "TXT"): '"v=DMARC1; p=none; np=reject; psd=y"', ("real.bank.test", "A"): "192.0.2.1",
}


@pytest.fixture(scope="module")
def world():
    dns = ScriptedDns(ZONES)
    site = Site(settings={"POSTBUS_RESOLVER_STUBS": f"test={dns.address}", "POSTBUS_ARC_TRUSTED": "list.test",
                          "POSTBUS_DMARC_OVERRIDES": "from=friend.test ip=127.0.0.0/8 accept; from=nobody.test reject"})
    site.start("accounts", "verifier", "smtpd", "admin")
    site.add_account(BOB)
    site.dns = dns
    yield site
    site.end()
    dns.end()


def text(author, extra=b"", body=b"hello\r\n"):
    return extra + f"From: {author}\r\nTo: {BOB}\r\nSubject: x\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{time.time_ns()}@x.test>\r\n".encode() + b"\r\n" + body


def send(world, sender, message, helo="h.nowhere.test", options=()):
    """(code, reply text)"""
    with smtplib.SMTP("127.0.0.1", world.ports["smtp"], local_hostname=helo, timeout=40) as smtp:
        smtp.ehlo_or_helo_if_needed()
        smtp.command_encoding = "utf-8"
        assert smtp.mail(sender, list(options))[0] == 250
        assert smtp.rcpt(BOB)[0] == 250
        code, reply = smtp.data(message)
        return code, reply.decode()


def accepted(world, *words, **named):
    """The message's id, its verdict as the event tells it, and its Authentication-Results as python3-authres reads them."""
    code, reply = send(world, *words, **named)
    assert code == 250, reply
    id = reply.split()[-1]
    stored = subprocess.run([*world.redis_cli, "HGET", f"b:{{{id}}}", "z"], capture_output=True, check=True).stdout[:-1]
    (entry,) = world.redis("KEYS", f"{{q:*}}:e:{id}").split()  # there is no mailbox service: the message is in the queue
    prefix = json.loads(world.redis("HGET", entry, "env")).get("prefix", "").encode()
    whole = prefix + subprocess.run(["zstd", "-d", "-q", "-c"], input=stored, capture_output=True, check=True).stdout
    assert whole.startswith(b"Authentication-Results: mx.alpha.test;")
    field = whole[:whole.index(b"\r\nReceived-SPF")].replace(b"\r\n", b"").decode()
    header = authres.AuthenticationResultsHeader.parse(field) if field.isascii() else None  # it does not know RFC 8616
    return id, wait_until("the verdict by the API", lambda: verdict(world, id))["received"]["verdict"], header, whole


def verdict(world, id):
    status, answer = world.api("GET", f"/api/v1/messages/{id}/verdict")
    return answer if status == 200 else None


def result(header, method):
    return next(r for r in header.results if r.method == method)


def prop(one, kind, name):
    """The property's value, for methods of which python3-authres has no class of its own."""
    return next(p.value for p in one.properties if (p.type, p.name) == (kind, name))


def sign(message):
    return dkim.sign(message, b"k", b"sign.test", PEM, include_headers=[b"from", b"subject", b"to", b"date"]) + message


def test_a_signed_message_passes_and_all_says_so(world):
    id, found, header, whole = accepted(world, "ann@sign.test", sign(text("Ann <ann@sign.test>")))
    assert found["disposition"] == "accept" and found["code"] == 0
    assert found["dmarc"] == {"result": "pass", "policy": "reject", "disposition": "none", "reason": "an aligned DKIM signature passed", "from": "sign.test", "record_domain": "sign.test",
                              "organizational_domain": "", "spf_aligned": False, "dkim_aligned": True, "overrides": [],
                              "published": {"p": "reject", "sp": None, "np": None, "adkim": "r", "aspf": "r", "pct": 100, "t": "n", "psd": "u", "fo": "1", "rua": "mailto:r@sign.test", "ruf": None}}
    assert found["spf"]["result"] == "fail" and found["spf"]["scope"] == "mfrom" and found["spf"]["domain"] == "sign.test"
    assert found["spf_helo"]["result"] == "none" and found["spf_helo"]["domain"] == "h.nowhere.test"
    assert header.authserv_id == "mx.alpha.test"
    assert result(header, "dmarc").result == "pass" and prop(result(header, "dmarc"), "header", "from") == "sign.test"
    signed = result(header, "dkim")
    assert (signed.result, signed.header_d, prop(signed, "header", "s"), prop(signed, "header", "a")) == ("pass", "sign.test", "k", "rsa-sha256")
    spf = [r for r in header.results if r.method == "spf"]
    assert [r.result for r in spf] == ["fail", "none"] and spf[0].smtp_mailfrom == "ann@sign.test" and spf[1].smtp_helo == "h.nowhere.test"
    assert result(header, "arc").result == "none" and prop(result(header, "iprev"), "policy", "iprev") == "127.0.0.1"
    assert b"Received-SPF: fail (" in whole and b"receiver=mx.alpha.test;" in whole


@pytest.mark.parametrize("sender, author, changed, code, words", [
    ("x@fail.test", "ceo@sign.test", False, 550, "5.7.1 refused by the DMARC policy of sign.test"),
    ("x@sign.test", "ceo@sign.test", True, 550, "5.7.26 refused by the DMARC policy of sign.test"),  # RFC 7372: more than one check failed
    ("x@fail.test", "ceo@sub.sign.test", False, 550, "5.7.1 refused by the DMARC policy of sub.sign.test"),
    ("x@plain.test", "a@plain.test, ceo@sign.test", False, 550, "5.7.1 refused by the DMARC policy of sign.test"),  # RFC 9989 §11.5
    ("x@plain.test", "ceo@nx.bank.test", False, 550, "5.7.1 refused by the DMARC policy of nx.bank.test"),
    ("x@here.test", "ceo@dark.test", False, 451, "4.7.0 the sender cannot be verified now"),
    ("x@dim.test", "ceo@dim.test", False, 451, "4.7.0 the sender cannot be verified now"),
    ("x@plain.test", ", ".join(f"a@d{i}.test" for i in range(9)), False, 550, "5.7.1 From names authors of too many domains"),
])
def test_refusals_have_the_rfcs_codes_and_words(world, sender, author, changed, code, words):
    message = text(author)
    if changed:
        message = sign(message) + b"more\r\n"
    got, reply = send(world, sender, message)
    assert got == code and reply.startswith(words), reply


@pytest.mark.parametrize("sender, author, dmarc, disposition", [
    ("x@here.test", "x@here.test", "pass", "accept"),
    ("x@mail.here.test", "x@here.test", "pass", "accept"),      # relaxed alignment
    ("x@plain.test", "x@plain.test", "none", "accept"),
    ("x@fail.test", "x@fail.test", "none", "accept"),            # SPF fail alone is marked
    ("x@quarantine.test", "x@quarantine.test", "fail", "quarantine"),
    ("x@testing.test", "x@testing.test", "fail", "quarantine"),
    ("x@plain.test", "x@real.bank.test", "fail", "accept"),      # np is not for a name that exists
    ("x@friend.test", "x@friend.test", "fail", "accept"),        # by an override
    ("", "x@here.test", "fail", None),
    ("x@plain.test", "nobody", "none", "accept"),
    ("x@here.test", "a@dark.test, b@dark.test", None, None),     # one domain twice: deferred as for one
])
def test_dispositions(world, sender, author, dmarc, disposition):
    if disposition is None:
        assert send(world, sender, text(author))[0] in (451, 550)
        return
    _, found, header, _ = accepted(world, sender, text(author))
    assert (found["dmarc"]["result"], found["disposition"]) == (dmarc, disposition), found["dmarc"]
    assert result(header, "dmarc").result == dmarc


def test_a_null_reverse_path_is_judged_by_helo(world):
    _, found, header, _ = accepted(world, "", text("x@here.test"), helo="mail.here.test")
    assert found["spf"]["result"] == "pass" and found["spf"]["scope"] == "helo" and found["spf_helo"] is None
    assert found["dmarc"]["result"] == "pass" and found["dmarc"]["spf_aligned"]
    assert result(header, "spf").smtp_helo == "mail.here.test"


def test_overrides_and_test_mode_are_told(world):
    assert accepted(world, "x@friend.test", text("x@friend.test"))[1]["dmarc"]["overrides"] == [{"type": "local_policy", "comment": "from=friend.test ip=127.0.0.0/8 accept"}]
    found = accepted(world, "x@testing.test", text("x@testing.test"))[1]["dmarc"]
    assert (found["policy"], found["disposition"], found["overrides"][0]["type"]) == ("reject", "quarantine", "policy_test_mode")


def test_an_international_message_is_told_in_utf8(world):
    _, found, _, whole = accepted(world, "jörg@bücher.test", text("Jörg <jörg@bücher.test>"), options=["SMTPUTF8"])
    assert found["dmarc"]["result"] == "pass" and found["dmarc"]["from"] == "xn--bcher-kva.test"
    assert 'smtp.mailfrom="jörg@bücher.test"'.encode() in whole


def test_foreign_results_in_our_name_go(world):
    forged = (b"Authentication-Results: mx.alpha.test; dmarc=pass header.from=bank.test\r\nauthentication-results:\r\n (c) \"MX.alpha.test\" 1; spf=pass\r\n"
              b"Received-SPF: pass receiver=mx.alpha.test;\r\nAuthentication-Results: other.test; spf=pass\r\n")
    *_, whole = accepted(world, "x@plain.test", text("x@plain.test", forged))
    header = whole[:whole.index(b"\r\n\r\n")].lower()
    assert header.count(b"authentication-results:") == 2 and b"other.test; spf=pass" in header  # ours, and the other's
    assert header.count(b"received-spf:") == 1 and b"bank.test" not in header


@pytest.mark.parametrize("sealer, aar, code", [
    (b"list.test", b"list.test; dmarc=pass header.from=sign.test", 250),
    (b"stranger.test", b"stranger.test; dmarc=pass header.from=sign.test", 550),
    (b"list.test", b"list.test; dmarc=fail header.from=sign.test", 550),
])
def test_a_trusted_sealers_word_counts(world, sealer, aar, code):
    message = b"Authentication-Results: " + aar + b"\r\n" + text("x@sign.test", body=b"changed by a list\r\n")
    sealed = b"".join(dkim.arc_sign(message, b"k", sealer, PEM, aar.split(b";")[0], include_headers=[b"from", b"subject"])) + message
    got, reply = send(world, "bounce@list.test", sealed)
    assert got == code, reply
    if code == 250:
        _, found, header, _ = accepted(world, "bounce@list.test", sealed)
        assert found["arc"]["cv"] == "pass" and result(header, "arc").result == "pass"
        assert found["dmarc"]["disposition"] == "none"
        assert found["dmarc"]["overrides"] == [{"type": "local_policy", "comment": "arc=pass as[1].d=list.test as[1].s=k"}]


def cli(world, *words):
    return subprocess.run([BIN / "cli", *words], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "POSTBUS_API": f"http://127.0.0.1:{world.ports['api']}", "POSTBUS_TOKEN_FILE": str(world.secrets / "admin.token")})


def test_the_verdict_of_a_stored_message_is_made_again_step_by_step(world):
    id, found, *_ = accepted(world, "ann@sign.test", sign(text("ann@sign.test")))
    answer = verdict(world, id)
    assert answer["received"]["outcome"] == "accepted" and answer["received"]["client"]["ip"] == "127.0.0.1" and answer["now_reason"] is None
    now = answer["now"]
    assert [now[k]["result"] for k in ("spf", "spf_helo", "dmarc")] == ["fail", "none", "pass"] and now["dkim"][0]["result"] == "pass"
    assert now["dmarc"]["steps"][0].startswith("_dmarc.sign.test: v=DMARC1; p=reject")
    assert "steps" not in found["dmarc"]
    done = cli(world, "message", "verdict", id)
    assert done.returncode == 0 and "dmarc  pass: an aligned DKIM signature passed (from sign.test" in done.stdout and "the results of a new verification" in done.stdout, done.stdout + done.stderr
    assert json.loads(cli(world, "message", "verdict", id, "--json").stdout)["id"] == id
    world.dns.update({("k._domainkey.sign.test", "TXT"): '"v=DKIM1; p="'})  # the key is revoked; what was found then stays as it was
    try:
        world.restart("verifier")
        later = verdict(world, id)
        assert later["received"]["verdict"]["dkim"][0]["result"] == "pass" and later["now"]["dkim"][0]["result"] != "pass"
        assert later["now"]["disposition"] == "reject"
    finally:
        world.dns.update({("k._domainkey.sign.test", "TXT"): KEY})
        world.restart("verifier")
    subprocess.run([*world.redis_cli, "DEL", f"b:{{{id}}}"], check=True, capture_output=True)
    gone = verdict(world, id)
    assert gone["now"] is None and "not in the store" in gone["now_reason"]


def test_the_verdict_of_a_refused_message_is_what_was_found_then(world):
    send(world, "x@fail.test", text("ceo@sign.test"))
    refused = wait_until("the refusal", lambda: [e for e in events(world, "refused") if e["data"].get("verdict")])[-1]
    answer = verdict(world, refused["subject"])
    assert answer["received"]["outcome"] == "refused" and answer["received"]["verdict"]["dmarc"]["disposition"] == "reject" and answer["now"] is None


def events(world, kind):
    """The last refusal's id is only in the log: the tests find it there."""
    lines = [json.loads(line) for line in world.log("smtpd").splitlines() if line.startswith("{") and "message refused" in line]
    found = []
    for line in lines[-1:]:
        answer = verdict(world, line["id"])
        if answer:
            found.append({"subject": line["id"], "data": {"verdict": answer["received"]["verdict"]}})
    return found


def test_ids_that_are_none(world):
    assert world.api("GET", "/api/v1/messages/nonsense/verdict")[0] == 400
    assert world.api("GET", "/api/v1/messages/01JDADM0000000000000000001/verdict")[0] == 404
    assert world.rpc("verifier.explain", id="nonsense", client_ip="", helo="", mail_from="")["error"]["code"] == "invalid"
    assert world.rpc("verifier.explain", id="01JDADM0000000000000000001", client_ip="", helo="", mail_from="")["error"]["code"] == "not_found"
