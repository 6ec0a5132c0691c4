"""Zones on an authoritative server, published by the verifier: this site's Knot as it is deployed, its DNSSEC, its secondaries; and what must never be destroyed."""
import base64
import subprocess
import time

import dns.dnssec
import dns.rdata
import dns.update
import dns.query
import dns.tsigkeyring
import pytest

from postbus_test.authorities import Bind, SecondaryKnot, SiteKnot
from postbus_test.site import Site, free_port, wait_until

HOST = "mx.alpha.test"
SECONDARY_KEY = ("second", "hmac-sha256", base64.b64encode(b"secondary-secret-of-the-tests-32").decode())


@pytest.fixture(scope="module")
def world():
    site = Site(HOST, settings={"POSTBUS_PUBLIC_ADDRESSES": "192.0.2.10,2001:db8::10", "POSTBUS_DNS_PUBLISH_SECONDS": 1, "POSTBUS_DNS_GONE_SECONDS": 1, "POSTBUS_DNS_CHECK_SECONDS": 0})
    tsig = (site.secrets_root / "verifier/tsig.key").read_text().strip()
    ports = [free_port(), free_port()]
    knot = SiteKnot(HOST, tsig, {"POSTBUS_DNS_SECONDARIES": f"127.0.0.1@{ports[0]}#second,127.0.0.1@{ports[1]}", "POSTBUS_DNS_PROPAGATION": "1", "POSTBUS_DNS_DNSKEY_TTL": "1"},
                    secondary_keys=":".join((SECONDARY_KEY[1], SECONDARY_KEY[0], SECONDARY_KEY[2])) + "\n")
    site.settings["POSTBUS_DNS_SERVER"] = knot.address
    site.knot, site.secondary_ports, site.tsig = knot, ports, tsig.split(":")
    try:
        site.start("accounts", "verifier", "admin")
        yield site
    finally:
        site.end()
        knot.end()


def add_domain(site, domain):
    added = site.rpc("accounts.domain.add", domain=domain)
    assert "error" not in added, added
    wait_until(f"the zone of {domain} (see {site.dir}/verifier.log)", lambda: site.knot.records(domain, "MX"))


def change_by_hand(site, zone, change):
    """What a person does with nsupdate."""
    algorithm, name, secret = site.tsig
    update = dns.update.Update(zone, keyring=dns.tsigkeyring.from_text({name: secret}), keyalgorithm=algorithm)
    change(update)
    answer = dns.query.tcp(update, "127.0.0.1", port=site.knot.port, timeout=5)
    assert answer.rcode() == 0, answer


def secure(authority, name, kind):
    """Whether unbound, with the zone's key-signing key as its anchor, finds the answer secure."""
    zone = ".".join(name.split(".")[-2:])
    keys = [k for k in authority.records(zone, "DNSKEY") if k.startswith("257")]
    (authority.dir / "anchor").write_text("".join(f"{zone}. 3600 IN DNSKEY {k}\n" for k in keys))
    (authority.dir / "unbound.conf").write_text(
        f'server:\n do-not-query-localhost: no\n local-zone: "test." nodefault\n trust-anchor-file: "{authority.dir}/anchor"\nstub-zone:\n name: "{zone}"\n stub-addr: {authority.address}\n')
    said = subprocess.run(["unbound-host", "-C", str(authority.dir / "unbound.conf"), "-v", "-t", kind, name], capture_output=True, text=True).stdout
    return bool(said) and all("(secure)" in line for line in said.splitlines())


def event(site, domain, what="domain", change="changed"):
    """An event of accounts, as it might come at any time, also late or twice."""
    site.nats.publish(f"postbus.account.changed.{domain}", (
        {"specversion": "1.0", "id": "01JDADM0000000000000000001", "source": "/accounts/test", "type": "postbus.account.changed", "subject": domain, "time": "2026-11-24T00:00:00.000Z",
         "datacontenttype": "application/json", "data": {"domain": domain, "what": what, "name": domain, "change": change}}))


