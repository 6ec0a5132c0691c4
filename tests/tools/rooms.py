#!/usr/bin/env python3
"""Checks how the sources depend on each other. A unit is a .c file with the header of its name, or a header alone. It includes
headers of other units, and calls them when it uses a function, variable, macro or inline function that they alone define.
Each of these is printed, and the exit status is 1:
- units that call each other in a circle, and folders that do (a service's own files, above and below its folders, do not count);
- an include that BELOW does not allow between the rooms of libcommon, one from libcommon into a service, or from one service into another;
- a folder with more than FILES_MAX files.
`rooms.py UNIT…` (such as libcommon/bus/rpc) prints what these units use and which others use them."""
import collections
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES_MAX = 25
MEANT = [{"libcommon/bus/bus", "libcommon/bus/rpc", "libcommon/bus/wake"}]  # the parts of one object, which no caller tells apart
KNOWN = ["services/smtpd/"]  # whose files still call each other
# Which rooms of libcommon each of them may include, besides itself. Services may include all.
BELOW = {
    "base": [],
    "net": ["base"], "mail": ["base"], "codec": ["base"], "bus": ["base"],
    "trust": ["base", "mail"], "report": ["base", "mail"],
    "store": ["base", "net", "mail", "codec"],
    "outbox": ["base", "codec", "bus", "store"],
    "service": ["base", "net", "bus", "store"],
}

INCLUDE = re.compile(r'^#include "([^"]+)"', re.M)
# The layout is the formatter's: every definition begins at the margin.
FUNCTION = re.compile(r"^(?!static|typedef|#|/|\}|extern)[a-z][\w *]*?\b(\w+)\([^;{}]*\) \{", re.M)
VARIABLE = re.compile(r"^(?!static|typedef|#|/|\}|extern|struct \w+ \{|enum)[a-z][\w *]*?\b(\w+)(?:\[[^\]]*\])* =", re.M)
OF_HEADER = re.compile(r"^static inline [\w *]*?\b(\w+)\(|^#define ([a-z]\w*)\(", re.M)
OWN = re.compile(r"^static [\w *]*?\b(\w+)(?:\(|\[| =|;)", re.M)
NOISE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.S)
WORD = re.compile(r"(?<![.\w>])(?<!struct )(?<!enum )[a-z]\w+\b")


def program(unit):
    """Two programs may define the same name."""
    return "/".join(unit.split("/")[:2]) if unit.startswith("services/") else "libcommon"


def graph():
    """{unit: {other unit: the names that it calls there; none: it only includes the header}}"""
    codes, includes, definers = collections.defaultdict(str), collections.defaultdict(set), collections.defaultdict(set)
    for path in sorted([*ROOT.glob("services/**/*.[ch]"), *ROOT.glob("libcommon/**/*.[ch]")]):
        unit, text = str(path.relative_to(ROOT).with_suffix("")), path.read_text()
        includes[unit] |= {name.removesuffix(".h") for name in INCLUDE.findall(text)}
        code = NOISE.sub(" ", text)
        codes[unit] += code if path.suffix == ".c" else ""
        defined = [*FUNCTION.findall(code), *VARIABLE.findall(code)] if path.suffix == ".c" else [a or b for a, b in OF_HEADER.findall(text)]
        for name in defined:
            definers[name].add(unit)
    uses = {unit: {other: set() for other in includes[unit] if other in codes and other != unit} for unit in codes}
    for unit, code in codes.items():
        for name in set(WORD.findall(code)) - set(OWN.findall(code)):
            there = {u for u in definers.get(name, ()) if program(u) in (program(unit), "libcommon")}
            if len(there) == 1 and unit not in there:
                uses[unit].setdefault(there.pop(), set()).add(name)
    return uses


def circles(uses):
    """Tarjan's strongly connected components with more than one member."""
    index, low, stack, on, found = {}, {}, [], set(), []

    def visit(unit):
        index[unit] = low[unit] = len(index)
        stack.append(unit)
        on.add(unit)
        for other in uses[unit]:
            if other not in index:
                visit(other)
            if other in on:
                low[unit] = min(low[unit], low[other])
        if low[unit] == index[unit]:
            members = set(stack[stack.index(unit):])
            del stack[stack.index(unit):]
            on.difference_update(members)
            if len(members) > 1:
                found.append(members)

    sys.setrecursionlimit(10000)
    for unit in sorted(uses):
        if unit not in index:
            visit(unit)
    return found


def folder(unit):
    parts = unit.split("/")
    if parts[0] == "libcommon":
        return "/".join(parts[:2])
    return "/".join(parts[:3]) if len(parts) > 3 else None


def between_folders(calls):
    out = {folder(unit): {} for unit in calls if folder(unit)}
    for unit, others in calls.items():
        for other, names in others.items():
            one, two = folder(unit), folder(other)
            if one and two and one != two:
                out[one].setdefault(two, set()).update(f"{unit} {name}" for name in names)
    return out


def faults_of(uses):
    calls = {unit: {other: names for other, names in others.items() if names} for unit, others in uses.items()}
    for what, where in (("files", calls), ("folders", between_folders(calls))):
        for members in circles(where):
            if members in MEANT or any(all(member.startswith(room) for member in members) for room in KNOWN):
                continue
            yield f"a circle of {len(members)} {what}:"
            for one in sorted(members):
                for other in sorted(members & set(where[one])):
                    names = sorted(where[one][other])
                    yield f"  {one} -> {other}: {', '.join(names[:4])}{' …' if len(names) > 4 else ''}"
    for unit, others in uses.items():
        for other in others:
            a, b = unit.split("/"), other.split("/")
            if b[0] == "services" and a[:2] != b[:2]:
                yield f"{unit} includes {other}, which is private to its service"
            elif a[0] == b[0] == "libcommon" and a[1] != b[1] and b[1] not in BELOW.get(a[1], []):
                yield f"{unit} includes {other}: libcommon/{b[1]} is not below libcommon/{a[1]} (see BELOW in tests/tools/rooms.py)"
    for path in [ROOT / "services", ROOT / "libcommon"]:
        for inner in [p for p in path.rglob("*") if p.is_dir()]:
            if (count := sum(1 for f in inner.iterdir() if f.is_file())) > FILES_MAX:
                yield f"{inner.relative_to(ROOT)} has {count} files; at most {FILES_MAX} are readable in one folder"


def main():
    uses = graph()
    for unit in sys.argv[1:]:
        for other, names in sorted(uses[unit].items()):
            print(f"{unit} -> {other}: {', '.join(sorted(names)) or 'its header'}")
        for other in sorted(uses):
            if unit in uses[other]:
                print(f"{unit} <- {other}: {', '.join(sorted(uses[other][unit])) or 'its header'}")
    if sys.argv[1:]:
        return 0
    faults = list(faults_of(uses))
    for fault in faults:
        print(fault)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
