#!/usr/bin/env python3
"""How fast the proofs of a message are verified: Postbus beside OpenDKIM + OpenDMARC (+ policyd-spf) and beside rspamd, on the same messages, with the same DNS, in
alternating rounds on this machine.

A message has SPF, two DKIM signatures, an ARC set and DMARC, all of which pass; each answer is read, and one that does not say so ends the bench. The two milters know no
ARC: they have less to do; rspamd also reads the text of a message, which no setting here keeps it from. Figures: verifications per second of CPU of the processes that
verify (user and system; for Postbus: the verifier, nats-server and the hashing of bodies, which smtpd does), and per second on the clock. The CPU of the DNS server, which
answers from its cache, is shown apart. Figures of one run are comparable, those of two machines are not.

It takes port 53 of 127.0.0.1 and the machine's resolv.conf: run it in a container.
"""
import argparse
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from peers import ROOT, Dns, Milters, Postbus, Rspamd  # noqa: E402

LOAD = ROOT / "build/release/bench/verify_load"


def log(text=""):
    print(text, flush=True)


def run_load(contestant, args, messages, extra_pids=()):
    """One round: what verify_load prints, with the rates. On a busy machine a question of a peer to the DNS server may time out: its round is run again, twice at most. Ours must not fail."""
    words = [LOAD, *contestant.load(), "--dir", args.corpus, "--messages", messages, "--warm", args.warm, "--sessions", args.sessions,
             "--per-session", args.per_session, "--pids", ",".join(map(str, list(contestant.pids()) + list(extra_pids)))]
    for attempt in range(1 if isinstance(contestant, Postbus) else 3):
        done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=300)
        if done.returncode == 0:
            break
        log(f"  {contestant.name}: not every proof passed, attempt {attempt + 1}")
    if done.returncode != 0:
        raise SystemExit(f"{contestant.name}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def measure(contestant, dns, args):
    messages = args.messages * (4 if contestant.name.startswith("Postbus") else 1)  # enough seconds for the ticks in which CPU is counted
    dns_pid = dns.running[0].pid
    before = ticks(dns_pid)
    result = run_load(contestant, args, messages)
    dns_seconds = ticks(dns_pid) - before
    cpu = result["cpu"] + result["hashing"]
    rates = {"per_core": messages / max(cpu, 0.01), "per_second": messages / result["seconds"], "dns_us": dns_seconds / (messages + args.warm) * 1e6,
             "per_core_with_dns": messages / max(cpu + dns_seconds, 0.01), "asker_us": (result["own"] - result["hashing"]) / messages * 1e6}
    log(f"  {contestant.name}: {messages} in {result['seconds']:.2f} s; {cpu / messages * 1e6:.0f} us of CPU each: {rates['per_core']:.0f} per CPU second, {rates['per_second']:.0f} per second "
        f"(DNS server {rates['dns_us']:.0f} us each, the asker {rates['asker_us']:.0f} us)")
    return rates


def ticks(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def spread(values):
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def count_work(postbus, args):
    """What one verification costs Postbus in bus messages, Redis commands and system calls."""
    before = postbus.counters()
    run_load(postbus, args, args.messages)
    after = postbus.counters()
    asked = args.messages + args.warm
    log("  each verification by Postbus: " + ", ".join(f"{(after[k] - before[k]) / asked:.2f} {k}" for k in after) + ", " + system_calls(postbus, args))


def system_calls(postbus, args):
    if not shutil.which("strace"):
        return "system calls not counted (no strace)"
    messages = 500
    counted = {}
    for name, pid in (("verifier", postbus.pids()[0]), ("nats-server", postbus.pids()[1])):
        with tempfile.NamedTemporaryFile("r") as out:
            tracer = subprocess.Popen(["strace", "-f", "-c", "-o", out.name, "-p", str(pid)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            tracer.stderr.readline()  # it is attached
            run_load(postbus, args, messages)
            tracer.send_signal(2)
            tracer.wait(20)
            total = re.findall(r"^100\.00\s+\S+\s+(?:\d+\s+)?(\d+)", out.read(), re.M)
            counted[name] = f"{int(total[0]) / (messages + args.warm):.1f} in {name}" if total else f"not counted in {name}"
    return "system calls: " + ", ".join(counted.values())


def contest(directory, args, second):
    """One kind of message; answers each contestant's rounds."""
    log(f"messages of {args.size} bytes and their proofs; the second DKIM signature is {second}")
    args.corpus = directory / "corpus"
    args.corpus.mkdir()
    subprocess.run([LOAD, "make", "--dir", args.corpus, "--count", str(args.corpus_size), "--size", str(args.size), *(["--ed25519"] if second == "ed25519-sha256" else [])], check=True)
    dns = Dns(directory / "dns", args.corpus / "records")
    contestants = []
    try:
        for start in (lambda: Postbus(args.workers), *([lambda: Postbus(args.workers, args.other)] if args.other else []), lambda: Milters(directory / "milters", True), lambda: Milters(directory / "milters-self", False),
                      lambda: Rspamd(directory / "rspamd", args.workers)):
            contestants.append(start())
        for contestant in contestants:  # every proof must pass in every answer, before anything is timed
            run_load(contestant, args, 50)
        rounds = {c.name: [] for c in contestants}
        for i in range(args.rounds):
            log(f" round {i + 1} of {args.rounds}")
            for contestant in contestants:
                rounds[contestant.name].append(measure(contestant, dns, args))
        count_work(contestants[0], args)
        return rounds
    finally:
        for contestant in contestants:
            contestant.end()
        dns.end()


def report(rounds):
    log(" verifications per CPU second, median (least to most); per second on the clock; per CPU second with the DNS server's")
    median = {}
    for name, values in rounds.items():
        median[name] = statistics.median(v["per_core"] for v in values)
        log(f"  {name:40} {spread([v['per_core'] for v in values]):>24} {spread([v['per_second'] for v in values]):>24} {spread([v['per_core_with_dns'] for v in values]):>24}")
    ours = median.pop("Postbus")
    for name, theirs in median.items():
        log(f"  ratio per core, Postbus to {name}: {ours / theirs:.2f}")
        if ours <= theirs:
            raise SystemExit("Postbus is not faster")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=2000, help="of a round; four times as many for Postbus")
    parser.add_argument("--warm", type=int, default=200, help="before the clock starts, each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sessions", type=int, default=16, help="at once")
    parser.add_argument("--per-session", type=int, default=10, help="messages of one SMTP session")
    parser.add_argument("--size", type=int, nargs="+", default=[4096])
    parser.add_argument("--corpus-size", type=int, default=200, help="different messages")
    parser.add_argument("--workers", type=int, default=0, help="of the verifier and of rspamd; 0: one a core")
    parser.add_argument("--second", choices=("rsa-sha256", "ed25519-sha256", "both"), default="both", help="the second DKIM signature's algorithm")
    parser.add_argument("--other", default="", help="the verifier of another build, to be measured beside this one's")
    args = parser.parse_args()
    sizes = args.size
    for size in sizes:
        for second in ("ed25519-sha256", "rsa-sha256") if args.second == "both" else (args.second,):
            args.size = size
            with tempfile.TemporaryDirectory(prefix="postbus-verify-") as directory:
                pathlib.Path(directory).chmod(0o755)
                report(contest(pathlib.Path(directory), args, second))
            log()


if __name__ == "__main__":
    main()
