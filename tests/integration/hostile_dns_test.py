"""A DNS that is silent, lies, truncates, loops, floods, or is forged, against the live verifier: each question ends in bounded time as temporary or permanent as the RFCs say, and
whoever asks for something else is not delayed."""
import base64
import itertools
import json
import pathlib
import queue
import socket
import subprocess
import time

import pytest

from postbus_test.dns import Knot
from postbus_test.dnssec import SignedZone, wrong_ds
from postbus_test.scripted_dns import GARBAGE, NODATA, REFUSED, SERVFAIL, SILENCE, WRONG_ID, WRONG_NAME, ScriptedDns, Slow, Truncated
from postbus_test.site import BIN, Site

MX = "10 mx.good.test."
HEALTHY = 2000  # names that nobody has asked for yet
HOSTILE = {"silent": SILENCE, "servfail": SERVFAIL, "refused": REFUSED, "garbage": GARBAGE, "wrong-id": WRONG_ID, "wrong-name": WRONG_NAME, "cut": Truncated(MX), "cut-silent": Truncated(SILENCE),
           "cut-garbage": Truncated(GARBAGE)}


def txt(text):
    """As strings of at most 255 bytes."""
    return " ".join(f'"{text[at:at + 255]}"' for at in range(0, len(text), 255))


def script():
    s = {("mx.good.test", "A"): "192.0.2.5", ("good.test", "MX"): MX, ("slow.test", "MX"): Slow(0.2, MX), ("spf.good.test", "TXT"): '"v=spf1 ip4:192.0.2.1 -all"'}
    for n in range(HEALTHY):
        s[f"h{n}.healthy.test", "MX"] = MX
        s[f"h{n}.healthy.test", "TXT"] = '"v=spf1 ip4:192.0.2.1 -all"'
    for name, behaviour in HOSTILE.items():
        s[f"{name}.test", "MX" if name == "cut" else "*"] = behaviour
    for n in range(800):
        s[f"d{n}.silent.test", "*"] = SILENCE
    s["a.loop.test", "CNAME"], s["b.loop.test", "CNAME"] = "b.loop.test.", "a.loop.test."
    s["self.loop.test", "CNAME"] = "self.loop.test."
    for length in (8, 20):
        for n in range(length):
            s[f"c{n}.chain{length}.test", "CNAME"] = f"c{n + 1}.chain{length}.test."
        s[f"c{length}.chain{length}.test", "MX"] = MX
    s["many.many.test", "MX"] = [f"{n} mx{n}.many.test." for n in range(250)]
    for n in range(250):
        s[f"mx{n}.many.test", "A"] = "192.0.2.6"
    s["too-many.many.test", "MX"] = [f"{n} mx{n}.many.test." for n in range(300)]
    s["spf.many.test", "TXT"] = '"v=spf1 mx:many.many.test -all"'
    s["big.big.test", "TXT"] = [" ".join('"' + "x" * 255 + '"' for _ in range(250)), '"v=spf1 ip4:192.0.2.1 -all"']
    s["huge.big.test", "TXT"] = txt("v=spf1" + " ip4:10.0.0.1" * 4900)
    # include bombs
    s["bomb.bomb.test", "TXT"] = txt("v=spf1 " + " ".join(f"include:i{n}.bomb.test" for n in range(11)) + " -all")
    for n in range(11):
        s[f"i{n}.bomb.test", "TXT"] = txt("v=spf1 " + " ".join(f"include:i{n}-{m}.bomb.test" for m in range(11)) + " ?all")
        for m in range(11):
            s[f"i{n}-{m}.bomb.test", "TXT"] = '"v=spf1 a:a{0}.bomb.test a:b{0}.bomb.test ?all"'.format(n * 11 + m)
    for n in range(9):  # each answer in good time, all of them in none
        s[f"late{n}.slow.test", "TXT"] = Slow(2.8, f'"v=spf1 include:late{n + 1}.slow.test -all"')
    s["circle.bomb.test", "TXT"] = '"v=spf1 include:circle.bomb.test -all"'
    s["redirect.bomb.test", "TXT"] = '"v=spf1 redirect=redirect.bomb.test"'
    return s


