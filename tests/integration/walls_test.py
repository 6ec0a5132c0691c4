"""The walls between services (docs/laws.md, law 9): what a service's user of the bus and of the store must not do, tried and refused, with the shipped configuration and the
secrets that the setup program makes. That each service can do its own work is shown by the other tests."""
import itertools
import socket
import sys

import pytest

from postbus_test.nats import Nats
from postbus_test.site import ROOT, Site, wait_until

sys.path.insert(0, str(ROOT / "tests/tools"))
import acl  # noqa: E402

SERVICES = acl.SERVICES


@pytest.fixture(scope="module")
def site():
    site = Site(tap=False)
    yield site
    site.end()


def secret(site, service, name):
    return (site.secrets_root / service / name).read_text().strip()


# The bus ---------------------------------------------------------------------------------------------------------------------------------------------

# Subject -> who may publish on it; all others are refused.
SAY = {
    "postbus.rpc.accounts.key.get": {"verifier"},  # answers private DKIM keys
    "postbus.rpc.accounts.key.activate": {"verifier"},
    "postbus.rpc.accounts.key.rotate": {"verifier", "admin"},
    "postbus.rpc.accounts.account.add": {"admin"},
    "postbus.rpc.accounts.account.set": {"admin"},
    "postbus.rpc.accounts.account.delete": {"admin"},
    "postbus.rpc.accounts.domain.delete": {"admin"},
    "postbus.rpc.accounts.login": {"smtpd", "imapd", "pop3d", "admin"},
    "postbus.rpc.accounts.logins": {"smtpd", "imapd", "pop3d", "admin"},
    "postbus.rpc.accounts.scram.login": {"smtpd", "imapd", "pop3d", "admin"},
    "postbus.rpc.verifier.sign": {"smtpd", "delivery", "reporter"},
    "postbus.rpc.verifier.seal": {"smtpd"},
    "postbus.rpc.verifier.verify": {"smtpd", "admin"},
    "postbus.rpc.verifier.at.01.verify": {"smtpd", "admin"},
    "postbus.rpc.verifier.prefetch": {"smtpd", "admin"},
    "postbus.rpc.mailbox.deliver": {"smtpd", "delivery"},
    "postbus.rpc.mailbox.quota": {"accounts"},
    "postbus.rpc.mailbox.delete": {"accounts"},
    "postbus.rpc.delivery.queue.delete": {"admin"},
    "postbus.rpc.reporter.take": {"delivery"},
    "postbus.account.changed.example.org": {"accounts"},
    "postbus.queue.due.3": {"smtpd", "delivery", "reporter"},
    "postbus.mail.accepted.01": {"smtpd", "delivery", "reporter"},
    "postbus.mail.delivered.01": {"mailbox"},
    "postbus.mail.sent.01": {"delivery"},
    "postbus.dns.broken.example.org": {"verifier"},
    "$JS.API.STREAM.DELETE.POSTBUS_MAIL": set(),
    "$JS.API.STREAM.PURGE.POSTBUS_MAIL": set(),
    "$JS.API.STREAM.MSG.GET.POSTBUS_MAIL": set(),
    "$JS.API.CONSUMER.DELETE.POSTBUS_MAIL.reporter": set(),
    "$JS.API.CONSUMER.MSG.NEXT.POSTBUS_MAIL.reporter": {"reporter"},
    "$SYS.REQ.SERVER.PING": set(),
}
# Subject -> who may hear it.
HEAR = {
    ">": set(),
    "*.*": set(),
    "_INBOX.>": set(),
    "_INBOX.*.*.*": set(),
    "_R_.>": set(),
    "$JS.>": set(),
    "$SYS.>": set(),
    "postbus.>": set(),
    "postbus.rpc.>": set(),
    "postbus.rpc.accounts.login": {"accounts"},  # passwords
    "postbus.rpc.accounts.scram.login": {"accounts"},
    "postbus.rpc.accounts.>": {"accounts"},
    "postbus.rpc.mailbox.>": {"mailbox"},
    "postbus.rpc.verifier.>": {"verifier"},
    "postbus.rpc.delivery.>": {"delivery"},
    "postbus.rpc.reporter.>": {"reporter"},
    "postbus.mail.>": {"admin"},
    "postbus.mailbox.changed.*": {"imapd", "admin"},
    "postbus.account.changed.>": {"smtpd", "imapd", "pop3d", "verifier", "accounts", "admin"},
    "postbus.queue.due.*": {"delivery"},
}


