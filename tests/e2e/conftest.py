"""The demo's two sites, seen from a container with real mail clients. Run by `make test` after `make demo`."""
import json
import os
import pathlib
import ssl
import imaplib
import time
import urllib.error
import urllib.request

import pytest

NET = os.environ["DEMO_NET"]
PASSWORD = "correct horse battery staple"


class Host:
    """One site: addresses of its services on the small internet."""

    def __init__(self, name, digit, token):
        self.name, self.token = name, token.strip()
        self.smtp, self.imap, self.pop3, self.api_host = (f"{NET}.{digit}{n}" for n in (1, 5, 6, 7))
        self.person = ("alice" if name == "alpha.test" else "bob") + "@" + name

    def api(self, method, path, body=None):
        request = urllib.request.Request(f"http://{self.api_host}:8080/api/v1{path}", None if body is None else json.dumps(body).encode(), method=method,
                                         headers={"Authorization": "Bearer " + self.token, "Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else {}
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    def inbox(self):
        session = imaplib.IMAP4_SSL(self.imap, 993, ssl_context=ssl._create_unverified_context())
        session.login(self.person, PASSWORD)
        session.select("INBOX", readonly=True)
        return session

    def subjects(self):
        session = self.inbox()
        ok, answer = session.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        session.logout()
        return [part[1].decode(errors="replace").strip() for part in answer if isinstance(part, tuple)]

    def wait_for_subject(self, subject, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if any(subject in line for line in self.subjects()):
                return True
            time.sleep(0.3)
        raise AssertionError(f"{self.person} has no message with the subject {subject!r} after {seconds} s; there are: {self.subjects()[-10:]}")

    def state(self):
        """What must not change when something is refused: messages in the inbox, entries of the queue."""
        session = self.inbox()
        count = session.status("INBOX", "(MESSAGES)")[1][0]
        session.logout()
        return count, self.api("GET", "/queue")[1]


@pytest.fixture(scope="session")
def alpha():
    return Host("alpha.test", 1, os.environ["ALPHA_TOKEN"])


@pytest.fixture(scope="session")
def beta():
    return Host("beta.test", 2, os.environ["BETA_TOKEN"])


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A fresh home directory for a client's configuration."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return pathlib.Path(tmp_path)
