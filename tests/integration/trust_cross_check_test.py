"""`postbus check` against messages that dkimpy signed, and each result of SPF, over a real DNS."""
from base64 import b64encode
import json
import random
import subprocess

import dkim
import pytest
from postbus_test.dns import Knot
from postbus_test.site import BIN

POLICIES = {"pass": "v=spf1 ip4:192.0.2.1 -all", "fail": "v=spf1 -all", "softfail": "v=spf1 ~all", "neutral": "v=spf1 ?all",
            "permerror": "v=spf1 nonsense:x", "none": "hello"}


def openssl(*words, data=None):
    return subprocess.run(["openssl", *words], input=data, capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def world():
    pem = openssl("genrsa", "-traditional", "2048")
    ed = openssl("genpkey", "-algorithm", "ed25519")
    seed = b64encode(openssl("pkey", "-outform", "DER", data=ed)[-32:])
    p = b64encode(openssl("pkey", "-pubout", "-outform", "DER", data=pem)).decode()
    q = b64encode(openssl("pkey", "-pubout", "-outform", "DER", data=ed)[-32:]).decode()
    zone = f'r._domainkey 60 IN TXT "v=DKIM1; k=rsa; p=" "{p[:200]}" "{p[200:]}"\ne._domainkey 60 IN TXT "v=DKIM1; k=ed25519; p={q}"\n'
    zone += "".join(f'{name} 60 IN TXT "{text}"\n' for name, text in POLICIES.items())
    knot = Knot({"sign.test": zone})
    yield knot, {"r": (pem, b"rsa-sha256"), "e": (seed, b"ed25519-sha256")}
    knot.end()


def check(knot, *words, data=None):
    done = subprocess.run([BIN / "cli", "check", *words, "--json", "--resolver", f"127.0.0.1:{knot.port}"], input=data, capture_output=True, timeout=60)
    return json.loads(done.stdout), done.returncode


def message(rng):
    lines = [b"", b" ", b"a  b\t c ", b"\t", b"caf\xc3\xa9 \xff", b".", b"plain"]
    subject = rng.choice([b"x", b"  two  spaces ", b"folded\r\n\t  over\r\n lines", b"caf\xc3\xa9"])
    body = b"".join(rng.choice(lines) + b"\r\n" for _ in range(rng.randrange(8)))
    return b"From: a@sign.test\r\nSubject:" + subject + b"\r\nTo: b@example.org\r\n\r\n" + body


@pytest.mark.parametrize("selector", ["r", "e"])
@pytest.mark.parametrize("canon", [(a, b) for a in (b"simple", b"relaxed") for b in (b"simple", b"relaxed")])
def test_what_dkimpy_signs_we_verify(world, selector, canon):
    knot, keys = world
    rng = random.Random(f"{selector}{canon}")
    for _ in range(10):
        m = message(rng)
        field = dkim.sign(m, selector.encode(), b"sign.test", keys[selector][0], canonicalize=canon, signature_algorithm=keys[selector][1],
                          include_headers=[b"from", b"subject"])
        got, _ = check(knot, "message", "-", data=field + m)
        assert got["dkim"][0]["result"] == "pass", (got["dkim"], field + m)
        got, status = check(knot, "message", "-", data=field + m + b"more\r\n")
        assert got["dkim"][0]["result"] == "fail" and status == 1


@pytest.mark.parametrize("result", POLICIES)
def test_spf_results_and_exit_status(world, result):
    got, status = check(world[0], "spf", "--ip", "192.0.2.1", "--helo", "h.sign.test", "--mail-from", f"a@{result}.sign.test")
    assert got["spf"]["result"] == result
    assert status == (1 if result in ("fail", "permerror") else 0)
