"""Bodies in the cold tier: they move there and stay what they were, to the byte, whatever is killed on the way; deleted ones give their room back; mail outgrows Redis."""
import contextlib
import ctypes
import hashlib
import imaplib
import os
import pathlib
import random
import re
import ssl
import threading
import time

import pytest

from mailbox_test import LISTING, message, new_id
from postbus_test.ledger import Redis, unowned_of
from postbus_test.site import Site, wait_until
from postbus_test.tripwire import Tripwire

SOON = {"POSTBUS_COLD": "directory", "POSTBUS_COLD_AFTER": "0", "POSTBUS_COLD_LARGE_AFTER": "0", "POSTBUS_COLD_EVERY": "1s", "POSTBUS_COLD_SWEEP": "1s", "POSTBUS_COLD_GRACE": "1s",
        "POSTBUS_JANITOR_EVERY": "0"}
TLS = ssl._create_unverified_context()
PASSWORD = "correct horse 1"


def noise(size, seed):
    """A message of about this size, half of it incompressible."""
    generator = random.Random(seed)
    head = b"From: a@alpha.test\r\nTo: bob@alpha.test\r\nSubject: number %d\r\n\r\n" % seed
    body = generator.randbytes(max(0, size - len(head)) // 3).hex().encode()
    return head + b"\r\n".join(body[i:i + 76] for i in range(0, len(body), 76)) + b"\r\n"


class Cold(Site):
    """A site with a bob, whose mail is kept here too: uid -> digest and size."""

    def __init__(self, settings, **more):
        super().__init__(settings=settings, tap=False, **more)
        self.start("accounts", "mailbox", "imapd")
        self.user = self.add_account("bob@alpha.test", PASSWORD)
        self.store = Redis("127.0.0.1", self.redis_port, "setup", self.redis_password)
        self.mail, self.stored, self.attempts = {}, 0, 0

    def put(self, text):
        """Writes a body and delivers it; while the store is full, it does so again, as smtpd's clients do. Answers the uid; self.stored counts what is stored."""
        blob = new_id()
        blocks = [text[i:i + 65536] for i in range(0, len(text), 65536)] or [b""]
        frames = [zstd(b) for b in blocks]
        self.stored += sum(map(len, frames))

        def written():
            self.attempts += 1
            ask = ["FCALL", "blob_write", 1, f"b:{{{blob}}}", len(text), "65536" if len(blocks) > 1 else "", len(blocks), *frames, f"u:{self.user}/bob@alpha.test/a{self.attempts}"]
            try:
                self.store(*ask)
                if len(text) >= 256 * 1024:
                    self.store("ZADD", "{cold}:large", int(time.time() * 1000), blob)
            except RuntimeError as error:
                assert "OOM" in str(error), error
                return None
            return True

        def delivered():
            one = message(blob, (self.user, "bob@alpha.test"), size=len(text), held=True, attempt=f"a{self.attempts}", listing_b64=LISTING)
            answer = self.nats.request("mailbox.deliver", {"messages": [one]}, seconds=3)  # of a service that was killed there is none: it is asked again
            found = answer["messages"][0]["rcpts"][0] if "messages" in answer else answer
            if found.get("result") == "full":  # a definite answer: the body is released, and must be written again
                wait_until("room in Redis", written, 60)
            return found if found.get("result") == "delivered" else None
        wait_until("room in Redis", written, 60)
        uid = wait_until("the delivery", delivered, 60)["uid"]
        self.mail[uid] = (hashlib.sha256(text).digest(), len(text), blob)
        return uid

    def imap(self):
        client = imaplib.IMAP4_SSL("127.0.0.1", self.ports["imaps"], ssl_context=TLS, timeout=30)
        client.login("bob@alpha.test", PASSWORD)
        client.select()
        return client

    def check(self, client, uid):
        """The message is what was put in, below the fields that delivery adds."""
        answer, found = client.uid("FETCH", str(uid), "(BODY.PEEK[])")
        assert answer == "OK" and found[0], (uid, answer, found)
        digest, size, _ = self.mail[uid]
        text = found[0][1]
        assert hashlib.sha256(text[len(text) - size:]).digest() == digest, f"message {uid} is not what was delivered"

    def is_cold(self, uid):
        return self.store("HMGET", f"b:{{{self.mail[uid][2]}}}", "c", "z")[0] is not None

    def files(self):
        return {p: p.stat().st_size for p in pathlib.Path(self.dir, "cold").rglob("*") if p.is_file()}


LIBZSTD = ctypes.CDLL("libzstd.so.1")
LIBZSTD.ZSTD_compress.restype = LIBZSTD.ZSTD_compressBound.restype = ctypes.c_size_t


def zstd(data):
    room = LIBZSTD.ZSTD_compressBound(ctypes.c_size_t(len(data)))
    out = ctypes.create_string_buffer(room)
    size = LIBZSTD.ZSTD_compress(out, ctypes.c_size_t(room), data, ctypes.c_size_t(len(data)), 1)
    return out.raw[:size]


@contextlib.contextmanager
def cold_site(settings=None, **more):
    site = Cold({**SOON, **(settings or {})}, **more)
    try:
        yield site
    finally:
        site.store.socket.close()
    site.end()


SIZES = (300, 5000, 70000, 300000, 1500000)


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("step", ["blob_segment", "blob_moved"])
def test_a_move_that_is_killed_loses_nothing_and_leaves_nothing(step, answered):
    """Before and after each step that Redis sees: the segment is entered, (written,) entered as written, the bodies are committed."""
    with cold_site() as site:
        site.stop("mailbox")
        site.settings["POSTBUS_COLD"] = "off"
        site.start("mailbox")
        uids = [site.put(noise(size, i)) for i, size in enumerate(SIZES * 2)]
        site.stop("mailbox")
        site.settings["POSTBUS_COLD"] = "directory"
        wire = Tripwire(site.redis_port)
        site.extra["mailbox"] = {"POSTBUS_REDIS": f"127.0.0.1:{wire.port}"}
        wire.set(step, lambda: site.processes["mailbox"].kill(), answered)
        site._spawn("mailbox", [str(pathlib.Path(os.environ.get("POSTBUS_BIN", "build/release/bin"), "mailbox").resolve())], site.environment("mailbox"))
        assert wire.tripped.wait(30), f"the mover never came to {step}"
        site.processes.pop("mailbox").wait(10)
        client = site.imap()
        for uid in uids:  # as it was left
            site.check(client, uid)
        del site.extra["mailbox"]
        site.start("mailbox")
        wait_until("all bodies to be cold", lambda: all(site.is_cold(u) for u in uids), 60)
        for uid in uids:
            site.check(client, uid)
        wire.close()
        kept = {site.store("HGET", f"b:{{{site.mail[u][2]}}}", "c").split()[1].decode() for u in uids}
        wait_until("segments without bodies to be removed", lambda: {p.name for p in site.files()} == kept, 60)
        listed = {name.split()[1].decode() for name in site.store("ZRANGE", "{cold}:segments", 0, -1)}
        assert listed == kept, "the list of segments is not what there is"
        assert not unowned_of(site)


def test_deleted_mail_gives_its_room_back():
    with cold_site() as site:
        uids = [site.put(noise(20000, i)) for i in range(60)]
        wait_until("all bodies to be cold", lambda: all(site.is_cold(u) for u in uids), 60)
        full = sum(site.files().values())
        client = site.imap()
        gone, left = uids[:48], uids[48:]
        client.uid("STORE", ",".join(map(str, gone)), "+FLAGS.SILENT", "(\\Deleted)")
        client.expunge()
        wait_until("the room of deleted mail", lambda: sum(site.files().values()) < full / 3, 60)
        for uid in left:
            site.check(client, uid)
        client.uid("STORE", ",".join(map(str, left)), "+FLAGS.SILENT", "(\\Deleted)")
        client.expunge()
        wait_until("every file to be removed", lambda: not site.files(), 60)
        assert site.store("EXISTS", "{cold}:segments") == 0 and not unowned_of(site)


def test_a_missing_segment_is_told_and_nothing_is_forgotten():
    with cold_site() as site:
        uid = site.put(noise(200000, 1))
        wait_until("the body to be cold", lambda: site.is_cold(uid))
        client = site.imap()
        (file,) = site.files()
        file.rename(file.with_suffix(".away"))
        answer, found = client.uid("FETCH", str(uid), "(BODY.PEEK[])")
        assert answer == "NO", (answer, found)
        assert "missing in the cold tier" in site.log("imapd") and site.metric("imapd", "postbus_store_cold_missing_total") >= 1
        wait_until("the mover to tell it too", lambda: site.metric("mailbox", "postbus_mailbox_segments_missing_total") >= 1)
        file.with_suffix(".away").rename(file)
        site.check(client, uid)
        damaged = bytearray(file.read_bytes())
        damaged[-5] ^= 1
        file.write_bytes(damaged)
        answer, found = client.uid("FETCH", str(uid), "(BODY.PEEK[])")
        assert answer == "NO" and "a stored message is damaged" in site.log("imapd"), (answer, found)


def test_a_replica_goes_on_when_the_mover_of_another_is_killed():
    with cold_site() as site:
        uids = [site.put(noise(20000, i)) for i in range(5)]
        wait_until("all bodies to be cold", lambda: all(site.is_cold(u) for u in uids), 60)
        site.start("mailbox@2")
        assert site.metric("mailbox", "postbus_mailbox_mover_leading") == 1 and site.metric("mailbox@2", "postbus_mailbox_mover_leading") == 0
        site.kill("mailbox")
        uids += [site.put(noise(20000, i)) for i in range(5, 10)]
        wait_until("all bodies to be cold", lambda: all(site.is_cold(u) for u in uids), 60)
        assert site.metric("mailbox@2", "postbus_mailbox_mover_leading") == 1
        client = site.imap()
        for uid in uids:
            site.check(client, uid)


def outgrow(memory_mb, times, seconds, kills=True):
    """Mail of `times` Redis's maxmemory, read while it moves and while services are killed. Answers figures."""
    figures, stop, problems = {}, threading.Event(), []
    with cold_site({"POSTBUS_COLD_AFTER": "1h", "POSTBUS_COLD_LARGE_AFTER": "1s", "POSTBUS_COLD_GRACE": "1h", "POSTBUS_COLD_EVERY": "5s"}, redis_settings=["--maxmemory", f"{memory_mb}mb"]) as site:
        began, number = time.monotonic(), 0
        goal = memory_mb * 1048576 * times

        def breaking():
            rounds = 0
            while kills and not stop.wait(4):
                rounds += 1
                site.restart("imapd")
                if rounds % 3 == 0:  # the mover is replaced when its lease is over, and then shall move some
                    site.restart("mailbox")
        killer = threading.Thread(target=breaking)
        killer.start()

        def reading():
            client = None
            while not stop.is_set():
                try:
                    client = client or site.imap()
                    if site.mail:
                        site.check(client, random.choice(list(site.mail)))
                    client.noop()
                except (imaplib.IMAP4.abort, imaplib.IMAP4.error, OSError):
                    client = None  # killed
                    time.sleep(0.1)
                except AssertionError as error:
                    if "is not what was delivered" in str(error):
                        problems.append(str(error))
                    client = None
                time.sleep(0.02)
        reader = threading.Thread(target=reading)
        reader.start()
        try:
            while site.stored < goal:
                number += 1
                size = (4000, 30000, 150000, 1000000, 3000000)[number % 5]
                site.put(noise(size, number))
                assert time.monotonic() - began < seconds, f"{site.stored >> 20} of {goal >> 20} MB after {seconds} s"
        finally:
            stop.set()
            killer.join()
            reader.join()
        assert not problems, problems
        figures["messages"], figures["MB"], figures["seconds"] = number, site.stored >> 20, round(time.monotonic() - began)
        used = int(site.redis("INFO", "memory").split("used_memory:")[1].split()[0])
        assert used <= memory_mb * 1048576
        client = site.imap()
        for uid in site.mail:
            site.check(client, uid)
        site.store.socket.close()
        site.stop("redis")
        site.start_redis()
        figures["redis restart, s"] = float(re.findall(r"DB loaded from append only file: ([0-9.]+) seconds", site.log("redis"))[-1])  # all before it serves
        site.store = Redis("127.0.0.1", site.redis_port, "setup", site.redis_password)
        assert figures["redis restart, s"] <= 5, figures
        site.restart("imapd")
        client = site.imap()
        for uid in random.sample(list(site.mail), min(20, len(site.mail))):
            site.check(client, uid)
        figures["cold files"], figures["cold MB"] = len(site.files()), sum(site.files().values()) >> 20
    return figures


@pytest.mark.skipif("OUTGROW_MB" not in os.environ, reason="takes long: make outgrow")
def test_mail_outgrows_memory():
    print(outgrow(int(os.environ["OUTGROW_MB"]), 10, float(os.environ["OUTGROW_SECONDS"])))
