"""The other side of STARTTLS and of MTA-STS: certificates from a CA of the tests' own, SMTP servers that take mail over TLS, and an HTTPS server for policies."""
import http.server
import pathlib
import socket
import ssl
import subprocess
import tempfile
import threading
import time


def openssl(*words, data=None):
    done = subprocess.run(["openssl", *map(str, words)], input=data, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


class Authority:
    """Makes certificates; .file is its own in PEM, as POSTBUS_TLS_CA takes it."""

    def __init__(self, name="Test CA"):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="postbus-ca-"))
        self.file, self.key, self.count = self.dir / "ca.pem", self.dir / "ca.key", 0
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key, "-out", self.file, "-days", 30, "-subj", f"/CN={name}",
                "-addext", "basicConstraints=critical,CA:true", "-addext", "keyUsage=critical,keyCertSign")

    def issue(self, *names, expired=False, common_name="host"):
        """A PEM file with a key, a certificate for these DNS names, and the CA's."""
        self.count += 1
        base = self.dir / f"{self.count}"
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{base}.key", "-out", f"{base}.csr", "-subj", f"/CN={common_name}")
        pathlib.Path(f"{base}.ext").write_text("basicConstraints=CA:false\n" + ("subjectAltName=" + ",".join(f"DNS:{n}" for n in names) + "\n" if names else ""))
        dates = ["-not_before", "20200101000000Z", "-not_after", "20210101000000Z"] if expired else ["-days", "10"]
        openssl("x509", "-req", "-in", f"{base}.csr", "-CA", self.file, "-CAkey", self.key, "-out", f"{base}.crt", "-extfile", f"{base}.ext", *dates)
        whole = pathlib.Path(f"{base}.pem")
        whole.write_bytes(b"".join(pathlib.Path(p).read_bytes() for p in (f"{base}.key", f"{base}.crt", self.file)))
        return whole


def association(pem, selector=1, matching=1):
    """The data of a TLSA record for the first certificate of a PEM file, in hex."""
    der = openssl("x509", "-in", pem, "-outform", "DER") if selector == 0 else openssl("pkey", "-pubin", "-outform", "DER", data=openssl("x509", "-in", pem, "-noout", "-pubkey"))
    return (der if matching == 0 else openssl("dgst", {1: "-sha256", 2: "-sha512"}[matching], "-binary", data=der)).hex()


class TlsPeer:
    """An SMTP server on one loopback address. certificate: PEM file; None: no STARTTLS. Takes every message: (recipients, text, TLS version or None, server name asked for,
    MAIL line)."""

    def __init__(self, ip, port, certificate=None, extensions=(), name="peer.test", starttls_reply="220 go", break_handshake=False):
        self.ip, self.extensions, self.name = ip, list(extensions), name
        self.starttls_reply, self.break_handshake = starttls_reply, break_handshake
        self.messages, self.sessions, self.context = [], 0, None
        self.asked = []
        self.use(certificate)
        self.listener = socket.create_server((ip, port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def use(self, certificate):
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            context.sni_callback = lambda connection, name, _: self.asked.append(name)
            self.context = context
        else:
            self.context = None

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.sessions += 1
            threading.Thread(target=self._guard, args=(connection,), daemon=True).start()

    def _guard(self, connection):
        try:
            self._session(connection)
        except (OSError, ValueError):
            pass
        finally:
            connection.close()

    def _session(self, connection):
        connection.settimeout(20)
        stream = connection.makefile("rwb", 0)
        say = lambda text: stream.write(text.encode() + b"\r\n")
        version, mail, rcpts, name = None, "", [], None
        say(f"220 {self.name} ESMTP")
        while line := stream.readline():
            verb = line[:4].upper().decode(errors="replace")
            if verb == "EHLO":
                offered = [self.name, "8BITMIME", "PIPELINING", *(["STARTTLS"] if self.context and not version else []), *(self.extensions if version or not self.context else [])]
                stream.write("".join(f"250{'-' if i + 1 < len(offered) else ' '}{e}\r\n" for i, e in enumerate(offered)).encode())
            elif verb == "STAR":
                say(self.starttls_reply)
                if not self.starttls_reply.startswith("2"):
                    continue
                if self.break_handshake:
                    connection.sendall(b"this is no TLS\r\n")
                    return
                connection = self.context.wrap_socket(connection, server_side=True)
                stream, version = connection.makefile("rwb", 0), connection.version()
                name = self.asked[-1] if self.asked else None
            elif verb == "MAIL":
                mail, rcpts = line.decode().strip(), []
                say("250 2.1.0 ok")
            elif verb == "RCPT":
                rcpts.append(line.split(b"<")[1].split(b">")[0].decode())
                say("250 2.1.5 ok")
            elif verb == "DATA":
                say("354 go")
                text = b""
                while (part := stream.readline()) not in (b".\r\n", b""):
                    text += part
                self.messages.append((rcpts, text, version, name, mail))
                say("250 2.0.0 taken")
            elif verb == "QUIT":
                say("221 bye")
                return
            else:
                say("250 ok")

    def end(self):
        self.listener.close()


class PolicyServer:
    """HTTPS on 127.0.0.1:443. hosts: {"mta-sts.a.test": {"certificate": pem, "status": 200, "type": "text/plain", "body": "…", "headers": {}, "delay": seconds}}; changed at any time. What was
    asked is in .asked, by host."""

    def __init__(self, hosts, port=443):
        self.hosts, self.asked, contexts = hosts, [], {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                host = self.headers["Host"].split(":")[0]
                outer.asked.append((host, self.path))
                answer = outer.hosts.get(host, {})
                time.sleep(answer.get("delay", 0))
                body = answer.get("body", "").encode()
                self.send_response(answer.get("status", 200))
                for name, value in {"Content-Type": answer.get("type", "text/plain"), "Content-Length": len(body), **answer.get("headers", {})}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128  # of five, the library's default, connections made at once would wait for a retransmission

            def get_request(self):
                connection, peer = super().get_request()
                connection.settimeout(20)
                return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), peer

            def handle_error(self, *_):
                pass

        def choose(connection, name, _):
            pem = outer.hosts.get(name, {}).get("certificate")
            if not pem:
                return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
            if pem not in contexts:
                contexts[pem] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                contexts[pem].load_cert_chain(pem)
            connection.context = contexts[pem]
            return None

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(next(h["certificate"] for h in hosts.values() if h.get("certificate")))
        context.sni_callback = choose
        self.server = Server(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def count(self, host):
        return sum(1 for h, _ in self.asked if h == host)

    def end(self):
        self.server.shutdown()
        self.server.server_close()
