"""Authoritative servers that take updates: this site's Knot exactly as it is deployed (deploy/knot/start), other people's secondaries, and BIND."""
import os
import pathlib
import re
import signal
import subprocess
import tempfile

import dns.message
import dns.query
import dns.rdatatype

from .site import ROOT, free_port, wait_until


class Authority:
    """What all of them have: a directory, a port, a process; questions asked at it directly."""

    def __init__(self, name):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"postbus-{name}-"))
        self.port = free_port()
        self.process = None

    @property
    def address(self):
        return f"127.0.0.1@{self.port}"

    def spawn(self, argv, env=None):
        self.process = subprocess.Popen([str(a) for a in argv], stdout=open(self.dir / "log", "ab"), stderr=subprocess.STDOUT, env=env, cwd=self.dir)

    def log(self):
        return (self.dir / "log").read_text(errors="replace")

    def ask(self, name, kind, dnssec=False):
        question = dns.message.make_query(name, kind, want_dnssec=dnssec)
        question.flags = 0
        return dns.query.tcp(question, "127.0.0.1", timeout=3, port=self.port)

    def records(self, name, kind):
        """The data of (name, kind) in presentation format, sorted; [] for none or no answer."""
        try:
            answer = self.ask(name, kind)
        except Exception:
            return []
        wanted = dns.rdatatype.from_text(kind)
        return sorted(r.to_text() for rrset in answer.answer if rrset.rdtype == wanted for r in rrset)

    def texts(self, name):
        """TXT records, each as one text."""
        return sorted("".join(re.findall(r'"([^"]*)"', r)) for r in self.records(name, "TXT"))

    def end(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
            self.process = None


class SiteKnot(Authority):
    """Knot from deploy/knot/start. settings: its environment. tsig: the line of tsig.key."""

    def __init__(self, hostname, tsig, settings=None, secondary_keys=""):
        super().__init__("site-knot")
        self.secrets = self.dir / "secrets"
        self.secrets.mkdir()
        (self.secrets / "tsig.key").write_text(tsig + "\n")
        if secondary_keys:
            (self.secrets / "secondary.key").write_text(secondary_keys)
        self.settings = {"POSTBUS_HOSTNAME": hostname, "POSTBUS_SECRETS": self.secrets, "POSTBUS_DNS_LISTEN": self.address, "POSTBUS_DNS_RUN": self.dir / "run",
                         "POSTBUS_DNS_STORAGE": self.dir / "storage", "POSTBUS_LOG": "info", **(settings or {})}
        self.start()

    def start(self):
        self.spawn(["sh", ROOT / "deploy/knot/start"], {**os.environ, **{k: str(v) for k, v in self.settings.items()}})
        wait_until(f"the site's knotd (see {self.dir}/log)", lambda: self.ask("catalog.postbus", "SOA"))

    def control(self, *words):
        return subprocess.run(["knotc", "-s", self.dir / "run/knot.sock", *words], capture_output=True, text=True).stdout


class SecondaryKnot(Authority):
    """Another knotd that finds its zones by the catalog of a primary, and transfers them. key: (name, algorithm, secret) or None."""

    def __init__(self, primary_address, key=None, port=None):
        super().__init__("secondary-knot")
        self.port = port or self.port
        name = f"\n    key: {key[0]}" if key else ""
        (self.dir / "db").mkdir()
        (self.dir / "knot.conf").write_text(
            f"server:\n  rundir: {self.dir}\n  listen: {self.address}\nlog:\n  - target: stderr\n    any: info\ndatabase:\n  storage: {self.dir}/db\n"
            + (f"key:\n  - id: {key[0]}\n    algorithm: {key[1]}\n    secret: {key[2]}\n" if key else "")
            + f"remote:\n  - id: primary\n    address: {primary_address}{name}\n"
            f"acl:\n  - id: told\n    address: 127.0.0.1\n    action: notify{name}\n"
            f"template:\n  - id: default\n    storage: {self.dir}\n  - id: member\n    storage: {self.dir}\n    master: primary\n    acl: told\n"
            "zone:\n  - domain: catalog.postbus\n    master: primary\n    acl: told\n    catalog-role: interpret\n    catalog-template: member\n")
        self.spawn(["knotd", "-c", self.dir / "knot.conf"])


class Bind(Authority):
    """named as its operator runs it. zones: {"name": "zone file text without SOA and NS"}, each with update rights for the key; policy: statements inside of each zone."""

    def __init__(self, zones, key, policy=None, options="", secondary_of=None, port=None):
        super().__init__("bind")
        self.port = port or self.port
        name, algorithm, secret = key
        statements = policy or f'update-policy {{ grant {name} zonesub ANY; }};'
        conf = [f'key "{name}" {{ algorithm {algorithm}; secret "{secret}"; }};\n',
                f'options {{ directory "{self.dir}"; listen-on port {self.port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no; pid-file none; '
                f'session-keyfile "{self.dir}/session.key"; dnssec-validation no; notify no; allow-transfer {{ key "{name}"; 127.0.0.1; }}; {options} }};\ncontrols {{ }};\n']
        if secondary_of:
            conf.append(f'zone "catalog.postbus" {{ type secondary; file "catalog.db"; primaries {{ {secondary_of}; }}; }};\n')
        for zone, text in zones.items():
            (self.dir / f"{zone}.db").write_text(f"$ORIGIN {zone}.\n$TTL 60\n@ IN SOA ns.{zone}. hostmaster.{zone}. 1 3600 600 86400 60\n@ IN NS ns.{zone}.\nns IN A 127.0.0.1\n{text}")
            conf.append(f'zone "{zone}" {{ type primary; file "{zone}.db"; {statements} }};\n')
        (self.dir / "named.conf").write_text("".join(conf))
        self.spawn(["named", "-g", "-c", self.dir / "named.conf", "-n", "1"])
        wait_until(f"named (see {self.dir}/log)", lambda: "running" in self.log())
