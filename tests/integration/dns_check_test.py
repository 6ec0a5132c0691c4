"""What the verifier says of a hosted domain's DNS as the world sees it: right, missing, wrong, conflicting; with what to change; and the news when it changes."""
import base64
import http.server
import re
import ssl
import subprocess
import threading

import dns.query
import dns.tsigkeyring
import dns.update
import pytest

from postbus_test.authorities import Bind, SiteKnot
from postbus_test.scripted_dns import REFUSED, SERVFAIL, ScriptedDns
from postbus_test.site import BIN, Site, wait_until

HOST, DOMAIN, ADDRESS, REVERSE = "mx.alpha.example", "shop.example", "50.1.2.3", "3.2.1.50.in-addr.arpa"


class PolicyHost:
    """The HTTPS server of an MTA-STS policy on 127.0.0.5:443, with a certificate of a CA of its own."""

    def __init__(self, directory, name):
        self.text, self.type = b"", "text/plain"
        run = lambda *words: subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=directory)
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "policy.key", "-out", "policy.crt", "-days", "2", "-subj", "/CN=policy",
            "-addext", f"subjectAltName=DNS:{name}")
        host = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200 if self.path == "/.well-known/mta-sts.txt" else 404)
                self.send_header("Content-Type", host.type)
                self.send_header("Content-Length", str(len(host.text)))
                self.end_headers()
                self.wfile.write(host.text)

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.5", 443), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "policy.crt", directory / "policy.key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def world():
    outside = ScriptedDns({}, ttl=3600)
    site = Site(HOST, settings={"POSTBUS_RESOLVER_FORWARD": outside.address, "POSTBUS_PUBLIC_ADDRESSES": ADDRESS, "POSTBUS_DNS_CHECK_SECONDS": 2})
    policy = PolicyHost(site.dir, f"mta-sts.{DOMAIN}")
    policy.text = f"version: STSv1\r\nmode: enforce\r\nmx: {HOST}\r\nmax_age: 86400\r\n".encode()
    site.settings["POSTBUS_TLS_CA"] = site.dir / "policy.crt"
    site.outside, site.policy = outside, policy
    site.heard = []
    site.nats.subscribe("postbus.dns.>", lambda subject, reply, body: site.heard.append(subject))
    try:
        site.start("accounts", "verifier", "admin")
        site.rpc("accounts.domain.add", domain=DOMAIN)
        site.rpc("accounts.domain.set", domain=DOMAIN, dns={"mta_sts": "enforce", "caa": ["ca.example"]})
        site.right = publish(site)
        yield site
    finally:
        site.end()
        outside.end()


def publish(site):
    """Puts into the outside DNS exactly what verifier.dns.records says."""
    script = {}
    for r in site.rpc("verifier.dns.records", domain=DOMAIN)["records"]:
        script.setdefault((r["name"], r["type"]), []).append(r["value"])
    script[(HOST, "A")] = ADDRESS
    script[(DOMAIN, "SOA")] = "ns.other.example. hostmaster.other.example. 1 3600 600 86400 60"
    script[(DOMAIN, "NS")] = "ns.other.example."
    script[(REVERSE, "PTR")] = f"{HOST}."
    script[(f"mta-sts.{DOMAIN}", "CNAME")] = "policy.other.example."  # somebody else serves the policy here
    script[("policy.other.example", "A")] = "127.0.0.5"
    script = {k: v for k, v in script.items()}
    site.outside.update(script)
    return script


def check(site, changes=None):
    """The findings by (name, type) after a change of what the outside says; the change is undone."""
    site.outside.script.clear()
    site.outside.update({k: v for k, v in {**site.right, **(changes or {})}.items() if v is not None})
    status, result = site.api("POST", f"/api/v1/domains/{DOMAIN}/check")
    assert status == 200, result
    site.outside.script.clear()
    site.outside.update(site.right)
    return result, {(f["name"], f["type"], *([f["wanted"][0].split(" ")[0].rstrip(";")] if f["type"] == "TXT" else [])): f for f in result["findings"]}


