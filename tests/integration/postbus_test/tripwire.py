"""A way to Redis that kills: between a service and its store, it passes bytes on until a command comes that names a trip word; then the service is killed (SIGKILL), and
the command does not reach Redis, or its answer does not reach the service. So a test kills a process between two given steps, not at some instant."""
import socket
import threading


class Tripwire:
    def __init__(self, redis_port):
        self.redis_port = redis_port
        self.word, self.kill, self.tripped = None, None, threading.Event()
        self.answered, self.waiting = False, None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, word, kill, answered=False):
        """kill() is called at the first command that holds word; with answered, when Redis has carried it out."""
        self.tripped.clear()
        self.word, self.kill, self.answered = word.encode(), kill, answered

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.redis_port))
            threading.Thread(target=self._pass, args=(client, server, server), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, None), daemon=True).start()

    def _trip(self):
        self.kill()
        self.tripped.set()

    def _pass(self, source, target, asks):
        """asks: the connection to Redis, on the way there; None: on the way back."""
        try:
            while data := source.recv(1 << 16):
                if asks and self.word and self.word in data:
                    self.word = None
                    if not self.answered:
                        self._trip()
                        break
                    self.waiting = asks
                elif not asks and self.waiting is source:
                    self.waiting = None
                    self._trip()
                    break
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()
