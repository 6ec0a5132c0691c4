"""Zones signed by BIND's tools with any key and any dates, so that a test can also have signatures that expired, were made for other data, or hang from the wrong DS."""
import pathlib
import subprocess
import tempfile

from .dns import SOA


class SignedZone:
    """text: as for Knot; ns: the address of its name server. start, end: of the signatures, as dnssec-signzone takes them (seconds from now, "+3600" or "-3600"). .text is the signed zone, .ds its DS record."""

    def __init__(self, name, text, start="-3600", end="+86400", ns="127.0.0.1"):
        self.ns, self.name, self.dir = ns, name, pathlib.Path(tempfile.mkdtemp(prefix="postbus-dnssec-"))
        self._run("dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", "-f", "KSK", name)
        self.sign(text, start, end)
        self.ds = self._run("dnssec-dsfromkey", "-2", next(self.dir.glob("K*.key"))).strip() + "\n"

    def _run(self, *argv):
        done = subprocess.run([str(a) for a in argv], cwd=self.dir, capture_output=True, text=True)
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout

    def sign(self, text, start="-3600", end="+86400"):
        """Signs anew, with the same key."""
        (self.dir / "zone").write_text(f"$ORIGIN {self.name.rstrip('.')}.\n" + SOA.replace("127.0.0.1", self.ns) + text)
        at = [f"now{start}", f"now{end}"]
        self._run("dnssec-signzone", "-q", "-P", "-S", "-z", "-o", self.name, "-O", "full", "-s", at[0], "-e", at[1], "-f", "signed", "zone")
        self.text = (self.dir / "signed").read_text()
        return self.text

    def altered(self, old, new):
        """The signed zone with some data changed after signing."""
        assert old in self.text, (old, self.text)
        return "".join(line.replace(old, new) if "\tRRSIG\t" not in line else line for line in self.text.splitlines(keepends=True))


def wrong_ds(ds):
    """A DS of the same key with another digest."""
    head, digest = ds.rstrip().rsplit(None, 1)
    return f"{head} {('0' if digest[0] != '0' else '1') + digest[1:]}\n"
