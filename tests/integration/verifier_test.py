"""The verifier on the live bus, with a real knotd as the DNS: routes, proofs, and a DNS that lies or is silent."""
import base64
import hashlib
import socket
import threading
import time

import pytest

from postbus_test.dns import Knot
from postbus_test.site import Site, free_port

PLAIN = """
@ 60 IN A 192.0.2.80
@ 60 IN TXT "v=spf1 ip4:192.0.2.1 -all"
"""

ZONES = {
    "two.test": "@ 60 IN MX 20 b\n@ 60 IN MX 10 a\na 60 IN A 192.0.2.1\na 60 IN AAAA 2001:db8::1\nb 60 IN A 192.0.2.2\n_smtp._tls 60 IN TXT \"v=TLSRPTv1; rua=mailto:tls@two.test\"\n",
    "implicit.test": "@ 60 IN A 192.0.2.80\n",
    "nothing.test": "",
    "null.test": "@ 60 IN MX 0 .\n",
    "alias.test": "www 60 IN CNAME two.test.\n",
    "dangling.test": "@ 60 IN MX 10 nowhere\n",
    "loop.test": "@ 60 IN MX 10 better\n@ 60 IN MX 20 mx.alpha.test.\n@ 60 IN MX 30 worse\nbetter 60 IN A 192.0.2.4\nworse 60 IN A 192.0.2.5\n",
    "self.test": "@ 60 IN MX 10 mx.alpha.test.\n",
    "xn--bcher-kva.test": "@ 60 IN MX 10 mail\nmail 60 IN A 192.0.2.3\n",
}


class SilentDns:
    """A DNS server that takes questions and never answers."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.questions = 0
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        try:
            while True:
                self.socket.recvfrom(4096)
                self.questions += 1
        except OSError:
            pass


@pytest.fixture(scope="module")
def world():
    plain = Knot(ZONES)
    silent = SilentDns()
    stubs = [f"{zone}=127.0.0.1@{plain.port}" for zone in ZONES]
    stubs.append(f"silent.test=127.0.0.1@{silent.port}")
    stubs.append(f"dead.test=127.0.0.1@{free_port()}")
    stubs.append(f"lame.test=127.0.0.1@{plain.port}")
    site = Site(settings={"POSTBUS_RESOLVER_STUBS": ",".join(stubs)})
    site.start("verifier")
    site.plain = plain
    yield site
    site.end()
    plain.end()


def test_hosts_come_in_order_of_preference_with_all_addresses(world):
    route = world.rpc("verifier.route", domain="two.test")
    assert route["result"] == "ok" and route["dnssec"] == "insecure"
    assert [h["name"] for h in route["hosts"]] == ["a.two.test", "b.two.test"]
    assert [h["preference"] for h in route["hosts"]] == [10, 20]
    assert route["hosts"][0]["addresses"] == ["192.0.2.1", "2001:db8::1"]
    assert route["mta_sts"] is None
    assert route["tls_rpt"] == "v=TLSRPTv1; rua=mailto:tls@two.test"


@pytest.mark.parametrize("domain", ["TWO.test", "two.test.", "www.alias.test"])
def test_case_final_dot_and_alias_do_not_matter(world, domain):
    assert [h["name"] for h in world.rpc("verifier.route", domain=domain)["hosts"]] == ["a.two.test", "b.two.test"]


def test_without_mx_the_domain_itself_is_the_host(world):
    route = world.rpc("verifier.route", domain="implicit.test")
    assert route["result"] == "ok"
    assert [(h["name"], h["addresses"]) for h in route["hosts"]] == [("implicit.test", ["192.0.2.80"])]


def test_null_mx(world):
    assert world.rpc("verifier.route", domain="null.test")["result"] == "null_mx"


@pytest.mark.parametrize("domain", ["no-such.two.test", "nothing.test", "dangling.test"])
def test_names_that_lead_nowhere_are_permanent(world, domain):
    route = world.rpc("verifier.route", domain=domain)
    assert route["result"] == "nxdomain" and route["hosts"] == [] and route["reason"]


@pytest.mark.parametrize("domain", ["dead.test", "lame.test"])
def test_a_dns_that_is_down_or_refuses_is_temporary(world, domain):
    route = world.rpc("verifier.route", domain=domain, )
    assert route["result"] == "tempfail" and route["reason"]


def test_hosts_behind_ourselves_are_left_out(world):
    assert [h["name"] for h in world.rpc("verifier.route", domain="loop.test")["hosts"]] == ["better.loop.test"]
    assert world.rpc("verifier.route", domain="self.test")["result"] == "tempfail"


def test_an_international_domain_is_asked_in_a_labels(world):
    assert world.rpc("verifier.route", domain="bücher.test")["hosts"][0]["name"] == "mail.xn--bcher-kva.test"


@pytest.mark.parametrize("literal, address", [("[192.0.2.1]", "192.0.2.1"), ("[IPv6:2001:DB8::1]", "2001:db8::1")])
def test_address_literals(world, literal, address):
    assert world.rpc("verifier.route", domain=literal)["hosts"][0]["addresses"] == [address]


@pytest.mark.parametrize("domain", ["", "a..b", "[300.1.1.1]", "-" * 70 + ".test", "a b.test"])
def test_what_is_no_domain_is_refused(world, domain):
    assert world.rpc("verifier.route", domain=domain)["error"]["code"] == "invalid"


def test_a_silent_dns_delays_only_who_needs_it(world):
    answers = {}

    def ask(domain):
        begin = time.monotonic()
        answers[domain] = (world.nats.request("verifier.route", {"domain": domain}, 40), time.monotonic() - begin)

    threads = [threading.Thread(target=ask, args=(f"d{i}.silent.test",)) for i in range(20)]
    for t in threads:
        t.start()
    time.sleep(0.2)
    for _ in range(20):
        begin = time.monotonic()
        assert world.rpc("verifier.route", domain="two.test")["result"] == "ok"
        assert time.monotonic() - begin < 0.5
    for t in threads:
        t.join()
    for answer, seconds in answers.values():
        assert answer["result"] == "tempfail" and seconds < 30
