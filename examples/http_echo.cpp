// http_echo PORT: answers any request with what it saw, as JSON (method, target, headers as a list
// of pairs, body), as httpbin's /anything does. GET /plaintext answers "Hello, World!" from the
// floor of the server: a plain callback, no coroutine. Stops on SIGINT or SIGTERM.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "examples/arguments.h"
#include "http/server.h"

namespace {

using namespace ringlet;

// Collects the body, then answers; deletes itself.
class echo_answer final : public http::exchange_listener {
public:
    explicit echo_answer(http::exchange& at) : exchange_(at) {
        exchange_.take(*this);
    }
    void begin() noexcept { exchange_.want_body(); }  // may be the end of this object

private:
    void on_body(std::string_view bytes) noexcept override { body_.append(bytes); }
    void on_writable() noexcept override {}
    void on_aborted(std::error_code) noexcept override { delete this; }

    void on_body_end() noexcept override {
        using nlohmann::json;
        const http::request_head& seen = exchange_.request();
        json pairs = json::array();
        for (const http::header_view& each : seen.headers) {
            pairs.push_back({each.name, each.value});
        }
        const json answer = {{"method", seen.method_text()},
                             {"target", seen.target},
                             {"headers", std::move(pairs)},
                             {"body", body_}};
        const std::string text = answer.dump(-1, ' ', false, json::error_handler_t::replace);
        exchange_.respond(200, "application/json", text);
        delete this;
    }

    http::exchange& exchange_;
    std::string body_;
};

void answer(void*, http::exchange& at) noexcept {
    const http::request_head& request = at.request();
    if (request.path == "/plaintext" && request.method == http::method::get) {
        at.respond(200, "text/plain", "Hello, World!");
    } else {
        (new echo_answer(at))->begin();
    }
}

}  // namespace

int main(int count, char** arguments) {
    return examples::serve_main(count, arguments, "http_echo", [](loop& events) {
        http::limits sizes;
        sizes.requests_per_connection_max = ~0U;
        return std::make_unique<http::server>(events, &answer, nullptr, sizes);
    });
}
