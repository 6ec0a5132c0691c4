"""A whole Postbus site of real processes on loopback: nats-server, redis-server with our Functions, and the services asked for."""
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from .nats import Nats
from .tap import Tap

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(os.environ.get("POSTBUS_BIN", ROOT / "build/release/bin"))
SERVICES = ("accounts", "verifier", "mailbox", "delivery", "smtpd", "imapd", "pop3d", "reporter", "admin")
LISTENS = {
    "smtpd": {"smtp": "POSTBUS_SMTP_LISTEN", "submission": "POSTBUS_SUBMISSION_LISTEN", "submissions": "POSTBUS_SUBMISSIONS_LISTEN"},
    "imapd": {"imap": "POSTBUS_IMAP_LISTEN", "imaps": "POSTBUS_IMAPS_LISTEN"},
    "pop3d": {"pop3": "POSTBUS_POP3_LISTEN", "pop3s": "POSTBUS_POP3S_LISTEN"},
    "admin": {"api": "POSTBUS_API_LISTEN", "apis": "POSTBUS_APIS_LISTEN", "web": "POSTBUS_WEB_LISTEN", "webs": "POSTBUS_WEBS_LISTEN"},
}


# Ports of our own servers lie below the range from which the kernel takes the ports of connections (32768 and up), and each pytest-xdist worker has its own part,
# so that nobody takes a port between the moment it is chosen and the moment a server listens there.
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
_next_port = itertools.count(10000 + 3000 * (_worker % 7) + os.getpid() % 500)


