"""Reports: what is seen of other domains is counted and reported to them once, whatever is killed; what others report of ours is read, kept and shown."""
import base64
import email
import gzip
import http.server
import io
import json
import os
import re
import smtplib
import ssl
import subprocess
import threading
import time
import xml.etree.ElementTree as ET
import zipfile

import dkim
import pytest

from postbus_test.scripted_dns import ScriptedDns
from postbus_test.site import BIN, ROOT, Site, free_port, wait_until

PERIOD = 6
NS = "{urn:ietf:params:xml:ns:dmarc-2.0}"
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ulid(seconds=None):
    value = int((seconds or time.time()) * 1000) << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join(ALPHABET[value >> 5 * i & 31] for i in reversed(range(26)))


def publish(site, event, about, data):
    site.nats.publish(f"postbus.{event}.{about}", {"specversion": "1.0", "id": ulid(), "source": "/test/test", "type": f"postbus.{event}", "subject": about,
                                                   "time": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()), "datacontenttype": "application/json", "data": data})
    site.nats.flush()


def verdict(domain, rua, result="pass", disposition="none", ruf=None, fo=None):
    return {"disposition": "accept", "code": 0, "enhanced": "", "reason": "",
            "spf": {"result": "pass" if result == "pass" else "fail", "reason": "", "domain": domain, "mechanism": "ip4", "scope": "mfrom"},
            "dkim": [{"result": "fail", "reason": "", "domain": "elsewhere.test", "selector": "s1", "algorithm": "rsa-sha256", "bits": 2048, "testing": False},
                     {"result": result, "reason": "", "domain": domain, "selector": "s2", "algorithm": "rsa-sha256", "bits": 2048, "testing": False}],
            "dmarc": {"result": result, "policy": "quarantine", "disposition": disposition, "reason": "", "from": domain, "record_domain": domain, "organizational_domain": domain,
                      "spf_aligned": result == "pass", "dkim_aligned": result == "pass", "overrides": [],
                      "published": {"p": "quarantine", "sp": "none", "np": None, "adkim": "r", "aspf": "s", "pct": 100, "t": "n", "psd": "u", "fo": fo or "0", "rua": rua, "ruf": ruf}},
            "arc": {"cv": "none", "reason": "", "sets": 0, "sealer": ""}, "iprev": {"result": "pass", "name": "x.test"}}


def accepted(site, domain, rua, ip="192.0.2.1", about=None, **more):
    about = about or ulid()
    publish(site, "mail.accepted", about,
            {"shard": 0, "from": f"x@{domain}", "rcpts": [{"address": "bob@alpha.test", "user": "01JDADM0000000000000000001"}], "size": 100, "message_id": "<m@news.test>", "origin": "mx",
             "client": {"ip": ip, "port": 1, "helo": "h.test", "protocol": "smtp"}, "verdict": verdict(domain, rua, **more), "reply": "250 Ok"})
    return about


def refused(site, domain, rua, ip="2001:db8::7", code=550):
    publish(site, "mail.refused", ulid(), {"from": "", "rcpts": [{"address": "bob@alpha.test"}], "client": {"ip": ip, "port": 1, "helo": "h.test", "protocol": "smtp"}, "code": code,
                                           "enhanced": "5.7.1", "reason": "", "verdict": verdict(domain, rua, result="fail", disposition="reject")})


def begin_of_period():
    """Waits until a period has just begun, and answers its first second."""
    wait_until("a period to begin", lambda: time.time() % PERIOD < 1)
    return int(time.time()) // PERIOD * PERIOD


