#!/usr/bin/env python3
"""Compares tests/imap-rfc.md with the tree: the tests that it names exist, and every command of the dispatch table, every response code and every announced extension has a row. Prints each
difference on a line of its own; the exit status is 1 when there is one."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
IMAPD = ROOT / "services/imapd"
# words in brackets that are no response codes of IMAP, and codes that say only that a bound was met (RFC 5530 §3), which belong to the bound's test
NOT_CODES = {"LIMIT", "CANNOT", "INUSE", "EXPUNGEISSUED", "AUTHORIZATIONFAILED"}


def tables():
    """{section: [(names, RFC, file, test)]}"""
    out, section = {}, None
    for line in (ROOT / "tests/imap-rfc.md").read_text().splitlines():
        if line.startswith("## "):
            section = out.setdefault(line[3:], [])
        elif line.startswith("| ") and section is not None:
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if ":" in cells[2]:
                file, _, test = cells[2].partition(": ")
                section.append((cells[0].split(", "), cells[1], file, test))
    return out


def faults():
    found = tables()
    for rows in found.values():
        for names, rfc, file, test in rows:
            path = ROOT / "tests" / file if "/" in file else ROOT / "tests/integration" / file
            pattern = rf"^def {test}\(" if file.endswith(".py") else rf"^static void {test}\("
            if not path.exists() or not re.search(pattern, path.read_text(), re.M):
                yield f"{', '.join(names)}: there is no test {file}: {test}"
            if not re.match(r"\d{4}|none \(", rfc):
                yield f"{', '.join(names)}: {rfc!r} is no RFC"
    has = {section: {name for names, *_ in rows for name in names} for section, rows in found.items()}
    commands = re.findall(r'^\s*\{"([A-Z]+)", (?:ANY|BEFORE|LOGGED_IN|SELECTED),', (IMAPD / "dispatch.c").read_text(), re.M)
    extensions = [name.rstrip("=") for name in re.findall(r'^\s*\{"([^"]+)"', (IMAPD / "command/extensions.c").read_text(), re.M)]
    texts = "".join(re.sub(r"'(\\.|[^'\\])'", " ", path.read_text()) for path in IMAPD.rglob("*.c"))  # a quote as a character begins no string
    codes = {code for string in re.findall(r'"((?:[^"\\]|\\.)*)"', texts) for code in re.findall(r"\[([A-Z][A-Z-]+[A-Z])(?: [%(]|\])", string)} - NOT_CODES
    assert len(commands) > 30 and len(extensions) > 20 and len(codes) > 15, "the tables in the sources have another form now: adapt tests/tools/imap_table.py"
    for kind, names in (("Commands", commands), ("Extensions", extensions), ("Response codes", sorted(codes))):
        for name in names:
            if name not in has[kind]:
                yield f"{kind}: {name} has no row"
    for name in has["Extensions"] - set(extensions):
        yield f"Extensions: {name} is not announced"


problems = list(faults())
for problem in problems:
    print("tests/imap-rfc.md:", problem)
sys.exit(1 if problems else 0)
