// `--make-driver`, the word by which the tests run their own program in a fresh process, to see
// which driver that process gets, and what it says about it. Every program of tests begins with
// this, and ends when it says so: a word that it did not know would start the suite once more.
#pragma once

#include <cstdio>
#include <cstring>

#include "core/driver.h"

namespace ringlet::test {

// True when that was asked for, and is done.
inline bool made_driver(int argc, char** argv) {
    if (argc != 2 || std::strcmp(argv[1], "--make-driver") != 0) {
        return false;
    }
    for (int round = 0; round < 2; ++round) {
        try {
            std::printf("%s\n", make_driver({})->name());
        } catch (const error& failure) {
            std::printf("error: %s\n", failure.what());
        }
    }
    return true;
}

}  // namespace ringlet::test
