"""A DNS server of the tests' own that says what a script tells it to: records, errors, silence, lies, truncation, loops. It is asked as a forwarder or as the authority
of a stub, over UDP and TCP.

    dns = ScriptedDns({("example.test", "TXT"): '"v=spf1 -all"', ("slow.test", "TXT"): Slow(2, '"late"'), ("dead.test", "*"): SILENCE, …})

A value is a string or a list of strings (rdata as in a zone file, with a "CNAME:target" for an alias), or one of the behaviours below. A name that has any entry exists: other
types of it have no data; "*" as the type is any type. Every other name does not exist. What was asked is in dns.questions, as (name, type, "udp" or "tcp")."""
import dataclasses
import socket
import struct
import threading
import time

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

SILENCE = "behaviour: takes the question and never answers"
SERVFAIL = "behaviour: SERVFAIL"
REFUSED = "behaviour: REFUSED"
GARBAGE = "behaviour: answers with bytes that are no DNS message"
WRONG_ID = "behaviour: answers with another id"
WRONG_NAME = "behaviour: answers another question"
NODATA = "behaviour: the name exists, without data"
NXDOMAIN = "behaviour: the name does not exist"


@dataclasses.dataclass
class Slow:
    """Answers after so many seconds."""
    seconds: float
    value: object


@dataclasses.dataclass
class Truncated:
    """TC over UDP without any record; whole over TCP, unless value is a behaviour."""
    value: object


class ScriptedDns:
    negative_ttl = None  # how long it may be believed that a name does not exist (RFC 2308 §5), by an SOA of the top-level domain; None: no SOA

    def __init__(self, script, ttl=60, default=NXDOMAIN, port=0, host="127.0.0.1"):
        self.ttl, self.default, self.host, self.questions, self.spelled = ttl, default, host, [], set()  # spelled: names with the case in which they came
        self.script = {}
        self.update(script)
        while True:  # one port, free for both
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.udp.bind((host, port))
            self.port = self.udp.getsockname()[1]
            try:
                self.tcp = socket.create_server((host, self.port))
                break
            except OSError:
                self.udp.close()
                if port:
                    raise
        for run in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=run, daemon=True).start()

    @property
    def address(self):
        """As POSTBUS_RESOLVER_FORWARD takes it; `postbus check --resolver` takes 127.0.0.1:<port>."""
        return f"{self.host}@{self.port}"

    def update(self, script):
        self.script.update({(name.lower().rstrip("."), kind): value for (name, kind), value in script.items()})
        self.names = {name for name, _ in self.script}

    def count(self, name, kind=None):
        return sum(1 for n, k, _ in self.questions if n == name.lower().rstrip(".") and kind in (None, k))

    def end(self):
        for s in (self.udp, self.tcp):
            try:
                s.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits on it, which would else keep the port
            except OSError:
                pass
            s.close()

    def _find(self, name, kind):
        for key in ((name, kind), (name, "CNAME"), (name, "*")):
            if key in self.script:
                value = self.script[key]
                return ["CNAME:" + v for v in ([value] if isinstance(value, str) else value)] if key[1] == "CNAME" and kind != "CNAME" else value
        # an empty non-terminal exists too (RFC 8020)
        return NODATA if any(n == name or n.endswith("." + name) for n in self.names) else self.default

    def _answer(self, wire, over):
        """The bytes to send back, or None."""
        try:
            question = dns.message.from_wire(wire)
        except Exception:
            return None
        asked = question.question[0]
        name, kind = asked.name.to_text().lower().rstrip("."), dns.rdatatype.to_text(asked.rdtype)
        self.questions.append((name, kind, over))
        self.spelled.add(asked.name.to_text())
        value = self._find(name, kind)
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.AA | dns.flags.RA
        if isinstance(value, Slow):
            time.sleep(value.seconds)
            value = value.value
        if isinstance(value, Truncated):
            if over == "udp":
                answer.flags |= dns.flags.TC
                return answer.to_wire()
            value = value.value
        if value == SILENCE:
            return None
        if value == GARBAGE:
            return wire[:2] + b"\xff" * 40
        if value in (SERVFAIL, REFUSED, NXDOMAIN):
            answer.set_rcode({SERVFAIL: dns.rcode.SERVFAIL, REFUSED: dns.rcode.REFUSED, NXDOMAIN: dns.rcode.NXDOMAIN}[value])
        elif value == WRONG_ID:
            answer.id ^= 0x5555
        elif value == WRONG_NAME:
            answer.question = [dns.rrset.RRset(dns.name.from_text("other.invalid."), asked.rdclass, asked.rdtype)]
        elif value != NODATA:
            self._add_records(answer, asked.name, kind, [value] if isinstance(value, str) else value, 0)
        if self.negative_ttl is not None and not answer.answer and value in (NODATA, NXDOMAIN):
            owner = dns.name.Name(asked.name.labels[-2:])
            soa = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.SOA, f". . 1 60 60 60 {self.negative_ttl}")
            answer.authority.append(dns.rrset.from_rdata(owner, self.negative_ttl, soa))
        packet = answer.to_wire(max_size=65535)
        if over == "udp" and len(packet) > max(512, question.payload):
            answer = dns.message.make_response(question)
            answer.flags |= dns.flags.AA | dns.flags.TC
            packet = answer.to_wire()
        return packet

    def _add_records(self, answer, owner, kind, values, depth):
        for value in values:
            alias = value.startswith("CNAME:")
            kind_here = "CNAME" if alias else kind
            data = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(kind_here), value[6:] if alias else value, origin=dns.name.root, relativize=False)
            answer.find_rrset(answer.answer, owner, dns.rdataclass.IN, dns.rdatatype.from_text(kind_here), create=True).add(data, self.ttl)
            if alias and depth < 30:
                follow = self._find(data.target.to_text().lower().rstrip("."), kind)
                if isinstance(follow, list) or (isinstance(follow, str) and not follow.startswith("behaviour: ")):
                    self._add_records(answer, data.target, kind, [follow] if isinstance(follow, str) else follow, depth + 1)

    def _serve_udp(self):
        while True:
            try:
                wire, peer = self.udp.recvfrom(65535)
            except OSError:
                return
            threading.Thread(target=self._reply_udp, args=(wire, peer), daemon=True).start()

    def _reply_udp(self, wire, peer):
        packet = self._answer(wire, "udp")
        if packet:
            try:
                self.udp.sendto(packet, peer)
            except OSError:
                pass

    def _serve_tcp(self):
        while True:
            try:
                connection, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_connection, args=(connection,), daemon=True).start()

    def _serve_connection(self, connection):
        with connection, connection.makefile("rb") as stream:
            while True:
                length = stream.read(2)
                if len(length) < 2:
                    return
                packet = self._answer(stream.read(struct.unpack("!H", length)[0]), "tcp")
                if packet:
                    connection.sendall(struct.pack("!H", len(packet)) + packet)
