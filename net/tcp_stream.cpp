#include "net/tcp_stream.h"

#include <algorithm>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "net/connection.h"
#include "net/tls_engine.h"

namespace ringlet {
namespace detail {

// When this many bytes have come while nobody was waiting, receiving pauses until they have been
// read. What was on its way then (some buffers of the driver's) still comes.
constexpr std::size_t unread_bytes_max = 256 * 1024;
// A piece of this size is kept where it lies; smaller ones are collected, so that few bytes hold no
// buffer of the driver's.
constexpr std::size_t unread_piece_min = 4 * 1024;

// What has come and was not received yet, in order.
class unread_bytes {
public:
    bool empty() const noexcept { return next_ == pieces_.size() && collected_.empty(); }
    std::size_t size() const noexcept { return bytes_; }

    void add(chunk bytes) {
        bytes_ += bytes.size();
        if (bytes.size() < unread_piece_min) {
            collected_.append(bytes.text());
            return;
        }
        if (!collected_.empty()) {
            pieces_.push_back(take_collected());
        }
        pieces_.push_back(std::move(bytes));
    }
    // The first piece. Requires: not empty.
    chunk take() {
        chunk piece = next_ < pieces_.size() ? std::move(pieces_[next_++]) : take_collected();
        if (const std::size_t taken = std::exchange(taken_, 0); taken > 0) {
            piece = chunk(piece.bytes().subspan(taken));
        }
        bytes_ -= piece.size();
        return piece;
    }
    // As much of the first piece as fits.
    std::size_t copy(std::span<std::byte> into) {
        const std::span<const std::byte> first =
            (next_ < pieces_.size() ? pieces_[next_].bytes() : std::as_bytes(std::span(collected_)))
                .subspan(taken_);
        const std::size_t bytes = std::min(into.size(), first.size());
        std::copy_n(first.data(), bytes, into.data());
        taken_ += bytes;
        bytes_ -= bytes;
        if (bytes == first.size()) {
            taken_ = 0;
            if (next_ < pieces_.size()) {
                pieces_[next_++] = chunk();
            } else {
                collected_.clear();
            }
        }
        return bytes;
    }

private:
    chunk take_collected() {
        chunk piece(std::as_bytes(std::span(collected_)));
        collected_.clear();
        return piece;
    }

    std::vector<chunk> pieces_;
    std::size_t next_ = 0;   // those before it have been taken
    std::string collected_;  // behind the pieces
    std::size_t taken_ = 0;  // of the first
    std::size_t bytes_ = 0;
};

class stream_core final : public connection {
public:
    using connection::connection;

    static void* operator new(std::size_t bytes) { return allocate_frame(bytes); }
    static void operator delete(void* memory, std::size_t bytes) noexcept {
        free_frame(memory, bytes);
    }

    // What there is without waiting: bytes, else the end or an error.
    bool take_unread(chunk& into, std::error_code& code) {
        if (unread_) {
            into = unread_->take();
            drop_if_read();
            return true;
        }
        code = end_code_;
        return end_seen_;
    }
    // As much of the unread bytes as fits; 0 when there are none.
    std::size_t copy_unread(std::span<std::byte> into) noexcept {
        if (!unread_) {
            return 0;
        }
        const std::size_t bytes = unread_->copy(into);
        drop_if_read();
        return bytes;
    }
    // Behind what is unread already.
    void keep(chunk bytes) {
        if (!unread_) {
            unread_ = std::make_unique<unread_bytes>();
        }
        unread_->add(std::move(bytes));
    }
    bool readable() const noexcept { return unread_ || end_seen_; }

