"""accounts.login under attack and under load: the counters that all replicas share, the queue before argon2, stored hashes made anew; on real NATS and Redis."""
import concurrent.futures
import json
import subprocess
import time

import pytest

from postbus_test.site import BIN, wait_until

PASSWORD = "correct horse 1"
INTERACTIVE = "$argon2id$v=19$m=65536,t=2,p=1$"


@pytest.fixture(scope="module")
def accounts(bare_site):
    bare_site.start("accounts")
    bare_site.alice = bare_site.add_account("alice@alpha.test")
    bare_site.carol = bare_site.add_account("carol@alpha.test")
    return bare_site


def login(site, who, password=PASSWORD, ip="192.0.2.7", nats=None):
    return (nats or site.nats).request("accounts.login", {"login": who, "password": password, "client_ip": ip, "protocol": "imap"})


def code(answer):
    return answer.get("error", {}).get("code", "right")


def the_wait_is_over(site, counter):
    """As if the time had passed: failures stay counted."""
    assert site.redis("HDEL", counter + ":f", "until").strip() == "1"


def at_once(site, tries):
    """Answers of [(login, password, ip)], all begun together, each through a connection of a pool."""
    pool = [site.new_nats() for _ in range(20)]
    with concurrent.futures.ThreadPoolExecutor(200) as threads:
        return list(threads.map(lambda t: login(site, *t[1], nats=pool[t[0] % 20]), enumerate(tries)))


def test_an_account_and_network_wait_after_ten_failures_also_after_a_restart(accounts):
    ip = "203.0.113.5"
    for _ in range(10):
        assert code(login(accounts, "carol@alpha.test", "guess", ip)) == "denied"
    assert code(login(accounts, "carol@alpha.test", "guess", ip)) == "busy"
    assert code(login(accounts, "carol@alpha.test", PASSWORD, ip)) == "busy", "also the right password has to wait"
    assert login(accounts, "carol@alpha.test", ip="203.0.113.6")["user"] == accounts.carol, "another client does not"
    assert login(accounts, "alice@alpha.test", ip=ip)["user"] == accounts.alice, "another account does not"
    accounts.restart("accounts")
    assert code(login(accounts, "carol@alpha.test", ip=ip)) == "busy"
    the_wait_is_over(accounts, f"a:{{alpha.test}}:l:carol/{ip}")
    assert code(login(accounts, "carol@alpha.test", "guess", ip)) == "denied"
    answer = login(accounts, "carol@alpha.test", ip=ip)
    assert code(answer) == "busy" and 60 < int(answer["error"]["message"].split()[-2]) <= 120, "each further failure makes it longer"
    the_wait_is_over(accounts, f"a:{{alpha.test}}:l:carol/{ip}")
    assert code(login(accounts, "carol@alpha.test", ip=ip)) == "right", "a right password ends it"
    assert code(login(accounts, "carol@alpha.test", "guess", ip)) == "denied"
    assert code(login(accounts, "carol@alpha.test", "guess", ip)) == "denied"


def test_tags_do_not_make_another_account(accounts):
    for i in range(10):
        assert code(login(accounts, f"carol+{i}@alpha.test", "guess", "203.0.113.50")) == "denied"
    assert code(login(accounts, "carol@alpha.test", PASSWORD, "203.0.113.50")) == "busy"


def test_an_ipv6_client_is_its_64(accounts):
    for i in range(10):
        assert code(login(accounts, "carol@alpha.test", "guess", f"2001:db8:1:2::{i:x}")) == "denied"
    assert code(login(accounts, "carol@alpha.test", ip="2001:db8:1:2:ffff::1")) == "busy"
    assert login(accounts, "carol@alpha.test", ip="2001:db8:1:3::1")["user"] == accounts.carol


def test_guesses_in_parallel_are_counted_when_they_begin(accounts):
    answers = at_once(accounts, [("carol@alpha.test", f"guess {i}", "203.0.113.60") for i in range(60)])
    assert sorted({code(a) for a in answers}) == ["busy", "denied"]
    assert [code(a) for a in answers].count("denied") == 10


def test_right_logins_in_parallel_are_all_let_in(accounts):
    """Ten are looked at, at once; the others wait for these, and are remembered then."""
    before = accounts.metric("accounts", "postbus_accounts_hashes_total")
    answers = at_once(accounts, [("carol@alpha.test", PASSWORD, "203.0.113.61")] * 40)
    assert {code(a) for a in answers} == {"right"}
    assert accounts.metric("accounts", "postbus_accounts_hashes_total") - before <= 20


