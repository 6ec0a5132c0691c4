"""The torture set: messages that are hard to take apart, each with the sections that are asked of it. Bytes are exact; lines end with CRLF unless the message is about that.

MESSAGES maps a name to a Message. The first line of `about` is the point of the message, and the RFC section that decides."""
import base64
import dataclasses


@dataclasses.dataclass(frozen=True)
class Message:
    name: str
    about: str
    raw: bytes
    sections: tuple  # section numbers that are asked for; each as body, MIME, HEADER, TEXT, BINARY and a part of it


MESSAGES = {}
TOP = b"From: Ann <ann@x.test>\r\nTo: bob@y.test\r\nSubject: torture\r\nDate: Mon, 23 Nov 2026 09:00:00 +0100\r\nMessage-ID: <t@x.test>\r\n"
MIME = TOP + b"MIME-Version: 1.0\r\n"


def message(name, about, raw, *sections):
    assert name not in MESSAGES
    MESSAGES[name] = Message(name, about, raw, sections or ("1", "2"))


def lines(*texts):
    """These lines, each with its CRLF."""
    return b"".join((t.encode() if isinstance(t, str) else t) + b"\r\n" for t in texts)


def multipart(boundary, *parts, subtype="mixed", end=True, preamble=b"", epilogue=b""):
    """The Content-Type field, the empty line, and the body of a multipart."""
    text = f"Content-Type: multipart/{subtype}; boundary=\"{boundary}\"\r\n\r\n".encode() + preamble
    text += b"".join(b"--" + boundary.encode() + b"\r\n" + part + b"\r\n" for part in parts)
    return text + (b"--" + boundary.encode() + b"--\r\n" if end else b"") + epilogue


def nested(levels, inside):
    """A multipart in a multipart, so many levels deep."""
    head = b"".join(lines(f"Content-Type: multipart/mixed; boundary=b{n}", "", f"--b{n}") for n in range(levels))
    return head + inside + b"".join(lines("", f"--b{n}--") for n in reversed(range(levels)))


# Headers and bodies that are missing -------------------------------------------------------------------------------------
message("plain", "a plain message (RFC 5322 §2.1)", TOP + lines("", "text", "more"), "1", "2", "1.1")
message("only-header", "a header block without the empty line and without a body (RFC 5322 §3.5: the body is optional)", TOP)
message("header-and-empty-line", "a header block, its empty line, and nothing (RFC 5322 §3.5)", TOP + b"\r\n")
message("no-header", "an empty line first: no field at all (RFC 5322 §3.5)", lines("", "only a body", "of two lines"))
message("header-without-last-crlf", "the last field ends without CRLF (RFC 5322 §2.2)", TOP + b"X-Last: not ended")
message("body-without-last-crlf", "the last line of the body ends without CRLF", TOP + b"\r\nnot ended")
message("fields-repeated", "fields that may occur once occur twice (RFC 5322 §3.6)", lines("Subject: first", "From: a@x.test", "Subject: second", "From: b@x.test", "To: c@x.test", "To: d@x.test", "Date: Mon, 23 Nov 2026 09:00:00 +0000", "Message-ID: <1@x>", "Message-ID: <2@x>", "", "x"))
message("folds", "values folded at every place, with tabs, and a fold of spaces alone (RFC 5322 §2.2.3, §4.2)",
        b"From:\r\n\tAnn\r\n <ann\r\n @x.test>\r\nSubject:\r\n folded\r\n\t twice \r\nTo: bob@y.test\r\nX-Empty:\r\nCc:\r\n \r\n\tc@x.test\r\n\r\nx\r\n")
message("space-before-colon", "white space before the colon (RFC 5322 §4.5.8, obsolete)", lines("From : ann@x.test", "Subject\t: spaced", "To: bob@y.test", "", "x"))
message("lines-that-are-no-fields", "a line of an mbox file first, and lines without a colon among the fields (RFC 5322 §2.2)",
        lines("From nobody Mon Nov 23 09:00:00 2026") + TOP + lines("no field here", "Reply-To: r@x.test", "", "x"))