def test_a_new_domain_gets_its_zone(world):
    add_domain(world, "alpha.test")
    knot = world.knot
    assert knot.records("alpha.test", "MX") == ["10 mx.alpha.test."]
    assert knot.records("mx.alpha.test", "A") == ["192.0.2.10"] and knot.records("mx.alpha.test", "AAAA") == ["2001:db8::10"]
    assert knot.texts("alpha.test") == ["v=spf1 ip4:192.0.2.10 ip6:2001:db8::10 mx -all"]
    assert knot.texts("_dmarc.alpha.test") == ["v=DMARC1; p=quarantine; rua=mailto:dmarc-reports@alpha.test"]
    assert knot.texts("_smtp._tls.alpha.test") == ["v=TLSRPTv1; rua=mailto:tls-reports@alpha.test"]
    assert knot.records("_imaps._tcp.alpha.test", "SRV") == ["0 1 993 mx.alpha.test."]
    assert knot.records("_autodiscover._tcp.alpha.test", "SRV") == ["0 1 443 mx.alpha.test."]
    assert knot.records("autoconfig.alpha.test", "CNAME") == ["mx.alpha.test."] == knot.records("autodiscover.alpha.test", "CNAME")
    assert knot.records("_25._tcp.mx.alpha.test", "TLSA")[0].startswith("3 1 1 ")
    keys = [r for r in world.rpc("verifier.dns.records", domain="alpha.test")["records"] if "_domainkey" in r["name"]]
    assert len(keys) == 2
    for key in keys:
        assert "".join(key["value"].split('" "')).strip('"') == knot.texts(key["name"])[0]


def test_the_zone_is_signed_and_the_parent_is_told_by_ds_records(world):
    keys = wait_until("a signed zone", lambda: world.knot.records("alpha.test", "DNSKEY"))
    assert sorted(k.split()[0] for k in keys) == ["256", "257"], "a key for the zone, and a key-signing key"
    assert secure(world.knot, "alpha.test", "MX") and secure(world.knot, "_25._tcp.mx.alpha.test", "TLSA") and secure(world.knot, "nothing.alpha.test", "A")
    entry = next(k for k in keys if k.startswith("257"))
    made = dns.dnssec.make_ds("alpha.test.", dns.rdata.from_text("IN", "DNSKEY", entry), "SHA256").to_text().lower()
    wait_until("DS records in the answer", lambda: [d.lower() for d in world.rpc("verifier.dns.records", domain="alpha.test")["ds"]] == [made])
    status, text = world.api("GET", "/api/v1/domains/alpha.test/dns", headers={"Accept": "text/plain"})
    assert status == 200 and f"; alpha.test. 3600 in ds {made}" in text.decode().lower().replace("\t", " ")


def test_what_is_not_ours_stays(world):
    """Other TXT records at the apex, other hosts, another MX, and a host with the same name as one of ours."""
    change_by_hand(world, "alpha.test", lambda u: (u.add("alpha.test.", 300, "TXT", '"google-site-verification=abc"'), u.add("www.alpha.test.", 300, "A", "198.51.100.7"),
                                                   u.add("alpha.test.", 300, "MX", "20 backup.far.test."), u.add("_dmarc.alpha.test.", 300, "TXT", '"some note of a person"')))
    assert world.rpc("accounts.domain.set", domain="alpha.test", dns={"dmarc_policy": "reject"})["dns"] == {"dmarc_policy": "reject"}
    wait_until("the new policy", lambda: any("p=reject" in t for t in world.knot.texts("_dmarc.alpha.test")))
    assert world.knot.texts("_dmarc.alpha.test") == ["some note of a person", "v=DMARC1; p=reject; rua=mailto:dmarc-reports@alpha.test"]
    assert world.knot.texts("alpha.test") == ["google-site-verification=abc", "v=spf1 ip4:192.0.2.10 ip6:2001:db8::10 mx -all"]
    assert world.knot.records("www.alpha.test", "A") == ["198.51.100.7"]
    assert world.knot.records("alpha.test", "MX") == ["10 mx.alpha.test.", "20 backup.far.test."]


