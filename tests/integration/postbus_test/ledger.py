"""The ledger of the store: every key has an owner, and every reference a holder. What has none is told in a line each.

    python3 -m postbus_test.ledger HOST:PORT USER PASSWORD

lists it, and ends with status 1 where there is something. It reads every key and is for a store at rest: what is under way just then looks as if nobody owned it. The
janitor of the mailbox service removes what killed processes leave (services/mailbox/janitor.h), two rounds and the grace period later; after that the list is empty.
"""
import collections
import json
import re
import socket
import struct
import sys

OTHERS = ("a:", "v:", "{rep}", "{janitor}", "{cold}")  # accounts, verifier, reporter, the janitor itself, the mover: theirs whole
RECORD = struct.Struct("<IIQIIq26s")  # what every version begins with
SINGLE = {"i", "f", "b", "x", "g", "d", "o", "s", "r", "y", "l", "k", "j", "a", "gone", "pop3"}
QUEUE_SHARDS = 16


class Redis:
    """As much of RESP as is needed."""

    def __init__(self, host, port, user, password):
        self.socket = socket.create_connection((host, port), 10)
        self.file = self.socket.makefile("rb")
        if password:
            self("AUTH", user, password)

    def __call__(self, *words):
        parts = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
        return self._read()

    def _read(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self._read() for _ in range(int(rest))]
        return rest

    def hash(self, key):
        flat = self("HGETALL", key)
        return {flat[i].decode("utf-8", "surrogateescape"): flat[i + 1] for i in range(0, len(flat), 2)}

    def keys(self):
        cursor, found = b"0", set()
        while True:
            cursor, page = self("SCAN", cursor, "COUNT", 1000)
            found.update(k.decode("utf-8", "surrogateescape") for k in page)
            if cursor == b"0":
                return sorted(found)


def queue_shard(message):
    return sum(map(ord, message[10:])) % QUEUE_SHARDS


def names_of(held):
    """The count and the names of a field of {u}:b."""
    count, *names = held.decode("utf-8", "surrogateescape").split("\n")
    return int(count), names


