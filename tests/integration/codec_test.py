"""The typed codecs (libcommon/codec) against the schemas: what they write fits, what fits they read, and what they read they write again."""
import base64
import json
import subprocess

import jsonschema
import pytest

from postbus_test.site import BIN, ROOT

CODECS = BIN.parent / "tools/codecs"
ID = "01KAWQXV2D4J1T3Q3Z6E8M9R0S"
DIGEST = base64.b64encode(bytes(range(32))).decode()
DMARC = {"result": "fail", "policy": "reject", "disposition": "none", "reason": "x", "from": "x.test", "record_domain": "x.test", "organizational_domain": "test", "spf_aligned": False,
         "dkim_aligned": False, "published": None, "overrides": [{"type": "local_policy", "comment": "arc=pass \"ü\""}]}
VERDICT = {"code": 0, "enhanced": "", "reason": "", "disposition": "accept", "headers": "Authentication-Results: ü;\r\n\tx\r\n", "drop": [[0, 12], [100, 2]], "spf": None, "spf_helo": None, "dkim": [],
           "dmarc": DMARC, "arc": {"cv": "pass", "reason": "", "sets": 3, "sealer": "x.test"}, "iprev": None}


def validator(name):
    return jsonschema.Draft202012Validator(json.loads((ROOT / f"proto-schemas/{name}.json").read_text()))


def read(name, body):
    text = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    done = subprocess.run([CODECS, "read", name], input=text, capture_output=True, timeout=30)
    assert done.returncode in (0, 1), done.stderr.decode()
    return done.stdout.decode()[:-1] if done.returncode == 0 else None


WRITTEN = [line.split("\t", 1) for line in subprocess.run([CODECS, "write"], capture_output=True, timeout=30, check=True).stdout.decode().splitlines()]


def test_what_is_not_utf8_is_refused_and_all_else_is_written():
    assert [name for name, _ in WRITTEN].count("refused") == 3
    assert {name for name, _ in WRITTEN} == {
        "refused", "rpc/verifier.verify.request", "rpc/verifier.sign.request", "rpc/verifier.sign.reply", "rpc/accounts.resolve.request", "rpc/accounts.resolve.reply", "rpc/mailbox.deliver.request",
        "events/mail.accepted", "events/mail.refused", "events/mail.sent", "events/mail.delivered", "events/mailbox.changed"}
    for _, text in WRITTEN:
        json.loads(text)  # also what was refused is JSON


@pytest.mark.parametrize("name, text", [w for w in WRITTEN if w[0] != "refused"])
def test_what_is_written_fits_its_schema(name, text):
    validator(name).validate(json.loads(text))


@pytest.mark.parametrize("name, body", [(n, t) for n, t in WRITTEN if n in ("rpc/verifier.verify.request", "rpc/verifier.sign.request", "rpc/verifier.sign.reply", "rpc/accounts.resolve.request",
                                                                              "rpc/accounts.resolve.reply")])
def test_what_is_written_is_read_the_same(name, body):
    assert read(name, body.encode()) == body


@pytest.mark.parametrize("name, body", [
    ("rpc/verifier.verify.request", {"client_ip": "192.0.2.1", "helo": "h", "mail_from": "", "tls": "", "id": ID, "header_b64": "", "body_hashes": [
        {"canon": "simple", "algorithm": "sha256", "length": None, "hash_b64": DIGEST}, {"canon": "relaxed", "algorithm": "sha256", "length": 0, "hashed": 7, "hash_b64": DIGEST}]}),
    ("rpc/verifier.sign.request", {"domain": "x.test", "header_b64": "eA==", "body_hash_b64": DIGEST, "id": ID}),
    ("rpc/accounts.resolve.reply", {"kind": "local", "users": [], "remote": ["a@b"]}),
])
def test_what_fits_is_read(name, body):
    validator(name).validate(body)
    again = json.loads(read(name, body))
    for member, value in body.items():
        assert again[member] == value


def test_a_verdict_is_read_and_goes_on_to_events_whole():
    validator("rpc/verifier.verify.reply").validate(VERDICT)
    got = read("rpc/verifier.verify.reply", VERDICT)
    assert got.startswith("disposition=accept enhanced= reason= dmarc=fail from=x.test organizational=test cv=pass sets=3 drops=0+12,100+2, proofs=")
    proofs, headers = got.split(" proofs=", 1)[1].rsplit(" headers=", 1)
    assert headers == VERDICT["headers"]
    assert json.loads(proofs) == {k: v for k, v in VERDICT.items() if k not in ("headers", "drop")}
    accepted = {"from": "", "rcpts": [], "size": 1, "origin": "mx", "verdict": json.loads(proofs)}
    validator("events/mail.accepted").validate(accepted)


def test_outcomes_are_read():
    got = read("rpc/mailbox.deliver.reply", {"messages": [
        {"id": ID, "rcpts": [{"result": "delivered", "folder": "INBOX", "uid": 7, "modseq": 9, "duplicate": True}, {"result": "full", "message": "no room"}]}, {"id": "x", "rcpts": []}]})
    assert got == f"id={ID} result=delivered message= folder=INBOX uid=7 modseq=9 duplicate=1 result=full message=no room folder= uid=0 modseq=0 duplicate=0 id=x "


def test_a_change_is_read_from_its_event():
    data = {"user": ID, "folder": 3, "modseq": 2**62, "kind": "flags"}
    event = {"specversion": "1.0", "id": ID, "source": "/x", "type": "postbus.mailbox.changed", "subject": ID, "time": "2026-11-24T09:41:17Z", "datacontenttype": "application/json", "data": data}
    validator("events/cloudevent").validate(event)
    assert json.loads(read("events/mailbox.changed", event)) == data


@pytest.mark.parametrize("name", ["rpc/verifier.verify.request", "rpc/verifier.verify.reply", "rpc/verifier.sign.request", "rpc/verifier.sign.reply", "rpc/accounts.resolve.request",
                                  "rpc/accounts.resolve.reply", "rpc/mailbox.deliver.reply", "events/mailbox.changed"])
@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"{", b"null", b"\xff", b'{"header_b64":7,"headers":7,"address":7,"kind":7,"messages":7,"data":7,"disposition":7}',
                                  b'{"header_b64":"","body_hashes":[{"hash_b64":"AAAA"}]}', b'{"error":{"code":"busy","message":""}}'])
def test_what_does_not_fit_is_refused(name, text):
    assert read(name, text) is None
