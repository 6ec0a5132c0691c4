"""accounts over the bus: domains, accounts, aliases, logins with their throttle, resolve; on real NATS and Redis."""
import concurrent.futures
import time

import pytest

PASSWORD = "correct horse 1"


@pytest.fixture(scope="module")
def accounts(bare_site):
    bare_site.start("accounts")
    bare_site.alice = bare_site.add_account("alice@alpha.test")
    bare_site.carol = bare_site.add_account("carol@alpha.test")
    return bare_site


def login(site, who, password=PASSWORD, ip="192.0.2.7", protocol="imap"):
    return site.rpc("accounts.login", login=who, password=password, client_ip=ip, protocol=protocol)


def resolve(site, address):
    return site.rpc("accounts.resolve", address=address)


def code(answer):
    return answer["error"]["code"]


def test_login_answers_the_user(accounts):
    answer = login(accounts, "alice@alpha.test")
    assert answer.pop("generation") and answer == {"user": accounts.alice, "address": "alice@alpha.test"}
    assert login(accounts, "ALICE@Alpha.TEST.")["user"] == accounts.alice


@pytest.mark.parametrize("who, password", [("alice@alpha.test", "wrong"), ("nobody@alpha.test", PASSWORD), ("alice@elsewhere.test", PASSWORD), ("alice", PASSWORD), ("", ""),
                                           ("alice@alpha.test", ""), ("alice@alpha.test", "x" * 5000)])
def test_wrong_logins_are_denied(accounts, who, password):
    assert code(login(accounts, who, password, ip="192.0.2.50")) == "denied"


def test_an_unknown_user_takes_as_long_as_a_wrong_password(accounts):
    def took(who):
        begin = time.monotonic()
        assert code(login(accounts, who, "wrong", ip="198.51.100.9")) == "denied"
        return time.monotonic() - begin
    known = sorted(took("carol@alpha.test") for _ in range(4))[1]
    unknown = sorted(took("ghost@alpha.test") for _ in range(4))[1]
    assert unknown > known / 3 and known > unknown / 3


def test_a_changed_password_counts_at_once(accounts):
    accounts.add_account("dave@alpha.test")
    assert "user" in login(accounts, "dave@alpha.test")
    assert "error" not in accounts.rpc("accounts.account.set", address="dave@alpha.test", password="new one 2")
    assert code(login(accounts, "dave@alpha.test")) == "denied"
    assert "user" in login(accounts, "dave@alpha.test", "new one 2")
    assert "error" not in accounts.rpc("accounts.account.delete", address="dave@alpha.test")
    assert code(login(accounts, "dave@alpha.test", "new one 2", ip="192.0.2.51")) == "denied"


def test_fifty_logins_a_second_do_not_cost_fifty_hashes(accounts):
    login(accounts, "alice@alpha.test")
    begin = time.monotonic()
    for _ in range(50):
        assert "user" in login(accounts, "alice@alpha.test")
    assert time.monotonic() - begin < 1


def test_passwords_are_stored_as_argon2id_and_never_told(accounts):
    stored = accounts.redis("HGET", "a:{alpha.test}:u", "alice")
    assert "$argon2id$" in stored and PASSWORD not in stored
    assert "password" not in accounts.rpc("accounts.account.get", address="alice@alpha.test")


@pytest.mark.parametrize("address", ["alice@alpha.test", "Alice@ALPHA.test", "alice+news@alpha.test", '"alice"@alpha.test', "alice@alpha.test."])
def test_resolve_finds_the_account(accounts, address):
    assert resolve(accounts, address) == {"kind": "local", "users": [{"user": accounts.alice, "address": "alice@alpha.test"}], "remote": []}


def test_resolve_knows_what_is_not_here(accounts):
    assert resolve(accounts, "nobody@alpha.test") == {"kind": "unknown"}
    assert resolve(accounts, "alice@other.test") == {"kind": "remote"}
    assert code(resolve(accounts, "no address")) == "invalid"


def test_postmaster_and_abuse_always_resolve(accounts):
    for name in ("postmaster", "Postmaster", "abuse"):
        assert resolve(accounts, f"{name}@alpha.test")["users"] == [{"user": accounts.alice, "address": "alice@alpha.test"}]


