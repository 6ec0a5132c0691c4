"""The queue's Functions on a real Redis."""
import json
import time

ID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def call(site, function, *args):
    return site.redis("FCALL", function, 1, "{q:1}", *args)


def due(site):
    return float(site.redis("ZSCORE", "{q:1}:due", ID))


def test_a_deferred_recipient_does_not_end_the_lease_of_one_in_work(bare_site):
    now = time.time() * 1000
    call(bare_site, "queue_commit", ID, json.dumps({"rcpts": [{}, {}]}), 2)
    assert ID in call(bare_site, "queue_lease", 10, 60000)
    leased = due(bare_site)
    assert leased > now + 50000
    call(bare_site, "queue_update", ID, 1, 0, 1, json.dumps({"state": "deferred"}), int(now + 1000))
    assert due(bare_site) == leased, "another worker would try the other recipient a second time"
    call(bare_site, "queue_update", ID, 0, 1, 0, json.dumps({"state": "sent"}), 0)
    assert due(bare_site) == int(now + 1000)
    call(bare_site, "queue_update", ID, 0, 1, 1, json.dumps({"state": "deferred"}), int(now + 9000))  # a final state stays
    assert due(bare_site) == int(now + 1000)
    assert call(bare_site, "queue_update", ID, 0, 0, 0, json.dumps({"state": "bounced"}), 0).strip().endswith("1")
    assert bare_site.redis("EXISTS", "{q:1}:e:" + ID).strip().endswith("0") and bare_site.redis("ZCARD", "{q:1}:due").strip().endswith("0")


def test_a_commit_happens_once(bare_site):
    call(bare_site, "queue_commit", ID, json.dumps({"rcpts": [{}]}), 1)
    call(bare_site, "queue_commit", ID, json.dumps({"rcpts": [{}, {}]}), 2)
    assert call(bare_site, "queue_lease", 10, 60000).count(ID) == 1
    call(bare_site, "queue_delete", ID)
