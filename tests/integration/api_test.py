"""The REST admin API against real services: every endpoint, its errors, its limits, its description."""
import http.client
import json
import socket
import ssl
import time

import jsonschema
import pytest

from postbus_test.site import ROOT, wait_until

ID = "01JDADM0000000000000000001"


@pytest.fixture(scope="module")
def api(bare_site):
    bare_site.nats.sock.settimeout(None)  # the stand-ins below also answer after a quiet while
    bare_site.nats.serve("delivery.queue.list", lambda ask: {"entries": [], "next": None})
    bare_site.nats.serve("delivery.queue.hold", lambda ask: {})
    bare_site.nats.serve("delivery.queue.release", lambda ask: {})
    bare_site.nats.serve("delivery.queue.priority", lambda ask: {} if -9 <= ask["priority"] <= 9 else {"error": {"code": "invalid", "message": "no"}})
    bare_site.nats.serve("delivery.queue.retry", lambda ask: {"entries": 3} if ask.get("domain") == "far.test" else {} if ask["id"] == ID else {"error": {"code": "not_found", "message": "no such entry"}})
    bare_site.nats.serve("delivery.queue.delete", lambda ask: {} if ask["id"] == ID else {"error": {"code": "not_found", "message": "no such entry"}})
    bare_site.deleted_mail = []
    bare_site.nats.serve("mailbox.delete", lambda ask: bare_site.deleted_mail.append(ask["user"]) or {})
    bare_site.nats.serve("mailbox.stat", lambda ask: {"error": {"code": "not_found", "message": "no such user"}})
    bare_site.nats.serve("reporter.sent", lambda ask: {"sent": [], "next": None})
    bare_site.nats.serve("verifier.dns.records", lambda ask: {"records": [{"name": ask["domain"], "type": "MX", "ttl": 3600, "value": "10 mx.alpha.test."}]})
    bare_site.nats.flush()
    bare_site.settings["POSTBUS_MTA_STS"] = "enforce"
    bare_site.start("accounts", "admin")
    return bare_site


def problem(answer, status):
    assert answer[0] == status, answer
    assert {"type", "title", "status", "detail"} <= set(answer[1]) and answer[1]["status"] == status
    return answer[1]


def raw(site, method, path, body=None, headers=None, port=None):
    connection = http.client.HTTPConnection("127.0.0.1", site.ports[port or ("api" if path.startswith("/api/") else "web")], timeout=20)
    connection.request(method, path, body, {"Authorization": "Bearer " + site.token, **(headers or {})})
    answer = connection.getresponse()
    text = answer.read()
    return answer.status, dict(answer.getheaders()), text


def test_openapi_is_valid_and_served_as_it_is(api):
    from openapi_spec_validator import validate
    status, document = api.api("GET", "/api/v1/openapi.json", token=None)
    assert status == 200 and document["openapi"].startswith("3.1")
    validate(document)
    assert document == json.loads((ROOT / "services/admin/openapi.json").read_text())


def test_every_described_path_exists_and_wants_a_token(api):
    _, document = api.api("GET", "/api/v1/openapi.json", token=None)
    for path, item in document["paths"].items():
        for method in ("get", "post", "patch", "delete"):
            status, answer = api.api(method.upper(), path.replace("{id}", "x").replace("{domain}", "x").replace("{address}", "x"), token=None)
            if method not in item:
                assert status in (401, 405), (method, path, status)
            elif item[method].get("security") == []:
                assert status != 401, (method, path)
            else:
                problem((status, answer), 401)


def test_a_wrong_token_is_refused(api):
    problem(api.api("GET", "/api/v1/domains", token="wrong"), 401)
    problem(api.api("GET", "/api/v1/domains", token=api.token + "x"), 401)
    status, headers, _ = raw(api, "GET", "/api/v1/domains", headers={"Authorization": "Basic abc"})
    assert status == 401 and headers["WWW-Authenticate"].startswith("Bearer") and headers["Content-Type"] == "application/problem+json"


