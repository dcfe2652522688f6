// What a program does with names in the file system, for coroutines: on the ring where the driver
// can, else on the loop's helper threads. Paths are relative to the working directory. Cancelling
// reaches what has not begun; what has begun is waited for. Everything throws `error` that names
// the path. Loop thread only.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <string>
#include <vector>

#include "core/loop.h"
#include "coro/task.h"
#include "net/file.h"

namespace ringlet {

// Of the file itself where `path` is a link to one, unless `follow` is false.
task<file_status> status_of(loop& owner, std::string path, bool follow = true);
// Replaces what is at `to` in one step, or refuses with EEXIST when `replace` is false.
task<void> rename_path(loop& owner, std::string from, std::string to, bool replace = true);
task<void> remove_file(loop& owner, std::string path);
task<void> make_directory(loop& owner, std::string path, mode_t permissions = 0777);
task<void> remove_directory(loop& owner, std::string path);  // an empty one
task<void> make_fifo(loop& owner, std::string path, mode_t permissions = 0666);

struct directory_entry {
    std::string name;  // without the directory
    file_kind kind;    // unknown where the file system does not say
};

constexpr std::size_t directory_entries_max = 1'000'000;

// All names in a directory but "." and "..", in the order of the file system. Throws
// errc::limit_exceeded when there are more than `entries_max`.
task<std::vector<directory_entry>> list_directory(loop& owner, std::string path,
                                                  std::size_t entries_max = directory_entries_max);

}  // namespace ringlet
