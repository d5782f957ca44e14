#!/usr/bin/env python3
"""Renders random conversations, sensible and odd, with a published chat template, as known answers for the renderer.

    make_chat_answers.py chat_template.jinja --count 300 --seed 1 > tests/data/chat/gemma4-odd-input.json

The template is the `chat_template.jinja` of a checkpoint, run in the sandbox that transformers runs it in. `rendered` is null
where the template raises an error. Needs jinja2 (3.1.6 made the committed file).
"""

import argparse
import json
import random
import sys

from jinja2.exceptions import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

TEXTS = [
    "", " ", "Hello", " padded \n", "\u00a0\u3000x\u2028\u0085", "a\nb", "Grüße 日本 🙂", "<|turn>", "<turn|>\n", "<|\"|>",
    "x<|channel>thought\nhm<channel|>y", "<channel|>stray", "<|channel>open", "}<tool_call|>", "it's \"quoted\" \\ back", "18 C",
    "{\"temp\": 18}", "\u200bzero", "  a<|channel>b<channel|>  c ", "null", "\x1fctl\x1f",
]
KEYS = ["a", "B", "b", "A", "_x", "1", "Z", "é", "É", "ΣΑΣ", "σασ", "Жук", "жа", "type", "description", "properties", "required",
        "nullable", "items", "enum", "İx", "city", "a b", "ß", "日本"]
NUMBERS = [0, 1, -7, 42, 3.5, 2.0, 1e22, 1e-7, 0.1, -0.0, 1e16, 123456789012345.6, 9007199254740993, 2**64, -(2**70), 1e15,
           0.0001, 0.00001, 5e-324, 1.5e300]
TYPES = ["string", "integer", "number", "boolean", "object", "array", "STRING", "Object", "null", "custom"]


class Generator:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def chance(self, p):
        return self.r.random() < p

    def text(self):
        return "".join(self.r.choice(TEXTS) for _ in range(self.r.choice([1, 1, 1, 2])))

    def scalar(self):
        return self.r.choice([self.text, lambda: self.r.choice(NUMBERS), lambda: None, lambda: True, lambda: False])()

    def value(self, depth=3):
        kind = self.r.random()
        if depth == 0 or kind < 0.6:
            return self.scalar()
        if kind < 0.8:
            return [self.value(depth - 1) for _ in range(self.r.randrange(4))]
        return self.object(depth - 1)

    def object(self, depth=3):
        return {self.r.choice(KEYS): self.value(depth) for _ in range(self.r.randrange(5))}

    def odd(self, value):
        """The value, or seldom something else altogether."""
        return self.value(2) if self.chance(self.oddity) else value

    def put(self, target, key, make, p=1.0):
        if self.chance(p) and not self.chance(self.oddity / 2):
            target[key] = self.odd(make())

    def schema(self, depth=3):
        s = {}
        types = TYPES if depth > 0 else TYPES[:4]
        self.put(s, "type", lambda: self.r.choice(types) if self.chance(0.9) else [self.r.choice(types), "null"], 0.95)
        self.put(s, "description", self.text, 0.5)
        self.put(s, "nullable", lambda: self.chance(0.7), 0.2)
        self.put(s, "enum", lambda: [self.text() for _ in range(self.r.randrange(4))], 0.25)
        kind = s.get("type")
        if isinstance(kind, str) and kind.lower() == "object" or self.chance(0.1):
            self.put(s, "properties", lambda: self.properties(depth - 1), 0.8)
            self.put(s, "required", lambda: [self.r.choice(KEYS) for _ in range(self.r.randrange(3))], 0.5)
            self.put(s, "additionalProperties", lambda: self.chance(0.5), 0.3)
        if isinstance(kind, str) and kind.lower() == "array" or self.chance(0.1):
            self.put(s, "items", lambda: self.schema(depth - 1), 0.8)
        self.put(s, "default", self.scalar, 0.1)
        if self.chance(0.1):
            s[self.r.choice(["minimum", "format", "anyOf", "$ref"])] = self.value(2)
        items = list(s.items())
        self.r.shuffle(items)
        return dict(items)

    def properties(self, depth):
        if depth < 0:
            return {}
        return {self.r.choice(KEYS): self.odd(self.schema(depth)) for _ in range(self.r.randrange(4))}

    def tool(self):
        f = {}
        self.put(f, "name", lambda: self.r.choice(["f", "get_weather", "a-b.c"]), 0.98)
        self.put(f, "description", self.text, 0.8)
        if self.chance(0.9):
            p = self.schema()
            if self.chance(0.9):
                p["type"] = "object"
                p.setdefault("properties", self.properties(2))
            self.put(f, "parameters", lambda: p)
        self.put(f, "response", self.schema, 0.15)
        return self.odd({"type": "function", "function": self.odd(f)})

    def part(self):
        kind = self.r.choice(["text", "text", "text", "image", "image_url", "audio", "input_audio", "video", "file"])
        part = {"type": kind}
        if kind == "text":
            self.put(part, "text", self.text)
        return self.odd(part)

    def content(self):
        if self.chance(0.7):
            return self.text()
        return [self.part() for _ in range(self.r.randrange(4))]

    def call(self, ids):
        f = {"name": self.r.choice(["f", "g", "get_weather"])}
        self.put(f, "arguments", lambda: self.object() if self.chance(0.95) else None)
        call = {"function": self.odd(f)}
        if self.chance(0.8):
            call["id"] = self.r.choice(ids)
        return self.odd(call)

    def messages(self):
        result = []
        ids = ["c1", "c2", "c3", 7]
        if self.chance(0.4):
            result.append({"role": self.r.choice(["system", "developer"]), "content": self.odd(self.content())})
        for _ in range(self.r.randrange(6)):
            role = self.r.choice(["user", "user", "assistant", "assistant", "assistant", "tool", "system", "critic", "model"])
            m = {}
            self.put(m, "role", lambda: role)
            self.put(m, "content", self.content, 0.9)
            if role in ("assistant", "model") or self.chance(0.03):
                self.put(m, "reasoning_content", self.text, 0.3)
                self.put(m, "reasoning", self.text, 0.15)
                self.put(m, "tool_calls", lambda: [self.call(ids) for _ in range(self.r.randrange(4))], 0.5)
                self.put(m, "tool_responses", lambda: [self.odd(self.response()) for _ in range(self.r.randrange(3))], 0.12)
            result.append(self.odd(m))
            if m.get("tool_calls"):
                for _ in range(self.r.randrange(4)):
                    t = {"role": "tool"}
                    self.put(t, "content", self.content, 0.95)
                    self.put(t, "tool_call_id", lambda: self.r.choice(ids), 0.8)
                    self.put(t, "name", lambda: self.r.choice(["g", "h"]), 0.3)
                    result.append(self.odd(t))
        return result

    def response(self):
        r = {}
        self.put(r, "name", lambda: self.r.choice(["f", "g"]), 0.9)
        self.put(r, "response", self.value, 0.95)
        return r

    def record(self):
        self.oddity = self.r.choice([0.0, 0.0, 0.02, 0.05])
        record = {
            "messages": self.messages(),
            "tools": [self.tool() for _ in range(self.r.randrange(1, 3))] if self.chance(0.4) else None,
            "options": {"add_generation_prompt": self.chance(0.8), "enable_thinking": self.chance(0.4),
                        "preserve_thinking": self.chance(0.3)},
        }
        return json.loads(json.dumps(record))


