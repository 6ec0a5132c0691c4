"""People who send mail all the time while things break: strangers on port 25, users of this site on 465, readers by IMAP and POP3. A message whose acknowledgement was not seen
is sent again under a new mark, as a client would."""
import dataclasses
import hashlib
import imaplib
import poplib
import random
import smtplib
import ssl
import threading
import time

TLS = ssl._create_unverified_context()
PASSWORD = "chaos chaos"


@dataclasses.dataclass
class Sent:
    """What was asked for under one mark: recipients as the server took them at RCPT."""
    mark: str
    rcpts: list
    sender: str
    size: int
    acknowledged: bool  # 250 was read
    at: float           # when


class Record:
    """What all senders did, shared by them. A lock guards what is not a single assignment."""

    def __init__(self):
        self.lock = threading.Lock()
        self.sent = {}             # mark: Sent
        self.replies = {}          # code and enhanced code of refusals: how many
        self.permanent = []        # refusals that no fault here excuses
        self.awaiting = 0          # messages whose last byte has been sent and that are not answered
        self.sessions = 0          # transactions under way, from MAIL on
        self.acknowledged = 0      # messages
        self.reading = {"imapd": 0, "pop3d": 0, "admin": 0}  # sessions of readers under way, by the service that they talk to
        self.reads = 0
        self.stop = False

    def refused(self, mark, code, text):
        with self.lock:
            key = f"{code} {text.split(' ')[0]}"
            self.replies[key] = self.replies.get(key, 0) + 1
            if code >= 500:
                self.permanent.append(f"{mark}: {code} {text}")

    def add(self, name, by):
        with self.lock:
            setattr(self, name, getattr(self, name) + by)


def message_text(mark, sender, size):
    """The same bytes for the same arguments. Messages above 262 KB are full of lines with a lone dot around the offsets at which a body may be cut into pieces."""
    rand = random.Random(mark)
    head = (f"X-Mark: {mark}\r\nFrom: <{sender}>\r\nTo: undisclosed-recipients:;\r\nSubject: {mark} =?utf-8?q?=C3=A4?=\r\nDate: Sun, 29 Nov 2026 12:00:00 +0000\r\n"
            f"Message-ID: <{mark}@chaos.load.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n").encode()
    parts, length = [head], len(head)
    while length < size:
        near = any(at - 1500 < length < at + 200 for at in (16384, 65536, 262144))
        line = b".\r\n" if near else rand.choice((b"", b".", b"..", b". not the end", "größer ".encode() * 8, rand.randbytes(30).hex().encode())) + b"\r\n"
        parts.append(line)
        length += len(line)
    return b"".join(parts)


def digest(sent):
    return hashlib.sha256(message_text(sent.mark, sent.sender, sent.size)).hexdigest()