message("long-line", "a line of 20,000 characters (RFC 5322 §2.1.1: 998)", TOP + b"X-Long: " + b"x" * 20000 + b"\r\n\r\n" + b"y" * 20000 + b"\r\n")
message("many-fields", "3,000 fields", b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(3000)) + TOP + lines("", "x"))
message("empty-fields", "fields of the envelope without a value", lines("From:", "To:", "Subject:", "Date:", "Message-ID:", "In-Reply-To: ", "", "x"))
message("case-of-names", "the names of fields in any case (RFC 5322 §1.2.2)", lines("FROM: ann@x.test", "sUBJECT: case", "mEsSaGe-iD: <c@x>", "CONTENT-TYPE: TEXT/HTML; CHARSET=UTF-8", "content-transfer-encoding: QUOTED-PRINTABLE", "MIME-version: 1.0", "", "x=3D"))

# Bytes that do not belong there -------------------------------------------------------------------------------------------
message("nul-in-body", "NUL in a body (RFC 9051 §9, CHAR8: never in a plain literal)", TOP + b"\r\na\0b\r\n")
message("nul-in-header", "NUL in a field's value", b"From: ann@x.test\r\nSubject: a\0b\r\n\r\nx\r\n")
message("bare-cr-in-body", "a bare CR in a body (RFC 5322 §2.2: CR and LF occur together)", TOP + b"\r\none\rtwo\r\nthree\r\n")
message("bare-cr-in-header", "a bare CR in a field's value", b"From: ann@x.test\r\nSubject: one\rtwo\r\nTo: b@x.test\r\n\r\nx\r\n")
message("bare-lf-in-body", "a bare LF in a body", TOP + b"\r\none\ntwo\r\nthree\r\n")
message("bare-lf-in-header", "a bare LF in a field's value, and one that looks as if it began a field", b"From: ann@x.test\r\nSubject: one\nX-Fake: two\r\nTo: b@x.test\r\n\r\nx\r\n")
message("8-bit-header", "UTF-8 and Latin-1 in a header (RFC 6532; RFC 9051 §4.3: a literal where the client did not ask for UTF-8)",
        "From: Zoë <zoe@x.test>\r\nSubject: grüße\r\n".encode() + "X-Latin: grüße\r\nTo: Jürgen <j@x.test>\r\n".encode("latin-1") + b"\r\nx\r\n")
message("8-bit-body", "8-bit text without a Content-Type (RFC 2045 §5.2)", TOP + "\r\ngrüße\r\n".encode())
message("quotes-in-header", "quotes and backslashes in fields (RFC 9051 §4.3: escaped in a quoted string)", lines(r'From: "A \"B\" \\ C" <a@x.test>', r'Subject: say "x\y"', "", "x"))

# Addresses -----------------------------------------------------------------------------------------------------------------
message("groups", "groups: empty, with members, unended, between addresses (RFC 5322 §3.4, RFC 9051 §7.5.2)",
        lines("From: a@x.test", "To: before@x.test, undisclosed-recipients:;, Team: one@x.test, Two <two@x.test>;, after@x.test", "Cc: Open: c@x.test, d@x.test", "Bcc: A:;, B:;", "", "x"))
message("comments-in-addresses", "comments everywhere, nested, with quoted pairs (RFC 5322 §3.2.2, Appendix A.5)",
        lines(r"From: Pete(A nice \) chap) <pete(his account)@silly.test(his host)>", "To:A Group(Some people)", "     :Chris Jones <c@(Chris's host.)public.example>,", "         joe@example.org,", "  John <jdoe@one.test> (my dear friend); (the end of the group)",
              "Cc:(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;", "Reply-To: bob@x.test (Bob (the (deep) one))", "", "x"))
message("old-addresses", "source routes, missing hosts, dots in names, spaces around dots (RFC 5322 §4.4, Appendix A.6.1)",
        lines("From: Joe Q. Public <john.q.public@example.com>", "To: Mary Smith <@node.test:mary@example.net>, , jdoe@test   . example", "Cc: <@a.test,@b.test:route@c.test>", "Reply-To: local-only", "Bcc: <>", "Sender: (only a comment)", "", "x"))
