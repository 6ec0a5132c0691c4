"""Dovecot as somebody else's IMAP server."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

from .site import free_port, wait_until

USER, PASSWORD = "ann@old.test", "their secret 1"


class Dovecot:
    """One account, in a Maildir; its names are "INBOX.Sent", as of Courier and many others. certificate, key: PEM files for localhost."""

    def __init__(self, certificate, key):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="postbus-dovecot-"))
        self.dir.chmod(0o755)
        self.imap, self.imaps = free_port(), free_port()
        self.mail = self.dir / "mail" / USER
        self.mail.mkdir(parents=True)
        for name, source in (("tls.crt", certificate), ("tls.key", key)):
            shutil.copy(source, self.dir / name)
        (self.dir / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}::::::\n")
        (self.dir / "conf").write_text(f"""dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
base_dir = {self.dir}/run
state_dir = {self.dir}/state
protocols = imap
listen = 127.0.0.1
log_path = {self.dir}/log
mail_driver = maildir
mail_path = {self.dir}/mail/%{{user}}
mail_home = {self.dir}/mail/%{{user}}
mail_save_crlf = yes
mail_uid = mail
mail_gid = mail
first_valid_uid = 1
first_valid_gid = 1
mailbox_list_layout = maildir++
ssl = required
ssl_server {{
  cert_file = {self.dir}/tls.crt
  key_file = {self.dir}/tls.key
}}
passdb passwd-file {{
  passwd_file_path = {self.dir}/users
}}
userdb static {{
  fields {{
    uid = mail
    gid = mail
    home = {self.dir}/mail/%{{user}}
  }}
}}
namespace inbox {{
  inbox = yes
  separator = .
  prefix = INBOX.
  mailbox Gesendet {{
    special_use = \\Sent
    auto = subscribe
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {self.imap}
  }}
  inet_listener imaps {{
    port = {self.imaps}
    ssl = yes
  }}
}}
""")
        self.own()
        self.process = subprocess.Popen(["dovecot", "-F", "-c", str(self.dir / "conf")], stdout=open(self.dir / "out", "wb"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
        wait_until(f"Dovecot (see {self.dir})", self._answers)

    def _answers(self):
        import socket
        assert self.process.poll() is None, (self.dir / "out").read_text() + ((self.dir / "log").read_text() if (self.dir / "log").exists() else "")
        return socket.create_connection(("127.0.0.1", self.imaps), 1)

    def own(self):
        """What was written into the Maildir belongs to the user of the mail."""
        for path in [self.dir / "mail", *(self.dir / "mail").rglob("*")]:
            shutil.chown(path, "mail", "mail")

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)
