#!/usr/bin/env python3
"""Measures the site and the peer with tests/bench/drive, prints the rows with ratios, and with --write writes docs/performance.md. Runs in the driver's container: tests/bench/bench
starts that, the site and the peer. Figures of one run on one machine can be compared; CPU times and ratios are steadier than rates."""
import argparse
import concurrent.futures
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))
from postbus_test.scripted_dns import ScriptedDns  # noqa: E402

import report  # noqa: E402
from meter import Container, Meter, counters, disk_flushes, wait_quiet  # noqa: E402

NET = os.environ["BENCH_NET"]
DRIVE = ROOT / "build/release/bench/drive"
SERVICES = ("smtpd", "verifier", "delivery", "mailbox", "imapd", "pop3d", "accounts", "reporter", "admin")
MAILBOXES = 100


def log(text):
    print(text, flush=True)


def serve_dns():
    """Senders with SPF, DMARC and a reverse name; the remote domain's MX is the driver; a signature's key that is not there."""
    me = f"{NET}.200"
    script = {("load.test", "TXT"): f"v=spf1 ip4:{NET}.0/24 -all", ("_dmarc.load.test", "TXT"): "v=DMARC1; p=none", ("mx.load.test", "A"): me, ("load.test", "MX"): "10 mx.load.test.",
              (".".join(reversed(me.split("."))) + ".in-addr.arpa", "PTR"): "mx.load.test.", ("example.net", "MX"): "10 mx.load.test.",
              ("bench.test", "MX"): "10 mx.bench.test.", ("mx.bench.test", "A"): f"{NET}.11", ("remote.test", "MX"): "10 mx.remote.test.", ("mx.remote.test", "A"): me}
    script = {key: f'"{value}"' if key[1] == "TXT" else value for key, value in script.items()}
    dns = ScriptedDns(script, port=5300, host=me)
    dns.negative_ttl = 300
    return dns


class Api:
    def __init__(self):
        self.token = os.environ["BENCH_TOKEN"]

    def post(self, path, body):
        request = urllib.request.Request(f"http://admin:8080/api/v1{path}", json.dumps(body).encode(), headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"})
        for attempt in range(5):
            try:
                return urllib.request.urlopen(request, timeout=60).read()
            except urllib.error.HTTPError as error:
                if error.code < 500 and error.code != 429 or attempt == 4:
                    raise
                time.sleep(0.5)

    def make_accounts(self, prefix, count):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda i: self.post("/accounts", {"address": f"{prefix}{i}@bench.test", "password": "secret"}), range(count)))


