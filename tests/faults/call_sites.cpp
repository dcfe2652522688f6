#include "tests/faults/call_sites.h"

#include <cxxabi.h>
#include <elf.h>
#include <link.h>
#include <unwind.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace ringlet::faults {
namespace {

enum class owner : std::uint8_t { nobody, library, tests };

struct symbol {
    std::uintptr_t begin;
    std::uintptr_t end;
    const char* name;
    owner whose;
};

constexpr std::size_t hashed_frames = 6;

std::string* image = nullptr;  // the program's file; the symbols' names lie in it
std::vector<symbol>* symbols = nullptr;

bool starts_with(std::string_view text, std::string_view beginning) {
    return text.substr(0, beginning.size()) == beginning;
}

// A mangled name without what stands before its first namespace: _ZN, _ZNK, _ZZN, _ZThn16_N, ...
std::string_view qualified(std::string_view name) {
    if (!starts_with(name, "_Z")) {
        return {};
    }
    const std::size_t at = name.find_first_of("0123456789", 2);
    name.remove_prefix(std::min(at, name.size()));
    if (const std::size_t thunk = name.find("_N"); thunk < 4) {
        name.remove_prefix(thunk + 2);
    }
    return name;
}

// `file` is the source a local symbol comes from; empty for the others.
owner owner_of(std::string_view mangled, std::string_view file) {
    constexpr std::string_view inner[] = {"4http", "6detail", "7crawler"};
    std::string_view name = qualified(mangled);
    const bool ours = starts_with(name, "7ringlet") && name.find("faults") == name.npos;
    bool anonymous = !ours;
    if (ours) {
        name.remove_prefix(8);
        for (const std::string_view each : inner) {
            if (starts_with(name, each)) {
                name.remove_prefix(each.size());
            }
        }
        if (starts_with(name, "4test") || name.find("fake_driver") < 4 ||
            name.find("fake_kernel") < 4 || starts_with(name, "11fake_random")) {
            return owner::tests;
        }
        anonymous = starts_with(name, "12_GLOBAL__N_1");
    }
    if (!anonymous) {
        return owner::library;
    }
    if (file.size() < 4 || file.substr(file.size() - 4) != ".cpp") {
        return owner::nobody;
    }
    if (file.find("_test.cpp") != file.npos || starts_with(file, "fake")) {
        return owner::tests;
    }
    // The standard library's templates over somebody's local types are nobody's.
    return ours ? owner::library : owner::nobody;
}

const symbol* find_symbol(std::uintptr_t address) noexcept {
    const auto after = std::upper_bound(
        symbols->begin(), symbols->end(), address,
        [](std::uintptr_t value, const symbol& each) { return value < each.begin; });
    return after == symbols->begin() || address >= std::prev(after)->end ? nullptr
                                                                         : &*std::prev(after);
}

_Unwind_Reason_Code add_frame(_Unwind_Context* context, void* to) {
    call_site& site = *static_cast<call_site*>(to);
    if (site.depth == site.depth_max) {
        return _URC_END_OF_STACK;
    }
    // The call, not the instruction it returns to.
    const auto next = static_cast<std::uintptr_t>(_Unwind_GetIP(context));
    if (next == 0) {
        return _URC_END_OF_STACK;
    }
    site.frames[site.depth++] = next - 1;
    return _URC_NO_REASON;
}

[[noreturn]] void give_up(const char* sentence) {
    std::fprintf(stderr, "fail_nth: %s\n", sentence);
    std::exit(2);
}

void add_table(const ElfW(Shdr)& table, const ElfW(Shdr)& strings, std::uintptr_t base) {
    const char* const names = image->data() + strings.sh_offset;
    std::string_view file;
    for (std::size_t at = 0; at < table.sh_size; at += sizeof(ElfW(Sym))) {
        ElfW(Sym) entry;
        std::memcpy(&entry, image->data() + table.sh_offset + at, sizeof entry);
        const char* const name = names + entry.st_name;
        const int type = ELF64_ST_TYPE(entry.st_info);
        if (type == STT_FILE) {
            file = name;
        } else if (type == STT_FUNC && entry.st_size > 0) {
            const bool local = ELF64_ST_BIND(entry.st_info) == STB_LOCAL;
            const std::uintptr_t begin = base + entry.st_value;
            symbols->push_back({begin, begin + entry.st_size, name,
                                owner_of(name, local ? file : std::string_view())});
        }
    }
}

// Of an object, or of a coroutine's frame.
bool is_destructor(const char* mangled) noexcept {
    const std::string_view name(mangled);
    return name.ends_with(".destroy") || name.find("D2Ev") != name.npos ||
           name.find("D1Ev") != name.npos || name.find("D0Ev") != name.npos;
}

// Whether the function just inside the one at `at`, leaving out what is nobody's, is a test's.
bool is_tests_inside(const call_site& site, std::size_t at) noexcept {
    while (at-- > 0) {
        const symbol* const found = find_symbol(site.frames[at]);
        if (found != nullptr && found->whose != owner::nobody) {
            return found->whose == owner::tests;
        }
    }
    return false;
}

call_site look(bool skip_destructors, std::uintptr_t from = 0) noexcept {
    call_site site;
    _Unwind_Backtrace(&add_frame, &site);
    std::size_t hashed = 0;
    const symbol* inner = nullptr;
    std::size_t at = 0;
    if (from != 0) {
        const auto end = site.frames.begin() + static_cast<std::ptrdiff_t>(site.depth);
        const auto first = std::find(site.frames.begin(), end, from - 1);
        at = first == end ? 0 : static_cast<std::size_t>(first - site.frames.begin());
        site.called_tests = is_tests_inside(site, at);
    }
    for (; at < site.depth && hashed < hashed_frames; ++at) {
        const symbol* const found = find_symbol(site.frames[at]);
        if (found == nullptr || found->whose == owner::nobody ||
            (skip_destructors && is_destructor(found->name))) {
            continue;
        }
        if (inner == nullptr) {
            site.library = found->whose == owner::library;
            site.tests = found->whose == owner::tests;
        } else if (std::strstr(found->name, "4test9run_until") != nullptr &&
                   std::strstr(inner->name, "4loop11start_timer") != nullptr) {
            site.library = false;  // the time limit of the test itself
        }
        if (found->whose == owner::library) {
            site.place = (site.place ^ site.frames[at]) * 0x100000001b3U;
            ++hashed;
        }
        inner = found;
    }
    return site;
}

}  // namespace

