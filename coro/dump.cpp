#include "coro/dump.h"

#include <algorithm>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <new>
#include <string_view>
#include <unordered_map>

namespace ringlet {
namespace {

[[gnu::format(printf, 2, 3)]] void add(std::string& to, const char* format, ...) {
    char text[128];
    std::va_list values;
    va_start(values, format);
    const int bytes = std::vsnprintf(text, sizeof text, format, values);
    va_end(values);
    to.append(text, static_cast<std::size_t>(std::clamp(bytes, 0, int{sizeof text} - 1)));
}

double seconds(std::int64_t ns) noexcept { return static_cast<double>(ns) / 1e9; }

live_job describe(const job& which) {
    live_job line{&which};
    if (const waiter* const waiting = which.waiting()) {
        line.waits = true;
        waiting->describe(line.wait);
    }
    return line;
}

// Folder and name: enough to find it, short enough for a line.
std::string_view short_path(std::string_view path) noexcept {
    const std::size_t name = path.rfind('/');
    if (name == std::string_view::npos || name == 0) {
        return path;
    }
    const std::size_t folder = path.rfind('/', name - 1);
    return folder == std::string_view::npos ? path : path.substr(folder + 1);
}

// The length of the character that `text` begins with; 0 when that is no UTF-8 (RFC 3629).
std::size_t character_bytes(std::string_view text) noexcept {
    const auto byte = [&](std::size_t at) {
        return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U;
    };
    const unsigned first = byte(0);
    const unsigned second = byte(1);
    if (first < 0x80) {
        return 1;
    }
    const std::size_t bytes = first < 0xc2   ? 0
                              : first < 0xe0 ? 2
                              : first < 0xf0 ? 3
                              : first < 0xf5 ? 4
                                             : 0;
    for (std::size_t at = 1; at < bytes; ++at) {
        if ((byte(at) & 0xc0) != 0x80) {
            return 0;
        }
    }
    // Longer than need be, a half of a pair, or above the last one.
    const bool wrong = (first == 0xe0 && second < 0xa0) || (first == 0xed && second >= 0xa0) ||
                       (first == 0xf0 && second < 0x90) || (first == 0xf4 && second >= 0x90);
    return wrong ? 0 : bytes;
}

// Paths and names may hold any bytes; what is not UTF-8 becomes its replacement character.
void add_json(std::string& to, std::string_view text) {
    to += '"';
    while (!text.empty()) {
        const char c = text.front();
        const std::size_t bytes = character_bytes(text);
        if (c == '"' || c == '\\') {
            to += '\\';
            to += c;
        } else if (static_cast<unsigned char>(c) < 0x20) {
            add(to, "\\u%04x", static_cast<unsigned>(c));
        } else if (bytes == 0) {
            to += "\\ufffd";
        } else {
            to += text.substr(0, bytes);
        }
        text.remove_prefix(std::max<std::size_t>(bytes, 1));
    }
    to += '"';
}

// A dump's text goes to terminals, and a job has one line.
std::string printable(std::string text) {
    std::replace_if(
        text.begin(), text.end(),
        [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
    return text;
}

void add_text(std::string& to, const live_job& line, instant now) {
    to.append(2 * line.depth, ' ');
    to += "- " + printable(line.which->describe());
    if (const spawn_site& at = line.which->spawned(); at.file != nullptr) {
        to += ", spawned at ";
        to += printable(std::string(short_path(at.file)));
        add(to, ":%u", at.line);
    }
    if (line.waits) {
        add(to, ", waits %.3f s for ", seconds(now - line.which->since()));
        to += line.wait.kind;
        to += line.wait.detail.empty() ? "" : " (" + printable(line.wait.detail) + ")";
        if (line.wait.descriptor >= 0) {
            add(to, ", descriptor %d", line.wait.descriptor);
        }
        if (line.wait.until >= 0) {
            add(to, ", at most %.3f s more", seconds(std::max<instant>(line.wait.until - now, 0)));
        }
    } else {
        to += ", running, or in an await that is not Ringlet's";
    }
    to += line.which->is_cancelled() ? "; cancelled\n" : "\n";
}

void add_wait_json(std::string& to, const wait_description& wait, instant waited, instant now) {
    add(to, "{\"for_s\": %.6f, \"kind\": ", seconds(waited));
    add_json(to, wait.kind);
    to += ", \"detail\": ";
    add_json(to, wait.detail);
    if (wait.descriptor >= 0) {
        add(to, ", \"descriptor\": %d", wait.descriptor);
    }
    if (wait.until >= 0) {
        add(to, ", \"ends_in_s\": %.6f", seconds(std::max<instant>(wait.until - now, 0)));
    }
    to += '}';
}

void add_task_json(std::string& to, const live_job& line, const job* parent, instant now) {
    add(to, "{\"id\": \"%p\", \"parent\": ", static_cast<const void*>(line.which));
    if (parent != nullptr) {
        add(to, "\"%p\"", static_cast<const void*>(parent));
    } else {
        to += "null";
    }
    to += ", \"what\": ";
    add_json(to, line.which->describe());
    to += line.which->is_cancelled() ? ", \"cancelled\": true" : ", \"cancelled\": false";
    to += ", \"spawned\": ";
    if (const spawn_site& at = line.which->spawned(); at.file != nullptr) {
        to += "{\"file\": ";
        add_json(to, at.file);
        add(to, ", \"line\": %u}", at.line);
    } else {
        to += "null";
    }
    to += ", \"waits\": ";
    if (line.waits) {
        add_wait_json(to, line.wait, now - line.which->since(), now);
    } else {
        to += "null";
    }
    to += '}';
}

}  // namespace

std::vector<live_job> live_jobs(loop& owner) {
    struct family {
        std::vector<const job*> children;
        bool told = false;
    };
    std::vector<const job*> all;
    std::unordered_map<const job*, family> families;
    const auto add_list = [&](live_link& head) {
        for (live_link* at = head.next(); at != &head; at = at->next()) {
            all.push_back(&job::of(*at));
            families[all.back()];
        }
    };
    live_link& groups = owner.job_groups();
    add_list(owner.jobs());
    for (live_link* at = groups.next(); at != &groups; at = at->next()) {
        add_list(static_cast<live_group*>(at)->members);
    }
    std::vector<const job*> roots;
    for (const job* each : all) {
        const auto parent = families.find(each->parent());
        (parent != families.end() ? parent->second.children : roots).push_back(each);
    }
    // Last, and told already unless a mistake of the program made them each other's parents.
    roots.insert(roots.end(), all.begin(), all.end());
    std::vector<live_job> lines;
    std::vector<std::pair<const job*, std::size_t>> stack;
    for (const job* root : roots) {
        stack.emplace_back(root, 0);
        while (!stack.empty()) {
            const auto [next, depth] = stack.back();
            stack.pop_back();
            family& of = families[next];
            if (of.told) {
                continue;
            }
            of.told = true;
            lines.push_back(describe(*next));
            lines.back().depth = depth;
            for (auto child = of.children.rbegin(); child != of.children.rend(); ++child) {
                stack.emplace_back(*child, depth + 1);
            }
        }
    }
    return lines;
}

std::string dump_tasks(loop& owner) {
    const instant now = owner.read_clock();
    const std::vector<live_job> lines = live_jobs(owner);
    const loop_stats stats = owner.stats();
    std::string text;
    add(text, "%zu live tasks, %" PRIu64 " operations, %" PRIu64 " timers, driver %s, at %.3f s\n",
        lines.size(), stats.operations_live, stats.timers_pending, owner.driver().name(),
        seconds(now));
    for (const live_job& each : lines) {
        add_text(text, each, now);
    }
    return text;
}

std::string dump_tasks_json(loop& owner) {
    const instant now = owner.read_clock();
    const std::vector<live_job> lines = live_jobs(owner);
    const loop_stats stats = owner.stats();
    std::string text = "{\"driver\": ";
    add_json(text, owner.driver().name());
    add(text, ", \"now_s\": %.6f, \"operations\": %" PRIu64 ", \"timers\": %" PRIu64
        ", \"tasks\": [", seconds(now), stats.operations_live, stats.timers_pending);
    std::vector<const job*> above;  // the jobs from the root down to the last line's
    const char* separator = "\n";
    for (const live_job& each : lines) {
        above.resize(each.depth);
        text += separator;
        add_task_json(text, each, above.empty() ? nullptr : above.back(), now);
        above.push_back(each.which);
        separator = ",\n";
    }
    text += "]}\n";
    return text;
}

dump_on_signal::dump_on_signal(loop& owner, int number)
    : watch_(
          owner, {number},
          [](void* of, int) noexcept {
              try {
                  std::fputs(dump_tasks(*static_cast<loop*>(of)).c_str(), stderr);
              } catch (const std::bad_alloc&) {
                  std::fputs("ringlet: there is no memory for a dump of the tasks\n", stderr);
              }
          },
          &owner) {}

}  // namespace ringlet