def test_all_is_right(world):
    result, findings = check(world)
    # the alias of the policy's host leads elsewhere, on purpose of these tests
    bad = {k: (f["state"], f["say"], f["found"]) for k, f in findings.items() if f["state"] != "right" and k != (f"mta-sts.{DOMAIN}", "CNAME")}
    assert not bad, bad
    assert result["dnssec"] == "insecure" and result["unknown"] == 0
    assert findings[("https://mta-sts.shop.example/.well-known/mta-sts.txt", "HTTPS")]["found"] == [f"mode: enforce, mx: {HOST}"]


SPF = (DOMAIN, "TXT", "v=spf1")
DMARC = (f"_dmarc.{DOMAIN}", "TXT", "v=DMARC1")
TXT = (DOMAIN, "TXT")

CASES = [
    ("the MX is missing", {(DOMAIN, "MX"): None}, (DOMAIN, "MX"), "missing", "publish this"),
    ("mail goes elsewhere", {(DOMAIN, "MX"): "10 mx.old.example."}, (DOMAIN, "MX"), "wrong", "mx.old.example"),
    ("mail goes elsewhere too", {(DOMAIN, "MX"): ["10 mx.old.example.", "10 mx.alpha.example."]}, (DOMAIN, "MX"), "conflicting", "mx.old.example"),
    ("a null MX", {(DOMAIN, "MX"): "0 ."}, (DOMAIN, "MX"), "wrong", "RFC 7505"),
    ("the domain is an alias", {(DOMAIN, "MX"): None, (DOMAIN, "CNAME"): "www.far.example.", ("www.far.example", "MX"): "10 mx.alpha.example."}, (DOMAIN, "MX"), "conflicting", "CNAME"),
    ("DNS is silent about the MX", {(DOMAIN, "MX"): SERVFAIL}, (DOMAIN, "MX"), "unknown", "did not answer"),
    ("no SPF", {TXT: '"google-site-verification=1"'}, SPF, "missing", "publish"),
    ("two SPF records", {TXT: ['"v=spf1 mx -all"', f'"v=spf1 ip4:{ADDRESS} -all"']}, SPF, "conflicting", "several SPF records"),
    ("another SPF record that permits the same", {TXT: '"v=spf1 include:_spf.far.example -all"', ("_spf.far.example", "TXT"): '"v=spf1 ip4:50.1.2.0/24 -all"'}, SPF, "right", "permits all"),
    ("another SPF record that permits others", {TXT: '"v=spf1 ip4:198.51.100.1 -all"'}, SPF, "wrong", "does not permit"),
    ("another SPF record, and DNS is silent about what it includes", {TXT: '"v=spf1 include:_spf.far.example -all"', ("_spf.far.example", "TXT"): SERVFAIL}, SPF, "unknown", "DNS did not answer"),
    ("no DMARC", {(f"_dmarc.{DOMAIN}", "TXT"): None}, DMARC, "missing", "publish"),
    ("another DMARC policy", {(f"_dmarc.{DOMAIN}", "TXT"): '"v=DMARC1; p=none"'}, DMARC, "wrong", "postbus domain set"),
    ("the same DMARC record in other words", {(f"_dmarc.{DOMAIN}", "TXT"): f'"v=DMARC1;p=quarantine ;  rua=mailto:dmarc-reports@{DOMAIN};"'}, DMARC, "right", ""),
    ("two DMARC records", {(f"_dmarc.{DOMAIN}", "TXT"): ['"v=DMARC1; p=none"', '"v=DMARC1; p=reject"']}, DMARC, "conflicting", "all are ignored"),
    ("the mail host has another address", {(HOST, "A"): "198.51.100.9"}, (HOST, "A"), "wrong", "198.51.100.9"),
    ("the mail host has one address too many", {(HOST, "A"): [ADDRESS, "198.51.100.9"]}, (HOST, "A"), "conflicting", "other addresses too"),
    ("no reverse name", {(REVERSE, "PTR"): None}, (REVERSE, "PTR"), "missing", "provider"),
    ("another reverse name", {(REVERSE, "PTR"): "dsl-50-1-2-3.isp.example."}, (REVERSE, "PTR"), "wrong", "EHLO"),
    ("another CA", {(DOMAIN, "CAA"): '0 issue "other-ca.example"'}, (DOMAIN, "CAA"), "wrong", "other-ca.example"),
    ("autoconfig leads elsewhere", {(f"autoconfig.{DOMAIN}", "CNAME"): "www.far.example."}, (f"autoconfig.{DOMAIN}", "CNAME"), "wrong", "www.far.example"),
    ("autoconfig has the host's address instead of an alias", {(f"autoconfig.{DOMAIN}", "CNAME"): None, (f"autoconfig.{DOMAIN}", "A"): ADDRESS}, (f"autoconfig.{DOMAIN}", "CNAME"), "right", "addresses"),
    ("nobody answers for IMAP", {(f"_imaps._tcp.{DOMAIN}", "SRV"): None}, (f"_imaps._tcp.{DOMAIN}", "SRV"), "missing", "publish"),
    ("IMAP is elsewhere", {(f"_imaps._tcp.{DOMAIN}", "SRV"): "0 1 993 imap.far.example."}, (f"_imaps._tcp.{DOMAIN}", "SRV"), "wrong", "imap.far.example"),
    ("the policy's record has another id", {(f"_mta-sts.{DOMAIN}", "TXT"): '"v=STSv1; id=20261124"'}, (f"_mta-sts.{DOMAIN}", "TXT", "v=STSv1"), "right", "id"),
]


