"""How mail travels to other sites: opportunistic TLS, MTA-STS (RFC 8461), DANE for SMTP (RFC 7672), REQUIRETLS (RFC 8689), and what is told of each connection for
TLS reports (RFC 8460). A real site, real SMTP servers with good and bad certificates, a real HTTPS server for policies, a real DNS with signed zones."""
import dataclasses
import itertools
import json
import smtplib
import ssl
import time
import urllib.request

import pytest

from postbus_test.dns import Knot
from postbus_test.dnssec import SignedZone
from postbus_test.site import Site, free_port, wait_until
from postbus_test.tls import Authority, PolicyServer, TlsPeer, association

TLS = ssl._create_unverified_context()
ALICE, PASSWORD = "alice@alpha.test", "correct horse 1"


@dataclasses.dataclass
class Case:
    """One recipient domain: what it publishes, what its server is like, and what must come of a message to it."""
    domain: str
    certificate: str = "good"       # good, wrong-name, expired, foreign, name-in-cn, none (no STARTTLS), broken
    mode: str = ""                  # of its MTA-STS policy; "" none
    policy: dict = dataclasses.field(default_factory=dict)  # instead of the good policy's answer
    tlsa: tuple = ()                # "usage selector matching", of the server's certificate (usage 2: of its CA's); or the whole rdata
    sent: bool = True
    verified: str = "none"          # sent: what proved the server's identity
    tls: bool = True                # sent: whether over TLS
    result: str = "success"         # of the event mail.tls
    policy_type: str = "no-policy-found"
    server_name: str = ""           # that the server must have been asked for; "" its own
    require: str = ""               # "requiretls": MAIL's parameter; "no": the header field TLS-Required
    extensions: tuple = ()
    enhanced: str = ""              # not sent: the status code; 5.x is a bounce
    report: bool = True             # whether an event is said
    tlsa_ttl: int = 60


