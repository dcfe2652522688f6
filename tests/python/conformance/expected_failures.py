"""The tests of CPython that cannot pass on another loop than the selector's, each with its reason.

Only what mocks or inspects the inside of a selector loop may stand here, or wants that it is no
more than the abstract base class. A test that is named here
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

# Every one of these fails on asyncio's own loop too: where uvloop means to differ from asyncio, or
# a test looks at what only uvloop is made of. The variants of the same tests for asyncio all pass.
UVLOOP = [
    ("it wants protocols to be called in the context that created them", None, None, [
        "test_context.Test_UV_Context.test_create_connection_protocol",
        "test_context.Test_UV_Context.test_create_ssl_server_connection_protocol",
        "test_context.Test_UV_Context.test_create_ssl_server_manual_connection_lost",
        "test_context.Test_UV_Context.test_datagram_protocol",
    ]),
    ("it wants an executor's threads to be named after uvloop", None, None, [
        "test_base.TestBaseUV.test_thread_name_prefix_in_default_executor",
    ]),
    ("it sees if uvloop.run() refuses the loops of others", None, None, [
        "test_runner.TestSourceCode.test_uvloop_run_2",
    ]),
    ("it passes an option to a subprocess that only uvloop knows", None, None, [
        "test_process.Test_UV_Process_Delayed.test_process_delayed_stdio__paused__no_stdin",
        "test_process.Test_UV_Process_Delayed.test_process_delayed_stdio__paused__stdin_pipe",
    ]),
    ("it compares the calls of dup() and close() with those of uvloop", None, None, [
        "test_process.Test_UV_Process.test_process_double_close",
    ]),
    ("it wants a handler for SIGCHLD to be refused, which libuv needs for itself", None, None, [
        "test_signals.Test_UV_Signals.test_signals_no_SIGCHLD",
    ]),
    ("it asks for the text of uvloop's own kind of TransportSocket", None, None, [
        "test_sockets.TestUVSockets.test_pseudosocket",
    ]),
    ("it closes a socket under a wait: uvloop patches close() to come later", None, None, [
        "test_sockets.TestUVSockets.test_socket_close_loop_and_close",
        "test_sockets.TestUVSockets.test_socket_connect_and_close",
        "test_sockets.TestUVSockets.test_socket_recv_and_close",
        "test_sockets.TestUVSockets.test_socket_recv_into_and_close",
        "test_tcp.Test_UV_TCP.test_tcp_handle_abort_in_connection_made",
    ]),
    ("it looks into libuv's epoll descriptor", None, None, [
        "test_sockets.TestUVSockets.test_socket_sync_remove",
    ]),
    ("it gives a get_buffer() to a protocol that is no BufferedProtocol", None, None, [
        "test_tcp.Test_UV_TCP.test_create_server_buffered_1",
        "test_tcp.Test_UV_TCP.test_create_server_buffered_2",
        "test_tcp.Test_UV_TCPSSL.test_start_tls_client_buf_proto_1",
        "test_unix.Test_UV_Unix.test_epollhup",
    ]),
    ("it looks into uvloop's SSLProtocol, or wants its answer to data after an end", None, None, [
        "test_tcp.Test_UV_TCPSSL.test_bpo_39951_discard_trailing_data",
        "test_tcp.Test_UV_TCPSSL.test_flush_before_shutdown",
        "test_tcp.Test_UV_TCPSSL.test_shutdown_timeout_handler_not_set",
        "test_tcp.Test_UV_TCPSSL.test_shutdown_while_pause_reading",
    ]),
    ("it passes an argument that asyncio has taken away, or has not had before 3.13", None, None, [
        "test_udp.Test_UV_UDP.test_create_datagram_endpoint_reuse_address_error",
        "test_udp.Test_UV_UDP.test_create_datagram_endpoint_reuse_address_warning",
    ]),
    ("it wants errors in other words, or an error where asyncio logs one", None, None, [
        "test_udp.Test_UV_UDP.test_udp_sendto_dns",
        "test_unix.Test_UV_Unix.test_create_unix_server_path_stream_bittype",
    ]),
]

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
