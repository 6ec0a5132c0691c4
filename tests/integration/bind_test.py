"""Publishing to a server that is not ours: BIND, whose zones its operator made (POSTBUS_DNS_CATALOG is empty). And what is said when it refuses."""
import base64
import os
import socket
import threading

import dns.query
import dns.zone
import pytest

from postbus_test.authorities import Bind
from postbus_test.site import Site, wait_until

KEY = ("mail-update", "hmac-sha512", base64.b64encode(b"a secret of sixty-four bytes, as long as the hash of hmac-sha512").decode())
ZONES = {
    "bound.test": '@ IN TXT "google-site-verification=xyz"\n@ IN TXT "v=spf1 include:_spf.far.test ~all"\nwww IN A 198.51.100.1\n@ IN MX 5 old.far.test.\n',
    "above.test": "mail IN A 198.51.100.2\n",
    "locked.test": "",
}


def write_key(site, key):
    path = site.secrets_root / "verifier/tsig.key"
    os.chmod(path, 0o600)
    path.write_text(f"{key[1]}:{key[0]}:{key[2]}\n")


@pytest.fixture(scope="module")
def world():
    bind = Bind(ZONES, KEY)
    # a zone that this key may not change
    conf = (bind.dir / "named.conf").read_text()
    bind.end()
    line = next(x for x in conf.splitlines() if '"locked.test"' in x)
    (bind.dir / "named.conf").write_text(conf.replace(line, 'zone "locked.test" { type primary; file "locked.test.db"; allow-update { none; }; };'))
    bind.spawn(["named", "-g", "-c", bind.dir / "named.conf", "-n", "1"])
    wait_until("named again", lambda: bind.records("locked.test", "SOA"))
    site = Site(settings={"POSTBUS_DNS_SERVER": bind.address, "POSTBUS_DNS_CATALOG": "", "POSTBUS_PUBLIC_ADDRESSES": "192.0.2.10", "POSTBUS_DNS_CHECK_SECONDS": 0})
    write_key(site, KEY)
    site.bind = bind
    try:
        site.start("accounts", "verifier")
        yield site
    finally:
        site.end()
        bind.end()


def reason(site, domain):
    """What the verifier's log says about a zone that could not be brought up to date."""
    return wait_until(f"a reason for {domain} (see {site.dir}/verifier.log)",
                      lambda: next((x for x in reversed(site.log("verifier").splitlines()) if "cannot be brought up to date" in x and f'"{domain}"' in x), None))


def test_our_records_come_to_stand_beside_those_that_were_there(world):
    assert "error" not in world.rpc("accounts.domain.add", domain="bound.test")
    bind = world.bind
    wait_until(f"the DMARC record (see {world.dir}/verifier.log)", lambda: bind.texts("_dmarc.bound.test"))
    assert bind.texts("bound.test") == ["google-site-verification=xyz", "v=spf1 ip4:192.0.2.10 mx -all"]
    assert bind.records("bound.test", "MX") == ["10 mx.alpha.test.", "5 old.far.test."]
    assert bind.records("www.bound.test", "A") == ["198.51.100.1"]
    assert bind.records("_submissions._tcp.bound.test", "SRV") == ["0 1 465 mx.alpha.test."]
    assert len([r for r in world.rpc("verifier.dns.records", domain="bound.test")["records"] if bind.texts(r["name"]) and "_domainkey" in r["name"]]) == 2


def test_a_change_reaches_it_and_the_second_time_changes_nothing(world):
    serial = lambda: world.bind.records("bound.test", "SOA")
    world.rpc("accounts.domain.set", domain="bound.test", dns={"dmarc_policy": "reject", "mta_sts": "enforce"})
    wait_until("the policy", lambda: world.bind.texts("_dmarc.bound.test")[0].startswith("v=DMARC1; p=reject;"))
    assert world.bind.records("mta-sts.bound.test", "CNAME") == ["mx.alpha.test."]
    before = serial()
    world.restart("verifier")  # publishes everything at its start
    assert "error" not in world.rpc("accounts.domain.add", domain="sub.above.test")
    wait_until("what came after it", lambda: world.bind.records("sub.above.test", "MX"))
    assert serial() == before


def test_a_domain_below_a_zone_of_the_operator(world):
    assert world.bind.records("sub.above.test", "MX") == ["10 mx.alpha.test."] and world.bind.records("mail.above.test", "A") == ["198.51.100.2"]
    assert not world.bind.records("sub.above.test", "SOA")