ZONES = ["good", "slow", "healthy", "loop", "chain8", "chain20", "many", "big", "bomb", *HOSTILE]


@pytest.fixture(scope="module")
def world():
    dns = ScriptedDns(script())
    signed = {kind: SignedZone(f"{kind}.signed", "@ 60 IN MX 10 mx\nmx 60 IN A 192.0.2.9\n@ 60 IN TXT \"v=spf1 ip4:192.0.2.1 -all\"\nd._domainkey 60 IN TXT \"v=DKIM1; p=\"\n",
                               **({"start": "-7200", "end": "-3600"} if kind == "expired" else {}))
              for kind in ("secure", "altered", "expired", "wrong-ds", "stripped", "no-anchor")}
    texts = {f"{kind}.signed": zone.text for kind, zone in signed.items()}
    texts["altered.signed"] = signed["altered"].altered("10 mx.altered", "66 mx.altered").replace("v=spf1 ip4:192.0.2.1 -all", "v=spf1 +all")
    texts["stripped.signed"] = "".join(line for line in signed["stripped"].text.splitlines(keepends=True) if not any(t in line for t in ("RRSIG", "NSEC", "DNSKEY", "CDS")))
    knot = Knot(texts, whole=True)
    stubs = [f"{zone}.test={dns.address}" for zone in ZONES] + [f"in-addr.arpa={dns.address}"] + [f"{zone}={knot.address}" for zone in texts]
    site = Site(settings={"POSTBUS_RESOLVER_STUBS": ",".join(stubs)})
    for kind, zone in signed.items():
        (site.dir / f"{kind}.anchor").write_text(wrong_ds(zone.ds) if kind == "wrong-ds" else zone.ds if kind != "no-anchor" else "; none\n")
    site.settings["POSTBUS_TRUST_ANCHOR"] = ",".join([str(site.dir / "anchor")] + [str(site.dir / f"{kind}.anchor") for kind in signed])  # one for each island of trust
    site.dns = dns
    site.start("verifier")
    yield site
    site.end()
    dns.end()
    knot.end()


FRESH = itertools.count()


def verification(domain):
    return {"client_ip": "192.0.2.1", "helo": "h.good.test", "mail_from": f"a@{domain}", "tls": True, "id": "01JDADM0000000000000000001", "body_hashes": [],
            "header_b64": base64.b64encode(f"From: a@{domain}\r\nSubject: x\r\n".encode()).decode()}


def spf(world, domain):
    return world.nats.request("verifier.verify", verification(domain), 40)["spf"]["result"]


def flood(world, verb, asks):
    """All at once; answers a function that waits for the replies and gives them."""
    waiting = []
    for ask in asks:
        token = f"{world.nats.inbox}.flood{next(FRESH)}"
        world.nats.waiting[token] = queue.Queue()
        waiting.append(token)
        world.nats.publish("postbus.rpc." + verb, ask, token)
    return lambda seconds=40: [world.nats.waiting[token].get(timeout=seconds) for token in waiting]


def latencies(world, verb="verifier.route", count=60):
    """Of healthy requests, one after another, each for a name that is in no cache."""
    times = []
    for _ in range(count):
        domain = f"h{next(FRESH) % HEALTHY}.healthy.test"
        begin = time.monotonic()
        answer = world.nats.request(verb, {"domain": domain} if verb == "verifier.route" else verification(domain), 40)
        times.append(time.monotonic() - begin)
        assert answer.get("result") == "ok" or answer.get("spf", {}).get("result") == "pass", answer
    return sorted(times)


def memory(site):
    return int(next(line.split()[1] for line in pathlib.Path(f"/proc/{site.processes['verifier'].pid}/status").read_text().splitlines() if line.startswith("VmRSS"))) // 1024


