"""Messages made to cost much, through the live verifier and smtpd: the right word in bounded time, and other messages not delayed."""
import base64
import hashlib
import json
import smtplib
import statistics
import threading
import time

import pytest
from postbus_test.nats import Nats
from postbus_test.peers import DOMAIN, Keys, Ours
from postbus_test.scripted_dns import SERVFAIL, ScriptedDns
from postbus_test.site import Site, wait_until

BODY = b"hello\r\n"
HASH = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
FROM = f"From: a@{DOMAIN}\r\nSubject: hello\r\n"
LINE = f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=%s; s=%s; h=from; bh={HASH}; b=AAAA\r\n"
BOB = "bob@alpha.test"


def quoted(text):
    return " ".join(f'"{text[i:i + 250]}"' for i in range(0, len(text), 250))


def der_key(bits):
    """An RSAPublicKey of so many bits, e = 65537, as DNS publishes it."""
    def tlv(tag, value):
        n = len(value)
        length = bytes([n]) if n < 128 else bytes([0x80 + (n.bit_length() + 7) // 8]) + n.to_bytes((n.bit_length() + 7) // 8, "big")
        return bytes([tag]) + length + value
    modulus = b"\0" + ((1 << (bits - 1)) | 1).to_bytes(bits // 8, "big")
    key = tlv(0x30, tlv(2, modulus) + tlv(2, b"\1\0\1"))
    return base64.b64encode(tlv(0x30, tlv(0x30, bytes.fromhex("06092a864886f70d0101010500")) + tlv(3, b"\0" + key))).decode()


@pytest.fixture(scope="module")
def world():
    keys = Keys()
    script = {(name, "TXT"): quoted(text) for name, text in keys.records.items()}
    script[("h.sign.test", "A")] = "127.0.0.1"
    script[(DOMAIN, "TXT")] = '"v=spf1 ip4:127.0.0.1 -all"'
    for bits in (512, 8192, 40000, 100000):
        script[(f"b{bits}._domainkey.{DOMAIN}", "TXT")] = quoted(f"v=DKIM1; p={der_key(bits)}")
    script[(f"big._domainkey.{DOMAIN}", "TXT")] = quoted(keys.records[f"r._domainkey.{DOMAIN}"] + "; n=" + "x" * 64000)
    script[(f"broken._domainkey.{DOMAIN}", "TXT")] = SERVFAIL
    dns, ours = ScriptedDns(script), Ours(keys)
    site = Site(settings={"POSTBUS_RESOLVER_STUBS": ",".join(f"{zone}={dns.address}" for zone in (DOMAIN, "junk.test", "in-addr.arpa"))})
    site.start("accounts", "verifier", "smtpd")
    site.add_account(BOB, "correct horse 1")
    site.ours, site.accepted = ours, []
    site.nats.subscribe("postbus.mail.accepted.>", lambda subject, reply, body: site.accepted.append(json.loads(body)["data"]))
    yield site
    site.end()
    ours.end()
    dns.end()


def ask_of(header):
    return {"id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "client_ip": "127.0.0.1", "helo": "h.sign.test", "mail_from": f"a@{DOMAIN}", "tls": "",
            "header_b64": base64.b64encode(header).decode(),
            "body_hashes": [{"canon": "relaxed", "algorithm": "sha256", "length": None, "hash_b64": HASH, "hashed": len(BODY)}]}


def verify(world, header):
    begin = time.monotonic()
    return world.nats.request("verifier.verify", ask_of(header), 30), time.monotonic() - begin


def genuine(world, header=FROM.encode()):
    return world.ours.sign_as_sent(header + b"\r\n" + BODY, "r")


@pytest.mark.parametrize("junk", ["junk.test", "unknown"])
def test_of_a_thousand_signatures_the_authors_is_verified(world, junk):
    header = "".join(LINE % (junk, f"s{i}") for i in range(1000)).encode() + genuine(world) + FROM.encode()
    reply, seconds = verify(world, header)
    results = [d["result"] for d in reply["dkim"]]
    assert len(results) == 20 and results.count("pass") == 1 and reply["dkim"][-1]["domain"] == DOMAIN
    assert seconds < 5


@pytest.mark.parametrize("selector, result, told", [("b512", "permerror", "1024"), ("b8192", "permerror", "4096"), ("b40000", "permerror", "4096"),
                                                    ("b100000", "permerror", "too large"), ("big", "permerror", "too large"), ("none", "permerror", "no key")])
def test_keys_that_cost_too_much_are_permerrors(world, selector, result, told):
    reply, seconds = verify(world, (LINE % (DOMAIN, selector) + FROM).encode())
    assert reply["dkim"][0]["result"] == result and told in reply["dkim"][0]["reason"]
    assert seconds < 5


def test_a_key_that_dns_gives_no_answer_for_is_a_temperror(world):
    reply, seconds = verify(world, (LINE % (DOMAIN, "broken") + FROM).encode())
    assert reply["dkim"][0]["result"] == "temperror" and seconds < 15


def test_a_header_of_half_a_megabyte_and_ten_thousand_names_is_verified(world):
    header = "".join(f"X-{i}: some value of a field that is a little longer\r\n" for i in range(7000)).encode() + FROM.encode()
    names = ":".join(f"x-{i % 8000}" for i in range(10000))
    tags = f"v=1;a=rsa-sha256;c=relaxed/relaxed;d={DOMAIN};s=r;h=from:{names};"
    fields = world.ours.field(f"sign-as r {tags}", header + b"\r\n" + BODY)
    reply, seconds = verify(world, fields + header)
    assert reply["dkim"][0]["result"] == "pass", reply["dkim"]
    assert seconds < 5


def test_other_messages_are_not_delayed(world):
    """While hostile ones come from four clients without pause, a plain message waits for those before it in the queue and for nothing else; each costs a fraction of a second."""
    hostile = ("".join(LINE % (DOMAIN, f"s{i % 20}") for i in range(1000))).encode() + "".join(f"X-{i}: some value of a field\r\n" for i in range(3000)).encode() + FROM.encode()
    plain = genuine(world) + FROM.encode()
    verify(world, hostile)
    alone = min(verify(world, hostile)[1] for _ in range(2))
    assert alone < 2  # 20 ms without sanitizers
    done, stop = [], threading.Event()

    def attack():
        bus = Nats(world.nats_port, "test", "test")
        while not stop.is_set():
            begin = time.monotonic()
            bus.request("verifier.verify", ask_of(hostile), 30)
            done.append(time.monotonic() - begin)

    threads = [threading.Thread(target=attack) for _ in range(4)]
    for t in threads:
        t.start()
    times = []
    for _ in range(7):
        reply, seconds = verify(world, plain)
        assert reply["dkim"][0]["result"] == "pass"
        times.append(seconds)
    stop.set()
    for t in threads:
        t.join()
    assert done and statistics.median(times) < 8 * alone + 0.5, (alone, times, done)


def test_the_front_door_takes_them_all_the_same(world):
    """Through smtpd: a header of 1,000 signatures is judged by the author's; the next message comes at once."""
    junk = "".join(LINE % ("junk.test", f"s{i}") for i in range(1000)).encode()
    header = f"From: a@{DOMAIN}\r\nTo: {BOB}\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <hostile@{DOMAIN}>\r\nSubject: hello\r\n".encode()
    message = junk + genuine(world, header) + header + b"\r\n" + BODY
    client = smtplib.SMTP("127.0.0.1", world.ports["smtp"], local_hostname="h.sign.test", timeout=30)
    for text in (message, message.replace(junk, b"")):
        begin = time.monotonic()
        client.sendmail(f"a@{DOMAIN}", [BOB], text)
        assert time.monotonic() - begin < 5
    client.quit()
    accepted = wait_until("the event", lambda: [a for a in world.accepted if a["message_id"] == f"<hostile@{DOMAIN}>"])
    assert [d["result"] for d in accepted[0]["verdict"]["dkim"]].count("pass") == 1
