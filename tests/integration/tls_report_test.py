"""From a real connection to the report on it: what delivery saw of another site's TLS, and what smtpd found out about another domain's mail, is in the queue as a report to who asked for it."""
import email
import gzip
import json
import smtplib
import ssl
import subprocess
import time

import pytest

from postbus_test.dns import Knot
from postbus_test.dnssec import SignedZone
from postbus_test.site import BIN, Site, free_port, wait_until
from postbus_test.tls import Authority, PolicyServer, TlsPeer

PERIOD = 8
TLS = ssl._create_unverified_context()
ALICE, PASSWORD = "alice@alpha.test", "correct horse 1"
WRONG = "ab" * 32  # no certificate has this digest
# domain: (certificate, policy type, successes, failures by result)
DOMAINS = {"good.sts.test": ("good", "sts", 2, {}), "bad.sts.test": ("elsewhere", "sts", 0, {"certificate-host-mismatch": 1}), "bad.dane.test": ("good", "tlsa", 0, {"certificate-not-trusted": 1})}


@pytest.fixture(scope="module")
def world():
    ca, smtp_port, dns_port, signed_port = Authority(), free_port(), free_port(), free_port()
    made = {"good": ca.issue(*(f"mx.{d}" for d in DOMAINS)), "elsewhere": ca.issue("elsewhere.example")}
    policy = ca.issue("mta-sts.good.sts.test", "mta-sts.bad.sts.test")
    peers, zones, hosts = {}, {"sts.test": "", "dane.test": ""}, {}
    for n, (domain, (certificate, *_)) in enumerate(DOMAINS.items()):
        name, zone = domain.split(".", 1)
        peers[domain] = TlsPeer(f"127.0.2.{n + 1}", smtp_port, made[certificate], name=f"mx.{domain}")
        zones[zone] += f"{name} 60 IN MX 10 mx.{name}\nmx.{name} 60 IN A 127.0.2.{n + 1}\n_smtp._tls.{name} 60 IN TXT \"v=TLSRPTv1; rua=mailto:tls@{domain}\"\n"
        if zone == "dane.test":
            zones[zone] += f"_25._tcp.mx.{name} 60 IN TLSA 3 1 1 {WRONG}\n"
        else:
            zones[zone] += f"_mta-sts.{name} 60 IN TXT \"v=STSv1; id=1;\"\nmta-sts.{name} 60 IN A 127.0.0.1\n"
            hosts[f"mta-sts.{domain}"] = {"certificate": policy, "body": f"version: STSv1\r\nmode: testing\r\nmx: mx.{domain}\r\nmax_age: 86400\r\n"}
    zones["sts.test"] += "author 60 IN TXT \"v=spf1 ip4:127.0.0.1 -all\"\nauthor 60 IN MX 10 mx.good\n_dmarc.author 60 IN TXT \"v=DMARC1; p=none; rua=mailto:dmarc@author.sts.test\"\n"
    zones["sts.test"] += "other 60 IN TXT \"v=spf1 ip4:127.0.0.1 -all\"\nother 60 IN MX 10 mx.good\n"
    zone = SignedZone("dane.test", zones["dane.test"])
    servers = [PolicyServer(hosts), Knot({"sts.test": zones["sts.test"]}, port=dns_port), Knot({"dane.test": zone.text}, whole=True, port=signed_port), *peers.values()]
    site = Site("mx.alpha.test", {"POSTBUS_RESOLVER_STUBS": f"sts.test=127.0.0.1@{dns_port},dane.test=127.0.0.1@{signed_port}", "POSTBUS_SMTP_PORT": smtp_port, "POSTBUS_TLS_CA": ca.file,
                                  "POSTBUS_RETRY_FIRST_SECONDS": 600, "POSTBUS_REPORT_INTERVAL": PERIOD, "POSTBUS_REPORT_DELAY": 1})
    (site.dir / "dane.anchor").write_text(zone.ds)
    site.settings["POSTBUS_TRUST_ANCHOR"] = f"{site.dir}/anchor,{site.dir}/dane.anchor"
    site.start("accounts", "verifier", "mailbox", "delivery", "smtpd", "reporter", "admin")
    site.add_account(ALICE, PASSWORD)
    wait_until("the stream of events", lambda: site.api("GET", "/api/v1/health")[1]["components"]["journal"]["state"] == "up")
    site.peers = peers
    yield site
    site.end()
    for server in servers:
        server.end()


def begin_of_period():
    """Waits for a time when six seconds of a period are left: what is sent now is all in one report."""
    wait_until("a period to begin", lambda: time.time() % PERIOD < PERIOD - 6)


