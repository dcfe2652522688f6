// The one primitive: something asked of the kernel, and the function to be told when it is done.
//
// An operation is an intrusive object owned by whoever waits (a coroutine frame, a connection, a
// Python object); the loop never allocates one. The lifetime contract: from `loop::start` until
// its FINAL completion (the one with `more == false`) the operation, the memory it points to and
// its descriptor belong to the kernel. Cancelling means asking, then going on waiting for that
// completion. Destroying an active operation ends the program with a sentence.
//
// Loop thread only. The handler runs in the dispatch step of a turn, never inside start or cancel.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>

#include "core/config.h"

namespace ringlet {

class operation;

enum class opcode : std::uint8_t {
    nop,           // completes in the next turn with 0
    accept,        // multishot: one completion per connection, result = its descriptor
    connect,       // to `address`; result 0
    receive,       // multishot into buffers lent by the driver; result = bytes, 0 = end of stream
    receive_into,  // once into `memory`; result = bytes, 0 = end of stream
    send,          // once from `memory`; result = bytes taken, possibly fewer than asked
    send_message,  // once from `message` (gather); result = bytes taken
    poll,          // `poll_events`; result = ready events; again and again when `multishot`
    receive_message,  // once into `message`, descriptors close-on-exec; result = bytes
    read,          // once into `memory` from a pipe or terminal; result = bytes, 0 = end
    write,         // once from `memory` into one; result = bytes taken
    // Only in a file_operation (core/file_operation.h), which says what each needs and gives.
    open_at,
    close_file,
    read_at,
    write_at,
    sync,
    stat_at,
    rename_at,
    unlink_at,
    make_directory_at,
    splice
};

constexpr bool is_for_files(opcode code) noexcept { return code >= opcode::open_at; }

// Memory that the driver lends with a completion of `receive`. Give it back with
// loop::give_back (once); until then the driver has one buffer fewer for everybody. Before `data`
// lie `room_before` bytes that may be written as well: what comes of the bytes may begin there.
struct lent_buffer {
    static constexpr std::size_t room_before = 16 * 1024;  // a TLS record's plaintext

    std::byte* data = nullptr;
    std::uint16_t id = 0;
    std::uint16_t size_class = 0;
};

struct completion {
    std::int32_t result;  // >= 0: see opcode; < 0: -errno (-ECANCELED after a cancel)
    bool more;            // true: the operation stays active and will complete again
    lent_buffer buffer;   // receive with result > 0: the bytes; else data is null
};

class operation {
public:
    using handler = void (*)(operation&, const completion&) noexcept;

    explicit operation(handler on_complete) noexcept : on_complete_(on_complete) {}
    operation(const operation&) = delete;
    operation& operator=(const operation&) = delete;
    ~operation() {
        RINGLET_REQUIRE(!active(), "an operation was destroyed while the kernel still owns it");
    }

    // True from loop::start until the final completion has been dispatched.
    bool active() const noexcept { return state_ != state::idle; }
    bool cancelling() const noexcept { return state_ == state::cancelling; }
    int descriptor() const noexcept { return fd_; }

