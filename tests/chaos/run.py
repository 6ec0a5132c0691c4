#!/usr/bin/env python3
"""Breaks a whole site (real processes, two replicas of every service but one) while mail flows, and counts every recipient of every message afterwards.

  everything     kill -9, SIGSTOP longer than a lease, restarts, services away, Redis' memory full, in turn; see everything.py and verdict.py
  destinations   10,000 messages to 60 destinations of which 40 accept a connection and never greet
  full           the disk of Redis fills up, with foreign bytes and with mail; needs a small file system at /data
  wide           a message to 1,000 recipients at one domain, one of which some are refused, one of which all are deferred once

Runs in the toolchain container with --tmpfs /data:size=96m: `make chaos`, or with --short (in `make test`, below four minutes).
"""
import argparse
import sys
import time
import traceback

import destinations
import everything
import full
import wide
from world import log


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--rounds", type=int, default=0, help="of everything; default 1 with --short, else 2")
    parser.add_argument("--only", choices=("everything", "destinations", "full", "wide"))
    args = parser.parse_args()
    scenarios = {"everything": lambda: everything.run(args.short, args.rounds or (1 if args.short else 2)),
                 "destinations": lambda: destinations.run(2000 if args.short else 10000), "full": full.run, "wide": wide.run}
    passed = failed = 0
    for name, run in scenarios.items():
        if args.only not in (None, name):
            continue
        log(f"--- {name}")
        began = time.monotonic()
        try:
            good = run()
        except Exception:
            traceback.print_exc(file=sys.stdout)
            good = False
        passed, failed = passed + good, failed + (not good)
        log(f"--- {name}: {'ok' if good else 'FAILED'} ({time.monotonic() - began:.0f} s)")
    log(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