def test_domains(api):
    status, made = api.api("POST", "/api/v1/domains", {"domain": "Rest.TEST"})
    assert status == 201 and made["domain"] == "rest.test"
    problem(api.api("POST", "/api/v1/domains", {"domain": "rest.test"}), 409)
    problem(api.api("POST", "/api/v1/domains", {"domain": "no good"}), 422)
    assert api.api("GET", "/api/v1/domains/rest.test") == (200, made)
    assert "rest.test" in api.api("GET", "/api/v1/domains")[1]["domains"]
    problem(api.api("GET", "/api/v1/domains/none.test"), 404)
    status, headers, _ = raw(api, "POST", "/api/v1/domains", json.dumps({"domain": "b\u00fccher.test"}), {"Content-Type": "application/json; charset=utf-8"})
    assert status == 201 and headers["Location"] == "/api/v1/domains/xn--bcher-kva.test"
    assert api.api("DELETE", "/api/v1/domains/b%C3%BCcher.test")[0] == 204
    problem(api.api("DELETE", "/api/v1/domains/xn--bcher-kva.test"), 404)


def test_dns_records_as_json_and_as_a_zone(api):
    assert api.api("GET", "/api/v1/domains/rest.test/dns")[1]["records"][0]["type"] == "MX"
    status, headers, text = raw(api, "GET", "/api/v1/domains/rest.test/dns", headers={"Accept": "text/plain"})
    assert (status, text) == (200, b"rest.test.\t3600\tIN\tMX\t10 mx.alpha.test.\n") and headers["Content-Type"].startswith("text/plain")
    problem(api.api("GET", "/api/v1/domains/none.test/dns"), 404)


def test_accounts(api):
    status, made = api.api("POST", "/api/v1/accounts", {"address": "Ann@rest.test", "password": "secret 1", "quota_bytes": 1000})
    assert status == 201 and made["address"] == "ann@rest.test" and made["quota_bytes"] == 1000 and "password" not in made
    problem(api.api("POST", "/api/v1/accounts", {"address": "ann@rest.test", "password": "long enough"}), 409)
    problem(api.api("POST", "/api/v1/accounts", {"address": "ann@none.test", "password": "long enough"}), 404)
    problem(api.api("POST", "/api/v1/accounts", {"address": "ann", "password": "long enough"}), 422)
    assert api.api("GET", "/api/v1/accounts/ann@rest.test") == (200, made)
    assert api.api("GET", "/api/v1/accounts/ann%40rest.test") == (200, made)
    assert api.api("GET", "/api/v1/accounts?domain=rest.test")[1]["accounts"] == [made]
    problem(api.api("GET", "/api/v1/accounts"), 400)
    assert api.rpc("accounts.login", login="ann@rest.test", password="secret 1", client_ip="::1", protocol="imap")["user"] == made["user"]
    status, changed = api.api("PATCH", "/api/v1/accounts/ann@rest.test", {"password": "secret 2", "quota_bytes": 0})
    assert status == 200 and changed["quota_bytes"] == 0
    assert "user" in api.rpc("accounts.login", login="ann@rest.test", password="secret 2", client_ip="::1", protocol="imap")
    assert "error" in api.rpc("accounts.login", login="ann@rest.test", password="secret 1", client_ip="::1", protocol="imap")
    problem(api.api("PATCH", "/api/v1/accounts/nobody@rest.test", {"quota_bytes": 1}), 404)
    problem(api.api("DELETE", "/api/v1/domains/rest.test"), 409)
    assert api.api("DELETE", "/api/v1/accounts/ann@rest.test")[0] == 204
    assert api.deleted_mail == [made["user"]], "the mail goes with the account"
    problem(api.api("GET", "/api/v1/accounts/ann@rest.test"), 404)


def test_accounts_with_unusual_names(api):
    for address, path in (("a/b@rest.test", "a/b@rest.test"), ("j\u00f6rg@rest.test", "j%C3%B6rg@rest.test"), ("a+b@rest.test", "a+b@rest.test")):
        status, made = api.api("POST", "/api/v1/accounts", {"address": address, "password": "long enough"})
        assert status == 201
        assert api.api("GET", "/api/v1/accounts/" + path) == (200, made)
        assert api.api("DELETE", "/api/v1/accounts/" + path)[0] == 204


