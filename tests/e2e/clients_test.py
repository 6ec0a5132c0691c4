"""Real clients: swaks and msmtp send; curl, mbsync, fetchmail and mutt read."""
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time

from conftest import PASSWORD

MARK = str(time.time_ns())


def run(*argv, input=None, expect=0, seconds=60):
    done = subprocess.run([str(a) for a in argv], input=input, capture_output=True, timeout=seconds)
    text = (done.stdout + done.stderr).decode(errors="replace")
    assert expect is None or done.returncode == expect, f"{argv[0]} ended with {done.returncode}:\n{text}"
    return text


def in_a_terminal(argv, env, seconds=60):
    """Runs a full-screen program in a terminal of 24 by 80 and answers what it wrote."""
    pid, fd = pty.fork()
    if pid == 0:
        time.sleep(0.3)  # until the window has its size
        os.execvpe(argv[0], argv, env)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    screen, end = b"", time.monotonic() + seconds
    while time.monotonic() < end:
        if not select.select([fd], [], [], 0.5)[0]:
            continue
        try:
            piece = os.read(fd, 65536)
        except OSError:
            piece = b""
        if not piece:
            break
        screen += piece
    else:
        os.kill(pid, 9)
    os.waitpid(pid, 0)
    return screen.decode(errors="replace")


def test_swaks_submits_on_587_with_starttls(alpha, beta):
    run("swaks", "--server", alpha.smtp, "--port", 587, "--tls", "--auth", "PLAIN", "--auth-user", alpha.person, "--auth-password", PASSWORD, "--from", alpha.person, "--to", beta.person,
        "--header", f"Subject: swaks587 {MARK}", "--helo", "client.local")
    beta.wait_for_subject(f"swaks587 {MARK}")


def test_swaks_submits_on_465_with_auth_login(alpha, beta):
    run("swaks", "--server", alpha.smtp, "--port", 465, "--tls-on-connect", "--auth", "LOGIN", "--auth-user", alpha.person, "--auth-password", PASSWORD, "--from", alpha.person, "--to", beta.person,
        "--header", f"Subject: swaks465 {MARK}", "--helo", "client.local")
    beta.wait_for_subject(f"swaks465 {MARK}")


def test_msmtp_submits(alpha, beta, home):
    (home / ".msmtprc").write_text(f"defaults\ntls on\ntls_certcheck off\nauth on\naccount default\nhost {alpha.smtp}\nport 587\nfrom {alpha.person}\nuser {alpha.person}\npassword {PASSWORD}\n")
    (home / ".msmtprc").chmod(0o600)
    run("msmtp", beta.person, input=f"From: {alpha.person}\nTo: {beta.person}\nSubject: msmtp {MARK}\n\nsent by msmtp\n".encode())
    beta.wait_for_subject(f"msmtp {MARK}")


def test_the_other_way_too(alpha, beta):
    run("swaks", "--server", beta.smtp, "--port", 587, "--tls", "--auth-user", beta.person, "--auth-password", PASSWORD, "--from", beta.person, "--to", alpha.person,
        "--header", f"Subject: back {MARK}", "--helo", "client.local")
    alpha.wait_for_subject(f"back {MARK}")


def test_curl_reads_by_imaps_and_pop3s(beta):
    login = f"{beta.person}:{PASSWORD}"
    assert "INBOX" in run("curl", "-sk", "--user", login, f"imaps://{beta.imap}/")
    assert f"swaks587 {MARK}" in run("curl", "-sk", "--user", login, f"imaps://{beta.imap}/INBOX;MAILINDEX=*;SECTION=HEADER.FIELDS%20(SUBJECT)") or \
        "Subject:" in run("curl", "-sk", "--user", login, f"imaps://{beta.imap}/INBOX;MAILINDEX=1")
    listing = run("curl", "-sk", "--user", login, f"pop3s://{beta.pop3}/")
    last = listing.split()[-2]
    assert "Received:" in run("curl", "-sk", "--user", login, f"pop3s://{beta.pop3}/{last}")