STS = [
    Case("no-policy.sts.test", verified="pkix"),
    Case("no-tls.sts.test", certificate="none", tls=False, result="starttls-not-supported"),
    Case("broken-tls.sts.test", certificate="broken", tls=False, result="validation-failure"),  # RFC 7435: in plain text rather than not at all
    Case("self-made.sts.test", certificate="foreign"),
    Case("enforce.sts.test", mode="enforce", verified="pkix", policy_type="sts"),
    Case("enforce-wrong-name.sts.test", "wrong-name", "enforce", sent=False, result="certificate-host-mismatch", policy_type="sts"),
    Case("enforce-name-in-cn.sts.test", "name-in-cn", "enforce", sent=False, result="certificate-host-mismatch", policy_type="sts"),
    Case("enforce-expired.sts.test", "expired", "enforce", sent=False, result="certificate-expired", policy_type="sts"),
    Case("enforce-foreign.sts.test", "foreign", "enforce", sent=False, result="certificate-not-trusted", policy_type="sts"),
    Case("enforce-no-tls.sts.test", "none", "enforce", sent=False, result="starttls-not-supported", policy_type="sts"),
    Case("enforce-broken.sts.test", "broken", "enforce", sent=False, result="validation-failure", policy_type="sts"),
    Case("enforce-unlisted.sts.test", "good", "enforce", {"mx": "other.example"}, sent=False, result="validation-failure", policy_type="sts", enhanced="4.7.5"),
    Case("enforce-wildcard.sts.test", "good", "enforce", {"mx": "*.enforce-wildcard.sts.test"}, verified="pkix", policy_type="sts"),
    Case("testing.sts.test", mode="testing", verified="pkix", policy_type="sts"),
    Case("testing-wrong-name.sts.test", "wrong-name", "testing", result="certificate-host-mismatch", policy_type="sts"),
    Case("testing-expired.sts.test", "expired", "testing", result="certificate-expired", policy_type="sts"),
    Case("testing-no-tls.sts.test", "none", "testing", tls=False, result="starttls-not-supported", policy_type="sts"),
    Case("testing-unlisted.sts.test", "good", "testing", {"mx": "other.example"}, verified="pkix", result="validation-failure", policy_type="sts"),
    Case("none.sts.test", "wrong-name", "none"),
    Case("absent.sts.test", "good", "enforce", {"status": 404}, verified="pkix", result="sts-policy-fetch-error", policy_type="sts"),
    Case("moved.sts.test", "good", "enforce", {"status": 301, "headers": {"Location": "https://mta-sts.enforce.sts.test/.well-known/mta-sts.txt"}}, verified="pkix",
         result="sts-policy-fetch-error", policy_type="sts"),  # RFC 8461 3.3: redirections are not followed
    Case("nonsense.sts.test", "good", "enforce", {"body": "<html>hello</html>"}, verified="pkix", result="sts-policy-invalid", policy_type="sts"),
    Case("html.sts.test", "good", "enforce", {"type": "text/html"}, verified="pkix", result="sts-policy-invalid", policy_type="sts"),
    Case("untrusted.sts.test", "good", "enforce", {"certificate": "foreign-policy"}, verified="pkix", result="sts-webpki-invalid", policy_type="sts"),
    Case("wrong-host.sts.test", "good", "enforce", {"certificate": "wrong-name"}, verified="pkix", result="sts-webpki-invalid", policy_type="sts"),
    Case("require.sts.test", mode="enforce", require="requiretls", extensions=("REQUIRETLS",), verified="pkix", policy_type="sts"),
    Case("require-not-offered.sts.test", mode="enforce", require="requiretls", sent=False, enhanced="5.7.30", policy_type="sts"),
    Case("require-no-policy.sts.test", require="requiretls", extensions=("REQUIRETLS",), sent=False, enhanced="5.7.10", report=False),
    Case("require-no-tls.sts.test", "none", "enforce", require="requiretls", sent=False, enhanced="5.7.10", result="starttls-not-supported", policy_type="sts"),
    Case("waived.sts.test", "wrong-name", "enforce", require="no", report=False),  # RFC 8689 4.2.2
    Case("waived-no-tls.sts.test", "none", "enforce", require="no", tls=False, report=False),
]
DANE = [
    Case("ee.dane.test", "foreign", tlsa=("3 1 1",), verified="dane", policy_type="tlsa"),
    Case("ee-sha512.dane.test", "foreign", tlsa=("3 1 2",), verified="dane", policy_type="tlsa"),
    Case("ee-certificate.dane.test", "foreign", tlsa=("3 0 1",), verified="dane", policy_type="tlsa"),
    Case("ee-whole.dane.test", "foreign", tlsa=("3 0 0",), verified="dane", policy_type="tlsa"),
    Case("ee-expired.dane.test", "expired", tlsa=("3 1 1",), verified="dane", policy_type="tlsa"),  # RFC 7672 3.1.1: neither dates nor names matter
    Case("ee-wrong-name.dane.test", "wrong-name", tlsa=("3 1 1",), verified="dane", policy_type="tlsa"),
    Case("roll-over.dane.test", "foreign", tlsa=("3 1 1 " + "ab" * 32, "3 1 1"), verified="dane", policy_type="tlsa"),
    Case("mismatch.dane.test", "good", tlsa=("3 1 1 " + "ab" * 32,), sent=False, result="certificate-not-trusted", policy_type="tlsa"),
    Case("agility.dane.test", "good", tlsa=("3 1 1", "3 1 2 " + "ab" * 64), sent=False, result="certificate-not-trusted", policy_type="tlsa"),  # RFC 7671 9
    Case("ta.dane.test", "good", tlsa=("2 0 1",), verified="dane", policy_type="tlsa"),
    Case("ta-key.dane.test", "good", tlsa=("2 1 1",), verified="dane", policy_type="tlsa"),
    Case("ta-whole.dane.test", "good", tlsa=("2 0 0",), verified="dane", policy_type="tlsa"),
    Case("ee-whole-key.dane.test", "foreign", tlsa=("3 1 0",), verified="dane", policy_type="tlsa"),
    Case("ta-domain-name.dane.test", "domain-name", tlsa=("2 0 1",), verified="dane", policy_type="tlsa"),  # RFC 7672 3.2.2: the next-hop domain counts too
    Case("ta-wrong-name.dane.test", "wrong-name", tlsa=("2 0 1",), sent=False, result="certificate-host-mismatch", policy_type="tlsa"),
    Case("ta-expired.dane.test", "expired", tlsa=("2 0 1",), sent=False, result="certificate-expired", policy_type="tlsa"),
    Case("ta-foreign.dane.test", "foreign", tlsa=("2 0 1",), sent=False, result="certificate-not-trusted", policy_type="tlsa"),
    Case("unusable.dane.test", "foreign", tlsa=("1 1 1", "0 0 1", "3 1 9 " + "ab" * 32), result="tlsa-invalid", policy_type="tlsa"),  # RFC 7672 2.2: encrypted all the same
    Case("unusable-no-tls.dane.test", "none", tlsa=("1 1 1 " + "ab" * 32,), sent=False, result="starttls-not-supported", policy_type="tlsa"),
    Case("no-tls.dane.test", "none", tlsa=("3 1 1 " + "ab" * 32,), sent=False, result="starttls-not-supported", policy_type="tlsa"),
    Case("broken.dane.test", "broken", tlsa=("3 1 1",), sent=False, result="validation-failure", policy_type="tlsa"),
    Case("no-records.dane.test", "foreign"),
    Case("alias.dane.test", "foreign", tlsa=("3 1 1",), verified="dane", policy_type="tlsa", server_name="end.alias.dane.test"),  # its MX is an alias: TLSA at its end
    Case("before-sts.dane.test", "foreign", "enforce", {"mx": "other.example"}, tlsa=("3 1 1",), verified="dane", policy_type="tlsa"),  # RFC 8461 2
    Case("sts-no-help.dane.test", "good", "enforce", tlsa=("3 1 1 " + "ab" * 32,), sent=False, result="certificate-not-trusted", policy_type="tlsa"),
    Case("removed.dane.test", "foreign", tlsa=("3 1 1 " + "ef" * 32,), sent=False, result="certificate-not-trusted", policy_type="tlsa", tlsa_ttl=1),
    Case("demanded.dane.test", "good", "enforce", sent=False, result="dane-required", policy_type="tlsa", enhanced="4.7.5"),  # this site's own rule
    Case("tampered.dane.test", "good", tlsa=("3 1 1 " + "cd" * 32,), sent=False, result="dnssec-invalid", policy_type="tlsa"),
    Case("require.dane.test", "foreign", tlsa=("3 1 1",), require="requiretls", extensions=("REQUIRETLS",), verified="dane", policy_type="tlsa"),
    Case("require-secure-mx.dane.test", "good", require="requiretls", extensions=("REQUIRETLS",), verified="pkix"),  # RFC 8689 4.2.1: DNSSEC vouches for the name
    Case("require-wrong-name.dane.test", "wrong-name", require="requiretls", extensions=("REQUIRETLS",), sent=False, enhanced="5.7.10", result="certificate-host-mismatch"),
    Case("waived.dane.test", "good", tlsa=("3 1 1 " + "ab" * 32,), require="no", verified="pkix", report=False),
]
CASES = STS + DANE


