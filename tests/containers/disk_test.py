"""The disk and the memory of Redis are bounded, and their end is told to clients, as the shipped image does it (deploy/redis: start, limits, watch, redis.conf). Run by tests/run-all
in a container of its own with a small file system at /data and a memory limit:

    docker run --rm --init --memory 1g --tmpfs /data:size=128m,mode=1777 -v "$PWD":/src -w /src postbus/toolchain python3 -m pytest tests/containers/disk_test.py"""
import imaplib
import os
import pathlib
import shutil
import smtplib
import ssl
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))
from postbus_test.site import Site, wait_until  # noqa: E402

PASSWORD = "correct horse 1"
TLS = ssl._create_unverified_context()
SIZE = 1024 * 1024
RESERVE = 16 * 1024 * 1024


class ShippedRedis(Site):
    """A site whose Redis is started by what the image starts it with."""

    def start_redis(self):
        self.redis_port = 6379
        image = pathlib.Path("/etc/postbus")
        if not image.exists():
            shutil.copytree(ROOT / "deploy/redis", image)
            (image / "functions").mkdir()
            for lua in (ROOT / "libcommon").rglob("*.lua"):
                shutil.copy(lua, image / "functions")
            os.makedirs("/run/secrets", exist_ok=True)
            os.symlink(self.secrets_root / "redis", "/run/secrets/postbus")
        self._spawn("redis", [image / "start"], {**os.environ, "POSTBUS_REDIS_DISK_RESERVE": "16m"})
        wait_until("the shipped Redis", lambda: "maxmemory" in self.redis("CONFIG", "GET", "maxmemory") and self.maxmemory() > 1, 20)

    def maxmemory(self):
        return int(self.redis("CONFIG", "GET", "maxmemory").split()[1])


@pytest.fixture(scope="module")
def site():
    assert os.statvfs("/data").f_frsize * os.statvfs("/data").f_blocks == 128 * 1024 * 1024, "needs a /data of 128 MB: see above"
    site = ShippedRedis(settings={"POSTBUS_MESSAGE_MAX_BYTES": 4 * SIZE}, tap=False)
    site.start("accounts", "verifier", "mailbox", "delivery", "smtpd", "imapd")
    site.add_account("alice@alpha.test", PASSWORD)
    yield site
    site.end()


def free():
    s = os.statvfs("/data")
    return s.f_frsize * s.f_bavail


