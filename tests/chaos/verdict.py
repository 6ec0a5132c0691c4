"""Counts every recipient of every message, and compares every byte.

A message that was acknowledged with 250 reaches each of its recipients exactly once, as it was sent. One whose acknowledgement was not seen may be there once or not at all. A
recipient that another server refused for good is reported to the sender exactly once. The one exception is that of RFC 5321 §6.1: a remote server's 250 that was on its way, or
not recorded yet, when delivery was killed or stopped may lead to a second copy there; such transactions are counted, and bound the copies."""
import collections
import imaplib
import re

from senders import PASSWORD, TLS, digest
from sinks import digest_of
from world import client_name, log, wait_until

RECORD_SECONDS = 0.5     # from a 250 until it is on disk as the recipient's state, at most, on a busy machine
RECONNECT_SECONDS = 2.0  # a service has Redis again at most so long after its new start


def read_mailbox(site, address):
    """Yields the whole text of each message in all folders of a mailbox."""
    session = imaplib.IMAP4_SSL("127.0.0.1", site.ports["imaps"], ssl_context=TLS, timeout=60)
    session.login(address, PASSWORD)
    for folder in ("INBOX", "Junk"):
        count = int(session.select(folder, readonly=True)[1][0] or b"0")
        for first in range(1, count + 1, 200):
            for part in session.fetch(f"{first}:{min(count, first + 199)}", "(BODY.PEEK[])")[1]:
                if isinstance(part, tuple):
                    yield part[1]
    session.logout()


def is_report(text):
    return b"multipart/report" in text[:text.find(b"\r\n\r\n")]


