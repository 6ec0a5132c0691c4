"""postbus, the command line, against the real admin API."""
import json
import os
import pty
import subprocess
import time

import pytest

from postbus_test.site import BIN, wait_until


@pytest.fixture(scope="module")
def cli(bare_site):
    bare_site.nats.sock.settimeout(None)
    for verb in ("mailbox.delete", "mailbox.quota", "delivery.queue.hold", "delivery.queue.release", "delivery.queue.priority", "delivery.queue.delete"):
        bare_site.nats.serve(verb, lambda ask: {})
    bare_site.nats.serve("mailbox.stat", lambda ask: {"error": {"code": "not_found", "message": "no such user"}})
    bare_site.nats.serve("verifier.dns.records", lambda ask: {"records": [{"name": ask["domain"], "type": "MX", "ttl": 60, "value": "10 mx.alpha.test."}]})
    bare_site.nats.serve("delivery.queue.retry", lambda ask: {"entries": 7} if "domain" in ask else {})
    bare_site.nats.serve("delivery.queue.list", lambda ask: {"entries": [{"id": "01JDADM0000000000000000001", "from": "a@cli.test", "received": 1, "size": 99, "origin": "mx", "due": 4102444800000, "leased": False, "held": False, "priority": 0, "rcpts": [{"address": "x@far.test", "state": "deferred", "attempts": 2, "host": "mx.far.test", "next": 4102444800000, "last_reply": "no route"}]}], "next": None} if ask.get("which") != "held" else {"entries": [], "next": None})
    bare_site.nats.serve("reporter.sent", lambda ask: {"sent": [], "next": None})
    bare_site.nats.flush()
    bare_site.start("accounts", "admin")

    def run(*words, stdin=None, status=0, env=None):
        done = subprocess.run([BIN / "cli", *words], input=stdin, capture_output=True, text=True, timeout=30,
                              env={**os.environ, "POSTBUS_API": f"http://127.0.0.1:{bare_site.ports['api']}", "POSTBUS_TOKEN_FILE": str(bare_site.secrets / "admin.token"), **(env or {})})
        assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout if status == 0 else done.stderr
    run.site = bare_site
    return run


def test_domains_accounts_aliases(cli):
    assert cli("domain", "add", "cli.test").startswith("cli.test\t")
    assert cli("domain", "list") == "cli.test\n"
    assert "already" in cli("domain", "add", "cli.test", status=1)
    assert cli("account", "add", "ann@cli.test", "--password-stdin", "--quota", "1000", stdin="secret 1\n").startswith("ann@cli.test\t")
    assert json.loads(cli("account", "get", "ann@cli.test", "--json"))["quota_bytes"] == 1000
    assert cli("account", "list", "cli.test").count("\n") == 1
    cli("account", "passwd", "ann@cli.test", "--password-stdin", stdin="secret 2\n")
    assert "user" in cli.site.rpc("accounts.login", login="ann@cli.test", password="secret 2", client_ip="::1", protocol="imap")
    assert json.loads(cli("account", "quota", "ann@cli.test", "0", "--json"))["quota_bytes"] == 0
    assert cli("alias", "add", "info@cli.test", "ann@cli.test", "b@far.test") == "info@cli.test\tann@cli.test b@far.test\n"
    assert cli("alias", "list", "cli.test") == "info@cli.test\tann@cli.test b@far.test\n"
    assert cli("alias", "delete", "info@cli.test") == "info@cli.test was deleted\n"
    assert cli("domain", "dns", "cli.test") == "cli.test.\t60\tIN\tMX\t10 mx.alpha.test.\n"
    assert "in use" in cli("domain", "delete", "cli.test", status=1)
    assert cli("account", "delete", "ann@cli.test") == "ann@cli.test was deleted\n"
    assert cli("domain", "delete", "cli.test", "--force") == "cli.test was deleted\n"


def test_targets_of_an_alias_may_have_commas_between_them(cli):
    cli("domain", "add", "comma.test")
    assert cli("alias", "add", "a@comma.test", "b@far.test,c@far.test", "d@far.test") == "a@comma.test\tb@far.test c@far.test d@far.test\n"
    assert "not an address" in cli("alias", "add", "a@comma.test", "b@far.test;c@far.test", status=1)
    assert "itself" in cli("alias", "add", "a@comma.test", "a@comma.test", status=1)
    assert "nobody here has the address x@comma.test" in cli("alias", "add", "a@comma.test", "x@comma.test", status=1)


def test_an_unknown_domain_is_said_to_be_one(cli):
    for words in (("account", "list", "none.test"), ("alias", "list", "none.test"), ("account", "add", "a@none.test", "--password-stdin")):
        assert "there is no such domain: postbus domain add none.test" in cli(*words, stdin="long enough\n", status=1)
    assert "at least 6 characters" in cli("account", "add", "a@none.test", "--password-stdin", stdin="x\n", status=1)


