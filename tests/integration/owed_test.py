"""What accounts owes the mailbox service: quotas and deletions, recorded with the change and done until they are done; a stand-in for the mailbox service, real NATS and Redis."""
import concurrent.futures
import json
import signal
import threading
import time

import pytest

from postbus_test.site import wait_until

PASSWORD = "correct horse 1"


class Mailbox:
    """The mailbox service's two verbs. away: does not answer; refuse: answers unavailable."""

    def __init__(self, site):
        self.quota, self.deleted, self.asked, self.refuse, self.hold = {}, [], [], False, None
        self.lock = threading.Lock()
        for verb in ("mailbox.quota", "mailbox.delete"):
            site.nats.subscribe("postbus.rpc." + verb, lambda _s, reply, body, v=verb: self.take(site, v, reply, body), group="mailbox")
        site.nats.flush()

    def take(self, site, verb, reply, body):
        ask = json.loads(body)
        with self.lock:
            self.asked.append((verb, ask))
            if self.refuse:
                site.nats.publish(reply, {"error": {"code": "unavailable", "message": "later"}})
                return
            if self.hold is not None:
                self.hold.append((verb, ask, reply))
                return
            self.do(site, verb, ask, reply)

    def do(self, site, verb, ask, reply):
        if verb == "mailbox.quota":
            self.quota[ask["user"]] = ask["quota_bytes"]
        else:
            self.deleted.append(ask["user"])
        site.nats.publish(reply, {})


@pytest.fixture(scope="module")
def accounts(bare_site):
    bare_site.start("accounts")
    assert "error" not in bare_site.rpc("accounts.domain.add", domain="owed.test")
    bare_site.mailbox = Mailbox(bare_site)
    return bare_site


def owed(site, domain="owed.test"):
    return [line for line in site.redis("HGETALL", f"a:{{{domain}}}:owed").split("\n") if line]


def add(site, name, **more):
    account = site.rpc("accounts.account.add", address=f"{name}@owed.test", password=PASSWORD, **more)
    assert "error" not in account, account
    return account["user"]


def test_a_quota_is_with_the_mailbox_service_when_the_change_is_answered(accounts):
    ann = add(accounts, "ann", quota_bytes=100000)
    assert accounts.mailbox.quota[ann] == 100000
    assert accounts.rpc("accounts.account.set", address="ann@owed.test", quota_bytes=2**50)["quota_bytes"] == 2**50
    assert accounts.mailbox.quota[ann] == 2**50
    assert accounts.rpc("accounts.account.set", address="ann@owed.test", quota_bytes=0)["quota_bytes"] == 0
    assert accounts.mailbox.quota[ann] == 0
    asked = len(accounts.mailbox.asked)
    accounts.rpc("accounts.account.set", address="ann@owed.test", password="another one 2")
    add(accounts, "without")
    assert len(accounts.mailbox.asked) == asked, "nothing about a quota"
    assert owed(accounts) == []


def test_what_could_not_be_done_is_done_later_also_by_the_next_process(accounts):
    bob = add(accounts, "bob")
    accounts.mailbox.refuse = True
    assert accounts.rpc("accounts.account.set", address="bob@owed.test", quota_bytes=5000)["quota_bytes"] == 5000, "the change itself is done"
    assert owed(accounts) == [bob, "quota 5000 bob"]
    accounts.restart("accounts", signal.SIGKILL)
    assert bob not in accounts.mailbox.quota
    accounts.mailbox.refuse = False
    wait_until("the quota", lambda: accounts.mailbox.quota.get(bob) == 5000)
    wait_until("nothing owed", lambda: owed(accounts) == [])


def test_a_crash_between_a_deletion_and_its_mail_leaves_no_mail(accounts):
    eve = add(accounts, "eve", quota_bytes=1)
    accounts.mailbox.hold = []
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(accounts.rpc, "accounts.account.delete", address="eve@owed.test")
        wait_until("the deletion on its way", lambda: accounts.mailbox.hold)
        accounts.kill("accounts")
        accounts.mailbox.hold = None
        assert eve not in accounts.mailbox.deleted and owed(accounts) == [eve, "delete"]
        accounts.start("accounts")
        wait_until("the mail to go", lambda: eve in accounts.mailbox.deleted)
        wait_until("nothing owed", lambda: owed(accounts) == [])
        accounts.nats.publish(next(t for t in accounts.nats.waiting), {"error": {"code": "unavailable", "message": "for the thread that waits"}})


