// word_count FILE [--plain] [--top N]: the most frequent words of a file and the total of words,
// through a pipeline of generators, with the file read asynchronously; memory stays flat however
// large the file is. A word is what stands between white space (ASCII). `--plain` does the same in
// plain loops over fread, to compare with.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "coro/dump.h"
#include "coro/pipeline.h"
#include "coro/run.h"
#include "net/file.h"

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

async_generator<std::string_view> blocks(loop& owner, std::string path) {
    file source = co_await file::open(owner, std::move(path));
    block_cutter cutter;
    for (std::size_t bytes = 1; bytes > 0;) {
        bytes = co_await source.read(std::as_writable_bytes(cutter.room()));
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

task<void> count_words(loop& owner, const std::string& path, word_counter& counter) {
    return from(blocks(owner, path)) | expand(words) |
           for_each([&counter](std::string_view word) { counter.add(word); });
}

void count_in_plain_loops(const std::string& path, word_counter& counter) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> source(std::fopen(path.c_str(), "rb"),
                                                                 &std::fclose);
    if (!source) {
        throw error(system_code(errno), path);
    }
    std::setvbuf(source.get(), nullptr, _IONBF, 0);
    block_cutter cutter;
    for (std::size_t bytes = 1; bytes > 0;) {
        const std::span<char> room = cutter.room();
        bytes = std::fread(room.data(), 1, room.size(), source.get());
        if (std::ferror(source.get())) {
            throw error(system_code(errno), path);
        }
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
            const dump_on_signal dumps(owner);
            run(owner, count_words(owner, path, counter));
        }
        counter.print(top);
        if (std::fflush(stdout) != 0) {
            throw error(system_code(errno), "output");
        }
        return 0;
    } catch (const std::exception& failure) {
        std::fprintf(stderr, "word_count: %s\n", failure.what());
        return 1;
    }
}