def test_a_deleted_domain_takes_what_is_ours_and_nothing_else(world):
    assert world.rpc("accounts.domain.delete", domain="bound.test") == {}
    wait_until("our records to go", lambda: not world.bind.texts("_dmarc.bound.test"))
    assert world.bind.texts("bound.test") == ["google-site-verification=xyz"]
    assert world.bind.records("bound.test", "MX") == ["5 old.far.test."] and world.bind.records("www.bound.test", "A") == ["198.51.100.1"]
    zone = dns.zone.from_xfr(dns.query.xfr("127.0.0.1", "bound.test", port=world.bind.port))
    assert sorted(str(name) for name in zone.nodes) == ["@", "ns", "www"], "something of ours was left behind"


@pytest.mark.parametrize("domain, said", [("locked.test", "allow updates of the zone to this key"), ("nowhere.test", "no such zone")])
def test_a_refusal_says_what_to_do(world, domain, said):
    world.rpc("accounts.domain.add", domain=domain)
    assert said in reason(world, domain), reason(world, domain)
    # the others do not wait for it
    world.rpc("accounts.domain.set", domain="sub.above.test", dns={"dmarc_ruf": f"mailto:f@{domain}"})
    wait_until("a change of another domain", lambda: f"ruf=mailto:f@{domain}" in world.bind.texts("_dmarc.sub.above.test")[0], 5)
    world.rpc("accounts.domain.delete", domain=domain)


@pytest.mark.parametrize("key, said", [
    (("other-name", KEY[1], KEY[2]), "BADKEY"),
    ((KEY[0], "hmac-sha256", KEY[2]), "BADKEY"),
    ((KEY[0], KEY[1], base64.b64encode(b"wrong").decode()), "BADSIG"),
])
def test_a_wrong_key_says_which(world, key, said):
    world.stop("verifier")
    write_key(world, key)
    (world.dir / "verifier.log").unlink()
    world.start("verifier")
    try:
        assert said in reason(world, "sub.above.test")
    finally:
        world.stop("verifier")
        write_key(world, KEY)
        world.start("verifier")


def test_a_server_that_is_down_is_tried_again(world):
    world.bind.end()
    (world.dir / "verifier.log").unlink()
    world.restart("verifier")
    assert "no connection" in reason(world, "sub.above.test")
    assert world.rpc("verifier.dns.records", domain="sub.above.test")["ds"] == []


def test_two_servers_each_with_its_key_get_everything():
    keys = [("one", "hmac-sha256", base64.b64encode(b"first").decode()), ("two", "hmac-sha512", base64.b64encode(b"second").decode())]
    binds = [Bind({"both.test": text}, key) for key, text in zip(keys, ("", "@ IN TXT \"only here\"\n"))]
    site = Site(settings={"POSTBUS_DNS_SERVER": ",".join(b.address for b in binds), "POSTBUS_DNS_CATALOG": "", "POSTBUS_DNS_CHECK_SECONDS": 0})
    path = site.secrets_root / "verifier/tsig.key"
    os.chmod(path, 0o600)
    path.write_text("".join(f"{k[1]}:{k[0]}:{k[2]}\n" for k in keys))
    try:
        site.start("accounts", "verifier")
        site.rpc("accounts.domain.add", domain="both.test")
        for bind in binds:
            wait_until(f"the records (see {site.dir}/verifier.log)", lambda: bind.records("both.test", "MX"))
        assert "only here" in binds[1].texts("both.test")
    finally:
        site.end()
        for bind in binds:
            bind.end()


def test_an_answer_without_a_signature_is_not_believed():
    """Whoever sits between us and the server could say that everything is there already."""
    listener = socket.create_server(("127.0.0.1", 0))

    def lie():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream:
                while len(length := stream.read(2)) == 2:
                    wire = stream.read(int.from_bytes(length))
                    end = wire.index(b"\0", 12) + 5  # behind the question
                    answer = wire[:2] + b"\x84\0" + b"\0\1" + b"\0" * 6 + wire[12:end]
                    connection.sendall(len(answer).to_bytes(2) + answer)
    threading.Thread(target=lie, daemon=True).start()
    site = Site(settings={"POSTBUS_DNS_SERVER": f"127.0.0.1@{listener.getsockname()[1]}", "POSTBUS_DNS_CATALOG": "", "POSTBUS_DNS_CHECK_SECONDS": 0})
    try:
        site.start("accounts", "verifier")
        site.rpc("accounts.domain.add", domain="lied.test")
        assert "not signed with our TSIG key" in reason(site, "lied.test")
    finally:
        site.end()
        listener.close()
