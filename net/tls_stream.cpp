#include "net/tls_stream.h"

#include "coro/timeout.h"
#include "net/tls_engine.h"

namespace ringlet {

task<tls_stream> start_tls(tcp_stream over, tls_context context, std::string host,
                           nanoseconds timeout) {
    tls_stream made(std::move(over));
    auto engine = std::make_unique<tls_engine>(context, host, made.peer_address().port());
    co_await made.shake_hands(std::move(engine), timeout);
    co_return made;
}

task<tls_stream> accept_tls(tcp_stream over, tls_context context, nanoseconds timeout) {
    tls_stream made(std::move(over));
    auto engine = std::make_unique<tls_engine>(context);
    co_await made.shake_hands(std::move(engine), timeout);
    co_return made;
}

task<void> tls_stream::shake_hands(std::unique_ptr<tls_engine> engine, nanoseconds timeout) {
    try {
        co_await with_timeout(timeout, wait_until_secure(std::move(engine)));
    } catch (const error& failure) {
        if (failure.code() == errc::timed_out) {
            throw error(tls_errc::handshake_timed_out);
        }
        throw;
    }
}

task<void> tls_stream::wait_until_secure(std::unique_ptr<tls_engine> engine) {
    co_await secure(std::move(engine));
}

std::string_view tls_stream::protocol() const noexcept { return tls().protocol(); }
std::string_view tls_stream::version() const noexcept { return tls().version(); }
std::string_view tls_stream::cipher() const noexcept { return tls().cipher(); }
bool tls_stream::resumed() const noexcept { return tls().resumed(); }
std::string_view tls_stream::server_name() const noexcept { return tls().server_name(); }
std::string tls_stream::peer_subject() const { return tls().peer_subject(); }

}  // namespace ringlet