@pytest.fixture(scope="module")
def attack(world):
    """Every kind of hostile domain at once, and 600 messages whose sender's DNS is silent; meanwhile, in the same worker, requests about others. Answers what came of all that."""
    quiet, before, begin = latencies(world), memory(world), time.monotonic()
    routes = {name: flood(world, "verifier.route", [{"domain": f"{name}.test"}]) for name in HOSTILE}
    proofs = {name: flood(world, "verifier.verify", [verification(f"{name}.test")]) for name in HOSTILE}
    late = flood(world, "verifier.verify", [verification("late0.slow.test")])
    silent = flood(world, "verifier.verify", [verification(f"d{n}.silent.test") for n in range(600)])
    time.sleep(0.3)
    under = latencies(world), latencies(world, "verifier.verify", 30)
    grown = memory(world) - before
    answers = {name: (json.loads(routes[name]()[0]), json.loads(proofs[name]()[0])) for name in HOSTILE}
    silent = [json.loads(answer) for answer in silent()]
    return {"quiet": quiet, "routes": under[0], "proofs": under[1], "grown": grown, "seconds": time.monotonic() - begin, "answers": answers, "silent": silent, "late": json.loads(late()[0])}


@pytest.mark.parametrize("name", [n for n in HOSTILE if n != "cut"])
def test_what_is_no_answer_is_temporary(attack, name):
    route, proof = attack["answers"][name]
    assert route["result"] == "tempfail" and route["reason"] and route["hosts"] == []
    assert proof["spf"]["result"] == "temperror"  # RFC 7208 4.4


def test_healthy_requests_are_not_delayed_by_an_attack(attack):
    quiet, routes, proofs = attack["quiet"], attack["routes"], attack["proofs"]
    print(f"a route: quiet {quiet[30] * 1000:.1f} ms (worst {quiet[-1] * 1000:.1f}), under attack {routes[30] * 1000:.1f} ms (worst {routes[-1] * 1000:.1f}); "
          f"a verification {proofs[15] * 1000:.1f} ms (worst {proofs[-1] * 1000:.1f}); {attack['grown']} MB more; all over after {attack['seconds']:.1f} s")
    assert routes[30] < max(0.2, 4 * quiet[30]) and proofs[15] < 0.2 and max(routes[-1], proofs[-1]) < 3
    assert attack["seconds"] < 28 and attack["grown"] < 300
    assert all(answer["spf"]["result"] == "temperror" for answer in attack["silent"])


def test_a_proof_that_takes_too_long_is_a_temporary_error_of_that_proof_alone(attack):
    late = attack["late"]
    assert late["spf"] and late["spf"]["result"] == "temperror" and late["iprev"], late  # RFC 7208 4.6.4; the others are told as they are
    assert late["headers"].count("spf=temperror") == 1


def test_what_is_truncated_is_asked_again_by_tcp(world):
    route = world.rpc("verifier.route", domain="cut.test")
    assert route["result"] == "ok" and route["hosts"][0]["name"] == "mx.good.test"
    assert "tcp" in {over for name, kind, over in world.dns.questions if name == "cut.test" and kind == "MX"}


@pytest.mark.parametrize("domain", ["a.loop.test", "self.loop.test", "c0.chain20.test"])
def test_aliases_without_end_are_temporary(world, domain):
    begin = time.monotonic()
    assert world.rpc("verifier.route", domain=domain)["result"] == "tempfail"
    assert time.monotonic() - begin < 12


def test_a_chain_of_aliases_is_followed(world):
    assert world.rpc("verifier.route", domain="c0.chain8.test")["hosts"][0]["name"] == "mx.good.test"


