"""`postbus check spf`: what it says and ends with, and the tables' cases over a real DNS protocol, which is slow, lies, cuts its answers and aliases."""
from concurrent.futures import ThreadPoolExecutor
import json
import os
import re
import subprocess
import time

import dns.name
from postbus_test.scripted_dns import NODATA, SERVFAIL, SILENCE, GARBAGE, ScriptedDns, Slow, Truncated, WRONG_ID, WRONG_NAME
from postbus_test.site import BIN
from postbus_test.spf_cases import FAILURES, TABLES, Table
import pytest

OK, FAILED, USAGE, UNAVAILABLE, TEMPORARY = 0, 1, 64, 69, 75
EVERY = int(os.environ.get("POSTBUS_SPF_CASES_EVERY", "6"))  # 1: each case of the tables runs as a process of its own

LONG = "v=spf1 " + " ".join(f"ip4:203.0.{i >> 8}.{i & 255}" for i in range(3200)) + " ip4:192.0.2.1 -all"


def strings(text):
    return " ".join(f'"{text[i:i + 250]}"' for i in range(0, len(text), 250))


@pytest.fixture(scope="module")
def server():
    s = ScriptedDns({
        ("plain.test", "TXT"): '"v=spf1 ip4:192.0.2.1 a:host.test ~mx exists:%{l}.x.test -all exp=why.test"', ("plain.test", "MX"): "10 mail.plain.test",
        ("mail.plain.test", "A"): "192.0.2.9", ("host.test", "A"): ["192.0.2.7", "192.0.2.8"], ("why.test", "TXT"): '"%{i} is not ours"',
        ("neutral.test", "TXT"): '"v=spf1 ?all"', ("none.test", "TXT"): '"hello"', ("broken.test", "TXT"): '"v=spf1 nonsense"',
        ("servfail.test", "*"): SERVFAIL, ("garbage.test", "*"): GARBAGE, ("silent.test", "*"): SILENCE, ("wrongid.test", "*"): WRONG_ID, ("wrongname.test", "*"): WRONG_NAME,
        ("cut.test", "TXT"): Truncated('"v=spf1 ip4:192.0.2.1 -all"'), ("cutsilent.test", "TXT"): Truncated(SILENCE),
        ("long.test", "TXT"): strings(LONG), ("alias.test", "CNAME"): "alias2.test", ("alias2.test", "CNAME"): "plain.test",
        ("loop1.test", "CNAME"): "loop2.test", ("loop2.test", "CNAME"): "loop1.test", ("nodata.test", "TXT"): NODATA,
        ("late.test", "TXT"): '"v=spf1 mx:late1.test mx:late2.test -all"',
        **{(f"late{k}.test", "MX"): [f"{i} slow{k}{i}.test" for i in range(9)] for k in (1, 2)},
        **{(f"slow{k}{i}.test", "A"): Slow(1.3, "203.0.113.1") for i in range(9) for k in (1, 2)},
        ("evil.test", "TXT"): r'"v=spf1 \027[2J\"-all"', ("xn--bcher-kva.test", "TXT"): '"v=spf1 ip4:192.0.2.1 -all"'})
    yield s
    s.end()


def run(server, *words):
    return subprocess.run([BIN / "cli", "check", "spf", "--resolver", f"127.0.0.1:{server.port}", *words], capture_output=True, timeout=60)


def check(server, ip, sender, helo="client.test"):
    done = run(server, "--json", "--ip", ip, "--helo", helo, "--mail-from", sender)
    return json.loads(done.stdout)["spf"], done.returncode


