"""The verdict hold: a message that an operator's rule wants a person to look at is accepted, waits in the queue with the reason, and is delivered byte for byte when it is
released. The rule is a row of POSTBUS_DMARC_OVERRIDES."""
import imaplib
import os
import smtplib
import subprocess

import pytest

from postbus_test.imap_client import PASSWORD, TLS
from postbus_test.scripted_dns import ScriptedDns
from postbus_test.site import BIN, Site, wait_until

BOB, CAROL = "bob@alpha.test", "carol@alpha.test"
REASON = "held by this site's policy: DMARC failed for odd.test"


@pytest.fixture(scope="module")
def world():
    dns = ScriptedDns({("odd.test", "TXT"): '"v=spf1 -all"', ("_dmarc.odd.test", "TXT"): '"v=DMARC1; p=reject"'})
    site = Site(settings={"POSTBUS_RESOLVER_STUBS": f"test={dns.address}", "POSTBUS_DMARC_OVERRIDES": "from=odd.test hold"})
    site.start("accounts", "verifier", "mailbox", "delivery", "smtpd", "imapd", "admin")
    site.add_account(BOB)
    site.add_account(CAROL)
    yield site
    site.end()
    dns.end()


def send(site, mark, author="eve@odd.test", extra=b""):
    message = extra + f"From: {author}\r\nTo: {BOB}\r\nSubject: {mark}\r\n\r\n".encode() + os.urandom(40).hex().encode() + b"\r\n"
    with smtplib.SMTP("127.0.0.1", site.ports["smtp"], local_hostname="h.odd.test", timeout=40) as smtp:
        smtp.ehlo()
        smtp.mail("eve@odd.test")
        assert smtp.rcpt(BOB)[0] == smtp.rcpt(CAROL)[0] == 250
        code, reply = smtp.data(message)
    assert code == 250 and b"queued as" in reply, reply
    return reply.decode().split()[-1], message


def postbus(site, *words):
    done = subprocess.run([BIN / "cli", *words], capture_output=True, text=True, timeout=30,
                          env={**os.environ, "POSTBUS_API": f"http://127.0.0.1:{site.ports['api']}", "POSTBUS_TOKEN_FILE": str(site.secrets / "admin.token")})
    assert done.returncode == 0, done.stderr
    return done.stdout


def mails(site, address):
    session = imaplib.IMAP4_SSL("127.0.0.1", site.ports["imaps"], ssl_context=TLS)
    session.login(address, PASSWORD)
    session.select("INBOX", readonly=True)
    answer = session.fetch("1:*", "(BODY.PEEK[])")[1]
    session.logout()
    return [part[1] for part in answer if isinstance(part, tuple)]


def test_a_held_message_is_seen_with_its_reason_and_delivered_when_it_is_released(world):
    id, message = send(world, "released")
    entry = wait_until("the entry", lambda: world.rpc("delivery.queue.list", which="held", limit=10)["entries"])[0]
    assert (entry["id"], entry["held"], entry["leased"], entry["due"]) == (id, True, False, 0) and entry["held_because"].startswith(REASON)
    status, answer = world.api("GET", "/api/v1/queue?which=held")
    assert status == 200 and [(e["id"], e["held_because"]) for e in answer["entries"]] == [(id, entry["held_because"])]
    assert f"held: {REASON}" in postbus(world, "queue", "list", "--held")
    verdict = wait_until("the verdict", lambda: world.api("GET", f"/api/v1/messages/{id}/verdict")[1].get("received"))["verdict"]
    assert (verdict["disposition"], verdict["dmarc"]["disposition"]) == ("hold", "quarantine")
    assert verdict["dmarc"]["overrides"] == [{"type": "local_policy", "comment": "from=odd.test hold"}]
    assert "held in the queue" in postbus(world, "journey", id)
    assert not mails(world, BOB) and not mails(world, CAROL)
    postbus(world, "queue", "release", id)
    for address in (BOB, CAROL):
        (got,) = wait_until("the message", lambda a=address: mails(world, a))
        assert got.endswith(message) and got.count(b"\r\nSubject: ") == 1
    wait_until("an empty queue", lambda: not world.rpc("delivery.queue.list", limit=10)["entries"])


def test_a_held_message_may_be_deleted(world):
    """One whose header was changed, too (a forged Return-Path is dropped), and nothing of it stays."""
    id, _ = send(world, "deleted", extra=b"Return-Path: <forged@odd.test>\r\n")
    postbus(world, "queue", "delete", id)
    assert not world.rpc("delivery.queue.list", limit=10)["entries"]
    assert world.redis("EXISTS", f"b:{{{id}}}").strip() == "0"


def test_the_rest_is_not_held(world):
    message = f"From: ann@plain.test\r\nSubject: plain\r\n\r\nx\r\n"
    with smtplib.SMTP("127.0.0.1", world.ports["smtp"], timeout=40) as smtp:
        smtp.sendmail("ann@plain.test", [BOB], message)
    assert any(b"Subject: plain" in m for m in mails(world, BOB))
