#include "net/hosts_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace ringlet {
namespace {

constexpr std::string_view blanks = " \t\r\f\v";

// The next word of `line`, which is cut off there; empty at its end.
std::string_view next_word(std::string_view& line) {
    const std::size_t begin = std::min(line.find_first_not_of(blanks), line.size());
    const std::size_t end = std::min(line.find_first_of(blanks, begin), line.size());
    const std::string_view word = line.substr(begin, end - begin);
    line.remove_prefix(end);
    return word;
}

char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

}  // namespace

const std::vector<address>* hosts_file::find(const std::string& name, instant now) {
    if (now >= next_check_) {
        next_check_ = now + check_pause.count();
        refresh();
    }
    const auto found = names_.find(name);
    return found == names_.end() ? nullptr : &found->second;
}

void hosts_file::refresh() {
    struct stat status = {};
    version there;
    if (::stat(path_.c_str(), &status) == 0 && S_ISREG(status.st_mode)) {
        there = {status.st_dev, status.st_ino, status.st_size, status.st_mtim};
    }
    if (there.device == read_.device && there.inode == read_.inode && there.bytes == read_.bytes &&
        there.changed.tv_sec == read_.changed.tv_sec &&
        there.changed.tv_nsec == read_.changed.tv_nsec) {
        return;
    }
    read_ = there;
    names_.clear();
    // Never waits, should the path have become a FIFO meanwhile.
    const int fd = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0) {
        read(fd);
        ::close(fd);
    }
}

void hosts_file::read(int fd) {
    std::string text;
    std::string block(16 * 1024, '\0');
    ssize_t bytes = 0;
    while (text.size() < bytes_max && (bytes = ::read(fd, block.data(), block.size())) > 0) {
        text.append(block, 0, static_cast<std::size_t>(bytes));
    }
    std::string_view rest = text;
    while (!rest.empty()) {
        const std::size_t end = rest.find('\n');
        if (end == std::string_view::npos && bytes > 0) {
            return;  // cut off by bytes_max
        }
        std::string_view line = rest.substr(0, end);
        parse_line(line.substr(0, line.find('#')));
        rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    }
}

void hosts_file::parse_line(std::string_view line) {
    const result<address> parsed = address::parse(next_word(line), 0);
    if (!parsed) {
        return;
    }
    for (std::string_view word = next_word(line); !word.empty(); word = next_word(line)) {
        std::string name(word);
        std::transform(name.begin(), name.end(), name.begin(), to_lower);
        std::vector<address>& known = names_[std::move(name)];
        if (known.size() < addresses_per_name_max &&
            std::find(known.begin(), known.end(), *parsed) == known.end()) {
            known.push_back(*parsed);
        }
    }
}

}  // namespace ringlet
