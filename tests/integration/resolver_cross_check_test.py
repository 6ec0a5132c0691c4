"""What our resolver makes of signed zones, beside what Unbound's own tool makes of the same zones with the same trust anchors: the status of an answer and what DNSSEC says of it."""
import subprocess

import pytest

from postbus_test.dns import Knot
from postbus_test.dnssec import SignedZone, wrong_ds
from postbus_test.site import Site

RECORDS = """@ 60 IN TXT "here"
nothing 60 IN A 192.0.2.1
alias 60 IN CNAME @
far 60 IN CNAME alias
to-plain 60 IN CNAME there.plain.example.
to-nowhere 60 IN CNAME missing
*.wild 60 IN TXT "wild"
a.real.wild 60 IN TXT "real"
"""
NAMES = ["", "nothing.", "missing.", "alias.", "far.", "to-plain.", "to-nowhere.", "a.wild.", "b.a.wild.", "a.real.wild.", "other.real.wild."]
KINDS = ("secure", "expired", "altered", "wrong-ds", "stripped", "plain")


@pytest.fixture(scope="module")
def world():
    signed = {kind: SignedZone(f"{kind}.example", RECORDS, **({"start": "-7200", "end": "-3600"} if kind == "expired" else {})) for kind in KINDS}
    texts = {f"{kind}.example": zone.text for kind, zone in signed.items()}
    texts["altered.example"] = signed["altered"].altered('"here"', '"forged"')
    texts["stripped.example"] = "".join(line for line in signed["stripped"].text.splitlines(keepends=True) if not any(t in line for t in ("RRSIG", "NSEC", "DNSKEY", "CDS")))
    texts["plain.example"] = signed["plain"].text + "there.plain.example. 60 IN TXT \"there\"\n"
    knot = Knot(texts, whole=True)
    site = Site(settings={"POSTBUS_RESOLVER_STUBS": ",".join(f"{zone}={knot.address}" for zone in texts)})
    anchors = {kind: wrong_ds(zone.ds) if kind == "wrong-ds" else zone.ds for kind, zone in signed.items() if kind != "plain"}
    (site.dir / "islands.anchor").write_text("".join(anchors.values()))
    site.settings["POSTBUS_TRUST_ANCHOR"] = str(site.dir / "islands.anchor")
    stubs = "".join(f"stub-zone:\n  name: {zone}\n  stub-addr: {knot.address}\n" for zone in texts)
    (site.dir / "unbound.conf").write_text(f"server:\n  do-not-query-localhost: no\n  trust-anchor-file: {site.dir}/islands.anchor\n{stubs}")
    site.start("verifier")
    yield site
    site.end()
    knot.end()


def theirs(site, name):
    """unbound-host's words as ours: "… has TXT record "x" (secure)", "… has no TXT record (secure)", "Host … not found: 3(NXDOMAIN). (secure)"."""
    said = subprocess.run(["unbound-host", "-C", site.dir / "unbound.conf", "-v", "-t", "TXT", name], capture_output=True, text=True, timeout=20).stdout
    dnssec = next((word for word in ("bogus", "insecure", "secure") if f"({word}" in said.lower()), None)
    if dnssec == "bogus" or "SERVFAIL" in said:
        return "failed", dnssec, said
    return "ok" if "has TXT record" in said else "nxdomain" if "NXDOMAIN" in said else "nodata" if "has no TXT record" in said else None, dnssec, said


def test_the_resolver_says_what_unbound_says(world):
    differ, seen = [], set()
    for kind in KINDS:
        for name in (f"{n}{kind}.example" for n in NAMES):
            ours, other = world.nats.request("verifier.txt", {"name": name}, 20), theirs(world, name)
            seen.add((ours["result"], ours["dnssec"]))
            if (ours["result"], ours["dnssec"]) != other[:2]:
                differ.append((name, ours, other))
    assert not differ, differ
    assert seen >= {("ok", "secure"), ("nodata", "secure"), ("nxdomain", "secure"), ("ok", "insecure"), ("nxdomain", "insecure"), ("failed", "bogus")}
