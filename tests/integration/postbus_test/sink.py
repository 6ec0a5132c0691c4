"""Other sites' SMTP servers by the dozen, on one thread: each takes what comes, counts it, and misbehaves as it is told."""
import asyncio
import collections
import dataclasses
import threading


@dataclasses.dataclass
class Manners:
    """How one server behaves. Changed at any time; holds for the next command."""
    greet: bool = True
    extensions: tuple = ("PIPELINING", "8BITMIME", "SMTPUTF8")
    greeting: str = ""  # instead of 220
    mail: str = ""  # the reply to MAIL, instead of 250
    rcpts_max: int = 0  # further recipients of a transaction get 452; 0: all are taken
    refuse: object = None  # a function from a recipient to a reply, or None
    final: str = "250 2.0.0 taken"  # the reply to a text
    final_delay: float = 0  # seconds before it
    mails_max: int = 0  # after as many transactions the connection gets 421; 0: never


class Sink:
    """servers: {"127.0.1.1": Manners(), …}, all on one port. What was taken is in .taken: (server, reverse-path, recipients, text), and .counted: how often each
    (text's Subject, recipient) was taken."""

    def __init__(self, servers, port=0):
        self.servers, self.port = dict(servers), port
        self.taken, self.counted = [], collections.Counter()
        self.connections, self.open, self.open_most = collections.Counter(), collections.Counter(), collections.Counter()
        self.waiting_final = threading.Event()  # a text was received whole, and its reply is delayed
        self.commands = collections.Counter()
        self.loop = asyncio.new_event_loop()
        started = threading.Event()
        threading.Thread(target=self._run, args=(started,), daemon=True).start()
        assert started.wait(20)

    def _run(self, started):
        asyncio.set_event_loop(self.loop)
        self.listeners = []
        for ip in self.servers:
            listener = self.loop.run_until_complete(asyncio.start_server(lambda r, w, ip=ip: self._guard(ip, r, w), ip, self.port, limit=1 << 20, backlog=512))
            self.listeners.append(listener)
            self.port = listener.sockets[0].getsockname()[1]
        started.set()
        self.loop.run_forever()

    def end(self):
        self.loop.call_soon_threadsafe(self.loop.stop)

    async def _guard(self, ip, reader, writer):
        self.connections[ip] += 1
        self.open[ip] += 1
        self.open_most[ip] = max(self.open_most[ip], self.open[ip])
        try:
            await self._session(ip, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self.open[ip] -= 1
            writer.close()

    async def _session(self, ip, reader, writer):
        how = self.servers[ip]
        say = lambda text: writer.write(text.encode() + b"\r\n")
        path = lambda line: line.split(b"<", 1)[1].split(b">", 1)[0].decode()
        if not how.greet:
            await reader.read()
            return
        say(how.greeting or f"220 {ip} ESMTP")
        sender, rcpts, mails = "", [], 0
        while line := await reader.readline():
            verb = line[:4].upper()
            self.commands[verb.decode(errors="replace")] += 1
            if verb == b"EHLO":
                offered = [ip, *how.extensions]
                say("\r\n".join(f"250{'-' if i + 1 < len(offered) else ' '}{e}" for i, e in enumerate(offered)))
            elif verb == b"MAIL":
                if how.mails_max and mails == how.mails_max:
                    say("421 4.7.0 enough on this connection")
                    return
                sender, rcpts, mails = path(line), [], mails + 1
                say(how.mail or "250 2.1.0 ok")
            elif verb == b"RCPT":
                refused = how.refuse(path(line)) if how.refuse else None
                if refused:
                    say(refused)
                elif how.rcpts_max and len(rcpts) >= how.rcpts_max:
                    say("452 4.5.3 too many recipients")
                else:
                    rcpts.append(path(line))
                    say("250 2.1.5 ok")
            elif verb == b"DATA":
                if not rcpts:
                    say("554 5.5.1 no recipients")
                    continue
                say("354 go")
                await writer.drain()
                text = []
                while (part := await reader.readline()) != b".\r\n":
                    if not part.endswith(b"\n"):
                        return
                    text.append(part[1:] if part.startswith(b".") else part)
                text = b"".join(text)
                if how.final_delay:
                    self.waiting_final.set()
                    await asyncio.sleep(how.final_delay)
                if how.final.startswith("2"):
                    self.taken.append((ip, sender, rcpts, text))
                    subject = text.split(b"Subject: ", 1)[1].split(b"\r\n", 1)[0].decode()
                    self.counted.update((subject, rcpt) for rcpt in rcpts)
                say(how.final)
                rcpts = []
            elif verb == b"QUIT":
                say("221 bye")
                return
            else:
                say("250 2.0.0 ok")
            await writer.drain()
