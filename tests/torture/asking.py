"""Asks an IMAP server for everything about each message of the torture set, and makes of the answers values that can be compared: a string is a string, quoted or literal; names that have no case
are in lower case; None is NIL."""
import hashlib
import socket

KINDS = ("BODY.PEEK[{}]", "BODY.PEEK[{}.MIME]", "BODY.PEEK[{}.HEADER]", "BODY.PEEK[{}.TEXT]", "BODY.PEEK[{}]<1.3>", "BINARY.PEEK[{}]", "BINARY.SIZE[{}]")
WHOLE = ("RFC822.SIZE", "ENVELOPE", "BODY", "BODYSTRUCTURE", "BODY.PEEK[]", "BODY.PEEK[HEADER]", "BODY.PEEK[TEXT]", "BODY.PEEK[HEADER.FIELDS (Subject To X-Fake)]", "BODY.PEEK[HEADER.FIELDS.NOT (From To Subject Date Message-ID)]", "BODY.PEEK[]<5.11>", "BODY.PEEK[TEXT]<1000000.5>", "BINARY.PEEK[]")


def items_of(message):
    """Every FETCH item that is asked for."""
    return [*WHOLE, *(kind.format(section) for section in message.sections for kind in KINDS)]


class Refused(Exception):
    """The tagged answer was NO or BAD."""


class Client:
    """A plain IMAP client that reads answers byte by byte as RFC 9051 §9 says, and trusts nothing."""

    def __init__(self, host, port, wrap=None):
        sock = socket.create_connection((host, port), 30)
        self.sock = wrap(sock) if wrap else sock
        self.file, self.tags = self.sock.makefile("rb"), 0
        self.read_answer()

    def close(self):
        self.sock.close()

    def read_answer(self):
        """One response: its text, with literals in place."""
        text = b""
        while True:
            line = self.file.readline()
            if not line:
                raise ConnectionError("the server closed the connection")
            text += line
            if not line.endswith(b"}\r\n") or not line[line.rfind(b"{") + 1:-3].isdigit():
                return text
            text += self.file.read(int(line[line.rfind(b"{") + 1:-3]))

    def command(self, text, literal=None):
        """Sends a command; returns the untagged responses. Refused: with the tagged one."""
        self.tags += 1
        tag = b"t%d " % self.tags
        self.sock.sendall(tag + text.encode() + (b" {%d}\r\n" % len(literal) if literal is not None else b"\r\n"))
        answers = []
        while not (answer := self.read_answer()).startswith(tag):
            if answer.startswith(b"+") and literal is not None:
                self.sock.sendall(literal + b"\r\n")
                literal = None
            else:
                answers.append(answer)
        if not answer[len(tag):].startswith(b"OK"):
            raise Refused(answer[len(tag):].decode(errors="replace").strip())
        return answers


class Parser:
    """Reads the data of a FETCH response."""

    def __init__(self, text):
        self.text, self.at = text, 0

    def value(self):
        """A list, a string (bytes), a number, NIL or an atom (str)."""
        c = self.text[self.at:self.at + 1]
        if c == b"(":
            self.at += 1
            values = []
            while self.text[self.at:self.at + 1] != b")":
                assert self.at < len(self.text), "a list without its end"
                values.append(self.value())
                if self.text[self.at:self.at + 1] == b" ":
                    self.at += 1
            self.at += 1
            return values
        if c == b'"':
            self.at += 1
            s = bytearray()
            while (c := self.text[self.at:self.at + 1]) != b'"':
                assert c and c not in (b"\r", b"\n", b"\0"), "a quoted string with CR, LF, NUL or without its end"
                if c == b"\\":
                    self.at += 1
                    assert self.text[self.at:self.at + 1] in (b'"', b"\\"), "a backslash before something else"
                s += self.text[self.at:self.at + 1]
                self.at += 1
            self.at += 1
            return bytes(s)
        if c in (b"{", b"~"):
            end = self.text.index(b"}\r\n", self.at)
            n = int(self.text[self.at:end].lstrip(b"~{"))
            self.at = end + 3 + n
            assert self.at <= len(self.text) and (c == b"~" or b"\0" not in self.text[end + 3:self.at]), "NUL in a plain literal"
            return self.text[end + 3:self.at]
        end = self.at
        while self.text[end:end + 1] not in (b"", b" ", b"(", b")", b"\r"):
            end += 1
        word, self.at = self.text[self.at:end].decode("latin-1"), end
        assert word, f"nothing at {self.at}: {self.text[max(0, self.at - 20):self.at + 20]}"
        return None if word.upper() == "NIL" else int(word) if word.isdigit() else word