message("quoted-addresses", "quoted local parts, address literals (RFC 5322 §3.4.1)", lines('From: "a b"@x.test', r'To: "q\"q"@x.test, <"dot..dot"@x.test>, user@[192.0.2.1], u@[IPv6:2001:db8::1]', "Cc: =?utf-8?q?Zo=C3=AB?= <z@x.test>, =?utf-8?b?wqM=?= =?utf-8?q?_x?= <y@x.test>", "", "x"))
message("broken-addresses", "lists that no grammar knows: missing brackets, two addresses without a comma, semicolons", lines("From: Ann <ann@x.test", "To: bob@y.test carl@z.test", "Cc: a@x.test; b@x.test", "Reply-To: <<x@y.test>>", "Bcc: @x.test, y@", "Sender: a@b@c.test", "", "x"))
message("many-addresses", "a list of 300 addresses", b"From: a@x.test\r\nTo: " + b",\r\n ".join(b"u%d@x.test" % n for n in range(300)) + b"\r\n\r\nx\r\n")
message("encoded-words", "encoded words stay as they are in an ENVELOPE (RFC 9051 §7.5.2); broken ones too", lines("From: =?iso-8859-1?Q?Andr=E9?= <a@x.test>", "Subject: =?utf-8?q?a?= =?utf-8?q?b?= =?bad =?x?y?z?= =?utf-8*en?b?wqM=?=", "To: =?us-ascii?q?two words?= <w@x.test>", "", "x"))

# Dates -----------------------------------------------------------------------------------------------------------------
for n, date in enumerate(["21 Nov 97 09:55 GMT", "Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", "Thu, 13 Feb 1969 23:32 -0330 (Newfoundland Time)", "yesterday", "Mon, 31 Feb 2026 09:00:00 +0000", "2026-11-23T09:00:00Z"]):
    message(f"date-{n}", "the Date field is told as it stands (RFC 9051 §7.5.2)", lines("From: a@x.test", f"Date: {date}", "", "x"), "1")

# Types, parameters, encodings ------------------------------------------------------------------------------------------
PARAMETERS = {
    "quoted": r'application/x-t; name="a \"b\" \\ c; d"', "comment": "application/x-t (c) ; (d) name = (e) plain (f)", "continued": "message/external-body; access-type=URL;\r\n URL*0=\"ftp://\";\r\n URL*1=\"cs.utk.edu/x.tar\"",
    "extended": "application/x-t; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A", "both": "application/x-t; title*0*=us-ascii'en'This%20is%20even%20more%20;\r\n title*1*=%2A%2A%2Afun%2A%2A%2A%20;\r\n title*2=\"isn't it!\"",
    "plain-and-extended": "application/x-t; filename=\"euro.txt\"; filename*=utf-8''%e2%82%ac.txt", "pieces-out-of-order": "application/x-t; n*1=\"b\"; n*0=\"a\"; n*2=\"c\"", "piece-missing": "application/x-t; n*0=\"a\"; n*2=\"c\"",
    "bad-percent": "application/x-t; n*=utf-8''%zz%4", "no-quotes-in-extended": "application/x-t; n*=abc", "empty-value": "application/x-t; name=; other=\"\"", "twice": "application/x-t; name=a; name=b",
    "no-semicolon": "application/x-t name=a", "spaces-unquoted": "application/x-t; name=two words.txt", "unclosed-quote": "application/x-t; name=\"open", "many": "application/x-t; " + "; ".join(f"p{n}={n}" for n in range(70)), "trailing-semicolon": "application/x-t; name=a;",
    "8-bit": "application/x-t; name=\"grüße\"", "encoded-word": "application/x-t; name=\"=?utf-8?q?gr=C3=BC=C3=9Fe?=\"",
}
for name, value in PARAMETERS.items():
    message(f"parameter-{name}", "a parameter of Content-Type (RFC 2045 §5.1, RFC 2231); BODYSTRUCTURE tells it as it stands (RFC 9051 §7.5.2)", MIME + f"Content-Type: {value}\r\n\r\nx\r\n".encode(), "1")
message("parameter-in-disposition", "RFC 2231 in a Content-Disposition (RFC 2183 §2)", MIME + lines("Content-Type: text/plain", "Content-Disposition: attachment; filename*0*=utf-8''%e2%82; filename*1*=%ac.txt; size=3", "Content-Language: de, en", "Content-Location: http://x.test/ (a)", "Content-ID: <id@x>", "Content-Description: what\r\n it is", "Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==", "", "x"), "1")
for n, value in enumerate(["text", "text/", "/plain", "", "text/plain; charset", "text plain", "multipart/mixed", "multipart/mixed; boundary=", "text/plain/x; charset=utf-8", "TEXT/PLAIN"]):
    message(f"type-{n}", f"Content-Type: {value or 'without a value'} (RFC 2045 §5.2: what cannot be read is text/plain)", MIME + lines(f"Content-Type: {value}", "", "x"), "1")