def queued(site):
    """{recipient: (message, id)} of what is in the queue, as bytes; asserts that nobody is there twice."""
    found = {}
    for key in site.redis("KEYS", "{q:*}:e:*").split():
        ident = key.rsplit(":", 1)[1]
        envelope = json.loads(site.redis("HGET", key, "env"))
        packed = subprocess.run([*site.redis_cli, "HGET", key.replace(":e:", ":b:") if envelope.get("text_in_queue") else f"b:{{{ident}}}", "z"], capture_output=True, check=True).stdout[:-1]
        text = subprocess.run(["zstd", "-dcq"], input=packed, capture_output=True, check=True).stdout
        for rcpt in envelope["rcpts"]:
            address = rcpt["address"]
            assert address not in found or found[address][1] == ident, f"{address} gets the report twice"
            found[address] = (text, ident, envelope)
    return found


def attachment(message, kind):
    parts = [p for p in email.message_from_bytes(message).walk() if p.get_content_type() == kind]
    assert len(parts) == 1, [p.get_content_type() for p in email.message_from_bytes(message).walk()]
    return parts[0]


# RFC 9990 Appendix A as facts: what an element holds, in which order (or any), and how often. A string of words: what its text may be.
RESULTS = "none pass fail policy neutral temperror permerror"
SHAPE = {
    "feedback": ("order", {"version": "?", "report_metadata": "1", "policy_published": "1", "extension": "?", "record": "+"}),
    "report_metadata": ("any", {"org_name": "1", "email": "1", "extra_contact_info": "?", "report_id": "1", "date_range": "1", "error": "*", "generator": "?"}),
    "date_range": ("any", {"begin": "1", "end": "1"}),
    "policy_published": ("any", {"domain": "1", "discovery_method": "?", "p": "1", "sp": "?", "np": "?", "fo": "?", "adkim": "?", "aspf": "?", "testing": "?"}),
    "record": ("order", {"row": "1", "identifiers": "1", "auth_results": "1"}),
    "row": ("any", {"source_ip": "1", "count": "1", "policy_evaluated": "1"}),
    "policy_evaluated": ("order", {"disposition": "1", "dkim": "1", "spf": "1", "reason": "*"}),
    "reason": ("any", {"type": "1", "comment": "?"}),
    "identifiers": ("any", {"header_from": "1", "envelope_from": "?", "envelope_to": "?"}),
    "auth_results": ("order", {"dkim": "*", "spf": "?"}),
    "auth_results/dkim": ("any", {"domain": "1", "selector": "1", "result": "1", "human_result": "?"}),
    "auth_results/spf": ("any", {"domain": "1", "scope": "?", "result": "1", "human_result": "?"}),
}
WORDS = {"disposition": "none pass quarantine reject", "policy_evaluated/dkim": "pass fail", "policy_evaluated/spf": "pass fail", "p": "none quarantine reject", "sp": "none quarantine reject",
         "np": "none quarantine reject", "adkim": "r s", "aspf": "r s", "testing": "y n", "dkim/result": RESULTS, "spf/result": "none neutral pass fail softfail temperror permerror", "scope": "mfrom",
         "type": "local_policy mailing_list other policy_test_mode trusted_forwarder"}


def must_fit(element, parent=""):
    """The element and all below it are as the schema of RFC 9990 has them."""
    assert element.tag.startswith(NS), f"{element.tag} is in another namespace"
    name = element.tag[len(NS):]
    where = f"{parent}/{name}"
    order, holds = SHAPE.get(where if where in SHAPE else name, (None, None)) if where not in WORDS else (None, None)
    if holds is None:
        words = WORDS.get(where, WORDS.get(name))
        assert not len(element) and (not words or element.text in words.split()), f"<{where}> says {element.text!r}"
        return
    names = [child.tag[len(NS):] for child in element]
    assert set(names) <= set(holds), f"<{where}> holds {set(names) - set(holds)}"
    for child, often in holds.items():
        count = names.count(child)
        assert {"1": count == 1, "?": count <= 1, "*": True, "+": count >= 1}[often], f"<{where}> has {count} of <{child}>"
    assert order == "any" or names == sorted(names, key=list(holds).index), f"the order in <{where}> is {names}"
    for child in element:
        must_fit(child, name)