class World:
    def __init__(self):
        self.ca, self.foreign = Authority(), Authority("Another CA")
        self.smtp_port, self.dns_port, self.signed_port = free_port(), free_port(), free_port()
        self.peers, self.hosts = {}, {}
        self.make_certificates()
        plain = signed = "@ 1 IN MX 10 mx\nmx 1 IN A 127.0.0.2\n"
        for n, case in enumerate(CASES):
            text = self.publish(case, f"127.0.1.{n + 1}")
            if case.domain.endswith(".dane.test"):
                signed += text
            else:
                plain += text
        self.policies = PolicyServer(self.hosts)
        # a domain whose own zone is not signed, with its server in the signed one
        plain += "insecure-mx 60 IN MX 10 mx.mismatch.dane.test.\n_smtp._tls.insecure-mx 60 IN TXT \"v=TLSRPTv1; rua=mailto:tls@sts.test\"\n"
        # a host whose alias is secure though what it leads to is not
        signed += f"half 60 IN MX 10 mx.half\nmx.half 60 IN CNAME mx.no-policy.sts.test.\n_25._tcp.mx.half 60 IN TLSA 3 1 1 {association(self.made['good'])}\n"
        self.signed_text = signed
        self.zone = SignedZone("dane.test", signed)
        self.knot = Knot({"sts.test": plain}, port=self.dns_port)
        self.signed = Knot({"dane.test": self.zone.altered("CD" * 28, "AB" * 28)}, whole=True, port=self.signed_port)
        self.site = Site("mx.alpha.test", {"POSTBUS_RESOLVER_STUBS": f"sts.test=127.0.0.1@{self.dns_port},dane.test=127.0.0.1@{self.signed_port}", "POSTBUS_SMTP_PORT": self.smtp_port,
                                           "POSTBUS_TLS_CA": self.ca.file, "POSTBUS_RETRY_FIRST_SECONDS": 600, "POSTBUS_DANE_REQUIRED": "demanded.dane.test, ee.dane.test"})
        (self.site.dir / "dane.anchor").write_text(self.zone.ds)
        self.site.settings["POSTBUS_TRUST_ANCHOR"] = f"{self.site.dir}/anchor,{self.site.dir}/dane.anchor"
        self.events = {}
        self.listener = self.site.new_nats()
        self.listener.subscribe("postbus.mail.>", self.on_event)
        self.listener.flush()
        self.site.start("accounts", "verifier", "mailbox", "delivery", "smtpd")
        self.site.add_account(ALICE, PASSWORD)

    def on_event(self, subject, reply, body):
        event = json.loads(body)
        self.events.setdefault(event["subject"], []).append((event["type"].split(".")[-1], event["data"]))

    def make_certificates(self):
        """One of each kind serves all domains; only a name in the common name is each domain's own."""
        mx, domains, policy_hosts = ([f"{prefix}{case.domain}" for case in CASES] for prefix in ("mx.", "", "mta-sts."))
        self.made = {"good": self.ca.issue(*mx), "wrong-name": self.ca.issue("elsewhere.example"), "expired": self.ca.issue(*mx, expired=True), "foreign": self.foreign.issue(*mx),
                     "domain-name": self.ca.issue(*domains), "policy": self.ca.issue(*policy_hosts), "foreign-policy": self.foreign.issue(*policy_hosts), "none": None}
        self.made["broken"] = self.made["good"]

    def publish(self, case, ip):
        """Starts the domain's servers; answers its part of the zone."""
        pem = self.ca.issue("elsewhere.example", common_name=f"mx.{case.domain}") if case.certificate == "name-in-cn" else self.made[case.certificate]
        name = case.domain.split(".")[0]
        self.peers[case.domain] = TlsPeer(ip, self.smtp_port, pem, case.extensions, name=f"mx.{case.domain}", break_handshake=case.certificate == "broken")
        end = case.server_name.removesuffix(".dane.test") or f"mx.{name}"
        text = f"{name} 60 IN MX 10 mx.{name}\n{end} 60 IN A {ip}\n_smtp._tls.{name} 60 IN TXT \"v=TLSRPTv1; rua=mailto:tls@{case.domain}\"\n"
        if case.server_name:
            text += f"mx.{name} 60 IN CNAME {end}\n"
        for record in case.tlsa:
            usage, selector, matching, *data = record.split()
            given = data[0] if data else association(self.ca.file if usage == "2" else pem, int(selector), int(matching))
            text += f"_25._tcp.{end} {case.tlsa_ttl} IN TLSA {usage} {selector} {matching} {given}\n"
        if case.mode:
            host = f"mta-sts.{case.domain}"
            policy = f"version: STSv1\r\nmode: {case.mode}\r\nmx: {case.policy.get('mx', 'mx.' + case.domain)}\r\nmax_age: 86400\r\n"
            self.hosts[host] = {"body": policy, **case.policy, "certificate": self.made[case.policy.get("certificate", "policy")]}
            text += f"_mta-sts.{name} 60 IN TXT \"v=STSv1; id=1;\"\nmta-sts.{name} 60 IN A 127.0.0.1\n"
        return text

    def send(self, domain, require=""):
        """Submits a message; answers its id."""
        with smtplib.SMTP("127.0.0.1", self.site.ports["submission"], local_hostname="client.local", timeout=60) as client:
            client.starttls(context=TLS)
            client.login(ALICE, PASSWORD)
            return self.submit(client, domain, require)

    def submit(self, client, domain, require=""):
        field = "TLS-Required: No\r\n" if require == "no" else ""
        client.ehlo()
        assert client.mail(ALICE, ["REQUIRETLS"] if require == "requiretls" else [])[0] == 250
        assert client.rcpt(f"bob@{domain}")[0] == 250
        code, text = client.data(f"From: {ALICE}\r\nTo: bob@{domain}\r\n{field}Subject: {domain}\r\n\r\nhello\r\n")
        assert code == 250, text
        return text.split()[-1].decode()

    def outcome(self, message):
        """The event that settles it, and all that was said of TLS before."""
        def settled():
            said = self.events.get(message, [])
            return next((event for event in said if event[0] in ("sent", "deferred", "bounced")), None)
        kind, data = wait_until(f"an outcome of {message}", settled, 40)
        return kind, data, [d for k, d in self.events[message] if k == "tls"]

    def end(self):
        self.site.end()
        self.knot.end()
        self.signed.end()
        self.policies.end()
        for peer in self.peers.values():
            peer.end()


