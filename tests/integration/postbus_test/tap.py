"""Listens to every message on the live bus and holds it against proto-schemas/. A subject without a schema is an error."""
import json
import pathlib
import re
import threading

import jsonschema

ROOT = pathlib.Path(__file__).resolve().parents[3]
SCHEMAS = ROOT / "proto-schemas"


class Tap:
    def __init__(self, nats):
        self.errors = []
        self.seen = {}
        self.asked = {}
        self.validators = {}
        self.lock = threading.Lock()
        nats.subscribe(">", self.on_message)

    def validator(self, name):
        if name not in self.validators:
            path = SCHEMAS / (name + ".json")
            self.validators[name] = jsonschema.Draft202012Validator(json.loads(path.read_text())) if path.exists() else None
        return self.validators[name]

    def check(self, name, body, subject):
        validator = self.validator(name)
        self.seen[name] = self.seen.get(name, 0) + 1
        if validator is None:
            self.errors.append(f"{subject}: there is no schema proto-schemas/{name}.json")
            return
        for error in validator.iter_errors(body):
            self.errors.append(f"{subject}: {error.message} at {'/'.join(map(str, error.path)) or 'the top'} (proto-schemas/{name}.json): {json.dumps(body)[:400]}")

    def on_message(self, subject, reply, body):
        with self.lock:
            self._on_message(subject, reply, body)

    def _on_message(self, subject, reply, body):
        if subject.startswith("postbus.queue.due."):
            if body:
                self.errors.append(f"{subject}: has a payload")
            return
        if subject.startswith("$JS.") or subject.startswith("$SYS.") or subject.startswith("_R_"):
            return
        if subject.startswith("_INBOX."):
            verb = self.asked.pop(subject, None)
            if verb and body:
                answer = json.loads(body)
                self.check("rpc/error" if "error" in answer else f"rpc/{verb}.reply", answer, f"the reply to {verb}")
            return
        try:
            message = json.loads(body)
        except ValueError as error:
            self.errors.append(f"{subject}: not JSON: {error}")
            return
        if subject.startswith("postbus.rpc."):
            verb = re.sub(r"^verifier\.at\.[^.]+\.", "verifier.", subject[len("postbus.rpc."):])  # of one worker
            if reply:
                self.asked[reply] = verb
            if not (reply or "").startswith("_INBOX.test"):  # what the tests ask themselves may be wrong on purpose
                self.check(f"rpc/{verb}.request", message, subject)
        elif subject.startswith("postbus."):
            event = ".".join(subject.split(".")[1:3])
            self.check("events/cloudevent", message, subject)
            self.check(f"events/{event}", message.get("data"), subject)
        else:
            self.errors.append(f"{subject}: an unknown subject")
