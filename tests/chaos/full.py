"""The disk of Redis fills up: first with foreign bytes, then with mail. New mail is refused in time, Redis lives, reading and deleting go on, what is deleted makes room, and
everything that was acknowledged is there."""
import imaplib
import os
import pathlib
import subprocess
import time

from faults import Faults
from senders import PASSWORD, TLS, Record, Sender
from sinks import Sink
from verdict import Verdict, tell
from world import DOMAIN, ROOT, World, log, wait_until

DATA = pathlib.Path("/data")  # where the redis image has its volume; here a small file system: docker run --tmpfs /data:size=96m
RESERVE = 12 << 20


def free():
    of = os.statvfs(DATA)
    return of.f_bavail * of.f_frsize


def refusals(record):
    return sum(n for key, n in record.replies.items() if key.startswith("452 4.3.1"))


def make_room(world, address):
    """Deletes all mail of an account by IMAP; answers the seconds that this took, or what was answered instead of OK."""
    began = time.monotonic()
    session = imaplib.IMAP4_SSL("127.0.0.1", world.site.ports["imaps"], ssl_context=TLS, timeout=60)
    session.login(address, PASSWORD)
    count = int(session.select("INBOX")[1][0])
    answers = [session.fetch("1:*", "(UID RFC822.SIZE)")[0], session.fetch(str(count), "(BODY.PEEK[])")[0], session.store("1:*", "+FLAGS.SILENT", "\\Deleted")[0], session.expunge()[0]]
    left = int(session.select("INBOX")[1][0])
    session.logout()
    return count, left, answers, time.monotonic() - began


def run():
    if not os.path.ismount(DATA):
        return tell({"the test itself": [f"{DATA} is not a small file system: docker run --tmpfs {DATA}:size=96m"]})
    for old in DATA.glob("*"):
        subprocess.run(["rm", "-rf", old], check=True)
    sinks = [Sink("slow", "127.0.5.1", delay=(0.0, 0.1)), Sink("quick", "127.0.5.2")]
    world = World(sinks, mailboxes=4, redis_dir=DATA, redis_port=6379)
    watch = subprocess.Popen([ROOT / "deploy/redis/watch"], env={**os.environ, "REDISCLI_AUTH": world.site.redis_password, "POSTBUS_REDIS_MEMORY": "1g", "POSTBUS_REDIS_DISK_RESERVE": str(RESERVE)})
    redis = world.site.processes["redis"]
    try:
        record, problems = Record(), {}
        local = lambda index: lambda number: [world.users[1 + (number + index) % 3]]
        remote = lambda index: lambda number: [f"a{number}@quick.test", f"b{number}@slow.test"]
        senders = [Sender(world.site, record, f"in{i}", local(i), pause=0.02, sizes=(3000, 300000), weights=(6, 4)) for i in range(4)]
        senders += [Sender(world.site, record, f"out{i}", remote(i), login=world.users[0], pause=0.05, sizes=(3000,), weights=(1,)) for i in range(2)]
        faults = Faults(world, record)
        for sender in senders:
            sender.start()
        wait_until("mail to flow", lambda: record.acknowledged > 40, 60)

        log(f"  {free() >> 20} MB free; a foreign file takes all but {RESERVE * 3 // 4 >> 20} MB")
        filler = DATA / "filler"
        with open(filler, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, free() - RESERVE * 3 // 4)
        wait_until("refusals", lambda: refusals(record) >= 10, 30)
        before = record.acknowledged
        time.sleep(3)
        accepted = record.acknowledged - before
        log(f"  {free() >> 20} MB free, {refusals(record)} refusals with 452 4.3.1; accepted in three seconds after that: {accepted}")
        filler.unlink()
        before = record.acknowledged
        wait_until("mail to flow again", lambda: record.acknowledged > before + 20, 30)

        log("  now mail fills it")
        seen = refusals(record)
        wait_until("mail to fill the disk", lambda: refusals(record) >= seen + 10, 180)
        time.sleep(2)
        log(f"  {free() >> 20} MB free, {len(world.bodies())} bodies")
        record.stop = True
        for sender in senders:
            sender.join(90)
        if redis.poll() is not None:
            problems["Redis ended"] = [f"status {redis.returncode}: {world.site.log('redis')[-500:]}"]
        drained = world.wait_empty(60)
        problems.update(Verdict(world, record, faults).judge())
        if not drained:
            problems["left in the queue"] = [f"{world.queue()} entries"]
        bodies = len(world.bodies())
        for address in world.users[1:]:
            count, left, answers, seconds = make_room(world, address)
            log(f"  {address}: {count} messages read and deleted on the full disk in {seconds:.1f} s, {left} left, answers {' '.join(answers)}")
            if left or answers != ["OK"] * 4:
                problems["reading or deleting fails on a full disk"] = [f"{address}: {answers}, {left} of {count} left"]
        wait_until("room", lambda: len(world.bodies()) < bodies // 10, 30)
        again = Record()
        sender = Sender(world.site, again, "again", lambda number: [f"user0@{DOMAIN}"], sizes=(3000,), weights=(1,))
        sender.start()
        try:
            wait_until("mail to flow when there is room", lambda: again.acknowledged >= 20, 60)
        except AssertionError:
            problems["no mail although there is room"] = [f"{free() >> 20} MB free; {again.replies}"]
        again.stop = True
        sender.join(60)
        return tell(problems)
    finally:
        watch.kill()
        world.end()