class Sender(threading.Thread):
    """site, record; name: a prefix of its marks. pick(number): the recipients of a message. login: the address it sends as, over 465; None: a stranger on 25."""

    def __init__(self, site, record, name, pick, login=None, pause=0.0, sizes=(1200, 3000, 6000, 300000), weights=(60, 30, 9, 1)):
        super().__init__(daemon=True)
        self.site, self.record, self.prefix, self.pick, self.login, self.pause = site, record, name, pick, login, pause
        self.sizes, self.weights = sizes, weights
        self.rand = random.Random(name)
        self.session, self.pending = None, []  # pending: (recipients, size) to be sent again

    def run(self):
        number = 0
        while not self.record.stop:
            mark = f"{self.prefix}-{number}"
            rcpts, size = self.pending.pop() if self.pending else (self.pick(number), self.rand.choices(self.sizes, self.weights)[0])
            number += 1
            try:
                if self.session is None:
                    self.session = self._connect()
                again = self._attempt(mark, rcpts, size)
            except (smtplib.SMTPException, OSError, ValueError):
                again = rcpts
                self._drop()
            if again:
                self.pending.append((again, size))
                time.sleep(0.05 + self.rand.random() * 0.3)
            elif self.pause:
                time.sleep(self.rand.random() * 2 * self.pause)
        self._drop()

    def _connect(self):
        listener = "submissions" if self.login else "smtp"
        port = self.rand.choice([p for name, p in self.site.ports.items() if name.partition("@")[0] == listener])  # any of its replicas
        if not self.login:
            session = smtplib.SMTP("127.0.0.1", port, local_hostname="load.test", timeout=60)
            session.ehlo()
            return session
        session = smtplib.SMTP_SSL("127.0.0.1", port, local_hostname="client.test", timeout=60, context=TLS)
        try:
            session.login(self.login, PASSWORD)
        except BaseException:
            session.close()
            raise
        return session

    def _drop(self):
        if self.session is not None:
            try:
                self.session.close()
            except OSError:
                pass
        self.session = None

    def _attempt(self, mark, rcpts, size):
        """The recipients to whom this must be sent again."""
        sender, s = self.login or "sender@load.test", self.session
        self.record.add("sessions", 1)
        try:
            code, text = s.mail(sender, ["BODY=8BITMIME"])
            if code != 250:
                return self._refuse(mark, code, text, rcpts)
            taken = []
            for rcpt in rcpts:
                code, text = s.rcpt(rcpt)
                if code == 250:
                    taken.append(rcpt)
                else:
                    self.record.refused(mark, code, text.decode(errors="replace"))
                    if code == 421:
                        self._drop()
                        return rcpts
            if not taken:
                s.rset()
                return rcpts
            code, text = s.docmd("DATA")
            if code != 354:
                return self._refuse(mark, code, text, rcpts)
            message = message_text(mark, sender, size)
            # from here on the message may be in the system, whatever is heard of it
            entry = self.record.sent[mark] = Sent(mark, taken, sender, size, False, 0.0)
            self.record.add("awaiting", 1)
            try:
                s.send(smtplib._quote_periods(message) + b".\r\n")
                code, text = s.getreply()
            finally:
                self.record.add("awaiting", -1)
            if code != 250:
                return self._refuse(mark, code, text, rcpts)
            entry.at, entry.acknowledged = time.monotonic(), True
            self.record.add("acknowledged", 1)
            return [rcpt for rcpt in rcpts if rcpt not in taken]
        finally:
            self.record.add("sessions", -1)

    def _refuse(self, mark, code, text, rcpts):
        if code in (-1, 421):
            self._drop()
        if code > 0:
            self.record.refused(mark, code, text.decode(errors="replace"))
        if self.session is not None and code > 0:
            self.session.rset()
        return rcpts


class Reader(threading.Thread):
    """Reads mail by IMAP or POP3, or the queue by the API, over and over, so that these services too have work when they are killed."""

    def __init__(self, site, record, login, service):
        super().__init__(daemon=True)
        self.site, self.record, self.login, self.service = site, record, login, service
        self.turn = 0
        self.read = {"imapd": self._imap, "pop3d": self._pop3, "admin": self._api}[service]

    def run(self):
        while not self.record.stop:
            self.turn += 1
            self.record.reading[self.service] += 1  # of this thread alone
            try:
                self.read()
                self.record.reads += 1
            except (imaplib.IMAP4.error, poplib.error_proto, OSError, EOFError, ValueError):
                time.sleep(0.1)
            finally:
                self.record.reading[self.service] -= 1

    def _door(self, name):
        """The port of one of the replicas, in turn."""
        doors = [door for door in (name, f"{name}@2") if door in self.site.ports]
        return doors[self.turn % len(doors)]

    def _api(self):
        self.site.api("GET", "/api/v1/queue", port=self._door("api"))
        time.sleep(0.02)

    def _imap(self):
        session = imaplib.IMAP4_SSL("127.0.0.1", self.site.ports[self._door("imaps")], ssl_context=TLS, timeout=20)
        try:
            session.login(self.login, PASSWORD)
            for _ in range(10):
                count = int(session.select("INBOX")[1][0] or b"0")
                if count:
                    session.fetch(str(count), "(BODY.PEEK[])")
                    session.store(str(random.randint(1, count)), "+FLAGS", "\\Seen")
                time.sleep(0.05)
        finally:
            session.shutdown()

    def _pop3(self):
        session = poplib.POP3_SSL("127.0.0.1", self.site.ports["pop3s"], context=TLS, timeout=20)
        try:
            session.user(self.login)
            session.pass_(PASSWORD)
            count = session.stat()[0]
            for i in range(max(1, count - 3), count + 1):
                session.retr(i)
        finally:
            session.close()