message("encodings", "transfer encodings: by other names, in capitals, with comments, unknown (RFC 2045 §6.1; RFC 3516 §4.3: UNKNOWN-CTE)", MIME + multipart(
    "b", lines("Content-Transfer-Encoding: BASE64 (comment)", "", "aGVsbG8="), lines("Content-Transfer-Encoding: x-uuencode", "", "begin 644 x"), lines("Content-Transfer-Encoding: 8Bit;", "", "x"), lines("Content-Transfer-Encoding:", "", "x"),
    lines("Content-Transfer-Encoding: \"quoted-printable\"", "", "=41")), "1", "2", "3", "4", "5")
message("base64", "base64 that is unpadded, broken, interrupted, followed by text, empty (RFC 2045 §6.8)", MIME + multipart(
    "b", *(b"Content-Type: application/x-t\r\nContent-Transfer-Encoding: base64\r\n\r\n" + body for body in (b"aGVsbG8", b"aGV!!sbG\r\n8=", b"aGVsbG8=\r\n\r\ntext after", b"", b"====", base64.encodebytes(bytes(range(256))).replace(b"\n", b"\r\n")))), "1", "2", "3", "4", "5", "6")
message("quoted-printable", "quoted-printable: soft breaks, space at line ends, broken escapes, NUL inside (RFC 2045 §6.7)", MIME + multipart(
    "b", *(b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + body for body in (b"a=\r\nb", b"end \t\r\nx", b"=ZZ =4 =", b"=00=01", b"=c3=bc", b"a =\r\n"))), "1", "2", "3", "4", "5", "6")

