"""Mail on its way to other sites, when these are slow, picky, many or dead, and when our own house is not in order: each recipient gets each message once."""
import email
import imaplib
import signal
import smtplib
import ssl
import time
import urllib.request

import pytest

from postbus_test.dns import Knot
from postbus_test.sink import Manners, Sink
from postbus_test.site import BIN, SERVICES, Site, free_port, wait_until

TLS = ssl._create_unverified_context()
PASSWORD = "correct horse 1"
ALICE = "alice@alpha.test"
GOOD, PICKY, PLAIN, SLOW, STALLED = 20, "127.0.2.1", "127.0.2.2", "127.0.2.3", 40


def zone_of():
    lines = "many 60 IN MX 10 mx.many\nmx.many 60 IN A 127.0.2.10\npicky 60 IN MX 10 mx.picky\nmx.picky 60 IN A 127.0.2.1\nplain 60 IN MX 10 mx.plain\nmx.plain 60 IN A 127.0.2.2\n"
    lines += "slow 60 IN MX 10 mx.slow\nmx.slow 60 IN A 127.0.2.3\nlimits 60 IN MX 10 mx.limits\nmx.limits 60 IN A 127.0.2.4\n"
    lines += "two 60 IN MX 10 mx.two\ntwo 60 IN MX 20 backup.two\nmx.two 60 IN A 127.0.2.5\nbackup.two 60 IN A 127.0.2.6\n"
    lines += "race 60 IN MX 10 mx.race\nmx.race 60 IN AAAA 100::1\nmx.race 60 IN A 127.0.2.7\ndown 60 IN MX 10 mx.down\nmx.down 60 IN A 127.0.2.99\n"
    lines += "sts 60 IN MX 10 mx.many\n_mta-sts.sts 60 IN TXT \"v=STSv1; id=1;\"\nmta-sts.sts 60 IN A 127.0.0.1\n"
    for i in range(GOOD):
        lines += f"good{i} 60 IN MX 10 mx.good{i}\nmx.good{i} 60 IN A 127.0.3.{i + 1}\n"
    for i in range(STALLED):
        lines += f"dead{i} 60 IN MX 10 mx.dead{i}\nmx.dead{i} 60 IN A 127.0.4.{i + 1}\n"
    return lines


class World:
    def __init__(self, settings=None, named_servers=True):
        servers = {ip: Manners() for ip in ("127.0.2.10", SLOW, "127.0.2.5", "127.0.2.6", "127.0.2.7")}
        servers[PICKY] = Manners(rcpts_max=7)
        servers[PLAIN] = Manners(extensions=("PIPELINING",))
        servers["127.0.2.4"] = Manners(extensions=("PIPELINING", "8BITMIME", "LIMITS RCPTMAX=13 MAILMAX=3"))
        servers.update({f"127.0.3.{i + 1}": Manners() for i in range(GOOD)})
        servers.update({f"127.0.4.{i + 1}": Manners(greet=False) for i in range(STALLED)})
        self.sink = Sink(servers)
        self.knot = Knot({"out.test": zone_of()})
        dns = {"POSTBUS_RESOLVER_STUBS": f"out.test={self.knot.address}"} if named_servers else {"POSTBUS_RESOLVER_FORWARD": self.knot.address}
        self.site = Site("mx.alpha.test", {**dns, "POSTBUS_SMTP_PORT": self.sink.port, "POSTBUS_RETRY_FIRST_SECONDS": 1,
                                           "POSTBUS_QUEUE_LEASE": "6s", **(settings or {})})
        self.site.start(*SERVICES)
        self.site.add_account(ALICE, PASSWORD)
        self.events = []
        listener = self.site.new_nats()
        listener.subscribe("postbus.mail.>", lambda subject, _reply, body: self.events.append((subject.split(".")[2], body)))
        listener.flush()

    def client(self):
        client = smtplib.SMTP("127.0.0.1", self.site.ports["submission"], local_hostname="client.local", timeout=60)
        client.starttls(context=TLS)
        client.login(ALICE, PASSWORD)
        return client

    def send(self, mark, *to, body="hello\r\n", client=None, **options):
        """Submits a message with this Subject."""
        text = f"From: {ALICE}\r\nTo: undisclosed:;\r\nSubject: {mark}\r\n\r\n".encode() + (body if isinstance(body, bytes) else body.encode())
        refused = (client or self.client()).sendmail(ALICE, list(to), text, **options)
        assert not refused, refused

    def times(self, mark):
        """{recipient: how often it got the message}"""
        return {rcpt: n for (subject, rcpt), n in list(self.sink.counted.items()) if subject == mark}

    def queue(self, **ask):
        answer = self.site.rpc("delivery.queue.list", limit=500, **ask)
        if "error" in answer:
            raise ConnectionError(answer["error"]["message"])
        return answer["entries"]

    def empty_queue(self):
        while entries := self.queue():
            for entry in entries:
                self.site.rpc("delivery.queue.delete", id=entry["id"])

    def inbox(self):
        session = imaplib.IMAP4_SSL("127.0.0.1", self.site.ports["imaps"], ssl_context=TLS)
        session.login(ALICE, PASSWORD)
        session.select("INBOX", readonly=True)
        answer = session.fetch("1:*", "(BODY.PEEK[])")[1]
        session.logout()
        return [part[1] for part in answer if isinstance(part, tuple)]

    def reports(self, mark):
        return [m for m in self.inbox() if b"multipart/report" in m and mark.encode() in m]

    def metric(self, name, service="delivery"):
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.site.http[service]}/metrics").read().decode()
        return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(name + " ")), 0)

    def end(self):
        self.site.end()
        self.knot.end()
        self.sink.end()