def test_aliases_lead_on_also_elsewhere_and_through_each_other(accounts):
    add = lambda address, *targets: accounts.rpc("accounts.alias.add", address=address, targets=list(targets))
    add("inner@alpha.test", "carol@alpha.test", "alice@alpha.test")
    assert add("team@alpha.test", "alice@alpha.test", "x@else.where", "inner@alpha.test") == {"address": "team@alpha.test", "targets": ["alice@alpha.test", "x@else.where", "inner@alpha.test"]}
    answer = resolve(accounts, "TEAM+tag@alpha.test")
    assert {u["address"] for u in answer["users"]} == {"alice@alpha.test", "carol@alpha.test"} and answer["remote"] == ["x@else.where"]
    assert accounts.rpc("accounts.owns", user=accounts.carol, address="team@alpha.test") == {"owns": True}
    assert accounts.rpc("accounts.owns", user=accounts.carol, address="alice@alpha.test") == {"owns": False}
    assert code(add("alice@alpha.test", "carol@alpha.test")) == "exists"
    assert code(accounts.rpc("accounts.account.add", address="team@alpha.test", password=PASSWORD)) == "exists"
    assert code(add("bad@alpha.test", "not an address")) == "invalid"
    assert code(add("bad@alpha.test")) == "invalid"
    assert code(add("bad@unknown.test", "a@b.c")) == "not_found"


def test_loops_of_aliases_end(accounts):
    add = lambda address, *targets: accounts.rpc("accounts.alias.add", address=address, targets=list(targets))
    add("loop1@alpha.test", "carol@alpha.test")
    add("loop2@alpha.test", "loop1@alpha.test", "alice@alpha.test")
    assert "error" not in add("loop1@alpha.test", "loop2@alpha.test"), "somebody is left"
    assert [u["address"] for u in resolve(accounts, "loop1@alpha.test")["users"]] == ["alice@alpha.test"]
    refused = add("loop2@alpha.test", "loop1@alpha.test")
    assert code(refused) == "invalid" and "nobody" in refused["error"]["message"]


def test_a_chain_of_aliases_that_is_too_long_is_said_so(accounts):
    add = lambda address, *targets: accounts.rpc("accounts.alias.add", address=address, targets=list(targets))
    add("chain12@alpha.test", "alice@alpha.test")
    for i in reversed(range(3, 12)):
        assert "error" not in add(f"chain{i}@alpha.test", f"chain{i + 1}@alpha.test"), i
    assert resolve(accounts, "chain3@alpha.test")["kind"] == "local"
    refused = add("chain2@alpha.test", "chain3@alpha.test")
    assert code(refused) == "invalid" and "more than 10" in refused["error"]["message"]
    add("further@alpha.test", "alice@alpha.test")
    add("chain12@alpha.test", "further@alpha.test")  # makes one that was short enough longer
    answer = resolve(accounts, "chain3@alpha.test")
    assert code(answer) == "too_many" and "more than 10" in answer["error"]["message"], "not silently nobody"
    assert accounts.rpc("accounts.owns", user=accounts.alice, address="chain12@alpha.test") == {"owns": True}


def test_an_alias_of_many_targets_reaches_all_of_them_or_is_refused(accounts):
    add = lambda address, *targets: accounts.rpc("accounts.alias.add", address=address, targets=list(targets))
    assert "error" not in add("wide@alpha.test", *[f"u{i}@else.where" for i in range(150)])
    assert sorted(resolve(accounts, "wide@alpha.test")["remote"]) == sorted(f"u{i}@else.where" for i in range(150))
    assert code(add("wider@alpha.test", *[f"u{i}@else.where" for i in range(501)])) == "invalid"
    for part in "abc":
        assert "error" not in add(f"part-{part}@alpha.test", *[f"{part}{i}@d{i}.where" for i in range(490)])
    two = ["part-a@alpha.test", "part-b@alpha.test"]
    assert "error" not in add("all@alpha.test", *two)
    assert len(resolve(accounts, "all@alpha.test")["remote"]) == 980
    refused = add("all3@alpha.test", *two, "part-c@alpha.test")
    assert code(refused) == "invalid" and "more than 1000" in refused["error"]["message"]
    add("part-b@alpha.test", *[f"b{i}@d{i}.where" for i in range(490)], *[f"c{i}@d{i}.where" for i in range(10)])
    assert "error" not in add("part-a@alpha.test", *[f"a{i}@d{i}.where" for i in range(500)]), "it is good by itself"
    answer = resolve(accounts, "all@alpha.test")
    assert code(answer) == "too_many" and "more than 1000" in answer["error"]["message"], "all or nothing, and never silently less"


