"""A model of IMAP for random tests: clients of one account on two servers do random commands; each keeps what it was told, as RFC 9051 says, and that is compared with a plain model of the folders.

What is checked:
  - a client never hears of a message number that it cannot know, nor of an EXPUNGE while a FETCH, STORE or SEARCH by sequence number runs or no command does (RFC 9051 §7.5.1);
  - EXISTS never falls (§7.4.1); uids rise; a mod-sequence never falls, and rises with a change of flags (RFC 7162 §3.1);
  - after NOOP, CHECK and EXPUNGE a client knows exactly what the folder has: messages, flags, and mod-sequences as far as it was told any;
  - a client in IDLE comes to know it by itself;
  - SEARCH, FETCH, STORE with UNCHANGEDSINCE, COPYUID, APPENDUID and STATUS answer what the model expects;
  - what QRESYNC replays after a cut leads from the client's old state to the present one (RFC 7162 §3.2.5);
  - commands of several clients at once lead to one state, the same on both servers.
"""
import os
import pathlib
import random
import re
import select
import socket
import ssl
import time

TLS = ssl._create_unverified_context()
SYSTEM = ["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft"]
WORDS = ["work", "home", "$Junk", "later", "todo"]
FOLDERS = ["INBOX", "Work", "Other"]


class Wrong(AssertionError):
    pass


def numbers(text):
    out = []
    for part in text.split(","):
        a, _, b = part.partition(":")
        out += range(min(int(a), int(b or a)), max(int(a), int(b or a)) + 1)
    return out


def as_set(values):
    """A set of numbers, sometimes with ranges."""
    out, values = [], sorted(values)
    while values:
        n = 1
        while n < len(values) and values[n] == values[n - 1] + 1:
            n += 1
        out.append(f"{values[0]}:{values[n - 1]}" if n > 1 else str(values[0]))
        values = values[n:]
    random.shuffle(out)
    return ",".join(out)


class Message:
    """As a client knows it: None is what it was not told."""

    def __init__(self, uid=None, flags=None, modseq=None):
        self.uid, self.flags, self.modseq = uid, flags, modseq
        self.past = set()  # in the model: the flags it had before