@pytest.fixture(scope="module")
def world():
    w = World()
    yield w
    w.end()


# recipients -------------------------------------------------------------------------------------------------------------------


def test_a_thousand_recipients_at_one_domain_get_it_once_each_within_a_minute(world):
    rcpts = [f"u{i}@many.out.test" for i in range(1000)]
    begun, before = time.monotonic(), world.sink.connections["127.0.2.10"]
    world.send("thousand", *rcpts)
    wait_until("all of them", lambda: len(world.times("thousand")) == 1000, 60)
    assert time.monotonic() - begun < 60
    wait_until("the queue to be empty", lambda: not world.queue(), 20)
    time.sleep(8)  # longer than a lease: whatever would be sent a second time would be by now
    assert world.times("thousand") == {r: 1 for r in rcpts}
    # ten transactions of a hundred: two connections at first, and with each of the first four answers one more, while others still wait
    assert world.sink.connections["127.0.2.10"] - before <= 6


def test_recipients_beyond_what_a_server_takes_go_in_the_next_transaction_at_once(world):
    rcpts = [f"u{i}@picky.out.test" for i in range(50)]
    begun = time.monotonic()
    world.send("picky", *rcpts)
    wait_until("all of them", lambda: len(world.times("picky")) == 50, 20)
    assert time.monotonic() - begun < 5, "452 was taken for a reason to wait"
    assert world.times("picky") == {r: 1 for r in rcpts}
    assert not [e for e in world.events if e[0] == "deferred" and b"picky" in e[1]]


def test_limits_are_kept(world):
    rcpts = [f"u{i}@limits.out.test" for i in range(40)]
    world.send("limits", *rcpts)
    wait_until("all of them", lambda: len(world.times("limits")) == 40, 20)
    assert world.times("limits") == {r: 1 for r in rcpts}
    assert max(len(rcpts) for ip, _, rcpts, _ in world.sink.taken if ip == "127.0.2.4") == 13  # RFC 9422 RCPTMAX


def test_connections_are_used_again(world):
    before = world.sink.connections["127.0.3.1"]
    client = world.client()
    for i in range(1000):
        if i % 90 == 89:
            client = world.client()
        world.send(f"reuse-{i}", f"u{i}@good0.out.test", client=client)
    wait_until("all thousand", lambda: sum(1 for s, _ in list(world.sink.counted) if s.startswith("reuse-")) == 1000, 60)
    assert all(world.times(f"reuse-{i}") == {f"u{i}@good0.out.test": 1} for i in range(1000))
    assert world.sink.connections["127.0.3.1"] - before <= 30