def test_a_second_spf_record_is_replaced_for_two_are_an_error(world):
    change_by_hand(world, "alpha.test", lambda u: u.add("alpha.test.", 300, "TXT", '"v=spf1 +all"'))
    wait_until("one SPF record", lambda: [t for t in world.knot.texts("alpha.test") if t.startswith("v=spf1")] == ["v=spf1 ip4:192.0.2.10 ip6:2001:db8::10 mx -all"])
    assert "google-site-verification=abc" in world.knot.texts("alpha.test")


def test_a_name_that_somebody_uses_is_left_alone_and_told(world):
    change_by_hand(world, "alpha.test", lambda u: (u.delete("autoconfig.alpha.test."), u.delete("_pop3._tcp.alpha.test.")))
    change_by_hand(world, "alpha.test", lambda u: (u.add("autoconfig.alpha.test.", 300, "A", "198.51.100.9"), u.add("_pop3._tcp.alpha.test.", 300, "CNAME", "elsewhere.far.test.")))
    event(world, "alpha.test")
    wait_until("a word about it", lambda: "records that could not be published" in world.log("verifier"))
    assert world.knot.records("autoconfig.alpha.test", "A") == ["198.51.100.9"] and not world.knot.records("autoconfig.alpha.test", "CNAME")
    assert world.knot.records("_pop3._tcp.alpha.test", "CNAME") == ["elsewhere.far.test."]
    line = next(x for x in world.log("verifier").splitlines() if "records that could not be published" in x)
    assert "autoconfig.alpha.test" in line or "_pop3._tcp.alpha.test" in line


def test_records_that_are_no_longer_wanted_go(world):
    """A DKIM selector that accounts does not have any more; a setting that is taken back."""
    add_domain(world, "keys.test")
    old = next(r["name"] for r in world.rpc("verifier.dns.records", domain="keys.test")["records"] if r["name"].startswith("r") and "_domainkey" in r["name"])
    wait_until("the key", lambda: world.knot.texts(old))
    world.rpc("accounts.domain.set", domain="keys.test", dns={"caa": ["letsencrypt.org", "iodef:mailto:sec@keys.test"], "bimi_location": "https://keys.test/logo.svg"})
    wait_until("CAA", lambda: world.knot.records("keys.test", "CAA") == ['0 iodef "mailto:sec@keys.test"', '0 issue "letsencrypt.org"'])
    wait_until("BIMI", lambda: world.knot.texts("default._bimi.keys.test") == ["v=BIMI1; l=https://keys.test/logo.svg;"])
    world.restart("verifier")  # what was published is not forgotten with the process
    world.redis("HDEL", "a:{keys.test}:k", old.split(".")[0])
    world.rpc("accounts.domain.set", domain="keys.test", dns={"caa": None, "bimi_location": None})
    wait_until("the old key to go", lambda: not world.knot.texts(old))
    wait_until("the others to go", lambda: not world.knot.records("keys.test", "CAA") and not world.knot.texts("default._bimi.keys.test"))
    assert world.knot.records("keys.test", "MX")


def test_long_texts_and_permissions_for_reports(world):
    add_domain(world, "long.test")
    uris = ",".join(f"mailto:a-rather-long-name-for-a-mailbox-{i}@keys.test" for i in range(9))
    world.rpc("accounts.domain.set", domain="long.test", dns={"dmarc_rua": uris})
    wait_until("a text in several strings", lambda: world.knot.texts("_dmarc.long.test") == [f"v=DMARC1; p=quarantine; rua={uris}"])
    # the domain that gets the reports is hosted here too: it agrees to that, in its own zone
    wait_until("the permission in the other zone", lambda: world.knot.texts("long.test._report._dmarc.keys.test") == ["v=DMARC1"])
    world.rpc("accounts.domain.set", domain="long.test", dns={"dmarc_rua": None})
    wait_until("the permission to go", lambda: not world.knot.texts("long.test._report._dmarc.keys.test"))


