# The libraries Ringlet stands on, each found by pkg-config or CMake, static where it can be had
# (a Python wheel must carry them), and a sentence that says what to install where one is missing.
# It is installed beside ringletConfig.cmake: who links the static library needs the same ones. So
# one more library is one more line here, and one in each of the three lists at the end.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED)

# ringlet_find(<target> <pkg-config module> <minimum> <header> <library> <what to install>)
function(ringlet_find target module minimum header library advice)
    if(TARGET ringlet::${target})
        return()
    endif()
    pkg_check_modules(${target}_pc QUIET ${module}>=${minimum})
    find_path(ringlet_${target}_include ${header} HINTS ${${target}_pc_INCLUDE_DIRS})
    find_library(ringlet_${target}_library NAMES lib${library}.a ${library}
                 HINTS ${${target}_pc_LIBRARY_DIRS})
    if(NOT ${target}_pc_FOUND OR NOT ringlet_${target}_include OR NOT ringlet_${target}_library)
        message(FATAL_ERROR
                "Ringlet needs ${module} ${minimum} or newer, and did not find it: ${advice}")
    endif()
    message(STATUS "Found ${module} ${${target}_pc_VERSION}: ${ringlet_${target}_library}")
    add_library(ringlet::${target} UNKNOWN IMPORTED)
    set_target_properties(ringlet::${target} PROPERTIES
        IMPORTED_LOCATION ${ringlet_${target}_library}
        INTERFACE_INCLUDE_DIRECTORIES ${ringlet_${target}_include})
endfunction()

ringlet_find(uring liburing 2.3 liburing.h uring
             "install liburing-dev (Debian 12 and newer have it), or run scripts/setup")

# What whoever links libringlet.a links, too: as targets, in pkg-config's words, as packages.
set(ringlet_link_targets Threads::Threads ringlet::uring ZLIB::ZLIB)
set(ringlet_pkg_config "liburing >= 2.3, zlib")
set(ringlet_packages "liburing-dev (>= 2.3), zlib1g-dev, pkg-config")