def test_only_so_many_wait_for_others_and_not_for_ever(accounts):
    nats, answers = accounts.new_nats(), []
    running = "a:{alpha.test}:l:many/203.0.113.62:r"
    accounts.redis("ZADD", running, *(word for i in range(10) for word in (int(time.time() * 1000) + 60000, f"try {i}")))  # ten that do not end
    nats.subscribe("_INBOX.test.many.*", lambda _s, _r, body: answers.append(json.loads(body)))
    nats.flush()
    begin = time.monotonic()
    for i in range(1400):
        nats.publish("postbus.rpc.accounts.login", {"login": "many@alpha.test", "password": f"guess {i}", "client_ip": "203.0.113.62", "protocol": "imap"}, f"_INBOX.test.many.{i}")
    wait_until("those beyond the bound", lambda: len(answers) >= 400)
    assert time.monotonic() - begin < 7 and len(answers) < 1400, "at once, and not all of them"
    assert code(login(accounts, "alice@alpha.test", ip="203.0.113.63")) == "right", "from elsewhere"
    wait_until("all answers", lambda: len(answers) == 1400)
    assert {code(a) for a in answers} == {"busy"} and accounts.redis("ZCARD", running).strip() == "10"


def test_a_spray_over_many_accounts_from_one_network_is_stopped(accounts):
    answers = at_once(accounts, [(f"user{i}@alpha.test", "Summer2026", "203.0.113.70") for i in range(200)])
    assert [code(a) for a in answers].count("denied") == 30 and {code(a) for a in answers} == {"denied", "busy"}
    assert code(login(accounts, "user0@alpha.test", "x", "203.0.113.70")) == "busy"
    assert code(login(accounts, "alice@alpha.test", ip="203.0.113.71")) == "right", "another network"


def failed_before(site, counter, times):
    """As if so many tries had failed a while ago."""
    site.redis("HSET", counter + ":f", "failures", times)
    site.redis("EXPIRE", counter + ":f", 900)


def test_a_spray_from_all_over_a_48_is_stopped_later(accounts):
    failed_before(accounts, "a:net:{2001:db8:77::/48}", 180)
    answers = at_once(accounts, [(f"other{i}@alpha.test", "Summer2026", f"2001:db8:77:{i:x}::1") for i in range(60)])
    assert [code(a) for a in answers].count("denied") == 20 and code(login(accounts, "alice@alpha.test", ip="2001:db8:78::1")) == "right"


def test_one_account_tried_from_everywhere_is_slowed_and_its_owner_still_gets_in(accounts):
    accounts.add_account("owner@alpha.test")
    assert code(login(accounts, "owner@alpha.test", ip="198.51.100.1")) == "right", "at home, once"
    failed_before(accounts, "a:{alpha.test}:l:owner", 30)
    answers = at_once(accounts, [("owner@alpha.test", f"guess {i}", f"100.64.{i}.1") for i in range(60)])
    assert [code(a) for a in answers].count("denied") == 20
    answer = login(accounts, "owner@alpha.test", ip="100.65.0.1")
    assert code(answer) == "busy" and int(answer["error"]["message"].split()[-2]) <= 60, "from elsewhere one waits"
    accounts.restart("accounts")  # what is remembered in memory does not count
    assert code(login(accounts, "owner@alpha.test", ip="198.51.100.1")) == "right"
    for _ in range(2):
        assert code(login(accounts, "owner@alpha.test", "typing error", "198.51.100.1")) == "denied"
    assert code(login(accounts, "owner@alpha.test", ip="198.51.100.1")) == "right"


