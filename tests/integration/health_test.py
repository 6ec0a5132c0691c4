"""`postbus health` and GET /api/v1/health: every part of a site is asked, what does not work is named, with the reason and what to do."""
import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from postbus_test.authorities import SiteKnot
from postbus_test.site import BIN, Site, wait_until

DOORS = {"smtp": "smtp", "submission": "submission", "submissions": "submissions/tls", "imap": "imap", "imaps": "imaps/tls", "pop3": "pop3", "pop3s": "pop3s/tls"}
SERVICES = ("accounts", "verifier", "mailbox", "delivery", "smtpd", "imapd", "pop3d", "reporter", "admin")
PARTS = {"bus", "store", "journal", "accounts", "verifier", "mailbox", "delivery", "reporter", "dns", *DOORS}


@pytest.fixture(scope="module")
def site():
    site = Site()
    tsig = (site.secrets_root / "verifier/tsig.key").read_text().strip()
    knot = SiteKnot(site.hostname, tsig, {})
    site.settings["POSTBUS_DNS_SERVER"] = knot.address
    site.settings["POSTBUS_HEALTH_DOORS"] = ",".join(f"{name}=127.0.0.1:{site.ports[port.split('/')[0]]}{'/tls' if '/' in port else ''}" for name, port in DOORS.items())
    site.knot = knot
    site.start(*SERVICES)
    site.add_account("alice@alpha.test")
    wait_until("the zone", lambda: knot.records("alpha.test", "SOA"))
    yield site
    site.end()
    knot.end()


def health(site):
    time.sleep(1.1)  # one look serves all who ask within a second
    return site.api("GET", "/api/v1/health", token=None)


def told(site, status=0):
    done = subprocess.run([BIN / "cli", "health"], capture_output=True, text=True, env={**os.environ, "POSTBUS_API": f"http://127.0.0.1:{site.ports['api']}", "POSTBUS_TOKEN_FILE": str(site.secrets / "admin.token")}, timeout=30)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def failing(site):
    return {name: c for name, c in health(site)[1]["components"].items() if c["state"] != "up"}


@pytest.fixture
def well(site):
    wait_until("a site that is well", lambda: health(site)[1]["status"] == "ok", 40)
    yield
    for service in SERVICES:
        if service not in site.processes:
            site.start(service)


def test_every_part_of_a_site_is_asked(site, well):
    status, answer = health(site)
    assert status == 200 and answer["status"] == "ok" and set(answer["components"]) == PARTS
    assert all(set(c) == {"state"} for c in answer["components"].values())
    assert "mx.alpha.test: ok" in told(site)


def test_pop3d_and_knot_stopped(site, well):
    """Both were stopped, and health said ok."""
    site.stop("pop3d")
    site.knot.end()
    found = failing(site)
    assert set(found) == {"pop3", "pop3s", "dns"}, found
    for name, component in found.items():
        assert component["state"] == "down" and "refused" in component["reason"], component
        assert "127.0.0.1" in component["remedy"], component
    status, answer = health(site)
    assert status == 200 and answer["status"] == "degraded"
    text = told(site, status=1)
    assert "mx.alpha.test: degraded" in text
    for name in found:
        assert any(line.split()[:2] == [name, "down"] and "refused" in line for line in text.splitlines()), text
    site.knot.start()
    site.start("pop3d")
    wait_until("all to be well again", lambda: not failing(site), 20)


@pytest.mark.parametrize("service, doors", [("smtpd", {"smtp", "submission", "submissions"}), ("imapd", {"imap", "imaps"})])
def test_a_front_door_that_is_closed(site, well, service, doors):
    site.stop(service)
    assert set(failing(site)) == doors