def free_port():
    """A port on which nothing listens, and which is not given twice."""
    for port in _next_port:
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def wait_until(what, check, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := check():
                return found
        except (OSError, ConnectionError, TimeoutError, urllib.error.URLError, subprocess.CalledProcessError):
            pass
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain for: {what}")


class Site:
    """hostname: the site's public name. settings: extra environment of all services. redis_settings: further arguments of redis-server.

    A service may run several times: site.start("delivery", "delivery@2") starts two replicas, and whatever takes the name of a service takes that of a replica. The ports of
    a replica are in site.ports as "smtp@2"."""

    def __init__(self, hostname="mx.alpha.test", settings=None, tap=True, redis_settings=(), redis_dir=None, redis_port=None):
        self.hostname = hostname
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="postbus-test-"))
        self.settings = dict(settings or {})
        self.processes = {}
        self.extra = {}  # settings of one service or replica, by its name
        self.ports = {name: free_port() for service in LISTENS.values() for name in service}
        self.http = {service: free_port() for service in SERVICES}
        self.nats_port, self.redis_port = free_port(), redis_port or free_port()
        self.redis_settings, self.redis_dir = [str(word) for word in redis_settings], pathlib.Path(redis_dir or self.dir)
        (self.dir / "cold").mkdir()
        self._make_secrets()
        self.start_nats()
        self.start_redis()
        self.nats = self.new_nats()
        self.tap = Tap(self.new_nats()) if tap else None
        self.users = {}

    # third parties -------------------------------------------------------------------------------------------------

    def _make_secrets(self):
        """The same setup program as in compose and Kubernetes: each service has its own directory, its own NATS user and its own Redis ACL user."""
        root = self.dir / "secrets"
        subprocess.run(["sh", ROOT / "deploy/setup/setup"], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "POSTBUS_HOSTNAME": self.hostname, "POSTBUS_CERT_NAMES": "localhost,127.0.0.1", "POSTBUS_SETUP_ROOT": str(root), "POSTBUS_SETUP_OWNER": f"{os.getuid()}:{os.getgid()}"})
        self.secrets_root, self.secrets = root, root / "admin"
        self.token = (self.secrets / "admin.token").read_text().strip()
        self.redis_password = (root / "redis/admin.password").read_text().strip()
        # there is no way to the root here: the only anchor is of a zone that nobody asks for, so that the tests' own zones are insecure, not bogus
        (self.dir / "anchor").write_text("nowhere.invalid. 3600 IN DS 1 8 2 " + "00" * 32 + "\n")
        conf = (ROOT / "deploy/nats/nats.conf").read_text()
        conf = re.sub(r"(?m)^port:.*$", f"port: {self.nats_port}\nhost: 127.0.0.1", conf)
        conf = re.sub(r"(?m)^http:.*$", "", conf)
        conf = re.sub(r"(?m)^include .*$", "include secrets/nats/passwords.conf", conf)
        conf = conf.replace("store_dir: /data", f"store_dir: {self.dir}/jetstream")
        conf = conf.replace("  users: [", '  users: [\n    { user: test, password: test, permissions: { publish: ">", subscribe: ">" } }', 1)  # the tests themselves
        (self.dir / "nats.conf").write_text(conf)

    def _spawn(self, name, argv, env=None):
        log = open(self.dir / f"{name}.log", "ab")
        self.processes[name] = subprocess.Popen([str(a) for a in argv], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env, cwd=self.dir)

    def start_nats(self):
        self._spawn("nats", ["nats-server", "-c", self.dir / "nats.conf"])
        wait_until("nats-server", lambda: socket.create_connection(("127.0.0.1", self.nats_port), 1))

    def start_redis(self):
        self._spawn("redis", ["redis-server", "--port", self.redis_port, "--bind", "127.0.0.1", "--dir", self.redis_dir, "--appendonly", "yes", "--appendfsync", "always", "--save", "",
                              "--maxmemory-policy", "noeviction", "--enable-debug-command", "local", "--aclfile", self.secrets_root / "redis/users.acl", *self.redis_settings])
        wait_until("redis-server", lambda: self.redis("PING").strip() == "PONG")
        for functions in sorted((ROOT / "libcommon").glob("*/*.lua")):
            answer = subprocess.run([*self.redis_cli, "-x", "FUNCTION", "LOAD", "REPLACE"], stdin=open(functions), capture_output=True, text=True, check=True)
            assert "ERR" not in answer.stdout, f"{functions.name}: {answer.stdout}"

    def new_nats(self):
        return Nats(self.nats_port, "test", "test")

    def redis(self, *words):
        return subprocess.run([*self.redis_cli, *map(str, words)], capture_output=True, text=True, check=True).stdout

    @property
    def redis_cli(self):
        """The beginning of a redis-cli command line, as the user that may do everything."""
        return ["redis-cli", "-p", str(self.redis_port), "--user", "setup", "--pass", self.redis_password, "--no-auth-warning"]

    # services ------------------------------------------------------------------------------------------------------

    def environment(self, name):
        service, at, number = name.partition("@")
        env = {**os.environ, "POSTBUS_HOSTNAME": self.hostname, "POSTBUS_NATS": f"nats://127.0.0.1:{self.nats_port}", "POSTBUS_REDIS": f"127.0.0.1:{self.redis_port}",
               "POSTBUS_SECRETS": str(self.secrets_root / service), "POSTBUS_HTTP": f"127.0.0.1:{self.http_port(name)}", "POSTBUS_WORKERS": "1", "POSTBUS_LOG": "debug",
               "POSTBUS_DNS_SERVER": "", "POSTBUS_HEALTH_DOORS": "off", "POSTBUS_SCRAM_ITERATIONS": "4096", "POSTBUS_DNS_CHECK_SECONDS": "0", "POSTBUS_PRIVATE_DESTINATIONS": "on", "POSTBUS_PUBLIC_ADDRESSES": "127.0.0.1", "POSTBUS_TRUST_ANCHOR": str(self.dir / "anchor"),
               "POSTBUS_COLD_DIRECTORY": str(self.dir / "cold")}
        for listener, setting in LISTENS.get(service, {}).items():
            if listener + at + number not in self.ports:
                self.ports[listener + at + number] = free_port()
            env[setting] = f"127.0.0.1:{self.ports[listener + at + number]}"
        env.update({k: str(v) for k, v in {**self.settings, **self.extra.get(name, {})}.items()})
        return env

    def http_port(self, name):
        """Where a service, or a replica of it, answers /metrics and /healthz."""
        if name not in self.http:
            self.http[name] = free_port()
        return self.http[name]

    def start(self, *services):
        for service in services:
            self._spawn(service, [BIN / service.partition("@")[0]], self.environment(service))
        for service in services:
            wait_until(f"{service} to be healthy (see {self.dir}/{service}.log)", lambda s=service: self._healthy(s))
        return self

    def _healthy(self, service):
        if self.processes[service].poll() is not None:
            raise AssertionError(f"{service} ended with status {self.processes[service].returncode}:\n{self.log(service)[-3000:]}")
        return urllib.request.urlopen(f"http://127.0.0.1:{self.http[service]}/healthz", timeout=2).status == 200

    def stop(self, service, sig=signal.SIGTERM, seconds=30):
        process = self.processes.pop(service)
        process.send_signal(sig)
        return process.wait(seconds)

    def kill(self, service):
        return self.stop(service, signal.SIGKILL)

    def restart(self, service, sig=signal.SIGKILL):
        self.stop(service, sig)
        if service == "nats":
            self.start_nats()
            self.nats = self.new_nats()
        elif service == "redis":
            self.start_redis()
        else:
            self.start(service)

    def log(self, service):
        path = self.dir / f"{service}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def metric(self, service, name):
        """The value of a metric of a service; 0 when it was never counted."""
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.http[service]}/metrics", timeout=5).read().decode()
        return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + " ")), 0.0)

    def rpc(self, verb, **ask):
        return self.nats.request(verb, ask)

    def api(self, method, path, body=None, token=True, headers=None, port=None):
        """(status, object) of an HTTP call: at the API's listener, or, for all other paths, at the public one."""
        data = None if body is None else json.dumps(body).encode()
        port = self.ports[port or ("api" if path.startswith("/api/") else "web")]
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, method=method, headers={"Content-Type": "application/json", **(headers or {})})
        if token:
            request.add_header("Authorization", "Bearer " + (self.token if token is True else token))
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text and "json" in answer.headers.get("Content-Type", "") else text
        except urllib.error.HTTPError as error:
            text = error.read()
            return error.code, json.loads(text) if text and "json" in error.headers.get("Content-Type", "") else text

    def add_account(self, address, password="correct horse 1", **settings):
        """A domain (if it is new) and an account in it, by request; answers the user id."""
        domain = address.split("@")[1]
        if "error" in self.rpc("accounts.domain.get", domain=domain):
            added = self.rpc("accounts.domain.add", domain=domain)
            assert "error" not in added, added
        account = self.rpc("accounts.account.add", address=address, password=password, **settings)
        assert "error" not in account, account
        self.users[address] = account["user"]
        return account["user"]

    def end(self):
        """Ends everything; then every service must have ended cleanly, with no sanitizer report, and every bus message must have fitted its schema."""
        problems = []
        for name in list(self.processes):
            if name in ("nats", "redis"):
                continue
            process = self.processes[name]
            code = process.poll()
            if code is None:
                code = self.stop(name)
            if code != 0:
                problems.append(f"{name} ended with status {code}:\n{self.log(name)[-4000:]}")
        for name in self.http:
            text = self.log(name)
            if "Sanitizer" in text or "runtime error:" in text:
                at = max(0, min(i for i in (text.find("Sanitizer"), text.find("runtime error:")) if i >= 0) - 300)
                problems.append(f"{name}: a sanitizer reports:\n{text[at:at + 4000]}")
        if self.tap:
            problems += [f"the bus: {e}" for e in self.tap.errors[:20]]
        for name in list(self.processes):
            self.stop(name)
        if not problems:
            shutil.rmtree(self.dir, ignore_errors=True)
        assert not problems, "\n".join(problems)