void load_symbols() {
    std::ifstream file("/proc/self/exe", std::ios::binary);
    image = new std::string(std::istreambuf_iterator<char>(file), {});
    symbols = new std::vector<symbol>;
    std::uintptr_t base = 0;
    ::dl_iterate_phdr(
        [](dl_phdr_info* first, std::size_t, void* to) {
            *static_cast<std::uintptr_t*>(to) = first->dlpi_addr;
            return 1;
        },
        &base);
    ElfW(Ehdr) header;
    if (image->size() < sizeof header) {
        give_up("its own program file cannot be read");
    }
    std::memcpy(&header, image->data(), sizeof header);
    std::vector<ElfW(Shdr)> sections(header.e_shnum);
    std::memcpy(sections.data(), image->data() + header.e_shoff,
                sections.size() * sizeof(ElfW(Shdr)));
    for (const ElfW(Shdr)& section : sections) {
        if (section.sh_type == SHT_SYMTAB) {
            add_table(section, sections[section.sh_link], base);
        }
    }
    if (symbols->empty()) {
        give_up("this program was stripped of its symbols");
    }
    std::sort(symbols->begin(), symbols->end(),
              [](const symbol& a, const symbol& b) { return a.begin < b.begin; });
}

call_site find_call_site() noexcept { return look(false); }

call_site find_owner_of_destroyed() noexcept { return look(true); }

call_site find_call_site_above(std::uintptr_t address) noexcept { return look(false, address); }

bool is_thread_of_tests() noexcept {
    const call_site site = look(false);
    for (std::size_t at = site.depth; at-- > 0;) {
        const symbol* const found = find_symbol(site.frames[at]);
        if (found != nullptr && found->whose != owner::nobody) {
            return found->whose == owner::tests;
        }
    }
    return false;
}

void print(const call_site& site) noexcept {
    int lines = 0;
    for (std::size_t at = 0; at < site.depth && lines < 24; ++at) {
        const symbol* const found = find_symbol(site.frames[at]);
        if (found != nullptr && found->whose != owner::nobody) {
            int status = 0;
            char* const plain = abi::__cxa_demangle(found->name, nullptr, nullptr, &status);
            std::fprintf(stderr, "    %.150s\n", plain != nullptr ? plain : found->name);
            std::free(plain);
            ++lines;
        }
    }
}

}  // namespace ringlet::faults