@pytest.fixture(scope="module")
def world():
    w = World()
    yield w
    w.end()


@pytest.fixture(scope="module")
def outcomes(world):
    """All messages at once; then how each ended."""
    ids = {}
    for part in itertools.batched(CASES, 30):
        with smtplib.SMTP("127.0.0.1", world.site.ports["submission"], local_hostname="client.local", timeout=60) as client:
            client.starttls(context=TLS)
            client.login(ALICE, PASSWORD)
            for case in part:
                ids[case.domain] = world.submit(client, case.domain, case.require)
    return {domain: world.outcome(message) for domain, message in ids.items()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.domain)
def test_tls_as_the_domain_asks(world, outcomes, case):
    kind, data, facts = outcomes[case.domain]
    peer = world.peers[case.domain]
    if case.sent:
        assert kind == "sent", data
        assert (bool(data["tls"]), data["tls_verified"]) == (case.tls, case.verified)
        (rcpts, _, version, server_name, mail), = peer.messages
        assert rcpts == [f"bob@{case.domain}"] and bool(version) == case.tls
        if case.tls:
            assert server_name == (case.server_name or f"mx.{case.domain}") and version in ("TLSv1.2", "TLSv1.3")
        assert ("REQUIRETLS" in mail) == (case.require == "requiretls")
    else:
        assert kind == ("bounced" if case.enhanced.startswith("5") else "deferred"), data
        assert not peer.messages, "the message was handed over though the domain's policy forbids it"
        if case.enhanced:
            assert data["enhanced"] == case.enhanced, data
    if not case.report:
        assert not facts
        return
    assert facts, "nothing was said of TLS"
    fact = facts[0]
    assert (fact["result"], fact["policy"]["type"]) == (case.result, case.policy_type), fact
    assert fact["domain"] == fact["policy"]["domain"] == case.domain and fact["rua"] == f"mailto:tls@{case.domain}" and fact["mx"] == f"mx.{case.domain}"
    if "ip" in fact:
        assert fact["ip"] == peer.ip and fact["sending_ip"].startswith("127.") and fact["helo"] == f"mx.{case.domain}"
    assert bool(fact["reason"]) == (case.result != "success")
    if case.policy_type == "sts" and not case.result.startswith("sts-"):
        assert fact["policy"]["string"] == ["version: STSv1", f"mode: {case.mode}", f"mx: {fact['policy']['mx_host'][0]}", "max_age: 86400"]
    if case.policy_type == "tlsa" and case.result != "dnssec-invalid":
        assert len(fact["policy"]["string"]) == len(case.tlsa)


