#include "http/client.h"

#include "coro/race.h"
#include "http/client_pool.h"
#include "http/incoming.h"
#include "http/writer.h"
#include "net/tls_stream.h"

namespace ringlet::http {
namespace {

using detail::client_connection;
using detail::host_entry;

constexpr std::size_t unlimited = ~std::size_t{0} >> 1;
constexpr std::size_t attached_body_max = 16 * 1024;  // sent together with its head

bool is_redirect(int status) noexcept {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// RFC 9110 section 9.2.2: repeating these changes nothing more on the server.
bool is_idempotent(method what) noexcept {
    return what != method::post && what != method::patch && what != method::connect;
}

}  // namespace

limits client_options::client_limits() noexcept {
    limits sizes;
    sizes.body_bytes_max = 64 * 1024 * 1024;
    sizes.decoded_bytes_max = 64 * 1024 * 1024;
    return sizes;
}

std::string_view phase_text(phase at) noexcept {
    switch (at) {
        case phase::url: return "url";
        case phase::queue: return "queue";
        case phase::resolve: return "resolve";
        case phase::connect: return "connect";
        case phase::tls: return "tls";
        case phase::send: return "send";
        case phase::head: return "response head";
        case phase::body: return "response body";
        case phase::redirect: return "redirect";
    }
    return "unknown phase";
}

client_error::client_error(std::error_code code, http::phase at, std::string_view url,
                           std::string_view cause)
    : error(code), phase_(at), cause_(cause) {
    text_.append(url).append(": ").append(phase_text(at)).append(": ").append(cause);
}

client::client(loop& owner, client_options options)
    : loop_(owner),
      options_(std::move(options)),
      resolver_(owner, options_.resolver),
      places_(options_.connections_max),
      reap_timer_(*this) {}

client::~client() {
    close_idle();
    RINGLET_REQUIRE(hosts_.empty(), "an http::client was destroyed before its requests had ended");
}

task<client_response> client::get(std::string url) {
    return request({.url = std::move(url), .method = method::get, .headers = {}, .body = {}});
}

task<client_response> client::request(client_request what) {
    incoming answer = co_await open(std::move(what));
    client_response whole;
    whole.body = co_await answer.read_all();
    whole.status = answer.status();
    whole.headers = answer.headers();
    whole.final_url = answer.final_url();
    whole.redirects = answer.redirects();
    whole.timings = answer.timings();
    co_return whole;
}

task<incoming> client::open(client_request what) {
    auto state = std::make_unique<incoming::state>(*this, std::move(what));
    state->timings.begun = loop_.read_clock();
    state->deadline = detail::later(state->timings.begun, options_.total_timeout);
    if (const url_error bad = url::parse(state->request.url, state->where);
        bad != url_error::none) {
        state->fail(std::make_error_code(std::errc::invalid_argument), phase::url, sentence(bad));
    }
    co_await follow(*state);
    co_return incoming(std::move(state));
}

// Requests until the answer is no redirect.
task<void> client::follow(incoming::state& state) {
    for (;;) {
        ++stats_.requests;
        co_await attempt(state);
        const std::string_view location = state.head.value("Location");
        if (!is_redirect(state.status) || location.empty() || options_.redirects_max == 0) {
            co_return;
        }
        if (state.redirects++ == options_.redirects_max) {
            state.fail(make_error_code(errc::limit_exceeded), phase::redirect,
                       "more than " + std::to_string(options_.redirects_max) + " redirects");
        }
        url next;
        if (const url_error bad = url::resolve(state.where, location, next);
            bad != url_error::none) {
            state.fail(std::make_error_code(std::errc::invalid_argument), phase::redirect,
                       std::string(sentence(bad)) + " Location: " + std::string(location));
        }
        co_await state.drain();
        state.redirect_to(std::move(next));
    }
}

// One request and the head of its answer; once more, on a fresh connection, when a kept one was
// dead.
task<void> client::attempt(incoming::state& state) {
    const std::string text = render(state);
    co_await take_place(state);
    for (bool retry = false;; retry = true) {
        const bool reused = !retry && take_idle(state);
        if (!reused) {
            co_await connect(state);
        }
        try {
            co_await exchange(state, text);
            co_return;
        } catch (const client_error&) {
            if (!reused || !state.connection_was_dead || !is_idempotent(state.request.method)) {
                throw;
            }
        }
        ++stats_.retries;
        state.connection.reset();
    }
}

task<void> client::take_place(incoming::state& state) {
    host_entry& host = host_of(state.where);
    state.host = &host;
    ++host.users;
    state.host_place = host.places.try_acquire();
    state.place = places_.try_acquire();
    if (!state.host_place || !state.place) {
        state.place.give_back();
        co_await state.timed(phase::queue, options_.queue_timeout, state.wait_for_place(places_));
    }
    state.timings.granted = loop_.now();
}

task<void> client::connect(incoming::state& state) {
    std::vector<address> addresses =
        co_await state.timed(phase::resolve, options_.resolve_timeout,
                             resolver_.resolve(std::string(state.where.host_bare()),
                                               state.where.port()));
    state.timings.resolved = loop_.now();
    tcp_stream stream =
        co_await state.timed(phase::connect, options_.connect_timeout,
                             open_socket(std::move(addresses)));
    state.timings.connected = loop_.now();
    if (state.where.secure()) {
        std::string host(state.where.host_bare());
        stream = co_await state.timed(phase::tls, options_.tls_timeout,
                                      secure(std::move(stream), std::move(host)));
        state.timings.secured = loop_.now();
    }
    ++stats_.connections;
    state.connection = std::make_unique<client_connection>(std::move(stream), options_.sizes);
}

task<tcp_stream> client::secure(tcp_stream stream, std::string host) {
    if (!options_.tls) {
        tls_client_options usual;
        usual.protocols = {"http/1.1"};
        options_.tls = tls_context::client(std::move(usual));
    }
    tls_stream secured =
        co_await start_tls(std::move(stream), options_.tls, std::move(host), wait_forever);
    stats_.resumed += secured.resumed();
    co_return std::move(secured);
}

// Sends the request, of which `text` is all but a large body, and receives the head of the answer.
task<void> client::exchange(incoming::state& state, std::string_view text) {
    state.begin_answer();
    co_await state.send(text);
    if (state.request.body.size() > attached_body_max) {
        co_await race(state.send(state.request.body), state.watch_for_refusal());
    }
    state.timings.sent = loop_.now();
    co_await state.timed(phase::head, options_.head_timeout, state.receive_head());
    state.timings.first_byte = loop_.now();
}

std::string client::render(const incoming::state& state) const {
    const client_request& what = state.request;
    http::headers fields = what.headers;
    if (!fields.contains("User-Agent") && !options_.user_agent.empty()) {
        fields.add("User-Agent", options_.user_agent);
    }
    if (!fields.contains("Accept")) {
        fields.add("Accept", "*/*");
    }
    if (options_.decode && !fields.contains("Accept-Encoding")) {
        fields.add("Accept-Encoding", accept_encoding);
    }
    const bool has_body = !what.body.empty() || what.method == method::post ||
                          what.method == method::put || what.method == method::patch;
    std::string text;
    const write_error bad = append_request_head(
        text, {.method = method_text(what.method),
               .target = state.where.target(),
               .host = state.where.authority(),
               .headers = fields.views(),
               .body = has_body ? body_framing::sized(what.body.size()) : body_framing::none()});
    if (bad != write_error::none) {
        state.fail(std::make_error_code(std::errc::invalid_argument), phase::send,
                   sentence(bad));
    }
    if (what.body.size() <= attached_body_max) {
        text += what.body;
    }
    return text;
}

host_entry& client::host_of(const url& where) {
    std::string key(where.origin());
    const auto found = hosts_.find(key);
    if (found != hosts_.end()) {
        return *found->second;
    }
    const std::size_t limit = options_.connections_per_host_max == 0
                                  ? unlimited
                                  : options_.connections_per_host_max;
    auto made = std::make_unique<host_entry>(key, limit);
    return *hosts_.emplace(std::move(key), std::move(made)).first->second;
}

void client::leave_host(host_entry& host) noexcept {
    if (--host.users == 0) {
        hosts_.erase(host.origin);
    }
}

}  // namespace ringlet::http