def test_of_many_hosts_the_first_are_taken(world):
    route = world.rpc("verifier.route", domain="many.many.test")
    assert [h["preference"] for h in route["hosts"]] == list(range(16))
    assert len({name for name, kind, _ in world.dns.questions if name.startswith("mx") and name.endswith(".many.test") and kind == "A"}) <= 16
    assert world.rpc("verifier.route", domain="too-many.many.test")["result"] == "tempfail"
    assert spf(world, "spf.many.test") == "permerror"  # RFC 7208 4.6.4: more than 10 MX


def test_a_record_of_64_kilobytes(world):
    assert spf(world, "big.big.test") == "pass"
    begin = time.monotonic()
    assert spf(world, "huge.big.test") in ("permerror", "neutral")
    assert time.monotonic() - begin < 3


@pytest.mark.parametrize("domain", ["bomb.bomb.test", "circle.bomb.test", "redirect.bomb.test"])
def test_include_bombs_end_at_ten_lookups(world, domain):
    before, begin = len(world.dns.questions), time.monotonic()
    assert spf(world, domain) == "permerror"  # RFC 7208 4.6.4
    assert time.monotonic() - begin < 5
    assert len(world.dns.questions) - before < 200


def test_a_question_says_no_more_than_it_must_and_is_hard_to_forge(world):
    """RFC 9156: a server first hears only the next label. 0x20: the case of letters is one more secret."""
    world.dns.update({("x.y.z.good.test", "MX"): MX})
    assert world.rpc("verifier.route", domain="x.y.z.good.test")["result"] == "ok"
    asked = [name for name, _, _ in world.dns.questions if name.endswith("z.good.test")]
    assert asked[0] == "z.good.test" and "x.y.z.good.test" in asked
    healthy = [name for name in world.dns.spelled if name.lower().startswith("_mta-sts.") or name.lower().startswith("_smtp._tls.")]
    assert sum(1 for name in healthy if name != name.lower()) > len(healthy) // 2 > 2


def test_secure_and_insecure(world):
    assert world.rpc("verifier.route", domain="secure.signed")["dnssec"] == "secure"
    assert world.rpc("verifier.route", domain="good.test")["dnssec"] == "insecure"
    route = world.rpc("verifier.route", domain="no-anchor.signed")
    assert route["dnssec"] == "insecure" and route["result"] == "ok"


@pytest.mark.parametrize("kind", ["altered", "expired", "wrong-ds", "stripped"])
def test_forged_answers_are_temporary_and_never_used(world, kind):
    route = world.rpc("verifier.route", domain=f"{kind}.signed")
    assert route["result"] == "tempfail" and route["dnssec"] == "bogus" and route["reason"] and route["hosts"] == []
    assert spf(world, f"{kind}.signed") == "temperror"


def test_a_thousand_messages_to_one_domain_ask_once(world):
    for answer in flood(world, "verifier.route", [{"domain": "slow.test"}] * 1000)():
        assert b'"ok"' in answer
    assert world.dns.count("slow.test", "MX") == 1
    assert world.dns.count("_smtp._tls.slow.test", "TXT") == 1
    for answer in flood(world, "verifier.verify", [verification("spf.good.test")] * 500)():
        assert b'"pass"' in answer
    assert world.dns.count("spf.good.test", "TXT") == 1


def test_that_a_name_is_not_there_is_remembered(world):
    for _ in range(3):
        assert world.rpc("verifier.route", domain="nobody.good.test")["result"] == "nxdomain"
    assert world.dns.count("nobody.good.test", "MX") <= 1


def test_nothing_that_has_expired_is_served(world):
    world.dns.ttl = 1
    world.dns.update({("short.good.test", "MX"): MX})
    assert world.rpc("verifier.route", domain="short.good.test")["result"] == "ok"
    world.dns.ttl = 60
    world.dns.update({("short.good.test", "MX"): SERVFAIL})
    time.sleep(1.5)
    assert world.rpc("verifier.route", domain="short.good.test")["result"] == "tempfail"


