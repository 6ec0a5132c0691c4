"""Certificates change without a restart (files of the secrets directory), are chosen by the server name that the client asks for, and sessions resume at any worker and any
replica with tickets whose keys change by time."""
import imaplib
import pathlib
import shutil
import socket
import ssl
import time

import pytest

from postbus_test.site import BIN, Site, free_port, wait_until
from postbus_test.tls import Authority, openssl

CHECK = {"POSTBUS_TLS_CHECK_SECONDS": "1", "POSTBUS_WORKERS": "2"}
PASSWORD = "correct horse 1"


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(scope="module")
def site(authority):
    site = Site(settings=CHECK)
    for service in ("smtpd", "imapd", "pop3d", "admin"):
        site.secrets_root.joinpath(service).chmod(0o700)  # the test puts files there, as an operator does
    site.start("accounts", "mailbox", "verifier", "smtpd", "imapd", "pop3d", "admin")
    site.add_account("alice@alpha.test", PASSWORD)
    yield site
    site.end()


PORTS = [("imapd", "imaps"), ("smtpd", "submissions"), ("pop3d", "pop3s"), ("admin", "apis"), ("admin", "webs")]


def put(site, service, pem, name=""):
    """The certificate and key of an Authority's file as tls[.name].crt and .key, the certificate first: for a moment the pair does not fit."""
    directory = site.secrets_root / service
    for suffix in ("crt", "key"):
        new = directory / f"new.{suffix}"
        new.write_bytes(pem.read_bytes())
        new.rename(directory / (f"tls.{name}.{suffix}" if name else f"tls.{suffix}"))