@pytest.mark.parametrize("targets, words", [(["b@y,c@z"], "not an address"), (["alice@alpha.test", "no address"], "not an address"), (["self@alpha.test"], "itself"), (["ghost@alpha.test"], "nobody here"),
                                            (["x" * 300 + "@y.z"], "target number 1"), ([], "1 to 500")])
def test_an_alias_that_cannot_work_is_refused_with_words(accounts, targets, words):
    answer = accounts.rpc("accounts.alias.add", address="self@alpha.test", targets=targets)
    assert code(answer) == "invalid" and words in answer["error"]["message"], answer


def test_an_alias_that_is_there_cannot_be_made_to_lead_to_itself(accounts):
    assert "error" not in accounts.rpc("accounts.alias.add", address="mine@alpha.test", targets=["alice@alpha.test"])
    for target in ("mine@alpha.test", "MINE+tag@alpha.test"):
        answer = accounts.rpc("accounts.alias.add", address="mine@alpha.test", targets=[target, "carol@alpha.test"])
        assert code(answer) == "invalid" and "itself" in answer["error"]["message"]
    assert resolve(accounts, "mine@alpha.test")["users"][0]["address"] == "alice@alpha.test", "as it was"


def test_an_unknown_domain_is_said_to_be_one(accounts):
    for verb, ask in (("account.add", {"address": "a@none.test", "password": PASSWORD}), ("alias.add", {"address": "a@none.test", "targets": ["alice@alpha.test"]}), ("account.list", {"domain": "none.test"}),
                      ("alias.list", {"domain": "none.test"})):
        answer = accounts.rpc(f"accounts.{verb}", **ask)
        assert code(answer) == "not_found" and "no such domain: postbus domain add none.test" in answer["error"]["message"], verb
    assert code(accounts.rpc("accounts.account.set", address="ghost@alpha.test", quota_bytes=1)) == "not_found"
    assert "error" not in accounts.rpc("accounts.domain.add", domain="empty.test")
    assert accounts.rpc("accounts.account.list", domain="empty.test") == {"accounts": [], "next": None}
    assert accounts.rpc("accounts.alias.list", domain="empty.test") == {"aliases": [], "next": None}


@pytest.mark.parametrize("password, words", [("x", "at least 6"), ("12345", "at least 6"), ("\u00e4\u00f6\u00fc\u00df", "at least 6"), ("Password", "guessed first"), ("x" * 1025, "at most 1024")])
def test_a_bad_password_is_refused_with_words(accounts, password, words):
    for verb, address in (("add", "weak@alpha.test"), ("set", "carol@alpha.test")):
        answer = accounts.rpc(f"accounts.account.{verb}", address=address, password=password)
        assert code(answer) == "invalid" and words in answer["error"]["message"]
    assert "error" not in login(accounts, "carol@alpha.test", ip="192.0.2.99"), "nothing changed"


def test_a_password_of_any_eight_characters_will_do(accounts):
    accounts.add_account("eight@alpha.test", "\u00e4\u00f6\u00fc\u00df    ")
    assert "user" in login(accounts, "eight@alpha.test", "\u00e4\u00f6\u00fc\u00df    ")


