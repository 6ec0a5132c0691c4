"""`postbus check domain`: what others see of a domain's mail, with no system up, over a DNS that says what each case needs."""
import base64
import http.server
import json
import ssl
import subprocess
import threading

import pytest

from postbus_test.scripted_dns import SERVFAIL, ScriptedDns
from postbus_test.site import BIN

GOOD = {
    ("good.test", "MX"): ["10 mx.good.test."],
    ("mx.good.test", "A"): "50.1.2.3",
    ("mx.good.test", "AAAA"): "2600::3",
    ("3.2.1.50.in-addr.arpa", "PTR"): "mx.good.test.",
    ("good.test", "TXT"): ['"unrelated"', '"v=spf1 mx include:spf.far.test -all"'],
    ("spf.far.test", "TXT"): '"v=spf1 ip4:198.51.100.0/24 -all"',
    ("_dmarc.good.test", "TXT"): '"v=DMARC1; p=reject; rua=mailto:r@good.test"',
    ("_smtp._tls.good.test", "TXT"): '"v=TLSRPTv1; rua=mailto:t@good.test"',
    ("_25._tcp.mx.good.test", "TLSA"): "3 1 1 " + "ab" * 32,
    ("good.test", "CAA"): '0 issue "ca.test"',
    ("default._bimi.good.test", "TXT"): '"v=BIMI1; l=https://good.test/logo.svg;"',
    ("_mta-sts.good.test", "TXT"): '"v=STSv1; id=1"',
    ("mta-sts.good.test", "A"): "127.0.0.6",
}


def rsa(bits):
    key = subprocess.run(["openssl", "genrsa", str(bits)], capture_output=True, check=True).stdout
    return base64.b64encode(subprocess.run(["openssl", "pkey", "-pubout", "-outform", "DER"], input=key, capture_output=True, check=True).stdout).decode()


def txt(text):
    return " ".join(f'"{text[i:i + 255]}"' for i in range(0, len(text), 255))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    directory = tmp_path_factory.mktemp("policy")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key", "-out", "crt", "-days", "2", "-subj", "/CN=x",
                    "-addext", "subjectAltName=DNS:mta-sts.good.test"], check=True, capture_output=True, cwd=directory)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            text = b"version: STSv1\nmode: enforce\nmx: mx.good.test\nmax_age: 86400\n"
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.6", 443), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "crt", directory / "key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    good = {**GOOD, ("default._domainkey.good.test", "TXT"): txt("v=DKIM1; k=rsa; p=" + rsa(2048))}

    def run(changes=None, *words, domain="good.test", ca=True, as_json=True):
        scripted = ScriptedDns({k: v for k, v in {**good, **(changes or {})}.items() if v is not None})
        env = {"PATH": "/usr/bin:/bin", **({"POSTBUS_TLS_CA": str(directory / "crt")} if ca else {})}
        done = subprocess.run([BIN / "cli", "check", "domain", domain, "--resolver", f"127.0.0.1:{scripted.port}", *(["--json"] if as_json else []), *words], capture_output=True, text=True,
                              timeout=60, env=env)
        scripted.end()
        return done if not as_json else (json.loads(done.stdout), done.returncode)
    yield run
    server.shutdown()


def test_a_domain_with_nothing_to_mend(world):
    out, status = world()
    assert status == 0 and out["problems"] == [], out["problems"]
    assert out["mx"] == [{"preference": 10, "host": "mx.good.test", "verdict": "ok", "addresses": [{"address": "50.1.2.3", "name": "mx.good.test"}, {"address": "2600::3", "name": ""}]}]
    assert out["spf"]["result"] == "fail" and out["spf"]["lookups"] == 2 and out["spf"]["void_lookups"] == 0  # a stranger's mail fails
    assert (out["dmarc"]["result"], out["dmarc"]["policy"], out["dmarc"]["record_domain"]) == ("fail", "reject", "good.test")
    assert out["mta_sts"]["result"] == "pass" and out["mta_sts"]["mode"] == "enforce"
    assert out["tls_rpt"]["rua"] == "mailto:t@good.test"
    assert out["tlsa"][0]["found"] == "3 1 1 " + "ab" * 32
    assert out["caa"]["found"] == ['good.test: 0 issue "ca.test"']
    assert [(k["selector"], k["result"], k["bits"]) for k in out["dkim"]] == [("default", "pass", 2048)]