def test_mbsync_mirrors_the_inbox(beta, home):
    (home / ".mbsyncrc").write_text(f'IMAPAccount beta\nHost {beta.imap}\nPort 993\nUser {beta.person}\nPass "{PASSWORD}"\nTLSType IMAPS\nCertificateFile {home}/ca.pem\n\nIMAPStore remote\nAccount beta\n\n'
                                    f"MaildirStore local\nPath {home}/mail/\nInbox {home}/mail/INBOX\nSubFolders Verbatim\n\nChannel all\nFar :remote:\nNear :local:\nPatterns *\nCreate Near\nSyncState *\n")
    chain = run("openssl", "s_client", "-connect", f"{beta.imap}:993", "-showcerts", input=b"")
    (home / "ca.pem").write_text("".join(part + "-----END CERTIFICATE-----\n" for part in chain.split("-----END CERTIFICATE-----\n")[:-1] for part in ["-----BEGIN CERTIFICATE-----" + part.split("-----BEGIN CERTIFICATE-----")[1]]))
    (home / "mail").mkdir()
    text = run("mbsync", "-a", expect=None)
    if "certificate" in text.lower() and "host" in text.lower():  # the demo's certificate is for mx.beta.test; the client speaks to an address
        with open("/etc/hosts", "a") as hosts:
            hosts.write(f"{beta.imap} imap.beta.test\n")
        config = (home / ".mbsyncrc").read_text().replace(f"Host {beta.imap}", "Host imap.beta.test")
        (home / ".mbsyncrc").write_text(config)
        text = run("mbsync", "-a")
    stored = [f for folder in ("new", "cur") for f in (home / "mail/INBOX" / folder).iterdir()]
    assert len(stored) == len(beta.subjects()), text
    run("mbsync", "-a")  # a second run finds nothing to do


def test_fetchmail_fetches_by_pop3s(beta, home):
    (home / "mail").mkdir()
    (home / ".fetchmailrc").write_text(f'poll {beta.pop3} protocol POP3 port 995 user "{beta.person}" password "{PASSWORD}" ssl no sslcertck keep fetchall mda "cat >> {home}/mail/got"\n')
    (home / ".fetchmailrc").chmod(0o600)
    run("fetchmail", "-v", "--pidfile", home / "pid")
    assert (home / "mail/got").read_text(errors="replace").count("Return-Path:") == len(beta.subjects())


def test_mutt_reads(beta, home):
    copied = home / "copied"
    copied.touch()  # an existing mailbox file needs no question
    (home / ".muttrc").write_text(f'set imap_user="{beta.person}"\nset imap_pass="{PASSWORD}"\nset folder="imaps://{beta.imap}/"\nset spoolfile="imaps://{beta.imap}/INBOX"\nset ssl_verify_host=no\n'
                                  f'set ssl_verify_dates=no\nset certificate_file="{home}/certs"\nset wait_key=no\nset quit=yes\nset confirmappend=no\nset mbox_type=mbox\n'
                                  f"push '<tag-pattern>~A<enter><tag-prefix><copy-message><kill-line>{copied}<enter><quit>'\n")
    chain = run("openssl", "s_client", "-connect", f"{beta.imap}:993", "-showcerts", input=b"")
    (home / "certs").write_text("".join("-----BEGIN CERTIFICATE-----" + part.split("-----BEGIN CERTIFICATE-----")[1] + "-----END CERTIFICATE-----\n" for part in chain.split("-----END CERTIFICATE-----\n")[:-1]))
    screen = in_a_terminal(["mutt"], {"HOME": str(home), "TERM": "xterm", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"})
    text = copied.read_text(errors="replace")
    assert text.count("\nReturn-Path:") == len(beta.subjects()), screen[-2000:]
