"""The SPF cases of tests/unit/trust/spf_cases, as tests/unit/trust/spf_cases.h describes their lines: read here for the checks against others' implementations."""
import dataclasses
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[3]
TABLES = sorted((ROOT / "tests/unit/trust/spf_cases").glob("*.txt"))
FAILURES = (b"SERVFAIL", b"TIMEOUT")
CHAIN_MAX = 8


@dataclasses.dataclass
class Case:
    where: str
    ip: str
    helo: bytes
    sender: bytes  # empty: the null reverse-path, or the HELO identity
    result: str
    words: str
    explains: bytes = b""
    python3_spf: tuple = None  # the result that it gives instead, why ours is right


class Table:
    def __init__(self, path):
        self.name, self.cases, self.records = path.name, [], {}
        for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
            word, _, rest = line.strip().partition(b" ")
            getattr(self, "_read_" + word.decode().replace("-", "_"), self._read_nothing)(rest, number)

    def _read_nothing(self, rest, number):
        pass

    def _read_dns(self, rest, number):
        name, kind, data = rest.split(None, 2)
        self._add(unescape(name), kind.decode(), unescape(data))

    def _read_case(self, rest, number):
        _, ip, helo, sender, result, words = [unescape(f.strip()) for f in rest.split(b"|")]
        self.cases.append(Case(f"{self.name}:{number}", ip.decode(), b"client.test" if helo == b"-" else helo,
                               b"" if sender in (b"<>", b"HELO") else sender, result.decode(), words.decode()))

    def _read_record(self, rest, number):
        _, ip, result, words, record = [unescape(f.strip()) for f in rest.split(b"|", 4)]
        self._add(b"c%d.test" % number, "TXT", record)
        self.cases.append(Case(f"{self.name}:{number}", ip.decode(), b"client.test", b"user@c%d.test" % number, result.decode(), words.decode()))

    def _read_explains(self, rest, number):
        self.cases[-1].explains = unescape(rest.strip())

    def _read_python3_spf(self, rest, number):
        result, why = [f.strip().decode() for f in rest.split(b"|")]
        self.cases[-1].python3_spf = result, why

    def _add(self, name, kind, data):
        self.records.setdefault(name.lower(), []).append((kind, data))

    def find(self, name, kind, depth=0):
        """The data of a name's records of a kind, or None when DNS fails."""
        found = []
        for k, data in self.records.get(name.lower(), []):
            if k == "CNAME":
                return self.find(data, kind, depth + 1) if depth < CHAIN_MAX else None
            if k not in (kind, "*") or data == b"NODATA":
                continue
            if data in FAILURES:
                return None
            found.append(data)
        return found


def unescape(data):
    """\\xNN is a byte, ((N*x)) is N times x."""
    data = re.sub(rb"\(\((\d+)\*(.*?)\)\)", lambda m: int(m[1]) * m[2], data)
    return re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), data)
