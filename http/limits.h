// Every limit of the HTTP layer, by name, with its default. The parsers enforce the sizes; the
// server and the client enforce the times and the counts. A limit that is passed ends the message
// with its own error (and, on a server, its own status: 413, 414, 431, 408): nothing is ever cut
// silently. Sizes are bytes on the wire, times are std::chrono durations. A plain value: copy it,
// change it, pass it.
#pragma once

#include <chrono>
#include <cstdint>

namespace ringlet::http {

struct limits {
    // One message. Both parsers.
    std::uint32_t request_line_bytes_max =
        8 * 1024;  // method to CRLF; the status line of a response too
    std::uint32_t header_bytes_max = 32 * 1024;  // all field lines of the head with their CRLFs
    std::uint32_t header_count_max = 100;        // field lines of the head
    std::uint32_t trailer_bytes_max = 8 * 1024;  // names and values after a chunked body
    std::uint32_t trailer_count_max = 32;        // field lines after a chunked body
    std::uint32_t chunk_extension_bytes_max = 4 * 1024;  // summed over the chunks of one message
    std::uint32_t leading_crlf_max = 4;          // empty lines tolerated before a request line
    std::uint32_t informational_max = 16;        // 1xx responses tolerated before the final one
    std::uint64_t body_bytes_max = 1024 * 1024;  // body as sent, without chunk framing
    std::uint64_t decoded_bytes_max = 64 * 1024 * 1024;  // body after gzip or deflate is undone

    // One connection of a server.
    std::uint32_t requests_per_connection_max = 1000;
    std::uint32_t output_bytes_max = 1024 * 1024;  // unsent answers; above it reading stops
    std::chrono::milliseconds handshake_timeout{10'000};    // of TLS
    std::chrono::milliseconds header_timeout{
        10'000};  // connect (or first byte) to the end of the head
    std::chrono::milliseconds keep_alive_timeout{65'000};   // between two requests
    std::chrono::milliseconds body_idle_timeout{30'000};    // between two pieces of a body
    std::chrono::milliseconds write_stall_timeout{30'000};  // the peer takes no byte of an answer
    std::chrono::milliseconds linger_timeout{
        2'000};  // reading on after the last answer, then close

    // One server.
    std::uint32_t connections_max = 16'384;  // above it accepting pauses
};

}  // namespace ringlet::http
