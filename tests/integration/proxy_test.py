"""The PROXY protocol on the ports of smtpd, imapd and pop3d: whom the services take for the client, and what they do not accept."""
import socket
import struct

import pytest

from postbus_test.imap_client import ANN, PASSWORD, TLS
from postbus_test.site import Site, wait_until

V2 = b"\r\n\r\n\0\r\nQUIT\n"


@pytest.fixture(scope="module")
def site():
    s = Site("mx.alpha.test", {"POSTBUS_PROXY_NETWORKS": "127.0.0.2/32, fd00::/8", "POSTBUS_LOG": "debug", "POSTBUS_IMAP_CONNECTIONS_PER_CLIENT": "2"})
    s.start("accounts", "mailbox", "imapd", "pop3d", "smtpd")
    s.add_account(ANN, PASSWORD)
    yield s
    s.end()


def connect(site, port, source="127.0.0.2"):
    s = socket.create_connection(("127.0.0.1", site.ports[port]), 20, source_address=(source, 0))
    s.settimeout(20)
    return s


def line_of(s):
    text = b""
    while not text.endswith(b"\n"):
        try:
            one = s.recv(1)
        except ConnectionResetError:  # closed before everything was read
            break
        if not one:
            break
        text += one
    return text


def v2(command=1, family=0x11, address=socket.inet_aton("192.0.2.7") + socket.inet_aton("192.0.2.8") + struct.pack(">HH", 4321, 25)):
    return V2 + bytes([0x20 | command, family]) + struct.pack(">H", len(address)) + address


@pytest.mark.parametrize("port, greeting", [("imap", b"* OK"), ("pop3", b"+OK"), ("smtp", b"220")])
@pytest.mark.parametrize("header", [b"PROXY TCP4 192.0.2.7 192.0.2.8 4321 25\r\n", b"PROXY UNKNOWN\r\n", v2(), v2(0, 0, b"")])
def test_a_header_comes_before_the_session(site, port, greeting, header):
    s = connect(site, port)
    s.sendall(header)
    assert line_of(s).startswith(greeting)
    s.close()


def test_the_client_is_the_one_in_the_header(site):
    s = connect(site, "imaps")
    s.sendall(b"PROXY TCP6 2001:db8::77 2001:db8::1 4321 993\r\n")
    tls = TLS.wrap_socket(s)
    assert line_of(tls).startswith(b"* OK")
    tls.sendall(f'a LOGIN {ANN} "{PASSWORD}"\r\n'.encode())
    assert line_of(tls).startswith(b"a OK")
    wait_until("the login in imapd's log", lambda: "2001:db8::77" in site.log("imapd"))
    tls.close()


def test_bounds_go_by_the_client_in_the_header(site):
    held = []
    for _ in range(2):
        s = connect(site, "imap")
        s.sendall(b"PROXY TCP4 203.0.113.5 192.0.2.8 4321 143\r\n")
        assert line_of(s).startswith(b"* OK")
        held.append(s)
    s = connect(site, "imap")
    s.sendall(b"PROXY TCP4 203.0.113.5 192.0.2.8 4321 143\r\n")
    assert line_of(s).startswith(b"* BYE")
    other = connect(site, "imap")
    other.sendall(b"PROXY TCP4 203.0.113.6 192.0.2.8 4321 143\r\n")
    assert line_of(other).startswith(b"* OK")
    for one in (*held, s, other):
        one.close()


def test_a_header_in_pieces(site):
    s = connect(site, "smtp")
    for byte in v2():
        s.sendall(bytes([byte]))
    assert line_of(s).startswith(b"220")
    s.sendall(b"QUIT\r\n")
    assert line_of(s).startswith(b"221")
    s.close()


def test_commands_behind_the_header_in_one_packet(site):
    s = connect(site, "imap")
    s.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.8 4321 25\r\na NOOP\r\n")
    assert line_of(s).startswith(b"* OK") and line_of(s).startswith(b"a OK")
    s.close()


@pytest.mark.parametrize("header", [b"EHLO x\r\n", b"PROXY TCP4 192.0.2.7 192.0.2.8 4321 99999\r\n", V2 + b"\x31\x11\0\0", b"PROXY " + b"x" * 200])
def test_anything_else_is_closed(site, header):
    s = connect(site, "smtp")
    s.sendall(header)
    assert line_of(s) == b""
    s.close()


def test_silence_is_closed(site):
    s = connect(site, "smtp")
    assert line_of(s) == b""  # after 5 s
    s.close()


def test_from_elsewhere_a_header_is_no_header(site):
    s = connect(site, "imap", "127.0.0.1")
    assert line_of(s).startswith(b"* OK")
    s.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.8 4321 143\r\n")
    assert line_of(s).startswith(b"PROXY BAD")
    s.close()