@pytest.mark.parametrize("service", SERVICES)
def test_bus_user_may_say_only_its_own(site, service):
    may = dict(SAY)
    for other in SERVICES:  # an answer in another's name, to a request that was never put to us
        may[f"_INBOX.{other}.01J0000000000000000000TEST.65536"] = set()
    for subject, users in may.items():
        bus = Nats(site.nats_port, service, secret(site, service, "nats.password"))
        bus.publish(subject, {})
        bus.flush()
        refused = any("Permissions Violation for Publish" in e and f'"{subject}"' in e for e in bus.errors)
        assert refused == (service not in users), f"{service} publishes on {subject}: refused {refused}, {bus.errors}"
        bus.close()


@pytest.mark.parametrize("service", SERVICES)
def test_bus_user_may_hear_only_its_own(site, service):
    may = dict(HEAR)
    for other in SERVICES:  # answers to others' requests
        may[f"_INBOX.{other}.>"] = {other}
    for subject, users in may.items():
        bus = Nats(site.nats_port, service, secret(site, service, "nats.password"))
        bus.subscribe(subject, lambda *_: None)
        bus.flush()
        refused = any("Permissions Violation for Subscription" in e and f'"{subject}"' in e for e in bus.errors)
        assert refused == (service not in users), f"{service} subscribes {subject}: refused {refused}, {bus.errors}"
        bus.close()


def test_answers_with_private_keys_are_heard_by_the_asker_alone(site):
    """As the system works: accounts answers the verifier, and every other user listens wherever it is let."""
    site.start("accounts")
    site.add_account("alice@keys.test")
    heard = []
    listeners = [Nats(site.nats_port, other, secret(site, other, "nats.password")) for other in SERVICES if other != "verifier"]
    for bus in listeners:
        for subject in (">", "_INBOX.>", "_INBOX.*.*", "_INBOX.*.*.*", "_INBOX.verifier.>", "_INBOX.verifier.*.*"):
            bus.subscribe(subject, lambda *message: heard.append(message))
        bus.flush()
    verifier = Nats(site.nats_port, "verifier", secret(site, "verifier", "nats.password"))
    answer = verifier.request("accounts.key.get", {"domain": "keys.test"})
    assert "PRIVATE KEY" in str(answer)
    for bus in listeners:
        bus.flush()
    assert [m for m in heard if b"PRIVATE KEY" in m[2]] == []


def test_a_service_hears_answers_below_its_own_inbox(site):
    """What the services themselves subscribe, not only the tests."""
    seen = []
    site.nats.subscribe("postbus.rpc.accounts.domain.list", lambda _s, reply, _b: seen.append(reply))
    site.start("verifier")  # asks for the domains that it publishes
    wait_until("a request of the verifier", lambda: seen)
    assert all(reply.startswith("_INBOX.verifier.") for reply in seen), seen
    site.stop("verifier")


# The store -------------------------------------------------------------------------------------------------------------------------------------------

