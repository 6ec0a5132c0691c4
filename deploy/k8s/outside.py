#!/usr/bin/env python3
"""outside.py send|read|zone|web MARK: a person outside the cluster, at its node ports."""
import imaplib
import json
import os
import poplib
import smtplib
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request

NODE, API, TOKEN = os.environ["NODE"], os.environ["API"], os.environ["TOKEN"]
TLS = ssl._create_unverified_context()
PASSWORD = "correct horse battery staple"


def api(path, body):
    request = urllib.request.Request(f"{API}/api/v1{path}", json.dumps(body).encode(), method="POST", headers={"Authorization": "Bearer " + TOKEN, "Content-Type": "application/json"})


    def ask():
        try:
            urllib.request.urlopen(request, timeout=30).read()
        except urllib.error.HTTPError as error:
            if error.code != 409:  # it is there already
                sys.exit(f"{path}: {error.code} {error.read().decode()}")
    retry("the API", ask)  # its port is forwarded in a moment


def retry(what, action, seconds=60):
    """A pod's restart may be felt for a moment; what was promised must not be."""
    end = time.monotonic() + seconds
    while True:
        try:
            return action()
        except (OSError, imaplib.IMAP4.error, poplib.error_proto, smtplib.SMTPException, AssertionError) as error:
            if time.monotonic() > end:
                sys.exit(f"{what}: {error}")
            time.sleep(0.5)


def message(mark):
    return f"From: alice@k8s.test\r\nTo: bob@k8s.test\r\nSubject: {mark}\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{mark}@k8s.test>\r\n\r\nthe {mark} message\r\n".encode()


def send(mark):
    api("/domains", {"domain": "k8s.test"})
    for person in ("alice", "bob"):
        api("/accounts", {"address": f"{person}@k8s.test", "password": PASSWORD})

    def submit():
        client = smtplib.SMTP(NODE, 30587, timeout=30)
        client.starttls(context=TLS)
        client.login("alice@k8s.test", PASSWORD)
        client.sendmail("alice@k8s.test", ["bob@k8s.test"], message(mark))
        client.quit()
    retry("submission", submit)
    print(f"   sent {mark}")


def read(mark):
    def by_imap():
        session = imaplib.IMAP4_SSL(NODE, 30993, ssl_context=TLS, timeout=30)
        session.login("bob@k8s.test", PASSWORD)
        session.select("INBOX", readonly=True)
        found = session.search(None, "SUBJECT", mark)[1][0].split()
        assert len(found) == 1, f"{len(found)} messages with the subject {mark} by IMAP"
        body = session.fetch(found[0], "(BODY.PEEK[])")[1][0][1]
        assert body.endswith(message(mark)), "other bytes by IMAP"
        session.logout()
        return body

    def by_pop3():
        pop = poplib.POP3_SSL(NODE, 30995, context=TLS, timeout=30)
        pop.user("bob@k8s.test")
        pop.pass_(PASSWORD)
        bodies = [b"\r\n".join(pop.retr(i + 1)[1]) + b"\r\n" for i in range(pop.stat()[0])]
        pop.quit()
        return bodies
    body = retry("IMAP", by_imap)
    assert body in retry("POP3", by_pop3), "POP3 gives other bytes"
    print(f"   read {mark} by IMAP and POP3, byte for byte, once")


def ask_dns(*words):
    answer = subprocess.run(["kdig", f"@{NODE}", "-p", "30053", "+short", "+timeout=2", "+retry=0", *words], capture_output=True, text=True).stdout
    assert answer.strip() and "WARNING" not in answer, f"the zone does not answer {' '.join(words)}: {answer}"
    return answer


def zone(mark):
    """The domain's zone, as the world asks for it: published, signed, over UDP and TCP."""
    for over in ("+notcp", "+tcp"):
        mx = retry("DNS", lambda: ask_dns(over, "k8s.test", "MX"))
        assert mx.split()[0] == "10", mx
        assert "v=DMARC1" in retry("DNS", lambda: ask_dns(over, "_dmarc.k8s.test", "TXT"))
    assert retry("DNSSEC", lambda: ask_dns("+tcp", "k8s.test", "DNSKEY"))
    print("   the zone of k8s.test is published and signed, over UDP and TCP")


def web(mark):
    """What the world may read over HTTP: autoconfig, and nothing of the API."""
    found = retry("autoconfig", lambda: urllib.request.urlopen(f"http://{NODE}:30080/mail/config-v1.1.xml?emailaddress=bob@k8s.test", timeout=10).read())
    assert b"<port>993</port>" in found
    try:
        urllib.request.urlopen(f"http://{NODE}:30080/api/v1/health", timeout=10)
        sys.exit("the API is open to the world")
    except urllib.error.HTTPError as error:
        assert error.code == 404
    print("   autoconfig is public, the API is not")


if __name__ == "__main__":
    {"send": send, "read": read, "zone": zone, "web": web}[sys.argv[1]](sys.argv[2])