def test_a_front_door_that_takes_connections_and_says_nothing(site, well):
    """The kernel accepts for a process that hangs: only its greeting shows that it works."""
    site.processes["imapd"].send_signal(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        found = failing(site)
        assert set(found) == {"imap", "imaps"} and time.monotonic() - begun < 8, found
        assert all("no greeting" in c["reason"] or "no answer" in c["reason"] for c in found.values()), found
    finally:
        site.processes["imapd"].send_signal(signal.SIGCONT)


@pytest.mark.parametrize("service", ["verifier", "mailbox", "delivery", "reporter"])
def test_a_service_that_does_not_answer(site, well, service):
    site.stop(service)
    found = failing(site)
    assert set(found) == {service} and service in found[service]["remedy"], found


def test_accounts_gone_makes_the_site_unavailable(site, well):
    site.stop("accounts")
    status, answer = health(site)
    assert status == 503 and answer["status"] == "unavailable"
    assert "accounts" in failing(site)
    told(site, status=69)


def test_redis_gone(site, well):
    site.stop("redis")
    wait_until("the loss to be told", lambda: "store" in failing(site))
    assert health(site)[0] == 503 and "redis" in failing(site)["store"]["remedy"]
    site.start_redis()


def test_redis_at_its_bound(site, well):
    """Nothing may grow: reading goes on, so the site is not unavailable, but health must not say ok. Asking leaves nothing in the store."""
    site.redis("CONFIG", "SET", "maxmemory", "1")
    try:
        found = failing(site)
        assert set(found) == {"store"} and found["store"]["state"] == "failing" and "452" in found["store"]["reason"], found
        assert health(site)[0] == 200 and health(site)[1]["status"] == "degraded"
    finally:
        site.redis("CONFIG", "SET", "maxmemory", "0")
    assert not failing(site)
    assert site.redis("EXISTS", "health").strip() == "0"


class Zone:
    """A name server that answers each question in its own way."""

    def __init__(self, answer):
        self.listener, self.answer, self.asked = socket.create_server(("127.0.0.1", 0)), answer, []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            with peer:
                question = peer.recv(512)[2:]
                self.asked.append(question)
                if reply := self.answer(question):
                    peer.sendall(reply)
                    time.sleep(0.2)


REFUSED = lambda q: (lambda m: len(m).to_bytes(2, "big") + m)(q[:2] + b"\x80\x05" + q[4:])
EMPTY = lambda q: (lambda m: len(m).to_bytes(2, "big") + m)(q[:2] + b"\x84\x00" + q[4:])
OTHER_ID = lambda q: (lambda m: len(m).to_bytes(2, "big") + m)(b"\x00\x00" + b"\x84\x00" + q[4:6] + b"\x00\x01" + q[8:])
SHORT = lambda q: b"\x00\x05" + q[:5]
HUGE = lambda q: b"\xff\xff" + b"x" * 70000


@pytest.mark.parametrize("answer, reason", [(REFUSED, "REFUSED"), (EMPTY, "no SOA"), (OTHER_ID, "not a DNS message"), (SHORT, "not a DNS message"), (HUGE, "not a DNS message"), (lambda q: None, "closed")])
def test_a_name_server_that_does_not_know_the_zone(site, well, answer, reason):
    zone = Zone(answer)
    was = site.settings["POSTBUS_DNS_SERVER"]
    site.settings["POSTBUS_DNS_SERVER"] = f"127.0.0.1@{zone.listener.getsockname()[1]}"
    try:
        site.restart("admin", signal.SIGTERM)
        found = wait_until("the journal", lambda: (f := failing(site)) and "journal" not in f and f)
        assert set(found) == {"dns"} and reason in found["dns"]["reason"], found
        assert b"\x05alpha\x04test\x00\x00\x06\x00\x01" in zone.asked[0]  # SOA of a hosted domain
    finally:
        zone.listener.close()
        site.settings["POSTBUS_DNS_SERVER"] = was
        site.restart("admin", signal.SIGTERM)


def test_names_that_do_not_resolve_and_many_who_ask_at_once(site, well):
    was = site.settings["POSTBUS_HEALTH_DOORS"]
    site.settings["POSTBUS_HEALTH_DOORS"] = "smtp=nowhere.invalid:25,imap=127.0.0.1:1,silent=127.0.0.1:9/tls"
    try:
        site.restart("admin", signal.SIGTERM)
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(site.api("GET", "/api/v1/health", token=None))) for _ in range(30)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert len(answers) == 30 and len({str(a) for a in answers}) == 1  # one look for all
        assert answers[0][1]["components"]["smtp"]["state"] == "down" and "nowhere.invalid" in answers[0][1]["components"]["smtp"]["remedy"]
    finally:
        site.settings["POSTBUS_HEALTH_DOORS"] = was
        site.restart("admin", signal.SIGTERM)


def test_settings_that_cannot_be_understood_are_refused(site):
    for doors in ("smtp", "smtp=host", "smtp=host:0", "smtp=host:99999", "=host:1", "smtp=host:25/quic", ",".join(f"d{i}=h:1" for i in range(33))):
        env = {**site.environment("admin"), "POSTBUS_HEALTH_DOORS": doors, "POSTBUS_API_LISTEN": "off", "POSTBUS_APIS_LISTEN": "off", "POSTBUS_WEB_LISTEN": "off", "POSTBUS_WEBS_LISTEN": "off"}
        done = subprocess.run([BIN / "admin"], capture_output=True, text=True, env=env, timeout=10)
        assert done.returncode != 0 and "POSTBUS_HEALTH_DOORS" in done.stdout + done.stderr, doors
