#!/usr/bin/env python3
"""The demo's people: makes the domains and accounts through the REST API, sends one real message from alice to bob, and prints its ten steps as both systems recorded them.

What is printed of the steps is read from the two journeys (GET /api/v1/messages/{id}/journey); this script knows only who sends what to whom.
"""
import base64
import email.utils
import imaplib
import json
import os
import poplib
import re
import smtplib
import socket
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request

NET = os.environ["DEMO_NET"]
PASSWORD = "correct horse battery staple"
SITES = {
    "alpha.test": {"ip": {"smtp": f"{NET}.11", "imap": f"{NET}.15", "pop3": f"{NET}.16", "api": f"{NET}.17"}, "token": os.environ["ALPHA_TOKEN"].strip(), "loopback": os.environ["DEMO_LOOPBACK"] + "1"},
    "beta.test": {"ip": {"smtp": f"{NET}.21", "imap": f"{NET}.25", "pop3": f"{NET}.26", "api": f"{NET}.27"}, "token": os.environ["BETA_TOKEN"].strip(), "loopback": os.environ["DEMO_LOOPBACK"] + "2"},
}
TLS = ssl._create_unverified_context()  # the sites' certificates are of their own CAs


def say(text=""):
    print(text, flush=True)


def api(site, method, path, body=None):
    request = urllib.request.Request(f"http://{SITES[site]['ip']['api']}:8080/api/v1{path}", None if body is None else json.dumps(body).encode(), method=method,
                                     headers={"Authorization": "Bearer " + SITES[site]["token"], "Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else {}
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"{}")


def must(what, status_and_body, allowed=(200, 201, 204, 409)):
    status, body = status_and_body
    if status not in allowed:
        sys.exit(f"{what} failed: {status} {json.dumps(body)}")
    return body


def wait_for(what, check, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = check()
        if found:
            return found
        time.sleep(0.2)
    sys.exit(f"waited {seconds} s in vain for: {what}")


def real_message():
    """MIME with an attachment, 8-bit text, lines of nearly 998 bytes, lines that begin with dots, trailing spaces."""
    attachment = base64.encodebytes(bytes(range(256)) * 40).replace(b"\n", b"\r\n")
    body = "Lieber Bob,\r\n\r\nschöne Grüße aus der Hauptstraße: naïve café, 日本語, emoji 📮.\r\n.\r\n..two dots\r\n.one dot and text\r\n" + "trailing spaces   \r\n\ttab\r\n" + "x" * 990 + "\r\n"
    return ("From: Alice =?utf-8?q?M=C3=BCller?= <alice@alpha.test>\r\nTo: Bob <bob@beta.test>\r\nSubject: =?utf-8?b?" + base64.b64encode("Post für Bob 📮".encode()).decode() + "?=\r\n"
            f"Date: {email.utils.formatdate(localtime=True)}\r\nMessage-ID: <{time.time_ns()}@alpha.test>\r\nMIME-Version: 1.0\r\n"
            'Content-Type: multipart/mixed; boundary="=_a boundary"\r\n\r\nThis is a MIME message.\r\n--=_a boundary\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n').encode() \
        + body.encode() + b'--=_a boundary\r\nContent-Type: application/octet-stream; name="all bytes.bin"\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename="all bytes.bin"\r\n\r\n' \
        + attachment + b"--=_a boundary--\r\n"


class Waiting(threading.Thread):
    """Bob's mail client: IMAP IDLE on 993, told of new mail."""

    def __init__(self):
        super().__init__(daemon=True)
        self.session = imaplib.IMAP4_SSL(SITES["beta.test"]["ip"]["imap"], 993, ssl_context=TLS)
        self.session.login("bob@beta.test", PASSWORD)
        self.session.select("INBOX")
        self.session.send(b"w1 IDLE\r\n")
        while not self.session.readline().startswith(b"+"):
            pass
        self.seen = threading.Event()
        self.number = self.at = None

    def run(self):
        while True:
            line = self.session.readline()
            if not line:
                return
            told = re.match(rb"\* (\d+) EXISTS", line)
            if told:
                self.number, self.at = int(told.group(1)), time.time()
                self.seen.set()
                return

    def fetch(self):
        self.session.send(b"DONE\r\n")
        while not self.session.readline().startswith(b"w1 "):
            pass
        ok, answer = self.session.fetch(str(self.number), "(BODY[])")
        return answer[0][1]


def main():
    for site, person in (("alpha.test", "alice"), ("beta.test", "bob")):
        must(f"making {site}", api(site, "POST", "/domains", {"domain": site}))
        must(f"making {person}", api(site, "POST", "/accounts", {"address": f"{person}@{site}", "password": PASSWORD}))
    say("== waiting until both zones are signed and delegated (DNSSEC chain from test. down)")
    wait_for("the zones of alpha.test and beta.test in the small internet's DNS", lambda: all(zone_is_ready(s) for s in SITES), 90)

    bob = Waiting()
    bob.start()
    before = inbox_count()
    message = real_message()
    say("== alice@alpha.test sends on 587 with STARTTLS; bob@beta.test waits in IMAP IDLE on 993")
    sent_at = time.time()
    client = smtplib.SMTP(SITES["alpha.test"]["ip"]["smtp"], 587, local_hostname="alices-laptop.local", timeout=60)
    client.starttls(context=TLS)
    client.login("alice@alpha.test", PASSWORD)
    client.ehlo()
    client.mail("alice@alpha.test", ["BODY=8BITMIME"])
    client.rcpt("bob@beta.test")
    code, reply = client.data(message)
    if code != 250:
        sys.exit(f"alpha refused the message: {code} {reply}")
    alpha_id = re.search(rb"[0-9A-HJKMNP-TV-Z]{26}", reply).group().decode()
    client.quit()
    if not bob.seen.wait(60):
        journey = api("alpha.test", "GET", f"/messages/{alpha_id}/journey")[1]
        sys.exit("bob saw nothing within 60 s; what alpha recorded:\n" + json.dumps(journey, indent=1))
    say(f"   bob saw it {bob.at - sent_at:.3f} s after alice began to send")

    by_imap = bob.fetch()
    pop = poplib.POP3_SSL(SITES["beta.test"]["ip"]["pop3"], 995, context=TLS)
    pop.user("bob@beta.test")
    pop.pass_(PASSWORD)
    by_pop3 = b"\r\n".join(pop.retr(before + 1)[1]) + b"\r\n"
    pop.quit()
    same = by_imap.endswith(message) and by_pop3 == by_imap
    say(f"   the {len(message)} bytes that alice sent are what IMAP gives below the trace headers: {'yes, byte for byte' if by_imap.endswith(message) else 'NO'}")
    say(f"   POP3 on 995 gives the same bytes as IMAP on 993: {'yes' if by_pop3 == by_imap else 'NO'}")

    steps = wait_for("both journeys to be whole", lambda: journeys(alpha_id), 20)
    say()
    say("The ten steps of this message, as the two systems recorded them:")
    say()
    for step in steps:
        say(f"  {step['step']:>2}  {step['time'][11:23]}  {step['site']:<10}  {step['what']}")
        for line in step["details"]:
            say(f"{'':31}{line}")
    say()
    missing = sorted(set(range(1, 11)) - {s["step"] for s in steps})
    if missing:
        say(f"steps not recorded: {missing}")
    say("Both sites stay up (make demo-down removes them):")
    for site, person in (("alpha.test", "alice"), ("beta.test", "bob")):
        ip = SITES[site]["loopback"]
        say(f"  {site}: SMTP {ip}:25, submission {ip}:587 (STARTTLS) and {ip}:465 (TLS), IMAP {ip}:993 and :143, POP3 {ip}:995 and :110, REST API http://{ip}:8080/api/v1/, account {person}@{site}, password: {PASSWORD}")
    say("  Thunderbird: New Account, Email; your name and the address above; Continue. It looks for settings in vain: choose ADVANCED CONFIG, which sets the account up to be edited. In")
    say("  Server Settings: IMAP, server name as above, port 993, SSL/TLS, normal password, user name the whole address; in Outgoing Server: the same name, port 465, SSL/TLS, normal password,")
    say("  the whole address. The certificate is of the site's own CA: confirm the security exception twice, once when mail is first fetched (993), once when it is first sent (465).")
    if not same or missing:
        sys.exit(1)


def inbox_count():
    session = imaplib.IMAP4_SSL(SITES["beta.test"]["ip"]["imap"], 993, ssl_context=TLS)
    session.login("bob@beta.test", PASSWORD)
    count = int(session.select("INBOX", readonly=True)[1][0])
    session.logout()
    return count


def zone_is_ready(site):
    """The parent has a DS for it, and its own name server answers with its DKIM keys' zone."""
    import subprocess
    ds = subprocess.run(["kdig", "+short", "+timeout=1", "+retry=0", f"@{NET}.53", site, "DS"], capture_output=True, text=True).stdout
    own = NET + (".13" if site == "alpha.test" else ".23")
    mx = subprocess.run(["kdig", "+short", "+timeout=1", "+retry=0", f"@{own}", site, "MX"], capture_output=True, text=True).stdout
    return bool(ds.strip()) and f"mx.{site}." in mx


def journeys(alpha_id):
    """All steps of both journeys in the order of time, once both are whole: alpha's tells the id under which beta took it."""
    status, alpha = api("alpha.test", "GET", f"/messages/{alpha_id}/journey")
    if status != 200:
        return None
    steps = [dict(step, site="alpha.test") for step in alpha["steps"]]
    text = json.dumps(alpha)
    beta_id = re.search(r"(?:queued|delivered) as ([0-9A-HJKMNP-TV-Z]{26})", text.replace(alpha_id, ""))
    if not beta_id:
        return None
    status, beta = api("beta.test", "GET", f"/messages/{beta_id.group(1)}/journey")
    if status != 200:
        return None
    steps += [dict(step, site="beta.test") for step in beta["steps"]]
    names = {s["step"] for s in steps}
    return sorted(steps, key=lambda s: s["time"]) if {8, 9, 10} <= names else None


if __name__ == "__main__":
    socket.setdefaulttimeout(60)
    main()