def test_a_connection_that_the_server_ends_costs_no_attempt(world):
    world.sink.servers["127.0.3.2"].mails_max = 2
    client = world.client()
    for i in range(20):
        world.send(f"ends-{i}", f"u{i}@good1.out.test", client=client)
    wait_until("all twenty", lambda: sum(1 for s, _ in list(world.sink.counted) if s.startswith("ends-")) == 20, 30)
    assert all(world.times(f"ends-{i}") == {f"u{i}@good1.out.test": 1} for i in range(20))
    assert not [e for e in world.events if e[0] == "deferred" and b"good1.out.test" in e[1]]


# text -------------------------------------------------------------------------------------------------------------------------


def test_no_piece_of_a_message_hides_its_end(world):
    """The text of the fault: at offsets around the end of a piece a line with a lone dot, then commands."""
    hidden = b"\r\n.\r\nMAIL FROM:<smuggled@alpha.test>\r\nRCPT TO:<victim@good2.out.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"
    client = world.client()
    world.send("offset", "u@good2.out.test", body=b"x\r\n", client=client)
    wait_until("a first one", lambda: world.times("offset"))
    head = len(next(t for _, _, _, t in world.sink.taken if b"Subject: offset" in t)) - 3  # what stands before the body, trace and signatures included
    for piece in (65536, 131072, 262144):
        for at in range(-4, 5):
            lines = (b"y" * 76 + b"\r\n") * ((piece + 400) // 78)
            fill = lines[:piece + at - head - 120]
            fill = fill.rstrip(b"\r\n") + b"\r\n" + b"z" * (120 - 2)
            world.send(f"piece-{piece}-{at}", "u@good2.out.test", body=fill[:piece + at - head] + hidden, client=client)
    wait_until("all of them", lambda: sum(1 for s, _ in list(world.sink.counted) if s.startswith("piece-")) == 27, 60)
    assert not world.times("smuggled")
    assert all(b"RCPT TO:<victim@good2.out.test>" in t for _, _, _, t in world.sink.taken if b"Subject: piece-" in t)


def test_eight_bit_text_is_not_sent_to_a_server_without_it(world):
    world.send("seven", "u@plain.out.test", body="plain\r\n")
    wait_until("7-bit text", lambda: world.times("seven"))
    world.send("eight", "u@plain.out.test", body="grün\r\n", mail_options=["BODY=8BITMIME"])
    (report,) = wait_until("the report", lambda: world.reports("eight"), 30)
    assert b"Status: 5.6.3" in report and b"8BITMIME" in report
    assert not world.times("eight")


# servers ----------------------------------------------------------------------------------------------------------------------


def test_a_refusal_by_the_second_server_is_not_final_when_the_first_is_away_for_now(world):
    first, second = world.sink.servers["127.0.2.5"], world.sink.servers["127.0.2.6"]
    first.greeting, second.greeting = "421 4.3.2 down for a moment", "554 5.7.1 not for you"
    world.send("both", "u@two.out.test")
    wait_until("a deferral", lambda: [e for e in world.events if e[0] == "deferred" and b"two.out.test" in e[1]])
    first.greeting = ""
    wait_until("the message", lambda: world.times("both") == {"u@two.out.test": 1}, 30)
    assert not [e for e in world.events if e[0] == "bounced" and b"two.out.test" in e[1]]
    second.greeting = ""


def test_the_second_server_takes_what_the_first_cannot(world):
    world.sink.servers["127.0.2.5"].greeting = "421 4.3.2 busy"
    wait_until("the kept connection to close", lambda: world.sink.open["127.0.2.5"] == 0, 30)
    world.send("second", "u@two.out.test")
    wait_until("the message", lambda: world.times("second") == {"u@two.out.test": 1}, 30)
    assert [ip for ip, _, _, t in world.sink.taken if b"Subject: second" in t] == ["127.0.2.6"]
    world.sink.servers["127.0.2.5"].greeting = ""


def test_an_address_that_does_not_answer_delays_nothing(world):
    """RFC 8305: the IPv6 address of the host leads nowhere."""
    begun = time.monotonic()
    world.send("race", "u@race.out.test")
    wait_until("the message", lambda: world.times("race"), 20)
    assert time.monotonic() - begun < 5


def test_dead_destinations_hold_nobody_up(world):
    client = world.client()
    n = 0
    for round in range(25):
        for i in range(STALLED):
            if n % 90 == 0:
                client = world.client()
            n += 1
            world.send(f"stalled-{round}-{i}", f"u{round}@dead{i}.out.test", client=client)
        begun = time.monotonic()
        for i in range(2, 6):
            world.send(f"alive-{round}-{i}", f"u@good{i}.out.test")
        wait_until("mail to the good ones", lambda: all(world.times(f"alive-{round}-{i}") for i in range(2, 6)), 20)
        assert time.monotonic() - begun < 5
    assert all(world.sink.open_most[f"127.0.4.{i + 1}"] <= 2 for i in range(STALLED))
    world.empty_queue()


# our own house ----------------------------------------------------------------------------------------------------------------


def test_nobody_gets_it_twice_while_reports_cannot_be_made(world):
    world.sink.servers[SLOW].refuse = lambda rcpt: "550 5.1.1 no such user" if rcpt.startswith("bad") else None
    world.send("warm", "good0@slow.out.test")  # login and resolution are known
    good, bad = [f"good{i}@slow.out.test" for i in range(20)], [f"bad{i}@slow.out.test" for i in range(20)]
    mixed = [r for pair in zip(good, bad) for r in pair]
    client = world.client()
    code, _ = client.mail(ALICE)
    assert code == 250 and all(client.rcpt(r)[0] == 250 for r in mixed)
    assert client.docmd("DATA")[0] == 354
    client.send(f"From: {ALICE}\r\nSubject: mix\r\n\r\nhello\r\n".encode())
    world.site.stop("accounts")
    try:
        client.send(b".\r\n")
        code, text = client.getreply()
        assert code == 250, text
        wait_until("the good ones", lambda: len(world.times("mix")) == 20)
        time.sleep(20)  # more than three leases
        assert world.times("mix") == {r: 1 for r in good}
    finally:
        world.site.start("accounts")
    (report,) = wait_until("one report", lambda: world.reports("mix"), 60)
    assert all(f"Final-Recipient: rfc822; {r}".encode() in report for r in bad) and b"good1@slow" not in report
    report_id = email.message_from_bytes(report)["Message-ID"][1:-1].split("@")[0]
    bounced = [e[1] for e in world.events if e[0] == "bounced" and b"slow.out.test" in e[1]]
    assert len(bounced) == 20 and all(report_id.encode() in b for b in bounced)
    wait_until("the queue to be empty", lambda: not [e for e in world.queue() if "slow" in str(e)], 20)
    assert len(world.reports("mix")) == 1 and world.times("mix") == {r: 1 for r in good}


def test_the_store_restarts_while_mail_flows(world):
    sent = []
    client = world.client()
    for i in range(300):
        if i % 90 == 0:
            client = world.client()
        try:
            world.send(f"flow-{i}", f"u{i}@good{i % 8}.out.test", client=client)
            sent.append(i)
        except (OSError, smtplib.SMTPException):
            client = world.client()
        if i in (100, 200):
            world.site.stop("redis", signal.SIGKILL)
            world.site.start_redis()
    assert len(sent) > 200
    wait_until("what was acknowledged", lambda: all(world.times(f"flow-{i}") for i in sent), 60)
    time.sleep(15)
    for i in sent:
        assert world.times(f"flow-{i}") == {f"u{i}@good{i % 8}.out.test": 1}


def test_a_250_is_remembered_until_the_store_is_back(world):
    server = world.sink.servers[SLOW]
    server.refuse, server.final_delay = None, 2
    world.sink.waiting_final.clear()
    world.send("memory", "u@slow.out.test")
    assert world.sink.waiting_final.wait(20)
    world.site.stop("redis", signal.SIGKILL)  # the answer comes while the store is away
    wait_until("the message", lambda: world.times("memory"))
    time.sleep(4)
    world.site.start_redis()
    server.final_delay = 0
    wait_until("the queue to be empty", lambda: not [e for e in world.queue() if "memory" in str(e) or "u@slow" in str(e)], 40)
    time.sleep(10)
    assert world.times("memory") == {"u@slow.out.test": 1}


def test_an_outcome_is_recorded_though_the_store_is_full(world):
    server = world.sink.servers[SLOW]
    server.refuse, server.final_delay = None, 2
    world.sink.waiting_final.clear()
    world.send("full", "u@slow.out.test")
    assert world.sink.waiting_final.wait(20)
    world.site.redis("CONFIG", "SET", "maxmemory", "1")
    try:
        wait_until("the message", lambda: world.times("full"))
        wait_until("its outcome", lambda: not world.site.redis("KEYS", "{q:*}:e:*").split(), 10)
        assert not world.site.redis("KEYS", "b:{*").split() or world.inbox(), "its body was not released"
    finally:
        world.site.redis("CONFIG", "SET", "maxmemory", "0")
        server.final_delay = 0
    assert world.times("full") == {"u@slow.out.test": 1}


def test_a_fault_of_ours_counts_as_no_attempt(world):
    world.send("ours", "u@down.out.test")
    wait_until("an attempt", lambda: [e for e in world.queue() if e["rcpts"][0]["attempts"]])
    (entry,) = world.queue()
    world.site.stop("verifier")
    time.sleep(2)  # its route is forgotten
    attempts = world.queue()[0]["rcpts"][0]["attempts"]
    assert world.site.rpc("delivery.queue.retry", id=entry["id"]) == {}
    (later,) = wait_until("a deferral for our own reason", lambda: [e for e in world.queue() if "looked up" in e["rcpts"][0].get("last_reply", "")], 45)
    assert later["rcpts"][0]["attempts"] == attempts
    world.site.start("verifier")
    world.empty_queue()


def test_a_250_that_comes_while_the_worker_is_stopped_beyond_its_lease_counts(world):
    server = world.sink.servers[SLOW]
    server.refuse, server.final_delay = None, 2
    world.sink.waiting_final.clear()
    world.send("asleep", "u@slow.out.test")
    assert world.sink.waiting_final.wait(20)
    process = world.site.processes["delivery"]
    process.send_signal(signal.SIGSTOP)
    time.sleep(9)  # the lease is six seconds; nobody else is there to take it
    process.send_signal(signal.SIGCONT)
    server.final_delay = 0
    wait_until("the queue to be empty", lambda: not world.queue(), 20)
    time.sleep(3)
    assert world.times("asleep") == {"u@slow.out.test": 1}


def second_delivery(world):
    environment = world.site.environment("delivery")
    port = free_port()
    environment["POSTBUS_HTTP"] = f"127.0.0.1:{port}"
    world.site._spawn("delivery2", [BIN / "delivery"], environment)
    wait_until("the second delivery", lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2).status == 200)


