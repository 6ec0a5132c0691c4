"""What a local message costs, counted by the services themselves: each count has a bound, so that nothing dear comes back unseen."""
import smtplib
import time
import urllib.request

import pytest

from postbus_test.site import Site, wait_until

SERVICES = ("accounts", "verifier", "mailbox", "smtpd", "imapd", "delivery")
MESSAGES = 50
NAMES = ("bus_messages_sent", "bus_messages_received", "bus_requests", "json_written", "json_read", "redis_commands", "redis_fcalls", "loop_wakeups", "body_copies", "body_copied_bytes")


def counts(site):
    totals = dict.fromkeys(NAMES, 0)
    for service in SERVICES:
        for line in urllib.request.urlopen(f"http://127.0.0.1:{site.http[service]}/metrics").read().decode().splitlines():
            name, _, value = line.partition(" ")
            short = name.removeprefix("postbus_").removesuffix("_total")
            if short in totals:
                totals[short] += int(value)
    return totals


@pytest.fixture(scope="module")
def site():
    s = Site("mx.alpha.test")
    s.start(*SERVICES)
    s.add_account("bob@alpha.test", "correct horse 1")
    yield s
    s.end()


def test_what_a_local_message_costs(site):
    session = smtplib.SMTP("127.0.0.1", site.ports["smtp"], "client.load.test", 30)

    def send(count):
        for i in range(count):
            session.sendmail("x@load.test", ["bob@alpha.test"], f"From: x@load.test\r\nTo: bob@alpha.test\r\nSubject: {i}\r\n\r\n".encode() + b"0123456789\r\n" * 300)

    def settled():
        before = counts(site)
        return counts(site)["bus_messages_received"] == before["bus_messages_received"] and before

    send(5)
    idle, idle_from = wait_until("the first ones to be done with", settled), time.monotonic()
    time.sleep(5)  # what the services do by themselves, however long the messages take
    begun, before = time.monotonic(), counts(site)
    send(MESSAGES)
    after = wait_until("all to be done with", settled)
    share = (time.monotonic() - begun) / (begun - idle_from)
    each = {name: (after[name] - before[name] - share * (before[name] - idle[name])) / MESSAGES for name in NAMES}
    print({name: round(value, 1) for name, value in each.items()})
    assert all(each[name] > 0 for name in NAMES if name != "body_copied_bytes")  # each is counted
    # verify and its answer, deliver and its answer; accepted, changed
    assert each["bus_requests"] <= 2.4 and each["bus_messages_sent"] <= 6.4
    assert each["json_written"] <= 6.4 and each["json_read"] <= 4.4
    assert each["redis_fcalls"] <= 2.4 and each["redis_commands"] <= 2.8  # the body with its references; the mailbox
    assert each["body_copies"] <= 2.4
    assert each["loop_wakeups"] <= 13
