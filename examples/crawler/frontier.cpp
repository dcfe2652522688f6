#include "examples/crawler/frontier.h"

namespace ringlet::crawler {

// FNV-1a, then mixed: two of a hundred thousand URLs collide once in four billion crawls.
std::uint64_t frontier::hash(std::string_view text) noexcept {
    std::uint64_t value = 0xcbf29ce484222325;
    for (const char byte : text) {
        value = (value ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
    }
    value ^= value >> 32;
    value *= 0xd6e8feb86659fd93;
    return value ^ (value >> 32);
}

host& frontier::host_of(const http::url& where) {
    const auto [at, fresh] = hosts_.try_emplace(std::string(where.origin()));
    if (fresh) {
        at->second = std::make_unique<host>();
        at->second->origin = at->first;
    }
    return *at->second;
}

bool frontier::add(const http::url& where, unsigned depth) {
    if (!mark(where.without_fragment())) {
        return false;
    }
    host& site = host_of(where);
    site.waiting.emplace_back(where.without_fragment(), depth);
    ++waiting_;
    if (!site.in_turn) {
        site.in_turn = true;
        turn_.push_back(&site);
    }
    return true;
}

std::optional<page> frontier::take() {
    for (auto at = turn_.begin(); at != turn_.end(); ++at) {
        host& site = **at;
        if (!ready(site)) {
            continue;
        }
        page next{std::move(site.waiting.front().first), site.waiting.front().second, &site};
        site.waiting.pop_front();
        --waiting_;
        ++site.active;
        turn_.erase(at);
        site.in_turn = !site.waiting.empty();
        if (site.in_turn) {
            turn_.push_back(&site);
        }
        return next;
    }
    return std::nullopt;
}

}  // namespace ringlet::crawler