def test_a_slow_deletion_does_not_hold_its_answer(accounts):
    slow = add(accounts, "slow")
    accounts.mailbox.hold = []
    begin = time.monotonic()
    assert accounts.rpc("accounts.account.delete", address="slow@owed.test")["user"] == slow
    assert 3 < time.monotonic() - begin < 10
    held, accounts.mailbox.hold = accounts.mailbox.hold, None
    assert len(held) == 1, "asked once while the answer is on its way"
    accounts.mailbox.do(accounts, *held[0])
    wait_until("nothing owed", lambda: owed(accounts) == [])


def test_a_newer_quota_stays_when_an_older_one_arrives_after_it(accounts):
    user = add(accounts, "race")
    accounts.mailbox.hold = []
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(accounts.new_nats().request, "accounts.account.set", {"address": "race@owed.test", "quota_bytes": 1000})
        wait_until("the first on its way", lambda: len(accounts.mailbox.hold) == 1)
        second = pool.submit(accounts.new_nats().request, "accounts.account.set", {"address": "race@owed.test", "quota_bytes": 2000})
        wait_until("the second on its way", lambda: len(accounts.mailbox.hold) == 2)
        (older, newer), accounts.mailbox.hold = accounts.mailbox.hold, None
        accounts.mailbox.do(accounts, *newer)
        second.result()
        accounts.mailbox.do(accounts, *older)
        first.result()
    wait_until("the newer one again", lambda: accounts.mailbox.quota[user] == 2000)
    wait_until("nothing owed", lambda: owed(accounts) == [])


def test_changes_at_the_same_time_are_all_kept(accounts):
    add(accounts, "both")
    pool = [accounts.new_nats() for _ in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        for turn in range(5):
            ask = lambda i: {"address": "both@owed.test", **({"quota_bytes": 1000 + turn} if i else {"password": f"new password {turn}"})}
            answers = list(threads.map(lambda i: pool[i].request("accounts.account.set", ask(i)), range(2)))
            assert not [a for a in answers if "error" in a]
            assert accounts.rpc("accounts.account.get", address="both@owed.test")["quota_bytes"] == 1000 + turn
            assert "user" in accounts.rpc("accounts.login", login="both@owed.test", password=f"new password {turn}", client_ip="192.0.2.1", protocol="imap")
        answers = list(threads.map(lambda i: pool[i].request("accounts.account.set", {"address": "both@owed.test", "quota_bytes": i + 1}), range(8)))
    kept = accounts.rpc("accounts.account.get", address="both@owed.test")
    assert [a["quota_bytes"] for a in answers if "error" not in a].count(kept["quota_bytes"]) == 1
    wait_until("the mailbox service knows", lambda: accounts.mailbox.quota[kept["user"]] == kept["quota_bytes"] and owed(accounts) == [])


def test_a_domain_that_goes_by_force_takes_all_mail_with_it(accounts):
    users = {accounts.add_account(f"u{i}@going.test") for i in range(100)}
    assert accounts.rpc("accounts.domain.delete", domain="going.test", force=True) == {}
    wait_until("all their mail", lambda: users <= set(accounts.mailbox.deleted), 30)
    wait_until("nothing owed", lambda: owed(accounts, "going.test") == [])
    assert "going.test" not in accounts.rpc("accounts.domain.list")["domains"]


def test_what_sessions_hear(accounts):
    heard = []
    accounts.nats.subscribe("postbus.account.changed.owed.test", lambda s, _r, body: heard.append(body))
    accounts.nats.flush()
    user = add(accounts, "heard")
    accounts.rpc("accounts.account.set", address="heard@owed.test", quota_bytes=5)
    accounts.rpc("accounts.account.set", address="heard@owed.test", password="another one 2")
    accounts.rpc("accounts.account.delete", address="heard@owed.test")
    wait_until("four events", lambda: len(heard) == 4)
    data = [json.loads(h)["data"] for h in heard]
    assert [(d["change"], d.get("sessions")) for d in data] == [("created", None), ("changed", None), ("changed", "end"), ("deleted", "end")]
    assert {d["user"] for d in data} == {user} and {d["name"] for d in data} == {"heard@owed.test"}


def test_a_deletion_leaves_no_key_of_the_account(accounts):
    add(accounts, "trace")
    for i in range(3):
        accounts.rpc("accounts.login", login="trace@owed.test", password=PASSWORD if i else "wrong", client_ip=f"192.0.2.{i}", protocol="imap")
    accounts.rpc("accounts.account.delete", address="trace@owed.test")
    left = [k for k in accounts.redis("--scan", "--pattern", "a:*trace*").split()]
    assert [k for k in left if int(accounts.redis("TTL", k)) < 0] == [], "only counters that expire"
