"""The systems that the verification bench asks, each of real processes in one directory, and the one DNS server (unbound, on 127.0.0.1:53) that all of them ask."""
import os
import pathlib
import signal
import socket
import subprocess
import sys
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests/integration"))
from postbus_test.site import Site, free_port, wait_until  # noqa: E402

AUTHSERV = "mx.bench.test"


def children(pid):
    """pid and every process below it."""
    found = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += children(int(child))
    return found


class Processes:
    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.dir.chmod(0o755)
        self.running = []

    def write(self, name, text):
        (self.dir / name).write_text(text)
        return self.dir / name

    def spawn(self, name, argv):
        log = open(self.dir / f"{name}.log", "ab")
        self.running.append(subprocess.Popen([str(a) for a in argv], stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.dir))

    def connects(self, family, address):
        with socket.socket(family) as s:
            s.settimeout(1)
            s.connect(address)
            return True

    def wait(self, name, family, address):
        try:
            wait_until(f"{name} (see {self.dir}/{name}.log)", lambda: self.connects(family, address), 60)
        except AssertionError:
            self.end()
            raise

    def pids(self):
        return [pid for process in self.running for pid in children(process.pid)]

    def end(self):
        for process in self.running:
            process.send_signal(signal.SIGTERM)
        for process in self.running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Dns(Processes):
    """A caching server that knows these records and asks nobody: what a warm cache answers. The system's resolver is pointed at it, so run this in a container."""

    def __init__(self, directory, records):
        super().__init__(directory)
        lines = ["server:", "  interface: 127.0.0.1", "  port: 53", "  do-daemonize: no", '  username: ""', '  chroot: ""', f'  directory: "{self.dir}"', f'  pidfile: "{self.dir}/pid"',
                 "  num-threads: 1", '  module-config: "iterator"', "  use-syslog: no", "  verbosity: 0"]
        lines += [f'  local-zone: "{zone}." static' for zone in ("example.net", "example.org", "bench.test", "2.0.192.in-addr.arpa")]
        lines += [f"  local-data: '{line}'" for line in records.read_text().splitlines()]
        self.write("unbound.conf", "\n".join(lines + ["remote-control:", "  control-enable: no", ""]))
        pathlib.Path("/etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
        self.spawn("unbound", ["unbound", "-d", "-c", self.dir / "unbound.conf"])
        self.wait("unbound", socket.AF_INET, ("127.0.0.1", 53))


class BenchSite(Site):
    """A site whose NATS tells what it carried; its verifier may be of another build."""
    verifier = None

    def start_nats(self):
        self.monitor_port = free_port()
        self._spawn("nats", ["nats-server", "-c", self.dir / "nats.conf", "-m", self.monitor_port])
        wait_until("nats-server", lambda: socket.create_connection(("127.0.0.1", self.nats_port), 1))

    def _spawn(self, name, argv, env=None):
        super()._spawn(name, [self.verifier] if self.verifier and name == "verifier" else argv, env)


class Postbus:
    """The verifier with nats-server, as a site runs them. other: another build's verifier."""

    def __init__(self, workers, other=None):
        self.name = "Postbus" + (" (the other build)" if other else "")
        settings = {"POSTBUS_LOG": "warn", "POSTBUS_RESOLVER_FORWARD": "127.0.0.1@53", "POSTBUS_WORKERS": str(workers or os.cpu_count())}
        self.site = BenchSite(AUTHSERV, settings, tap=False)
        self.site.verifier = other
        self.site.start("verifier")

    def load(self):
        return ["postbus", "--nats", f"nats://127.0.0.1:{self.site.nats_port}", "--password-file", self.site.secrets_root / "smtpd/nats.password"]

    def pids(self):
        return [self.site.processes["verifier"].pid, self.site.processes["nats"].pid]

    def counters(self):
        """What the bus and the store have done so far."""
        import json
        with urllib.request.urlopen(f"http://127.0.0.1:{self.site.monitor_port}/varz", timeout=5) as answer:
            bus = json.load(answer)
        calls = next(line for line in self.site.redis("INFO", "stats").splitlines() if line.startswith("total_commands_processed:"))
        return {"bus messages": bus["in_msgs"], "Redis commands": int(calls.split(":")[1])}

    def end(self):
        self.site.end()


class Milters(Processes):
    """OpenDKIM and OpenDMARC in front of a mail server; with the SPF policy daemon that Postfix users have, or with OpenDMARC's own SPF (libspf2)."""

    def __init__(self, directory, policy):
        super().__init__(directory)
        self.name = "OpenDKIM + OpenDMARC + policyd-spf" if policy else "OpenDKIM + OpenDMARC (its own SPF)"
        self.policy = policy
        self.write("opendkim.conf", f"Mode v\nSocket local:{self.dir}/opendkim.sock\nAuthservID {AUTHSERV}\nSyslog no\nNameservers 127.0.0.1\nAlwaysAddARHeader yes\nUMask 000\n"
                   "SoftwareHeader no\n")
        self.write("opendmarc.conf", f"Socket local:{self.dir}/opendmarc.sock\nAuthservID {AUTHSERV}\nTrustedAuthservIDs {AUTHSERV}\nSyslog false\nUMask 0000\n"
                   f"PublicSuffixList /usr/share/publicsuffix/public_suffix_list.dat\nSPFSelfValidate {'false' if policy else 'true'}\nSPFIgnoreResults {'false' if policy else 'true'}\n")
        self.write("policyd.conf", f"debugLevel = 0\nTestOnly = 1\nHELO_reject = Fail\nMail_From_reject = Fail\nHeader_Type = AR\nAuthserv_Id = {AUTHSERV}\n")
        self.spawn("opendkim", ["opendkim", "-f", "-x", self.dir / "opendkim.conf"])
        self.spawn("opendmarc", ["opendmarc", "-f", "-c", self.dir / "opendmarc.conf"])
        for name in ("opendkim", "opendmarc"):
            self.wait(name, socket.AF_UNIX, f"{self.dir}/{name}.sock")

    def load(self):
        args = ["milters", "--opendkim", self.dir / "opendkim.sock", "--opendmarc", self.dir / "opendmarc.sock"]
        return args + (["--policy", "/usr/bin/policyd-spf", "--policy-config", self.dir / "policyd.conf"] if self.policy else [])


class Rspamd(Processes):
    """rspamd with nothing but spf, dkim, arc and dmarc."""
    name = "rspamd (spf, dkim, arc, dmarc only)"

    def __init__(self, directory, workers):
        super().__init__(directory)
        self.port = free_port()
        plugins = "/usr/share/rspamd/plugins"
        self.write("suffixes", "com\nnet\norg\ntest\n")  # of the whole list it would compile an automaton for a quarter of a minute
        self.write("rspamd.conf", f"""
options {{
  filters = "dkim";
  pidfile = "{self.dir}/pid"; tempdir = "{self.dir}"; cache_file = "{self.dir}/symbols.cache"; stats_file = "{self.dir}/stats.ucl"; hs_cache_dir = "{self.dir}";
  control_socket = "{self.dir}/control.sock mode=0600"; url_tld = "{self.dir}/suffixes"; local_addrs = []; allow_raw_input = true;
  dns {{ nameserver = ["127.0.0.1"]; timeout = 2s; retransmits = 2; }}
}}
logging {{ type = "file"; filename = "{self.dir}/rspamd.log"; level = "error"; }}
worker "normal" {{ bind_socket = "127.0.0.1:{self.port}"; count = {workers or os.cpu_count()}; }}
modules {{ path = "{plugins}/spf.lua"; path = "{plugins}/arc.lua"; path = "{plugins}/dmarc.lua"; }}
spf {{ }}
dkim {{ }}
arc {{ }}
dmarc {{ }}
actions {{ reject = 1000; }}
""")
        self.spawn("rspamd", ["rspamd", "-f", "-i", "-u", "root", "-g", "root", "-c", self.dir / "rspamd.conf"])
        self.wait("rspamd", socket.AF_INET, ("127.0.0.1", self.port))

    def load(self):
        return ["rspamd", "--http", str(self.port)]
