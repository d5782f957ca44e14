#!/usr/bin/env python3
"""Tests the tidy test: a good tree passes, and each breach of a rule is found, in its line and by its rule."""

import contextlib
import io
import pathlib
import tempfile
import unittest

import tidy

GOOD = {
    "include/carat/engine.h": "#pragma once\n#include <vector>\n#include \"carat/result.h\"\n",
    "include/carat/result.h": "#pragma once\n#include <expected>\n",
    "src/base/cpu.cc": "int Cpu() {\n#ifdef __x86_64__\n  return 1;\n#else\n  return 0;\n#endif\n}\n",
    "src/gemma/load.cc": "#include \"formats/gguf.h\"\n#include \"base/check.h\"\n#include \"carat/result.h\"\n",
    "src/gemma/decoder.cc": "#include <nlohmann/json.hpp>\n#include \"ops/matmul.h\"\n#include \"gemma/load.h\"\n",
    "src/gemma/decoder_test.cc": "#include \"gemma/decoder.h\"\n#include \"tests/support/builder.h\"\n",
    "src/cli/run.cc": "#include \"engine/engine_impl.h\"\n",
    "docs/notes.md": "The files in build/tmp/x and ~/work/models, or $HOME/root/x, are nobody's.\n",
}


def function(lines, head="int F(int x)"):
    return "namespace a {\n" + head + " {\n" + "  x += 1;\n" * (lines - 2) + "}\n}  // namespace a\n"


def run_tidy(files):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = pathlib.Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            code = tidy.main([folder])
        return code, output.getvalue()


class TidyTest(unittest.TestCase):
    def assert_clean(self, extra=None):
        code, output = run_tidy({**GOOD, **(extra or {})})
        self.assertEqual(code, 0, output)
        self.assertIn("0 breaches", output)

    def assert_breach(self, where_and_rule, extra):
        code, output = run_tidy({**GOOD, **extra})
        self.assertEqual(code, 1, output)
        self.assertIn("\n" + where_and_rule + ": ", "\n" + output)
        self.assertIn(" 1 breaches", output)

    def test_good_tree_passes(self):
        self.assert_clean()

    def test_empty_tree_fails(self):
        self.assertEqual(run_tidy({"README.md": "nothing\n"})[0], 1)

    def test_arrows_go_down_only(self):
        for room, target in [("base", "quant"), ("quant", "kernels"), ("kernels", "ops"), ("ops", "gemma"), ("gemma", "engine"),
                             ("engine", "cli"), ("cli", "server")]:
            self.assert_breach(f"src/{room}/x.cc:2: include", {f"src/{room}/x.cc": f"\n#include \"{target}/y.h\"\n"})
            if target not in ("server",):
                self.assert_clean({f"src/{target}/x.cc": f"#include \"{room}/y.h\"\n"})

    def test_rooms_of_a_floor_do_not_see_each_other(self):
        rooms = ["text", "grammar", "sample", "gemma", "media", "formats"]
        for room in rooms:
            for target in rooms:
                if room != target:
                    self.assert_breach(f"src/{room}/x.cc:1: include", {f"src/{room}/x.cc": f"#include \"{target}/y.h\"\n"})

    def test_only_loading_binds_gemma_to_formats(self):
        self.assert_clean({"src/gemma/load_gguf.cc": "#include \"formats/gguf.h\"\n"})
        self.assert_breach("src/gemma/load.h:1: include", {"src/gemma/load.h": "#include \"text/tokenizer.h\"\n"})
        self.assert_breach("src/text/load.cc:1: include", {"src/text/load.cc": "#include \"formats/gguf.h\"\n"})

    def test_includes_say_their_room(self):
        self.assert_breach("src/gemma/x.cc:1: include", {"src/gemma/x.cc": "#include \"decoder.h\"\n"})
        self.assert_breach("src/gemma/x.cc:1: include", {"src/gemma/x.cc": "#include \"attic/decoder.h\"\n"})
        self.assert_breach("src/attic/x.cc:1: include", {"src/attic/x.cc": "#include \"base/check.h\"\n"})
        self.assert_breach("src/gemma/x.cc:1: include", {"src/gemma/x.cc": "#include \"tests/support/builder.h\"\n"})

    def test_public_headers_need_nothing_but_the_standard_library(self):
        for name in ('"base/check.h"', "<nlohmann/json.hpp>", "<sys/mman.h>", "<unistd.h>"):
            self.assert_breach("include/carat/x.h:2: include", {"include/carat/x.h": f"#pragma once\n#include {name}\n"})

    def test_size_of_files(self):
        self.assert_clean({"src/ops/x.cc": "int x;\n" * 600})
        self.assert_breach("src/ops/x.cc:601: size", {"src/ops/x.cc": "int x;\n" * 601})

    def test_size_of_functions(self):
        self.assert_clean({"src/ops/x.cc": function(90)})
        self.assert_breach("src/ops/x.cc:2: size", {"src/ops/x.cc": function(91)})
        self.assert_clean({"src/kernels/x.cc": function(150)})
        self.assert_breach("src/kernels/x.cc:2: size", {"src/kernels/x.cc": function(151)})

    def test_finds_functions_of_all_shapes(self):
        for head in [
            "template <typename T>\nauto C<T>::F(std::vector<int> a = {}) const noexcept -> int", "C::C(int x) : a_(x), b_{x, 1}",
            "TEST(Suite, Name)", "bool operator==(const C& a, const C& b)", "static Result<std::pair<int, int>> F(\n    int x,\n    int y)"
        ]:
            text = "struct C {\n  int a_{0};\n  std::array<int, 2> b_ = {1, 2};\n};\n" + function(91, head)
            self.assert_breach("src/ops/x.cc:6: size", {"src/ops/x.cc": text})
        method = "class C : public B {\n public:\n" + function(91).split("\n", 1)[1].rsplit("\n", 2)[0] + "\n};\n"
        self.assert_breach("src/ops/x.cc:3: size", {"src/ops/x.cc": method})

    def test_a_class_or_a_table_is_not_a_function(self):
        self.assert_clean({"src/ops/x.cc": "class C {\n" + "  int F() { return '{'; }  // }\n" * 200 + "};\n"})
        self.assert_clean({"src/ops/x.cc": "const F kTable[] = {\n" + "  {F(1), \"{\"},\n" * 200 + "};\n"})
        self.assert_clean({"src/ops/x.cc": "auto s = R\"({{{)\";\n" + function(3) * 100})

    def test_no_conditional_inside_a_function(self):
        inside = "int F() {\n#ifdef NDEBUG\n  return 1;\n#endif\n  return 0;\n}\n"
        self.assert_breach("src/ops/x.cc:2: ifdef", {"src/ops/x.cc": inside})
        self.assert_clean({"src/kernels/x.cc": inside})
        self.assert_clean({"src/ops/x.cc": "#ifdef NDEBUG\nint F() { return 0; }\n#endif\n"})

    def test_names_that_say_nothing(self):
        for name in ("utils.h", "common.cc", "helpers_test.cc", "util.h"):
            self.assert_breach(f"src/ops/{name}:1: name", {f"src/ops/{name}": "int x;\n"})

    def test_words_that_tie_the_tree_to_a_machine(self):
        for word in ("/wo" + "rk/models", "/ro" + "ot/x", "/tm" + "p/x", "py" + "pi.org", "registry.np" + "mjs.org", "deb.deb" + "ian.org"):
            self.assert_breach("docs/x.md:2: word", {"docs/x.md": f"first\nsee {word}\n"})


if __name__ == "__main__":
    unittest.main()
