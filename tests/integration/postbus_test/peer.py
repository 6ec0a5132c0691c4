"""Another site's SMTP server, as little of one as a test needs: it takes what comes and keeps it with its envelope, or refuses recipients as it is told."""
import dataclasses
import socketserver
import threading


@dataclasses.dataclass
class Taken:
    mail_from: str
    rcpts: list
    text: bytes
    ip: str


class Peer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, name="mx.remote.test"):
        super().__init__(("127.0.0.1", 0), _Session)
        self.name, self.port, self.taken, self.refuse = name, self.server_address[1], [], {}  # refuse: {address: reply to its RCPT}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def end(self):
        self.shutdown()
        self.server_close()

    def of(self, mark):
        """The messages with this text in them."""
        return [t for t in self.taken if mark.encode() in t.text]


class _Session(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        path = lambda line: line.split(b"<", 1)[1].rsplit(b">", 1)[0].decode()
        self.say(f"220 {self.server.name}")
        sender, rcpts = "", []
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                self.say(f"250-{self.server.name}\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 PIPELINING")
            elif verb == b"MAIL":
                sender, rcpts = path(line), []
                self.say("250 ok")
            elif verb == b"RCPT":
                answer = self.server.refuse.get(path(line), "250 2.1.5 ok")
                if answer[0] == "2":
                    rcpts.append(path(line))
                self.say(answer)
            elif verb == b"DATA":
                if not rcpts:
                    self.say("554 5.5.1 no recipients")
                    continue
                self.say("354 go")
                text = b""
                while (part := self.rfile.readline()) != b".\r\n":
                    if not part:
                        return
                    text += part[1:] if part.startswith(b".") else part
                self.server.taken.append(Taken(sender, rcpts, text, self.client_address[0]))
                self.say("250 2.0.0 taken")
            elif verb == b"QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")
