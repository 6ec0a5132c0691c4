"""Messages to a thousand recipients at one domain, whose server takes a hundred in a transaction; to a domain that takes some and refuses others; and at a server that
defers every recipient once. Each recipient exactly once, within a minute, and still after leases have ended."""
import time

from senders import Record, Sender
from sinks import Sink
from verdict import Verdict, tell
from world import LEASE_SECONDS, World, log, wait_until

MINUTE = 60


def run():
    sinks = [Sink("hundred", "127.0.4.1", rcpts_max=100), Sink("mixed", "127.0.4.2", rcpts_max=1000), Sink("shy", "127.0.4.3", rcpts_max=1000)]
    world = World(sinks, mailboxes=1)
    try:
        record = Record()
        messages = [[f"r{i}@hundred.test" for i in range(1000)],
                    [f"{'gone' if i % 3 == 0 else 'r'}{i}@mixed.test" for i in range(600)],
                    [f"later{i}@shy.test" for i in range(300)]]

        def pick(number):
            if number == len(messages) - 1:
                record.stop = True
            return messages[number]

        sender = Sender(world.site, record, "wide", pick, login=world.users[0], sizes=(3000,), weights=(1,))
        began = time.monotonic()
        sender.start()
        sender.join(120)
        total = sum(map(len, messages))
        taken = lambda: sum(len(a.rcpts) for a in list(world.sinks.arrivals))
        refused = sum(rcpt.startswith("gone") for rcpts in messages for rcpt in rcpts)
        try:
            wait_until("all recipients", lambda: taken() >= total - refused and world.queue() == 0, MINUTE)
        except AssertionError:
            pass
        log(f"{taken()} of {total - refused} recipients after {time.monotonic() - began:.0f} s, {len(world.sinks.arrivals)} transactions over {world.sinks.connections} connections, "
            f"{world.queue()} entries left in the queue; now three leases' time for second copies")
        in_time = taken() >= total - refused
        time.sleep(3 * LEASE_SECONDS)
        problems = Verdict(world, record, None).judge()
        if not in_time:
            problems["not within a minute"] = [f"{taken()} of {total - refused}"]
        if world.queue():
            problems["left in the queue"] = [f"{world.queue()} entries"]
        return tell(problems)
    finally:
        world.end()