def test_a_catch_all_takes_what_nobody_has(accounts):
    accounts.add_account("first@catch.test")
    assert accounts.rpc("accounts.alias.add", address="@catch.test", targets=["alice@alpha.test"])["address"] == "@catch.test"
    assert resolve(accounts, "whoever@catch.test")["users"][0]["address"] == "alice@alpha.test"
    assert resolve(accounts, "first@catch.test")["users"][0]["address"] == "first@catch.test"
    assert resolve(accounts, "postmaster@catch.test")["users"][0]["address"] == "first@catch.test"
    assert accounts.rpc("accounts.alias.get", address="@catch.test")["targets"] == ["alice@alpha.test"]
    assert accounts.rpc("accounts.alias.delete", address="@catch.test") == {}
    assert resolve(accounts, "whoever@catch.test") == {"kind": "unknown"}


def test_international_domains_are_one_in_both_forms(accounts):
    user = accounts.add_account("J\u00fcrgen@B\u00fccher.test")
    assert "xn--bcher-kva.test" in accounts.rpc("accounts.domain.list")["domains"]
    for address in ("ju\u0308rgen@xn--bcher-kva.test", "j\u00fcrgen@b\u00fccher.test", "J\u00fcrgen@XN--BCHER-KVA.test"):
        assert resolve(accounts, address)["users"][0]["user"] == user, address
    assert code(accounts.rpc("accounts.domain.add", domain="b\u00fccher.test")) == "exists"


@pytest.mark.parametrize("domain", ["", ".", "a..b", "-a.test", "a_b c.test", "x" * 64 + ".test", "a." * 130 + "test", "\u2488com"])
def test_bad_domains_are_invalid(accounts, domain):
    assert code(accounts.rpc("accounts.domain.add", domain=domain)) == "invalid"


def test_a_domain_has_two_dkim_keys(accounts):
    keys = {k["algorithm"]: k for k in accounts.rpc("accounts.key.get", domain="alpha.test")["keys"]}
    assert set(keys) == {"rsa", "ed25519"} and all("PRIVATE KEY" in k["private_pem"] for k in keys.values())
    assert len(keys["ed25519"]["public_b64"]) == 44 and keys["rsa"]["selector"] != keys["ed25519"]["selector"]
    assert code(accounts.rpc("accounts.key.get", domain="none.test")) == "not_found"


def test_a_domain_with_accounts_is_deleted_by_force_only(accounts):
    accounts.add_account("only@going.test")
    assert code(accounts.rpc("accounts.domain.delete", domain="going.test")) == "exists"
    assert accounts.rpc("accounts.domain.delete", domain="going.test", force=True) == {}
    assert resolve(accounts, "only@going.test") == {"kind": "remote"}
    assert code(accounts.rpc("accounts.domain.delete", domain="going.test")) == "not_found"


def test_lists_come_in_pages(accounts):
    for i in range(7):
        accounts.add_account(f"p{i}@pages.test")
    seen, after = [], ""
    while after is not None:
        page = accounts.rpc("accounts.account.list", domain="pages.test", limit=3, after=after)
        assert len(page["accounts"]) <= 3
        seen += [a["address"] for a in page["accounts"]]
        after = page["next"]
    assert seen == [f"p{i}@pages.test" for i in range(7)]


def test_changes_are_told(accounts):
    heard = []
    accounts.nats.subscribe("postbus.account.changed.>", lambda s, _r, body: heard.append((s, body)))
    accounts.nats.flush()
    accounts.add_account("told@told.test")
    end = time.monotonic() + 5
    while len(heard) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    assert [s for s, _ in heard] == ["postbus.account.changed.told.test"] * 2


def test_many_resolve_at_once(accounts):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        begin = time.monotonic()
        answers = list(pool.map(lambda _: resolve(accounts, "alice@alpha.test"), range(1000)))
    assert all(a["kind"] == "local" for a in answers)
    print(f"\n1000 resolves in {time.monotonic() - begin:.2f} s")


def test_without_redis_the_answer_is_unavailable_at_once(accounts):
    accounts.stop("redis")
    begin = time.monotonic()
    assert code(resolve(accounts, "alice@alpha.test")) == "unavailable"
    assert code(login(accounts, "alice@alpha.test")) == "unavailable"
    assert time.monotonic() - begin < 3
    accounts.start_redis()
    end = time.monotonic() + 10
    while "error" in (answer := resolve(accounts, "alice@alpha.test")) and time.monotonic() < end:
        time.sleep(0.1)
    assert answer["kind"] == "local"