# Multiparts --------------------------------------------------------------------------------------------------------------
TEXT = lines("Content-Type: text/plain", "", "text")
message("multipart", "a preamble, two parts, an epilogue (RFC 2046 §5.1.1)", MIME + multipart("b", TEXT, TEXT, preamble=lines("preamble"), epilogue=lines("epilogue", "--b", "no part")), "1", "2", "3", "1.1")
message("multipart-unended", "the last delimiter is missing (RFC 2046 §5.1.1)", MIME + multipart("b", TEXT, TEXT, end=False), "1", "2")
message("multipart-no-boundary", "a multipart without a boundary parameter", MIME + lines("Content-Type: multipart/mixed", "", "--b", "", "x", "--b--"), "1", "2")
message("multipart-no-delimiter", "a multipart whose boundary never comes", MIME + lines("Content-Type: multipart/mixed; boundary=b", "", "x"), "1")
message("multipart-only-end", "a multipart with a last delimiter alone", MIME + lines("Content-Type: multipart/mixed; boundary=b", "", "--b--"), "1")
message("multipart-empty-parts", "parts without a header, without a body, without anything (RFC 2046 §5.1)", MIME + lines("Content-Type: multipart/mixed; boundary=b", "", "--b", "", "--b", "", "", "--b", "Content-Type: text/html", "--b", "Content-Type: text/html", "", "--b", "--b--"), "1", "2", "3", "4", "5", "6")
message("multipart-boundary-prefix", "an inner boundary that begins as the outer one does (RFC 2046 §5.1.2)", MIME + multipart("b", multipart("bb", TEXT, TEXT), TEXT), "1", "1.1", "1.2", "2")
message("multipart-boundary-same", "an inner multipart with the same boundary", MIME + multipart("b", lines("Content-Type: multipart/mixed; boundary=b", "", "--b", "", "x", "--b--"), TEXT), "1", "1.1", "2", "3")
message("multipart-inner-unended", "the outer delimiter ends an inner multipart (RFC 2046 §5.1.2)", MIME + multipart("b", multipart("c", TEXT, TEXT, end=False), TEXT), "1", "1.1", "1.2", "2")
message("multipart-space-after-delimiter", "white space after a delimiter, and text after it (RFC 2046 §5.1.1)", MIME + lines("Content-Type: multipart/mixed; boundary=b", "", "--b \t", "", "one", "--bx", "no delimiter", "--b x", "--b-- ", "after"), "1", "2")
message("multipart-odd-boundary", "every character that a boundary may have, and 70 of them (RFC 2046 §5.1.1)", MIME + multipart("'()+_,-./:=? " + "z" * 57, TEXT), "1")
message("multipart-boundary-ends-in-space", "a boundary that ends in a space (RFC 2046 §5.1.1: it must not)", MIME + lines('Content-Type: multipart/mixed; boundary="b "', "", "--b", "", "x", "--b--"), "1")
message("multipart-encoded", "a multipart that says it is base64 (RFC 2045 §6.4: only 7bit, 8bit and binary)", MIME + b"Content-Transfer-Encoding: base64\r\n" + multipart("b", TEXT), "1")
message("multipart-digest", "the parts of a digest are messages (RFC 2046 §5.1.5)", MIME + multipart("b", lines("", "Subject: in a digest", "", "x"), lines("Content-Type: text/plain", "", "not one"), subtype="digest"), "1", "1.1", "2")
message("multipart-many", "200 parts", MIME + multipart("b", *([b"\r\nx"] * 200)), "1", "100", "200", "201")
message("multipart-boundary-2231", "a boundary in RFC 2231 pieces", MIME + lines("Content-Type: multipart/mixed; boundary*0=\"b1\"; boundary*1=\"b2\"", "", "--b1b2", "", "x", "--b1b2--"), "1")
message("multipart-delimiter-first", "the delimiter is the first line of the body, and the last line has no CRLF", MIME + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--", "1")
message("levels-20", "20 levels of multiparts", MIME + nested(20, TEXT), "1", "1.1.1", ".".join("1" * 20))
message("levels-500", "500 levels of multiparts: a server may stop, and must say something valid (RFC 9051 §7.5.2)", MIME + nested(500, TEXT), "1", "1.1.1", ".".join("1" * 60))

# Messages in messages -------------------------------------------------------------------------------------------------
INNER = lines("From: c@y.test", "Subject: inner", "MIME-Version: 1.0")
message("rfc822", "a message in a message (RFC 2046 §5.2.1, RFC 9051 §6.4.5.1)", MIME + lines("Content-Type: message/rfc822", "") + INNER + lines("", "inner text"), "1", "1.1", "2")
message("rfc822-in-multipart", "a message with parts, as a part: HEADER, TEXT, MIME of its parts (RFC 9051 §6.4.5.1, the example there)", MIME + multipart("b", TEXT, b"Content-Type: message/rfc822\r\n\r\n" + INNER + multipart("c", TEXT, lines("Content-Type: text/html", "", "<p>"))), "1", "2", "2.1", "2.2", "2.3", "3", "2.1.1")
message("rfc822-three-levels", "a message in a message in a message", MIME + lines("Content-Type: message/rfc822", "") + INNER + lines("Content-Type: message/rfc822", "") + INNER + lines("", "deep"), "1", "1.1", "1.1.1", "1.1.1.1")
message("rfc822-empty", "a message/rfc822 part without anything in it", MIME + multipart("b", lines("Content-Type: message/rfc822", ""), TEXT), "1", "1.1", "2")
message("rfc822-only-body", "a message in a part that begins with an empty line", MIME + multipart("b", lines("Content-Type: message/rfc822", "", "", "body")), "1", "1.1")
message("rfc822-base64", "a message that is encoded (RFC 2046 §5.2.1: not allowed)", MIME + lines("Content-Type: message/rfc822", "Content-Transfer-Encoding: base64", "", base64.b64encode(INNER + b"\r\nx").decode()), "1", "1.1")
message("global", "message/global (RFC 6532 §3.7; RFC 9051 §7.5.2: as message/rfc822)", MIME + lines("Content-Type: message/global", "") + "Subject: grüße\r\n\r\nx\r\n".encode(), "1", "1.1")
message("partial-and-external", "message/partial and message/external-body are no messages to IMAP (RFC 2046 §5.2.2, §5.2.3)", MIME + multipart("b", lines("Content-Type: message/partial; id=x; number=1; total=2", "") + INNER + lines("", "x"), lines("Content-Type: message/external-body; access-type=local-file; name=x", "", "Content-Type: image/gif", "")), "1", "1.1", "2", "2.1")
message("report", "a delivery report (RFC 3462, RFC 3464)", MIME + b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n" + b"".join(b"--b\r\n" + part + b"\r\n" for part in (TEXT, lines("Content-Type: message/delivery-status", "", "Reporting-MTA: dns; x.test", "", "Final-Recipient: rfc822; a@x.test"), b"Content-Type: text/rfc822-headers\r\n\r\n" + INNER)) + b"--b--\r\n", "1", "2", "3", "2.1")
message("signed", "a signed message whose parts are one below the other (RFC 1847)", MIME + multipart("s", multipart("a", TEXT, lines("Content-Type: text/html", "", "<p>x"), subtype="alternative"), lines("Content-Type: application/pkcs7-signature; name=smime.p7s", "Content-Transfer-Encoding: base64", "Content-Disposition: attachment; filename=smime.p7s", "", "MIIB"), subtype="signed"), "1", "1.1", "1.2", "2")
