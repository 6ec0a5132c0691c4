"""Everything fails in turn while mail flows in and out: two replicas of every service but pop3d; bodies that move to the cold tier; local mail, mail to several recipients here and elsewhere, through an alias,
to servers that refuse, defer, and answer late."""
import time

from faults import Faults
from senders import Reader, Record, Sender
from sinks import Sink
from verdict import Verdict, tell
from world import DOMAIN, World, log, wait_until

REPLICAS = ("smtpd", "delivery", "mailbox", "accounts", "verifier", "imapd", "admin", "reporter")
CARRIERS = ("smtpd", "delivery", "mailbox")  # what carries a message itself
# bodies leave Redis while their readers and their delivery are under way
COLD = {"POSTBUS_COLD": "directory", "POSTBUS_COLD_AFTER": "2s", "POSTBUS_COLD_LARGE_AFTER": "1s", "POSTBUS_COLD_EVERY": "1s", "POSTBUS_COLD_SWEEP": "3s", "POSTBUS_COLD_GRACE": "2s"}
ALIAS = f"team@{DOMAIN}"


def plan(faults, short):
    """The faults of one round, in order."""
    world = faults.world
    away = ("verifier", "accounts")  # killed below, for longer
    for name in [*world.names, "nats", "redis"]:
        if not short or name in CARRIERS or f"{name}@2" not in world.names:  # in a short run, one of the others' two
            yield lambda n=name: faults.kill(n)
    for name in ("delivery", "mailbox@2", "smtpd@2", *(() if short else ("delivery@2", "mailbox", "smtpd", "verifier", "accounts@2", "imapd@2", "admin@2", "reporter"))):
        yield lambda n=name: faults.freeze(n)
    for name in ("accounts@2", "verifier@2") if short else ():
        yield lambda n=name: faults.freeze(n, 2)
    for name in ("redis", "delivery", "nats", *(() if short else ("smtpd", "mailbox@2", "accounts", "verifier@2", "imapd", "admin", "reporter@2"))):
        yield lambda n=name: faults.restart(n)
    yield lambda: faults.fill_memory(4 if short else 30)
    for service in (*away, *(() if short else ("mailbox", "delivery"))):
        yield lambda s=service: faults.away(s, 5 if short else 120)
    for name in ("delivery", "smtpd", "redis", "delivery@2", "mailbox", "smtpd@2", "redis", "mailbox@2"):
        yield lambda n=name: faults.kill(n)


def pick_local(users, index):
    def pick(number):
        if number % 17 == 3:
            return [ALIAS]
        some = [users[(number * 7 + index + k * 3) % len(users)] for k in range(5 if number % 11 == 0 else 1)]
        return list(dict.fromkeys(some))
    return pick


def pick_mixed(users, prefix):
    def pick(number):
        own = f"{prefix}-{number}"  # addresses of this message alone, for what a server does the first time it is asked
        rcpts = [f"a{number % 50}@slow.test", f"b{number % 50}@quick.test"]
        if number % 3 == 0:
            rcpts.append(users[number % len(users)])
        if number % 5 == 0:
            rcpts.append(f"later-{own}@quick.test")
        if number % 7 == 0:
            rcpts.append(f"gone-{own}@slow.test")
        if number % 13 == 0:
            rcpts += [f"many{k}@slow.test" for k in range(150)]  # more than the server takes in one transaction
        return rcpts[number % 2:] if number % 4 else rcpts
    return pick


def ways(world, record):
    """How many acknowledged messages took each of the ways that differ in what has to be on disk."""
    sent = [s for s in list(record.sent.values()) if s.acknowledged]
    here = lambda rcpt: rcpt in world.users
    return {"small texts kept with their queue entry": sum(s.size < 60_000 and s.sender in world.users and not any(map(here, s.rcpts)) for s in sent),
            "bodies written while their checks ran": sum(s.size < 250_000 and s.sender not in world.users and all(map(here, s.rcpts)) for s in sent),
            "segments of the cold tier": sum(path.is_file() for path in (world.site.dir / "cold").rglob("*"))}


def run(short, rounds):
    sinks = [Sink("slow", "127.0.1.1", rcpts_max=100, delay=(0.0, 0.4)), Sink("quick", "127.0.1.2")]
    aliases = {ALIAS: [f"user0@{DOMAIN}", f"user1@{DOMAIN}", "team@quick.test"]}
    world = World(sinks, mailboxes=10, replicas=REPLICAS, aliases=aliases, settings=COLD)
    try:
        record = Record()
        faults = Faults(world, record)
        senders = [Sender(world.site, record, f"in{i}", pick_local(world.users, i), pause=0.05) for i in range(8)]
        senders += [Sender(world.site, record, f"out{i}", pick_mixed(world.users, f"out{i}"), login=world.users[i], pause=0.15) for i in range(6)]
        people = senders + [Reader(world.site, record, world.users[i], service) for i, service in enumerate(("imapd", "pop3d", "admin"))]
        for person in people:
            person.start()
        wait_until("mail to flow", lambda: len(world.sinks.arrivals) > 20, 60)
        began = time.monotonic()
        for number in range(rounds):
            for fault in plan(faults, short):
                fault()
                time.sleep(0.3)
            log(f"  round {number + 1}: {len(record.sent)} messages sent, {len(world.sinks.arrivals)} transactions at other sites, {record.reads} reads, {time.monotonic() - began:.0f} s")
        time.sleep(2)
        record.stop = True
        for person in people:
            person.join(90)
        world.wait_healthy()
        world.new_bus()
        idle = faults.report()
        met = ways(world, record)
        log("ways: " + ", ".join(f"{what}: {count}" for what, count in met.items()))
        empty = world.wait_empty(60 if short else 300)
        time.sleep(1)
        problems = Verdict(world, record, faults, aliases).judge()
        if not empty:
            problems["left in the queue"] = [f"{world.queue()} entries"]
        if faults.stuck:
            problems["an orderly end that does not come"] = faults.stuck
        if not all(met.values()):
            problems["a way that no message took proves nothing"] = [what for what, count in met.items() if not count]
        if idle:
            problems["a fault that met no work proves nothing"] = idle
        good = tell(problems)
        problems = {"a key that nobody owns": world.unowned(40)}
        world.remove_everything()
        problems["a key left when all accounts were deleted"] = world.unowned(40) + [f"{key}: a body" for key in world.bodies()]
        problems["a sanitizer's report"] = world.sanitizer_reports()
        return tell({what: cases for what, cases in problems.items() if cases}) and good
    finally:
        world.end()
