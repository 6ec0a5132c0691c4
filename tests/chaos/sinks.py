"""Other sites' SMTP servers, all in one event loop: they take mail, refuse or defer recipients as the name of the recipient says, limit the recipients of a transaction, answer
the end of a message late, or accept a connection and never say a word. Every message that they took is in Sinks.arrivals."""
import asyncio
import collections
import dataclasses
import hashlib
import random
import re
import threading
import time

MARK = re.compile(rb"^X-Mark: (\S+)\r?$", re.M)


@dataclasses.dataclass
class Arrival:
    """One transaction that ended with 250. Times are time.monotonic()."""
    host: str
    mark: str
    rcpts: list
    digest: str         # SHA-256 of the message from its X-Mark field on: what lies above was added on the way
    sender: str
    client: str         # its EHLO: the replica of delivery that sent it
    dot_at: float       # the end of the message was read
    reply_at: float     # 250 was written


@dataclasses.dataclass
class Sink:
    name: str
    ip: str
    rcpts_max: int = 100         # of one transaction; further ones get 452 4.5.3 (RFC 5321 §4.5.3.1.10)
    delay: tuple = (0.0, 0.0)    # seconds between the end of a message and its 250
    silent: bool = False         # takes connections and never greets


def digest_of(text):
    """The mark of a message, and the digest of all that its sender wrote: it begins with the X-Mark field."""
    found = MARK.search(text)
    return (found.group(1).decode(), hashlib.sha256(text[found.start():]).hexdigest()) if found else ("", "")


class Sinks:
    """All listen on one port, each on an address of its own. A recipient "gone…@" is refused (550), "later…@" deferred (451) when it is first asked for."""

    def __init__(self, port):
        self.port, self.arrivals, self.asked = port, [], collections.Counter()
        self.open = 0                # transactions between MAIL and the answer to the end of the message
        self.connections = 0         # accepted so far, without those of silent sinks
        self.held = collections.Counter()  # connections open now, by sink
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def add(self, sink):
        serve = lambda reader, writer: self._session(sink, reader, writer)
        asyncio.run_coroutine_threadsafe(asyncio.start_server(serve, sink.ip, self.port, limit=1 << 22, backlog=512), self.loop).result(10)

    def end(self):
        async def stop():
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0.1)
            self.loop.stop()
        asyncio.run_coroutine_threadsafe(stop(), self.loop)

    async def _session(self, sink, reader, writer):
        self.held[sink.name] += 1
        try:
            if sink.silent:
                await reader.read(1)
            else:
                self.connections += 1
                await self._talk(sink, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            self.held[sink.name] -= 1
            writer.close()

    async def _talk(self, sink, reader, writer):
        say = lambda text: writer.write(text.encode() + b"\r\n")
        say(f"220 {sink.name} ESMTP")
        client, sender, rcpts, open_now = "", "", [], False
        try:
            while line := await reader.readline():
                verb, words = line[:4].upper(), line.decode(errors="replace").strip()
                if verb == b"EHLO":
                    client = words[5:]
                    say(f"250-{sink.name}\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 104857600")
                elif verb == b"MAIL":
                    sender, rcpts = _path(words), []
                    self.open += not open_now
                    open_now = True
                    say("250 2.1.0 ok")
                elif verb == b"RCPT":
                    answer = self._judge(sink, _path(words), rcpts)
                    if answer.startswith("250"):
                        rcpts.append(_path(words))
                    say(answer)
                elif verb == b"DATA":
                    if not rcpts:
                        say("503 5.5.1 no recipients")
                        continue
                    say("354 go")
                    await writer.drain()
                    text = await _message(reader)
                    dot_at = time.monotonic()
                    if sink.delay[1]:
                        await asyncio.sleep(random.uniform(*sink.delay))
                    mark, digest = digest_of(text)
                    # what this server has answered with 250 is its own from here on, whether or not the answer reaches anybody
                    self.arrivals.append(Arrival(sink.name, mark, rcpts, digest, sender, client, dot_at, time.monotonic()))
                    say("250 2.0.0 taken")
                    rcpts = []
                    self.open -= open_now
                    open_now = False
                elif verb == b"RSET":
                    rcpts = []
                    self.open -= open_now
                    open_now = False
                    say("250 2.0.0 ok")
                elif verb == b"QUIT":
                    say("221 2.0.0 bye")
                    return
                elif verb == b"NOOP":
                    say("250 2.0.0 ok")
                else:
                    self.arrivals.append(Arrival(sink.name, f"not a command: {words[:60]}", [], "", sender, client, time.monotonic(), time.monotonic()))
                    say("500 5.5.2 Unknown command")
                await writer.drain()
        finally:
            self.open -= open_now

    def _judge(self, sink, rcpt, taken):
        self.asked[rcpt] += 1
        if rcpt.startswith("gone"):
            return "550 5.1.1 no such mailbox"
        if rcpt.startswith("later") and self.asked[rcpt] == 1:
            return "451 4.2.1 not now"
        if len(taken) >= sink.rcpts_max:
            return "452 4.5.3 too many recipients"
        return "250 2.1.5 ok"


def _path(line):
    return line.split("<", 1)[1].rsplit(">", 1)[0] if "<" in line else ""


async def _message(reader):
    """The message with its dots unstuffed. Only CRLF . CRLF ends it (RFC 5321 §4.1.1.4)."""
    parts = []
    while True:
        line = await reader.readuntil(b"\r\n")
        if line == b".\r\n":
            return b"".join(parts)
        parts.append(line[1:] if line.startswith(b".") else line)
