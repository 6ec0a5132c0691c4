"""Mail through a whole site: in on 25, submitted on 587 and 465, out to another server, back as a report; and every refusal, after which nothing is stored."""
import email
import imaplib
import json
import re
import smtplib
import socket
import socketserver
import ssl
import threading
import time

import dkim
import pytest

from postbus_test.dns import Knot
from postbus_test.site import SERVICES, Site, wait_until

TLS = ssl._create_unverified_context()
PASSWORD = "correct horse 1"
BOB, ALICE = "bob@alpha.test", "alice@alpha.test"


class Remote(socketserver.ThreadingTCPServer):
    """Another site's SMTP server that does what a script says: script["rcpt"] etc. are lists of replies, used up one by one; then everything is accepted."""
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), RemoteSession)
        self.port = self.server_address[1]
        self.script, self.messages = {}, []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def reply(self, verb, otherwise):
        waiting = self.script.get(verb)
        return waiting.pop(0) if waiting else otherwise


class RemoteSession(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        remote = self.server
        self.say(remote.reply("greeting", "220 remote.test"))
        rcpts = []
        while line := self.rfile.readline():
            verb = line[:4].upper().decode(errors="replace")
            if verb == "EHLO":
                self.say(remote.reply("ehlo", "250-remote.test\r\n250-8BITMIME\r\n250 PIPELINING"))
            elif verb == "STAR":
                self.say("220 go")
                self.wfile.write(b"this is no TLS\r\n")
                return
            elif verb == "RCPT":
                answer = remote.reply("rcpt", "250 2.1.5 ok")
                if answer.startswith("2"):
                    rcpts.append(line.split(b"<")[1].split(b">")[0].decode())
                self.say(answer)
            elif verb == "DATA":
                if not rcpts:
                    self.say("554 5.5.1 no recipients")
                    continue
                answer = remote.reply("data", "354 go")
                if answer == "drop":
                    return
                self.say(answer)
                text = b""
                while (part := self.rfile.readline()) != b".\r\n":
                    if not part:
                        return
                    text += part[1:] if part.startswith(b".") else part
                final = remote.reply("end", "250 2.0.0 taken")
                if final.startswith("2"):
                    remote.messages.append((rcpts, text))
                self.say(final)
                rcpts = []
            elif verb == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")


@pytest.fixture(scope="module")
def world():
    remote = Remote()
    load = '@ 60 IN TXT "v=spf1 ip4:127.0.0.1 -all"\n'
    knot = Knot({"load.test": load, "strict.test": '@ 60 IN TXT "v=spf1 -all"\n_dmarc 60 IN TXT "v=DMARC1; p=reject"\n', "in-addr.arpa": "1.0.0.127 60 IN PTR ns.load.test.\n",
                 "remote.test": "@ 60 IN MX 10 mx\nmx 60 IN A 127.0.0.1\n", "nomail.test": "@ 60 IN MX 0 .\n"})
    stubs = ",".join(f"{zone}={knot.address}" for zone in ("load.test", "strict.test", "in-addr.arpa", "remote.test", "nomail.test"))
    site = Site("mx.alpha.test", {"POSTBUS_RESOLVER_STUBS": stubs, "POSTBUS_SMTP_PORT": remote.port, "POSTBUS_RETRY_FIRST_SECONDS": 1, "POSTBUS_MESSAGE_MAX_BYTES": 1000000})
    site.start(*SERVICES)
    site.add_account(BOB, PASSWORD)
    site.add_account(ALICE, PASSWORD)
    site.remote = remote
    yield site
    site.end()
    knot.end()
    remote.shutdown()


def inbox(site, person=BOB):
    session = imaplib.IMAP4_SSL("127.0.0.1", site.ports["imaps"], ssl_context=TLS)
    session.login(person, PASSWORD)
    session.select("INBOX", readonly=True)
    answer = session.fetch("1:*", "(BODY.PEEK[])")[1]
    session.logout()
    return [part[1] for part in answer if isinstance(part, tuple)]


def arrived(site, mark, person=BOB):
    return wait_until(f"{mark} in the inbox of {person}", lambda: [m for m in inbox(site, person) if mark.encode() in m])


def stored(site):
    return len(inbox(site)), len(inbox(site, ALICE)), site.rpc("delivery.queue.list", limit=100)["entries"], len(site.remote.messages)


def mx(site):
    client = smtplib.SMTP("127.0.0.1", site.ports["smtp"], local_hostname="ns.load.test", timeout=60)
    client.ehlo()
    return client


def submission(site, login=ALICE):
    client = smtplib.SMTP("127.0.0.1", site.ports["submission"], local_hostname="client.local", timeout=60)
    client.starttls(context=TLS)
    client.login(login, PASSWORD)
    return client


def raw(site, port="smtp"):
    sock = socket.create_connection(("127.0.0.1", site.ports[port]), 30)
    file = sock.makefile("rb")
    file.readline()
    return sock, file


def reply(file):
    line = file.readline()
    while line[3:4] == b"-":
        line = file.readline()
    return line.decode().strip()


def text(mark, **fields):
    head = {"From": "x@load.test", "To": BOB, "Subject": mark, "Date": "Tue, 24 Nov 2026 10:00:00 +0000", "Message-ID": f"<{mark}@load.test>", **fields}
    return "".join(f"{k}: {v}\r\n" for k, v in head.items()).encode() + b"\r\n"


# in on 25 --------------------------------------------------------------------------------------------------------------------


def test_odd_bytes_arrive_as_they_were_sent(world):
    message = text("odd") + b"8-bit \xc3\xa4\xff\xfe\r\n" + b"x" * 990 + b"\r\n" + b".\r\n..two\r\n trailing \t \r\n\r\n\r\nend without line end"
    mx(world).sendmail("x@load.test", [BOB], message)
    (got,) = arrived(world, "Subject: odd")
    assert got.endswith(message + b"\r\n") or got.endswith(message)
    assert got.startswith(b"Return-Path: <x@load.test>\r\nDelivered-To: bob@alpha.test\r\nAuthentication-Results: mx.alpha.test;")


def test_chunks_arrive_as_one_message(world):
    sock, file = raw(world)
    message = text("chunked") + b".\r\n..not unstuffed\r\n"
    sock.sendall(b"EHLO ns.load.test\r\nMAIL FROM:<x@load.test> BODY=8BITMIME\r\nRCPT TO:<bob@alpha.test>\r\nBDAT 20\r\n" + message[:20] + b"BDAT %d LAST\r\n" % (len(message) - 20) + message[20:])
    assert [reply(file)[:3] for _ in range(5)] == ["250"] * 5
    (got,) = arrived(world, "Subject: chunked")
    assert got.endswith(message)


def test_everything_may_be_pipelined(world):
    sock, file = raw(world)
    sock.sendall(b"EHLO ns.load.test\r\nMAIL FROM:<x@load.test>\r\nRCPT TO:<bob@alpha.test>\r\nRCPT TO:<nobody@alpha.test>\r\nDATA\r\n" + text("pipelined") + b"x\r\n.\r\nMAIL FROM:<>\r\nRSET\r\nQUIT\r\n")
    assert [reply(file)[:3] for _ in range(9)] == ["250", "250", "250", "550", "354", "250", "250", "250", "221"]
    assert len(arrived(world, "Subject: pipelined")) == 1


def test_our_verdict_is_never_somebody_elses(world):
    forged = b"Authentication-Results: mx.alpha.test; dmarc=pass header.from=bank.test\r\n" + b"Authentication-Results: other.test; spf=pass\r\n" + text("forged-verdict") + b"x\r\n"
    mx(world).sendmail("x@load.test", [BOB], forged)
    (got,) = arrived(world, "Subject: forged-verdict")
    verdicts = email.message_from_bytes(got).get_all("Authentication-Results")
    assert [v.split(";")[0].strip() for v in verdicts] == ["mx.alpha.test", "other.test"] and "bank.test" not in verdicts[0]


def test_an_alias_leads_to_its_targets_once_each(world):
    world.rpc("accounts.alias.add", address="team@alpha.test", targets=[BOB, ALICE, "info@remote.test"])
    mx(world).sendmail("x@load.test", ["team@alpha.test", BOB], text("to-the-team") + b"x\r\n")
    assert len(arrived(world, "Subject: to-the-team", BOB)) == 1 and len(arrived(world, "Subject: to-the-team", ALICE)) == 1
    wait_until("the remote target", lambda: any(b"to-the-team" in m for _, m in world.remote.messages))


def test_an_alias_that_leads_to_too_many_is_refused_not_cut_short(world):
    targets = lambda part, n: [f"{part}{i}@remote.test" for i in range(n)]
    for part in ("wide-a", "wide-b"):
        assert "error" not in world.rpc("accounts.alias.add", address=f"{part}@alpha.test", targets=targets(part, 450))
    assert "error" not in world.rpc("accounts.alias.add", address="wide@alpha.test", targets=["wide-a@alpha.test", "wide-b@alpha.test"])
    with mx(world) as client:
        client.mail("x@load.test")
        assert client.rcpt("wide@alpha.test")[0] == 250
        client.rset()
        for part in ("wide-a", "wide-b"):
            assert "error" not in world.rpc("accounts.alias.add", address=f"{part}@alpha.test", targets=targets(part, 500))
        client.mail("x@load.test")
        code, words = client.rcpt("wide@alpha.test")
        assert code == 550 and words.startswith(b"5.2.4"), words


# refusals ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("commands, code", [
    ([b"MAIL FROM:<x@load.test>", b"RCPT TO:<nobody@alpha.test>"], "550 5.1.1"),
    ([b"MAIL FROM:<x@load.test>", b"RCPT TO:<y@elsewhere.test>"], "554 5.7.1"),
    ([b"MAIL FROM:<x@load.test> SIZE=99999999"], "552 5.3.4"),
    ([b"MAIL FROM:<x@load.test> FOO=BAR"], "555 5.5.4"),
    ([b"MAIL FROM:x@load.test"], "501 5.1.7"),
    ([b"RCPT TO:<bob@alpha.test>"], "503 5.5.1"),
    ([b"DATA"], "503 5.5.1"),
    ([b"MAIL FROM:<x@load.test>", b"DATA"], "554 5.5.1"),
    ([b"MAIL FROM:<x@load.test>", b"MAIL FROM:<x@load.test>"], "503 5.5.1"),
    ([b"MAIL FROM:<b\xc3\xbc@load.test>"], "553 5.6.7"),
    ([b"MAIL FROM:<x@load.test>", b"RCPT TO:<bob@alpha.test> NOTIFY=NEVER,SUCCESS"], "501 5.5.4"),
    ([b"AUTH PLAIN AAAA"], "503 5.5.1"),
    ([b"BLAH"], "500 5.5.2"),
    ([b"VRFY bob"], "252 2.1.5"),
    ([b"EXPN team"], "502 5.5.1"),
    ([b"X" * 5000], "500 5.5.6"),
])
def test_a_refusal_has_its_code_and_stores_nothing(world, commands, code):
    before = stored(world)
    sock, file = raw(world)
    sock.sendall(b"EHLO ns.load.test\r\n")
    reply(file)
    for command in commands:
        sock.sendall(command + b"\r\n")
        answer = reply(file)
    assert answer.startswith(code), answer
    sock.sendall(b"QUIT\r\n")
    assert reply(file).startswith("221")
    assert stored(world) == before


