#!/usr/bin/env python3
"""The tidy test: holds the tree against the rules of the house (docs/ARCHITECTURE.md) that a compiler does not know.

    tidy.py [ROOT]      prints every breach as `path:line: rule: what`, and exits 1 if there is one

Rules: arrows of #include, sizes of files and functions, no #if inside a function, names of files, words that tie the tree
to one machine.
"""

import pathlib
import re
import sys

# Rooms from bottom to top. A room may include those of lower floors; rooms on one floor do not see each other.
FLOORS = [
    ["base"],
    ["quant"],
    ["kernels"],
    ["ops"],
    ["text", "grammar", "sample", "gemma", "media", "formats"],
    ["engine"],
    ["hub", "cli", "server"],
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# (folder of the includer, start of its file name, room): where two rooms of a floor meet after all.
EXCEPTIONS = [("gemma", "load", "formats")]  # weights are bound to their names here

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 90  # "about 80"
MAX_KERNEL_LINES = 150
KERNEL_ROOMS = ("quant", "kernels")
ROOMS_WITH_IFDEF = ("base", "kernels")

SOURCE_FOLDERS = ("include", "src", "tests", "fuzz", "bench")
TEXT_SUFFIXES = {".cc", ".h", ".py", ".sh", ".md", ".txt", ".cmake", ".json", ".yml", ".toml", ".js", ".css", ".html", ""}
SKIPPED_FOLDERS = {".git", "build", "out", ".cache", "__pycache__", "node_modules"}

BAD_NAME = re.compile(r"^(utils?|commons?|helpers?|misc)(_test)?\.\w+$|^(utils?|commons?|helpers?|misc)$")
# Written in pieces, so that this file does not break its own rule.
BAD_WORDS = re.compile(
    "|".join([
        r"(?<![\w.$}/~*-])/(?:" + "work|root|tmp|home" + r")/\w",
        r"\b(?:files\.)?py" + r"pi\.(?:org|python)|python" + r"hosted\.org",
        r"registry\.np" + r"mjs|npm" + r"js\.(?:org|com)",
        r"(?:deb|security|snapshot|ftp\.\w+)\.deb" + r"ian\.org",
        r"crates" + r"\.io|proxy\.go" + r"lang\.org|repo1?\.mav" + r"en",
    ]))


def strip_code(text):
    """The text with comments and the contents of literals blanked, lines kept."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"([^\s()\\]{0,16})\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])*\'', re.S)

    def blank(match):
        found = match.group(0)
        if found[0] == "/":
            return re.sub(r"[^\n]", " ", found)
        quote = found[-1]
        return quote + re.sub(r"[^\n]", " ", found[1:-1]) + quote

    return pattern.sub(blank, text)


def scopes_of(text):
    """Yields (first line, last line, name) of every outermost function, and the lines of its #if directives.

    Reads braces outside of functions by the statement before them: a namespace, a type, an initializer, or, if it has
    parentheses, a function. What is inside a function belongs to it, lambdas too.
    """
    lines = strip_code(text).split("\n")
    stack = []  # kinds: "scope", "init", "function", "inside"
    statement, start = "", None
    conditionals, continued = [], False
    for number, line in enumerate(lines, 1):
        directive = re.match(r"\s*#\s*(\w+)", line)
        if directive or continued:
            if directive and directive.group(1).startswith("if") and "function" in stack:
                conditionals.append(number)
            continued = line.rstrip().endswith("\\")
            continue
        for char in line:
            inside = "function" in stack
            if char == "{":
                if inside:
                    stack.append("inside")
                    continue
                kind = kind_of_brace(statement)
                stack.append(kind)
                if kind == "scope":
                    statement, start = "", None
            elif char == "}":
                kind = stack.pop() if stack else "scope"
                if kind == "function":
                    yield start, number, name_of(statement), conditionals
                    conditionals = []
                if kind in ("function", "scope"):
                    statement, start = "", None
                elif kind == "init":
                    statement += "}"
            elif not inside:
                ends = char == ";" or (char == ":" and statement.strip() in ("public", "protected", "private"))
                if ends and "init" not in stack:
                    statement, start = "", None
                else:
                    if start is None and not char.isspace():
                        start = number
                    statement += char
        statement += "\n"


def kind_of_brace(statement):
    words = statement.strip()
    if re.match(r"(inline\s+)?namespace\b|extern\b\s*\"", words):
        return "scope"
    without_template = re.sub(r"^template\s*<.*?>\s*(?=(class|struct|union)\b)", "", words, flags=re.S)
    if re.match(r"(typedef\s+)?(class|struct|union|enum)\b", without_template) and not re.search(r"\)\s*(const)?$", words):
        return "scope"
    if not words or "(" not in words or words.count("(") != words.count(")"):
        return "init"  # a default argument is inside its parentheses
    before_parentheses = words.split("(", 1)[0]
    if re.search(r"(?<![=!<>])=(?!=)", before_parentheses) and "operator" not in before_parentheses:
        return "init"
    # In a constructor's list of initializers a brace after a name starts a value, not the body.
    if re.search(r"\)\s*(noexcept\s*)?:(?!:)", words) and re.search(r"[\w>]$", words):
        return "init"
    return "function"


def name_of(statement):
    found = re.search(r"([\w:~]+|operator\s*\S+?)\s*\(([^()]*)", statement)
    if not found:
        return "?"
    name = found.group(1)
    return f"{name}({found.group(2).strip()})" if name.startswith(("TEST", "BENCHMARK")) else name


class Tidy:
    def __init__(self, root):
        self.root = root
        self.breaches = []

    def complain(self, path, line, rule, what):
        self.breaches.append(f"{path.relative_to(self.root)}:{line}: {rule}: {what}")

    def files(self):
        for path in sorted(self.root.rglob("*")):
            parts = path.relative_to(self.root).parts
            if not SKIPPED_FOLDERS.intersection(parts):
                yield path, parts

    def run(self):
        sources = 0
        for path, parts in self.files():
            self.check_name(path, parts)
            if not path.is_file():
                continue
            if path.suffix in TEXT_SUFFIXES and path.name != "LICENSE":
                self.check_words(path, parts)
            if path.suffix in (".cc", ".h") and parts[0] in SOURCE_FOLDERS:
                sources += 1
                text = path.read_text(encoding="utf-8")
                self.check_includes(path, parts, text)
                self.check_sizes(path, parts, text)
        return sources

    def check_name(self, path, parts):
        if BAD_NAME.match(path.name):
            self.complain(path, 1, "name", f"{path.name} says nothing about what is in it")

    def check_words(self, path, parts):
        if "data" in parts or "corpus" in parts:
            return
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return  # not a text
        for number, line in enumerate(text.split("\n"), 1):
            found = BAD_WORDS.search(line)
            if found:
                self.complain(path, number, "word", f"'{found.group(0)}' ties the tree to a machine or a host")

    def check_includes(self, path, parts, text):
        for number, line in enumerate(text.split("\n"), 1):
            found = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
            if not found:
                continue
            quote, name = found.groups()
            if parts[0] == "include":
                if quote == '"' and not name.startswith("carat/"):
                    self.complain(path, number, "include", f"a public header includes {name}; only carat/ and the standard library")
                if quote == "<" and ("/" in name or "." in name):
                    self.complain(path, number, "include", f"a public header includes {name}; only carat/ and the standard library")
                continue
            if quote == "<" or parts[0] != "src" or len(parts) < 3:
                continue
            self.check_arrow(path, parts, number, name)

    def check_arrow(self, path, parts, number, name):
        room, target = parts[1], name.split("/")[0]
        if room not in FLOOR_OF:
            self.complain(path, number, "include", f"room {room} is on no floor; give it one in tests/tidy/tidy.py")
            return
        if "/" not in name:
            self.complain(path, number, "include", f"{name} does not say its room; write {room}/{name}")
            return
        if target == "carat" or target == room:
            return
        if target == "tests":
            if not path.stem.endswith("_test"):
                self.complain(path, number, "include", f"{name} is for tests")
            return
        if target not in FLOOR_OF:
            self.complain(path, number, "include", f"{name} is in no room")
            return
        if FLOOR_OF[target] < FLOOR_OF[room]:
            return
        if any(room == r and path.name.startswith(start) and target == t for r, start, t in EXCEPTIONS):
            return
        self.complain(path, number, "include", f"{room} must not see {target}")

    def check_sizes(self, path, parts, text):
        lines = text.count("\n")
        if lines > MAX_FILE_LINES:
            self.complain(path, lines, "size", f"{lines} lines; a file has at most {MAX_FILE_LINES}")
        room = parts[1] if parts[0] == "src" and len(parts) > 2 else ""
        limit = MAX_KERNEL_LINES if room in KERNEL_ROOMS else MAX_FUNCTION_LINES
        for first, last, name, conditionals in scopes_of(text):
            length = last - first + 1
            if length > limit:
                self.complain(path, first, "size", f"{name} has {length} lines; a function has at most {limit} here")
            if room not in ROOMS_WITH_IFDEF and parts[0] == "src":
                for line in conditionals:
                    self.complain(path, line, "ifdef", f"#if inside {name}")


def main(arguments):
    root = pathlib.Path(arguments[0] if arguments else pathlib.Path(__file__).parents[2]).resolve()
    tidy = Tidy(root)
    sources = tidy.run()
    for breach in tidy.breaches:
        print(breach)
    if sources == 0:
        print(f"{root}: no sources found")
    print(f"tidy: {sources} sources, {len(tidy.breaches)} breaches")
    return 1 if tidy.breaches or sources == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
