"""POP3: one session at a time has the maildrop (RFC 1939 §4, RFC 2449 §8.1.1), whatever IMAP does; LANG (RFC 6856 §3)."""
import poplib
import ssl

import pytest

from postbus_test.imap_client import ANN, PASSWORD, Client
from postbus_test.site import Site, wait_until

TLS = ssl._create_unverified_context()


@pytest.fixture(scope="module")
def site():
    s = Site("mx.alpha.test")
    s.start("accounts", "mailbox", "imapd", "pop3d")
    s.add_account(ANN, PASSWORD)
    yield s
    s.end()


def connect(site):
    return poplib.POP3_SSL("127.0.0.1", site.ports["pop3s"], context=TLS, timeout=20)


def login(site):
    client = connect(site)
    client.user(ANN)
    client.pass_(PASSWORD)
    return client


def lock(site):
    return f"{{u:{site.users[ANN]}}}:pop3"


def unlocked(site):
    wait_until("the lock to be released", lambda: site.redis("EXISTS", lock(site)).strip() == "0")


def test_a_second_session_is_refused_and_may_try_again(site):
    first, second = login(site), connect(site)
    for _ in range(2):
        second.user(ANN)
        with pytest.raises(poplib.error_proto, match=r"\[IN-USE\]"):
            second.pass_(PASSWORD)
    first.quit()
    unlocked(site)
    second.user(ANN)
    assert second.pass_(PASSWORD).startswith(b"+OK")
    second.quit()
    unlocked(site)


def test_a_wrong_password_does_not_tell_of_the_lock(site):
    first, second = login(site), connect(site)
    second.user(ANN)
    with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
        second.pass_("wrong")
    first.quit()
    second.close()
    unlocked(site)


def test_a_connection_that_breaks_releases_the_lock(site):
    login(site).close()
    unlocked(site)
    login(site).quit()
    unlocked(site)


def test_imap_goes_on_beside_it(site):
    pop, imap = login(site), Client(site, "INBOX")
    uid = imap.append(b"Subject: x\r\n\r\nx\r\n")
    assert imap.untagged(f"UID STORE {uid} +FLAGS (\\Seen)")
    assert pop.stat()[0] == 0  # as it was at the login
    pop.quit()
    unlocked(site)
    again = login(site)
    assert again.stat()[0] == 1
    again.dele(1)
    again.quit()
    assert b"EXPUNGE" in imap.untagged("NOOP")
    imap.close()
    unlocked(site)


def test_a_session_whose_lock_was_lost_deletes_nothing(site):
    imap = Client(site, "INBOX")
    imap.append(b"Subject: x\r\n\r\nx\r\n")
    pop = login(site)
    pop.dele(1)
    site.redis("SET", lock(site), "another", "PX", "60000")
    # the lock is extended after 20 s, and found to be another's
    with pytest.raises((poplib.error_proto, OSError, EOFError)):
        wait_until("the end of the session", lambda: pop.noop() and False, seconds=40)
    assert b"COUNT 1" in imap.untagged("UID SEARCH RETURN (COUNT) ALL")
    site.redis("DEL", lock(site))
    imap.close()


def test_the_lock_of_a_killed_process_expires(site):
    first = login(site)
    left = int(site.redis("PTTL", lock(site)))
    assert 0 < left <= 60000
    site.kill("pop3d")
    first.close()
    site.start("pop3d")
    client = connect(site)
    client.user(ANN)
    with pytest.raises(poplib.error_proto, match=r"\[IN-USE\]"):
        client.pass_(PASSWORD)
    site.redis("PEXPIRE", lock(site), "1")
    unlocked(site)
    client.user(ANN)
    assert client.pass_(PASSWORD).startswith(b"+OK")
    client.quit()
    unlocked(site)


@pytest.mark.parametrize("command, answer", [("LANG en", b"+OK en "), ("LANG EN", b"+OK en "), ("LANG *", b"+OK en ")])
def test_lang(site, command, answer):
    client = connect(site)
    assert client._shortcmd(command).startswith(answer)
    assert client._longcmd("LANG")[1] == [b"en English"] and b"LANG" in b"\n".join(client._longcmd("CAPA")[1]).split(b"\n")
    client.quit()


@pytest.mark.parametrize("command", ["LANG de", "LANG en de", "LANG mul"])
def test_a_language_that_is_not_spoken(site, command):
    client = connect(site)
    with pytest.raises(poplib.error_proto, match="-ERR en "):
        client._shortcmd(command)
    client.quit()