LIBRARY = "#!lua name=evil\nredis.register_function('evil', function(keys, args) return redis.call('GET', 'x') end)"
# One command each that no service may give, whatever its arguments.
NEVER = [
    ["FUNCTION", "LOAD", "REPLACE", LIBRARY], ["FUNCTION", "FLUSH"], ["FUNCTION", "DELETE", "queue"], ["FUNCTION", "RESTORE", "x"], ["FUNCTION", "DUMP"], ["FUNCTION", "LIST"],
    ["EVAL", "return 1", "0"], ["EVALSHA", "0" * 40, "0"], ["EVAL_RO", "return 1", "0"], ["SCRIPT", "LOAD", "return 1"], ["SCRIPT", "FLUSH"],
    ["KEYS", "*"], ["RANDOMKEY"], ["DBSIZE"], ["FLUSHALL"], ["FLUSHDB"], ["SWAPDB", "0", "1"], ["SELECT", "1"],
    ["CONFIG", "GET", "*"], ["CONFIG", "SET", "maxmemory", "1"], ["ACL", "LIST"], ["ACL", "SETUSER", "smtpd", "+@all"], ["ACL", "LOAD"], ["MODULE", "LIST"],
    ["DEBUG", "SLEEP", "0"], ["SAVE"], ["BGSAVE"], ["BGREWRITEAOF"], ["REPLICAOF", "127.0.0.1", "1"], ["PSYNC", "?", "-1"], ["SYNC"], ["MONITOR"],
    ["CLIENT", "LIST"], ["CLIENT", "KILL", "TYPE", "normal"], ["CLIENT", "PAUSE", "1"], ["SLOWLOG", "GET"], ["LATENCY", "RESET"], ["MEMORY", "STATS"],
    ["SUBSCRIBE", "x"], ["PSUBSCRIBE", "*"], ["PUBLISH", "x", "y"], ["MULTI"], ["WAIT", "0", "0"], ["CLUSTER", "INFO"],
    ["SHUTDOWN", "NOSAVE"],
]
# The same on keys; KEY is each of the service's own keys and of all others.
NEVER_ON_KEYS = [
    ["RESTORE", "KEY", "0", "x"], ["DUMP", "KEY"], ["MIGRATE", "127.0.0.1", "1", "KEY", "0", "1"], ["SORT", "KEY", "BY", "x", "GET", "y"], ["COPY", "KEY", "KEY"], ["MOVE", "KEY", "1"],
    ["OBJECT", "ENCODING", "KEY"], ["PERSIST", "KEY"], ["APPEND", "KEY", "x"], ["SETRANGE", "KEY", "0", "x"],
]
FAMILIES = {
    "b:{01J0000000000000000000TEST}": {"smtpd", "delivery", "mailbox", "imapd", "pop3d", "reporter", "admin"},
    "{q:0}": {"smtpd", "delivery", "reporter"},
    "{u:01J0000000000000000000USER}": {"mailbox", "imapd", "pop3d", "admin"},  # admin: export and import
    "a:{example.org}": {"accounts"},
    "a:domains": {"accounts"},
    "v:check:example.org": {"verifier"},
    "{rep}": {"reporter"},
    "{janitor}": {"mailbox"},
    "{cold}": {"smtpd", "delivery", "mailbox", "imapd", "reporter", "admin"},
    "anything": set(),
}


class Store:
    """One connection, logged in; ask() answers the first line of the reply."""

    def __init__(self, site, user, password):
        self.sock = socket.create_connection(("127.0.0.1", site.redis_port), 5)
        self.file = self.sock.makefile("rb")
        assert self.ask("AUTH", user, password) == "+OK"

    def ask(self, *words):
        encoded = [w.encode() for w in words]
        self.sock.sendall(b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in encoded))
        return self.file.readline().decode().rstrip()

    def close(self):
        self.file.close()
        self.sock.close()


def refused(site, service, words):
    store = Store(site, service, secret(site, service, "redis.password"))
    answer = store.ask(*words)
    store.close()
    return answer.startswith("-NOPERM"), answer