@pytest.mark.parametrize("ip,sender,result,status", [
    ("192.0.2.1", "a@plain.test", "pass", OK), ("192.0.2.2", "a@plain.test", "fail", FAILED), ("192.0.2.9", "a@plain.test", "softfail", OK),
    ("192.0.2.1", "a@neutral.test", "neutral", OK), ("192.0.2.1", "a@none.test", "none", OK), ("192.0.2.1", "a@nodata.test", "none", OK),
    ("192.0.2.1", "a@nobody.test", "none", OK), ("192.0.2.1", "a@broken.test", "permerror", FAILED), ("192.0.2.1", "a@servfail.test", "temperror", TEMPORARY),
    ("192.0.2.1", "a@garbage.test", "temperror", TEMPORARY), ("192.0.2.1", "a@cut.test", "pass", OK), ("192.0.2.1", "a@long.test", "pass", OK),
    ("192.0.2.2", "a@long.test", "fail", FAILED), ("192.0.2.1", "a@alias.test", "pass", OK), ("192.0.2.1", "a@loop1.test", "temperror", TEMPORARY),
    ("192.0.2.1", "a@b\u00fccher.test", "pass", OK)])
def test_results_and_exit_status(server, ip, sender, result, status):
    got, code = check(server, ip, sender)
    assert (got["result"], code) == (result, status), got
    assert got["reason"] and got["steps"]


def test_the_json_tells_what_decided_and_the_explanation(server):
    got, _ = check(server, "192.0.2.2", "me@plain.test")
    assert {k: got[k] for k in ("scope", "domain", "mechanism", "record_domain", "explanation", "lookups", "void_lookups")} == {
        "scope": "mfrom", "domain": "plain.test", "mechanism": "-all", "record_domain": "plain.test", "explanation": "192.0.2.2 is not ours", "lookups": 3,
        "void_lookups": 1}


def test_the_text_tells_each_step(server):
    text = run(server, "--ip", "192.0.2.2", "--helo", "h.test", "--mail-from", "<me@plain.test>").stdout.decode()
    for part in ("may 192.0.2.2 send for plain.test", "plain.test TXT: v=spf1 ip4:192.0.2.1", "ip4:192.0.2.1 does not match", "host.test has 192.0.2.",
                 "plain.test MX: 10 mail.plain.test", "%{l}.x.test is me.x.test", "me.x.test A: no such name", "-all matches", "fail: -all of plain.test matches",
                 "3 DNS lookups, 1 void lookups", "the domain explains: 192.0.2.2 is not ours"):
        assert part in text, (part, text)


@pytest.mark.parametrize("words,scope", [
    (("--helo", "plain.test", "--mail-from", ""), "helo"), (("--helo", "plain.test", "--mail-from", "<>"), "helo"), (("--helo", "plain.test"), "helo"),
    (("--mail-from", "a@plain.test"), "mfrom"), (("--mail-from", "plain.test"), "mfrom"), (("--helo", "", "--mail-from", "@plain.test"), "mfrom")])
def test_either_identity_is_enough(server, words, scope):
    got = json.loads(run(server, "--json", "--ip", "192.0.2.1", *words).stdout)["spf"]
    assert (got["result"], got["scope"], got["domain"]) == ("pass", scope, "plain.test")


@pytest.mark.parametrize("words,says", [
    ((), "--ip is missing"), (("--ip", "192.0.2.1"), "--helo or --mail-from is missing"), (("--ip", "192.0.2.1", "--mail-from", ""), "--helo is missing"),
    (("--ip", "192.0.2.256", "--helo", "h.test"), "not an IPv4"), (("--ip", "", "--helo", "h.test"), "not an IPv4"), (("--ip", "fe80::1%eth0", "--helo", "h.test"), "not an IPv4"),
    (("--ip", "example.org", "--helo", "h.test"), "not an IPv4"), (("--ip", "1" * 5000, "--helo", "h.test"), "not an IPv4")])
def test_wrong_usage_is_told_in_words(server, words, says):
    done = run(server, *words)
    assert done.returncode == USAGE and says in done.stderr.decode() and "usage:" in done.stderr.decode() and not done.stdout


@pytest.mark.parametrize("resolver", ["", "nowhere", "127.0.0.1:0", "127.0.0.1:99999", "127.0.0.1:x", "[::1", "::1]:53", "192.0.2.1.5:53"])
def test_a_resolver_that_is_none(resolver):
    done = subprocess.run([BIN / "cli", "check", "spf", "--ip", "192.0.2.1", "--helo", "a.test", "--resolver", resolver], capture_output=True, timeout=30)
    assert done.returncode == UNAVAILABLE and b"resolver" in done.stderr