@pytest.mark.parametrize("body, code", [
    (b"first\n.\r\nMAIL FROM:<x@load.test>\r\n", "550 5.6.11"),
    (b"first\r\n.\nMAIL FROM:<x@load.test>\r\n", "550 5.6.11"),
    (b"first\r.\rMAIL FROM:<x@load.test>\r\n", "550 5.6.11"),
    (b"a NUL \x00 byte\r\n", "550 5.6.0"),
    (b"x" * 72 + b"\r\n" + (b"y" * 998 + b"\r\n") * 1100, "552 5.3.4"),
])
def test_a_bad_text_is_refused_whole(world, body, code):
    before = stored(world)
    sock, file = raw(world)
    sock.sendall(b"EHLO ns.load.test\r\nMAIL FROM:<x@load.test>\r\nRCPT TO:<bob@alpha.test>\r\nDATA\r\n")
    for _ in range(4):
        reply(file)
    sock.sendall(text("bad") + body + b"\r\n.\r\n")
    assert reply(file).startswith(code)
    sock.sendall(b"NOOP\r\n")
    assert reply(file).startswith("250")  # nothing of the text was taken for a command
    assert stored(world) == before


def test_a_mail_loop_ends(world):
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        mx(world).sendmail("x@load.test", [BOB], b"Received: from a by b; now\r\n" * 60 + text("loop") + b"x\r\n")
    assert refusal.value.smtp_code == 554 and b"5.4.6" in refusal.value.smtp_error