class Client:
    def __init__(self, model, name, port):
        self.model, self.name, self.port = model, name, port
        self.tag = 0
        self.log = []
        self.rev2 = model.random.random() < 0.5
        self.qresync = model.random.random() < 0.4
        self.condstore = self.qresync or model.random.random() < 0.4
        self.connect()

    # the wire -----------------------------------------------------------------------------------------------------

    def connect(self):
        self.sock = TLS.wrap_socket(socket.create_connection(("127.0.0.1", self.port), 20))
        self.sock.settimeout(60)
        self.buffer = b""
        self.folder, self.messages, self.read_only, self.idle = None, [], False, None
        self.expunges = False  # may be told now
        self.line()
        self.do(f'LOGIN {self.model.user} "{self.model.password}"')
        words = [w for w, on in (("IMAP4rev2", self.rev2), ("QRESYNC", self.qresync), ("CONDSTORE", self.condstore and not self.qresync)) if on]
        if words:
            self.do("ENABLE " + " ".join(words))

    def note(self, text):
        self.log.append(text)
        self.model.history.append(f"{self.model.step} {self.name} {self.folder}: {text}")

    def wrong(self, what):
        if path := os.environ.get("POSTBUS_MODEL_LOG"):
            pathlib.Path(path).write_text("\n".join(self.model.history))
        raise Wrong(f"seed {self.model.seed}, step {self.model.step}, client {self.name} in {self.folder}: {what}\n" + "\n".join(self.log[-40:]))

    def more(self):
        got = self.sock.recv(65536)
        if not got:
            raise ConnectionError(f"{self.name}: the server closed the connection")
        self.buffer += got

    def line(self):
        """A response line; the bytes of literals are left out."""
        text = b""
        while True:
            while b"\r\n" not in self.buffer:
                self.more()
            part, self.buffer = self.buffer.split(b"\r\n", 1)
            text += part
            literal = re.search(rb"\{(\d+)\}$", part)
            if not literal:
                break
            size = int(literal.group(1))
            while len(self.buffer) < size:
                self.more()
            self.buffer = self.buffer[size:]
        text = text.decode()
        self.note("S: " + text)
        return text

    def send(self, command):
        self.tag += 1
        word = command.split()[0].upper()
        self.expunges = word not in ("FETCH", "STORE", "SEARCH")
        self.running = command
        self.results = []
        self.note(f"C: {self.tag} {command}")
        self.sock.sendall(f"{self.tag} {command}\r\n".encode())

    def finish(self):
        """Reads up to the tagged response, and returns it."""
        while True:
            line = self.line()
            if line.startswith(f"{self.tag} "):
                self.expunges = False
                self.model.heard(self, self.running, line)
                return line.split(" ", 1)[1]
            if line.startswith("+"):
                if self.running == "IDLE":
                    return line
                continue
            self.hear(line)

    def do(self, command, expect="OK"):
        self.send(command)
        answer = self.finish()
        if expect and not answer.startswith(expect):
            self.wrong(f"{command} was answered {answer}")
        return answer

    # what it is told ----------------------------------------------------------------------------------------------

    def hear(self, line):
        if m := re.match(r"\* (\d+) (EXISTS|RECENT|EXPUNGE)$", line):
            n = int(m.group(1))
            if m.group(2) == "EXISTS":
                if n < len(self.messages):
                    self.wrong(f"EXISTS falls from {len(self.messages)} to {n}")
                self.messages += [Message() for _ in range(n - len(self.messages))]
            elif m.group(2) == "EXPUNGE":
                if self.qresync:
                    self.wrong("EXPUNGE though QRESYNC is enabled (RFC 7162 §3.2.10)")
                self.may_expunge(n)
                del self.messages[n - 1]
        elif m := re.match(r"\* VANISHED (\(EARLIER\) )?([\d:,]+)$", line):
            if not self.qresync:
                self.wrong("VANISHED without QRESYNC")
            for uid in numbers(m.group(2)):
                self.vanish(uid, bool(m.group(1)))
        elif m := re.match(r"\* (\d+) FETCH \((.*)\)$", line):
            self.hear_fetch(int(m.group(1)), m.group(2))
        elif line.startswith("* BYE"):
            raise ConnectionError(f"{self.name}: {line}")
        else:
            self.results.append(line)

    def may_expunge(self, n=1):
        if not self.expunges:
            self.wrong("a removal is told when it must not be (RFC 9051 §7.5.1)")
        if not 1 <= n <= len(self.messages):
            self.wrong(f"removal of {n}, there are {len(self.messages)}")

    def vanish(self, uid, earlier):
        known = [i for i, m in enumerate(self.messages) if m.uid == uid]
        if earlier:
            if known:
                del self.messages[known[0]]
            return
        self.may_expunge()
        if not known:  # one of those whose uid it was not told, between the neighbours of this uid
            after = max((i for i, m in enumerate(self.messages) if m.uid and m.uid < uid), default=-1)
            before = min((i for i, m in enumerate(self.messages) if m.uid and m.uid > uid), default=len(self.messages))
            known = [i for i in range(after + 1, before) if self.messages[i].uid is None]
        if not known:
            self.wrong(f"VANISHED {uid}, which the client does not know")
        del self.messages[known[0]]

    def hear_fetch(self, n, text):
        if not 1 <= n <= len(self.messages):
            self.wrong(f"FETCH of {n}, there are {len(self.messages)}")
        m = self.messages[n - 1]
        if found := re.search(r"\bUID (\d+)", text):
            uid = int(found.group(1))
            if m.uid not in (None, uid):
                self.wrong(f"message {n} has uid {m.uid}, and is told with uid {uid}")
            before = [x.uid for x in self.messages[: n - 1] if x.uid]
            after = [x.uid for x in self.messages[n:] if x.uid]
            if (before and max(before) >= uid) or (after and min(after) <= uid):
                self.wrong(f"uid {uid} of message {n} is not between its neighbours'")
            m.uid = uid
        changed = False
        if found := re.search(r"FLAGS \(([^)]*)\)", text):
            flags = frozenset(f for f in found.group(1).split() if f != "\\Recent")
            changed = m.flags is not None and flags != m.flags
            m.flags = flags
        if found := re.search(r"MODSEQ \((\d+)\)", text):
            modseq = int(found.group(1))
            if m.modseq and (modseq < m.modseq or (changed and modseq == m.modseq)):
                self.wrong(f"message {n}: the mod-sequence goes from {m.modseq} to {modseq}")
            m.modseq = modseq
        elif changed:
            m.modseq = None
            if self.condstore:
                self.wrong(f"message {n}: a change of flags without its mod-sequence (RFC 7162 §3.1)")

    # what it knows ------------------------------------------------------------------------------------------------

    def missing(self, truth):
        """The first difference from the folder; None: there is none."""
        uids = list(truth)
        if len(uids) != len(self.messages):
            return f"knows {len(self.messages)} messages, there are {len(uids)}: {[m.uid for m in self.messages]} / {uids}"
        for n, (m, uid) in enumerate(zip(self.messages, uids), 1):
            if m.uid not in (None, uid):
                return f"message {n} is known with uid {m.uid}, it is {uid}"
            if m.flags is not None and m.flags != truth[uid].flags:
                return f"message {n} (uid {uid}) is known with {sorted(m.flags)}, it has {sorted(truth[uid].flags)}"
            if m.modseq and self.condstore and truth[uid].modseq and m.modseq != truth[uid].modseq:
                return f"message {n} (uid {uid}) is known with mod-sequence {m.modseq}, it has {truth[uid].modseq}"
        return None

    def listen(self, seconds):
        """In IDLE: hears what there is within this time."""
        if b"\r\n" not in self.buffer:
            if not self.sock.pending() and not select.select([self.sock], [], [], seconds)[0]:
                return
            self.more()
        while b"\r\n" in self.buffer:
            self.hear(self.line())

    def learn(self):
        """Asks for what it was not told of the newest messages."""
        unknown = [i for i, m in enumerate(self.messages) if m.uid is None or m.flags is None]
        if not unknown:
            return
        items = "(UID FLAGS MODSEQ)" if self.condstore else "(UID FLAGS)"
        if self.model.random.random() < 0.5:
            self.do(f"FETCH {unknown[0] + 1}:{len(self.messages)} {items}", expect=None)
        else:
            last = max((m.uid for m in self.messages[: unknown[0]] if m.uid), default=0)
            self.do(f"UID FETCH {last + 1}:* {items}")