def test_aliases(api):
    assert api.api("POST", "/api/v1/accounts", {"address": "ann@rest.test", "password": "long enough"})[0] == 201
    alias = {"address": "info@rest.test", "targets": ["ann@rest.test", "out@else.where"]}
    assert api.api("POST", "/api/v1/aliases", alias) == (201, alias)
    assert api.api("GET", "/api/v1/aliases/info@rest.test") == (200, alias)
    assert api.api("GET", "/api/v1/aliases?domain=rest.test")[1] == {"aliases": [alias], "next": None}
    assert api.api("POST", "/api/v1/aliases", {"address": "@rest.test", "targets": ["ann@rest.test"]})[0] == 201
    assert api.api("GET", "/api/v1/aliases/@rest.test")[1]["targets"] == ["ann@rest.test"]
    first = api.api("GET", "/api/v1/aliases?domain=rest.test&limit=1")[1]
    assert [a["address"] for a in first["aliases"]] == ["@rest.test"] == [first["next"]]
    assert api.api("GET", "/api/v1/aliases?domain=rest.test&limit=1&after=@rest.test")[1] == {"aliases": [alias], "next": None}
    assert api.api("DELETE", "/api/v1/aliases/info@rest.test")[0] == 204
    problem(api.api("DELETE", "/api/v1/aliases/info@rest.test"), 404)
    problem(api.api("GET", "/api/v1/aliases/info@rest.test"), 404)


def test_a_forced_deletion_takes_accounts_and_their_mail(api):
    api.api("POST", "/api/v1/domains", {"domain": "gone.test"})
    users = [api.api("POST", "/api/v1/accounts", {"address": f"u{i}@gone.test", "password": "long enough"})[1]["user"] for i in range(3)]
    problem(api.api("DELETE", "/api/v1/domains/gone.test?force=false"), 409)
    assert api.api("DELETE", "/api/v1/domains/gone.test?force")[0] == 204
    wait_until("their mail to go", lambda: set(users) <= set(api.deleted_mail), 20)
    problem(api.api("GET", "/api/v1/domains/gone.test"), 404)


@pytest.mark.parametrize("body, pointers", [({}, {"#/address", "#/password"}), ({"address": 1, "password": ""}, {"#/address", "#/password"}),
                                            ({"address": "a@b.c", "password": "x", "quota_bytes": -1}, {"#/quota_bytes"}),
                                            ({"address": "a@b.c", "password": "x", "a/b~c": 1}, {"#/a~1b~0c"})])
def test_errors_name_the_fields(api, body, pointers):
    assert {e["pointer"] for e in problem(api.api("POST", "/api/v1/accounts", body), 422)["errors"]} == pointers


@pytest.mark.parametrize("body, kind, status", [(b"{", "application/json", 400), (b"[]", "application/json", 400), (b"", "application/json", 400), (b'{"domain":"a","domain":"b"}', "application/json", 400),
                                                (b'{"domain":"\xff"}', "application/json", 400), (b"domain=a.test", "application/x-www-form-urlencoded", 415), (b"{}", "text/plain", 415),
                                                (b" " * (1024 * 1024 + 1), "application/json", 413), (b'{"domain":' + b"[" * 5000, "application/json", 400)])
def test_bad_bodies(api, body, kind, status):
    got, headers, text = raw(api, "POST", "/api/v1/domains", body, {"Content-Type": kind})
    assert got == status and headers["Content-Type"] == "application/problem+json" and json.loads(text)["status"] == status


def test_unknown_paths_and_methods(api):
    problem(api.api("GET", "/api/v1/nothing"), 404)
    problem(api.api("GET", "/"), 404)
    status, headers, _ = raw(api, "PUT", "/api/v1/domains")
    assert status == 405 and set(headers["Allow"].split(", ")) == {"GET", "POST"}
    problem(api.api("GET", "/api/v1/domains?limit=0"), 400)
    problem(api.api("GET", "/api/v1/domains?limit=lots"), 400)


def test_queue(api):
    assert api.api("GET", "/api/v1/queue?limit=5") == (200, {"entries": [], "next": None})
    assert api.api("GET", "/api/v1/queue?which=held&domain=far.test")[0] == 200
    problem(api.api("GET", "/api/v1/queue?which=lost"), 400)
    assert api.api("POST", f"/api/v1/queue/{ID}/retry")[0] == 204
    assert api.api("POST", "/api/v1/queue/retry", {"domain": "far.test"}) == (200, {"entries": 3})
    assert api.api("POST", f"/api/v1/queue/{ID}/hold")[0] == api.api("POST", f"/api/v1/queue/{ID}/release")[0] == 204
    assert api.api("PATCH", f"/api/v1/queue/{ID}", {"priority": -3})[0] == 204
    problem(api.api("PATCH", f"/api/v1/queue/{ID}", {"priority": 10}), 400)
    assert api.api("DELETE", f"/api/v1/queue/{ID}")[0] == 204
    problem(api.api("POST", f"/api/v1/queue/{ID[:-1]}2/retry"), 404)
    problem(api.api("DELETE", "/api/v1/queue/nonsense"), 400)


