"""DKIM keys and their roll-over: accounts keeps the states, the verifier looks into DNS and moves them, and mail verifies before, during and after."""
import base64
import concurrent.futures
import hashlib
import json
import os
import re
import subprocess
import time
import urllib.request

import dkim
import pytest

from postbus_test.nats import Nats
from postbus_test.scripted_dns import SERVFAIL, ScriptedDns
from postbus_test.site import BIN, ROOT, Site, free_port, wait_until

HEADER, BODY = b"From: a@%s\r\nSubject: hello\r\n", b"hello\r\n"
RETIRED = 2


@pytest.fixture(scope="module")
def site():
    dns = ScriptedDns({}, ttl=1)
    dns.negative_ttl = 1
    s = Site(settings={"POSTBUS_RESOLVER_STUBS": f"test={dns.address}", "POSTBUS_DKIM_ROTATE": "0", "POSTBUS_DKIM_RETIRED": f"{RETIRED}s", "POSTBUS_DKIM_CLOCK": "1s", "POSTBUS_DKIM_KEYS_SECONDS": 1})
    s.start("accounts", "verifier", "admin")
    s.dns = dns
    yield s
    s.end()
    dns.end()


def add(site, domain):
    assert "error" not in site.rpc("accounts.domain.add", domain=domain)


def keys(site, domain):
    """{selector: key} as the API shows them."""
    status, answer = site.api("GET", f"/api/v1/domains/{domain}/keys")
    assert status == 200, answer
    return {k["selector"]: k for k in answer["keys"]}


def states(site, domain):
    return sorted(k["state"] for k in keys(site, domain).values())


def rotate(site, domain, now=False):
    status, answer = site.api("POST", f"/api/v1/domains/{domain}/keys/rotate" + ("?now" if now else ""))
    assert status == 200, answer
    return {k["selector"] for k in answer["keys"] if k["state"] == "published"}


def records(site, domain):
    """{name: text} of the DKIM records that the domain should publish."""
    found = site.rpc("verifier.dns.records", domain=domain)["records"]
    return {r["name"]: "".join(re.findall(r'"([^"]*)"', r["value"])) for r in found if "_domainkey" in r["name"]}


def publish(site, domain, only=lambda text: text):
    """What an operator does (or Knot, where Postbus serves the zone)."""
    quoted = lambda text: " ".join(f'"{text[i:i + 200]}"' for i in range(0, len(text), 200))
    site.dns.update({(name, "TXT"): quoted(only(text)) for name, text in records(site, domain).items()})


def sign(site, domain):
    header = HEADER % domain.encode()
    answer = site.rpc("verifier.sign", id="x", domain=domain, header_b64=base64.b64encode(header).decode(), body_hash_b64=base64.b64encode(hashlib.sha256(BODY).digest()).decode())
    return answer["headers"].encode() + header + b"\r\n" + BODY


def signers(message):
    """The selectors of its signatures."""
    return {s.decode() for s in re.findall(rb"[;\s]s=([^;]+);", message.split(b"\r\nFrom: ")[0])}


def verifies(site, message, domain):
    known = records(site, domain)
    count = message.count(b"DKIM-Signature:")
    return [dkim.DKIM(message).verify(idx=i, dnsfunc=lambda name, timeout=5: known[name.decode().rstrip(".")].encode()) for i in range(count)]


def test_a_new_domain_signs_at_once_with_both_keys(site):
    add(site, "new.test")
    assert states(site, "new.test") == ["active", "active"]
    assert {k["algorithm"] for k in keys(site, "new.test").values()} == {"rsa", "ed25519"}
    assert verifies(site, sign(site, "new.test"), "new.test") == [True, True]


def test_known_keys_sign_while_accounts_is_away(site):
    add(site, "away.test")
    sign(site, "away.test")
    site.stop("accounts")
    try:
        time.sleep(1.5)  # POSTBUS_DKIM_KEYS_SECONDS is over
        assert signers(sign(site, "away.test")) and signers(sign(site, "away.test")), "mail cannot leave while accounts is away"
        assert site.rpc("verifier.sign", id="x", domain="unseen.test", header_b64="eA==", body_hash_b64=base64.b64encode(hashlib.sha256(BODY).digest()).decode())["error"]["code"] == "unavailable"
    finally:
        site.start("accounts")


