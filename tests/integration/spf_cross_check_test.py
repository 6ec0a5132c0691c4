"""The SPF cases of our tables (tests/unit/trust/spf_cases) through Debian's python3-spf, its DNS replaced by the table. Where it disagrees with a case, the case says so and
says why we are right; a disagreement that is not listed fails here, and so does a listed one that is gone."""
import pytest
import spf
from postbus_test.spf_cases import TABLES, Table


def lookup_in(table):
    def lookup(name, kind, strict=True, timeout=None):
        found = table.find(name.rstrip(".").encode("utf-8", "surrogateescape"), kind)
        if found is None:
            raise spf.TempError("DNS failure")
        for data in found:
            text = data.decode("latin-1")
            if kind == "TXT":
                value = tuple(data.split(b"++"))
            elif kind == "MX":
                value = int(text.split()[0]), text.split()[1].rstrip(".")
            else:
                value = text
            yield (name, kind), value
    return lookup


def ask(case):
    """Its result, or the name of the exception that it ends with."""
    try:
        return spf.query(i=case.ip, s=case.sender.decode("utf-8", "surrogateescape"), h=case.helo.decode("utf-8", "surrogateescape")).check()[0]
    except Exception as problem:
        return type(problem).__name__


@pytest.mark.parametrize("path", TABLES, ids=[p.stem for p in TABLES])
def test_python3_spf_gives_the_result_of_each_case_or_the_disagreement_is_explained(path, monkeypatch):
    table = Table(path)
    monkeypatch.setattr(spf, "DNSLookup", lookup_in(table))
    wrong = []
    for case in table.cases:
        got = ask(case)
        expected = case.python3_spf[0] if case.python3_spf else case.result
        if case.python3_spf and (not case.python3_spf[1] or expected == case.result):
            wrong.append(f"{case.where}: a disagreement is listed that is none, or without a reason")
        if got != expected:
            wrong.append(f"{case.where}: {case.words}: python3-spf gives {got}, not {expected} (ours: {case.result})")
    assert table.cases and not wrong, "\n".join(wrong)


def test_there_are_hundreds_of_cases_and_few_disagreements():
    cases = [c for path in TABLES for c in Table(path).cases]
    assert len(cases) >= 600
    assert sum(1 for c in cases if c.python3_spf) <= len(cases) / 10
