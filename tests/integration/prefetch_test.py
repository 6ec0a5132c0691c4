"""verifier.prefetch: the DNS records that a message's verification needs are asked for at MAIL, so that they are there when the message is."""
import contextlib
import smtplib
import time

import pytest

from postbus_test.scripted_dns import ScriptedDns, Slow
from postbus_test.site import Site, wait_until

BOB = "bob@alpha.test"
SLOW, DEPTH = 0.2, 9  # seconds of each answer, which is below the time after which the resolver asks again; answers that lead to one another
WHOLE = SLOW * DEPTH


def zone(domain, seconds):
    """An SPF record that includes another, and so on, and a DMARC record."""
    later = (lambda value: Slow(seconds, value)) if seconds else (lambda value: value)
    names = [domain, *(f"_{i}.{domain}" for i in range(1, DEPTH))]
    chain = {(name, "TXT"): later(f'"v=spf1 include:{after} -all"') for name, after in zip(names, names[1:])}
    return {**chain, (names[-1], "TXT"): later('"v=spf1 ip4:127.0.0.1 -all"'), (f"_dmarc.{domain}", "TXT"): later('"v=DMARC1; p=reject"')}


@pytest.fixture(scope="module")
def world():
    zones = {**zone("slow.test", SLOW), **zone("late.test", SLOW), ("client.test", "TXT"): '"v=spf1 -all"'}
    for i in range(9):
        zones |= zone(f"d{i}.test", 0)
    dns = ScriptedDns(zones)
    site = Site(settings={"POSTBUS_RESOLVER_STUBS": f"test={dns.address}"}, tap=False)  # a tap would look like a worker that is there and does not answer
    site.extra["verifier"] = {"POSTBUS_WORKERS": "3"}  # each has a cache of its own
    site.start("accounts", "verifier", "mailbox", "smtpd")
    site.add_account(BOB)
    site.dns, site.asked = dns, []
    listener = site.new_nats()
    listener.subscribe("postbus.rpc.verifier.prefetch", lambda subject, _reply, body: site.asked.append(body))
    listener.flush()
    yield site
    site.end()
    dns.end()


@contextlib.contextmanager
def session(site):
    with smtplib.SMTP("127.0.0.1", site.ports["smtp"], local_hostname="client.test", timeout=60) as smtp:
        smtp.ehlo()
        yield smtp


def text(domain):
    return f"From: ann@{domain}\r\nTo: {BOB}\r\nSubject: x\r\n\r\nx\r\n"


def seconds_of_data(smtp, domain):
    assert smtp.rcpt(BOB)[0] == 250
    begin = time.monotonic()
    code, reply = smtp.data(text(domain))
    assert code == 250 and b"delivered" in reply, reply
    return time.monotonic() - begin


def test_the_records_are_there_when_the_message_is(world):
    done = world.metric("verifier", "postbus_verifier_prefetches_total")
    with session(world) as smtp:
        assert smtp.mail("ann@slow.test")[0] == 250
        wait_until("the answers", lambda: world.metric("verifier", "postbus_verifier_prefetches_total") == done + 1, 60)
        asked = len(world.dns.questions)
        assert all(world.dns.count(name, "TXT") for name in ("slow.test", "_8.slow.test", "_dmarc.slow.test", "client.test"))
        assert seconds_of_data(smtp, "slow.test") < WHOLE
    assert len(world.dns.questions) == asked, "the worker that knows them was asked"


def test_without_it_the_message_waits_for_them(world):
    """The same mail of a session that has used up its prefetches."""
    with session(world) as smtp:
        for i in range(5):
            assert smtp.mail(f"ann@d{i}.test")[0] == 250 and smtp.rset()[0] == 250
        assert smtp.mail("ann@late.test")[0] == 250
        assert seconds_of_data(smtp, "late.test") >= WHOLE
    assert world.dns.count("d4.test", "TXT") == 0, "a session that sends no mail announces four at most"


def test_a_client_and_domain_are_announced_once_a_minute(world):
    before = len(world.asked)
    for _ in range(3):
        with session(world) as smtp:
            for _ in range(2):
                assert smtp.mail("ann@d8.test")[0] == 250
                seconds_of_data(smtp, "d8.test")
    wait_until("the announcement", lambda: len(world.asked) > before)
    assert len(world.asked) == before + 1


def test_the_worker_that_was_chosen_may_end(world):
    """Then any other verifies the message."""
    with session(world) as smtp:
        done = world.metric("verifier", "postbus_verifier_prefetches_total")
        assert smtp.mail("ann@d7.test")[0] == 250
        wait_until("the prefetch", lambda: world.metric("verifier", "postbus_verifier_prefetches_total") == done + 1)
        world.restart("verifier")
        seconds_of_data(smtp, "d7.test")


@pytest.mark.parametrize("ask", [
    {"client_ip": "", "helo": "", "mail_from": ""}, {"client_ip": "x", "helo": "\x00", "mail_from": "@"}, {"client_ip": "::1", "helo": "[1.2.3.4]", "mail_from": "a@" + "x" * 500},
    {"client_ip": "192.0.2.1", "helo": "..", "mail_from": "a@b@c@\r\nFrom: x@y"}, {}, {"mail_from": 7},
])
def test_hostile_names_do_no_harm(world, ask):
    assert set(world.rpc("verifier.prefetch", **ask)) == {"at"}
