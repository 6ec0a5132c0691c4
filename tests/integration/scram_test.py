"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677) of imapd, pop3d and smtpd, with a client of our own; bindings as openssl and the certificate give them."""
import base64
import hashlib
import hmac
import json
import re
import socket
import ssl
import subprocess

import pytest

from postbus_test.site import Site, wait_until

ANN, BOB, PASSWORD = "ann@alpha.test", "bob@alpha.test", "correct horse 1"
TLS = ssl._create_unverified_context()
PROTOCOLS = ("imap", "pop3", "smtp")


@pytest.fixture(scope="module")
def site():
    s = Site("mx.alpha.test")
    s.start("accounts", "mailbox", "imapd", "pop3d", "smtpd")
    for who in (ANN, BOB):
        s.add_account(who, PASSWORD)
    yield s
    s.end()


def b64(raw):
    return base64.b64encode(raw).decode()


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


def mac(key, text):
    return hmac.digest(key, text if isinstance(text, bytes) else text.encode(), "sha256")


class Scram:
    """One exchange of a client."""

    def __init__(self, name, password, header="n,,", binding=b"", nonce="fyko+d2lbbFgONRv9qkxdawL"):
        self.password, self.header, self.binding, self.nonce = password, header, binding, nonce
        self.bare = f"n={name},r={nonce}"
        self.first = header + self.bare

    def final(self, challenge, proof=None):
        fields = dict(part.split("=", 1) for part in challenge.split(","))
        assert fields["r"].startswith(self.nonce) and len(fields["r"]) >= len(self.nonce) + 18
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
        without = f"c={b64(self.header.encode() + self.binding)},r={fields['r']}"
        message = f"{self.bare},{challenge},{without}"
        client = mac(salted, "Client Key")
        self.server = f"v={b64(mac(mac(salted, 'Server Key'), message))}"
        return f"{without},p={proof or b64(xor(client, mac(hashlib.sha256(client).digest(), message)))}"


class Door:
    """A connection of one of the protocols before its login."""

    def __init__(self, site, protocol, transport=None):
        self.protocol = protocol
        port = site.ports[{"imap": "imaps", "pop3": "pop3s", "smtp": "submissions"}[protocol]]
        self.sock = transport or TLS.wrap_socket(socket.create_connection(("127.0.0.1", port), 30))
        self.file = transport.file if transport else self.sock.makefile("rb")
        self.line()
        if protocol == "smtp":
            self.send("EHLO client.test")
            while self.line()[3:4] == "-":
                pass

    def line(self):
        got = self.file.readline().decode()
        assert got, "the connection ended"
        return got.rstrip("\r\n")

    def send(self, text):
        self.sock.sendall(text.encode() + b"\r\n")

    def begin(self, mechanism, initial):
        self.send({"imap": "a AUTHENTICATE", "pop3": "AUTH", "smtp": "AUTH"}[self.protocol] + f" {mechanism} {b64(initial.encode())}")

    def answer(self):
        """("+", the server's message), or ("OK" or "NO", the whole line)."""
        line = self.line()
        mark = {"imap": "+ ", "pop3": "+ ", "smtp": "334 "}[self.protocol]
        if line.startswith(mark):
            return "+", base64.b64decode(line[len(mark):]).decode()
        right = {"imap": "a OK", "pop3": "+OK", "smtp": "235 "}[self.protocol]
        return ("OK" if line.startswith(right) else "NO"), line

    def log_in(self, scram, mechanism="SCRAM-SHA-256", proof=None):
        self.begin(mechanism, scram.first)
        kind, text = self.answer()
        if kind != "+":
            return kind, text
        self.send(b64(scram.final(text, proof).encode()))
        kind, text = self.answer()
        if kind == "+":
            assert text == scram.server
            self.send("")
            kind, text = self.answer()
        return kind, text

    def close(self):
        self.file.close()
        self.sock.close()


class OpensslClient:
    """A TLS connection by openssl s_client, which tells what RFC 9266 binds to."""

    def __init__(self, port):
        self.process = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-crlf", "-ign_eof", "-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.file = self.process.stdout
        while not (found := re.match(rb"\s*Keying material: (\w+)", self.file.readline())):
            pass
        self.exported = bytes.fromhex(found[1].decode())
        while self.file.readline().strip() != b"---":
            pass

    def sendall(self, data):
        self.process.stdin.write(data.replace(b"\r\n", b"\n"))
        self.process.stdin.flush()

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_login_with_scram(site, protocol):
    door = Door(site, protocol)
    assert door.log_in(Scram(ANN, PASSWORD))[0] == "OK"
    door.close()
    door = Door(site, protocol)
    kind, line = door.log_in(Scram(ANN, "another"))
    assert kind == "NO" and {"imap": "AUTHENTICATIONFAILED", "pop3": "[AUTH]", "smtp": "535 5.7.8"}[protocol] in line
    door.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_login_is_bound_to_its_certificate(site, protocol):  # RFC 5929 §4
    door = Door(site, protocol)
    binding = hashlib.sha256(door.sock.getpeercert(True)).digest()
    assert door.log_in(Scram(ANN, PASSWORD, "p=tls-server-end-point,,", binding), "SCRAM-SHA-256-PLUS")[0] == "OK"
    door.close()
    door = Door(site, protocol)
    kind, line = door.log_in(Scram(ANN, PASSWORD, "p=tls-server-end-point,,", b"x" * 32), "SCRAM-SHA-256-PLUS")
    assert kind == "NO" and "channel binding" in line
    door.close()


