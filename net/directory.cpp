#include "net/directory.h"

#include <dirent.h>
#include <fcntl.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <string_view>

#include "coro/on_helper.h"

namespace ringlet {
namespace {

using detail::throw_for_path;

file_kind kind_of_entry(unsigned char type) noexcept {
    switch (type) {
        case DT_REG: return file_kind::regular;
        case DT_DIR: return file_kind::directory;
        case DT_LNK: return file_kind::link;
        case DT_FIFO: return file_kind::fifo;
        case DT_SOCK: return file_kind::socket;
        case DT_CHR: return file_kind::character_device;
        case DT_BLK: return file_kind::block_device;
        default: return file_kind::unknown;
    }
}

// On a helper thread.
std::vector<directory_entry> read_entries(const std::string& path, std::size_t entries_max,
                                          const std::atomic<bool>& stop) {
    const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path.c_str()), &::closedir);
    if (!folder) {
        throw_for_path("list", path, errno);
    }
    std::vector<directory_entry> found;
    for (;;) {
        errno = 0;
        const dirent* const entry = ::readdir(folder.get());
        if (entry == nullptr) {
            if (errno != 0) {
                throw_for_path("list", path, errno);
            }
            return found;
        }
        const std::string_view name = entry->d_name;
        if (name == "." || name == "..") {
            continue;
        }
        if (stop.load(std::memory_order_relaxed)) {
            throw cancelled();
        }
        if (found.size() == entries_max) {
            throw error(errc::limit_exceeded, "list " + path + ": more than " +
                                                  std::to_string(entries_max) + " entries");
        }
        found.push_back({std::string(name), kind_of_entry(entry->d_type)});
    }
}

}  // namespace

task<file_status> status_of(loop& owner, std::string path, bool follow) {
    return detail::status_at(owner, AT_FDCWD, std::move(path), follow ? 0 : AT_SYMLINK_NOFOLLOW);
}

task<void> rename_path(loop& owner, std::string from, std::string to, bool replace) {
    constexpr int no_replace = 1;  // RENAME_NOREPLACE, which not every libc names
    file_operation_wait renaming(owner);
    renaming.prepare_rename_at(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(),
                               replace ? 0 : no_replace);
    if (const int result = co_await renaming; result < 0) {
        throw_for_path("rename", from + " to " + to, result);
    }
}

task<void> remove_file(loop& owner, std::string path) {
    file_operation_wait removing(owner);
    removing.prepare_unlink_at(AT_FDCWD, path.c_str(), 0);
    if (const int result = co_await removing; result < 0) {
        throw_for_path("remove", path, result);
    }
}

task<void> make_directory(loop& owner, std::string path, mode_t permissions) {
    file_operation_wait making(owner);
    making.prepare_make_directory_at(AT_FDCWD, path.c_str(), permissions);
    if (const int result = co_await making; result < 0) {
        throw_for_path("make directory", path, result);
    }
}

task<void> remove_directory(loop& owner, std::string path) {
    file_operation_wait removing(owner);
    removing.prepare_unlink_at(AT_FDCWD, path.c_str(), AT_REMOVEDIR);
    if (const int result = co_await removing; result < 0) {
        throw_for_path("remove directory", path, result);
    }
}

task<void> make_fifo(loop&, std::string path, mode_t permissions) {
    const char* const name = path.c_str();
    on_helper making([name, permissions] {
        return ::mkfifo(name, permissions) == 0 ? 0 : -errno;
    });
    if (const int result = co_await making; result < 0) {
        throw_for_path("make FIFO", path, result);
    }
}

task<std::vector<directory_entry>> list_directory(loop&, std::string path,
                                                  std::size_t entries_max) {
    on_helper reading([&path, entries_max](const std::atomic<bool>& stop) {
        return read_entries(path, entries_max, stop);
    });
    co_return co_await reading;
}

}  // namespace ringlet
