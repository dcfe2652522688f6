// robots.txt (RFC 9309): reads a site's rules for one crawler and answers which of its pages may be
// asked for. A policy is a plain value made from the outcome of one fetch; its owner keeps one for
// each origin. Every input has a policy: what is not a rule is passed over, and counted.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ringlet::crawler {

// What is read of a file; the RFC asks for at least this much.
inline constexpr std::size_t robots_bytes_max = 500 * 1024;
// Rules kept of the group that applies: each is compared with every URL of the site.
inline constexpr std::size_t robots_rules_max = 10'000;
// Redirects to follow one after the other before the file counts as missing.
inline constexpr int robots_redirects_max = 5;

class robots_policy {
public:
    static robots_policy allow_all() { return {}; }
    static robots_policy disallow_all();
    // `product` names the crawler: "ringlet", or a whole User-Agent that begins with it.
    static robots_policy parse(std::string_view file, std::string_view product);

    // `target` is the path and query of a URL. The longest rule that matches decides, Allow where
    // two are as long; /robots.txt itself may always be asked for.
    bool allows(std::string_view target) const;

    // Seconds the site wants between requests. No part of the RFC, so it is for the caller to
    // decide.
    std::optional<double> crawl_delay_s() const { return crawl_delay_s_; }
    // Lines that are neither blank, comment, known, nor a field of somebody else's.
    std::size_t malformed_lines() const { return malformed_lines_; }
    // Part of the file was beyond robots_bytes_max or robots_rules_max.
    bool truncated() const { return truncated_; }

private:
    friend class robots_reader;
    struct rule {
        std::string pattern;  // in canonical form; only unescaped '*' and a last '$' are special
        bool allow;
    };

    std::vector<rule> rules_;  // longest first, Allow before Disallow
    std::optional<double> crawl_delay_s_;
    std::size_t malformed_lines_ = 0;
    bool truncated_ = false;
};

// What came of asking for /robots.txt, redirects followed by the caller.
struct robots_outcome {
    // Of the final response; 0 when there was none: no connection, a timeout, a broken answer.
    int status = 0;
    std::string_view body;
    int redirects = 0;
};

// 2xx: the file. 3xx, or more than robots_redirects_max redirects: there is no file that could be
// found, so all is allowed; 4xx likewise. 5xx and no answer: nothing is allowed until one comes.
robots_policy robots_policy_for(const robots_outcome& outcome, std::string_view product);

}  // namespace ringlet::crawler