def test_workers_each_ask_once(world):
    """Workers share nothing (docs/laws.md, law 6): a name costs as many questions as there are workers, however many messages there are."""
    dns = ScriptedDns({("mx.good.test", "A"): "192.0.2.5", ("slow.test", "MX"): Slow(0.2, MX)})
    site = Site(settings={"POSTBUS_RESOLVER_FORWARD": dns.address, "POSTBUS_WORKERS": 3})
    site.start("verifier")
    try:
        for answer in flood(site, "verifier.route", [{"domain": "slow.test"}] * 300)():
            assert b'"ok"' in answer
        assert 1 <= dns.count("slow.test", "MX") <= 3
    finally:
        site.end()
        dns.end()


def test_a_private_root_is_walked_from_its_top():
    """Full recursion from a root of our own: delegations are followed, DS records lead from the root's anchor to the zone, and the root hears no more of a name than it needs."""
    child = SignedZone("site.corp", "@ 60 IN MX 10 mx\nmx 60 IN A 192.0.2.77\n_25._tcp.mx 60 IN TLSA 3 1 1 " + "ab" * 32 + "\n", ns="127.0.0.54")
    root = SignedZone(".", f"site.corp. 60 IN NS ns.site.corp.\nns.site.corp. 60 IN A 127.0.0.54\n{child.ds}plain.corp. 60 IN NS ns.site.corp.\n")
    knots = [Knot({".": root.text}, whole=True, port=53), Knot({"site.corp": child.text, "plain.corp": "$ORIGIN plain.corp.\n@ 60 IN SOA ns hostmaster 1 3600 600 86400 60\n"
             "@ 60 IN NS ns.site.corp.\n@ 60 IN MX 5 mx.site.corp.\n"}, whole=True, port=53, ip="127.0.0.54")]
    site = Site(settings={"POSTBUS_RESOLVER_STUBS": ".=127.0.0.1"})
    (site.dir / "root.anchor").write_text(root.ds)
    site.settings["POSTBUS_TRUST_ANCHOR"] = site.dir / "root.anchor"
    site.start("verifier")
    try:
        route = site.rpc("verifier.route", domain="site.corp")
        host, = route["hosts"]
        assert route["dnssec"] == "secure" and host["dnssec"] == "secure" and host["addresses"] == ["192.0.2.77"] and host["tlsa"][0]["usage"] == 3
        assert site.rpc("verifier.route", domain="plain.corp")["dnssec"] == "insecure"  # the root proves that it has no DS
        assert site.rpc("verifier.route", domain="nobody.corp")["result"] == "nxdomain"
    finally:
        site.end()
        for knot in knots:
            knot.end()


def test_settings_that_make_no_sense_end_the_start_with_a_word():
    site = Site(settings={"POSTBUS_TRUST_ANCHOR": ""}, tap=False)
    site.start("verifier")  # with the root's own anchors, and nothing else set
    assert site.stop("verifier") == 0
    for setting, value in (("POSTBUS_TRUST_ANCHOR", f"{site.dir}/anchor, /nowhere/anchor"), ("POSTBUS_RESOLVER_FORWARD", "not an address"), ("POSTBUS_RESOLVER_STUBS", "zone.test=::1@99999")):
        done = subprocess.run([BIN / "verifier"], env={**site.environment("verifier"), setting: value}, cwd=site.dir, capture_output=True, text=True, timeout=30)
        assert done.returncode == 78 and setting in done.stdout + done.stderr, (setting, done)
    site.end()


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
def test_a_name_server_may_have_an_ipv6_address():
    knot = Knot({"six.test": "@ 60 IN MX 10 mx\nmx 60 IN AAAA 2001:db8::5\n"}, ip="::1")
    site = Site(settings={"POSTBUS_RESOLVER_STUBS": f"six.test=::1@{knot.port}"})
    site.start("verifier")
    try:
        assert site.rpc("verifier.route", domain="six.test")["hosts"][0]["addresses"] == ["2001:db8::5"]
    finally:
        site.end()
        knot.end()