def test_a_stopped_worker_sends_nothing_that_another_has_taken_over(world):
    """It is stopped for longer than its lease while a server has not yet answered RCPT; a second replica goes on."""
    server = world.sink.servers[SLOW]
    server.refuse = None
    release = []

    def hold(rcpt):
        deadline = time.monotonic() + 3
        while not release and time.monotonic() < deadline:
            time.sleep(0.02)
    server.refuse = hold  # holds the sink's one thread: nobody is answered for a moment
    world.send("stopped", "u@slow.out.test")
    wait_until("its RCPT", lambda: world.metric("postbus_delivery_transactions_total"))
    first = world.site.processes["delivery"]
    time.sleep(0.3)
    first.send_signal(signal.SIGSTOP)
    server.refuse = None
    release.append(1)
    second_delivery(world)
    try:
        wait_until("the message by the other", lambda: world.times("stopped"), 40)
    finally:
        first.send_signal(signal.SIGCONT)
    time.sleep(8)
    assert world.times("stopped") == {"u@slow.out.test": 1}
    assert world.site.stop("delivery2") == 0


def test_replicas_share_the_connections_to_a_destination(world):
    ip = "127.0.3.9"
    world.sink.servers[ip].final_delay = 0.2  # slow enough for the window to open wide
    second_delivery(world)
    wait_until("both to know of each other", lambda: world.metric("postbus_delivery_workers") == 2, 20)
    client = world.client()
    for i in range(150):
        if i % 90 == 89:
            client = world.client()
        world.send(f"share-{i}", f"u{i}@good8.out.test", client=client)
    wait_until("all of them", lambda: sum(1 for s, _ in list(world.sink.counted) if s.startswith("share-")) == 150, 60)
    assert all(world.times(f"share-{i}") == {f"u{i}@good8.out.test": 1} for i in range(150))
    assert 2 < world.sink.open_most[ip] <= 20
    assert world.site.stop("delivery2") == 0
    wait_until("the first to be alone again", lambda: world.metric("postbus_delivery_workers") == 1, 20)


