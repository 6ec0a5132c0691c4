"""The rows of the bench, as they are printed and as docs/performance.md shows them."""
import os
import pathlib
import platform
import time

# What must be reached (issue 9 §3.2), as ratios to the peer and as bounds. Each: (row, text, measure of (postbus, peer) figures, bound, "least" or "most").
GOALS = [
    ("deliver 50", "delivered and visible, 50 sessions, × the peer", lambda o, p: o["visible_per_s"] / p["visible_per_s"], 10, "least"),
    ("deliver 50", "server CPU a message, 50 sessions, ms", lambda o, p: o["cpu_ms"], 0.5, "most"),
    ("deliver 1", "delivered and visible, 1 session, × the peer", lambda o, p: o["visible_per_s"] / p["visible_per_s"], 2, "least"),
    ("latency", "end of DATA to 250, p50, × the peer", lambda o, p: o["accept_ms_p50"] / p["accept_ms_p50"], 1.5, "most"),
    ("latency", "250 to EXISTS in IDLE, p50, ms", lambda o, p: o["exists_after_250_ms_p50"], 1, "most"),
    ("latency", "250 to EXISTS in IDLE, p99, ms", lambda o, p: o["exists_after_250_ms_p99"], 5, "most"),
    ("relay 10", "relay, 10 sessions, × the peer", lambda o, p: o["relayed_per_s"] / p["relayed_per_s"], 3, "least"),
    ("relay 10", "relay, 10 sessions: connections for 1,000 messages", lambda o, p: o["connections"], 30, "most"),
    ("first logins", "2,000 first logins, s", lambda o, p: o["seconds"] if o["logins"] >= 2000 else None, 20, "most"),
]

# (row, label, figure, decimals): what is shown of each measure.
ROWS = [(f"deliver {n}", f"delivered and visible, {n} session{'s' if n > 1 else ''}, messages/s", "visible_per_s", 0) for n in (1, 10, 50)]
ROWS += [(f"deliver {n}", f"server CPU a message, {n} session{'s' if n > 1 else ''}, ms", "cpu_ms", 2) for n in (1, 10, 50)]
ROWS += [(f"deliver {n}", f"context switches a message, {n} session{'s' if n > 1 else ''}", "switches_each", 0) for n in (1, 50)]
ROWS += [("latency", "end of DATA to 250, p50, ms", "accept_ms_p50", 2), ("latency", "end of DATA to 250, p99, ms", "accept_ms_p99", 2),
         ("latency", "end of DATA to EXISTS in IDLE, p50, ms", "exists_ms_p50", 2), ("latency", "end of DATA to EXISTS in IDLE, p99, ms", "exists_ms_p99", 2),
         ("latency", "250 to EXISTS in IDLE, p50, ms", "exists_after_250_ms_p50", 2), ("latency", "250 to EXISTS in IDLE, p99, ms", "exists_after_250_ms_p99", 2)]
ROWS += [(f"relay {n}", f"relay from submission (STARTTLS, AUTH), {n} session{'s' if n > 1 else ''}, messages/s", "relayed_per_s", 0) for n in (1, 10)]
ROWS += [(f"relay {n}", f"relay, {n} session{'s' if n > 1 else ''}: connections to the other server", "connections", 0) for n in (1, 10)]
ROWS += [(f"relay {n}", f"relay, {n} session{'s' if n > 1 else ''}: server CPU a message, ms", "cpu_ms", 2) for n in (1, 10)]
ROWS += [("logins 16", "new TLS connections with LOGIN, 16 at once, a second", "logins_per_s", 0), ("logins 16", "server CPU a login, ms", "cpu_ms", 2),
         ("first logins", "first logins (argon2id), 16 at once, s for all", "seconds", 1)]

# What a service counts, with what it was before the redraw as read from the code (issue 9, 2026-11-28).
COUNTS = [("messages published on the bus", "postbus_bus_messages_sent_total", "9"), ("requests among them", "postbus_bus_requests_total", ""),
          ("messages heard from the bus", "postbus_bus_messages_received_total", ""), ("commands to Redis", "postbus_redis_commands_total", ""),
          ("Redis Functions called", "postbus_redis_fcalls_total", "8"), ("flushes of the disk (fsync), of the whole machine", "disk_flushes", "5 in series"),
          ("JSON texts written", "postbus_json_written_total", "11"), ("JSON texts read", "postbus_json_read_total", "9"),
          ("copies of the whole body", "postbus_body_copies_total", "4"), ("bytes of bodies copied", "postbus_body_copied_bytes_total", ""),
          ("wake-ups of a service's loop", "postbus_loop_wakeups_total", "26")]


def in_short(measure, f):
    keys = {"deliver": ("visible_per_s", "cpu_ms"), "relay": ("relayed_per_s", "connections", "cpu_ms"), "latency": ("accept_ms_p50", "exists_ms_p50"), "logins": ("logins_per_s", "cpu_ms")}[measure]
    noise = f", others used {f['foreign']:.0%} of the machine" if f["foreign"] > 0.1 else ""
    return ", ".join(f"{key} {f[key]:.4g}" for key in keys) + noise


def number(value, decimals):
    return "" if value is None else f"{value:,.{decimals}f}"


def rows(figures):
    out = []
    for row, label, key, decimals in ROWS:
        ours = figures.get(row, {}).get("postbus", {}).get(key)
        theirs = figures.get(row, {}).get("peer", {}).get(key) if key != "switches_each" else None  # the peer's processes end, and take their counts along
        out.append((label, number(ours, decimals), number(theirs, decimals), f"{ours / theirs:.2f}" if ours and theirs else ""))
    return out