class Ledger:
    def __init__(self, redis):
        self.redis, self.problems = redis, []
        self.keys = set(redis.keys())
        self.users = collections.defaultdict(dict)  # user -> what follows "}" -> key
        for key in self.keys:
            if found := re.fullmatch(r"\{u:([^}]*)\}:(.*)", key, re.DOTALL):
                self.users[found[1]][found[2]] = key
        self.bodies = {key[3:-1] for key in self.keys if re.fullmatch(r"b:\{.*\}", key)}
        self.held = {user: {blob: names_of(h) for blob, h in redis.hash(keys["b"]).items()} if "b" in keys else {} for user, keys in self.users.items()}

    def say(self, key, why):
        self.problems.append(f"{key}: {why}")

    def check(self):
        for key in sorted(self.keys):
            if not key.startswith(("b:{", "{u:", "{q:", *OTHERS)):
                self.say(key, "no module writes such a key")
        for blob in sorted(self.bodies):
            self.check_body(blob)
        for user in sorted(self.users):
            self.check_user(user, self.users[user])
        self.check_accounts()
        self.check_queue()
        return self.problems

    def check_body(self, blob):
        key = f"b:{{{blob}}}"
        references = [f[2:] for f in self.redis.hash(key) if f.startswith("r:")]
        if not references:
            self.say(key, "a body without references")
        for reference in references:
            if reference == "q":
                if f"{{q:{queue_shard(blob)}}}:e:{blob}" not in self.keys:
                    self.say(key, "the queue holds it and has no entry of it")
            elif found := re.fullmatch(r"u:([^/]*)(?:/(.*))?", reference, re.DOTALL):
                if (found[2] or "") not in self.held.get(found[1], {}).get(blob, (0, []))[1]:
                    self.say(key, f"the reference {reference} is held by nobody")
            else:
                self.say(key, f"the reference {reference} is no known one")

    def check_user(self, user, keys):
        u = f"{{u:{user}}}"
        if "gone" in keys:
            for rest in sorted(set(keys) - {"gone", "pop3"}):
                self.say(keys[rest], "left of a deleted user")
            return
        if "i" not in keys:
            self.say(u, f"keys of a user without a mailbox: {', '.join(sorted(keys))}")
            return
        folders = {v.decode() for v in self.redis.hash(keys["f"]).values()} if "f" in keys else set()
        kept = {fid.decode() for fid in self.redis("SMEMBERS", keys["k"])} if "k" in keys else set()  # deleted folders that can be restored
        for rest in sorted(keys):
            found = re.fullmatch(r"f:(\d+)(?::([mqvctpeshkw]))?", rest)
            if rest in SINGLE and rest not in ("x", "g"):
                continue
            if rest in ("x", "g"):
                self.say(keys[rest], "waits to be released")
            elif not found:
                self.say(keys[rest], "no module writes such a key")
            elif found[1] not in folders and not (found[1] in kept and found[2] in ("m", "p", "c")):
                self.say(keys[rest], "no folder has this id")
        self.check_figures(u, keys, folders, kept)
        notes, order = (self.redis("HKEYS", u + ":d"), self.redis("LRANGE", u + ":o", 0, -1))
        if sorted(notes) != sorted(order):
            self.say(u + ":d", "the notes of deliveries and their order differ")

    def check_figures(self, u, keys, folders, kept):
        used, total, size = collections.Counter(), 0, 0
        for folder in sorted(folders):
            fk = f"{u}:f:{folder}"
            fields = self.redis.hash(fk)
            records = {int(uid): RECORD.unpack_from(r) for uid, r in self.redis.hash(fk + ":m").items()}
            used.update(r[6].decode() for r in records.values())
            figures = (len(records), sum(r[1] for r in records.values()), sum(not r[3] & 1 for r in records.values()))
            told = tuple(int(fields.get(name, -1)) for name in ("messages", "bytes", "unseen"))
            if figures != told:
                self.say(fk, f"messages, bytes and unseen are {figures} and told as {told}")
            older = self.redis("HLEN", f"{fk}:c")  # in the form of version 1
            for part in "qeshkw":
                count = self.redis("ZCARD", f"{fk}:q") if part == "q" else self.redis("HLEN", f"{fk}:{part}") + older
                if count != len(records):
                    self.say(f"{fk}:{part}", f"{count} of {len(records)} messages")
            total, size = total + figures[0], size + figures[1]
        info = self.redis.hash(keys["i"])
        if (total, size) != (int(info.get("messages", 0)), int(info.get("bytes", 0))):
            self.say(keys["i"], f"{total} messages of {size} bytes, told as {info.get('messages')} and {info.get('bytes')}")
        self.check_journal(u, keys, kept, used, info)
        held = self.held[u[3:-1]]
        for blob in sorted(set(used) | set(held)):
            if used[blob] != held.get(blob, (0, []))[0]:
                self.say(u + ":b", f"the body {blob} is used by {used[blob]} messages and counted {held.get(blob, (0, []))[0]} times")
            if blob not in self.bodies:
                self.say(u + ":b", f"the body {blob} is LOST")
            elif not any(f"r:u:{u[3:-1]}" + ("/" + name if name else "") in self.redis.hash(f"b:{{{blob}}}") for name in held.get(blob, (0, [""]))[1]):
                self.say(u + ":b", f"the body {blob} is not held under any of this user's names")

    def check_journal(self, u, keys, kept, used, info):
        """What was removed and can be put back uses its bodies, and is counted apart."""
        messages, size, deleted = 0, 0, set()
        for _, (_, kind, _, folder, _, value) in self.redis("XRANGE", keys["l"], "-", "+") if "l" in keys else []:
            if kind == b"d":
                records = [RECORD.unpack_from(r) for r in self.redis.hash(f"{u}:f:{folder.decode()}:m").values()]
                deleted.add(folder.decode())
            elif kind in (b"r", b"m"):
                records, at = [], 0
                while at < len(value):
                    n, prefix = struct.unpack_from("<HI", value, at)
                    records.append(RECORD.unpack_from(value, at + 6))
                    at += 6 + n + prefix
            else:
                continue
            used.update(r[6].decode() for r in records)
            if kind != b"m":
                messages, size = messages + len(records), size + sum(r[1] for r in records)
        if deleted != kept:
            self.say(u + ":k", f"the deleted folders {sorted(kept)} are kept, and the journal has {sorted(deleted)}")
        if (messages, size) != (int(info.get("kept_messages", 0)), int(info.get("kept_bytes", 0))):
            self.say(u + ":l", f"{messages} messages of {size} bytes are kept, told as {info.get('kept_messages')} and {info.get('kept_bytes')}")

    def check_accounts(self):
        """Only where there are accounts: tests of the mailbox service alone have none."""
        tables = [k for k in self.keys if re.fullmatch(r"a:\{[^}]*\}:u", k)]
        if not any(k.startswith("a:") for k in self.keys):
            return
        known = {json.loads(account).get("user") for table in tables for account in self.redis.hash(table).values()}
        for user, keys in sorted(self.users.items()):
            if user not in known and "gone" not in keys:
                self.say(f"{{u:{user}}}", "the mailbox of no account")

    def check_queue(self):
        for key in sorted(self.keys):
            if found := re.fullmatch(r"\{q:(\d+)\}:e:(.*)", key):
                if found[2] not in self.bodies and f"{{q:{found[1]}}}:b:{found[2]}" not in self.keys:
                    self.say(key, "the body of this entry is LOST")
                q = f"{{q:{found[1]}}}"
                if self.redis("ZSCORE", q + ":due", found[2]) is None and self.redis("ZSCORE", q + ":dead", found[2]) is None:
                    self.say(key, "an entry that is never due")
            elif (found := re.fullmatch(r"\{q:(\d+)\}:b:(.*)", key)) and f"{{q:{found[1]}}}:e:{found[2]}" not in self.keys:
                self.say(key, "the text of no entry")


def unowned(host, port, user, password):
    """The problems, a line each."""
    return Ledger(Redis(host, port, user, password)).check()


def unowned_of(site):
    return unowned("127.0.0.1", site.redis_port, "setup", site.redis_password)


if __name__ == "__main__":
    where, name, secret = sys.argv[1:4]
    lines = unowned(where.rsplit(":", 1)[0], int(where.rsplit(":", 1)[1]), name, secret)
    print("\n".join(lines) or "every key has its owner")
    sys.exit(1 if lines else 0)
