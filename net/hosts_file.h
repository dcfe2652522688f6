// The system's table of host names (/etc/hosts), kept in memory. The file is looked at again at
// most once a second, and read anew when it has changed. A file that is missing, unreadable or no
// plain file is an empty table. Loop thread only; reading blocks, which a small local file may.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <ctime>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/driver.h"
#include "net/address.h"

namespace ringlet {

class hosts_file {
public:
    // What stands behind these many bytes, or is the address of a name too many, is not seen here.
    static constexpr std::size_t bytes_max = 4 * 1024 * 1024;
    static constexpr std::size_t addresses_per_name_max = 32;
    static constexpr nanoseconds check_pause = std::chrono::seconds(1);

    explicit hosts_file(std::string path) : path_(std::move(path)) {}

    // The addresses (port 0) of `name`, which is in small letters, in the order of the file; null
    // when it has none. Valid until the next call.
    const std::vector<address>* find(const std::string& name, instant now);

private:
    // What tells one state of the file from another.
    struct version {
        dev_t device = 0;
        ino_t inode = 0;
        off_t bytes = -1;
        timespec changed = {};
    };

    void refresh();
    void read(int fd);
    void parse_line(std::string_view line);

    std::string path_;
    version read_;
    instant next_check_ = 0;
    std::unordered_map<std::string, std::vector<address>> names_;
};

}  // namespace ringlet
