"""A NATS client as small as the tests need: publish, subscribe, request. One thread reads."""
import itertools
import json
import queue
import socket
import threading


class Nats:
    def __init__(self, port, user=None, password=None, host="127.0.0.1"):
        self.sock = socket.create_connection((host, port), 5)
        self.sock.settimeout(None)
        self.file = self.sock.makefile("rb")
        self.file.readline()  # INFO
        hello = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "lang": "python-tests"}
        if user:
            hello.update(user=user, **{"pass": password})
        self.lock = threading.Lock()
        self.handlers = {}
        self.ids = itertools.count(1)
        self.inbox = f"_INBOX.{user}.{id(self)}"
        self.errors = []  # what the server said against us
        self.waiting = {}
        self.pongs = queue.Queue()
        self._send(f"CONNECT {json.dumps(hello)}\r\n".encode())
        threading.Thread(target=self._read, daemon=True).start()
        self.subscribe(self.inbox + ".*", self._on_reply)
        self.flush()

    def _send(self, data):
        with self.lock:
            self.sock.sendall(data)

    def _read(self):
        try:
            while line := self.file.readline():
                words = line.split()
                if words[0] == b"MSG" or words[0] == b"HMSG":
                    with_headers = words[0] == b"HMSG"
                    size = int(words[-1])
                    header_size = int(words[-2]) if with_headers else 0
                    fixed = 5 if with_headers else 4
                    reply = words[3].decode() if len(words) > fixed else None
                    body = self.file.read(size + 2)[:-2]
                    handler = self.handlers.get(int(words[2]))
                    if handler:
                        handler(words[1].decode(), reply, body[header_size:])
                elif words[0] == b"PING":
                    self._send(b"PONG\r\n")
                elif words[0] == b"PONG":
                    self.pongs.put(1)
                elif words[0] == b"-ERR":
                    self.errors.append(line.decode().strip())
                    print("nats:", self.errors[-1])
        except (OSError, ValueError):
            pass

    def flush(self, seconds=5):
        self._send(b"PING\r\n")
        self.pongs.get(timeout=seconds)

    def publish(self, subject, body, reply=""):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self._send(f"PUB {subject} {reply} {len(body)}\r\n".encode() + body + b"\r\n")

    def subscribe(self, subject, handler, group=""):
        sid = next(self.ids)
        self.handlers[sid] = handler
        self._send(f"SUB {subject} {group} {sid}\r\n".encode())
        return sid

    def _on_reply(self, subject, _reply, body):
        waiting = self.waiting.get(subject)
        if waiting:
            waiting.put(body)

    def request(self, verb, ask, seconds=40):
        """Asks postbus.rpc.<verb>; answers the reply object, or raises TimeoutError / ConnectionError (nobody serves it)."""
        token = f"{self.inbox}.{next(self.ids)}"
        self.waiting[token] = queue.Queue()
        self.publish("postbus.rpc." + verb, ask, token)
        try:
            body = self.waiting[token].get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError(f"no answer to {verb}") from None
        finally:
            del self.waiting[token]
        if not body:
            raise ConnectionError(f"nobody serves {verb}")
        return json.loads(body)

    def serve(self, verb, answer):
        """Answers postbus.rpc.<verb> with answer(ask): a stand-in for a service, in the tests of its neighbours."""
        self.subscribe("postbus.rpc." + verb, lambda _s, reply, body: self.publish(reply, answer(json.loads(body))), group=verb.split(".")[0])

    def close(self):
        self.sock.close()