def test_each_result_has_its_metric(world, outcomes):
    text = urllib.request.urlopen(f"http://127.0.0.1:{world.site.http['delivery']}/metrics").read().decode()
    counted = {line.split()[0]: int(line.split()[1]) for line in text.splitlines() if line.startswith("postbus_delivery_tls_")}
    for case in CASES:
        if case.report:
            assert counted[f"postbus_delivery_tls_{case.result.replace('-', '_')}_total"] > 0


def test_dane_is_not_for_a_domain_whose_mx_is_not_secure(world):
    """RFC 7672 2.2.1: whoever forges the MX chooses the host, so that its TLSA records prove nothing."""
    kind, data, facts = world.outcome(world.send("insecure-mx.sts.test"))
    assert kind == "sent" and data["tls_verified"] == "pkix" and facts[0]["policy"]["type"] == "no-policy-found"


def test_an_alias_out_of_what_is_secure_is_verified_by_its_own_records(world):
    kind, data, _ = world.outcome(world.send("half.dane.test"))
    assert kind == "sent" and data["tls_verified"] == "dane"
    assert world.peers["no-policy.sts.test"].messages[-1][3] == "mx.half.dane.test"  # the server name is the TLSA base domain


def test_what_the_verifier_says_of_a_secure_host(world):
    route = world.site.rpc("verifier.route", domain="alias.dane.test")
    host, = route["hosts"]
    assert route["dnssec"] == host["dnssec"] == "secure"
    assert host["name"] == "mx.alias.dane.test" and host["tlsa_names"] == ["end.alias.dane.test", "alias.dane.test"]
    route = world.site.rpc("verifier.route", domain="half.dane.test")  # RFC 7672 2.2.2: only the alias itself is secure, and its own name has TLSA records
    host, = route["hosts"]
    assert host["dnssec"] == "insecure" and host["tlsa_names"][0] == "mx.half.dane.test" and len(host["tlsa"]) == 1
    route = world.site.rpc("verifier.route", domain="tampered.dane.test")
    assert route["result"] == "tempfail" and route["left_out"][0]["result"] == "dnssec-invalid"
    route = world.site.rpc("verifier.route", domain="insecure-mx.sts.test")
    assert route["dnssec"] == "insecure" and route["hosts"][0]["tlsa"] == []


def test_when_its_tlsa_records_are_gone_a_host_is_used_again(world, outcomes):
    """A domain whose records did not fit its certificate takes them out: it is then as if it had never had any."""
    world.zone.sign("".join(line for line in world.signed_text.splitlines(keepends=True) if not line.startswith("_25._tcp.mx.removed")))
    world.signed.end()
    world.signed = Knot({"dane.test": world.zone.text}, whole=True, port=world.signed_port)
    time.sleep(1.2)
    kind, data, facts = world.outcome(world.send("removed.dane.test"))
    assert kind == "sent" and data["tls_verified"] == "none" and facts[0]["policy"]["type"] == "no-policy-found"