def test_dmarc_reject_is_done_as_asked(world):
    before = stored(world)
    with pytest.raises(smtplib.SMTPDataError) as refusal:
        mx(world).sendmail("x@load.test", [BOB], text("spoof", From="ceo@strict.test") + b"x\r\n")
    assert refusal.value.smtp_code == 550 and b"5.7.1" in refusal.value.smtp_error
    assert stored(world) == before


def test_what_is_put_before_tls_is_never_a_command(world):
    sock, file = raw(world, "submission")
    sock.sendall(b"EHLO client.local\r\n")
    reply(file)
    sock.sendall(b"STARTTLS\r\nMAIL FROM:<x@load.test>\r\n")  # RFC 3207 §4.2
    assert reply(file).startswith("220")
    try:
        secure = TLS.wrap_socket(sock)
        answer = secure.recv(1000).decode()
        assert answer.startswith("554 5.5.1") or answer == ""
    except (ssl.SSLError, OSError):
        pass  # the injected bytes were taken for TLS: the handshake fails, which is as good


# submission -------------------------------------------------------------------------------------------------------------------


def test_a_submission_is_completed_and_signed_with_both_keys(world):
    message = b"From: Alice <alice@alpha.test>\r\nTo: info@remote.test\r\nBcc: secret@remote.test\r\nSubject: signed\r\n\r\nhello  \r\n\r\n"
    submission(world).sendmail(ALICE, ["info@remote.test"], message)
    _, got = wait_until("the message at the remote server", lambda: next((m for m in world.remote.messages if b"Subject: signed" in m[1]), None))
    parsed = email.message_from_bytes(got)
    assert parsed["Date"] and parsed["Message-ID"] and not parsed["Bcc"]
    records = {r["name"] + ".": r["value"] for r in world.rpc("verifier.dns.records", domain="alpha.test")["records"] if "_domainkey" in r["name"]}
    key = lambda name, timeout=5: "".join(re.findall(r'"([^"]*)"', records[name.decode()])).encode()
    signatures = parsed.get_all("DKIM-Signature")
    assert sorted(re.search(r"a=([^;]*)", s).group(1) for s in signatures) == ["ed25519-sha256", "rsa-sha256"]
    for index in range(len(signatures)):
        assert dkim.DKIM(got).verify(idx=index, dnsfunc=key), f"signature {index} does not verify with dkimpy"


