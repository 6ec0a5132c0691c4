"""`postbus check message` on signed and sealed messages: the results, and the steps that tell a person why."""
import json
import subprocess

import pytest
from postbus_test.peers import DOMAIN, Dkimpy, Keys, Ours
from postbus_test.scripted_dns import SERVFAIL, ScriptedDns
from postbus_test.site import BIN

MESSAGE = b"From: a@sign.test\r\nTo: b@example.org\r\nSubject: hello\r\n\r\nHello  there \r\n"


@pytest.fixture(scope="module")
def world():
    keys = Keys()
    script = {(name, "TXT"): " ".join(f'"{text[i:i + 200]}"' for i in range(0, len(text), 200)) for name, text in keys.records.items()}
    script[(f"gone._domainkey.{DOMAIN}", "TXT")] = '"v=DKIM1; p="'
    script[(f"broken._domainkey.{DOMAIN}", "TXT")] = SERVFAIL
    dns, ours = ScriptedDns(script), Ours(keys)
    yield dns, keys, ours
    ours.end()
    dns.end()


def check(world, message, *words):
    done = subprocess.run([BIN / "cli", "check", "message", "-", *words, "--resolver", f"127.0.0.1:{world[0].port}"], input=message, capture_output=True, timeout=60)
    return json.loads(done.stdout) if "--json" in words else done.stdout.decode(), done.returncode


@pytest.mark.parametrize("selector", ["r", "e"])
def test_a_signed_message_passes_and_a_changed_one_fails(world, selector):
    field = Dkimpy(world[1]).sign(MESSAGE, selector, ("relaxed", "simple"))
    got, status = check(world, field + MESSAGE, "--json")
    assert got["dkim"][0]["result"] == "pass" and status == 0, got
    got, status = check(world, field + MESSAGE + b"more\r\n", "--json")
    assert got["dkim"][0]["result"] == "fail" and status == 1


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"From a@sign.test Mon Jan  1 00:00:00 2024\n", b"From a@sign.test Mon Jan  1 00:00:00 2024\r\n"])
def test_what_a_file_has_before_the_mail_is_not_part_of_it(world, before):
    """The mark of an editor and the line of an mbox file: the signature after them is found, and fits."""
    got, status = check(world, before + Dkimpy(world[1]).sign(MESSAGE, "r", ("simple", "simple")) + MESSAGE, "--json")
    assert [d["result"] for d in got["dkim"]] == ["pass"] and got["dmarc"]["from"] == "sign.test" and status == 0, got


def test_each_step_is_told(world):
    field = world[2].sign_as_sent(MESSAGE, "r")
    steps = "\n".join(check(world, field + MESSAGE, "--json")[0]["dkim"][0]["steps"])
    for told in ("body: relaxed, 13 bytes hashed", "the same", f'key: TXT r._domainkey.{DOMAIN}: "v=DKIM1; k=rsa; p=', "key: rsa, 2048 bits", "header: h=From:From:To:To:",
                 "3 fields signed", "SHA-256", "is of this hash by this key"):
        assert told in steps, (told, steps)
    steps = "\n".join(check(world, field + MESSAGE + b"more\r\n", "--json")[0]["dkim"][0]["steps"])
    assert "different" in steps and "key:" not in steps  # nothing is asked of DNS for a body that was changed


def test_a_chain_is_told_set_by_set(world):
    sealed = world[2].seal(MESSAGE, "r") + MESSAGE
    sealed = world[2].seal(sealed, "e") + sealed
    got, status = check(world, sealed, "--json")
    assert got["arc"]["cv"] == "pass" and got["arc"]["sets"] == 2 and got["arc"]["sealer"] == DOMAIN and status == 0
    steps = "\n".join(got["arc"]["steps"])
    assert f"i=2: ARC-Seal of d={DOMAIN}, cv=pass" in steps and f"i=1: ARC-Seal of d={DOMAIN}, cv=none" in steps
    got, _ = check(world, sealed.replace(b"Results: i=1; mx", b"Results: i=1; my"), "--json")
    assert got["arc"]["cv"] == "fail" and "seal" in got["arc"]["reason"]


@pytest.mark.parametrize("selector,result,told", [("none", "permerror", "no key"), ("gone", "permerror", "revoked"), ("broken", "temperror", "DNS")])
def test_keys_that_are_not_there(world, selector, result, told):
    field = world[2].sign_as_sent(MESSAGE, "r").replace(b"s=r;", f"s={selector};".encode())
    got = check(world, field + MESSAGE, "--json")[0]["dkim"][0]
    assert got["result"] == result and told in got["reason"] and any(told in step for step in got["steps"])


def test_steps_hold_nothing_that_steers_a_terminal(world):
    got, _ = check(world, b"DKIM-Signature: v=1; a=rsa-sha256; d=sign.test; s=r; h=from:\xc2\x9b31m; bh=AAAA; b=\xff\r\n" + MESSAGE, "--json")
    text = json.dumps(got["dkim"])
    assert got["dkim"][0]["result"] == "permerror" and "\\u009b31m" not in json.dumps(got["dkim"][0].get("steps", [])) and "\\u001b" not in text
