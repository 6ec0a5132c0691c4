"""Mail that was removed comes back: messages, folders, and an account as it was at a moment, byte for byte and flag for flag (libcommon/store/undo/mailbox_undo.h)."""
import imaplib
import os
import random
import re
import ssl
import subprocess
import time

import pytest

from postbus_test.ledger import Redis, unowned_of
from postbus_test.site import BIN, ROOT, Site, wait_until

USER, PASSWORD = "ann@alpha.test", "correct horse 1"
MOMENTS = int(os.environ.get("UNDO_MOMENTS", 4))
KEYWORDS = ["$Forwarded", "work", "later"]
TLS = ssl._create_unverified_context()


@pytest.fixture(scope="module")
def site():
    site = Site(settings={"POSTBUS_UNDO": "30d", "POSTBUS_JANITOR_EVERY": "1s", "POSTBUS_JANITOR_PAUSE_MS": "1", "POSTBUS_JANITOR_RECOUNT": "0"}, tap=False)
    site.start("accounts", "mailbox", "imapd", "admin")
    site.store = Redis("127.0.0.1", site.redis_port, "setup", site.redis_password)
    yield site
    assert not unowned_of(site)
    site.store.socket.close()
    site.end()


class Box:
    """An account and an IMAP session of it."""
    number = 0

    def __init__(self, site):
        Box.number += 1
        self.site, self.address = site, f"box{Box.number}@alpha.test"
        self.user = site.add_account(self.address, PASSWORD)
        self.imap = imaplib.IMAP4_SSL("127.0.0.1", site.ports["imaps"], ssl_context=TLS, timeout=30)
        self.imap.login(self.address, PASSWORD)
        self.count = 0

    def do(self, command, *words):
        answer, found = getattr(self.imap, command)(*words)
        assert answer == "OK", (command, words, found)
        return found

    def put(self, folder="INBOX", flags="", size=200):
        self.count += 1
        text = f"From: a@alpha.test\r\nMessage-ID: <{self.count}@{self.address}>\r\nSubject: number {self.count}\r\n\r\n".encode() + (b"line %d\r\n" % self.count) * (1 + size // 10)
        self.do("append", f'"{folder}"', f"({flags})", imaplib.Time2Internaldate(1600000000 + self.count * 1000), text)
        return text

    def folders(self):
        return [re.search(rb'"/" (.*)$', line)[1].strip(b'"').decode() for line in self.do("list") if line]

    def mail(self, folder):
        """uid -> (flags, INTERNALDATE, bytes)"""
        self.do("select", f'"{folder}"', True)
        found = {}
        for part in self.do("uid", "FETCH", "1:*", "(FLAGS INTERNALDATE BODY.PEEK[])"):
            if isinstance(part, tuple):
                head = part[0]
                flags = tuple(sorted(set(re.search(rb"FLAGS \(([^)]*)\)", head)[1].decode().split()) - {"\\Recent"}))
                found[int(re.search(rb"UID (\d+)", head)[1])] = (flags, re.search(rb'INTERNALDATE "([^"]*)"', head)[1], part[1])
        return found

    def all(self, below=""):
        """What there is: folder -> its messages in order; those without any are left out."""
        names = [n for n in self.folders() if (n.startswith(below) if below else not n.startswith("Restored"))]
        found = {name[len(below):]: list(self.mail(name).values()) for name in names}
        return {name: mail for name, mail in found.items() if mail}

    def restore(self, status=200, **what):
        got, answer = self.site.api("POST", f"/api/v1/accounts/{self.address}/restore", what)
        assert got == status, answer
        return answer

    def removed(self):
        status, answer = self.site.api("GET", f"/api/v1/accounts/{self.address}/removed")
        assert status == 200, answer
        return answer

    def expunge(self, folder="INBOX", uids="1:*"):
        self.do("select", f'"{folder}"')
        self.do("uid", "STORE", uids, "+FLAGS.SILENT", "(\\Deleted)")
        self.do("expunge")

    def stat(self):
        return self.site.rpc("mailbox.stat", user=self.user)


@pytest.fixture
def box(site):
    box = Box(site)
    yield box
    box.imap.logout()


def stamp(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def second_after():
    """Answers the present second when it has passed: what was changed until now had happened by its end."""
    now = int(time.time())
    while int(time.time()) == now:
        time.sleep(0.02)
    return now


def test_an_expunged_message_comes_back_where_it_was(box):
    texts = [box.put(flags="\\Flagged work") for _ in range(3)]
    before = box.stat()
    box.expunge(uids="2")
    listed = box.removed()
    assert listed["messages"] == 1 and listed["bytes"] == len(texts[1]) and listed["from"] is None
    assert [(m["folder"], m["uid"], m["size"]) for m in listed["removed"]] == [("INBOX", 2, len(texts[1]))]
    assert box.stat()["messages"] == 2 and box.stat()["bytes"] == before["bytes"] - len(texts[1])
    assert box.restore(messages=[listed["removed"][0]["id"]]) == {"messages": 1, "flags": 0, "present": 0}
    mail = box.mail("INBOX")
    assert sorted(mail) == [1, 3, 4] and mail[4][2] == texts[1]
    assert mail[4][0] == ("\\Deleted", "\\Flagged", "work")  # as it was when it was removed
    assert box.restore(messages=[listed["removed"][0]["id"]])["present"] == 1 and len(box.mail("INBOX")) == 3
    assert box.stat()["messages"] == 3 and box.stat()["bytes"] == before["bytes"]
    box.restore(404, messages=["01JDADM0000000000000000001"])


def test_a_deleted_folder_comes_back_with_its_mail(box):
    box.do("create", "Work/Old")
    texts = [box.put("Work/Old", "later") for _ in range(5)]
    box.do("delete", '"Work/Old"')
    assert [(m["folder"], m["messages"]) for m in box.removed()["removed"]] == [("Work/Old", 5)]
    assert box.stat()["messages"] == 0
    assert box.restore(folder="Work/Old")["messages"] == 5
    assert [(m[0], m[2]) for m in box.mail("Work/Old").values()] == [(("later",), t) for t in texts]
    assert box.restore(folder="Work/Old") == {"messages": 0, "flags": 0, "present": 5}
    box.restore(404, folder="Nothing")
    box.restore(422)
    box.restore(422, at="yesterday")
    box.restore(422, at=stamp(time.time() + 1000))


def test_in_place_flags_and_folders_are_as_they_were_and_later_mail_stays(box):
    box.do("create", "Keep")
    for n in range(4):
        box.put("Keep", KEYWORDS[n % 3])
        box.put("INBOX", "\\Seen" if n % 2 else "")
    then, moment = box.all(), second_after()
    box.expunge("INBOX", "1:2")
    box.do("uid", "STORE", "3:4", "FLAGS.SILENT", "(\\Answered later)")
    box.do("uid", "MOVE", "4", "Trash")
    box.do("delete", "Keep")
    later = box.put("INBOX", "\\Draft")
    answer = box.restore(at=stamp(moment))
    assert answer == {"messages": 7, "flags": 1, "present": 1}, answer
    now = box.all()
    mail = {m[2]: m for m in now["INBOX"]}
    assert mail.pop(later)[0] == ("\\Draft",)
    assert sorted(mail.values()) == sorted(then["INBOX"]) and now["Keep"] == then["Keep"]
    assert len(now["Trash"]) == 1  # nothing is removed
    assert box.restore(at=stamp(moment)) == {"messages": 0, "flags": 0, "present": 8}


def change(box, chance):
    """One random change, as a client makes it."""
    names = [n for n in box.folders() if not n.startswith("Restored")]
    name = chance.choice(names)
    box.do("select", f'"{name}"')
    uids = box.do("uid", "SEARCH", "ALL")[0].split()
    some = b",".join(chance.sample(uids, min(len(uids), chance.randint(1, 4)))).decode() if uids else ""
    what = chance.choice(["append", "append", "append", "append", "store", "store", "store", "expunge", "move", "copy", "delete", "create", "rename", "replace"])
    flags = " ".join(chance.sample(["\\Seen", "\\Answered", "\\Flagged", "\\Draft", *KEYWORDS], chance.randint(0, 3)))
    other = chance.choice(names)
    if what == "append":
        for _ in range(chance.randint(1, 3)):
            box.put(name, flags, chance.choice([10, 3000]))
    elif what == "store" and some:
        box.do("uid", "STORE", some, chance.choice(["FLAGS.SILENT", "+FLAGS.SILENT", "-FLAGS.SILENT"]), f"({flags})")
    elif what == "expunge" and some:
        box.expunge(name, some)
    elif what in ("move", "copy") and some:
        box.do("uid", what.upper(), some, f'"{other}"')
    elif what == "create":
        box.imap.create(f'"{chance.choice(["A", "B", "A/C", "D"])}"')
    elif what == "delete" and name not in ("INBOX", "Trash"):
        box.do("unselect")
        box.imap.delete(f'"{name}"')
    elif what == "rename" and name != "Trash":
        box.do("unselect")
        box.imap.rename(f'"{name}"', f'"{chance.choice(["E", "F", "G/H"])}"')


@pytest.mark.parametrize("seed", [7])
def test_an_account_as_of_any_moment_equals_a_copy_taken_then(box, seed):
    """20 moments: UNDO_MOMENTS=20."""
    chance, copies = random.Random(seed), {}
    for _ in range(MOMENTS):
        for _ in range(25):
            change(box, chance)
        copies[second_after()] = box.all()
    for _ in range(25):
        change(box, chance)
    assert sum(len(mail) for copy in copies.values() for mail in copy.values()) > 5 * MOMENTS, "little to compare"
    for moment, copy in sorted(copies.items(), key=lambda _: chance.random()):
        box.restore(at=stamp(moment), beside=f"Restored {moment}")
        found = box.all(f"Restored {moment}/")
        assert found.keys() == copy.keys(), (seed, moment)
        for name in copy:
            assert found[name] == copy[name], (seed, moment, name)


def test_restoring_counts_to_the_quota_and_what_is_kept_does_not(box):
    text = box.put(size=20000)
    assert box.site.api("PATCH", f"/api/v1/accounts/{box.address}", {"quota_bytes": len(text) + 1000})[0] == 200
    wait_until("the quota", lambda: box.stat()["quota_bytes"] == len(text) + 1000)
    box.expunge()
    (gone,) = box.removed()["removed"]
    box.put(size=20000 - 100)
    box.restore(507, messages=[gone["id"]])
    box.expunge()
    assert box.restore(messages=[gone["id"]])["messages"] == 1


def test_removed_mail_is_given_up_when_its_time_is_over(box):
    box.put()
    box.put("Sent")
    box.expunge()
    box.do("create", "Old")
    box.put("Old")
    box.do("delete", "Old")
    bodies = [m["id"] for m in box.removed()["removed"] if "id" in m]
    assert box.site.store("EXISTS", *(f"b:{{{b}}}" for b in bodies)) == len(bodies) == 1
    moment = second_after()
    assert box.site.api("PUT", f"/api/v1/accounts/{box.address}/undo", {"days": 0})[0] == 204
    wait_until("the journal to be given up", lambda: not box.site.store("EXISTS", f"{{u:{box.user}}}:l", f"{{u:{box.user}}}:k", f"{{u:{box.user}}}:g", f"{{u:{box.user}}}:x"))
    assert box.removed()["messages"] == 0 and box.removed()["bytes"] == 0 and box.removed()["from"]
    wait_until("the body to be released", lambda: not box.site.store("EXISTS", *(f"b:{{{b}}}" for b in bodies)))
    box.restore(409, at=stamp(moment - 3600))
    box.expunge("Sent")
    assert box.removed()["removed"] == []  # this account keeps nothing now
    assert box.site.api("PUT", f"/api/v1/accounts/{box.address}/undo", {})[0] == 204
    box.put()
    box.expunge()
    assert len(box.removed()["removed"]) == 1


def test_what_is_kept_is_bounded(box):
    """The bounds are lowered in the Functions, so that they can be met."""
    functions = (ROOT / "libcommon/store/mailbox.lua").read_text()
    lower = re.sub(r"GIVE_UP = [^\n]*", "GIVE_UP = 3000, 10000, 4", functions)
    assert lower != functions
    box.site.store("FUNCTION", "LOAD", "REPLACE", lower)
    try:
        for _ in range(6):
            box.put(size=4000)
            box.expunge()
        kept = box.removed()
        assert 0 < kept["bytes"] <= 10000 and kept["messages"] == len(kept["removed"]) <= 3 and kept["from"]
        for _ in range(10):
            box.put(size=10)
        box.do("select", "INBOX")
        for _ in range(30):
            box.do("uid", "STORE", "1:*", "+FLAGS.SILENT", "(\\Flagged)")
            box.do("uid", "STORE", "1:*", "-FLAGS.SILENT", "(\\Flagged)")
        assert int(box.site.store("HGET", f"{{u:{box.user}}}:i", "journal_bytes")) <= 3000
        assert box.removed()["messages"] == 0
    finally:
        box.site.store("FUNCTION", "LOAD", "REPLACE", functions)


def test_a_full_store_keeps_nothing_and_gets_its_room_back(box):
    box.put(size=100000)
    blobs = box.site.store("HKEYS", f"{{u:{box.user}}}:b")
    box.do("create", "Old")
    box.put("Old", size=100000)
    box.do("select", "INBOX")
    box.do("uid", "STORE", "1:*", "+FLAGS.SILENT", "(\\Deleted)")
    box.site.store("CONFIG", "SET", "maxmemory", "1")
    try:
        box.do("expunge")
        box.do("delete", "Old")
        wait_until("the room", lambda: not box.site.store("EXISTS", *(b"b:{%s}" % b for b in blobs)) and not box.site.store("HLEN", f"{{u:{box.user}}}:b"))
    finally:
        box.site.store("CONFIG", "SET", "maxmemory", "0")
    assert box.removed()["messages"] == 0
    box.restore(409, at=stamp(time.time() - 3600))


def test_a_deleted_account_leaves_nothing(site):
    box = Box(site)
    for _ in range(3):
        box.put()
    box.do("create", "Old")
    box.put("Old")
    box.do("delete", "Old")
    box.expunge()
    assert site.api("DELETE", f"/api/v1/accounts/{box.address}")[0] in (200, 204)
    wait_until("its keys to be removed", lambda: {k for k in site.store.keys() if k.startswith(f"{{u:{box.user}}}")} <= {f"{{u:{box.user}}}:gone"})


def test_the_command_line(box, tmp_path):
    token = tmp_path / "token"
    token.write_text(box.site.token)

    def postbus(*words, status=0):
        done = subprocess.run([str(BIN / "cli"), *words, "--url", f"http://127.0.0.1:{box.site.ports['api']}", "--token-file", str(token)], capture_output=True, text=True, timeout=60)
        assert done.returncode == status, done
        return done.stdout
    box.put()
    moment = second_after()
    box.expunge()
    listed = postbus("mailbox", "removed", box.address)
    (gone,) = box.removed()["removed"]
    assert f"kept: 1 messages" in listed and gone["id"] in listed and "INBOX" in listed
    assert postbus("mailbox", "restore", box.address, "--message", gone["id"]).startswith("1 messages put back, ")
    assert "1 messages put back into Restored" in postbus("mailbox", "restore", box.address, "--at", stamp(moment))
    assert len(box.mail(f"Restored {stamp(moment)}/INBOX")) == 1
    postbus("mailbox", "restore", box.address, status=64)
    postbus("mailbox", "undo", box.address, "7")
    assert box.site.store("HGET", f"{{u:{box.user}}}:i", "undo") == b"604800"
    postbus("mailbox", "undo", box.address, "site")
    assert box.site.store("HGET", f"{{u:{box.user}}}:i", "undo") is None
