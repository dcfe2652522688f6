#include "http/incoming.h"

namespace ringlet::http {
namespace {

// A redirect's body up to this size is read and dropped; beyond it the connection is closed.
constexpr std::uint64_t drained_bytes_max = 64 * 1024;

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
    if (s.piece.empty() && s.connection) {
        co_await s.timed(phase::body, s.web.options().body_timeout, s.receive_body());
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

task<void> incoming::state::wait_for_place(semaphore& places) {
    if (!host_place) {
        host_place = co_await host->places.acquire();
    }
    place = co_await places.acquire();
}

void incoming::state::begin_answer() noexcept {
    connection->parser.start(request.method);
    status = 0;
    has_head = false;
    connection_was_dead = false;
    body_bytes = 0;
    piece.clear();
}

task<void> incoming::state::send(std::string_view text) {
    try {
        co_await connection->stream.send(text);
    } catch (const error&) {
        // A server may answer early and close (413, 408): its answer matters more than our send.
        if (!connection->stream.readable()) {
            connection_was_dead = true;
            throw;
        }
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
        fail_decoding(decode_failure_);
    }
    if (connection->parser.failed()) {
        fail(std::make_error_code(std::errc::bad_message), at,
             sentence(connection->parser.error()));
    }
}

// Receives and parses one piece.
task<void> incoming::state::receive(phase at) {
    detail::client_connection& c = *connection;
    if (c.bytes_parsed == c.bytes.size()) {
        c.bytes = {};
        c.bytes_parsed = 0;
        const bool started = c.parser.started();
        try {
            c.bytes = co_await c.stream.receive();
        } catch (const error& failure) {
            connection_was_dead = !started;
            fail(failure.code(), at, failure.code().message());
        }
        if (!c.bytes) {
            if (!c.parser.finish(*this)) {
                connection_was_dead = !started;
                fail(make_error_code(errc::end_of_stream), at,
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
        if (!connection->parser.complete()) {
            co_await receive(phase::body);
        }
        if (connection->parser.complete()) {
            const decode_error why = decoder.finish();
            if (why != decode_error::none) {
                fail_decoding(why);
            }
            release();
        }
    }
}

task<void> incoming::state::drain() {
    while (connection && body_bytes <= drained_bytes_max) {
        piece.clear();
        co_await timed(phase::body, web.options().body_timeout, receive_body());
    }
    piece.clear();
    release();
}

void incoming::state::redirect_to(url next) {
    if (next.origin() != where.origin()) {
        request.headers.erase("Authorization");
        request.headers.erase("Cookie");
        request.headers.erase("Host");
    }
    const bool becomes_get = status == 303 || (status <= 302 && request.method == method::post);
    if (becomes_get && request.method != method::head) {
        request.method = method::get;
        request.body.clear();
        request.headers.erase("Content-Type");
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

void incoming::state::fail_decoding(decode_error why) const {
    const bool large = why == decode_error::too_large;
    fail(large ? make_error_code(errc::limit_exceeded)
               : std::make_error_code(std::errc::bad_message),
         phase::body, sentence(why));
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
    decode_failure_ = decoder.open(coding, web.options().sizes.decoded_bytes_max);
}

void incoming::state::on_body(std::string_view bytes) {
    body_bytes += bytes.size();
    if (decode_failure_ == decode_error::none) {
        decode_failure_ = decoder.append(bytes, piece);
    }
}

void incoming::state::on_complete(std::span<const header_view>) {}

}  // namespace ringlet::http
