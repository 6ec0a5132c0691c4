"""Other makers' DKIM and ARC beside ours, each through its own door: dkimpy in this process, OpenDKIM as its library (what its milter calls), rspamd over HTTP, and ours
through tests/tools/proofs. All are given the same keys and the same DNS.

A peer has `verify(message)` → "pass", "fail" or what it says instead, and `sign(message, selector, canonicalization)` → the signature field with its CRLF, or None where it
cannot: canonicalization is ("relaxed", "simple") for header and body."""
from base64 import b64encode
import ctypes
import ctypes.util
import http.client
import json
import os
import pathlib
import re
import subprocess
import tempfile

import dkim

from .scripted_dns import ScriptedDns
from .site import BIN, free_port, wait_until

DOMAIN = "sign.test"


def openssl(*words, data=None):
    return subprocess.run(["openssl", *words], input=data, capture_output=True, check=True).stdout


class Keys:
    """Selector r: rsa-2048, e: ed25519; both of sign.test. records: what DNS says."""

    def __init__(self):
        self.pem = {"r": openssl("genrsa", "-traditional", "2048"), "e": openssl("genpkey", "-algorithm", "ed25519")}
        self.seed = b64encode(openssl("pkey", "-outform", "DER", data=self.pem["e"])[-32:])
        rsa = b64encode(openssl("pkey", "-pubout", "-outform", "DER", data=self.pem["r"])).decode()
        ed = b64encode(openssl("pkey", "-pubout", "-outform", "DER", data=self.pem["e"])[-32:]).decode()
        self.records = {f"r._domainkey.{DOMAIN}": f"v=DKIM1; k=rsa; p={rsa}", f"e._domainkey.{DOMAIN}": f"v=DKIM1; k=ed25519; p={ed}"}