def own_report(site, message):
    """What `postbus report read` says of a mail."""
    path = site.dir / "report.eml"
    path.write_bytes(message)
    answer = subprocess.run([BIN / "cli", "report", "read", path, "--json"], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return json.loads(answer.stdout)


@pytest.fixture(scope="module")
def reporting():
    """Everything but delivery: reports stay in the queue, where they can be looked at."""
    dns = ScriptedDns({("news.test._report._dmarc.third.test", "TXT"): '"v=DMARC1"', ("news.test._report._dmarc.lies.test", "TXT"): '"v=DMARC1; rua=mailto:x@victim.test"',
                       ("move.test._report._dmarc.moved.test", "TXT"): '"v=DMARC1; rua=mailto:new@moved.test"', ("other.test", "TXT"): '"no report"', ("_dmarc.big.test", "TXT"): '"v=DMARC1; p=none"'})
    site = Site("mx.alpha.test", {"POSTBUS_RESOLVER_STUBS": ",".join(f"{zone}={dns.address}" for zone in ("third.test", "lies.test", "moved.test", "other.test", "big.test")), "POSTBUS_REPORT_INTERVAL": PERIOD, "POSTBUS_REPORT_DELAY": 1, "POSTBUS_FAILURE_REPORTS": "on",
                                  "POSTBUS_REPORT_ORG": "Alpha & Söhne"})
    site.settings.update(POSTBUS_TLS_CA=site.secrets_root / "ca/ca.crt")
    site.start("accounts", "verifier", "admin", "reporter")
    assert "error" not in site.rpc("accounts.domain.add", domain="alpha.test")
    wait_until("the stream of events", lambda: site.api("GET", "/api/v1/health")[1]["components"]["journal"]["state"] == "up")
    yield site
    site.tap.errors = [e for e in site.tap.errors if "no such word" not in e]  # said by a test, on purpose
    site.end()
    dns.end()


def test_counts_become_one_report_however_often_they_come_and_whoever_is_killed(reporting):
    rua = "mailto:reports@news.test,mailto:r@other.test,mailto:ok@third.test!1m,mailto:x@lies.test"
    begin = begin_of_period()
    first = accepted(reporting, "news.test", rua)
    wait_until("the first to be counted", lambda: reporting.redis("KEYS", "{rep}:rows:dmarc|*").strip())
    reporting.kill("reporter")
    accepted(reporting, "news.test", rua)
    accepted(reporting, "news.test", rua, about=first)  # an event may come twice
    refused(reporting, "news.test", rua)
    refused(reporting, "news.test", rua, code=451)      # comes again, and is counted then
    accepted(reporting, "move.test", "mailto:old@moved.test")
    accepted(reporting, "mail.big.test", "mailto:r@reports.big.test")  # of one organization, as the tree walk finds
    assert time.time() < begin + PERIOD - 1, "the test is too slow for its period"
    # two replicas from here on, which share the events and the sending
    reporting._spawn("reporter-2", [BIN / "reporter"], {**reporting.environment("reporter"), "POSTBUS_HTTP": f"127.0.0.1:{free_port()}"})
    reporting.start("reporter")
    wait_until("the report to be recorded as sent", lambda: len(reporting.api("GET", "/api/v1/reports/sent")[1]["sent"]) == 6, 40)
    mails = queued(reporting)
    assert set(mails) == {"reports@news.test", "ok@third.test", "new@moved.test", "r@reports.big.test"}, f"one that did not ask for reports gets one: {reporting.api('GET', '/api/v1/reports/sent')[1]}"
    outcomes = {one["to"]: one["result"] for one in reporting.api("GET", "/api/v1/reports/sent")[1]["sent"]}
    assert outcomes == {"reports@news.test": "sent", "r@other.test": "refused", "ok@third.test": "sent", "x@lies.test": "refused", "new@moved.test": "sent", "r@reports.big.test": "sent"}

    message, ident, envelope = mails["reports@news.test"]
    headers = email.message_from_bytes(message)
    end = begin + PERIOD - 1
    assert envelope["from"] == "postmaster@alpha.test" and headers["From"] == "<postmaster@alpha.test>" and headers["Auto-Submitted"] == "auto-generated"
    subject = " ".join(headers["Subject"].split())
    assert subject.startswith("Report Domain: news.test Submitter: mx.alpha.test Report-ID: <") and subject.endswith("@mx.alpha.test>")
    part = attachment(message, "application/gzip")
    assert part.get_filename() == f"mx.alpha.test!news.test!{begin}!{end}.xml.gz"
    root = ET.fromstring(gzip.decompress(part.get_payload(decode=True)))
    must_fit(root)
    assert len(root.findall(NS + "record")) == 2
    assert root.findtext(f"{NS}report_metadata/{NS}org_name") == "Alpha & Söhne"
    assert (root.findtext(f".//{NS}begin"), root.findtext(f".//{NS}end")) == (str(begin), str(end))
    assert {e.tag[len(NS):]: e.text for e in root.find(NS + "policy_published")} == {"domain": "news.test", "p": "quarantine", "sp": "none", "adkim": "r", "aspf": "s", "testing": "n", "fo": "0"}
    rows = {e.findtext(f"{NS}row/{NS}source_ip"): e for e in root.findall(NS + "record")}
    good, bad = rows["192.0.2.1"], rows["2001:db8::7"]
    assert [good.findtext(f"{NS}row/{NS}{n}") for n in ("count",)] == ["2"] and bad.findtext(f"{NS}row/{NS}count") == "1"
    assert [good.findtext(f".//{NS}policy_evaluated/{NS}{n}") for n in ("disposition", "dkim", "spf")] == ["pass", "pass", "pass"]
    assert [bad.findtext(f".//{NS}policy_evaluated/{NS}{n}") for n in ("disposition", "dkim", "spf")] == ["reject", "fail", "fail"]
    assert [e.findtext(NS + "selector") for e in good.findall(f".//{NS}auth_results/{NS}dkim")] == ["s2", "s1"], "signatures that passed come first"
    assert bad.findtext(f".//{NS}auth_results/{NS}spf/{NS}scope") == "mfrom" or bad.findtext(f".//{NS}envelope_from") == ""

    records = {r["name"]: r["value"].replace('" "', "").strip('"') for r in reporting.rpc("verifier.dns.records", domain="alpha.test")["records"] if r["type"] == "TXT"}
    assert dkim.DKIM(message).verify(dnsfunc=lambda name, timeout=5: records.get(name.decode().rstrip("."), "").encode() or None), "the report's signature does not verify"
    read = own_report(reporting, message)
    assert (read["kind"], read["domain"], read["passed"], read["failed"]) == ("dmarc", "news.test", 2, 1)
    assert reporting.redis("KEYS", "{rep}:rows:dmarc|*").strip() == "", "what was reported is still counted"
    accepted(reporting, "news.test", rua, about=first)  # once more, after its report
    accepted(reporting, "later.test", "mailto:x@later.test")
    wait_until("what came after it to be counted", lambda: "later.test" in reporting.redis("KEYS", "{rep}:rows:dmarc|*"))
    assert "news.test" not in reporting.redis("KEYS", "{rep}:rows:dmarc|*"), "a message is counted again after its report was sent"


@pytest.fixture()
def https(reporting):
    """An HTTPS server with a certificate of the site's CA: its port, and the requests that it got."""
    got = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.path, self.headers["Content-Type"], self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *words):
            pass
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(reporting.secrets_root / "smtpd/tls.crt", reporting.secrets_root / "smtpd/tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1], got
    server.shutdown()


def test_tls_sessions_become_a_report_and_our_own_reports_are_not_among_them(reporting, https):
    def session(about=None, **more):
        publish(reporting, "mail.tls", about or ulid(),
                {"domain": "peer.test", "rua": f"mailto:tls@peer.test,https://localhost:{https[0]}/v1/tlsrpt", "policy": {"type": "sts", "string": ["version: STSv1", "mode: testing"], "domain": "peer.test", "mx_host": ["*.peer.test"]},
                 "result": "success", "mx": "mx.peer.test", "ip": "198.51.100.3", "sending_ip": "192.0.2.9", "helo": "mx.peer.test", "reason": "", **more})
    begin = begin_of_period()
    message = ulid()
    session(message)
    session(message)  # a second connection for the same message
    session(result="certificate-expired", reason="notAfter was yesterday")
    session(result="no such word")
    wait_until("the report", lambda: "tls@peer.test" in queued(reporting), 30)
    message, ident, _ = queued(reporting)["tls@peer.test"]
    headers = email.message_from_bytes(message)
    assert headers["TLS-Report-Domain"] == "peer.test" and headers["TLS-Report-Submitter"] == "mx.alpha.test" and headers["TLS-Required"] == "No"
    assert headers.get_content_type() == "multipart/report" and headers.get_param("report-type") == "tlsrpt"
    part = attachment(message, "application/tlsrpt+gzip")
    assert part.get_filename() == f"mx.alpha.test!peer.test!{begin}!{begin + PERIOD - 1}.json.gz"
    report = json.loads(gzip.decompress(part.get_payload(decode=True)))
    assert set(report) == {"organization-name", "date-range", "contact-info", "report-id", "policies"} and len(report["policies"]) == 1
    policy = report["policies"][0]
    assert policy["policy"] == {"policy-type": "sts", "policy-string": ["version: STSv1", "mode: testing"], "policy-domain": "peer.test", "mx-host": ["*.peer.test"]}
    assert policy["summary"] == {"total-successful-session-count": 2, "total-failure-session-count": 1}
    assert policy["failure-details"] == [{"result-type": "certificate-expired", "sending-mta-ip": "192.0.2.9", "receiving-mx-hostname": "mx.peer.test", "receiving-mx-helo": "mx.peer.test",
                                          "receiving-ip": "198.51.100.3", "failure-reason-code": "notAfter was yesterday", "failed-session-count": 1}]
    path, kind, body = https[1][0]
    assert len(https[1]) == 1 and (path, kind) == ("/v1/tlsrpt", "application/tlsrpt+gzip") and json.loads(gzip.decompress(body)) == report
    read = own_report(reporting, message)
    assert (read["kind"], read["domain"], read["passed"], read["failed"]) == ("tls", "peer.test", 2, 1)
    session(ident)  # how the report itself travelled is nobody's business (RFC 8460 section 3)
    session(result="tlsa-invalid", rua="mailto:later@peer.test")  # its report comes while other tests look
    wait_until("the second session to be counted", lambda: reporting.redis("KEYS", "{rep}:rows:tls|*").strip())
    rows = reporting.redis("HGETALL", reporting.redis("KEYS", "{rep}:rows:tls|*").split()[0])
    assert "tlsa-invalid" in rows and len(rows.split("\n")) == 3, rows


def test_a_failure_report_goes_at_once_and_names_no_person(reporting):
    accepted(reporting, "loud.test", "", result="fail", ruf="mailto:forensics@loud.test", disposition="quarantine")
    wait_until("the failure report", lambda: "forensics@loud.test" in queued(reporting))
    message = queued(reporting)["forensics@loud.test"][0]
    assert attachment(message, "message/feedback-report") and attachment(message, "text/rfc822-headers")
    fields = dict(line.split(": ", 1) for line in message.decode().split("message/feedback-report\r\n\r\n")[1].split("\r\n\r\n")[0].splitlines())
    assert (fields["Feedback-Type"], fields["Auth-Failure"], fields["Reported-Domain"], fields["Source-IP"], fields["Delivery-Result"], fields["Identity-Alignment"]) == \
        ("auth-failure", "dmarc", "loud.test", "192.0.2.1", "spam", "none")
    assert b"x@loud.test" not in message and b"bob@alpha.test" not in message, "a person's address is in the report"
    assert own_report(reporting, message)["kind"] == "failures"
    before = set(queued(reporting))
    for n in range(12):
        accepted(reporting, "flood.test", "", result="fail", ruf="mailto:forensics@flood.test")
    accepted(reporting, "quiet.test", "", result="pass", ruf="mailto:forensics@quiet.test")
    wait_until("failure reports of the flood", lambda: queued_all(reporting).count("forensics@flood.test") >= 10)
    time.sleep(1)
    assert queued_all(reporting).count("forensics@flood.test") == 10, "more failure reports in an hour than the bound"
    assert "forensics@quiet.test" not in queued_all(reporting), "a message that passed gets a failure report"
    assert before <= set(queued_all(reporting))


def queued_all(site):
    return [rcpt["address"] for key in site.redis("KEYS", "{q:*}:e:*").split() for rcpt in json.loads(site.redis("HGET", key, "env"))["rcpts"]]


# in ------------------------------------------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def whole():
    dns = ScriptedDns({("load.test", "TXT"): '"v=spf1 ip4:127.0.0.1 -all"', ("_dmarc.load.test", "TXT"): '"v=DMARC1; p=quarantine; rua=mailto:aggregate@load.test"', ("1.0.0.127.in-addr.arpa", "PTR"): "host.load.test."})
    site = Site("mx.alpha.test", {"POSTBUS_RESOLVER_STUBS": f"load.test={dns.address},in-addr.arpa={dns.address}"})
    site.start("accounts", "verifier", "mailbox", "delivery", "smtpd", "reporter", "admin")
    site.add_account("bob@alpha.test")
    yield site
    site.end()
    dns.end()


GOOGLE = """<?xml version="1.0" encoding="UTF-8" ?>
<feedback>
  <report_metadata><org_name>google.com</org_name><email>noreply-dmarc-support@google.com</email><report_id>{ident}</report_id>
    <date_range><begin>{begin}</begin><end>{end}</end></date_range></report_metadata>
  <policy_published><domain>Alpha.test</domain><adkim>r</adkim><aspf>r</aspf><p>none</p><sp>none</sp><pct>100</pct></policy_published>
  <record><row><source_ip>192.0.2.5</source_ip><count>7</count><policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated></row>
    <identifiers><header_from>alpha.test</header_from></identifiers>
    <auth_results><dkim><domain>alpha.test</domain><result>pass</result><selector>s</selector></dkim><spf><domain>alpha.test</domain><result>fail</result></spf></auth_results></record>
  <record><row><source_ip>203.0.113.9</source_ip><count>3</count><policy_evaluated><disposition>none</disposition><dkim>fail</dkim><spf>fail</spf></policy_evaluated></row>
    <identifiers><header_from>alpha.test</header_from></identifiers><auth_results><spf><domain>evil.test</domain><result>pass</result></spf></auth_results></record>
</feedback>
"""


def google(ident):
    now = int(time.time())
    return GOOGLE.format(ident=ident, begin=now - 86400, end=now - 1).encode()


def zipped(name, content):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr(name, content)
    return out.getvalue()


def send(site, to, kind, name, content, subject="Report Domain: alpha.test"):
    body = base64.encodebytes(content).replace(b"\n", b"\r\n")
    message = (f"From: reports@load.test\r\nTo: {to}\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\nContent-Type: {kind}; name=\"{name}\"\r\n"
               f"Content-Disposition: attachment; filename=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\r\n").encode() + body
    client = smtplib.SMTP("127.0.0.1", site.ports["smtp"], local_hostname="load.test", timeout=30)
    client.sendmail("reports@load.test", [to], message)
    client.quit()


def reports(site, kind):
    status, answer = site.api("GET", f"/api/v1/reports/{kind}")
    assert status == 200, answer
    return answer["reports"]


def test_reports_to_our_addresses_are_read_and_shown(whole):
    send(whole, "dmarc-reports@alpha.test", "application/zip", "google.com!alpha.test!1!2.zip", zipped("google.com!alpha.test!1!2.xml", google("g1")))
    second = gzip.compress(google("g2"))  # made once: it has the time
    send(whole, "dmarc-reports@alpha.test", "application/gzip", "x.xml.gz", second)
    send(whole, "dmarc-reports@alpha.test", "application/gzip", "x.xml.gz", second)  # the same report once more
    tls = {"organization-name": "Peer", "date-range": {"start-datetime": "2026-11-23T00:00:00Z", "end-datetime": "2026-11-23T23:59:59Z"}, "contact-info": "x@peer.test", "report-id": "t1",
           "policies": [{"policy": {"policy-type": "sts", "policy-domain": "alpha.test"}, "summary": {"total-successful-session-count": 5, "total-failure-session-count": 1}}]}
    send(whole, "tls-reports@alpha.test", "application/tlsrpt+gzip", "x.json.gz", gzip.compress(json.dumps(tls).encode()))
    send(whole, "dmarc-reports@alpha.test", "application/gzip", "x.xml.gz", b"\x1f\x8bnot gzip at all")
    send(whole, "dmarc-reports@alpha.test", "text/xml", "x.xml", b'<?xml version="1.0"?><!DOCTYPE feedback [<!ENTITY a "aaaa">]><feedback>&a;</feedback>')
    wait_until("all to be read", lambda: len(reports(whole, "dmarc")) == 2 and len(reports(whole, "tls")) == 1 and len(reports(whole, "unreadable")) == 2)
    newest = reports(whole, "dmarc")[0]
    assert (newest["org"], newest["report_id"], newest["domain"], newest["passed"], newest["failed"], newest["authenticated"]) == ("google.com", "g2", "alpha.test", 7, 3, "pass")
    status, report = whole.api("GET", f"/api/v1/reports/dmarc/{newest['id']}")
    assert status == 200 and report["report"]["records"][1]["source_ip"] == "203.0.113.9" and report["report"]["policy"]["pct"] == 100
    assert whole.api("GET", f"/api/v1/reports/tls/{newest['id']}")[0] == 404 and whole.api("GET", "/api/v1/reports/dmarc/nonsense")[0] == 404
    assert {r["reason"] for r in reports(whole, "unreadable")} == {"the archive is damaged", "the XML has a document type declaration, which is refused"}
    first_page = whole.api("GET", "/api/v1/reports/dmarc?domain=ALPHA.test&limit=1")[1]
    assert [r["report_id"] for r in first_page["reports"]] == ["g2"]
    assert [r["report_id"] for r in whole.api("GET", f"/api/v1/reports/dmarc?domain=alpha.test&limit=1&after={first_page['next']}")[1]["reports"]] == ["g1"]
    assert whole.api("GET", "/api/v1/reports/dmarc?domain=other.test")[1]["reports"] == []
    status, summary = whole.api("GET", "/api/v1/reports/summary?domain=alpha.test&days=3")
    assert status == 200 and (summary["messages"], summary["passed"], summary["failed"]) == (20, 14, 6)
    assert [(s["source_ip"], s["messages"], s["dkim_passed"], s["failed"]) for s in summary["sources"]] == [("192.0.2.5", 14, 14, 0), ("203.0.113.9", 6, 0, 6)]
    assert whole.api("GET", "/api/v1/reports/summary")[0] == 400 and whole.api("GET", "/api/v1/reports/summary?domain=alpha.test&days=900")[0] == 400


def test_mail_that_comes_in_is_counted_for_its_domain(whole):
    send(whole, "bob@alpha.test", "text/plain", "note.txt", b"for bob\r\n", subject="hello")
    def row():
        rows = whole.redis("--json", "HGETALL", whole.redis("KEYS", "{rep}:rows:dmarc|*|load.test").strip())
        return [json.loads(text) for text in json.loads(rows) if '"envelope_to":"alpha.test"' in text]
    wait_until("the message to be counted", row)
    [record] = row()
    assert (record["source_ip"], record["header_from"], record["envelope_from"], record["spf"], record["dkim"], record["disposition"]) == \
        ("127.0.0.1", "load.test", "load.test", "pass", "fail", "pass")
    policy = json.loads(whole.redis("HGET", whole.redis("KEYS", "{rep}:meta:dmarc|*|load.test").strip(), "m"))
    assert policy["published"]["p"] == "quarantine" and policy["published"]["rua"] == "mailto:aggregate@load.test"


def test_an_account_of_that_name_gets_the_mail_too(whole):
    user = whole.add_account("tls-reports@alpha.test")
    resolved = whole.rpc("accounts.resolve", address="tls-reports@alpha.test")
    assert {u["user"] for u in resolved["users"]} == {user, "reporter"}
    before = len(reports(whole, "unreadable"))
    send(whole, "tls-reports@alpha.test", "text/plain", "x.txt", b"no report\r\n")
    wait_until("the mail in the mailbox", lambda: whole.rpc("mailbox.stat", user=user)["messages"] == 1)
    wait_until("the same mail with the reporter", lambda: len(reports(whole, "unreadable")) == before + 1)
    assert whole.rpc("accounts.resolve", address="dmarc-reports@elsewhere.test") == {"kind": "remote"}
    assert whole.rpc("accounts.resolve", address="other-reports@alpha.test") == {"kind": "unknown"}


def test_the_command_shows_reports(whole):
    def cli(*words):
        answer = subprocess.run([BIN / "cli", *words], capture_output=True, text=True,
                                env={**os.environ, "POSTBUS_API": f"http://127.0.0.1:{whole.ports['api']}", "POSTBUS_TOKEN_FILE": str(whole.secrets / "admin.token")})
        assert answer.returncode == 0, answer.stderr
        return answer.stdout
    ident = reports(whole, "dmarc")[0]["id"]
    assert "google.com\t7 passed, 3 failed" in cli("report", "list", "dmarc", "alpha.test")
    assert "203.0.113.9" in cli("report", "show", "dmarc", ident)
    assert "20 messages, 14 passed, 6 failed" in cli("report", "summary", "alpha.test")
    assert cli("report", "sent") == ""


def test_what_was_counted_is_remembered_within_a_bound(whole):
    """With room for three: an event that comes again soon is counted once, and the memory of those long ago goes. Run as the reporter, with its rights."""
    functions = (ROOT / "libcommon/store/report.lua").read_text()
    small = re.sub(r"SEEN_MAX = \d+", "SEEN_MAX = 3", functions)
    assert small != functions
    load = lambda text: subprocess.run([*whole.redis_cli, "-x", "FUNCTION", "LOAD", "REPLACE"], input=text, text=True, capture_output=True, check=True)
    password = (whole.secrets_root / "reporter/redis.password").read_text().strip()
    start = str(int(time.time()) + 86400)

    def count(ident):
        return subprocess.run(["redis-cli", "-p", str(whole.redis_port), "--user", "reporter", "--pass", password, "--no-auth-warning", "FCALL", "report_count", "1", "{rep}", "dmarc", start, start,
                               str(int(start) + 86400), str(int(start) + 90000), "bound.test", ident, "{}", '{"row":1}'], capture_output=True, text=True).stdout.strip()
    load(small)
    try:
        first, later = [ulid() for _ in range(3)], [ulid() for _ in range(3)]
        assert [count(i) for i in first] == ["1"] * 3 and [count(i) for i in first] == ["0"] * 3
        assert [count(i) for i in later] == ["1"] * 3 and [count(i) for i in later] == ["0"] * 3
        assert count(first[0]) == "1"
        assert int(whole.redis("SCARD", f"{{rep}}:seen:{start}")) + int(whole.redis("SCARD", f"{{rep}}:seen:{start}:old")) <= 6
    finally:
        load(functions)