def test_draining_waits_for_the_final_answer_and_hands_back_the_rest(world):
    server = world.sink.servers[SLOW]
    server.refuse, server.final_delay = None, 8
    world.sink.waiting_final.clear()
    world.send("final", "u@slow.out.test")
    assert world.sink.waiting_final.wait(20)
    world.send("stuck", "u@dead0.out.test")
    time.sleep(1)
    begun = time.monotonic()
    assert world.site.stop("delivery") == 0
    assert 3 < time.monotonic() - begun < 15
    server.final_delay = 0
    assert world.times("final") == {"u@slow.out.test": 1}
    (stuck,) = [e for e in world.site.redis("KEYS", "{q:*}:e:*").split()]
    assert world.site.redis("HEXISTS", stuck, "t").strip() == "0", "its lease was not handed back"
    world.site.start("delivery")
    time.sleep(2)
    assert world.times("final") == {"u@slow.out.test": 1}
    world.empty_queue()


def test_a_250_kept_for_a_lost_lease_does_not_hold_up_the_end(world):
    """A worker whose lease went to another while it was stopped remembers its 250 in case the entry comes back; not when it is told to end."""
    server = world.sink.servers[SLOW]
    server.refuse, server.final_delay = None, 2
    world.sink.waiting_final.clear()
    world.send("kept", "u@slow.out.test")
    assert world.sink.waiting_final.wait(20)
    first = world.site.processes["delivery"]
    sent = world.metric("postbus_delivery_sent_total")
    first.send_signal(signal.SIGSTOP)
    wait_until("the first 250", lambda: world.times("kept"))
    server.final_delay = 15
    world.sink.waiting_final.clear()
    second_delivery(world)
    try:
        assert world.sink.waiting_final.wait(40), "the other replica has not taken over"
    finally:
        first.send_signal(signal.SIGCONT)
    wait_until("the first to see that its lease is lost", lambda: "is lost" in world.site.log("delivery"))
    wait_until("the first to have read its 250", lambda: world.metric("postbus_delivery_sent_total") > sent)
    begun = time.monotonic()
    assert world.site.stop("delivery") == 0
    assert time.monotonic() - begun < 8
    server.final_delay = 0
    world.site.start("delivery")
    wait_until("the queue to be empty", lambda: not world.queue(), 40)
    assert world.site.stop("delivery2") == 0


