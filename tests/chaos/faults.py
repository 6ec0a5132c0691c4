"""Faults, each made while work is under way, and what was under way at that moment."""
import dataclasses
import random
import signal
import subprocess
import time

from world import LEASE_SECONDS, ROOT, log

DRAIN_SECONDS = 45  # longer than any server here takes to answer, and than a request to another service may take


@dataclasses.dataclass
class Happened:
    """A fault between two moments (time.monotonic()), and the work under way when it began."""
    what: str
    victim: str
    begin: float
    end: float      # of a killed service's own work; of Redis: when it is back
    awaiting: int   # messages sent to their last byte and not answered yet
    sessions: int   # SMTP transactions of senders
    remote: int     # transactions at other sites' servers, before their 250
    reading: dict   # sessions of readers, by service

    def met_work(self):
        service = self.victim.partition("@")[0]
        if service == "delivery":
            return self.remote > 0
        if service in self.reading:
            return self.reading[service] > 0
        return self.sessions > 0


class Faults:
    """Makes faults in a world while its senders work; happened: all of them so far."""

    def __init__(self, world, record):
        self.world, self.site, self.record, self.happened = world, world.site, record, []
        self.stuck = []  # processes that did not end when they were told to

    def _begin(self, what, victim):
        """Waits for a moment in which the victim has work, so that the fault meets it."""
        self._settle()
        end = time.monotonic() + 2
        while True:
            now = time.monotonic()
            fault = Happened(what, victim, now, now, self.record.awaiting, self.record.sessions, self.world.sinks.open, dict(self.record.reading))
            if fault.met_work() and (fault.awaiting or victim.partition("@")[0] not in ("smtpd", "redis", "mailbox")) or now > end:
                self.happened.append(fault)
                return fault
            time.sleep(0.002)

    def _settle(self):
        """Waits until mail flows again after the last fault: a request to a process that was killed is given up only after its time, up to 30 s for the verifier's."""
        count = lambda: (self.record.acknowledged, len(self.world.sinks.arrivals))
        acknowledged, arrived = count()
        end = time.monotonic() + 40
        while time.monotonic() < end:
            now = count()
            if now[0] >= acknowledged + 8 and now[1] >= arrived + 2:
                return
            time.sleep(0.05)

    def _start(self, name):
        if name == "nats":
            self.site.start_nats()
        elif name == "redis":
            self.site.start_redis()
        else:
            self.site.start(name)

    def kill(self, name, away=None):
        """kill -9, and a new start after a moment, or after `away` seconds."""
        fault = self._begin("killed", name)
        self.site.kill(name)
        fault.end = time.monotonic()
        time.sleep(random.random() * 0.5 if away is None else away)
        self._start(name)
        if name == "redis":
            fault.end = time.monotonic()  # nothing could be recorded until now

    def restart(self, name):
        """An orderly end and a new start, as in an upgrade."""
        fault = self._begin("restarted", name)
        process = self.site.processes[name]
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(DRAIN_SECONDS)
        except subprocess.TimeoutExpired:
            core = f"{ROOT}/build/{name}.core"
            subprocess.run(["gdb", "-p", str(process.pid), "-batch", "-ex", f"generate-core-file {core}"], capture_output=True)
            self.stuck.append(f"{name} was told to end and had not after {DRAIN_SECONDS} s ({core} where gdb is installed); its log ends with {self.site.log(name)[-600:]}")
            process.kill()
        self.site.kill(name)
        self._start(name)
        fault.end = time.monotonic()

    def freeze(self, name, seconds=LEASE_SECONDS * 1.5):
        """SIGSTOP for longer than a lease: others take over, and the process goes on afterwards as if nothing had been."""
        fault = self._begin("stopped", name)
        self.site.processes[name].send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.site.processes[name].send_signal(signal.SIGCONT)
        fault.end = time.monotonic()

    def away(self, service, seconds):
        """All replicas of a service killed, and back only after a while."""
        names = [name for name in self.world.names if name.partition("@")[0] == service]
        fault = self._begin(f"away for {seconds} s", service)
        for name in names:
            self.site.kill(name)
        time.sleep(seconds)
        for name in names:
            self._start(name)
        fault.end = time.monotonic()

    def fill_memory(self, seconds, room=100_000):
        """Redis at its maxmemory for a while: new mail has to be refused in time, and what is acknowledged has to be whole."""
        before = dict(self.record.replies)
        fault = self._begin("memory full", "redis")
        used = int([line for line in self.site.redis("INFO", "memory").splitlines() if line.startswith("used_memory:")][0].split(":")[1])
        self.site.redis("CONFIG", "SET", "maxmemory", used + room)
        time.sleep(seconds)
        self.site.redis("CONFIG", "SET", "maxmemory", 0)
        fault.end = time.monotonic()
        refused = {key: n - before.get(key, 0) for key, n in self.record.replies.items() if n > before.get(key, 0)}
        fault.what += f", refusals: {', '.join(f'{key} {n}' for key, n in sorted(refused.items())) or 'none'}"
        return refused

    def report(self):
        """One line for each kind of fault; and those that met no work."""
        idle, kinds = [], {}
        for fault in self.happened:
            kinds.setdefault((fault.what, fault.victim), []).append(fault)
        log("faults (at that moment: unanswered messages / SMTP transactions / transactions at other sites / readers' sessions)")
        for (what, victim), faults in kinds.items():
            log(f"  {victim:12s} {what}: " + ", ".join(f"{f.awaiting}/{f.sessions}/{f.remote}/{sum(f.reading.values())}" for f in faults))
            if not any(f.met_work() for f in faults):
                idle.append(f"{victim} {what}")
        return idle
