#include "http/incoming.h"

#include <algorithm>

namespace ringlet::http {
namespace {

// A redirect's body up to this size and time is read and dropped; beyond it the connection is
// closed.
constexpr std::uint64_t drained_bytes_max = 64 * 1024;
constexpr nanoseconds drain_time_max = std::chrono::seconds(1);

constexpr std::size_t sent_piece_bytes = 256 * 1024;    // what send_timeout counts for
constexpr std::size_t decoded_piece_max = 256 * 1024;   // then the reader is given it first

}  // namespace

incoming::incoming(std::unique_ptr<state> made) noexcept : state_(std::move(made)) {}
incoming::incoming(incoming&&) noexcept = default;
incoming& incoming::operator=(incoming&&) noexcept = default;
incoming::~incoming() = default;

int incoming::status() const noexcept { return state_->status; }
std::string_view incoming::reason() const noexcept { return state_->reason; }
const http::headers& incoming::headers() const noexcept { return state_->head; }
std::string_view incoming::header(std::string_view name) const noexcept {
    return state_->head.value(name);
}
const url& incoming::final_url() const noexcept { return state_->where; }
unsigned incoming::redirects() const noexcept { return state_->redirects; }
const client_timings& incoming::timings() const noexcept { return state_->timings; }
std::uint64_t incoming::body_bytes() const noexcept { return state_->body_bytes; }

task<bool> incoming::read(std::string& into) {
    state& s = *state_;
    if (s.broken) {
        s.fail(make_error_code(errc::closed), phase::body, "reading it has failed before");
    }
    if (s.piece.empty() && s.connection) {
        try {
            co_await s.timed(phase::body, s.web.options().body_timeout, s.receive_body());
        } catch (...) {
            s.broken = true;
            s.connection.reset();
            s.release();
            throw;
        }
    }
    into.clear();
    std::swap(into, s.piece);
    co_return !into.empty();
}

task<std::string> incoming::read_all() {
    std::string all;
    std::string piece;
    while (co_await read(piece)) {
        if (all.empty()) {
            std::swap(all, piece);
        } else {
            all += piece;
        }
    }
    co_return all;
}

incoming::state::~state() { release(); }

void incoming::state::fail(std::error_code code, phase at, std::string_view cause) const {
    throw client_error(code, at, where.empty() ? request.url : where.without_fragment(), cause);
}

std::string incoming::state::cause_of(const error& failure) {
    constexpr std::string_view connecting = "connect to ";
    const std::string message = failure.code().message();
    std::string text = failure.what();
    if (text.starts_with(connecting)) {
        text.erase(0, connecting.size());
    }
    // The code's own sentence comes last; it goes where the context has said it, or better.
    if (const std::size_t context = text.size() - std::min(text.size(), message.size() + 2);
        context > 0 && text.ends_with(": " + message) &&
        (failure.code() == errc::resolve_failed || text.find(message) < context)) {
        text.erase(context);
    }
    return text;
}

task<void> incoming::state::wait_for_place(semaphore& places) {
    if (!host_place) {
        host_place = co_await host->places.acquire();
    }
    place = co_await places.acquire();
}

void incoming::state::begin_answer() noexcept {
    connection->parser.start(request.method);
    status = 0;
    has_head = request_sent = connection_was_dead = false;
    send_failure_ = {};
    body_bytes = 0;
    piece.clear();
}

task<void> incoming::state::send_piece(std::string_view text) {
    try {
        co_await connection->stream.send(text);
    } catch (const error& failure) {
        // A peer that has closed may have answered before; what fails on this side has no answer.
        if (failure.code() != std::errc::broken_pipe &&
            failure.code() != std::errc::connection_reset) {
            throw;
        }
        send_failure_ = failure.code();
    }
}

task<void> incoming::state::send(std::string_view text) {
    request_sent = false;
    while (!text.empty() && !send_failure_) {
        const std::string_view next = text.substr(0, sent_piece_bytes);
        co_await timed(phase::send, web.options().send_timeout, send_piece(next));
        text.remove_prefix(next.size());
    }
    request_sent = !send_failure_;
}

task<void> incoming::state::watch_for_refusal() {
    co_await receive_head();
    if (status < 300) {
        co_await sleep_until(INT64_MAX);
    }
}

// Parses what is there; throws when the parser or the decoder refuses.
void incoming::state::parse(phase at) {
    detail::client_connection& c = *connection;
    const std::string_view rest = c.bytes.text().substr(c.bytes_parsed);
    c.bytes_parsed += c.parser.feed(rest, *this);
    if (at == phase::body || !has_head) {
        check_failures(at);
    }
}

// A head that came together with a broken body is still given out: the body's reader is told.
void incoming::state::check_failures(phase at) const {
    if (decode_failure_ != decode_error::none) {
        const bool large = decode_failure_ == decode_error::too_large;
        fail(large ? make_error_code(errc::limit_exceeded)
                   : std::make_error_code(std::errc::bad_message),
             phase::body, sentence(decode_failure_));
    }
    if (connection->parser.failed()) {
        fail(std::make_error_code(std::errc::bad_message), at,
             sentence(connection->parser.error()));
    }
}

// The connection has ended too early. Before any answer, what sending met with tells more.
void incoming::state::fail_receiving(std::error_code code, phase at, std::string_view cause) {
    connection_was_dead = !connection->parser.started();
    if (connection_was_dead && send_failure_) {
        fail(send_failure_, phase::send, send_failure_.message());
    }
    fail(code, at, cause);
}

// Receives one piece, unless there is one, and parses it.
task<void> incoming::state::receive(phase at) {
    detail::client_connection& c = *connection;
    if (c.bytes_parsed == c.bytes.size() && !c.parser.paused()) {
        c.bytes = {};
        c.bytes_parsed = 0;
        try {
            c.bytes = co_await c.stream.receive();
        } catch (const error& failure) {
            fail_receiving(failure.code(), at, failure.code().message());
        }
        if (!c.bytes) {
            const bool started = c.parser.started();
            if (!c.parser.finish(*this)) {
                fail_receiving(make_error_code(errc::end_of_stream), at,
                               started ? sentence(c.parser.error())
                                       : "the server closed the connection without an answer");
            }
            co_return;
        }
    }
    parse(at);
}

task<void> incoming::state::receive_head() {
    while (!has_head) {
        co_await receive(phase::head);
    }
}

task<void> incoming::state::receive_body() {
    while (connection && piece.empty()) {
        check_failures(phase::body);
        if (decoder_full_) {
            decode();
        } else if (!connection->parser.complete()) {
            co_await receive(phase::body);
        } else {
            decode_failure_ = decoder.finish();
            check_failures(phase::body);
            release();
        }
    }
}

task<void> incoming::state::skip_body() {
    while (connection && body_bytes <= drained_bytes_max) {
        piece.clear();
        co_await receive_body();
    }
}

task<void> incoming::state::drain() {
    try {
        co_await timed(phase::body, std::min(web.options().body_timeout, drain_time_max),
                       skip_body());
    } catch (const client_error&) {
        // Nobody wants this body: its connection is closed, which is all.
    }
    piece.clear();
    release();
}

void incoming::state::redirect_to(url next) {
    if (next.origin() != where.origin()) {
        for (const std::string_view secret : {"Authorization", "Cookie", "Proxy-Authorization"}) {
            request.headers.erase(secret);
        }
    }
    const bool becomes_get = status == 303 || (status <= 302 && request.method == method::post);
    if (becomes_get && request.method != method::head) {
        request.method = method::get;
        request.body.clear();
        for (const std::string_view of_body : {"Content-Type", "Content-Encoding",
                                               "Content-Language", "Content-Location"}) {
            request.headers.erase(of_body);
        }
    }
    where = std::move(next);
    head.clear();
}

void incoming::state::release() noexcept {
    if (connection) {
        timings.ended = web.owner().now();
        web.keep_or_close(*this);
    }
    place.give_back();
    host_place.give_back();
    if (host != nullptr) {
        web.leave_host(*std::exchange(host, nullptr));
    }
}

void incoming::state::on_head(const response_head& what) {
    has_head = true;
    status = what.status;
    reason = what.reason;
    head.assign(what.headers);
    std::string_view coding;
    if (web.options().decode && what.has_body) {
        coding = what.value("Content-Encoding");
    }
    decoder_full_ = false;
    decode_failure_ = decoder.open(coding, web.options().sizes.decoded_bytes_max);
}

void incoming::state::on_body(std::string_view bytes) {
    body_bytes += bytes.size();
    coded_ = bytes;
    decode();
    if (decoder_full_) {
        connection->parser.pause();
    }
}

// As much of the coded bytes as makes a piece: a bomb fills no memory.
void incoming::state::decode() {
    if (decode_failure_ != decode_error::none) {
        return;
    }
    if (decoder.identity()) {
        piece += coded_;
        if (body_bytes > web.options().sizes.decoded_bytes_max) {
            decode_failure_ = decode_error::too_large;
        }
        return;
    }
    char room[16 * 1024];
    do {
        const std::size_t bytes = decoder.decode(coded_, room);
        piece.append(room, bytes);
        decode_failure_ = decoder.error();
        decoder_full_ = bytes == sizeof room && decode_failure_ == decode_error::none;
    } while (decoder_full_ && piece.size() < decoded_piece_max);
}

void incoming::state::on_complete(std::span<const header_view>) {}

}  // namespace ringlet::http
