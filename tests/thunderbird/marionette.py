"""Thunderbird, headless, driven through Marionette, its remote control: a JSON protocol over TCP (`<length>:[type, id, …]`)."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

from postbus_test.site import free_port, wait_until  # noqa: E402

PREFERENCES = {  # nothing asks, nothing is fetched from elsewhere, no first-run pages
    "app.donation.eoy.version.viewed": 999, "app.update.enabled": False, "browser.shell.checkDefaultBrowser": False, "datareporting.policy.dataSubmissionEnabled": False,
    "mail.provider.suppress_dialog_on_startup": True, "mail.shell.checkDefaultClient": False, "mail.spotlight.firstRunDone": True, "mail.winsearch.firstRunDone": True, "mailnews.start_page.enabled": False,
    "mailnews.start_page_override.mstone": "ignore", "toolkit.telemetry.reportingpolicy.firstRun": False, "network.dns.disableIPv6": True, "calendar.timezone.useSystemTimezone": True,
    "mail.check_all_imap_folders_for_new": False, "mail.biff.alert.show_preview": False, "network.captive-portal-service.enabled": False, "network.connectivity-service.enabled": False,
}


class Thunderbird:
    def __init__(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="postbus-thunderbird-"))
        port = free_port()
        (self.home / "profile").mkdir()
        (self.home / "profile/user.js").write_text("".join(f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in {**PREFERENCES, "marionette.port": port}.items()))
        self.log = open(self.home / "log", "wb")
        self.process = subprocess.Popen(["thunderbird", "--headless", "--marionette", "--remote-allow-system-access", "--no-remote", "--profile", str(self.home / "profile")], stdout=self.log, stderr=subprocess.STDOUT,
                                        stdin=subprocess.DEVNULL, env={**os.environ, "HOME": str(self.home), "MOZ_HEADLESS": "1"}, start_new_session=True)
        self.socket = wait_until("Thunderbird's Marionette", lambda: self._connect(port), 180)
        self.received, self.number = b"", 0
        self._read()
        self.command("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {"timeouts": {"script": 120000}}}})
        self.command("Marionette:SetContext", {"value": "chrome"})

    def _connect(self, port):
        assert self.process.poll() is None, (self.home / "log").read_text(errors="replace")
        return socket.create_connection(("127.0.0.1", port), 1)

    def _read(self):
        self.socket.settimeout(180)
        while b":" not in self.received:
            self._more()
        length, _, self.received = self.received.partition(b":")
        while len(self.received) < int(length):
            self._more()
        text, self.received = self.received[:int(length)], self.received[int(length):]
        return json.loads(text)

    def _more(self):
        piece = self.socket.recv(65536)
        assert piece, "Thunderbird closed its remote control:\n" + (self.home / "log").read_text(errors="replace")[-3000:]
        self.received += piece

    def command(self, name, arguments):
        self.number += 1
        text = json.dumps([0, self.number, name, arguments]).encode()
        self.socket.sendall(b"%d:%s" % (len(text), text))
        _, number, error, result = self._read()
        assert number == self.number and error is None, (name, error)
        return result.get("value") if isinstance(result, dict) else result

    def run(self, script, *arguments):
        """Runs JavaScript with the rights of Thunderbird's own code; `return` gives the answer."""
        return self.command("WebDriver:ExecuteScript", {"script": 'const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");\n' + script, "args": list(arguments), "sandbox": "system", "newSandbox": True})

    def end(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.home, ignore_errors=True)