class Ours:
    name = "postbus"

    def __init__(self, keys):
        self.process = subprocess.Popen([BIN.parent / "tools/proofs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for name, text in keys.records.items():
            self.ask(f"record {name}", text.encode())
        for selector, pem in keys.pem.items():
            self.ask(f"key {selector}", pem)

    def ask(self, words, data):
        self.process.stdin.write(f"{words} {len(data)}\n".encode() + data)
        self.process.stdin.flush()

    def judge(self, message):
        self.ask("verify", message)
        return json.loads(self.process.stdout.readline())

    def field(self, words, message):
        self.ask(words, message)
        return self.process.stdout.read(int(self.process.stdout.readline()))

    def verify(self, message):
        return self.judge(message)["dkim"][0]["result"]

    def sign(self, message, selector, canonicalization, tags=""):
        algorithm = {"r": "rsa-sha256", "e": "ed25519-sha256"}[selector]
        return self.field(f"sign-as {selector} v=1;a={algorithm};c={'/'.join(canonicalization)};d={DOMAIN};s={selector};{tags}h=from:to:subject:date:from:x-odd:cc;", message)

    def sign_as_sent(self, message, selector):
        """What the verifier service makes."""
        return self.field(f"sign {selector} {DOMAIN}", message)

    def arc(self, message):
        return self.judge(message)["arc"]["cv"]

    def seal(self, message, selector):
        return self.field(f"seal {selector} {DOMAIN}", message)

    def end(self):
        self.process.stdin.close()
        return self.process.wait(20)


class Dkimpy:
    name = "dkimpy"

    def __init__(self, keys):
        self.keys = keys

    def _dns(self, name, timeout=5):
        return self.keys.records.get(name.decode().rstrip("."), "").encode() or None

    def _key(self, selector):
        return {"r": self.keys.pem["r"], "e": self.keys.seed}[selector]

    def verify(self, message):
        try:
            return "pass" if dkim.verify(message, dnsfunc=self._dns) else "fail"
        except dkim.DKIMException as e:
            return f"error: {e}"

    def sign(self, message, selector, canonicalization):
        return dkim.sign(message, selector.encode(), DOMAIN.encode(), self._key(selector), canonicalize=tuple(c.encode() for c in canonicalization),
                         signature_algorithm={"r": b"rsa-sha256", "e": b"ed25519-sha256"}[selector], include_headers=[b"from", b"to", b"subject", b"date", b"x-odd"])

    def arc(self, message):
        try:
            return dkim.arc_verify(message, dnsfunc=self._dns)[0].decode()
        except dkim.DKIMException as e:
            return f"error: {e}"

    def seal(self, message, selector):
        """dkimpy takes the results, and the state of the chain, from an Authentication-Results field of its own name."""
        arc = b"" if self.arc(message) == "none" else b"; arc=" + self.arc(message).encode()
        results = b"Authentication-Results: mx.sign.test; spf=pass smtp.mailfrom=a@sign.test" + arc + b"\r\n"
        return b"".join(dkim.arc_sign(results + message, selector.encode(), DOMAIN.encode(), self._key(selector), b"mx.sign.test", include_headers=[b"from", b"to", b"subject"],
                                      signature_algorithm={"r": b"rsa-sha256", "e": b"ed25519-sha256"}[selector]))

    def end(self):
        pass


class OpenDkim:
    """libopendkim, the library under OpenDKIM's milter; keys of DNS from a file (its DKIM_QUERY_FILE)."""
    name = "opendkim"
    STATUS = {0: "pass", 1: "fail", 2: "none", 3: "no key", 4: "cannot verify", 5: "syntax", 6: "no resources", 7: "internal", 8: "revoked", 9: "invalid", 11: "key failed"}

    def __init__(self, keys):
        self.lib = ctypes.CDLL(ctypes.util.find_library("opendkim") or "libopendkim.so.11")
        for name in ("dkim_init", "dkim_sign", "dkim_verify"):
            getattr(self.lib, name).restype = ctypes.c_void_p
        self.context = ctypes.c_void_p(self.lib.dkim_init(None, None))
        self.file = tempfile.NamedTemporaryFile("w", suffix=".keys")
        self.file.write("".join(f"{name} {text}\n" for name, text in keys.records.items()))
        self.file.flush()
        method, path = ctypes.c_int(1), ctypes.create_string_buffer(self.file.name.encode())
        assert self.lib.dkim_options(self.context, 1, 6, ctypes.byref(method), ctypes.sizeof(method)) == 0
        assert self.lib.dkim_options(self.context, 1, 7, path, ctypes.sizeof(path)) == 0
        self.keys = keys

    def _feed(self, handle, message):
        header, _, body = message.partition(b"\r\n\r\n")
        for field in re.split(rb"\r\n(?![ \t])", header):
            status = self.lib.dkim_header(handle, field, ctypes.c_size_t(len(field)))
            if status:
                return status
        status = self.lib.dkim_eoh(handle)
        if status:
            return status
        if body:
            status = self.lib.dkim_body(handle, body, ctypes.c_size_t(len(body)))
        return status or self.lib.dkim_eom(handle, None)

    def verify(self, message):
        status = ctypes.c_int()
        handle = ctypes.c_void_p(self.lib.dkim_verify(self.context, b"id", None, ctypes.byref(status)))
        result = self._feed(handle, message)
        self.lib.dkim_free(handle)
        return self.STATUS.get(result, str(result))

    def sign(self, message, selector, canonicalization, margin=0):
        """margin: where its field is folded; 0: nowhere, for its folding breaks some of its signatures (trust_cross_check_test shows it)."""
        status = ctypes.c_int()
        word = {"simple": 0, "relaxed": 1}
        handle = ctypes.c_void_p(self.lib.dkim_sign(self.context, b"id", None, self.keys.pem[selector], selector.encode(), DOMAIN.encode(), word[canonicalization[0]],
                                                    word[canonicalization[1]], {"r": 1, "e": 2}[selector], ctypes.c_long(-1), ctypes.byref(status)))
        self.lib.dkim_set_margin(handle, margin)
        if not handle or self._feed(handle, message):
            return None
        text = ctypes.create_string_buffer(8192)
        assert self.lib.dkim_getsighdr(handle, text, ctypes.c_size_t(8192), ctypes.c_size_t(16)) == 0
        self.lib.dkim_free(handle)
        return b"DKIM-Signature: " + text.value.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + b"\r\n"

    def end(self):
        self.file.close()


class Rspamd:
    """A real rspamd with its dkim, arc and dkim_signing modules alone. It signs and seals what a login sends: always relaxed/relaxed."""
    name = "rspamd"
    DKIM = {"R_DKIM_ALLOW": "pass", "R_DKIM_REJECT": "fail", "R_DKIM_PERMFAIL": "permerror", "R_DKIM_TEMPFAIL": "temperror", "R_DKIM_NA": "none"}
    ARC = {"ARC_ALLOW": "pass", "ARC_REJECT": "fail", "ARC_INVALID": "fail", "ARC_DNSFAIL": "fail", "ARC_NA": "none"}

    def __init__(self, keys):
        self.dns = ScriptedDns({(name, "TXT"): " ".join(f'"{text[i:i + 200]}"' for i in range(0, len(text), 200)) for name, text in keys.records.items()})
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="postbus-rspamd-"))
        self.port = free_port()
        for selector, pem in keys.pem.items():
            (self.dir / f"{selector}.key").write_bytes(pem)
        (self.dir / "tld").write_text("test\ncom\norg\n")
        sign = f'''sign_authenticated = true; sign_local = false; sign_inbound = false; allow_username_mismatch = true; allow_hdrfrom_mismatch = true; use_esld = false;
            use_domain = "header"; domain {{ "{DOMAIN}" {{ selector = "r"; path = "{self.dir}/r.key"; }} }}'''
        (self.dir / "rspamd.conf").write_text(f'''
options {{ filters = "dkim"; url_tld = "{self.dir}/tld"; disable_hyperscan = true; dns {{ nameserver = ["127.0.0.1:{self.dns.port}"]; timeout = 2s; retransmits = 3; }}
    tempdir = "{self.dir}"; pidfile = "{self.dir}/pid"; hs_cache_dir = "{self.dir}"; dynamic_conf = "{self.dir}/dynamic"; history_file = "{self.dir}/history"; local_addrs = []; }}
lang_detection {{ languages = "{self.dir}"; }}
logging {{ type = "console"; level = "error"; }}
worker "normal" {{ bind_socket = "127.0.0.1:{self.port}"; count = 1; }}
modules {{ path = "/usr/share/rspamd/plugins/"; }}
dkim {{ }}
arc {{ {sign} }}
dkim_signing {{ {sign} }}
''')
        (self.dir / "state").mkdir()
        self.process = subprocess.Popen(["rspamd", "-f", "-i", "-c", self.dir / "rspamd.conf"], stdout=open(self.dir / "log", "wb"), stderr=subprocess.STDOUT, env={**os.environ, "HOME": str(self.dir)})
        self.connection = None
        wait_until(f"rspamd to answer (see {self.dir}/log)", lambda: self._ask("/ping", b""))

    def _ask(self, path, message, **headers):
        for attempt in (1, 2):
            self.connection = self.connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            try:
                self.connection.request("POST", path, body=message, headers=headers)
                reply = self.connection.getresponse()
                data = reply.read()
                if reply.will_close:
                    self.connection = None
                return data
            except (http.client.HTTPException, OSError):
                self.connection = None
                if attempt == 2:
                    raise

    def check(self, message, **headers):
        return json.loads(self._ask("/checkv2", message, **headers))

    def _symbol(self, message, words):
        symbols = self.check(message)["symbols"]
        return next((result for symbol, result in words.items() if symbol in symbols), f"error: {sorted(symbols)}")

    def verify(self, message):
        return self._symbol(message, self.DKIM)

    def arc(self, message):
        return self._symbol(message, self.ARC)

    def sign(self, message, selector, canonicalization):
        if selector != "r" or canonicalization != ("relaxed", "relaxed"):
            return None
        value = self.check(message, User=f"a@{DOMAIN}", From=f"a@{DOMAIN}").get("dkim-signature")
        return b"DKIM-Signature: " + value.encode() + b"\r\n" if value else None

    def seal(self, message, selector):
        if selector != "r":
            return None
        added = self.check(message, User=f"a@{DOMAIN}", From=f"a@{DOMAIN}").get("milter", {}).get("add_headers", {})
        names = ("ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results")
        return b"".join(f"{name}: {added[name]['value']}\r\n".encode() for name in names) if all(name in added for name in names) else None

    def end(self):
        self.process.terminate()
        self.process.wait(20)
        self.dns.end()