def test_two_replicas_count_together(accounts):
    second = subprocess.Popen([BIN / "accounts"], env={**accounts.environment("accounts"), "POSTBUS_HTTP": "127.0.0.1:0"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until("two replicas", lambda: accounts.redis("CLIENT", "LIST").count("user=accounts") >= 2)
        answers = at_once(accounts, [("alice@alpha.test", f"guess {i}", "203.0.113.80") for i in range(60)])
        assert [code(a) for a in answers].count("denied") == 10
    finally:
        second.terminate()
        second.wait(20)


def test_right_logins_are_not_delayed_by_a_spray(accounts):
    """Order and not seconds is looked at: the machine may be busy with other things."""
    people = [f"p{i}@people.test" for i in range(6)]
    for person in people:
        accounts.add_account(person)
    for i, person in enumerate(people[:3]):
        assert code(login(accounts, person, ip=f"198.51.100.{i + 10}")) == "right"
    nats = [accounts.new_nats() for _ in range(20)]
    hashes = lambda: accounts.metric("accounts", "postbus_accounts_hashes_total")
    took, overtaken, before = [], [], hashes()
    with concurrent.futures.ThreadPoolExecutor(120) as threads:
        spray = [threads.submit(login, accounts, f"s{i}@people.test", "Summer2026", f"203.0.113.{90 + i % 3}", nats[i % 18]) for i in range(120)]
        wait_until("the spray in the queue", lambda: accounts.metric("accounts", "postbus_accounts_hashes_waiting") > 20)
        for i, person in enumerate(people):
            begin = time.monotonic()
            assert code(login(accounts, person, PASSWORD, f"198.51.100.{i + 10}", nats[18 + i % 2])) == "right"
            took.append(f"{(time.monotonic() - begin) * 1000:.0f}")
            overtaken.append(before + 90 + i // 3 * (i - 2) - hashes())  # of the 3 * 30 that may be tried, those that wait still
        assert [code(f.result()) for f in spray].count("denied") == 90
    print(f"\nright logins during a spray of 120: {', '.join(took)} ms (the first three are remembered); of 90 guesses before them {overtaken} were left")
    assert overtaken[2] > 0 and overtaken[3] > 0, overtaken


def test_counting_costs_no_login_when_redis_is_full(accounts):
    accounts.add_account("full@alpha.test")
    accounts.redis("CONFIG", "SET", "maxmemory", "1")
    try:
        assert code(login(accounts, "full@alpha.test", "guess", "203.0.113.95")) == "denied"
        assert code(login(accounts, "full@alpha.test", ip="203.0.113.95")) == "right"
    finally:
        accounts.redis("CONFIG", "SET", "maxmemory", "0")


def test_a_hash_of_other_parameters_is_made_anew_at_login(accounts):
    old = subprocess.run([BIN.parent / "tools/hash", PASSWORD, "2", "67108864"], capture_output=True, text=True, check=True).stdout.strip()
    assert old.startswith(INTERACTIVE)
    accounts.add_account("old@alpha.test")
    stored = lambda: accounts.redis("HGET", "a:{alpha.test}:u", "old")
    assert "$argon2id$v=19$m=19456,t=2,p=1$" in stored(), "OWASP's minimum, for new ones"
    text = stored().strip()
    at = text.index("$argon2id")
    accounts.redis("HSET", "a:{alpha.test}:u", "old", text[:at] + old + text[text.index('"', at):])
    assert code(login(accounts, "old@alpha.test", "wrong")) == "denied"
    assert INTERACTIVE in stored(), "a wrong password changes nothing"
    assert code(login(accounts, "old@alpha.test")) == "right"
    wait_until("a new hash", lambda: "m=19456,t=2,p=1" in stored())
    assert code(login(accounts, "old@alpha.test")) == "right" and code(login(accounts, "old@alpha.test", "wrong")) == "denied"


def test_all_workers_remember_a_right_password(accounts):
    """A login goes to any worker of the process."""
    accounts.settings["POSTBUS_WORKERS"] = 4
    accounts.restart("accounts")
    assert code(login(accounts, "alice@alpha.test")) == "right"
    before = accounts.metric("accounts", "postbus_accounts_hashes_total")
    assert {code(a) for a in at_once(accounts, [("alice@alpha.test", PASSWORD, "192.0.2.7")] * 40)} == {"right"}
    assert accounts.metric("accounts", "postbus_accounts_hashes_total") == before
    accounts.settings["POSTBUS_WORKERS"] = 1
    accounts.restart("accounts")


def test_a_change_forgets_the_passwords_of_its_name_alone(accounts):
    hashes = lambda: int(accounts.metric("accounts", "postbus_accounts_hashes_total"))
    assert code(login(accounts, "alice@alpha.test")) == "right"
    before = hashes()
    accounts.add_account("somebody@alpha.test")
    assert "error" not in accounts.rpc("accounts.account.set", address="carol@alpha.test", password="another one 3")
    time.sleep(0.3)
    assert code(login(accounts, "alice@alpha.test")) == "right" and hashes() == before
    assert code(login(accounts, "carol@alpha.test", "another one 3")) == "right" and hashes() == before + 1
