"""What was acknowledged is there after a kill of the store, with the rights and the configuration of a real site."""
import imaplib
import smtplib
import ssl

import pytest

from postbus_test.dns import Knot
from postbus_test.site import SERVICES, Site, wait_until

TLS = ssl._create_unverified_context()
PASSWORD = "correct horse 1"


@pytest.fixture(scope="module")
def whole():
    knot = Knot({"load.test": '@ 60 IN TXT "v=spf1 ip4:127.0.0.1 -all"\n', "in-addr.arpa": "1.0.0.127 60 IN PTR ns.load.test.\n"})
    site = Site("mx.alpha.test", {"POSTBUS_RESOLVER_STUBS": f"load.test={knot.address},in-addr.arpa={knot.address}"})
    site.start(*SERVICES)
    yield site
    site.end()
    knot.end()


def send(site, subject):
    client = smtplib.SMTP("127.0.0.1", site.ports["smtp"], local_hostname="load.test", timeout=30)
    client.sendmail("x@load.test", ["bob@alpha.test"], f"From: x@load.test\r\nTo: bob@alpha.test\r\nSubject: {subject}\r\n\r\ntext\r\n".encode())
    client.quit()


def subjects(site):
    session = imaplib.IMAP4_SSL("127.0.0.1", site.ports["imaps"], ssl_context=TLS)
    session.login("bob@alpha.test", PASSWORD)
    session.select("INBOX", readonly=True)
    found = [part[1].decode().split(": ", 1)[1].strip() for part in session.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1] if isinstance(part, tuple)]
    session.logout()
    return found


@pytest.mark.parametrize("victim", ["redis", "nats", "accounts", "mailbox", "delivery", "smtpd", "imapd", "verifier", "reporter"])
def test_everything_is_there_after_a_kill(whole, victim):
    if not whole.users:
        whole.add_account("bob@alpha.test", PASSWORD)
    send(whole, f"before {victim}")
    wait_until(f"the message before the kill of {victim}", lambda: f"before {victim}" in subjects(whole))
    known = subjects(whole)
    whole.restart(victim)
    wait_until("all services to be well again", lambda: all(whole._healthy(s) for s in SERVICES))
    assert subjects(whole) == known
    assert whole.rpc("accounts.resolve", address="bob@alpha.test")["kind"] == "local"
    send(whole, f"after {victim}")
    wait_until(f"a message after the kill of {victim}", lambda: f"after {victim}" in subjects(whole))
