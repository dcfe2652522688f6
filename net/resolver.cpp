#include "net/resolver.h"

#include <netdb.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/helper_pool.h"
#include "coro/suspension.h"
#include "coro/wait_list.h"

namespace ringlet {
namespace {

constexpr std::size_t name_octets_max = 253;   // without the dot at the end
constexpr std::size_t label_octets_max = 63;
constexpr std::size_t shown_octets_max = 100;  // of a bad name, in an error's text

[[noreturn]] void refuse(std::string_view host, const char* cause) {
    std::string text = "\"";
    for (const char c : host.substr(0, shown_octets_max)) {
        text += c > ' ' && c != 0x7f ? c : (c == ' ' ? ' ' : '?');
    }
    text += host.size() > shown_octets_max ? "...\" " : "\" ";
    throw error(errc::resolve_failed, text + "is no host name, " + cause);
}

// What getaddrinfo and inet_aton take for an IPv4 address: a number in the last label.
bool ends_in_number(std::string_view name) {
    const std::string_view last = name.substr(name.rfind('.') + 1);
    const bool hexadecimal = last.size() >= 2 && last[0] == '0' && last[1] == 'x';
    return last.find_first_not_of("0123456789") == std::string_view::npos ||
           (hexadecimal &&
            last.substr(2).find_first_not_of("0123456789abcdef") == std::string_view::npos);
}

// `name`: in small letters, without the dot at the end.
void check_name(std::string_view host, std::string_view name) {
    if (name.empty()) {
        refuse(host, "it is empty");
    }
    if (name.size() > name_octets_max) {
        refuse(host, "it is longer than 253 octets");
    }
    std::size_t label = 0;
    for (const char c : name) {
        if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f) {
            refuse(host, c == '\0'  ? "a NUL is in it"
                         : c == ' ' ? "a space is in it"
                                    : "a control character is in it");
        }
        if (c == ':' || c == '[' || c == ']' || c == '%' || c == '/') {
            refuse(host, "nor an IPv6 address: a character is in it that names do not have");
        }
        label = c == '.' ? 0 : label + 1;
        if (label > label_octets_max) {
            refuse(host, "a label of it is longer than 63 octets");
        }
    }
    if (name.front() == '.' || name.back() == '.' || name.find("..") != std::string_view::npos) {
        refuse(host, "a label of it is empty");
    }
    if (ends_in_number(name)) {
        refuse(host, "it ends in a number, and no IPv4 address in its usual form");
    }
}

bool is_localhost(std::string_view name) {
    return name == "localhost" || name.ends_with(".localhost");
}

std::vector<address> with_port(const std::vector<address>& found, std::uint16_t port) {
    std::vector<address> given = found;
    for (address& each : given) {
        each.set_port(port);
    }
    return given;
}

}  // namespace

int system_look_up(const char* host, std::vector<address>& found) {
    addrinfo wanted = {};
    wanted.ai_family = AF_UNSPEC;
    wanted.ai_socktype = SOCK_STREAM;
    wanted.ai_flags = AI_ADDRCONFIG;
    addrinfo* first = nullptr;
    if (const int failed = ::getaddrinfo(host, nullptr, &wanted, &first)) {
        return failed;
    }
    for (const addrinfo* each = first; each != nullptr; each = each->ai_next) {
        if (each->ai_family == AF_INET || each->ai_family == AF_INET6) {
            found.emplace_back(each->ai_addr, each->ai_addrlen);
        }
    }
    ::freeaddrinfo(first);
    return 0;
}

struct resolver::answer {
    std::vector<address> addresses;
    std::string failure;  // when there are no addresses
};

class resolver::look_up_wait final : public suspension<look_up_wait>, public detail::wait_link {
public:
    look_up_wait(resolver& names, const std::string& host) noexcept : names_(names), host_(host) {}

    bool await_ready() const noexcept { return false; }
    void enlist();
    void delist() noexcept;
    shared_answer await_resume() {
        check_cancelled();
        return std::move(answer_);
    }
    void describe_wait(wait_description& into) const {
        into.kind = "name look-up";
        into.detail = host_;
    }
    void end(shared_answer what) noexcept {
        answer_ = std::move(what);
        wake_up();
    }

private:
    resolver& names_;
    const std::string& host_;
    look_up* joined_ = nullptr;
    shared_answer answer_;
};

// One call of the look-up function. Owns all that the helper thread touches, and itself: it is
// deleted by its `done`, which comes even when resolver and loop have gone.
class resolver::look_up final : public helper_job {
public:
    look_up(resolver& owner, std::string host)
        : helper_job(&look_up::block, &look_up::done),
          owner_(&owner),
          function_(owner.options_.look_up),
          host_(std::move(host)) {}

    const std::string& host() const noexcept { return host_; }
    void abandon() noexcept {
        RINGLET_REQUIRE(waits_.empty(), "a resolver was destroyed while a coroutine waits for it");
        owner_ = nullptr;
    }

    detail::wait_list<look_up_wait> waits_;