    // What to ask for. Requires: not active. Memory, address and message stay the caller's and
    // must live until the final completion.
    void prepare_nop() noexcept { prepare(opcode::nop, -1); }
    void prepare_accept(int fd) noexcept { prepare(opcode::accept, fd); }
    void prepare_connect(int fd, const sockaddr* address, socklen_t length) noexcept {
        prepare(opcode::connect, fd);
        memory_ = const_cast<sockaddr*>(address);
        length_ = length;
    }
    void prepare_receive(int fd) noexcept { prepare(opcode::receive, fd); }
    void prepare_receive_into(int fd, void* memory, std::size_t bytes) noexcept {
        prepare(opcode::receive_into, fd);
        memory_ = memory;
        length_ = bytes;
    }
    void prepare_send(int fd, const void* memory, std::size_t bytes) noexcept {
        prepare(opcode::send, fd);
        memory_ = const_cast<void*>(memory);
        length_ = bytes;
    }
    void prepare_send_message(int fd, const msghdr* message) noexcept {
        prepare(opcode::send_message, fd);
        memory_ = const_cast<msghdr*>(message);
    }
    // `message` is written as well: lengths, flags, sender.
    void prepare_receive_message(int fd, msghdr* message) noexcept {
        prepare(opcode::receive_message, fd);
        memory_ = message;
    }
    // For descriptors that become ready (pipes, terminals), whether they block or not.
    void prepare_read(int fd, void* memory, std::size_t bytes) noexcept {
        prepare(opcode::read, fd);
        memory_ = memory;
        length_ = bytes;
    }
    void prepare_write(int fd, const void* memory, std::size_t bytes) noexcept {
        prepare(opcode::write, fd);
        memory_ = const_cast<void*>(memory);
        length_ = bytes;
    }
    void prepare_poll(int fd, std::uint32_t poll_events, bool multishot) noexcept {
        prepare(opcode::poll, fd);
        length_ = poll_events;
        multishot_ = multishot;
    }

private:
    friend class loop;
    friend class driver;
    friend class file_operation;
    friend struct driver_access;

    enum class state : std::uint8_t {
        idle,       // the owner's: may be prepared, started, destroyed
        active,     // the driver's
        cancelling  // the driver's, and a cancel has been asked for
    };

    void prepare(opcode code, int fd) noexcept {
        RINGLET_REQUIRE(!active(), "an active operation was prepared anew");
        code_ = code;
        fd_ = fd;
        multishot_ = code == opcode::accept || code == opcode::receive;
    }

    handler on_complete_;
    void* memory_ = nullptr;
    std::size_t length_ = 0;
    int fd_ = -1;
    opcode code_ = opcode::nop;
    state state_ = state::idle;
    bool multishot_ = false;

    // The driver's own words; what they mean is said where the driver uses them.
    std::uint8_t driver_bits_ = 0;
    std::int32_t driver_result_ = 0;
    operation* driver_next_ = nullptr;
};

// The door through which drivers (and only drivers) reach an operation's private words.
struct driver_access {
    static opcode code(const operation& op) noexcept { return op.code_; }
    static int fd(const operation& op) noexcept { return op.fd_; }
    static void* memory(const operation& op) noexcept { return op.memory_; }
    static std::size_t length(const operation& op) noexcept { return op.length_; }
    static bool multishot(const operation& op) noexcept { return op.multishot_; }
    static bool cancelling(const operation& op) noexcept { return op.cancelling(); }
    static std::uint8_t& bits(operation& op) noexcept { return op.driver_bits_; }
    static std::int32_t& result(operation& op) noexcept { return op.driver_result_; }
    static operation*& next(operation& op) noexcept { return op.driver_next_; }
};

// A first-in-first-out list through the driver's link word.
class operation_queue {
public:
    bool empty() const noexcept { return head_ == nullptr; }
    operation* front() const noexcept { return head_; }

    void push(operation& op) noexcept {
        driver_access::next(op) = nullptr;
        (tail_ != nullptr ? driver_access::next(*tail_) : head_) = &op;
        tail_ = &op;
    }

    operation* pop() noexcept {
        operation* op = head_;
        if (op != nullptr) {
            head_ = driver_access::next(*op);
            if (head_ == nullptr) {
                tail_ = nullptr;
            }
        }
        return op;
    }

    // Returns whether `op` was there. Linear.
    bool remove(operation& op) noexcept {
        operation* before = nullptr;
        for (operation* at = head_; at != nullptr; before = at, at = driver_access::next(*at)) {
            if (at == &op) {
                (before != nullptr ? driver_access::next(*before) : head_) =
                    driver_access::next(op);
                if (tail_ == at) {
                    tail_ = before;
                }
                return true;
            }
        }
        return false;
    }

private:
    operation* head_ = nullptr;
    operation* tail_ = nullptr;
};

}  // namespace ringlet
