"""MTA-STS policies of other domains (RFC 8461): how they are found, fetched, kept, and held when what announces them changes, vanishes or is forged."""
import queue
import time

import pytest

from postbus_test.dns import Knot
from postbus_test.dnssec import SignedZone
from postbus_test.scripted_dns import NODATA, SERVFAIL, ScriptedDns
from postbus_test.site import Site, wait_until
from postbus_test.tls import Authority, PolicyServer

GOOD = "version: STSv1\r\nmode: enforce\r\nmx: mx.{}\r\nmax_age: 86400\r\n"
NAMES = ["kept", "changed", "failing", "gone", "short", "alias", "two", "beside", "malformed", "large", "stalled", "expired", "many", "memory", "unreachable", "other-case"]
ID = '"v=STSv1; id=1;"'


def domain(name):
    return f"{name}.sts.test"


def script():
    s = {}
    for name in NAMES:
        s[domain(name), "MX"] = f"10 mx.{domain(name)}."
        s[f"mx.{domain(name)}", "A"] = "192.0.2.5"
        s[f"_mta-sts.{domain(name)}", "TXT"] = ID
        s[f"mta-sts.{domain(name)}", "A"] = "127.0.0.1"
    s["_mta-sts.alias.sts.test", "CNAME"] = "_mta-sts.provider.sts.test."  # RFC 8461 8.2: a provider serves its customers' policies
    del s["_mta-sts.alias.sts.test", "TXT"], s["mta-sts.alias.sts.test", "A"]
    s["_mta-sts.provider.sts.test", "TXT"] = ID
    s["mta-sts.alias.sts.test", "CNAME"] = "mta-sts.kept.sts.test."
    s["_mta-sts.two.sts.test", "TXT"] = [ID, '"v=STSv1; id=2; nonsense"']
    s["_mta-sts.beside.sts.test", "TXT"] = ['"v=spf1 -all"', ID, '"v=STSv10; id=9"']
    s["_mta-sts.malformed.sts.test", "TXT"] = '"v=STSv1; id=a b"'
    s["mta-sts.unreachable.sts.test", "A"] = "127.0.0.99"
    return s


@pytest.fixture(scope="module")
def world():
    ca = Authority()
    names = [f"mta-sts.{domain(name)}" for name in NAMES] + ["mta-sts.sts.signed"]
    certificate, expired = ca.issue(*names), ca.issue("mta-sts.expired.sts.test", expired=True)
    hosts = {f"mta-sts.{domain(name)}": {"certificate": expired if name == "expired" else certificate, "body": GOOD.format(domain(name))} for name in NAMES}
    hosts["mta-sts.short.sts.test"]["body"] = GOOD.format(domain("short")).replace("86400", "2")
    hosts["mta-sts.large.sts.test"]["body"] = GOOD.format(domain("large")) + "comment: x\r\n" * 7000
    hosts["mta-sts.stalled.sts.test"]["delay"] = 12
    hosts["mta-sts.other-case.sts.test"]["type"] = "Text/Plain; charset=utf-8"
    dns, policies = ScriptedDns(script(), ttl=1), PolicyServer(hosts)
    zone = SignedZone("sts.signed", "@ 60 IN MX 10 mx\nmx 60 IN A 192.0.2.5\n_mta-sts 60 IN TXT \"v=STSv1; id=1;\"\nmta-sts 60 IN A 127.0.0.1\n")
    knot = Knot({"sts.signed": zone.altered("id=1", "id=2")}, whole=True)
    site = Site(settings={"POSTBUS_RESOLVER_STUBS": f"sts.test={dns.address},sts.signed={knot.address}", "POSTBUS_TLS_CA": ca.file})
    (site.dir / "signed.anchor").write_text(zone.ds)
    site.settings["POSTBUS_TRUST_ANCHOR"] = f"{site.dir}/anchor,{site.dir}/signed.anchor"
    site.dns, site.policies, site.hosts = dns, policies, hosts
    site.start("verifier")
    # asked at once, for it takes ten seconds
    site.stalled, site.stalled_since = f"{site.nats.inbox}.stalled", time.monotonic()
    site.nats.waiting[site.stalled] = queue.Queue()
    site.nats.publish("postbus.rpc.verifier.route", {"domain": domain("stalled")}, site.stalled)
    yield site
    site.end()
    dns.end()
    knot.end()
    policies.end()


def route(world, name):
    answer = world.rpc("verifier.route", domain=domain(name))
    assert answer["result"] == "ok", answer
    return answer


def policy(world, name):
    return route(world, name)["mta_sts"]


def good(name):
    return {"mode": "enforce", "mx": [f"mx.{domain(name)}"], "max_age": 86400}


def announce(world, name, value):
    world.dns.update({(f"_mta-sts.{domain(name)}", "TXT"): value})
    time.sleep(1.2)  # the old record's time to live


def failure(world, name):
    answer = route(world, name)
    assert answer["mta_sts"] is None
    return answer["mta_sts_failure"]["result"]