def on_a_terminal(cli, *words, answer):
    """(exit status, what was seen)"""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(POSTBUS_API=f"http://127.0.0.1:{cli.site.ports['api']}", POSTBUS_TOKEN_FILE=str(cli.site.secrets / "admin.token"))
        os.execv(str(BIN / "cli"), ["postbus", *words])
    seen = b""
    if answer:
        while b"Type yes" not in seen:
            seen += os.read(terminal, 1000)
        os.write(terminal, answer)
    try:
        while part := os.read(terminal, 1000):
            seen += part
    except OSError:
        pass  # the other end is closed
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen.decode()


def test_what_cannot_be_undone_is_asked_for_on_a_terminal(cli):
    cli("domain", "add", "gone.test")
    for name in ("a", "b", "c"):
        cli("account", "add", f"{name}@gone.test", "--password-stdin", stdin="long enough\n")
    status, seen = on_a_terminal(cli, "account", "delete", "a@gone.test", answer=b"no\n")
    assert status == 1 and "nothing was changed" in seen and cli("account", "get", "a@gone.test")
    assert on_a_terminal(cli, "account", "delete", "a@gone.test", answer=b"yes\n")[0] == 0
    assert on_a_terminal(cli, "account", "delete", "b@gone.test", "--yes", answer=None)[0] == 0
    assert "in use" in on_a_terminal(cli, "domain", "delete", "gone.test", answer=None)[1]
    status, seen = on_a_terminal(cli, "domain", "delete", "gone.test", "--force", answer=b"\n")
    assert status == 1 and "all its accounts" in seen and "gone.test" in cli("domain", "list")
    assert on_a_terminal(cli, "domain", "delete", "gone.test", "--force", answer=b"yes\n")[0] == 0


def test_a_password_file(cli, tmp_path):
    (tmp_path / "password").write_text("from a file\nsecond line\n")
    cli("domain", "add", "file.test")
    cli("account", "add", "f@file.test", "--password-file", str(tmp_path / "password"))
    assert "user" in cli.site.rpc("accounts.login", login="f@file.test", password="from a file", client_ip="::1", protocol="imap")
    assert "cannot read" in cli("account", "add", "g@file.test", "--password-file", "/nonexistent", status=64)
    assert "empty" in cli("account", "add", "g@file.test", "--password-stdin", stdin="\n", status=64)


def test_a_password_asked_for_on_the_terminal(cli):
    cli("domain", "add", "tty.test")
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(POSTBUS_API=f"http://127.0.0.1:{cli.site.ports['api']}", POSTBUS_TOKEN_FILE=str(cli.site.secrets / "admin.token"))
        os.execv(str(BIN / "cli"), ["postbus", "account", "add", "t@tty.test"])
    seen = b""
    for question in (b"Password: ", b"Again: "):
        while question not in seen:
            seen += os.read(terminal, 1000)
        time.sleep(0.05)
        os.write(terminal, b"typed it 1\n")
    assert os.waitpid(pid, 0)[1] == 0
    assert b"typed" not in seen
    assert "user" in cli.site.rpc("accounts.login", login="t@tty.test", password="typed it 1", client_ip="::1", protocol="imap")


def test_queue_health_journey(cli):
    listed = cli("queue", "list", "--domain", "far.test")
    assert "99 bytes" in listed and "since " in listed and "next in " in listed and "<x@far.test>\tdeferred\t2 tries" in listed and "mx.far.test: no route" in listed
    assert "far.test" not in cli("queue", "list", "--held")
    assert "7 messages to far.test" in cli("queue", "retry", "--domain", "far.test")
    for verb, said in (("hold", "is held"), ("release", "no longer held")):
        assert said in cli("queue", verb, "01JDADM0000000000000000001")
    assert "priority" in cli("queue", "priority", "01JDADM0000000000000000001", "5")
    assert "is due now" in cli("queue", "retry", "01JDADM0000000000000000001")
    assert "was deleted" in cli("queue", "delete", "01JDADM0000000000000000001")
    wait_until("health", lambda: "mx.alpha.test: ok" in cli("health"))
    assert "7 days" in cli("journey", "01JDADM0000000000000000002", status=1)
    assert "not a message id" in cli("journey", "x", status=1)


def test_mistakes_are_told_clearly(cli):
    assert "usage: postbus domain add DOMAIN" in cli("domain", "add", status=64)
    assert "no command domain fly" in cli("domain", "fly", status=64)
    assert "no command fly" in cli("fly", status=64)
    assert "#/domain" not in cli("domain", "add", "no good", status=1)
    assert "no answer from" in cli("domain", "list", "--url", "http://127.0.0.1:1", status=69)
    assert "cannot read the admin token" in cli("domain", "list", "--token-file", "/nonexistent", status=64)
    assert "(401)" in cli("domain", "list", "--token-file", "/etc/hostname", status=1)
    assert "usage:" in cli("help") and "usage:" in cli("--help")