# for people -------------------------------------------------------------------------------------------------------------------


def test_the_queue_as_people_use_it(world):
    world.send("held", "u@down.out.test")
    (entry,) = wait_until("a deferral", lambda: [e for e in world.queue() if e["rcpts"][0]["state"] == "deferred"], 20)
    assert entry["rcpts"][0]["host"] == "mx.down.out.test" and entry["rcpts"][0]["next"] > entry["received"] and entry["size"] > 10
    assert world.site.rpc("delivery.queue.hold", id=entry["id"]) == {}
    assert [e["id"] for e in world.queue(which="held")] == [entry["id"]]
    assert [e["id"] for e in world.queue(domain="down.out.test")] == [entry["id"]] and not world.queue(domain="many.out.test")
    attempts = world.queue()[0]["rcpts"][0]["attempts"]
    time.sleep(4)
    assert world.queue()[0]["rcpts"][0]["attempts"] <= attempts + 1, "a held message was tried"
    assert world.site.rpc("delivery.queue.priority", id=entry["id"], priority=5) == {}
    assert world.site.rpc("delivery.queue.release", id=entry["id"]) == {}
    assert world.site.rpc("delivery.queue.retry", domain="down.out.test") == {"entries": 1}
    assert world.site.rpc("delivery.queue.delete", id=entry["id"]) == {}
    wait_until("the event", lambda: [e for e in world.events if e[0] == "deleted" and entry["id"].encode() in e[1]])
    assert not world.queue() and world.site.rpc("delivery.queue.hold", id=entry["id"])["error"]["code"] == "not_found"


