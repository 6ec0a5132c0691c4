"""Sixty destinations of which forty accept connections and never greet. Mail to the others arrives as if these were not there, and delivery's memory stays within a bound."""
import time

from senders import Record, Sender
from sinks import Sink
from verdict import Verdict, tell
from world import World, log, wait_until

GOOD, DEAD = 20, 40
PATIENCE_SECONDS = 5
MEMORY_MAX_KB = 200 * 1024


def run(messages):
    sinks = [Sink(f"good{i}", f"127.0.2.{i + 1}") for i in range(GOOD)] + [Sink(f"dead{i}", f"127.0.3.{i + 1}", silent=True) for i in range(DEAD)]
    world = World(sinks, mailboxes=8)
    try:
        record, domains = Record(), [sink.name for sink in sinks]
        pick = lambda number, index: [f"m{number}@{domains[(number * 8 + index) % len(domains)]}.test"]
        senders = [Sender(world.site, record, f"s{i}", lambda n, i=i: pick(n, i), login=world.users[i], pause=0.05, sizes=(3000,), weights=(1,)) for i in range(8)]
        began = time.monotonic()
        for sender in senders:
            sender.start()
        wait_until(f"{messages} messages to be accepted", lambda: record.acknowledged >= messages, 60 + messages / 20)
        record.stop = True
        for sender in senders:
            sender.join(60)
        took = time.monotonic() - began
        peak, now = world.memory_kb("delivery")
        held = sum(world.sinks.held[f"dead{i}"] for i in range(DEAD))
        arrived = lambda: {(a.mark, rcpt) for a in list(world.sinks.arrivals) for rcpt in a.rcpts}
        wanted = {(s.mark, rcpt) for s in record.sent.values() for rcpt in s.rcpts if "@good" in rcpt}
        end = time.monotonic() + 2 * PATIENCE_SECONDS
        while wanted - arrived() and time.monotonic() < end:
            time.sleep(0.1)
        when = {(a.mark, rcpt): a.reply_at for a in world.sinks.arrivals for rcpt in a.rcpts}
        late = sorted((when.get((s.mark, rcpt), time.monotonic()) - s.at, s.mark, rcpt) for s in record.sent.values() for rcpt in s.rcpts if (s.mark, rcpt) in wanted and s.acknowledged)
        waits = [seconds for seconds, _, _ in late]
        log(f"{len(record.sent)} messages in {took:.0f} s, {len(wanted)} of them to {GOOD} good destinations, the others to {DEAD} that never greet ({held} connections held open there)")
        log(f"from our 250 to theirs: p50 {waits[len(waits) // 2]:.2f} s, p99 {waits[len(waits) * 99 // 100]:.2f} s, longest {waits[-1]:.2f} s; delivery's memory {now / 1024:.0f} MB, at most {peak / 1024:.0f} MB")
        problems = {}
        lost = wanted - arrived()
        if lost:
            problems[f"not at a good destination within {PATIENCE_SECONDS} s"] = [f"{mark} for {rcpt}" for mark, rcpt in sorted(lost)]
        elif waits[-1] > PATIENCE_SECONDS:
            problems[f"later than {PATIENCE_SECONDS} s at a good destination"] = [f"{mark} for {rcpt}: {seconds:.1f} s" for seconds, mark, rcpt in reversed(late) if seconds > PATIENCE_SECONDS]
        if peak > MEMORY_MAX_KB:
            problems["memory"] = [f"{peak} KB, more than {MEMORY_MAX_KB}"]
        if held < DEAD:
            problems["the test itself"] = [f"only {held} connections to destinations that never greet: nothing was shown"]
        twice = [(mark, rcpt) for mark, rcpt in wanted if sum(rcpt in a.rcpts for a in world.sinks.arrivals if a.mark == mark) > 1] if len(wanted) < 5000 else []
        if twice:
            problems["more than once"] = [f"{mark} for {rcpt}" for mark, rcpt in twice]
        if record.permanent:
            problems["refused for good"] = record.permanent
        return tell(problems)
    finally:
        world.end()
