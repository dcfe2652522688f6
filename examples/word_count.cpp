// word_count FILE [--plain] [--top N]: the most frequent words of a file and the total of words,
// through a pipeline of generators, with the file read asynchronously; memory stays flat however
// large the file is. A word is what stands between white space (ASCII). `--plain` does the same in
// plain loops over read(2), to compare with.
#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/helper_pool.h"
#include "coro/callback.h"
#include "coro/pipeline.h"
#include "coro/run.h"

namespace {

using namespace ringlet;

constexpr std::size_t block_bytes = 256 * 1024;    // of the file at a time
constexpr std::size_t word_bytes_max = 64 * 1024;  // a longer one is refused

constexpr bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// Blocks of a file, each cut behind its last white space; the rest is put before the next one.
class block_cutter {
public:
    // Where the next bytes of the file belong.
    std::span<char> room() { return std::span(memory_).subspan(kept_, block_bytes); }

    // The whole words among what was kept and `bytes` new ones in `room`; valid until `keep_rest`.
    std::string_view whole_words(std::size_t bytes) {
        const std::string_view all(memory_.data(), kept_ + bytes);
        std::size_t end = all.size();
        while (bytes > 0 && end > 0 && !is_space(all[end - 1])) {  // no bytes: the file's end
            --end;
        }
        rest_ = all.substr(end);
        if (rest_.size() > word_bytes_max) {
            throw error(errc::limit_exceeded,
                        "a word of more than " + std::to_string(word_bytes_max) + " bytes");
        }
        return all.substr(0, end);
    }
    void keep_rest() {
        std::memmove(memory_.data(), rest_.data(), rest_.size());
        kept_ = rest_.size();
    }

private:
    std::vector<char> memory_ = std::vector<char>(word_bytes_max + block_bytes);
    std::size_t kept_ = 0;
    std::string_view rest_;
};

class word_counter {
public:
    void add(std::string_view word) {
        ++total_;
        const auto known = counts_.find(word);
        if (known != counts_.end()) {
            ++known->second;
        } else {
            counts_.emplace(word, 1);
        }
    }
    // The most frequent first; equally frequent ones by the alphabet.
    void print(std::size_t top) const {
        std::vector<std::pair<std::uint64_t, std::string_view>> all;
        for (const auto& [word, count] : counts_) {
            all.emplace_back(count, word);
        }
        top = std::min(top, all.size());
        std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(top), all.end(),
                          [](const auto& a, const auto& b) {
                              return a.first != b.first ? a.first > b.first : a.second < b.second;
                          });
        for (std::size_t i = 0; i < top; ++i) {
            std::printf("%" PRIu64 " %.*s\n", all[i].first, static_cast<int>(all[i].second.size()),
                        all[i].second.data());
        }
        std::printf("%" PRIu64 " words\n", total_);
    }

private:
    struct hash : std::hash<std::string_view> {
        using is_transparent = void;
    };
    std::unordered_map<std::string, std::uint64_t, hash, std::equal_to<>> counts_;
    std::uint64_t total_ = 0;
};

// An open file whose blocking calls are made by a helper thread.
class input_file {
public:
    explicit input_file(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
        if (fd_ < 0) {
            throw error(system_code(errno), path);
        }
    }
    input_file(const input_file&) = delete;
    input_file& operator=(const input_file&) = delete;
    ~input_file() { ::close(fd_); }

    // 0 at the end of the file.
    std::size_t read(std::span<char> into) const {
        const ssize_t got = ::read(fd_, into.data(), into.size());
        if (got < 0) {
            throw error(system_code(errno), "read");
        }
        return static_cast<std::size_t>(got);
    }

private:
    int fd_;
};

struct reading : helper_job {
    reading(const input_file& from, std::span<char> to, done_callback<std::size_t> when)
        : helper_job(&reading::run, &reading::finish), source(from), into(to), done(when) {}
    static void run(helper_job& job) noexcept {
        auto& self = static_cast<reading&>(job);
        try {
            self.bytes = self.source.read(self.into);
        } catch (...) {
            self.failure = std::current_exception();
        }
    }
    static void finish(work& job) noexcept {
        auto& self = static_cast<reading&>(job);
        if (self.failure) {
            self.done.fail(self.failure);
        } else {
            self.done(self.bytes);
        }
    }
    const input_file& source;
    std::span<char> into;
    done_callback<std::size_t> done;
    std::size_t bytes = 0;
    std::exception_ptr failure;
};

task<std::size_t> read(const input_file& source, std::span<char> into) {
    std::optional<reading> job;
    auto start = [&](done_callback<std::size_t> done) {
        job.emplace(source, into, done);
        loop::current()->helpers().submit(*job);
    };
    co_return co_await from_callback<std::size_t>(start);
}

async_generator<std::string_view> blocks(const std::string& path) {
    const input_file source(path);
    block_cutter cutter;
    for (std::size_t bytes = 1; bytes > 0;) {
        bytes = co_await read(source, cutter.room());
        co_yield cutter.whole_words(bytes);
        cutter.keep_rest();
    }
}

generator<std::string_view> words(std::string_view text) {
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t begin = at;
        while (at < text.size() && !is_space(text[at])) {
            ++at;
        }
        if (at > begin) {
            co_yield text.substr(begin, at - begin);
        }
        ++at;
    }
}

task<void> count_words(const std::string& path, word_counter& counter) {
    return from(blocks(path)) | expand(words) |
           for_each([&counter](std::string_view word) { counter.add(word); });
}

void count_in_plain_loops(const std::string& path, word_counter& counter) {
    const input_file source(path);
    block_cutter cutter;
    for (std::size_t bytes = 1; bytes > 0;) {
        bytes = source.read(cutter.room());
        const std::string_view text = cutter.whole_words(bytes);
        for (std::size_t at = 0; at < text.size();) {
            const std::size_t begin = at;
            while (at < text.size() && !is_space(text[at])) {
                ++at;
            }
            if (at > begin) {
                counter.add(text.substr(begin, at - begin));
            }
            ++at;
        }
        cutter.keep_rest();
    }
}

}  // namespace

int main(int count, char** arguments) {
    std::string path;
    bool plain = false;
    std::size_t top = 10;
    CLI::App app{"The most frequent words of a file", "word_count"};
    app.add_option("file", path, "what to read")->required();
    app.add_flag("--plain", plain, "in plain loops, without a loop of ours");
    app.add_option("--top", top, "how many words to print (10)");
    CLI11_PARSE(app, count, arguments);
    try {
        word_counter counter;
        if (plain) {
            count_in_plain_loops(path, counter);
        } else {
            loop owner;
            run(owner, count_words(path, counter));
        }
        counter.print(top);
        return 0;
    } catch (const std::exception& failure) {
        std::fprintf(stderr, "word_count: %s\n", failure.what());
        return 1;
    }
}