def test_a_line_that_is_no_field_hides_neither_bcc_nor_a_second_author(world):
    head = b"From: Alice <alice@alpha.test>\r\nFrom nobody Mon Nov 23 09:00:00 2026\r\nTo: info@remote.test\r\n"
    submission(world).sendmail(ALICE, ["info@remote.test"], head + b"Bcc: secret@remote.test\r\nSubject: behind a bad line\r\n\r\nhello\r\n")
    _, got = wait_until("the message at the remote server", lambda: next((m for m in world.remote.messages if b"Subject: behind a bad line" in m[1]), None))
    assert b"secret@remote.test" not in got and got.count(b"\r\nMessage-ID:") == 1
    with pytest.raises(smtplib.SMTPDataError) as refused:
        submission(world).sendmail(ALICE, ["info@remote.test"], head + b"From: bob@alpha.test\r\nSubject: two authors\r\n\r\nhello\r\n")
    assert refused.value.smtp_code >= 500


@pytest.mark.parametrize("sender, code", [("bob@alpha.test", 553), ("alice@elsewhere.test", 553)])
def test_one_sends_only_as_oneself(world, sender, code):
    answer = submission(world).docmd("MAIL", f"FROM:<{sender}>")
    assert answer[0] == code and answer[1].startswith(b"5.7.1")