def test_a_whole_roll_over(site):
    heard = []
    site.nats.subscribe("postbus.account.changed.roll.test", lambda _s, _r, body: heard.append(json.loads(body)["data"]))
    add(site, "roll.test")
    publish(site, "roll.test")
    old_mail, old = sign(site, "roll.test"), set(keys(site, "roll.test"))
    new = rotate(site, "roll.test")
    assert len(new) == 2 and not new & old
    assert len(records(site, "roll.test")) == 4, "the new ones are published beside the old ones"
    for _ in range(3):
        assert signers(sign(site, "roll.test")) == old, "a key that is not in DNS must sign nothing"
    assert all("seen" not in keys(site, "roll.test")[s] and "publish this record" in keys(site, "roll.test")[s]["note"] for s in new)

    publish(site, "roll.test")
    wait_until("the new keys to be active", lambda: all(keys(site, "roll.test")[s]["state"] == "active" for s in new))
    now = keys(site, "roll.test")
    assert all(now[s]["state"] == "retired" and "revoked" not in now[s] for s in old)
    wait_until("the new keys to sign", lambda: signers(sign(site, "roll.test")) == new)
    assert verifies(site, old_mail, "roll.test") == [True, True], "mail on its way must verify still"
    stored = json.loads(site.redis("HGET", "a:{roll.test}:k", sorted(old)[0]))
    assert "private_pem" not in stored, "nobody needs a retired key's private half"

    wait_until("the retired keys to go", lambda: set(keys(site, "roll.test")) == new, RETIRED + 15)
    assert {name.split(".")[0] for name in records(site, "roll.test")} == new
    for change in ("created", "changed", "deleted"):
        wait_until(f"the news of a key {change}", lambda: [e for e in heard if e["what"] == "key" and e["change"] == change], 5)
    again = rotate(site, "roll.test")
    assert not again & (old | new), "a selector is never used twice"


def test_a_roll_over_waits_for_whoever_publishes(site):
    add(site, "elsewhere.test")
    new = rotate(site, "elsewhere.test")
    publish(site, "elsewhere.test", lambda text: text[:-4] + "AAAA")  # mangled on the way
    site.dns.update({(f"{next(s for s in new if s[0] == 'e')}._domainkey.elsewhere.test", "TXT"): SERVFAIL})
    before = site.dns.count(f"{next(s for s in new if s[0] == 'r')}._domainkey.elsewhere.test")
    wait_until("three looks at DNS", lambda: site.dns.count(f"{next(s for s in new if s[0] == 'r')}._domainkey.elsewhere.test") >= before + 3, 30)
    waiting = urllib.request.urlopen(f"http://127.0.0.1:{site.http['verifier']}/metrics").read().decode()
    assert re.search(r"^postbus_verifier_dkim_rotations_waiting [1-9]", waiting, re.M), "the operator can be told by an alert"
    assert all(keys(site, "elsewhere.test")[s]["state"] == "published" and "seen" not in keys(site, "elsewhere.test")[s] for s in new)
    assert site.rpc("accounts.key.activate", domain="elsewhere.test", selectors=sorted(new))["error"]["code"] == "exists", "what was not seen must not sign, whoever asks"
    site.rpc("accounts.key.seen", domain="elsewhere.test", seen=sorted(new), unseen=[], ttl=3600)
    assert all("ready" in keys(site, "elsewhere.test")[s] for s in new)


def test_what_disappears_from_dns_before_the_switch_does_not_sign(site):
    add(site, "gone.test")
    new = rotate(site, "gone.test")
    site.dns.ttl = 2
    publish(site, "gone.test")
    wait_until("the new keys to be seen", lambda: all("seen" in keys(site, "gone.test")[s] for s in new))
    for s in new:
        del site.dns.script[(f"{s}._domainkey.gone.test", "TXT")]
    site.dns.ttl = 1
    wait_until("them to be unseen again", lambda: not any("seen" in keys(site, "gone.test")[s] for s in new), 15)
    assert states(site, "gone.test") == ["active", "active", "published", "published"]


def test_a_domain_without_keys_gets_some(site):
    add(site, "keyless.test")
    site.redis("DEL", "a:{keyless.test}:k")
    assert len(rotate(site, "keyless.test")) == 2
    assert site.api("POST", "/api/v1/domains/nowhere.test/keys/rotate")[0] == 404


def test_asked_twice_or_at_once_it_is_done_once(site):
    add(site, "twice.test")
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: site.new_nats().request("accounts.key.rotate", {"domain": "twice.test"}), range(6)))
    assert sum(bool(a["changed"]) for a in answers) == 1, answers
    assert states(site, "twice.test") == ["active", "active", "published", "published"]
    active = [s for s, k in keys(site, "twice.test").items() if k["state"] == "published"]
    site.rpc("accounts.key.seen", domain="twice.test", seen=active, unseen=[], ttl=60)
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: site.new_nats().request("accounts.key.activate", {"domain": "twice.test", "selectors": active}), range(6)))
    assert sum(bool(a["changed"]) for a in answers) == 1, answers
    assert states(site, "twice.test")[:2] == ["active", "active"] and "published" not in states(site, "twice.test")
    assert site.rpc("accounts.key.remove", domain="twice.test", selectors=active) == {"changed": []}, "an active key must not go"


def test_a_compromised_key_is_revoked_with_the_switch(site):
    add(site, "leak.test")
    old = set(keys(site, "leak.test"))
    site.dns.ttl = 3600  # nobody waits for it
    slow = rotate(site, "leak.test")
    new = rotate(site, "leak.test", now=True)
    assert not new & (old | slow) and not slow & set(keys(site, "leak.test")), "keys made before the leak was known are no use either"
    assert rotate(site, "leak.test", now=True) == new
    publish(site, "leak.test")
    wait_until("the new keys to be active", lambda: all(keys(site, "leak.test")[s]["state"] == "active" for s in new), 10)
    site.dns.ttl = 1
    for s in old:
        assert keys(site, "leak.test")[s]["revoked"] and keys(site, "leak.test")[s]["public_b64"] == ""
        assert re.fullmatch(r"v=DKIM1; k=(rsa|ed25519); p=", records(site, "leak.test")[f"{s}._domainkey.leak.test"])
    assert signers(sign(site, "leak.test")) == new


