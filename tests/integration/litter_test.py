"""A whole site whose processes are killed (kill -9) between two steps of a message's way, each where it hurts most. No message is lost or there twice, and once the janitor
has been round and all accounts are deleted, no key is left that nobody owns: no body, and of the users nothing but tombstones."""
import imaplib
import smtplib
import ssl
import time

import pytest

from postbus_test.dns import Knot
from postbus_test.ledger import unowned_of
from postbus_test.site import Site, wait_until
from postbus_test.tripwire import Tripwire

TLS = ssl._create_unverified_context()
PASSWORD = "correct horse 1"
BOB, ALICE = "bob@alpha.test", "alice@alpha.test"
SERVICES = ("accounts", "verifier", "mailbox", "smtpd", "imapd", "delivery", "admin")
JANITOR = {"POSTBUS_JANITOR_EVERY": "1s", "POSTBUS_JANITOR_GRACE": "2s", "POSTBUS_JANITOR_PAUSE_MS": 1}


class Wired(Site):
    """Each service's way to Redis can be a tripwire."""

    def __init__(self, *args, **more):
        self.only = {}
        super().__init__(*args, **more)
        self.wire = Tripwire(self.redis_port)

    def environment(self, service):
        return {**super().environment(service), **self.only.get(service, {})}

    def again(self, service, **settings):
        """Restarts a service in peace with settings of its own."""
        if service in self.processes:
            self.stop(service)
        self.only[service] = {k: str(v) for k, v in settings.items()}
        self.start(service)

    def arm(self, service, word, answered=False):
        self.again(service, POSTBUS_REDIS=f"127.0.0.1:{self.wire.port}")
        self.wire.set(word, self.processes[service].kill, answered)

    def fallen(self, service):
        """The service has been killed at the tripwire; it starts again without one."""
        assert self.wire.tripped.wait(30), "the step that was to be cut short never came"
        self.processes.pop(service).wait(10)
        self.again(service)


@pytest.fixture(scope="module")
def site():
    knot = Knot({"load.test": '@ 60 IN TXT "v=spf1 ip4:127.0.0.1 -all"\n', "in-addr.arpa": "1.0.0.127 60 IN PTR ns.load.test.\n"})
    stubs = ",".join(f"{zone}={knot.address}" for zone in ("load.test", "in-addr.arpa"))
    s = Wired("mx.alpha.test", {"POSTBUS_RESOLVER_STUBS": stubs, "POSTBUS_JANITOR_EVERY": "0"})
    s.start(*SERVICES)
    for address in (BOB, ALICE):
        s.add_account(address, PASSWORD)
    yield s
    s.wire.close()
    s.end()
    knot.end()


def send(site, subject, *rcpts):
    """Whether the message was acknowledged."""
    text = f"From: x@load.test\r\nSubject: {subject}\r\n\r\nHello\r\n"
    try:
        with smtplib.SMTP("127.0.0.1", site.ports["smtp"], local_hostname="ns.load.test", timeout=20) as smtp:
            smtp.sendmail("x@load.test", rcpts or (BOB,), text)
        return True
    except (smtplib.SMTPException, OSError):
        return False


def imap(site, person=BOB):
    session = imaplib.IMAP4_SSL("127.0.0.1", site.ports["imaps"], ssl_context=TLS)
    session.login(person, PASSWORD)
    session.select("INBOX")
    return session


def count(site, subject, person=BOB):
    session = imap(site, person)
    answer = session.fetch("1:*", "(BODY.PEEK[])")[1]
    session.logout()
    return sum(f"Subject: {subject}\r\n".encode() in part[1] for part in answer if isinstance(part, tuple))


def queue(site):
    return {id: shard for shard in range(16) for id in site.redis("ZRANGE", f"{{q:{shard}}}:due", 0, -1).split()}


def leases_end(site):
    """As if the time had passed after which the dead worker's leases end."""
    for id, shard in queue(site).items():
        site.redis("ZADD", f"{{q:{shard}}}:due", "XX", int(time.time() * 1000), id)


def to_the_queue(site, subject, *rcpts):
    """Acknowledged while the mailbox service was away, and delivery too."""
    site.stop("delivery")
    site.stop("mailbox")
    assert send(site, subject, *rcpts)
    assert queue(site)
    site.start("mailbox")