class Target:
    """A mail system: where it listens, and its containers."""

    def __init__(self, name, containers, smtp, imap, patience):
        self.name, self.containers, self.patience = name, containers, patience
        self.at = ["--smtp", f"{smtp}:25", "--submission", f"{smtp}:587", "--imap", f"{imap}:993", "--imap-tls", "--sink", f"{NET}.200:2525"]

    def drive(self, measure, probe=None, **options):
        """One run: what the driver says, with what the meter says; with a probe, what that answered before and after the measured time."""
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        process = subprocess.Popen([DRIVE, measure, *self.at, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if process.stdout.readline() != "READY\n":
            raise SystemExit(f"{self.name}: {measure} did not get ready")
        quiet = wait_quiet(self.patience)
        before = probe and probe()
        meter = Meter(self.containers)
        process.stdin.write("go\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.name}: {measure} {options} failed")
        result = json.loads(answer)
        result.update(meter.stop(result["driver_s"]), quiet=quiet)
        if probe:
            time.sleep(2)  # what follows the last message has happened
            result["probed"] = (before, probe())
        process.wait()
        count = result.get("messages") or result["logins"]
        result["cpu_ms"] = 1e3 * result["cpu_s"] / count
        result["switches_each"] = result["switches"] / count
        return result

    def repeat(self, rounds, measure, **options):
        """The median of each figure."""
        runs = [self.drive(measure, **options) for _ in range(rounds)]
        out = {key: statistics.median(r[key] for r in runs) for key, value in runs[0].items() if isinstance(value, (int, float))}
        out["cpu"] = {name: statistics.median(r["cpu"][name] for r in runs) * 1e3 / (out.get("messages") or out["logins"]) for name in runs[0]["cpu"]}
        return out


def measure_all(targets, args):
    """{row: {target: figures}}; the systems take turns within each row."""
    figures, scale = {}, args.scale

    def row(name, measure, only=None, **options):
        figures[name] = {t.name: t.repeat(args.rounds, measure, **options) for t in targets if only in (None, t.name)}
        log(f"  {name}: " + "; ".join(f"{target} {report.in_short(measure, f)}" for target, f in figures[name].items()))

    for sessions, messages in ((1, 500), (10, 2000), (50, 4000)):
        row(f"deliver {sessions}", "deliver", sessions=sessions, messages=max(100, messages // scale), mailboxes=MAILBOXES)
    row("latency", "latency", messages=max(20, 300 // scale), mailboxes=MAILBOXES)
    for sessions, messages in ((1, 300), (10, 1000)):
        row(f"relay {sessions}", "relay", sessions=sessions, messages=max(50, messages // scale), mailboxes=MAILBOXES)
    for target in targets:  # passwords that the systems have seen before
        target.drive("logins", sessions=16, messages=MAILBOXES, mailboxes=MAILBOXES)
    row("logins 16", "logins", sessions=16, messages=0, mailboxes=MAILBOXES, seconds=max(1, 8 // scale))
    return figures


def count_per_message(site, args):
    """What the system itself counts for one local message, at one session and at 50."""
    out, count = {}, lambda: {**counters(SERVICES), "disk_flushes": disk_flushes()}
    for sessions, messages in ((1, 300), (50, 3000)):
        messages = max(100, messages // args.scale)
        before, after = site.drive("deliver", probe=count, sessions=sessions, messages=messages, mailboxes=MAILBOXES)["probed"]
        out[sessions] = {name: (value - before.get(name, 0)) / messages for name, value in after.items()}
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="docs/performance.md")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=int, default=1, help="divides the number of messages: 20 shows that everything works, and its figures say nothing")
    parser.add_argument("--logins", type=int, default=2000, help="accounts that log in for the first time")
    parser.add_argument("--patience", type=int, default=60, help="seconds to wait before each measure for others to leave the machine alone")
    parser.add_argument("--no-peer", action="store_true")
    args = parser.parse_args()
    dns = serve_dns()
    containers = [Container(*pair.split("=")) for pair in os.environ["BENCH_CONTAINERS"].split() if not pair.startswith("setup=")]
    site = Target("postbus", [c for c in containers if c.name != "peer"], f"{NET}.11", f"{NET}.13", args.patience)
    peer = Target("peer", [c for c in containers if c.name == "peer"], f"{NET}.20", f"{NET}.20", args.patience)
    api = Api()
    log(f"making {MAILBOXES} + {args.logins} accounts")
    api.post("/domains", {"domain": "bench.test"})
    api.make_accounts("u", MAILBOXES)
    api.make_accounts("f", args.logins)
    first = site.drive("logins", user="f%d@bench.test", messages=args.logins, mailboxes=args.logins, sessions=16)
    log(f"  first logins: {args.logins} in {first['seconds']:.1f} s")
    figures = measure_all([site] if args.no_peer else [site, peer], args)
    figures["first logins"] = {"postbus": first}
    figures["per message"] = count_per_message(site, args)
    text = report.write(figures, args)
    log("")
    log(report.table(figures))
    if args.write:
        path = ROOT / "docs/performance.md"
        path.write_text(text)
        owner = (ROOT / "Makefile").stat()
        os.chown(path, owner.st_uid, owner.st_gid)
        log("docs/performance.md is written")
    dns.end()
    log("1 passed, 0 failed")


if __name__ == "__main__":
    main()
