# The libraries Ringlet stands on, each found by pkg-config or CMake, static where it can be had
# (a Python wheel must carry them), and a sentence that says what to install where one is missing.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED)

# ringlet_find(<target> <pkg-config module> <minimum> <header> <library> <what to install>)
function(ringlet_find target module minimum header library advice)
    pkg_check_modules(${target}_pc QUIET ${module}>=${minimum})
    find_path(${target}_include ${header} HINTS ${${target}_pc_INCLUDE_DIRS})
    find_library(${target}_library NAMES lib${library}.a ${library}
                 HINTS ${${target}_pc_LIBRARY_DIRS})
    if(NOT ${target}_pc_FOUND OR NOT ${target}_include OR NOT ${target}_library)
        message(FATAL_ERROR
                "Ringlet needs ${module} ${minimum} or newer, and did not find it: ${advice}")
    endif()
    message(STATUS "Found ${module} ${${target}_pc_VERSION}: ${${target}_library}")
    add_library(ringlet::${target} UNKNOWN IMPORTED)
    set_target_properties(ringlet::${target} PROPERTIES
        IMPORTED_LOCATION ${${target}_library}
        INTERFACE_INCLUDE_DIRECTORIES ${${target}_include})
endfunction()

ringlet_find(uring liburing 2.3 liburing.h uring
             "install liburing-dev (Debian 12 and newer have it), or run scripts/setup")
ringlet_find(llhttp libllhttp 9.2.1 llhttp.h llhttp
             "install libllhttp-dev (in Debian 13 and newer), or run scripts/setup on Debian 12")

# Boost says nothing to pkg-config.
find_path(boost_context_include boost/context/detail/fcontext.hpp)
find_library(boost_context_library NAMES libboost_context.a boost_context)
if(NOT boost_context_include OR NOT boost_context_library)
    message(FATAL_ERROR "Ringlet needs Boost.Context, and did not find it: install "
            "libboost-context-dev (Debian 12 and newer have it), or run scripts/setup")
endif()
message(STATUS "Found Boost.Context: ${boost_context_library}")
add_library(ringlet::boost_context UNKNOWN IMPORTED)
set_target_properties(ringlet::boost_context PROPERTIES
    IMPORTED_LOCATION ${boost_context_library}
    INTERFACE_INCLUDE_DIRECTORIES ${boost_context_include})
