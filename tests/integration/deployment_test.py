"""What compose.yaml and the Kubernetes base promise beside each other's services: names that one site has alone, and what is open to the world."""
import re

import pytest
import yaml

from postbus_test.site import ROOT

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
KUBERNETES = [d for p in sorted((ROOT / "deploy/k8s/base").glob("*.yaml")) for d in yaml.safe_load_all(p.read_text()) if d]


def networks(service):
    found = COMPOSE[service].get("networks", [])
    return found if isinstance(found, dict) else {name: {} for name in found}


def test_names_that_services_ask_for_are_of_their_own_site():
    """A network outside may be shared by several sites, as the demo's is; a plain service name would be each one's, and updates of zones went to the wrong Knot."""
    asked = set()
    for name, service in COMPOSE.items():
        for setting, value in (service.get("environment") or {}).items():
            default = re.sub(r"^\$\{\w+:?-(.*)\}$", r"\1", str(value))
            asked |= {host for host in re.findall(r"(?:^|[=/,@])([a-z][a-z0-9.]*)[:@]\d+", default)}
    assert {"nats", "redis", "knot.inside", "smtpd.inside", "imapd.inside", "pop3d.inside"} <= asked, asked
    for host in asked:
        service = host.removesuffix(".inside")
        if "outside" in networks(service):
            assert host.endswith(".inside") and host in networks(service)["inside"]["aliases"], f"{host} is a name on a network that others may share"


def test_only_the_host_itself_reaches_the_api():
    ports = COMPOSE["admin"]["ports"]
    assert sorted(p.rsplit(":", 1)[1] for p in ports if p.startswith("${POSTBUS_API_BIND:-127.0.0.1}")) == ["8080", "8443"]
    assert sorted(p.rsplit(":", 1)[1] for p in ports if not p.startswith("${POSTBUS_API_BIND:-127.0.0.1}")) == ["8081", "8444"]  # the public pages
    for other in KUBERNETES:
        if other["kind"] == "Service" and other["spec"].get("type") in ("NodePort", "LoadBalancer"):
            assert not {str(p["targetPort"]) for p in other["spec"]["ports"]} & {"api", "apis", "8080", "8443"}, other["metadata"]["name"]


@pytest.mark.parametrize("service", ["smtpd", "verifier", "delivery", "mailbox", "imapd", "pop3d", "accounts", "reporter", "admin", "redis", "nats", "knot"])
def test_each_part_has_its_own_secrets_alone(service):
    volumes = [v.split(":")[0] for v in COMPOSE[service]["volumes"]]
    assert [v for v in volumes if v.startswith("secrets-")] == [f"secrets-{service}"]
    workload = next(d for d in KUBERNETES if d["kind"] in ("Deployment", "StatefulSet") and d["metadata"]["name"] == service)
    assert [v["secret"]["secretName"] for v in workload["spec"]["template"]["spec"]["volumes"] if "secret" in v] == [f"postbus-{service}"]


def test_redis_has_a_limit_to_be_within():
    assert "POSTBUS_REDIS_LIMIT" in COMPOSE["redis"]["mem_limit"]
    redis = next(d for d in KUBERNETES if d["kind"] == "StatefulSet" and d["metadata"]["name"] == "redis")
    gib = {"Gi": 1}
    memory = redis["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
    disk = redis["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"]
    assert int(disk[:-2]) * gib[disk[-2:]] >= 2.5 * 0.6 * int(memory[:-2]) * gib[memory[-2:]]


def test_readers_of_bodies_have_the_cold_tier_and_mailbox_alone_writes_it():
    assert all(s["environment"]["POSTBUS_COLD"] == "${POSTBUS_COLD:-directory}" for s in COMPOSE.values() if "POSTBUS_NATS" in (s.get("environment") or {}))
    assert "POSTBUS_COLD=directory" in (ROOT / "deploy/k8s/base/settings.env").read_text().split()
    composed = {name: v.split(":", 1)[1] for name, s in COMPOSE.items() for v in s.get("volumes", []) if v.startswith("cold:")}
    assert composed == {"mailbox": "/var/lib/postbus/cold"} | {n: "/var/lib/postbus/cold:ro" for n in ("verifier", "delivery", "imapd", "pop3d", "reporter", "admin")}
    labels = {d["metadata"]["name"]: d["metadata"]["labels"].get("postbus/cold") for d in KUBERNETES if d["kind"] == "Deployment" and d["metadata"]["name"] != "any"}
    assert {n: {"write": "/var/lib/postbus/cold", "read": "/var/lib/postbus/cold:ro"}[kind] for n, kind in labels.items() if kind} == composed
    for patch, kind in (("cold-patch.yaml", "read"), ("cold-write-patch.yaml", "write")):
        assert {"path": patch, "target": {"kind": "Deployment", "labelSelector": f"postbus/cold={kind}"}} in yaml.safe_load((ROOT / "deploy/k8s/base/kustomization.yaml").read_text())["patches"]
        (mount,) = yaml.safe_load((ROOT / "deploy/k8s/base" / patch).read_text())["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
        assert (mount["mountPath"], mount.get("readOnly", False)) == ("/var/lib/postbus/cold", kind == "read")