def test_the_command_line(site):
    def cli(*words):
        done = subprocess.run([BIN / "cli", *words], capture_output=True, text=True, timeout=30,
                              env={**os.environ, "POSTBUS_API": f"http://127.0.0.1:{site.ports['api']}", "POSTBUS_TOKEN_FILE": str(site.secrets / "admin.token")})
        return done.returncode, done.stdout + done.stderr
    add(site, "shell.test")
    status, out = cli("key", "list", "shell.test")
    assert status == 0 and out.count("\tactive\t") == 2 and "._domainkey.shell.test. TXT \"v=DKIM1; k=rsa; p=MII" in out
    status, out = cli("key", "rotate", "shell.test")
    assert status == 0 and out.count("\tpublished\t") == 2 and out.count("publish this record") == 2
    status, out = cli("key", "rotate", "shell.test", "--now", "--json")
    assert status == 0 and sum("urgent" in k for k in json.loads(out)["keys"]) == 2
    assert cli("key", "list", "nowhere.test")[0] == 1


def test_private_halves_are_for_the_verifier_alone(site):
    admin = Nats(site.nats_port, "admin", (site.secrets_root / "admin/nats.password").read_text().strip())
    assert "private" not in json.dumps(admin.request("accounts.key.list", {"domain": "new.test"}))
    for verb in ("get", "seen", "activate", "remove"):
        with pytest.raises(TimeoutError):
            admin.request(f"accounts.key.{verb}", {"domain": "new.test"}, seconds=0.2)


def test_keys_from_before_the_states_go_on_signing(site):
    add(site, "grown.test")
    for selector in keys(site, "grown.test"):
        key = json.loads(site.redis("HGET", "a:{grown.test}:k", selector))
        del key["state"], key["changed"]
        site.redis("HSET", "a:{grown.test}:k", selector, json.dumps(key))
    assert states(site, "grown.test") == ["active", "active"]
    assert verifies(site, sign(site, "grown.test"), "grown.test") == [True, True]


def test_with_our_own_zone_nobody_does_anything(site):
    """A real Knot serves the zone that the verifier publishes; the TTL of an hour is not waited for when a key is compromised."""
    port = free_port()
    dig = lambda name: subprocess.run(["kdig", "@127.0.0.1", "-p", str(port), "+short", name, "TXT"], capture_output=True, text=True).stdout
    site._spawn("knot", ["sh", ROOT / "deploy/knot/start"], {**os.environ, "POSTBUS_HOSTNAME": "mx.alpha.test", "POSTBUS_DNS_LISTEN": f"127.0.0.1@{port}", "POSTBUS_DNS_STORAGE": str(site.dir / "zones"),
                                                             "POSTBUS_DNS_RUN": str(site.dir / "knot"), "POSTBUS_SECRETS": str(site.secrets_root / "knot")})
    before = dict(site.settings)
    site.settings.update({"POSTBUS_DNS_SERVER": f"127.0.0.1@{port}", "POSTBUS_RESOLVER_STUBS": f"test=127.0.0.1@{port}"})
    site.restart("verifier")
    add(site, "served.test")
    old = set(keys(site, "served.test"))
    wait_until("the zone", lambda: all("p=" in dig(f"{s}._domainkey.served.test") for s in old))
    new = rotate(site, "served.test", now=True)
    wait_until("the new keys to sign", lambda: all(keys(site, "served.test")[s]["state"] == "active" for s in new))
    wait_until("the old ones to be revoked in the zone", lambda: all(dig(f"{s}._domainkey.served.test").strip().endswith('p="') for s in old))
    site.settings = before
    site.restart("verifier")
    site.stop("knot")


def test_keys_grow_old_and_another_replica_takes_over(site):
    """Two verifiers; the one that has the lease is killed; the roll-over goes on all the same."""
    site.settings["POSTBUS_DKIM_ROTATE"] = "3s"
    site.restart("verifier")
    env = {**site.environment("verifier"), "POSTBUS_HTTP": f"127.0.0.1:{free_port()}"}
    site._spawn("verifier2", [BIN / "verifier"], env)
    add(site, "old.test")
    first = set(keys(site, "old.test"))

    wait_until("new keys by themselves", lambda: set(keys(site, "old.test")) - first, 20)
    site.kill("verifier")
    publish(site, "old.test")
    wait_until("the switch, by the other replica", lambda: all(keys(site, "old.test").get(s, {"state": "retired"})["state"] == "retired" for s in first), 30)
    assert site.stop("verifier2") == 0
    assert "Sanitizer" not in site.log("verifier2")
    site.settings["POSTBUS_DKIM_ROTATE"] = "0"
    site.start("verifier")
