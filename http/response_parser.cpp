#include "http/response_parser.h"

#include <llhttp.h>

#include <cassert>

namespace ringlet::http {

void response_parser::start(method request_method) noexcept {
    assert(!started() || (complete() && keep_alive_));
    phase_ = phase::between;
    request_method_ = request_method;
    informational_count_ = 0;
    keep_alive_ = false;
    tunnel_ = false;
}

std::size_t response_parser::feed(std::string_view bytes, response_events& sink) {
    pause_asked_ = false;
    if (failed() || complete())
        return 0;
    sink_ = &sink;
    std::size_t used = 0;
    do {
        if (phase_ == phase::between) {
            if (used == bytes.size())
                break;
            // llhttp would skip empty lines and keep what the last response has left behind.
            if (bytes[used] != 'H') {
                error_ = parse_error::bad_status_line;
                break;
            }
            llhttp_reset(&engine());
            begin_head(bytes.data() + used);
        }
        used += parse_some(bytes.substr(used));
    } while (used < bytes.size() && !pause_asked_ && !failed() && !complete());
    return used;
}

bool response_parser::finish(response_events& sink) {
    sink_ = &sink;
    if (failed() || complete())
        return !failed();
    if (phase_ == phase::body) {
        llhttp_finish(&engine());
        complete_if_ended();
    }
    if (!complete() && !failed())
        error_ = phase_ == phase::body ? parse_error::truncated_body : parse_error::truncated_head;
    return !failed();
}

bool response_parser::head_complete() {
    response_head head;
    error_ = read_head(head);
    if (failed())
        return false;
    auto& sink = *static_cast<response_events*>(sink_);
    informational_ = head.status < 200;
    if (informational_) {
        sink.on_informational(head);
        return false;
    }
    sink.on_head(head);
    if (head.has_body && head.content_length.value_or(0) > sizes_.body_bytes_max)
        error_ = parse_error::body_too_large;
    return head.has_body;
}

void response_parser::message_complete() {
    phase_ = informational_ ? phase::between : phase::ended;
    if (!informational_)
        sink_->on_complete(trailers());
}

parse_error response_parser::read_head(response_head& head) noexcept {
    const llhttp_t& state = engine();
    if (const parse_error error = check_version(); error != parse_error::none)
        return error;
    head.status = state.status_code;
    if (head.status < 100)
        return parse_error::bad_status_line;
    head.reason = start_text();
    head.version_minor = state.http_minor;
    head.headers = finish_fields();
    const header_view* const coding = head.find("transfer-encoding");
    head.chunked = coding != nullptr && equals_ignoring_case(coding->value, "chunked");
    if (state.flags & F_CONTENT_LENGTH)
        head.content_length = state.content_length;
    if (head.status == 101)
        return parse_error::unexpected_upgrade;
    if (head.status < 200)
        return ++informational_count_ > sizes_.informational_max
                   ? parse_error::too_many_informational
                   : parse_error::none;
    tunnel_ = request_method_ == method::connect && head.status < 300;
    if (tunnel_ || request_method_ == method::head || status_forbids_body(head.status)) {
        keep_alive_ = !tunnel_ && asks_keep_alive();
        return parse_error::none;
    }
    if (const parse_error error = check_transfer_coding(coding);
        error != parse_error::none)
        return error;
    head.until_close = !head.chunked && !head.content_length;
    head.has_body = head.content_length != std::uint64_t{0};
    keep_alive_ = !head.until_close && asks_keep_alive();
    return parse_error::none;
}

}  // namespace ringlet::http