def test_logins(world):
    client = smtplib.SMTP("127.0.0.1", world.ports["submission"], timeout=60)
    client.ehlo()
    assert not client.has_extn("auth")
    assert client.docmd("AUTH", "PLAIN AAAA")[0] == 538
    assert client.docmd("MAIL", "FROM:<alice@alpha.test>")[0] == 530
    client.starttls(context=TLS)
    client.ehlo()
    with pytest.raises(smtplib.SMTPAuthenticationError) as refusal:
        client.login(ALICE, "wrong")
    assert refusal.value.smtp_code == 535
    code, _ = client.docmd("AUTH", "LOGIN")
    assert code == 334 and client.docmd("*")[0] == 501
    client.login(ALICE, PASSWORD)
    implicit = smtplib.SMTP_SSL("127.0.0.1", world.ports["submissions"], context=TLS, timeout=60)
    implicit.login(ALICE, PASSWORD)


# out to another server -----------------------------------------------------------------------------------------------------------


def send_out(world, mark, to="info@remote.test"):
    submission(world).sendmail(ALICE, [to] if isinstance(to, str) else to, f"From: {ALICE}\r\nTo: x\r\nSubject: {mark}\r\n\r\n.dots\r\n..two\r\nend\r\n".encode())


def taken(world, mark):
    return [m for m in world.remote.messages if f"Subject: {mark}\r\n".encode() in m[1]]


@pytest.mark.parametrize("mark, script", [
    ("plain", {}),
    ("greylisted", {"rcpt": ["451 4.7.1 come back"]}),
    ("busy", {"greeting": ["421 4.3.2 busy"]}),
    ("dropped", {"data": ["drop"]}),
    ("a-2xx-to-data-takes-nothing", {"data": ["250 2.0.0 taken, it says"]}),
    ("tempfail-at-the-end", {"end": ["451 4.3.0 disk"]}),
    ("garbage", {"greeting": ["hello this is a web server"]}),
    ("broken-starttls", {"ehlo": ["250-remote.test\r\n250 STARTTLS", "250 remote.test"]}),
    ("no-ehlo", {"ehlo": ["502 what"]}),
    ("a-long-reply", {"ehlo": ["\r\n".join(["250-x"] * 100) + "\r\n250 PIPELINING"]}),
])
def test_a_message_gets_there_in_the_end_once(world, mark, script):
    world.remote.script = {k: list(v) for k, v in script.items()}
    send_out(world, mark)
    wait_until(f"{mark} at the remote server", lambda: taken(world, mark), 30)
    wait_until("the queue to be empty", lambda: world.rpc("delivery.queue.list", limit=10)["entries"] == [], 30)
    (only,) = taken(world, mark)
    assert only[1].endswith(b"\r\n.dots\r\n..two\r\nend\r\n")


