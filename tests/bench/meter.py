"""What the machine and the servers did between two moments: CPU time of each container (cgroups), context switches of its processes, and the share of others."""
import os
import pathlib
import re
import time
import urllib.request

TICKS = os.sysconf("SC_CLK_TCK")


class Container:
    def __init__(self, name, identity):
        self.name = name
        self.path = next((path for top in ("/cgroup/cpuacct", "/cgroup/cpu,cpuacct", "/cgroup") if pathlib.Path(top).is_dir()
                          for path in pathlib.Path(top).rglob(f"*{identity}*") if (path / "cpuacct.usage").exists() or (path / "cpu.stat").exists()), None)
        if self.path is None:
            raise SystemExit(f"the cgroup of {name} is not below /sys/fs/cgroup")

    def cpu_seconds(self):
        if (self.path / "cpuacct.usage").exists():
            return int((self.path / "cpuacct.usage").read_text()) / 1e9
        return int(re.search(r"usage_usec (\d+)", (self.path / "cpu.stat").read_text())[1]) / 1e6

    def switches(self):
        """Of the processes that are there now; those of processes that have ended are not known any more."""
        total = 0
        for pid in (self.path / "cgroup.procs").read_text().split():
            for status in pathlib.Path(f"/proc/{pid}/task").glob("*/status"):
                try:
                    total += sum(int(n) for n in re.findall(r"ctxt_switches:\s+(\d+)", status.read_text()))
                except OSError:
                    pass
        return total


def busy_seconds():
    fields = [int(x) for x in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS


class Meter:
    """Measures from its making to stop(), which is told the CPU time that the load itself took."""

    def __init__(self, containers):
        self.containers = containers
        self.begin = time.monotonic()
        self.busy, self.cpu, self.switched = busy_seconds(), [c.cpu_seconds() for c in containers], [c.switches() for c in containers]

    def stop(self, driver):
        used = {c.name: c.cpu_seconds() - before for c, before in zip(self.containers, self.cpu)}
        switches = sum(c.switches() - before for c, before in zip(self.containers, self.switched))
        passed = time.monotonic() - self.begin
        foreign = max(0.0, busy_seconds() - self.busy - sum(used.values()) - driver) / (passed * os.cpu_count())
        return {"cpu": used, "cpu_s": sum(used.values()), "switches": switches, "foreign": foreign}


def disk_flushes():
    """Flush requests that the disks have completed (Linux 5.5 and later)."""
    return sum(int(fields[18]) for fields in map(str.split, pathlib.Path("/proc/diskstats").read_text().splitlines()) if len(fields) > 18)


def wait_quiet(patience=60):
    """Until the machine has been nearly idle for two seconds, or so long."""
    end, calm = time.monotonic() + patience, 0
    while time.monotonic() < end and calm < 2:
        before = busy_seconds()
        time.sleep(1)
        calm = calm + 1 if busy_seconds() - before < 0.15 * os.cpu_count() else 0
    return calm == 2


def counters(services):
    """The sums of all counters of these services' /metrics, by name."""
    total = {}
    for service in services:
        text = urllib.request.urlopen(f"http://{service}:9090/metrics", timeout=10).read().decode()
        kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
        for name, value in re.findall(r"^([a-zA-Z_:]+)(?:\{[^}]*\})? (\S+)$", text, re.M):
            if kinds.get(name) == "counter":
                total[name] = total.get(name, 0) + float(value)
    return total