BIG = " ".join(f"include:i{i}.far.test" for i in range(9))
CASES = [
    ("no MX", {("good.test", "MX"): None}, "mx", "warning", "null MX"),
    ("an MX host without address", {("good.test", "MX"): "10 gone.good.test."}, "mx", "error", "no address"),
    ("an MX that is an address", {("good.test", "MX"): "10 50.1.2.3."}, "mx", "error", "host name"),
    ("no SPF", {("good.test", "TXT"): '"unrelated"'}, "spf", "error", "there is no SPF record"),
    ("two SPF records", {("good.test", "TXT"): ['"v=spf1 -all"', '"v=spf1 mx -all"']}, "spf", "error", "several SPF records"),
    ("a syntax error in SPF", {("good.test", "TXT"): '"v=spf1 ip4:1.2.3 -all"'}, "spf", "error", "cannot use the record"),
    ("an include of nothing", {("spf.far.test", "TXT"): None}, "spf", "error", "cannot use the record"),
    ("everybody may send", {("good.test", "TXT"): '"v=spf1 +all"'}, "spf", "error", "every address"),
    ("no end in SPF", {("good.test", "TXT"): '"v=spf1 mx"'}, "spf", "warning", "end it with"),
    ("close to the limit of lookups", {("good.test", "TXT"): f'"v=spf1 {BIG} -all"', **{(f"i{i}.far.test", "TXT"): '"v=spf1 -all"' for i in range(9)}}, "spf", "warning", "9 of at most 10"),
    ("a lookup that finds nothing", {("good.test", "TXT"): '"v=spf1 a:gone.good.test -all"'}, "spf", "warning", "have no result"),
    ("no DMARC", {("_dmarc.good.test", "TXT"): None}, "dmarc", "error", "there is no DMARC record"),
    ("two DMARC records", {("_dmarc.good.test", "TXT"): ['"v=DMARC1; p=none"', '"v=DMARC1; p=reject"']}, "dmarc", "error", "several"),
    ("DMARC that asks nothing", {("_dmarc.good.test", "TXT"): '"v=DMARC1; p=none; rua=mailto:r@good.test"'}, "dmarc", "warning", "the policy is none"),
    ("DMARC without reports", {("_dmarc.good.test", "TXT"): '"v=DMARC1; p=reject"'}, "dmarc", "warning", "no rua="),
    ("no MTA-STS", {("_mta-sts.good.test", "TXT"): None}, "mta_sts", "warning", "no MTA-STS policy"),
    ("an MTA-STS record without id", {("_mta-sts.good.test", "TXT"): '"v=STSv1;"'}, "mta_sts", "error", "no usable id"),
    ("an MTA-STS host without address", {("mta-sts.good.test", "A"): None}, "mta_sts", "error", "no address"),
    ("an MX that MTA-STS does not name", {("good.test", "MX"): ["10 mx.good.test.", "20 mx2.good.test."], ("mx2.good.test", "A"): "50.1.2.4"}, "mta_sts", "error", "mx2.good.test"),
    ("TLS-RPT without address", {("_smtp._tls.good.test", "TXT"): '"v=TLSRPTv1;"'}, "tls_rpt", "error", "rua"),
    ("TLSA that SMTP cannot use", {("_25._tcp.mx.good.test", "TLSA"): "1 1 1 " + "ab" * 32}, "tlsa", "error", "usable"),
    ("BIMI without a DMARC policy", {("_dmarc.good.test", "TXT"): '"v=DMARC1; p=none; rua=mailto:r@good.test"'}, "bimi", "warning", "DMARC policy"),
]


