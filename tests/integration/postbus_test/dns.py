"""An authoritative DNS of the tests' own: a real knotd on loopback that serves the zones it is given as text."""
import pathlib
import signal
import subprocess
import tempfile

from .site import free_port, wait_until

SOA = "@ 60 IN SOA ns hostmaster 1 3600 600 86400 60\n@ 60 IN NS ns\nns 60 IN A 127.0.0.1\n"


class Knot:
    """zones: {"load.test": "@ 60 IN TXT \\"v=spf1 ip4:127.0.0.1 -all\\"\\n"}; SOA, NS and ns are added. signed: with DNSSEC. whole: the zones are served as they are,
    with nothing added. port: to listen on at ip; None: a free one."""

    def __init__(self, zones, signed=False, whole=False, port=None, ip="127.0.0.1"):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="postbus-knot-"))
        self.port, self.ip = port or free_port(), ip
        parts = [f"server:\n  listen: {ip}@{self.port}\n  rundir: {self.dir}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n",
                 "log:\n  - target: stderr\n    any: warning\n",
                 f"database:\n  storage: {self.dir}/db\n",
                 f"template:\n  - id: default\n    storage: {self.dir}\n    file: \"%s.zone\"\n    zonefile-sync: -1\n    journal-content: none\n"
                 + ("    dnssec-signing: on\n" if signed else ""), "zone:\n"]
        for name, text in zones.items():
            (self.dir / f"{name.rstrip('.')}.zone").write_text(text if whole else f"$ORIGIN {name}.\n" + SOA + text)
            parts.append(f"  - domain: {name}\n")
        (self.dir / "knot.conf").write_text("".join(parts))
        self.process = subprocess.Popen(["knotd", "-c", self.dir / "knot.conf"], stderr=open(self.dir / "knot.log", "wb"))
        first = next(iter(zones))
        wait_until(f"knotd to answer for {first} (see {self.dir}/knot.log)", lambda: "NOERROR" in self.dig(first, "SOA"))

    @property
    def address(self):
        return f"{self.ip}@{self.port}"

    def dig(self, name, kind):
        return subprocess.run(["kdig", f"@{self.ip}", "-p", str(self.port), "+timeout=1", "+retry=0", name, kind], capture_output=True, text=True).stdout

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)