    void require_nobody_waits() const noexcept {
        RINGLET_REQUIRE(reader_ == nullptr && writer_ == nullptr && users_ == 0,
                        "a stream was closed while a coroutine waits for it");
    }
    void add_user(bool sends) noexcept {
        require_may_send(sends);
        RINGLET_REQUIRE(!sends || !sending(), "two coroutines send to one stream at once");
        ++users_;
        sending_user_ = sending_user_ || sends;
    }
    void drop_user(bool sends) noexcept {
        --users_;
        sending_user_ = sending_user_ && !sends;
    }
    // A receive_wait, or during the TLS handshake, when nothing is received, its secure_wait.
    void set_reader(stream_wait* reader) noexcept {
        RINGLET_REQUIRE(reader_ == nullptr || reader == nullptr,
                        "two coroutines receive from one stream at once");
        reader_ = reader;
        if (reader != nullptr && !receiving()) {
            start_receiving();
        }
    }
    void set_writer(send_wait& writer, std::span<const std::byte> bytes) noexcept {
        require_may_send(true);
        writer_ = &writer;
        send_from(bytes);
    }

    bool ended(std::error_code& code) const noexcept {
        if (end_seen_) {
            code = end_code_ ? end_code_ : make_error_code(tls_errc::handshake_cut);
        }
        return end_seen_;
    }
    // What came before the handshake belongs to it.
    void secure(std::unique_ptr<tls_engine> engine) {
        std::string received;
        for (; unread_; drop_if_read()) {
            received += unread_->take().text();
        }
        start_tls(std::move(engine), std::move(received));
    }

private:
    ~stream_core() override = default;

    void require_may_send(bool sends) const noexcept {
        RINGLET_REQUIRE(!sends || (writer_ == nullptr && !sending_user_),
                        "two coroutines send to one stream at once");
    }

    void on_received(chunk bytes) noexcept override {
        if (stream_wait* const reader = std::exchange(reader_, nullptr)) {
            static_cast<receive_wait*>(reader)->resume_with(std::move(bytes));
            return;
        }
        try {
            keep(std::move(bytes));
        } catch (const std::bad_alloc&) {
            // What has been kept can still be read; behind it the stream has a hole.
            if (unread_ && unread_->size() == 0) {
                unread_.reset();
            }
            pause_receiving();
            return on_end(std::make_error_code(std::errc::not_enough_memory));
        }
        if (unread_->size() >= unread_bytes_max) {
            pause_receiving();
        }
    }
    void on_end(std::error_code code) noexcept override {
        end_seen_ = true;
        end_code_ = code;
        end_read(code);
    }
    void on_secured() noexcept override { end_read({}); }
    void on_sent() noexcept override { end_send({}); }
    void on_send_failed(std::error_code code) noexcept override { end_send(code); }

    void end_read(std::error_code code) noexcept {
        if (stream_wait* const reader = std::exchange(reader_, nullptr)) {
            reader->resume(code);
        }
    }
    void end_send(std::error_code code) noexcept {
        if (send_wait* const writer = std::exchange(writer_, nullptr)) {
            writer->resume(code);
        }
    }
    void drop_if_read() noexcept {
        if (!unread_->empty()) {
            return;
        }
        unread_.reset();
        if (!end_seen_ && !receiving()) {
            start_receiving();
        }
    }