@pytest.mark.parametrize("changes, part, verdict, said", [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_each_fault_is_named(world, changes, part, verdict, said):
    out, status = world(changes)
    found = [p for p in out["problems"] if p["part"] == part]
    assert any(p["verdict"] == verdict and said in p["say"] for p in found), out["problems"]
    assert status == (1 if any(p["verdict"] == "error" for p in out["problems"]) else 0)
    if isinstance(out[part], dict):
        assert out[part]["verdict"] in (verdict, "error")


@pytest.mark.parametrize("kind, address", [("A", "192.0.2.77"), ("AAAA", "2001:db8::77")])
def test_a_host_with_one_kind_of_address_is_not_gone(world, kind, address):
    """Whoever comes by the other kind looks it up in vain, but there is nothing to remove."""
    out, _ = world({("good.test", "TXT"): '"v=spf1 a:one.good.test -all"', ("one.good.test", kind): address})
    assert out["spf"]["verdict"] == "ok" and out["spf"]["void_lookups"] == 1, out["spf"]


def test_dkim_keys(world):
    small = txt("v=DKIM1; p=" + rsa(1024))
    changes = {("small._domainkey.good.test", "TXT"): small, ("broken._domainkey.good.test", "TXT"): '"v=DKIM1; p=!!!"', ("gone._domainkey.good.test", "TXT"): '"v=DKIM1; p="',
               ("ed._domainkey.good.test", "TXT"): f'"v=DKIM1; k=ed25519; p={base64.b64encode(bytes(32)).decode()}"', ("two._domainkey.good.test", "TXT"): [small, '"v=DKIM1; p="']}
    out, status = world(changes, "--selector", "small,broken,gone,ed,two,none")
    assert status == 1
    assert [(k["selector"], k["result"], k["bits"]) for k in out["dkim"]][:4] == [("small", "pass", 1024), ("broken", "permerror", 0), ("gone", "revoked", 0), ("ed", "pass", 256)]
    says = " | ".join(p["say"] for p in out["problems"])
    assert "make one of 2048" in says and "selector broken" in says and "two has several records" in says and "none has no key" in says


def test_a_subdomain_has_the_policy_of_its_organization(world):
    out, _ = world({("sub.good.test", "MX"): "10 mx.good.test.", ("sub.good.test", "TXT"): '"v=spf1 -all"', ("_dmarc.good.test", "TXT"): '"v=DMARC1; p=reject; sp=quarantine; rua=mailto:r@good.test"'},
                   domain="sub.good.test")
    assert (out["dmarc"]["policy"], out["dmarc"]["record_domain"]) == ("quarantine", "good.test")


def test_a_certificate_that_nobody_believes_is_an_error(world):
    out, status = world(ca=False)
    assert status == 1 and any(p["part"] == "mta_sts" and "cannot be fetched" in p["say"] for p in out["problems"])


def test_dns_that_does_not_answer_is_no_verdict(world):
    out, status = world({("_dmarc.good.test", "TXT"): SERVFAIL})
    assert status == 75 and not out["resolved"] and out["dmarc"]["result"] == "temperror"
    assert [p["verdict"] for p in out["problems"] if p["part"] == "dmarc"] == []


def test_a_domain_that_takes_no_mail_or_is_not_there(world):
    nothing = {k: None for k in GOOD}
    out, _ = world({**nothing, ("good.test", "MX"): "0 .", ("good.test", "TXT"): '"v=spf1 -all"', ("_dmarc.good.test", "TXT"): '"v=DMARC1; p=reject; rua=mailto:r@x.test"'})
    assert out["mx"][0]["host"] == "." and out["problems"] == [], out["problems"]
    out, status = world(domain="nowhere.test")
    assert status == 1 and any("does not exist" in p["say"] for p in out["problems"])
    done = subprocess.run([BIN / "cli", "check", "domain", "a..b"], capture_output=True, text=True)
    assert done.returncode == 64 and "not a domain name" in done.stderr


def test_as_text(world):
    done = world(as_json=False)
    assert done.returncode == 0 and "no problems found" in done.stdout and "mx       10 mx.good.test" in done.stdout, done.stdout
    done = world({("_dmarc.good.test", "TXT"): None, ("good.test", "TXT"): '"v=spf1 \\027[31m -all"'}, as_json=False)
    assert done.returncode == 1 and "error    dmarc: there is no DMARC record" in done.stdout and "\033" not in done.stdout