@pytest.mark.parametrize("changes, key, state, said", [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_what_is_not_right_is_named_with_what_to_change(world, changes, key, state, said):
    result, findings = check(world, changes)
    f = findings[key]
    assert f["state"] == state and said in f["say"], f
    if state in ("missing", "wrong", "conflicting"):
        assert f["publish"], f
        assert f["fault"] == (state != "missing" or f["needed"]) and (not f["fault"] or (result["wrong"] and not result["ok"]))
    if state == "unknown":
        assert result["unknown"] and not result["ok"]


def test_dkim_keys(world):
    selector = next(n for n, t in world.right if "_domainkey" in n and n.startswith("r"))
    other = next(n for n, t in world.right if "_domainkey" in n and n.startswith("e"))
    key, right = (selector, "TXT", "v=DKIM1"), world.right[(selector, "TXT")][0]
    look = lambda value: check(world, {(selector, "TXT"): value})[1][key]
    assert look(None)["state"] == "missing"
    assert look(world.right[(other, "TXT")][0])["state"] == "conflicting"
    assert "revoked" in look('"v=DKIM1; p="')["say"]
    assert look([right, '"v=DKIM1; p=AAAA"'])["state"] == "conflicting"
    spaced = '"k=rsa; p=' + re.search("p=([^;]*)", right.replace('" "', "").strip('"'))[1][:200] + '" "' + re.search("p=([^;]*)", right.replace('" "', "").strip('"'))[1][200:] + '"'
    assert look(spaced)["state"] == "right", "v= is optional, and strings are put together as they are"


def test_the_policy_is_fetched_and_held_against_the_setting(world):
    key = ("https://mta-sts.shop.example/.well-known/mta-sts.txt", "HTTPS")
    right = world.policy.text
    try:
        for text, said in ((right.replace(b"enforce", b"testing"), "differs from the setting"), (right.replace(HOST.encode(), b"mx.far.example"), "does not name this site"), (b"hello", "malformed")):
            world.policy.text = text
            f = check(world)[1][key]
            assert f["state"] == "wrong" and said in f["say"], f
        world.policy.text, world.policy.type = right, "text/html"
        assert "text/plain" in check(world)[1][key]["say"]
    finally:
        world.policy.text, world.policy.type = right, "text/plain"
    f = check(world, {("policy.other.example", "A"): None})[1][key]
    assert f["state"] == "wrong" and "cannot be fetched" in f["say"]


def test_news_when_it_breaks_and_when_it_is_mended_and_none_when_dns_is_silent(world):
    mended = {**world.right, (f"mta-sts.{DOMAIN}", "CNAME"): f"{HOST}."}  # all is right but the policy's host
    world.rpc("accounts.domain.set", domain=DOMAIN, dns={"mta_sts": None})
    try:
        world.outside.script.clear()
        world.outside.update(mended)
        wait_until("a round without faults", lambda: "dns.mended" in " ".join(world.heard) or world.api("GET", f"/api/v1/domains/{DOMAIN}/check")[1]["ok"])
        world.heard.clear()
        del world.outside.script[(DOMAIN, "MX")]
        wait_until("dns.broken", lambda: world.heard == [f"postbus.dns.broken.{DOMAIN}"])
        metrics = wait_until("the gauge", lambda: (m := urlopen(world)) and "postbus_verifier_dns_records_wrong 1\n" in m and m)
        assert "postbus_verifier_dns_checks_total" in metrics
        status, last = world.api("GET", f"/api/v1/domains/{DOMAIN}/check")
        assert status == 200 and last["wrong"] == 1
        world.outside.update({(DOMAIN, "MX"): REFUSED})
        wait_until("a check in which DNS does not answer", lambda: world.api("GET", f"/api/v1/domains/{DOMAIN}/check")[1]["unknown"] == 1)
        assert world.heard == [f"postbus.dns.broken.{DOMAIN}"], "silence is no news"
        world.outside.update({(DOMAIN, "MX"): f"10 {HOST}."})
        wait_until("dns.mended", lambda: world.heard[1:] == [f"postbus.dns.mended.{DOMAIN}"])
        assert len(world.redis("GET", "v:lease:dns-check").strip()) == 26, "the token of the replica whose round it was"
    finally:
        world.outside.update(world.right)


def urlopen(world):
    import urllib.request
    return urllib.request.urlopen(f"http://127.0.0.1:{world.http['verifier']}/metrics").read().decode()


def test_the_command_line(world):
    env = {"POSTBUS_API": f"http://127.0.0.1:{world.ports['api']}", "POSTBUS_TOKEN_FILE": str(world.secrets / "admin.token"), "PATH": "/usr/bin:/bin"}
    run = lambda *words: subprocess.run([BIN / "cli", "domain", *words], capture_output=True, text=True, env=env, timeout=60)
    world.outside.script.clear()
    world.outside.update({**world.right, (DOMAIN, "MX"): "10 mx.old.example."})
    done = run("check", DOMAIN)
    assert done.returncode == 1, done
    assert "wrong       shop.example MX" in done.stdout and f"publish {DOMAIN}. 3600 IN MX 10 {HOST}." in done.stdout
    world.outside.update({**world.right, (f"mta-sts.{DOMAIN}", "CNAME"): f"{HOST}."})
    done = run("check", DOMAIN)
    assert done.returncode == 0, done
    assert run("set", DOMAIN, "dmarc_policy=reject", "caa=one.example,iodef:mailto:a@shop.example", "dmarc_ruf=mailto:f@far.example").returncode == 0
    zone = run("dns", DOMAIN)
    table = run("dns", DOMAIN, "--format", "table").stdout
    assert f'_dmarc.{DOMAIN}.\t3600\tIN\tTXT\t"v=DMARC1; p=reject;' in zone.stdout and '0 iodef "mailto:a@shop.example"' in zone.stdout
    assert "mail for the domain comes here\n  shop.example MX 10 mx.alpha.example." in table
    assert "; shop.example._report._dmarc.far.example." in zone.stdout
    # the zone file is one: BIND reads it back
    path = world.dir / "zone"
    path.write_text(f"$ORIGIN {DOMAIN}.\n@ 60 IN SOA ns hostmaster 1 2 3 4 5\n@ 60 IN NS ns\nns 60 IN A 127.0.0.1\n" + zone.stdout)
    checked = subprocess.run(["named-checkzone", "-i", "local", DOMAIN, str(path)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    assert "dmarc_policy" in run("set", DOMAIN, "dmarc_policy=maybe").stderr and run("set", DOMAIN, "nonsense").returncode == 64
    assert run("set", DOMAIN, "dmarc_policy=default", "caa=default", "dmarc_ruf=default").returncode == 0
    assert world.rpc("accounts.domain.get", domain=DOMAIN)["dns"] == {}


def test_the_chain_of_dnssec():
    """Our Knot signs; the parent (a signed zone in BIND) does not know of it, then does, then has it wrong."""
    key = ("parent", "hmac-sha256", base64.b64encode(b"parent-secret-of-the-tests-32-by").decode())
    parent = Bind({"parent.test": "child IN NS ns.child\nns.child IN A 127.0.0.1\n"}, key,
                  policy=f"update-policy {{ grant {key[0]} zonesub ANY; }}; dnssec-policy default; inline-signing yes;")
    site = Site(HOST, settings={"POSTBUS_DNS_CHECK_SECONDS": 0, "POSTBUS_PUBLIC_ADDRESSES": ADDRESS, "POSTBUS_NS_NAMES": "ns.child.parent.test"})
    knot = SiteKnot(HOST, (site.secrets_root / "verifier/tsig.key").read_text().strip(), {"POSTBUS_NS_NAMES": "ns.child.parent.test"})
    entry = wait_until("the parent's key", lambda: [k for k in parent.records("parent.test", "DNSKEY") if k.startswith("257")])
    (site.dir / "anchor").write_text(f"parent.test. 3600 IN DNSKEY {entry[0]}\n")
    site.settings.update({"POSTBUS_DNS_SERVER": knot.address, "POSTBUS_RESOLVER_STUBS": f"parent.test={parent.address},child.parent.test={knot.address}"})
    site.settings["POSTBUS_TRUST_ANCHOR"] = site.dir / "anchor"

    def give_ds(records):
        update = dns.update.Update("parent.test", keyring=dns.tsigkeyring.from_text({key[0]: key[2]}), keyalgorithm=key[1])
        update.delete("child.parent.test.", "DS")
        for one in records:
            update.add("child.parent.test.", 1, "DS", one)
        assert dns.query.tcp(update, "127.0.0.1", port=parent.port, timeout=5).rcode() == 0
        wait_until("the signed DS", lambda: not records or parent.records("child.parent.test", "DS"))

    def look():
        result = site.rpc("verifier.dns.check", domain="child.parent.test", fresh=True)
        return result["dnssec"], next(f for f in result["findings"] if f["type"] == "DS"), result
    try:
        site.start("accounts", "verifier")
        site.rpc("accounts.domain.add", domain="child.parent.test")
        wait_until("the zone", lambda: knot.records("child.parent.test", "MX"))
        dnssec, ds, result = look()
        assert dnssec == "insecure" and ds["state"] == "missing" and "registrar" in ds["say"] and ds["publish"]
        assert next(f for f in result["findings"] if f["type"] == "NS")["state"] == "right"
        give_ds(ds["wanted"])
        dnssec, ds, result = look()
        assert dnssec == "secure" and ds["state"] == "right" and ds["say"] == "", ds
        give_ds([re.sub("[0-9a-fA-F]{6}$", "abcdef", ds["wanted"][0])])
        dnssec, ds, result = look()
        assert dnssec == "bogus" and ds["state"] == "wrong" and "replace the DS records" in ds["say"], ds
        assert next(f for f in result["findings"] if f["type"] == "MX")["state"] == "wrong"
    finally:
        site.end()
        knot.end()
        parent.end()
