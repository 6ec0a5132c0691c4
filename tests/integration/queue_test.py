"""The queue, from outside: what the Functions do is tested by tests/unit/store/queue_test.c."""
import json

from postbus_test.site import wait_until

ID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def call(site, function, *args):
    return site.redis("FCALL", function, 1, f"{{q:{shard(ID)}}}", *args)


def shard(message_id):
    return sum(map(ord, message_id[10:])) % 16


def test_a_damaged_entry_is_put_aside_and_people_are_told(bare_site):
    """It must neither go round and round nor stop the others."""
    heard = []
    bare_site.nats.subscribe("postbus.mail.dead.*", lambda subject, _r, body: heard.append((subject, json.loads(body)["data"])))
    call(bare_site, "queue_commit", ID, '{"rcpts":"none"}', 1, 0, "x.test", 1)
    bare_site.start("delivery")
    wait_until("mail.dead", lambda: heard)
    assert heard[0][0] == f"postbus.mail.dead.{ID}" and heard[0][1]["reason"]
    assert [len(bare_site.redis("ZRANGE", f"{{q:{shard(ID)}}}:{index}", 0, -1).split()) for index in ("due", "dom", "dead")] == [0, 0, 1]
    listed = bare_site.rpc("delivery.queue.list", which="dead", limit=10)["entries"]
    assert [entry["id"] for entry in listed] == [ID]
    assert "error" not in bare_site.rpc("delivery.queue.delete", id=ID)
    assert bare_site.redis("KEYS", "{q:*").strip().split(":m:")[0] == f"{{q:{shard(ID)}}}", "only the memo of the id is left"
