"""Each refusal has the right code and enhanced code, and nothing is stored."""
import smtplib
import ssl

import pytest

from conftest import PASSWORD

TLS = ssl._create_unverified_context()


@pytest.fixture(autouse=True)
def nothing_is_stored(alpha, beta):
    before = alpha.state(), beta.state()
    yield
    assert (alpha.state(), beta.state()) == before, "something was stored although it was refused"


def connect(host, port=25):
    client = smtplib.SMTP(host.smtp, port, local_hostname="client.local", timeout=30)
    client.ehlo()
    return client


def submission(host):
    client = connect(host, 587)
    client.starttls(context=TLS)
    client.ehlo()
    return client


def test_a_wrong_password(alpha):
    client = submission(alpha)
    with pytest.raises(smtplib.SMTPAuthenticationError) as refusal:
        client.login(alpha.person, "wrong")
    assert refusal.value.smtp_code == 535 and refusal.value.smtp_error.startswith(b"5.7.8")


def test_a_login_before_tls(alpha):
    client = connect(alpha, 587)
    assert not client.has_extn("auth")
    code, text = client.docmd("AUTH", "PLAIN AGFsaWNlAHg=")
    assert code == 538 and text.startswith(b"5.7.11")


def test_submission_without_a_login(alpha):
    code, text = submission(alpha).docmd("MAIL", "FROM:<alice@alpha.test>")
    assert code == 530 and text.startswith(b"5.7.0")


def test_an_unknown_recipient(beta):
    client = connect(beta)
    client.docmd("MAIL", "FROM:<x@alpha.test>")
    code, text = client.docmd("RCPT", "TO:<nobody@beta.test>")
    assert code == 550 and text.startswith(b"5.1.1")


def test_a_relay_attempt(beta):
    client = connect(beta)
    client.docmd("MAIL", "FROM:<x@somewhere.test>")
    code, text = client.docmd("RCPT", "TO:<y@elsewhere.test>")
    assert code == 554 and text.startswith(b"5.7.1")


def test_a_sender_that_is_not_ones_own(alpha):
    client = submission(alpha)
    client.login(alpha.person, PASSWORD)
    code, text = client.docmd("MAIL", "FROM:<ceo@alpha.test>")
    assert code == 553 and text.startswith(b"5.7.1")


def test_a_message_over_the_size_limit(beta):
    client = connect(beta)
    limit = int(client.esmtp_features["size"])
    code, text = client.docmd("MAIL", f"FROM:<x@alpha.test> SIZE={limit + 1}")
    assert code == 552 and text.startswith(b"5.3.4")


def test_a_malformed_command(beta):
    client = connect(beta)
    code, text = client.docmd("MAIL", "TO:<x>")
    assert code == 501 and text.startswith(b"5.1.7")
    code, text = client.docmd("BLAH")
    assert code == 500 and text.startswith(b"5.5.2")


def test_a_forged_sender_whose_domain_asks_to_reject(beta):
    client = connect(beta)
    client.docmd("MAIL", "FROM:<alice@alpha.test>")
    client.docmd("RCPT", f"TO:<{beta.person}>")
    code, text = client.data(b"From: alice@alpha.test\r\nTo: bob@beta.test\r\nSubject: forged\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <f@x>\r\n\r\nsend money\r\n")
    assert code == 550 and text.startswith(b"5.7.1")


def test_a_bare_line_feed(beta):
    client = connect(beta)
    client.docmd("MAIL", "FROM:<x@alpha.test>")
    client.docmd("RCPT", f"TO:<{beta.person}>")
    client.docmd("DATA")
    client.send(b"Subject: smuggled\r\n\r\nfirst\n.\nMAIL FROM:<x@alpha.test>\r\n.\r\n")
    code, text = client.getreply()
    assert code == 550 and text.startswith(b"5.6.11")
