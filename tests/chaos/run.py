#!/usr/bin/env python3
"""Sends numbered messages while each service, NATS and Redis are killed (SIGKILL) in turn and started again, then looks for every one of them.

Law: a message that was acknowledged with 250 is in its mailbox exactly once. One whose acknowledgement was not seen may be there once or not at all, never twice.
A message that was not acknowledged is sent again under a new number, as a client would.
"""
import argparse
import collections
import imaplib
import pathlib
import random
import re
import smtplib
import socket
import ssl
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))
from postbus_test.dns import Knot  # noqa: E402
from postbus_test.site import SERVICES, Site, wait_until  # noqa: E402

PASSWORD = "chaos chaos"


def log(text):
    print(text, flush=True)


class Sender(threading.Thread):
    """Takes numbers from the shared counter and sends each until it is acknowledged."""

    def __init__(self, shared, site, index):
        super().__init__(daemon=True)
        self.shared, self.site, self.index = shared, site, index
        self.session = None

    def connect(self):
        self.session = smtplib.SMTP("127.0.0.1", self.site.ports["smtp"], local_hostname="load.test", timeout=30)

    def attempt(self, mark, mailbox):
        """True when the server said 250 to the message."""
        try:
            if self.session is None:
                self.connect()
            text = f"From: <sender@load.test>\r\nTo: <{mailbox}>\r\nSubject: {mark}\r\nMessage-ID: <{mark}@load.test>\r\n\r\nmessage {mark}\r\n" + "filler line of some length\r\n" * 40
            self.session.sendmail("sender@load.test", [mailbox], text.encode())
            return True
        except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused) as refused:
            code = refused.smtp_code if isinstance(refused, smtplib.SMTPResponseException) else next(iter(refused.recipients.values()))[0]
            if code >= 500:
                self.shared["permanent"].append(f"{mark}: {refused}")
        except (smtplib.SMTPException, OSError, socket.timeout):
            pass
        try:
            if self.session:
                self.session.close()
        except OSError:
            pass
        self.session = None
        return False

    def run(self):
        while True:
            with self.shared["lock"]:
                number = self.shared["next"]
                if number >= self.shared["messages"]:
                    return
                self.shared["next"] += 1
            mailbox = f"user{number % self.shared['mailboxes']}@chaos.test"
            tries = 0
            while True:
                mark = f"{number}-{tries}"
                if self.attempt(mark, mailbox):
                    with self.shared["lock"]:
                        self.shared["acked"][mark] = mailbox
                    break
                tries += 1
                with self.shared["lock"]:
                    self.shared["unsure"] += 1
                time.sleep(0.1 + random.random() * 0.4)


def read_mailboxes(site, count):
    """{mark: [mailboxes it was found in]}"""
    found = collections.defaultdict(list)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for i in range(count):
        address = f"user{i}@chaos.test"
        session = imaplib.IMAP4_SSL("127.0.0.1", site.ports["imaps"], ssl_context=context)
        session.login(address, PASSWORD)
        session.select("INBOX", readonly=True)
        ok, answer = session.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        for part in answer:
            if isinstance(part, tuple):
                mark = re.search(rb"Subject: (\S+)", part[1])
                if mark:
                    found[mark.group(1).decode()].append(address)
        session.logout()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--mailboxes", type=int, default=20)
    parser.add_argument("--senders", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2, help="how often each process is killed, at least")
    args = parser.parse_args()
    knot = Knot({"load.test": '@ 600 IN TXT "v=spf1 ip4:127.0.0.1 -all"\n', "in-addr.arpa": "1.0.0.127 600 IN PTR ns.load.test.\n"})
    site = Site("mx.chaos.test", {"POSTBUS_LOG": "info", "POSTBUS_RESOLVER_STUBS": f"load.test={knot.address},in-addr.arpa={knot.address}"}, tap=False)
    victims = [*SERVICES, "nats", "redis"]
    kills = collections.Counter()
    try:
        site.start(*SERVICES)
        for i in range(args.mailboxes):
            site.add_account(f"user{i}@chaos.test", PASSWORD)
        shared = {"lock": threading.Lock(), "next": 0, "messages": args.messages, "mailboxes": args.mailboxes, "acked": {}, "unsure": 0, "permanent": []}
        senders = [Sender(shared, site, i) for i in range(args.senders)]
        for sender in senders:
            sender.start()
        turn = 0
        while any(s.is_alive() for s in senders) or min(kills[v] for v in victims) < 1:
            victim = victims[turn % len(victims)]
            if kills[victim] >= args.rounds and not any(s.is_alive() for s in senders):
                break
            time.sleep(0.3 + random.random())
            site.kill(victim)
            time.sleep(random.random() * 0.5)
            if victim == "nats":
                site.start_nats()
            elif victim == "redis":
                site.start_redis()
            else:
                site.start(victim)
            kills[victim] += 1
            turn += 1
            if turn % len(victims) == 0:
                log(f"  each killed {min(kills[v] for v in victims)} times; {len(shared['acked'])} of {args.messages} acknowledged, {shared['unsure']} attempts without an answer")
        for sender in senders:
            sender.join(600)
        log(f"all {len(shared['acked'])} acknowledged; waiting for the queue to empty")
        wait_until("services after the last kill", lambda: all(site._healthy(s) for s in SERVICES), 60)
        site.nats.close()
        site.nats = site.new_nats()
        wait_until("the queue to be empty", lambda: site.rpc("delivery.queue.list", limit=10).get("entries") == [], 180)
        found = read_mailboxes(site, args.mailboxes)
        lost = [m for m, box in shared["acked"].items() if box not in found.get(m, [])]
        twice = [m for m, boxes in found.items() if len(boxes) > 1]
        log(f"killed: {', '.join(f'{v} {kills[v]}' for v in victims)}")
        log(f"acknowledged {len(shared['acked'])}, found {len(found)} ({len(found) - len(set(found) & set(shared['acked']))} of them stored although their acknowledgement was not seen), "
            f"lost {len(lost)}, twice {len(twice)}, refused for good {len(shared['permanent'])}")
        for what, marks in (("lost", lost), ("twice", twice), ("refused for good", shared["permanent"])):
            for mark in marks[:10]:
                log(f"  {what}: {mark}")
        good = not lost and not twice and not shared["permanent"] and len(shared["acked"]) == args.messages
        log("1 passed, 0 failed" if good else "0 passed, 1 failed")
        return 0 if good else 1
    finally:
        for name in list(site.processes):
            site.kill(name)
        knot.end()


if __name__ == "__main__":
    sys.exit(main())
