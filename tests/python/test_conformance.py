"""The runner of CPython's tests tells what happened: also of tests that hang, crash or surprise."""

import json
import os
import subprocess
import sys
import textwrap

RUN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "conformance", "run.py")

# Stands for a package such as test.test_asyncio.
CASES = """
import asyncio, os, time, unittest

class Cases(unittest.TestCase):
    def loop(self):
        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)
        return loop

    def test_a_passes(self):
        self.loop().run_until_complete(asyncio.sleep(0))

    def test_b_fails(self):
        self.assertEqual(self.loop().run_until_complete(asyncio.sleep(0, 1)), 2)

    def test_c_hangs(self):
        self.loop()
        time.sleep(600)

    def test_d_crashes(self):
        self.loop()
        os.abort()

    def test_e_is_skipped(self):
        self.skipTest("not today")

    def test_f_takes_no_loop(self):
        pass

    def test_g_passes_behind_them(self):
        asyncio.run(asyncio.sleep(0))

    def test_h_names_a_class(self):
        asyncio.SelectorEventLoop().close()
"""


def run(folder, *arguments):
    """Exit code, output and result.json of the runner on the cases above."""
    package = folder / "stand_ins"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / "test_cases.py").write_text(textwrap.dedent(CASES))
    done = subprocess.run(
        [sys.executable, RUN, "--package", "stand_ins", "--factory", "asyncio:new_event_loop",
         "--limit", "5", "--out", str(folder / "out"), *arguments],
        env=dict(os.environ, PYTHONPATH=str(folder)), capture_output=True, text=True, timeout=120)
    (result,) = (folder / "out").glob("*/result.json")
    return done.returncode, done.stdout, json.loads(result.read_text())


def test_every_outcome_is_counted_and_a_hang_has_a_traceback(tmp_path):
    code, output, result = run(tmp_path)
    assert code == 1
    assert output.splitlines()[-1] == "3 passed, 3 failed", output
    tests = {name.rpartition(".")[2]: test for name, test in result["tests"].items()}
    assert tests["test_e_is_skipped"]["status"] == "skipped"
    assert tests["test_f_takes_no_loop"]["loops"] == 0
    assert "1 != 2" in tests["test_b_fails"]["detail"]
    assert "did not end within 5" in tests["test_c_hangs"]["detail"]
    assert "in test_c_hangs" in tests["test_c_hangs"]["detail"], "faulthandler names the place"
    assert "ended with exit code -6" in tests["test_d_crashes"]["detail"]
    assert tests["test_g_passes_behind_them"]["status"] == "passed"


def test_only_what_matches_is_run_and_all_passing_is_success(tmp_path):
    code, output, _ = run(tmp_path, "--match", "passes|class", "test_cases")
    assert (code, output.splitlines()[-1]) == (0, "3 passed, 0 failed")


def test_an_expected_failure_that_passes_or_does_not_exist_is_a_failure():
    program = """
        import sys; sys.path.insert(0, sys.argv[1])
        import run
        module = run.Module(None, {}, "test_m", ".")
        for name in "ab":
            module.outcomes[f"test_m.C.test_{name}"] = {
                "status": "passed" if name == "a" else "failed", "detail": "", "loops": 1}
        run.apply_expectations([module], {
            f"test_m.C.test_{name}": "it looks inside" for name in "abc"}, whole=True)
        print(*(module.outcomes[f"test_m.C.test_{name}"]["status"] for name in "abc"))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program), os.path.dirname(RUN)],
                          capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["failed", "expected", "failed"]