def submit(site, rcpt):
    """The message's id."""
    with smtplib.SMTP("127.0.0.1", site.ports["submission"], local_hostname="client.local", timeout=60) as client:
        client.starttls(context=TLS)
        client.login(ALICE, PASSWORD)
        client.ehlo()
        assert client.mail(ALICE)[0] == 250 and client.rcpt(rcpt)[0] == 250
        code, text = client.data(f"From: {ALICE}\r\nTo: {rcpt}\r\nSubject: hello\r\n\r\nhello\r\n")
        assert code == 250, text
        return text.split()[-1].decode()


def from_outside(site, mail_from):
    with smtplib.SMTP("127.0.0.1", site.ports["smtp"], local_hostname="mx.author.sts.test", timeout=60) as client:
        client.ehlo()
        assert client.mail(mail_from)[0] == 250 and client.rcpt(ALICE)[0] == 250
        code, text = client.data(f"From: ann@author.sts.test\r\nTo: {ALICE}\r\nSubject: hi\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{mail_from}>\r\n\r\nhi\r\n")
        assert code == 250, text
        return text.split()[-1].decode()


def steps(site, message, name):
    """The steps of that name in the message's journey."""
    status, answer = site.api("GET", f"/api/v1/messages/{message}/journey")
    return [s for s in answer["steps"] if s["name"] == name] if status == 200 else []


def report_mail(site, at, rcpt):
    """The mail that carries a report, as the server of its domain got it out of our queue."""
    found = wait_until(f"a report to {rcpt}", lambda: [text for rcpts, text, *_ in site.peers[at].messages if rcpts == [rcpt]], 15)
    assert len(found) == 1, f"{rcpt} gets {len(found)} reports"
    return found[0]


def own_reader(site, mail):
    path = site.dir / "report.eml"
    path.write_bytes(mail)
    answer = subprocess.run([BIN / "cli", "report", "read", path, "--json"], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return json.loads(answer.stdout)


def test_what_happens_on_the_wire_is_what_the_reports_count(world):
    """One period for both kinds of report: they are made of the same stream of events."""
    begin_of_period()
    ids = {domain: [submit(world, f"bob@{domain}") for _ in range(max(good, 1))] for domain, (_, _, good, _) in DOMAINS.items()}
    wait_until("the messages", lambda: all(len(world.peers[domain].messages) >= good for domain, (_, _, good, _) in DOMAINS.items()))
    sessions = {domain: world.peers[domain].sessions for domain in DOMAINS}  # a connection may have carried more than one message
    taken = {name: from_outside(world, f"ann@{name}.sts.test") for name in ("author", "other")}

    for domain, (_, kind, good, failures) in DOMAINS.items():
        mail = email.message_from_bytes(report_mail(world, domain, f"tls@{domain}"))
        assert mail["TLS-Report-Domain"] == domain and mail.get_param("report-type") == "tlsrpt"
        part, = (p for p in mail.walk() if p.get_content_type() == "application/tlsrpt+gzip")
        report = json.loads(gzip.decompress(part.get_payload(decode=True)))
        policy, = report["policies"]
        assert (policy["policy"]["policy-type"], policy["policy"]["policy-domain"]) == (kind, domain)
        if kind == "sts":
            assert policy["policy"]["policy-string"] == ["version: STSv1", "mode: testing", f"mx: mx.{domain}", "max_age: 86400"] and policy["policy"]["mx-host"] == [f"mx.{domain}"]
        else:
            line, = policy["policy"]["policy-string"]
            assert line.lower() == f"3 1 1 {WRONG}"
        assert policy["summary"] == {"total-successful-session-count": sessions[domain] if good else 0, "total-failure-session-count": sum(failures.values())}, domain
        details = policy.get("failure-details", [])
        assert {d["result-type"]: d["failed-session-count"] for d in details} == failures
        assert all(d["receiving-mx-hostname"] == f"mx.{domain}" and d["receiving-ip"] == world.peers[domain].ip for d in details)
        tries = [tried for message in ids[domain] for tried in steps(world, message, "TLS tried")]
        assert len(tries) == (sessions[domain] if good else 1)
        for tried in tries:
            assert tried["step"] == 6 and f"of {domain}: {next(iter(failures), 'success')}" in tried["what"] and tried["details"] == policy["policy"]["policy-string"]

    read = own_reader(world, report_mail(world, "good.sts.test", "dmarc@author.sts.test"))
    assert (read["kind"], read["domain"], read["passed"], read["failed"]) == ("dmarc", "author.sts.test", 1, 1)
    rows = {row["envelope_from"]: (row["count"], row["disposition"], row["dkim"], row["spf"]) for row in read["report"]["records"]}
    assert rows == {"author.sts.test": (1, "none", "fail", "pass"), "other.sts.test": (1, "none", "fail", "fail")} and len(read["report"]["records"]) == 2
    for name, result in (("author", "pass"), ("other", "fail")):
        verified, = steps(world, taken[name], "verified")
        assert any(line.startswith(f"DMARC of author.sts.test: {result}") for line in verified["details"]), verified
        assert any(line.startswith(f"SPF of MAIL FROM {name}.sts.test: pass") for line in verified["details"]), verified
