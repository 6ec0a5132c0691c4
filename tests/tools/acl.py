#!/usr/bin/env python3
"""What each service asks Redis for, read from the sources, beside what deploy/setup/users.acl.in allows it.

    tests/tools/acl.py            says where the two differ; the exit status is 1 then
    tests/tools/acl.py --write    makes the commands of users.acl.in those that the sources need (keys are written by hand)

From the functions of a service's own files on, every C function that they name is followed through libcommon. What these name of Redis counts: a Function (the name of
one that a .lua file registers, as a string), and a command (the first SLICE("...") of an array, or of a variable). A Function needs what its Lua calls, the local
functions that it uses included: Redis checks each redis.call against the rights of the caller."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
ACL = ROOT / "deploy/setup/users.acl.in"
SERVICES = ("smtpd", "delivery", "mailbox", "imapd", "pop3d", "accounts", "reporter", "verifier", "admin")
# what libcommon/store/redis.c itself says to log in, and the health check
BASE = {"ping", "auth", "hello", "client|setinfo"}
# Functions behind a door that the service uses, but on a way that it never takes
NOT_CALLED = {"verifier": {"blob_open"}}  # reads bodies without taking a reference
WORD = re.compile(r"\b[A-Za-z_]\w*\b")


def first_argument(text):
    depth = 0
    for i, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if depth < 0 or (c == "," and depth == 0):
            return text[:i]
    return text


def lua_library(text):
    """({registered Function: its Lua function}, {Lua function: (commands, names it uses)})"""
    text = re.sub(r"--[^\n]*", "", text)
    library = re.match(r"#!lua name=(\w+)", text).group(1)
    functions = {}
    for chunk in re.split(r"(?m)^(?=local function |function )", text):
        if found := re.match(r"(?:local )?function (\w+)", chunk):
            first = chunk.split("\n", 1)[0]
            body = first if re.search(r"\bend\s*$", first) else re.split(r"(?m)^end\b", chunk)[0]
            commands = {c.lower() for call in re.split(r"redis\.p?call\(", body)[1:] for c in re.findall(r"'([A-Z]+)'", first_argument(call))}
            functions[found.group(1)] = (commands, set(re.findall(r"(?<![.:\w])(\w+)\s*\(", body)) - {found.group(1)})
    registered = {f"{library}_{name}": callback for name, callback in re.findall(r"(?m)^\s*register\('(\w+)',\s*(\w+)", text)}
    registered.update(re.findall(r"register_function\('(\w+)',\s*(\w+)", text))
    registered.update(re.findall(r"function_name\s*=\s*'(\w+)',\s*callback\s*=\s*(\w+)", text))
    return registered, functions


def closure(start, uses):
    seen, todo = set(), list(start)
    while todo:
        one = todo.pop()
        if one not in seen:
            seen.add(one)
            todo += uses(one)
    return seen


def lua_functions(root=ROOT):
    """{Function: the commands it may call}, of all libraries."""
    out = {}
    for path in sorted((root / "libcommon").glob("*/*.lua")):
        registered, functions = lua_library(path.read_text())
        for name, callback in registered.items():
            used = closure([callback], lambda f: [n for n in functions[f][1] if n in functions] if f in functions else [])
            out[name] = set().union(*(functions[f][0] for f in used if f in functions))
    return out


def c_functions(path):
    """{function: its body} of a file in the project's layout: definitions begin in the first column. "" has what is outside of functions (tables of functions, say)."""
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
    out, rest = {}, []
    for chunk in re.split(r"\n(?=[A-Za-z])", text):
        if found := re.match(r"[^;={]*?\b(\w+)\([^;{]*\)\s*\{", chunk, re.S):
            out[found.group(1)] = chunk
        else:
            rest.append(chunk)
    out[""] = "\n".join(line for line in rest if not line.startswith("#"))
    return out


def visible(path, root, known={}):
    """The names that the headers of a file declare, those that these include among them."""
    if path not in known:
        names, todo, seen = set(), [path], set()
        while todo:
            one = todo.pop()
            text = one.read_text() if one.exists() else ""
            if one != path:
                names |= set(re.findall(r"\b(\w+)\(", text))
            headers = {root / name for name in re.findall(r'#include "([^"]+)"', text)} - seen
            seen |= headers
            todo += headers
        known[path] = names
    return known[path]


def commands_of(body):
    return {c.lower() for c in re.findall(r'(?:\{|struct slice \w+ =|\w+\[0\] =)\s*SLICE\("([A-Z_]+)"\)', body)}


def needs(root=ROOT):
    """{service: {command: why}}"""
    functions_of_lua = lua_functions(root)
    common, own = {}, {}  # name -> [(path, body)]
    for path in sorted((root / "libcommon").rglob("*.c")):
        for name, body in c_functions(path).items():
            common.setdefault(name, []).append((path, body))
    out = {}
    for service in SERVICES:
        own = [(path, name, body) for path in sorted((root / "services" / service).rglob("*.c")) for name, body in c_functions(path).items()]
        found = {command: "the connection itself" for command in BASE}
        bodies, seen, calls = [(path, body) for path, name, body in own], set(), False
        while bodies:
            path, body = bodies.pop()
            where = f"{path.relative_to(root)}"
            in_store = "store" in path.relative_to(root).parts[:2] or "redis_command" in body
            if in_store:
                for command in commands_of(body):
                    found.setdefault(command, where)
            for name in set(re.findall(r'"(\w+)"', body)):
                if name in functions_of_lua and name not in NOT_CALLED.get(service, ()) and in_store:
                    calls = True
                    for command in functions_of_lua[name]:
                        found.setdefault(command, f"the Function {name} ({where})")
            for name in set(WORD.findall(body)):
                for other, text in common.get(name, []):
                    reached = other == path if text.startswith("static ") else other == path or name in visible(path, root)
                    if reached and (other, name) not in seen:
                        seen.add((other, name))
                        bodies.append((other, text))
        if not calls:
            found.pop("fcall", None)
        out[service] = found
    return out


def users():
    """{user: (what stands before -@all, the commands allowed)}"""
    out = {}
    for line in ACL.read_text().splitlines():
        if line.startswith("user ") and " -@all " in line:
            head, rights = line.split(" -@all ", 1)
            out[line.split()[1]] = (head, rights.split())
    return out


def differences(root=ROOT):
    problems, allowed = [], users()
    for service, found in needs(root).items():
        has = {word[1:] for word in allowed[service][1]}
        if plain := [w for w in allowed[service][1] if not re.fullmatch(r"\+[a-z_]+(\|[a-z]+)?", w)]:
            problems.append(f"{service}: only single commands are allowed, not {' '.join(plain)}")
        for command in sorted(found.keys() - has):
            problems.append(f"{service} lacks +{command}: {found[command]} needs it")
        for command in sorted(has - found.keys()):
            problems.append(f"{service} has +{command}, which nothing of it needs")
    return problems


def write():
    lines, found = [], needs()
    for line in ACL.read_text().splitlines():
        service = line.split()[1] if line.startswith("user ") else ""
        if service in found:
            commands = sorted(found[service], key=lambda c: (c not in BASE, c not in ("fcall",), c))
            line = line.split(" -@all", 1)[0] + " -@all " + " ".join("+" + c for c in commands)
        lines.append(line)
    ACL.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    if "--write" in sys.argv:
        write()
    found = differences()
    for one in found:
        print("users.acl.in:", one)
    if found:
        print("tests/tools/acl.py --write makes the commands fit; look at the difference before it is committed.")
    sys.exit(bool(found))
