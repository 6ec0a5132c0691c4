"""An IMAP session on a socket: commands as a test writes them, responses as they come."""
import re
import socket
import ssl

TLS = ssl._create_unverified_context()
PASSWORD = "correct horse 1"
ANN = "ann@alpha.test"


class Client:
    """A session that is logged in; an answer is a list of responses, literals with their announcement within them."""

    def __init__(self, site, folder=None, receive=None):
        """receive: the size of the kernel's buffer for what it has not read."""
        sock = socket.socket()
        if receive:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        sock.settimeout(30)
        sock.connect(("127.0.0.1", site.ports["imaps"]))
        self.sock = TLS.wrap_socket(sock)
        self.sock.settimeout(30)
        self.file = self.sock.makefile("rb")
        self.count = 0
        self.file.readline()
        assert self.tagged(f'LOGIN {ANN} "{PASSWORD}"').startswith(b"OK")
        if folder:
            assert self.tagged(f"SELECT {folder}").startswith(b"OK")

    def send(self, text):
        self.sock.sendall((text if isinstance(text, bytes) else text.encode()) + b"\r\n")

    def response(self, seconds=30):
        """One response with its literals; b"" when the connection ended."""
        self.sock.settimeout(seconds)
        whole = b""
        while True:
            line = self.file.readline()
            whole += line
            literal = re.search(rb"~?\{(\d+)\}\r\n$", line)
            if not literal:
                return whole
            whole += self.file.read(int(literal.group(1)))

    def until(self, start):
        """The responses up to the one that begins so."""
        seen = []
        while one := self.response():
            seen.append(one)
            if one.startswith(start):
                return seen
        raise AssertionError(f"the connection ended before {start!r}: {seen}")

    def command(self, text):
        self.count += 1
        tag = b"t%d " % self.count
        self.send(tag + (text if isinstance(text, bytes) else text.encode()))
        answer = self.until(tag)
        answer[-1] = answer[-1][len(tag):]
        return answer

    def tagged(self, text):
        return self.command(text)[-1]

    def untagged(self, text):
        answer = self.command(text)
        assert answer[-1].startswith(b"OK"), answer
        return b"".join(answer[:-1])

    def append(self, message=b"Subject: x\r\n\r\nhello\r\n", folder="INBOX", flags=""):
        tagged = self.tagged(f"APPEND {folder} ({flags}) ".encode() + b"{%d+}\r\n" % len(message) + message)
        return int(re.search(rb"APPENDUID \d+ (\d+)", tagged).group(1))

    def idle(self):
        self.send("idle IDLE")
        return self.until(b"+")

    def done(self):
        self.send("DONE")
        return self.until(b"idle ")

    def close(self):
        self.file.close()
        self.sock.close()
