"""The site under test, the DNS it asks and the other sites it sends to."""
import pathlib
import signal
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))
from postbus_test.dns import Knot  # noqa: E402
from postbus_test.site import SERVICES, Site, free_port, wait_until  # noqa: E402

from senders import PASSWORD  # noqa: E402
from sinks import Sinks  # noqa: E402

DOMAIN = "chaos.test"
LEASE_SECONDS = 6  # of a queue entry, in place of the shipped setting: a run meets many ends of leases


def log(text):
    print(text, flush=True)


def client_name(replica):
    """The name that a replica of delivery says in EHLO."""
    return replica.replace("@", "-") + ".mx.chaos.test"


class World:
    """sinks: what listens at other sites; each domain <name>.test leads to the sink of that name. replicas: services that run twice. mailboxes: how many accounts."""

    def __init__(self, sinks, mailboxes, replicas=(), settings=None, redis_dir=None, redis_port=None, aliases=None):
        self.port = free_port()
        self.sinks = Sinks(self.port)
        zones = {"load.test": '@ 600 IN TXT "v=spf1 ip4:127.0.0.1 -all"\n', "in-addr.arpa": "1.0.0.127 600 IN PTR ns.load.test.\n"}
        for sink in sinks:
            self.sinks.add(sink)
            zones[f"{sink.name}.test"] = f"@ 600 IN MX 10 mx\nmx 600 IN A {sink.ip}\n"
        self.knot = Knot(zones)
        stubs = ",".join(f"{zone}={self.knot.address}" for zone in zones)
        self.site = Site("mx.chaos.test", {"POSTBUS_LOG": "info", "POSTBUS_RESOLVER_STUBS": stubs, "POSTBUS_SMTP_PORT": self.port, "POSTBUS_RETRY_FIRST_SECONDS": 1,
                                           "POSTBUS_QUEUE_LEASE": f"{LEASE_SECONDS}s", "POSTBUS_PRIVATE_DESTINATIONS": "on", "POSTBUS_SMTP_CONNECTIONS_PER_CLIENT": 1000, **(settings or {})}, tap=False, redis_dir=redis_dir, redis_port=redis_port)
        self.names = [*SERVICES, *(f"{service}@2" for service in replicas)]
        for name in self.names:  # each replica of delivery greets with a name of its own
            if name.partition("@")[0] == "delivery":
                self.site.extra[name] = {"POSTBUS_OUTGOING_NAME": client_name(name)}
        try:
            self.site.start(*self.names)
            self.users = [f"user{i}@{DOMAIN}" for i in range(mailboxes)]
            for address in self.users:
                self.site.add_account(address, PASSWORD)
            for alias, targets in (aliases or {}).items():
                added = self.site.rpc("accounts.alias.add", address=alias, targets=targets)
                assert "error" not in added, added
        except BaseException:
            self.end()
            raise

    def new_bus(self):
        """After NATS was away."""
        self.site.nats.close()
        self.site.nats = wait_until("NATS", self.site.new_nats, 20)

    def wait_healthy(self):
        wait_until("all services to be healthy again", lambda: all(self.site._healthy(name) for name in self.names), 60)

    def queue(self):
        """Entries in the queue, as the queue's own index says."""
        return sum(int(self.site.redis("ZCARD", f"{{q:{shard}}}:due")) for shard in range(16))

    def wait_empty(self, seconds):
        """True when the queue is empty within so many seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.queue() == 0:
                return True
            time.sleep(0.25)
        return False

    def remove_everything(self):
        """Deletes every account."""
        for address in self.users:
            answer = self.site.rpc("accounts.account.delete", address=address)
            assert "error" not in answer, answer

    def unowned(self, seconds):
        """What is in the store and belongs to nobody, once the janitor has had so many seconds: a line each. The janitor is in a hurry here; in use it waits an hour before it
        believes that something is nobody's."""
        from postbus_test.ledger import unowned_of
        self.site.settings.update({"POSTBUS_JANITOR_EVERY": "2s", "POSTBUS_JANITOR_GRACE": "2s", "POSTBUS_JANITOR_PAUSE_MS": 1, "POSTBUS_JANITOR_RECOUNT": "0"})
        for name in self.names:
            if name.partition("@")[0] == "mailbox":
                self.site.restart(name, signal.SIGTERM)
        end = time.monotonic() + seconds
        while (left := unowned_of(self.site)) and time.monotonic() < end:
            time.sleep(1)
        return left

    def bodies(self):
        """Messages that are stored, whoever they belong to."""
        return self.site.redis("--scan", "--pattern", "b:*").split()

    def sanitizer_reports(self):
        """What sanitizers said in the services' logs, where the programs were built with them."""
        found = []
        for name in self.names:
            text = self.site.log(name)
            at = min((i for i in (text.find("Sanitizer"), text.find("runtime error:")) if i >= 0), default=-1)
            if at >= 0:
                found.append(f"{name}: {text[max(0, at - 200):at + 4000]}")
        return found

    def memory_kb(self, name):
        """The most memory that a service has ever used, and what it uses now (resident)."""
        status = pathlib.Path(f"/proc/{self.site.processes[name].pid}/status").read_text()
        read = lambda field: int(status.split(field + ":")[1].split()[0])
        return read("VmHWM"), read("VmRSS")

    def end(self):
        for name in list(self.site.processes):
            self.site.kill(name)
        self.knot.end()
        self.sinks.end()