def fetched(answer, item):
    """The value of an item in a FETCH response; False when the item is not in it."""
    p = Parser(answer[answer.index(b"(") + 1:])
    asked = item.replace(".PEEK", "").upper()
    if asked.endswith(">"):
        asked = asked[:asked.rindex(".")] + ">"
    while p.text[p.at:p.at + 1] != b")":
        start = p.at
        while p.text[p.at:p.at + 1] != b" " or b"[" in p.text[start:p.at] and b"]" not in p.text[start:p.at]:
            p.at += 1
            assert p.at < len(p.text), f"a FETCH response without an end: {answer[-200:]}"
        name = p.text[start:p.at].decode("latin-1").upper().replace('"', "")
        p.at += 1
        value = p.value()
        if name == asked:
            return value
        if p.text[p.at:p.at + 1] == b" ":
            p.at += 1
    return False


def text_of(value):
    return value.decode("latin-1") if len(value) <= 400 else f"sha256:{hashlib.sha256(value).hexdigest()} {len(value)} bytes"


def plain(value):
    """Bytes as Latin-1 text, long ones as their digest."""
    return [plain(v) for v in value] if isinstance(value, list) else text_of(value) if isinstance(value, bytes) else value


def lowered(value):
    return value.lower() if isinstance(value, (bytes, str)) else value


def parameters(value):
    return [lowered(v) if n % 2 == 0 else v for n, v in enumerate(value)] if isinstance(value, list) else value


def structure(value):
    """A body structure with all that has no case in lower case: types, encodings, names of parameters, dispositions (RFC 9051 §7.5.2). Without recursion: 500 levels."""
    out = list(value)
    stack = [out]
    while stack:
        part = stack.pop()
        children = 0
        while children < len(part) and isinstance(part[children], list):
            part[children] = list(part[children])
            stack.append(part[children])
            children += 1
        if children:
            part[children] = lowered(part[children])
            if len(part) > children + 1:
                part[children + 1] = parameters(part[children + 1])
            extension = children + 2
        else:
            part[0], part[1], part[2], part[5] = lowered(part[0]), lowered(part[1]), parameters(part[2]), lowered(part[5])
            extension = 7
            if part[0] == b"text":
                extension = 8
            elif part[0] == b"message" and part[1] in (b"rfc822", b"global") and len(part) > 8 and isinstance(part[8], list):
                part[8] = list(part[8])
                stack.append(part[8])
                extension = 10
            extension += 1  # the MD5
        if len(part) > extension and isinstance(part[extension], list):
            part[extension] = [lowered(part[extension][0]), parameters(part[extension][1])]
    return out


def ask(connect, message):
    """{item: value} of one message, which is appended to a new folder; {"APPEND": reason} when the server does not take it. connect() makes a client that has logged in."""
    client, folder = connect(), "torture-" + message.name
    client.command(f"CREATE {folder}")
    try:
        client.command(f"APPEND {folder}", message.raw)
    except Refused as refused:
        return {"APPEND": refused.args[0]}
    client.command(f"SELECT {folder}")
    answers = {}
    for item in items_of(message):
        try:
            found = [value for answer in client.command(f"FETCH 1 ({item})") if b" FETCH (" in answer and (value := fetched(answer, item)) is not False]
            value = found[0] if found else "no answer"
        except Refused as refused:
            value = refused.args[0].split()[0] + (" [UNKNOWN-CTE]" if "UNKNOWN-CTE" in refused.args[0] else "")
        except ConnectionError:
            value = "the server closed the connection"
            client = connect()
            client.command(f"SELECT {folder}")
        except AssertionError as wrong:
            value = f"invalid: {wrong}"
        if item in ("BODY", "BODYSTRUCTURE") and isinstance(value, list):
            value = structure(value)
        answers[item] = plain(value)
    client.command("LOGOUT")
    client.close()
    return answers
