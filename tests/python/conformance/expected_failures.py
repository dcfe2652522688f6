"""The tests of CPython that cannot pass on another loop than the selector's, each with its reason.

Only what mocks or inspects the inside of a selector loop may stand here. A test that is named here
and passes is a failure, and so is a name that no test of the running Python has.
"""

# Of each: the reason, the first version it is true of, the first one it is not, the tests.
CPYTHON = [
    ("it counts the calls of a mocked selector's select(), or feeds it events", None, None, [
        "test_base_events.BaseEventLoopTests.test_run_forever_pre_stopped",
        "test_base_events.BaseEventLoopTests.test_single_selecter_event_callback_after_stopping",
    ]),
    ("it counts the calls of a mocked _process_events()", (3, 13), None, [
        "test_base_events.BaseEventLoopTests.test_custom_run_forever_integration",
    ]),
    ("it puts handles into the list _scheduled itself, below a mocked selector", None, None, [
        "test_base_events.BaseEventLoopTests.test__run_once",
        "test_base_events.BaseEventLoopTests.test__run_once_schedule_handle",
    ]),
    ("it counts what is left in asyncio's heap of timers, below a mocked selector", None, None, [
        "test_base_events.BaseEventLoopTests.test__run_once_cancelled_event_cleanup",
    ]),
    ("it wants the abstract base class, which has no transports; a loop has them", None, None, [
        "test_base_events.BaseEventLoopTests.test_not_implemented",
    ]),
]

UVLOOP = []

LISTS = {"test.test_asyncio": CPYTHON, "tests": UVLOOP}


def expected(package, version):
    """Test name -> reason, for the tests of one package on one version of Python."""
    found = {}
    for reason, since, before, names in LISTS.get(package, []):
        if (since or version) <= version < (before or (99,)):
            for name in names:
                if name in found:
                    raise ValueError(f"{name} is listed twice")
                found[name] = reason
    return found
