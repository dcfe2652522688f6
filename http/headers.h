// Header fields. `header_view` is one name and value owned by somebody else (a parser, a literal);
// `headers` is an ordered list that owns its text in one block and offers the same views of it.
// Names compare without regard to ASCII case and keep the spelling and the order they were given
// in. A view taken from `headers` is valid until the next change of that list. Nothing is checked
// here: parsers deliver checked fields and the writer checks what an application sends. One thread
// at a time.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace ringlet::http {

struct header_view {
    std::string_view name;
    std::string_view value;

    bool operator==(const header_view&) const = default;
};

// ASCII case is ignored; bytes above 127 compare as they are.
[[nodiscard]] bool equals_ignoring_case(std::string_view left, std::string_view right) noexcept;

// The first field of that name, or nullptr.
[[nodiscard]] const header_view* find_header(std::span<const header_view> list,
                                             std::string_view name) noexcept;

// Whether a comma separated list of tokens ("close, TE") holds the token, ignoring case.
[[nodiscard]] bool list_has_token(std::string_view list, std::string_view token) noexcept;

class headers {
public:
    headers() = default;
    explicit headers(std::span<const header_view> list) { assign(list); }
    headers(const headers& other) { assign(other.views_); }
    headers& operator=(const headers& other);
    headers(headers&&) noexcept = default;
    headers& operator=(headers&&) noexcept = default;
    ~headers() = default;

    // Arguments may be views into this same list.
    void assign(std::span<const header_view> list);
    void add(std::string_view name, std::string_view value);
    // Replaces every field of that name by one, at the place of the first; adds it when there was
    // none.
    void set(std::string_view name, std::string_view value);
    // Returns how many fields were removed.
    std::size_t erase(std::string_view name);
    void clear() noexcept;

    [[nodiscard]] const header_view* find(std::string_view name) const noexcept {
        return find_header(views_, name);
    }
    // The value of the first field of that name; empty when there is none.
    [[nodiscard]] std::string_view value(std::string_view name) const noexcept;
    [[nodiscard]] std::vector<std::string_view> get_all(std::string_view name) const;
    [[nodiscard]] bool contains(std::string_view name) const noexcept {
        return find(name) != nullptr;
    }

    [[nodiscard]] std::size_t size() const noexcept { return views_.size(); }
    [[nodiscard]] bool empty() const noexcept { return views_.empty(); }
    [[nodiscard]] const header_view& operator[](std::size_t index) const { return views_[index]; }
    [[nodiscard]] auto begin() const noexcept { return views_.begin(); }
    [[nodiscard]] auto end() const noexcept { return views_.end(); }
    [[nodiscard]] std::span<const header_view> views() const noexcept { return views_; }

private:
    std::string_view store(std::string_view text);
    void make_room(std::size_t bytes, std::vector<char>& retired);

    std::vector<char> text_;  // never grows by itself: make_room moves it and the views together
    std::vector<header_view> views_;
};

}  // namespace ringlet::http