def goals(figures):
    out = []
    for row, label, measure, bound, side in GOALS:
        ours, theirs = figures.get(row, {}).get("postbus"), figures.get(row, {}).get("peer")
        try:
            value = measure(ours, theirs)
        except (TypeError, KeyError, ZeroDivisionError):
            continue
        if value is None:
            continue
        good = value >= bound if side == "least" else value <= bound
        out.append((label, f"{'≥' if side == 'least' else '≤'} {bound}", f"{value:.2f}", "reached" if good else "not reached"))
    return out


def by_container(figures, row):
    cpu = figures.get(row, {}).get("postbus", {}).get("cpu", {})
    return sorted(cpu.items(), key=lambda item: -item[1])


def counts(figures):
    found = figures.get("per message", {})
    show = lambda sessions, key: f"{found[sessions][key]:.2f}" if key in found.get(sessions, {}) else "not counted"
    return [(label, before, show(1, key), show(50, key)) for label, key, before in COUNTS]


def columns(lines, widths):
    return "\n".join("  ".join(f"{cell:<{w}}" if i == 0 else f"{cell:>{w}}" for i, (cell, w) in enumerate(zip(line, widths))) for line in lines)


def table(figures):
    """What a person at a terminal sees."""
    parts = [columns([("", "Postbus", "peer", "ratio"), *rows(figures)], (68, 10, 10, 8)),
             "CPU by container, ms a message, 50 sessions: " + ", ".join(f"{name} {ms:.2f}" for name, ms in by_container(figures, "deliver 50") if ms >= 0.005),
             columns([("counted by the system itself, a local message", "before", "1 session", "50 sessions"), *counts(figures)], (52, 12, 12, 12)),
             columns([("goals of issue 9", "", "", ""), *goals(figures)], (52, 8, 8, 12))]
    return "\n\n".join(parts)


def markdown(header, lines):
    align = "|" + "|".join(" --- " if i == 0 else " ---: " for i in range(len(header))) + "|"
    return "\n".join(["| " + " | ".join(header) + " |", align, *("| " + " | ".join(line) + " |" for line in lines)])


def machine():
    info = pathlib.Path("/proc/cpuinfo").read_text()
    model = next((line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")), platform.machine())
    memory = int(pathlib.Path("/proc/meminfo").read_text().split()[1]) // 1024 // 1024
    return f"{os.cpu_count()} × {model}, {memory + 1} GiB, Linux {platform.release().split('-')[0]}"


def write(figures, args):
    noisy = max((f.get("foreign", 0) for targets in figures.values() if isinstance(targets, dict) for f in targets.values() if isinstance(f, dict)), default=0)
    return f"""# Performance

Made by `make bench WRITE=1` (tests/bench); do not edit.

- Machine: {machine()}. Date: {time.strftime('%Y-%m-%d', time.gmtime())}. Commit: {os.environ.get('BENCH_COMMIT', 'unknown')}. Median of {args.rounds} runs each{', with 1/%d of the messages' % args.scale if args.scale > 1 else ''}.
- Postbus: the site as `compose.yaml` starts it, default settings (log level warn), sender verification on (SPF, DKIM, DMARC, reverse name, against a DNS of the bench's own).
- The peer: Postfix and Dovecot of Debian 13 in one container, as an expert would set them up (tests/bench/peer/start); fsync on, no verification of senders, passwords in plain text.
- The load: `tests/bench/drive` on the same machine and the same container network for both, in turns; messages of 4 KB to 100 mailboxes, without pipelining. A message counts when
  IMAP shows it in its mailbox. The relay's messages are counted by a server in the driver, and Postbus signs each with DKIM.
- Others used at most {noisy:.0%} of the machine while these were taken.

## How to read it

Only figures of one run on one machine can be compared. Rates depend on the disk's flush and on what else runs; CPU time a message and ratios are steadier. The driver takes its share of
the same cores: with few cores the rates at 50 sessions are bounded by both together.

## Postbus and the peer

{markdown(('', 'Postbus', 'peer', 'ratio'), rows(figures))}

Server CPU by container, ms a message at 50 sessions: {', '.join(f'{name} {ms:.2f}' for name, ms in by_container(figures, 'deliver 50') if ms >= 0.005)}.
Relay at 10 sessions: {', '.join(f'{name} {ms:.2f}' for name, ms in by_container(figures, 'relay 10') if ms >= 0.005)}.

## Goals

{markdown(('', 'goal', 'measured', ''), goals(figures))}

## What a local message costs, counted by the system itself

From the services' `/metrics`. "Before" is the site of 2026-11-28 (commit b7fa7f5), counted from its code, before the message path was redrawn.

{markdown(('a local message', 'before', '1 session', '50 sessions'), counts(figures))}

## Before

Measured on 2026-11-28 with drivers of the same kind on a machine with 2 cores, commit b7fa7f5, the peer in the same hour:

{markdown(('', 'Postbus', 'peer'), BEFORE)}
"""


BEFORE = [("delivered and visible, 1 / 10 / 50 sessions, messages/s", "209 / 532 / 955", "277 / 263 / 252"), ("server CPU a message, 1 / 10 / 50 sessions, ms", "6.4 / 3.0 / 1.7", "6.0 / 6.8 / 6.9"),
          ("context switches a message, 1 / 50 sessions", "215 / 43", ""), ("end of DATA to 250, p50 / p99, ms", "2.05 / 7.0", "1.25 / 1.97"),
          ("end of DATA to EXISTS in IDLE, p50 / p99, ms", "5.9 / 21", "480 / 481"), ("relay, 1 / 10 sessions, messages/s (the peer without TLS)", "173 / 412", "407 / 491"),
          ("relay, 10 sessions: connections for 1,000 messages", "1,000", "23"), ("new TLS logins, 16 at once, a second", "527", "383"), ("2,000 first logins, s", "59", "")]
