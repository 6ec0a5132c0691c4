"""A TCP connection that a test can cut: services connect to Cut.port instead of the real port."""
import socket
import threading


class Cut:
    def __init__(self, target):
        self.target, self.open, self.pairs = target, True, []
        self.lock = threading.Lock()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        """Every connection ends, and new ones end at once."""
        with self.lock:
            self.open = False
            for pair in self.pairs:
                self._close(pair)
            self.pairs = []

    def mend(self):
        with self.lock:
            self.open = True

    def end(self):
        self.cut()
        self._close([self.server])

    @staticmethod
    def _close(sockets):
        for one in sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            with self.lock:
                if not self.open:
                    self._close([client])
                    continue
                try:
                    pair = (client, socket.create_connection(("127.0.0.1", self.target), 10))
                except OSError:
                    self._close([client])
                    continue
                pair[1].settimeout(None)
                self.pairs.append(pair)
            for one, other in (pair, pair[::-1]):
                threading.Thread(target=self._copy, args=(one, other), daemon=True).start()

    def _copy(self, one, other):
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            pass
        self._close([one, other])