class Model:
    """The folders as they are, and random steps. site: a Site with "imapd" and "imapd@2" running and the account."""

    def __init__(self, site, user, password, seed, clients=8, kill=None):
        self.site, self.user, self.password, self.seed, self.kill = site, user, password, seed, kill
        self.random = random.Random(seed)
        random.seed(seed)
        self.step = 0
        self.history = []  # of all clients
        self.counts = {}
        self.folders = {}  # name: {uid: Message}
        self.observers = []
        ports = [site.ports["imaps"], site.ports["imaps@2"]]
        self.observers = [Observer(self, f"observer {i}", port) for i, port in enumerate(ports)]
        for folder in FOLDERS[1:]:
            self.observers[0].do(f"CREATE {folder}", expect=None)
        self.read_truth()
        self.clients = [Client(self, str(i), ports[i % 2]) for i in range(clients)]

    def read_truth(self):
        """The folders as a session sees them that has just begun."""
        for name in FOLDERS:
            seen = [observer.read(name) for observer in self.observers]
            if seen[0] != seen[1]:
                self.observers[0].wrong(f"the two servers differ in {name}: {seen}")
            old, self.folders[name] = self.folders.get(name, {}), {}
            for uid, flags, modseq in seen[0]:
                m = self.folders[name][uid] = Message(uid, flags, modseq)
                m.past = old[uid].past | {old[uid].flags} if uid in old else m.past

    def compare_truth(self):
        """The model against what new sessions see; takes the mod-sequences, which only the server knows."""
        expected = {name: {uid: m.flags for uid, m in folder.items()} for name, folder in self.folders.items()}
        self.read_truth()
        for name, folder in self.folders.items():
            found = {uid: m.flags for uid, m in folder.items()}
            if found != expected[name]:
                self.observers[0].wrong(f"{name} should be {expected[name]}, it is {found}")

    def heard(self, client, command, answer):
        pass

    # steps --------------------------------------------------------------------------------------------------------

    def run(self, steps):
        while self.step < steps:
            self.step += 1
            try:
                self.one()
            except ConnectionError:
                if not self.kill:
                    raise
        self.settle()
        for client in self.clients:
            self.wake(client)
        self.compare_truth()
        return self.counts

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def one(self):
        r = self.random.random()
        if r < 0.04:
            self.burst()
        elif r < 0.07:
            self.settle()
        elif r < 0.08:
            self.compare_truth()
        elif self.kill and r < 0.085:
            self.kill_server()
        else:
            client = self.random.choice(self.clients)
            self.wake(client) if client.idle else self.act(client)

    def wake(self, client):
        if not client.idle:
            return
        client.idle = None
        client.expunges = True
        client.note("C: DONE")
        client.sock.sendall(b"DONE\r\n")
        client.finish()
        self.expect_same(client, "DONE")

    def truth(self, client):
        return self.folders[client.folder]

    def expect_same(self, client, after):
        if client.folder and (what := client.missing(self.truth(client))):
            client.wrong(f"after {after} it {what}")

    def settle(self):
        """Every client in IDLE comes to know what there is."""
        self.count("settle")
        end = time.monotonic() + 20
        for client in self.clients:
            while client.idle and client.folder and client.missing(self.truth(client)):
                client.listen(0.2)
                if time.monotonic() > end:
                    client.wrong("in IDLE it " + client.missing(self.truth(client)))

    def act(self, client):
        if not client.folder:
            self.select(client)
            return
        client.learn()
        choices = [self.fetch] * 4 + [self.store] * 6 + [self.search] * 3 + [self.expunge] * 2 + [self.copy] * 2 + [self.append] * 4 + [self.noop] * 2 + [self.enter_idle] * 4 + [self.select, self.close, self.status, self.cut, self.read]
        action = self.random.choice(choices)
        self.count(action.__name__)
        action(client)

    def select(self, client):
        name = self.random.choice(FOLDERS[:2] if self.random.random() < 0.8 else FOLDERS)
        client.messages = []
        client.read_only = self.random.random() < 0.15
        client.folder = None
        client.do(("EXAMINE " if client.read_only else "SELECT ") + name)
        client.folder = name
        client.results and self.note_select(client)
        if len(client.messages) != len(self.truth(client)):
            client.wrong(f"SELECT tells {len(client.messages)} messages, there are {len(self.truth(client))}")
        if self.random.random() < 0.9 and client.messages:
            client.do("FETCH 1:* (UID FLAGS%s)" % (" MODSEQ" if client.condstore else ""))
            self.expect_same(client, "SELECT and FETCH")

    def note_select(self, client):
        text = "\n".join(client.results)
        client.uidvalidity = int(re.search(r"UIDVALIDITY (\d+)", text).group(1))
        client.modseq = int(re.search(r"HIGHESTMODSEQ (\d+)", text).group(1))

    def noop(self, client):
        client.do(self.random.choice(["NOOP", "CHECK"]))
        self.expect_same(client, "NOOP")

    def close(self, client):
        if not client.read_only and self.random.random() < 0.5:
            client.do("CLOSE")
            self.remove_deleted(client)
        else:
            client.do("UNSELECT")
        client.folder, client.messages = None, []

    def remove_deleted(self, client, only=None):
        truth = self.truth(client)
        for uid in [u for u, m in truth.items() if "\\Deleted" in m.flags and (only is None or u in only)]:
            del truth[uid]

    def some(self, client):
        """Some messages that the client knows: their indices, and how it names them."""
        known = [i for i, m in enumerate(client.messages) if m.uid]
        if not known:
            return None
        start = self.random.choice(known)
        chosen = [i for i in known if start <= i < start + self.random.choice([1, 1, 1, 2, 3, 10])]
        if self.random.random() < 0.3:
            chosen = sorted(set(chosen + self.random.sample(known, min(len(known), 3))))
        by_uid = self.random.random() < 0.5
        return chosen, by_uid, as_set([client.messages[i].uid if by_uid else i + 1 for i in chosen])

    def fetch(self, client):
        if not (some := self.some(client)):
            return
        chosen, by_uid, text = some
        before = {client.messages[i].uid: client.messages[i].flags for i in chosen}
        truth = self.truth(client)
        modifier = ""
        if client.condstore and self.random.random() < 0.3:
            modifier = f" (CHANGEDSINCE {max([m.modseq or 1 for m in client.messages])})"
        client.do(f"{'UID ' * by_uid}FETCH {text} (UID FLAGS{' MODSEQ' * client.condstore}){modifier}")
        for m in client.messages:
            if m.uid in before and m.uid in truth and m.flags not in {before[m.uid], truth[m.uid].flags} | truth[m.uid].past:  # news may be late, but not invented
                client.wrong(f"FETCH tells {sorted(m.flags)} of uid {m.uid}, it has {sorted(truth[m.uid].flags)}")

    def read(self, client):
        """A FETCH that sets \\Seen."""
        if not (some := self.some(client)):
            return
        chosen, by_uid, text = some
        uids = [client.messages[i].uid for i in chosen]
        believed = {client.messages[i].uid for i in chosen if "\\Seen" in (client.messages[i].flags or ())}
        answer = client.do(f"{'UID ' * by_uid}FETCH {text} (BODY[TEXT] UID)", expect=None)
        gone = [u for u in uids if u not in self.truth(client)]
        if not answer.startswith("OK") and not (gone and not by_uid):
            client.wrong(f"FETCH BODY[TEXT] was answered {answer}")
        if client.read_only:
            return
        for uid in uids:
            if uid in self.truth(client) and uid not in believed:
                self.change(client, uid, self.truth(client)[uid].flags | {"\\Seen"})
        if any(uid in self.truth(client) and "\\Seen" not in self.truth(client)[uid].flags for uid in believed):
            self.read_truth()  # it was seen when the client last heard of it: whether it is set again is open

    def change(self, client, uid, flags):
        m = self.truth(client)[uid]
        if m.flags != frozenset(flags):
            m.past.add(m.flags)
            m.flags, m.modseq = frozenset(flags), None

    def store(self, client):
        if client.read_only or not (some := self.some(client)):
            return
        chosen, by_uid, text = some
        truth = self.truth(client)
        uids = [client.messages[i].uid for i in chosen]
        how = self.random.choice(["+", "+", "-", ""])
        words = set(self.random.sample(SYSTEM + WORDS, self.random.choice([1, 1, 2, 3])))
        if how != "-" and "\\Deleted" in words and self.random.random() < 0.5:
            words -= {"\\Deleted"}
        silent = ".SILENT" if self.random.random() < 0.4 else ""
        modifier, limit = "", None
        if client.condstore and self.random.random() < 0.3:
            limit = max([m.modseq or 1 for m in client.messages])
            modifier = f"(UNCHANGEDSINCE {limit}) "
        expected = {i: client.messages[i] for i in chosen}
        answer = client.do(f"{'UID ' * by_uid}STORE {text} {modifier}{how}FLAGS{silent} ({' '.join(words)})")
        refused = set()
        if found := re.search(r"\[MODIFIED ([\d:,]+)\]", answer):
            refused = set(numbers(found.group(1)))
            refused = refused if by_uid else {expected[n - 1].uid for n in refused}
            if limit is None or not refused <= set(uids):
                client.wrong(f"MODIFIED {refused} of {uids}")
        for uid in uids:
            if uid not in truth:
                continue
            if limit is not None and truth[uid].modseq and (truth[uid].modseq > limit) != (uid in refused):
                client.wrong(f"UNCHANGEDSINCE {limit}: uid {uid} has {truth[uid].modseq}, refused: {sorted(refused)}")
            if uid in refused:
                continue
            old = truth[uid].flags
            self.change(client, uid, old | words if how == "+" else old - words if how == "-" else words)
        for m in client.messages:  # a client assumes what it asked for when it asked for silence
            if silent and m.uid in uids and m.uid in truth and m.uid not in refused and m.flags is not None:
                mine = m.flags | words if how == "+" else m.flags - words if how == "-" else frozenset(words)
                m.flags = frozenset(mine) if m.flags != truth[m.uid].flags else m.flags
        for m in client.messages:
            if m.uid in uids and m.uid in truth and m.uid not in refused and m.flags != truth[m.uid].flags and client.missing(truth) is None:
                client.wrong(f"after STORE uid {m.uid} is known with {sorted(m.flags or [])}, it has {sorted(truth[m.uid].flags)}")

    def search(self, client):
        known = [m for m in client.messages if m.uid and m.flags is not None]
        flag, word = self.random.choice(SYSTEM), self.random.choice(WORDS)
        some = self.some(client)
        keys = [(flag[1:].upper(), lambda f, u: flag in f), ("UN" + flag[1:].upper(), lambda f, u: flag not in f), (f"KEYWORD {word}", lambda f, u: word in f), (f"NOT KEYWORD {word}", lambda f, u: word not in f),
                ("ALL", lambda f, u: True), (f"OR {flag[1:].upper()} KEYWORD {word}", lambda f, u: flag in f or word in f)]
        if some:
            uids = {client.messages[i].uid for i in some[0]}
            keys.append(((f"UID {some[2]}" if some[1] else some[2]), lambda f, u: u in uids))
        text, fits = self.random.choice(keys)
        by_uid = self.random.random() < 0.5
        before = {m.uid: m.flags for m in known}
        numbered = {n: m.uid for n, m in enumerate(client.messages, 1)}
        options = self.random.choice(["", "", "RETURN (ALL) ", "RETURN (COUNT) ", "RETURN (MIN MAX) "])
        client.do(f"{'UID ' * by_uid}SEARCH {options}{text}")
        line = next((x for x in client.results if re.match(r"\* E?SEARCH", x)), "")
        if not line:
            client.wrong("SEARCH without its response")
        if line.startswith("* ESEARCH"):
            if "COUNT" in options or "MIN" in options:
                return
            found = re.search(r"ALL ([\d:,]+)", line)
            found = numbers(found.group(1)) if found else []
        else:
            found = [int(n) for n in line.split("(")[0].split()[2:]]
        found = {n if by_uid else numbered.get(n) for n in found}
        truth = self.truth(client)
        for uid, flags in before.items():
            if uid not in truth:
                continue
            allowed = {fits(flags, uid), fits(truth[uid].flags, uid)}
            if (uid in found) not in allowed:
                client.wrong(f"SEARCH {text}: uid {uid} is {'' if uid in found else 'not '}found; it has {sorted(truth[uid].flags)}")

    def expunge(self, client):
        if client.read_only:
            return
        if self.random.random() < 0.5 and (some := self.some(client)):
            uids = {client.messages[i].uid for i in some[0]}
            client.do(f"UID EXPUNGE {as_set(uids)}")
            self.remove_deleted(client, uids)
        else:
            client.do("EXPUNGE")
            self.remove_deleted(client)
        self.expect_same(client, "EXPUNGE")

    def copy(self, client):
        if not (some := self.some(client)):
            return
        chosen, by_uid, text = some
        uids = [client.messages[i].uid for i in chosen]
        move = not client.read_only and self.random.random() < 0.4
        target = self.random.choice(FOLDERS)
        if move and target == client.folder:
            return
        there = dict(self.truth(client))
        answer = client.do(f"{'UID ' * by_uid}{'MOVE' if move else 'COPY'} {text} {target}", expect=None)
        present = [u for u in uids if u in there]
        if not answer.startswith("OK"):
            client.wrong(f"COPY was answered {answer}")
        found = re.search(r"\[COPYUID \d+ ([\d:,]+) ([\d:,]+)\]", answer + "\n".join(client.results))
        pairs = list(zip(numbers(found.group(1)), numbers(found.group(2)))) if found else []
        if sorted(a for a, _ in pairs) != sorted(present):
            client.wrong(f"COPYUID tells {pairs}, {present} were there")
        for source, copy in pairs:
            self.folders[target][copy] = Message(copy, there[source].flags)
            if move:
                self.truth(client).pop(source, None)
        self.expect_same(client, "COPY")

    def append(self, client):
        target = client.folder if self.random.random() < 0.6 else self.random.choice(FOLDERS)
        flags = self.random.sample(SYSTEM[:3] + WORDS, self.random.choice([0, 0, 1, 2]))
        body = f"Subject: {self.step}\r\n\r\nbody {self.step}\r\n"
        answer = client.do(f"APPEND {target} ({' '.join(flags)}) {{{len(body)}+}}\r\n{body}")
        uid = int(re.search(r"APPENDUID \d+ (\d+)", answer).group(1))
        self.folders[target][uid] = Message(uid, frozenset(flags))
        self.expect_same(client, "APPEND")

    def status(self, client):
        name = self.random.choice(FOLDERS)
        client.do(f"STATUS {name} (MESSAGES UNSEEN)")
        line = next(x for x in client.results if x.startswith("* STATUS"))
        messages, unseen = int(re.search(r"MESSAGES (\d+)", line).group(1)), int(re.search(r"UNSEEN (\d+)", line).group(1))
        expected = (len(self.folders[name]), sum("\\Seen" not in m.flags for m in self.folders[name].values()))
        if (messages, unseen) != expected:
            client.wrong(f"{line}, expected {expected}")

    def enter_idle(self, client):
        client.send("IDLE")
        client.finish()
        client.idle = True
        client.expunges = True

    def cut(self, client):
        """The connection is lost, things happen, and the client comes back: with QRESYNC if it can."""
        folder, old = client.folder, client.messages
        if not client.qresync or not self.random.random() < 0.8 or any(m.uid is None or m.flags is None for m in old):
            client.sock.close()
            client.connect()
            return
        client.do("NOOP")
        self.expect_same(client, "NOOP")
        if any(m.uid is None or m.flags is None or m.modseq is None for m in client.messages):
            return
        modseq = max([client.modseq] + [m.modseq for m in client.messages])
        old, uidvalidity = client.messages, client.uidvalidity
        client.sock.close()
        others = [c for c in self.clients if c is not client and not c.idle]
        for other in self.random.sample(others, min(3, len(others))):
            self.act(other)
        client.connect()
        known = as_set([m.uid for m in old]) if old and self.random.random() < 0.5 else ""
        self.resync(client, folder, uidvalidity, modseq, known, old)

    def resync(self, client, folder, uidvalidity, modseq, known, old):
        client.send(f"SELECT {folder} (QRESYNC ({uidvalidity} {modseq}{' ' * bool(known)}{known}))")
        # EXISTS is told before what vanished: the client applies that to its old state first (RFC 7162 §3.2.5.2)
        client.messages = []
        lines = []
        while not (line := client.line()).startswith(f"{client.tag} "):
            lines.append(line)
        if not line.startswith(f"{client.tag} OK"):
            client.wrong(line)
        client.messages, client.folder, client.read_only = old, folder, False
        client.results = [x for x in lines if re.match(r"\* OK", x)]
        self.note_select(client)
        for x in lines:
            if x.startswith("* VANISHED"):
                client.hear(x)
        exists = next(int(x.split()[1]) for x in lines if x.endswith("EXISTS"))
        if exists < len(client.messages):
            client.wrong(f"{exists} messages, but the client still knows {[m.uid for m in client.messages]}")
        client.messages += [Message() for _ in range(exists - len(client.messages))]
        for x in lines:
            if " FETCH (" in x:
                client.hear(x)
        self.expect_same(client, "QRESYNC")

    def burst(self):
        """Several clients at once: the order is not known, so the model takes the outcome, and all must come to know it."""
        self.count("burst")
        clients = [c for c in self.clients if not c.idle and c.folder]
        clients = self.random.sample(clients, min(4, len(clients)))
        for client in clients:
            client.learn()
        commands = []
        for client in clients:
            some = self.some(client)
            choices = [f"APPEND {client.folder} {{16+}}\r\nSubject: x\r\n\r\ny\r\n", "NOOP"]
            if some:
                word = "UID " * some[1]
                flags = " ".join(self.random.sample(SYSTEM + WORDS, 2))
                choices += [f"{word}FETCH {some[2]} (UID FLAGS{' MODSEQ' * client.condstore})", f"{word}SEARCH UNDELETED"]
                choices += [] if client.read_only else [f"{word}STORE {some[2]} {self.random.choice(['+', '-'])}FLAGS ({flags})", "EXPUNGE", f"{word}MOVE {some[2]} Other" if client.folder != "Other" else "NOOP"] * 2
            commands.append((client, self.random.choice(choices)))
        for client, command in commands:
            client.send(command)
        if self.kill and self.random.random() < 0.2:
            self.kill_server()
            return
        for client, command in commands:
            client.finish()
        self.read_truth()
        for client in clients:
            client.do("NOOP")
            self.expect_same(client, "NOOP after commands at once")

    def kill_server(self):
        """Kills a service in the middle of what it does; its clients come back."""
        service = self.random.choice(self.kill)
        self.count("kill " + service)
        self.site.kill(service)
        self.site.start(service)
        port = {"imapd": self.site.ports["imaps"], "imapd@2": self.site.ports["imaps@2"]}.get(service)
        for client in self.clients + self.observers:
            if client.port == port:
                client.sock.close()
                client.connect()
        for client in self.clients:  # answers to commands of a burst
            if client.port != port and client.idle is None and client.folder:
                client.sock.close()
                client.connect()
        self.read_truth()
        self.settle()


class Observer(Client):
    """A session that looks at whole folders."""

    def __init__(self, model, name, port):
        super().__init__(model, name, port)

    def read(self, folder):
        self.messages = []
        self.do(f"EXAMINE {folder}")
        if self.messages:
            self.do("FETCH 1:* (UID FLAGS MODSEQ)")
        return [(m.uid, m.flags, m.modseq) for m in self.messages]