def comparable(tool):
    """Whether the renderer promises the template's output: it refuses a function that is no object, and puts only the
    ASCII letters of a type in upper case."""

    def ascii_types(value):
        if isinstance(value, dict):
            return json.dumps(value.get("type"), ensure_ascii=False).isascii() and all(map(ascii_types, value.values()))
        return not isinstance(value, list) or all(map(ascii_types, value))

    return not isinstance(tool, dict) or isinstance(tool.get("function", {}), dict) and ascii_types(tool)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("template")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-tools", action="store_true", help="Gemma 3: no tools, no thinking, two roles")
    args = parser.parse_args()

    def raise_exception(message):
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.globals["raise_exception"] = raise_exception
    template = environment.from_string(open(args.template, encoding="utf-8").read())

    generator = Generator(args.seed)
    records = []
    while len(records) < args.count:
        record = generator.record()
        if not all(comparable(tool) for tool in record["tools"] or []):
            continue
        if args.no_tools:
            record["tools"] = None
            record["options"]["enable_thinking"] = False
            roles = ["user", "assistant"]
            if "image_url" in json.dumps(record):
                continue  # the renderer takes it for an image, the template for nothing
            rest = [m for m in record["messages"] if not isinstance(m, dict) or m.get("role") != "tool"]
            start = 1 if rest and isinstance(rest[0], dict) and rest[0].get("role") == "system" else 0
            for i, m in enumerate(rest[start:]):
                if isinstance(m, dict) and generator.chance(0.97):
                    m["role"] = roles[i % 2]
            record["messages"] = rest
        try:
            record["rendered"] = template.render(bos_token="<bos>", messages=record["messages"], tools=record["tools"],
                                                 **record["options"])
        except (TemplateError, TypeError, AttributeError, KeyError, IndexError):
            record["rendered"] = None
        records.append(record)
    lines = (json.dumps(record, ensure_ascii=False, separators=(",", ":")) for record in records)
    sys.stdout.write("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