def test_a_domain_inside_another_has_its_records_in_that_zone(world):
    added = world.rpc("accounts.domain.add", domain="sub.keys.test")
    assert "error" not in added
    wait_until("its MX", lambda: world.knot.records("sub.keys.test", "MX") == ["10 mx.alpha.test."])
    assert world.knot.records("sub.keys.test", "SOA") == [], "no zone that its parent does not know of"
    assert world.rpc("accounts.domain.delete", domain="sub.keys.test") == {}
    wait_until("its records to go", lambda: not world.knot.records("sub.keys.test", "MX"))
    assert world.knot.records("keys.test", "MX")


def test_a_domain_above_one_that_has_a_zone_delegates_it_with_its_keys(world):
    """Without that, the upper zone's signatures prove that the lower one is not there."""
    add_domain(world, "low.upper.test")
    assert world.knot.records("low.upper.test", "SOA")
    add_domain(world, "upper.test")
    ds = wait_until("the DS in the upper zone", lambda: world.knot.records("low.upper.test", "DS"))
    assert sorted(d.lower() for d in world.rpc("verifier.dns.records", domain="low.upper.test")["ds"]) == [d.lower() for d in ds]
    wait_until("a chain from the upper zone's key to the lower zone", lambda: secure(world.knot, "low.upper.test", "MX"))
    assert world.rpc("accounts.domain.delete", domain="low.upper.test") == {}
    wait_until("the delegation to go", lambda: not world.knot.records("low.upper.test", "DS") and not world.knot.records("low.upper.test", "SOA"))
    assert secure(world.knot, "low.upper.test", "NS"), "the upper zone proves that there is nothing"


def test_a_deleted_domain_loses_its_zone_and_an_event_alone_is_not_believed(world):
    event(world, "long.test", change="deleted")  # late, repeated or false: accounts still has the domain
    event(world, "long.test", change="deleted")
    wait_until("the doubt", lambda: "said to be gone, but is here" in world.log("verifier"))
    assert world.knot.records("long.test", "MX")
    assert world.rpc("accounts.domain.delete", domain="long.test") == {}
    wait_until("the zone to go", lambda: not world.knot.records("long.test", "SOA"))


def test_a_zone_that_was_missed_in_the_list_goes_only_when_accounts_denies_it(world):
    add_domain(world, "stray.test")
    world.redis("ZREM", "a:domains", "stray.test")  # a list that is not whole: accounts still knows the domain
    time.sleep(4)
    assert world.knot.records("stray.test", "MX"), "a zone was removed on the word of a list"
    world.redis("DEL", "a:{stray.test}:d", "a:{stray.test}:k")
    wait_until("the zone to go", lambda: not world.knot.records("stray.test", "SOA"))


def test_an_empty_list_of_domains_removes_nothing(world):
    names = world.redis("ZRANGE", "a:domains", 0, -1).split()
    world.redis("DEL", "a:domains")
    try:
        wait_until("the doubt", lambda: "the list of hosted domains is empty" in world.log("verifier"))
        time.sleep(2)
        assert all(world.knot.records(name, "MX") for name in names)
    finally:
        world.redis("ZADD", "a:domains", *[x for name in names for x in (0, name)])


def test_secondaries_get_every_change(world):
    """A Knot and a BIND that know catalog zones: both find the domains by themselves; the first must show a key."""
    second = SecondaryKnot(world.knot.address, SECONDARY_KEY, world.secondary_ports[0])
    third = Bind({}, SECONDARY_KEY, port=world.secondary_ports[1], secondary_of=f"127.0.0.1 port {world.knot.port}",
                 options=f'catalog-zones {{ zone "catalog.postbus" default-primaries {{ 127.0.0.1 port {world.knot.port}; }} in-memory yes; }}; allow-notify {{ 127.0.0.1; }};')
    try:
        for server in (second, third):
            wait_until(f"the zones on a secondary (see {server.dir}/log)", lambda: server.records("alpha.test", "MX") == world.knot.records("alpha.test", "MX"))
        world.rpc("accounts.domain.set", domain="alpha.test", dns={"dmarc_policy": "none"})
        for server in (second, third):
            wait_until(f"the change on a secondary, told by NOTIFY (see {server.dir}/log)", lambda: any("p=none" in t for t in server.texts("_dmarc.alpha.test")))
        assert "IXFR" in second.log() and server.ask("alpha.test", "SOA", dnssec=True).answer[1:], "signatures come along"
    finally:
        second.end()
        third.end()


