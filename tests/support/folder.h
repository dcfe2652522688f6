// A folder for one test, with a name of its own where temporary files go; removed with all that is
// in it when the test ends.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "core/result.h"

namespace ringlet::test {

class folder {
public:
    folder() : path_((std::filesystem::temp_directory_path() / "ringlet-XXXXXX").string()) {
        if (::mkdtemp(path_.data()) == nullptr) {
            throw error(system_code(errno), "mkdtemp " + path_);
        }
    }
    folder(const folder&) = delete;
    folder& operator=(const folder&) = delete;
    ~folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    const std::string& path() const noexcept { return path_; }
    std::string path(const std::string& name) const { return path_ + '/' + name; }

private:
    std::string path_;
};

}  // namespace ringlet::test