def test_the_text_of_a_small_message_is_kept_with_its_entry_and_goes_with_it(world):
    """Nothing else holds it: neither the last outcome nor a deletion leaves anything, and a worker that is killed before the outcome finds it again."""
    world.empty_queue()
    keys = lambda pattern: world.site.redis("KEYS", pattern).split()
    bodies = len(keys("b:*"))
    world.send("small", "u@slow.out.test", "u@down.out.test")
    world.send("large", "u@down.out.test", body="line\r\n" * 20000)
    wait_until("both in the queue", lambda: len(world.queue()) == 2)
    assert len(keys("{q:*}:b:*")) == 1 and len(keys("b:*")) == bodies + 1
    wait_until("one recipient", lambda: world.times("small") == {"u@slow.out.test": 1})
    world.site.restart("delivery", signal.SIGKILL)
    time.sleep(7)  # longer than a lease
    world.site.rpc("delivery.queue.retry", domain="down.out.test")
    wait_until("attempts", lambda: all(r["attempts"] > 0 for e in world.queue() for r in e["rcpts"] if "down" in r["address"]), 20)
    assert world.times("small") == {"u@slow.out.test": 1} and len(keys("{q:*}:b:*")) == 1
    world.empty_queue()
    assert not keys("{q:*}:b:*") and len(keys("b:*")) == bodies


def test_retry_does_not_wait_for_the_pause_of_its_destination(world):
    world.empty_queue()
    server = world.sink.servers["127.0.3.20"]
    server.greeting = "421 4.3.2 not now"
    for i in range(4):
        world.send(f"pause-{i}", f"u{i}@good19.out.test")
    # The third failure in a row, at the latest after 13 s, begins a pause of 15 s for all mail to the destination; by then a message may have been tried only once.
    nexts = lambda: [r["next"] for e in world.queue() for r in e["rcpts"] if r["state"] == "deferred"]
    wait_until("a long pause", lambda: len(nexts()) == 4 and min(nexts()) > time.time() * 1000 + 8000, 40)
    server.greeting = ""
    assert world.site.rpc("delivery.queue.retry", domain="good19.out.test")["entries"] == 4
    begun = time.monotonic()
    wait_until("all four", lambda: all(world.times(f"pause-{i}") for i in range(4)), 20)
    assert time.monotonic() - begun < 4


def test_private_addresses_of_a_zone_whose_servers_the_operator_names_are_used():
    w = World({"POSTBUS_PRIVATE_DESTINATIONS": "off"})
    try:
        w.send("own zone", "u@many.out.test")
        wait_until("the message at the sink", lambda: w.times("own zone"), 30)
    finally:
        w.end()


def test_private_addresses_are_refused_without_the_setting():
    w = World({"POSTBUS_PRIVATE_DESTINATIONS": "off"}, named_servers=False)
    try:
        w.send("private", "u@many.out.test")
        (report,) = wait_until("the report", lambda: w.reports("private"), 30)
        assert b"no public address" in report and not w.sink.connections
        failure = w.site.rpc("verifier.route", domain="sts.out.test")["mta_sts_failure"]
        assert failure["result"] == "sts-policy-fetch-error" and "no public address" in failure["reason"]
    finally:
        w.end()
