// The hosts file, the only text about names that is read here (getaddrinfo reads DNS answers): what
// is found is what a second reader of the same lines finds. Each word is tried as an address, too.
#include "net/hosts_file.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "tests/fuzz/fuzz.h"

namespace ringlet::fuzz {
namespace {

constexpr const char* blanks = " \t\r\f\v";

std::vector<std::string> words_of(std::string line) {
    std::vector<std::string> words;
    for (std::size_t at = 0; (at = line.find_first_not_of(blanks, at)) != line.npos;) {
        const std::size_t end = std::min(line.find_first_of(blanks, at), line.size());
        words.push_back(line.substr(at, end - at));
        at = end;
    }
    return words;
}

std::map<std::string, std::vector<address>> plain_reader(const std::string& text) {
    std::map<std::string, std::vector<address>> names;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        std::vector<std::string> words = words_of(line.substr(0, line.find('#')));
        if (words.empty() || !address::parse(words[0], 0)) {
            continue;
        }
        for (std::size_t i = 1; i < words.size(); ++i) {
            for (char& c : words[i]) {
                c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
            }
            std::vector<address>& known = names[words[i]];
            const address where = *address::parse(words[0], 0);
            if (std::find(known.begin(), known.end(), where) == known.end() &&
                known.size() < hosts_file::addresses_per_name_max) {
                known.push_back(where);
            }
        }
    }
    return names;
}

void check_address(std::string_view word) {
    const result<address> parsed = address::parse(word, 7);
    if (!parsed) {
        return;
    }
    const address& where = *parsed;
    CHECK(where.port() == 7);
    const result<address> again = address::parse(where.host_text(), 7);
    REQUIRE(static_cast<bool>(again));
    CHECK(*again == where);
}

// A file without a name that holds `text`.
class memory_file {
public:
    explicit memory_file(const std::string& text) : fd_(::memfd_create("hosts", MFD_CLOEXEC)) {
        REQUIRE(::write(fd_, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    }
    memory_file(const memory_file&) = delete;
    memory_file& operator=(const memory_file&) = delete;
    ~memory_file() { ::close(fd_); }

    std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

private:
    int fd_;
};

}  // namespace

void fuzz(std::string_view input) {
    const std::string text(input);
    const memory_file file(text);
    hosts_file hosts(file.path());
    const auto expected = plain_reader(text);
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        for (const std::string& word : words_of(line)) {
            check_address(word);
            const std::vector<address>* const found = hosts.find(word, 0);
            const auto other = expected.find(word);
            REQUIRE((found != nullptr) == (other != expected.end()));
            CHECK((found == nullptr || *found == other->second));
        }
    }
    for (const auto& [name, addresses] : expected) {
        const std::vector<address>* const found = hosts.find(name, 0);
        REQUIRE(found != nullptr);
        CHECK(*found == addresses);
    }
}

}  // namespace ringlet::fuzz
