#include "http/headers.h"

#include <algorithm>

namespace ringlet::http {

namespace {

std::string_view trimmed(std::string_view text) noexcept {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
        text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t'))
        text.remove_suffix(1);
    return text;
}

}  // namespace

bool equals_ignoring_case(std::string_view left, std::string_view right) noexcept {
    if (left.size() != right.size())
        return false;
    for (std::size_t i = 0; i < left.size(); ++i) {
        if (left[i] == right[i])
            continue;
        const int letter = left[i] | 0x20;
        if (letter != (right[i] | 0x20) || letter < 'a' || letter > 'z')
            return false;
    }
    return true;
}

const header_view* find_header(std::span<const header_view> list, std::string_view name) noexcept {
    for (const header_view& field : list)
        if (equals_ignoring_case(field.name, name))
            return &field;
    return nullptr;
}

bool list_has_token(std::string_view list, std::string_view token) noexcept {
    while (!list.empty()) {
        const std::size_t comma = std::min(list.find(','), list.size());
        if (equals_ignoring_case(trimmed(list.substr(0, comma)), token))
            return true;
        list.remove_prefix(std::min(comma + 1, list.size()));
    }
    return false;
}

headers& headers::operator=(const headers& other) {
    if (this != &other)
        assign(other.views_);
    return *this;
}

// When the text moves, only what the views still name moves with it, so that set and erase leave no
// litter that grows. The old text lives on in `retired` until the caller has copied its arguments.
void headers::make_room(std::size_t bytes, std::vector<char>& retired) {
    if (text_.capacity() - text_.size() >= bytes)
        return;
    std::size_t live = 0;
    for (const header_view& field : views_)
        live += field.name.size() + field.value.size();
    std::vector<char> grown;
    grown.reserve(std::max<std::size_t>(256, 2 * (live + bytes)));
    text_.swap(grown);
    retired.swap(grown);
    for (header_view& field : views_)
        field = {store(field.name), store(field.value)};
}

// Requires: room for the text.
std::string_view headers::store(std::string_view text) {
    const std::size_t at = text_.size();
    text_.insert(text_.end(), text.begin(), text.end());
    return {text_.data() + at, text.size()};
}

void headers::assign(std::span<const header_view> list) {
    headers fresh;
    std::size_t bytes = 0;
    for (const header_view& field : list)
        bytes += field.name.size() + field.value.size();
    fresh.text_.reserve(bytes);
    fresh.views_.reserve(list.size());
    for (const header_view& field : list)
        fresh.views_.push_back({fresh.store(field.name), fresh.store(field.value)});
    *this = std::move(fresh);
}

void headers::add(std::string_view name, std::string_view value) {
    std::vector<char> retired;
    make_room(name.size() + value.size(), retired);
    const std::string_view own_name = store(name);
    views_.push_back({own_name, store(value)});
}

void headers::set(std::string_view name, std::string_view value) {
    std::vector<char> retired;
    make_room(name.size() + value.size(), retired);
    const header_view field{store(name), store(value)};
    const auto is_same = [&](const header_view& other) {
        return equals_ignoring_case(other.name, field.name);
    };
    const auto first = std::find_if(views_.begin(), views_.end(), is_same);
    if (first == views_.end()) {
        views_.push_back(field);
        return;
    }
    *first = field;
    views_.erase(std::remove_if(first + 1, views_.end(), is_same), views_.end());
}

std::size_t headers::erase(std::string_view name) {
    return std::erase_if(
        views_, [&](const header_view& field) { return equals_ignoring_case(field.name, name); });
}

void headers::clear() noexcept {
    text_.clear();
    views_.clear();
}

std::string_view headers::value(std::string_view name) const noexcept {
    const header_view* field = find(name);
    return field ? field->value : std::string_view{};
}

std::vector<std::string_view> headers::get_all(std::string_view name) const {
    std::vector<std::string_view> values;
    for (const header_view& field : views_)
        if (equals_ignoring_case(field.name, name))
            values.push_back(field.value);
    return values;
}

}  // namespace ringlet::http
