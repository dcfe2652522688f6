#include "net/hosts_file.h"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

using namespace ringlet;

namespace {

// A hosts file of the test's own, in a folder of its own.
struct written_hosts {
    std::string folder = "/tmp/ringlet_hosts_XXXXXX";
    std::string path;

    explicit written_hosts(const std::string& text) {
        REQUIRE(::mkdtemp(folder.data()) != nullptr);
        path = folder + "/hosts";
        write(text);
    }
    ~written_hosts() {
        ::unlink(path.c_str());
        ::rmdir(folder.c_str());
    }
    void write(const std::string& text) const {
        std::ofstream(path, std::ios::binary) << text;
    }
};

std::string found(hosts_file& hosts, const std::string& name, instant now = 0) {
    std::string all;
    if (const std::vector<address>* list = hosts.find(name, now)) {
        for (const address& each : *list) {
            all += all.empty() ? "" : " ";
            all += each.host_text();
        }
    }
    return all;
}

}  // namespace

TEST_CASE("names and aliases are found, in any case of letters, with comments left out") {
    const written_hosts file(
        "# a comment\n"
        "127.0.0.1\tlocalhost\n"
        "\n"
        "  192.0.2.1   One.Example  one \t uno # two.example\n"
        "2001:db8::1 one.example\n"
        "192.0.2.2 two\r\n"
        "192.0.2.3#three\n"
        "192.0.2.9 last");
    hosts_file hosts(file.path);
    CHECK(found(hosts, "localhost") == "127.0.0.1");
    CHECK(found(hosts, "one.example") == "192.0.2.1 2001:db8::1");
    CHECK(found(hosts, "uno") == "192.0.2.1");
    CHECK(found(hosts, "two") == "192.0.2.2");
    CHECK(found(hosts, "last") == "192.0.2.9");
    CHECK(hosts.find("two.example", 0) == nullptr);
    CHECK(hosts.find("three", 0) == nullptr);
    CHECK(hosts.find("", 0) == nullptr);
}

TEST_CASE("lines that make no sense are passed by") {
    const written_hosts file(
        "nonsense here\n"
        "300.1.1.1 bad\n"
        "127.1 short\n"
        "192.0.2.1\n" +
        std::string("192.0.2.2 nul\0inside\n", 21) + "192.0.2.3 good\n" +
        "192.0.2.3 good good\n");
    hosts_file hosts(file.path);
    CHECK(hosts.find("here", 0) == nullptr);
    CHECK(hosts.find("bad", 0) == nullptr);
    CHECK(hosts.find("short", 0) == nullptr);
    CHECK(hosts.find("nul", 0) == nullptr);
    CHECK(found(hosts, "good") == "192.0.2.3");
}

TEST_CASE("a missing file, a folder and a FIFO are empty tables") {
    const written_hosts file("192.0.2.1 there\n");
    hosts_file missing(file.folder + "/nothing");
    CHECK(missing.find("there", 0) == nullptr);
    hosts_file folder(file.folder);
    CHECK(folder.find("there", 0) == nullptr);
    const std::string fifo = file.folder + "/fifo";
    REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
    hosts_file pipe(fifo);
    CHECK(pipe.find("there", 0) == nullptr);
    ::unlink(fifo.c_str());
}

TEST_CASE("a change is seen after a second, and not before") {
    const written_hosts file("192.0.2.1 name\n");
    hosts_file hosts(file.path);
    const instant pause = hosts_file::check_pause.count();
    CHECK(found(hosts, "name", 100) == "192.0.2.1");
    file.write("192.0.2.2 name other\n");
    CHECK(found(hosts, "name", 100 + pause - 1) == "192.0.2.1");
    CHECK(found(hosts, "name", 100 + pause) == "192.0.2.2");
    CHECK(found(hosts, "other", 100 + pause) == "192.0.2.2");
}

TEST_CASE("a file of the same size is read anew when only its time differs") {
    const written_hosts file("192.0.2.1 name\n");
    hosts_file hosts(file.path);
    CHECK(found(hosts, "name", 0) == "192.0.2.1");
    file.write("192.0.2.2 name\n");
    const timespec times[2] = {{1000, 0}, {1000, 0}};
    REQUIRE(::utimensat(AT_FDCWD, file.path.c_str(), times, 0) == 0);
    CHECK(found(hosts, "name", hosts_file::check_pause.count()) == "192.0.2.2");
}

TEST_CASE("a file that goes away and comes back is followed") {
    const written_hosts file("192.0.2.1 name\n");
    hosts_file hosts(file.path);
    const instant pause = hosts_file::check_pause.count();
    CHECK(found(hosts, "name", 0) == "192.0.2.1");
    ::unlink(file.path.c_str());
    CHECK(hosts.find("name", pause) == nullptr);
    file.write("192.0.2.3 name\n");
    CHECK(found(hosts, "name", 2 * pause) == "192.0.2.3");
}

TEST_CASE("a name's addresses and the file's bytes are bounded") {
    std::string text;
    for (int at = 0; at < 100; ++at) {
        text += "192.0.2." + std::to_string(at) + " many\n";
    }
    const std::string comment = "#" + std::string(1022, '.') + "\n";
    while (text.size() < hosts_file::bytes_max) {
        text += comment;
    }
    text += "192.0.2.200 behind\n";
    const written_hosts file(text);
    hosts_file hosts(file.path);
    REQUIRE(hosts.find("many", 0) != nullptr);
    CHECK(hosts.find("many", 0)->size() == hosts_file::addresses_per_name_max);
    CHECK(hosts.find("many", 0)->back().host_text() == "192.0.2.31");
    CHECK(hosts.find("behind", 0) == nullptr);
}
