#include "core/file_operation.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/fake_random.h"
#include "tests/support/folder.h"
#include "tests/support/support.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

struct probe : file_operation {
    explicit probe(loop& owner)
        : file_operation([](operation& op, const completion& what) noexcept {
              auto& self = static_cast<probe&>(op);
              self.result = what.result;
              ++self.finals;
              CHECK(!what.more);
          }),
          on(&owner) {}

    int run() {
        on->start(*this);
        CHECK(run_until(*on, [this] { return !active(); }));
        return result;
    }

    loop* on;
    int result = INT32_MIN;
    int finals = 0;
};

int open_at(loop& on, const std::string& path, int flags) {
    probe opening(on);
    opening.prepare_open_at(AT_FDCWD, path.c_str(), flags, 0600);
    return opening.run();
}

}  // namespace

TEST_CASE("every operation on files does what its system call does") {
    const folder here;
    const int before = open_descriptors();
    {
        loop on;
        const std::string path = here.path("file");
        const std::string other = here.path("other");
        const int fd = open_at(on, path, O_RDWR | O_CREAT);
        REQUIRE(fd >= 0);
        CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
        probe op(on);
        op.prepare_write_at(fd, "0123456789", 10, 5);
        CHECK(op.run() == 10);
        char room[20] = {};
        op.prepare_read_at(fd, room, sizeof room, 7);
        CHECK(op.run() == 8);
        CHECK(std::string(room, 8) == "23456789");
        op.prepare_read_at(fd, room, sizeof room, 15);
        CHECK(op.run() == 0);
        op.prepare_read_at(fd, room, 6, file_operation::current_offset);
        CHECK(op.run() == 6);
        CHECK(::lseek(fd, 0, SEEK_CUR) == 6);
        op.prepare_write_at(fd, "ab", 2, file_operation::current_offset);
        CHECK(op.run() == 2);
        CHECK(::lseek(fd, 0, SEEK_CUR) == 8);
        for (const bool data_only : {false, true}) {
            op.prepare_sync(fd, data_only);
            CHECK(op.run() == 0);
        }
        struct statx status = {};
        op.prepare_stat_at(AT_FDCWD, path.c_str(), 0, STATX_BASIC_STATS, &status);
        CHECK(op.run() == 0);
        CHECK(status.stx_size == 15);
        op.prepare_rename_at(AT_FDCWD, path.c_str(), AT_FDCWD, other.c_str(), 0);
        CHECK(op.run() == 0);
        CHECK(op.run() == -ENOENT);
        op.prepare_make_directory_at(AT_FDCWD, path.c_str(), 0700);
        CHECK(op.run() == 0);
        CHECK(op.run() == -EEXIST);
        op.prepare_unlink_at(AT_FDCWD, path.c_str(), 0);
        CHECK(op.run() == -EISDIR);
        op.prepare_unlink_at(AT_FDCWD, path.c_str(), AT_REMOVEDIR);
        CHECK(op.run() == 0);
        int ends[2];
        REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
        op.prepare_splice(fd, 5, ends[1], file_operation::current_offset, 4, 0);
        REQUIRE(op.run() == 4);
        CHECK(::read(ends[0], room, sizeof room) == 4);
        CHECK(std::string(room, 4) == "0ab3");
        ::close(ends[0]);
        ::close(ends[1]);
        op.prepare_close(fd);
        CHECK(op.run() == 0);
        CHECK(op.run() == -EBADF);
        CHECK(op.finals == 17);
    }
    CHECK(open_descriptors() == before);
}

TEST_CASE("an error is the system's, whoever makes the call") {
    loop on;
    probe op(on);
    char room[1];
    op.prepare_read_at(-1, room, 1, 0);
    CHECK(op.run() == -EBADF);
    op.prepare_open_at(AT_FDCWD, "", O_RDONLY, 0);
    CHECK(op.run() == -ENOENT);
    const std::string endless(5000, 'x');
    op.prepare_open_at(AT_FDCWD, endless.c_str(), O_RDONLY, 0);
    CHECK(op.run() == -ENAMETOOLONG);
    op.prepare_sync(-1, false);
    CHECK(op.run() == -EBADF);
    op.prepare_unlink_at(-1, "relative", 0);
    CHECK(op.run() == -EBADF);
}

TEST_CASE("an operation on files, called off at any moment, ends exactly once") {
    const folder here;
    const std::string path = here.path("file");
    detail::fake_random random(seed());
    for (std::uint64_t round = 0; round < 60; ++round) {
        loop on(options_with_seed(seed() * 1000 + round));
        const int fd = open_at(on, path, O_RDWR | O_CREAT);
        REQUIRE(fd >= 0);
        std::vector<std::string> rooms(30, std::string(20'000, 'x'));
        std::deque<probe> probes;
        for (std::string& room : rooms) {
            probe& op = probes.emplace_back(on);
            if (random.chance(128)) {
                op.prepare_write_at(fd, room.data(), room.size(), random.below(100'000));
            } else {
                op.prepare_read_at(fd, room.data(), room.size(), random.below(100'000));
            }
            on.start(op);
            if (random.chance(40)) {
                on.run_once(false);
            }
            if (random.chance(100)) {
                on.cancel(op);
                on.cancel(op);
            }
        }
        for (probe& each : probes) {
            if (random.chance(100)) {
                on.cancel(each);
            }
        }
        for (probe& each : probes) {
            CHECK(run_until(on, [&] { return !each.active(); }, no_limit));
            CHECK(each.finals == 1);
            CHECK((each.result >= 0 || each.result == -ECANCELED));
            on.cancel(each);
        }
        CHECK(on.stats().operations_live == 0);
        ::close(fd);
    }
}

TEST_CASE("a loop's end waits for the operations on files, begun or not") {
    const folder here;
    const std::string path = here.path("file");
    for (int round = 0; round < 20; ++round) {
        auto on = std::make_unique<loop>(options_with_seed(seed() + static_cast<unsigned>(round)));
        const int fd = open_at(*on, path, O_RDWR | O_CREAT);
        std::vector<std::string> rooms(20, std::string(50'000, 'x'));
        std::deque<probe> probes;
        for (std::string& room : rooms) {
            probe& op = probes.emplace_back(*on);
            op.prepare_write_at(fd, room.data(), room.size(), 0);
            on->start(op);
        }
        for (int turn = 0; turn < round % 4; ++turn) {
            on->run_once(false);
        }
        on.reset();
        for (const probe& each : probes) {
            CHECK(!each.active());
            CHECK(each.finals == 1);
        }
        ::close(fd);
    }
}

TEST_CASE("the words for files cost an ordinary operation nothing") {
    CHECK(sizeof(operation) <= 48);
    loop on;
    CHECK(on.driver().handles(opcode::read));
    CHECK(on.driver().handles(opcode::open_at) == (driver_name() == "uring"));
    CHECK(on.driver().handles(opcode::splice) == (driver_name() == "uring"));
}