def test_smtpd_dies_between_the_body_and_the_delivery(site):
    site.arm("smtpd", "blob_write", answered=True)
    assert not send(site, "body-only", BOB, ALICE)
    site.fallen("smtpd")
    assert count(site, "body-only") == 0
    assert any("is held by nobody" in line for line in unowned_of(site))


def test_smtpd_dies_between_the_body_and_the_queue_entry(site):
    site.stop("mailbox")
    site.arm("smtpd", "queue_commit")
    assert not send(site, "no-entry")
    site.fallen("smtpd")
    site.start("mailbox")
    assert any("the queue holds it and has no entry" in line for line in unowned_of(site))


def test_delivery_dies_before_it_records_what_it_did(site):
    to_the_queue(site, "not-recorded", BOB, ALICE)
    site.only["delivery"] = {"POSTBUS_REDIS": f"127.0.0.1:{site.wire.port}"}
    site.start("delivery")
    site.wire.set("queue_record", site.processes["delivery"].kill)
    site.fallen("delivery")
    leases_end(site)
    wait_until("the queue to be empty", lambda: not queue(site), 60)
    assert [count(site, "not-recorded", person) for person in (BOB, ALICE)] == [1, 1]


def test_delivery_dies_before_it_releases_the_body(site):
    to_the_queue(site, "not-released")
    site.only["delivery"] = {"POSTBUS_REDIS": f"127.0.0.1:{site.wire.port}"}
    site.start("delivery")
    site.wire.set("blob_release", site.processes["delivery"].kill)
    site.fallen("delivery")
    assert not queue(site) and count(site, "not-released") == 1
    assert any("the queue holds it and has no entry" in line for line in unowned_of(site))


def test_imapd_dies_between_the_body_and_the_record_of_an_append(site):
    site.arm("imapd", "mailbox_append")
    session = imap(site)
    with pytest.raises((imaplib.IMAP4.error, OSError)):
        session.append("INBOX", None, None, b"Subject: appended\r\n\r\n")
    site.fallen("imapd")
    assert count(site, "appended") == 0


def test_imapd_dies_between_an_expunge_and_the_release(site):
    for n in range(5):
        assert send(site, f"expunged-{n}")
    site.arm("imapd", "blob_release")
    session = imap(site)
    session.store("1:*", "+FLAGS", r"(\Deleted)")
    try:
        session.expunge()
    except (imaplib.IMAP4.error, OSError):
        pass
    site.fallen("imapd")
    assert count(site, "expunged-0") == 0
    assert any("waits to be released" in line for line in unowned_of(site))


def test_the_mailbox_service_dies_in_the_middle_of_a_delivery(site):
    """smtpd gets no answer, and queues it; it is delivered once."""
    site.arm("mailbox", "mailbox_deliver", answered=True)
    assert send(site, "cut", BOB, ALICE)
    site.fallen("mailbox")
    wait_until("the queue to be empty", lambda: not queue(site), 90)
    assert [count(site, "cut", person) for person in (BOB, ALICE)] == [1, 1]


def test_at_the_end_every_key_has_its_owner(site):
    site.again("mailbox", **JANITOR)
    wait_until("every key to have its owner", lambda: not unowned_of(site), 60)
    assert count(site, "not-released") == 0 and count(site, "cut") == 1  # the first was expunged above


def test_after_all_accounts_are_deleted_nothing_is_left(site):
    site.again("mailbox", **JANITOR)
    for n in range(20):
        assert send(site, f"last-{n}", BOB, ALICE)
    sessions = [imap(site), imap(site, ALICE)]  # which run on
    for address in [a["address"] for a in site.rpc("accounts.account.list", domain="alpha.test", limit=100)["accounts"]]:
        status, answer = site.api("DELETE", f"/api/v1/accounts/{address}")
        assert status in (200, 202, 204), answer
    for session in sessions:
        for command in (lambda s=session: s.list(), lambda s=session: s.append("INBOX", None, None, b"Subject: late\r\n\r\n"), lambda s=session: s.select("INBOX")):
            try:
                command()
            except (imaplib.IMAP4.error, OSError):
                pass
    wait_until("the bodies to go", lambda: not site.redis("KEYS", "b:*").strip(), 60)
    wait_until("every key to have its owner", lambda: not unowned_of(site), 60)
    assert {key.split(":")[-1] for key in site.redis("KEYS", "{u:*").split()} == {"gone"}


