#include "http/client.h"

#include <zlib.h>

#include "http/serve.h"
#include "tests/http/hosts.h"

using namespace ringlet;
using namespace ringlet::test;
using http::client_options;
using http::client_request;
using http::client_response;
using http::method;
using http::phase;
using std::chrono::milliseconds;

namespace {

// Says back what it was asked; /status/N, /redirect/N and the like do as they are called.
void echo(http::exchange& at, std::vector<std::unique_ptr<reader>>& all) {
    reader& one = *all.emplace_back(std::make_unique<reader>(at));
    one.on_end = [](reader& self) {
        const http::request_head& seen = self.at->request();
        std::string text(seen.method_text());
        text += " " + std::string(seen.target) + " host=" + std::string(seen.host);
        for (const http::header_view& each : seen.headers) {
            text += " " + std::string(each.name) + "=" + std::string(each.value);
        }
        self.at->respond(200, "text/plain", text + " body=" + self.body);
    };
    at.want_body();
}

std::string packed(std::string_view text, int window_bits) {
    z_stream stream = {};
    REQUIRE(deflateInit2(&stream, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    std::string out(deflateBound(&stream, text.size()) + 64, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

// An answer that is no good, with the limits of the case below, and what must be said of it.
struct broken_answer {
    speech said;
    phase at;
    std::error_code code;
    const char* cause;  // a part of it
};

std::vector<broken_answer> broken_answers() {
    const std::string ok = "HTTP/1.1 200 OK\r\n";
    const std::string nine = ok + "Content-Length: 9\r\n\r\n";
    const std::string chunked = ok + "Transfer-Encoding: chunked\r\n\r\n";
    const std::string large(3000, 'l');
    const std::string bomb = packed(std::string(20'000'000, 'b'), 15 + 16).substr(0, 2900);
    const auto bad = std::make_error_code(std::errc::bad_message);
    const auto cut = make_error_code(errc::end_of_stream);
    const auto over = make_error_code(errc::limit_exceeded);
    const auto reset = system_code(ECONNRESET);
    return {
        {{"", 'c'}, phase::head, cut, "the server closed the connection without an answer"},
        {{ok + "Conte", 'c'}, phase::head, cut, "head"},
        {{nine + "half", 'c'}, phase::body, cut, "body"},
        {{chunked + "9\r\nhalf", 'c'}, phase::body, cut, "body"},
        {{nine + "half", 'r'}, phase::body, reset, "reset"},
        {{chunked + "zz\r\n"}, phase::body, bad, "chunk"},
        {{"SSH-2.0-OpenSSH_9.2\r\n"}, phase::head, bad, "status line"},
        {{"HTTP/2.0 200 OK\r\n\r\n"}, phase::head, bad, "supported"},
        {{ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n"}, phase::head, bad, "Length"},
        {{ok + "Bad Header: 1\r\n\r\n"}, phase::head, bad, "header"},
        {{"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"},
         phase::head,
         bad,
         "protocol"},
        {{ok + "A: " + std::string(100'000, 'h')}, phase::head, bad, "header"},
        {{sized_answer(large)}, phase::body, bad, "large"},
        {{ok + "\r\n" + large}, phase::body, bad, "large"},
        {{sized_answer(bomb, "Content-Encoding: gzip\r\n")}, phase::body, over, "large"},
    };
}

client_request request_to(std::string url, method what, std::string body = {}) {
    client_request made;
    made.url = std::move(url);
    made.method = what;
    made.body = std::move(body);
    return made;
}

std::string url_of(const site& here, std::string_view target) {
    return "http://" + here.where.text() + std::string(target);
}

}  // namespace

TEST_CASE("a request arrives as it was meant and its answer comes back") {
    tell([](loop& owner) -> task<void> {
        std::vector<std::unique_ptr<reader>> all;
        site here(owner, [&](http::exchange& at) { echo(at, all); });
        http::client web(owner);
        const client_response got = co_await web.get(url_of(here, "/path?q=1#part"));
        CHECK(got.status == 200);
        CHECK(got.headers.value("content-type") == "text/plain");
        CHECK(got.final_url.without_fragment() == url_of(here, "/path?q=1"));
        CHECK(got.redirects == 0);
        CHECK(got.body ==
              "GET /path?q=1 host=" + here.where.text() + " Host=" + here.where.text() +
                  " User-Agent=ringlet/0.1 Accept=*/* Accept-Encoding=gzip, deflate body=");
        client_request post = request_to(url_of(here, "/"), method::post, "some text");
        post.headers.add("User-Agent", "mine");
        post.headers.add("Accept", "a/b");
        post.headers.add("Accept-Encoding", "identity");
        post.headers.add("X", "y");
        const client_response posted = co_await web.request(std::move(post));
        CHECK(posted.body == "POST / host=" + here.where.text() + " Host=" + here.where.text() +
                                 " User-Agent=mine Accept=a/b Accept-Encoding=identity X=y"
                                 " Content-Length=9 body=some text");
        const client_response empty =
            co_await web.request(request_to(url_of(here, "/"), method::put));
        CHECK(empty.body.find(" Content-Length=0 ") != std::string::npos);
        const client_response head =
            co_await web.request(request_to(url_of(here, "/"), method::head));
        CHECK(head.status == 200);
        CHECK(head.body == "");
        CHECK(head.headers.value("Content-Length") != "0");
        CHECK(web.stats().requests == 4);
        CHECK(web.stats().connections == 1);
        CHECK(web.stats().reused == 3);
        CHECK(got.timings.begun <= got.timings.granted);
        CHECK(got.timings.granted <= got.timings.resolved);
        CHECK(got.timings.resolved <= got.timings.connected);
        CHECK(got.timings.connected <= got.timings.sent);
        CHECK(got.timings.sent <= got.timings.first_byte);
        CHECK(got.timings.first_byte <= got.timings.ended);
        CHECK(posted.timings.connected == 0);
    });
}

TEST_CASE("answers without a body, interim answers and bodies that end with the connection") {
    tell_with_hosts([](loop& owner, street& hosts) -> task<void> {
        scripted_host& host = hosts.scripted({
            {"HTTP/1.1 204 No Content\r\n\r\n"},
            {"HTTP/1.1 304 Not Modified\r\nContent-Length: 700\r\n\r\n"},
            {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" +
             sized_answer("third")},
            {"HTTP/1.1 200 OK\r\nTransfer-Encoding: "
             "chunked\r\n\r\n3\r\nfou\r\n3;e=1\r\nrth\r\n0\r\nT: r\r\n\r\n"},
            {"HTTP/1.1 200 OK\r\n\r\nfifth, to the end", 'c'},
            {"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nsixth"},
            {sized_answer("seventh", "Connection: close\r\n")},
            {sized_answer("eighth") + "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!"},
            {sized_answer("ninth")},
        });
        http::client web(owner);
        const std::pair<int, const char*> expected[] = {{204, ""},
                                                        {304, ""},
                                                        {200, "third"},
                                                        {200, "fourth"},
                                                        {200, "fifth, to the end"},
                                                        {200, "sixth"},
                                                        {200, "seventh"},
                                                        {200, "eighth"},
                                                        {200, "ninth"}};
        for (const auto& [status, body] : expected) {
            const client_response got = co_await web.get(host.url);
            CHECK(got.status == status);
            CHECK(got.body == body);
            co_await sleep_for(milliseconds(1));
        }
        CHECK(host.connections() == 5);  // the fifth to the eighth answer ended theirs
        CHECK(web.stats().idle == 1);
    });
}

TEST_CASE("gzip and deflate are undone, the rest is refused or passed on as it is") {
    tell_with_hosts([](loop& owner, street& hosts) -> task<void> {
        const std::string text = "a text that is packed, " + std::string(100'000, 'a');
        const std::string gzip = packed(text, 15 + 16);
        const std::string broken = gzip.substr(0, 60) + "xxxxxxxxxx" + gzip.substr(70);
        const std::string coding = "Content-Encoding: ";
        scripted_host& host = hosts.scripted({
            {sized_answer(gzip, coding + "gzip\r\n")},
            {sized_answer(packed(text, 15), coding + "deflate\r\n")},
            {sized_answer(packed(text, -15), coding + "deflate\r\n")},
            {sized_answer("plain", coding + "identity\r\n")},
            {sized_answer("", coding + "gzip\r\n")},
            {sized_answer("never seen", coding + "br\r\n")},
            {sized_answer(broken, coding + "gzip\r\n")},
            {sized_answer(gzip.substr(0, 80), coding + "gzip\r\n")},
            {sized_answer(gzip, coding + "gzip\r\n")},
            {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n" + coding + "br\r\n\r\n"},
        });
        http::client web(owner);
        for (const std::string& body : {text, text, text, std::string("plain"), std::string()}) {
            const client_response got = co_await web.get(host.url);
            CHECK(got.body == body);
        }
        CHECK(host.connections() == 1);
        CHECK(host.heads.at(0).find("Accept-Encoding: gzip, deflate\r\n") != std::string::npos);
        for (const char* cause : {"coding", "broken", "ends"}) {
            CAPTURE(cause);
            const failure told = co_await failure_told(web.get(host.url));
            CHECK(told.phase == phase::body);
            CHECK(told.code == std::errc::bad_message);
            CHECK(told.text.starts_with(host.url + "/: response body: "));
        }
        client_options as_it_is;
        as_it_is.decode = false;
        http::client raw(owner, as_it_is);
        const client_response got = co_await raw.get(host.url);
        CHECK(got.body == gzip);
        CHECK(host.heads.back().find("Accept-Encoding") == std::string::npos);
        const client_response head = co_await web.request(request_to(host.url, method::head));
        CHECK(head.headers.value("Content-Encoding") == "br");
    });
}

TEST_CASE("what is cut, broken or too large is an error that says so") {
    tell_with_hosts(
        [](loop& owner, street& hosts) -> task<void> {
            for (const broken_answer& each : broken_answers()) {
                CAPTURE(each.said.text.substr(0, 60));
                client_options options;
                options.sizes.body_bytes_max = 2990;
                options.sizes.decoded_bytes_max = 100'000;
                http::client web(owner, options);
                scripted_host& host = hosts.scripted({each.said});
                const failure told =
                    co_await failure_told(web.request(request_to(host.url + "/a?b", method::post)));
                CHECK(told.phase == each.at);
                CHECK(told.code == each.code);
                CHECK(told.text ==
                      host.url + "/a?b: " + std::string(phase_text(each.at)) + ": " + told.cause);
                CAPTURE(told.cause);
                CHECK(told.cause.find(each.cause) != std::string::npos);
                CHECK(web.stats().idle == 0);
            }
        },
        6);
}

TEST_CASE("errors before the request is sent read well") {
    tell([](loop& owner) -> task<void> {
        http::client web(owner);
        address closed;
        {
            tcp_listener door(owner, address::loopback_v4(0));
            closed = door.local_address();
        }
        const std::string port = std::to_string(closed.port());
        co_await pass_time();
        failure told = co_await failure_told(web.get("http://127.0.0.1:" + port));
        CHECK(told.text == "http://127.0.0.1:" + port + "/: connect: 127.0.0.1:" + port +
                               ": Connection refused");
        CHECK(told.code == std::errc::connection_refused);
        CHECK(told.phase == phase::connect);
        told = co_await failure_told(web.get("http://localhost:" + port + "/x"));
        CHECK(told.text == "http://localhost:" + port + "/x: connect: [::1]:" + port +
                               " (Connection refused), 127.0.0.1:" + port +
                               " (Connection refused)");
        told = co_await failure_told(web.get("no url"));
        CHECK(told.phase == phase::url);
        CHECK(told.text.starts_with("no url: url: "));
        told = co_await failure_told(web.get("https://user:secret@127.0.0.1:" + port + "/"));
        CHECK(told.phase == phase::connect);
        CHECK(told.text.starts_with("https://127.0.0.1:" + port + "/: connect: "));
        client_request split = request_to("http://127.0.0.1:" + port, method::get);
        split.headers.add("X", "a\r\nB: c");
        told = co_await failure_told(web.request(std::move(split)));
        CHECK(told.phase == phase::send);
        CHECK(told.code == std::errc::invalid_argument);
    });
}

TEST_CASE("a host name without an address is a failure to resolve") {
    if (!real_kernel()) {
        return;
    }
    tell([](loop& owner) -> task<void> {
        client_options options;
        options.resolver.look_up = [](const char*, std::vector<address>&) { return -2; };
        http::client web(owner, options);
        const failure told = co_await failure_told(web.get("http://nowhere.example/"));
        CHECK(told.phase == phase::resolve);
        CHECK(told.code == errc::resolve_failed);
        CHECK(told.text ==
              "http://nowhere.example/: resolve: nowhere.example: Name or service not known");
    });
}

TEST_CASE("redirects are followed, and the method changes where it must") {
    tell([](loop& owner) -> task<void> {
        std::vector<std::unique_ptr<reader>> all;
        site here(owner, [&](http::exchange& at) {
            const std::string_view path = at.request().path;
            if (path.starts_with("/to/")) {
                const http::header_view location{"Location", "../end?x"};
                at.respond(std::stoi(std::string(path.substr(4))), std::span(&location, 1),
                           "a short text about it");
            } else {
                echo(at, all);
            }
        });
        http::client web(owner);
        struct row {
            int status;
            method asked;
            const char* became;
        };
        const row table[] = {
            {301, method::get, "GET"},        {301, method::post, "GET"},
            {301, method::put, "PUT"},        {302, method::post, "GET"},
            {302, method::head, "HEAD"},      {303, method::post, "GET"},
            {303, method::put, "GET"},        {303, method::head, "HEAD"},
            {303, method::delete_, "GET"},    {307, method::post, "POST"},
            {308, method::post, "POST"},      {307, method::get, "GET"},
            {308, method::delete_, "DELETE"},
        };
        for (const row& each : table) {
            CAPTURE(each.status);
            const bool with_body = each.asked == method::post || each.asked == method::put;
            client_request what = request_to(url_of(here, "/to/" + std::to_string(each.status)),
                                             each.asked, with_body ? "text" : "");
            what.headers.add("Content-Type", "a/b");
            what.headers.add("Authorization", "secret");
            const client_response got = co_await web.request(std::move(what));
            CHECK(got.status == 200);
            CHECK(got.redirects == 1);
            CHECK(got.final_url.target() == "/end?x");
            if (each.asked == method::head) {
                CHECK(got.body == "");
                continue;
            }
            CAPTURE(got.body);
            CHECK(got.body.starts_with(std::string(each.became) + " /end?x "));
            const bool kept = each.became == http::method_text(each.asked);
            CHECK(got.body.ends_with(with_body && kept ? " body=text" : " body="));
            CHECK((got.body.find("Content-Type") != std::string::npos) == kept);
            CHECK(got.body.find("Authorization=secret") != std::string::npos);
        }
        CHECK(web.stats().connections == 1);
    });
}

TEST_CASE("a redirect to another origin takes no secrets along") {
    tell([](loop& owner) -> task<void> {
        std::vector<std::unique_ptr<reader>> all;
        site there(owner, [&](http::exchange& at) { echo(at, all); });
        const std::string target = url_of(there, "/end");
        site here(owner, [&](http::exchange& at) {
            const http::header_view location{"Location", target};
            at.respond(302, std::span(&location, 1), "");
        });
        http::client web(owner);
        client_request what = request_to(url_of(here, "/"), method::get);
        what.headers.add("Authorization", "secret");
        what.headers.add("Cookie", "secret");
        what.headers.add("X", "kept");
        const client_response got = co_await web.request(std::move(what));
        CHECK(got.body.find("secret") == std::string::npos);
        CHECK(got.body.find("X=kept") != std::string::npos);
        CHECK(got.body.find("host=" + there.where.text()) != std::string::npos);
        CHECK(web.stats().connections == 2);
        CHECK(web.stats().requests == 2);
    });
}

TEST_CASE("redirects that lead nowhere are errors, and some are answers") {
    tell_with_hosts(
        [](loop& owner, street& hosts) -> task<void> {
            const auto to = [](std::string where) {
                return speech{sized_answer("", "Location: " + where + "\r\n", "302 Found")};
            };
            scripted_host& host = hosts.scripted({
                to("/1"),
                to("/2"),
                to("/3"),
                to("/4"),
                to("http://"),
                to("ftp://a/"),
                {sized_answer("no place named", "", "302 Found")},
                {sized_answer("choose", "Location: /x\r\n", "300 Multiple Choices")},
                {"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 9\r\n\r\ncut", 'c'},
                {sized_answer("after a cut one")},
                {"HTTP/1.1 302 Found\r\nLocation: /y\r\nTransfer-Encoding: chunked\r\n\r\n"},
                {sized_answer("after an endless one")},
                to("/z"),
            });
            client_options options;
            options.redirects_max = 3;
            http::client web(owner, options);
            failure told = co_await failure_told(web.get(host.url));
            CHECK(told.phase == phase::redirect);
            CHECK(told.code == errc::limit_exceeded);
            CHECK(told.text == host.url + "/3: redirect: more than 3 redirects");
            told = co_await failure_told(web.get(host.url));
            CHECK(told.phase == phase::redirect);
            CHECK(told.text.ends_with(" Location: http://"));
            told = co_await failure_told(web.get(host.url));
            CHECK(told.phase == phase::redirect);
            client_response got = co_await web.get(host.url);
            CHECK(got.status == 302);
            CHECK(got.body == "no place named");
            got = co_await web.get(host.url);
            CHECK(got.status == 300);
            got = co_await web.get(host.url);
            CHECK(got.body == "after a cut one");
            got = co_await web.get(host.url);
            CHECK(got.body == "after an endless one");
            client_options not_followed;
            not_followed.redirects_max = 0;
            http::client plain(owner, not_followed);
            got = co_await plain.get(host.url);
            CHECK(got.status == 302);
        },
        6);
}

TEST_CASE("each phase has its time, and its error says which") {
    tell_with_hosts(
        [](loop& owner, street& hosts) -> task<void> {
            const std::string large(30'000'000, 'u');
            struct row {
                phase at;
                std::string said;
            };
            const row table[] = {{phase::head, ""},
                                 {phase::head, "HTTP/1.1 200 O"},
                                 {phase::head, "HTTP/1.1 100 Continue\r\n\r\n"},
                                 {phase::body, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"},
                                 {phase::send, "-"}};
            for (const row& each : table) {
                CAPTURE(each.said);
                raw_host& host = hosts.raw([&](raw_client& peer, int) -> task<void> {
                    return [](raw_client& to, std::string text) -> task<void> {
                        if (text == "-") {
                            co_await sleep_for(std::chrono::hours(1));
                        }
                        co_await to.hear_to("\r\n\r\n");
                        co_await to.say(text);
                        CHECK(co_await to.rest() == "");
                    }(peer, each.said);
                });
                client_options options;
                options.send_timeout = options.head_timeout = options.body_timeout =
                    milliseconds(80);
                http::client web(owner, options);
                const instant begun = owner.read_clock();
                client_request what = request_to(host.url, method::get);
                if (each.at == phase::send) {
                    what = request_to(host.url, method::put, large);
                }
                const failure told = co_await failure_told(web.request(std::move(what)));
                CHECK(told.phase == each.at);
                CHECK(told.code == errc::timed_out);
                CHECK(told.text == host.url + "/: " + std::string(phase_text(each.at)) +
                                       ": timed out after 80 ms");
                CHECK(owner.read_clock() - begun >= 80'000'000);
                CHECK(web.stats().idle == 0);
            }
        },
        4);
}

TEST_CASE("the total time covers all phases and redirects") {
    tell_with_hosts(
        [](loop& owner, street& hosts) -> task<void> {
            raw_host& host = hosts.raw([](raw_client& peer, int) -> task<void> {
                for (;;) {
                    const std::string head = co_await peer.hear_to("\r\n\r\n");
                    if (head.empty()) {
                        co_return;
                    }
                    co_await sleep_for(milliseconds(30));
                    co_await peer.say(sized_answer("", "Location: /again\r\n", "302 Found"));
                }
            });
            client_options options;
            options.total_timeout = milliseconds(200);
            options.redirects_max = 1000;
            http::client web(owner, options);
            const instant begun = owner.read_clock();
            const failure told = co_await failure_told(web.get(host.url));
            CHECK(told.code == errc::timed_out);
            CHECK(told.text.ends_with(": timed out after 200 ms"));
            CHECK(owner.read_clock() - begun >= 200'000'000);
            CHECK(web.stats().requests > 1);
        },
        6);
}

TEST_CASE("a large body is sent whole, and an early refusal is heard while it is") {
    tell_with_hosts(
        [](loop& owner, street& hosts) -> task<void> {
            const std::string large = pattern(5'000'000);
            http::limits sizes;
            sizes.body_bytes_max = 100'000'000;
            std::vector<std::unique_ptr<reader>> all;
            site here(
                owner,
                [&](http::exchange& at) {
                    reader& one = *all.emplace_back(std::make_unique<reader>(at));
                    one.on_end = [](reader& self) {
                        self.at->respond(200, "a/b",
                                         std::to_string(std::hash<std::string>()(self.body)));
                    };
                    at.want_body();
                },
                sizes);
            http::client web(owner);
            client_response got =
                co_await web.request(request_to(url_of(here, "/"), method::post, large));
            CHECK(got.body == std::to_string(std::hash<std::string>()(large)));
            CHECK(web.stats().idle == 1);

            // A server that refuses and closes, and one that refuses and reads no more.
            site small(owner, [](http::exchange& at) { at.respond(200, "a/b", ""); });
            got = co_await web.request(request_to(url_of(small, "/"), method::post, large));
            CHECK(got.status == 413);
            raw_host& silent = hosts.raw([](raw_client& peer, int) -> task<void> {
                co_await peer.hear_to("\r\n\r\n");
                co_await peer.say(sized_answer("go away", "", "403 Forbidden"));
                co_await sleep_for(std::chrono::hours(1));
            });
            got = co_await web.request(request_to(silent.url, method::put, pattern(30'000'000)));
            CHECK(got.status == 403);
            CHECK(got.body == "go away");
            // A server that says 200 early gets all of the body nevertheless.
            raw_host& early = hosts.raw([](raw_client& peer, int) -> task<void> {
                co_await peer.hear_to("\r\n\r\n");
                co_await peer.say(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n");
                std::size_t bytes = std::exchange(peer.unread, {}).size();
                while (bytes < 5'000'000) {
                    const bool more = co_await peer.receive();
                    if (!more) {
                        co_return;
                    }
                    bytes += std::exchange(peer.unread, {}).size();
                }
                co_await peer.say("4\r\n all\r\n0\r\n\r\n");
            });
            got = co_await web.request(request_to(early.url, method::put, large));
            CHECK(got.body == "ok all");
            CHECK(web.stats().idle == 2);  // that of `here` and that of `early`
        },
        4);
}