@pytest.mark.parametrize("service", SERVICES)
def test_store_user_has_no_command_over_the_server(site, service):
    for words in NEVER:
        no, answer = refused(site, service, words)
        assert no, f"{service}: {' '.join(words)} is answered {answer!r}"
    scan = refused(site, service, ["SCAN", "0"])
    assert scan[0] == ("scan" not in acl.needs()[service]), scan
    assert service == "mailbox" or scan[0], f"{service} may SCAN"
    info = refused(site, service, ["INFO", "memory"])  # the mover looks at how full Redis is
    assert info[0] == (service != "mailbox"), f"{service}: INFO is answered {info[1]!r}"
    for words, key in itertools.product(NEVER_ON_KEYS, FAMILIES):
        no, answer = refused(site, service, [key if w == "KEY" else w for w in words])
        assert no, f"{service}: {' '.join(words)} on {key} is answered {answer!r}"
    assert "queue_commit" in site.redis("FUNCTION", "LIST", "LIBRARYNAME", "queue")


@pytest.mark.parametrize("service", SERVICES)
def test_store_user_reaches_only_its_own_keys(site, service):
    """By every one of its commands that may be tried on any key, and by a Function with that key."""
    mine = {word[1:] for word in acl.users()[service][1]}
    tried = {"get": [], "hget": ["x"], "hgetall": [], "hmget": ["x"], "set": ["x"], "hset": ["x", "y"], "del": [], "unlink": [], "exists": [], "zadd": ["1", "x"], "expire": ["1"], "hdel": ["x"], "zrange": ["0", "1"]}
    for key, users in FAMILIES.items():
        if service in users:
            continue
        for command in sorted(mine & tried.keys()):
            if (service, key[:3], command) in {("verifier", "b:{", "hmget"), ("verifier", "b:{", "get")} or (service == "mailbox" and key == "{q:0}" and command in {"get", "hget", "hgetall", "hmget", "exists", "zrange"}):
                continue  # reads only: %R
            no, answer = refused(site, service, [command, key, *tried[command]])
            assert no, f"{service}: {command} {key} is answered {answer!r}"
        for function in ("blob_release", "queue_stat", "account_resolve", "mailbox_stat", "report_read"):
            no, answer = refused(site, service, ["FCALL", function, "1", key, "x"])
            assert no, f"{service}: {function} on {key} is answered {answer!r}"


def test_a_function_gets_no_more_rights_than_its_caller(site):
    """smtpd puts messages into the queue; it can neither list nor delete what is there, though the Functions are the same library's."""
    for function, arguments in (("queue_delete", ["x"]), ("queue_list", ["0", "10"])):
        store = Store(site, "smtpd", secret(site, "smtpd", "redis.password"))
        answer = store.ask("FCALL", function, "1", "{q:0}", *arguments)
        assert "NOPERM" in answer or "ACL" in answer, f"{function}: {answer}"
        store.close()


def test_each_user_may_exactly_what_its_code_needs():
    assert acl.differences() == [], "users.acl.in differs from the sources: tests/tools/acl.py --write, and look at the difference"


def test_the_functions_that_the_check_reads_are_those_that_redis_has(site):
    listed = site.redis("FUNCTION", "LIST").splitlines()
    there = {b for a, b in zip(listed, listed[1:]) if a == "name"}
    assert there == set(acl.lua_functions())


@pytest.mark.parametrize("lacking", ["hsetnx", "time"])
def test_the_check_finds_a_missing_and_a_needless_right(tmp_path, monkeypatch, lacking):
    text = acl.ACL.read_text()
    smtpd = next(line for line in text.splitlines() if line.startswith("user smtpd "))
    changed = tmp_path / "users.acl.in"
    changed.write_text(text.replace(smtpd, smtpd.replace(f" +{lacking}", "") + " +hkeys"))
    monkeypatch.setattr(acl, "ACL", changed)
    found = "\n".join(acl.differences())
    assert f"smtpd lacks +{lacking}: the Function queue_commit" in found and "smtpd has +hkeys, which nothing of it needs" in found


def test_users_acl_is_what_redis_has(site):
    """The shipped file as it is loaded: no user but ours, no categories."""
    users = [line.split()[1] for line in site.redis("ACL", "LIST").splitlines()]
    assert sorted(users) == sorted([*SERVICES, "default", "setup"])
    assert "+@" not in acl.ACL.read_text().split("user smtpd", 1)[1]
