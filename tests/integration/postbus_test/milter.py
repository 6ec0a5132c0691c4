"""A milter's other side, as an MTA speaks to it: one message a connection. (The protocol is Sendmail's, version 6.)"""
import socket
import struct
import time


class Milter:
    def __init__(self, port, seconds=20):
        end = time.monotonic() + seconds
        while True:
            try:
                self.sock = socket.create_connection(("127.0.0.1", port), 20)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
        self.file = self.sock.makefile("rb")
        self._say(b"O", struct.pack("!III", 6, 0x1FF, 0))
        kind, data = self._hear()
        assert kind == b"O", kind
        self.silent = struct.unpack("!I", data[8:12])[0]  # steps that are not wanted, or not answered

    def _say(self, kind, data=b""):
        self.sock.sendall(struct.pack("!I", len(data) + 1) + kind + data)

    def _hear(self):
        length = struct.unpack("!I", self.file.read(4))[0]
        packet = self.file.read(length)
        return packet[:1], packet[1:]

    def _step(self, kind, data, unwanted, unanswered):
        """None, or the reply that ends the message."""
        if self.silent & unwanted:
            return None
        self._say(kind, data)
        if self.silent & unanswered:
            return None
        reply = self._hear()
        return None if reply[0] == b"c" else reply

    def message(self, ip, helo, sender, rcpt, headers, body=b"x\r\n"):
        """(how it ended: "accept", "reject", "tempfail", "discard", "continue"; its reply text; the header fields that were added)"""
        added = []
        text = b""
        steps = [(b"C", f"[{ip}]".encode() + b"\0" + b"4" + struct.pack("!H", 4000) + ip.encode() + b"\0", 0x1, 0x1000), (b"H", helo.encode() + b"\0", 0x2, 0x2000),
                 (b"M", b"<" + sender.encode() + b">\0", 0x4, 0x4000), (b"R", b"<" + rcpt.encode() + b">\0", 0x8, 0x8000)]
        steps += [(b"L", name.encode() + b"\0" + value.encode() + b"\0", 0x20, 0x80) for name, value in headers]
        steps += [(b"N", b"", 0x40, 0x40000), (b"B", body, 0x10, 0x80000)]
        ended = None
        for kind, data, unwanted, unanswered in steps:
            ended = self._step(kind, data, unwanted, unanswered)
            if ended:
                break
        if not ended:
            self._say(b"E")
            while True:
                kind, data = self._hear()
                if kind in b"hi":
                    name, value = (data[4:] if kind == b"i" else data).split(b"\0")[:2]
                    added.append((name.decode(), value.decode(errors="replace").strip()))
                elif kind in b"acrtdy":
                    ended = kind, data
                    break
        self.sock.close()
        words = {b"a": "accept", b"c": "continue", b"r": "reject", b"t": "tempfail", b"d": "discard", b"y": "reject" if ended[1][:1] == b"5" else "tempfail"}
        text = ended[1].split(b"\0")[0].decode() if ended[0] == b"y" else ""
        return words[ended[0]], text, added