class Sender:
    def __init__(self, site):
        self.site, self.sent, self.client = site, [], None

    def send(self):
        """One message of incompressible bytes; None: 250, else the reply."""
        subject = f"m{len(self.sent):05d}-{os.urandom(4).hex()}"
        body = "\r\n".join(os.urandom(36).hex() for _ in range(SIZE // 74))
        try:
            if not self.client:
                self.client = smtplib.SMTP_SSL("127.0.0.1", self.site.ports["submissions"], context=TLS, timeout=30)
                self.client.login("alice@alpha.test", PASSWORD)
            self.client.sendmail("alice@alpha.test", ["alice@alpha.test"], f"From: alice@alpha.test\r\nTo: alice@alpha.test\r\nSubject: {subject}\r\n\r\n{body}\r\n")
        except smtplib.SMTPResponseException as error:
            self.client.close()
            self.client = None
            return error.smtp_code, error.smtp_error.decode()
        except smtplib.SMTPRecipientsRefused as error:
            return error.recipients["alice@alpha.test"]
        self.sent.append(subject)
        return None


def inbox(site, action):
    client = imaplib.IMAP4_SSL("127.0.0.1", site.ports["imaps"], ssl_context=TLS, timeout=30)
    client.login("alice@alpha.test", PASSWORD)
    count = int(client.select("INBOX")[1][0])
    try:
        return action(client, count)
    finally:
        client.logout()


def subjects(site):
    def read(client, count):
        if not count:
            return []
        return [part[1].decode().split(": ", 1)[1].strip() for part in client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1] if isinstance(part, tuple)]
    return inbox(site, read)


def delete_all(site):
    def delete(client, count):
        assert client.store("1:*", "+FLAGS.SILENT", "(\\Deleted)")[0] == "OK"
        assert client.expunge()[0] == "OK"
    inbox(site, delete)


def test_maxmemory_is_a_share_of_the_containers_limit(site):
    files = [pathlib.Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory/memory.limit_in_bytes")]  # cgroup 2, cgroup 1
    limit = int(next(f for f in files if f.exists()).read_text())
    assert limit == 1024 * 1024 * 1024 and site.maxmemory() == limit // 100 * 60


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("settings, limit, expected", [
    ({"POSTBUS_REDIS_MEMORY": "200m"}, "1073741824", 200 * 1048576),
    ({"POSTBUS_REDIS_MEMORY_PERCENT": "25"}, "1073741824", 1073741824 // 100 * 25),
    ({}, "1073741824", 1073741824 // 100 * 60),
    ({}, "max", "machine"),
    ({}, "9223372036854771712", "machine"),
    ({"POSTBUS_REDIS_MEMORY": "lots"}, "max", None), ({"POSTBUS_REDIS_MEMORY": "1m"}, "max", None), ({"POSTBUS_REDIS_MEMORY_PERCENT": "99"}, "max", None),
    ({"POSTBUS_REDIS_DISK_RESERVE": "x"}, "max", None),
])
def test_limits_from_settings_and_the_cgroup(tmp_path, settings, limit, expected, version):
    (tmp_path / "memory").mkdir()
    (tmp_path / ("memory.max" if version == 2 else "memory/memory.limit_in_bytes")).write_text(limit + "\n")
    done = subprocess.run(["bash", "-c", f". {ROOT}/deploy/redis/limits; echo $memory"], capture_output=True, text=True, env={**os.environ, "POSTBUS_REDIS_CGROUP": str(tmp_path), **settings})
    if expected is None:
        assert done.returncode == 78 and "expected" in done.stderr
        return
    if expected == "machine":
        expected = int(pathlib.Path("/proc/meminfo").read_text().split()[1]) * 1024 // 100 * 40
    assert int(done.stdout) == expected


def test_a_full_disk_is_452_and_room_comes_back(site):
    """Nothing that got 250 is lost; Redis goes on; what is deleted makes room, and mail flows again. Twice: the second time the file holds what was deleted."""
    redis = site.processes["redis"].pid
    sender, seen = Sender(site), set()
    for _ in range(2):
        refusal = None
        for _ in range(200):
            if refusal := sender.send():
                break
        assert refusal and refusal[0] == 452 and refusal[1].startswith("4.3.1"), refusal
        assert free() > 4 * 1024 * 1024 and site.maxmemory() == 1
        assert len(sender.sent) > len(seen) + 10
        seen |= set(subjects(site))  # reading goes on
        for _ in range(3):
            assert sender.send()[0] == 452
        delete_all(site)
        wait_until("room on the disk", lambda: site.maxmemory() > 1, 30)

        def accepted():
            return sender.send() is None
        wait_until("mail to flow again", accepted, 20)

        def arrived():
            seen.update(subjects(site))
            return set(sender.sent) <= seen
        wait_until("every message that got 250", arrived, 30)
        delete_all(site)
    assert site.processes["redis"].pid == redis and site.processes["redis"].poll() is None
    assert "Exiting" not in site.log("redis"), site.log("redis")[-2000:]
    assert seen == set(sender.sent)


def test_somebody_else_fills_the_disk(site):
    wait_until("room", lambda: site.maxmemory() > 1, 30)
    other, sender = pathlib.Path("/data/other"), Sender(site)
    with other.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free() - RESERVE // 2)
    try:
        wait_until("growth to be refused", lambda: site.maxmemory() == 1, 5)
        assert sender.send()[0] == 452
        assert isinstance(subjects(site), list)
    finally:
        other.unlink()
    wait_until("growth to be allowed", lambda: site.maxmemory() > 1, 5)
    assert sender.send() is None
    assert site.processes["redis"].poll() is None


def test_the_watch_comes_back_when_it_is_killed(site):
    subprocess.run(["pkill", "-KILL", "-f", "^/bin/bash /etc/postbus/watch"], check=True)
    time.sleep(1.5)
    other = pathlib.Path("/data/other")
    with other.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free() - RESERVE // 2)
    try:
        wait_until("growth to be refused", lambda: site.maxmemory() == 1, 5)
    finally:
        other.unlink()
    wait_until("growth to be allowed", lambda: site.maxmemory() > 1, 5)


def test_redis_starts_on_a_full_store(site):
    """Newer Functions are taken also when the data is at its bound."""
    site.redis("CONFIG", "SET", "maxmemory", "1")
    site.stop("redis")
    site.start_redis()
    assert "blob_release" in site.redis("FUNCTION", "LIST", "LIBRARYNAME", "blob")
    wait_until("the services to be connected again", lambda: Sender(site).send() is None, 20)