@pytest.mark.parametrize("mark, to, script, status", [
    ("refused", "info@remote.test", {"rcpt": ["550 5.1.1 no such user"]}, "5.1.1"),
    ("refused-at-the-end", "info@remote.test", {"end": ["554 5.7.1 spam"]}, "5.7.1"),
    ("null-mx", "x@nomail.test", {}, "5.1.10"),
    ("no-domain", "x@sub.nomail.test", {}, "5.1.2"),
])
def test_what_cannot_be_delivered_comes_back_as_a_report(world, mark, to, script, status):
    world.remote.script = {k: list(v) for k, v in script.items()}
    before, bounced, listener = len(inbox(world, ALICE)), [], world.new_nats()
    listener.subscribe("postbus.mail.bounced.*", lambda subject, _reply, body: bounced.append(json.loads(body)["data"]))
    listener.flush()
    send_out(world, mark, to)
    wait_until("a report in alice's inbox", lambda: len(inbox(world, ALICE)) == before + 1, 30)
    report = email.message_from_bytes(inbox(world, ALICE)[-1])
    wait_until("the event", lambda: bounced)
    assert bounced[0]["rcpt"] == to and report["Message-ID"] == f"<{bounced[0]['dsn']}@mx.alpha.test>"
    assert report.get_content_type() == "multipart/report" and report["Return-Path"] == "<>" and report["Auto-Submitted"] == "auto-replied"
    human, machine, original = report.get_payload()
    assert machine.get_content_type() == "message/delivery-status"
    assert f"Status: {status}" in machine.as_string() and f"Final-Recipient: rfc822; {to}" in machine.as_string()
    assert mark in original.as_string()


def test_one_of_two_recipients_refused(world):
    world.remote.script = {"rcpt": ["550 5.1.1 no", "250 ok"]}
    before = len(inbox(world, ALICE))
    send_out(world, "half", ["no@remote.test", "yes@remote.test"])
    wait_until("the good half", lambda: taken(world, "half"), 30)
    wait_until("the report on the other", lambda: len(inbox(world, ALICE)) == before + 1, 30)
    assert "no@remote.test" in inbox(world, ALICE)[-1].decode() and taken(world, "half")[0][0] == ["yes@remote.test"]


def test_the_queue_can_be_seen_and_worked_on(world):
    world.remote.script = {"greeting": ["421 later"] * 1}
    send_out(world, "waiting")
    wait_until("the retry to get it there", lambda: taken(world, "waiting"), 30)
    world.remote.script = {"rcpt": ["450 4.2.0 later"] * 1000}
    send_out(world, "deleted")
    (entry,) = wait_until("the entry in the queue", lambda: world.rpc("delivery.queue.list", limit=10)["entries"])
    assert entry["from"] == ALICE and entry["rcpts"][0]["address"] == "info@remote.test"
    assert world.rpc("delivery.queue.retry", id=entry["id"]) == {}
    assert world.rpc("delivery.queue.delete", id=entry["id"]) == {}
    assert world.rpc("delivery.queue.delete", id=entry["id"])["error"]["code"] == "not_found"
    world.remote.script = {}
    assert not taken(world, "deleted")


@pytest.mark.parametrize("victim", ["delivery", "smtpd", "mailbox"])
def test_a_kill_in_the_middle_loses_and_doubles_nothing(world, victim):
    acknowledged = []

    def sender(k):
        for i in range(40):
            mark = f"kill-{victim}-{k}-{i}-"
            try:
                mx(world).sendmail("x@load.test", [BOB], text(mark) + b"x\r\n")
                acknowledged.append(mark)
            except (OSError, smtplib.SMTPException):
                time.sleep(0.1)

    threads = [threading.Thread(target=sender, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    world.restart(victim)
    for thread in threads:
        thread.join()
    wait_until("the queue to be empty", lambda: world.rpc("delivery.queue.list", limit=10)["entries"] == [], 150)
    found = [m.decode(errors="replace").split("Subject: ")[1].split("\r\n")[0] for m in inbox(world) if b"Subject: kill-" + victim.encode() in m]
    assert sorted(set(found)) == sorted(found), "a message was delivered twice"
    assert set(acknowledged) <= set(found), "an acknowledged message is lost"
    assert len(acknowledged) > 60
