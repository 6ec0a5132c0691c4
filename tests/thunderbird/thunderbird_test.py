"""Thunderbird itself against imapd (`make thunderbird`; not a part of `make test`, because its package is large). Seen with it before: mail that came while earlier mail was being fetched
stayed invisible until the next poll, up to ten minutes, because Thunderbird looks only at what IDLE tells it."""
import base64
import imaplib
import re
import ssl
import time

import pytest

from marionette import Thunderbird
from postbus_test.site import Site, wait_until

PASSWORD = "correct horse 1"
ADDRESS = "ann@alpha.test"
TLS = ssl._create_unverified_context()
SECONDS = 60  # a poll of Thunderbird comes after 600


@pytest.fixture(scope="module")
def site():
    s = Site("mx.alpha.test")
    s.start("accounts", "mailbox", "imapd")
    s.add_account(ADDRESS, PASSWORD)
    yield s
    s.end()


def session(site):
    s = imaplib.IMAP4_SSL("127.0.0.1", site.ports["imaps"], ssl_context=TLS)
    s.login(ADDRESS, PASSWORD)
    s.select("INBOX")
    return s


def add(s, subject, body=b"x\r\n"):
    assert s.append("INBOX", None, None, b"From: bob@beta.test\r\nTo: ann@alpha.test\r\nDate: Mon, 23 Nov 2026 09:00:00 +0000\r\nMessage-ID: <%s@x.test>\r\nSubject: %s\r\n\r\n" % (subject.encode(), subject.encode()) + body)[0] == "OK"


@pytest.fixture(scope="module")
def thunderbird(site):
    """With the account set up, as its user would, and INBOX open."""
    t = Thunderbird()
    ca = (site.secrets_root / "ca/ca.crt").read_text()
    der = base64.b64encode(ssl.PEM_cert_to_DER_cert(re.search("-----BEGIN.*?END CERTIFICATE-----", ca, re.S).group())).decode()
    with session(site) as s:
        add(s, "first")
    t.run("""
        const [ca, address, password, port] = arguments;
        Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).addCertFromBase64(ca, "C,C,C");
        const server = MailServices.accounts.createIncomingServer(address, "localhost", "imap");
        server.port = port;
        server.socketType = Ci.nsMsgSocketType.SSL;
        server.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
        server.password = password;
        const identity = MailServices.accounts.createIdentity();
        identity.email = address;
        const account = MailServices.accounts.createAccount();
        account.addIdentity(identity);
        account.incomingServer = server;
        server.performExpand(null);
    """, der, ADDRESS, PASSWORD, site.ports["imaps"])
    wait_until("Thunderbird to know INBOX", lambda: t.run(INBOX + "return !!inbox;"), 120)
    t.run(INBOX + "inbox.updateFolder(null);")
    wait_until("Thunderbird to show the first message", lambda: "first" in shown(t), 120)
    yield t
    t.end()


INBOX = "const inbox = MailServices.accounts.allServers.find(s => s.type == 'imap')?.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox);\n"


def shown(t):
    """{subject: read} of what Thunderbird shows."""
    return dict(t.run(INBOX + "return [...inbox.messages].map(m => [m.mime2DecodedSubject, m.isRead]);"))


def test_mail_that_comes_while_earlier_mail_is_fetched_is_seen_at_once(site, thunderbird):
    """Bursts of mail: each further message comes while Thunderbird reads what came before."""
    wanted = {"first"}
    with session(site) as s:
        for burst in range(5):
            for n in range(8):
                add(s, f"burst {burst}.{n}", b"x" * 70 * (n * 200) + b"\r\n")
                wanted.add(f"burst {burst}.{n}")
                time.sleep(0.02 * burst)  # not all at the same distance from the one before
            wait_until(f"Thunderbird to show burst {burst}", lambda: wanted <= set(shown(thunderbird)), SECONDS)


def test_what_another_client_flags_and_removes_is_seen_at_once(site, thunderbird):
    with session(site) as s:
        add(s, "flagged elsewhere")
        add(s, "removed elsewhere")
        wait_until("Thunderbird to show both", lambda: {"flagged elsewhere", "removed elsewhere"} <= set(shown(thunderbird)), SECONDS)
        uid = lambda subject: s.uid("SEARCH", "SUBJECT", f'"{subject}"')[1][0].split()[-1]
        s.uid("STORE", uid("flagged elsewhere"), "+FLAGS", r"(\Seen)")
        s.uid("STORE", uid("removed elsewhere"), "+FLAGS", r"(\Deleted)")
        s.expunge()
    wait_until("Thunderbird to show it as read, and the other not", lambda: shown(thunderbird).get("flagged elsewhere") and "removed elsewhere" not in shown(thunderbird), SECONDS)


def test_what_its_user_does_is_on_the_server(site, thunderbird):
    thunderbird.run(INBOX + "inbox.markMessagesRead([[...inbox.messages].find(m => m.mime2DecodedSubject == 'burst 0.0')], true);")
    with session(site) as s:
        wait_until("the message to be read", lambda: s.noop() and s.uid("SEARCH", "SEEN", "SUBJECT", '"burst 0.0"')[1][0], SECONDS)
