#!/usr/bin/env python3
"""Compares ARCHITECTURE.md with the tree: settings, events and requests both ways, and whether each file that it names
exists. Prints each difference on a line of its own; the exit status is 1 when there is one."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXT = (ROOT / "ARCHITECTURE.md").read_text()
# Every string of this form is taken for a setting: listeners pass their names through functions of their own.
SETTING = re.compile(r'"(POSTBUS_[A-Z0-9_]+)"')
NOT_SETTINGS = {"POSTBUS_MAIL"}  # the JetStream stream
# Settings in the shell scripts of the knot and redis images.
OF_SCRIPTS = re.compile(r"\bPOSTBUS_[A-Z0-9]+(?:_[A-Z0-9]+)*\b")
SERVICES = {path.name for path in (ROOT / "services").iterdir() if path.is_dir()}
faults = []


def section(title):
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S)
    if not found:
        faults.append(f'ARCHITECTURE.md has no section "{title}"')
        return ""
    return found.group(1)


def rows(text):
    """The cells of each table row, without the head; a bar in a cell is written \\|."""
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith("|---"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def settings():
    described = {}
    for cells in rows(section("What a service is given")):
        for name in re.findall(r"`(POSTBUS_[A-Z0-9_]+)`", cells[0]):
            if name in described:
                faults.append(f"settings: {name} has two rows")
            described[name] = {who.strip() for who in cells[1].split(",")}
    read = {}
    for source in sorted([*ROOT.glob("services/**/*.c"), *ROOT.glob("libcommon/**/*.c")]):
        for name in set(SETTING.findall(source.read_text())) - NOT_SETTINGS:
            read.setdefault(name, set()).add(source.relative_to(ROOT))
    for name, sources in sorted(read.items()):
        who = described.get(name)
        if who is None:
            faults.append(f"settings: {name} is read in {sorted(map(str, sources))[0]} and has no row")
            continue
        for source in sources:
            reader = source.parts[1]
            if source.parts[0] == "services" and reader not in who and "all" not in who:
                faults.append(f"settings: {name} is read in {source}; its row names {', '.join(sorted(who))}")
    for name, who in sorted(described.items()):
        for reader in who - {"all"}:
            if reader not in SERVICES | {"knot", "redis"}:
                faults.append(f"settings: {name}: there is no service {reader}")
            elif reader in ("knot", "redis"):
                if not any(name in OF_SCRIPTS.findall(p.read_text()) for p in (ROOT / "deploy" / reader).iterdir()):
                    faults.append(f"settings: {name}: nothing in deploy/{reader} reads it")
        if name not in read and not who & {"knot", "redis"}:
            faults.append(f"settings: {name} has a row, and no source reads it")


def files():
    for name in sorted(set(re.findall(r"`([a-z][\w-]*/[\w./-]*)`", TEXT))):
        if not (ROOT / name).exists():
            faults.append(f"files: {name} does not exist")
    for name in sorted(set(re.findall(r"\]\(([\w./-]+)\)", TEXT))):
        if not (ROOT / name).exists():
            faults.append(f"files: the link to {name} leads nowhere")


def events():
    said = {re.sub(r"\.<[^>]*>$", "", name)
            for cells in rows(section("Events")) for name in re.findall(r"`postbus\.([\w.<> ]+)`", cells[0])}
    have = {path.stem for path in (ROOT / "proto-schemas" / "events").glob("*.json")} - {"cloudevent"}
    faults.extend(f"events: {name} has a schema and no row" for name in sorted(have - said))
    faults.extend(f"events: {name} has a row and no schema" for name in sorted(said - have))


def requests():
    said = set()
    for cells in rows(section("Requests")):
        prefix = ""
        for part in re.findall(r"`([a-z.]+(?:/[a-z]+)*)`", cells[0]):
            first, *others = part.split("/")
            name = first if "." in first else prefix + first
            prefix = name.rpartition(".")[0] + "."
            said.update([name, *(prefix + other for other in others)])
    have = {path.name.removesuffix(".request.json") for path in (ROOT / "proto-schemas" / "rpc").glob("*.request.json")}
    faults.extend(f"requests: {name} has a schema and no row" for name in sorted(have - said))
    faults.extend(f"requests: {name} has a row and no schema" for name in sorted(said - have))


for check in (settings, files, events, requests):
    check()
for fault in faults:
    print(fault)
sys.exit(bool(faults))