def publish(site, event, data, at, service="smtpd"):
    body = {"specversion": "1.0", "id": ID, "source": f"/{service}/mx.alpha.test", "type": "postbus." + event, "subject": ID, "time": at, "datacontenttype": "application/json", "data": data}
    site.nats.publish(f"postbus.{event}.{ID}", body)


def test_a_journey_is_what_was_recorded(api):
    wait_until("the stream", lambda: api.api("GET", "/api/v1/health")[1]["components"]["journal"]["state"] == "up")
    user = "01JDADM0000000000000000009"
    publish(api, "mail.delivered", {"rcpt": "ann@rest.test", "user": user, "folder": "INBOX", "uid": 1, "modseq": 2}, "2026-11-24T10:00:02.000Z", "mailbox")
    publish(api, "mail.accepted", {"shard": 1, "from": "bob@rest.test", "rcpts": [{"address": "ann@rest.test", "user": user}, {"address": "x@else.where"}], "size": 1234, "message_id": "<1@rest.test>",
                                   "origin": "submission", "client": {"ip": "192.0.2.1", "port": 40000, "helo": "laptop", "tls": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "login": "bob@rest.test"},
                                   "reply": "250 2.0.0 Ok"}, "2026-11-24T10:00:01.000Z")
    api.nats.flush()
    status, journey = wait_until("both events", lambda: (a := api.api("GET", f"/api/v1/messages/{ID}/journey"))[0] == 200 and len(a[1]["steps"]) == 4 and a)
    assert [(s["step"], s["name"], s["service"], s["host"]) for s in journey["steps"]] == [
        (1, "written", "smtpd", "mx.alpha.test"), (2, "submitted", "smtpd", "mx.alpha.test"), (3, "sorted", "smtpd", "mx.alpha.test"), (8, "delivered", "mailbox", "mx.alpha.test")]
    assert "TLSv1.3" in journey["steps"][1]["what"] and journey["steps"][1]["data"]["client"]["login"] == "bob@rest.test"
    problem(api.api("GET", "/api/v1/messages/01JDADM0000000000000000099/journey"), 404)
    problem(api.api("GET", "/api/v1/messages/x/journey"), 400)


def test_the_stream_is_made_again_when_nats_lost_it(api):
    jetstream = []
    api.nats.subscribe("test.admin.reply", lambda _s, _r, body: jetstream.append(json.loads(body)))
    api.nats.publish("$JS.API.STREAM.DELETE.POSTBUS_MAIL", b"", "test.admin.reply")
    wait_until("the stream to go", lambda: jetstream)
    assert jetstream[0]["success"]
    api.tap.errors = [e for e in api.tap.errors if "test.admin.reply" not in e]
    problem(api.api("GET", f"/api/v1/messages/{ID}/journey"), 503)
    api.stop("admin")
    api.start("admin")
    wait_until("the stream", lambda: api.api("GET", f"/api/v1/messages/{ID}/journey")[0] == 404)


def test_health_is_open_and_tells_each_part(api):
    wait_until("all to be well", lambda: api.api("GET", "/api/v1/health", token=None)[1]["status"] == "ok")
    assert set(api.api("GET", "/api/v1/health", token=None)[1]["components"]) == {"bus", "store", "journal", "accounts", "verifier", "mailbox", "delivery", "reporter"}
    api.stop("accounts")
    time.sleep(1.1)
    status, health = api.api("GET", "/api/v1/health", token=None)
    assert status == 503 and health["status"] == "unavailable" and health["components"]["accounts"]["state"] == "down"
    problem(api.api("GET", "/api/v1/domains"), 503)
    api.start("accounts")
    wait_until("accounts to be back", lambda: api.api("GET", "/api/v1/health", token=None)[0] == 200)


def test_answers_fit_their_description(api):
    _, document = api.api("GET", "/api/v1/openapi.json", token=None)
    def check(path, name):
        jsonschema.validate(api.api("GET", path)[1], {"$ref": "#/components/schemas/" + name, "components": document["components"]})
    for path, name in (("/api/v1/health", "Health"), ("/api/v1/domains", "DomainList"), ("/api/v1/domains/rest.test", "Domain"), ("/api/v1/accounts?domain=rest.test", "AccountList"),
                       ("/api/v1/aliases?domain=rest.test", "AliasList"), ("/api/v1/domains/rest.test/dns", "Records"), ("/api/v1/queue", "Queue"), ("/api/v1/none", "Problem")):
        check(path, name)


