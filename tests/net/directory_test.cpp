#include "net/directory.h"

#include <unistd.h>

#include <algorithm>

#include "tests/net/stories.h"
#include "tests/support/folder.h"

using namespace ringlet;
using namespace ringlet::test;

namespace {

task<void> touch(loop& owner, std::string path) {
    file made = co_await file::open(owner, std::move(path),
                                    open_flags::write | open_flags::create);
    co_await made.close();
}

}  // namespace

TEST_CASE("names are made, moved, listed and removed") {
    tell([](loop& owner) -> task<void> {
        const folder here;
        co_await make_directory(owner, here.path("inner"));
        co_await touch(owner, here.path("inner/a"));
        co_await touch(owner, here.path("inner/b"));
        co_await make_fifo(owner, here.path("inner/f"));
        co_await make_directory(owner, here.path("inner/d"));
        REQUIRE(::symlink("a", here.path("inner/l").c_str()) == 0);
        std::vector<directory_entry> found = co_await list_directory(owner, here.path("inner"));
        std::sort(found.begin(), found.end(),
                  [](const auto& x, const auto& y) { return x.name < y.name; });
        REQUIRE(found.size() == 5);
        const file_kind kinds[] = {file_kind::regular, file_kind::regular, file_kind::directory,
                                   file_kind::fifo, file_kind::link};
        for (std::size_t i = 0; i < 5; ++i) {
            CHECK(found[i].name == std::string(1, "abdfl"[i]));
            CHECK((found[i].kind == kinds[i] || found[i].kind == file_kind::unknown));
        }
        const file_status link = co_await status_of(owner, here.path("inner/l"), false);
        CHECK(link.kind == file_kind::link);
        const file_status followed = co_await status_of(owner, here.path("inner/l"));
        CHECK(followed.kind == file_kind::regular);

        co_await rename_path(owner, here.path("inner/a"), here.path("inner/c"));
        const std::error_code gone = co_await failure_of(status_of(owner, here.path("inner/a")));
        CHECK(gone == std::errc::no_such_file_or_directory);
        const std::error_code kept = co_await failure_of(
            rename_path(owner, here.path("inner/c"), here.path("inner/b"), false));
        CHECK(kept == std::errc::file_exists);
        co_await rename_path(owner, here.path("inner/c"), here.path("inner/b"));

        const std::error_code full =
            co_await failure_of(remove_directory(owner, here.path("inner")));
        CHECK(full == std::errc::directory_not_empty);
        for (const char* name : {"inner/b", "inner/f", "inner/l"}) {
            co_await remove_file(owner, here.path(name));
        }
        co_await remove_directory(owner, here.path("inner/d"));
        co_await remove_directory(owner, here.path("inner"));
        const std::vector<directory_entry> nothing = co_await list_directory(owner, here.path());
        CHECK(nothing.empty());
    }, 3);
}

TEST_CASE("errors name the path") {
    tell([](loop& owner) -> task<void> {
        const folder here;
        const std::string path = here.path("nothing");
        const auto said = [](task<void> what) -> task<std::string> {
            try {
                co_await std::move(what);
            } catch (const error& failure) {
                co_return failure.what();
            }
            co_return std::string();
        };
        const auto listing = [](loop& on, std::string where) -> task<void> {
            (void)co_await list_directory(on, where);
        };
        std::vector<std::string> all;
        all.push_back(co_await said(remove_file(owner, path)));
        all.push_back(co_await said(remove_directory(owner, path)));
        all.push_back(co_await said(rename_path(owner, path, here.path("x"))));
        all.push_back(co_await said(make_directory(owner, path + "/deeper")));
        all.push_back(co_await said(make_fifo(owner, path + "/deeper")));
        all.push_back(co_await said(listing(owner, path)));
        for (const std::string& each : all) {
            CHECK(each.find(path) != std::string::npos);
        }
    }, 2);
}

TEST_CASE("a directory with more entries than allowed is refused, one with as many is not") {
    tell([](loop& owner) -> task<void> {
        const folder here;
        for (int i = 0; i < 30; ++i) {
            co_await touch(owner, here.path(std::to_string(i)));
        }
        const std::vector<directory_entry> all = co_await list_directory(owner, here.path(), 30);
        CHECK(all.size() == 30);
        const std::error_code code =
            co_await failure_of(list_directory(owner, here.path(), 29));
        CHECK(code == errc::limit_exceeded);
    }, 2);
}