@pytest.mark.parametrize("sender", [b"\xff\xfe@plain.test", b"a@\xff.test", b'"\x1b[2J"@plain.test', b"a" * 70000 + b"@plain.test", b"a@" + b"b." * 30000 + b"test", b"@", b"@@@",
                                    b"%{s}@plain.test", b"a@evil.test"],
                         ids=["bytes", "bytes in the domain", "escapes", "a long local part", "a long domain", "an at sign", "three at signs", "a macro", "an evil record"])
def test_odd_arguments_and_records_give_json_and_cannot_steer_a_terminal(server, sender):
    got = json.loads(run(server, "--json", "--ip", "192.0.2.1", "--helo", b"\x1b[2J\xff", "--mail-from", sender).stdout)["spf"]
    assert got["result"] in ("pass", "none", "permerror")
    text = run(server, "--ip", "192.0.2.1", "--helo", b"\x1b[2J\xff", "--mail-from", sender).stdout
    assert re.fullmatch(rb"[\n -~]+", text)


def test_dns_that_is_silent_or_slow_costs_a_bounded_time(server):
    def timed(name):
        began = time.monotonic()
        got, code = check(server, "192.0.2.1", f"a@{name}")
        return got["result"], code, got["reason"], time.monotonic() - began
    with ThreadPoolExecutor(5) as pool:
        late, *silent = pool.map(timed, ["late.test", "silent.test", "wrongid.test", "wrongname.test", "cutsilent.test"])
    for result, code, _, took in silent:
        assert (result, code) == ("temperror", TEMPORARY) and took < 15
    # eighteen answers, each of them in time, but not all of them together (RFC 7208 section 4.6.4)
    assert late[:2] == ("temperror", TEMPORARY) and "4.6.4" in late[2] and 19 < late[3] < 26


def script_of(table):
    script = {}
    for name, records in table.records.items():
        labels = name.split(b".")
        if not all(0 < len(label) < 64 for label in labels):
            continue
        key = dns.name.Name(labels + [b""]).to_text().rstrip(".")
        for kind, data in records:
            if data in FAILURES:
                script[key, kind] = SERVFAIL
            elif data == b"NODATA":
                script[key, kind] = NODATA
            elif kind == "TXT":
                written = "".join(chr(c) if 32 <= c < 127 and c not in b'"\\' else f"\\{c:03d}" for c in data.replace(b"++", b"\0"))
                pieces = [re.findall(r"(?:\\\d{3}|.){1,250}", part) or [""] for part in written.split("\\000")] if b"++" in data else \
                    [re.findall(r"(?:\\\d{3}|.){1,250}", written) or [""]]
                script.setdefault((key, kind), []).append(" ".join(f'"{p}"' for part in pieces for p in part))
            elif kind == "CNAME":
                script[key, kind] = data.decode()
            else:
                script.setdefault((key, kind), []).append(data.decode())
    return script


@pytest.mark.parametrize("path", TABLES, ids=[p.stem for p in TABLES])
def test_the_tables_give_the_same_over_the_wire(path):
    table = Table(path)
    server = ScriptedDns(script_of(table))
    # a resolver may order an answer as it likes, and an argument has no NUL
    cases = [c for c in table.cases[::EVERY] if b"\0" not in c.sender + c.helo and "order of the answer" not in c.words]

    def ask(case):
        words = ["--mail-from", case.sender] if case.sender else []
        return json.loads(run(server, "--json", "--ip", case.ip, "--helo", case.helo, *words).stdout)["spf"]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, cases))
    server.end()
    wrong = [f"{c.where}: {c.words}: {a['result']} instead of {c.result}: {a['reason']}" for c, a in zip(cases, answers) if a["result"] != c.result]
    assert not wrong, "\n".join(wrong)