class Verdict:
    """aliases: {address: the addresses that it stands for}."""

    def __init__(self, world, record, faults, aliases=None):
        self.world, self.record, self.happened, self.aliases = world, record, faults.happened if faults else [], aliases or {}
        self.problems = collections.defaultdict(list)
        self.local = collections.Counter()    # (mark, address): copies in its mailbox
        self.reports = collections.Counter()  # (mark, address): failure reports in the sender's mailbox
        self.remote = collections.defaultdict(list)  # (mark, address): Arrivals

    def judge(self):
        self._read_mailboxes()
        self._read_sinks()
        expected = collections.Counter()
        for sent in self.record.sent.values():
            for rcpt in sent.rcpts:
                for target in self.aliases.get(rcpt, [rcpt]):
                    expected[sent.mark, target] += 1
                    self._judge_one(sent, target)
        for mark, rcpt in [*self.local, *self.remote]:
            if not expected[mark, rcpt]:
                self.problems["a copy for nobody"].append(f"{mark} for {rcpt}")
        acknowledged = [sent for sent in self.record.sent.values() if sent.acknowledged]
        log(f"acknowledged: {len(acknowledged)} messages for {sum(len(s.rcpts) for s in acknowledged)} recipients; without an answer: {len(self.record.sent) - len(acknowledged)}")
        log(f"found: {sum(self.local.values())} in mailboxes, {sum(map(len, self.remote.values()))} at other sites over {self.world.sinks.connections} connections, "
            f"{sum(self.reports.values())} reported to their senders")
        log(f"refusals by this site: {', '.join(f'{k}: {n}' for k, n in sorted(self.record.replies.items())) or 'none'}")
        self.problems["refused for good"] += self.record.permanent
        self._judge_extra_copies()
        return {what: cases for what, cases in self.problems.items() if cases}

    def _judge_one(self, sent, rcpt):
        case = f"{sent.mark} for {rcpt} ({sent.size} bytes, {'acknowledged' if sent.acknowledged else 'no answer seen'})"
        if rcpt in self.world.users:
            copies = self.local[sent.mark, rcpt]
        elif rcpt.startswith("gone"):
            copies = self.reports[sent.mark, rcpt]
            if copies > 1 or (sent.acknowledged and not copies):
                self.problems["not reported" if not copies else "reported twice"].append(case)
            return
        else:
            copies = min(1, len(self.remote[sent.mark, rcpt]))  # further ones: _judge_extra_copies
            if self.reports[sent.mark, rcpt]:
                self.problems["reported although nothing was wrong"].append(case)
        if sent.acknowledged and not copies:
            self.problems["lost"].append(case)
        if copies > 1:
            self.problems["more than once in a mailbox"].append(f"{case}: {copies} times")

    def _judge_extra_copies(self):
        """Copies at other sites beyond the first, each of which an earlier 250 in flight has to explain."""
        extra, excused, transactions = 0, 0, set()
        for (mark, rcpt), arrivals in self.remote.items():
            arrivals.sort(key=lambda a: a.dot_at)
            for i, later in enumerate(arrivals[1:]):
                extra += 1
                earlier = arrivals[i]
                if fault := self._in_flight(earlier):
                    excused += 1
                    transactions.add((id(earlier), fault.begin))
                else:
                    between = [f"{f.victim} {f.what.split(',')[0]} {f.begin:.2f} to {f.end:.2f}" for f in self.happened if f.end > earlier.dot_at - 1 and f.begin < later.dot_at]
                    self.problems["more than once at another site"].append(f"{mark} for {rcpt}: 250 at {earlier.reply_at:.2f} and again at {later.reply_at:.2f}; "
                                                                           f"between them {', '.join(between[:8]) or 'no fault'}")
        bound = sum(1 for a in self.world.sinks.arrivals if self._in_flight(a))
        log(f"other sites: {extra} copies beyond the first, {excused} of them from {len(transactions)} transactions whose 250 was in flight when delivery was killed or stopped "
            f"({bound} such transactions in all)")

    def _in_flight(self, arrival):
        """The fault of the replica of delivery that met this transaction between its final dot and the record of its 250; None."""
        recorded = arrival.reply_at + RECORD_SECONDS
        for f in self.happened:  # in the order of time
            if f.victim == "redis" and f.begin < recorded and arrival.reply_at < f.end + RECONNECT_SECONDS:
                recorded = f.end + RECONNECT_SECONDS + RECORD_SECONDS
        for f in self.happened:
            met = client_name(f.victim) == arrival.client or f.victim == "delivery" and f.what.startswith("away")
            if met and f.what != "restarted" and arrival.dot_at - 0.02 <= f.end and recorded >= f.begin:
                return f
        return None

    def _read_mailboxes(self):
        for address in self.world.users:
            for text in wait_until(f"the mailbox of {address}", lambda a=address: list(read_mailbox(self.world.site, a)) or [b""], 60):
                if not text:
                    continue
                mark, what = digest_of(text)
                if is_report(text):
                    for rcpt in re.findall(rb"^Final-Recipient: *rfc822; *(\S+)\r$", text, re.M | re.I):
                        self.reports[mark, rcpt.decode()] += 1
                    continue
                self.local[mark, address] += 1
                self._compare(mark, what, f"the mailbox of {address}")

    def _read_sinks(self):
        for arrival in self.world.sinks.arrivals:
            if not arrival.rcpts:
                self.problems["out of step with a server"].append(f"{arrival.host}: {arrival.mark}")
                continue
            for rcpt in arrival.rcpts:
                self.remote[arrival.mark, rcpt].append(arrival)
            self._compare(arrival.mark, arrival.digest, arrival.host)

    def _compare(self, mark, what, where):
        sent = self.record.sent.get(mark)
        if sent is None:
            self.problems["a message that nobody sent"].append(f"{mark} at {where}")
        elif digest(sent) != what:
            self.problems["changed on its way"].append(f"{mark} at {where} ({sent.size} bytes)")


def tell(problems):
    """Prints them; True when there are none."""
    for what, cases in problems.items():
        log(f"  FAULT {what}: {len(cases)}")
        for case in cases[:6]:
            log(f"    {case}")
    return not problems