def test_tls(api):
    context = ssl.create_default_context(cafile=str(api.secrets / "tls.crt"))
    connection = http.client.HTTPSConnection("localhost", api.ports["apis"], context=context, timeout=10)
    connection.request("GET", "/api/v1/domains", headers={"Authorization": "Bearer " + api.token})
    assert connection.getresponse().status == 200


def test_the_public_listener_has_nothing_of_the_api(api):
    """Ports 80 and 443 of a site are open to the world; the API is not, whatever is asked and whoever asks."""
    _, document = api.api("GET", "/api/v1/openapi.json")
    context = ssl.create_default_context(cafile=str(api.secrets / "tls.crt"))
    public = [path for path in document["paths"] if not path.startswith("/api/")]
    assert len(public) == 4
    for path in document["paths"]:
        filled = path.replace("{id}", ID).replace("{domain}", "rest.test").replace("{address}", "ann@rest.test")
        for method in ("GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS"):
            for port in ("web", "webs"):
                connection = (http.client.HTTPSConnection("localhost", api.ports[port], context=context, timeout=10) if port == "webs" else http.client.HTTPConnection("127.0.0.1", api.ports[port], timeout=10))
                connection.request(method, filled, headers={"Authorization": "Bearer " + api.token, "Host": "mta-sts.rest.test" if "mta-sts" in path else "rest.test"})
                answer = connection.getresponse()
                text = answer.read()
                if path.startswith("/api/"):
                    assert answer.status == 404 and b"openapi" not in text, (port, method, path, answer.status, text)
                else:
                    assert answer.status != 404, (port, method, path)
        if not path.startswith("/api/"):
            assert raw(api, "GET", filled, port="api")[0] == 404, f"{path} on the API's listener"
    for trick in ("//api/v1/health", "/./api/v1/health", "/mail/../api/v1/health", "/api/v1/health/", "/%61pi/v1/health", "/API/v1/health", "/api/v1/openapi.json?x=1"):
        assert raw(api, "GET", trick, port="web")[0] == 404, trick


def test_clients_find_their_servers(api):
    status, _, text = raw(api, "GET", "/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress=ann@rest.test")
    assert status == 200 and b"<hostname>mx.alpha.test</hostname>" in text and b"<port>993</port>" in text and b'emailProvider id="rest.test"' in text
    assert raw(api, "GET", "/mail/config-v1.1.xml", headers={"Host": "autoconfig.rest.test"})[0] == 200
    assert raw(api, "GET", "/mail/config-v1.1.xml?emailaddress=a@notours.test")[0] == 404
    ask = "<Autodiscover><Request><EMailAddress>ann@rest.test</EMailAddress></Request></Autodiscover>"
    status, _, text = raw(api, "POST", "/Autodiscover/Autodiscover.xml", ask, {"Content-Type": "text/xml"})
    assert status == 200 and b"<LoginName>ann@rest.test</LoginName>" in text
    assert raw(api, "POST", "/autodiscover/autodiscover.xml", "<x/>", {"Content-Type": "text/xml"})[0] == 400
    status, head, text = raw(api, "GET", "/.well-known/mta-sts.txt", headers={"Host": "mta-sts.rest.test"})
    assert status == 200 and head["Content-Type"].split(";")[0] == "text/plain" and text == b"version: STSv1\r\nmode: enforce\r\nmx: mx.alpha.test\r\nmax_age: 604800\r\n"
    assert raw(api, "GET", "/.well-known/mta-sts.txt", headers={"Host": "mta-sts.notours.test"})[0] == 404
    assert raw(api, "GET", "/.well-known/mta-sts.txt", headers={"Host": "rest.test"})[0] == 404  # only at the policy host (RFC 8461 3.3)
    assert raw(api, "GET", "/.well-known/mta-sts.txt", headers={"Host": "MTA-STS.rest.test:443"})[0] == 200


def test_a_client_that_goes_away_harms_nobody(api):
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", api.ports["api"])) as s:
            s.sendall(b"POST /api/v1/domains HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 21\r\nAuthorization: Bearer " + api.token.encode() + b"\r\n\r\n{\"domain\":\"rest.test\"}"[:-1] + b"}")
    with socket.create_connection(("127.0.0.1", api.ports["api"])) as s:
        s.sendall(b"GET " + b"x" * 100000)
    assert api.api("GET", "/api/v1/health")[0] == 200