def test_the_login_is_bound_to_its_connection(site):  # RFC 9266
    client = OpensslClient(site.ports["imaps"])
    door = Door(site, "imap", client)
    assert door.log_in(Scram(ANN, PASSWORD, "p=tls-exporter,,", client.exported), "SCRAM-SHA-256-PLUS")[0] == "OK"
    client.close()


@pytest.mark.parametrize("mechanism, header", [("SCRAM-SHA-256", "y,,"), ("SCRAM-SHA-256", "p=tls-exporter,,"), ("SCRAM-SHA-256-PLUS", "n,,"), ("SCRAM-SHA-256-PLUS", "p=tls-unique,,")])
def test_a_binding_that_someone_changed(site, mechanism, header):  # RFC 5802 §6: "y" says that the client saw no PLUS
    door = Door(site, "imap")
    door.begin(mechanism, Scram(ANN, PASSWORD, header).first)
    kind, line = door.answer()
    assert kind == "NO" and "[AUTHENTICATIONFAILED]" in line
    door.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_unknown_address_is_asked_as_a_known_one(site, protocol):
    salts = []
    for _ in range(2):
        door = Door(site, protocol)
        scram = Scram("nobody@alpha.test", PASSWORD)
        door.begin("SCRAM-SHA-256", scram.first)
        challenge = door.answer()[1]
        salts.append(re.search(r"s=([^,]+),i=4096$", challenge)[1])
        door.send(b64(scram.final(challenge).encode()))
        assert door.answer()[0] == "NO"
        door.close()
    assert salts[0] == salts[1] and len(base64.b64decode(salts[0])) == 16


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("step", [0, 1, 2])
def test_what_is_no_message_of_scram(site, protocol, step):
    for nonsense in (b64(b"x"), "!", "*"):
        door = Door(site, protocol)
        scram = Scram(ANN, PASSWORD)
        door.begin("SCRAM-SHA-256", "x" if step == 0 and nonsense != "*" else scram.first)
        kind, text = door.answer()
        if step > 0 and kind == "+":
            if step == 2:
                door.send(b64(scram.final(text).encode()))
                assert door.answer() == ("+", scram.server)
            door.send(nonsense)
            kind, text = door.answer()
        elif kind == "+":
            door.send(nonsense)
            kind, text = door.answer()
        assert kind == "NO", (nonsense, text)
        door.close()


def test_guesses_are_counted_with_those_of_passwords(site):
    site.rpc("accounts.account.add", address="victim@alpha.test", password=PASSWORD)
    for _ in range(10):
        door = Door(site, "imap")
        assert "AUTHENTICATIONFAILED" in door.log_in(Scram("victim@alpha.test", "guess"))[1]
        door.close()
    for right in (Scram("victim@alpha.test", PASSWORD), None):
        door = Door(site, "imap")
        if right:
            assert "[UNAVAILABLE] Too many attempts" in door.log_in(right)[1]
        else:
            door.send(f'a LOGIN victim@alpha.test "{PASSWORD}"')
            assert "[UNAVAILABLE] Too many attempts" in door.line()
        door.close()


def test_an_account_of_before_gets_its_keys_with_the_next_password(site):
    def kept():
        return json.loads(site.redis("HGET", "a:{alpha.test}:u", "bob"))
    account = kept()
    assert account["scram_sha256"]["iterations"] == 4096 and PASSWORD not in json.dumps(account)
    del account["scram_sha256"]
    site.redis("HSET", "a:{alpha.test}:u", "bob", json.dumps(account))
    door = Door(site, "imap")
    assert door.log_in(Scram(BOB, PASSWORD))[0] == "NO"
    door.send(f'a LOGIN {BOB} "{PASSWORD}"')
    assert door.line().startswith("a OK")
    door.close()
    wait_until("the keys", lambda: "scram_sha256" in kept())
    door = Door(site, "imap")
    assert door.log_in(Scram(BOB, PASSWORD))[0] == "OK"
    door.close()


def test_a_changed_password_ends_the_old_one(site):
    site.rpc("accounts.account.add", address="carl@alpha.test", password=PASSWORD)
    door = Door(site, "imap")
    assert door.log_in(Scram("carl@alpha.test", PASSWORD))[0] == "OK"
    site.rpc("accounts.account.set", address="carl@alpha.test", password="another horse 2")
    for password, kind in ((PASSWORD, "NO"), ("another horse 2", "OK")):
        door = Door(site, "imap")
        assert door.log_in(Scram("carl@alpha.test", password))[0] == kind
        door.close()