    // After the end, on the loop's thread.
    shared_answer make_answer() {
        auto made = std::make_shared<answer>();
        found_.resize(std::min(found_.size(), addresses_max));
        made->addresses = std::move(found_);
        if (made->addresses.empty()) {
            made->failure = host_ + ": ";
            made->failure += code_ == EAI_SYSTEM ? system_code(errno_).message()
                             : code_ != 0        ? ::gai_strerror(code_)
                                                 : "the answer holds no address";
        }
        return made;
    }

private:
    static void block(helper_job& job) noexcept {
        auto& self = static_cast<look_up&>(job);
        try {
            self.code_ = self.function_(self.host_.c_str(), self.found_);
            self.errno_ = errno;
        } catch (...) {
            self.code_ = EAI_MEMORY;
        }
        if (self.code_ != 0) {
            self.found_.clear();
        }
    }
    static void done(work& item) noexcept {
        auto& self = static_cast<look_up&>(item);
        if (self.owner_ != nullptr) {
            self.owner_->look_up_done(self);
        }
        delete &self;
    }

    resolver* owner_;  // null once it has gone
    look_up_function function_;
    std::string host_;
    std::vector<address> found_;
    int code_ = 0;
    int errno_ = 0;
};

void resolver::look_up_wait::enlist() {
    joined_ = &names_.join_look_up(host_);
    joined_->waits_.push(*this);
}

void resolver::look_up_wait::delist() noexcept { joined_->waits_.remove(*this); }

resolver::resolver(loop& owner, resolver_options options)
    : loop_(owner), options_(std::move(options)), hosts_(options_.hosts_path) {}

resolver::~resolver() {
    for (const auto& [host, running] : in_flight_) {
        running->abandon();
    }
}

task<std::vector<address>> resolver::resolve(std::string host, std::uint16_t port) {
    std::string name = host;
    const bool bracketed = name.size() > 2 && name.front() == '[' && name.back() == ']';
    result<address> literal = address::parse(
        bracketed ? std::string_view(name).substr(1, name.size() - 2) : name, port);
    if (literal && (literal->is_v6() || !bracketed)) {
        co_return std::vector<address>{*literal};
    }
    std::transform(name.begin(), name.end(), name.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    });
    const bool absolute = !name.empty() && name.back() == '.';
    const std::string plain = name.substr(0, name.size() - (absolute ? 1 : 0));
    check_name(host, plain);
    if (is_localhost(plain)) {
        co_return std::vector<address>{address::loopback_v6(port), address::loopback_v4(port)};
    }
    if (const std::vector<address>* listed = hosts_.find(plain, loop_.now())) {
        co_return with_port(*listed, port);
    }
    // A name with a dot at its end is asked for as it is: no search domain is tried for it.
    shared_answer found = find_cached(name);
    if (!found) {
        look_up_wait wait(*this, name);
        found = co_await wait;
    }
    if (!found) {
        throw std::bad_alloc();  // where the answer was made
    }
    if (found->addresses.empty()) {
        throw error(errc::resolve_failed, found->failure);
    }
    co_return with_port(found->addresses, port);
}

void resolver::clear_cache() noexcept {
    by_host_.clear();
    cache_.clear();
}

resolver::shared_answer resolver::find_cached(const std::string& host) {
    const auto found = by_host_.find(host);
    if (found == by_host_.end()) {
        return nullptr;
    }
    const auto entry = found->second;
    if (entry->expires <= loop_.now()) {
        by_host_.erase(found);
        cache_.erase(entry);
        return nullptr;
    }
    cache_.splice(cache_.begin(), cache_, entry);
    return entry->what;
}

resolver::look_up& resolver::join_look_up(const std::string& host) {
    const auto running = in_flight_.find(host);
    if (running != in_flight_.end()) {
        return *running->second;
    }
    if (in_flight_.size() >= options_.look_ups_max) {
        throw error(errc::limit_exceeded, host + ": too many host names are being looked up");
    }
    auto fresh = std::make_unique<look_up>(*this, host);
    const auto [at, added] = in_flight_.emplace(fresh->host(), fresh.get());
    try {
        loop_.helpers().submit(*fresh);
    } catch (...) {
        in_flight_.erase(at);
        throw;
    }
    return *fresh.release();
}

void resolver::look_up_done(look_up& ended) noexcept {
    in_flight_.erase(ended.host());
    shared_answer what;
    try {
        what = ended.make_answer();
        keep(ended.host(), what);
    } catch (const std::bad_alloc&) {
        // Not kept, and without an answer those who wait are told why.
    }
    while (look_up_wait* const oldest = ended.waits_.pop()) {
        oldest->end(what);
    }
}

void resolver::keep(const std::string& host, shared_answer what) {
    if (options_.cache_entries_max == 0) {
        return;
    }
    if (cache_.size() >= options_.cache_entries_max) {
        by_host_.erase(cache_.back().host);
        cache_.pop_back();
    }
    const nanoseconds life = what->addresses.empty() ? options_.failure_ttl : options_.cache_ttl;
    cache_.push_front({host, std::move(what), loop_.now() + life.count()});
    try {
        by_host_[cache_.front().host] = cache_.begin();
    } catch (...) {
        cache_.pop_front();
        throw;
    }
}

}  // namespace ringlet
