"""COMPRESS=DEFLATE (RFC 4978)."""
import os
import re
import zlib

import pytest

from postbus_test.imap_client import ANN, PASSWORD, Client
from postbus_test.site import Site


@pytest.fixture(scope="module")
def site():
    s = Site("mx.alpha.test")
    s.start("accounts", "mailbox", "imapd")
    s.add_account(ANN, PASSWORD)
    yield s
    s.end()


class Compressed(Client):
    """A session that compresses from its login on. wire: bytes that it received."""

    def __init__(self, site):
        super().__init__(site)
        assert self.tagged("COMPRESS DEFLATE").startswith(b"OK")
        self.deflate, self.inflate = zlib.compressobj(6, zlib.DEFLATED, -15), zlib.decompressobj(-15)
        self.plain, self.file, self.wire = b"", self, 0

    def send(self, text):
        self.send_raw((text if isinstance(text, bytes) else text.encode()) + b"\r\n") if hasattr(self, "deflate") else super().send(text)

    def send_raw(self, text, flush=zlib.Z_SYNC_FLUSH):
        self.sock.sendall(self.deflate.compress(text) + self.deflate.flush(flush))

    def more(self):
        got = self.sock.recv(65536)
        self.wire += len(got)
        self.plain += self.inflate.decompress(got)
        return bool(got)

    def readline(self):
        while b"\n" not in self.plain and self.more():
            pass
        line, end, self.plain = self.plain.partition(b"\n")
        return line + end

    def read(self, n):
        while len(self.plain) < n and self.more():
            pass
        got, self.plain = self.plain[:n], self.plain[n:]
        return got

    def close(self):
        self.sock.close()


def test_commands_and_responses_are_compressed(site):
    c = Compressed(site)
    text = b"Subject: large\r\n\r\n" + b"A line of text that is like the next one.\r\n" * 20000
    noise = b"Subject: noise\r\n\r\n" + os.urandom(300000).replace(b"\0", b"1").replace(b"\r", b"2").replace(b"\n", b"3")
    c.append(text)
    c.append(noise)
    c.untagged("SELECT INBOX")
    before = c.wire
    assert text in c.untagged("FETCH 1 BODY.PEEK[]")
    assert c.wire - before < len(text) / 10
    assert noise in c.untagged("FETCH 2 BODY.PEEK[]")
    assert c.tagged("COMPRESS DEFLATE").startswith(b"BAD") and c.tagged("NOOP").startswith(b"OK")
    c.close()


@pytest.mark.parametrize("command", ["COMPRESS", "COMPRESS ", "COMPRESS LZW", "COMPRESS DEFLATE LZW"])
def test_other_mechanisms_are_refused(site, command):
    c = Client(site)
    assert c.tagged(command).startswith(b"BAD")
    assert c.tagged("NOOP").startswith(b"OK")
    c.close()


def test_commands_in_pieces_and_many_in_one_piece(site):
    c = Compressed(site)
    whole = c.deflate.compress(b"p1 NOOP\r\n") + c.deflate.flush(zlib.Z_PARTIAL_FLUSH)
    for at in range(len(whole)):
        c.sock.sendall(whole[at:at + 1])
    assert c.until(b"p1")[-1].startswith(b"p1 OK")
    c.send_raw(b"".join(b"q%d NOOP\r\n" % n for n in range(500)))
    c.until(b"q499 OK")
    c.idle()
    c.done()
    c.close()


def test_a_long_line_that_is_small_on_the_wire(site):
    """Each turn of the server's loop decompresses a bounded part of it."""
    c = Compressed(site)
    c.send_raw(b"a" * 20_000_000 + b"\r\nb NOOP\r\n")
    answer = c.until(b"b OK")
    assert any(b"BAD [TOOBIG]" in one for one in answer)
    c.close()


def test_bytes_that_are_no_deflate_end_the_session(site):
    c = Compressed(site)
    c.sock.sendall(b"\xff" * 100)
    while c.more():
        pass
    c.close()
    other = Client(site)
    assert other.tagged("NOOP").startswith(b"OK")
    other.close()


def test_unauthenticate_ends_it(site):
    """RFC 8437 §3: both ends go on without compression."""
    c = Compressed(site)
    c.send_raw(b"u UNAUTHENTICATE\r\n", zlib.Z_FINISH)
    c.until(b"u OK")
    assert c.inflate.eof and not c.plain
    c.sock.sendall(f'l LOGIN {ANN} "{PASSWORD}"\r\n'.encode())
    assert re.match(rb"l OK", c.sock.recv(65536))
    c.close()