def test_a_policy_is_fetched_once_and_kept(world):
    for _ in range(3):
        assert policy(world, "kept") == good("kept")
    assert world.policies.count("mta-sts.kept.sts.test") == 1
    assert ("mta-sts.kept.sts.test", "/.well-known/mta-sts.txt") in world.policies.asked
    assert 86000 < int(world.redis("TTL", "v:sts:kept.sts.test")) <= 86400


def test_two_hundred_messages_fetch_once(world):
    waiting = []
    for n in range(200):
        token = f"{world.nats.inbox}.many{n}"
        world.nats.waiting[token] = queue.Queue()
        waiting.append(token)
        world.nats.publish("postbus.rpc.verifier.route", {"domain": domain("many")}, token)
    assert all(b'"enforce"' in world.nats.waiting[token].get(timeout=20) for token in waiting)
    assert world.policies.count("mta-sts.many.sts.test") == 1


def test_another_id_means_another_policy(world):
    assert policy(world, "changed") == good("changed")
    world.hosts["mta-sts.changed.sts.test"]["body"] = GOOD.format(domain("changed")).replace("enforce", "testing")
    assert policy(world, "changed") == good("changed")
    announce(world, "changed", '"v=STSv1; id=2;"')
    assert policy(world, "changed") == {**good("changed"), "mode": "testing"}
    assert world.policies.count("mta-sts.changed.sts.test") == 2


def test_what_cannot_be_fetched_again_leaves_the_old_policy(world):
    assert policy(world, "failing") == good("failing")
    world.hosts["mta-sts.failing.sts.test"]["status"] = 500
    announce(world, "failing", '"v=STSv1; id=2;"')
    for _ in range(2):
        answer = route(world, "failing")
        assert answer["mta_sts"] == good("failing") and answer["mta_sts_failure"]["result"] == "sts-policy-fetch-error"
    assert world.policies.count("mta-sts.failing.sts.test") == 2  # RFC 8461 3.3: not again within five minutes


@pytest.mark.parametrize("value", [NODATA, SERVFAIL])
def test_a_policy_holds_though_its_announcement_is_gone(world, value):
    """RFC 8461 5.1, 10.2: who can block the TXT record cannot turn the policy off."""
    world.dns.update({("_mta-sts.gone.sts.test", "TXT"): ID})
    time.sleep(1.2)
    assert policy(world, "gone") == good("gone")
    announce(world, "gone", value)
    assert policy(world, "gone") == good("gone")


def test_a_policy_ends_with_its_max_age(world):
    assert policy(world, "short")["max_age"] == 2
    announce(world, "short", NODATA)
    assert policy(world, "short")
    time.sleep(1.2)
    assert policy(world, "short") is None


def test_announcement_and_host_may_be_aliases(world):
    assert policy(world, "alias") == good("alias")


def test_exactly_one_record_counts(world):
    assert policy(world, "two") is None  # RFC 8461 3.1: two that begin with the version
    assert policy(world, "beside") == good("beside")  # others are discarded first
    assert policy(world, "malformed") is None
    assert not world.policies.count("mta-sts.two.sts.test") and not world.policies.count("mta-sts.malformed.sts.test")


def test_parameters_of_the_media_type_do_not_matter(world):
    assert policy(world, "other-case") == good("other-case")


def test_a_policy_of_70_kilobytes_is_refused(world):
    assert failure(world, "large") == "sts-policy-fetch-error"


def test_a_certificate_that_expired_is_refused(world):
    assert failure(world, "expired") == "sts-webpki-invalid"


def test_a_host_that_does_not_answer_is_a_failed_fetch(world):
    assert failure(world, "unreachable") == "sts-policy-fetch-error"


def test_a_forged_announcement_is_temporary(world):
    """The TXT record's DNSSEC signature does not hold: whether the domain asks for TLS is not known, so nothing is sent now."""
    answer = world.rpc("verifier.route", domain="sts.signed")
    assert answer["result"] == "tempfail" and answer["dnssec"] == "bogus" and "MTA-STS" in answer["reason"]


def test_a_host_that_stalls_is_a_failed_fetch_in_time_and_delays_nobody(world):
    for _ in range(20):
        start = time.monotonic()
        assert policy(world, "kept") and time.monotonic() - start < 2
    assert b'"sts-policy-fetch-error"' in world.nats.waiting[world.stalled].get(timeout=20)
    assert time.monotonic() - world.stalled_since < 40


def test_a_policy_survives_a_restart_and_a_redis_that_is_away(world):
    assert policy(world, "memory") == good("memory")
    wait_until("the policy to be noted in the store", lambda: world.redis("EXISTS", f"v:sts:{domain('memory')}").strip() == "1")
    world.hosts["mta-sts.memory.sts.test"]["status"] = 500
    world.restart("verifier")
    assert policy(world, "memory") == good("memory")
    world.stop("redis")
    announce(world, "memory", NODATA)
    assert policy(world, "memory") == good("memory")
    world.start_redis()
    wait_until("the verifier to be connected to Redis again", lambda: world._healthy("verifier"))
    assert policy(world, "memory") == good("memory") and world.policies.count("mta-sts.memory.sts.test") == 1