    stream_wait* reader_ = nullptr;
    send_wait* writer_ = nullptr;
    std::unique_ptr<unread_bytes> unread_;  // null: none
    std::error_code end_code_;
    bool end_seen_ = false;
    bool sending_user_ = false;
    std::uint16_t users_ = 0;  // coroutines with operations of their own
};

void stream_wait::describe_as(const char* kind, wait_description& into) const {
    into.kind = kind;
    into.descriptor = core_->descriptor();
    const address peer = core_->peer_address();
    into.detail = peer.family() == AF_UNSPEC ? "a Unix socket" : peer.text();
}

void receive_wait::describe(wait_description& into) const { describe_as("receive", into); }

void send_wait::describe(wait_description& into) const {
    describe_as("send", into);
    into.detail = std::to_string(core_->unsent_bytes()) + " bytes to " + into.detail;
}

bool receive_wait::await_ready() { return core_->take_unread(bytes_, code_); }

void receive_wait::begin() noexcept { core_->set_reader(this); }

void receive_wait::cancel_wait() noexcept {
    if (!queued()) {
        core_->set_reader(nullptr);
        core_->loop().post(*this);
    }
}

void receive_wait::run_cancelled(work& item) noexcept {
    static_cast<receive_wait&>(item).resume(
        std::make_error_code(std::errc::operation_canceled));
}

void send_wait::begin() noexcept { core_->set_writer(*this, bytes_); }

void send_wait::cancel_wait() noexcept { core_->cancel_send(); }

secure_wait::secure_wait(stream_core* core, std::unique_ptr<tls_engine> engine) noexcept
    : stream_wait(core), work(&run_cancelled), engine_(std::move(engine)) {}

secure_wait::~secure_wait() = default;

bool secure_wait::await_ready() noexcept { return core_->ended(code_); }

void secure_wait::await_resume() const {
    if (code_) {
        const tls_engine* const engine = core_->tls();
        const bool explained = engine != nullptr && !engine->detail().empty();
        throw_code(code_, explained ? engine->detail().c_str() : nullptr);
    }
}

void secure_wait::begin() noexcept {
    core_->set_reader(this);
    try {
        core_->secure(std::move(engine_));
    } catch (const std::bad_alloc&) {
        failed_ = std::make_error_code(std::errc::not_enough_memory);
        cancel_wait();
    }
}

void secure_wait::cancel_wait() noexcept {
    if (!queued()) {
        core_->set_reader(nullptr);
        core_->loop().post(*this);
    }
}

void secure_wait::run_cancelled(work& item) noexcept {
    auto& self = static_cast<secure_wait&>(item);
    self.resume(self.failed_);
}

}  // namespace detail

stream::stream(loop& owner, int fd) {
    try {
        core_ = new detail::stream_core(owner, fd);
    } catch (...) {
        owner.driver().close(fd);
        throw;
    }
}

task<std::size_t> stream::read_some(std::span<std::byte> into) {
    if (const std::size_t bytes = core_->copy_unread(into); bytes > 0 || into.empty()) {
        co_return bytes;
    }
    const chunk next = co_await receive();
    const std::size_t bytes = std::min(into.size(), next.size());
    std::copy_n(next.bytes().data(), bytes, into.data());
    if (bytes < next.size()) {
        core_->keep(chunk(next.bytes().subspan(bytes)));
    }
    co_return bytes;
}

task<void> stream::read_exactly(std::span<std::byte> into) {
    while (!into.empty()) {
        const std::size_t bytes = co_await read_some(into);
        if (bytes == 0) {
            throw error(errc::end_of_stream);
        }
        into = into.subspan(bytes);
    }
}

void stream::shutdown_send() noexcept { core_->shutdown_send(); }

void stream::close() noexcept {
    if (detail::stream_core* const core = std::exchange(core_, nullptr)) {
        core->require_nobody_waits();
        core->close();
    }
}

void stream::abort() noexcept {
    if (detail::stream_core* const core = std::exchange(core_, nullptr)) {
        core->require_nobody_waits();
        core->abort();
    }
}

bool stream::readable() const noexcept { return core_->readable(); }
loop& stream::owner() const noexcept { return core_->loop(); }
int stream::descriptor() const noexcept { return core_->descriptor(); }

socket_options stream::options() const noexcept {
    return {core_->loop().driver(), core_->descriptor()};
}

address tcp_stream::local_address() const noexcept { return core_->local_address(); }
address tcp_stream::peer_address() const noexcept { return core_->peer_address(); }

bool stream::encrypted() const noexcept { return core_->tls() != nullptr; }

void stream::require_not_receiving() const noexcept {
    RINGLET_REQUIRE(!core_->receiving(),
                    "descriptors were asked for on a stream that receives without them");
}

detail::stream_use::stream_use(stream& used, bool sends) : core_(used.core_), sends_(sends) {
    if (core_ == nullptr) {
        throw error(errc::closed);
    }
    core_->add_user(sends);
}

detail::stream_use::~stream_use() { core_->drop_user(sends_); }

detail::secure_wait stream::secure(std::unique_ptr<tls_engine> engine) noexcept {
    return {core_, std::move(engine)};
}

const tls_engine& stream::tls() const noexcept { return *core_->tls(); }

}  // namespace ringlet
