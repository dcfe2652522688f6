"""Runs the tests of one module with the loops of a factory, and tells its parent of each.

    child.py ORDER_FILE REPORT_FD TRACE_FD

ORDER_FILE is a JSON object: the factory, the package and its module, the pattern that a test's
name has to match, and the tests that are done. Each line on REPORT_FD is one too: the start and the
end of every test. Where the tests stand when the process is aborted goes to TRACE_FD.
"""

import faulthandler
import importlib
import json
import os
import re
import sys
import time
import traceback
import unittest
import warnings

import redirect


class Reporter(unittest.TestResult):
    """Sends each outcome as soon as it is known: what comes after it may kill the process."""

    def __init__(self, report, factory):
        super().__init__()
        self.report = report
        self.factory = factory
        self.started = 0.0
        self.outcome = None

    def send(self, **fields):
        self.report.write(json.dumps(fields) + "\n")
        self.report.flush()

    def startTest(self, test):
        super().startTest(test)
        self.factory.made = 0
        self.outcome = None
        self.started = time.monotonic()
        self.send(start=test.id())

    def stopTest(self, test):
        super().stopTest(test)
        status, detail = self.outcome or ("failed", "it ended without an outcome")
        self.send(end=test.id(), status=status, detail=detail, loops=self.factory.made,
                  seconds=round(time.monotonic() - self.started, 3))

    def settle(self, test, status, detail=""):
        """The worst of a test's outcomes stands. One outside a test is a fixture's."""
        if not isinstance(test, unittest.TestCase):
            if status == "failed":
                self.send(start=test.id())
                self.send(end=test.id(), status=status, detail=detail, loops=1, seconds=0)
            return
        if self.outcome is None or (status == "failed" and self.outcome[0] != "failed"):
            self.outcome = (status, detail)

    def failed(self, test, error):
        self.settle(test, "failed", "".join(traceback.format_exception(*error)))

    addError = addFailure = failed

    def addSuccess(self, test):
        self.settle(test, "passed")

    def addSkip(self, test, reason):
        self.settle(test, "skipped", reason)

    def addExpectedFailure(self, test, error):
        self.settle(test, "passed")

    def addUnexpectedSuccess(self, test):
        self.settle(test, "failed", "it is marked as an expected failure, and passes")

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self.failed(test, error)


def chosen(suite, keep):
    """The suite's tests that are to run, its nesting kept for the fixtures."""
    kept = unittest.TestSuite()
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            kept.addTest(chosen(test, keep))
        elif keep(test.id()):
            kept.addTest(test)
    return kept


def load(order, factory):
    """The module's suite, with everything redirected."""
    package, name = order["package"], order["module"]
    redirect.redirect_asyncio(factory)
    try:
        utils = importlib.import_module(f"{package}.utils")
        redirect.redirect_utils(utils, factory, name)
    except ModuleNotFoundError as error:
        if error.name != f"{package}.utils":
            raise
    module = importlib.import_module(f"{package}.{name}")
    redirect.redirect_module(module, factory)
    return unittest.defaultTestLoader.loadTestsFromModule(module)


def main():
    order_file, report_fd, trace_fd = sys.argv[1:4]
    with open(order_file, encoding="utf-8") as file:
        order = json.load(file)
    del sys.argv[1:]
    for fd in (int(report_fd), int(trace_fd)):
        os.set_inheritable(fd, False)
    faulthandler.enable(file=int(trace_fd), all_threads=True)
    warnings.simplefilter("default")
    factory = redirect.Factory(order["factory"])
    result = Reporter(os.fdopen(int(report_fd), "w", encoding="utf-8"), factory)
    try:
        suite = load(order, factory)
    except unittest.SkipTest as skip:
        return result.send(finished=True, skipped=str(skip))
    done = set(order["done"])
    chosen(suite, lambda name: (name not in done and not redirect.REPEATED.search(name) and
                                re.search(order["match"], name))).run(result)
    result.send(finished=True)


if __name__ == "__main__":
    main()
