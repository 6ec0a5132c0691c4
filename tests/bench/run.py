#!/usr/bin/env python3
"""Delivers the same load through Postbus and through Postfix + Dovecot, in alternating rounds on this machine, and counts it in the mailboxes.

Postbus runs as its eight services with nats-server and redis-server (appendfsync always); the peer in its own root on a real volume (tests/bench/peer/start).
A round's time ends when every message is in its mailbox, as IMAP STATUS says. Figures of one run are comparable, those of two machines are not.
"""
import argparse
import imaplib
import json
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))
from postbus_test.dns import Knot  # noqa: E402
from postbus_test.site import SERVICES, Site, free_port, wait_until  # noqa: E402

LOAD = ROOT / "build/release/bench/smtp_load"
PASSWORD = "bench bench"


def log(text):
    print(text, flush=True)


class Counters:
    """One IMAP session a mailbox, logged in before the clock starts."""

    def __init__(self, connect, users):
        self.sessions = []
        for user in users:
            session = connect()
            session.login(user, PASSWORD)
            self.sessions.append(session)

    def one(self, index):
        ok, answer = self.sessions[index].status("INBOX", "(MESSAGES)")
        return int(answer[0].decode().split("MESSAGES ")[1].rstrip(")")) if ok == "OK" else 0

    def count(self):
        return sum(self.one(i) for i in range(len(self.sessions)))

    def wait(self, each, until):
        """Until every mailbox has `each` messages: one after the other and now and then, so that the asking costs neither system much."""
        for i in range(len(self.sessions)):
            while self.one(i) < each:
                if time.monotonic() > until:
                    return
                time.sleep(0.25)

    def close(self):
        for session in self.sessions:
            try:
                session.logout()
            except (imaplib.IMAP4.error, OSError):
                pass


def load(port, args):
    done = subprocess.run([LOAD, "--port", str(port), "--sessions", str(args.sessions), "--messages", str(args.messages), "--size", str(args.size), "--mailboxes", str(args.mailboxes),
                           "--rcpt", "user%d@bench.test", "--from", "sender@load.test"], capture_output=True, text=True)
    if done.stderr:
        log("  " + done.stderr.strip())
    return json.loads(done.stdout)


def measure(name, port, counters, args):
    before = counters.count()
    began = time.monotonic()
    result = load(port, args)
    counters.wait((before + result["accepted"]) // args.mailboxes, began + 600)
    seconds = time.monotonic() - began
    have = counters.count()
    if have - before < result["accepted"]:
        log(f"  {name}: only {have - before} of {result['accepted']} arrived in 10 minutes")
    rate = (have - before) / seconds
    lat = result["latency_ms"]
    log(f"  {name}: {have - before} in the mailboxes, {result['refused']} refused, {seconds:.1f} s (accepted after {result['seconds']:.1f} s), {rate:.0f} messages/s; "
        f"answer to DATA p50 {lat['p50']:.1f} ms, p99 {lat['p99']:.1f} ms")
    return rate


def postbus_round(args):
    settings = {"POSTBUS_LOG": "warn", "POSTBUS_WORKERS": str(args.workers)}
    knot = Knot({"load.test": '@ 600 IN TXT "v=spf1 ip4:127.0.0.1 -all"\n', "in-addr.arpa": "1.0.0.127 600 IN PTR ns.load.test.\n"})  # Postbus verifies each sender; the peer does not
    settings["POSTBUS_RESOLVER_STUBS"] = f"load.test={knot.address},in-addr.arpa={knot.address}"
    site = Site("mx.bench.test", settings, tap=False)
    try:
        site.start(*(service for service in SERVICES if service not in ("admin", "pop3d")))
        for i in range(args.mailboxes):
            site.add_account(f"user{i}@bench.test", PASSWORD)
        counters = Counters(lambda: imap_tls(site.ports["imaps"]), [f"user{i}@bench.test" for i in range(args.mailboxes)])
        rate = measure("Postbus", site.ports["smtp"], counters, args)
        counters.close()
        return rate
    finally:
        site.end()
        knot.end()


def imap_tls(port):
    import ssl
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=context)


def peer_round(args):
    smtp, imap = free_port(), free_port()
    inside = ["chroot", args.peer]
    subprocess.run(inside + ["/bench/start", str(args.mailboxes), str(smtp), str(imap)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        counters = wait_until("the peer's IMAP", lambda: Counters(lambda: imaplib.IMAP4("127.0.0.1", imap), [f"user{i}@bench.test" for i in range(args.mailboxes)]))
        rate = measure("Postfix + Dovecot", smtp, counters, args)
        counters.close()
        return rate
    finally:
        subprocess.run(inside + ["/bench/stop"], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20000)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--mailboxes", type=int, default=100)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1, help="worker threads of each Postbus service")
    parser.add_argument("--peer", default="", help="the peer's root directory; none: only Postbus is measured")
    args = parser.parse_args()
    rates = {"postbus": [], "peer": []}
    for i in range(args.rounds):
        log(f"round {i + 1} of {args.rounds}: {args.messages} messages of {args.size} bytes over {args.sessions} sessions to {args.mailboxes} mailboxes")
        rates["postbus"].append(postbus_round(args))
        if args.peer:
            rates["peer"].append(peer_round(args))
    ours = statistics.median(rates["postbus"])
    log(f"Postbus: median {ours:.0f} messages/s (of {', '.join(f'{r:.0f}' for r in rates['postbus'])})")
    if args.peer:
        theirs = statistics.median(rates["peer"])
        log(f"Postfix + Dovecot: median {theirs:.0f} messages/s (of {', '.join(f'{r:.0f}' for r in rates['peer'])})")
        log(f"ratio: {ours / theirs:.2f}")


if __name__ == "__main__":
    main()