def served(site, port, name="mx.alpha.test"):
    """The certificate that a client gets, in PEM."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", site.ports[port]), 5) as plain, context.wrap_socket(plain, server_hostname=name) as connection:
        return ssl.DER_cert_to_PEM_cert(connection.getpeercert(True))


def first_of(pem):
    return openssl("x509", "-in", pem).decode()


@pytest.mark.parametrize("service, port", PORTS)
def test_a_new_certificate_is_served_without_a_restart(site, authority, service, port):
    before, process = served(site, port), site.processes[service].pid
    pem = authority.issue("mx.alpha.test")
    put(site, service, pem)
    wait_until(f"{service} to serve the new certificate on {port}", lambda: all(served(site, port) == first_of(pem) for _ in range(12)), 10)  # both workers
    assert before != first_of(pem) and site.processes[service].pid == process


def test_a_session_in_flight_goes_on_across_the_change(site, authority):
    client = imaplib.IMAP4_SSL("127.0.0.1", site.ports["imaps"], ssl_context=ssl._create_unverified_context())
    client.login("alice@alpha.test", PASSWORD)
    pem = authority.issue("mx.alpha.test")
    put(site, "imapd", pem)
    wait_until("the new certificate", lambda: served(site, "imaps") == first_of(pem), 10)
    assert client.select("INBOX")[0] == "OK"
    assert client.logout()[0] == "BYE"


def test_a_pair_that_does_not_fit_leaves_the_old_one_in_place(site, authority):
    good = authority.issue("mx.alpha.test")
    put(site, "imapd", good)
    wait_until("the good pair", lambda: all(served(site, "imaps") == first_of(good) for _ in range(12)), 10)  # both workers
    directory = site.secrets_root / "imapd"
    for broken in (authority.issue("other.test").read_bytes(), b"this is no certificate\n", b""):
        said = site.log("imapd").count("cannot be used: new connections get")
        (directory / "tls.key").write_bytes(broken)
        wait_until("the refusal in the log", lambda: site.log("imapd").count("cannot be used: new connections get") == said + 1, 10)
        assert served(site, "imaps") == first_of(good)
    (directory / "tls.key").write_bytes(good.read_bytes())
    newer = authority.issue("mx.alpha.test")
    put(site, "imapd", newer)
    wait_until("the next good pair", lambda: all(served(site, "imaps") == first_of(newer) for _ in range(12)), 10)


@pytest.mark.parametrize("service, port", PORTS)
def test_the_certificate_is_chosen_by_the_name_asked_for(site, authority, service, port):
    named, wild = authority.issue("mail.beta.test"), authority.issue("*.gamma.test")
    plain = served(site, port, "mx.alpha.test")
    put(site, service, named, "mail.beta.test")
    put(site, service, wild, "_.gamma.test")
    wait_until("the named one", lambda: all(served(site, port, "mail.beta.test") == first_of(named) and served(site, port, "x.gamma.test") == first_of(wild) for _ in range(12)), 10)
    assert served(site, port, "MAIL.beta.test") == first_of(named)
    assert served(site, port, "anything.gamma.test") == first_of(wild)
    for other in ("mx.alpha.test", "beta.test", "x.mail.beta.test", "gamma.test", "a.b.gamma.test", "next", "unknown.example"):
        assert served(site, port, other) == plain, other
    with ssl.create_default_context(cafile=authority.file).wrap_socket(socket.create_connection(("127.0.0.1", site.ports[port])), server_hostname="mail.beta.test") as connection:
        assert connection.version() == "TLSv1.3"  # verified: chain and key fit
    (site.secrets_root / service / "tls.mail.beta.test.crt").unlink()
    wait_until("the default again", lambda: all(served(site, port, "mail.beta.test") == plain for _ in range(12)), 10)


# Tickets ---------------------------------------------------------------------------------------------------------------------------------------------


def context(version):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.minimum_version = made.maximum_version = version
    return made


def talk(made, port, session=None):
    """Greeting and farewell of an IMAP server, so that a TLS 1.3 ticket has come. The session to resume with, and whether this one was resumed."""
    with socket.create_connection(("127.0.0.1", port), 5) as plain, made.wrap_socket(plain, server_hostname="mx.alpha.test", session=session) as connection:
        stream = connection.makefile("rwb", 0)
        assert stream.readline().startswith(b"* OK")
        stream.write(b"a LOGOUT\r\n")
        while stream.readline():
            pass
        return connection.session, connection.session_reused


@pytest.fixture
def replicas(site):
    """A second imapd with the same secrets, as Kubernetes starts it; both with tickets of a short time."""
    made = []

    def start(seconds, secrets=None):
        env = site.environment("imapd")
        ports = {name: free_port() for name in ("imap", "imaps", "http")}
        env.update(POSTBUS_IMAP_LISTEN=f"127.0.0.1:{ports['imap']}", POSTBUS_IMAPS_LISTEN=f"127.0.0.1:{ports['imaps']}", POSTBUS_HTTP=f"127.0.0.1:{ports['http']}",
                   POSTBUS_TLS_TICKET_SECONDS=str(seconds), **({"POSTBUS_SECRETS": str(secrets)} if secrets else {}))
        name = f"imapd-replica-{len(made)}"
        site._spawn(name, [BIN / "imapd"], env)
        made.append(name)
        wait_until(name, lambda: socket.create_connection(("127.0.0.1", ports["imaps"]), 1))
        return ports["imaps"]
    yield start
    for name in made:
        site.stop(name)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_resumes_at_another_worker_and_another_replica(replicas, version):
    first, second = replicas(86400), replicas(86400)
    made = context(version)
    session, _ = talk(made, first)
    for port in (first, second) * 4:  # two workers each: SO_REUSEPORT gives connections to either
        session, resumed = talk(made, port, session)
        assert resumed, port


def test_tickets_end_with_the_period_after_theirs(replicas):
    port, made = replicas(3), context(ssl.TLSVersion.TLSv1_2)
    while time.time() % 3 > 0.5:  # at the beginning of a period
        time.sleep(0.05)
    session, resumed = talk(made, port)
    assert not resumed
    assert talk(made, port, session)[1]
    time.sleep(3)
    assert talk(made, port, session)[1], "the period after its own: still taken"
    time.sleep(3)
    assert not talk(made, port, session)[1], "two periods later: not any more"


def test_another_secret_makes_other_keys(site, replicas, tmp_path):
    shutil.copytree(site.secrets_root / "imapd", tmp_path / "secrets")
    key = pathlib.Path(tmp_path / "secrets/ticket.key")
    assert len(key.read_text().strip()) >= 32  # made by setup
    key.chmod(0o600)
    key.write_text("another secret of sufficient length, for this test\n")
    first, second = replicas(86400), replicas(86400, tmp_path / "secrets")
    made = context(ssl.TLSVersion.TLSv1_2)
    session, _ = talk(made, first)
    assert not talk(made, second, session)[1]
    session, resumed = talk(made, second)
    assert talk(made, second, session)[1]