def test_the_zone_key_is_rolled_over_and_the_zone_stays_valid(world):
    knot = world.knot
    before = {k for k in knot.records("keys.test", "DNSKEY")}
    assert "OK" in knot.control("zone-key-rollover", "keys.test", "zsk")

    def valid():
        assert secure(knot, "keys.test", "MX"), "the zone was bogus during the roll-over"
        return set(knot.records("keys.test", "DNSKEY"))
    wait_until("the new key", lambda: valid() - before, 60)
    # the old one stays until every signature by it is forgotten (the zone's TTL of an hour)
    signer = lambda: knot.ask("keys.test", "MX", dnssec=True).answer[1][0].key_tag
    old = {dns.dnssec.key_id(dns.rdata.from_text("IN", "DNSKEY", k)) for k in before}
    wait_until("signatures by the new key", lambda: valid() and signer() not in old, 60)


def test_the_store_is_away_and_nothing_is_published_until_it_is_back(world):
    world.kill("redis")
    event(world, "alpha.test")
    wait_until("the reason", lambda: "a zone cannot be brought up to date" in world.log("verifier"))
    world.start_redis()
    assert world.knot.records("alpha.test", "MX")


def test_the_key_that_the_parent_vouches_for_is_rolled_over_with_it():
    """The parent's zone is with others (BIND here). Knot asks it for the DS, and goes on when the new one is there; at no time is the zone bogus."""
    key = ("parent", "hmac-sha256", SECONDARY_KEY[2])
    parent = Bind({"parent.test": "child IN NS ns.child\nns.child IN A 127.0.0.1\n"}, key)
    site = Site(HOST, settings={"POSTBUS_DNS_CHECK_SECONDS": 0, "POSTBUS_PUBLIC_ADDRESSES": "192.0.2.10"})
    knot = SiteKnot(HOST, (site.secrets_root / "verifier/tsig.key").read_text().strip(),
                    {"POSTBUS_DNS_PARENT": parent.address, "POSTBUS_DNS_DS_CHECK": "1", "POSTBUS_DNS_PROPAGATION": "1", "POSTBUS_DNS_DNSKEY_TTL": "1", "POSTBUS_DNS_KSK_LIFETIME": "0"})
    site.settings["POSTBUS_DNS_SERVER"] = knot.address

    def give_ds():
        """What a registrar does with what `postbus domain dns` says."""
        ds = site.rpc("verifier.dns.records", domain="child.parent.test")["ds"]
        update = dns.update.Update("parent.test", keyring=dns.tsigkeyring.from_text({key[0]: key[2]}), keyalgorithm=key[1])
        update.delete("child.parent.test.", "DS")
        for one in ds:
            update.add("child.parent.test.", 1, "DS", one)
        dns.query.tcp(update, "127.0.0.1", port=parent.port, timeout=5)
        return ds
    try:
        site.start("accounts", "verifier")
        site.rpc("accounts.domain.add", domain="child.parent.test")
        first = wait_until("the first DS", give_ds)
        wait_until("the parent to be believed", lambda: "KSK" in knot.log() and "submission" not in knot.control("-e", "zone-status", "child.parent.test") and "DS check, outgoing" in knot.log(), 30)
        assert "OK" in knot.control("zone-key-rollover", "child.parent.test", "ksk")

        def rolled():
            ds = give_ds()
            keys = [k for k in knot.records("child.parent.test", "DNSKEY") if k.startswith("257")]
            return ds != first and len(keys) == 1
        wait_until(f"one new key (see {knot.dir}/log)", rolled, 40)
    finally:
        site.end()
        knot.end()
        parent.end()
